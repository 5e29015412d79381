// SPDX-License-Identifier: GPL-2.0

//! `out/series.json`.

use serde::{Deserialize, Serialize};

use crate::{
    git::{Oid, PatchCommit},
    mail::diff,
    patches::{
        commits::AssembledSeries,
        output::{Cover, mails::Mails},
    },
    source::workspace::Workspace,
    sys::{Error, Result, files::read_file},
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The kernel that all series are based on.
    pub base: BaseReport,
    /// The series, in dependency order.
    pub series: Vec<SeriesReport>,
    /// The commit with all series.
    pub all: PatchCommit,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseReport {
    /// The version, such as "6.19.11".
    pub version: String,
    /// The commit of the release in the public tree, if known.
    pub upstream_commit: Option<String>,
    /// The commit in the tool's kernel repository.
    pub commit: Oid,
    pub tree: Oid,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesReport {
    pub name: String,
    pub title: String,
    pub version: u32,
    /// The dependencies, in the order to apply them.
    pub depends: Vec<String>,
    /// The commit before the first patch.
    pub parent: PatchCommit,
    /// The last commit, or the parent if the series has no patch.
    pub tip: PatchCommit,
    /// Whether the patches produce the tree of `tip` on the base and `depends` alone.
    pub applies: bool,
    /// The folder of the patches, relative to the workspace. `None` if the series has no patch.
    pub folder: Option<String>,
    #[serde(default)]
    pub change_id: String,
    #[serde(default)]
    pub posted: Option<PostedReport>,
    pub patches: Vec<PatchReport>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedReport {
    pub version: u32,
    pub link: String,
    /// Whether the posting is still valid: no patch changed, and the mails apply.
    pub unchanged: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchReport {
    /// The number, counted from 1.
    pub id: usize,
    /// The subject, without the prefix in brackets.
    pub subject: String,
    /// The patch file, relative to the workspace.
    pub file: String,
    pub commit: Oid,
    pub tree: Oid,
    /// The output of `git patch-id --stable`.
    pub patch_id: String,
    pub added: usize,
}

/// Reads `out/series.json`. Returns `None` if the file does not exist.
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

impl SeriesReport {
    /// Describes a series whose patches are written to `folder`.
    pub(super) fn of(
        one: &AssembledSeries,
        cover: &Cover,
        posted: Option<PostedReport>,
        folder: String,
        mails: &Mails,
    ) -> Self {
        let series = one.plan.series();
        let has_patches = !one.patches.is_empty();
        let patches = one.plan.patches.iter().zip(&one.patches);
        let mails_with_ids = mails.patches.iter().zip(&mails.patch_ids);
        let patches = patches.zip(mails_with_ids).enumerate();
        let patches = patches.map(
            |(i, ((plan, made), ((file, mail), patch_id)))| PatchReport {
                id: i + 1,
                subject: plan.subject.clone(),
                file: format!("{folder}/{file}"),
                commit: made.commit.clone(),
                tree: made.tree.clone(),
                patch_id: patch_id.clone(),
                added: added(mail),
            },
        );
        Self {
            name: series.name.to_string(),
            title: cover.title.clone(),
            version: series.version,
            depends: one.below.clone(),
            parent: one.parent.clone(),
            tip: one.tip().clone(),
            applies: mails.differ.is_empty(),
            change_id: series.change_id.to_string(),
            posted,
            patches: patches.collect(),
            folder: has_patches.then_some(folder),
        }
    }
}

/// Returns the number of lines that a mail adds.
fn added(mail: &[u8]) -> usize {
    let files = diff::files(&String::from_utf8_lossy(mail)).into_iter();
    files.map(|file| file.added).sum()
}
