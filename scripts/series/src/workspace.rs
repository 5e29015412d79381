// SPDX-License-Identifier: GPL-2.0

//! Where things lie in the checkout.

use std::{
    fs,
    path::{
        Path,
        PathBuf, //
    },
};

use crate::error::{
    Error,
    Result, //
};

/// A checkout of the workspace.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the checkout that `from` lies in.
    ///
    /// # Errors
    ///
    /// No folder above has a `series/base.toml`.
    pub fn find(from: &Path) -> Result<Self> {
        from.ancestors()
            .find(|dir| dir.join("series/base.toml").is_file())
            .map(|dir| Self {
                root: dir.to_owned(),
            })
            .ok_or_else(|| {
                Error::new(format!(
                    "{} is not in a workspace of patch series: there is no series/base.toml above it",
                    from.display()
                ))
                .help("change into the checkout, or name it with --workspace DIR")
            })
    }

    /// The top folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path below the top folder.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join(below)
    }

    /// A path as the user would write it from the top folder.
    pub fn shown<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    /// `out/`, made if need be.
    ///
    /// # Errors
    ///
    /// It could not be made.
    pub fn out(&self) -> Result<PathBuf> {
        let out = self.path("out");
        fs::create_dir_all(&out).map_err(|e| Error::io("make the folder", &out, &e))?;
        Ok(out)
    }

    /// Reads a text file below the top folder.
    ///
    /// # Errors
    ///
    /// It is missing, unreadable or no UTF-8.
    pub fn read(&self, below: impl AsRef<Path>) -> Result<String> {
        let below = below.as_ref();
        read_text(&self.path(below)).map_err(|e| e.at(below, None))
    }
}

/// Reads a text file; the error says what is wrong, but not where.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = read_file(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::new("the file is missing"),
        std::io::ErrorKind::InvalidInput => {
            Error::new("is not a plain file").help("put a plain file there")
        }
        _ => Error::new(format!("cannot be read: {e}")),
    })?;
    String::from_utf8(bytes).map_err(|_| Error::new("is not UTF-8 text"))
}

/// Reads a plain file. Reading a pipe or a device might never end.
pub fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let meta = fs::metadata(path)?;
    if !meta.is_file() && !meta.is_dir() {
        let kind = std::io::ErrorKind::InvalidInput;
        return Err(std::io::Error::new(kind, "it is not a plain file"));
    }
    fs::read(path)
}

/// How the name of a file starts that is being written; the process follows, and a dash.
const UNFINISHED: &str = ".series-";

/// Whether the process that a name speaks of, up to the first dash, is alive.
pub fn owner_lives(name: &str) -> bool {
    let id = name.split('-').next().and_then(|id| id.parse::<u32>().ok());
    id.is_some_and(|id| Path::new(&format!("/proc/{id}")).exists())
}

/// Removes what killed runs were writing in `dir` and below.
pub fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            sweep(&entry.path());
        } else if let Some(owner) = entry
            .file_name()
            .to_str()
            .and_then(|n| n.strip_prefix(UNFINISHED))
            && !owner_lives(owner)
        {
            // Another run may be sweeping as well.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Writes a file in one step: a reader sees the old content or the new, never a part.
///
/// Leaves the file alone if it holds these bytes already.
///
/// # Errors
///
/// The folder cannot be made, or the file not written; the old content is still there then.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if read_file(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(|e| Error::io("make the folder", dir, &e))?;
    // Its name tells whose it is, so that [`sweep`] can remove it if we are killed.
    let new = tempfile::Builder::new()
        .prefix(&format!("{UNFINISHED}{}-", std::process::id()))
        .tempfile_in(dir)
        .map_err(|e| Error::io("make a file in", dir, &e))?;
    fs::write(new.path(), bytes).map_err(|e| Error::io("write", path, &e))?;
    // A private mode is right for a temporary file, not for a result.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(new.path(), mode).map_err(|e| Error::io("write", path, &e))?;
    new.persist(path)
        .map_err(|e| Error::io("write", path, &e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_is_found_from_below() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("series/base.toml"), b"").unwrap();
        let below = dir.path().join("clist/tree");
        fs::create_dir_all(&below).unwrap();
        assert_eq!(Workspace::find(&below).unwrap().root(), dir.path());
    }

    #[test]
    fn elsewhere_is_an_error_that_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = Workspace::find(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("no series/base.toml") && error.contains("--workspace"),
            "{error}"
        );
    }

    #[test]
    fn only_what_the_dead_were_writing_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let dead = dir.path().join("a/.series-4194999-abc");
        let alive = dir
            .path()
            .join(format!("a/.series-{}-abc", std::process::id()));
        for path in [&dead, &alive] {
            write(path, b"half").unwrap();
        }
        sweep(dir.path());
        assert!(alive.exists() && !dead.exists());
    }

    #[test]
    fn an_unchanged_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        write(&path, b"one").unwrap();
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        write(&path, b"one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }
}
