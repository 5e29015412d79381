// SPDX-License-Identifier: GPL-2.0

//! What changed since a posting, for each series that was posted.

use std::collections::BTreeMap;

use super::{
    Posting,
    commits::{
        Rebuild,
        applied,
        message_of, //
    },
    tag, //
};
use crate::{
    mail::mailbox::{
        self,
        Mail, //
    },
    patches::commits::{
        AssembledSeries,
        PatchCommit, //
    },
    source::{
        cover,
        manifest::Base, //
    },
    sys::error::Result,
    versions::{
        range_diff::{
            self,
            Comparison,
            Patch,
            PatchChange,
            Side, //
        },
        rules::{
            besides::{
                self,
                Reason, //
            },
            trailers, //
        }, //
    }, //
};

/// What changed since the last posting, by series.
pub type Since = BTreeMap<String, Change>;

/// A posted version and the present one.
#[derive(Debug, Clone)]
pub struct Change {
    /// What changed.
    pub comparison: Comparison,
    /// The kernel that the posted version was made for.
    pub base: String,
    /// Reasons for a new version other than patches and base.
    pub besides: Vec<Reason>,
    /// The `prerequisite-` lines of the posted version.
    pub prerequisites: Vec<String>,
    /// Whether the posted mails give the present tree on the present base and dependencies.
    pub applies: bool,
}

impl Change {
    /// Reasons for a new version other than patches, if the present base is `base`.
    pub fn reasons(&self, base: &Base) -> Vec<Reason> {
        let moved = (self.base != base.made_for()).then_some(Reason::Base);
        moved
            .into_iter()
            .chain(self.besides.iter().copied())
            .collect()
    }

    /// Whether dependent series may build on the posting: no patch changed, and the mails apply.
    pub fn stands(&self) -> bool {
        self.comparison.unchanged() && self.applies
    }

    /// Whether a new version would be pointless: no patch changed, there is no other reason, and the
    /// prerequisites in the `trailers` of the cover letter are the same.
    pub fn is_empty(&self, base: &Base, trailers: &[String]) -> bool {
        let now = trailers.iter().filter(|t| t.starts_with(PREREQUISITE));
        self.comparison.unchanged() && self.reasons(base).is_empty() && now.eq(&self.prerequisites)
    }
}

/// The start of the lines that name prerequisites.
const PREREQUISITE: &str = "prerequisite-";

/// Compares a posting with the series as it is now, and sees to it that b4 finds the tag.
///
/// # Errors
///
/// The posting cannot be made again, or git's own.
pub fn change(rebuild: &Rebuild<'_>, posting: &Posting, one: &AssembledSeries) -> Result<Change> {
    let name = one.name();
    let made = rebuild.commits(name, posting)?;
    let posted = posting.mails(rebuild.ws, name)?;
    let whole = crate::source::workspace::read_file(&rebuild.ws.path(posting.mbox(name)))
        .unwrap_or_default();
    let mails = mailbox::read(&whole)?;
    let cover = tag::cover_of(&mails);
    tag::ensure(rebuild.git, posting, &cover, &made)?;
    // Both sides by one git, as a mail may have been made with other settings.
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
    let besides = match cover::parse(&component.cover) {
        Ok(text) => besides::reasons(&component.series, &text, posting, &mails, &comparison),
        // Creating the cover letter reports the fault.
        Err(_) => Vec::new(),
    };
    let named = mails.first().map_or("", |m| m.body.as_str());
    let named = trailers::of_mail(named).into_iter().map(|(_, line)| line);
    let named = named.filter(|l| l.starts_with(PREREQUISITE));
    Ok(Change {
        besides,
        prerequisites: named.map(str::to_owned).collect(),
        applies: applies(rebuild, &comparison, &posted, one)?,
        comparison,
        base: posting.base.clone(),
    })
}

/// Whether the posted mails give the present tree of the series.
fn applies(
    rebuild: &Rebuild<'_>,
    since: &Comparison,
    posted: &[Mail],
    one: &AssembledSeries,
) -> Result<bool> {
    let same = |(i, p): (usize, &PatchChange)| {
        p.change == range_diff::Change::Same && p.new == Some(i + 1) && p.old == p.new
    };
    // The same diffs in the same order give the same tree.
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
