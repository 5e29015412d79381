// SPDX-License-Identifier: GPL-2.0

//! `adopt`: a workspace for branches of the user's kernel clone.

use std::{
    collections::BTreeSet,
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    Base, Error, Git, Result, Runner, Series, Ui, Workspace, bases, component, count, write,
};
use crate::{
    b4::prepared::Prepared,
    branches::{
        adopt::{self, Found, Named},
        fetch, read,
    },
    cli::args::{Adopt, Cli},
    git::{self, Oid},
    source::workspace::BASES,
    sys::files::read_text,
};

/// Creates the manifests of branches. Writes no file if a branch is refused.
pub fn adopt(runner: &dyn Runner, cli: &Cli, adopt: &Adopt) -> Result<()> {
    let ui = Ui::detect(cli.quiet);
    let present = Present::find(&bases::folder(cli)?)?;
    let kernel = present.kernel(cli.kernel.as_deref())?;
    let _ = git::read_trusted(runner, &kernel);
    let theirs = read::open(runner, &kernel)?;
    let new = named(&theirs, &adopt.branches)?;
    present.refuse_known(&new)?;
    let target = present.target(&theirs, adopt.onto.as_deref(), &new)?;
    let found = adopt::find(&theirs, &target.fork, &present.branches(&theirs)?, &new)?;
    let mut files = Vec::new();
    if target.known.is_none() {
        let text = adopt::base_file(&kernel, &target.fork, &found, present.bases.is_empty());
        files.push((format!("{BASES}/{}.toml", target.name), text));
    }
    let is_default = target
        .known
        .map_or(present.bases.is_empty(), |base| base.default);
    let base = (!is_default).then_some(target.name.as_str());
    for one in &found {
        files.extend(adopt::files(one, base, &today(), &random()));
    }
    refuse_present(&present.root, &files)?;
    if !present.root.join(".gitignore").exists() {
        files.push((".gitignore".to_owned(), "/out/\n".to_owned()));
    }
    for (path, text) in &files {
        write(&present.root.join(path), text.as_bytes())?;
    }
    for one in &found {
        ui.say(summary(one, &target.name));
    }
    warn_of_rust(target.known, &found, &ui);
    Ok(())
}

struct Present {
    root: PathBuf,
    /// The default base is the first.
    bases: Vec<Base>,
    series: Vec<Series>,
}

/// The base of new branches.
struct Target<'a> {
    name: String,
    fork: Oid,
    /// The base of the workspace that it is; [`None`] if it is new.
    known: Option<&'a Base>,
}

impl Present {
    fn find(here: &Path) -> Result<Self> {
        if let Ok(ws) = Workspace::find(here) {
            return Ok(Self {
                root: ws.root().to_owned(),
                bases: bases::read(&ws)?,
                series: component::manifests(&ws)?,
            });
        }
        let mut entries = fs::read_dir(here).into_iter().flatten().flatten();
        if entries.any(|e| !e.file_name().to_string_lossy().starts_with('.')) {
            let what = "the folder is neither empty nor a workspace of patch series";
            let help = "change into an empty folder, or name one with --workspace DIR";
            return Err(Error::new(what).at(here, None).help(help));
        }
        Ok(Self {
            root: here.to_owned(),
            bases: Vec::new(),
            series: Vec::new(),
        })
    }

    /// Returns the absolute path of the kernel clone.
    fn kernel(&self, named: Option<&Path>) -> Result<PathBuf> {
        let of_base = self.bases.first().and_then(|b| b.kernel.as_ref());
        let of_base = of_base.map(|dir| self.root.join(dir));
        let kernel = named.map(Path::to_owned).or(of_base).ok_or_else(|| {
            Error::new("no kernel clone given")
                .help("add --kernel DIR, the kernel clone with the branches")
        })?;
        fs::canonicalize(&kernel).map_err(|e| Error::io("open", &kernel, &e))
    }

    fn refuse_known(&self, new: &[Named]) -> Result<()> {
        let known = |(name, branch, _): &Named| {
            let old = self.series.iter().find(|s| s.name == *name)?;
            let error = old.error(None, format!("series {name} already exists"));
            Some(error.help(format!(
                "each command reads its commits again; rename {branch} if it is another series"
            )))
        };
        Error::all(new.iter().filter_map(known))
    }

    fn branches(&self, theirs: &Git<'_>) -> Result<Vec<Named>> {
        let mut all = Vec::new();
        for series in &self.series {
            if let Some(branch) = &series.branch {
                let tip = fetch::tip(theirs, &branch.value);
                let tip = tip.map_err(|e| e.at(&series.file, branch.line))?;
                all.push((series.name.clone(), branch.value.clone(), tip));
            }
        }
        Ok(all)
    }

