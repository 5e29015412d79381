// SPDX-License-Identifier: GPL-2.0

//! Reviewed-by, Acked-by and Tested-by: taken from replies to what was posted, kept while the patch
//! is what was looked at, dropped with a note when it is not.
//!
//! A review is about the lines that a patch adds and removes, its essence. While that stays the
//! same the trailer stays, whatever becomes of the context and of the base.

pub mod branch;
pub mod collect;
pub mod find;
pub mod store;

use std::collections::{
    BTreeMap,
    btree_map::Entry as Slot, //
};

use crate::{
    assemble::AssembledSeries,
    discipline::{
        Fault,
        Rule, //
    },
    error::Result,
    message,
    posting::Posting,
    trailers::{
        find::Trailer,
        store::Entry, //
    },
    workspace::Workspace,
};

/// A trailer of a patch, and what later postings said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The trailer.
    pub entry: Entry,
    /// Whether it was dropped before, and a posting said so.
    pub said: bool,
}

/// Reads what was given to the patches of a series.
///
/// # Errors
///
/// As [`store::read`], or the mails of a posting that is asked about are not there.
pub fn read(ws: &Workspace, name: &str, postings: &[Posting]) -> Result<Vec<Given>> {
    let file = store::file(name);
    if !ws.path(&file).exists() {
        return Ok(Vec::new());
    }
    let mut mails: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut all = Vec::new();
    for entry in store::read(&file, &ws.read(&file)?)? {
        let mut said = None;
        for posting in postings.iter().rev().filter(|p| p.version > entry.version) {
            let bodies = match mails.entry(posting.version) {
                Slot::Occupied(known) => known.into_mut(),
                Slot::Vacant(new) => {
                    let read = posting.mails(ws, name)?.into_iter();
                    new.insert(read.map(|m| m.body).collect())
                }
            };
            let is_it = |p: &crate::posting::PostedPatch| p.message.as_ref() == Some(&entry.patch);
            let at = posting.patches.iter().position(is_it);
            let mail = at.map(|at| bodies[at].as_str());
            // The newest that says something about it.
            said = said.or(mail.and_then(|m| dropped_by(m, &entry.trailer, entry.version)));
        }
        all.push(Given {
            entry,
            said: said.unwrap_or(false),
        });
    }
    Ok(all)
}

/// What becomes of a trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The patch is what it was given to.
    Holds,
    /// The patch changed, but the author has a reason to keep it.
    Kept,
    /// The patch changed.
    Dropped,
}

/// Decides about a trailer of a patch that has this essence now.
pub fn fate(given: &Given, essence: &str) -> Fate {
    match &given.entry.keep {
        _ if given.entry.essence == essence => Fate::Holds,
        Some(_) => Fate::Kept,
        None => Fate::Dropped,
    }
}

/// A commit message with its trailers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dressed {
    /// The message as it is committed.
    pub message: String,
    /// What is to be said below `---`; empty if there is nothing.
    pub note: String,
    /// What became of each trailer.
    pub fates: Vec<Fate>,
}

impl Dressed {
    /// The message with the note below `---`, where it is cut off when the patch is applied.
    pub fn with_note(&self) -> String {
        match self.note.is_empty() {
            true => self.message.clone(),
            false => format!("{}---\n{}", self.message, self.note),
        }
    }
}

/// Puts the trailers into the message of a patch, the sign-off of whoever posts it last.
pub fn dress(
    text: &str,
    version: u32,
    given: &[Given],
    fates: &[Fate],
    sign_off: Option<&str>,
) -> Dressed {
    let mut message = text.to_owned();
    let mut note = String::new();
    for (given, fate) in given.iter().zip(fates) {
        let trailer = &given.entry.trailer;
        if *fate != Fate::Dropped {
            if !has(&message, trailer) {
                message = message::with_trailer(&message, &trailer.text());
            }
        } else if !given.said {
            let tail = tail(trailer, given.entry.version);
            note += &format!("Dropped in v{version}, as the patch changed: {tail}\n");
        }
    }
    if let Some(sign_off) = sign_off {
        message = message::with_trailer(&message, sign_off);
    }
    Dressed {
        message,
        note,
        fates: fates.to_vec(),
    }
}

