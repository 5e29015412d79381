// SPDX-License-Identifier: GPL-2.0

//! Reads the manifests `series/bases/<name>.toml` and `series/<name>.toml`.
//!
//! Reading is pure: it converts a text to a value, or to an [`Error`] with file and line.

use std::{
    collections::BTreeMap,
    path::{
        Path,
        PathBuf, //
    },
};

use serde::{
    Deserialize,
    de::DeserializeOwned, //
};
use toml::Spanned;

use crate::{
    source::{
        words::{
            ChangeId,
            Prefix,
            Recipient,
            SeriesName, //
        },
        workspace::View, //
    },
    sys::error::{
        Error,
        Result, //
    }, //
};

/// A value with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    /// The line, counted from 1.
    pub line: usize,
}

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

/// A series, from `series/<name>.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    pub name: SeriesName,
    /// The manifest, below the top folder.
    pub file: PathBuf,
    /// The base on which the series is posted. [`None`] for the default base.
    pub base: Option<At<String>>,
    /// The component: the folder that contains the files.
    pub component: SeriesName,
    /// The reason why a local series is never posted.
    pub local: Option<At<String>>,
    /// The tree that takes the series, if `to` and `cc` do not show it.
    pub tree: Option<String>,
    /// The branch of the user's kernel clone that has its patches. Without it, they are made of the
    /// files of the component.
    pub branch: Option<At<String>>,
    /// Of each series below it, the commit on which its branch sits.
    pub fork_points: BTreeMap<String, At<String>>,
    /// The version, from 1.
    pub version: u32,
    /// The line of `version`.
    pub line_of_version: Option<usize>,
    /// The words before the version in the subject: "PATCH", "RFC PATCH", "PATCH net-next".
    pub prefix: Prefix,
    pub change_id: ChangeId,
    /// The line of `change-id`.
    pub line_of_change_id: Option<usize>,
    /// The direct dependencies.
    pub depends: Vec<At<String>>,
    /// The number of first patches that apply and build without a dependency.
    pub without: BTreeMap<String, At<usize>>,
    /// Whether the cover letter contains the range-diff against the last posting.
    pub range_diff: bool,
    /// The recipients in `To`.
    pub to: Vec<Recipient>,
    /// The line of the first recipient.
    pub line_of_to: Option<usize>,
    /// The recipients in `Cc`.
    pub cc: Vec<Recipient>,
    /// The reasons for omitting recipients that `get_maintainer.pl` names.
    pub absent: BTreeMap<String, At<String>>,
    /// The reasons for public items without a user.
    pub unused: BTreeMap<String, At<String>>,
    /// The reasons for omitting files and folders of the overlay on this base.
    pub left_out: BTreeMap<String, At<String>>,
    /// The reason for more patches than a posting should have.
    pub many: Option<At<String>>,
    /// The origin of the series.
    pub provenance: Option<Provenance>,
    /// The line of `[provenance]`.
    pub line_of_provenance: Option<usize>,
    /// The expected KUnit suites.
    pub kunit: Kunit,
    /// The patches, in order.
    pub patches: Vec<Patch>,
}

/// The origin of a series, for the cover letter and not for the changelog.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Provenance {
    pub text: String,
    /// Links to related mails.
    #[serde(default)]
    pub links: Vec<String>,
}

/// The KUnit suites that have to run for a valid result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Kunit {
    /// The names of suites.
    #[serde(default)]
    pub suites: Vec<String>,
    /// Suites that only run on user-mode Linux, because they need one of its options.
    #[serde(default)]
    pub um_suites: Vec<String>,
    /// Source files of the component with doctests.
    #[serde(default)]
    pub doctests: Vec<String>,
}

/// A patch in a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The line of the `[[patch]]`.
    pub line: usize,
    /// The file of the commit message in `series/<name>/`; of a commit of a branch, its subject.
    pub message: At<String>,
    /// The files of `<component>/tree/` that the patch adds.
    pub files: Vec<At<String>>,
    /// The step of `<component>/relocation.toml` that the patch makes before applying the diffs.
    pub relocate: Option<At<String>>,
    /// The diffs of `<component>/edits/` that the patch applies.
    pub edits: Vec<At<String>>,
    /// The parts that the patch adds to files of earlier patches.
    pub withhold: Vec<Withhold>,
    /// The reason for a larger patch than reviewers expect.
    pub large: Option<At<String>>,
    /// The reason for a message that describes a fix without `Fixes:`.
    pub no_fixes: Option<At<String>>,
    /// The commits in `Fixes:` that cannot be looked up.
    pub unverified: Vec<At<String>>,
}

