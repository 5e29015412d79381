// SPDX-License-Identifier: GPL-2.0

//! Reads the folder of a component: the overlay, the edits, and the commit messages of its series.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::{
    git::Mode,
    source::{
        branch::Commit,
        changelog,
        manifest::{Patch, Series, unknown_series},
        relocation,
        words::SeriesName,
        workspace::Workspace,
    },
    sys::{
        error::{Error, Result},
        files::read_text,
    },
    versions::{
        postings::{self, Posting},
        trailers::{self, RecordedTrailer},
    },
};

/// A file of the overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayFile {
    pub mode: Mode,
    pub content: Vec<u8>,
}

/// A series with the files of its component, which other series may share, and its own messages,
/// cover letter and postings.
#[derive(Debug, Clone)]
pub struct Component {
    pub series: Series,
    /// The names of all series of the component, including this series.
    pub siblings: Vec<SeriesName>,
    /// Whether the series is posted on this base. On other bases, `postings` and `trailers` are
    /// empty.
    pub is_posted_here: bool,
    /// Whether the base is not the default base. The default base uses all plain files.
    pub is_other_base: bool,
    /// Variants for the base, by the paths of the plain files that they replace.
    pub variants: BTreeMap<PathBuf, PathBuf>,
    /// The files of `tree/`, by their path in the kernel.
    pub overlay: BTreeMap<String, OverlayFile>,
    /// The steps of `relocation.toml`. Empty if the file is missing.
    pub relocation: Vec<relocation::Step>,
    /// The diffs of `edits/`, by file name.
    pub edits: BTreeMap<String, String>,
    /// The messages of `series/<name>/` by file name, or the messages of a branch by subject.
    pub messages: BTreeMap<String, String>,
    /// The commits of the branch, in the order of the patches; empty if the series names none.
    pub commits: Vec<Commit>,
    pub cover: String,
    /// The file of the cover letter, below the top folder.
    pub cover_file: PathBuf,
    /// The changelog of the component. Lines of other series are blank.
    pub changelog: String,
    /// The records of postings, the oldest version first.
    pub postings: Vec<Posting>,
    /// The trailers from reviewers.
    pub trailers: Vec<RecordedTrailer>,
}

impl Component {
    /// Reads the files for a manifest. `siblings` are the series of its component.
    ///
    /// # Errors
    ///
    /// A file is missing or malformed, or the overlay contains links or special files.
    fn read(ws: &Workspace, series: Series, siblings: Vec<SeriesName>) -> Result<Self> {
        let name = &*series.name;
        let dir = PathBuf::from(&*series.component);
        let cover_file = ws.place("cover-letters", format!("{name}.md"));
        let changelog = dir.join(CHANGELOG);
        let moves = dir.join("relocation.toml");
        let (trees, diffs) = (ws.folders(&dir, "tree"), ws.folders(&dir, "edits"));
        let files = [&moves, &cover_file, &changelog];
        for path in trees.iter().chain(&diffs).chain(files) {
            refuse_link(ws, path)?;
        }
        let relocation = match ws.path(&moves).exists() {
            true => relocation::read(&moves, &ws.read(&moves)?)?,
            false => Vec::new(),
        };
        let is_posted_here = series.is_posted_on(ws.view());
        let postings = match is_posted_here {
            true => postings::read_all(ws, name)?,
            false => Vec::new(),
        };
        let cover = wanted(
            ws,
            &cover_file,
            "`# rust: x: add it` in the first line, then the reason for the series",
        );
        let changelog = wanted(
            ws,
            &changelog,
            "`## v1` in a line, and `- First posting.` below it",
        )
        .and_then(|text| {
            let section = changelog::section(&text, name, &siblings);
            let section = section.map_err(|(line, e)| e.at(&changelog, line))?;
            Ok(changelog::of_section(&text, &section))
        });
        let (cover, changelog) = both(cover, changelog)?;
        let mut variants = BTreeMap::new();
        let mut overlay = BTreeMap::new();
        for folder in &trees {
            let mut files = BTreeMap::new();
            read_overlay(ws, folder, Path::new(""), &mut files)?;
            note_variants(&mut variants, &trees[0], folder, files.keys());
            overlay.extend(files);
        }
        let mut texts = |folders: &[PathBuf], ending: &str| -> Result<BTreeMap<String, String>> {
            let mut all = BTreeMap::new();
            for folder in folders {
                let texts = read_texts(ws, folder, ending)?;
                note_variants(&mut variants, &folders[0], folder, texts.keys());
                all.extend(texts);
            }
            Ok(all)
        };
        let edits = texts(&diffs, "diff")?;
        let mut messages = texts(&ws.folders("series", name), "msg")?;
        let commits = commits_of(ws, &series);
        if series.branch.is_some() {
            refuse_messages(&series, &messages)?;
            let by_subject = commits
                .iter()
                .map(|c| (c.subject().to_owned(), c.message.clone()));
            messages = by_subject.collect();
        }
        let rename = |file: &str| postings::present_file(file, &postings, &series, &messages);
        Ok(Self {
            overlay,
            relocation,
            edits,
            cover,
            cover_file,
            changelog,
            trailers: match is_posted_here {
                true => trailers::read(ws, name, &postings, &rename)?,
                false => Vec::new(),
            },
            messages,
            commits,
            postings,
            siblings,
            is_posted_here,
            is_other_base: ws.view().other,
            variants,
            series,
        })
    }

