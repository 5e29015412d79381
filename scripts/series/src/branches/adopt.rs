// SPDX-License-Identifier: GPL-2.0

//! From branches to the files of a workspace: manifests, cover letters and changelogs.
//!
//! [`find`] asks git about the branches, [`files`] makes the texts.

use std::path::Path;

use super::read;
use crate::{
    b4::{self, prepared::Prepared},
    git::{Git, Oid},
    mail::fingerprint::fingerprint,
    source::{
        branch::{Commit, refuse_twins},
        manifest::is_base_name,
        words::{SeriesName, is_reserved},
    },
    sys::{Error, Result},
};

/// A branch, and the series that it becomes or is.
#[derive(Debug, Clone)]
pub struct Found {
    pub name: SeriesName,
    pub branch: String,
    /// The series that it builds on, each with the tip of its branch.
    pub lower: Vec<(String, Oid)>,
    pub commits: Vec<Commit>,
    /// The cover letter and the tracking data of b4.
    pub prepared: Option<Prepared>,
}

/// Returns the name of the series of a branch: the last part of its name.
pub fn name_of(branch: &str) -> Result<SeriesName> {
    let last = branch.rsplit('/').next().unwrap_or(branch);
    let name = last.to_ascii_lowercase().replace(['.', '+'], "-");
    SeriesName::parse(&name).map_err(|_| {
        let why = if is_reserved(&name) {
            "; a folder of the workspace has that name"
        } else {
            ""
        };
        Error::new(format!("the branch {branch} does not give a series a name{why}")).help(
            "rename the branch: after the last `/`, ASCII letters and digits in parts joined by `-` or \
             `_`",
        )
    })
}

/// A branch by name, with its tip.
pub type Named = (SeriesName, String, Oid);

/// Finds the dependencies and the own commits of `new` branches. `known` lists the branches of the
/// workspace, and `fork` is the commit that the stack forked from.
pub fn find(theirs: &Git<'_>, fork: &Oid, known: &[Named], new: &[Named]) -> Result<Vec<Found>> {
    let all: Vec<&Named> = known.iter().chain(new).collect();
    let each = new.iter().map(|one| find_one(theirs, fork, &all, one));
    let (mut found, errors) = Error::split(each);
    Error::all(errors.into_iter().chain(shared(&found)))?;
    take_copies(&mut found);
    Ok(found)
}

fn find_one(theirs: &Git<'_>, fork: &Oid, all: &[&Named], one: &Named) -> Result<Found> {
    let (name, branch, tip) = one;
    let mut earlier = all.iter().take_while(|other| other.0 != *name);
    if let Some((_, other, _)) = earlier.find(|other| other.2 == *tip) {
        let error = Error::new(format!("{branch} and {other} are the same commit"));
        return Err(error.help("adopt one of them; a series needs commits of its own"));
    }
    let mut below: Vec<&Named> = Vec::new();
    for other in all.iter().filter(|o| o.0 != *name && o.2 != *tip) {
        if theirs.contains(tip, &other.2)? && !theirs.contains(fork, &other.2)? {
            below.push(other);
        }
    }
    let tips = below.iter().map(|other| &other.2);
    let without: Vec<Oid> = [fork].into_iter().chain(tips).cloned().collect();
    let (commits, prepared) =
        read::range(theirs, tip, &without).map_err(|e| Error::new(format!("{branch}: {e}")))?;
    if commits.is_empty() {
        return Err(Error::new(format!("{branch} has no commits of its own"))
            .help("everything in it is in the base or in another adopted branch"));
    }
    refuse_twins(branch, &commits)?;
    let tops = theirs.cmd(["merge-base", "--independent"]);
    let tops = theirs.run(&tops.args(without.iter().map(Oid::as_str)))?;
    let tops = tops.text();
    below.retain(|other| tops.lines().any(|top| top == other.2.as_str()));
    let lower = below
        .into_iter()
        .map(|(name, _, tip)| (name.to_string(), tip.clone()));
    Ok(Found {
        name: name.clone(),
        branch: branch.clone(),
        lower: lower.collect(),
        commits,
        prepared,
    })
}

/// Leaves out commits that are copies of another branch. A branch on top of two others that do not
/// build on each other contains one of them, and has copies of the other.
fn take_copies(found: &mut [Found]) {
    let all = found.to_vec();
    for one in found.iter_mut() {
        while let Some(other) = all.iter().find(|other| starts_with(one, other)) {
            let rest = one.commits.split_off(other.commits.len());
            let copies = std::mem::replace(&mut one.commits, rest);
            let last = copies.last().map(|copy| &copy.commit);
            let lower = last.map(|last| (other.name.to_string(), last.clone()));
            one.lower.extend(lower);
        }
    }
    let all = found.to_vec();
    for one in found {
        let lower = one.lower.clone();
        let is_indirect = |name: &str| lower.iter().any(|(other, _)| is_below(&all, name, other));
        one.lower.retain(|(name, _)| !is_indirect(name));
    }
}

