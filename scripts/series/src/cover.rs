// SPDX-License-Identifier: GPL-2.0

//! The cover letter: the author's text, and what the tool knows better than the author.

use crate::{
    changelog::{
        self,
        Entry, //
    },
    error::{
        Error,
        Result, //
    },
    manifest::{
        Base,
        Series, //
    },
};

/// `cover-letters/<name>.md`: a title and a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The title, which becomes the subject of 0/N.
    pub title: String,
    /// The text below it.
    pub body: String,
}

/// Reads a cover letter. The error has no place.
///
/// # Errors
///
/// It does not start with `# title`, or there is no text.
pub fn parse(text: &str) -> Result<Text> {
    let title = text
        .lines()
        .next()
        .and_then(|l| l.strip_prefix("# "))
        .map(str::trim)
        .filter(|t| !t.is_empty())
        .ok_or_else(|| {
            Error::new("the first line is not `# title`")
                .help("the title becomes the subject of the cover letter")
        })?;
    let body = text.split_once('\n').map_or("", |(_, b)| b).trim();
    if body.is_empty() {
        return Err(Error::new("there is no text below the title")
            .help("say what the series is for, and what a reviewer should know first"));
    }
    if let Some(word) = ["EDITME", "\n---\n", "--- b4-submit-tracking ---"]
        .into_iter()
        .find(|w| body.contains(w))
    {
        return Err(Error::new(format!(
            "{:?} must not stand in the text: b4 reads it as a mark of its own",
            word.trim()
        )));
    }
    Ok(Text {
        title: title.to_owned(),
        body: body.to_owned(),
    })
}

/// A series that the cover names as a dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Its subject prefix: "PATCH v2".
    pub prefix: String,
    /// How many patches it has.
    pub patches: usize,
    /// Its title; of a single patch, the subject.
    pub title: String,
    /// The link to its posting, if it was posted as it is.
    pub link: Option<String>,
    /// Version and link of the posting before, if it was not.
    pub before: Option<(u32, String)>,
    /// What can be applied without it.
    pub without: Without,
}

/// What of a series can be applied without a dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Without {
    /// So many patches, from the first on.
    Patches(usize),
    /// It is another dependency that needs it.
    NeededBy(String),
    /// The manifest does not say.
    Unknown,
}

impl Dependency {
    /// Its subject: "[PATCH v2 0/3] rust: add it".
    pub fn head(&self) -> String {
        match self.patches {
            // A single patch has no cover letter.
            1 => format!("[{}] {}", self.prefix, self.title),
            n => format!("[{} 0/{n}] {}", self.prefix, self.title),
        }
    }

    /// What is said of it.
    pub fn lines(&self) -> Vec<String> {
        let link = match (&self.link, &self.before) {
            (Some(link), _) => link.clone(),
            (None, None) => "not posted yet".to_owned(),
            (None, Some((v, link))) => format!("not posted yet; v{v} is {link}"),
        };
        let without = match &self.without {
            Without::Patches(0) => Some("No patch can be applied without it.".to_owned()),
            Without::Patches(1) => Some("Patch 1 can be applied without it.".to_owned()),
            Without::Patches(n) => Some(format!("Patches 1 to {n} can be applied without it.")),
            Without::NeededBy(name) => Some(format!("Needed by {name}.")),
            Without::Unknown => None,
        };
        [link].into_iter().chain(without).collect()
    }
}

/// The text of the cover letter above `---`: body, provenance, dependencies, base.
pub fn message(text: &Text, series: &Series, base: &Base, dependencies: &[Dependency]) -> String {
    let mut parts = vec![text.body.clone()];
    if let Some(from) = &series.provenance {
        let links: String = from.links.iter().map(|l| format!("\n  {l}")).collect();
        parts.push(format!("{}{links}", fill(from.text.trim(), 72)));
    }
    parts.push(depends(dependencies));
    parts.push(match &base.upstream_commit {
        Some(commit) => format!("Base: Linux {} (commit {commit})", base.release()),
        None => format!("Base: Linux {}", base.release()),
    });
    parts.join("\n\n") + "\n"
}

fn depends(dependencies: &[Dependency]) -> String {
    if dependencies.is_empty() {
        return "Dependencies: none, the series applies to the base alone.".to_owned();
    }
    let mut text = "Dependencies (apply in this order):".to_owned();
    for (i, d) in dependencies.iter().enumerate() {
        text += &format!("\n  {}. {}", i + 1, d.head());
        text.extend(d.lines().iter().map(|line| format!("\n     {line}")));
    }
    text
}

/// What stands below `---`: the changelog, and the range-diff against a version if it is asked for.
pub fn below(entries: &[Entry], range_diff: Option<(u32, &str)>) -> String {
    let changelog = changelog::rendered(entries);
    match range_diff {
        Some((version, text)) => format!("{changelog}\nRange-diff against v{version}:\n{text}"),
        None => changelog,
    }
}

/// Breaks a paragraph into lines of at most `columns`.
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
    use std::path::Path;

    fn base() -> Base {
        let text = "version = \"6.19.11\"\ntrees = []\narchive = []\n[host]\npaths = []\n";
        Base::parse(Path::new("base.toml"), text).unwrap()
    }

    fn series(more: &str) -> Series {
        let text = format!("version = 1\nchange-id = \"x\"\n{more}");
        Series::parse("mm", Path::new("series/mm.toml"), &text).unwrap()
    }

    #[test]
    fn title_and_text_are_needed() {
        assert!(
            parse("no title\n")
                .unwrap_err()
                .to_string()
                .contains("# title")
        );
        assert!(
            parse("# t\n\n")
                .unwrap_err()
                .to_string()
                .contains("no text")
        );
        assert!(parse("# t\n\na\n---\nb\n").is_err());
        assert!(parse("# t\n\nEDITME\n").is_err());
        assert_eq!(parse("# t\n\nx\n").unwrap().body, "x");
    }

    #[test]
    fn a_cover_without_dependencies_says_so() {
        let text = parse("# rust: add it\n\nIt is needed.\n").unwrap();
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
    fn dependencies_are_named_with_version_and_link() {
        let text = parse("# mm\n\nIt is needed.\n").unwrap();
        let dependency = |prefix: &str, link: Option<&str>, without| Dependency {
            prefix: prefix.into(),
            patches: 3,
            title: "rust: add it".into(),
            link: link.map(str::to_owned),
            before: None,
            without,
        };
        let mut again = dependency("PATCH v2", None, Without::Patches(1));
        again.before = Some((1, "https://example.org/1".to_owned()));
        again.patches = 1;
        let both = [
            dependency(
                "PATCH v2",
                Some("https://example.org/2"),
                Without::NeededBy("buddy".into()),
            ),
            dependency("PATCH", None, Without::Patches(7)),
            again,
            dependency("RFC PATCH", None, Without::Patches(0)),
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
    fn filled_lines_are_short_enough() {
        let text = fill(&"word ".repeat(40), 20);
        assert!(text.lines().all(|l| l.len() <= 20));
        assert_eq!(text.split_whitespace().count(), 40);
    }
}
