// SPDX-License-Identifier: GPL-2.0

//! `series/<name>/posted/trailers.toml`: which trailer was given to which patch of which version.
//!
//! The tool writes it; by hand only `keep` is added. Reading and merging are pure.

use std::path::{
    Path,
    PathBuf, //
};

use serde::{
    Deserialize,
    Serialize, //
};
use toml::Spanned;
use toml_edit::{
    ArrayOfTables,
    DocumentMut,
    Item,
    Table,
    value, //
};

use super::find::Trailer;
use crate::{
    error::{
        Error,
        Result, //
    },
    manifest::{
        At,
        Lines,
        parse, //
    },
};

/// How the file starts.
const HEAD: &str = "\
# SPDX-License-Identifier: GPL-2.0
#
# Written by `cargo series trailers`. To keep a trailer though the patch changed since, add
# `keep = \"reason\"` to it.
";

/// A trailer that was given to a patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The file of the patch's message, which is its name.
    pub patch: String,
    /// The trailer.
    pub trailer: Trailer,
    /// The version to which it was given.
    pub version: u32,
    /// The essence of the patch as it was posted in that version.
    pub essence: String,
    /// The message id of the reply; `None` if b4 took the trailer.
    pub from: Option<String>,
    /// Why the trailer is kept though the patch changed.
    #[serde(skip)]
    pub keep: Option<At<String>>,
    /// The line of the file where it starts; 0 if it is in none yet.
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
    version: Spanned<u32>,
    essence: Spanned<String>,
    from: Option<String>,
    keep: Option<Spanned<String>>,
}

/// The file of a series, below the top folder.
pub fn file(name: &str) -> PathBuf {
    PathBuf::from(format!("series/{name}/posted/trailers.toml"))
}

/// Reads the file of a series.
///
/// # Errors
///
/// Not TOML, an unknown or missing field, or a value that cannot be.
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
                "{} has this trailer already, in line {}",
                entry.patch, first.line
            ))
            .at(file, line)
            .help("remove one of them"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(lines: &Lines<'_>, line: usize, raw: RawEntry) -> Result<Entry, (usize, Error)> {
    let text = lines.at(raw.trailer);
    let mut trailer = Trailer::parse(&text.value).ok_or_else(|| {
        let what = format!("{:?} is no Reviewed-by, Acked-by or Tested-by", text.value);
        let help = "other trailers stand in the commit message, series/<name>/*.msg";
        (text.line, Error::new(what).help(help))
    })?;
    trailer.note = trailer.note.or(raw.note);
    let essence = lines.at(raw.essence);
    if essence.value.len() != 64 || !essence.value.bytes().all(|b| b.is_ascii_hexdigit()) {
        let what = "the essence is not 64 hexadecimal digits";
        let help = "`cargo series trailers` writes it; to keep the trailer in any case, use `keep`";
        return Err((essence.line, Error::new(what).help(help)));
    }
    let version = lines.at(raw.version);
    if version.value == 0 {
        return Err((version.line, Error::new("a series starts with version 1")));
    }
    let keep = raw.keep.map(|keep| lines.at(keep));
    if let Some(keep) = keep.as_ref().filter(|k| k.value.trim().is_empty()) {
        let help = "say what changed, and why whoever gave the trailer need not look again";
        return Err((keep.line, Error::new("`keep` gives no reason").help(help)));
    }
    Ok(Entry {
        patch: raw.patch.into_inner(),
        trailer,
        version: version.value,
        essence: essence.value,
        from: raw.from,
        keep,
        line,
    })
}

/// What became of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The new text.
    pub text: String,
    /// What is new in it.
    pub taken: Vec<Entry>,
    /// What was there already.
    pub known: usize,
}

