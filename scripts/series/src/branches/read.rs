// SPDX-License-Identifier: GPL-2.0

//! The own commits of branches. The commits of the base and of lower series are not part of them.

use crate::{
    b4,
    branches::{clone, fetch},
    git::{Author, Entry, Git, Mode, Oid},
    source::{
        branch::{Branches, Change, Commit, refuse_twins},
        manifest::{Base, Series, below, in_order},
    },
    sys::{
        error::{Error, Result},
        runner::must,
    },
};

/// A branch with more own commits than this most likely forked from something else.
const MOST: usize = 1000;

/// The format that [`parse_commits`] parses.
const FORMAT: &str = "--format=%H%n%P%n%an%n%ae%n%ad%n%B";

/// Reads the own commits of each series in `series` that names a branch. `tool` is the tool's
/// repository, which may not exist yet.
pub fn read(theirs: &Git<'_>, tool: &Git<'_>, base: &Base, series: &[Series]) -> Result<Branches> {
    let fork = fork_of(theirs, base)?;
    let ordered = in_order(series)?;
    let mut all = Branches::new();
    let mut errors = Vec::new();
    for one in &ordered {
        let lower: Vec<&Series> = below(&ordered, &one.name);
        match own(theirs, tool, &fork, one, &lower) {
            Ok(Some(commits)) => {
                all.insert(one.name.to_string(), commits);
            }
            Ok(None) => (),
            Err(e) => errors.push(e),
        }
    }
    Error::all(errors).map_or(Ok(all), Err)
}

/// Returns the commit of the base in the user's clone.
pub fn fork_of(theirs: &Git<'_>, base: &Base) -> Result<Oid> {
    let rev = base.rev.clone().unwrap_or_else(|| base.release());
    let found = theirs.resolve(&format!("{rev}^{{commit}}")).ok().flatten();
    found.ok_or_else(|| {
        Error::new(format!("has no commit {rev}, which is the base"))
            .at(theirs.dir(), None)
            .help(format!(
                "fetch it there, or name another in {}",
                base.file.display()
            ))
    })
}

/// Reads the own commits of a series; [`None`] if it names no branch.
fn own(
    theirs: &Git<'_>,
    tool: &Git<'_>,
    fork: &Oid,
    series: &Series,
    lower: &[&Series],
) -> Result<Option<Vec<Commit>>> {
    let Some(branch) = &series.branch else {
        return Ok(None);
    };
    let at = |e: Error| e.at(series.file(), branch.line);
    let top = clone::tip(theirs, &branch.value)
        .map_err(|e| at(e).help("name the branch that has the patches, or remove the series"))?;
    let mut without = vec![fork.clone()];
    for other in lower.iter().filter_map(|s| s.branch.as_ref()) {
        // The lower series reports that its branch is gone.
        without.extend(clone::tip(theirs, &other.value).ok());
    }
    let recorded = series.fork_points.values();
    without.extend(recorded.filter_map(|point| Oid::parse(&point.value)));
    without.extend(fetch::fork_points(tool, &series.name)?);
    let commits = range(theirs, &top, &without).map_err(at)?;
    if commits.is_empty() {
        return Err(at(Error::new(format!(
            "{} has no commits besides those of the base and of the series below it",
            branch.value
        ))
        .help(dropping(series))));
    }
    refuse_twins(&series.name, &commits).map_err(at)?;
    Ok(Some(commits))
}

/// Describes how to remove a series that its base contains.
pub fn dropping(series: &Series) -> String {
    format!(
        "if {name} was merged, remove {file}, and {name} from `depends` and [without] of the series \
         that build on it",
        name = series.name,
        file = series.file().display()
    )
}

/// Reads the commits up to `tip` that the commits in `without` do not contain, without cover
/// letters of b4. Commits in `without` that the clone does not have are ignored.
pub fn range(theirs: &Git<'_>, tip: &Oid, without: &[Oid]) -> Result<Vec<Commit>> {
    let most = format!("--max-count={}", MOST + 1);
    let list = theirs
        .cmd(["rev-list", "--reverse", "--topo-order", "--ignore-missing"])
        .args([most.as_str(), tip.as_str(), "--not"])
        .args(without.iter().map(Oid::as_str));
    let list = must(theirs.runner(), &list)?.text();
    let names: Vec<Oid> = list.lines().filter_map(Oid::parse).collect();
    if names.len() > MOST {
        return Err(
            Error::new(format!("it has more than {MOST} commits of its own"))
                .help("name the commit that it forked from as the base"),
        );
    }
    let mut commits = described(theirs, &names)?;
    commits.retain(|c| !b4::is_cover(&c.message) || !c.changes.is_empty());
    match commits.iter().find(|c| c.changes.is_empty()) {
        None => Ok(commits),
        Some(empty) => Err(Error::new(format!(
            "commit {} ({:?}) changes nothing",
            empty.short(),
            empty.subject()
        ))
        .help("remove it with `git rebase -i`")),
    }
}

