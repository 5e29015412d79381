// SPDX-License-Identifier: GPL-2.0

//! A base kernel and its manifest `series/bases/<name>.toml`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{lines::parse, validate::is_hex};
use crate::sys::error::{Error, Result};

/// A base kernel, from `series/bases/<name>.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Base {
    /// The name of the file without its extension: "v6.19.11".
    #[serde(skip)]
    pub name: String,
    /// The file, below the top folder.
    #[serde(skip)]
    pub file: PathBuf,
    /// Whether this is the default base, to which plain files apply.
    #[serde(default)]
    pub default: bool,
    /// The base whose variants of files apply if this base has none.
    pub like: Option<String>,
    /// The revision of a git tree that `--kernel` names; without it, the base is a release.
    pub rev: Option<String>,
    /// The version in the kernel's Makefile, "6.19.11". For a revision, it is read from the
    /// Makefile.
    #[serde(default)]
    pub version: String,
    /// The public commit, if it is known.
    pub upstream_commit: Option<String>,
    /// The known git trees of this release.
    #[serde(default)]
    pub trees: Vec<String>,
    /// The archives of the release, in the order to try.
    #[serde(default, rename = "archive")]
    pub archives: Vec<Archive>,
    /// The files for builds on the host.
    #[serde(default)]
    pub host: Host,
    /// The git tree that has `rev` and the branches of series, unless `--kernel` names another.
    pub kernel: Option<PathBuf>,
    /// How kernels are built.
    #[serde(default)]
    pub build: BuildWith,
}

/// How kernels of a base are built.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BuildWith {
    /// Whether clang and lld of LLVM build them, or gcc and binutils. Rust needs LLVM.
    pub llvm: bool,
}

impl Default for BuildWith {
    fn default() -> Self {
        Self { llvm: true }
    }
}

impl Base {
    /// Returns the name of the release: "v6.19.11".
    pub fn release(&self) -> String {
        format!("v{}", self.version)
    }

    /// Returns the identity of the base in records of postings: the version, or the commit of a
    /// revision.
    pub fn made_for(&self) -> &str {
        match (&self.rev, &self.upstream_commit) {
            (Some(_), Some(commit)) => commit,
            _ => &self.version,
        }
    }

    /// Returns the name in refs: the version, or the name of a base that is a revision.
    pub fn ref_name(&self) -> &str {
        match self.rev {
            Some(_) => &self.name,
            None => &self.version,
        }
    }
}

/// An archive of the base.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Archive {
    /// The file name on mirrors and in the cache.
    pub file: String,
    /// The SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// The size in bytes.
    pub size: Option<u64>,
    /// The address for the download.
    pub url: Option<String>,
    /// The distribution's package that contains the archive.
    pub apt: Option<AptSource>,
}

/// A package of a Debian-like distribution.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AptSource {
    /// The suite, "trixie-backports".
    pub suite: String,
    /// The source package and its version: "linux=6.19.11-1~bpo13+1".
    pub source: Option<String>,
    /// The binary package that installs the archive, and its version.
    pub package: Option<String>,
}

impl AptSource {
    /// Returns the package with its version, and whether it is a source package.
    pub fn package(&self) -> (&str, bool) {
        match (&self.source, &self.package) {
            (Some(source), _) => (source, true),
            (None, package) => (package.as_deref().unwrap_or_default(), false),
        }
    }
}

/// The files of the assembled tree and of the base for builds on the host.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Host {
    /// Files and folders of the assembled tree.
    pub paths: Vec<String>,
    /// Files and folders of the base for comparison, exported below `base/`.
    #[serde(default)]
    pub base_paths: Vec<String>,
}

