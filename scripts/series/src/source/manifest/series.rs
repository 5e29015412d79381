// SPDX-License-Identifier: GPL-2.0

//! A series and its patches, as a manifest describes them.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::lines::At;
use crate::{
    source::{
        words::{self, ChangeId, Prefix, Recipient, SeriesName},
        workspace::View,
    },
    sys::{Error, Result},
};

/// A series, from `series/<name>.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    pub name: SeriesName,
    /// The manifest, below the top folder.
    pub file: PathBuf,
    /// The base on which the series is posted. [`None`] for the default base.
    pub base: Option<At<String>>,
    /// The folder that contains the files.
    pub component: SeriesName,
    /// The reason why a local series is never posted.
    pub local: Option<At<String>>,
    /// The tree that takes the series, if `to` and `cc` do not show it.
    pub tree: Option<String>,
    /// The branch with its patches. Without it, they are made of the files of the component.
    pub branch: Option<At<String>>,
    /// Of each series below it, the commit on which its branch sits.
    pub fork_points: BTreeMap<String, At<String>>,
    /// The version, from 1.
    pub version: u32,
    pub line_of_version: Option<usize>,
    /// The words before the version in the subject: "PATCH", "RFC PATCH", "PATCH net-next".
    pub prefix: Prefix,
    pub change_id: ChangeId,
    pub line_of_change_id: Option<usize>,
    pub depends: Vec<At<String>>,
    /// The number of first patches that apply and build without a dependency.
    pub without: BTreeMap<String, At<usize>>,
    /// Whether the cover letter contains the range-diff against the last posting.
    pub range_diff: bool,
    pub to: Vec<Recipient>,
    pub line_of_to: Option<usize>,
    pub cc: Vec<Recipient>,
    /// The reasons for omitting recipients that `get_maintainer.pl` names.
    pub absent: BTreeMap<String, At<String>>,
    /// The reasons for public items without a user.
    pub unused: BTreeMap<String, At<String>>,
    /// The reasons for omitting files and folders of the overlay on this base.
    pub left_out: BTreeMap<String, At<String>>,
    /// The reason for more patches than a posting should have.
    pub many: Option<At<String>>,
    /// The reason for subjects whose text begins with a capital letter.
    pub capitals: Option<At<String>>,
    pub provenance: Option<At<Provenance>>,
    pub kunit: Kunit,
    pub patches: Vec<Patch>,
}

/// The origin of a series, for the cover letter.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Provenance {
    pub text: String,
    #[serde(default)]
    pub links: Vec<String>,
}

/// The KUnit suites that have to run for a valid result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Kunit {
    pub suites: Vec<String>,
    /// Suites that only run on user-mode Linux, because they need one of its options.
    pub um_suites: Vec<String>,
    /// Source files of the component with doctests.
    pub doctests: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Patch {
    #[serde(skip)]
    pub line: usize,
    /// The file of the commit message in `series/<name>/`; of a commit of a branch, its subject.
    pub message: At<String>,
    /// The `subject` in the manifest, which the reader moves to `message`.
    pub subject: Option<At<String>>,
    /// The bases that have the patch. Empty for all bases.
    pub only: Vec<At<String>>,
    /// The files of `<component>/tree/` that the patch adds.
    pub files: Vec<At<String>>,
    /// The step of `<component>/relocation.toml` that the patch makes before applying the diffs.
    pub relocate: Option<At<String>>,
    /// The diffs of `<component>/edits/` that the patch applies.
    pub edits: Vec<At<String>>,
    /// The parts that the patch adds to files of earlier patches.
    pub withhold: Vec<Withhold>,
    /// The reason for a larger patch than reviewers expect.
    pub large: Option<At<String>>,
    /// The reason for a message that describes a fix without `Fixes:`.
    pub no_fixes: Option<At<String>>,
    /// Messages of checkpatch that do not apply, by kind, each with the reason.
    pub checkpatch: BTreeMap<String, At<String>>,
    /// The commits in `Fixes:` that cannot be looked up.
    pub unverified: Vec<At<String>>,
}

/// Parts of a file: either a text or items.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withhold {
    pub file: At<String>,
    /// Whole lines with their newlines.
    pub text: Option<String>,
    /// Rust items, as `rust::items` names them.
    pub items: Option<Vec<At<String>>>,
}

impl Patch {
    pub fn changes_nothing(&self) -> bool {
        self.files.is_empty()
            && self.relocate.is_none()
            && self.edits.is_empty()
            && self.withhold.is_empty()
    }
}

impl Series {
    pub fn refuse_local(&self) -> Result<()> {
        let Some(At { value, line }) = &self.local else {
            return Ok(());
        };
        let what = format!("{} is never posted: {value}", self.name);
        let help = "remove `local` from the manifest to post the series";
        Err(self.error(*line, what).help(help))
    }

    pub fn error(&self, line: impl Into<Option<usize>>, what: impl Into<String>) -> Error {
        Error::new(what).at(&self.file, line)
    }

    /// Returns the recipient of the series: `tree`, or the first list in `to` and `cc`.
    pub fn goes_to(&self) -> Option<String> {
        let list = self.to.iter().chain(&self.cc).find(|r| r.is_list());
        let name = list.and_then(|list| list.address().split('@').next());
        self.tree.clone().or_else(|| name.map(str::to_owned))
    }

    pub fn recipient_headers(&self) -> String {
        let of = |list: &[Recipient]| list.iter().map(Recipient::header).collect::<Vec<_>>();
        words::recipient_headers(&of(&self.to), &of(&self.cc))
    }

    pub fn leaves_out(&self, path: &str) -> bool {
        self.left_out.keys().any(|left_out| covers(left_out, path))
    }

    pub fn is_posted_on(&self, view: &View) -> bool {
        match &self.base {
            None => !view.other,
            Some(base) => view.names.first().is_none_or(|name| *name == base.value),
        }
    }

    /// Returns the words in the brackets of a subject: "PATCH v2".
    pub fn subject_prefix(&self) -> String {
        subject_prefix(&self.prefix, self.version)
    }
}

/// Returns whether `path` is `file`, or a folder with a final `/` that contains `file`.
pub fn covers(path: &str, file: &str) -> bool {
    file == path || path.ends_with('/') && file.starts_with(path)
}

/// Returns the words in the brackets of a subject: "PATCH v2".
pub(crate) fn subject_prefix(prefix: &str, version: u32) -> String {
    match version {
        1 => prefix.to_owned(),
        n => format!("{prefix} v{n}"),
    }
}
