// SPDX-License-Identifier: GPL-2.0

//! `trailers`: takes tags of reviewers from replies or from b4's branch.

use std::path::Path;

use serde::Serialize;

use super::{App, mails};
use crate::{
    b4::{self, reviews},
    cli::stdout::{print, print_json},
    mail::{fingerprint::fingerprint, mailbox::Person},
    source::{
        component::{self, Component},
        words::Recipient,
    },
    sys::{
        cache::Resource,
        error::{Error, Result},
        files::write,
    },
    versions::{
        postings::{self, commits::Rebuild},
        trailers::{
            collect::{Collected, Posted, PostedPatch, Refused, Remark, collect},
            people::{People, mailmap},
            store::{self, Entry, Merged},
        },
    },
};

/// The output of `--json`.
#[derive(Serialize)]
struct Outcome<'a> {
    taken: &'a [Entry],
    known: usize,
    refused: &'a [Refused],
    kept_out: &'a [Entry],
    withdrawn: &'a [Entry],
    remarks: &'a [Remark],
    strays: &'a [String],
}

impl App<'_> {
    pub(super) fn trailers(&self, name: &str, mbox: Option<&Path>, json: bool) -> Result<()> {
        let all = component::read_all(&self.ws)?;
        let components: Vec<&Component> = all.iter().collect();
        let component = component::find(&all, name)?;
        if component.postings.is_empty() {
            return Err(Error::new(format!("no posting of {name} is recorded"))
                .at(component.series.file(), None)
                .help(format!(
                    "trailers refer to posted versions; record one with `cargo series record \
                     {name}`"
                )));
        }
        let base = self.base_commit()?;
        let git = self.git();
        let rebuild = self.rebuild(&git, &base, &components);
        let _lock = self.lock(Resource::Refs)?;
        let posted = versions(&rebuild, component)?;
        let people = self.people(&all)?;
        let (mut collected, by_hand) = match mbox {
            Some(from) => (collect(&posted, &mails::read(from)?, &people), None),
            None => self.in_branch(component, &posted)?,
        };
        if mbox.is_none() {
            refuse_author_tags(&posted, &mut collected);
        }
        let file = store::file(name);
        let old = match self.ws.path(&file).exists() {
            true => self.ws.read(&file)?,
            false => String::new(),
        };
        let find = |entry: &Entry| known(component, &posted, entry);
        let complete = store::completed(&file, &old, &find)?;
        let Collected {
            found, withdrawn, ..
        } = &collected;
        let merged = store::merge(&file, &complete, found, withdrawn, &people)?;
        if merged.text != old {
            write(&self.ws.path(&file), merged.text.as_bytes())?;
        }
        self.show_collected(name, &collected, &merged, json)?;
        by_hand.map_or(Ok(()), Err)
    }

    /// Returns the known addresses: the recipients of all series, and `.mailmap`.
    fn people(&self, all: &[Component]) -> Result<People> {
        let recipients = all
            .iter()
            .flat_map(|c| c.series.to.iter().chain(&c.series.cc));
        let mut pairs: Vec<_> = recipients.map(person).collect();
        if self.ws.path(".mailmap").exists() {
            pairs.extend(mailmap(&self.ws.read(".mailmap")?));
        }
        Ok(People::new(pairs))
    }

    /// Returns the tags in b4's branch, and an error for tags that the user must add by hand.
    fn in_branch(
        &self,
        component: &Component,
        posted: &[Posted],
    ) -> Result<(Collected, Option<Error>)> {
        let git = self.git();
        let name = component.name();
        let (commits, own) = b4::commits(&git, name)?.ok_or_else(|| {
            Error::new(format!("branch {} does not exist", b4::branch_name(name)))
                .at(git.dir(), None)
                .help(format!(
                    "create it with `cargo series assemble`, or read replies with `cargo series \
                     trailers {name} --mbox FILE`"
                ))
        })?;
        let unknown = reviews::unknown(component, &commits, &own);
        let names: Vec<_> = unknown.iter().map(|u| &u.commit).collect();
        let diffs = git.diffs(&names)?;
        let fingerprints: Vec<String> = diffs.iter().map(|d| fingerprint(d)).collect();
        let collected = Collected {
            found: reviews::entries(&unknown, &fingerprints, posted),
            ..Collected::default()
        };
        Ok((collected, reviews::by_hand(name, &unknown)))
    }

    fn show_collected(
        &self,
        name: &str,
        collected: &Collected,
        merged: &Merged,
        json: bool,
    ) -> Result<()> {
        let Collected {
            refused,
            remarks,
            strays,
            ..
        } = collected;
        self.warn_of(collected, merged);
        if json {
            let outcome = Outcome {
                taken: &merged.taken,
                known: merged.known,
                refused,
                kept_out: &merged.kept_out,
                withdrawn: &merged.withdrawn,
                remarks,
                strays,
            };
            print_json(&outcome)?;
        } else {
            for entry in &merged.taken {
                let Entry { patch, trailer, .. } = entry;
                print(&format!("{patch}: {trailer} ({})\n", given_to(entry)));
            }
        }
        if !strays.is_empty() {
            let n = strays.len();
            self.ui
                .say(format!("mails unrelated to postings of {name}: {n}"));
        }
        let (taken, known) = (merged.taken.len(), merged.known);
        let refused = refused.len() + merged.kept_out.len();
        self.ui.say(format!(
            "trailers: {taken} new, {known} known, {refused} refused"
        ));
        if refused > 0 {
            self.ui.say(format!(
                "to add one by hand, write a [[trailer]] with `patch` and `trailer` to {}",
                store::file(name).display()
            ));
        }
        if taken + merged.withdrawn.len() > 0 {
            self.ui
                .say("`cargo series assemble` adds them to the patches");
        }
        Ok(())
    }

    /// Lists refused tags with reasons.
    fn warn_of(&self, collected: &Collected, merged: &Merged) {
        for Refused {
            trailer,
            mail,
            reason,
        } in &collected.refused
        {
            self.ui
                .warn(format!("refused: {trailer}: {reason} ({mail})"));
        }
        for entry in &merged.kept_out {
            let Entry { patch, trailer, .. } = entry;
            let why = entry.drop.as_ref().map_or("", |d| d.value.as_str());
            self.ui.warn(format!(
                "refused: {trailer}: excluded from {patch}: {why:?}"
            ));
        }
        for entry in &merged.withdrawn {
            let Entry { patch, trailer, .. } = entry;
            let given = given_to(entry);
            self.ui
                .warn(format!("{patch}: {trailer} ({given}) was withdrawn"));
        }
        for Remark { text, mail } in &collected.remarks {
            self.ui.warn(format!("{text} ({mail})"));
        }
    }
}