/// The parts of a file that a later patch adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withhold {
    /// The file of `<component>/tree/`.
    pub file: At<String>,
    pub parts: Parts,
}

/// The parts of a file that a patch withholds from the patches before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parts {
    /// Whole lines with their newlines.
    Text(String),
    /// Rust items, as `rust::items` names them.
    Items(Vec<At<String>>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSeries {
    version: Spanned<u32>,
    component: Option<Spanned<String>>,
    branch: Option<Spanned<String>>,
    #[serde(default)]
    fork_point: BTreeMap<String, Spanned<String>>,
    base: Option<Spanned<String>>,
    local: Option<Spanned<String>>,
    tree: Option<String>,
    #[serde(default = "default_prefix")]
    prefix: Spanned<String>,
    change_id: Spanned<String>,
    #[serde(default)]
    depends: Vec<Spanned<String>>,
    #[serde(default)]
    without: BTreeMap<String, Spanned<usize>>,
    #[serde(default)]
    range_diff: bool,
    #[serde(default)]
    to: Vec<Spanned<String>>,
    #[serde(default)]
    cc: Vec<Spanned<String>>,
    #[serde(default)]
    absent: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    unused: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    left_out: BTreeMap<String, Spanned<String>>,
    many: Option<Spanned<String>>,
    provenance: Option<Spanned<Provenance>>,
    #[serde(default)]
    kunit: Kunit,
    #[serde(default)]
    on: BTreeMap<Spanned<String>, RawOn>,
    #[serde(default)]
    patch: Vec<Spanned<RawPatch>>,
}

/// The fields of a manifest for one base, which replace the common fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawOn {
    local: Option<Spanned<String>>,
    tree: Option<String>,
    depends: Option<Vec<Spanned<String>>>,
    without: Option<BTreeMap<String, Spanned<usize>>>,
    absent: Option<BTreeMap<String, Spanned<String>>>,
    unused: Option<BTreeMap<String, Spanned<String>>>,
    left_out: Option<BTreeMap<String, Spanned<String>>>,
    provenance: Option<Spanned<Provenance>>,
    kunit: Option<Kunit>,
}

impl RawSeries {
    /// Applies the fields for these bases. Earlier names take precedence.
    fn on(mut self, names: &[String]) -> Self {
        for name in names.iter().rev() {
            let Some(key) = self.on.keys().find(|k| k.get_ref() == name).cloned() else {
                continue;
            };
            let Some(on) = self.on.remove(&key) else {
                continue;
            };
            self.local = on.local.or(self.local);
            self.tree = on.tree.or(self.tree);
            self.depends = on.depends.unwrap_or(self.depends);
            self.without = on.without.unwrap_or(self.without);
            self.absent = on.absent.unwrap_or(self.absent);
            self.unused = on.unused.unwrap_or(self.unused);
            self.left_out = on.left_out.unwrap_or(self.left_out);
            self.provenance = on.provenance.or(self.provenance);
            self.kunit = on.kunit.unwrap_or(self.kunit);
        }
        self
    }

    /// Returns the bases in the manifest.
    fn bases(&self) -> impl Iterator<Item = &Spanned<String>> {
        let patches = self.patch.iter().flat_map(|p| &p.get_ref().only);
        self.base.iter().chain(self.on.keys()).chain(patches)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawPatch {
    message: Option<Spanned<String>>,
    subject: Option<Spanned<String>>,
    #[serde(default)]
    only: Vec<Spanned<String>>,
    #[serde(default)]
    files: Vec<Spanned<String>>,
    relocate: Option<Spanned<String>>,
    #[serde(default)]
    edits: Vec<Spanned<String>>,
    #[serde(default)]
    withhold: Vec<RawWithhold>,
    large: Option<Spanned<String>>,
    no_fixes: Option<Spanned<String>>,
    #[serde(default)]
    unverified: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawWithhold {
    file: Spanned<String>,
    text: Option<String>,
    items: Option<Vec<Spanned<String>>>,
}

fn default_prefix() -> Spanned<String> {
    Spanned::new(0..0, "PATCH".to_owned())
}

/// Finds lines by byte offset.
pub(crate) struct Lines<'a>(pub(crate) &'a str);

impl Lines<'_> {
    fn of(&self, offset: usize) -> usize {
        let before = &self.0.as_bytes()[..offset.min(self.0.len())];
        before.iter().filter(|b| **b == b'\n').count() + 1
    }

    pub(crate) fn at<T>(&self, spanned: Spanned<T>) -> At<T> {
        At {
            line: self.of(spanned.span().start),
            value: spanned.into_inner(),
        }
    }

    pub(crate) fn all<T>(&self, spanned: Vec<Spanned<T>>) -> Vec<At<T>> {
        spanned.into_iter().map(|s| self.at(s)).collect()
    }
}

pub(crate) fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|e| {
        let line = e.span().map(|span| Lines(text).of(span.start));
        Error::new(e.message().trim_end())
            .at(file, line)
            .help("the fields are described in ARCHITECTURE.md, \"Manifests\"")
    })
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
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

