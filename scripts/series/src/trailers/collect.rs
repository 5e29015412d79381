// SPDX-License-Identifier: GPL-2.0

//! From replies to patches: which trailer was given to what.

use std::collections::{
    BTreeMap,
    BTreeSet, //
};

use serde::Serialize;

use super::{
    find::{
        Trailer,
        in_reply, //
    },
    store::Entry,
};
use crate::{
    diff,
    mailbox::{
        Mail,
        Person, //
    },
};

/// One posted version, as far as replies refer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The version.
    pub version: u32,
    /// The message id of the cover letter.
    pub cover: String,
    /// The patches, in order.
    pub patches: Vec<PostedPatch>,
}

/// One posted patch, as far as replies refer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostedPatch {
    /// Its subject.
    pub subject: String,
    /// Its message id.
    pub message_id: String,
    /// The file of its message, if it still is a patch of the series.
    pub message: Option<String>,
    /// Its essence.
    pub essence: String,
}

/// A trailer that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The trailer.
    pub trailer: Trailer,
    /// The message id of the mail.
    pub mail: String,
    /// Why.
    pub reason: String,
}

/// What the replies say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Trailers for patches, in the order of the mails.
    pub found: Vec<Entry>,
    /// Those that are not taken.
    pub refused: Vec<Refused>,
    /// The message ids of mails that are neither posted nor answer what was.
    pub strays: Vec<String>,
}

/// What a mail answers.
#[derive(Clone, Copy)]
struct Target<'a> {
    version: &'a Posted,
    /// `None` for the cover letter.
    patch: Option<&'a PostedPatch>,
}

/// Finds the trailers for patches of the posted versions.
pub fn collect(posted: &[Posted], mails: &[Mail]) -> Collected {
    let thread = Thread::new(posted, mails);
    let mut out = Collected::default();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for mail in mails {
        // An archive may hold a mail once for each list.
        let again = !mail.id.is_empty() && !seen.insert(&mail.id);
        if again || thread.posted.contains_key(mail.id.as_str()) {
            continue;
        }
        let target = thread.target(mail).filter(|_| is_reply(mail));
        let Some(target) = target else {
            out.strays.push(mail.id.clone());
            continue;
        };
        for trailer in in_reply(&mail.body) {
            take(target, mail, trailer, &mut out);
        }
    }
    out
}

/// A patch that is posted in answer to something carries trailers of its own.
fn is_reply(mail: &Mail) -> bool {
    mail.is_reply() || !has_diff(mail)
}

fn has_diff(mail: &Mail) -> bool {
    diff::lines(&mail.body).any(|(_, kind, _)| kind == diff::Kind::File)
}

fn take(target: Target<'_>, mail: &Mail, trailer: Trailer, out: &mut Collected) {
    let refuse = |reason| Refused {
        trailer: trailer.clone(),
        mail: mail.id.clone(),
        reason,
    };
    if !trailer.is_of(&mail.from) {
        let Person { name, email } = &mail.from;
        out.refused
            .push(refuse(format!("the mail is from {name} <{email}>")));
        return;
    }
    let version = target.version.version;
    // What is said to the cover letter is said to all.
    let patches = match target.patch {
        Some(patch) => std::slice::from_ref(patch),
        None => &target.version.patches[..],
    };
    for patch in patches {
        let Some(message) = &patch.message else {
            if target.patch.is_some() {
                let subject = &patch.subject;
                out.refused.push(refuse(format!(
                    "{subject:?} of v{version} is no patch of the series any more"
                )));
            }
            continue;
        };
        out.found.push(Entry {
            patch: message.clone(),
            trailer: trailer.clone(),
            version,
            essence: patch.essence.clone(),
            from: (!mail.id.is_empty()).then(|| mail.id.clone()),
            keep: None,
            line: 0,
        });
    }
}

/// What was posted, and the mails, by message id.
struct Thread<'a> {
    posted: BTreeMap<&'a str, Target<'a>>,
    mails: BTreeMap<&'a str, &'a Mail>,
}

impl<'a> Thread<'a> {
    fn new(posted: &'a [Posted], mails: &'a [Mail]) -> Self {
        let mut known = BTreeMap::new();
        for version in posted {
            let cover = Target {
                version,
                patch: None,
            };
            known.insert(version.cover.as_str(), cover);
            // A single patch is its own cover letter.
            for patch in &version.patches {
                let target = Target {
                    version,
                    patch: Some(patch),
                };
                known.insert(patch.message_id.as_str(), target);
            }
        }
        Self {
            posted: known,
            mails: mails.iter().map(|m| (m.id.as_str(), m)).collect(),
        }
    }

