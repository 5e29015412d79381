// SPDX-License-Identifier: GPL-2.0

//! The tag of a posting, by which b4 knows what it sent.
//!
//! b4 turns a prerequisite `change-id:…:vN` into patch ids by this tag: it lists the patches between
//! the `base-commit:` in the message and the tag. That works for a series that depends on nothing,
//! and only where the public commit of the base is in the repository. So the tag is made anew from
//! the record, with the commit that the first patch was made on. It is the same in every cache.

use super::{
    Posting,
    commits::Rebuilt, //
};
use crate::{
    git::{
        Git,
        Identity,
        Oid, //
    },
    mail::mailbox::Mail,
    sys::{
        error::{
            Error,
            Result, //
        },
        runner::must, //
    }, //
};

/// The tag of a version.
pub fn name(change_id: &str, version: u32) -> String {
    format!("sent/{change_id}-v{version}")
}

/// Makes the tag of a recorded posting, unless it is there already.
///
/// # Errors
///
/// git's own.
pub fn ensure(git: &Git<'_>, posting: &Posting, cover: &str, made: &Rebuilt) -> Result<()> {
    let full = format!("refs/tags/{}", name(&posting.change_id, posting.version));
    let tip = &made.tip().commit;
    if git.resolve(&format!("{full}^{{commit}}"))?.as_ref() == Some(tip) {
        return Ok(());
    }
    git.set_ref(&full, &make(git, posting, cover, made)?)
}

/// Makes the tag, but names it not yet: a record that cannot be tagged is not to be written.
///
/// # Errors
///
/// git's own.
pub fn make(git: &Git<'_>, posting: &Posting, cover: &str, made: &Rebuilt) -> Result<Oid> {
    let name = name(&posting.change_id, posting.version);
    let tip = &made.tip().commit;
    // Nobody in particular, at no particular time: the tag has to be the same wherever it is made.
    let who = Identity {
        name: "nova-series".into(),
        email: "nova-series@localhost".into(),
        set: true,
    };
    let message = message(posting, cover, &made.parent.commit);
    let content = format!(
        "object {tip}\ntype commit\ntag {name}\ntagger {} 0 +0000\n\n{message}",
        who.ident()
    );
    let out = must(git.runner(), &git.cmd(["mktag"]).stdin(content))?.text();
    Oid::parse(&out).ok_or_else(|| Error::new("git mktag named no tag"))
}

/// Removes the tag of a posting that is no longer recorded.
///
/// # Errors
///
/// git's own.
pub fn remove(git: &Git<'_>, posting: &Posting) -> Result<()> {
    let full = format!("refs/tags/{}", name(&posting.change_id, posting.version));
    match git.resolve(&full)? {
        Some(tag) => git
            .must(["update-ref", "-d", &full, tag.as_str()])
            .map(drop),
        None => Ok(()),
    }
}

/// The cover letter as it was sent, behind it what b4 looks for.
fn message(posting: &Posting, cover: &str, parent: &Oid) -> String {
    let kept: String = cover
        .lines()
        .filter(|l| !l.starts_with("base-commit:") && !l.starts_with("change-id:"))
        .map(|l| format!("{l}\n"))
        .collect();
    format!(
        "{}\n\n{}\n\n---\nbase-commit: {parent}\nchange-id: {}\n",
        posting.title,
        kept.trim(),
        posting.change_id
    )
}

/// The text of the cover letter of a posting, out of its mails; empty if there is none.
pub fn cover_of(mails: &[Mail]) -> String {
    mails
        .iter()
        .find(|m| m.tag().is_some_and(|tag| tag.number == 0))
        .map_or(String::new(), |m| m.body.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_commit_that_the_patches_are_on() {
        let posting = crate::versions::postings::tests::posting(1, &["a: b"]);
        let parent = Oid::parse(&"7".repeat(40)).unwrap();
        let cover = "Text.\n\nbase-commit: 1111\nchange-id: other\nprerequisite-patch-id: 2\n";
        insta::assert_snapshot!(message(&posting, cover, &parent), @r"
        rust: x: add it

        Text.

        prerequisite-patch-id: 2

        ---
        base-commit: 7777777777777777777777777777777777777777
        change-id: 20260102-x-1
        ");
    }
}