impl Series {
    /// Reads `series/<name>.toml`.
    ///
    /// # Errors
    ///
    /// The text is not TOML, or has an unknown, missing or invalid field.
    pub fn parse(name: &str, file: &Path, text: &str) -> Result<Self> {
        Self::parse_on(name, file, text, &View::default())
    }

    /// Reads a manifest for a base.
    ///
    /// # Errors
    ///
    /// As [`Self::parse`], or a base in the manifest does not exist.
    pub fn parse_on(name: &str, file: &Path, text: &str, view: &View) -> Result<Self> {
        let name = SeriesName::parse(name).map_err(|e| e.at(file, None))?;
        let raw: RawSeries = parse(file, text)?;
        let lines = Lines(text);
        let mut errors: Vec<Error> = raw
            .bases()
            .filter_map(|base| no_base(&lines.at(base.clone()), view, file))
            .collect();
        let raw = raw.on(&view.names);
        let version = lines.at(raw.version);
        let component = match raw.component.map(|c| lines.at(c)) {
            Some(At { value, line }) => {
                keep(&mut errors, SeriesName::component(&value), file, line)
            }
            None => Some(name.clone()),
        };
        let local = raw.local.map(|l| lines.at(l));
        if let Some(At { line, .. }) = local.as_ref().filter(|l| l.value.trim().is_empty()) {
            errors.push(
                Error::new("`local` is empty")
                    .at(file, *line)
                    .help("give the reason why the series is never posted"),
            );
        }
        if version.value == 0 {
            errors.push(Error::new("a series starts with version 1").at(file, version.line));
        }
        let prefix = lines.at(raw.prefix);
        let prefix = keep(&mut errors, Prefix::parse(&prefix.value), file, prefix.line);
        let change_id = lines.at(raw.change_id);
        let line_of_change_id = Some(change_id.line);
        let change_id = keep(
            &mut errors,
            ChangeId::parse(&change_id.value),
            file,
            change_id.line,
        );
        let (to, cc) = (lines.all(raw.to), lines.all(raw.cc));
        let line_of_to = to.first().map(|t| t.line);
        let (to, cc) = recipients(&to, &cc, file, &mut errors);
        let named = |all: BTreeMap<String, Spanned<String>>| {
            let all = all.into_iter().map(|(name, why)| (name, lines.at(why)));
            all.collect::<BTreeMap<_, _>>()
        };
        let (absent, unused) = (named(raw.absent), named(raw.unused));
        let left_out = named(raw.left_out);
        let many = raw.many.map(|why| lines.at(why));
        let here = raw.patch.into_iter().filter(|p| {
            let only = &p.get_ref().only;
            only.is_empty() || only.iter().any(|b| view.names.contains(b.get_ref()))
        });
        let branch = raw.branch.map(|b| lines.at(b));
        let fork_points = named(raw.fork_point);
        errors.extend(fork_points.values().filter_map(|p| no_commit(p, file)));
        let is_branch = branch.is_some();
        let patches = patches(here.collect(), is_branch, &lines, file, &mut errors);
        let of_patches = patches
            .iter()
            .flat_map(|p| p.large.iter().chain(&p.no_fixes));
        let reasons = absent.values().chain(unused.values()).chain(&many);
        let reasons = reasons.chain(left_out.values());
        errors.extend(reasons.chain(of_patches).filter_map(|why| blank(why, file)));
        let (Some(component), Some(prefix), Some(change_id), true) =
            (component, prefix, change_id, errors.is_empty())
        else {
            let unknown = || Error::new("cannot be read").at(file, None);
            return Err(Error::all(errors).unwrap_or_else(unknown));
        };
        let provenance = raw.provenance.map(|p| lines.at(p));
        Ok(Self {
            name,
            file: file.to_owned(),
            base: raw.base.map(|b| lines.at(b)),
            component,
            local,
            tree: raw.tree,
            branch,
            fork_points,
            version: version.value,
            line_of_version: Some(version.line),
            prefix,
            change_id,
            line_of_change_id,
            depends: lines.all(raw.depends),
            without: raw
                .without
                .into_iter()
                .map(|(name, n)| (name, lines.at(n)))
                .collect(),
            range_diff: raw.range_diff,
            to,
            line_of_to,
            cc,
            absent,
            unused,
            left_out,
            many,
            line_of_provenance: provenance.as_ref().map(|p| p.line),
            provenance: provenance.map(|p| p.value),
            kunit: raw.kunit,
            patches,
        })
    }

