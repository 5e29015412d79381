// SPDX-License-Identifier: GPL-2.0

//! Bindings to the real C code of the kernel tree, in the layout of the kernel's
//! `rust/bindings/lib.rs`, and to the fakes below the FFI seam.

#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unnecessary_transmutes,
    unused_attributes,
    unused_imports,
    unsafe_op_in_unsafe_fn,
    reason = "generated from C"
)]

include!(concat!(env!("OUT_DIR"), "/ffi.rs"));

mod raw {
    use crate::ffi;
    use pin_init::{MaybeZeroable, Zeroable};

    // bindgen would make them fixed-size integers.
    type __kernel_size_t = usize;
    type __kernel_ssize_t = isize;
    type __kernel_ptrdiff_t = isize;

    include!(concat!(env!("OUT_DIR"), "/bindings_generated.rs"));
}

mod helpers {
    use super::raw::*;
    use crate::ffi;

    include!(concat!(env!("OUT_DIR"), "/bindings_helpers_generated.rs"));
}

// A function that C declares has priority over a helper of the same name, as in the kernel.
pub use self::helpers::*;
pub use self::raw::*;
