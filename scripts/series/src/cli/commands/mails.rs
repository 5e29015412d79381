// SPDX-License-Identifier: GPL-2.0

//! `--mbox`: reads mails.

use std::{ffi::OsStr, io::Read, path::Path};

use super::{Error, Result};
use crate::{
    mail::mailbox::{self, Mail},
    sys::files,
};

/// Reads mails from a file, from each file of a folder that is not hidden (a Maildir's `cur` and
/// `new` included), or from standard input (`-`).
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
                files.extend(files::list(&folder)?);
            }
        }
        let is_hidden = |name: &OsStr| name.to_string_lossy().starts_with('.');
        files.retain(|file| file.is_file() && !file.file_name().is_some_and(is_hidden));
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
        let bytes = files::read(&file)?;
        mails.extend(parse(&file, &bytes)?);
    }
    Ok(mails)
}

fn parse(from: &Path, bytes: &[u8]) -> Result<Vec<Mail>> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(Error::new("the file is compressed with gzip")
            .at(from, None)
            .help("decompress it: `gzip -dc FILE | cargo series … --mbox -`"));
    }
    mailbox::read(bytes).map_err(|e| e.at(from, None))
}