    /// Returns an error with the reason if the series is never posted.
    pub fn refuse_local(&self) -> Result<()> {
        match &self.local {
            None => Ok(()),
            Some(At { value, line }) => Err(Error::new(format!(
                "{} is never posted: {value}",
                self.name
            ))
            .at(self.file(), *line)
            .help("remove `local` from the manifest to post the series")),
        }
    }

    /// Returns the recipient of the series: `tree`, or the first list in `to` and `cc`.
    pub fn goes_to(&self) -> Option<String> {
        let lists = self.to.iter().chain(&self.cc).filter(|r| r.is_list());
        let list = lists.map(|r| r.address().split('@').next().unwrap_or_default().to_owned());
        self.tree.clone().or_else(|| list.into_iter().next())
    }

    /// Returns the path of the manifest, below the top folder.
    pub fn file(&self) -> PathBuf {
        self.file.clone()
    }

    /// Returns whether a file of the overlay is in `left-out`.
    pub fn leaves_out(&self, path: &str) -> bool {
        self.left_out.keys().any(|left_out| covers(left_out, path))
    }

    /// Returns whether the series is posted on the base.
    pub fn is_posted_on(&self, view: &View) -> bool {
        match &self.base {
            None => !view.other,
            Some(base) => view.names.first().is_none_or(|name| *name == base.value),
        }
    }

    /// Returns the words in the brackets of a subject: "PATCH v2".
    pub fn subject_prefix(&self) -> String {
        subject_prefix(&self.prefix, self.version)
    }
}

/// Returns whether `path` is `file`, or a folder with a final `/` that contains `file`.
pub fn covers(path: &str, file: &str) -> bool {
    match path.ends_with('/') {
        true => file.starts_with(path),
        false => file == path,
    }
}

/// Returns an error if the base does not exist.
fn no_base(base: &At<String>, view: &View, file: &Path) -> Option<Error> {
    let known = view.all.is_empty() || view.all.contains(&base.value);
    (!known).then(|| {
        Error::new(format!("there is no base {:?}", base.value))
            .at(file, base.line)
            .help(format!("the bases are: {}", view.all.join(", ")))
    })
}

/// Reads the patches of a manifest.
fn patches(
    raw: Vec<Spanned<RawPatch>>,
    is_branch: bool,
    lines: &Lines<'_>,
    file: &Path,
    errors: &mut Vec<Error>,
) -> Vec<Patch> {
    raw.into_iter()
        .filter_map(|spanned| {
            let At { line, value } = lines.at(spanned);
            let message = match is_branch {
                true => of_commit(&value),
                false => value.message.clone().filter(|_| value.subject.is_none()),
            };
            let Some(message) = message else {
                errors.push(no_patch(is_branch).at(file, line));
                return None;
            };
            let withhold = value.withhold.into_iter();
            Some(Patch {
                line,
                message: lines.at(message),
                files: lines.all(value.files),
                relocate: value.relocate.map(|step| lines.at(step)),
                edits: lines.all(value.edits),
                withhold: withhold
                    .filter_map(|w| withheld(w, lines, file, errors))
                    .collect(),
                large: value.large.map(|why| lines.at(why)),
                no_fixes: value.no_fixes.map(|why| lines.at(why)),
                unverified: lines.all(value.unverified),
            })
        })
        .collect()
}

/// Returns the subject of a `[[patch]]` that makes exceptions for a commit of a branch, if it does
/// nothing else.
fn of_commit(raw: &RawPatch) -> Option<Spanned<String>> {
    let is_plain = raw.message.is_none()
        && raw.files.is_empty()
        && raw.relocate.is_none()
        && raw.edits.is_empty()
        && raw.withhold.is_empty();
    raw.subject.clone().filter(|_| is_plain)
}

