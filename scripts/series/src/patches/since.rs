// SPDX-License-Identifier: GPL-2.0

//! Compares each series with its last posting.

use std::collections::BTreeMap;

use crate::{
    git::{Git, Oid, PatchCommit},
    mail::mailbox::Mail,
    patches::commits::AssembledSeries,
    source::{cover, manifest::Base},
    sys::Result,
    versions::{
        postings::{
            Posting,
            commits::{Rebuild, applied, message_of},
            tag,
        },
        range_diff::{self, Comparison, Patch, PatchChange, Side},
        rules::{
            reasons::{self, Reason},
            trailers,
        },
    },
};

/// Changes since the last posting, by series.
pub type Since = BTreeMap<String, Change>;

/// The changes of a series since a posted version.
#[derive(Debug, Clone)]
pub struct Change {
    pub comparison: Comparison,
    /// The kernel release that the posted version is based on.
    pub base: String,
    /// Reasons for a new version other than changed patches or another base.
    pub other: Vec<Reason>,
    /// The `prerequisite-` lines of the posted version.
    pub prerequisites: Vec<String>,
    /// Whether the posted mails produce the current tree on the current base and dependencies.
    pub applies: bool,
}

impl Change {
    /// Returns the reasons for a new version on `base` other than changed patches.
    pub fn reasons(&self, base: &Base) -> Vec<Reason> {
        let moved = (self.base != base.made_for()).then_some(Reason::Base);
        let other = self.other.iter().copied();
        moved.into_iter().chain(other).collect()
    }

    /// Whether series may still depend on the posting: no patch changed, and the mails apply.
    pub fn is_valid(&self) -> bool {
        self.comparison.unchanged() && self.applies
    }

    /// Whether nothing requires a new version. `trailers` are the trailers of the current cover
    /// letter; changed prerequisites require one.
    pub fn is_empty(&self, base: &Base, trailers: &[String]) -> bool {
        let now = trailers.iter().filter(|t| t.starts_with(PREREQUISITE));
        self.comparison.unchanged() && self.reasons(base).is_empty() && now.eq(&self.prerequisites)
    }
}

const PREREQUISITE: &str = "prerequisite-";

/// Compares a posting with the current series, and creates the tag of the posting that b4 looks up.
pub fn change(rebuild: &Rebuild<'_>, posting: &Posting, one: &AssembledSeries) -> Result<Change> {
    let (git, name) = (rebuild.git, one.name());
    let made = rebuild.commits(name, posting)?;
    tag::ensure(git, posting, &made)?;
    let texts = made.patch_mails().zip(&posting.patches);
    let texts = texts.map(|(mail, record)| (record.subject.clone(), message_of(mail)));
    let old = side(git, &made.parent, &made.patches, texts)?;
    let texts = one.plan.patches.iter();
    let texts = texts.map(|patch| (patch.subject.clone(), patch.message.clone()));
    let new = side(git, &one.parent, &one.patches, texts)?;
    let comparison = range_diff::compare(git, rebuild.cache, posting.version, &old, &new)?;
    let component = &one.plan.component;
    let other = match cover::parse(&component.cover_file, &component.cover) {
        Ok(text) => reasons::reasons(&component.series, &text, posting, &made.mails, &comparison),
        // The code that creates the cover letter reports the error.
        Err(_) => Vec::new(),
    };
    let named = made.mails.first().map_or("", |m| m.body.as_str());
    let named = trailers::of_mail(named).into_iter().map(|(_, line)| line);
    let named = named.filter(|l| l.starts_with(PREREQUISITE));
    Ok(Change {
        other,
        prerequisites: named.map(str::to_owned).collect(),
        applies: applies(rebuild, &comparison, made.patch_mails(), one)?,
        comparison,
        base: posting.base.clone(),
    })
}

/// One side of the comparison, with subjects and messages in `texts`. git creates its diffs,
/// because mailed diffs depend on the settings of the sender.
fn side(
    git: &Git<'_>,
    parent: &PatchCommit,
    patches: &[PatchCommit],
    texts: impl Iterator<Item = (String, String)>,
) -> Result<Side> {
    let commits: Vec<&Oid> = patches.iter().map(|c| &c.commit).collect();
    let patches = texts.zip(git.diffs(&commits)?);
    let patches = patches.map(|((subject, message), diff)| Patch {
        subject,
        message,
        diff,
    });
    Ok(Side {
        parent: parent.commit.clone(),
        tip: commits.last().copied().unwrap_or(&parent.commit).clone(),
        patches: patches.collect(),
    })
}

/// Whether the posted mails produce the current tree of the series.
fn applies<'a>(
    rebuild: &Rebuild<'_>,
    since: &Comparison,
    posted: impl Iterator<Item = &'a Mail>,
    one: &AssembledSeries,
) -> Result<bool> {
    let same = |(i, p): (usize, &PatchChange)| {
        p.change == range_diff::Change::Same && p.new == Some(i + 1) && p.old == p.new
    };
    // Equal diffs in equal order produce the same tree.
    if since.patches.iter().enumerate().all(same) {
        return Ok(true);
    }
    if !since.unchanged() {
        return Ok(false);
    }
    let diffs: Vec<&[u8]> = posted.map(|m| m.body.as_bytes()).collect();
    let Ok(changes) = applied(rebuild.git, rebuild.cache, &one.parent.tree, &diffs) else {
        return Ok(false);
    };
    let last: BTreeMap<_, _> = changes.into_iter().flatten().collect();
    let paths: Vec<String> = last.keys().cloned().collect();
    let now = rebuild.git.entries(&one.tip().tree, &paths)?;
    let mut last = last.iter();
    Ok(last.all(|(path, entry)| now.get(path) == entry.as_ref()))
}