/// Whether a branch has copies of all commits of another one, and further ones after them.
fn starts_with(one: &Found, other: &Found) -> bool {
    let same = |(a, b): (&Commit, &Commit)| {
        a.subject() == b.subject() && fingerprint(&a.diff) == fingerprint(&b.diff)
    };
    one.commits.len() > other.commits.len()
        && !one.lower.iter().any(|(name, _)| *name == *other.name)
        && one.commits.iter().zip(&other.commits).all(same)
}

fn is_below(all: &[Found], name: &str, other: &str) -> bool {
    let others = all.iter().filter(|f| *f.name == *other);
    let mut lower = others.flat_map(|f| &f.lower);
    lower.any(|(below, _)| below == name || is_below(all, name, below))
}

/// Reports commits that belong to two branches of which neither contains the other.
fn shared(found: &[Found]) -> Vec<Error> {
    let mut errors = Vec::new();
    for (at, one) in found.iter().enumerate() {
        for other in &found[..at] {
            let is_shared = |c: &&Commit| other.commits.iter().any(|o| o.commit == c.commit);
            let Some(commit) = one.commits.iter().find(is_shared) else {
                continue;
            };
            let (this, other) = (&one.branch, &other.branch);
            let (commit, subject) = (commit.short(), commit.subject());
            let what = format!(
                "{other} and {this} share commit {commit} ({subject:?}), but neither contains the \
                 other"
            );
            errors.push(Error::new(what).help(format!(
                "make a branch of the shared commits and adopt it too, or rebase {this} on {other}"
            )));
        }
    }
    errors
}

/// Returns the commit that a stack of branches forked from: the merge base with `onto` or with the
/// upstream branch, or the parent of b4's first cover letter.
pub fn fork(theirs: &Git<'_>, onto: Option<&str>, new: &[Named]) -> Result<Oid> {
    let mut forks = Vec::new();
    for (_, branch, tip) in new {
        let found = match onto {
            Some(onto) => Some(merge_base(theirs, onto, tip)?.ok_or_else(|| {
                Error::new(format!("{branch} has no commit in common with {onto}"))
                    .help("name with --onto what the branch forked from")
            })?),
            None => fork_of_one(theirs, branch, tip, new)?,
        };
        forks.extend(found.map(|fork| (branch.as_str(), fork)));
    }
    let help = "rebase one of them, or adopt each with a command of its own, as a base each";
    common(&forks, "forked from different commits", help)?.ok_or_else(|| {
        Error::new(format!("it is not known what {} forked from", new[0].1)).help(
            "name it with --onto REV; there is neither an upstream branch nor b4's cover letter",
        )
    })
}

/// Returns the common commit. `differ` completes the error about two that have different ones.
fn common(of: &[(&str, Oid)], differ: &str, help: &str) -> Result<Option<Oid>> {
    let Some((first, commit)) = of.first() else {
        return Ok(None);
    };
    match of.iter().find(|(_, other)| other != commit) {
        Some((other, _)) => Err(Error::new(format!("{first} and {other} {differ}")).help(help)),
        None => Ok(Some(commit.clone())),
    }
}

fn fork_of_one(theirs: &Git<'_>, branch: &str, tip: &Oid, new: &[Named]) -> Result<Option<Oid>> {
    let upstream = format!("{branch}@{{upstream}}");
    let upstream = theirs.cmd(["rev-parse", "--symbolic-full-name", &upstream]);
    let upstream = theirs.try_run(&upstream)?;
    let name = upstream.text();
    // A branch on top of another one may name that as its upstream.
    let is_ours = |(_, branch, _): &Named| name == format!("refs/heads/{branch}");
    if upstream.ok() && !new.iter().any(is_ours) {
        return merge_base(theirs, &name, tip);
    }
    match b4::covers(theirs, tip.as_str(), 100)?.last() {
        Some((cover, _)) => theirs.resolve(&format!("{cover}^")),
        None => Ok(None),
    }
}

fn merge_base(theirs: &Git<'_>, onto: &str, tip: &Oid) -> Result<Option<Oid>> {
    let Some(onto) = theirs.resolve(&format!("{onto}^{{commit}}"))? else {
        return Err(Error::new(format!("there is no revision {onto:?}"))
            .at(theirs.dir(), None)
            .help("fetch it there, or name another with --onto"));
    };
    let out = theirs.try_run(&theirs.cmd(["merge-base", onto.as_str(), tip.as_str()]))?;
    Ok(Oid::parse(&out.text()))
}

pub type KnownBase = (String, Oid);

