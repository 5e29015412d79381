// SPDX-License-Identifier: GPL-2.0

//! Assigns the trailers in replies to the patches that they were given to.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    find::{self, Said, Trailer},
    people::People,
    store::{Entry, Withdrawn},
};
use crate::{
    mail::{diff, mailbox::Mail},
    versions::postings::{PostedPatch, Posting},
};

/// A posted version, as far as replies refer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The record, with the present message file of each patch that the series still has. A resend
    /// has its own message ids.
    pub posting: Posting,
    /// The addresses of the authors and the sender.
    pub authors: BTreeSet<String>,
    /// The fingerprint of the added and removed lines of each patch.
    pub fingerprints: Vec<String>,
}

impl Posted {
    /// Returns the patches with their fingerprints.
    pub fn patches(&self) -> impl Iterator<Item = (&PostedPatch, &String)> {
        self.posting.patches.iter().zip(&self.fingerprints)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The trailer as it appears in the mail.
    pub trailer: String,
    pub mail: String,
    pub reason: String,
}

/// A part of a mail that requires the user's attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    pub text: String,
    pub mail: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Trailers for patches, in the order of the mails.
    pub found: Vec<Entry>,
    pub refused: Vec<Refused>,
    pub withdrawn: Vec<Withdrawn>,
    /// Objections, and mails that cannot be read.
    pub remarks: Vec<Remark>,
    /// The message ids of mails that neither belong to a posting nor reply to one.
    pub strays: Vec<String>,
}

/// The posted mail that a mail replies to.
#[derive(Clone, Copy)]
struct Target<'a> {
    version: &'a Posted,
    /// The number of the patch; 0 for the cover letter.
    number: usize,
}

impl<'a> Target<'a> {
    /// Returns the patches that a reply applies to. A reply to the cover letter applies to all
    /// patches.
    fn patches(self) -> impl Iterator<Item = (&'a PostedPatch, &'a String)> {
        let patches = (1..).zip(self.version.patches());
        let patches = patches.filter(move |(n, _)| [0, *n].contains(&self.number));
        patches.map(|(_, patch)| patch)
    }

    fn shown(self) -> String {
        let posting = &self.version.posting;
        let version = posting.version;
        match self.number {
            0 => format!("v{version}"),
            n => format!(
                "patch {n} of v{version} ({:?})",
                posting.patches[n - 1].subject
            ),
        }
    }

    /// Whether the line limits the tag to other patches than the target.
    fn is_narrowed_by(self, line: &str) -> bool {
        if self.number == 0 {
            return true;
        }
        // A reply to one patch may mention others. Only "for" assigns the tag to another patch.
        let line = line.to_lowercase();
        let Some((_, rest)) = line.split_once("for ") else {
            return false;
        };
        let numbers = rest.split(|c: char| !c.is_ascii_digit());
        let mut numbers = numbers.filter_map(|n| n.parse::<usize>().ok());
        numbers.next().is_some_and(|first| first != self.number) || numbers.next().is_some()
    }
}

pub fn collect(posted: &[Posted], mails: &[Mail], people: &People) -> Collected {
    let thread = Thread::new(posted, mails);
    let mut out = Collected::default();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut in_time: Vec<&Mail> = mails.iter().collect();
    if mails.iter().all(|m| m.date.is_some()) {
        in_time.sort_by_key(|m| m.date);
    }
    for mail in in_time {
        // An archive may contain one copy of a mail for each list.
        let again = !mail.id.is_empty() && !seen.insert(&mail.id);
        if again || thread.posted.contains_key(mail.id.as_str()) {
            continue;
        }
        let said = find::read(&mail.body);
        let reply = Reply { mail, said, people };
        if let Some(target) = thread.target(mail).filter(|_| is_reply(mail)) {
            reply.take(target, &mut out);
            continue;
        }
        out.strays.push(mail.id.clone());
        if thread.is_in(mail) {
            let reason = "the mail does not reply to a posted mail";
            let all = reply.said.trailers.iter();
            out.refused.extend(all.map(|t| reply.refused(t, reason)));
        }
    }
    out
}

/// Whether the mail is a reply, not a patch: a patch sent as a reply carries its own trailers.
fn is_reply(mail: &Mail) -> bool {
    mail.is_reply() || !diff::lines(&mail.body).any(|(_, kind, _)| kind == diff::Kind::File)
}

struct Reply<'a> {
    mail: &'a Mail,
    said: Said,
    people: &'a People,
}

