// SPDX-License-Identifier: GPL-2.0

//! Provides the in-tree files with the kernel configuration options that they test, and with the
//! parts of nova-core that they use.

// The Rust version in `Cargo.toml` applies to the kernel's code and not to this script.
#![allow(clippy::incompatible_msrv)]

use std::{env, fs, path::PathBuf};

#[path = "../scripts/host/kernel/build/tree.rs"]
mod tree;

use tree::Tree;

/// Kernel configuration options that are set.
const SET: &[&str] = &["CONFIG_64BIT", "CONFIG_NOVA_CORE_KUNIT_TEST"];
/// Kernel configuration options that the files test and that are not set.
const NOT_SET: &[&str] = &[
    "CONFIG_32BIT",
    // Suites that need parts of the kernel which the stand-in lacks.
    "CONFIG_KUNIT",
    "CONFIG_DMA_SHARED_BUFFER",
    "CONFIG_INDIRECT_IOMEM",
    "CONFIG_LOCKDEP",
    "CONFIG_NOVA_CORE_MM_SELFTEST",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../scripts/host/kernel/build/tree.rs");
    for config in SET {
        println!("cargo::rustc-cfg={config}");
    }
    for config in SET.iter().chain(NOT_SET) {
        println!("cargo::rustc-check-cfg=cfg({config})");
    }

    let tree = Tree::locate("..");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    let mut modules = tree.module(
        "#[macro_use] mod bitfield",
        "drivers/gpu/nova-core/bitfield.rs",
    );
    modules += "mod regs {\n";
    modules += &tree.module(
        "pub(crate) mod macros",
        "drivers/gpu/nova-core/regs/macros.rs",
    );
    modules += "}\n";
    modules += &tree.module("mod num", "drivers/gpu/nova-core/num.rs");
    fs::write(out.join("nova_core.rs"), modules).unwrap();
    fs::write(out.join("gpu.rs"), chipsets(&tree)).unwrap();
}

/// Returns the part of `gpu.rs` that defines the chips. The rest of the file needs the rest of the
/// driver.
fn chipsets(tree: &Tree) -> String {
    let path = tree.file("drivers/gpu/nova-core/gpu.rs");
    let text = fs::read_to_string(&path).unwrap();
    let part = text
        .find("macro_rules! define_chipset")
        .zip(text.find("pub(crate) struct Revision"))
        .map(|(start, end)| &text[start..end]);
    let part =
        part.unwrap_or_else(|| panic!("{}: no definition of the chips found", path.display()));
    format!("use kernel::{{fmt, prelude::*}};\n\n{part}")
}
