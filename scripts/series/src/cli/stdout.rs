// SPDX-License-Identifier: GPL-2.0

//! Standard output, which a closed pipe ends without an error.

use std::{
    fmt::Display,
    io::{ErrorKind, Write},
};

use serde::Serialize;

use crate::sys::{Error, Result, called::as_called, json};

/// Writes to standard output. A closed pipe is not an error.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out
        .write_all(as_called(text).as_bytes())
        .and_then(|()| out.flush());
    match written {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Error::new(format!("cannot write to standard output: {e}"))
                .help("the output is incomplete; run this again where there is space"))
        }
        _ => Ok(()),
    }
}

pub fn print_line(text: impl Display) -> Result<()> {
    print(&format!("{text}\n"))
}

pub fn print_json(value: &impl Serialize) -> Result<()> {
    print(&String::from_utf8_lossy(&json::text(value)?))
}

/// Writes a value as JSON if the user asks for it, otherwise its text.
pub fn print_as(is_json: bool, value: &impl Serialize, text: &str) -> Result<()> {
    if is_json {
        return print_json(value);
    }
    print(text)
}
