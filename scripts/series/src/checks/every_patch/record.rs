// SPDX-License-Identifier: GPL-2.0

//! `out/full.json` and `out/full-times.json`.
//!
//! The first file is a function of the input: two runs write the same bytes. Times are in the
//! second file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    kernel::build::Arch,
    source::workspace::Workspace,
    sys::error::{Error, Result},
};

/// `out/full.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Full {
    /// The version of the base.
    pub base: String,
    pub base_tree: String,
    /// The tree with all series.
    pub all_tree: String,
    /// The kernels that each patch was compiled for.
    pub archs: Vec<Arch>,
    /// The series, in dependency order.
    pub series: Vec<SeriesFull>,
    /// Whether the checks found nothing.
    pub pass: bool,
}

/// The results of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesFull {
    pub name: String,
    pub version: u32,
    /// The declared dependencies.
    pub depends: Vec<String>,
    /// The tree below the first patch: the base and the dependencies.
    pub parent_tree: String,
    pub patches: Vec<PatchFull>,
    /// KUnit at the end of the series.
    pub kunit: Option<KunitFull>,
    /// Whether each declared dependency is necessary.
    pub dependencies: Vec<Dependency>,
    /// Whether each patch builds on the base and the declared dependencies, which shows that no
    /// dependency is undeclared.
    pub builds_alone: bool,
    /// Whether the checks found nothing.
    pub pass: bool,
}

/// The results of a patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchFull {
    /// The number, from 1.
    pub id: usize,
    pub subject: String,
    /// The tree with the patch.
    pub tree: String,
    /// The results by architecture.
    pub units: Vec<UnitFull>,
    /// Whether the checks found nothing.
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Said {
    /// The path in the kernel; empty if the message names no file.
    pub file: String,
    /// The line in the file.
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
    /// The number of tests that passed.
    pub passed: u64,
    /// The number of tests that failed.
    pub failed: u64,
    /// The number of tests that crashed or never reported.
    pub crashed: u64,
    /// The number of tests that were skipped.
    pub skipped: u64,
    pub errors: Vec<String>,
}

/// A declared dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The name of the series below.
    pub name: String,
    /// The number of leading patches that neither apply nor build on it, according to the manifest.
    pub without: usize,
    /// The number that the builds show; all patches if none needs the dependency.
    pub found: usize,
    /// Whether a patch needs it.
    pub needed: bool,
    /// The failure of the first patch that needs it, without it.
    pub failure: Option<Failure>,
    /// Whether it is necessary, and the number in the manifest is correct.
    pub pass: bool,
}

/// The failure of a patch without a dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The number of the patch.
    pub patch: usize,
    pub subject: String,
    pub how: How,
    /// The first error, or the files that do not merge.
    pub error: String,
}

/// The kind of failure of a patch without a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It changes lines of the dependency, or adjacent ones.
    DoesNotApply,
    DoesNotBuild,
    /// It builds with a new warning.
    Warns,
}

/// `out/full-times.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// The duration of the run.
    pub seconds: f64,
    /// The number of units with stored results.
    pub cached: usize,
    /// The units in order.
    pub units: Vec<UnitTime>,
}

/// The duration of a unit when it was built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitTime {
    /// The name: "gpu-buddy 3 um".
    pub what: String,
    pub seconds: f64,
    /// Whether an earlier run built it.
    pub cached: bool,
}

/// The file name of the record in the output folder.
const FILE: &str = "full.json";

/// Returns the path of the record of the last complete run.
pub fn path(ws: &Workspace) -> PathBuf {
    ws.path(ws.below_out(FILE))
}

/// Reads the record of the last complete run, if there is one.
///
/// # Errors
///
/// The record cannot be read.
pub fn read(ws: &Workspace) -> Result<Option<Full>> {
    let path = path(ws);
    if !path.is_file() {
        return Ok(None);
    }
    let text = crate::sys::files::read_text(&path).map_err(|e| e.at(ws.below_out(FILE), None))?;
    serde_json::from_str(&text).map(Some).map_err(|e| {
        Error::new(format!("cannot be read: {e}"))
            .at(ws.below_out(FILE), None)
            .help("`cargo series check --full` writes it again")
    })
}
