// SPDX-License-Identifier: GPL-2.0

//! Verifies that the assembled tree contains each overlay file byte for byte. The end of the series
//! that adds the file has to contain it as well, unless a later series adds a part.

use crate::{
    checks::Subject,
    patches::commits::AssembledSeries,
    source::finding::Finding,
    sys::{Result, must},
};

pub fn check(subject: &Subject<'_>, one: &AssembledSeries) -> Result<Vec<Finding>> {
    let (git, component) = (subject.git, &one.plan.component);
    let claimed = component.series.patches.iter().flat_map(|p| &p.files);
    let paths: Vec<String> = claimed.map(|file| file.value.clone()).collect();
    let place = |path: &str| component.place(format!("{}/tree/{path}", component.folder()));
    // The files are read from disk, because the patches may derive from an older state.
    let on_disk = |path: &String| format!("{}\n", subject.ws.path(place(path)).display());
    let files: String = paths.iter().map(on_disk).collect();
    let hash = git.cmd(["hash-object", "--no-filters", "--stdin-paths"]);
    let hashes = must(git.runner(), &hash.stdin(files))?.text();
    let mut findings = Vec::new();
    let ends = [
        (&one.tip().tree, true),
        (&subject.made.assembled.all.tree, false),
    ];
    for (tree, is_tip) in ends {
        let entries = git.entries(tree, &paths)?;
        for (path, hash) in paths.iter().zip(hashes.lines()) {
            if is_tip && grows_later(subject, one, path) {
                continue;
            }
            let mode = component.overlay[path].mode;
            let entry = entries.get(path);
            if entry.is_none_or(|e| e.blob.as_str() != hash || e.mode != mode) {
                let what = format!("the assembled tree {tree} has a different {path}");
                findings.push(Finding::new(one.name(), "overlay", what).at(place(path), None));
            }
        }
    }
    Ok(findings)
}

/// Whether another series of the component adds a part of the file.
fn grows_later(subject: &Subject<'_>, one: &AssembledSeries, path: &str) -> bool {
    let own = one.plan.series();
    let all = subject.made.assembled.series.iter();
    let all = all.map(|s| s.plan.series());
    let others = all.filter(|s| s.component == own.component && s.name != own.name);
    let mut held = others.flat_map(|s| &s.patches).flat_map(|p| &p.withhold);
    held.any(|hold| hold.file.value == path)
}
