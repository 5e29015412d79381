// SPDX-License-Identifier: GPL-2.0

//! Takes pin-init out of the kernel tree.
//!
//! The crate on the registry is another one of that name, and its successor there is older than
//! the kernel's copy (it lacks the code blocks of `pin_init!`), so the tree's own is compiled.

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

/// The text of a crate root as it can be included in another one: `include!` takes no inner
/// attributes and no inner documentation. Lines are blanked, not removed, so that an error points
/// at the line of the original.
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
