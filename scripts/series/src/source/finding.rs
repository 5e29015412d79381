// SPDX-License-Identifier: GPL-2.0

//! Faults in a series, as rules and checks report them.

use std::{borrow::Cow, path::Path};

use serde::{Deserialize, Serialize};

use crate::sys::Error;

/// A problem that a rule or a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub series: String,
    /// The number of the patch; `None` if the whole series has the problem.
    pub patch: Option<usize>,
    /// The name of the check: "checkpatch", "rustfmt", "applies", "overlay", or a rule of
    /// `versions::rules` or `checks::rules`.
    pub check: Cow<'static, str>,
    /// The problem, without a full stop.
    pub message: String,
    pub file: Option<String>,
    pub line: Option<usize>,
    /// The remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Whether this is a claim of the patch that the check cannot verify, rather than a problem.
    #[serde(skip)]
    pub is_warning: bool,
}

impl Finding {
    pub fn new(series: &str, check: &'static str, message: impl Into<String>) -> Self {
        Self {
            series: series.to_owned(),
            patch: None,
            check: check.into(),
            message: message.into(),
            file: None,
            line: None,
            help: None,
            is_warning: false,
        }
    }

    pub fn of_patch(mut self, number: usize) -> Self {
        self.patch = Some(number);
        self
    }

    pub fn at(mut self, file: impl AsRef<Path>, line: impl Into<Option<usize>>) -> Self {
        self.file = Some(file.as_ref().display().to_string());
        self.line = line.into();
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Converts it into an error with its place.
    pub fn into_error(self) -> Error {
        let mut error = Error::new(self.message);
        if let Some(help) = self.help {
            error = error.help(help);
        }
        match self.file {
            Some(file) => error.at(file, self.line),
            None => error,
        }
    }

    /// As [`Self::into_error`], with the series, the patch and the check.
    pub fn into_full_error(mut self) -> Error {
        let patch = self.patch.map_or(String::new(), |n| format!(" patch {n}"));
        let (series, check) = (&self.series, &self.check);
        self.message = format!("{series}{patch}: {check}: {}", self.message);
        self.into_error()
    }
}

#[cfg(test)]
pub(crate) fn shown(findings: impl IntoIterator<Item = Finding>) -> String {
    let errors = findings.into_iter().map(Finding::into_error);
    Error::all(errors).map_or_else(|e| e.to_string(), |()| String::new())
}
