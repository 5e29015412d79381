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

use super::{output, version_in};
use crate::{
    kernel::base::Sources,
    sys::{
        Cmd, Error, Result, Runner, apt,
        cache::Cache,
        files,
        hash::{hex, sha256},
        must,
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

/// Compares a `library` folder with the known digests for the compiler's version. A version without
/// digest passes if apt has checked it against the signed lists of the distribution.
fn verify(library: &Path, version: &str, what: &Path, is_signed: bool) -> Result<()> {
    let what = what.display();
    let Some((_, known)) = KNOWN.iter().find(|(of, _)| *of == version) else {
        if is_signed {
            return Ok(());
        }
        let unknown = format!("no hash of rust-src {version} is known");
        let help = "run `rustup component add rust-src`, which checks its downloads";
        return Err(Error::new(format!("{unknown}, so {what} cannot be checked")).help(help));
    };
    let found = digest(library)?;
    if known.contains(&found.as_str()) {
        return Ok(());
    }
    let wrong = format!("checksum mismatch for {what}: not rust-src {version}");
    Err(Error::new(wrong)
        .detail(format!("sha256 expected {}", known.join(" or ")))
        .detail(format!("sha256 found    {found}")))
}

/// Returns one hash for all files of a folder, since archives of the same content differ by
/// packing: `find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum`.
fn digest(dir: &Path) -> Result<String> {
    let mut files = list(dir)?;
    files.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    let mut all = Sha256::new();
    for path in files {
        let content = files::read(&path)?;
        let name = path.strip_prefix(dir).unwrap_or(&path).display();
        all.update(format!("{}  ./{name}\n", sha256(content)));
    }
    Ok(hex(all.finalize()))
}

/// Lists the files in a folder and below.
fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in files::list(dir)? {
        let meta = fs::symlink_metadata(&path).map_err(|e| Error::io("read", &path, &e))?;
        if meta.is_dir() {
            all.extend(list(&path)?);
        } else if meta.is_file() {
            all.push(path);
        } else {
            return Err(Error::new("is neither a file nor a folder").at(path, None));
        }
    }
    Ok(all)
}

/// Returns the first part that a `library` folder lacks.
fn lacking(library: &Path) -> Option<&'static str> {
    let mut parts = PARTS.iter().copied();
    parts.find(|part| !library.join(part).is_file())
}

/// The suite with current compilers for the stable distribution.
const SUITE: &str = "trixie-backports";

/// Returns the compiler's version, such as "1.95.0".
pub fn compiler(runner: &dyn Runner) -> Option<String> {
    let text = output(runner, &Cmd::new("rustc").arg("--version"))?;
    Some(version_in(&text))
}

fn own(cache: &Cache, version: &str) -> PathBuf {
    cache.path("tools").join(format!("rust-src-{version}"))
}

/// Returns an installed `library` folder.
pub fn find(runner: &dyn Runner, cache: &Cache) -> Option<PathBuf> {
    let version = compiler(runner)?;
    let sysroot = output(runner, &Cmd::new("rustc").args(["--print", "sysroot"]))?;
    let shipped = PathBuf::from(sysroot).join("lib/rustlib/src/rust/library");
    let mut all = [shipped, own(cache, &version).join("library")].into_iter();
    all.find(|dir| lacking(dir).is_none())
}

/// Installs from the first route that works. If none does, the error lists each with its reason.
pub fn install(runner: &dyn Runner, cache: &Cache, sources: &Sources, ui: &Ui) -> Result<()> {
    let version = compiler(runner).ok_or_else(|| {
        Error::new("rustc is not installed").help("install Rust with rustup or the distribution")
    })?;
    let routes: [(&str, &dyn Fn() -> Result<()>); 3] = [
        ("mirror", &|| from_mirror(cache, sources, &version)),
        ("rustup", &|| from_rustup(runner, cache, ui)),
        ("distribution", &|| {
            from_package(runner, cache, &version, ui)
        }),
    ];
    let mut tried = Vec::new();
    for (name, follow) in routes {
        let Err(error) = follow() else {
            return Ok(());
        };
        ui.say(format!("rust-src: {name}: {error}"));
        tried.push(format!("{name}: {error}"));
    }
    let what = format!("no source for rust-src {version} worked");
    Err(Error::new(what).detail(tried.join("\n")).help(format!(
        "put rust-src-{version}.tar.xz into a folder and name it in SERIES_MIRROR,\n\
         or run `rustup component add rust-src`"
    )))
}