    /// Finds the base of new branches. `onto` is the revision that the user names.
    fn target(&self, theirs: &Git<'_>, onto: Option<&str>, new: &[Named]) -> Result<Target<'_>> {
        let of_branch = |s: &&Series| s.branch.as_ref().is_some_and(|b| Some(&*b.value) == onto);
        if let Some(series) = self.series.iter().find(of_branch) {
            let what = format!("{} is the branch of a series", onto.unwrap_or_default());
            let name = &series.name;
            let help = format!("omit --onto; a branch that contains it depends on {name}");
            return Err(series.error(None, what).help(help));
        }
        let commit = |base: &Base| Some((base.name.clone(), read::fork_of(theirs, base).ok()?));
        let commits: Vec<_> = self.bases.iter().filter_map(commit).collect();
        let fork = match (onto, &self.bases[..]) {
            (None, [base]) => read::fork_of(theirs, base)?,
            (None, [_, _, ..]) => adopt::nearest(theirs, &commits, new)?,
            _ => adopt::fork(theirs, onto, new)?,
        };
        if let Some((name, _)) = commits.iter().find(|(_, commit)| *commit == fork) {
            return Ok(Target {
                name: name.clone(),
                fork,
                known: self.bases.iter().find(|b| b.name == *name),
            });
        }
        self.refuse_without_default()?;
        let is_taken = |name: &str| {
            let known = self.series.iter().map(|s| &s.name);
            let mut series = known.chain(new.iter().map(|(name, ..)| name));
            series.any(|n| **n == *name) || self.bases.iter().any(|b| b.name == name)
        };
        Ok(Target {
            name: adopt::base_name(theirs, &fork, onto, is_taken)?,
            fork,
            known: None,
        })
    }

    /// Refuses a second base without `default = true` in the first, which alone does not need it.
    fn refuse_without_default(&self) -> Result<()> {
        let Some(Base { file, .. }) = self.bases.first() else {
            return Ok(());
        };
        let text = read_text(&self.root.join(file)).map_err(|e| e.at(file, None))?;
        if Base::parse(file, &text)?.default {
            return Ok(());
        }
        let error = Error::new("the branches are on another base").at(file, None);
        Err(error.help("write `default = true` into this file, or name its commit with --onto"))
    }
}

/// Warns if a branch needs Rust, but kernels are built with gcc.
fn warn_of_rust(base: Option<&Base>, found: &[Found], ui: &Ui) {
    let one = found.iter().find(|f| adopt::has_rust(f));
    if let (Some(base), Some(one)) = (base.filter(|b| !b.build.llvm), one) {
        let (branch, file) = (&one.branch, base.file.display());
        ui.warn(format!(
            "{branch} has Rust files: write llvm = true into {file}"
        ));
    }
}

fn named(theirs: &Git<'_>, branches: &[String]) -> Result<Vec<Named>> {
    let mut names = BTreeSet::new();
    Error::collect(branches.iter().map(|branch| {
        let branch = branch.strip_prefix("refs/heads/").unwrap_or(branch);
        let name = adopt::name_of(branch)?;
        let tip = fetch::tip(theirs, branch)?;
        if !names.insert(name.to_string()) {
            let error = Error::new(format!("two branches have the series name {name}"));
            return Err(error.help("rename one of the branches"));
        }
        Ok((name, branch.to_owned(), tip))
    }))
}

fn refuse_present(root: &Path, files: &[(String, String)]) -> Result<()> {
    let present = files.iter().filter(|(path, _)| root.join(path).exists());
    Error::all(present.map(|(path, _)| {
        let error = Error::new("the file already exists").at(path, None);
        error.help("remove it, or rename the branch")
    }))
}

/// Describes an adopted branch and the remaining steps.
fn summary(one: &Found, base: &str) -> String {
    let mut on: Vec<&str> = one.lower.iter().map(|(name, _)| name.as_str()).collect();
    if on.is_empty() {
        on.push(base);
    }
    let (branch, on) = (&one.branch, on.join(", "));
    let name = &one.name;
    let commits = count(one.commits.len(), "commit", "commits");
    let mut text = format!("series/{name}.toml: {commits} of {branch} on {on}");
    let known = one.prepared.as_ref();
    let is_open = |p: &Prepared| p.title.contains("EDITME") || p.text.contains("EDITME");
    let cover = known.is_none_or(is_open);
    let cover = cover.then(|| format!("the text of cover-letters/{name}.md"));
    let to = known.is_none_or(|p| p.to.is_empty());
    let to = to.then(|| "`to` in the manifest".to_owned());
    let left: Vec<String> = cover.into_iter().chain(to).collect();
    if !left.is_empty() {
        text += &format!("\n  to do: {}", left.join(", "));
    }
    for version in one.prepared.iter().flat_map(|p| &p.posted) {
        text += &format!(
            "\n  to do: record {version}, which b4 posted: cargo series record {name} --mbox FILE"
        );
    }
    text
}

/// Returns the date in the format of b4, such as "20260102".
fn today() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.chars().take(10).filter(char::is_ascii_digit).collect()
}

/// Returns twelve random hexadecimal digits.
fn random() -> String {
    let number = RandomState::new().build_hasher().finish();
    format!("{number:016x}")[..12].to_owned()
}
