// SPDX-License-Identifier: GPL-2.0

//! Mounts procedural macros of the kernel tree.

use std::{env, fs, path::PathBuf};

#[path = "../kernel/build/tree.rs"]
mod tree;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../kernel/build/tree.rs");
    println!("cargo::rustc-check-cfg=cfg(kernel)");

    let tree = tree::Tree::locate("../../..");
    let mut modules: String = ["helpers", "pin_data", "pinned_drop", "zeroable"]
        .iter()
        .map(|name| {
            tree.module(
                &format!("mod {name}"),
                &format!("rust/pin-init/internal/src/{name}.rs"),
            )
        })
        .collect();
    modules += &tree.module("mod paste", "rust/macros/paste.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    fs::write(out.join("pin_init_internal.rs"), modules).unwrap();
}
