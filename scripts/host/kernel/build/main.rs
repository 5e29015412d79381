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
    "bug",
    "error",
    "init",
    "ptr",
    "sizes",
    "static_assert",
    "types",
];

/// The files of `rust/kernel` that are mounted in a module of the crate: that module and the file.
const CHILDREN: &[(&str, &str)] = &[("alloc", "layout"), ("sync", "aref"), ("sync", "locked_by")];

/// The modules of `rust/kernel/sync/lock.rs`, and whether the stand-in has what is below them.
const LOCKS: &[(&str, bool)] = &[("global", true), ("mutex", true), ("spinlock", false)];

fn main() {
    println!("cargo::rerun-if-changed=build");

    // `testlib` keeps `error.rs` from calling `errname()`. With CONFIG_UML, a warning is a call of
    // a C function instead of assembly, and that function is a fake here.
    for cfg in ["testlib", "CONFIG_BUG", "CONFIG_UML"] {
        println!("cargo::rustc-cfg={cfg}");
    }

    let tree = Tree::locate("../../..");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());

    let root: String = MODULES
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
    fs::write(out.join("root.rs"), root).unwrap();

    for parent in ["alloc", "sync"] {
        let children = CHILDREN.iter().filter(|(of, _)| *of == parent);
        let mut text: String = children
            .map(|(_, name)| {
                tree.module(
                    &format!("pub mod {name}"),
                    &format!("rust/kernel/{parent}/{name}.rs"),
                )
            })
            .collect();
        if parent == "sync" {
            text += &locks(&tree, &out);
        }
        fs::write(out.join(format!("{parent}.rs")), text).unwrap();
    }
}

/// Mounts `sync/lock.rs`. A file that is mounted by its path looks for its modules beside itself,
/// which is not where they are, so links are put together as it expects them.
fn locks(tree: &Tree, out: &Path) -> String {
    let dir = out.join("lock");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    symlink(tree.file("rust/kernel/sync/lock.rs"), dir.join("mod.rs")).unwrap();
    for (name, is_there) in LOCKS {
        let link = dir.join(format!("{name}.rs"));
        if *is_there {
            symlink(tree.file(&format!("rust/kernel/sync/lock/{name}.rs")), link).unwrap();
        } else {
            fs::write(link, "").unwrap();
        }
    }
    tree.module_at("#[macro_use] pub mod lock", &dir.join("mod.rs"))
}
