// SPDX-License-Identifier: GPL-2.0

//! `adopt`: a workspace for branches of the user's kernel clone.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::session;
use crate::{
    branches::{
        adopt::{self, Found, Named},
        clone, read,
    },
    cli::args::{Adopt, Cli},
    git::{self, Git},
    source::{
        component,
        manifest::Base,
        workspace::{BASES, Workspace},
    },
    sys::{
        error::{Error, Result},
        files::write,
        plural::count,
        runner::Runner,
        ui::Ui,
    },
};

/// Creates the manifests of branches. Writes no file if a branch is refused.
pub fn adopt(runner: &dyn Runner, cli: &Cli, adopt: &Adopt) -> Result<()> {
    let here = cli
        .workspace
        .clone()
        .map_or_else(std::env::current_dir, std::path::absolute);
    let here = here.map_err(|e| Error::new(format!("cannot find the current folder: {e}")))?;
    let ui = Ui::detect(cli.quiet);
    let present = Present::find(&here)?;
    let kernel = present.kernel(cli.kernel.as_deref())?;
    let _ = git::read_trusted(runner, &kernel);
    let theirs = clone::open(runner, &kernel)?;
    let new = named(&theirs, &adopt.branches)?;
    present.refuse_known(&new)?;
    let fork = match &present.base {
        Some(base) => read::fork_of(&theirs, base)?,
        None => adopt::fork(&theirs, adopt.onto.as_deref(), &new)?,
    };
    let found = adopt::find(&theirs, &fork, &present.branches(&theirs)?, &new)?;
    let base = match &present.base {
        Some(base) => base.name.clone(),
        None => adopt::base_name(&theirs, &fork)?,
    };
    let mut files = Vec::new();
    if present.base.is_none() {
        let text = adopt::base_file(&kernel, &fork, &found);
        files.push((PathBuf::from(format!("{BASES}/{base}.toml")), text));
    }
    for one in &found {
        files.extend(adopt::files(one, &today(), &random()?));
    }
    refuse_present(&present.root, &files)?;
    for (path, text) in &files {
        write(&present.root.join(path), text.as_bytes())?;
    }
    for one in &found {
        ui.say(summary(one, &base));
    }
    present.warn_of_rust(&found, &ui);
    Ok(())
}

/// The current content of the folder.
struct Present {
    root: PathBuf,
    ws: Option<Workspace>,
    base: Option<Base>,
}

impl Present {
    fn find(here: &Path) -> Result<Self> {
        if let Ok(ws) = Workspace::find(here) {
            let base = session::bases(&ws)?.into_iter().next();
            let root = ws.root().to_owned();
            let ws = Some(ws);
            return Ok(Self { root, ws, base });
        }
        let entries = fs::read_dir(here).into_iter().flatten().flatten();
        let mut visible = entries.filter(|e| !e.file_name().to_string_lossy().starts_with('.'));
        match visible.next() {
            None => Ok(Self {
                root: here.to_owned(),
                ws: None,
                base: None,
            }),
            Some(_) => Err(Error::new(
                "the folder is neither empty nor a workspace of patch series",
            )
            .at(here, None)
            .help("change into an empty folder, or name one with --workspace DIR")),
        }
    }

    /// Returns the absolute path of the kernel clone.
    fn kernel(&self, named: Option<&Path>) -> Result<PathBuf> {
        let of_base = self.base.as_ref().and_then(|b| b.kernel.as_ref());
        let of_base = of_base.map(|dir| self.root.join(dir));
        let kernel = named.map(Path::to_owned).or(of_base).ok_or_else(|| {
            Error::new("no kernel clone given")
                .help("add --kernel DIR, the kernel clone with the branches")
        })?;
        fs::canonicalize(&kernel).map_err(|e| Error::io("open", &kernel, &e))
    }

    /// Refuses branches that are series already.
    fn refuse_known(&self, new: &[Named]) -> Result<()> {
        let mut errors = Vec::new();
        let known = match &self.ws {
            Some(ws) => component::manifests(ws)?,
            None => Vec::new(),
        };
        for (name, branch, _) in new {
            if let Some(old) = known.iter().find(|s| s.name == *name) {
                errors.push(
                    Error::new(format!("series {name} already exists"))
                        .at(old.file(), None)
                        .help(format!(
                            "each command reads its commits again; rename {branch} if it is \
                             another series"
                        )),
                );
            }
        }
        Error::all(errors).map_or(Ok(()), Err)
    }

    /// Returns the branches of existing series.
    fn branches(&self, theirs: &Git<'_>) -> Result<Vec<Named>> {
        let known = match &self.ws {
            Some(ws) => component::manifests(ws)?,
            None => Vec::new(),
        };
        let mut all = Vec::new();
        for series in known {
            if let Some(branch) = series.branch {
                let tip = clone::tip(theirs, &branch.value);
                let tip = tip.map_err(|e| e.at(&series.file, branch.line))?;
                all.push((series.name, branch.value, tip));
            }
        }
        Ok(all)
    }

    /// Warns if a branch needs Rust, but kernels are built with gcc.
    fn warn_of_rust(&self, found: &[Found], ui: &Ui) {
        let base = self.base.as_ref().filter(|b| !b.build.llvm);
        let one = found.iter().find(|f| adopt::has_rust(f));
        if let (Some(base), Some(one)) = (base, one) {
            ui.warn(format!(
                "{} has Rust files: write llvm = true into {}",
                one.branch,
                base.file.display()
            ));
        }
    }
}

/// Finds the tips of the branches.
fn named(theirs: &Git<'_>, branches: &[String]) -> Result<Vec<Named>> {
    let mut all: Vec<Named> = Vec::new();
    let mut errors = Vec::new();
    for branch in branches {
        let branch = branch.strip_prefix("refs/heads/").unwrap_or(branch);
        let one = adopt::name_of(branch).and_then(|name| Ok((name, clone::tip(theirs, branch)?)));
        match one {
            Ok((name, _)) if all.iter().any(|(n, ..)| *n == name) => errors.push(
                Error::new(format!("two branches have the series name {name}"))
                    .help("rename one of the branches"),
            ),
            Ok((name, tip)) => all.push((name, branch.to_owned(), tip)),
            Err(e) => errors.push(e),
        }
    }
    Error::all(errors).map_or(Ok(all), Err)
}

/// Refuses to overwrite files.
fn refuse_present(root: &Path, files: &[(PathBuf, String)]) -> Result<()> {
    let present = files.iter().filter(|(path, _)| root.join(path).exists());
    let errors = present.map(|(path, _)| {
        Error::new("the file already exists")
            .at(path, None)
            .help("remove it, or rename the branch")
    });
    Error::all(errors.collect()).map_or(Ok(()), Err)
}

/// Describes an adopted branch and the remaining steps.
fn summary(one: &Found, base: &str) -> String {
    let lower: Vec<&str> = one.lower.iter().map(|(name, _)| name.as_str()).collect();
    let on = match lower.is_empty() {
        true => base.to_owned(),
        false => lower.join(", "),
    };
    let name = &one.name;
    let commits = count(one.commits.len(), "commit", "commits");
    let mut text = format!("series/{name}.toml: {commits} of {} on {on}", one.branch);
    match &one.prepared {
        None => {
            text += &format!("\n  to do: the text of cover-letters/{name}.md, `to` in the manifest")
        }
        Some(known) if known.to.is_empty() => text += "\n  to do: `to` in the manifest",
        Some(_) => (),
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
fn random() -> Result<String> {
    let mut bytes = [0; 6];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|e| Error::io("read", "/dev/urandom", &e))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
