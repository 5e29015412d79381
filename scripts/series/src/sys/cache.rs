// SPDX-License-Identifier: GPL-2.0

//! The cache folder outside the checkout, shared by all checkouts and by concurrent runs.
//!
//! The cache is consistent at all times: files and folders are created under `tmp/` and renamed
//! into place, and a git ref is set last. A run removes the leftovers of killed runs from `tmp/`.

use std::{
    fs::{self, File},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use crate::sys::{
    Error, Result,
    files::{create, owner_lives, write},
    ui::{Ui, duration},
};

/// The size of the cache with every kernel and the results of `check --full`.
const SIZE: &str = "20 GB";

#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
    /// The folder for data of one base, relative to `dir`.
    of_base: PathBuf,
}

/// A part of the cache that only one run at a time may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Archives and the import of the base.
    Base,
    /// Refs of the kernel repository.
    Refs,
    /// The checked-out kernel tree and the build folders.
    Tree,
    /// The tree that `check --full` walks, and its build folders.
    Full,
    Tools,
}

/// The lock on a [`Resource`]. The lock ends when it is dropped or when the process dies.
///
/// Children inherit the lock, so that the orphaned build of a killed run still excludes other
/// runs.
#[derive(Debug)]
#[must_use = "dropping the lock releases the resource"]
pub struct Lock {
    file: File,
    /// Whether the previous holder died without releasing the lock. Its children have ended as
    /// well, because they inherit the lock. A lock file that they left in a git repository is
    /// stale.
    pub after_death: bool,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // An empty file means that the last holder released the lock.
        let _ = self.file.set_len(0);
        // Unlock explicitly: a daemon that inherited the lock would hold it forever.
        let _ = self.file.unlock();
    }
}

impl Cache {
    /// Opens the cache in `SERIES_CACHE`, else in `$XDG_CACHE_HOME/patch-series`. The names of
    /// earlier versions, `NOVA_SERIES_CACHE` and `nova-series`, are accepted.
    pub fn open(var: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let set = |name| var(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(dir) = set("SERIES_CACHE").or_else(|| set("NOVA_SERIES_CACHE")) {
            return Self::at(dir);
        }
        let caches = set("XDG_CACHE_HOME")
            .or_else(|| set("HOME").map(|d| d.join(".cache")))
            .ok_or_else(|| {
                Error::new("no folder for the cache: HOME is not set")
                    .help(format!("set SERIES_CACHE to a folder with {SIZE} of space"))
            })?;
        let (new, old) = (caches.join("patch-series"), caches.join("nova-series"));
        let is_old = !new.is_dir() && old.is_dir();
        Self::at(if is_old { old } else { new })
    }

    /// Opens the cache in `dir`, and creates its folders.
    pub fn at(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = std::path::absolute(dir.into())
            .map_err(|e| Error::new(format!("the cache folder has no absolute path: {e}")))?;
        for sub in ["tmp", "archives", "tools", "lock", "build"] {
            create(&dir.join(sub)).map_err(elsewhere)?;
        }
        let of_base = PathBuf::new();
        Ok(Self { dir, of_base })
    }

    /// Returns the cache for a base other than the default base. The kernel repository, the build
    /// folders and their locks are separate; everything else is shared.
    pub fn on(&self, base: &str) -> Result<Self> {
        let (dir, of_base) = (self.dir.clone(), Path::new("on").join(base));
        let on = Self { dir, of_base };
        create(&on.of_base("lock")).map_err(elsewhere)?;
        Ok(on)
    }

    pub fn of_base(&self, below: impl AsRef<Path>) -> PathBuf {
        self.dir.join(&self.of_base).join(below)
    }

    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.dir.join(below)
    }

    /// Calls `run` unless the cache has its output. The path of `record` identifies the inputs.
    pub fn remember(
        &self,
        record: impl AsRef<Path>,
        run: impl FnOnce() -> Result<String>,
    ) -> Result<String> {
        let record = self.path(record);
        if let Ok(output) = fs::read_to_string(&record) {
            return Ok(output);
        }
        let output = run()?;
        write(&record, output.as_bytes())?;
        Ok(output)
    }

    /// Returns the kernel repository, whose work tree is built.
    pub fn kernel(&self) -> PathBuf {
        self.of_base("kernel")
    }

    pub fn kernels(&self) -> Vec<PathBuf> {
        let others = fs::read_dir(self.path("on")).into_iter().flatten();
        let others = others.flatten().map(|entry| entry.path().join("kernel"));
        std::iter::once(self.path("kernel")).chain(others).collect()
    }

    pub fn build(&self, arch: &str) -> PathBuf {
        self.of_base("build").join(arch)
    }

