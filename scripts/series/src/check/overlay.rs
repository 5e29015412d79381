// SPDX-License-Identifier: GPL-2.0

//! The assembled tree holds each overlay file byte for byte.

use super::{
    Finding,
    Subject, //
};
use crate::{
    assemble::AssembledSeries,
    error::Result,
    runner::must, //
};

pub fn check(
    subject: &Subject<'_>,
    one: &AssembledSeries,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let name = one.name();
    let overlay = &one.plan.component.overlay;
    let paths: Vec<String> = overlay.keys().cloned().collect();
    // The disk is read again, not what the patches were made of.
    let files: String = paths
        .iter()
        .map(|p| {
            format!(
                "{}\n",
                subject.ws.path(format!("{name}/tree/{p}")).display()
            )
        })
        .collect();
    let cmd = subject
        .git
        .cmd(["hash-object", "--no-filters", "--stdin-paths"])
        .stdin(files);
    let hashes = must(subject.git.runner(), &cmd)?.text();
    for tree in [&one.tip().tree, &subject.assembled.all.tree] {
        let entries = subject.git.entries(tree, &paths)?;
        for (path, hash) in paths.iter().zip(hashes.lines()) {
            let entry = entries.get(path);
            if entry.is_none_or(|e| e.blob.as_str() != hash || e.mode != overlay[path].mode) {
                findings.push(Finding {
                    series: name.to_owned(),
                    patch: None,
                    check: "overlay".into(),
                    message: format!("the assembled tree {tree} has another {path}"),
                    file: Some(format!("{name}/tree/{path}")),
                    line: None,
                    help: None,
                });
            }
        }
    }
    Ok(())
}
