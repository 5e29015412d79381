// SPDX-License-Identifier: GPL-2.0

//! The source of Rust's standard library, which the kernel compiles. Its version must match the
//! compiler exactly.
//!
//! A `library` folder enters the cache only if the hash of its content is known. rustup installs
//! the component into the toolchain, with the same verification as the compiler.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use liblzma::read::XzDecoder;
use sha2::{Digest, Sha256};

use crate::{
    kernel::base::Sources,
    sys::{
        apt,
        cache::Cache,
        error::{Error, Result},
        hash::{hex, sha256},
        runner::{Cmd, Runner, must},
        ui::Ui,
    },
};

/// A file that identifies a `library` folder.
const MARK: &str = "core/src/lib.rs";

/// Other parts that the kernel's build reads. Archives that were reduced in size lack some of them,
/// and the compiler's error comes late and does not name the cause.
const PARTS: &[&str] = &[
    MARK,
    "core/src/alloc/mod.rs",
    "portable-simd/crates/core_simd/src/vendor/x86.rs",
    "portable-simd/crates/core_simd/src/vendor/arm.rs",
    "stdarch/crates/core_arch/src/mod.rs",
    "backtrace/src/lib.rs",
];

/// Known digests of `library` folders, by the compiler's version; see [`digest`].
const KNOWN: &[(&str, &[&str])] = &[(
    "1.95.0",
    &[
        // rust-src as the Rust project publishes it.
        "eb62ba4f29b1cd1834af3d2f168b250de83818c65c8bde76a4d1e8e085220cc9",
        // Debian's 1.95.0+dfsg1-2~bpo13+1, which omits license texts.
        "2f078f8cb6360b7608a283e4f589564ae4cf7f61fec3f26fe0b2bd25c25d0489",
    ],
)];

/// Whether an archive was checked before it reached this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checked {
    /// By apt, against the signed lists of the distribution.
    BySignature,
    /// Not checked yet.
    No,
}

/// Compares a `library` folder with the known digests for the compiler's version.
fn verify(library: &Path, version: &str, what: &Path, checked: Checked) -> Result<()> {
    let Some((_, known)) = KNOWN.iter().find(|(of, _)| *of == version) else {
        return match checked {
            Checked::BySignature => Ok(()),
            Checked::No => Err(Error::new(format!(
                "no hash of rust-src {version} is known, so {} cannot be checked",
                what.display()
            ))
            .help("run `rustup component add rust-src`, which checks its downloads")),
        };
    };
    let found = digest(library)?;
    match known.contains(&found.as_str()) {
        true => Ok(()),
        false => Err(Error::new(format!(
            "checksum mismatch for {}: not rust-src {version}",
            what.display()
        ))
        .detail(format!(
            "sha256 expected {}\nsha256 found    {found}",
            known.join(" or ")
        ))),
    }
}

/// Returns one hash for all files of a folder, the output of
/// `find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum` in that folder.
///
/// Archives of the same content differ by packing, so the content is hashed.
fn digest(dir: &Path) -> Result<String> {
    let mut files = Vec::new();
    list(dir, ".", &mut files)?;
    files.sort();
    let mut all = Sha256::new();
    for name in files {
        let path = dir.join(&name);
        let content = fs::read(&path).map_err(|e| Error::io("read", &path, &e))?;
        let line = format!("{}  {name}\n", sha256(content));
        all.update(line);
    }
    Ok(hex(all.finalize()))
}

/// Lists the files below `dir/below`, with paths relative to `dir`.
fn list(dir: &Path, below: &str, files: &mut Vec<String>) -> Result<()> {
    let here = dir.join(below);
    let entries = fs::read_dir(&here).map_err(|e| Error::io("list", &here, &e))?;
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("list", &here, &e))?;
        let kind = entry.file_type();
        let kind = kind.map_err(|e| Error::io("read", entry.path(), &e))?;
        let name = format!("{below}/{}", entry.file_name().to_string_lossy());
        if kind.is_dir() {
            list(dir, &name, files)?;
        } else if kind.is_file() {
            files.push(name);
        } else {
            return Err(Error::new("is neither a file nor a folder").at(entry.path(), None));
        }
    }
    Ok(())
}

/// Returns the first part that a `library` folder lacks.
fn lacking(library: &Path) -> Option<&'static str> {
    PARTS
        .iter()
        .copied()
        .find(|part| !library.join(part).is_file())
}

/// The suite with current compilers for the stable distribution.
const SUITE: &str = "trixie-backports";

/// Returns the compiler's version, such as "1.95.0".
pub fn compiler(runner: &dyn Runner) -> Option<String> {
    let out = runner.run(&Cmd::new("rustc").arg("--version")).ok()?;
    out.ok().then(|| super::version_in(&out.text()))
}

fn own(cache: &Cache, version: &str) -> PathBuf {
    cache.path("tools").join(format!("rust-src-{version}"))
}

/// Returns an installed `library` folder.
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

