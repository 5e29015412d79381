// SPDX-License-Identifier: GPL-2.0

//! Mounts the files of the kernel tree that are pure enough to be used as they are.

use std::{env, fs, path::PathBuf};

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
const CHILDREN: &[(&str, &str)] = &[("alloc", "layout"), ("sync", "aref")];

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

    for (parent, name) in CHILDREN {
        let text = tree.module(
            &format!("pub mod {name}"),
            &format!("rust/kernel/{parent}/{name}.rs"),
        );
        fs::write(out.join(format!("{parent}.rs")), text).unwrap();
    }
}
