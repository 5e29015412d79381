// SPDX-License-Identifier: GPL-2.0

//! `out/full.json` and `out/full-times.json`.
//!
//! The first file is a function of the input: two runs write the same bytes. Times are in the
//! second file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::store::Key;
use crate::{kernel::build::Arch, source::workspace::Workspace, sys::json};

/// `out/full.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Full {
    pub base: String,
    pub base_tree: String,
    /// The tree with all series.
    pub all_tree: String,
    /// The kernels that each patch was compiled for.
    pub archs: Vec<Arch>,
    pub series: Vec<SeriesFull>,
    pub pass: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesFull {
    pub name: String,
    pub version: u32,
    pub depends: Vec<String>,
    /// The tree below the first patch: the base and the dependencies.
    pub parent_tree: String,
    pub patches: Vec<PatchFull>,
    pub kunit: Option<KunitFull>,
    pub dependencies: Vec<Dependency>,
    /// Whether each patch builds on the base and the declared dependencies: none is undeclared.
    pub builds_alone: bool,
    pub pass: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchFull {
    /// The number, from 1.
    pub id: usize,
    pub subject: String,
    pub tree: String,
    pub units: Vec<UnitFull>,
    pub pass: bool,
}

/// The results of a patch on one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFull {
    pub arch: Arch,
    /// The checkers that ran: "build", "W=1", "clippy", "sparse", "rustdoc".
    pub ran: Vec<String>,
    pub builds: bool,
    /// Whether it builds without new diagnostics.
    pub pass: bool,
    /// Warnings that neither the base nor an earlier patch has.
    pub warnings: Vec<Said>,
    /// Errors that no earlier patch has.
    pub errors: Vec<Said>,
}

/// A message of a compiler or a checker.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Said {
    /// The path in the kernel; empty if the message names no file.
    pub file: String,
    pub line: Option<usize>,
    /// The first line of the message.
    pub message: String,
    /// The whole message.
    pub text: String,
}

/// KUnit at the end of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KunitFull {
    pub arch: Arch,
    /// The tree with the base, the dependencies and the series.
    pub tree: String,
    /// Whether every expected test ran and passed.
    pub pass: bool,
    pub passed: u64,
    pub failed: u64,
    /// The number of tests that crashed or never reported.
    pub crashed: u64,
    pub skipped: u64,
    pub errors: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub name: String,
    /// The number of leading patches that neither apply nor build on it, according to the manifest.
    pub without: usize,
    /// The number that the builds show; all patches if none needs the dependency.
    pub found: usize,
    pub needed: bool,
    /// The failure of the first patch that needs it, without it.
    pub failure: Option<Failure>,
    /// Whether it is necessary, and the number in the manifest is correct.
    pub pass: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub patch: usize,
    pub subject: String,
    pub how: How,
    /// The first error, or the files that do not merge.
    pub error: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It changes lines of the dependency, or adjacent ones.
    DoesNotApply,
    DoesNotBuild,
    Warns,
}

impl How {
    /// Completes "a patch that …".
    pub fn text(self) -> &'static str {
        match self {
            How::DoesNotApply => "does not apply",
            How::DoesNotBuild => "does not build",
            How::Warns => "builds with a new warning",
        }
    }
}

/// `out/full-times.json`.
#[derive(Serialize)]
pub struct Times {
    pub seconds: f64,
    /// The number of units with stored results.
    pub cached: usize,
    pub units: Vec<UnitTime>,
}

/// The duration of a unit when it was built.
#[derive(Serialize)]
pub struct UnitTime {
    /// The name: "gpu-buddy 3 um".
    pub what: String,
    pub seconds: f64,
    /// Whether an earlier run built it.
    pub cached: bool,
    #[serde(skip)]
    pub key: Key,
}

pub fn path(ws: &Workspace) -> PathBuf {
    ws.path(ws.below_out("full.json"))
}

/// Reads the last complete run. A record of another version of the program counts as missing.
pub fn read(ws: &Workspace) -> Option<Full> {
    json::read(&path(ws))
}