/// Installs the source on the first route that works.
///
/// # Errors
///
/// No route works; the error lists each with its reason.
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
    Err(
        Error::new(format!("no source for rust-src {version} worked"))
            .detail(tried.join("\n"))
            .help(format!(
                "put rust-src-{version}.tar.xz into a folder and name it in SERIES_MIRROR,\n\
                 or run `rustup component add rust-src`"
            )),
    )
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
        let paths: Vec<_> = self.sources.mirror.iter().map(|m| m.join(&name)).collect();
        let found = paths.iter().find(|p| p.is_file()).or(paths.first());
        let path = found.ok_or_else(|| Error::new("SERIES_MIRROR is not set"))?;
        let file = File::open(path).map_err(|e| Error::io("open", path, &e))?;
        let scratch = self.cache.scratch()?;
        tar::Archive::new(XzDecoder::new(file))
            .unpack(scratch.path())
            .map_err(|e| Error::io("unpack", path, &e))?;
        self.keep(scratch.path(), path, Checked::No)
    }

    fn rustup(&self) -> Result<()> {
        self.ui.say("rustup component add rust-src …");
        let cmd = Cmd::new("rustup")
            .args(["component", "add", "rust-src"])
            .timeout(Duration::from_secs(120));
        must(self.runner, &cmd)?;
        // rustup may have added it to another compiler than the one in use.
        find(self.runner, self.cache)
            .map(drop)
            .ok_or_else(|| Error::new("rustup added it to another compiler than the rustc in use"))
    }

    fn package(&self) -> Result<()> {
        self.ui
            .say(format!("downloading rust-src {} with apt …", self.version));
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
        self.keep(&sources, &deb, Checked::BySignature)
    }

    /// Moves the `library` folder, at any depth below `from`, into the cache.
    fn keep(&self, from: &Path, what: &Path, checked: Checked) -> Result<()> {
        let library = library_below(from, 6)
            .ok_or_else(|| Error::new(format!("{} has no library/{MARK}", what.display())))?;
        if let Some(part) = lacking(&library) {
            return Err(Error::new(format!(
                "{} is incomplete: it has no library/{part}",
                what.display()
            )));
        }
        verify(&library, self.version, what, checked)?;
        let home = own(self.cache, self.version);
        let made = self.cache.scratch()?;
        let to = made.path().join("library");
        fs::rename(&library, &to).map_err(|e| Error::io("move", &library, &e))?;
        // An interrupted run left this folder; the lock shows that it has ended.
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
    fn keep_incomplete_library_is_refused() {
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

    /// Creates some files and returns the output of the command in [`digest`] for them.
    fn sample(dir: &Path) -> &'static str {
        for (path, text) in [("b/z", "1\n"), ("b.rs", "2\n"), ("a/b/c", "")] {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        "bbebb3f7a95dd93eedf8a9d2d5d89e291cf2c452fdebeed8a6d485182b0af2a7"
    }

    #[test]
    fn digest_matches_sha256sum() {
        let dir = tempfile::tempdir().unwrap();
        let expected = sample(dir.path());
        assert_eq!(digest(dir.path()).unwrap(), expected);
    }

    #[test]
    fn digest_depends_on_content_and_names() {
        let dir = tempfile::tempdir().unwrap();
        let expected = sample(dir.path());
        fs::write(dir.path().join("a/b/c"), "x").unwrap();
        assert_ne!(digest(dir.path()).unwrap(), expected);
        fs::write(dir.path().join("a/b/c"), "").unwrap();
        fs::rename(dir.path().join("b.rs"), dir.path().join("c.rs")).unwrap();
        assert_ne!(digest(dir.path()).unwrap(), expected);
    }

    #[test]
    fn digest_refuses_links() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join("link")).unwrap();
        let text = digest(dir.path()).unwrap_err().to_string();
        assert!(text.contains("is neither a file nor a folder"), "{text}");
    }

    #[test]
    fn verify_altered_library_fails() {
        let dir = tempfile::tempdir().unwrap();
        sample(dir.path());
        for checked in [Checked::No, Checked::BySignature] {
            let error = verify(dir.path(), "1.95.0", Path::new("FILE"), checked);
            let text = error.unwrap_err().to_string();
            assert!(
                text.starts_with("checksum mismatch for FILE: not rust-src 1.95.0"),
                "{text}"
            );
        }
    }

    #[test]
    fn verify_unknown_version_needs_signature() {
        let dir = tempfile::tempdir().unwrap();
        let what = Path::new("FILE");
        verify(dir.path(), "1.2.3", what, Checked::BySignature).unwrap();
        let error = verify(dir.path(), "1.2.3", what, Checked::No);
        insta::assert_snapshot!(error.unwrap_err().to_string(), @"
        no hash of rust-src 1.2.3 is known, so FILE cannot be checked
          help: run `rustup component add rust-src`, which checks its downloads
        ");
    }

    #[test]
    fn find_supports_both_layouts() {
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
