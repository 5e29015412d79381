// SPDX-License-Identifier: GPL-2.0

//! `printk()`, which writes to standard error.

#[doc(hidden)]
#[macro_export]
macro_rules! host_print {
    ($level:literal, $($arg:tt)+) => { eprint!("{}: {}", $level, format_args!($($arg)+)) };
}

/// Prints an error-level message.
#[macro_export]
macro_rules! pr_err {
    ($($arg:tt)+) => { $crate::host_print!("err", $($arg)+) };
}

/// Prints a warning-level message.
#[macro_export]
macro_rules! pr_warn {
    ($($arg:tt)+) => { $crate::host_print!("warning", $($arg)+) };
}

/// Prints an info-level message.
#[macro_export]
macro_rules! pr_info {
    ($($arg:tt)+) => { $crate::host_print!("info", $($arg)+) };
}
