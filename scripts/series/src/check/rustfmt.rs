// SPDX-License-Identifier: GPL-2.0

//! Every Rust file that a patch touches is as rustfmt leaves it, at that patch.

use super::{
    Finding,
    Subject, //
};
use crate::{
    assemble::AssembledSeries,
    error::Result,
    runner::{
        Cmd,
        not_started, //
    },
};

pub fn check(
    subject: &Subject<'_>,
    one: &AssembledSeries,
    number: usize,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let planned = &one.plan.patches[number - 1];
    let tree = &one.patches[number - 1].tree;
    let written = planned.writes.iter().map(|w| &w.path);
    let edited = planned.edits.iter().flat_map(|e| &e.paths);
    for path in written.chain(edited).filter(|p| p.ends_with(".rs")) {
        let Some(content) = subject.git.content(tree, path)? else {
            continue;
        };
        // Through standard input rustfmt does not follow `mod` lines into other files.
        let cmd = Cmd::new("rustfmt")
            .args(["--check", "--edition=2021", "--config-path"])
            .arg(subject.git.dir().join(".rustfmt.toml"))
            .stdin(content);
        let runner = subject.git.runner();
        let out = runner.run(&cmd).map_err(|e| not_started(&cmd, &e))?;
        if out.ok() {
            continue;
        }
        let said = match out.text() {
            text if text.is_empty() => out.complaint(),
            text => text,
        };
        let first = said.lines().find(|l| l.starts_with("Diff in"));
        findings.push(Finding {
            series: one.name().to_owned(),
            patch: Some(number),
            check: "rustfmt".into(),
            message: "rustfmt would change this file".to_owned(),
            file: Some(match one.plan.component.overlay.contains_key(path) {
                true => format!("{}/tree/{path}", one.name()),
                false => path.clone(),
            }),
            line: first.and_then(|l| l.trim_end_matches(':').rsplit(':').next()?.parse().ok()),
            help: None,
        });
    }
    Ok(())
}
