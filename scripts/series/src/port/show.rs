// SPDX-License-Identifier: GPL-2.0

//! The report as people read it.

use std::collections::BTreeMap;

use comfy_table::{
    ContentArrangement,
    Table,
    presets, //
};

use super::report::{
    Cause,
    Excerpt,
    Finding,
    How,
    Is,
    Name,
    NamesReport,
    Part,
    PatchIs,
    PatchReport,
    Report,
    SeriesReport,
    Verdict, //
};

/// How many names are listed of one file before the rest is only counted.
const NAMES: usize = 40;

/// The whole report, in Markdown.
pub fn text(report: &Report) -> String {
    let base = &report.base;
    let mut text = format!(
        "# The series on Linux {}\n\nBase: {}, tree {}.\nThe series are made for Linux {}.\n\n{}\n\n\
         Names and text were compared, nothing was built. Of what is \"follow\", each patch fits once \
         those before it are settled.\n",
        base.version,
        base.from,
        base.tree,
        report.made_for,
        table(report)
    );
    for series in &report.series {
        text += &section(series);
    }
    text
}

fn table(report: &Report) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header([
            "series",
            "verdict",
            "patches",
            "apply",
            "there",
            "in part",
            "conflict",
            "follow",
            "names there",
        ]);
    for series in &report.series {
        let verdict = &series.verdict;
        let names = &series.names;
        let all = names.there.len() + names.missing.len() + names.unsure.len();
        table.add_row([
            series.name.to_string(),
            word(verdict.is).to_owned(),
            series.patches.len().to_string(),
            verdict.apply.to_string(),
            verdict.there.to_string(),
            verdict.in_part.to_string(),
            match verdict.first_conflict {
                Some(first) => format!("{}, first {first}", verdict.conflict),
                None => "0".to_owned(),
            },
            verdict.follow.to_string(),
            format!("{} of {all}", names.there.len()),
        ]);
    }
    table.to_string()
}

fn word(is: Is) -> &'static str {
    match is {
        Is::Applies => "applies",
        Is::There => "already there",
        Is::InPart => "already there in part",
        Is::Conflicts => "conflicts",
        Is::Empty => "no patches",
    }
}

/// A verdict as a sentence without a full stop.
fn sentence(verdict: &Verdict) -> String {
    let mut parts = Vec::new();
    let mut count = |n: usize, one: &str, many: &str| {
        if n > 0 {
            let (be, what) = if n == 1 {
                ("patch", one)
            } else {
                ("patches", many)
            };
            parts.push(format!("{n} {be} {what}"));
        }
    };
    count(verdict.apply, "applies", "apply");
    count(verdict.there, "is there", "are there");
    count(verdict.in_part, "is there in part", "are there in part");
    count(verdict.conflict, "conflicts", "conflict");
    count(
        verdict.follow,
        "fails only because of others",
        "fail only because of others",
    );
    let first = match verdict.first_conflict {
        Some(first) => format!("; the first conflict is in patch {first}"),
        None => String::new(),
    };
    match verdict.is {
        Is::Empty => word(verdict.is).to_owned(),
        is => format!("{}: {}{first}", word(is), parts.join(", ")),
    }
}

fn section(series: &SeriesReport) -> String {
    let mut text = format!("\n## {}: {}\n\n", series.name, sentence(&series.verdict));
    if let Some(alone) = &series.alone
        && alone.is != Is::Empty
    {
        let without = series.depends.join(" and ");
        let same = match *alone == series.verdict {
            true => "the same".to_owned(),
            false => sentence(alone),
        };
        text += &format!("On the base as it is, without {without}: {same}.\n\n");
    }
    if !series.needs.is_empty() {
        text += &format!(
            "Missing of what it builds on, and used by its files, as far as words tell:\n{}\n",
            by_file(&series.needs)
        );
    }
    text += &names(&series.names);
    for patch in &series.patches {
        text += &patch_lines(patch);
    }
    text
}

fn names(names: &NamesReport) -> String {
    if names.there.is_empty() {
        return String::new();
    }
    let all = names.there.len() + names.missing.len() + names.unsure.len();
    let mut text = format!(
        "Names of it that are there: {} of {all}.\n",
        names.there.len()
    );
    for (what, list) in [
        ("There", &names.there),
        ("Missing", &names.missing),
        ("Perhaps made by a macro of the base", &names.unsure),
        ("In the base, and not in the series", &names.only_there),
    ] {
        if !list.is_empty() {
            text += &format!("{what}:\n{}", by_file(list));
        }
    }
    text + "\n"
}

fn by_file(list: &[Name]) -> String {
    let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in list {
        files.entry(&name.file).or_default().push(&name.name);
    }
    let line = |(file, names): (&&str, &Vec<&str>)| format!("- {file}: {}\n", some(names));
    files.iter().map(line).collect()
}

fn some<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES).map(AsRef::as_ref).collect();
    let more = names.len() - shown.len();
    match more {
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}