/// How a note names a trailer.
fn tail(trailer: &Trailer, version: u32) -> String {
    format!("{trailer} (given to v{version})")
}

/// Whether a message has a trailer.
fn has(message: &str, trailer: &Trailer) -> bool {
    let mut lines = message.lines().filter_map(Trailer::parse);
    lines.any(|found| found == *trailer)
}

/// What a posted patch says of a trailer that was given to an older version: that it is dropped, or
/// still there. `None` if it says nothing.
pub fn dropped_by(mail: &str, trailer: &Trailer, version: u32) -> Option<bool> {
    let (message, below) = mail.split_once("\n---\n").unwrap_or((mail, ""));
    if has(message, trailer) {
        return Some(false);
    }
    let tail = tail(trailer, version);
    let mut notes = below.lines().take_while(|l| !l.starts_with("diff --git "));
    notes
        .any(|l| l.starts_with("Dropped in v") && l.ends_with(&tail))
        .then_some(true)
}

/// Reasons that are given for trailers which hold without one.
pub fn faults(one: &AssembledSeries) -> Vec<Fault> {
    let patches = one.plan.patches.iter().zip(&one.dressed);
    let patches = patches.map(|(patch, dressed)| (&patch.given[..], &dressed.fates[..]));
    needless(one.name(), patches)
}

fn needless<'a>(
    name: &str,
    patches: impl Iterator<Item = (&'a [Given], &'a [Fate])>,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (i, (given, fates)) in patches.enumerate() {
        for (Given { entry, .. }, fate) in given.iter().zip(fates) {
            let Some(keep) = entry.keep.as_ref().filter(|_| *fate == Fate::Holds) else {
                continue;
            };
            faults.push(Fault {
                rule: Rule::Trailers,
                file: store::file(name),
                line: Some(keep.line),
                patch: Some(i + 1),
                what: format!(
                    "`keep` is not needed: {} does what it did in v{}, to which {} gave {}",
                    entry.patch, entry.version, entry.trailer.who.name, entry.trailer.key
                ),
                help: "remove it".to_owned(),
            });
        }
    }
    faults
}

