// SPDX-License-Identifier: GPL-2.0

//! The routes to an archive of the base, in the order of attempts.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use super::Sources;
use crate::{
    source::manifest::{Archive, Base},
    sys::{
        apt,
        cache::Cache,
        error::{Error, Result},
        hash::sha256_of,
        runner::{Cmd, Runner, must},
        ui::{Ui, Unit},
    },
};

/// Verifies a file against the hash in the manifest.
///
/// # Errors
///
/// The file is unreadable or truncated, or the hash differs.
pub fn verify(path: &Path, archive: &Archive, ui: &Ui) -> Result<()> {
    let mut file = File::open(path).map_err(|e| Error::io("open", path, &e))?;
    let size = file
        .metadata()
        .map_err(|e| Error::io("read", path, &e))?
        .len();
    if let Some(expected) = archive.size
        && size < expected
    {
        return Err(Error::new(format!(
            "{} is truncated: {size} of {expected} bytes",
            path.display()
        )));
    }
    let mut progress = ui.progress(&format!("checking {}", archive.file), size, Unit::Bytes);
    let found = sha256_of(&mut file, |n| progress.add(n as u64))
        .map_err(|e| Error::io("read", path, &e))?;
    progress.done();
    if found == archive.sha256 {
        return Ok(());
    }
    Err(Error::new(format!(
        "checksum mismatch for {1}: {0}",
        path.display(),
        archive.file
    ))
    .detail(format!("sha256 expected {}", archive.sha256))
    .detail(format!("sha256 found    {found}")))
}

/// Returns an archive of the base whose hash was verified.
///
/// # Errors
///
/// No route works; the error lists each with its reason.
pub fn archive<'a>(
    runner: &dyn Runner,
    cache: &Cache,
    base: &'a Base,
    sources: &Sources,
    ui: &Ui,
) -> Result<(PathBuf, &'a Archive)> {
    let mut tried = Vec::new();
    for route in routes(cache, base, sources) {
        let name = route.name();
        match route.follow(runner, cache, ui) {
            Ok(Some(path)) => {
                ui.say(format!("base: {name}"));
                return Ok((path, route.archive()));
            }
            Ok(None) => tried.push(format!("{name}: not found")),
            Err(e) => {
                // Report a wrong archive in a mirror even if a later route works.
                ui.say(format!("base: {name}: {}", one_line(&e)));
                tried.push(format!("{name}: {}", one_line(&e)));
            }
        }
    }
    let files: Vec<_> = base.archives.iter().map(|a| a.file.as_str()).collect();
    Err(
        Error::new(format!("no source for Linux {} worked", base.release()))
            .detail(tried.join("\n"))
            .help(format!(
                "put {} into a folder and name it in SERIES_MIRROR,\n\
                 or name a kernel git tree that has the tag {} with --kernel DIR",
                files.join(" or "),
                base.release()
            )),
    )
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

enum Route<'a> {
    Folder(PathBuf, &'a Archive, &'static str),
    Download(&'a str, &'a Archive),
    Apt(&'a crate::source::manifest::AptSource, &'a Archive),
}

fn routes<'a>(cache: &Cache, base: &'a Base, sources: &Sources) -> Vec<Route<'a>> {
    let mut routes = Vec::new();
    let mirror = sources.mirror.iter().map(|m| (m.clone(), "mirror"));
    for (folder, kind) in mirror.chain([(cache.path("archives"), "cache")]) {
        for archive in &base.archives {
            routes.push(Route::Folder(folder.join(&archive.file), archive, kind));
        }
    }
    let url = |a: &'a Archive| Some(Route::Download(a.url.as_deref()?, a));
    routes.extend(base.archives.iter().filter_map(url));
    let apt = |a: &'a Archive| Some(Route::Apt(a.apt.as_ref()?, a));
    routes.extend(base.archives.iter().filter_map(apt));
    routes
}

impl<'a> Route<'a> {
    fn archive(&self) -> &'a Archive {
        match self {
            Route::Folder(_, archive, _) | Route::Download(_, archive) | Route::Apt(_, archive) => {
                archive
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Route::Folder(path, _, kind) => format!("{kind} {}", path.display()),
            Route::Download(url, _) => format!("download {url}"),
            Route::Apt(apt, _) => match apt.package() {
                (source, true) => format!("source package {source} of {}", apt.suite),
                (package, false) => format!("package {package} of {}", apt.suite),
            },
        }
    }

