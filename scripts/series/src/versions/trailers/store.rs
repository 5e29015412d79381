// SPDX-License-Identifier: GPL-2.0

//! `series/<name>/posted/trailers.toml`: the trailers that were given to each posted patch.
//!
//! The tool writes the file. The author adds `keep` and `drop`, and tags that did not arrive by
//! mail. The tool completes these tags with the version and the fingerprint. Reading and merging
//! are pure.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::{find::Trailer, people::People};
use crate::{
    mail::mailbox::Person,
    source::manifest::{At, Lines, parse},
    sys::error::{Error, Result},
};

/// The header of the file.
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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStore {
    #[serde(default)]
    trailer: Vec<Spanned<RawEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    patch: Spanned<String>,
    trailer: Spanned<String>,
    note: Option<String>,
    version: Option<Spanned<u32>>,
    // The key in files of earlier versions of the tool.
    #[serde(alias = "essence")]
    fingerprint: Option<Spanned<String>>,
    from: Option<String>,
    keep: Option<Spanned<String>>,
    drop: Option<Spanned<String>>,
    withdrawn: Option<String>,
}

/// Returns the path of the file of a series, relative to the workspace.
pub fn file(name: &str) -> PathBuf {
    PathBuf::from(format!("series/{name}/posted/trailers.toml"))
}

