// SPDX-License-Identifier: GPL-2.0

//! Gives the in-tree files the kernel configuration that they ask for.
//!
//! KUnit is off: the suite replaces C functions and starts threads in ways that only the kernel
//! has. The tests of the host are in `tests/`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=CONFIG_GPU_BUDDY=\"y\"");
    for config in ["CONFIG_KUNIT", "CONFIG_GPU_BUDDY"] {
        println!("cargo::rustc-check-cfg=cfg({config}, values(none(), \"y\"))");
    }
}