    /// Locks `resource`, and waits for another run that holds it.
    pub fn lock(&self, resource: Resource, ui: &Ui) -> Result<Lock> {
        // All bases share the first two.
        let path = match resource {
            Resource::Base => self.path("lock/base"),
            Resource::Tools => self.path("lock/tools"),
            Resource::Refs => self.of_base("lock/refs"),
            Resource::Tree => self.of_base("lock/tree"),
            Resource::Full => self.of_base("lock/full"),
        };
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path);
        let mut file = file.map_err(|e| elsewhere(Error::io("open", &path, &e)))?;
        if file.try_lock().is_err() {
            let mut process = holder(&mut file);
            if !process.is_empty() {
                process = format!(" (process {process})");
            }
            let (name, dir) = (path.file_name().unwrap_or_default(), self.dir.display());
            let (name, since) = (name.display(), since(&file));
            ui.say(format!(
                "waiting: another run{process} holds the {name} lock in {dir}{since}"
            ));
            let start = Instant::now();
            file.lock().map_err(|e| Error::io("lock", &path, &e))?;
            ui.say(format!("waited {}", duration(start.elapsed())));
        }
        // The file lock decides. The content only identifies the holder, or one that died.
        let after_death = !holder(&mut file).is_empty();
        let id = std::process::id().to_string();
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(id.as_bytes()))
            .map_err(|e| Error::io("write", &path, &e))?;
        inherit(&file).map_err(|e| Error::io("share", &path, &e))?;
        Ok(Lock { file, after_death })
    }

    /// Creates a folder under `tmp/`, to be renamed into place.
    pub fn scratch(&self) -> Result<tempfile::TempDir> {
        let tmp = self.path("tmp");
        tempfile::Builder::new()
            .prefix(&format!("{}-", std::process::id()))
            .tempdir_in(&tmp)
            .map_err(|e| elsewhere(Error::io("make a folder in", &tmp, &e)))
    }

    /// Removes the leftovers of killed runs under `tmp/`.
    pub fn sweep(&self) {
        let entries = fs::read_dir(self.path("tmp")).into_iter().flatten();
        for entry in entries.flatten() {
            if !entry.file_name().to_str().is_some_and(owner_lives) {
                // Another run may be sweeping as well.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Checks that `bytes` fit on the file system of the cache.
    pub fn need_space(&self, bytes: u64, what: &str) -> Result<()> {
        let Ok(stat) = rustix::fs::statvfs(&self.dir) else {
            // Unknown free space. A failing write is reported later.
            return Ok(());
        };
        let free = stat.f_bavail * stat.f_frsize;
        if free >= bytes {
            return Ok(());
        }
        let (dir, need, free) = (self.dir.display(), bytes >> 20, free >> 20);
        let what = format!("{what} needs about {need} MiB in {dir}, and {free} MiB are free");
        Err(Error::new(what).help("free some space, or set SERIES_CACHE to a folder elsewhere"))
    }
}

/// Adds a remedy for a cache folder that is not writable.
fn elsewhere(error: Error) -> Error {
    let help = format!("set SERIES_CACHE to a writable folder with {SIZE} of space");
    error.help(help)
}

/// Returns how long a lock has been held. Its holder wrote the file when it got the lock.
fn since(file: &File) -> String {
    let written = file.metadata().and_then(|m| m.modified()).ok();
    let held = written.and_then(|at| at.elapsed().ok());
    let held = held.map(|time| format!(", for {} now", duration(time)));
    held.unwrap_or_default()
}

/// Returns the content of a lock file: the process id of its holder.
fn holder(file: &mut File) -> String {
    let mut holder = String::new();
    // The content is only a hint, so an unreadable file counts as empty.
    let _ = file.rewind();
    let _ = file.read_to_string(&mut holder);
    holder.trim().to_owned()
}

fn inherit(file: &File) -> std::io::Result<()> {
    let flags = rustix::io::fcntl_getfd(file)? - rustix::io::FdFlags::CLOEXEC;
    Ok(rustix::io::fcntl_setfd(file, flags)?)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect();
        move |name| {
            pairs
                .iter()
                .find(|(k, _)| k == name)
                .map(|(_, v)| v.clone())
        }
    }

    #[test]
    fn open_reads_environment() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_str().unwrap();
        let own = format!("{at}/own");
        let open = |set: &[(&str, &str)]| Cache::open(&vars(set)).unwrap().kernel();
        for name in ["SERIES_CACHE", "NOVA_SERIES_CACHE"] {
            let kernel = open(&[(name, &own), ("HOME", at)]);
            assert_eq!(kernel, dir.path().join("own/kernel"));
        }
        fs::create_dir_all(dir.path().join(".cache/nova-series")).unwrap();
        let kernel = open(&[("SERIES_CACHE", ""), ("HOME", at)]);
        assert_eq!(kernel, dir.path().join(".cache/nova-series/kernel"));
        let kernel = open(&[("XDG_CACHE_HOME", &own), ("HOME", at)]);
        assert_eq!(kernel, dir.path().join("own/patch-series/kernel"));
        assert!(Cache::open(&vars(&[])).is_err());
    }

    #[test]
    fn lock_excludes_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let lock = cache.lock(Resource::Tree, &Ui::detect(true)).unwrap();
        let other = File::open(dir.path().join("lock/tree")).unwrap();
        assert!(other.try_lock().is_err());
        drop(lock);
        other.try_lock().unwrap();
    }

    #[test]
    fn lock_after_dead_holder() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let lock = || cache.lock(Resource::Refs, &Ui::detect(true)).unwrap();
        assert!(!lock().after_death);
        assert!(!lock().after_death, "the lock was released");
        fs::write(dir.path().join("lock/refs"), "4194999").unwrap();
        assert!(lock().after_death);
        assert!(!lock().after_death);
    }

    #[test]
    fn lock_held_shows_duration() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let _lock = cache.lock(Resource::Tree, &Ui::detect(true)).unwrap();
        let file = File::options()
            .write(true)
            .open(dir.path().join("lock/tree"))
            .unwrap();
        let then = SystemTime::now() - Duration::from_secs(125);
        file.set_modified(then).unwrap();
        assert_eq!(since(&file), ", for 2 min 05 s now");
    }

    #[test]
    fn sweep_removes_only_dead_runs() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let mine = cache.scratch().unwrap();
        let dead = dir.path().join("tmp/4194999-abc");
        fs::create_dir(&dead).unwrap();
        cache.sweep();
        assert!(mine.path().exists());
        assert!(!dead.exists());
    }

    #[test]
    fn need_space_too_little() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        cache.need_space(1, "the test").unwrap();
        let error = cache
            .need_space(u64::MAX, "the test")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("the test needs about") && error.contains("SERIES_CACHE"),
            "{error}"
        );
    }
}