impl Reply<'_> {
    fn refused(&self, trailer: impl ToString, reason: impl Into<String>) -> Refused {
        Refused {
            trailer: trailer.to_string(),
            mail: self.mail.id.clone(),
            reason: reason.into(),
        }
    }

    fn take(&self, target: Target<'_>, out: &mut Collected) {
        let said = &self.said;
        for (line, reason) in &said.unread {
            out.refused.push(self.refused(line, reason));
        }
        let (who, what) = (&self.mail.from, target.shown());
        let mut remark = |text: String| {
            let mail = self.mail.id.clone();
            out.remarks.push(Remark { text, mail });
        };
        if let Some(line) = &said.objection {
            remark(format!("{who} objects to {what}: {line}"));
        }
        if self.mail.is_html {
            let why = "has no plain text and was not read";
            remark(format!("the mail of {who} about {what} {why}"));
        }
        for trailer in &said.trailers {
            match self.reason_against(target, trailer) {
                Some(reason) => out.refused.push(self.refused(trailer, reason)),
                None => self.give(target, trailer, out),
            }
        }
        let withdraws = said.withdrawal.is_some() || said.objection.is_some();
        let is_own = |t: &Trailer| self.people.is_of(&t.who, &self.mail.from);
        // A mail that both gives and withdraws tags is left to the user.
        if withdraws && self.mail.senders == 1 && !said.trailers.iter().any(is_own) {
            self.withdraw(target, out);
        }
    }

    fn reason_against(&self, target: Target<'_>, trailer: &Trailer) -> Option<String> {
        let said = &self.said;
        if self.mail.senders != 1 {
            return Some(format!("the mail is from {} people", self.mail.senders));
        }
        if let Some(line) = said.objection.as_ref().or(said.withdrawal.as_ref()) {
            return Some(format!("the mail also contains {line:?}"));
        }
        if let Some(line) = said.selection.as_ref().filter(|l| target.is_narrowed_by(l)) {
            let help = "add the tag by hand to the right ones";
            return Some(format!("the mail names patches, {line:?}; {help}"));
        }
        let address = trailer.who.email.to_lowercase();
        if target.version.authors.contains(&address) {
            return Some("the author cannot review the series".to_owned());
        }
        self.people.may_give(&trailer.who, &self.mail.from).err()
    }

    fn give(&self, target: Target<'_>, trailer: &Trailer, out: &mut Collected) {
        let version = target.version.posting.version;
        for (patch, fingerprint) in target.patches() {
            if let Some(message) = &patch.message {
                out.found.push(Entry {
                    patch: message.clone(),
                    trailer: trailer.clone(),
                    version,
                    fingerprint: fingerprint.clone(),
                    from: Some(self.mail.id.clone()).filter(|id| !id.is_empty()),
                    by_cover: target.number == 0,
                    ..Entry::default()
                });
            } else if target.number > 0 {
                let subject = &patch.subject;
                let reason =
                    format!("{subject:?} of v{version} is no longer a patch of the series");
                out.refused.push(self.refused(trailer, reason));
            }
        }
    }

    /// Drops the tags that the sender gave to the target in earlier mails.
    fn withdraw(&self, target: Target<'_>, out: &mut Collected) {
        let sender = &self.mail.from;
        for message in target.patches().filter_map(|(p, _)| p.message.as_ref()) {
            let reason = format!("withdrawn for {message} in {}", self.mail.id);
            let is_it =
                |e: &mut Entry| e.patch == *message && self.people.is_of(&e.trailer.who, sender);
            let gone = out.found.extract_if(.., is_it);
            out.refused.extend(gone.map(|entry| Refused {
                trailer: entry.trailer.to_string(),
                mail: entry.from.unwrap_or_default(),
                reason: reason.clone(),
            }));
            out.withdrawn.push(Withdrawn {
                patch: message.clone(),
                sender: sender.clone(),
                mail: self.mail.id.clone(),
            });
        }
    }
}

/// The posted mails and the mails to read, by message id.
struct Thread<'a> {
    posted: BTreeMap<&'a str, Target<'a>>,
    mails: BTreeMap<&'a str, &'a Mail>,
}

impl<'a> Thread<'a> {
    fn new(posted: &'a [Posted], mails: &'a [Mail]) -> Self {
        let mut known = BTreeMap::new();
        for version in posted {
            let posting = &version.posting;
            known.insert(&posting.message_id[..], Target { version, number: 0 });
            // A single patch also serves as the cover letter.
            for (number, patch) in (1..).zip(&posting.patches) {
                known.insert(&patch.message_id, Target { version, number });
            }
        }
        Self {
            posted: known,
            mails: mails.iter().map(|m| (m.id.as_str(), m)).collect(),
        }
    }

