// SPDX-License-Identifier: GPL-2.0

//! `out/series.json`.

use serde::{Deserialize, Serialize};

use crate::{
    git::PatchCommit,
    patches::commits::AssembledSeries,
    source::workspace::Workspace,
    sys::{
        error::{Error, Result},
        files::read_file,
    },
};

/// The content of `out/series.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The kernel that all series are based on.
    pub base: BaseReport,
    /// The series, in dependency order.
    pub series: Vec<SeriesReport>,
    /// The commit with all series.
    pub all: Tip,
}

/// The base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseReport {
    /// The version, such as "6.19.11".
    pub version: String,
    /// The commit of the release in the public tree, if known.
    pub upstream_commit: Option<String>,
    /// The commit in the tool's kernel repository.
    pub commit: String,
    /// The tree.
    pub tree: String,
}

/// A commit and its tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    /// The commit.
    pub commit: String,
    /// The tree.
    pub tree: String,
}

/// A series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesReport {
    /// The name.
    pub name: String,
    /// The title.
    pub title: String,
    /// The version.
    pub version: u32,
    /// The dependencies, in the order to apply them.
    pub depends: Vec<String>,
    /// The commit before the first patch.
    pub parent: Tip,
    /// The last commit, or the parent if the series has no patch.
    pub tip: Tip,
    /// Whether the patches produce the tree of `tip` on the base and `depends` alone.
    pub applies: bool,
    /// The folder of the patches, relative to the workspace. `None` if the series has no patch.
    pub folder: Option<String>,
    /// The change ID.
    #[serde(default)]
    pub change_id: String,
    /// The last posting.
    #[serde(default)]
    pub posted: Option<PostedReport>,
    /// The patches.
    pub patches: Vec<PatchReport>,
}

/// The last posting of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedReport {
    /// The version.
    pub version: u32,
    /// The link.
    pub link: String,
    /// Whether the posting is still valid: no patch changed, and the mails apply.
    pub unchanged: bool,
}

/// A patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchReport {
    /// The number, counted from 1.
    pub id: usize,
    /// The subject, without the prefix in brackets.
    pub subject: String,
    /// The patch file, relative to the workspace.
    pub file: String,
    /// The commit.
    pub commit: String,
    /// The tree.
    pub tree: String,
    /// The output of `git patch-id --stable`.
    pub patch_id: String,
    /// The number of added lines.
    pub added: usize,
}

/// Reads `out/series.json`. Returns `None` if the file does not exist.
///
/// # Errors
///
/// Fails if the file does not have the format of this version of the tool.
pub fn read_report(ws: &Workspace) -> Result<Option<Report>> {
    let below = ws.below_out("series.json");
    let Ok(text) = read_file(&ws.path(&below)) else {
        return Ok(None);
    };
    let parsed = serde_json::from_slice(&text).map(Some);
    parsed.map_err(|e| {
        Error::new(format!("cannot be parsed: {e}"))
            .at(below, e.line())
            .help("run `cargo series assemble` to write it again")
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
