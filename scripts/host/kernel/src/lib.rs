// SPDX-License-Identifier: GPL-2.0

//! The host stand-in of the kernel crate.
//!
//! In-tree Rust files are compiled against it on the host, unmodified. It has three layers:
//!
//! - pure files of the kernel tree, mounted unmodified (`build/main.rs` lists them, and an import
//!   that is left out);
//! - the real C code of the tree, compiled with the real headers, in [`bindings`], a separate crate
//!   as in the kernel;
//! - the fakes below the FFI seam (`bindings/c`): memory, mutexes, time, devices, warnings. Their
//!   knobs are in [`host`].
//!
//! The crate contains only items that are in use. KUnit in the kernel decides whether code is
//! correct, never this crate.

// As in the kernel: `KBox` and `Arc` derive `CoercePointee`.
#![feature(derive_coerce_pointee)]

// Some files of the kernel's crate use this name.
extern crate self as kernel;

include!(concat!(env!("OUT_DIR"), "/root.rs"));

pub use bindings;
pub use bindings::ffi;

/// The kernel's procedural macros.
pub use macros;

#[doc(hidden)]
pub mod build_assert;
pub mod fmt;
pub mod host;
pub mod page;
pub mod prelude;
pub mod print;
pub mod processor;
pub mod str;
pub mod sync;
pub mod task;

/// Returns a pointer to the structure that contains a field.
///
/// # Safety
///
/// The pointer must point to the field of a live structure.
#[macro_export]
macro_rules! container_of {
    ($field:expr, $container:ty, $($path:tt)*) => {{
        let offset = ::core::mem::offset_of!($container, $($path)*);
        let field = $field;
        let container = field.byte_sub(offset).cast::<$container>();
        $crate::assert_same_type(field, (&raw const (*container).$($path)*).cast_mut());
        container
    }};
}

/// Checks types for [`container_of!`].
#[doc(hidden)]
pub fn assert_same_type<T>(_: T, _: T) {}
