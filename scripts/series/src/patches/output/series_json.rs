// SPDX-License-Identifier: GPL-2.0

//! `out/series.json`.

use serde::{
    Deserialize,
    Serialize, //
};

use crate::{
    git::PatchCommit,
    patches::commits::AssembledSeries,
    source::workspace::Workspace,
    sys::{
        error::{
            Error,
            Result, //
        },
        files::read_file, //
    }, //
};

/// `out/series.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The kernel that all series are made for.
    pub base: BaseReport,
    /// The series, in dependency order.
    pub series: Vec<SeriesReport>,
    /// The tree that has all of them.
    pub all: Tip,
}

/// The base in `out/series.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseReport {
    /// "6.19.11".
    pub version: String,
    /// The commit of the release in the public tree, where it is known.
    pub upstream_commit: Option<String>,
    /// The commit that stands for it in the tool's kernel repository.
    pub commit: String,
    /// Its tree.
    pub tree: String,
}

/// A commit and its tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    /// The commit.
    pub commit: String,
    /// Its tree.
    pub tree: String,
}

/// A series in `out/series.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesReport {
    /// Its name.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Its version.
    pub version: u32,
    /// What it builds on, in the order to apply.
    pub depends: Vec<String>,
    /// The commit it starts from.
    pub parent: Tip,
    /// Its last commit; the parent if there is no patch.
    pub tip: Tip,
    /// Whether its patches give the recorded tree on the base plus `depends` alone.
    pub applies: bool,
    /// The folder of its patches, below the top folder; `None` if there is no patch yet.
    pub folder: Option<String>,
    /// b4's change id.
    #[serde(default)]
    pub change_id: String,
    /// Its last posting, if there is one.
    #[serde(default)]
    pub posted: Option<PostedReport>,
    /// Its patches.
    pub patches: Vec<PatchReport>,
}

/// The last posting of a series in `out/series.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedReport {
    /// The version.
    pub version: u32,
    /// The link to it.
    pub link: String,
    /// Whether nothing changed since that a reviewer has to look at.
    pub unchanged: bool,
}

/// A patch in `out/series.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchReport {
    /// Its number, from 1.
    pub id: usize,
    /// Its subject without the brackets.
    pub subject: String,
    /// Its file, below the top folder.
    pub file: String,
    /// Its commit.
    pub commit: String,
    /// Its tree.
    pub tree: String,
    /// `git patch-id --stable`.
    pub patch_id: String,
    /// Lines that it adds.
    pub added: usize,
}

/// Reads `out/series.json`, if there is one.
///
/// # Errors
///
/// It is not what this version of the tool writes.
pub fn read_report(ws: &Workspace) -> Result<Option<Report>> {
    let below = ws.below_out("series.json");
    let Ok(text) = read_file(&ws.path(&below)) else {
        return Ok(None);
    };
    let parsed = serde_json::from_slice(&text).map(Some);
    parsed.map_err(|e| {
        Error::new(format!("is not what this tool writes: {e}"))
            .at(below, e.line())
            .help("run `cargo series assemble`, which writes it anew")
    })
}

pub(super) fn tip(patch: &PatchCommit) -> Tip {
    Tip {
        commit: patch.commit.to_string(),
        tree: patch.tree.to_string(),
    }
}

pub(super) fn report(one: &AssembledSeries, title: &str) -> SeriesReport {
    let series = one.plan.series();
    let patches = one.plan.patches.iter().zip(&one.patches).enumerate();
    SeriesReport {
        name: series.name.to_string(),
        title: title.to_owned(),
        version: series.version,
        depends: one.below.clone(),
        parent: tip(&one.parent),
        tip: tip(one.tip()),
        applies: true,
        folder: None,
        change_id: series.change_id.to_string(),
        posted: None,
        patches: patches
            .map(|(i, (plan, made))| PatchReport {
                id: i + 1,
                subject: plan.subject.clone(),
                file: String::new(),
                commit: made.commit.to_string(),
                tree: made.tree.to_string(),
                patch_id: String::new(),
                added: 0,
            })
            .collect(),
    }
}