    /// Returns the variant of a plain file such as "list/tree/list.rs", or its own path.
    pub fn place(&self, plain: impl Into<PathBuf>) -> PathBuf {
        let plain = plain.into();
        self.variants.get(&plain).cloned().unwrap_or(plain)
    }

    /// Returns the place of the message of a patch: its file, or its commit.
    pub fn place_of_message(&self, message: &str) -> PathBuf {
        match self.commits.iter().find(|c| c.subject() == message) {
            Some(commit) => commit.place(),
            None => self.place(format!("series/{}/{message}", self.name())),
        }
    }

    /// Returns the name of the series.
    pub fn name(&self) -> &str {
        &self.series.name
    }

    /// Returns the name of the component, which is its folder.
    pub fn folder(&self) -> &str {
        &self.series.component
    }

    /// Returns the file of the changelog, below the top folder.
    pub fn changelog_file(&self) -> PathBuf {
        changelog_file(&self.series)
    }

    /// Returns the last posting.
    pub fn posted(&self) -> Option<&Posting> {
        self.postings.last()
    }
}

/// Records the files in `folder` as variants of files in `plain`.
fn note_variants<'a>(
    variants: &mut BTreeMap<PathBuf, PathBuf>,
    plain: &Path,
    folder: &Path,
    names: impl Iterator<Item = &'a String>,
) {
    if folder != plain {
        variants.extend(names.map(|name| (plain.join(name), folder.join(name))));
    }
}

/// The name of a component's changelog.
const CHANGELOG: &str = "CHANGELOG.md";

/// Returns the file of the changelog of a series.
pub fn changelog_file(series: &Series) -> PathBuf {
    Path::new(&*series.component).join(CHANGELOG)
}

/// Returns the changelog of a series. Lines of other series are blank.
///
/// # Errors
///
/// The changelog cannot be read, or has no section for the series.
pub fn changelog_of(ws: &Workspace, series: &Series, all: &[Series]) -> Result<String> {
    let file = changelog_file(series);
    let text = ws.read(&file)?;
    let section = changelog::section(&text, &series.name, &siblings(series, all));
    let section = section.map_err(|(line, e)| e.at(&file, line))?;
    Ok(changelog::of_section(&text, &section))
}

/// Returns the series of the same component.
fn siblings(series: &Series, all: &[Series]) -> Vec<SeriesName> {
    all.iter()
        .filter(|s| s.component == series.component)
        .map(|s| s.name.clone())
        .collect()
}