/// The error for a `[[patch]]` of the wrong kind.
fn no_patch(is_branch: bool) -> Error {
    match is_branch {
        true => Error::new("the patches of this series are the commits of its branch").help(
            "a [[patch]] here has the `subject` of a commit and exceptions for it: `large`, \
             `no-fixes`, `unverified`",
        ),
        false => Error::new("a [[patch]] needs `message`")
            .help("name the file of its commit message; `subject` is for series with a `branch`"),
    }
}

/// Returns an error if the text is not the name of a commit.
fn no_commit(point: &At<String>, file: &Path) -> Option<Error> {
    (!is_hex(&point.value, 40)).then(|| {
        Error::new(format!("{:?} is not the name of a commit", point.value))
            .at(file, point.line)
            .help("write all 40 digits of it")
    })
}

impl Patch {
    /// The patch of a commit whose subject is `subject`.
    pub fn of_commit(subject: &str, line: usize) -> Self {
        let value = subject.to_owned();
        Self {
            line,
            message: At { value, line },
            files: Vec::new(),
            relocate: None,
            edits: Vec::new(),
            withhold: Vec::new(),
            large: None,
            no_fixes: None,
            unverified: Vec::new(),
        }
    }
}

/// Reads one `[[patch.withhold]]`, which has either `text` or `items`.
fn withheld(
    raw: RawWithhold,
    lines: &Lines<'_>,
    file: &Path,
    errors: &mut Vec<Error>,
) -> Option<Withhold> {
    let of = lines.at(raw.file);
    let parts = match (raw.text, raw.items) {
        (Some(text), None) => Parts::Text(text),
        (None, Some(items)) if !items.is_empty() => Parts::Items(lines.all(items)),
        _ => {
            errors.push(
                Error::new("a [[patch.withhold]] has either `text` or `items`")
                    .at(file, of.line)
                    .help("`text` has whole lines; `items` names Rust items, as \"fn new\""),
            );
            return None;
        }
    };
    Some(Withhold { file: of, parts })
}

/// Returns the value, or adds the error with its place to `errors`.
fn keep<T>(errors: &mut Vec<Error>, read: Result<T>, file: &Path, line: usize) -> Option<T> {
    read.map_err(|e| errors.push(e.at(file, line))).ok()
}

/// Reports an exception from a rule without a reason.
fn blank(why: &At<String>, file: &Path) -> Option<Error> {
    why.value.trim().is_empty().then(|| {
        Error::new("the reason is empty")
            .at(file, why.line)
            .help("explain in one sentence why the series departs from the rule")
    })
}

/// Reads the recipients and reports duplicates.
fn recipients(
    to: &[At<String>],
    cc: &[At<String>],
    file: &Path,
    errors: &mut Vec<Error>,
) -> (Vec<Recipient>, Vec<Recipient>) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut read = |all: &[At<String>]| -> Vec<Recipient> {
        let mut kept = Vec::new();
        for At { value, line } in all {
            let Some(one) = keep(errors, Recipient::parse(value), file, *line) else {
                continue;
            };
            let address = one.address().to_ascii_lowercase();
            if let Some(first) = seen.insert(address, *line) {
                let what = format!(
                    "{} is a recipient twice, first in line {first}",
                    one.address()
                );
                errors.push(
                    Error::new(what)
                        .at(file, *line)
                        .help("remove one of the two"),
                );
            }
            kept.push(one);
        }
        kept
    };
    (read(to), read(cc))
}

/// Checks that change ids are unique. b4 treats series with the same id as versions of one series.
pub fn unique_change_ids(series: &[&Series]) -> Result<()> {
    let mut seen: BTreeMap<&str, &Series> = BTreeMap::new();
    let mut errors = Vec::new();
    for one in series {
        if let Some(first) = seen.insert(&one.change_id, one) {
            errors.push(
                Error::new(format!("{} has the same change-id", first.name))
                    .at(one.file(), one.line_of_change_id)
                    .help(
                        "the change-id connects the versions of a series; give a new one to the \
                        series that was not posted",
                    ),
            );
        }
    }
    Error::all(errors).map_or(Ok(()), Err)
}

/// Returns the words in the brackets of a subject: "PATCH v2".
pub(crate) fn subject_prefix(prefix: &str, version: u32) -> String {
    match version {
        1 => prefix.to_owned(),
        n => format!("{prefix} v{n}"),
    }
}

