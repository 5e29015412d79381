// SPDX-License-Identifier: GPL-2.0

//! Includes pin-init from the kernel tree.
//!
//! The crate of this name on the registry is a different one, and its successor there is older than
//! the kernel's copy (it lacks the code blocks of `pin_init!`). The build therefore uses the tree's
//! copy.

use std::{env, fs, path::PathBuf};

#[path = "../build/tree.rs"]
mod tree;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../build/tree.rs");
    println!("cargo::rustc-check-cfg=cfg(kernel)");
    println!("cargo::rustc-check-cfg=cfg(CONFIG_RUSTC_HAS_UNSAFE_PINNED)");

    let tree = tree::Tree::locate("../../../..");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    for name in ["__internal.rs", "alloc.rs", "macros.rs"] {
        fs::copy(
            tree.file(&format!("rust/pin-init/src/{name}")),
            out.join(name),
        )
        .unwrap();
    }
    let root = fs::read_to_string(tree.file("rust/pin-init/src/lib.rs")).unwrap();
    fs::write(out.join("root.rs"), without_inner_attributes(&root)).unwrap();
}

/// Converts a crate root for inclusion in another one, because `include!` does not accept inner
/// attributes and inner documentation. Lines are blanked, not removed, so that errors refer to the
/// lines of the original.
fn without_inner_attributes(root: &str) -> String {
    let mut depth = 0;
    let mut text = String::with_capacity(root.len());
    for line in root.lines() {
        let inner = depth > 0 || line.starts_with("#![");
        if inner {
            depth += line.matches(['[', '(']).count();
            depth -= line.matches([']', ')']).count();
        } else if !line.starts_with("//!") {
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}
