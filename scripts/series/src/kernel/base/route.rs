// SPDX-License-Identifier: GPL-2.0

//! The routes to an archive of the base, in the order of attempts.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use super::{Sources, import::Importer};
use crate::{
    source::manifest::{AptSource, Archive, Base},
    sys::{Cmd, Error, Result, apt, hash::sha256_of, must, ui::Unit},
};

enum Route<'a> {
    /// A file, and the kind of its folder.
    Folder(PathBuf, &'static str),
    Download(&'a str),
    Apt(&'a AptSource),
}

impl Route<'_> {
    fn name(&self) -> String {
        match self {
            Route::Folder(path, kind) => format!("{kind} {}", path.display()),
            Route::Download(url) => format!("download {url}"),
            Route::Apt(apt) => match apt.package() {
                (source, true) => format!("source package {source} of {}", apt.suite),
                (package, false) => format!("package {package} of {}", apt.suite),
            },
        }
    }
}

impl Importer<'_> {
    /// Returns a verified archive. If no route works, the error lists each with its reason.
    pub fn archive<'b>(&self, base: &'b Base, sources: &Sources) -> Result<(PathBuf, &'b Archive)> {
        let mut tried = Vec::new();
        for (archive, route) in self.routes(base, sources) {
            let name = route.name();
            match self.follow(archive, &route) {
                Ok(Some(path)) => {
                    self.ui.say(format!("base: {name}"));
                    return Ok((path, archive));
                }
                Ok(None) => tried.push(format!("{name}: not found")),
                Err(e) => {
                    // Report a wrong archive in a mirror even if a later route works.
                    let failure = format!("{name}: {}", one_line(&e));
                    self.ui.say(format!("base: {failure}"));
                    tried.push(failure);
                }
            }
        }
        let files: Vec<_> = base.archives.iter().map(|a| a.file.as_str()).collect();
        let (files, release) = (files.join(" or "), base.release());
        Err(Error::new(format!("no source for Linux {release} worked"))
            .detail(tried.join("\n"))
            .help(format!(
                "put {files} into a folder and name it in SERIES_MIRROR,\n\
                 or name a kernel git tree that has the tag {release} with --kernel DIR"
            )))
    }

    fn routes<'b>(&self, base: &'b Base, sources: &Sources) -> Vec<(&'b Archive, Route<'b>)> {
        let archives = || base.archives.iter();
        let mirrors = sources.mirror.iter().map(|m| (m.clone(), "mirror"));
        let mut routes = Vec::new();
        for (folder, kind) in mirrors.chain([(self.cache.path("archives"), "cache")]) {
            routes.extend(archives().map(|a| (a, Route::Folder(folder.join(&a.file), kind))));
        }
        routes.extend(archives().filter_map(|a| Some((a, Route::Download(a.url.as_deref()?)))));
        routes.extend(archives().filter_map(|a| Some((a, Route::Apt(a.apt.as_ref()?)))));
        routes
    }

    /// Follows a route; returns `None` if it does not have the archive.
    fn follow(&self, archive: &Archive, route: &Route<'_>) -> Result<Option<PathBuf>> {
        match route {
            Route::Folder(path, _) if !path.is_file() => return Ok(None),
            Route::Folder(path, _) => self.verify(path, archive).map(|()| path.clone()),
            Route::Download(url) => self.keep(archive, |dir| self.download(url, dir, archive)),
            Route::Apt(apt) => self.keep(archive, |dir| self.ask_apt(apt, dir, &archive.file)),
        }
        .map(Some)
    }

    /// Moves the archive that `get` fetches into a scratch folder to the cache.
    fn keep(
        &self,
        archive: &Archive,
        get: impl FnOnce(&Path) -> Result<PathBuf>,
    ) -> Result<PathBuf> {
        let scratch = self.cache.scratch()?;
        let space = archive.size.unwrap_or(0);
        self.cache.need_space(space, "the archive")?;
        let part = get(scratch.path())?;
        self.verify(&part, archive)?;
        let path = self.cache.path("archives").join(&archive.file);
        fs::rename(part, &path).map_err(|e| Error::io("keep", &path, &e))?;
        Ok(path)
    }

    /// Verifies a file against the size and the hash in the manifest.
    fn verify(&self, path: &Path, archive: &Archive) -> Result<()> {
        let meta = fs::metadata(path).map_err(|e| Error::io("read", path, &e))?;
        let size = meta.len();
        if let Some(expected) = archive.size
            && size < expected
        {
            let path = path.display();
            return Err(Error::new(format!(
                "{path} is truncated: {size} of {expected} bytes"
            )));
        }
        let what = format!("checking {}", archive.file);
        let mut progress = self.ui.progress(&what, size, Unit::Bytes);
        let found = sha256(path, |n| progress.add(n as u64))?;
        progress.done();
        if found == archive.sha256 {
            return Ok(());
        }
        let (path, file) = (path.display(), &archive.file);
        Err(Error::new(format!("checksum mismatch for {file}: {path}"))
            .detail(format!("sha256 expected {}", archive.sha256))
            .detail(format!("sha256 found    {found}")))
    }

    /// Fetches a file in a source package, or in `/usr/src` of a binary package.
    fn ask_apt(&self, source: &AptSource, scratch: &Path, file: &str) -> Result<PathBuf> {
        let (package, is_source) = source.package();
        self.ui.say(format!("downloading {package} with apt …"));
        let suite = apt::Suite::open(self.git.runner(), scratch, &source.suite)?;
        if is_source {
            return suite.source(package, file);
        }
        let (name, version) = package.split_once('=').unwrap_or((package, ""));
        let deb = suite.deb(name, version)?;
        let into = scratch.join("unpacked");
        let unpack = Cmd::new("dpkg-deb").arg("-x").arg(&deb).arg(&into);
        must(self.git.runner(), &unpack)?;
        let path = into.join("usr/src").join(file);
        if path.is_file() {
            return Ok(path);
        }
        Err(Error::new(format!("{package} does not install {file}")))
    }

    /// Downloads with curl, which uses the machine's proxies and certificates. A short timeout
    /// covers unreachable hosts.
    fn download(&self, url: &str, scratch: &Path, archive: &Archive) -> Result<PathBuf> {
        let to = scratch.join(&archive.file);
        let cmd = Cmd::new("curl")
            .args(["--fail", "--location", "--silent", "--show-error"])
            .args(["--proto", "=https", "--connect-timeout", "10"])
            .args(["--speed-limit", "20000", "--speed-time", "20"])
            .arg("--output")
            .arg(&to)
            .arg(url)
            .timeout(Duration::from_secs(3600));
        let (what, size) = (format!("downloading {}", archive.file), archive.size);
        let mut progress = self.ui.progress(&what, size.unwrap_or(0), Unit::Bytes);
        thread::scope(|scope| {
            let (stop, stopped) = channel::<()>();
            let part = &to;
            scope.spawn(move || {
                let pause = Duration::from_millis(200);
                while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                    progress.set(fs::metadata(part).map_or(0, |m| m.len()), "");
                }
            });
            let result = must(self.git.runner(), &cmd);
            drop(stop);
            result
        })?;
        Ok(to)
    }
}

