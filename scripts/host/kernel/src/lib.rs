// SPDX-License-Identifier: GPL-2.0

//! The host stand-in of the kernel crate.
//!
//! In-tree Rust files are compiled against it on the host, unmodified. Three layers:
//!
//! - pure files of the kernel tree, mounted as they are (`build/main.rs` lists them);
//! - the real C code of the tree behind [`bindings`], compiled with the real headers, in a crate of
//!   its own as in the kernel;
//! - the fakes below the FFI seam (`bindings/c`): memory, mutexes, warnings. Their knobs are in [`host`].
//!
//! It holds what its users need today and nothing for tomorrow. What is right or wrong is decided
//! by KUnit in the kernel, never here.

include!(concat!(env!("OUT_DIR"), "/root.rs"));

pub use bindings;
pub use bindings::ffi;

pub mod alloc;
#[doc(hidden)]
pub mod build_assert;
pub mod fmt;
pub mod host;
pub mod prelude;
pub mod print;
pub mod str;
pub mod sync;
