// SPDX-License-Identifier: GPL-2.0

//! What changed since a posting, for each series that was posted.

use std::collections::BTreeMap;

use super::{
    Posting,
    commits::{
        Rebuild,
        message_of, //
    },
    tag, //
};
use crate::{
    assemble::{
        AssembledSeries,
        PatchCommit, //
    },
    error::Result,
    mailbox,
    range_diff::{
        self,
        Comparison,
        Patch,
        Side, //
    },
};

/// What changed since the last posting, by series.
pub type Since = BTreeMap<String, Change>;

/// A posted version and the present one.
#[derive(Debug, Clone)]
pub struct Change {
    /// What changed.
    pub comparison: Comparison,
    /// The posted version.
    pub old: Side,
    /// The present one.
    pub new: Side,
}

/// Compares a posting with the series as it is now, and sees to it that b4 finds the tag.
///
/// # Errors
///
/// The posting cannot be made again, or git's own.
pub fn change(rebuild: &Rebuild<'_>, posting: &Posting, one: &AssembledSeries) -> Result<Change> {
    let name = one.name();
    let made = rebuild.commits(name, posting)?;
    let posted = posting.mails(rebuild.ws, name)?;
    let whole =
        crate::workspace::read_file(&rebuild.ws.path(posting.mbox(name))).unwrap_or_default();
    let cover = tag::cover_of(&mailbox::read(&whole)?);
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
    Ok(Change {
        comparison,
        old,
        new,
    })
}