    /// Whether the mail refers to a posting, or has the subject of a posted patch.
    fn is_in(&self, mail: &Mail) -> bool {
        let mut up = mail.references.iter().chain(&mail.in_reply_to);
        let mut posted = self.posted.values().flat_map(|target| target.patches());
        up.any(|id| self.posted.contains_key(id.as_str()))
            || posted.any(|(patch, _)| patch.subject == mail.title())
    }

    /// Returns the posted mail that this mail replies to, directly or through other replies.
    fn target(&self, mail: &'a Mail) -> Option<Target<'a>> {
        let mut on_the_way: BTreeSet<&str> = BTreeSet::new();
        let mut mail = mail;
        loop {
            let parent = mail.in_reply_to.as_deref();
            if let Some(target) = parent.and_then(|id| self.posted.get(id)) {
                return Some(*target);
            }
            let Some(above) = parent.and_then(|id| self.mails.get(id)) else {
                // The parent mail is missing, but References lists its ancestors.
                let mut up = mail.references.iter().rev();
                return up.find_map(|id| self.posted.get(id.as_str())).copied();
            };
            // A reply to another patch in the thread applies to that patch.
            if !is_reply(above) || !on_the_way.insert(&above.id) {
                return None;
            }
            mail = above;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mail::mailbox, versions::postings::tests::posting};

    fn posted() -> Vec<Posted> {
        let version = |version: u32| {
            let mut posting = posting(version, &["x: 1", "x: 2", "x: 3"]);
            posting.message_id = format!("v{version}-0@x");
            for (n, patch) in (1..).zip(&mut posting.patches) {
                patch.message_id = format!("v{version}-{n}@x");
            }
            posting.patches[2].message = None;
            Posted {
                posting,
                authors: ["d@x.org".to_owned()].into(),
                fingerprints: (1..=3).map(|n| format!("e{version}{n}")).collect(),
            }
        };
        vec![version(1), version(2)]
    }

    /// A mail: message id, In-Reply-To, References, subject, sender, and text.
    type Short<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, &'a str);

    const ANN: &str = "Ann <ann@x.org>";
    const TAG: &str = "Reviewed-by: Ann <ann@x.org>\n";

    fn says(mails: &[Short<'_>]) -> String {
        let mut mbox = String::new();
        for (id, to, refs, subject, from, body) in mails {
            mbox += "From mboxrd@z Thu Jan  1 00:00:00 1970\n";
            mbox += &format!("From: {from}\nSubject: {subject}\nMessage-ID: <{id}>\n");
            for (name, value) in [("In-Reply-To", to), ("References", refs)] {
                if !value.is_empty() {
                    mbox += &format!("{name}: <{}>\n", value.replace(' ', "> <"));
                }
            }
            mbox += &format!("\n{body}\n");
        }
        let mails = mailbox::read(mbox.as_bytes()).unwrap();
        let known = crate::mail::mailbox::person("Cy <cy@home.org>");
        let out = collect(&posted(), &mails, &People::new([known]));
        let mut text = String::new();
        for e in &out.found {
            let from = e.from.as_deref().unwrap_or("-");
            text += &format!(
                "{} v{} {} {from}: {}\n",
                e.patch, e.version, e.fingerprint, e.trailer
            );
        }
        for r in &out.refused {
            text += &format!("not {}: {}\n", r.trailer, r.reason);
        }
        for r in &out.remarks {
            text += &format!("{}\n", r.text);
        }
        for t in &out.withdrawn {
            text += &format!("{} withdrawn in {}\n", t.patch, t.mail);
        }
        if !out.strays.is_empty() {
            text += &format!("strays: {}\n", out.strays.join(" "));
        }
        text
    }

    #[test]
    fn collect_assigns_replies_to_patches() {
        insta::assert_snapshot!(says(&[
            ("r1@y", "v1-1@x", "v1-0@x v1-1@x", "Re: [PATCH 1/3] x: 1", ANN, TAG),
        ]), @"1.msg v1 e11 r1@y: Reviewed-by: Ann <ann@x.org>");
        // The cover letter: all patches that the series still has.
        insta::assert_snapshot!(says(&[("r1@y", "v2-0@x", "", "Re: x", ANN, TAG)]), @r"
        1.msg v2 e21 r1@y: Reviewed-by: Ann <ann@x.org>
        2.msg v2 e22 r1@y: Reviewed-by: Ann <ann@x.org>
        ");
        // A patch that the series no longer has.
        insta::assert_snapshot!(says(&[("r1@y", "v2-3@x", "", "Re: x", ANN, TAG)]), @r#"not Reviewed-by: Ann <ann@x.org>: "x: 3" of v2 is no longer a patch of the series"#);
        // Without "Re:", as long as the mail is not a patch.
        insta::assert_snapshot!(says(&[("r1@y", "v1-2@x", "", "[PATCH 2/3] x: 2", ANN, TAG)]), @"2.msg v1 e12 r1@y: Reviewed-by: Ann <ann@x.org>");
    }

    #[test]
    fn target_follows_thread() {
        // Through a mail that exists, and past a missing one.
        insta::assert_snapshot!(says(&[
            ("r2@y", "r1@y", "", "Re: x", ANN, TAG),
            ("r1@y", "v1-1@x", "", "Re: x", "Bob <bob@x.org>", "> x\nWhy?\n"),
            ("r3@y", "gone@y", "v1-0@x v1-2@x gone@y", "Re: x", ANN, TAG),
            ("r4@y", "", "v2-0@x v2-2@x", "Re: x", ANN, TAG),
        ]), @r"
        1.msg v1 e11 r2@y: Reviewed-by: Ann <ann@x.org>
        2.msg v1 e12 r3@y: Reviewed-by: Ann <ann@x.org>
        2.msg v2 e22 r4@y: Reviewed-by: Ann <ann@x.org>
        ");
        // To a patch of another person, in a circle, to a missing mail.
        let patch = "Try this.\nReviewed-by: Bob <bob@x.org>\n---\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n";
        insta::assert_snapshot!(says(&[
            ("p1@y", "v1-1@x", "", "[PATCH] x: other", "Bob <bob@x.org>", patch),
            ("r1@y", "p1@y", "v1-1@x p1@y", "Re: [PATCH] x: other", ANN, TAG),
            ("r2@y", "r3@y", "", "Re: x", ANN, TAG),
            ("r3@y", "r2@y", "", "Re: x", ANN, TAG),
            ("r4@y", "other@y", "", "Re: x", ANN, TAG),
            ("r5@y", "", "", "hello", ANN, TAG),
        ]), @r"
        not Reviewed-by: Bob <bob@x.org>: the mail does not reply to a posted mail
        not Reviewed-by: Ann <ann@x.org>: the mail does not reply to a posted mail
        strays: p1@y r1@y r2@y r3@y r4@y r5@y
        ");
    }

    #[test]
    fn collect_skips_posted_mails_and_copies() {
        insta::assert_snapshot!(says(&[
            ("v2-0@x", "v1-0@x", "", "[PATCH v2 0/3] x", "Dev <d@x.org>", TAG),
            ("v2-1@x", "v2-0@x", "", "[PATCH v2 1/3] x: 1", "Dev <d@x.org>", TAG),
            ("r1@y", "v2-1@x", "", "Re: x", ANN, TAG),
            ("r1@y", "v2-1@x", "", "Re: x", ANN, TAG),
        ]), @"1.msg v2 e21 r1@y: Reviewed-by: Ann <ann@x.org>");
    }

    #[test]
    fn collect_tag_of_other_person_is_refused() {
        insta::assert_snapshot!(says(&[
            ("r1@y", "v2-1@x", "", "Re: x", "Bob <bob@x.org>", TAG),
            ("r2@y", "v2-1@x", "", "Re: x", "Ann <ann@home.org>", "> Reviewed-by: Bob <bob@x.org>\nAcked-by: Ann <ann@x.org> # the list\n"),
            ("r3@y", "v2-1@x", "", "Re: x", "\",\" <m@evil.org>", TAG),
            ("r4@y", "v2-1@x", "", "Re: x", "Ann <ann@x.org>, M <m@evil.org>", TAG),
            ("r5@y", "v2-1@x", "", "Re: x", "Cy <cy@home.org>", "Tested-by: Cy <cy@work.org>\n"),
            ("r6@y", "v2-1@x", "", "Re: x", "Cy <m@evil.org>", "Tested-by: Cy <m@evil.org>\n"),
        ]), @r#"
        1.msg v2 e21 r5@y: Tested-by: Cy <cy@work.org>
        not Reviewed-by: Ann <ann@x.org>: the mail is from Bob <bob@x.org>
        not Acked-by: Ann <ann@x.org>: the mail is from Ann <ann@home.org>
        not Reviewed-by: Ann <ann@x.org>: the mail is from , <m@evil.org>
        not Reviewed-by: Ann <ann@x.org>: the mail is from 2 people
        not Tested-by: Cy <m@evil.org>: Cy is known with the address cy@home.org; if this is the same person, add "Cy <m@evil.org>" to .mailmap
        "#);
    }

    #[test]
    fn collect_tag_of_author_is_refused() {
        insta::assert_snapshot!(says(&[
            ("r1@y", "v2-1@x", "", "Re: x", "Dev <D@x.org>", "Tested-by: Dev <d@X.org>\n"),
        ]), @"not Tested-by: Dev <d@X.org>: the author cannot review the series");
    }

    #[test]
    fn collect_tag_for_some_patches_is_refused() {
        let some = format!("For patches 1 and 2:\n{TAG}");
        insta::assert_snapshot!(says(&[
            ("r1@y", "v2-0@x", "", "Re: x", ANN, &some),
            ("r2@y", "v2-1@x", "", "Re: x", ANN, &some),
            ("r3@y", "v2-2@x", "", "Re: x", ANN, &format!("For patch 2:\n{TAG}")),
            ("r4@y", "v2-1@x", "", "Re: x", ANN, &format!("As in patch 2.\n{TAG}")),
        ]), @r#"
        2.msg v2 e22 r3@y: Reviewed-by: Ann <ann@x.org>
        1.msg v2 e21 r4@y: Reviewed-by: Ann <ann@x.org>
        not Reviewed-by: Ann <ann@x.org>: the mail names patches, "For patches 1 and 2:"; add the tag by hand to the right ones
        not Reviewed-by: Ann <ann@x.org>: the mail names patches, "For patches 1 and 2:"; add the tag by hand to the right ones
        "#);
    }

    #[test]
    fn collect_withdrawn_tag_is_refused() {
        insta::assert_snapshot!(says(&[
            ("r1@y", "v2-0@x", "", "Re: x", ANN, TAG),
            ("r2@y", "v2-1@x", "", "Re: x", ANN, "I take that back.\n"),
            ("r3@y", "v2-2@x", "", "Re: x", "Bob <bob@x.org>", "Nacked-by: Bob <bob@x.org>\n"),
        ]), @r#"
        2.msg v2 e22 r1@y: Reviewed-by: Ann <ann@x.org>
        not Reviewed-by: Ann <ann@x.org>: withdrawn for 1.msg in r2@y
        Bob <bob@x.org> objects to patch 2 of v2 ("x: 2"): Nacked-by: Bob <bob@x.org>
        1.msg withdrawn in r2@y
        2.msg withdrawn in r3@y
        "#);
        // A later tag counts again; a mail with both a tag and a withdrawal is not accepted.
        insta::assert_snapshot!(says(&[
            ("r1@y", "v2-1@x", "", "Re: x", ANN, "NAK\n"),
            ("r2@y", "v2-1@x", "", "Re: x", ANN, TAG),
            ("r3@y", "v2-2@x", "", "Re: x", ANN, &format!("I take my NAK back.\n{TAG}")),
        ]), @r#"
        1.msg v2 e21 r2@y: Reviewed-by: Ann <ann@x.org>
        not Reviewed-by: Ann <ann@x.org>: the mail also contains "I take my NAK back."
        Ann <ann@x.org> objects to patch 1 of v2 ("x: 1"): NAK
        Ann <ann@x.org> objects to patch 2 of v2 ("x: 2"): I take my NAK back.
        1.msg withdrawn in r1@y
        "#);
    }

    #[test]
    fn collect_html_mail_is_reported() {
        let mail = "From: Ann <ann@x.org>\nSubject: Re: x\nMessage-ID: <r1@y>\n\
                    In-Reply-To: <v2-1@x>\nContent-Type: text/html\n\n<p>Reviewed-by: Ann</p>\n";
        let mails = mailbox::read(mail.as_bytes()).unwrap();
        let out = collect(&posted(), &mails, &People::default());
        insta::assert_snapshot!(out.remarks[0].text, @r#"the mail of Ann <ann@x.org> about patch 1 of v2 ("x: 1") has no plain text and was not read"#);
    }

    #[test]
    fn collect_reads_mails_by_date() {
        let mail = |id: &str, day: u32, text: &str| {
            format!(
                "From x Thu Jan  1 00:00:00 1970\nFrom: {ANN}\nSubject: Re: x\nMessage-ID: <{id}@y>\n\
                 In-Reply-To: <v2-1@x>\nDate: Sat, {day:02} Jan 2026 10:00:00 +0000\n\n{text}\n"
            )
        };
        let mbox = mail("r2", 9, "Nacked-by: Ann <ann@x.org>\n") + &mail("r1", 3, TAG);
        let mails = mailbox::read(mbox.as_bytes()).unwrap();
        let out = collect(&posted(), &mails, &People::default());
        assert_eq!((out.found.len(), out.withdrawn.len()), (0, 1));
    }
}
