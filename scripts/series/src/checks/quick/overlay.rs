// SPDX-License-Identifier: GPL-2.0

//! Verifies that the assembled tree contains each overlay file byte for byte. The end of the series
//! that adds the file has to contain it as well, unless a later series adds a part.

use crate::{
    checks::{Finding, Subject},
    patches::commits::AssembledSeries,
    sys::{error::Result, runner::must},
};

pub fn check(
    subject: &Subject<'_>,
    one: &AssembledSeries,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let component = &one.plan.component;
    let (name, folder, overlay) = (one.name(), component.folder(), &component.overlay);
    let claimed = component.series.patches.iter().flat_map(|p| &p.files);
    let paths: Vec<String> = claimed.map(|file| file.value.clone()).collect();
    let place = |path: &str| {
        let place = component.place(format!("{folder}/tree/{path}"));
        place.display().to_string()
    };
    // The files are read from disk, because the patches may derive from an older state.
    let files: String = paths
        .iter()
        .map(|p| format!("{}\n", subject.ws.path(place(p)).display()))
        .collect();
    let cmd = subject
        .git
        .cmd(["hash-object", "--no-filters", "--stdin-paths"])
        .stdin(files);
    let hashes = must(subject.git.runner(), &cmd)?.text();
    let trees = [
        (&one.tip().tree, true),
        (&subject.assembled.all.tree, false),
    ];
    for (tree, is_tip) in trees {
        let entries = subject.git.entries(tree, &paths)?;
        for (path, hash) in paths.iter().zip(hashes.lines()) {
            if is_tip && grows_later(subject, one, path) {
                continue;
            }
            let entry = entries.get(path);
            if entry.is_none_or(|e| e.blob.as_str() != hash || e.mode != overlay[path].mode) {
                findings.push(Finding {
                    series: name.to_owned(),
                    patch: None,
                    check: "overlay".into(),
                    message: format!("the assembled tree {tree} has a different {path}"),
                    file: Some(place(path)),
                    line: None,
                    help: None,
                });
            }
        }
    }
    Ok(())
}

/// Whether another series of the component adds a part of the file.
fn grows_later(subject: &Subject<'_>, one: &AssembledSeries, path: &str) -> bool {
    let others = subject.assembled.series.iter().map(|s| s.plan.series());
    let others = others.filter(|s| s.component == one.plan.series().component);
    let mut others = others.filter(|s| s.name != one.plan.series().name);
    others.any(|s| {
        let mut held = s.patches.iter().flat_map(|p| &p.withhold);
        held.any(|hold| hold.file.value == *path)
    })
}
