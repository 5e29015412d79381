// SPDX-License-Identifier: GPL-2.0

//! Gives the in-tree files the kernel configuration that they ask for.
//!
//! KUnit is off: the suite replaces C functions and starts threads in ways that only the kernel
//! has. The tests of the host are in `tests/`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // On another base, the tests drive the C allocator of that base. The Rust files are those of the
    // default base, and what their tests expect of C is not what another base does.
    println!("cargo::rerun-if-env-changed=SERIES_BASE");
    println!("cargo::rustc-check-cfg=cfg(other_base)");
    if std::env::var_os("SERIES_BASE").is_some_and(|base| !base.is_empty()) {
        println!("cargo::rustc-cfg=other_base");
    }
    println!("cargo::rustc-cfg=CONFIG_GPU_BUDDY=\"y\"");
    for config in ["CONFIG_KUNIT", "CONFIG_GPU_BUDDY"] {
        println!("cargo::rustc-check-cfg=cfg({config}, values(none(), \"y\"))");
    }
}
