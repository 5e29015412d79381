// SPDX-License-Identifier: GPL-2.0

//! Standard output, which a closed pipe ends without an error.

use std::{
    io::{ErrorKind, Write},
    sync::OnceLock,
};

use serde::Serialize;

use crate::sys::{
    error::{Error, Result},
    json::json,
};

/// Why something could not be written to standard output.
static UNWRITTEN: OnceLock<String> = OnceLock::new();

/// Writes to standard output. A closed pipe is not an error; [`printed`] reports any other failure.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if let Err(e) = written
        && e.kind() != ErrorKind::BrokenPipe
    {
        // Later failures have the same cause.
        let _ = UNWRITTEN.set(e.to_string());
    }
}

/// Checks that all output was written.
///
/// # Errors
///
/// Standard output could not be written.
pub fn printed() -> Result<()> {
    match UNWRITTEN.get() {
        None => Ok(()),
        Some(why) => Err(
            Error::new(format!("cannot write to standard output: {why}"))
                .help("the output is incomplete; run this again where there is space"),
        ),
    }
}

/// Writes a value to standard output as JSON.
///
/// # Errors
///
/// The value has no JSON form.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    print(&String::from_utf8_lossy(&json(value)?));
    Ok(())
}
