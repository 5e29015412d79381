// SPDX-License-Identifier: GPL-2.0

//! Compares each series with its last posting.

use std::collections::BTreeMap;

use crate::{
    git::PatchCommit,
    mail::mailbox::{self, Mail},
    patches::commits::AssembledSeries,
    source::{cover, manifest::Base},
    sys::error::Result,
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
    /// The comparison of the patches.
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
        moved
            .into_iter()
            .chain(self.other.iter().copied())
            .collect()
    }

    /// Whether dependent series may still refer to the posting: no patch changed, and the mails
    /// apply.
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

/// The prefix of the prerequisite trailers in cover letters.
const PREREQUISITE: &str = "prerequisite-";

/// Compares a posting with the current series, and creates the tag of the posting that b4 looks up.
///
/// # Errors
///
/// Fails if the commits of the posting cannot be restored, or if git fails.
pub fn change(rebuild: &Rebuild<'_>, posting: &Posting, one: &AssembledSeries) -> Result<Change> {
    let name = one.name();
    let made = rebuild.commits(name, posting)?;
    let posted = posting.mails(rebuild.ws, name)?;
    let whole =
        crate::sys::files::read_file(&rebuild.ws.path(posting.mbox(name))).unwrap_or_default();
    let mails = mailbox::read(&whole)?;
    let cover = tag::cover_of(&mails);
    tag::ensure(rebuild.git, posting, &cover, &made)?;
    // git creates both sides again, because the mailed diffs depend on the settings of the sender.
    let diffs = |commits: &[PatchCommit]| {
        let names: Vec<_> = commits.iter().map(|c| &c.commit).collect();
        rebuild.git.diffs(&names)
    };
    let (old_diffs, new_diffs) = (diffs(&made.patches)?, diffs(&one.patches)?);
    let old = Side {
        parent: made.parent.commit.clone(),
        tip: made.tip().commit.clone(),
        patches: posted
            .iter()
            .zip(&posting.patches)
            .zip(old_diffs)
            .map(|((mail, record), diff)| Patch {
                subject: record.subject.clone(),
                message: message_of(mail),
                diff,
            })
            .collect(),
    };
    let patches = one.plan.patches.iter().zip(new_diffs);
    let new = Side {
        parent: one.parent.commit.clone(),
        tip: one.tip().commit.clone(),
        patches: patches
            .map(|(planned, diff)| Patch {
                subject: planned.subject.clone(),
                message: planned.message.clone(),
                diff,
            })
            .collect(),
    };
    let comparison = range_diff::compare(rebuild.git, rebuild.cache, posting.version, &old, &new)?;
    let component = &one.plan.component;
    let other = match cover::parse(&component.cover) {
        Ok(text) => reasons::reasons(&component.series, &text, posting, &mails, &comparison),
        // The code that creates the cover letter reports the error.
        Err(_) => Vec::new(),
    };
    let named = mails.first().map_or("", |m| m.body.as_str());
    let named = trailers::of_mail(named).into_iter().map(|(_, line)| line);
    let named = named.filter(|l| l.starts_with(PREREQUISITE));
    Ok(Change {
        other,
        prerequisites: named.map(str::to_owned).collect(),
        applies: applies(rebuild, &comparison, &posted, one)?,
        comparison,
        base: posting.base.clone(),
    })
}

/// Whether the posted mails produce the current tree of the series.
fn applies(
    rebuild: &Rebuild<'_>,
    since: &Comparison,
    posted: &[Mail],
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
    let diffs: Vec<&[u8]> = posted.iter().map(|m| m.body.as_bytes()).collect();
    let Ok(changes) = applied(rebuild.git, rebuild.cache, &one.parent.tree, &diffs) else {
        return Ok(false);
    };
    let mut last = BTreeMap::new();
    for (path, entry) in changes.into_iter().flatten() {
        last.insert(path, entry);
    }
    let paths: Vec<String> = last.keys().cloned().collect();
    let now = rebuild.git.entries(&one.tip().tree, &paths)?;
    Ok(last
        .iter()
        .all(|(path, entry)| now.get(path) == entry.as_ref()))
}
