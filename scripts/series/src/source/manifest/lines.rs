// SPDX-License-Identifier: GPL-2.0

//! Values with their lines, so that errors name the place.

use std::path::Path;

use serde::{Deserialize, de::DeserializeOwned};
use toml::{
    Spanned,
    de::{DeTable, DeValue, Error as TomlError, ValueDeserializer},
};

use crate::sys::{Error, Result};

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Spanned<T>", bound(deserialize = "T: Deserialize<'de>"))]
pub struct At<T> {
    pub value: T,
    /// The line, counted from 1.
    pub line: usize,
}

impl<T> From<Spanned<T>> for At<T> {
    /// Reads the line from a span, where `parse` puts it.
    fn from(spanned: Spanned<T>) -> Self {
        Self {
            line: spanned.span().start,
            value: spanned.into_inner(),
        }
    }
}

/// Reads a TOML file. [`At`] gets the lines of the values.
pub(crate) fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T> {
    let error = |e: &TomlError, line| {
        Error::new(e.message().trim_end())
            .at(file, line)
            .help("the fields are described in ARCHITECTURE.md, \"Manifests\"")
    };
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let table = DeTable::parse(text)
        .map_err(|e| error(&e, e.span().map(|span| line_of(&ends, span.start))))?;
    let table = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
    T::deserialize(ValueDeserializer::from(with_lines(&ends, table)))
        .map_err(|e| error(&e, e.span().map(|line| line.start)))
}

/// Returns the line of an offset, from the offsets of the newlines.
fn line_of(ends: &[usize], offset: usize) -> usize {
    ends.partition_point(|end| *end < offset) + 1
}

/// Replaces the byte offsets in the spans of a value by lines.
fn with_lines<'a>(ends: &[usize], value: Spanned<DeValue<'a>>) -> Spanned<DeValue<'a>> {
    let place = |offset| line_of(ends, offset)..line_of(ends, offset);
    let line = place(value.span().start);
    let value = match value.into_inner() {
        DeValue::Array(all) => {
            let all = all.into_iter().map(|one| with_lines(ends, one));
            DeValue::Array(all.collect())
        }
        DeValue::Table(all) => {
            let all = all.into_iter().map(|(key, value)| {
                let line = place(key.span().start);
                let key = Spanned::new(line, key.into_inner());
                (key, with_lines(ends, value))
            });
            DeValue::Table(all.collect())
        }
        other => other,
    };
    Spanned::new(line, value)
}
