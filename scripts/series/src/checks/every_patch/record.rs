// SPDX-License-Identifier: GPL-2.0

//! `out/full.json` and `out/full-times.json`.
//!
//! The first is a function of what was checked: two runs give the same bytes. How long it took is
//! in the second.

use std::path::PathBuf;

use serde::{
    Deserialize,
    Serialize, //
};

use crate::{
    kernel::build::Arch,
    source::workspace::Workspace,
    sys::error::{
        Error,
        Result, //
    }, //
};

/// `out/full.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Full {
    /// The version of the base.
    pub base: String,
    /// The tree of the base.
    pub base_tree: String,
    /// The tree with all series.
    pub all_tree: String,
    /// The kernels that each patch was compiled for.
    pub archs: Vec<Arch>,
    /// The series, in dependency order.
    pub series: Vec<SeriesFull>,
    /// Whether nothing was found.
    pub pass: bool,
}

/// One series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesFull {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// What it declares to build on.
    pub depends: Vec<String>,
    /// The tree that its patches start from: the base and its dependencies, nothing else.
    pub parent_tree: String,
    /// Its patches.
    pub patches: Vec<PatchFull>,
    /// KUnit at its end.
    pub kunit: Option<KunitFull>,
    /// Whether each declared dependency is needed.
    pub dependencies: Vec<Dependency>,
    /// Whether each of its patches builds on the base and the declared dependencies alone: then no
    /// dependency is undeclared.
    pub builds_alone: bool,
    /// Whether nothing was found.
    pub pass: bool,
}

/// One patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchFull {
    /// Its number, from 1.
    pub id: usize,
    /// Its subject.
    pub subject: String,
    /// The tree after it.
    pub tree: String,
    /// What was compiled there.
    pub units: Vec<UnitFull>,
    /// Whether nothing was found.
    pub pass: bool,
}

/// One patch on one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFull {
    /// The architecture.
    pub arch: Arch,
    /// What ran: "build", "W=1", "clippy", "sparse", "rustdoc".
    pub ran: Vec<String>,
    /// Whether it builds.
    pub builds: bool,
    /// Whether it builds, and nothing new was said.
    pub pass: bool,
    /// Warnings that neither the base nor an earlier patch has.
    pub warnings: Vec<Said>,
    /// Errors that no earlier patch has.
    pub errors: Vec<Said>,
}

/// Something that a compiler or a checker said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Said {
    /// The file, by its path in the kernel; empty if none is named.
    pub file: String,
    /// The line in it.
    pub line: Option<usize>,
    /// One line: what is wrong.
    pub message: String,
    /// All of it.
    pub text: String,
}

/// KUnit at the end of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KunitFull {
    /// The kernel.
    pub arch: Arch,
    /// Its tree: the base, the dependencies, the series.
    pub tree: String,
    /// Whether everything expected ran and passed.
    pub pass: bool,
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that crashed or never reported.
    pub crashed: u64,
    /// Tests that were skipped.
    pub skipped: u64,
    /// What is wrong.
    pub errors: Vec<String>,
}

/// A declared dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The series that is depended on.
    pub name: String,
    /// How many patches from the first on need it neither to apply nor to build, as the manifest
    /// says it.
    pub without: usize,
    /// The same as it was found to be; all patches if it is not needed.
    pub found: usize,
    /// Whether a patch needs it.
    pub needed: bool,
    /// How the first patch that needs it fails without it.
    pub failure: Option<Failure>,
    /// Whether it is needed, and from the patch that the manifest says.
    pub pass: bool,
}

/// How a patch fails without a dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The patch.
    pub patch: usize,
    /// Its subject.
    pub subject: String,
    /// In what way.
    pub how: How,
    /// The first error, or the files that do not merge.
    pub error: String,
}

/// In what way a patch fails without a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It changes what only the dependency brings, or lines next to it.
    DoesNotApply,
    /// It does not build.
    DoesNotBuild,
    /// It builds with a new warning.
    Warns,
}

/// `out/full-times.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// How long the run took.
    pub seconds: f64,
    /// How much of it was known from earlier runs.
    pub cached: usize,
    /// What was run or known, in order.
    pub units: Vec<UnitTime>,
}

/// How long one thing took when it was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitTime {
    /// What: "gpu-buddy 3 um".
    pub what: String,
    /// How long it took.
    pub seconds: f64,
    /// Whether it was done by an earlier run.
    pub cached: bool,
}

/// Its name.
const FILE: &str = "full.json";

/// Where the record of the last whole run lies.
pub fn path(ws: &Workspace) -> PathBuf {
    ws.path(ws.below_out(FILE))
}

/// Reads the record of the last whole run, if there is one.
///
/// # Errors
///
/// It is there, but cannot be read.
pub fn read(ws: &Workspace) -> Result<Option<Full>> {
    let path = path(ws);
    if !path.is_file() {
        return Ok(None);
    }
    let text = crate::sys::files::read_text(&path).map_err(|e| e.at(ws.below_out(FILE), None))?;
    serde_json::from_str(&text).map(Some).map_err(|e| {
        Error::new(format!("cannot be read: {e}"))
            .at(ws.below_out(FILE), None)
            .help("`cargo series check --full` writes it anew")
    })
}
