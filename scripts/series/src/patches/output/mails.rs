// SPDX-License-Identifier: GPL-2.0

//! The patches of a series as mails.

use std::{collections::BTreeSet, path::Path};

use crate::{
    git::{Git, Identity, format_patch, patch_ids},
    mail::{diff, received},
    patches::commits::{Assembled, AssembledSeries},
    source::message,
    sys::{Error, Result, plural::count},
};

#[derive(Debug, Clone, Default)]
pub struct Mails {
    /// The file name and the content of each patch.
    pub patches: Vec<(String, Vec<u8>)>,
    /// The output of `git patch-id --stable` for each patch.
    pub patch_ids: Vec<String>,
    /// The files that the mails do not produce on the base and the dependencies alone.
    pub differ: Vec<String>,
}

pub fn mails(
    git: &Git<'_>,
    assembled: &Assembled,
    who: &Identity,
    scratch: &Path,
) -> Result<Vec<Mails>> {
    let series = assembled.series.iter();
    series.map(|one| mails_of(git, one, who, scratch)).collect()
}

fn mails_of(git: &Git<'_>, one: &AssembledSeries, who: &Identity, scratch: &Path) -> Result<Mails> {
    if one.patches.is_empty() {
        return Ok(Mails::default());
    }
    let range = format!("{}..{}", one.parent.commit, one.tip().commit);
    let prefix = one.plan.series().subject_prefix();
    let mut patches = format_patch(git, &range, &prefix, &scratch.join(one.name()))?;
    if patches.len() != one.patches.len() {
        return Err(Error::new(format!(
            "git format-patch created {} from {} of {}",
            count(patches.len(), "mail", "mails"),
            count(one.patches.len(), "patch", "patches"),
            one.name()
        ))
        .help("git skips a patch that changes nothing; remove it or add a change"));
    }
    for ((_, mail), commit) in patches.iter_mut().zip(&one.messages) {
        message::note_below(mail, &commit.note);
    }
    let mbox = patches.iter().map(|(_, mail)| mail.as_slice());
    let mbox = mbox.collect::<Vec<_>>().concat();
    let alone = scratch.join(format!("{}-alone", one.name()));
    Ok(Mails {
        patch_ids: patch_ids(git, &mbox)?,
        differ: differ(git, one, &mbox, who, &alone)?,
        patches,
    })
}

/// Returns the files of the series that the mails do not produce on the base and the dependencies
/// alone, when git reads them from a mailbox. Fails if a message or an author differs.
fn differ(
    git: &Git<'_>,
    one: &AssembledSeries,
    mbox: &[u8],
    who: &Identity,
    scratch: &Path,
) -> Result<Vec<String>> {
    let received = received::read(git, mbox, &scratch.join("received"))?;
    let messages: Vec<&str> = one.messages.iter().map(|m| m.message.as_str()).collect();
    if let Some((at, what)) = received::difference(&received, &messages, &one.authors(who)) {
        let patch = one.plan.patches.get(at);
        let source = patch.map_or(&one.plan.series().file, |patch| &patch.source);
        let error = Error::new(format!("git reads the mail differently: {what}"));
        return Err(error.at(source, None).help("reword the message"));
    }
    let paths = diff::touched(&String::from_utf8_lossy(mbox));
    let before = git.entries(&one.parent.tree, &paths)?;
    // In a combined diff, git would look up a moved file at its first path.
    let diffs: Vec<&[u8]> = received.iter().map(|r| &r.diff[..]).collect();
    let after = git.apply(&scratch.join("index"), &before, &diffs);
    let after = after.map_err(|e| e.at(format!("out/{}", one.name()), None))?;
    let meant = git.entries(&one.tip().tree, &paths)?;
    let all: BTreeSet<&String> = paths.iter().chain(after.keys()).collect();
    let differ = all
        .into_iter()
        .filter(|path| after.get(*path) != meant.get(*path));
    Ok(differ.cloned().collect())
}
