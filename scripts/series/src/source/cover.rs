// SPDX-License-Identifier: GPL-2.0

//! The cover letter: the author's text, and the parts that the tool adds.

use std::path::Path;

use crate::{
    source::{
        changelog::{self, Entry},
        manifest::{At, Base, Series},
        message,
        words::{self, Recipient},
    },
    sys::{Error, Result},
};

/// `cover-letters/<name>.md`: a title and a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The subject of 0/N.
    pub title: String,
    pub body: String,
}

pub fn parse(file: &Path, text: &str) -> Result<Text> {
    let (first, body) = text.split_once('\n').unwrap_or((text, ""));
    let (title, body) = (
        first.strip_prefix("# ").unwrap_or_default().trim(),
        body.trim(),
    );
    let error = |line: usize, what: &str, help: &str| Error::new(what).at(file, line).help(help);
    if title.is_empty() {
        let help = "the title becomes the subject of the cover letter";
        return Err(error(1, "the first line is not `# title`", help));
    }
    let mut errors = Vec::new();
    if body.is_empty() {
        let help = "describe the purpose of the series, and what a reviewer should know first";
        errors.push(error(1, "there is no text below the title", help));
    }
    let lines = text.lines().enumerate().skip(1);
    let faults = lines.filter_map(|(i, l)| Some((i + 1, message::mail_fault(l)?)));
    let title_fault = message::title_fault(title).map(|fault| (1, fault));
    for (line, (what, help)) in title_fault.into_iter().chain(faults) {
        errors.push(error(line, &what, help));
    }
    Error::all(errors)?;
    let (title, body) = (title.to_owned(), body.to_owned());
    Ok(Text { title, body })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The subject prefix: "PATCH v2".
    pub prefix: String,
    pub patches: usize,
    /// The title, or the subject of a single patch.
    pub title: String,
    /// The link to the posting of the present version.
    pub link: Option<String>,
    /// Version and link of the previous posting, if the present version is not posted.
    pub before: Option<(u32, String)>,
    /// What needs it, if the manifests say so.
    pub without: Option<String>,
}

/// Describes the number of leading patches that apply without a dependency.
pub fn without(patches: usize) -> String {
    match patches {
        0 => "No patch can be applied without it.".to_owned(),
        1 => "Patch 1 can be applied without it.".to_owned(),
        n => format!("Patches 1 to {n} can be applied without it."),
    }
}

impl Dependency {
    pub fn head(&self) -> String {
        match self.patches {
            // A single patch has no cover letter.
            1 => format!("[{}] {}", self.prefix, self.title),
            n => format!("[{} 0/{n}] {}", self.prefix, self.title),
        }
    }

