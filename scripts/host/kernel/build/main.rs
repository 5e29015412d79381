// SPDX-License-Identifier: GPL-2.0

//! Mounts the files of the kernel tree that compile on the host unmodified.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

mod tree;
use tree::Tree;

/// The files of `rust/kernel` that are mounted at the root of the crate, without `.rs`.
const MODULES: &[&str] = &[
    "bits",
    "bug",
    "error",
    "init",
    "ptr",
    "rbtree",
    "sizes",
    "static_assert",
    "types",
];

/// The files of `rust/kernel/sync` that are mounted in the module `sync` of the crate.
const SYNC: &[&str] = &["aref", "locked_by"];

/// The replacement of a module of the kernel.
enum Child {
    /// The file of the tree.
    Tree,
    /// A file of the stand-in, by its path.
    Ours(&'static str),
    /// Text for the module.
    Text(&'static str),
}

/// The files of `rust/kernel` with child modules: the file, without `.rs`, and the source of each
/// child module.
const PARENTS: &[(&str, &[(&str, Child)])] = &[
    (
        "alloc",
        &[
            ("allocator.rs", Child::Ours("src/alloc/allocator.rs")),
            ("kbox.rs", Child::Tree),
            ("kvec.rs", Child::Tree),
            ("kvec/errors.rs", Child::Tree),
            ("layout.rs", Child::Tree),
        ],
    ),
    (
        "io",
        &[
            ("mem.rs", Child::Text("")),
            ("poll.rs", Child::Tree),
            (
                "resource.rs",
                Child::Text("/// Never made.\npub enum Resource {}\n"),
            ),
        ],
    ),
    ("sync/arc", &[("std_vendor.rs", Child::Tree)]),
    (
        "sync/lock",
        &[
            ("global.rs", Child::Tree),
            ("mutex.rs", Child::Tree),
            ("spinlock.rs", Child::Text("")),
        ],
    ),
    (
        "time",
        &[("delay.rs", Child::Tree), ("hrtimer.rs", Child::Text(""))],
    ),
];

/// Imports that are removed from a file. They name a macro of the same crate by path, which the
/// compiler will reject for macros that come from an `include!`; `macro_use` makes the macro
/// visible.
const WITHOUT: &[(&str, &str)] = &[("sync/arc", "    try_init,\n")];

fn main() {
    println!("cargo::rerun-if-changed=build");

    // `testlib` prevents `error.rs` from calling `errname()`. With CONFIG_UML, a warning calls a C
    // function, which is a fake here, instead of assembly. CONFIG_RUSTC_HAS_COERCE_POINTEE is set
    // for each compiler that builds the workspace.
    for cfg in [
        "testlib",
        "CONFIG_64BIT",
        "CONFIG_BUG",
        "CONFIG_RUSTC_HAS_COERCE_POINTEE",
        "CONFIG_UML",
    ] {
        println!("cargo::rustc-check-cfg=cfg({cfg})");
        println!("cargo::rustc-cfg={cfg}");
    }

    let tree = Tree::locate("../../..");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());

    let mut root: String = MODULES
        .iter()
        .map(|name| {
            // `macro_use` makes their macros visible to the prelude. Paths do not work for macros
            // that come from an expansion such as `include!`.
            tree.module(
                &format!("#[macro_use] pub mod {name}"),
                &format!("rust/kernel/{name}.rs"),
            )
        })
        .collect();
    let mut sync: String = SYNC
        .iter()
        .map(|name| {
            tree.module(
                &format!("pub mod {name}"),
                &format!("rust/kernel/sync/{name}.rs"),
            )
        })
        .collect();
    for (parent, children) in PARENTS {
        match parent.strip_prefix("sync/") {
            Some(name) => sync += &mount(&tree, &out, parent, name, children),
            None => root += &mount(&tree, &out, parent, parent, children),
        }
    }
    fs::write(out.join("root.rs"), root).unwrap();
    fs::write(out.join("sync.rs"), sync).unwrap();
}

/// Mounts a file with child modules. The compiler looks for them next to a file that is mounted by
/// path, so this function creates links in that layout.
fn mount(tree: &Tree, out: &Path, parent: &str, name: &str, children: &[(&str, Child)]) -> String {
    let dir = out.join(parent);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    let top = dir.join("mod.rs");
    let file = tree.file(&format!("rust/kernel/{parent}.rs"));
    match WITHOUT.iter().find(|(name, _)| *name == parent) {
        Some((_, import)) => fs::write(&top, without(&file, import)),
        None => symlink(&file, &top),
    }
    .unwrap();
    for (file, child) in children {
        let link = dir.join(file);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        match child {
            Child::Tree => symlink(tree.file(&format!("rust/kernel/{parent}/{file}")), link),
            Child::Ours(path) => symlink(Path::new(path).canonicalize().unwrap(), link),
            Child::Text(text) => fs::write(link, text),
        }
        .unwrap();
    }
    tree.module_at(&format!("#[macro_use] pub mod {name}"), &top)
}

/// Removes an import from the text of a file. The line is blanked, so that errors refer to the
/// lines of the original.
fn without(file: &Path, import: &str) -> String {
    let text = fs::read_to_string(file).unwrap();
    assert!(
        text.contains(import),
        "{} does not import as it did: {import:?}",
        file.display()
    );
    text.replacen(import, "\n", 1)
}
