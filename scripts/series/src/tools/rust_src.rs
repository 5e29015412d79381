// SPDX-License-Identifier: GPL-2.0

//! The source of Rust's standard library, which the kernel compiles for itself. It has to be that
//! of the very compiler in use.

use std::{
    fs::{
        self,
        File, //
    },
    path::{
        Path,
        PathBuf, //
    },
    time::Duration,
};

use liblzma::read::XzDecoder;

use crate::{
    apt,
    base::Sources,
    cache::Cache,
    error::{
        Error,
        Result, //
    },
    runner::{
        Cmd,
        Runner,
        must, //
    },
    ui::Ui,
};

/// The file by which a `library` folder is known.
const MARK: &str = "core/src/lib.rs";

/// What else the kernel's build reads of it. Archives made with an eye on size leave folders out,
/// and the compiler's complaint about that comes late and is hard to read.
const PARTS: &[&str] = &[
    MARK,
    "core/src/alloc/mod.rs",
    "portable-simd/crates/core_simd/src/vendor/x86.rs",
    "portable-simd/crates/core_simd/src/vendor/arm.rs",
    "stdarch/crates/core_arch/src/mod.rs",
    "backtrace/src/lib.rs",
];

/// The first part that a `library` folder lacks.
fn lacking(library: &Path) -> Option<&'static str> {
    PARTS
        .iter()
        .copied()
        .find(|part| !library.join(part).is_file())
}

/// The suite with current compilers for the stable distribution.
const SUITE: &str = "trixie-backports";

/// The compiler's version, "1.95.0".
pub fn compiler(runner: &dyn Runner) -> Option<String> {
    let out = runner.run(&Cmd::new("rustc").arg("--version")).ok()?;
    out.ok().then(|| super::version_in(&out.text()))
}

fn own(cache: &Cache, version: &str) -> PathBuf {
    cache.path("tools").join(format!("rust-src-{version}"))
}

/// The `library` folder, where it is already.
pub fn find(runner: &dyn Runner, cache: &Cache) -> Option<PathBuf> {
    let version = compiler(runner)?;
    let out = runner
        .run(&Cmd::new("rustc").args(["--print", "sysroot"]))
        .ok()?;
    let shipped = PathBuf::from(out.text()).join("lib/rustlib/src/rust/library");
    [shipped, own(cache, &version).join("library")]
        .into_iter()
        .find(|dir| lacking(dir).is_none())
}

/// Gets it on the first route that works.
///
/// # Errors
///
/// None did; each is listed with its reason.
pub fn install(runner: &dyn Runner, cache: &Cache, sources: &Sources, ui: &Ui) -> Result<()> {
    let version = compiler(runner).ok_or_else(|| {
        Error::new("rustc is not installed").help("install Rust with rustup or the distribution")
    })?;
    let place = Place {
        runner,
        cache,
        sources,
        version: &version,
        ui,
    };
    type Route = fn(&Place<'_>) -> Result<()>;
    let routes: [(&str, Route); 3] = [
        ("mirror", |p| p.mirror()),
        ("rustup", |p| p.rustup()),
        ("distribution", |p| p.package()),
    ];
    let mut tried = Vec::new();
    for (name, follow) in routes {
        match follow(&place) {
            Ok(()) => return Ok(()),
            Err(e) => {
                ui.say(format!("rust-src: {name}: {e}"));
                tried.push(format!("{name}: {e}"));
            }
        }
    }
    Err(Error::new(format!("there is no way to rust-src {version}"))
        .detail(tried.join("\n"))
        .help(format!(
            "put rust-src-{version}.tar.xz into a folder and name it in NOVA_SERIES_MIRROR,\n\
                 or run `rustup component add rust-src`"
        )))
}

struct Place<'a> {
    runner: &'a dyn Runner,
    cache: &'a Cache,
    sources: &'a Sources,
    version: &'a str,
    ui: &'a Ui,
}

