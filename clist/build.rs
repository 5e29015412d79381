// SPDX-License-Identifier: GPL-2.0

//! Gives the in-tree files the kernel configuration that they test for.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=CONFIG_KUNIT=\"y\"");
    for config in ["CONFIG_DEBUG_LIST", "CONFIG_LIST_HARDENED", "CONFIG_KUNIT"] {
        println!("cargo::rustc-check-cfg=cfg({config}, values(none(), \"y\"))");
    }
    // CONFIG_DEBUG_LIST selects CONFIG_LIST_HARDENED.
    if env::var_os("CARGO_FEATURE_DEBUG_LIST").is_some() {
        for config in ["CONFIG_DEBUG_LIST", "CONFIG_LIST_HARDENED"] {
            println!("cargo::rustc-cfg={config}");
            println!("cargo::rustc-cfg={config}=\"y\"");
        }
    }
}
