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
        cover::{self, Dependency},
        manifest::{Base, Series},
        words,
    },
    sys::Result,
    versions::{
        postings::Posting,
        rules::trailers::{self, Prerequisite},
    },
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    pub title: String,
    /// The text above `---`.
    pub text: String,
    /// The text below `---`.
    pub below: String,
    /// The dependencies that the text lists.
    pub dependencies: Vec<Dependency>,
    /// The dependencies for b4.
    pub prerequisites: Vec<Prerequisite>,
    pub trailers: Vec<String>,
}

pub struct Material<'a> {
    pub assembled: &'a Assembled,
    pub base: &'a Base,
    /// The mails of each series, in the same order.
    pub mails: &'a [Mails],
    pub since: &'a Since,
}

impl Material<'_> {
    /// Returns the last posting of a series, if no patch changed since and the mails still apply.
    pub(super) fn as_posted<'b>(&self, one: &'b AssembledSeries) -> Option<&'b Posting> {
        let is_valid = self.since.get(one.name())?.is_valid();
        one.plan.component.posted().filter(|_| is_valid)
    }

    pub fn cover(&self, one: &AssembledSeries) -> Result<Cover> {
        let component = &one.plan.component;
        let series = &component.series;
        let text = cover::parse(&component.cover_file, &component.cover)?;
        let entries = changelog::of_version(&component.changelog, series.version)
            .map_err(|(line, e)| e.at(component.changelog_file(), line))?;
        let (mut dependencies, mut prerequisites) = (Vec::new(), Vec::new());
        for below in &one.below {
            let at = self.assembled.position(below)?;
            let below = &self.assembled.series[at];
            dependencies.push(self.dependency(one, below)?);
            prerequisites.push(self.prerequisite(below, &self.mails[at]));
        }
        let since = self.since.get(one.name()).filter(|_| series.range_diff);
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
        let without = self.without(one, below.name());
        let component = &below.plan.component;
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
        Ok(Dependency {
            prefix: component.series.subject_prefix(),
            patches: below.patches.len(),
            title: match &below.plan.patches[..] {
                [only] => only.subject.clone(),
                _ => cover::parse(&component.cover_file, &component.cover)?.title,
            },
            link: None,
            before: component.posted().map(|p| (p.version, p.link())),
            without,
        })
    }

    /// Describes what needs a dependency: patches of the series, or another dependency.
    fn without(&self, one: &AssembledSeries, below: &str) -> Option<String> {
        let series = one.plan.series();
        if let Some(patches) = series.without.get(below) {
            return Some(cover::without(patches.value));
        }
        let needs = |s: &Series| s.depends.iter().any(|d| d.value == below);
        if needs(series) {
            return None;
        }
        let mut all = self.assembled.series.iter().map(|s| s.plan.series());
        let by = all.find(|s| one.below.iter().any(|b| s.name == *b) && needs(s))?;
        Some(format!("Needed by {}.", by.name))
    }

    fn prerequisite(&self, below: &AssembledSeries, mails: &Mails) -> Prerequisite {
        let posted = self.as_posted(below);
        let of_posting = |p: &Posting| p.patches.iter().map(|p| p.patch_id.clone()).collect();
        Prerequisite {
            change_id: below.plan.series().change_id.to_string(),
            posted: posted.map(|p| p.version),
            patch_ids: posted.map_or_else(|| mails.patch_ids.clone(), of_posting),
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
    let (from, to) = (one.parent.commit.as_str(), one.tip().commit.as_str());
    let stat = git.must(["diff", "--stat=72", "--summary", "--find-renames", from, to])?;
    // The date of the last patch, as formatted by git.
    let last = mails.patches.last().map_or(&[][..], |(_, mail)| mail);
    let last = String::from_utf8_lossy(last);
    let date = last.lines().find_map(|l| l.strip_prefix("Date: "));
    let date = date.unwrap_or("");
    let from = words::mailbox(&who.name, &who.email);
    let mut text = format!("From {:040} Mon Sep 17 00:00:00 2001\n", 0);
    text += &format!("From: {from}\nDate: {date}\n");
    let n = one.patches.len();
    let (prefix, width) = (series.subject_prefix(), n.to_string().len());
    let title = words::header_text(&cover.title);
    text += &format!("Subject: [{prefix} {:0width$}/{n}] {title}\n", 0);
    text += &series.recipient_headers();
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
    for (patch, author) in one.plan.patches.iter().zip(one.authors(who)) {
        by_author
            .entry(author.name)
            .or_default()
            .push(&patch.subject);
    }
    let parts = by_author.into_iter().map(|(name, subjects)| {
        let lines: String = subjects.iter().map(|s| format!("  {s}\n")).collect();
        format!("{name} ({}):\n{lines}", subjects.len())
    });
    parts.collect::<Vec<_>>().join("\n")
}