/// Reads a mandatory text of a series. `form` describes a minimal text.
fn wanted(ws: &Workspace, path: &Path, form: &str) -> Result<String> {
    let missing = !ws.path(path).exists();
    ws.read(path).map_err(|e| match missing {
        true => e.help(format!("create it: {form}")),
        false => e,
    })
}

/// Joins two results. Reports both errors if both failed.
fn both<A, B>(a: Result<A>, b: Result<B>) -> Result<(A, B)> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(a), Err(b)) => Err(Error::all(vec![a.clone(), b]).unwrap_or(a)),
        (Err(e), _) | (_, Err(e)) => Err(e),
    }
}

/// Reads the manifest of a series for the base.
fn manifest(ws: &Workspace, name: &str) -> Result<Series> {
    let file = ws.place("series", format!("{name}.toml"));
    let mut series = Series::parse_on(name, &file, &ws.read(&file)?, ws.view())?;
    take_commits(ws, &mut series)?;
    // Only the patches may differ between bases.
    let plain = Path::new("series").join(format!("{name}.toml"));
    if file == plain || !ws.path(&plain).exists() {
        return Ok(series);
    }
    let other = Series::parse_on(name, &plain, &ws.read(&plain)?, ws.view())?;
    let same = series.version == other.version
        && series.change_id == other.change_id
        && series.component == other.component;
    match same {
        true => Ok(series),
        false => Err(Error::new(
            "version, change-id or component differ from the default manifest",
        )
        .at(&file, series.line_of_version)
        .help(format!(
            "they are the same on all bases; copy them from {}",
            plain.display()
        ))),
    }
}

/// Returns the commits of the branch of a series.
fn commits_of(ws: &Workspace, series: &Series) -> Vec<Commit> {
    let found = ws.branches().and_then(|all| all.get(series.name.as_str()));
    found.cloned().unwrap_or_default()
}

/// Uses the commits of the branch as the patches of the series. `[[patch]]` in the manifest only
/// adds exceptions for a commit.
fn take_commits(ws: &Workspace, series: &mut Series) -> Result<()> {
    let (Some(branch), Some(_)) = (&series.branch, ws.branches()) else {
        return Ok(());
    };
    let commits = commits_of(ws, series);
    let mut exceptions = std::mem::take(&mut series.patches);
    series.patches = commits
        .iter()
        .map(|commit| {
            let found = exceptions
                .iter()
                .position(|p| p.message.value == commit.subject());
            match found {
                Some(at) => exceptions.swap_remove(at),
                None => Patch::of_commit(commit.subject(), branch.line),
            }
        })
        .collect();
    let lost = exceptions.into_iter().map(|p| {
        Error::new(format!(
            "{} has no commit {:?}",
            branch.value, p.message.value
        ))
        .at(&series.file, p.message.line)
        .help(
            "its subject changed, or the commit was removed: update `subject`, or remove this \
               [[patch]]",
        )
    });
    Error::all(lost.collect()).map_or(Ok(()), Err)
}

/// Refuses files with messages for a series whose messages are in its commits.
fn refuse_messages(series: &Series, messages: &BTreeMap<String, String>) -> Result<()> {
    match messages.keys().next() {
        None => Ok(()),
        Some(file) => Err(Error::new("the messages of this series are in its commits")
            .at(format!("series/{}/{file}", series.name), None)
            .help("remove this file")),
    }
}

/// Returns the names of the series: the file names of the manifests.
fn names(ws: &Workspace) -> Result<Vec<String>> {
    let mut names = BTreeSet::new();
    for entry in ws
        .folders("series", "")
        .iter()
        .map(|dir| list(&ws.path(dir)))
    {
        for entry in entry? {
            let path = Path::new(&entry);
            if path.extension().is_some_and(|e| e == "toml") && entry != "base.toml" {
                names.extend(path.file_stem().and_then(|s| s.to_str()).map(str::to_owned));
            }
        }
    }
    Ok(names.into_iter().collect())
}

