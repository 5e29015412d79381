// SPDX-License-Identifier: GPL-2.0

//! The host stand-in of the kernel crate.
//!
//! In-tree Rust files are compiled against it on the host, unmodified. Three layers:
//!
//! - pure files of the kernel tree, mounted as they are (`build/main.rs` lists them, and an import
//!   that is left out);
//! - the real C code of the tree behind [`bindings`], compiled with the real headers, in a crate of
//!   its own as in the kernel;
//! - the fakes below the FFI seam (`bindings/c`): memory, mutexes, time, devices, warnings. Their
//!   knobs are in [`host`].
//!
//! It holds what its users need today and nothing for tomorrow. What is right or wrong is decided
//! by KUnit in the kernel, never here.

// As in the kernel: `KBox` and `Arc` derive `CoercePointee`.
#![feature(derive_coerce_pointee)]

// As in the kernel's crate, whose files name it so at times.
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

/// The structure that a field is in.
///
/// # Safety
///
/// The pointer is that of the field of a live structure.
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

/// For [`container_of!`].
#[doc(hidden)]
pub fn assert_same_type<T>(_: T, _: T) {}