    /// Follows the route; returns `None` if it does not have the archive.
    fn follow(&self, runner: &dyn Runner, cache: &Cache, ui: &Ui) -> Result<Option<PathBuf>> {
        match self {
            Route::Folder(path, archive, _) => {
                if !path.is_file() {
                    return Ok(None);
                }
                verify(path, archive, ui)?;
                Ok(Some(path.clone()))
            }
            Route::Download(url, archive) => {
                let scratch = cache.scratch()?;
                let part = scratch.path().join(&archive.file);
                cache.need_space(archive.size.unwrap_or(0), "the archive")?;
                download(runner, url, &part, archive, ui)?;
                keep(&part, cache, archive, ui).map(Some)
            }
            Route::Apt(source, archive) => {
                let scratch = cache.scratch()?;
                cache.need_space(archive.size.unwrap_or(0), "the archive")?;
                let (package, is_source) = source.package();
                ui.say(format!("downloading {package} with apt …"));
                let suite = apt::Suite::open(runner, scratch.path(), &source.suite)?;
                let part = match is_source {
                    true => suite.source(package, &archive.file)?,
                    false => installed(runner, &suite, scratch.path(), package, &archive.file)?,
                };
                keep(&part, cache, archive, ui).map(Some)
            }
        }
    }
}

/// Extracts a file in `/usr/src` from a binary package.
fn installed(
    runner: &dyn Runner,
    suite: &apt::Suite<'_>,
    scratch: &Path,
    package: &str,
    file: &str,
) -> Result<PathBuf> {
    let (name, version) = package.split_once('=').unwrap_or((package, ""));
    let deb = suite.deb(name, version)?;
    let into = scratch.join("unpacked");
    must(runner, &Cmd::new("dpkg-deb").arg("-x").arg(&deb).arg(&into))?;
    let path = into.join("usr/src").join(file);
    match path.is_file() {
        true => Ok(path),
        false => Err(Error::new(format!("{package} does not install {file}"))),
    }
}

/// Moves a verified archive into the cache.
fn keep(part: &Path, cache: &Cache, archive: &Archive, ui: &Ui) -> Result<PathBuf> {
    verify(part, archive, ui)?;
    let path = cache.path("archives").join(&archive.file);
    fs::rename(part, &path).map_err(|e| Error::io("keep", &path, &e))?;
    Ok(path)
}

/// Downloads with curl, which uses the machine's proxies and certificates. A short timeout covers
/// unreachable hosts.
fn download(runner: &dyn Runner, url: &str, to: &Path, archive: &Archive, ui: &Ui) -> Result<()> {
    let cmd = Cmd::new("curl")
        .args(["--fail", "--location", "--silent", "--show-error"])
        .args(["--proto", "=https", "--connect-timeout", "10"])
        .args(["--speed-limit", "20000", "--speed-time", "20"])
        .arg("--output")
        .arg(to)
        .arg(url)
        .timeout(Duration::from_secs(3600));
    let size = archive.size.unwrap_or(0);
    let progress = ui.progress(&format!("downloading {}", archive.file), size, Unit::Bytes);
    let watched = to.to_owned();
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            let mut progress = progress;
            while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) =
                stopped.recv_timeout(Duration::from_millis(200))
            {
                progress.set(fs::metadata(&watched).map_or(0, |m| m.len()), "");
            }
        });
        let result = must(runner, &cmd);
        drop(stop);
        result
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::runner::Output;
    use std::{io, sync::Mutex};

    /// Records the command lines, and runs no program.
    #[derive(Default)]
    struct Fake {
        lines: Mutex<Vec<String>>,
    }

    impl Runner for Fake {
        fn run(&self, cmd: &Cmd) -> io::Result<Output> {
            self.lines.lock().unwrap().push(cmd.line());
            Ok(Output {
                code: Some(7),
                stderr: b"curl: (7) Failed to connect".to_vec(),
                ..Output::default()
            })
        }
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

    fn try_it(place: &Place, fake: &Fake) -> Result<PathBuf> {
        let base = manifest(SHA);
        let found = archive(fake, &place.cache, &base, &place.sources, &Ui::silent());
        found.map(|(path, _)| path)
    }

    #[test]
    fn archive_prefers_mirror_to_network() {
        let place = place(Some(b"base\n"));
        let fake = Fake::default();
        let found = try_it(&place, &fake).unwrap();
        assert_eq!(found, place.dir.path().join("mirror/linux.tar.xz"));
        assert!(fake.lines.lock().unwrap().is_empty());
    }

    #[test]
    fn archive_prefers_cache_to_network() {
        let place = place(None);
        let cached = place.cache.path("archives/linux.tar.xz");
        fs::write(&cached, b"base\n").unwrap();
        assert_eq!(try_it(&place, &Fake::default()).unwrap(), cached);
    }

    #[test]
    fn archive_wrong_hash_lists_routes() {
        let place = place(Some(b"evil\n"));
        let fake = Fake::default();
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
        let text = try_it(&place, &Fake::default()).unwrap_err().to_string();
        assert!(text.contains("is truncated: 3 of 5 bytes"), "{text}");
        assert!(!place.cache.path("archives/linux.tar.xz").exists());
    }
}
