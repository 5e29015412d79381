// SPDX-License-Identifier: GPL-2.0

//! The kernel's prelude, as far as the stand-in has its items.

pub use core::{
    mem::{align_of, align_of_val, size_of, size_of_val},
    pin::Pin,
};

pub use crate::ffi::{
    c_char, c_int, c_long, c_longlong, c_schar, c_short, c_uchar, c_uint, c_ulong, c_ulonglong,
    c_ushort, c_void, CStr,
};

// Omits `Box` and `Vec`, because host tests use the types of `std`.
pub use crate::alloc::{flags::*, KBox, KVBox, KVVec, KVec, VBox, VVec};

// The kernel's macro wraps arguments of types that the host does not have.
pub use core::format_args as fmt;

pub use macros::kunit_tests;

pub use pin_init::{init, pin_data, pin_init, pinned_drop, InPlaceWrite, Init, PinInit, Zeroable};

pub use crate::{build_assert, build_error};

pub use {static_assert, try_init, try_pin_init};

pub use crate::{pr_err, pr_info, pr_warn};

pub use crate::error::{code::*, Error, Result};

pub use crate::str::CStrExt as _;

pub use crate::init::InPlaceInit;