    /// The posted mail that this one leads to, also through other replies.
    fn target(&self, mail: &'a Mail) -> Option<Target<'a>> {
        let mut on_the_way: BTreeSet<&str> = BTreeSet::new();
        let mut mail = mail;
        loop {
            let parent = mail.in_reply_to.as_deref();
            if let Some(target) = parent.and_then(|id| self.posted.get(id)) {
                return Some(*target);
            }
            let above = parent.and_then(|id| self.mails.get(id)).copied();
            let Some(above) = above else {
                // The mail above is not there, but those further up are named.
                let mut up = mail.references.iter().rev();
                return up.find_map(|id| self.posted.get(id.as_str())).copied();
            };
            // Whoever answers somebody else's patch in the thread means that one.
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
    use crate::mailbox;

    fn posted() -> Vec<Posted> {
        let patch = |version: u32, n: usize| PostedPatch {
            subject: format!("x: {n}"),
            message_id: format!("v{version}-{n}@x"),
            message: (n < 3).then(|| format!("{n}.msg")),
            essence: format!("e{version}{n}"),
        };
        let version = |version| Posted {
            version,
            cover: format!("v{version}-0@x"),
            patches: (1..=3).map(|n| patch(version, n)).collect(),
        };
        vec![version(1), version(2)]
    }

    /// A mail: id, what it answers, the ids further up, subject, sender, and text.
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
        let out = collect(&posted(), &mails);
        let mut text = String::new();
        for e in &out.found {
            let from = e.from.as_deref().unwrap_or("-");
            text += &format!(
                "{} v{} {} {from}: {}\n",
                e.patch, e.version, e.essence, e.trailer
            );
        }
        for r in &out.refused {
            text += &format!("not {}: {}\n", r.trailer, r.reason);
        }
        if !out.strays.is_empty() {
            text += &format!("strays: {}\n", out.strays.join(" "));
        }
        text
    }

    #[test]
    fn a_reply_is_about_what_it_answers() {
        insta::assert_snapshot!(says(&[
            ("r1@y", "v1-1@x", "v1-0@x v1-1@x", "Re: [PATCH 1/3] x: 1", ANN, TAG),
        ]), @"1.msg v1 e11 r1@y: Reviewed-by: Ann <ann@x.org>");
        // The cover letter: all patches that are still there.
        insta::assert_snapshot!(says(&[("r1@y", "v2-0@x", "", "Re: x", ANN, TAG)]), @r"
        1.msg v2 e21 r1@y: Reviewed-by: Ann <ann@x.org>
        2.msg v2 e22 r1@y: Reviewed-by: Ann <ann@x.org>
        ");
        // A patch that is gone.
        insta::assert_snapshot!(says(&[("r1@y", "v2-3@x", "", "Re: x", ANN, TAG)]), @r#"not Reviewed-by: Ann <ann@x.org>: "x: 3" of v2 is no patch of the series any more"#);
        // Without "Re:", as long as it is no patch.
        insta::assert_snapshot!(says(&[("r1@y", "v1-2@x", "", "[PATCH 2/3] x: 2", ANN, TAG)]), @"2.msg v1 e12 r1@y: Reviewed-by: Ann <ann@x.org>");
    }

    #[test]
    fn a_thread_is_followed() {
        // Through a mail that is there, and past one that is not.
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
        // To somebody else's patch, in a circle, to nothing.
        let patch = "Try this.\nReviewed-by: Bob <bob@x.org>\n---\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n";
        insta::assert_snapshot!(says(&[
            ("p1@y", "v1-1@x", "", "[PATCH] x: other", "Bob <bob@x.org>", patch),
            ("r1@y", "p1@y", "v1-1@x p1@y", "Re: [PATCH] x: other", ANN, TAG),
            ("r2@y", "r3@y", "", "Re: x", ANN, TAG),
            ("r3@y", "r2@y", "", "Re: x", ANN, TAG),
            ("r4@y", "other@y", "", "Re: x", ANN, TAG),
            ("r5@y", "", "", "hello", ANN, TAG),
        ]), @"strays: p1@y r1@y r2@y r3@y r4@y r5@y");
    }

    #[test]
    fn what_was_posted_is_no_reply_and_a_copy_counts_once() {
        insta::assert_snapshot!(says(&[
            ("v2-0@x", "v1-0@x", "", "[PATCH v2 0/3] x", "Dev <d@x.org>", TAG),
            ("v2-1@x", "v2-0@x", "", "[PATCH v2 1/3] x: 1", "Dev <d@x.org>", TAG),
            ("r1@y", "v2-1@x", "", "Re: x", ANN, TAG),
            ("r1@y", "v2-1@x", "", "Re: x", ANN, TAG),
        ]), @"1.msg v2 e21 r1@y: Reviewed-by: Ann <ann@x.org>");
    }

    #[test]
    fn nobody_speaks_for_somebody_else() {
        insta::assert_snapshot!(says(&[
            ("r1@y", "v2-1@x", "", "Re: x", "Bob <bob@x.org>", TAG),
            ("r2@y", "v2-1@x", "", "Re: x", "Ann <ann@home.org>", "> Reviewed-by: Bob <bob@x.org>\nAcked-by: Ann <ann@x.org> # the list\n"),
        ]), @r"
        1.msg v2 e21 r2@y: Acked-by: Ann <ann@x.org>
        not Reviewed-by: Ann <ann@x.org>: the mail is from Bob <bob@x.org>
        ");
    }
}
