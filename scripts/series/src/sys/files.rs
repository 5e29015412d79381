// SPDX-License-Identifier: GPL-2.0

//! Reads plain files, and writes files in one step.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::sys::{Error, Result};

/// Creates a folder and those above it.
pub fn create(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(|e| Error::io("make the folder", dir, &e))
}

/// Returns the paths in a folder, sorted.
pub fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).and_then(|all| all.map(|e| Ok(e?.path())).collect());
    let mut paths: Vec<PathBuf> = entries.map_err(|e| Error::io("list", dir, &e))?;
    paths.sort();
    Ok(paths)
}

/// Returns the plain files in a folder and below, or a plain file itself. Follows no links.
pub fn below(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => files.push(path.to_owned()),
        Ok(meta) if meta.is_dir() => {
            for entry in list(path)? {
                files.extend(below(&entry)?);
            }
        }
        _ => (),
    }
    Ok(files)
}

pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| Error::io("read", path, &e))
}

pub fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|e| Error::io("remove", path, &e))
}

/// Reads a text file. The caller adds the place to the error.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = read_file(path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => Error::new("the file is missing"),
        ErrorKind::InvalidInput => Error::new("is not a plain file").help("put a plain file there"),
        _ => Error::new(format!("cannot be read: {e}")),
    })?;
    String::from_utf8(bytes).map_err(|_| Error::new("is not UTF-8 text"))
}

/// Reads a plain file. Reading a pipe or a device might never end.
pub fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let meta = fs::metadata(path)?;
    if !meta.is_file() && !meta.is_dir() {
        let what = "it is not a plain file";
        return Err(std::io::Error::new(ErrorKind::InvalidInput, what));
    }
    fs::read(path)
}

/// The start of the name of an unfinished file. The process id and a dash follow.
const UNFINISHED: &str = ".series-";

/// Returns whether the process whose id is before the first dash of a name is alive.
pub fn owner_lives(name: &str) -> bool {
    let id = name.split('-').next().and_then(|id| id.parse::<u32>().ok());
    id.is_some_and(|id| Path::new(&format!("/proc/{id}")).exists())
}

/// Removes unfinished files of killed runs in `dir` and below.
pub fn sweep(dir: &Path) {
    let is_left = |owner: &str| !owner_lives(owner);
    remove_below(dir, &|name| {
        name.strip_prefix(UNFINISHED).is_some_and(is_left)
    });
}

/// Removes the files in `dir` and below whose names `is_one` accepts.
pub fn remove_below(dir: &Path, is_one: &dyn Fn(&str) -> bool) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_below(&entry.path(), is_one);
        } else if entry.file_name().to_str().is_some_and(is_one) {
            // Another run may remove it first.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Writes a file atomically: readers see either the old or the new content. Does not touch a file
/// that has this content already. A failure leaves the old content.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if read_file(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let failed = |e: &std::io::Error| Error::io("write", path, e);
    let dir = path.parent().unwrap_or(Path::new("."));
    create(dir)?;
    // The name has our process id, so that [`sweep`] can remove the file if we are killed.
    let new = tempfile::Builder::new()
        .prefix(&format!("{UNFINISHED}{}-", std::process::id()))
        .tempfile_in(dir)
        .map_err(|e| Error::io("make a file in", dir, &e))?;
    fs::write(new.path(), bytes).map_err(|e| failed(&e))?;
    // Temporary files are private, but results are public.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(new.path(), mode).map_err(|e| failed(&e))?;
    new.persist(path).map_err(|e| failed(&e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_follows_no_links() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["a/b/one", "a/two"] {
            write(&dir.path().join(file), b"").unwrap();
        }
        std::os::unix::fs::symlink(dir.path().join("a"), dir.path().join("link")).unwrap();
        let shown = |path: &Path| {
            let files = below(path).unwrap().into_iter();
            let files = files.map(|f| f.strip_prefix(dir.path()).unwrap().to_owned());
            files.collect::<Vec<_>>()
        };
        let both = [Path::new("a/b/one"), Path::new("a/two")];
        assert_eq!(shown(dir.path()), both);
        assert_eq!(shown(&dir.path().join("a/two")), both[1..]);
        assert!(shown(&dir.path().join("link")).is_empty());
        assert_eq!(shown(&dir.path().join("link/")).len(), 2);
        assert!(shown(&dir.path().join("none")).is_empty());
    }
}
