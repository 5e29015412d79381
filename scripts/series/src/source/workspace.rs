// SPDX-License-Identifier: GPL-2.0

//! The checkout and the paths in it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    source::branch::Branches,
    sys::{Error, Result, files},
};

/// The folder of the bases, below the top folder.
pub const BASES: &str = "series/bases";

/// The file of the base in a workspace with only one.
pub const ONLY_BASE: &str = "series/base.toml";

/// The name of folders that hold variants of files for certain bases.
const ON: &str = "on";

/// A checkout of the workspace, with the files that apply to one base.
///
/// A file can have a variant for a base: `series/on/v7.3.4/list.toml` replaces `series/list.toml`
/// on `v7.3.4`. The default base uses the plain files.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
    view: View,
    /// The commits of branches, once they are read.
    branches: Option<Arc<Branches>>,
}

/// The properties of a base that select files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The name of the base, followed by the bases whose variants it shares. Empty before the bases
    /// are read.
    pub names: Vec<String>,
    /// Whether the base is not the default base.
    pub other: bool,
    pub all: Vec<String>,
}

impl View {
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

impl Workspace {
    /// Finds the checkout that contains `from`.
    pub fn find(from: &Path) -> Result<Self> {
        let mut folders = from.ancestors();
        let root = folders.find(|dir| dir.join(BASES).is_dir() || dir.join(ONLY_BASE).is_file());
        if let Some(root) = root {
            return Ok(Self::with(root, View::default()));
        }
        let what = format!(
            "{} is not in a workspace of patch series: there is no {BASES} or {ONLY_BASE} above it",
            from.display()
        );
        let help = "change into the checkout, or name it with --workspace DIR";
        Err(Error::new(what).help(help))
    }

    fn with(root: &Path, view: View) -> Self {
        Self {
            root: root.to_owned(),
            view,
            branches: None,
        }
    }

    /// Returns the checkout with the files of another base.
    pub fn on(&self, view: View) -> Self {
        Self::with(&self.root, view)
    }

    pub fn set_branches(&mut self, branches: Branches) {
        self.branches = Some(Arc::new(branches));
    }

    pub fn branches(&self) -> Option<&Branches> {
        self.branches.as_deref()
    }

    pub fn view(&self) -> &View {
        &self.view
    }

    /// Returns `folder/below` and its variants. Files in later folders replace those in earlier
    /// ones.
    pub fn folders(&self, folder: impl AsRef<Path>, below: impl AsRef<Path>) -> Vec<PathBuf> {
        let (folder, below) = (folder.as_ref(), below.as_ref());
        let on = |name: &String| folder.join(ON).join(name).join(below);
        let variants = self.view.names.iter().rev().map(on);
        [folder.join(below)].into_iter().chain(variants).collect()
    }

    /// Returns the variant of the file `folder/below`, or this path if no variant exists.
    pub fn place(&self, folder: impl AsRef<Path>, below: impl AsRef<Path>) -> PathBuf {
        let mut all = self.folders(folder, below);
        let found = all.iter().rposition(|path| self.path(path).exists());
        all.swap_remove(found.unwrap_or(0))
    }

    /// Returns the existing variants of the file `folder/below` for all bases, and the file itself.
    pub fn variants(&self, folder: impl AsRef<Path>, below: impl AsRef<Path>) -> Vec<PathBuf> {
        let (folder, below) = (folder.as_ref(), below.as_ref());
        let on = |name: &String| folder.join(ON).join(name).join(below);
        let variants = self.view.all.iter().map(on);
        let all = [folder.join(below)].into_iter().chain(variants);
        all.filter(|path| self.path(path).exists()).collect()
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join(below)
    }

    /// Returns a path relative to the top folder, for messages.
    pub fn shown<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    /// Returns a path in `out/`, or in `out/<base>/` for other bases than the default base.
    pub fn below_out(&self, below: impl AsRef<Path>) -> PathBuf {
        let base = if self.view.other {
            self.view.name()
        } else {
            ""
        };
        Path::new("out").join(base).join(below)
    }

    /// Creates the output folder if necessary, and returns its path.
    pub fn out(&self) -> Result<PathBuf> {
        let out = self.path(self.below_out(""));
        files::create(&out)?;
        Ok(out)
    }

    pub fn read(&self, below: impl AsRef<Path>) -> Result<String> {
        let below = below.as_ref();
        files::read_text(&self.path(below)).map_err(|e| e.at(below, None))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sys::files::{sweep, write};

    #[test]
    fn find_from_subfolder() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("series/base.toml"), b"").unwrap();
        let below = dir.path().join("clist/tree");
        fs::create_dir_all(&below).unwrap();
        assert_eq!(Workspace::find(&below).unwrap().root(), dir.path());
    }

    #[test]
    fn find_outside_checkout_fails() {
        let dir = tempfile::tempdir().unwrap();
        let error = Workspace::find(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("no series/bases or series/base.toml") && error.contains("--workspace"),
            "{error}"
        );
    }

    #[test]
    fn place_of_nearest_base() {
        let dir = tempfile::tempdir().unwrap();
        for file in [
            "a.toml",
            "on/v2/a.toml",
            "on/v2/b.toml",
            "on/v3/b.toml",
            "c.toml",
        ] {
            write(&dir.path().join("series").join(file), b"").unwrap();
        }
        write(&dir.path().join(ONLY_BASE), b"").unwrap();
        let plain = Workspace::find(dir.path()).unwrap();
        let names = ["v3".to_owned(), "v2".to_owned()];
        let view = View {
            names: names.to_vec(),
            other: true,
            all: names.to_vec(),
        };
        let ws = plain.on(view);
        let place = |ws: &Workspace, file| ws.place("series", file).display().to_string();
        for (file, found) in [
            ("a.toml", "series/on/v2/a.toml"),
            ("b.toml", "series/on/v3/b.toml"),
            ("c.toml", "series/c.toml"),
            ("d.toml", "series/d.toml"),
        ] {
            assert_eq!(place(&ws, file), found);
            assert_eq!(place(&plain, file), format!("series/{file}"));
        }
        assert_eq!(ws.variants("series", "a.toml").len(), 2);
        assert_eq!(ws.below_out("x"), Path::new("out/v3/x"));
        assert_eq!(plain.below_out("x"), Path::new("out/x"));
    }

    #[test]
    fn sweep_removes_only_dead_runs() {
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
    fn write_skips_unchanged_file() {
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
