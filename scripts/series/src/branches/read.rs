// SPDX-License-Identifier: GPL-2.0

//! The own commits of branches. The commits of the base and of lower series are not part of them.

use crate::{
    b4,
    branches::{clone, fetch},
    git::{Author, Entry, Git, Mode, Oid},
    source::{
        branch::{Branches, Change, Commit, refuse_twins},
        manifest::{At, Base, Series, below, in_order},
    },
    sys::{Error, Result, must},
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
        let Some(branch) = &one.branch else {
            continue;
        };
        let lower = below(&ordered, &one.name);
        match own(theirs, tool, &fork, one, branch, &lower) {
            Ok(commits) => drop(all.insert(one.name.to_string(), commits)),
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
        let file = base.file.display();
        Error::new(format!("has no commit {rev}, which is the base"))
            .at(theirs.dir(), None)
            .help(format!("fetch it there, or name another in {file}"))
    })
}

fn own(
    theirs: &Git<'_>,
    tool: &Git<'_>,
    fork: &Oid,
    series: &Series,
    branch: &At<String>,
    lower: &[&Series],
) -> Result<Vec<Commit>> {
    let at = |e: Error| e.at(&series.file, branch.line);
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
        let what = format!(
            "{} has no commits besides those of the base and of the series below it",
            branch.value
        );
        return Err(series.error(branch.line, what).help(dropping(series)));
    }
    refuse_twins(&series.name, &commits).map_err(at)?;
    Ok(commits)
}

/// Describes how to remove a series that its base contains.
pub fn dropping(series: &Series) -> String {
    format!(
        "if {name} was merged, remove {file}, and {name} from `depends` and [without] of the series \
         that build on it",
        name = series.name,
        file = series.file.display()
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
        let error = Error::new(format!("it has more than {MOST} commits of its own"));
        return Err(error.help("name the commit that it forked from as the base"));
    }
    let mut commits = described(theirs, &names)?;
    commits.retain(|c| !b4::is_cover(&c.message) || !c.changes.is_empty());
    if let Some(empty) = commits.iter().find(|c| c.changes.is_empty()) {
        let (commit, subject) = (empty.short(), empty.subject());
        let error = Error::new(format!("commit {commit} ({subject:?}) changes nothing"));
        return Err(error.help("remove it with `git rebase -i`"));
    }
    Ok(commits)
}

fn described(theirs: &Git<'_>, names: &[Oid]) -> Result<Vec<Commit>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let input: String = names.iter().map(|n| format!("{n}\n")).collect();
    let log = ["log", "--no-walk=unsorted", "--stdin", "-z", "--date=raw"];
    let log = theirs.cmd(log).args(["--encoding=UTF-8", FORMAT]);
    let log = must(theirs.runner(), &log.stdin(input.clone()))?;
    let mut commits = parse_commits(&String::from_utf8_lossy(&log.stdout))?;
    let raw = theirs.cmd(["diff-tree", "--stdin", "-r", "-z", "--raw"]);
    let raw = raw.args(["--no-renames", "--root"]).stdin(input);
    let raw = must(theirs.runner(), &raw)?;
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
    let commits = text.split('\0').filter(|one| !one.is_empty());
    commits.map(parse_commit).collect()
}

fn parse_commit(text: &str) -> Result<Commit> {
    let fields: Vec<&str> = text.splitn(6, '\n').collect();
    let [commit, parents, name, email, date, message] = fields[..] else {
        return Err(Error::new("git log printed something unexpected"));
    };
    let parents: Vec<Oid> = parents.split(' ').filter_map(Oid::parse).collect();
    let (Some(oid), [parent]) = (Oid::parse(commit), &parents[..]) else {
        let (commit, subject) = (&commit[..12], message.lines().next().unwrap_or_default());
        let what = format!("commit {commit} ({subject:?}) is a merge or has no parent");
        let help = "rebase the branch, so that each of its commits is a patch";
        return Err(Error::new(what).help(help));
    };
    let (above, below) = message.split_once("\n---\n").unwrap_or((message, ""));
    let mut note = below.trim().to_owned();
    if !note.is_empty() {
        note.push('\n');
    }
    let [name, email, date] = [name, email, date].map(str::to_owned);
    Ok(Commit {
        commit: oid,
        parent: parent.clone(),
        author: Author { name, email, date },
        message: format!("{}\n", above.trim_end()),
        note,
        changes: Vec::new(),
        diff: String::new(),
    })
}

/// Parses the output of `git diff-tree --stdin -z`: the name of each commit, and its changes.
fn parse_stream(bytes: &[u8]) -> Result<Vec<(Oid, Vec<Change>)>> {
    let text = String::from_utf8_lossy(bytes);
    let mut all: Vec<(Oid, Vec<Change>)> = Vec::new();
    let mut fields = text.split('\0').filter(|f| !f.is_empty());
    while let Some(field) = fields.next() {
        if let Some(name) = Oid::parse(field.trim()) {
            all.push((name, Vec::new()));
            continue;
        }
        let Some((name, changes)) = all.last_mut() else {
            return Err(unexpected());
        };
        let change = change(field, fields.next().unwrap_or_default());
        let place = format!("commit {}", &name.as_str()[..12]);
        changes.push(change.map_err(|e| e.at(place, None))?);
    }
    Ok(all)
}

/// The files in which two trees differ.
pub fn changes(git: &Git<'_>, old: &Oid, new: &Oid) -> Result<Vec<Change>> {
    let (old, new) = (old.as_str(), new.as_str());
    let out = git.must(["diff-tree", "-r", "-z", "--raw", "--no-renames", old, new])?;
    let text = String::from_utf8_lossy(&out.stdout);
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
        return Err(unexpected());
    };
    let entry = |mode: &str, blob: &str| match (Mode::parse(mode), Oid::parse(blob)) {
        _ if mode == "000000" => Ok(None),
        (Some(mode), Some(blob)) => Ok(Some(Entry { mode, blob })),
        _ => Err(Error::new(format!("{path} is a submodule"))
            .help("a patch changes files and symbolic links only")),
    };
    let (old, new) = (entry(old_mode, old)?, entry(new_mode, new)?);
    let path = path.to_owned();
    Ok(Change { path, old, new })
}

fn unexpected() -> Error {
    Error::new("git diff-tree printed something unexpected")
}