/// Reads the manifests. Returns the valid manifests, and the errors of the others.
fn read_manifests(ws: &Workspace) -> Result<(Vec<Series>, Vec<Error>)> {
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for name in names(ws)? {
        match manifest(ws, &name) {
            Ok(one) => all.push(one),
            Err(e) => errors.push(e),
        }
    }
    Ok((all, errors))
}

/// Reads all manifests, but no other files. Reports all errors at once.
pub fn manifests(ws: &Workspace) -> Result<Vec<Series>> {
    let (all, errors) = read_manifests(ws)?;
    Error::all(errors).map_or(Ok(all), Err)
}

/// Reads all series with their components, unordered. Reports all errors at once.
pub fn read_all(ws: &Workspace) -> Result<Vec<Component>> {
    let (series, mut errors) = read_manifests(ws)?;
    let mut all = Vec::new();
    for one in &series {
        match Component::read(ws, one.clone(), siblings(one, &series)) {
            Ok(one) => all.push(one),
            Err(e) => errors.push(e),
        }
    }
    Error::all(errors).map_or(Ok(all), Err)
}

/// Finds a series by its name. The error lists the existing series.
pub fn find<'a>(all: &'a [Component], name: &str) -> Result<&'a Component> {
    let all_series: Vec<&Series> = all.iter().map(|c| &c.series).collect();
    let mut all = all.iter();
    all.find(|c| c.name() == name)
        .ok_or_else(|| unknown_series(&all_series, name))
}

/// Refuses symbolic links, whose targets may change without a change in the component.
fn refuse_link(ws: &Workspace, shown: &Path) -> Result<()> {
    match ws.path(shown).is_symlink() {
        true => Err(Error::new("is a symbolic link")
            .at(shown, None)
            .help("replace the link with the file")),
        false => Ok(()),
    }
}

/// Returns the sorted names in a folder, or no names if the folder is missing.
fn list(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("list", dir, &e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("list", dir, &e))?;
        let name = entry.file_name();
        let name = name
            .to_str()
            .ok_or_else(|| Error::new("the name is not UTF-8").at(entry.path(), None))?;
        names.push(name.to_owned());
    }
    names.sort();
    Ok(names)
}

fn read_overlay(
    ws: &Workspace,
    tree: &Path,
    below: &Path,
    into: &mut BTreeMap<String, OverlayFile>,
) -> Result<()> {
    let dir = ws.path(tree).join(below);
    for name in list(&dir)? {
        let below = below.join(&name);
        let shown = tree.join(&below);
        let path = ws.path(&shown);
        let meta = fs::symlink_metadata(&path).map_err(|e| Error::io("stat", &path, &e))?;
        if meta.is_dir() {
            read_overlay(ws, tree, &below, into)?;
        } else if meta.is_file() {
            let content = fs::read(&path).map_err(|e| Error::io("read", &path, &e))?;
            let executable = std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o111;
            let mode = match executable {
                0 => Mode::Plain,
                _ => Mode::Executable,
            };
            into.insert(
                below.to_string_lossy().into_owned(),
                OverlayFile { mode, content },
            );
        } else {
            let kind = if meta.is_symlink() {
                "a symbolic link"
            } else {
                "not a plain file"
            };
            return Err(Error::new(format!("is {kind}"))
                .at(&shown, None)
                .help("the overlay may contain plain files only"));
        }
    }
    Ok(())
}

fn read_texts(ws: &Workspace, dir: &Path, ending: &str) -> Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for name in list(&ws.path(dir))? {
        let shown = dir.join(&name);
        refuse_link(ws, &shown)?;
        if ws.path(&shown).is_dir() {
            continue;
        }
        if Path::new(&name).extension().is_none_or(|e| e != ending) {
            return Err(
                Error::new(format!("only .{ending} files and folders belong here"))
                    .at(&shown, None)
                    .help("move or remove it"),
            );
        }
        let text = read_text(&ws.path(&shown)).map_err(|e| e.at(&shown, None))?;
        texts.insert(name, text);
    }
    Ok(texts)
}
