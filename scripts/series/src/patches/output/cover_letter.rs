// SPDX-License-Identifier: GPL-2.0

//! The cover letter of a series.

use std::collections::BTreeMap;

use crate::{
    git::{Git, Identity},
    patches::{
        commits::{Assembled, AssembledSeries},
        output::mails::Mails,
        since::Since,
    },
    source::{
        changelog,
        cover::{self, Dependency, Without},
        manifest::Base,
        message,
        words::{self, Recipient},
    },
    sys::error::{Error, Result},
    versions::{
        postings::Posting,
        rules::trailers::{self, Prerequisite},
    },
};

/// The cover letter of a series, in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    /// The title.
    pub title: String,
    /// The text above `---`.
    pub text: String,
    /// The text below `---`.
    pub below: String,
    /// The dependencies that the text lists.
    pub dependencies: Vec<Dependency>,
    /// The dependencies for b4.
    pub prerequisites: Vec<Prerequisite>,
    /// The trailers at the end of the mail.
    pub trailers: Vec<String>,
}

/// The input of cover letters.
pub struct Material<'a> {
    /// The commits of all series.
    pub assembled: &'a Assembled,
    /// The base.
    pub base: &'a Base,
    /// The mails of each series, in the same order.
    pub mails: &'a [Mails],
    /// The changes since the last posting, by series.
    pub since: &'a Since,
}

impl Material<'_> {
    fn read(&self, one: &AssembledSeries) -> Result<cover::Text> {
        cover::parse(&one.plan.component.cover).map_err(|errors| {
            let file = &one.plan.component.cover_file;
            let placed = errors.into_iter().map(|(line, e)| e.at(file, line));
            let unknown = || Error::new("cannot be parsed").at(file, None);
            Error::all(placed.collect()).unwrap_or_else(unknown)
        })
    }

    fn mails_of(&self, name: &str) -> Option<&Mails> {
        let at = self
            .assembled
            .series
            .iter()
            .position(|s| s.name() == name)?;
        self.mails.get(at)
    }

    /// Returns the last posting of a series, if no patch changed since and the mails still apply.
    pub(super) fn as_posted<'b>(&self, one: &'b AssembledSeries) -> Option<&'b Posting> {
        let is_valid = self.since.get(one.name())?.is_valid();
        one.plan.component.posted().filter(|_| is_valid)
    }

    /// Creates the cover letter of a series.
    ///
    /// # Errors
    ///
    /// Fails if the cover letter or the changelog is invalid.
    pub fn cover(&self, one: &AssembledSeries) -> Result<Cover> {
        let series = one.plan.series();
        let name = &series.name;
        let text = self.read(one)?;
        let entries = changelog::of_version(&one.plan.component.changelog, series.version)
            .map_err(|(line, e)| e.at(one.plan.component.changelog_file(), line))?;
        let (mut dependencies, mut prerequisites) = (Vec::new(), Vec::new());
        for below in &one.below {
            let below = self.assembled.find(below)?;
            dependencies.push(self.dependency(one, below)?);
            prerequisites.push(self.prerequisite(below));
        }
        let since = self.since.get(name.as_str()).filter(|_| series.range_diff);
        let range_diff = since.map(|s| (s.comparison.against, s.comparison.text.as_str()));
        Ok(Cover {
            text: cover::message(&text, series, self.base, &dependencies),
            below: cover::below(&entries, range_diff),
            title: text.title,
            trailers: trailers::expected(series, self.base, &prerequisites),
            dependencies,
            prerequisites,
        })
    }

    fn dependency(&self, one: &AssembledSeries, below: &AssembledSeries) -> Result<Dependency> {
        let series = below.plan.series();
        let name = below.name();
        let without = match one.plan.series().without.get(name) {
            Some(n) => Without::Patches(n.value),
            None => {
                let depends = |s: &&AssembledSeries| {
                    let depends = &s.plan.series().depends;
                    one.below.iter().any(|b| b == s.name())
                        && depends.iter().any(|d| d.value == name)
                };
                let by = self.assembled.series.iter().find(depends);
                let direct = one.plan.series().depends.iter().any(|d| d.value == name);
                match by.filter(|_| !direct) {
                    Some(by) => Without::NeededBy(by.name().to_owned()),
                    None => Without::Unknown,
                }
            }
        };
        if let Some(posting) = self.as_posted(below) {
            return Ok(Dependency {
                prefix: posting.subject_prefix(),
                patches: posting.patches.len(),
                title: posting.title.clone(),
                link: Some(posting.link()),
                before: None,
                without,
            });
        }
        let title = match &below.plan.patches[..] {
            [only] => only.subject.clone(),
            _ => self.read(below)?.title,
        };
        let before = below.plan.component.posted();
        Ok(Dependency {
            prefix: series.subject_prefix(),
            patches: below.patches.len(),
            title,
            link: None,
            before: before.map(|p| (p.version, p.link())),
            without,
        })
    }

    fn prerequisite(&self, below: &AssembledSeries) -> Prerequisite {
        let change_id = below.plan.series().change_id.to_string();
        match self.as_posted(below) {
            Some(posting) => Prerequisite {
                change_id,
                posted: Some(posting.version),
                patch_ids: posting.patches.iter().map(|p| p.patch_id.clone()).collect(),
            },
            None => Prerequisite {
                change_id,
                posted: None,
                patch_ids: self
                    .mails_of(below.name())
                    .map_or(Vec::new(), |m| m.patch_ids.clone()),
            },
        }
    }
}

