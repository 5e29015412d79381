// SPDX-License-Identifier: GPL-2.0

//! Reads the folder of a component: the overlay, the edits, and the commit messages of its series.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{
    git::Mode,
    source::{
        branch::Commit,
        changelog,
        manifest::{At, Patch, Series, unknown_series},
        relocation,
        words::SeriesName,
        workspace::Workspace,
    },
    sys::{Error, Result, files},
    versions::{
        postings::{self, Posting},
        trailers::{self, store::Entry},
    },
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayFile {
    pub mode: Mode,
    pub content: Vec<u8>,
}

/// A series with the files of its component, which other series may share.
#[derive(Debug, Clone)]
pub struct Component {
    pub series: Series,
    /// The names of all series of the component, including this series.
    pub siblings: Vec<SeriesName>,
    /// If the series is not posted on this base, `postings` and `trailers` are empty.
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
    pub trailers: Vec<Entry>,
}

impl Component {
    fn read(ws: &Workspace, series: Series, siblings: Vec<SeriesName>) -> Result<Self> {
        let name = series.name.as_str();
        let dir = Path::new(series.component.as_str());
        let cover_file = ws.place("cover-letters", format!("{name}.md"));
        let moves = dir.join("relocation.toml");
        let (trees, diffs) = (ws.folders(dir, "tree"), ws.folders(dir, "edits"));
        let files = [&moves, &cover_file, &changelog_file(&series)];
        for path in trees.iter().chain(&diffs).chain(files) {
            refuse_link(ws, path)?;
        }
        let mut relocation = Vec::new();
        if ws.path(&moves).exists() {
            relocation = relocation::read(&moves, &ws.read(&moves)?)?;
        }
        let is_posted_here = series.is_posted_on(ws.view());
        let mut postings = Vec::new();
        if is_posted_here {
            postings = postings::read_all(ws, name)?;
        }
        let form = "`# rust: x: add it` in the first line, then the reason for the series";
        let cover = wanted(ws, &cover_file, form);
        let changelog = changelog_of(ws, &series, &siblings);
        let errors = [&cover, &changelog].into_iter().cloned();
        Error::all(errors.filter_map(Result::err))?;
        let (cover, changelog) = (cover?, changelog?);
        let mut variants = BTreeMap::new();
        let overlay = layers(&trees, &mut variants, |tree| read_overlay(ws, tree))?;
        let edits = layers(&diffs, &mut variants, |dir| read_texts(ws, dir, "diff"))?;
        let folders = ws.folders("series", name);
        let mut messages = layers(&folders, &mut variants, |dir| read_texts(ws, dir, "msg"))?;
        let commits = commits_of(ws, &series);
        if series.branch.is_some() {
            if let Some(file) = messages.keys().next() {
                return Err(Error::new("the messages of this series are in its commits")
                    .at(format!("series/{name}/{file}"), None)
                    .help("remove this file"));
            }
            let message = |c: &Commit| (c.subject().to_owned(), c.message.clone());
            messages = commits.iter().map(message).collect();
        }
        let rename = |file: &str| postings::present_file(file, &postings, &series, &messages);
        let mut trailers = Vec::new();
        if is_posted_here {
            trailers = trailers::read(ws, name, &postings, &rename)?;
        }
        Ok(Self {
            overlay,
            relocation,
            edits,
            cover,
            cover_file,
            changelog,
            trailers,
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

    pub fn name(&self) -> &str {
        &self.series.name
    }

    /// Returns the name of the component, which is its folder.
    pub fn folder(&self) -> &str {
        &self.series.component
    }

    pub fn changelog_file(&self) -> PathBuf {
        changelog_file(&self.series)
    }

    pub fn posted(&self) -> Option<&Posting> {
        self.postings.last()
    }
}

/// Reads a folder and its variants, whose files replace those of earlier folders.
fn layers<T>(
    folders: &[PathBuf],
    variants: &mut BTreeMap<PathBuf, PathBuf>,
    read: impl Fn(&Path) -> Result<BTreeMap<String, T>>,
) -> Result<BTreeMap<String, T>> {
    let plain = &folders[0];
    let mut all = read(plain)?;
    for folder in &folders[1..] {
        let files = read(folder)?;
        let names = files.keys();
        variants.extend(names.map(|name| (plain.join(name), folder.join(name))));
        all.extend(files);
    }
    Ok(all)
}

fn changelog_file(series: &Series) -> PathBuf {
    Path::new(series.component.as_str()).join("CHANGELOG.md")
}

/// Returns the changelog of a series. Lines of other series are blank.
pub fn changelog_of(ws: &Workspace, series: &Series, siblings: &[SeriesName]) -> Result<String> {
    let file = changelog_file(series);
    let form = "`## v1` in a line, and `- First posting.` below it";
    let text = wanted(ws, &file, form)?;
    let section = changelog::section(&text, &series.name, siblings);
    let section = section.map_err(|(line, e)| e.at(&file, line))?;
    Ok(changelog::of_section(&text, &section))
}

pub fn siblings(series: &Series, all: &[Series]) -> Vec<SeriesName> {
    let all = all.iter().filter(|s| s.component == series.component);
    all.map(|s| s.name.clone()).collect()
}

/// Reads a mandatory text of a series. `form` describes a minimal text.
fn wanted(ws: &Workspace, path: &Path, form: &str) -> Result<String> {
    let text = ws.read(path);
    if ws.path(path).exists() {
        return text;
    }
    text.map_err(|e| e.help(format!("create it: {form}")))
}

fn manifest(ws: &Workspace, name: &str) -> Result<Series> {
    let read = |file: &Path| Series::parse_on(name, file, &ws.read(file)?, ws.view());
    let file = ws.place("series", format!("{name}.toml"));
    let mut series = read(&file)?;
    take_commits(ws, &mut series)?;
    // Only the patches may differ between bases.
    let plain = Path::new("series").join(format!("{name}.toml"));
    if file == plain || !ws.path(&plain).exists() {
        return Ok(series);
    }
    let other = read(&plain)?;
    if series.version != other.version
        || series.change_id != other.change_id
        || series.component != other.component
    {
        let what = "version, change-id or component differ from the default manifest";
        let error = series.error(series.line_of_version, what);
        return Err(error.help(format!(
            "they are the same on all bases; copy them from {}",
            plain.display()
        )));
    }
    Ok(series)
}

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
    // The series does not exist on other bases.
    if !series.is_posted_on(ws.view()) {
        series.patches.clear();
        return Ok(());
    }
    let mut exceptions = std::mem::take(&mut series.patches);
    for commit in commits_of(ws, series) {
        let subject = commit.subject();
        let (value, line) = (subject.to_owned(), branch.line);
        let message = At { value, line };
        let plain = Patch {
            line,
            message,
            ..Patch::default()
        };
        let at = exceptions.iter().position(|p| p.message.value == subject);
        let patch = at.map_or(plain, |at| exceptions.swap_remove(at));
        series.patches.push(patch);
    }
    let help = "its subject changed, the commit was removed, or another [[patch]] names it: update \
                `subject`, or remove this [[patch]]";
    let lost = exceptions.into_iter().map(|patch| {
        let At { value, line } = patch.message;
        let what = format!("{} has no commit {value:?}", branch.value);
        series.error(line, what).help(help)
    });
    Error::all(lost)
}

/// Returns the names of the series: the file names of the manifests.
fn names(ws: &Workspace) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for dir in ws.folders("series", "") {
        let mut files = list(ws, &dir)?;
        files.retain(|file| file.extension().is_some_and(|e| e == "toml"));
        names.extend(
            files
                .iter()
                .filter_map(|file| file.file_stem()?.to_str().map(str::to_owned)),
        );
    }
    names.remove("base");
    Ok(names)
}

fn read_manifests(ws: &Workspace) -> Result<(Vec<Series>, Vec<Error>)> {
    let all = names(ws)?.into_iter().map(|name| manifest(ws, &name));
    let (mut all, errors) = Error::split(all);
    // The commits of a branch fit the commit that it forked from.
    all.retain(|one| one.branch.is_none() || one.is_posted_on(ws.view()));
    Ok((all, errors))
}

/// Reads all manifests, but no other files. Reports all errors at once.
pub fn manifests(ws: &Workspace) -> Result<Vec<Series>> {
    let (all, errors) = read_manifests(ws)?;
    Error::all(errors)?;
    Ok(all)
}

/// Reads all series with their components, unordered. Reports all errors at once.
pub fn read_all(ws: &Workspace) -> Result<Vec<Component>> {
    let (series, errors) = read_manifests(ws)?;
    let read = |one: &Series| Component::read(ws, one.clone(), siblings(one, &series));
    Error::collect(errors.into_iter().map(Err).chain(series.iter().map(read)))
}

pub fn find<'a>(all: &'a [Component], name: &str) -> Result<&'a Component> {
    all.iter().find(|c| c.name() == name).ok_or_else(|| {
        let series: Vec<&Series> = all.iter().map(|c| &c.series).collect();
        unknown_series(&series, name)
    })
}