/// Reads commits by name.
fn described(theirs: &Git<'_>, names: &[Oid]) -> Result<Vec<Commit>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let input: String = names.iter().map(|n| format!("{n}\n")).collect();
    let log = ["log", "--no-walk=unsorted", "--stdin", "-z", "--date=raw"];
    let log = theirs.cmd(log).args(["--encoding=UTF-8", FORMAT]);
    let log = must(theirs.runner(), &log.stdin(input.clone()))?;
    let mut commits = parse_commits(&String::from_utf8_lossy(&log.stdout))?;
    let raw = [
        "diff-tree",
        "--stdin",
        "-r",
        "-z",
        "--raw",
        "--no-renames",
        "--root",
    ];
    let raw = must(theirs.runner(), &theirs.cmd(raw).stdin(input))?;
    for (name, changes) in parse_stream(&raw.stdout)? {
        if let Some(one) = commits.iter_mut().find(|c| c.commit == name) {
            one.changes = changes;
        }
    }
    let diffs = theirs.diffs(&names.iter().collect::<Vec<_>>())?;
    for (commit, diff) in commits.iter_mut().zip(diffs) {
        commit.diff = diff;
    }
    Ok(commits)
}

/// Parses the output of `git log -z` in [`FORMAT`].
fn parse_commits(text: &str) -> Result<Vec<Commit>> {
    let mut commits = Vec::new();
    for one in text.split('\0').filter(|one| !one.is_empty()) {
        let fields: Vec<&str> = one.splitn(6, '\n').collect();
        let [commit, parents, name, email, date, message] = fields[..] else {
            return Err(Error::new("git log printed something unexpected"));
        };
        let (above, below) = message.split_once("\n---\n").unwrap_or((message, ""));
        let subject = message.lines().next().unwrap_or_default();
        let parents: Vec<Oid> = parents.split(' ').filter_map(Oid::parse).collect();
        let (Some(commit), [parent]) = (Oid::parse(commit), &parents[..]) else {
            return Err(Error::new(format!(
                "commit {} ({subject:?}) is a merge or has no parent",
                &commit[..12]
            ))
            .help("rebase the branch, so that each of its commits is a patch"));
        };
        commits.push(Commit {
            commit,
            parent: parent.clone(),
            author: Author {
                name: name.to_owned(),
                email: email.to_owned(),
                date: date.to_owned(),
            },
            message: format!("{}\n", above.trim_end()),
            note: note(below),
            changes: Vec::new(),
            diff: String::new(),
        });
    }
    Ok(commits)
}

/// A note with a newline at the end; empty if there is none.
fn note(text: &str) -> String {
    match text.trim() {
        "" => String::new(),
        note => format!("{note}\n"),
    }
}

/// Parses the output of `git diff-tree --stdin -z`: the name of each commit, and its changes.
fn parse_stream(bytes: &[u8]) -> Result<Vec<(Oid, Vec<Change>)>> {
    let text = String::from_utf8_lossy(bytes);
    let mut all: Vec<(Oid, Vec<Change>)> = Vec::new();
    let mut fields = text.split('\0').filter(|f| !f.is_empty());
    while let Some(field) = fields.next() {
        match (Oid::parse(field.trim()), all.last_mut()) {
            (Some(name), _) => all.push((name, Vec::new())),
            (None, Some((name, changes))) => {
                let path = fields.next().unwrap_or_default();
                let change = change(field, path);
                changes.push(
                    change.map_err(|e| e.at(format!("commit {}", &name.as_str()[..12]), None))?,
                );
            }
            (None, None) => return Err(Error::new("git diff-tree printed something unexpected")),
        }
    }
    Ok(all)
}

/// The files in which two trees differ.
pub fn changes(git: &Git<'_>, old: &Oid, new: &Oid) -> Result<Vec<Change>> {
    let args = ["diff-tree", "-r", "-z", "--raw", "--no-renames"];
    let cmd = git.cmd(args).args([old.as_str(), new.as_str()]);
    let out = must(git.runner(), &cmd)?.stdout;
    let text = String::from_utf8_lossy(&out);
    let mut fields = text.split('\0').filter(|f| !f.is_empty());
    let mut changes = Vec::new();
    while let (Some(words), Some(path)) = (fields.next(), fields.next()) {
        changes.push(change(words, path)?);
    }
    Ok(changes)
}

/// Parses an entry of git's raw format: `:100644 100755 <blob> <blob> M`, and the path.
fn change(words: &str, path: &str) -> Result<Change> {
    let split: Vec<&str> = words.trim_start_matches(':').split(' ').collect();
    let [old_mode, new_mode, old, new, _] = split[..] else {
        return Err(Error::new("git diff-tree printed something unexpected"));
    };
    let entry = |mode: &str, blob: &str| match mode {
        "000000" => Ok(None),
        _ => match (Mode::parse(mode), Oid::parse(blob)) {
            (Some(mode), Some(blob)) => Ok(Some(Entry { mode, blob })),
            _ => Err(Error::new(format!("{path} is a submodule"))
                .help("a patch changes files and symbolic links only")),
        },
    };
    Ok(Change {
        path: path.to_owned(),
        old: entry(old_mode, old)?,
        new: entry(new_mode, new)?,
    })
}