/// Formats the cover letter as a mail.
pub(super) fn letter(
    git: &Git<'_>,
    one: &AssembledSeries,
    cover: &Cover,
    who: &Identity,
    mails: &Mails,
) -> Result<Vec<u8>> {
    let series = one.plan.series();
    let n = one.patches.len();
    let width = n.to_string().len();
    let stat = git.must([
        "diff",
        "--stat=72",
        "--summary",
        "--find-renames",
        one.parent.commit.as_str(),
        one.tip().commit.as_str(),
    ])?;
    // The date of the last patch, as formatted by git.
    let last = mails
        .patches
        .last()
        .map(|(_, mail)| String::from_utf8_lossy(mail));
    let last = last.unwrap_or_default();
    let date = last
        .lines()
        .find_map(|l| l.strip_prefix("Date: "))
        .unwrap_or("");
    let zero = "0".repeat(40);
    let mut text = format!("From {zero} Mon Sep 17 00:00:00 2001\n");
    text += &format!(
        "From: {}\nDate: {date}\n",
        words::mailbox(&who.name, &who.email)
    );
    text += &format!(
        "Subject: [{} {:0width$}/{n}] {}\n",
        series.subject_prefix(),
        0,
        words::header_text(&cover.title)
    );
    for (header, list) in [("To", &series.to), ("Cc", &series.cc)] {
        if !list.is_empty() {
            let list: Vec<String> = list.iter().map(Recipient::header).collect();
            text += &format!("{header}: {}\n", list.join(",\n "));
        }
    }
    text += "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n";
    text += "Content-Transfer-Encoding: 8bit\n\n";
    text += &format!("{}\n---\n{}\n", cover.text, cover.below);
    text += &shortlog(one, who);
    text += &format!("\n{}\n", String::from_utf8_lossy(&stat.stdout));
    text += &format!("---\n{}\n\n", cover.trailers.join("\n"));
    Ok(text.into_bytes())
}

/// Lists the subjects of the patches by author, as `git shortlog` does.
fn shortlog(one: &AssembledSeries, who: &Identity) -> String {
    let mut by_author: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (patch, (name, _)) in one.plan.patches.iter().zip(one.authors(who)) {
        let subject = message::subject(&patch.message);
        by_author.entry(name).or_default().push(subject);
    }
    let parts = by_author.into_iter().map(|(name, subjects)| {
        let lines: String = subjects.iter().map(|s| format!("  {s}\n")).collect();
        format!("{name} ({}):\n{lines}", subjects.len())
    });
    parts.collect::<Vec<_>>().join("\n")
}
