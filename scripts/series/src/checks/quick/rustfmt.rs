// SPDX-License-Identifier: GPL-2.0

//! Verifies that every Rust file that a patch touches is formatted at that patch.

use std::fs;

use sha2::{Digest, Sha256};

use crate::{
    checks::{Finding, Subject},
    git::Oid,
    patches::{commits::AssembledSeries, plan::PlannedPatch},
    sys::{
        error::{Error, Result},
        files::write,
        hash::hex,
        runner::{Cmd, must, not_started},
    },
};

/// rustfmt with a cache of its output by file content, because each file takes a moment.
pub struct Rustfmt {
    /// The hash input in addition to the file: version and settings.
    key: Vec<u8>,
}

impl Rustfmt {
    /// Determines version and settings.
    ///
    /// # Errors
    ///
    /// rustfmt is missing, or the tree has no settings for it.
    pub fn find(subject: &Subject<'_>) -> Result<Self> {
        let version = Cmd::new("rustfmt").arg("--version");
        let mut key = must(subject.git.runner(), &version)?.stdout;
        let settings = subject.git.dir().join(".rustfmt.toml");
        key.extend(fs::read(&settings).map_err(|e| Error::io("read", &settings, &e))?);
        Ok(Self { key })
    }

    /// Returns the changes that rustfmt would make to a file; empty if there are none.
    fn says(&self, subject: &Subject<'_>, blob: &Oid) -> Result<String> {
        let mut hash = Sha256::new();
        hash.update(&self.key);
        hash.update(blob.as_str());
        let name = hex(hash.finalize());
        let record = subject.cache.path("rustfmt").join(name);
        if let Ok(said) = fs::read_to_string(&record) {
            return Ok(said);
        }
        let said = run(subject, blob)?;
        write(&record, said.as_bytes())?;
        Ok(said)
    }
}

fn run(subject: &Subject<'_>, blob: &Oid) -> Result<String> {
    let content = subject.git.blobs(&[blob])?.concat();
    // With standard input, rustfmt does not follow `mod` lines into other files.
    let cmd = Cmd::new("rustfmt")
        .args([
            "--check",
            "--color=never",
            "--edition=2021",
            "--config-path",
        ])
        .arg(subject.git.dir().join(".rustfmt.toml"))
        .stdin(content);
    let runner = subject.git.runner();
    let out = runner.run(&cmd).map_err(|e| not_started(&cmd, &e))?;
    // With standard input, rustfmt exits with 0 even if the file is not formatted.
    Ok(match out.text() {
        text if text.is_empty() && !out.ok() => format!("{}\n", out.complaint()),
        text => text,
    })
}

/// The Rust files that a patch writes or edits.
fn rust_files(planned: &PlannedPatch) -> impl Iterator<Item = &String> {
    let written = planned.writes().iter().map(|w| &w.path);
    let edited = planned.edits().iter().flat_map(|e| &e.paths);
    let changed = planned.commit().into_iter().flat_map(|c| &c.changes);
    let all = written.chain(edited).chain(changed.map(|c| &c.path));
    all.filter(|p| p.ends_with(".rs"))
}

pub fn check(
    subject: &Subject<'_>,
    one: &AssembledSeries,
    number: usize,
    rustfmt: &Rustfmt,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let planned = &one.plan.patches[number - 1];
    let tree = &one.patches[number - 1].tree;
    let paths: Vec<String> = rust_files(planned).cloned().collect();
    let entries = subject.git.entries(tree, &paths)?;
    for path in &paths {
        let Some(entry) = entries.get(path) else {
            continue;
        };
        let said = rustfmt.says(subject, &entry.blob)?;
        if said.is_empty() {
            continue;
        }
        let first = said.lines().find(|l| l.starts_with("Diff in"));
        findings.push(Finding {
            series: one.name().to_owned(),
            patch: Some(number),
            check: "rustfmt".into(),
            message: "rustfmt would change this file".to_owned(),
            file: Some(match one.plan.component.overlay.contains_key(path) {
                true => format!("{}/tree/{path}", one.plan.component.folder()),
                false => path.clone(),
            }),
            line: first.and_then(|l| l.trim_end_matches(':').rsplit(':').next()?.parse().ok()),
            help: None,
        });
    }
    Ok(())
}