impl Base {
    /// Reads a base from its file.
    ///
    /// # Errors
    ///
    /// The text is not TOML, or has an unknown, missing or invalid field.
    pub fn parse(file: &Path, text: &str) -> Result<Self> {
        let mut base: Base = parse(file, text)?;
        let bad = |what: String| Err(Error::new(what).at(file, None));
        let is_revision = base.rev.is_some() && base.version.is_empty();
        if !is_revision && !is_release(&base.version) {
            return bad(format!(
                "version {:?} is not the version of a release",
                base.version
            ));
        }
        base.file = file.to_owned();
        base.name = match file.file_stem().and_then(|s| s.to_str()) {
            // The file of the only base has no name of a base.
            Some("base") | None => base.release(),
            Some(stem) => stem.to_owned(),
        };
        if !is_base_name(&base.name) {
            return Err(
                Error::new(format!("{:?} cannot be the name of a base", base.name))
                    .at(file, None)
                    .help("rename the file: letters, digits, `.`, `-` and `_`; it names folders"),
            );
        }
        for apt in base.archives.iter().filter_map(|a| a.apt.as_ref()) {
            if apt.source.is_some() == apt.package.is_some() {
                return bad("`apt` names either a `source` or a `package`".to_owned());
            }
            for word in [apt.suite.as_str(), apt.package().0] {
                if !is_package_word(word) {
                    return bad(format!("{word:?} is not a suite or a package of apt"));
                }
            }
        }
        for archive in &base.archives {
            if !is_hex(&archive.sha256, 64) {
                return bad(format!(
                    "the sha256 of {} is not 64 lower-case hexadecimal digits",
                    archive.file
                ));
            }
            if Path::new(&archive.file).components().count() != 1 {
                return bad(format!("{} is not a file name", archive.file));
            }
        }
        for hash in base.trees.iter().chain(&base.upstream_commit) {
            if !is_hex(hash, 40) {
                return bad(format!("{hash} is not a git hash"));
            }
        }
        Ok(base)
    }
}

/// Returns whether a text is a version in the form of the kernel's Makefile. Refs contain it.
fn is_release(text: &str) -> bool {
    let (numbers, candidate) = match text.split_once("-rc") {
        Some((numbers, candidate)) => (numbers, Some(candidate)),
        None => (text, None),
    };
    let number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    numbers.split('.').all(number) && candidate.is_none_or(number)
}

/// Returns whether a text can name a base. Names become folders and parts of refs.
fn is_base_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !text.contains("..")
        && !text.ends_with('.')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}

/// Returns whether a text is safe as an argument of apt and as a word in `sources.list`.
fn is_package_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.~:=/_".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_bad_hash() {
        let text = r#"
version = "1"
trees = []
[host]
paths = []
[[archive]]
file = "x.tar.xz"
sha256 = "XYZ"
"#;
        let error = Base::parse(Path::new("series/base.toml"), text).unwrap_err();
        assert!(error.to_string().contains("sha256 of x.tar.xz"), "{error}");
    }

    #[test]
    fn base_bad_words() {
        let error_of = |version: &str, suite: &str, source: &str| {
            let text = format!(
                "version = {version:?}\ntrees = []\n[host]\npaths = []\n[[archive]]\n\
                 file = \"x\"\nsha256 = \"{}\"\napt = {{ suite = {suite:?}, source = {source:?} }}\n",
                "0".repeat(64)
            );
            let parsed = Base::parse(Path::new("series/base.toml"), &text);
            parsed.err().map_or(String::new(), |e| e.to_string())
        };
        let (suite, source) = ("trixie-backports", "linux=6.19.11-1~bpo13+1");
        assert_eq!(error_of("6.19.11", suite, source), "");
        assert_eq!(error_of("7.0-rc1", suite, source), "");
        for version in ["", "6..1", "6.1 x", "../6", "6.1-rc", "v6.1"] {
            let error = error_of(version, suite, source);
            assert!(
                error.contains("is not the version of a release"),
                "{version}: {error}"
            );
        }
        for word in ["", "a b", "a\ndeb x", "-o", "--x=y"] {
            for error in [error_of("6.1", word, source), error_of("6.1", suite, word)] {
                assert!(error.contains("is not a suite or a package"), "{error}");
            }
        }
    }
}
