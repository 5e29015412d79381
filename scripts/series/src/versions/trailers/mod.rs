// SPDX-License-Identifier: GPL-2.0

//! Reviewed-by, Acked-by and Tested-by: collected from replies, kept while the patch is unchanged,
//! and dropped with a note when it changes.
//!
//! A review covers the lines that a patch adds and removes, which its fingerprint identifies. A
//! trailer stays as long as the fingerprint does, whatever happens to the context and the base.

pub mod collect;
pub mod find;
pub mod people;
pub mod store;

use std::collections::{BTreeMap, btree_map::Entry as Slot};

use crate::{
    mail::fingerprint::fingerprint,
    source::{message, workspace::Workspace},
    sys::{Error, Result},
    versions::{
        postings::{self, Posting},
        rules::{Fault, Rule},
        trailers::{find::Trailer, store::Entry},
    },
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedTrailer {
    pub entry: Entry,
    /// Whether dropping it needs no note: an earlier posting has the note, or no posting carried a
    /// trailer that the author excludes.
    pub is_noted: bool,
}

/// Reads the trailers that were given to the patches of a series. `rename` returns the present
/// message file of a patch.
pub fn read(
    ws: &Workspace,
    name: &str,
    postings: &[Posting],
    rename: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<RecordedTrailer>> {
    let file = store::file(name);
    if !ws.path(&file).exists() {
        return Ok(Vec::new());
    }
    let mut posted = Posted {
        ws,
        name,
        postings,
        bodies: BTreeMap::new(),
    };
    let mut all = Vec::new();
    for mut entry in store::read(&file, &ws.read(&file)?)? {
        let line = entry.line;
        let now = rename(&entry.patch).unwrap_or_else(|| entry.patch.clone());
        let names = [entry.patch.clone(), now.clone()];
        let completed = posted.complete(&mut entry, &names);
        completed.map_err(|e| e.at(&file, line))?;
        entry.patch = now;
        let is_noted = posted.is_noted(&entry, &names)?;
        all.push(RecordedTrailer { entry, is_noted });
    }
    Ok(all)
}

/// Returns the index of a patch, given the names that its message file may have.
fn position(posting: &Posting, names: &[String]) -> Option<usize> {
    let mut messages = posting.patches.iter().map(|p| p.message.as_ref());
    messages.position(|m| m.is_some_and(|m| names.contains(m)))
}

/// The postings of a series, with their mails, each read once.
struct Posted<'a> {
    ws: &'a Workspace,
    name: &'a str,
    postings: &'a [Posting],
    /// The texts of the patches, by version.
    bodies: BTreeMap<u32, Vec<String>>,
}

impl Posted<'_> {
    fn bodies(&mut self, posting: &Posting) -> Result<&[String]> {
        Ok(match self.bodies.entry(posting.version) {
            Slot::Occupied(known) => known.into_mut(),
            Slot::Vacant(new) => {
                let read = posting.mails(self.ws, self.name)?.into_iter();
                new.insert(read.map(|m| m.body).collect())
            }
        })
    }

    /// Completes a tag that was added by hand: it belongs to the last posted patch, or to the
    /// version that it names.
    fn complete(&mut self, entry: &mut Entry, names: &[String]) -> Result<()> {
        let version = entry.version;
        if version > 0 && !entry.fingerprint.is_empty() {
            return Ok(());
        }
        let of_version = |p: &&Posting| version == 0 || version == p.version;
        let postings = self.postings.iter().rev().filter(of_version);
        let mut found = postings.filter_map(|p| Some((p, position(p, names)?)));
        let Some((posting, at)) = found.next() else {
            let (patch, name) = (&entry.patch, self.name);
            let what = match version {
                0 => format!("{patch} was never posted"),
                v => format!("v{v} was posted without {patch}"),
            };
            return Err(Error::new(what).help(format!(
                "a tag belongs to a posted patch; put other tags into series/{name}/{patch} itself"
            )));
        };
        entry.version = posting.version;
        if entry.fingerprint.is_empty() {
            entry.fingerprint = fingerprint(&self.bodies(posting)?[at]);
        }
        Ok(())
    }

    /// Whether dropping a trailer needs no note. The newest posting that mentions it decides.
    fn is_noted(&mut self, entry: &Entry, names: &[String]) -> Result<bool> {
        let is_later = |p: &&Posting| p.version > entry.version;
        for posting in self.postings.iter().rev().filter(is_later) {
            if let Some(at) = position(posting, names) {
                let mail = &self.bodies(posting)?[at];
                if let Some(noted) = dropped_by(mail, &entry.trailer, entry.version) {
                    return Ok(noted);
                }
            }
        }
        Ok(entry.is_excluded())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrailerState {
    /// The trailer is valid, because the patch is unchanged.
    Valid,
    /// The patch changed, but the author has a reason to keep the trailer.
    Kept,
    /// The patch changed.
    Dropped,
    /// The author excludes the trailer, or the reviewer withdrew it.
    Excluded,
}

/// Returns the state of a trailer of a patch whose current fingerprint is `fingerprint`.
pub fn state(recorded: &RecordedTrailer, fingerprint: &str) -> TrailerState {
    let entry = &recorded.entry;
    if entry.is_excluded() {
        TrailerState::Excluded
    } else if entry.fingerprint == fingerprint {
        TrailerState::Valid
    } else if entry.keep.is_some() {
        TrailerState::Kept
    } else {
        TrailerState::Dropped
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageWithTrailers {
    pub message: String,
    /// The note below `---`; empty if there is none.
    pub note: String,
    pub states: Vec<TrailerState>,
}

impl MessageWithTrailers {
    /// Returns the message with the note below `---`, which `git am` removes.
    pub fn with_note(&self) -> String {
        if self.note.is_empty() {
            return self.message.clone();
        }
        format!("{}---\n{}", self.message, self.note)
    }
}

/// Adds the trailers to the message of a patch, before the sign-off of the user.
pub fn add_trailers(
    text: &str,
    version: u32,
    trailers: &[RecordedTrailer],
    states: &[TrailerState],
    sign_off: Option<&str>,
) -> MessageWithTrailers {
    let mut message = text.to_owned();
    let mut note = String::new();
    for (RecordedTrailer { entry, is_noted }, state) in trailers.iter().zip(states) {
        let trailer = &entry.trailer;
        if matches!(state, TrailerState::Valid | TrailerState::Kept) {
            if !has(&message, trailer) {
                message = message::with_trailer(&message, &trailer.text());
            }
        } else if !is_noted {
            let (why, tail) = (reason(entry), tail(trailer, entry.version));
            note += &format!("Dropped in v{version}, {why}: {tail}\n");
        }
    }
    if let Some(sign_off) = sign_off {
        message = message::with_trailer(&message, sign_off);
    }
    MessageWithTrailers {
        message,
        note,
        states: states.to_vec(),
    }
}

fn reason(entry: &Entry) -> String {
    match (&entry.drop, &entry.withdrawn) {
        (Some(why), _) => why.value.split_whitespace().collect::<Vec<_>>().join(" "),
        (None, Some(mail)) => format!("withdrawn in {}", postings::link(mail)),
        (None, None) => "because the patch changed".to_owned(),
    }
}

fn tail(trailer: &Trailer, version: u32) -> String {
    format!("{trailer} (given to v{version})")
}

pub(crate) fn has(message: &str, trailer: &Trailer) -> bool {
    let mut lines = message.lines().filter_map(Trailer::parse);
    lines.any(|found| found == *trailer)
}

/// Returns whether a posted patch mentions that a trailer given to an older version was dropped, or
/// `false` if it still carries the trailer. Returns `None` if it has neither.
pub fn dropped_by(mail: &str, trailer: &Trailer, version: u32) -> Option<bool> {
    let (message, below) = mail.split_once("\n---\n").unwrap_or((mail, ""));
    if has(message, trailer) {
        return Some(false);
    }
    let tail = tail(trailer, version);
    let mut notes = below.lines().take_while(|l| !l.starts_with("diff --git "));
    let is_noted = notes.any(|l| l.starts_with("Dropped in v") && l.ends_with(&tail));
    is_noted.then_some(true)
}

/// The trailers of a patch, and the state of each.
type WithStates<'a> = (&'a [RecordedTrailer], &'a [TrailerState]);

/// Returns a fault for each `keep` that is not necessary. `patches` has all patches of the series.
pub fn needless<'a>(name: &str, patches: impl Iterator<Item = WithStates<'a>>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (number, (trailers, states)) in (1..).zip(patches) {
        for (RecordedTrailer { entry, .. }, state) in trailers.iter().zip(states) {
            let valid = *state == TrailerState::Valid;
            let Some(keep) = entry.keep.as_ref().filter(|_| valid) else {
                continue;
            };
            let given = format!("{} gave {}", entry.trailer.who.name, entry.trailer.key);
            let what = format!(
                "`keep` is not needed: {} is the same as in v{}, to which {given}",
                entry.patch, entry.version
            );
            faults.push(Fault {
                patch: Some(number),
                ..Rule::Trailers.fault(store::file(name), keep.line, what, "remove it")
            });
        }
    }
    faults
}

/// Returns one line for each trailer that is dropped.
pub fn dropped<'a>(name: &str, patches: impl Iterator<Item = WithStates<'a>>) -> Vec<String> {
    let all = patches.flat_map(|(trailers, states)| trailers.iter().zip(states));
    let dropped = all.filter(|(_, state)| **state == TrailerState::Dropped);
    let dropped = dropped.map(|(RecordedTrailer { entry, .. }, _)| {
        let tail = tail(&entry.trailer, entry.version);
        format!("{} of {name} changed and lost {tail}", entry.patch)
    });
    dropped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{source::manifest::At, versions::rules};

    fn recorded(trailer: &str, keep: Option<&str>, is_noted: bool) -> RecordedTrailer {
        let entry = Entry {
            patch: "1.msg".into(),
            trailer: Trailer::parse(trailer).unwrap(),
            version: 1,
            fingerprint: "e1".into(),
            keep: keep.map(|k| At {
                value: k.into(),
                line: 9,
            }),
            line: 5,
            ..Entry::default()
        };
        RecordedTrailer { entry, is_noted }
    }

    const MESSAGE: &str = "a: b\n\nText.\n\nFixes: 0123456789ab (\"x\")\n";
    const SIGN_OFF: Option<&str> = Some("Signed-off-by: D <d@x.org>");

    fn with_trailers(trailers: &[RecordedTrailer], fingerprint: &str) -> MessageWithTrailers {
        let states: Vec<TrailerState> = trailers.iter().map(|t| state(t, fingerprint)).collect();
        add_trailers(MESSAGE, 3, trailers, &states, SIGN_OFF)
    }

    #[test]
    fn add_trailers_before_sign_off() {
        let all = [
            recorded("Reviewed-by: A <a@x.org>", None, false),
            recorded("Tested-by: A <a@x.org> # on GA102", None, false),
        ];
        let message = with_trailers(&all, "e1");
        insta::assert_snapshot!(message.with_note(), @r#"
        a: b

        Text.

        Fixes: 0123456789ab ("x")
        Reviewed-by: A <a@x.org>
        Tested-by: A <a@x.org> # on GA102
        Signed-off-by: D <d@x.org>
        "#);
        assert_eq!(message.states, [TrailerState::Valid, TrailerState::Valid]);
    }

    #[test]
    fn add_trailers_changed_patch_has_note() {
        let all = [
            recorded("Reviewed-by: A <a@x.org>", None, false),
            recorded(
                "Acked-by: B <b@x.org>",
                Some("only a comment changed"),
                false,
            ),
            recorded("Tested-by: A <a@x.org> # on GA102", None, false),
            recorded("Tested-by: C <c@x.org>", None, true),
        ];
        let message = with_trailers(&all, "e2");
        insta::assert_snapshot!(message.with_note(), @r#"
        a: b

        Text.

        Fixes: 0123456789ab ("x")
        Acked-by: B <b@x.org>
        Signed-off-by: D <d@x.org>
        ---
        Dropped in v3, because the patch changed: Reviewed-by: A <a@x.org> (given to v1)
        Dropped in v3, because the patch changed: Tested-by: A <a@x.org> (given to v1)
        "#);
        assert_eq!(
            message.states,
            [
                TrailerState::Dropped,
                TrailerState::Kept,
                TrailerState::Dropped,
                TrailerState::Dropped
            ]
        );
    }

    #[test]
    fn add_trailers_excluded_has_note() {
        let mut all = [
            recorded("Reviewed-by: A <a@x.org>", None, false),
            recorded("Acked-by: A <a@x.org>", None, true),
            recorded("Tested-by: A <a@x.org>", None, false),
        ];
        let value = "given\nby mistake".to_owned();
        all[0].entry.drop = Some(At { value, line: 1 });
        for back in &mut all[1..] {
            back.entry.withdrawn = Some("b1@y".into());
        }
        let message = with_trailers(&all, "e1");
        assert_eq!(message.states, [TrailerState::Excluded; 3]);
        insta::assert_snapshot!(message.with_note(), @r#"
        a: b

        Text.

        Fixes: 0123456789ab ("x")
        Signed-off-by: D <d@x.org>
        ---
        Dropped in v3, given by mistake: Reviewed-by: A <a@x.org> (given to v1)
        Dropped in v3, withdrawn in https://patch.msgid.link/b1@y: Tested-by: A <a@x.org> (given to v1)
        "#);
    }

    #[test]
    fn add_trailers_does_not_repeat_tags() {
        let all = [recorded("Reviewed-by: A <a@x.org>", None, false)];
        let text = "a: b\n\nText.\n\nReviewed-by: a <A@x.org>\n";
        let message = add_trailers(text, 3, &all, &[TrailerState::Valid], None);
        assert_eq!(message.message, text);
    }

    #[test]
    fn dropped_by_reads_note() {
        let trailer = Trailer::parse("Reviewed-by: A <a@x.org>").unwrap();
        let all = [recorded("Reviewed-by: A <a@x.org>", None, false)];
        let mail = |fingerprint| with_trailers(&all, fingerprint).with_note() + "---\n x | 2 +-\n";
        assert_eq!(dropped_by(&mail("e1"), &trailer, 1), Some(false));
        assert_eq!(dropped_by(&mail("e2"), &trailer, 1), Some(true));
        // Given to another version, or part of the posted patch.
        assert_eq!(dropped_by(&mail("e2"), &trailer, 2), None);
        let quoted = format!(
            "{MESSAGE}---\ndiff --git a/x b/x\nDropped in v3: {}",
            tail(&trailer, 1)
        );
        assert_eq!(dropped_by(&quoted, &trailer, 1), None);
    }

    #[test]
    fn state_keep_counts_if_changed() {
        let states = |keep| {
            ["e1", "e2"].map(|now| state(&recorded("Acked-by: B <b@x.org>", keep, false), now))
        };
        assert_eq!(states(None), [TrailerState::Valid, TrailerState::Dropped]);
        assert_eq!(states(Some("x")), [TrailerState::Valid, TrailerState::Kept]);
    }

    #[test]
    fn faults_keep_without_change() {
        let all = [recorded("Acked-by: B <b@x.org>", Some("x"), false)];
        let faults = |state| {
            let patches = [(&[][..], &[][..]), (&all[..], &[state][..])];
            rules::shown(needless("x", patches.into_iter()))
        };
        insta::assert_snapshot!(faults(TrailerState::Valid), @r"
        series/x/posted/trailers.toml:9: `keep` is not needed: 1.msg is the same as in v1, to which B gave Acked-by
          help: remove it
        ");
        assert_eq!(faults(TrailerState::Kept), "");
    }
}
