// SPDX-License-Identifier: GPL-2.0

//! `CHANGELOG.md` of a component: the changes of each version, newest first. If the component has
//! several series, each series has a section `# <series>`.
//!
//! Errors have a line but no file.

use std::ops::Range;

use crate::{
    source::{message, words::SeriesName},
    sys::{Error, Result},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub version: u32,
    pub text: String,
    /// The line of the heading, from 1.
    pub line: usize,
    /// The line where the text starts.
    pub first_line: usize,
}

/// The start of the item that links to the previous version.
const LINK: &str = "- Link to v";

impl Entry {
    /// Returns whether the entry has no text except the link, which `cargo series record` writes.
    pub fn is_open(&self) -> bool {
        let mut lines = self.text.lines();
        lines.all(|l| l.trim().is_empty() || l.starts_with(LINK))
    }
}

/// Finds the lines of a series, counted from 0. A single series of a component has all lines.
pub fn section(
    text: &str,
    name: &str,
    siblings: &[SeriesName],
) -> Result<Range<usize>, (Option<usize>, Error)> {
    let lines = text.lines().count();
    if siblings.len() < 2 {
        return Ok(0..lines);
    }
    let is_series = |heading: &str| siblings.iter().any(|s| *s == *heading);
    let headings = text.lines().enumerate();
    let headings = headings.filter_map(|(at, line)| Some((at, line.strip_prefix("# ")?.trim())));
    // A title may come before the first section.
    let headings: Vec<(usize, &str)> = headings.skip_while(|(_, h)| !is_series(h)).collect();
    if let Some((at, other)) = headings.iter().find(|(_, h)| !is_series(h)) {
        let names: Vec<&str> = siblings.iter().map(SeriesName::as_str).collect();
        let error = Error::new(format!("{other:?} is not a series of this component"));
        let help = format!("the series are: {}", names.join(", "));
        return Err((Some(at + 1), error.help(help)));
    }
    let mut own = headings.iter().enumerate().filter(|(_, (_, h))| *h == name);
    let Some((index, (start, _))) = own.next() else {
        let error = Error::new(format!("there is no section for {name}"));
        return Err((
            None,
            error.help(format!(
                "the component has several series; write `# {name}`, and below it `## v1`"
            )),
        ));
    };
    if let Some((_, (again, _))) = own.next() {
        let what = format!("{name} has two sections, the first in line {}", start + 1);
        return Err((Some(again + 1), Error::new(what).help("join them")));
    }
    let end = headings.get(index + 1).map_or(lines, |(at, _)| *at);
    Ok(*start..end)
}

/// Blanks all lines outside a section, which keeps the line numbers.
pub fn of_section(text: &str, section: &Range<usize>) -> String {
    let lines = text.lines().enumerate();
    let lines = lines.map(|(at, line)| if section.contains(&at) { line } else { "" });
    joined(&lines.collect::<Vec<_>>())
}

fn joined(lines: &[&str]) -> String {
    lines.iter().map(|l| format!("{l}\n")).collect()
}

fn spliced(text: &str, range: Range<usize>, with: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    joined(&lines[..range.start]) + with + &joined(&lines[range.end..])
}

/// Reads the entries, newest first.
pub fn parse(text: &str) -> Result<Vec<Entry>, (usize, Error)> {
    let mut entries: Vec<Entry> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let at = index + 1;
        let Some(heading) = line.strip_prefix("## ") else {
            if let Some(entry) = entries.last_mut() {
                entry.text += line;
                entry.text.push('\n');
            }
            continue;
        };
        let version = heading.trim().strip_prefix('v');
        let Some(version) = version.and_then(|v| v.parse::<u32>().ok()) else {
            let error = Error::new(format!("{heading:?} is not a version"));
            return Err((at, error.help("a section starts with `## v1`, `## v2`, …")));
        };
        if let Some(above) = entries.last()
            && version.checked_add(1) != Some(above.version)
        {
            let error = Error::new(format!("v{version} is out of order"));
            let help = "sort the versions from the newest to v1, without gaps";
            return Err((at, error.help(help)));
        }
        entries.push(Entry {
            version,
            text: String::new(),
            line: at,
            first_line: at + 1,
        });
    }
    for entry in &mut entries {
        let blank = entry.text.lines().take_while(|l| l.trim().is_empty());
        entry.first_line += blank.count();
        entry.text = entry.text.trim().to_owned();
    }
    Ok(entries)
}

/// The longest line in a mail.
const COLUMNS: usize = 75;

