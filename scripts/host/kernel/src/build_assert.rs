// SPDX-License-Identifier: GPL-2.0

//! Assertions at build time.
//!
//! In the kernel, a call of `build_error()` that remains after optimization fails the link. A test
//! build is not optimized, so such a call panics at run time.

#[doc(hidden)]
#[track_caller]
pub const fn build_error(msg: &'static str) -> ! {
    panic!("{}", msg)
}

/// Panics when it is executed.
#[macro_export]
macro_rules! build_error {
    () => {
        $crate::build_assert::build_error("")
    };
    ($msg:expr) => {
        $crate::build_assert::build_error($msg)
    };
}

/// Fails if the condition is false.
#[macro_export]
macro_rules! build_assert {
    ($cond:expr $(,)?) => {
        $crate::build_assert!($cond, concat!("assertion failed: ", stringify!($cond)))
    };
    ($cond:expr, $msg:expr) => {
        if !$cond {
            $crate::build_assert::build_error($msg);
        }
    };
}