/// Describes the version and the mail that a tag was given to.
fn given_to(entry: &Entry) -> String {
    let version = entry.version;
    match entry.by_cover {
        true => format!("given to the cover letter of v{version}, and so to all patches"),
        false => format!("given to v{version}"),
    }
}

/// Refuses tags of the author, which b4 accepts. b4 verifies the senders of all other tags.
fn refuse_author_tags(posted: &[Posted], collected: &mut Collected) {
    let is_author = |entry: &Entry| {
        let address = entry.trailer.who.email.to_lowercase();
        posted.iter().any(|p| p.authors.contains(&address))
    };
    let found = std::mem::take(&mut collected.found);
    let (authors, others): (Vec<_>, Vec<_>) = found.into_iter().partition(is_author);
    collected.found = others;
    collected
        .refused
        .extend(authors.iter().map(|entry| Refused {
            trailer: entry.trailer.to_string(),
            mail: format!("b4's commit of {}", entry.patch),
            reason: "the author cannot review the series".to_owned(),
        }));
}

/// Completes a tag that the user added by hand, and updates the name of its patch.
fn known(component: &Component, posted: &[Posted], entry: &Entry) -> Option<Entry> {
    let Component {
        postings,
        series,
        messages,
        ..
    } = component;
    let patch = postings::present_file(&entry.patch, postings, series, messages)?;
    let mut versions = posted.iter().rev();
    let (version, found) = versions.find_map(|version| {
        let mut patches = version.patches.iter();
        let found = patches.find(|p| p.message.as_ref() == Some(&patch))?;
        let fits = entry.version == 0 || entry.version == version.version;
        fits.then_some((version.version, found))
    })?;
    Some(Entry {
        patch,
        version,
        fingerprint: found.fingerprint.clone(),
        ..entry.clone()
    })
}

/// Returns the posted versions that replies can refer to. The diffs of the patches come from
/// commits, because mailed diffs depend on the settings of the sender.
fn versions(rebuild: &Rebuild<'_>, component: &Component) -> Result<Vec<Posted>> {
    let Component {
        postings,
        series,
        messages,
        ..
    } = component;
    let mut versions = Vec::new();
    for posting in postings {
        let made = rebuild.commits(component.name(), posting)?;
        let commits: Vec<_> = made.patches.iter().map(|p| &p.commit).collect();
        let diffs = rebuild.git.diffs(&commits)?;
        let mails = posting.mails(rebuild.ws, component.name())?;
        let present = |file: &String| postings::present_file(file, postings, series, messages);
        let patches = posting.patches.iter().zip(&diffs);
        let first = versions.len();
        versions.push(Posted {
            version: posting.version,
            cover: posting.message_id.clone(),
            authors: mails.iter().map(|m| m.from.email.to_lowercase()).collect(),
            patches: patches
                .map(|(patch, diff)| PostedPatch {
                    subject: patch.subject.clone(),
                    message_id: patch.message_id.clone(),
                    message: patch.message.as_ref().and_then(present),
                    fingerprint: fingerprint(diff),
                })
                .collect(),
        });
        // Replies to resent mails refer to the same patches.
        for again in &posting.resends {
            let mut resent = versions[first].clone();
            resent.cover.clone_from(&again.message_id);
            for (patch, id) in resent.patches.iter_mut().zip(&again.patches) {
                patch.message_id.clone_from(id);
            }
            versions.push(resent);
        }
    }
    Ok(versions)
}

/// Returns the person in a recipient of a manifest.
fn person(recipient: &Recipient) -> Person {
    Person {
        name: recipient.name().to_owned(),
        email: recipient.address().to_owned(),
    }
}
