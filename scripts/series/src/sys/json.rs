// SPDX-License-Identifier: GPL-2.0

//! JSON as the tool writes it.

use serde::Serialize;

use crate::sys::{Error, Result};

/// Formats indented JSON with a final newline, as in files.
pub fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|e| Error::new(format!("cannot be written as JSON: {e}")))?;
    text.push(b'\n');
    Ok(text)
}
