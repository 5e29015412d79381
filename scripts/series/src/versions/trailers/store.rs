// SPDX-License-Identifier: GPL-2.0

//! `series/<name>/posted/trailers.toml`: the trailers that were given to each posted patch.
//!
//! The tool writes the file. The author adds `keep` and `drop`, and tags that did not arrive by
//! mail. The tool completes these tags with the version and the fingerprint. Reading and merging
//! are pure.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml_edit::{DocumentMut, Item, Table, TomlError, value};

use super::{find::Trailer, people::People};
use crate::{
    mail::mailbox::Person,
    source::manifest::{At, parse},
    sys::{Error, Result},
};

const HEAD: &str = "\
# SPDX-License-Identifier: GPL-2.0
#
# Written by `cargo series trailers`. To keep a trailer although the patch changed, add
# `keep = \"reason\"` to it; to leave it out permanently, `drop = \"reason\"`. A tag that did
# not come by mail is a [[trailer]] with `patch` and `trailer`; the tool fills in the rest.
";

/// A trailer that was given to a patch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The file of the patch's message, which identifies the patch.
    pub patch: String,
    pub trailer: Trailer,
    /// The version that it was given to; 0 if it was added by hand and is not completed yet.
    pub version: u32,
    /// The fingerprint of the patch in that version; empty if the entry is not completed yet.
    pub fingerprint: String,
    /// The message id of the reply; `None` if b4 took the trailer, or if it was added by hand.
    pub from: Option<String>,
    /// Whether the reply was to the cover letter and therefore covers all patches.
    #[serde(skip)]
    pub by_cover: bool,
    /// The reason to keep the trailer although the patch changed.
    #[serde(skip)]
    pub keep: Option<At<String>>,
    /// The reason to exclude it, whatever happens to the patch.
    #[serde(skip)]
    pub drop: Option<At<String>>,
    /// The message id of the mail that withdrew it.
    #[serde(skip)]
    pub withdrawn: Option<String>,
    /// The line at which it starts in the file; 0 for a new entry.
    #[serde(skip)]
    pub line: usize,
    /// Whether dropping it needs no note: an earlier posting has the note, or no posting carried a
    /// trailer that the author excludes.
    #[serde(skip)]
    pub is_noted: bool,
}

impl Entry {
    /// Whether the author excludes it, or the reviewer withdrew it.
    pub fn is_excluded(&self) -> bool {
        self.drop.is_some() || self.withdrawn.is_some()
    }

