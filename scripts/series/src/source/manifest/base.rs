// SPDX-License-Identifier: GPL-2.0

//! A base kernel and its manifest `series/bases/<name>.toml`.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;
use serde::Deserialize;

use super::lines::parse;
use crate::{
    source::{words::is_reserved, workspace::ONLY_BASE},
    sys::{Error, Result, pattern},
};

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
    /// The version in the kernel's Makefile: "6.19.11". A revision has it from there.
    #[serde(default)]
    pub version: String,
    pub upstream_commit: Option<String>,
    /// The known git trees of this release.
    #[serde(default)]
    pub trees: Vec<String>,
    /// The archives of the release, in the order to try.
    #[serde(default, rename = "archive")]
    pub archives: Vec<Archive>,
    #[serde(default)]
    pub host: Host,
    /// The git tree that has `rev` and the branches of series, unless `--kernel` names another.
    pub kernel: Option<PathBuf>,
    #[serde(default)]
    pub build: BuildWith,
}

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

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Archive {
    /// The file name on mirrors and in the cache.
    pub file: String,
    /// The SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// The size in bytes.
    pub size: Option<u64>,
    pub url: Option<String>,
    pub apt: Option<AptSource>,
}

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
        let package = self.source.as_ref().or(self.package.as_ref());
        (package.map_or("", String::as_str), self.source.is_some())
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
    pub fn parse(file: &Path, text: &str) -> Result<Self> {
        let mut base: Base = parse(file, text)?;
        let is_revision = base.rev.is_some() && base.version.is_empty();
        if !is_revision && !RELEASE.is_match(&base.version) {
            let what = format!("version {:?} is not the version of a release", base.version);
            return Err(Error::new(what).at(file, None));
        }
        base.file = file.to_owned();
        base.name = match file.file_stem().and_then(|s| s.to_str()) {
            Some(stem) if file != Path::new(ONLY_BASE) => stem.to_owned(),
            // The file of the only base has no name of a base.
            _ => base.release(),
        };
        if !is_base_name(&base.name) {
            let what = format!("{:?} cannot be the name of a base", base.name);
            let help = "rename the file: letters, digits, `.`, `-` and `_`; it names folders";
            return Err(Error::new(what).at(file, None).help(help));
        }
        base.check()
            .map_err(|what| Error::new(what).at(file, None))?;
        Ok(base)
    }

    fn check(&self) -> Result<(), String> {
        for apt in self.archives.iter().filter_map(|a| a.apt.as_ref()) {
            if apt.source.is_some() == apt.package.is_some() {
                return Err("`apt` names either a `source` or a `package`".to_owned());
            }
            let mut words = [apt.suite.as_str(), apt.package().0].into_iter();
            if let Some(word) = words.find(|word| !PACKAGE_WORD.is_match(word)) {
                return Err(format!("{word:?} is not a suite or a package of apt"));
            }
        }
        for Archive { file, sha256, .. } in &self.archives {
            if !is_hex(sha256, 64) {
                return Err(format!(
                    "the sha256 of {file} is not 64 lower-case hexadecimal digits"
                ));
            }
            if Path::new(file).components().count() != 1 {
                return Err(format!("{file} is not a file name"));
            }
        }
        let mut hashes = self.trees.iter().chain(&self.upstream_commit);
        match hashes.find(|hash| !is_hex(hash, 40)) {
            Some(hash) => Err(format!("{hash} is not a git hash")),
            None => Ok(()),
        }
    }

    /// Returns the name of the release: "v6.19.11".
    pub fn release(&self) -> String {
        format!("v{}", self.version)
    }

    /// Returns what records of postings name: the version, or the commit of a revision.
    pub fn made_for(&self) -> &str {
        let commit = self.upstream_commit.as_ref().filter(|_| self.rev.is_some());
        commit.unwrap_or(&self.version)
    }

    /// Returns the name in refs: the version, or the name of a base that is a revision.
    pub fn ref_name(&self) -> &str {
        if self.rev.is_some() {
            &self.name
        } else {
            &self.version
        }
    }
}

/// A version in the form of the kernel's Makefile. Refs contain it.
static RELEASE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[0-9]+(\.[0-9]+)*(-rc[0-9]+)?$"));

/// Returns whether a text can be the name of a base. Names become folders and parts of refs.
pub fn is_base_name(text: &str) -> bool {
    NAME.is_match(text) && !text.contains("..") && !text.ends_with('.') && !is_reserved(text)
}

static NAME: LazyLock<Regex> = LazyLock::new(|| pattern("^[A-Za-z0-9][A-Za-z0-9._-]*$"));

/// A word that is safe as an argument of apt and in `sources.list`.
static PACKAGE_WORD: LazyLock<Regex> =
    LazyLock::new(|| pattern("^[A-Za-z0-9][A-Za-z0-9+.~:=/_-]*$"));

/// Returns whether a text has `len` lower-case hexadecimal digits.
pub(super) fn is_hex(text: &str, len: usize) -> bool {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == len && text.bytes().all(is_digit)
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
