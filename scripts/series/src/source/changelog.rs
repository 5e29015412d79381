// SPDX-License-Identifier: GPL-2.0

//! `CHANGELOG.md` of a component: the changes of each version, newest first. If the component has
//! several series, each series has a section `# <series>`.

use std::ops::Range;

use crate::{
    source::{message, words::SeriesName},
    sys::error::{Error, Result},
};

/// The changes of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub version: u32,
    /// The text below the heading.
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
///
/// # Errors
///
/// The section of the series is missing or duplicate, or a section names another series.
pub fn section(
    text: &str,
    name: &str,
    siblings: &[SeriesName],
) -> Result<Range<usize>, (Option<usize>, Error)> {
    let lines: Vec<&str> = text.lines().collect();
    if siblings.len() < 2 {
        return Ok(0..lines.len());
    }
    let is_series = |heading: &str| siblings.iter().any(|s| *s == *heading);
    let headings = lines.iter().enumerate();
    let headings = headings.filter_map(|(at, line)| Some((at, line.strip_prefix("# ")?.trim())));
    // A title may come before the first section.
    let headings: Vec<(usize, &str)> = headings.skip_while(|(_, h)| !is_series(h)).collect();
    let names: Vec<&str> = siblings.iter().map(SeriesName::as_str).collect();
    if let Some((at, other)) = headings.iter().find(|(_, h)| !is_series(h)) {
        return Err((
            Some(at + 1),
            Error::new(format!("{other:?} is not a series of this component"))
                .help(format!("the series are: {}", names.join(", "))),
        ));
    }
    let mut own = headings.iter().enumerate().filter(|(_, (_, h))| *h == name);
    let Some((index, (start, _))) = own.next() else {
        return Err((
            None,
            Error::new(format!("there is no section for {name}")).help(format!(
                "the component has several series; write `# {name}`, and below it `## v1`"
            )),
        ));
    };
    if let Some((_, (again, _))) = own.next() {
        return Err((
            Some(again + 1),
            Error::new(format!(
                "{name} has two sections, the first in line {}",
                start + 1
            ))
            .help("join them"),
        ));
    }
    let end = headings.get(index + 1).map_or(lines.len(), |(at, _)| *at);
    Ok(*start..end)
}

/// Blanks all lines outside a section, which keeps the line numbers.
pub fn of_section(text: &str, section: &Range<usize>) -> String {
    let lines = text.lines().enumerate();
    lines
        .map(|(at, line)| match section.contains(&at) {
            true => format!("{line}\n"),
            false => "\n".to_owned(),
        })
        .collect()
}

/// Applies `change` to a section. Errors have the line in the whole text.
pub fn in_section(
    text: &str,
    section: &Range<usize>,
    change: impl FnOnce(&str) -> Result<String, (usize, Error)>,
) -> Result<String, (usize, Error)> {
    let part = |lines: &[&str]| -> String { lines.iter().map(|l| format!("{l}\n")).collect() };
    let lines: Vec<&str> = text.lines().collect();
    let (head, rest) = lines.split_at(section.start);
    let (own, tail) = rest.split_at(section.len());
    let own = change(&part(own)).map_err(|(line, e)| (section.start + line, e))?;
    Ok(part(head) + &own + &part(tail))
}

