// SPDX-License-Identifier: GPL-2.0

//! C strings, as far as the mounted files use them.

pub use core::ffi::CStr;

/// The kernel's methods of [`CStr`].
pub trait CStrExt {
    /// The pointer, as the kernel's unsigned `char`.
    fn as_char_ptr(&self) -> *const crate::ffi::c_char;
}

impl CStrExt for CStr {
    fn as_char_ptr(&self) -> *const crate::ffi::c_char {
        self.as_ptr().cast()
    }
}

/// Creates a [`CStr`] from a string constant.
#[macro_export]
macro_rules! c_str {
    ($str:expr) => {{
        const TEXT: &str = concat!($str, "\0");
        const C: &$crate::str::CStr = match $crate::str::CStr::from_bytes_with_nul(TEXT.as_bytes())
        {
            Ok(c) => c,
            Err(_) => panic!("the string has a NUL inside"),
        };
        C
    }};
}
