// SPDX-License-Identifier: GPL-2.0

//! Assertions at build time.
//!
//! In the kernel, a call of `build_error()` that the optimiser leaves in place fails the link. A
//! test build does not optimise, so here it is a panic when it is reached.

#[doc(hidden)]
#[track_caller]
pub const fn build_error(msg: &'static str) -> ! {
    panic!("{}", msg)
}

/// Fails if it is reached.
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
