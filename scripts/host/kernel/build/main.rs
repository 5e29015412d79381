// SPDX-License-Identifier: GPL-2.0

//! Mounts the files of the kernel tree that are pure enough to be used as they are.

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

/// What is put in the place of a module of the kernel.
enum Child {
    /// The file of the tree.
    Tree,
    /// A file of the stand-in, by its path.
    Ours(&'static str),
    /// This text.
    Text(&'static str),
}

/// The files of `rust/kernel` that have modules below them: the file, without `.rs`, and what takes
/// the place of each file below it.
const PARENTS: &[(&str, &[(&str, Child)])] = &[
    (
        "alloc",
        &[
            ("allocator.rs", Child::Ours("src/alloc/allocator.rs")),
            ("kbox.rs", Child::Ours("src/alloc/kbox.rs")),
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

fn main() {
    println!("cargo::rerun-if-changed=build");

    // `testlib` keeps `error.rs` from calling `errname()`. With CONFIG_UML, a warning is a call of
    // a C function instead of assembly, and that function is a fake here.
    for cfg in ["testlib", "CONFIG_64BIT", "CONFIG_BUG", "CONFIG_UML"] {
        println!("cargo::rustc-cfg={cfg}");
    }

    let tree = Tree::locate("../../..");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());

    let mut root: String = MODULES
        .iter()
        .map(|name| {
            // `macro_use`, so that the prelude can name their macros as modules may name macros
            // that come from an expansion, which `include!` is: not by a path.
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

/// Mounts a file with modules below it. A file that is mounted by its path looks for its modules
/// beside itself, which is not where they are, so links are put together as it expects them.
fn mount(tree: &Tree, out: &Path, parent: &str, name: &str, children: &[(&str, Child)]) -> String {
    let dir = out.join(parent);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    let top = dir.join("mod.rs");
    symlink(tree.file(&format!("rust/kernel/{parent}.rs")), &top).unwrap();
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
