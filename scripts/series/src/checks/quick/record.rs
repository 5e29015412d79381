// SPDX-License-Identifier: GPL-2.0

//! `out/check.json`: the last results of the quick checks, by series.

use std::{collections::BTreeMap, fs, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    checks::Subject,
    patches::output::SeriesReport,
    source::{finding::Finding, workspace::Workspace},
    sys::{Result, hash::sha256, json},
};

/// The file name of the record in the output folder.
const FILE: &str = "check.json";

/// The results for a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The time of the check: "2026-01-02T03:04:05Z".
    pub when: String,
    /// The tree with all series.
    pub tree: String,
    /// A digest of the mails, which detects changes since the check.
    pub mails: String,
    pub checks: Vec<String>,
    pub findings: Vec<Finding>,
}

pub fn read(ws: &Workspace) -> BTreeMap<String, Checked> {
    json::read(&ws.path(ws.below_out(FILE))).unwrap_or_default()
}

/// Records the results for the named series, and keeps the results of others.
pub(super) fn note(subject: &Subject<'_>, names: &[&str], outcome: &Outcome) -> Result<()> {
    let (ws, report) = (subject.ws, &subject.made.report);
    let mut record = read(ws);
    record.retain(|name, _| report.series.iter().any(|s| s.name == *name));
    let when = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    for one in report.series.iter().filter(|s| names.contains(&&*s.name)) {
        let of_it = |f: &&Finding| f.series == one.name;
        let checked = Checked {
            when: when.clone(),
            tree: report.all.tree.to_string(),
            mails: mails(ws, one),
            checks: outcome.checks.iter().map(|c| (*c).to_owned()).collect(),
            findings: outcome.findings.iter().filter(of_it).cloned().collect(),
        };
        record.insert(one.name.clone(), checked);
    }
    json::write(&ws.path(ws.below_out(FILE)), &record)
}

impl Checked {
    /// Whether the series is unchanged since the check.
    pub fn is_of(&self, ws: &Workspace, one: &SeriesReport) -> bool {
        self.mails == mails(ws, one)
    }
}

/// Computes a digest of all mails of a series and of its versions.
fn mails(ws: &Workspace, one: &SeriesReport) -> String {
    let folder = one.folder.iter();
    let letter = folder.map(|folder| format!("{folder}/0000-cover-letter.patch"));
    let patches = one.patches.iter().map(|p| p.file.clone());
    let mut all = Vec::new();
    for file in letter.chain(patches) {
        let mail = fs::read(ws.path(file)).unwrap_or_default();
        all.extend(format!("{}\0", mail.len()).into_bytes());
        all.extend(mail);
    }
    all.extend(format!("{:?}", one.posted).into_bytes());
    sha256(all)
}