/// Reads the entries, newest first. The error has a line but no file.
///
/// # Errors
///
/// A heading is not a version, or versions are out of order.
pub fn parse(text: &str) -> Result<Vec<Entry>, (usize, Error)> {
    let mut entries: Vec<Entry> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let at = index + 1;
        let Some(heading) = line.strip_prefix("## ") else {
            if let Some(entry) = entries.last_mut() {
                entry.text.push_str(line);
                entry.text.push('\n');
            }
            continue;
        };
        let version: u32 = heading
            .trim()
            .strip_prefix('v')
            .and_then(|v| v.parse().ok())
            .ok_or_else(|| {
                (
                    at,
                    Error::new(format!("{heading:?} is not a version"))
                        .help("a section starts with `## v1`, `## v2`, …"),
                )
            })?;
        if entries
            .last()
            .is_some_and(|e| version.checked_add(1) != Some(e.version))
        {
            return Err((
                at,
                Error::new(format!("v{version} is out of order"))
                    .help("sort the versions from the newest to v1, without gaps"),
            ));
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
///
/// # Errors
///
/// The entry is missing, empty or not the newest, or a line is too long for a mail or breaks it.
/// The line is `None` for a missing entry.
pub fn of_version(text: &str, version: u32) -> Result<Vec<Entry>, (Option<usize>, Error)> {
    let entries = parse(text).map_err(|(line, e)| (Some(line), e))?;
    let long = text
        .lines()
        .position(|l| l.chars().count() > COLUMNS && !l.contains("://"));
    if let Some(index) = long {
        return Err((
            Some(index + 1),
            Error::new(format!("the line is longer than {COLUMNS} columns"))
                .help("wrap it; the cover letter has the same lines"),
        ));
    }
    for (index, line) in text.lines().enumerate() {
        if let Some((what, help)) = message::mail_fault(line) {
            return Err((Some(index + 1), Error::new(what).help(help)));
        }
    }
    let write_it = format!("describe the changes in design and code below `## v{version}`");
    match entries.first() {
        Some(first) if first.version == version && (version > 1 || !first.is_open()) => Ok(entries),
        Some(first) if first.version == version => Err((
            Some(first.line),
            Error::new(format!("the entry of v{version} is empty")).help(write_it),
        )),
        Some(first) if first.version > version => Err((
            Some(first.line),
            Error::new(format!(
                "the newest entry is v{}, but the manifest has version = {version}",
                first.version
            ))
            .help("correct one of them"),
        )),
        _ => Err((
            None,
            Error::new(format!("there is no entry for v{version}")).help(write_it),
        )),
    }
}

/// Formats the entries for the text below `---` of a cover letter.
pub fn rendered(entries: &[Entry]) -> String {
    entries
        .iter()
        .map(|e| {
            // b4 does not send mails with this word.
            let open = match e.is_open() {
                true => format!("- EDITME: changes since v{}\n", e.version.saturating_sub(1)),
                false => String::new(),
            };
            let text = match e.text.as_str() {
                "" => String::new(),
                text => format!("{text}\n"),
            };
            format!("Changes in v{}:\n{open}{text}", e.version)
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Adds an entry for `version`, with a link to the previous version, unless it exists.
pub fn begun(text: &str, version: u32, link: &str) -> Result<String, (usize, Error)> {
    let entries = parse(text)?;
    if entries.first().is_some_and(|e| e.version >= version) {
        return Ok(text.to_owned());
    }
    let before = version - 1;
    let entry = format!("## v{version}\n\n{LINK}{before}: {link}\n");
    let lines: Vec<&str> = text.lines().collect();
    let (head, rest) = lines.split_at(entries.first().map_or(lines.len(), |e| e.line - 1));
    let mut out: String = head.iter().map(|l| format!("{l}\n")).collect();
    out += &entry;
    if !rest.is_empty() {
        out.push('\n');
        out.extend(rest.iter().map(|l| format!("{l}\n")));
    }
    Ok(out)
}

/// Removes the entry of `version` that [`begun`] added, if it exists.
///
/// # Errors
///
/// As [`parse`], or the entry was edited since.
pub fn ended(text: &str, version: u32, link: &str) -> Result<String, (usize, Error)> {
    let entries = parse(text)?;
    let Some(first) = entries.first().filter(|e| e.version >= version) else {
        return Ok(text.to_owned());
    };
    let before = version - 1;
    if first.version > version || first.text != format!("{LINK}{before}: {link}") {
        return Err((
            first.line,
            Error::new(format!(
                "the entry of v{} was edited since v{before} was recorded",
                first.version
            ))
            .help("move its text elsewhere first"),
        ));
    }
    let lines: Vec<&str> = text.lines().collect();
    let end = entries.get(1).map_or(lines.len(), |e| e.line - 1);
    let kept = lines[..first.line - 1].iter().chain(&lines[end..]);
    Ok(kept.map(|l| format!("{l}\n")).collect())
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
        let begun = |text: &str| super::begun(text, 3, link).map_err(|(_, e)| e).unwrap();
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
        let begun = begun(TEXT, 3, link).map_err(|(_, e)| e).unwrap();
        let ended = |text: &str| super::ended(text, 3, link).map_err(|(line, e)| e.at("x", line));
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
        let begun = |text: &str| begun(text, 2, link);
        let text = in_section(SECTIONS, &section, begun)
            .map_err(|(_, e)| e)
            .unwrap();
        let begins = format!("# buddy\n\n## v2\n\n- Link to v1: {link}\n\n## v1\n");
        assert_eq!(text, SECTIONS.replace("# buddy\n\n## v1\n", &begins));
        let section = super::section(&text, "buddy", &siblings())
            .map_err(|(_, e)| e)
            .unwrap();
        let ended = |text: &str| ended(text, 2, link);
        let text = in_section(&text, &section, ended)
            .map_err(|(_, e)| e)
            .unwrap();
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