/// Reads the file of a series.
///
/// # Errors
///
/// The file is not TOML, a field is unknown or missing, or a value is invalid.
pub fn read(file: &Path, text: &str) -> Result<Vec<Entry>> {
    let raw: RawStore = parse(file, text)?;
    let lines = Lines(text);
    let mut entries: Vec<Entry> = Vec::new();
    for spanned in raw.trailer {
        let At { line, value } = lines.at(spanned);
        let entry = entry(&lines, line, value).map_err(|(line, e)| e.at(file, line))?;
        let twice = entries
            .iter()
            .find(|e| e.patch == entry.patch && e.trailer == entry.trailer);
        if let Some(first) = twice {
            return Err(Error::new(format!(
                "{} already has this trailer, in line {}",
                entry.patch, first.line
            ))
            .at(file, line)
            .help("remove one of the entries"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(lines: &Lines<'_>, line: usize, raw: RawEntry) -> Result<Entry, (usize, Error)> {
    let text = lines.at(raw.trailer);
    let mut trailer = Trailer::parse(&text.value).ok_or_else(|| {
        let what = format!(
            "{:?} is not a Reviewed-by, Acked-by or Tested-by",
            text.value
        );
        let help = "put other trailers into the commit message, series/<name>/*.msg";
        (text.line, Error::new(what).help(help))
    })?;
    trailer.note = trailer.note.or(raw.note);
    let fingerprint = raw.fingerprint.map(|fingerprint| lines.at(fingerprint));
    let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if let Some(fingerprint) = fingerprint.as_ref().filter(|e| !is_hash(&e.value)) {
        let what = "`fingerprint` is not 64 hexadecimal digits";
        let help = "remove the line, and `cargo series trailers` writes it again; to keep the \
                    trailer in any case, use `keep`";
        return Err((fingerprint.line, Error::new(what).help(help)));
    }
    let version = raw.version.map(|version| lines.at(version));
    if let Some(version) = version.as_ref().filter(|v| v.value == 0) {
        return Err((version.line, Error::new("versions are numbered from 1")));
    }
    let reason = |given: Option<Spanned<String>>, key: &str, help: &str| {
        let given = given.map(|given| lines.at(given));
        match given.as_ref().filter(|g| g.value.trim().is_empty()) {
            Some(empty) => {
                let what = format!("`{key}` has no reason");
                Err((empty.line, Error::new(what).help(help)))
            }
            None => Ok(given),
        }
    };
    let keep = reason(
        raw.keep,
        "keep",
        "name the change, and the reason why the reviewer need not look again",
    )?;
    let drop = reason(
        raw.drop,
        "drop",
        "name the reason why the trailer is excluded",
    )?;
    if let (Some(_), Some(drop)) = (&keep, &drop) {
        let what = "the trailer has both `keep` and `drop`";
        return Err((drop.line, Error::new(what).help("remove one of the two")));
    }
    Ok(Entry {
        patch: raw.patch.into_inner(),
        trailer,
        version: version.map_or(0, |v| v.value),
        fingerprint: fingerprint.map_or(String::new(), |e| e.value),
        from: raw.from,
        keep,
        drop,
        withdrawn: raw.withdrawn,
        line,
        ..Entry::default()
    })
}

/// The result of merging trailers into the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The new text of the file.
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
struct Store<'a> {
    file: &'a Path,
    entries: Vec<Entry>,
    doc: DocumentMut,
}

impl<'a> Store<'a> {
    fn read(file: &'a Path, text: &str) -> Result<Self> {
        let doc = text.parse();
        Ok(Self {
            file,
            entries: read(file, text)?,
            doc: doc.map_err(|e: toml_edit::TomlError| {
                Error::new(e.message().trim_end()).at(file, None)
            })?,
        })
    }

    fn tables(&mut self) -> Result<&mut ArrayOfTables> {
        self.doc
            .entry("trailer")
            .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()))
            .as_array_of_tables_mut()
            .ok_or_else(|| {
                Error::new("`trailer` must be an array of tables, [[trailer]]").at(self.file, None)
            })
    }

    /// Sets values of one table and leaves its other values unchanged.
    fn set(&mut self, at: usize, values: &[(&str, Item)]) -> Result<()> {
        if let Some(table) = self.tables()?.get_mut(at) {
            for (key, item) in values {
                table.insert(key, item.clone());
            }
        }
        Ok(())
    }

    /// Replaces an entry and keeps the comments above it.
    fn replace(&mut self, at: usize, new: &Entry) -> Result<()> {
        self.entries[at] = new.clone();
        if let Some(table) = self.tables()?.get_mut(at) {
            let (decor, position) = (table.decor().clone(), table.position());
            *table = written(new);
            *table.decor_mut() = decor;
            table.set_position(position);
        }
        Ok(())
    }

    fn push(&mut self, new: &Entry, is_new_file: bool) -> Result<()> {
        self.entries.push(new.clone());
        let tables = self.tables()?;
        let mut table = written(new);
        if tables.is_empty() && is_new_file {
            table.decor_mut().set_prefix(format!("{HEAD}\n"));
        }
        tables.push(table);
        Ok(())
    }
}

/// The posted patch that a tag belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The present name of its message file.
    pub patch: String,
    pub version: u32,
    /// The fingerprint of the patch in that version.
    pub fingerprint: String,
}

/// Fills in missing fields, and updates the names of renamed messages.
///
/// # Errors
///
/// As for [`read`].
pub fn completed(
    file: &Path,
    text: &str,
    find: &dyn Fn(&Entry) -> Option<Known>,
) -> Result<String> {
    let mut store = Store::read(file, text)?;
    let mut changed = false;
    for at in 0..store.entries.len() {
        let entry = store.entries[at].clone();
        let Some(known) = find(&entry) else {
            continue;
        };
        let mut values = Vec::new();
        if known.patch != entry.patch {
            values.push(("patch", value(&known.patch)));
        }
        if entry.version == 0 {
            values.push(("version", value(i64::from(known.version))));
        }
        if entry.fingerprint.is_empty() {
            values.push(("fingerprint", value(&known.fingerprint)));
        }
        changed |= !values.is_empty();
        store.set(at, &values)?;
    }
    Ok(match changed {
        true => store.doc.to_string(),
        false => text.to_owned(),
    })
}

/// Adds trailers to the text of a file. A trailer for a newer version replaces the one for an older
/// version, and removes its `keep`. Entries with `drop` stay. Withdrawn entries are marked, and
/// count again when a later mail gives the tag.
///
/// # Errors
///
/// As for [`read`].
pub fn merge(
    file: &Path,
    text: &str,
    found: &[Entry],
    back: &[Withdrawn],
    people: &People,
) -> Result<Merged> {
    let mut store = Store::read(file, text)?;
    let (mut taken, mut known, mut kept_out) = (Vec::<Entry>::new(), 0, Vec::new());
    for new in found {
        let same = |e: &Entry| e.patch == new.patch && e.trailer == new.trailer;
        let old = store.entries.iter().position(same);
        if let Some(old) = old.map(|at| &store.entries[at]) {
            if old.drop.is_some() {
                kept_out.push(old.clone());
                continue;
            }
            let again = old.withdrawn.is_some() && new.from.is_some() && new.from != old.from;
            if old.version >= new.version && !again {
                known += 1;
                continue;
            }
        }
        match old {
            Some(at) => store.replace(at, new)?,
            None => store.push(new, text.trim().is_empty())?,
        }
        taken.retain(|e| !same(e));
        taken.push(new.clone());
    }
    let withdrawn = mark(&mut store, found, back, people)?;
    let text = match taken.is_empty() && withdrawn.is_empty() {
        true => text.to_owned(),
        false => store.doc.to_string(),
    };
    Ok(Merged {
        text,
        taken,
        known,
        kept_out,
        withdrawn,
    })
}

/// Marks the entries that the sender of a mail withdraws and does not give again later.
fn mark(
    store: &mut Store<'_>,
    found: &[Entry],
    back: &[Withdrawn],
    people: &People,
) -> Result<Vec<Entry>> {
    let mut marked = Vec::new();
    for one in back {
        for at in 0..store.entries.len() {
            let entry = &store.entries[at];
            let is_it = entry.patch == one.patch
                && entry.withdrawn.is_none()
                && entry.drop.is_none()
                && people.is_of(&entry.trailer.who, &one.sender);
            let again = found
                .iter()
                .any(|e| e.patch == entry.patch && e.trailer == entry.trailer);
            if !is_it || again {
                continue;
            }
            marked.push(entry.clone());
            store.entries[at].withdrawn = Some(one.mail.clone());
            store.set(at, &[("withdrawn", value(&one.mail))])?;
        }
    }
    Ok(marked)
}

fn written(entry: &Entry) -> Table {
    let mut table = Table::new();
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
    table
}

/// A mail whose sender withdraws earlier tags of a patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Withdrawn {
    /// The file of the patch's message.
    pub patch: String,
    /// The sender of the withdrawing mail.
    #[serde(skip)]
    pub sender: Person,
    /// The message id of the withdrawing mail.
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
        merge(
            Path::new("trailers.toml"),
            text,
            found,
            &[],
            &People::default(),
        )
        .unwrap()
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
            Some(Known {
                patch: "walk.msg".into(),
                version: 2,
                fingerprint: format!("{:064}", entry.patch.len()),
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
