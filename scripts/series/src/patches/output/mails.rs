// SPDX-License-Identifier: GPL-2.0

//! The patches of a series as mails.

use std::path::Path;

use crate::{
    git::{
        Git,
        Identity,
        format_patch,
        patch_ids, //
    },
    mail::{
        diff,
        received, //
    },
    patches::commits::{
        Assembled,
        AssembledSeries, //
    },
    source::message,
    sys::{
        error::{
            Error,
            Result, //
        },
        plural::count, //
    }, //
};

/// A series as mail.
#[derive(Debug, Clone, Default)]
pub struct Mails {
    /// File name and content of each patch.
    pub patches: Vec<(String, Vec<u8>)>,
    /// `git patch-id --stable` of each.
    pub patch_ids: Vec<String>,
    /// Whether they give the recorded tree on the base plus what the series depends on.
    pub(super) applies: bool,
}

impl Mails {
    fn mbox(&self) -> Vec<u8> {
        self.patches
            .iter()
            .flat_map(|(_, mail)| mail.clone())
            .collect()
    }
}

/// The mails of all series.
///
/// # Errors
///
/// git's own, or a patch that changes nothing.
pub fn mails(
    git: &Git<'_>,
    assembled: &Assembled,
    who: &Identity,
    scratch: &Path,
) -> Result<Vec<Mails>> {
    let series = assembled.series.iter();
    series
        .map(|one| match one.patches.is_empty() {
            true => Ok(Mails::default()),
            false => mails_of(git, one, who, scratch),
        })
        .collect()
}

fn mails_of(git: &Git<'_>, one: &AssembledSeries, who: &Identity, scratch: &Path) -> Result<Mails> {
    let range = format!("{}..{}", one.parent.commit, one.tip().commit);
    let prefix = one.plan.series().subject_prefix();
    let mut patches = format_patch(git, &range, &prefix, &scratch.join(one.name()))?;
    if patches.len() != one.patches.len() {
        return Err(Error::new(format!(
            "git made {} of {} of {}",
            count(patches.len(), "mail", "mails"),
            count(one.patches.len(), "patch", "patches"),
            one.name()
        ))
        .help("a patch that changes nothing against the one before it gets no mail"));
    }
    for ((_, mail), dressed) in patches.iter_mut().zip(&one.dressed) {
        message::note_below(mail, &dressed.note);
    }
    let mut mails = Mails {
        patches,
        patch_ids: Vec::new(),
        applies: false,
    };
    mails.patch_ids = patch_ids(git, &mails.mbox())?;
    let alone = scratch.join(format!("{}-alone", one.name()));
    mails.applies = applies(git, one, &mails, who, &alone)?;
    Ok(mails)
}

/// Whether the mails, read by git from a mailbox, give the recorded tree on the base plus the
/// dependencies alone. Another message or author is an error.
fn applies(
    git: &Git<'_>,
    one: &AssembledSeries,
    mails: &Mails,
    who: &Identity,
    scratch: &Path,
) -> Result<bool> {
    let received = received::read(git, &mails.mbox(), &scratch.join("received"))?;
    let messages: Vec<&str> = one.dressed.iter().map(|d| d.message.as_str()).collect();
    if let Some((at, what)) = received::difference(&received, &messages, &one.authors(who)) {
        let source = one.plan.patches.get(at).map(|p| p.source.clone());
        return Err(
            Error::new(format!("the mail is not received as it is meant: {what}"))
                .at(source.unwrap_or_else(|| one.plan.series().file()), None)
                .help("word the message another way"),
        );
    }
    let touched = diff::touched(&String::from_utf8_lossy(&mails.mbox()));
    let paths: Vec<String> = touched.into_iter().map(|t| t.path).collect();
    let before = git.entries(&one.parent.tree, &paths)?;
    // One by one: in one diff git would look for what moves where it was at the start.
    let diffs: Vec<&[u8]> = received.iter().map(|r| &r.diff[..]).collect();
    let after = git
        .apply(&scratch.join("index"), &before, &diffs)
        .map_err(|e| e.at(format!("out/{}", one.name()), None))?;
    Ok(after == git.entries(&one.tip().tree, &paths)?)
}
