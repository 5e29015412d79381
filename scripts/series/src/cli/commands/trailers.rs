// SPDX-License-Identifier: GPL-2.0

//! `trailers`: takes tags of reviewers from replies or from b4's branch.

use serde::Serialize;

use super::{
    App, Component, Error, Rebuild, Resource, Result, b4, component, mails, print_as,
    record::last_posting, write,
};
use crate::{
    b4::reviews,
    cli::args::Trailers,
    mail::{fingerprint::fingerprint, mailbox::Person},
    source::words::Recipient,
    versions::{
        postings,
        trailers::{
            collect::{Collected, Posted, Refused, Remark, collect},
            people::{People, mailmap},
            store::{self, Entry, Merged},
        },
    },
};

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
    pub(super) fn trailers(&self, args: &Trailers) -> Result<()> {
        let name = &args.name;
        let read = component::read_all(&self.ws)?;
        let components: Vec<&Component> = read.iter().collect();
        let component = component::find(&read, name)?;
        let help = "trailers refer to posted versions; record one with `cargo series record";
        last_posting(component, &format!("{help} {name}`"))?;
        let base = self.base_commit()?;
        let git = self.git();
        let rebuild = self.rebuild(&git, &base, &components);
        let _lock = self.lock(Resource::Refs)?;
        let posted = versions(&rebuild, component)?;
        let people = self.people(&read)?;
        let (collected, by_hand) = match &args.mbox {
            Some(from) => (collect(&posted, &mails::read(from)?, &people), None),
            None => self.in_branch(component, &posted)?,
        };
        let file = store::file(name);
        let path = self.ws.path(&file);
        let old = path.exists().then(|| self.ws.read(&file)).transpose()?;
        let old = old.unwrap_or_default();
        let find = |entry: &Entry| known(component, &posted, entry);
        let complete = store::completed(&file, &old, &find)?;
        let (found, withdrawn) = (&collected.found, &collected.withdrawn);
        let merged = store::merge(&file, &complete, found, withdrawn, &people)?;
        if merged.text != old {
            write(&path, merged.text.as_bytes())?;
        }
        self.warn_of(&collected, &merged);
        let shown = self.show_collected(args, &collected, &merged);
        Error::all(shown.err().into_iter().chain(by_hand))
    }

    /// Returns the known addresses: the recipients of all series, and `.mailmap`.
    fn people(&self, all: &[Component]) -> Result<People> {
        let person = |recipient: &Recipient| Person {
            name: recipient.name().to_owned(),
            email: recipient.address().to_owned(),
        };
        let series = all.iter().map(|c| &c.series);
        let recipients = series.flat_map(|s| s.to.iter().chain(&s.cc));
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
        let unknown = reviews::in_branch(&git, component)?.ok_or_else(|| {
            let what = format!("branch {} does not exist", b4::branch_name(name));
            Error::new(what).at(git.dir(), None).help(format!(
                "create it with `cargo series assemble`, or read replies with `cargo series \
                 trailers {name} --mbox FILE`"
            ))
        })?;
        let names: Vec<_> = unknown.iter().map(|u| &u.commit).collect();
        let diffs = git.diffs(&names)?;
        let fingerprints: Vec<String> = diffs.iter().map(|d| fingerprint(d)).collect();
        let found = reviews::entries(&unknown, &fingerprints, posted);
        // b4 verifies the senders of tags, but it accepts tags of the author.
        let is_author = |entry: &Entry| {
            let address = entry.trailer.who.email.to_lowercase();
            posted.iter().any(|p| p.authors.contains(&address))
        };
        let (by_author, found): (Vec<_>, Vec<_>) = found.into_iter().partition(is_author);
        let refused = by_author.iter().map(|entry| Refused {
            trailer: entry.trailer.to_string(),
            mail: format!("b4's commit of {}", entry.patch),
            reason: "the author cannot review the series".to_owned(),
        });
        let collected = Collected {
            found,
            refused: refused.collect(),
            ..Collected::default()
        };
        Ok((collected, reviews::by_hand(name, &unknown)))
    }

    fn show_collected(
        &self,
        args: &Trailers,
        collected: &Collected,
        merged: &Merged,
    ) -> Result<()> {
        let name = &args.name;
        let outcome = Outcome {
            taken: &merged.taken,
            known: merged.known,
            refused: &collected.refused,
            kept_out: &merged.kept_out,
            withdrawn: &merged.withdrawn,
            remarks: &collected.remarks,
            strays: &collected.strays,
        };
        let taken = merged.taken.iter().map(|entry| described(entry) + "\n");
        print_as(args.json, &outcome, &taken.collect::<String>())?;
        if !collected.strays.is_empty() {
            let n = collected.strays.len();
            self.say(format!("mails unrelated to postings of {name}: {n}"));
        }
        let (taken, known) = (merged.taken.len(), merged.known);
        let refused = collected.refused.len() + merged.kept_out.len();
        self.say(format!(
            "trailers: {taken} new, {known} known, {refused} refused"
        ));
        if refused > 0 {
            let file = store::file(name);
            let file = file.display();
            self.say(format!(
                "to add one by hand, write a [[trailer]] with `patch` and `trailer` to {file}"
            ));
        }
        if taken + merged.withdrawn.len() > 0 {
            self.say("`cargo series assemble` adds them to the patches");
        }
        Ok(())
    }

    fn warn_of(&self, collected: &Collected, merged: &Merged) {
        let warn = |text: String| self.ui.warn(text);
        for tag in &collected.refused {
            let (trailer, reason, mail) = (&tag.trailer, &tag.reason, &tag.mail);
            warn(format!("refused: {trailer}: {reason} ({mail})"));
        }
        for entry in &merged.kept_out {
            let (patch, trailer) = (&entry.patch, &entry.trailer);
            let why = entry.drop.as_ref().map_or("", |d| d.value.as_str());
            warn(format!(
                "refused: {trailer}: excluded from {patch}: {why:?}"
            ));
        }
        for entry in &merged.withdrawn {
            warn(format!("{} was withdrawn", described(entry)));
        }
        for remark in &collected.remarks {
            warn(format!("{} ({})", remark.text, remark.mail));
        }
    }
}

