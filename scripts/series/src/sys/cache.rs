// SPDX-License-Identifier: GPL-2.0

//! The cache folder outside the checkout, shared by all checkouts and by runs at the same time.
//!
//! Nothing in it is ever half there: a file or folder is made under `tmp/` and renamed into place,
//! a git ref is set last. What a killed run left in `tmp/` is removed by the next one.

use std::{
    fs::{
        self,
        File,
        OpenOptions, //
    },
    io::{
        Read,
        Seek,
        Write, //
    },
    path::{
        Path,
        PathBuf, //
    },
    time::Instant,
};

use crate::sys::{
    error::{
        Error,
        Result, //
    },
    ui::{
        Ui,
        duration, //
    }, //
};

/// The size of the cache with every kernel and the results of `check --full`.
const SIZE: &str = "20 GB";

/// The cache folder.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
    /// The folder for data of one base, relative to `dir`.
    of_base: PathBuf,
}

/// What one run at a time may change.
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
    /// Installed tools.
    Tools,
}

impl Resource {
    /// Returns whether all bases share the resource.
    fn is_shared(self) -> bool {
        matches!(self, Resource::Base | Resource::Tools)
    }

    fn name(self) -> &'static str {
        match self {
            Resource::Base => "base",
            Resource::Refs => "refs",
            Resource::Tree => "tree",
            Resource::Full => "full",
            Resource::Tools => "tools",
        }
    }
}

/// Held while a [`Resource`] is ours; given back when dropped, or when the process dies.
///
/// Children inherit it, so that a build that outlives a killed run still keeps others out.
#[derive(Debug)]
#[must_use = "the resource is free again when this is dropped"]
pub struct Lock {
    file: File,
    after_death: bool,
}

impl Lock {
    /// Whether the run that held it before died with it. Its children are gone too: they held it
    /// as well. So what it left locked in a git repository is nobody's.
    pub fn after_death(&self) -> bool {
        self.after_death
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // An empty file says that its last holder gave it back.
        let _ = self.file.set_len(0);
        // A daemon that a child started may hold it as well, and would for ever.
        let _ = self.file.unlock();
    }
}

impl Cache {
    /// The folder of `NOVA_SERIES_CACHE`, else `$XDG_CACHE_HOME/nova-series`.
    ///
    /// # Errors
    ///
    /// None can be named, or it cannot be made.
    pub fn open(var: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let set = |name| var(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let dir = set("NOVA_SERIES_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|d| d.join("nova-series")))
            .or_else(|| set("HOME").map(|d| d.join(".cache/nova-series")))
            .ok_or_else(|| {
                Error::new("no folder for the cache: HOME is not set").help(format!(
                    "set NOVA_SERIES_CACHE to a folder with {SIZE} of space"
                ))
            })?;
        Self::at(dir)
    }

    /// The cache in this folder, made if need be.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn at(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = std::path::absolute(dir.into())
            .map_err(|e| Error::new(format!("the cache folder has no absolute path: {e}")))?;
        for sub in ["tmp", "archives", "tools", "lock", "build"] {
            let sub = dir.join(sub);
            fs::create_dir_all(&sub)
                .map_err(|e| elsewhere(Error::io("make the folder", &sub, &e)))?;
        }
        Ok(Self {
            dir,
            of_base: PathBuf::new(),
        })
    }

    /// Returns the cache for a base other than the default base. Kernel repository, build folders
    /// and their locks are separate, the rest is shared.
    ///
    /// # Errors
    ///
    /// Its folder cannot be made.
    pub fn on(&self, base: &str) -> Result<Self> {
        let of_base = Path::new("on").join(base);
        let locks = self.dir.join(&of_base).join("lock");
        fs::create_dir_all(&locks)
            .map_err(|e| elsewhere(Error::io("make the folder", &locks, &e)))?;
        Ok(Self {
            dir: self.dir.clone(),
            of_base,
        })
    }

    /// Returns a path in the folder of the base.
    pub fn of_base(&self, below: impl AsRef<Path>) -> PathBuf {
        self.dir.join(&self.of_base).join(below)
    }

    /// A path in the cache.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.dir.join(below)
    }

    /// The kernel repository, its files checked out for building.
    pub fn kernel(&self) -> PathBuf {
        self.of_base("kernel")
    }

    /// Returns the kernel repositories of all bases.
    pub fn kernels(&self) -> Vec<PathBuf> {
        let others = fs::read_dir(self.path("on"))
            .into_iter()
            .flatten()
            .flatten();
        let others = others.map(|entry| entry.path().join("kernel"));
        [self.path("kernel")].into_iter().chain(others).collect()
    }

    /// The build folder of an architecture.
    pub fn build(&self, arch: &str) -> PathBuf {
        self.of_base("build").join(arch)
    }