/// Returns the entries up to `version`, which has to be the newest. The entry of v1 must have text.
/// A later one may be open while nothing changed, which `check` and `prepare` verify.
/// The line of the error is `None` for a missing entry.
pub fn of_version(text: &str, version: u32) -> Result<Vec<Entry>, (Option<usize>, Error)> {
    let fail = |line, what: &str, help: &str| Err((line, Error::new(what).help(help)));
    let entries = parse(text).map_err(|(line, e)| (Some(line), e))?;
    let is_long = |l: &str| l.chars().count() > COLUMNS && !l.contains("://");
    if let Some(index) = text.lines().position(is_long) {
        let what = format!("the line is longer than {COLUMNS} columns");
        let help = "wrap it; the cover letter has the same lines";
        return fail(Some(index + 1), &what, help);
    }
    for (index, line) in text.lines().enumerate() {
        if let Some((what, help)) = message::mail_fault(line) {
            return fail(Some(index + 1), &what, help);
        }
    }
    let write_it = format!("describe the changes in design and code below `## v{version}`");
    let Some(first) = entries.first().filter(|e| e.version >= version) else {
        let what = format!("there is no entry for v{version}");
        return fail(None, &what, &write_it);
    };
    if first.version > version {
        let newest = format!("the newest entry is v{}", first.version);
        let what = format!("{newest}, but the manifest has version = {version}");
        return fail(Some(first.line), &what, "correct one of them");
    }
    if version == 1 && first.is_open() {
        let what = format!("the entry of v{version} is empty");
        return fail(Some(first.line), &what, &write_it);
    }
    Ok(entries)
}

/// Formats the entries for the text below `---` of a cover letter.
pub fn rendered(entries: &[Entry]) -> String {
    let parts = entries.iter().map(|e| {
        let mut part = format!("Changes in v{}:\n", e.version);
        if e.is_open() {
            // b4 does not send mails with this word.
            part += &format!("- EDITME: changes since v{}\n", e.version.saturating_sub(1));
        }
        if !e.text.is_empty() {
            part += &format!("{}\n", e.text);
        }
        part
    });
    parts.collect::<Vec<_>>().join("\n")
}

/// Adds an entry for `version` to a section, with a link to the previous version, unless it exists.
pub fn begun(
    text: &str,
    section: &Range<usize>,
    version: u32,
    link: &str,
) -> Result<String, (usize, Error)> {
    let entries = parse(&of_section(text, section))?;
    if entries.first().is_some_and(|e| e.version >= version) {
        return Ok(text.to_owned());
    }
    let mut entry = format!("## v{version}\n\n{LINK}{}: {link}\n", version - 1);
    let at = entries.first().map_or(section.end, |e| e.line - 1);
    if at < section.end {
        entry.push('\n');
    }
    Ok(spliced(text, at..at, &entry))
}

