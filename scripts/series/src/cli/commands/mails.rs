// SPDX-License-Identifier: GPL-2.0

//! `--mbox`: reads mails.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use super::{Error, Result};
use crate::mail::mailbox::{self, Mail};

/// Reads mails from a file, from each file of a folder (a Maildir's `cur` and `new` included), or
/// from standard input (`-`).
pub fn read(from: &Path) -> Result<Vec<Mail>> {
    if from == Path::new("-") {
        let mut bytes = Vec::new();
        let read = std::io::stdin().read_to_end(&mut bytes);
        read.map_err(|e| Error::io("read", "standard input", &e))?;
        return parse(Path::new("standard input"), &bytes);
    }
    let mut files = Vec::new();
    if from.is_dir() {
        for folder in [from.to_path_buf(), from.join("cur"), from.join("new")] {
            if folder.is_dir() {
                files.extend(files_of(&folder)?);
            }
        }
    } else {
        files.push(from.to_path_buf());
    }
    if files.is_empty() {
        return Err(Error::new("the folder contains no mails")
            .at(from, None)
            .help("use a folder with files such as *.eml, or a Maildir"));
    }
    let mut mails = Vec::new();
    for file in files {
        let bytes = fs::read(&file).map_err(|e| Error::io("read", &file, &e))?;
        mails.extend(parse(&file, &bytes)?);
    }
    Ok(mails)
}

/// Returns the files of a folder by name, without hidden files.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect);
    let entries: Vec<fs::DirEntry> = entries.map_err(|e| Error::io("list", folder, &e))?;
    let is_hidden = |e: &fs::DirEntry| e.file_name().to_string_lossy().starts_with('.');
    let visible = entries.iter().filter(|e| !is_hidden(e));
    let mut files: Vec<PathBuf> = visible.map(fs::DirEntry::path).collect();
    files.retain(|file| file.is_file());
    files.sort();
    Ok(files)
}

fn parse(from: &Path, bytes: &[u8]) -> Result<Vec<Mail>> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(Error::new("the file is compressed with gzip")
            .at(from, None)
            .help("decompress it: `gzip -dc FILE | cargo series … --mbox -`"));
    }
    mailbox::read(bytes).map_err(|e| e.at(from, None))
}