/// Returns the base among several that the branches are on. Of bases that contain each other, a
/// branch is on the last one that it contains.
pub fn nearest(theirs: &Git<'_>, bases: &[KnownBase], new: &[Named]) -> Result<Oid> {
    let mut found = Vec::new();
    for (_, branch, tip) in new {
        let mut nearest: Option<&Oid> = None;
        for (_, base) in bases {
            let is_later = nearest.map_or(Ok(true), |other| theirs.contains(base, other))?;
            if is_later && theirs.contains(tip, base)? {
                nearest = Some(base);
            }
        }
        let base = nearest.ok_or_else(|| {
            let names: Vec<&str> = bases.iter().map(|(name, _)| name.as_str()).collect();
            let names = names.join(", ");
            Error::new(format!("it is not known on which base {branch} is")).help(format!(
                "name with --onto what it forked from; the bases are: {names}"
            ))
        })?;
        found.push((branch.as_str(), base.clone()));
    }
    let help = "adopt each with a command of its own";
    let base = common(&found, "are on different bases", help)?;
    base.ok_or_else(|| Error::new("there is no branch to adopt"))
}

/// Returns the name of a new base: the tag, the branch `onto`, or the first digits of the commit.
pub fn base_name(
    theirs: &Git<'_>,
    fork: &Oid,
    onto: Option<&str>,
    is_taken: impl Fn(&str) -> bool,
) -> Result<String> {
    let args = ["describe", "--tags", "--exact-match", fork.as_str()];
    let tag = theirs.try_run(&theirs.cmd(args))?;
    let tag = tag.ok().then(|| tag.text().replace('/', "-"));
    let branch = match onto {
        Some(branch) if theirs.resolve(&format!("refs/heads/{branch}"))?.is_some() => {
            branch.rsplit('/').next().map(str::to_owned)
        }
        _ => None,
    };
    let is_free = |name: &String| is_base_name(name) && !is_taken(name);
    let name = tag.into_iter().chain(branch).find(is_free);
    Ok(name.unwrap_or_else(|| format!("base-{}", fork.short())))
}

pub fn base_file(kernel: &Path, fork: &Oid, found: &[Found], is_default: bool) -> String {
    let kernel = quoted(&kernel.display().to_string());
    let mut text = format!(
        "# SPDX-License-Identifier: GPL-2.0\n\n# The commit that the branches forked from, and the \
         git tree that has it.\nrev = \"{fork}\"\nkernel = {kernel}\n"
    );
    if is_default {
        text += "default = true\n";
    }
    if !found.iter().any(has_rust) {
        text += "\n# Kernels are built with gcc. Rust needs `true`.\n[build]\nllvm = false\n";
    }
    text
}

pub fn has_rust(found: &Found) -> bool {
    let mut changes = found.commits.iter().flat_map(|c| &c.changes);
    changes.any(|c| c.path.ends_with(".rs"))
}

/// The files of a series, each with its path in the workspace. `id` stands at the end of a new
/// change id, and `date` at its start. `base` is the base, unless that is the default.
pub fn files(found: &Found, base: Option<&str>, date: &str, id: &str) -> [(String, String); 3] {
    let name = &found.name;
    let cover_letter = match &found.prepared {
        Some(p) => format!("# {}\n\n{}\n", p.title, p.text),
        None => "# EDITME: what the series does\n\n\
                 EDITME: why, for reviewers who have not seen the patches.\n"
            .to_owned(),
    };
    let manifest = manifest(found, base, date, id);
    let changelog = format!("# Changelog of {name}\n\n## v1\n- First posting.\n");
    [
        (format!("series/{name}.toml"), manifest),
        (format!("cover-letters/{name}.md"), cover_letter),
        (format!("{name}/CHANGELOG.md"), changelog),
    ]
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn manifest(found: &Found, base: Option<&str>, date: &str, id: &str) -> String {
    let known = found.prepared.clone().unwrap_or_default();
    let new_id = || format!("{date}-{}-{id}", found.name);
    let mut prefix = known.prefixes.clone();
    prefix.push("PATCH".to_owned());
    let mut text = format!(
        "# SPDX-License-Identifier: GPL-2.0\n\nbranch = {}\nversion = 1\nprefix = {}\n\
         change-id = {}\n",
        quoted(&found.branch),
        quoted(&prefix.join(" ")),
        quoted(&known.change_id.unwrap_or_else(new_id))
    );
    text.extend(base.map(|base| format!("base = {}\n", quoted(base))));
    let depends: Vec<String> = found.lower.iter().map(|(name, _)| quoted(name)).collect();
    if !depends.is_empty() {
        text += &format!("depends = [{}]\n", depends.join(", "));
    }
    if known.to.is_empty() {
        text += "# scripts/get_maintainer.pl of the kernel names the recipients.\n";
    }
    for (field, list) in [("to", &known.to), ("cc", &known.cc)] {
        let list = list.iter().map(|one| format!("\n    {},", quoted(one)));
        let list = list.collect::<String>();
        let end = if list.is_empty() { "" } else { "\n" };
        text += &format!("{field} = [{list}{end}]\n");
    }
    if !found.lower.is_empty() {
        text += "\n# The number of leading patches that do not need it, which `check --full` verifies.\n\
                 [without]\n";
        text.extend(found.lower.iter().map(|(name, _)| format!("{name} = 0\n")));
        text += "\n# The commit of the lower branch on which this branch sits.\n[fork-point]\n";
        let points = found.lower.iter();
        text.extend(points.map(|(name, tip)| format!("{name} = \"{tip}\"\n")));
    }
    text
}