/// One line for each trailer that is dropped.
pub fn dropped(one: &AssembledSeries) -> Vec<String> {
    let patches = one.plan.patches.iter().zip(&one.dressed);
    let all = patches.flat_map(|(patch, dressed)| patch.given.iter().zip(&dressed.fates));
    all.filter(|(_, fate)| **fate == Fate::Dropped)
        .map(|(Given { entry, .. }, _)| {
            let tail = tail(&entry.trailer, entry.version);
            format!("{} of {} changed, and lost {tail}", entry.patch, one.name())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        discipline,
        manifest::At, //
    };

    fn given(trailer: &str, keep: Option<&str>, said: bool) -> Given {
        let entry = Entry {
            patch: "1.msg".into(),
            trailer: Trailer::parse(trailer).unwrap(),
            version: 1,
            essence: "e1".into(),
            from: None,
            keep: keep.map(|k| At {
                value: k.into(),
                line: 9,
            }),
            line: 5,
        };
        Given { entry, said }
    }

    const MESSAGE: &str = "a: b\n\nText.\n\nFixes: 0123456789ab (\"x\")\n";
    const SIGN_OFF: Option<&str> = Some("Signed-off-by: D <d@x.org>");

    fn dressed(given: &[Given], essence: &str) -> Dressed {
        let fates: Vec<Fate> = given.iter().map(|g| fate(g, essence)).collect();
        dress(MESSAGE, 3, given, &fates, SIGN_OFF)
    }

    #[test]
    fn trailers_stand_before_the_sign_off() {
        let all = [
            given("Reviewed-by: A <a@x.org>", None, false),
            given("Tested-by: A <a@x.org> # on GA102", None, false),
        ];
        let dressed = dressed(&all, "e1");
        insta::assert_snapshot!(dressed.with_note(), @r#"
        a: b

        Text.

        Fixes: 0123456789ab ("x")
        Reviewed-by: A <a@x.org>
        Tested-by: A <a@x.org> # on GA102
        Signed-off-by: D <d@x.org>
        "#);
        assert_eq!(dressed.fates, [Fate::Holds, Fate::Holds]);
    }

    #[test]
    fn a_changed_patch_loses_them_with_a_note() {
        let all = [
            given("Reviewed-by: A <a@x.org>", None, false),
            given(
                "Acked-by: B <b@x.org>",
                Some("only a comment changed"),
                false,
            ),
            given("Tested-by: A <a@x.org> # on GA102", None, false),
            given("Tested-by: C <c@x.org>", None, true),
        ];
        let dressed = dressed(&all, "e2");
        insta::assert_snapshot!(dressed.with_note(), @r#"
        a: b

        Text.

        Fixes: 0123456789ab ("x")
        Acked-by: B <b@x.org>
        Signed-off-by: D <d@x.org>
        ---
        Dropped in v3, as the patch changed: Reviewed-by: A <a@x.org> (given to v1)
        Dropped in v3, as the patch changed: Tested-by: A <a@x.org> (given to v1)
        "#);
        assert_eq!(
            dressed.fates,
            [Fate::Dropped, Fate::Kept, Fate::Dropped, Fate::Dropped]
        );
    }

    #[test]
    fn what_the_author_wrote_is_not_repeated() {
        let all = [given("Reviewed-by: A <a@x.org>", None, false)];
        let text = "a: b\n\nText.\n\nReviewed-by: a <A@x.org>\n";
        let dressed = dress(text, 3, &all, &[Fate::Holds], None);
        assert_eq!(dressed.message, text);
    }

    #[test]
    fn a_posting_tells_what_it_did() {
        let trailer = Trailer::parse("Reviewed-by: A <a@x.org>").unwrap();
        let all = [given("Reviewed-by: A <a@x.org>", None, false)];
        let mail = |essence| dressed(&all, essence).with_note() + "---\n x | 2 +-\n";
        assert_eq!(dropped_by(&mail("e1"), &trailer, 1), Some(false));
        assert_eq!(dropped_by(&mail("e2"), &trailer, 1), Some(true));
        // Given to another version, or said by the patch itself.
        assert_eq!(dropped_by(&mail("e2"), &trailer, 2), None);
        let quoted = format!(
            "{MESSAGE}---\ndiff --git a/x b/x\nDropped in v3: {}",
            tail(&trailer, 1)
        );
        assert_eq!(dropped_by(&quoted, &trailer, 1), None);
    }

    #[test]
    fn a_reason_decides_only_where_one_is_needed() {
        let fates =
            |keep| ["e1", "e2"].map(|now| fate(&given("Acked-by: B <b@x.org>", keep, false), now));
        assert_eq!(fates(None), [Fate::Holds, Fate::Dropped]);
        assert_eq!(fates(Some("x")), [Fate::Holds, Fate::Kept]);
    }

    #[test]
    fn a_reason_without_need_is_a_fault() {
        let all = [given("Acked-by: B <b@x.org>", Some("x"), false)];
        let said = |fate| {
            let patches = [(&[][..], &[][..]), (&all[..], &[fate][..])];
            discipline::shown(needless("x", patches.into_iter()))
        };
        insta::assert_snapshot!(said(Fate::Holds), @r"
        series/x/posted/trailers.toml:9: `keep` is not needed: 1.msg does what it did in v1, to which B gave Acked-by
          help: remove it
        ");
        assert_eq!(said(Fate::Kept), "");
    }
}
