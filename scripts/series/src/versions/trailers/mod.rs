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

use crate::{
    mail::{fingerprint::fingerprint, mailbox::Mail},
    source::{finding::Finding, message, workspace::Workspace},
    sys::{Error, Result},
    versions::{
        postings::{self, Posting},
        trailers::{find::Trailer, store::Entry},
    },
};

/// `rename` returns the present message file of a patch.
pub fn read(
    ws: &Workspace,
    name: &str,
    postings: &[Posting],
    rename: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Entry>> {
    let file = store::file(name);
    if !ws.path(&file).exists() {
        return Ok(Vec::new());
    }
    let mut entries = store::read(&file, &ws.read(&file)?)?;
    // A complete entry needs the later mails only.
    let needs = |e: &Entry| e.version + u32::from(!e.fingerprint.is_empty());
    let first = entries.iter().map(needs).min().unwrap_or(u32::MAX);
    let mails = postings.iter().map(|posting| {
        if posting.version < first {
            return Ok(Vec::new());
        }
        posting.mails(ws, name)
    });
    let mails: Vec<Vec<Mail>> = mails.collect::<Result<_>>()?;
    for entry in &mut entries {
        let now = rename(&entry.patch).unwrap_or_else(|| entry.patch.clone());
        let is_it = |file: &String| *file == entry.patch || *file == now;
        // The posted versions of the patch, the newest first.
        let posted = postings.iter().zip(&mails).rev();
        let posted = posted.filter_map(|(posting, mails)| {
            let mut messages = posting.patches.iter().map(|p| p.message.as_ref());
            let at = messages.position(|message| message.is_some_and(is_it))?;
            Some((
                posting.version,
                mails.get(at).map_or("", |m| m.body.as_str()),
            ))
        });
        let posted: Vec<(u32, &str)> = posted.collect();
        complete(entry, name, &posted).map_err(|e| e.at(&file, entry.line))?;
        entry.is_noted = is_noted(entry, &posted);
        entry.patch = now;
    }
    Ok(entries)
}

/// Completes a tag that was added by hand: it belongs to the last posted patch, or to the version
/// that it names. `posted` has the versions in which the patch was posted, and their mails.
fn complete(entry: &mut Entry, name: &str, posted: &[(u32, &str)]) -> Result<()> {
    if entry.version > 0 && !entry.fingerprint.is_empty() {
        return Ok(());
    }
    let is_it = |version: u32| entry.version == 0 || entry.version == version;
    let Some((version, mail)) = posted.iter().find(|(version, _)| is_it(*version)) else {
        let patch = &entry.patch;
        let what = match entry.version {
            0 => format!("{patch} was never posted"),
            v => format!("v{v} was posted without {patch}"),
        };
        return Err(Error::new(what).help(format!(
            "a tag belongs to a posted patch; put other tags into series/{name}/{patch} itself"
        )));
    };
    entry.version = *version;
    if entry.fingerprint.is_empty() {
        entry.fingerprint = fingerprint(mail);
    }
    Ok(())
}

/// Whether dropping a trailer needs no note. The newest posting that mentions it decides.
fn is_noted(entry: &Entry, posted: &[(u32, &str)]) -> bool {
    let mut later = posted.iter().filter(|(v, _)| *v > entry.version);
    let noted = later.find_map(|(_, mail)| dropped_by(mail, &entry.trailer, entry.version));
    noted.unwrap_or(entry.is_excluded())
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
pub fn state(entry: &Entry, fingerprint: &str) -> TrailerState {
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
    trailers: &[Entry],
    states: &[TrailerState],
    sign_off: Option<&str>,
) -> MessageWithTrailers {
    let mut message = text.to_owned();
    let mut note = String::new();
    for (entry, state) in trailers.iter().zip(states) {
        let trailer = &entry.trailer;
        if matches!(state, TrailerState::Valid | TrailerState::Kept) {
            if !has(&message, trailer) {
                message = message::with_trailer(&message, &trailer.text());
            }
        } else if !entry.is_noted {
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
    let mut lines = message.lines().map(Trailer::parse);
    lines.any(|found| found.is_ok_and(|found| found == *trailer))
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

type WithStates<'a> = (&'a [Entry], &'a [TrailerState]);

/// Returns a fault for each `keep` that is not necessary. `patches` has all patches of the series.
pub fn needless<'a>(name: &str, patches: impl Iterator<Item = WithStates<'a>>) -> Vec<Finding> {
    let mut faults = Vec::new();
    for (number, (trailers, states)) in (1..).zip(patches) {
        for (entry, state) in trailers.iter().zip(states) {
            let (TrailerState::Valid, Some(keep)) = (state, &entry.keep) else {
                continue;
            };
            let given = format!("{} gave {}", entry.trailer.who.name, entry.trailer.key);
            let what = format!(
                "`keep` is not needed: {} is the same as in v{}, to which {given}",
                entry.patch, entry.version
            );
            let fault = Finding::new(name, "trailers", what).of_patch(number);
            faults.push(fault.at(store::file(name), keep.line).help("remove it"));
        }
    }
    faults
}

/// Returns a fault for each dropped trailer that the message of the patch has itself.
pub fn contradicted<'a>(
    name: &str,
    patches: impl Iterator<Item = (WithStates<'a>, &'a MessageWithTrailers)>,
) -> Vec<Finding> {
    let mut faults = Vec::new();
    for (number, ((trailers, states), message)) in (1..).zip(patches) {
        for (entry, state) in trailers.iter().zip(states) {
            let trailer = &entry.trailer;
            if *state == TrailerState::Dropped && has(&message.message, trailer) {
                let tail = tail(trailer, entry.version);
                let what = format!("the patch changed, but its message has {tail}");
                let fault = Finding::new(name, "trailers", what).of_patch(number);
                let help = "remove it from the message, or give a reason as `keep` here";
                faults.push(fault.at(store::file(name), entry.line).help(help));
            }
        }
    }
    faults
}

pub fn dropped<'a>(name: &str, patches: impl Iterator<Item = WithStates<'a>>) -> Vec<String> {
    let all = patches.flat_map(|(trailers, states)| trailers.iter().zip(states));
    let dropped = all.filter(|(_, state)| **state == TrailerState::Dropped);
    let dropped = dropped.map(|(entry, _)| {
        let tail = tail(&entry.trailer, entry.version);
        format!("{} of {name} changed and lost {tail}", entry.patch)
    });
    dropped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        source::{finding::shown, manifest::At},
        sys::files::write,
        versions::postings::tests::posting,
    };

    fn recorded(trailer: &str, keep: Option<&str>, is_noted: bool) -> Entry {
        Entry {
            patch: "1.msg".into(),
            trailer: Trailer::parse(trailer).unwrap(),
            version: 1,
            fingerprint: "e1".into(),
            keep: keep.map(|k| At {
                value: k.into(),
                line: 9,
            }),
            line: 5,
            is_noted,
            ..Entry::default()
        }
    }

    const MESSAGE: &str = "a: b\n\nText.\n\nFixes: 0123456789ab (\"x\")\n";
    const SIGN_OFF: Option<&str> = Some("Signed-off-by: D <d@x.org>");

    fn with_trailers(trailers: &[Entry], fingerprint: &str) -> MessageWithTrailers {
        let states: Vec<TrailerState> = trailers.iter().map(|t| state(t, fingerprint)).collect();
        add_trailers(MESSAGE, 3, trailers, &states, SIGN_OFF)
    }

    #[test]
    fn complete_entry_needs_no_earlier_mails() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("series/base.toml"), b"").unwrap();
        let ws = Workspace::find(dir.path()).unwrap();
        let entries = |version: &str| {
            let text = format!(
                "[[trailer]]\npatch = \"1.msg\"\ntrailer = \"Reviewed-by: A <a@x.org>\"\n{version}"
            );
            write(&ws.path(store::file("x")), text.as_bytes()).unwrap();
            read(&ws, "x", &[posting(1, &["a: b"])], &|_| None)
        };
        let hash = "0".repeat(64);
        let complete = entries(&format!("version = 1\nfingerprint = \"{hash}\"\n"));
        assert_eq!(complete.unwrap().len(), 1);
        let error = entries("").unwrap_err().to_string();
        assert!(error.contains("v1.mbox"), "{error}");
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
        all[0].drop = Some(At { value, line: 1 });
        for back in &mut all[1..] {
            back.withdrawn = Some("b1@y".into());
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
    fn faults_dropped_trailer_in_message() {
        let all = [recorded("Acked-by: B <b@x.org>", None, false)];
        let faults = |state, message: &str| {
            let message = MessageWithTrailers {
                message: message.to_owned(),
                ..MessageWithTrailers::default()
            };
            let patches = [((&all[..], &[state][..]), &message)];
            shown(contradicted("x", patches.into_iter()))
        };
        let carries = "a: b\n\nText.\n\nAcked-by: B <b@x.org>\n";
        insta::assert_snapshot!(faults(TrailerState::Dropped, carries), @r"
        series/x/posted/trailers.toml:5: the patch changed, but its message has Acked-by: B <b@x.org> (given to v1)
          help: remove it from the message, or give a reason as `keep` here
        ");
        assert_eq!(faults(TrailerState::Valid, carries), "");
        assert_eq!(faults(TrailerState::Dropped, "a: b\n"), "");
    }

    #[test]
    fn faults_keep_without_change() {
        let all = [recorded("Acked-by: B <b@x.org>", Some("x"), false)];
        let faults = |state| {
            let patches = [(&[][..], &[][..]), (&all[..], &[state][..])];
            shown(needless("x", patches.into_iter()))
        };
        insta::assert_snapshot!(faults(TrailerState::Valid), @r"
        series/x/posted/trailers.toml:9: `keep` is not needed: 1.msg is the same as in v1, to which B gave Acked-by
          help: remove it
        ");
        assert_eq!(faults(TrailerState::Kept), "");
    }
}