impl Place<'_> {
    fn mirror(&self) -> Result<()> {
        let name = format!("rust-src-{}.tar.xz", self.version);
        let path = match &self.sources.mirror {
            Some(mirror) => mirror.join(&name),
            None => return Err(Error::new("NOVA_SERIES_MIRROR is not set")),
        };
        let file = File::open(&path).map_err(|e| Error::io("open", &path, &e))?;
        let scratch = self.cache.scratch()?;
        tar::Archive::new(XzDecoder::new(file))
            .unpack(scratch.path())
            .map_err(|e| Error::io("unpack", &path, &e))?;
        self.keep(scratch.path(), &path)
    }

    fn rustup(&self) -> Result<()> {
        self.ui.say("rustup component add rust-src …");
        let cmd = Cmd::new("rustup")
            .args(["component", "add", "rust-src"])
            .timeout(Duration::from_secs(120));
        must(self.runner, &cmd)?;
        // It may have been added to another compiler than the one in use.
        find(self.runner, self.cache)
            .map(drop)
            .ok_or_else(|| Error::new("rustup added it, but not to the rustc in use"))
    }

    fn package(&self) -> Result<()> {
        self.ui.say(format!(
            "asking the distribution for rust-src {} …",
            self.version
        ));
        let scratch = self.cache.scratch()?;
        let suite = apt::Suite::open(self.runner, scratch.path(), SUITE)?;
        let deb = suite.deb("rust-src", self.version)?;
        let unpacked = scratch.path().join("unpacked");
        let cmd = Cmd::new("dpkg-deb")
            .arg("--extract")
            .arg(&deb)
            .arg(&unpacked);
        must(self.runner, &cmd)?;
        let sources = unpacked.join(format!("usr/src/rustc-{}", self.version));
        self.keep(&sources, &deb)
    }

    /// Moves the `library` folder, wherever it lies below `from`, into the cache.
    fn keep(&self, from: &Path, what: &Path) -> Result<()> {
        let library = library_below(from, 6).ok_or_else(|| {
            Error::new(format!("there is no library/{MARK} in {}", what.display()))
        })?;
        if let Some(part) = lacking(&library) {
            return Err(Error::new(format!(
                "{} is incomplete: it has no library/{part}",
                what.display()
            )));
        }
        let home = own(self.cache, self.version);
        let made = self.cache.scratch()?;
        let to = made.path().join("library");
        fs::rename(&library, &to).map_err(|e| Error::io("move", &library, &e))?;
        // What was half there before was made by nobody that is still alive: the lock is ours.
        let _ = fs::remove_dir_all(&home);
        fs::rename(made.path(), &home).map_err(|e| Error::io("keep", &home, &e))?;
        Ok(())
    }
}

fn library_below(dir: &Path, depth: usize) -> Option<PathBuf> {
    let here = dir.join("library");
    if here.join(MARK).is_file() {
        return Some(here);
    }
    if depth == 0 {
        return None;
    }
    let entries = fs::read_dir(dir).ok()?.flatten();
    entries
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .find_map(|e| library_below(&e.path(), depth - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incomplete_library_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(lacking(dir.path()), Some(MARK));
        for part in PARTS {
            let path = dir.path().join(part);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        assert_eq!(lacking(dir.path()), None);
        fs::remove_file(dir.path().join(PARTS[2])).unwrap();
        assert_eq!(lacking(dir.path()), Some(PARTS[2]));
    }

    #[test]
    fn the_library_is_found_in_either_layout() {
        for layout in [
            "library",
            "rust-src-1.95.0/rust-src/lib/rustlib/src/rust/library",
        ] {
            let dir = tempfile::tempdir().unwrap();
            let library = dir.path().join(layout);
            fs::create_dir_all(library.join("core/src")).unwrap();
            fs::write(library.join(MARK), "").unwrap();
            assert_eq!(library_below(dir.path(), 6), Some(library));
        }
        assert_eq!(library_below(tempfile::tempdir().unwrap().path(), 6), None);
    }
}
