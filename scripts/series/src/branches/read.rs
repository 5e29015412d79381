// SPDX-License-Identifier: GPL-2.0

//! The branches of the user's kernel clone, and their own commits. The commits of the base and of
//! lower series are not part of these.

use std::{collections::BTreeMap, path::Path};

use crate::{
    b4::{
        self,
        prepared::{self, Prepared},
    },
    branches::fetch::{self, tip},
    git::{Author, Entry, Git, Mode, Oid},
    source::{
        branch::{Branches, Change, Commit, refuse_twins},
        manifest::{At, Base, Series, below, in_order},
    },
    sys::{Error, Result, Runner},
};

/// A branch with more own commits than this most likely forked from something else.
const MOST: usize = 1000;

pub fn open<'a>(runner: &'a dyn Runner, dir: &'a Path) -> Result<Git<'a>> {
    let theirs = Git::of_user(runner, dir);
    let inside = theirs.cmd(["rev-parse", "--git-dir"]);
    let mut why = String::new();
    if dir.is_dir() {
        let out = theirs.try_run(&inside)?;
        if out.ok() {
            return Ok(theirs);
        }
        why = out.complaint();
    }
    Err(Error::new("is not a git repository that git can open")
        .at(dir, None)
        .detail(why)
        .help("name your kernel clone with --kernel DIR, or as `kernel` of the base"))
}

/// Reads the own commits of each series in `series` that names a branch. `tool` is the tool's
/// repository, which may not exist yet.
pub fn read(theirs: &Git<'_>, tool: &Git<'_>, base: &Base, series: &[Series]) -> Result<Branches> {
    let fork = fork_of(theirs, base)?;
    let ordered = in_order(series)?;
    let all = ordered.iter().filter_map(|one| {
        let lower = below(&ordered, &one.name);
        let commits = own(theirs, tool, &fork, one, one.branch.as_ref()?, &lower);
        Some(commits.map(|commits| (one.name.to_string(), commits)))
    });
    Ok(Branches::from_iter(Error::collect(all)?))
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
    let top = tip(theirs, &branch.value)
        .map_err(|e| at(e).help("name the branch that has the patches, or remove the series"))?;
    let mut without = vec![fork.clone()];
    for other in lower.iter().filter_map(|s| s.branch.as_ref()) {
        // The lower series reports that its branch is gone.
        without.extend(tip(theirs, &other.value).ok());
    }
    let recorded = series.fork_points.values();
    without.extend(recorded.filter_map(|point| Oid::parse(&point.value)));
    without.extend(fetch::fork_points(tool, &series.name)?);
    let (commits, _) = range(theirs, &top, &without).map_err(at)?;
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

/// Reads the commits up to `tip` that the commits in `without` do not contain, and the first cover
/// letter of b4 among them. Commits in `without` that the clone does not have are ignored.
pub fn range(
    theirs: &Git<'_>,
    tip: &Oid,
    without: &[Oid],
) -> Result<(Vec<Commit>, Option<Prepared>)> {
    let most = format!("--max-count={}", MOST + 1);
    let mut args = vec![
        "--reverse",
        "--topo-order",
        "--ignore-missing",
        "--date=raw",
    ];
    args.extend([most.as_str(), tip.as_str(), "--not"]);
    args.extend(without.iter().map(Oid::as_str));
    let log = theirs.log("%P%n%an%n%ae%n%ad%n%B", args)?;
    if log.len() > MOST {
        let error = Error::new(format!("it has more than {MOST} commits of its own"));
        return Err(error.help("name the commit that it forked from as the base"));
    }
    let names: Vec<&Oid> = log.iter().map(|(commit, _)| commit).collect();
    let input = names.iter().map(|name| format!("{name}\n")).collect();
    let mut changes = diff_tree(theirs, &["--root", "--stdin"], input)?;
    let (mut commits, mut cover) = (Vec::new(), None);
    for (diff, (commit, text)) in theirs.diffs(&names)?.into_iter().zip(&log) {
        let fields: Vec<&str> = text.splitn(5, '\n').collect();
        let [parents, name, email, date, message] = fields[..] else {
            return Err(Error::new("git log printed something unexpected"));
        };
        let error = |what: &str| {
            let subject = message.lines().next().unwrap_or_default();
            Error::new(format!("commit {} ({subject:?}) {what}", commit.short()))
        };
        let Some(parent) = Oid::parse(parents) else {
            return Err(error("is a merge or has no parent")
                .help("rebase the branch, so that each of its commits is a patch; if it is a commit of \
                       a newer kernel, set `rev` of the base to the commit that the branch forked from"));
        };
        let Some(changes) = changes.remove(&Some(commit.clone())) else {
            if b4::is_cover(message) {
                cover = cover.or_else(|| prepared::parse(message));
                continue;
            }
            return Err(error("changes nothing").help("remove it with `git rebase -i`"));
        };
        let (above, below) = message.split_once("\n---\n").unwrap_or((message, ""));
        let mut note = below.trim().to_owned();
        if !note.is_empty() {
            note.push('\n');
        }
        let [name, email, date] = [name, email, date].map(str::to_owned);
        commits.push(Commit {
            commit: commit.clone(),
            parent,
            author: Author { name, email, date },
            message: format!("{}\n", above.trim_end()),
            note,
            changes,
            diff,
        });
    }
    Ok((commits, cover))
}

pub fn changes(git: &Git<'_>, old: &Oid, new: &Oid) -> Result<Vec<Change>> {
    let mut found = diff_tree(git, &[old.as_str(), new.as_str()], String::new())?;
    Ok(found.remove(&None).unwrap_or_default())
}

/// Runs `git diff-tree`. Returns the changes by the commit that git names before them; before those
/// of two trees, it names none.
fn diff_tree(
    git: &Git<'_>,
    args: &[&str],
    input: String,
) -> Result<BTreeMap<Option<Oid>, Vec<Change>>> {
    let cmd = git.cmd(["diff-tree", "-r", "-z", "--raw", "--no-renames"]);
    let out = git.run(&cmd.args(args).stdin(input))?;
    let text = String::from_utf8_lossy(&out.stdout);
    let mut fields = text.split('\0').filter(|f| !f.is_empty());
    let mut all: BTreeMap<Option<Oid>, Vec<Change>> = BTreeMap::new();
    let mut commit = None;
    while let Some(field) = fields.next() {
        let Some(words) = field.strip_prefix(':') else {
            commit = Some(Oid::parse(field.trim()).ok_or_else(unexpected)?);
            continue;
        };
        let path = fields.next().unwrap_or_default();
        let change = change(words, path).map_err(|e| match &commit {
            Some(commit) => e.at(format!("commit {}", commit.short()), None),
            None => e,
        });
        all.entry(commit.clone()).or_default().push(change?);
    }
    Ok(all)
}

/// Parses git's raw format after the colon: `100644 100755 <blob> <blob> M`.
fn change(words: &str, path: &str) -> Result<Change> {
    let split: Vec<&str> = words.split(' ').collect();
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