    /// Returns the lines below the subject.
    pub fn lines(&self) -> Vec<String> {
        let link = match (&self.link, &self.before) {
            (Some(link), _) => link.clone(),
            (None, None) => "not posted yet".to_owned(),
            (None, Some((v, link))) => format!("not posted yet; v{v} is {link}"),
        };
        [Some(link), self.without.clone()]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Returns the author's part of a cover letter: body and provenance.
pub fn own(text: &Text, series: &Series) -> String {
    let mut own = text.body.clone();
    if let Some(At { value: from, .. }) = &series.provenance {
        let links: String = from.links.iter().map(|l| format!("\n  {l}")).collect();
        own += &format!("\n\n{}{links}", fill(from.text.trim(), COLUMNS));
    }
    own
}

/// Extracts the author's part from a mailed cover letter, in the form of [`plain`]. Returns `None`
/// if this tool did not write the mail. A `single` patch has the cover letter below its `---`.
pub fn posted(mail: &str, single: bool) -> Option<String> {
    let text = if single {
        mail.split_once("\n---\n")?.1
    } else {
        mail
    };
    let text = plain(text);
    let starts = [NO_DEPENDENCIES, DEPENDENCIES].into_iter();
    let ends = starts.filter_map(|start| text.find(&format!("\n{start}\n")));
    let end = ends.min()?;
    Some(text[..end].trim().to_owned())
}

/// Splits a cover letter from b4's tag into mail headers and text. b4 keeps recipients in the last
/// paragraph above the first `---` and moves them to the headers when it sends.
pub fn split_recipients(text: &str) -> (String, String) {
    let above = text.find("\n---\n").map_or(text.len(), |at| at + 1);
    let block = text[..above].trim_end().rfind("\n\n");
    let block = block.map_or(0, |at| at + 2);
    let (mut to, mut cc, mut rest) = (Vec::new(), Vec::new(), text[..block].to_owned());
    for line in text[block..above].split_inclusive('\n') {
        match line.trim_end().split_once(": ") {
            Some(("To", one)) => to.push(recipient(one)),
            Some(("Cc", one)) => cc.push(recipient(one)),
            _ => rest.push_str(line),
        }
    }
    (words::recipient_headers(&to, &cc), rest + &text[above..])
}

fn recipient(text: &str) -> String {
    Recipient::parse(text).map_or_else(|_| text.to_owned(), |one| one.header())
}

/// Removes trailing blanks and the `>` that escapes b4's comments, for comparison.
pub fn plain(text: &str) -> String {
    let lines = text.lines().map(|l| match l.strip_prefix('>') {
        Some(rest) if rest.starts_with('#') => rest.trim_end(),
        _ => l.trim_end(),
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

const NO_DEPENDENCIES: &str = "Dependencies: none, the series applies to the base alone.";
const DEPENDENCIES: &str = "Dependencies (apply in this order):";

/// Returns the text of the cover letter above `---`: body, provenance, dependencies, base.
pub fn message(text: &Text, series: &Series, base: &Base, dependencies: &[Dependency]) -> String {
    let (own, depends, release) = (own(text, series), depends(dependencies), base.release());
    let commit = base.upstream_commit.as_ref();
    let commit = commit.map_or(String::new(), |commit| format!(" (commit {commit})"));
    format!("{own}\n\n{depends}\n\nBase: Linux {release}{commit}\n")
}

fn depends(dependencies: &[Dependency]) -> String {
    if dependencies.is_empty() {
        return NO_DEPENDENCIES.to_owned();
    }
    let mut text = DEPENDENCIES.to_owned();
    for (i, d) in dependencies.iter().enumerate() {
        text += &format!("\n  {}. {}", i + 1, d.head());
        text.extend(d.lines().iter().map(|line| format!("\n     {line}")));
    }
    text
}

/// Returns the text below `---`: the changelog, and optionally the range-diff against a version.
pub fn below(entries: &[Entry], range_diff: Option<(u32, &str)>) -> String {
    let changelog = changelog::rendered(entries);
    match range_diff {
        Some((version, text)) => format!("{changelog}\nRange-diff against v{version}:\n{text}"),
        None => changelog,
    }
}

/// The longest line of a wrapped paragraph.
pub const COLUMNS: usize = 72;

pub fn fill(text: &str, columns: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Base {
        let text = "version = \"6.19.11\"\ntrees = []\narchive = []\n[host]\npaths = []\n";
        Base::parse(Path::new("series/base.toml"), text).unwrap()
    }

    fn series(more: &str) -> Series {
        let text = format!("version = 1\nchange-id = \"20260102-x\"\n{more}");
        Series::parse("mm", Path::new("series/mm.toml"), &text).unwrap()
    }

    #[test]
    fn parse_title_and_text() {
        let parse = |text: &str| super::parse("c.md".as_ref(), text);
        let errors_of = |text: &str| parse(text).unwrap_err().to_string();
        assert!(errors_of("no title\n").contains("c.md:1: the first line is not `# title`"));
        assert!(errors_of("# t\n\n").contains("c.md:1: there is no text"));
        insta::assert_snapshot!(errors_of("# [RFC] *** SUBJECT HERE ***\n\na\n---\nEDITME\n"), @r#"
        c.md:1: "*** SUBJECT HERE ***" remains from a template
          help: write the text; b4 does not send mails with EDITME
        error: c.md:4: `---` ends the message here when the patch is applied
          help: use another line
        error: c.md:5: "EDITME" remains from a template
          help: write the text; b4 does not send mails with EDITME
        "#);
        insta::assert_snapshot!(errors_of("# t\n\nFrom here\ndiff --git a b\n-- >8 --\n"), @r"
        c.md:3: `From ` at the start of a line begins the next mail of a mailbox
          help: wrap the text elsewhere, or indent it
        error: c.md:4: looks like the start of a diff when the patch is applied
          help: indent it
        error: c.md:5: looks like scissors: `git am --scissors` drops the text above it
          help: use another line
        ");
        assert_eq!(parse("# t\n\nx\n").unwrap().body, "x");
    }

    #[test]
    fn message_without_dependencies() {
        let text = parse("c.md".as_ref(), "# rust: add it\n\nIt is needed.\n").unwrap();
        let provenance = "[provenance]\ntext = \"Split out of\\na larger series.\"\nlinks = [\"https://example.org/1\"]\n";
        insta::assert_snapshot!(message(&text, &series(provenance), &base(), &[]), @r"
        It is needed.

        Split out of a larger series.
          https://example.org/1

        Dependencies: none, the series applies to the base alone.

        Base: Linux v6.19.11
        ");
    }

    #[test]
    fn message_with_dependencies() {
        let text = parse("c.md".as_ref(), "# mm\n\nIt is needed.\n").unwrap();
        let dependency = |prefix: &str, link: Option<&str>, without| Dependency {
            prefix: prefix.into(),
            patches: 3,
            title: "rust: add it".into(),
            link: link.map(str::to_owned),
            before: None,
            without,
        };
        let mut again = dependency("PATCH v2", None, Some(super::without(1)));
        again.before = Some((1, "https://example.org/1".to_owned()));
        again.patches = 1;
        let both = [
            dependency(
                "PATCH v2",
                Some("https://example.org/2"),
                Some("Needed by buddy.".into()),
            ),
            dependency("PATCH", None, Some(super::without(7))),
            again,
            dependency("RFC PATCH", None, Some(super::without(0))),
        ];
        let mut base = base();
        base.upstream_commit = Some("0".repeat(40));
        insta::assert_snapshot!(message(&text, &series(""), &base, &both), @r"
        It is needed.

        Dependencies (apply in this order):
          1. [PATCH v2 0/3] rust: add it
             https://example.org/2
             Needed by buddy.
          2. [PATCH 0/3] rust: add it
             not posted yet
             Patches 1 to 7 can be applied without it.
          3. [PATCH v2] rust: add it
             not posted yet; v1 is https://example.org/1
             Patch 1 can be applied without it.
          4. [RFC PATCH 0/3] rust: add it
             not posted yet
             No patch can be applied without it.

        Base: Linux v6.19.11 (commit 0000000000000000000000000000000000000000)
        ");
    }

    #[test]
    fn split_recipients_from_b4() {
        let text = "Text.\n\nTo: not one\n\nBase: x\n\nTo: B\u{e9} <b@c.org>\nTo: d@e.org\n\
                    Signed-off-by: A <a@b.org>\nCc: f@g.org\n\n---\nCc: no\n";
        let (headers, rest) = split_recipients(text);
        assert_eq!(
            headers,
            "To: =?UTF-8?q?B=C3=A9?= <b@c.org>,\n d@e.org\nCc: f@g.org\n"
        );
        assert_eq!(
            rest,
            "Text.\n\nTo: not one\n\nBase: x\n\nSigned-off-by: A <a@b.org>\n\n---\nCc: no\n"
        );
        assert_eq!(
            split_recipients("Text."),
            (String::new(), "Text.".to_owned())
        );
    }

    #[test]
    fn fill_limits_lines() {
        let text = fill(&"word ".repeat(40), 20);
        assert!(text.lines().all(|l| l.len() <= 20));
        assert_eq!(text.split_whitespace().count(), 40);
    }
}