/// Adds trailers to the text of a file. What was given to a newer version replaces what was given
/// to an older one, and with it the reason for which that was kept.
///
/// # Errors
///
/// As [`read`].
pub fn merge(file: &Path, text: &str, found: &[Entry]) -> Result<Merged> {
    let mut entries = read(file, text)?;
    let mut doc: DocumentMut = text
        .parse()
        .map_err(|e: toml_edit::TomlError| Error::new(e.message().trim_end()).at(file, None))?;
    let tables = doc
        .entry("trailer")
        .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()))
        .as_array_of_tables_mut()
        .ok_or_else(|| Error::new("`trailer` is no list of [[trailer]]").at(file, None))?;
    let (mut taken, mut known): (Vec<Entry>, usize) = (Vec::new(), 0);
    for new in found {
        let same = |e: &Entry| e.patch == new.patch && e.trailer == new.trailer;
        let old = entries.iter().position(same);
        if old.is_some_and(|at| entries[at].version >= new.version) {
            known += 1;
            continue;
        }
        match old {
            Some(at) => {
                entries[at] = new.clone();
                if let Some(table) = tables.get_mut(at) {
                    // What somebody wrote above it stays.
                    let (decor, position) = (table.decor().clone(), table.position());
                    *table = written(new);
                    *table.decor_mut() = decor;
                    table.set_position(position);
                }
            }
            None => {
                entries.push(new.clone());
                let mut table = written(new);
                if tables.is_empty() && text.trim().is_empty() {
                    table.decor_mut().set_prefix(format!("{HEAD}\n"));
                }
                tables.push(table);
            }
        }
        taken.retain(|e| !same(e));
        taken.push(new.clone());
    }
    let text = match taken.is_empty() {
        true => text.to_owned(),
        false => doc.to_string(),
    };
    Ok(Merged { text, taken, known })
}

fn written(entry: &Entry) -> Table {
    let mut table = Table::new();
    table.insert("patch", value(&entry.patch));
    table.insert("trailer", value(entry.trailer.to_string()));
    if let Some(note) = &entry.trailer.note {
        table.insert("note", value(note));
    }
    table.insert("version", value(i64::from(entry.version)));
    table.insert("essence", value(&entry.essence));
    if let Some(from) = &entry.from {
        table.insert("from", value(from));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(patch: &str, trailer: &str, version: u32) -> Entry {
        Entry {
            patch: patch.into(),
            trailer: Trailer::parse(trailer).unwrap(),
            version,
            essence: format!("{version:064}"),
            from: Some(format!("r{version}@y")),
            keep: None,
            line: 0,
        }
    }

    fn merged(text: &str, found: &[Entry]) -> Merged {
        merge(Path::new("trailers.toml"), text, found).unwrap()
    }

    #[test]
    fn what_is_merged_is_read_again() {
        let found = [
            new("1.msg", "Reviewed-by: A <a@b.c>", 1),
            new("2.msg", "Tested-by: A \"X\" B <a@b.c> # on GA102", 1),
        ];
        let first = merged("", &found);
        assert_eq!(first.taken, found);
        insta::assert_snapshot!(first.text);
        let read = read(Path::new("x"), &first.text).unwrap();
        assert_eq!(read[1].trailer.text(), found[1].trailer.text());
        assert_eq!(read.iter().map(|e| e.line).collect::<Vec<_>>(), [6, 13]);
        // Nothing new changes nothing.
        let second = merged(&first.text, &found);
        assert_eq!((second.text, second.known), (first.text, 2));
        assert!(second.taken.is_empty());
    }

    #[test]
    fn what_is_newer_wins_and_the_authors_words_stay() {
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
    fn what_is_wrong_is_named_with_its_line() {
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
        series/x/posted/trailers.toml:8: "Signed-off-by: A <a@b.c>" is no Reviewed-by, Acked-by or Tested-by
          help: other trailers stand in the commit message, series/<name>/*.msg
        "#);
        insta::assert_snapshot!(with("000001", "1"), @r"
        series/x/posted/trailers.toml:10: the essence is not 64 hexadecimal digits
          help: `cargo series trailers` writes it; to keep the trailer in any case, use `keep`
        ");
        insta::assert_snapshot!(with("version = 1", "version = 0"), @"series/x/posted/trailers.toml:9: a series starts with version 1");
        insta::assert_snapshot!(with("version = 1", "version = 1\nkeep = \"\""), @r"
        series/x/posted/trailers.toml:10: `keep` gives no reason
          help: say what changed, and why whoever gave the trailer need not look again
        ");
        insta::assert_snapshot!(with("version = 1", "version = 1\nkept = \"x\""), @r#"
        series/x/posted/trailers.toml:10: unknown field `kept`, expected one of `patch`, `trailer`, `note`, `version`, `essence`, `from`, `keep`
          help: the fields are described in ARCHITECTURE.md, "Manifests"
        "#);
        let twice = good.clone() + good.split_once("\n\n").unwrap().1;
        insta::assert_snapshot!(error(&twice), @r"
        series/x/posted/trailers.toml:12: 1.msg has this trailer already, in line 6
          help: remove one of them
        ");
    }
}
