// SPDX-License-Identifier: GPL-2.0

//! `out/check.json`: what the quick checks found the last time, by series.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::SystemTime, //
};

use serde::{
    Deserialize,
    Serialize, //
};
use sha2::{
    Digest,
    Sha256, //
};

use super::{
    Finding,
    Outcome, //
};
use crate::{
    patches::output::{
        Report,
        SeriesReport, //
    },
    source::workspace::Workspace,
    sys::{
        error::Result,
        files::write,
        hash::hex,
        json::json, //
    }, //
};

/// The file name of the record in the output folder.
const FILE: &str = "check.json";

/// What was found in one series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// When: "2026-01-02T03:04:05Z".
    pub when: String,
    /// The tree with all series.
    pub tree: String,
    /// A digest of the mails, by which it is told whether they are still the same.
    pub mails: String,
    /// The names of the checks.
    pub checks: Vec<String>,
    /// What they found.
    pub findings: Vec<Finding>,
}

/// Reads the record. What cannot be read counts as not checked: the next check writes it anew.
pub fn read(ws: &Workspace) -> BTreeMap<String, Checked> {
    let text = fs::read(ws.path(ws.below_out(FILE))).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Records what was found in the series of these names; what is known of others stays.
///
/// # Errors
///
/// The record cannot be written.
pub(super) fn note(
    ws: &Workspace,
    report: &Report,
    names: &[&str],
    outcome: &Outcome,
    when: SystemTime,
) -> Result<()> {
    let mut record = read(ws);
    record.retain(|name, _| report.series.iter().any(|s| s.name == *name));
    for one in &report.series {
        if !names.contains(&one.name.as_str()) {
            continue;
        }
        let of_it = |f: &&Finding| f.series == one.name;
        let checked = Checked {
            when: humantime::format_rfc3339_seconds(when).to_string(),
            tree: report.all.tree.clone(),
            mails: mails(ws, one),
            checks: outcome.checks.iter().map(|c| (*c).to_owned()).collect(),
            findings: outcome.findings.iter().filter(of_it).cloned().collect(),
        };
        record.insert(one.name.clone(), checked);
    }
    write(&ws.path(ws.below_out(FILE)), &json(&record)?)
}

impl Checked {
    /// Whether the series is still as it was when it was checked.
    pub fn is_of(&self, ws: &Workspace, one: &SeriesReport) -> bool {
        self.mails == mails(ws, one)
    }
}

/// A digest of all that is mailed of a series, and of where its versions stand.
fn mails(ws: &Workspace, one: &SeriesReport) -> String {
    let mut hash = Sha256::new();
    let letter = one.folder.as_ref();
    let letter = letter.map(|folder| Path::new(folder).join("0000-cover-letter.patch"));
    let patches = one.patches.iter().map(|p| Path::new(&p.file).to_owned());
    for file in letter.into_iter().chain(patches) {
        let mail = fs::read(ws.path(file)).unwrap_or_default();
        hash.update(format!("{}\0", mail.len()));
        hash.update(mail);
    }
    hash.update(format!("{:?}", one.posted));
    hex(hash.finalize())
}