/// Returns the SHA-256 of a file. `read` is called with the number of bytes of each step.
pub fn sha256(path: &Path, read: impl FnMut(usize)) -> Result<String> {
    let mut file = File::open(path).map_err(|e| Error::io("open", path, &e))?;
    sha256_of(&mut file, read).map_err(|e| Error::io("read", path, &e))
}

fn one_line(error: &Error) -> String {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim);
    let first = lines.next().unwrap_or("").to_owned();
    // The last line of a program's output is the reason.
    match lines.rfind(|l| !l.is_empty() && !l.starts_with("help:")) {
        Some(last) => format!("{first} ({last})"),
        None => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        git::Git,
        sys::{Output, Runner, cache::Cache, runner::tests::Fake, ui::Ui},
    };

    /// A curl without a network.
    fn fails(_: &Cmd) -> std::io::Result<Output> {
        Ok(Output {
            code: Some(7),
            stderr: b"curl: (7) Failed to connect".to_vec(),
            ..Output::default()
        })
    }

    // The hash of the five bytes "base
    // ".
    const SHA: &str = "f34848ca92665c342abd5816c9e3eda0e82180671195362bcd0080544a3bc2ac";

    fn manifest(sha: &str) -> Base {
        let text = format!(
            "version = \"6.19.11\"\ntrees = []\n[host]\npaths = []\n\
             [[archive]]\nfile = \"linux.tar.xz\"\nsize = 5\nsha256 = \"{sha}\"\n\
             url = \"https://example.invalid/linux.tar.xz\"\n\
             apt = {{ suite = \"s\", source = \"linux=1\" }}\n"
        );
        Base::parse(Path::new("series/base.toml"), &text).unwrap()
    }

    struct Place {
        dir: tempfile::TempDir,
        cache: Cache,
        sources: Sources,
    }

    fn place(mirrored: Option<&[u8]>) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache")).unwrap();
        let mirror = dir.path().join("mirror");
        fs::create_dir(&mirror).unwrap();
        if let Some(bytes) = mirrored {
            fs::write(mirror.join("linux.tar.xz"), bytes).unwrap();
        }
        let sources = Sources {
            kernel: None,
            mirror: vec![mirror],
        };
        Place {
            dir,
            cache,
            sources,
        }
    }

    fn try_it(place: &Place, fake: &dyn Runner) -> Result<PathBuf> {
        let base = manifest(SHA);
        let import = Importer {
            git: &Git::new(fake, place.dir.path()),
            cache: &place.cache,
            ui: &Ui::detect(true),
        };
        let found = import.archive(&base, &place.sources);
        found.map(|(path, _)| path)
    }

    #[test]
    fn archive_prefers_mirror_to_network() {
        let place = place(Some(b"base\n"));
        let fake = Fake::new(fails);
        let found = try_it(&place, &fake).unwrap();
        assert_eq!(found, place.dir.path().join("mirror/linux.tar.xz"));
        assert!(fake.lines.lock().unwrap().is_empty());
    }

    #[test]
    fn archive_prefers_cache_to_network() {
        let place = place(None);
        let cached = place.cache.path("archives/linux.tar.xz");
        fs::write(&cached, b"base\n").unwrap();
        assert_eq!(try_it(&place, &Fake::new(fails)).unwrap(), cached);
    }

    #[test]
    fn archive_wrong_hash_lists_routes() {
        let place = place(Some(b"evil\n"));
        let fake = Fake::new(fails);
        let text = try_it(&place, &fake).unwrap_err().to_string();
        let text = text.replace(place.dir.path().to_str().unwrap(), "DIR");
        assert!(
            text.starts_with("no source for Linux v6.19.11 worked\n"),
            "{text}"
        );
        for part in [
            "mirror DIR/mirror/linux.tar.xz: checksum mismatch for linux.tar.xz",
            "sha256 found    886b67480dbe73b406ad83a1dd6d9596f93089d90c220ccfc91944c95f1c68c4",
            "cache DIR/cache/archives/linux.tar.xz: not found",
            "download https://example.invalid/linux.tar.xz: ",
            "(curl: (7) Failed to connect)",
            "source package linux=1 of s: ",
            "help: put linux.tar.xz into a folder and name it in SERIES_MIRROR",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
        assert!(!place.cache.path("archives/linux.tar.xz").exists());
        let lines = fake.lines.lock().unwrap();
        assert!(lines[0].starts_with("curl --fail"), "{lines:?}");
        assert!(lines[1].starts_with("apt-get indextargets"), "{lines:?}");
    }

    #[test]
    fn verify_truncated_archive() {
        let place = place(Some(b"bas"));
        let text = try_it(&place, &Fake::new(fails)).unwrap_err().to_string();
        assert!(text.contains("is truncated: 3 of 5 bytes"), "{text}");
        assert!(!place.cache.path("archives/linux.tar.xz").exists());
    }
}