/// Describes a tag, with the version and the mail that it was given to.
fn described(entry: &Entry) -> String {
    let (patch, trailer, version) = (&entry.patch, &entry.trailer, entry.version);
    let to = if entry.by_cover {
        format!("the cover letter of v{version}, and so to all patches")
    } else {
        format!("v{version}")
    };
    format!("{patch}: {trailer} (given to {to})")
}

/// Returns the present message of a patch that was posted from `file`.
fn present(component: &Component, file: &str) -> Option<String> {
    let (series, messages) = (&component.series, &component.messages);
    postings::present_file(file, &component.postings, series, messages)
}

/// Completes a tag that the user added by hand, and updates the name of its patch.
fn known(component: &Component, posted: &[Posted], entry: &Entry) -> Option<Entry> {
    let patch = present(component, &entry.patch)?;
    let mut versions = posted.iter().rev();
    let (version, fingerprint) = versions.find_map(|version| {
        let mut patches = version.patches();
        let (_, fingerprint) = patches.find(|(p, _)| p.message.as_ref() == Some(&patch))?;
        let number = version.posting.version;
        let fits = entry.version == 0 || entry.version == number;
        fits.then_some((number, fingerprint))
    })?;
    Some(Entry {
        patch,
        version,
        fingerprint: fingerprint.clone(),
        ..entry.clone()
    })
}

/// Returns the posted versions that replies can refer to. The diffs of the patches come from
/// commits, because mailed diffs depend on the settings of the sender.
fn versions(rebuild: &Rebuild<'_>, component: &Component) -> Result<Vec<Posted>> {
    let mut versions = Vec::new();
    for posting in &component.postings {
        let made = rebuild.commits(component.name(), posting)?;
        let commits: Vec<_> = made.patches.iter().map(|p| &p.commit).collect();
        let diffs = rebuild.git.diffs(&commits)?;
        let mut now = posting.clone();
        for patch in &mut now.patches {
            patch.message = patch.message.take().and_then(|m| present(component, &m));
        }
        let authors = made.patch_mails();
        let posted = Posted {
            posting: now,
            authors: authors.map(|m| m.from.email.to_lowercase()).collect(),
            fingerprints: diffs.iter().map(|diff| fingerprint(diff)).collect(),
        };
        versions.push(posted.clone());
        // Replies to resent mails refer to the same patches.
        for again in &posting.resends {
            let mut resent = posted.clone();
            resent.posting.message_id.clone_from(&again.message_id);
            for (patch, id) in resent.posting.patches.iter_mut().zip(&again.patches) {
                patch.message_id.clone_from(id);
            }
            versions.push(resent);
        }
    }
    Ok(versions)
}
