// SPDX-License-Identifier: GPL-2.0

//! How the user calls the program: `cargo series` in this repository, `series` if it is installed.

use std::borrow::Cow;

/// The name of the program in all messages.
const THROUGH_CARGO: &str = "cargo series";

/// The name of the program if it is installed.
pub const INSTALLED: &str = "series";

/// Returns whether the program was started by other means than `cargo series`, which only this
/// repository defines.
pub fn is_installed() -> bool {
    std::env::var_os("CARGO_MANIFEST_DIR").is_none()
}

/// Returns a text in which commands are written as the user calls them.
pub fn as_called(text: &str) -> Cow<'_, str> {
    if is_installed() && text.contains(THROUGH_CARGO) {
        return text.replace(THROUGH_CARGO, INSTALLED).into();
    }
    text.into()
}