/// Sorts the series so that each follows its dependencies. The series of a component are adjacent,
/// unless they depend on a series between them.
///
/// # Errors
///
/// A dependency does not exist, or the dependencies have a cycle.
pub fn in_order(series: &[Series]) -> Result<Vec<&Series>> {
    struct Visit<'a> {
        series: &'a [Series],
        path: Vec<&'a str>,
        done: Vec<&'a Series>,
    }
    fn visit<'a>(v: &mut Visit<'a>, one: &'a Series) -> Result<()> {
        if v.done.iter().any(|d| d.name == one.name) {
            return Ok(());
        }
        v.path.push(&one.name);
        for dep in &one.depends {
            let at = |e: Error| e.at(one.file(), dep.line);
            if let Some(start) = v.path.iter().position(|n| *n == dep.value) {
                let mut cycle = v.path[start..].to_vec();
                cycle.push(&dep.value);
                return Err(at(Error::new(format!(
                    "the dependencies have a cycle: {}",
                    cycle.join(" -> ")
                ))
                .help("remove one of these dependencies")));
            }
            let Some(dep) = v.series.iter().find(|s| *s.name == *dep.value) else {
                let names: Vec<_> = v.series.iter().map(|s| &*s.name).collect();
                let known = format!("the series are: {}", names.join(", "));
                let error = Error::new(format!("there is no series {:?}", dep.value));
                return Err(at(error.help(match one.branch {
                    None => known,
                    Some(_) => format!(
                        "{known};\nif {0} was merged, remove it here and from [without]; \
                         [fork-point] stays until the branch is rebased",
                        dep.value
                    ),
                })));
            };
            visit(v, dep)?;
        }
        v.path.pop();
        v.done.push(one);
        Ok(())
    }
    let mut v = Visit {
        series,
        path: Vec::new(),
        done: Vec::new(),
    };
    for one in series {
        visit(&mut v, one)?;
    }
    let grouped = by_component(&v.done);
    Ok(match is_in_order(&grouped) {
        true => grouped,
        false => v.done,
    })
}

/// Moves the series of each component together, and keeps their order otherwise.
fn by_component<'a>(series: &[&'a Series]) -> Vec<&'a Series> {
    let first = |one: &Series| series.iter().position(|s| s.component == one.component);
    let mut grouped = series.to_vec();
    grouped.sort_by_key(|one| first(one));
    grouped
}

/// Returns whether each series follows its dependencies.
fn is_in_order(series: &[&Series]) -> bool {
    series.iter().enumerate().all(|(at, one)| {
        let is_before = |name: &str| series[..at].iter().any(|s| s.name == *name);
        one.depends.iter().all(|d| is_before(&d.value))
    })
}

/// Returns the direct and indirect dependencies of `name`, in the order in which they apply.
/// `ordered` is the result of [`in_order`].
pub fn below<'a>(ordered: &[&'a Series], name: &str) -> Vec<&'a Series> {
    let mut wanted = vec![name];
    for one in ordered.iter().rev() {
        if wanted.contains(&&*one.name) {
            wanted.extend(one.depends.iter().map(|d| d.value.as_str()));
        }
    }
    ordered
        .iter()
        .copied()
        .filter(|s| *s.name != *name && wanted.contains(&&*s.name))
        .collect()
}

/// Returns the names of the selected series. A name selects a series, or else all series of a
/// component. Without names, all series are selected. The error lists the existing names.
pub fn chosen_series(ordered: &[&Series], names: &[String]) -> Result<Vec<String>> {
    let mut chosen: Vec<String> = Vec::new();
    let mut add = |one: &Series| {
        if !chosen.iter().any(|c| one.name == *c) {
            chosen.push(one.name.to_string());
        }
    };
    if names.is_empty() {
        ordered.iter().for_each(|one| add(one));
    }
    for name in names {
        if let Some(one) = ordered.iter().find(|s| s.name == *name) {
            add(one);
            continue;
        }
        let of_component: Vec<_> = ordered.iter().filter(|s| s.component == *name).collect();
        if of_component.is_empty() {
            return Err(unknown_series(ordered, name));
        }
        of_component.iter().for_each(|one| add(one));
    }
    Ok(chosen)
}

