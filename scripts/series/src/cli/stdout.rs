// SPDX-License-Identifier: GPL-2.0

//! Standard output, which a closed pipe ends without an error.

use std::{
    fmt::Display,
    io::{ErrorKind, Write},
    sync::OnceLock,
};

use serde::Serialize;

use crate::sys::{Error, Result, called::as_called, json::json};

/// Why something could not be written to standard output.
static UNWRITTEN: OnceLock<String> = OnceLock::new();

/// Writes to standard output. A closed pipe is not an error; [`printed`] reports any other failure.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = out
        .write_all(as_called(text).as_bytes())
        .and_then(|()| out.flush());
    if let Err(e) = written
        && e.kind() != ErrorKind::BrokenPipe
    {
        // Later failures have the same cause.
        let _ = UNWRITTEN.set(e.to_string());
    }
}

pub fn print_line(text: impl Display) {
    print(&format!("{text}\n"));
}

pub fn print_json(value: &impl Serialize) -> Result<()> {
    print(&String::from_utf8_lossy(&json(value)?));
    Ok(())
}

/// Writes a value as JSON if the user asks for it, otherwise its text.
pub fn print_as(is_json: bool, value: &impl Serialize, text: &str) -> Result<()> {
    if is_json {
        return print_json(value);
    }
    print(text);
    Ok(())
}

/// Returns the failure to write any output.
pub fn printed() -> Result<()> {
    let Some(why) = UNWRITTEN.get() else {
        return Ok(());
    };
    let error = Error::new(format!("cannot write to standard output: {why}"));
    Err(error.help("the output is incomplete; run this again where there is space"))
}