/// Refuses symbolic links, whose targets may change without a change in the component.
fn refuse_link(ws: &Workspace, shown: &Path) -> Result<()> {
    if ws.path(shown).is_symlink() {
        let error = Error::new("is a symbolic link").at(shown, None);
        return Err(error.help("replace the link with the file"));
    }
    Ok(())
}

/// Returns the sorted paths in a folder, or no paths if the folder is missing.
fn list(ws: &Workspace, dir: &Path) -> Result<Vec<PathBuf>> {
    let path = ws.path(dir);
    let exists = path.try_exists();
    if !exists.map_err(|e| Error::io("list", &path, &e))? {
        return Ok(Vec::new());
    }
    let all = files::list(&path)?;
    let is_bad = |path: &&PathBuf| ws.shown(path).to_str().is_none();
    if let Some(bad) = all.iter().find(is_bad) {
        return Err(Error::new("the name is not UTF-8").at(bad, None));
    }
    Ok(all.iter().map(|path| ws.shown(path).to_owned()).collect())
}

fn read_overlay(ws: &Workspace, tree: &Path) -> Result<BTreeMap<String, OverlayFile>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        for shown in list(ws, &folder)? {
            let path = ws.path(&shown);
            let meta = fs::symlink_metadata(&path).map_err(|e| Error::io("stat", &path, &e))?;
            if meta.is_dir() {
                folders.push(shown);
                continue;
            }
            if !meta.is_file() {
                let kind = meta.is_symlink().then_some("a symbolic link");
                let kind = kind.unwrap_or("not a plain file");
                let error = Error::new(format!("is {kind}")).at(&shown, None);
                return Err(error.help("the overlay may contain plain files only"));
            }
            let content = files::read(&path)?;
            let mode = match meta.permissions().mode() & 0o111 {
                0 => Mode::Plain,
                _ => Mode::Executable,
            };
            let below = shown.strip_prefix(tree).unwrap_or(&shown).display();
            files.insert(below.to_string(), OverlayFile { mode, content });
        }
    }
    Ok(files)
}

fn read_texts(ws: &Workspace, dir: &Path, ending: &str) -> Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for shown in list(ws, dir)? {
        refuse_link(ws, &shown)?;
        if ws.path(&shown).is_dir() {
            continue;
        }
        if shown.extension().is_none_or(|e| e != ending) {
            let error = Error::new(format!("only .{ending} files and folders belong here"));
            return Err(error.at(&shown, None).help("move or remove it"));
        }
        let name = shown.strip_prefix(dir).unwrap_or(&shown).display();
        texts.insert(name.to_string(), ws.read(&shown)?);
    }
    Ok(texts)
}