    /// Whether both are the same trailer of the same patch.
    fn is_same(&self, other: &Self) -> bool {
        self.patch == other.patch && self.trailer == other.trailer
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStore {
    #[serde(default)]
    trailer: Vec<At<RawEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    patch: String,
    trailer: At<String>,
    note: Option<String>,
    version: Option<At<u32>>,
    // The key in files of earlier versions of the tool.
    #[serde(alias = "essence")]
    fingerprint: Option<At<String>>,
    from: Option<String>,
    keep: Option<At<String>>,
    drop: Option<At<String>>,
    withdrawn: Option<String>,
}

/// Returns the path of the file of a series, relative to the workspace.
pub fn file(name: &str) -> PathBuf {
    PathBuf::from(format!("series/{name}/posted/trailers.toml"))
}

pub fn read(file: &Path, text: &str) -> Result<Vec<Entry>> {
    let raw: RawStore = parse(file, text)?;
    let mut entries: Vec<Entry> = Vec::new();
    for At { line, value } in raw.trailer {
        let entry = entry(line, value).map_err(|(line, e)| e.at(file, line))?;
        if let Some(first) = entries.iter().find(|e| e.is_same(&entry)) {
            let (patch, first) = (&entry.patch, first.line);
            let what = format!("{patch} already has this trailer, in line {first}");
            let error = Error::new(what).help("remove one of the entries");
            return Err(error.at(file, line));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(line: usize, raw: RawEntry) -> Result<Entry, (usize, Error)> {
    let fault = |line: usize, what: &str, help: &str| Err((line, Error::new(what).help(help)));
    let text = raw.trailer;
    let Ok(mut trailer) = Trailer::parse(&text.value) else {
        let kinds = "Reviewed-by, Acked-by or Tested-by";
        let what = format!("{:?} is not a {kinds}", text.value);
        let help = "put other trailers into the commit message, series/<name>/*.msg";
        return fault(text.line, &what, help);
    };
    trailer.note = trailer.note.or(raw.note);
    let (fingerprint, version) = (raw.fingerprint, raw.version);
    let (keep, drop) = (raw.keep, raw.drop);
    let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let is_blank = |reason: &&At<String>| reason.value.trim().is_empty();
    if let Some(wrong) = fingerprint.as_ref().filter(|f| !is_hash(&f.value)) {
        let what = "`fingerprint` is not 64 hexadecimal digits";
        let help = "remove the line, and `cargo series trailers` writes it again; to keep the \
                    trailer in any case, use `keep`";
        return fault(wrong.line, what, help);
    }
    if let Some(wrong) = version.as_ref().filter(|v| v.value == 0) {
        return Err((wrong.line, Error::new("versions are numbered from 1")));
    }
    if let Some(blank) = keep.as_ref().filter(is_blank) {
        let help = "name the change, and the reason why the reviewer need not look again";
        return fault(blank.line, "`keep` has no reason", help);
    }
    if let Some(blank) = drop.as_ref().filter(is_blank) {
        let help = "name the reason why the trailer is excluded";
        return fault(blank.line, "`drop` has no reason", help);
    }
    if let (Some(_), Some(drop)) = (&keep, &drop) {
        let what = "the trailer has both `keep` and `drop`";
        return fault(drop.line, what, "remove one of the two");
    }
    Ok(Entry {
        patch: raw.patch,
        trailer,
        version: version.map_or(0, |v| v.value),
        fingerprint: fingerprint.map_or(String::new(), |f| f.value),
        from: raw.from,
        keep,
        drop,
        withdrawn: raw.withdrawn,
        line,
        ..Entry::default()
    })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    pub text: String,
    /// Entries that the file did not have.
    pub taken: Vec<Entry>,
    /// The number of entries that the file already had.
    pub known: usize,
    /// Entries of the file that the author excludes.
    pub kept_out: Vec<Entry>,
    /// Entries of the file that are withdrawn now.
    pub withdrawn: Vec<Entry>,
}

/// The file in editable form.
struct Store {
    entries: Vec<(Entry, Table)>,
    doc: DocumentMut,
}

impl Store {
    fn read(file: &Path, text: &str) -> Result<Self> {
        let entries = read(file, text)?.into_iter();
        let doc: Result<DocumentMut, TomlError> = text.parse();
        let mut doc = doc.map_err(|e| Error::new(e.message().trim_end()).at(file, None))?;
        let trailers = doc.remove("trailer").unwrap_or_default();
        let tables = trailers.into_array_of_tables().unwrap_or_default();
        let entries = entries.zip(tables).collect();
        Ok(Self { entries, doc })
    }

    fn text(mut self) -> String {
        let tables = self.entries.into_iter().map(|(_, table)| table);
        let tables = Item::ArrayOfTables(tables.collect());
        self.doc.insert("trailer", tables);
        self.doc.to_string()
    }
}

/// Fills in missing fields, and updates the names of renamed messages. `now` returns an entry with
/// the present message file, and with version and fingerprint of a posted patch.
pub fn completed(file: &Path, text: &str, now: &dyn Fn(&Entry) -> Option<Entry>) -> Result<String> {
    let mut store = Store::read(file, text)?;
    let mut changed = false;
    for (old, table) in &mut store.entries {
        let Some(new) = now(old) else {
            continue;
        };
        let mut set = |key: &str, value: Item| {
            table.insert(key, value);
            changed = true;
        };
        if new.patch != old.patch {
            set("patch", value(new.patch));
        }
        if old.version == 0 {
            set("version", value(i64::from(new.version)));
        }
        if old.fingerprint.is_empty() {
            set("fingerprint", value(new.fingerprint));
        }
    }
    Ok(if changed {
        store.text()
    } else {
        text.to_owned()
    })
}

/// Adds trailers to the text of a file. A trailer for a newer version replaces the one for an older
/// version, and removes its `keep`. Entries with `drop` stay. Withdrawn entries are marked, and
/// count again when a later mail gives the tag.
pub fn merge(
    file: &Path,
    text: &str,
    found: &[Entry],
    withdrawn: &[Withdrawn],
    people: &People,
) -> Result<Merged> {
    let mut store = Store::read(file, text)?;
    let (mut taken, mut known, mut kept_out) = (Vec::<Entry>::new(), 0, Vec::new());
    for new in found {
        let is_new_file = text.trim().is_empty() && store.entries.is_empty();
        let again =
            |old: &Entry| old.withdrawn.is_some() && new.from.is_some() && new.from != old.from;
        match store.entries.iter_mut().find(|(e, _)| e.is_same(new)) {
            Some((old, _)) if old.drop.is_some() => {
                kept_out.push(old.clone());
                continue;
            }
            Some((old, _)) if old.version >= new.version && !again(old) => {
                known += 1;
                continue;
            }
            // The comments above an entry stay.
            Some((old, table)) => {
                *old = new.clone();
                table.clear();
                fill(table, new);
            }
            None => {
                let mut table = Table::new();
                fill(&mut table, new);
                if is_new_file {
                    table.decor_mut().set_prefix(format!("{HEAD}\n"));
                }
                store.entries.push((new.clone(), table));
            }
        }
        taken.retain(|e| !e.is_same(new));
        taken.push(new.clone());
    }
    let withdrawn = mark(&mut store, found, withdrawn, people);
    let changed = !taken.is_empty() || !withdrawn.is_empty();
    Ok(Merged {
        text: if changed {
            store.text()
        } else {
            text.to_owned()
        },
        taken,
        known,
        kept_out,
        withdrawn,
    })
}

/// Marks the entries that the sender of a mail withdraws and does not give again later.
fn mark(
    store: &mut Store,
    found: &[Entry],
    withdrawn: &[Withdrawn],
    people: &People,
) -> Vec<Entry> {
    let mut marked = Vec::new();
    for one in withdrawn {
        for (entry, table) in &mut store.entries {
            let is_it = entry.patch == one.patch
                && !entry.is_excluded()
                && people.is_of(&entry.trailer.who, &one.sender);
            if is_it && !found.iter().any(|e| e.is_same(entry)) {
                marked.push(entry.clone());
                entry.withdrawn = Some(one.mail.clone());
                table.insert("withdrawn", value(&one.mail));
            }
        }
    }
    marked
}

fn fill(table: &mut Table, entry: &Entry) {
    table.insert("patch", value(&entry.patch));
    table.insert("trailer", value(entry.trailer.to_string()));
    if let Some(note) = &entry.trailer.note {
        table.insert("note", value(note));
    }
    table.insert("version", value(i64::from(entry.version)));
    table.insert("fingerprint", value(&entry.fingerprint));
    if let Some(from) = &entry.from {
        table.insert("from", value(from));
    }
}

/// A mail whose sender withdraws earlier tags of a patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Withdrawn {
    /// The file of the patch's message.
    pub patch: String,
    #[serde(skip)]
    pub sender: Person,
    pub mail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(patch: &str, trailer: &str, version: u32) -> Entry {
        Entry {
            patch: patch.into(),
            trailer: Trailer::parse(trailer).unwrap(),
            version,
            fingerprint: format!("{version:064}"),
            from: Some(format!("r{version}@y")),
            ..Entry::default()
        }
    }

    fn merged(text: &str, found: &[Entry]) -> Merged {
        let file = Path::new("trailers.toml");
        merge(file, text, found, &[], &People::default()).unwrap()
    }

    #[test]
    fn merge_result_is_readable() {
        let found = [
            new("1.msg", "Reviewed-by: A <a@b.c>", 1),
            new("2.msg", "Tested-by: A \"X\" B <a@b.c> # on GA102", 1),
        ];
        let first = merged("", &found);
        assert_eq!(first.taken, found);
        insta::assert_snapshot!(first.text);
        let read = read(Path::new("x"), &first.text).unwrap();
        assert_eq!(read[1].trailer.text(), found[1].trailer.text());
        assert_eq!(read.iter().map(|e| e.line).collect::<Vec<_>>(), [7, 14]);
        // A merge without new trailers changes nothing.
        let second = merged(&first.text, &found);
        assert_eq!((second.text, second.known), (first.text, 2));
        assert!(second.taken.is_empty());
    }

    #[test]
    fn merge_newer_version_wins() {
        let text = merged(
            "",
            &[
                new("1.msg", "Reviewed-by: A <a@b.c>", 1),
                new("1.msg", "Tested-by: A <a@b.c>", 1),
            ],
        )
        .text;
        let text = text
            .replace("\n[[", "\n# mine\n[[")
            .replace("version = 1", "keep = \"so\"\nversion = 1");
        let newer = [
            new("1.msg", "reviewed-by: a <A@b.c>", 3),
            new("1.msg", "Reviewed-by: A <a@b.c>", 2),
            new("1.msg", "Tested-by: A <a@b.c>", 1),
        ];
        let out = merged(&text, &newer);
        assert_eq!((out.taken.len(), out.known), (1, 2));
        insta::assert_snapshot!(out.text);
    }

    #[test]
    fn merge_replaces_old_key() {
        let new_keys = merged("", &[new("1.msg", "Reviewed-by: A <a@b.c>", 1)]).text;
        let old_keys = new_keys.replace("fingerprint", "essence");
        let path = Path::new("trailers.toml");
        assert_eq!(
            read(path, &old_keys).unwrap()[0],
            read(path, &new_keys).unwrap()[0]
        );
        let later = [new("1.msg", "Reviewed-by: A <a@b.c>", 2)];
        let text = merged(&old_keys, &later).text;
        assert_eq!(text, merged(&new_keys, &later).text);
    }

    #[test]
    fn read_errors_name_line() {
        let good = merged("", &[new("1.msg", "Reviewed-by: A <a@b.c>", 1)]).text;
        let error = |text: &str| {
            read(Path::new("series/x/posted/trailers.toml"), text)
                .unwrap_err()
                .to_string()
        };
        let with = |from: &str, to: &str| {
            assert!(good.contains(from), "{good}");
            error(&good.replace(from, to))
        };
        insta::assert_snapshot!(with("Reviewed-by", "Signed-off-by"), @r#"
        series/x/posted/trailers.toml:9: "Signed-off-by: A <a@b.c>" is not a Reviewed-by, Acked-by or Tested-by
          help: put other trailers into the commit message, series/<name>/*.msg
        "#);
        insta::assert_snapshot!(with("000001", "1"), @r"
        series/x/posted/trailers.toml:11: `fingerprint` is not 64 hexadecimal digits
          help: remove the line, and `cargo series trailers` writes it again; to keep the trailer in any case, use `keep`
        ");
        insta::assert_snapshot!(with("version = 1", "version = 0"), @"series/x/posted/trailers.toml:10: versions are numbered from 1");
        insta::assert_snapshot!(with("version = 1", "version = 1\nkeep = \"\""), @r"
        series/x/posted/trailers.toml:11: `keep` has no reason
          help: name the change, and the reason why the reviewer need not look again
        ");
        insta::assert_snapshot!(with("version = 1", "version = 1\nkept = \"x\""), @r#"
        series/x/posted/trailers.toml:11: unknown field `kept`, expected one of `patch`, `trailer`, `note`, `version`, `essence`, `fingerprint`, `from`, `keep`, `drop`, `withdrawn`
          help: the fields are described in ARCHITECTURE.md, "Manifests"
        "#);
        let twice = good.clone() + good.split_once("\n\n").unwrap().1;
        insta::assert_snapshot!(error(&twice), @r"
        series/x/posted/trailers.toml:13: 1.msg already has this trailer, in line 7
          help: remove one of the entries
        ");
    }

    #[test]
    fn merge_excluded_tag_stays_excluded() {
        let first = merged("", &[new("1.msg", "Reviewed-by: A <a@b.c>", 1)]).text;
        let text = first.replace("version = 1", "version = 1\ndrop = \"by mistake\"");
        let out = merged(&text, &[new("1.msg", "Reviewed-by: A <a@b.c>", 2)]);
        assert_eq!((out.text, out.taken.len()), (text.clone(), 0));
        assert_eq!(out.kept_out[0].line, 7);
        let error = |text: &str| read(Path::new("x"), text).unwrap_err().to_string();
        insta::assert_snapshot!(error(&text.replace("by mistake", " ")), @r"
        x:11: `drop` has no reason
          help: name the reason why the trailer is excluded
        ");
        insta::assert_snapshot!(error(&text.replace("drop = \"by", "keep = \"x\"\ndrop = \"by")), @r"
        x:12: the trailer has both `keep` and `drop`
          help: remove one of the two
        ");
    }

    #[test]
    fn merge_marks_withdrawn_tag() {
        let text = merged("", &[new("1.msg", "Reviewed-by: A <a@b.c>", 1)]).text;
        let back = |email: &str| {
            let back = Withdrawn {
                patch: "1.msg".into(),
                sender: crate::mail::mailbox::person(email),
                mail: "b1@y".into(),
            };
            merge(Path::new("x"), &text, &[], &[back], &People::default()).unwrap()
        };
        assert_eq!(back("other@b.c").text, text);
        let out = back("a@b.c");
        assert_eq!(out.withdrawn[0].trailer.text(), "Reviewed-by: A <a@b.c>");
        let entry = |text: &str| read(Path::new("x"), text).unwrap().remove(0);
        assert_eq!(entry(&out.text).withdrawn.as_deref(), Some("b1@y"));
        // The mail that gave it has no effect; a later mail has.
        let old = new("1.msg", "Reviewed-by: A <a@b.c>", 1);
        assert_eq!(merged(&out.text, std::slice::from_ref(&old)).text, out.text);
        let again = Entry {
            from: Some("r9@y".into()),
            ..old
        };
        let out = merged(&out.text, &[again]);
        assert_eq!(entry(&out.text).withdrawn, None);
    }

    #[test]
    fn completed_fills_in_tag_by_hand() {
        let text = "# mine\n[[trailer]]\npatch = \"1.msg\" # the walk\ntrailer = \"Acked-by: A <a@b.c>\"\n";
        let find = |entry: &Entry| {
            Some(Entry {
                patch: "walk.msg".into(),
                version: 2,
                fingerprint: format!("{:064}", entry.patch.len()),
                ..entry.clone()
            })
        };
        insta::assert_snapshot!(completed(Path::new("x"), text, &find).unwrap(), @r#"
        # mine
        [[trailer]]
        patch = "walk.msg"
        trailer = "Acked-by: A <a@b.c>"
        version = 2
        fingerprint = "0000000000000000000000000000000000000000000000000000000000000005"
        "#);
        let none = |_: &Entry| None;
        assert_eq!(completed(Path::new("x"), text, &none).unwrap(), text);
    }
}
