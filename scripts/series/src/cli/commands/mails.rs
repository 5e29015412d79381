// SPDX-License-Identifier: GPL-2.0

//! `--mbox`: reads mails.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use crate::{
    mail::mailbox::{self, Mail},
    sys::error::{Error, Result},
};

/// Reads mails from a file, from each file of a folder (a Maildir's `cur` and `new` included), or
/// from standard input (`-`).
///
/// # Errors
///
/// A file cannot be read, or is not a mailbox. The error names the file.
pub fn read(from: &Path) -> Result<Vec<Mail>> {
    if from == Path::new("-") {
        let mut bytes = Vec::new();
        let read = std::io::stdin().read_to_end(&mut bytes);
        read.map_err(|e| Error::io("read", "standard input", &e))?;
        return parse(Path::new("standard input"), &bytes);
    }
    if !from.is_dir() {
        return file(from);
    }
    let mut files = Vec::new();
    for folder in [from.to_path_buf(), from.join("cur"), from.join("new")] {
        if folder.is_dir() {
            files.extend(files_of(&folder)?);
        }
    }
    if files.is_empty() {
        return Err(Error::new("the folder contains no mails")
            .at(from, None)
            .help("use a folder with files such as *.eml, or a Maildir"));
    }
    let read = files.iter().map(|f| file(f)).collect::<Result<Vec<_>>>()?;
    Ok(read.concat())
}

/// Returns the files of a folder by name, without hidden files.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e: std::io::Error| Error::io("list", folder, &e);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if entry.path().is_file() && !hidden {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn file(path: &Path) -> Result<Vec<Mail>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, &e))?;
    parse(path, &bytes)
}

fn parse(from: &Path, bytes: &[u8]) -> Result<Vec<Mail>> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(Error::new("the file is compressed with gzip")
            .at(from, None)
            .help("decompress it: `gzip -dc FILE | cargo series … --mbox -`"));
    }
    mailbox::read(bytes).map_err(|e| e.at(from, None))
}
