// SPDX-License-Identifier: GPL-2.0

//! JSON as the tool writes it.

use std::path::Path;

use serde::{Serialize, de::DeserializeOwned};

use crate::sys::{Error, Result, files};

/// Formats indented JSON with a final newline, as in files.
pub fn text(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|e| Error::new(format!("cannot be written as JSON: {e}")))?;
    text.push(b'\n');
    Ok(text)
}

/// Reads a file of the tool. An unreadable one counts as missing, and is written again.
pub fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&files::read_file(path).ok()?).ok()
}

pub fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    files::write(path, &text(value)?)
}