/// Returns the error for a name that does not select one series.
pub fn unknown_series(ordered: &[&Series], name: &str) -> Error {
    let of_component = ordered.iter().filter(|s| s.component == *name);
    let of_component: Vec<&str> = of_component.map(|s| s.name.as_str()).collect();
    if !of_component.is_empty() {
        return Error::new(format!("{name} is a component of several series"))
            .help(format!("name one of them: {}", of_component.join(", ")));
    }
    let all: Vec<&str> = ordered.iter().map(|s| s.name.as_str()).collect();
    let mut help = format!("the series are: {}", all.join(", "));
    let components = ordered.iter().map(|s| s.component.as_str());
    let mut components: Vec<&str> = components.filter(|c| !all.contains(c)).collect();
    components.dedup();
    if !components.is_empty() {
        help += &format!("; the components: {}", components.join(", "));
    }
    Error::new(format!("there is no series {name:?}")).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
version = 2
change-id = "20261122-clist-0123456789ab"
depends = ["other"]

[[patch]]
message = "0001-a.msg"
files = [
  "a.rs",
  "b.rs",
]

[[patch]]
message = "0002-b.msg"
edits = ["0002.diff"]

[[patch.withhold]]
file = "a.rs"
text = '''
mod b;
'''
"#;

    fn parse(text: &str) -> Result<Series> {
        Series::parse("clist", Path::new("series/clist.toml"), text)
    }

    fn message(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn parse_keeps_lines() {
        let series = parse(GOOD).unwrap();
        assert_eq!(series.depends[0].line, 4);
        assert_eq!(series.patches[0].line, 6);
        assert_eq!(series.patches[0].files[1].line, 10);
        assert_eq!(
            series.patches[1].withhold[0].parts,
            Parts::Text("mod b;\n".into())
        );
        assert_eq!(series.subject_prefix(), "PATCH v2");
    }

    #[test]
    fn parse_unknown_field() {
        insta::assert_snapshot!(message(&GOOD.replace("files =", "filez =")), @r#"
        series/clist.toml:8: unknown field `filez`, expected one of `message`, `subject`, `only`, `files`, `relocate`, `edits`, `withhold`, `large`, `no-fixes`, `unverified`
          help: the fields are described in ARCHITECTURE.md, "Manifests"
        "#);
    }

    #[test]
    fn parse_malformed_toml() {
        let text = message("version = 1\nchange-id = \"x\n");
        assert!(text.starts_with("series/clist.toml:2: "), "{text}");
    }

    #[test]
    fn parse_missing_field() {
        let text = message("version = 1\n");
        assert!(text.contains("missing field `change-id`"), "{text}");
    }

    #[test]
    fn parse_bad_words() {
        let text = GOOD
            .replace("version = 2", "version = 0\nprefix = \"WIP\"")
            .replace("20261122-clist-0123456789ab", "../../heads/x y")
            .replace(
                "depends",
                "to = [\"A <a@b.org>\", \"c@d.org, e@f.org\"]\ncc = [\n \"A@b.org\",\n]\ndepends",
            );
        insta::assert_snapshot!(message(&text), @r#"
        series/clist.toml:2: a series starts with version 1
        error: series/clist.toml:3: "WIP" is not a prefix of patches
          help: "PATCH" has to be one of its words, once: "PATCH", "RFC PATCH", "PATCH net-next"
        error: series/clist.toml:4: "../../heads/x y" is not a change-id
          help: use the form of `b4 prep -n`: a date, the name and 12 random digits, as 20260102-name-0123456789ab; message ids and tags contain it
        error: series/clist.toml:5: "c@d.org, e@f.org" is not a recipient: an address NAME@DOMAIN is missing
          help: one `Name <address>` or `address` for each entry
        error: series/clist.toml:7: A@b.org is a recipient twice, first in line 5
          help: remove one of the two
        "#);
    }

    #[test]
    fn parse_bad_series_name() {
        let file = Path::new("series/a b~c.toml");
        let error = Series::parse("a b~c", file, GOOD).unwrap_err();
        insta::assert_snapshot!(error, @r#"
        series/a b~c.toml: "a b~c" cannot be the name of a series
          help: rename the file: lower-case letters and digits, in parts joined by `-` or `_`, at most 100 characters; it becomes a folder and the branch b4/NAME
        "#);
    }

    #[test]
    fn unique_change_ids_duplicate() {
        let one = |name: &str| {
            let file = PathBuf::from(format!("series/{name}.toml"));
            Series::parse(name, &file, GOOD).unwrap()
        };
        let both = [one("a"), one("b")];
        let both: Vec<&Series> = both.iter().collect();
        unique_change_ids(&both[..1]).unwrap();
        insta::assert_snapshot!(unique_change_ids(&both).unwrap_err(), @r"
        series/b.toml:3: a has the same change-id
          help: the change-id connects the versions of a series; give a new one to the series that was not posted
        ");
    }

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

    fn named(name: &str, depends: &[&str]) -> Series {
        let deps: Vec<_> = depends.iter().map(|d| format!("{d:?}")).collect();
        let text = format!(
            "version = 1\nchange-id = \"20260102-x\"\ndepends = [{}]\n",
            deps.join(", ")
        );
        Series::parse(name, &PathBuf::from(format!("series/{name}.toml")), &text).unwrap()
    }

    fn names(series: &[&Series]) -> Vec<String> {
        series.iter().map(|s| s.name.to_string()).collect()
    }

    #[test]
    fn in_order_dependencies_first() {
        let all = [
            named("mm", &["buddy"]),
            named("buddy", &["list"]),
            named("list", &[]),
            named("other", &[]),
        ];
        let ordered = in_order(&all).unwrap();
        assert_eq!(names(&ordered), ["list", "buddy", "mm", "other"]);
        assert_eq!(names(&below(&ordered, "mm")), ["list", "buddy"]);
        assert!(below(&ordered, "other").is_empty());
    }

    #[test]
    fn in_order_cycle() {
        let all = [named("a", &["b"]), named("b", &["c"]), named("c", &["b"])];
        insta::assert_snapshot!(in_order(&all).unwrap_err(), @r"
        series/c.toml:3: the dependencies have a cycle: b -> c -> b
          help: remove one of these dependencies
        ");
    }

    #[test]
    fn in_order_unknown_dependency() {
        insta::assert_snapshot!(in_order(&[named("a", &["z"])]).unwrap_err(), @r#"
        series/a.toml:3: there is no series "z"
          help: the series are: a
        "#);
    }

    fn of(component: &str, mut series: Series) -> Series {
        series.component = SeriesName::component(component).unwrap();
        series
    }

    #[test]
    fn in_order_keeps_component_together() {
        let all = [
            of("buddy", named("fixes", &[])),
            named("list", &[]),
            of("buddy", named("move", &["fixes", "list"])),
        ];
        assert_eq!(names(&in_order(&all).unwrap()), ["fixes", "list", "move"]);
        let all = [
            of("buddy", named("fixes", &[])),
            named("list", &[]),
            of("buddy", named("move", &["fixes"])),
        ];
        assert_eq!(names(&in_order(&all).unwrap()), ["fixes", "move", "list"]);
    }

    #[test]
    fn chosen_series_of_component() {
        let all = [
            named("list", &[]),
            of("buddy", named("fixes", &[])),
            of("buddy", named("buddy", &["fixes"])),
            of("mm", named("tables", &[])),
            of("mm", named("spaces", &["tables"])),
        ];
        let ordered = in_order(&all).unwrap();
        let chosen = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
            chosen_series(&ordered, &names)
                .map(|n| n.join(" "))
                .map_err(|e| e.to_string())
        };
        assert_eq!(chosen(&[]).unwrap(), "list fixes buddy tables spaces");
        assert_eq!(
            chosen(&["mm", "list", "spaces"]).unwrap(),
            "tables spaces list"
        );
        // A series comes before the component of its name.
        assert_eq!(chosen(&["buddy"]).unwrap(), "buddy");
        insta::assert_snapshot!(chosen(&["x"]).unwrap_err(), @r#"
        there is no series "x"
          help: the series are: list, fixes, buddy, tables, spaces; the components: mm
        "#);
        insta::assert_snapshot!(unknown_series(&ordered, "mm"), @r"
        mm is a component of several series
          help: name one of them: tables, spaces
        ");
    }

    #[test]
    fn parse_bad_component_and_parts() {
        let text = GOOD.replace(
            "version = 2",
            "version = 2\ncomponent = \"a b\"\nlocal = \" \"",
        );
        let text = text.replace("text = '''\nmod b;\n'''", "items = []");
        insta::assert_snapshot!(message(&text), @r#"
        series/clist.toml:3: "a b" cannot be the name of a component
          help: name the folder that holds `tree/` and `edits/`: lower-case letters and digits, in parts joined by `-` or `_`
        error: series/clist.toml:4: `local` is empty
          help: give the reason why the series is never posted
        error: series/clist.toml:20: a [[patch.withhold]] has either `text` or `items`
          help: `text` has whole lines; `items` names Rust items, as "fn new"
        "#);
    }
}
