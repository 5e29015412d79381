// SPDX-License-Identifier: GPL-2.0

//! The report as text.

use std::collections::BTreeMap;

use super::{Cause, Conflict, Is, PatchReport, Report, SeriesReport};
use crate::{git::merge::What, sys::table::markdown};

pub fn text(report: &Report) -> String {
    let base = &report.base;
    let mut text = format!(
        "Linux {}, {}, tree {}\nThe series are made for Linux {}.\n\n{}\n",
        base.version,
        base.from,
        base.tree,
        report.made_for,
        table(report)
    );
    for series in report.series.iter().filter(|s| !s.patches.is_empty()) {
        text += &format!("\n{}:\n", series.name);
        for patch in &series.patches {
            text += &lines(patch, &series.name);
        }
    }
    text + "\ngit merged each patch onto this base and the patches before it. A file with a conflict kept the\n\
            state before the patch, in which lines are counted. Nothing was built.\n"
}

fn table(report: &Report) -> String {
    let header = "series | patches | apply | already there | conflict | need a file | \
                  files in conflict | names there";
    let rows = report
        .series
        .iter()
        .map(|SeriesReport { name, patches, .. }| {
            let number = |is: Is| patches.iter().filter(|p| p.is == is).count().to_string();
            let conflicts = patches.iter().flat_map(|p| &p.conflicts);
            let there: usize = patches.iter().map(|p| p.there.len()).sum();
            let new: usize = patches.iter().map(|p| p.new.len()).sum();
            [
                name.clone(),
                patches.len().to_string(),
                number(Is::Applies),
                number(Is::There),
                number(Is::Conflicts),
                number(Is::NeedsFile),
                conflicts.filter(|c| c.since.is_none()).count().to_string(),
                format!("{there} of {}", there + new),
            ]
        });
    markdown(header, rows)
}

fn lines(patch: &PatchReport, series: &str) -> String {
    let is = match patch.is {
        Is::Applies => "applies",
        Is::There if patch.there.is_empty() => "already there",
        Is::There => "already there, by its names",
        Is::Conflicts => "conflicts",
        Is::NeedsFile => "needs a file",
    };
    let mut text = format!("{:>4}  {}: {is}\n", patch.number, patch.subject);
    for conflict in &patch.conflicts {
        text += &format!("        {}\n", place(conflict, series));
    }
    let mut files: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for name in &patch.there {
        let names = files.entry(&name.file).or_default();
        names.push(format!("{}:{}", name.name, name.line));
    }
    for (file, names) in files {
        text += &format!("        there, in {file}: {}\n", names.join(", "));
    }
    if !patch.there.is_empty() && !patch.new.is_empty() {
        text += &format!("        not there: {}\n", patch.new.join(", "));
    }
    text
}

fn place(conflict: &Conflict, own: &str) -> String {
    let path = &conflict.path;
    let lines: Vec<String> = conflict.lines.iter().map(usize::to_string).collect();
    let mut text = match conflict.what {
        What::Content => format!("conflict in {path}:{}", lines.join(",")),
        What::BothAdd => format!("{path} exists with other content"),
        What::Missing => format!("missing file {path}"),
        What::Removes => format!("removes {path}, which differs there"),
        What::Other => format!("conflict at {path}"),
    };
    if let Some(moved) = &conflict.moved {
        text += &format!(", which has moved to {moved}");
    }
    if let Some(Cause { series, patch }) = &conflict.since {
        text += &format!(", since patch {patch}");
        if series != own {
            text += &format!(" of {series}");
        }
    }
    text
}