fn patch_lines(patch: &PatchReport) -> String {
    let is = match patch.is {
        PatchIs::Applies => "applies",
        PatchIs::There => "is there",
        PatchIs::InPart => "is there in part",
        PatchIs::Conflicts => "conflicts",
        PatchIs::Follows => "fails only because of others",
    };
    let mut text = format!("{}. {}: {is}", patch.number, patch.subject);
    if patch.is == PatchIs::Applies {
        text += &how_it_applies(&patch.parts);
    }
    text.push('\n');
    let plain = |p: &&Part| {
        let plain = p.finding == Finding::Enters || p.finding == Finding::applies();
        // How far lines are off was said of the patch.
        let off = matches!(&p.finding, Finding::Applies { doubles, .. } if doubles.is_empty());
        !(plain || off && patch.is == PatchIs::Applies)
    };
    for part in patch.parts.iter().filter(plain) {
        text += &part_lines(part);
    }
    text
}

/// Whether hunks are off their lines.
fn how_it_applies(parts: &[Part]) -> String {
    let offsets = parts.iter().filter_map(|p| match p.finding {
        Finding::Applies { offset, .. } if offset != 0 => Some(offset),
        _ => None,
    });
    let (least, most) = offsets.fold((i64::MAX, i64::MIN), |(a, b), o| (a.min(o), b.max(o)));
    match (least, most) {
        _ if least > most => String::new(),
        (a, b) if a == b => format!(", with an offset of {}", lines(a)),
        (a, b) => format!(", with offsets of {a} to {b} lines"),
    }
}

fn lines(n: i64) -> String {
    match n {
        1 | -1 => format!("{n} line"),
        n => format!("{n} lines"),
    }
}

fn part_lines(part: &Part) -> String {
    let mut place = format!("`{}`", part.source);
    if !part.source.ends_with(&part.path) {
        place += &format!(" {}", part.path);
    }
    if let Some(hunk) = &part.hunk {
        place += &format!(" `{hunk}`");
    }
    let mut text = format!("    - {place}: {}\n", found(&part.finding));
    // What only follows from others will look otherwise once they are settled.
    if let Finding::Conflicts {
        near: Some(near), ..
    } = &part.finding
        && part.finding.is_own_conflict()
    {
        text += &excerpt(&part.path, near);
    }
    text
}

fn found(finding: &Finding) -> String {
    match finding {
        Finding::Enters => "enters".to_owned(),
        Finding::Applies { offset: 0, doubles } => format!("applies{}", but(doubles)),
        Finding::Applies { offset, doubles } => {
            format!(
                "applies with an offset of {}{}",
                lines(*offset),
                but(doubles)
            )
        }
        Finding::Merges { doubles } => format!("applies by a three-way merge{}", but(doubles)),
        Finding::There { how } => format!("there ({})", reason(how)),
        Finding::InPart { at, there, missing } if there.is_empty() => {
            format!("{at} is another file; missing: {}", some(missing))
        }
        Finding::InPart { at, there, missing } => format!(
            "in part in {at}; there: {}; missing: {}",
            some(there),
            some(missing)
        ),
        Finding::Left { files } => format!("there, but for {}", some(files)),
        Finding::Conflicts { why, after, .. } if after.is_empty() => format!("conflict: {why}"),
        Finding::Conflicts { why, after, .. } => {
            format!("fails after {}: {why}", causes(after))
        }
    }
}

/// What is to be said of lines that are there twice then.
fn but(doubles: &[String]) -> String {
    match doubles {
        [] => String::new(),
        lines => format!(", but these lines stand there already: {}", some(lines)),
    }
}

fn reason(how: &How) -> String {
    match how {
        How::Same => "the same file".to_owned(),
        How::Names(at) => format!("all its names are in {at}"),
        How::Path(at) => format!("{at} is there, with another content"),
        How::Reverse => "it can be taken back".to_owned(),
        How::Lines => "its lines are there, among others".to_owned(),
        How::Merge => "a merge changes nothing".to_owned(),
        How::End => "the file has all that the series does to it".to_owned(),
        How::Step => "the base has made it".to_owned(),
        How::Gone => "the file is gone".to_owned(),
    }
}

fn causes(list: &[Cause]) -> String {
    let mut series: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for cause in list {
        let numbers = series.entry(&cause.series).or_default();
        numbers.push(cause.patch.to_string());
    }
    let word = |(name, numbers): (&&str, &Vec<String>)| {
        let many = if numbers.len() == 1 { "" } else { "es" };
        format!("patch{many} {} of {name}", numbers.join(", "))
    };
    series.iter().map(word).collect::<Vec<_>>().join(" and ")
}

fn excerpt(path: &str, near: &Excerpt) -> String {
    let mut text = format!("      the base has, {path}:{}:\n", near.line);
    for (i, line) in near.lines.iter().enumerate() {
        text += &format!("      {:>6} | {line}\n", near.line + i);
    }
    if let Some(wants) = &near.wants {
        text += &format!("      where the patch has: {wants}\n");
    }
    text
}