    /// Waits until `resource` is ours.
    ///
    /// # Errors
    ///
    /// The lock file cannot be made.
    pub fn lock(&self, resource: Resource, ui: &Ui) -> Result<Lock> {
        let path = match resource.is_shared() {
            true => self.path("lock").join(resource.name()),
            false => self.of_base("lock").join(resource.name()),
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| elsewhere(Error::io("open", &path, &e)))?;
        if file.try_lock().is_err() {
            let holder = holder(&mut file);
            let who = match holder.as_str() {
                "" => String::new(),
                id => format!(" (process {id})"),
            };
            ui.say(format!(
                "waiting: another run{who} holds the {} lock in {}{}",
                resource.name(),
                self.dir.display(),
                since(&file)
            ));
            let start = Instant::now();
            file.lock().map_err(|e| Error::io("lock", &path, &e))?;
            ui.say(format!("waited {}", duration(start.elapsed())));
        }
        // The lock itself is the kernel's; the content only tells who holds it, or died with it.
        let after_death = !holder(&mut file).is_empty();
        let id = std::process::id().to_string();
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(id.as_bytes()))
            .map_err(|e| Error::io("write", &path, &e))?;
        inherit(&file).map_err(|e| Error::io("share", &path, &e))?;
        Ok(Lock { file, after_death })
    }

    /// A new folder under `tmp/`, to be renamed into place.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn scratch(&self) -> Result<tempfile::TempDir> {
        let tmp = self.path("tmp");
        tempfile::Builder::new()
            .prefix(&format!("{}-", std::process::id()))
            .tempdir_in(&tmp)
            .map_err(|e| elsewhere(Error::io("make a folder in", &tmp, &e)))
    }

    /// Removes what killed runs left under `tmp/`.
    pub fn sweep(&self) {
        let Ok(entries) = fs::read_dir(self.path("tmp")) else {
            return;
        };
        for entry in entries.flatten() {
            let alive = entry
                .file_name()
                .to_str()
                .is_some_and(crate::source::workspace::owner_lives);
            if !alive {
                // Another run may be sweeping as well.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Checks that `bytes` fit on the file system of the cache.
    ///
    /// # Errors
    ///
    /// They do not; the message says how much there is.
    pub fn need_space(&self, bytes: u64, what: &str) -> Result<()> {
        let Ok(stat) = rustix::fs::statvfs(&self.dir) else {
            // The file system does not tell; a write that fails is reported then.
            return Ok(());
        };
        let free = stat.f_bavail * stat.f_frsize;
        if free >= bytes {
            return Ok(());
        }
        let mib = |n: u64| n >> 20;
        Err(Error::new(format!(
            "{what} needs about {} MiB in {}, and {} MiB are free",
            mib(bytes),
            self.dir.display(),
            mib(free)
        ))
        .help("free some space, or set NOVA_SERIES_CACHE to a folder elsewhere"))
    }
}

/// Adds the help for a cache folder that cannot be written.
fn elsewhere(error: Error) -> Error {
    error.help(format!(
        "set NOVA_SERIES_CACHE to a folder that can be written, with {SIZE} of space"
    ))
}

/// Returns how long a lock has been held. Its holder wrote the file on taking the lock.
fn since(file: &File) -> String {
    let written = file.metadata().and_then(|m| m.modified()).ok();
    match written.and_then(|at| at.elapsed().ok()) {
        Some(time) => format!(", for {} now", duration(time)),
        None => String::new(),
    }
}

/// What the file of a lock says.
fn holder(file: &mut File) -> String {
    let mut holder = String::new();
    // Unreadable is as good as empty: it is only a hint.
    let _ = file
        .rewind()
        .and_then(|()| file.read_to_string(&mut holder));
    holder.trim().to_owned()
}

fn inherit(file: &File) -> std::io::Result<()> {
    let flags = rustix::io::fcntl_getfd(file)? - rustix::io::FdFlags::CLOEXEC;
    Ok(rustix::io::fcntl_setfd(file, flags)?)
}

#[cfg(test)]
mod tests {
    use std::time::{
        Duration,
        SystemTime, //
    };

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
    fn the_folder_is_taken_from_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_str().unwrap();
        let own = format!("{at}/own");
        let cache = Cache::open(&vars(&[("NOVA_SERIES_CACHE", &own), ("HOME", at)])).unwrap();
        assert_eq!(cache.kernel(), dir.path().join("own/kernel"));
        let cache = Cache::open(&vars(&[("NOVA_SERIES_CACHE", ""), ("HOME", at)])).unwrap();
        assert_eq!(cache.kernel(), dir.path().join(".cache/nova-series/kernel"));
        assert!(Cache::open(&vars(&[])).is_err());
    }

    #[test]
    fn a_lock_keeps_others_out_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let lock = cache.lock(Resource::Tree, &Ui::silent()).unwrap();
        let other = File::open(dir.path().join("lock/tree")).unwrap();
        assert!(other.try_lock().is_err());
        drop(lock);
        other.try_lock().unwrap();
    }

    #[test]
    fn a_holder_that_died_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let lock = || cache.lock(Resource::Refs, &Ui::silent()).unwrap();
        assert!(!lock().after_death());
        assert!(!lock().after_death(), "it was given back");
        fs::write(dir.path().join("lock/refs"), "4194999").unwrap();
        assert!(lock().after_death());
        assert!(!lock().after_death());
    }

    #[test]
    fn lock_held_shows_duration() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let _lock = cache.lock(Resource::Tree, &Ui::silent()).unwrap();
        let file = File::options()
            .write(true)
            .open(dir.path().join("lock/tree"))
            .unwrap();
        let then = SystemTime::now() - Duration::from_secs(125);
        file.set_modified(then).unwrap();
        assert_eq!(since(&file), ", for 2 min 05 s now");
    }

    #[test]
    fn only_leftovers_of_the_dead_are_swept() {
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
    fn too_little_space_is_said_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        cache.need_space(1, "the test").unwrap();
        let error = cache
            .need_space(u64::MAX, "the test")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("the test needs about") && error.contains("NOVA_SERIES_CACHE"),
            "{error}"
        );
    }
}