fn from_mirror(cache: &Cache, sources: &Sources, version: &str) -> Result<()> {
    let name = format!("rust-src-{version}.tar.xz");
    let paths: Vec<_> = sources.mirror.iter().map(|m| m.join(&name)).collect();
    let found = paths.iter().find(|p| p.is_file()).or(paths.first());
    let path = found.ok_or_else(|| Error::new("SERIES_MIRROR is not set"))?;
    let file = File::open(path).map_err(|e| Error::io("open", path, &e))?;
    let scratch = cache.scratch()?;
    tar::Archive::new(XzDecoder::new(file))
        .unpack(scratch.path())
        .map_err(|e| Error::io("unpack", path, &e))?;
    keep(cache, version, scratch.path(), path, false)
}

fn from_rustup(runner: &dyn Runner, cache: &Cache, ui: &Ui) -> Result<()> {
    ui.say("rustup component add rust-src …");
    rustup(runner, "rust-src")?;
    let what = "rustup added it to another compiler than the rustc in use";
    let found = find(runner, cache).map(drop);
    found.ok_or_else(|| Error::new(what))
}

fn from_package(runner: &dyn Runner, cache: &Cache, version: &str, ui: &Ui) -> Result<()> {
    ui.say(format!("downloading rust-src {version} with apt …"));
    let scratch = cache.scratch()?;
    let suite = apt::Suite::open(runner, scratch.path(), SUITE)?;
    let deb = suite.deb("rust-src", version)?;
    let unpacked = scratch.path().join("unpacked");
    let unpack = Cmd::new("dpkg-deb").arg("--extract").arg(&deb);
    must(runner, &unpack.arg(&unpacked))?;
    let sources = unpacked.join(format!("usr/src/rustc-{version}"));
    keep(cache, version, &sources, &deb, true)
}

/// Moves the `library` folder, at any depth below `from`, into the cache.
fn keep(cache: &Cache, version: &str, from: &Path, what: &Path, is_signed: bool) -> Result<()> {
    let shown = what.display();
    let library = library_below(from, 6)
        .ok_or_else(|| Error::new(format!("{shown} has no library/{MARK}")))?;
    if let Some(part) = lacking(&library) {
        let what = format!("{shown} is incomplete: it has no library/{part}");
        return Err(Error::new(what));
    }
    verify(&library, version, what, is_signed)?;
    let home = own(cache, version);
    let made = cache.scratch()?;
    let to = made.path().join("library");
    fs::rename(&library, &to).map_err(|e| Error::io("move", &library, &e))?;
    // An interrupted run left this folder; the lock shows that it has ended.
    let _ = fs::remove_dir_all(&home);
    fs::rename(made.path(), &home).map_err(|e| Error::io("keep", &home, &e))
}

fn library_below(dir: &Path, depth: usize) -> Option<PathBuf> {
    let here = dir.join("library");
    if here.join(MARK).is_file() {
        return Some(here);
    }
    let depth = depth.checked_sub(1)?;
    let entries = fs::read_dir(dir).ok()?.flatten();
    let mut folders = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    folders.find_map(|e| library_below(&e.path(), depth))
}

pub fn rustup(runner: &dyn Runner, component: &str) -> Result<()> {
    let cmd = Cmd::new("rustup").args(["component", "add", component]);
    must(runner, &cmd.timeout(Duration::from_secs(120))).map(drop)
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
        for is_signed in [false, true] {
            let error = verify(dir.path(), "1.95.0", Path::new("FILE"), is_signed);
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
        verify(dir.path(), "1.2.3", what, true).unwrap();
        let error = verify(dir.path(), "1.2.3", what, false);
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
