// SPDX-License-Identifier: GPL-2.0

//! Verifies that every Rust file that a patch touches is formatted at that patch.

use crate::{
    checks::Subject,
    git::Oid,
    patches::{commits::AssembledSeries, plan::PlannedPatch},
    source::finding::Finding,
    sys::{Cmd, Result, files, hash::sha256, must},
};

/// rustfmt, whose output is cached by the content of the file.
pub struct Rustfmt<'a> {
    subject: &'a Subject<'a>,
    /// The version and settings, on which the output depends as well.
    key: Vec<u8>,
}

impl<'a> Rustfmt<'a> {
    pub fn find(subject: &'a Subject<'a>) -> Result<Self> {
        let version = Cmd::new("rustfmt").arg("--version");
        let mut key = must(subject.git.runner(), &version)?.stdout;
        let settings = subject.git.dir().join(".rustfmt.toml");
        key.extend(files::read(&settings)?);
        Ok(Self { subject, key })
    }

    pub fn check(&self, one: &AssembledSeries, number: usize) -> Result<Vec<Finding>> {
        let paths: Vec<String> = rust_files(&one.plan.patches[number - 1]).cloned().collect();
        let tree = &one.patches[number - 1].tree;
        let entries = self.subject.git.entries(tree, &paths)?;
        let component = &one.plan.component;
        let mut findings = Vec::new();
        for path in &paths {
            let Some(entry) = entries.get(path) else {
                continue;
            };
            let said = self.changes(&entry.blob)?;
            if said.is_empty() {
                continue;
            }
            let place = if component.overlay.contains_key(path) {
                format!("{}/tree/{path}", component.folder())
            } else {
                path.clone()
            };
            let first = said.lines().find(|l| l.starts_with("Diff in"));
            let line = first.and_then(|l| l.trim_end_matches(':').rsplit(':').next()?.parse().ok());
            let finding = Finding::new(one.name(), "rustfmt", "rustfmt would change this file");
            findings.push(finding.of_patch(number).at(place, line));
        }
        Ok(findings)
    }

    /// Returns the changes that rustfmt would make to a file; empty if there are none.
    fn changes(&self, blob: &Oid) -> Result<String> {
        let Subject { git, cache, .. } = *self.subject;
        let key = sha256([&self.key[..], blob.as_str().as_bytes()].concat());
        cache.remember(format!("rustfmt/{key}"), || {
            // With standard input, rustfmt does not follow `mod` lines into other files.
            let cmd = Cmd::new("rustfmt")
                .args(["--check", "--color=never", "--edition=2021"])
                .arg("--config-path")
                .arg(git.dir().join(".rustfmt.toml"))
                .stdin(git.blobs(&[blob])?.concat());
            let out = git.runner().run(&cmd)?;
            // With standard input, rustfmt exits with 0 even if the file is not formatted.
            Ok(match out.text() {
                text if text.is_empty() && !out.ok() => format!("{}\n", out.complaint()),
                text => text,
            })
        })
    }
}

/// The Rust files that a patch writes or edits.
fn rust_files(planned: &PlannedPatch) -> impl Iterator<Item = &String> {
    let written = planned.writes.iter().map(|w| &w.path);
    let edited = planned.edits.iter().flat_map(|e| &e.paths);
    let changed = planned.commit.iter().flat_map(|c| &c.changes);
    let all = written.chain(edited).chain(changed.map(|c| &c.path));
    all.filter(|p| p.ends_with(".rs"))
}