/// Removes the entry of `version` that [`begun`] added, if it exists.
pub fn ended(
    text: &str,
    section: &Range<usize>,
    version: u32,
    link: &str,
) -> Result<String, (usize, Error)> {
    let entries = parse(&of_section(text, section))?;
    let Some(first) = entries.first().filter(|e| e.version >= version) else {
        return Ok(text.to_owned());
    };
    let before = version - 1;
    if first.version > version || first.text != format!("{LINK}{before}: {link}") {
        let newest = first.version;
        let what = format!("the entry of v{newest} was edited since v{before} was recorded");
        let error = Error::new(what).help("move its text elsewhere first");
        return Err((first.line, error));
    }
    let end = entries.get(1).map_or(section.end, |e| e.line - 1);
    Ok(spliced(text, first.line - 1..end, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Changelog of clist\n\n## v2\n- Two.\n  More.\n\n## v1\n- One.\n";

    #[test]
    fn of_version_and_rendered() {
        let entries = of_version(TEXT, 2).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(
            rendered(&entries),
            "Changes in v2:\n- Two.\n  More.\n\nChanges in v1:\n- One.\n"
        );
    }

    #[test]
    fn begun_adds_entry_once() {
        let link = "https://patch.msgid.link/x-v2-0@y";
        let begun = |text: &str| {
            let all = 0..text.lines().count();
            super::begun(text, &all, 3, link)
                .map_err(|(_, e)| e)
                .unwrap()
        };
        let text = begun(TEXT);
        insta::assert_snapshot!(text, @r"
        # Changelog of clist

        ## v3

        - Link to v2: https://patch.msgid.link/x-v2-0@y

        ## v2
        - Two.
          More.

        ## v1
        - One.
        ");
        assert_eq!(begun(&text), text);
        let entries = of_version(&text, 3).map_err(|(_, e)| e).unwrap();
        assert!(entries[0].is_open() && !entries[1].is_open());
        assert_eq!((entries[0].line, entries[0].first_line), (3, 5));
        assert!(
            rendered(&entries)
                .starts_with("Changes in v3:\n- EDITME: changes since v2\n- Link to v2: https://")
        );
    }

    #[test]
    fn ended_removes_begun_entry() {
        let link = "https://patch.msgid.link/x-v2-0@y";
        let all = |text: &str| 0..text.lines().count();
        let begun = begun(TEXT, &all(TEXT), 3, link)
            .map_err(|(_, e)| e)
            .unwrap();
        let ended = |text: &str| {
            super::ended(text, &all(text), 3, link).map_err(|(line, e)| e.at("x", line))
        };
        assert_eq!(ended(&begun).unwrap(), TEXT);
        assert_eq!(ended(TEXT).unwrap(), TEXT);
        let edited = begun.replace("- Link", "- Patch 1: more.\n- Link");
        insta::assert_snapshot!(ended(&edited).unwrap_err(), @r"
        x:3: the entry of v3 was edited since v2 was recorded
          help: move its text elsewhere first
        ");
    }

    fn error_of(text: &str, version: u32) -> String {
        let (line, error) = of_version(text, version).unwrap_err();
        error.at("CHANGELOG.md", line).to_string()
    }

    #[test]
    fn of_version_faults() {
        insta::assert_snapshot!(error_of(TEXT, 3), @r"
        CHANGELOG.md: there is no entry for v3
          help: describe the changes in design and code below `## v3`
        ");
        insta::assert_snapshot!(error_of(TEXT, 1), @r"
        CHANGELOG.md:3: the newest entry is v2, but the manifest has version = 1
          help: correct one of them
        ");
        insta::assert_snapshot!(error_of("## v1\n\n", 1), @r"
        CHANGELOG.md:1: the entry of v1 is empty
          help: describe the changes in design and code below `## v1`
        ");
        insta::assert_snapshot!(error_of("## v1\n- x\n## v2\n- y\n", 1), @r"
        CHANGELOG.md:3: v2 is out of order
          help: sort the versions from the newest to v1, without gaps
        ");
        insta::assert_snapshot!(error_of(&format!("## v1\n- {}\n", "x ".repeat(40)), 1), @r"
        CHANGELOG.md:2: the line is longer than 75 columns
          help: wrap it; the cover letter has the same lines
        ");
        assert!(error_of("## v4294967295\n- x\n## v4294967295\n- y\n", 1).contains("out of order"));
        insta::assert_snapshot!(error_of("## first\n", 1), @r#"
        CHANGELOG.md:1: "first" is not a version
          help: a section starts with `## v1`, `## v2`, …
        "#);
    }

    const SECTIONS: &str = "\
# Changelog of the buddy

# fixes

## v2
- Two.

## v1
- One.

# buddy

## v1
- First.
";

    fn siblings() -> [SeriesName; 2] {
        ["buddy", "fixes"].map(|n| SeriesName::parse(n).unwrap())
    }

    #[test]
    fn section_of_series() {
        let of = |name: &str| {
            let section = section(SECTIONS, name, &siblings())
                .map_err(|(_, e)| e)
                .unwrap();
            let own = of_section(SECTIONS, &section);
            assert_eq!(own.lines().count(), SECTIONS.lines().count());
            parse(&own).map_err(|(_, e)| e).unwrap()
        };
        let fixes = of("fixes");
        assert_eq!((fixes.len(), fixes[1].text.as_str()), (2, "- One."));
        let buddy = of("buddy");
        assert_eq!(
            (buddy.len(), buddy[0].line, buddy[0].first_line),
            (1, 13, 14)
        );
        // One series needs no section.
        let all = section(SECTIONS, "buddy", &siblings()[..1]).map_err(|(_, e)| e);
        assert_eq!(all.unwrap(), 0..SECTIONS.lines().count());
    }

    #[test]
    fn begun_in_section() {
        let section = section(SECTIONS, "buddy", &siblings())
            .map_err(|(_, e)| e)
            .unwrap();
        let link = "https://patch.msgid.link/x-v1-0@y";
        let text = begun(SECTIONS, &section, 2, link)
            .map_err(|(_, e)| e)
            .unwrap();
        let begins = format!("# buddy\n\n## v2\n\n- Link to v1: {link}\n\n## v1\n");
        assert_eq!(text, SECTIONS.replace("# buddy\n\n## v1\n", &begins));
        let section = super::section(&text, "buddy", &siblings())
            .map_err(|(_, e)| e)
            .unwrap();
        let text = ended(&text, &section, 2, link).map_err(|(_, e)| e).unwrap();
        assert_eq!(text, SECTIONS);
    }

    #[test]
    fn section_faults() {
        let error_of = |text: &str| {
            let (line, error) = section(text, "fixes", &siblings()).unwrap_err();
            error.at("CHANGELOG.md", line).to_string()
        };
        insta::assert_snapshot!(error_of("# buddy\n## v1\n- x\n"), @r"
        CHANGELOG.md: there is no section for fixes
          help: the component has several series; write `# fixes`, and below it `## v1`
        ");
        insta::assert_snapshot!(error_of("# fixes\n# buddy\n# fixes\n"), @r"
        CHANGELOG.md:3: fixes has two sections, the first in line 1
          help: join them
        ");
        insta::assert_snapshot!(error_of("# fixes\n# fix\n"), @r#"
        CHANGELOG.md:2: "fix" is not a series of this component
          help: the series are: buddy, fixes
        "#);
    }
}
