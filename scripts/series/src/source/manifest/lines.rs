// SPDX-License-Identifier: GPL-2.0

//! Values with their lines, so that errors name the place.

use std::{collections::BTreeMap, path::Path};

use serde::de::DeserializeOwned;
use toml::Spanned;

use crate::sys::{Error, Result};

/// A value with its line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    /// The line, counted from 1.
    pub line: usize,
}

/// Finds lines by byte offset.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a>(pub(crate) &'a str);

impl Lines<'_> {
    pub(super) fn of(&self, offset: usize) -> usize {
        let before = &self.0.as_bytes()[..offset.min(self.0.len())];
        before.iter().filter(|b| **b == b'\n').count() + 1
    }

    pub(crate) fn at<T>(&self, spanned: Spanned<T>) -> At<T> {
        At {
            line: self.of(spanned.span().start),
            value: spanned.into_inner(),
        }
    }

    pub(crate) fn all<T>(&self, spanned: Vec<Spanned<T>>) -> Vec<At<T>> {
        spanned.into_iter().map(|s| self.at(s)).collect()
    }

    pub(super) fn named<T>(&self, all: BTreeMap<String, Spanned<T>>) -> BTreeMap<String, At<T>> {
        let all = all.into_iter().map(|(name, s)| (name, self.at(s)));
        all.collect()
    }
}

pub(crate) fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|e| {
        let line = e.span().map(|span| Lines(text).of(span.start));
        Error::new(e.message().trim_end())
            .at(file, line)
            .help("the fields are described in ARCHITECTURE.md, \"Manifests\"")
    })
}
