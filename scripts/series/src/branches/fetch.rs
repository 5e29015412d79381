// SPDX-License-Identifier: GPL-2.0

//! The tips of branches, their objects in the tool's repository, and the fork points that it has seen.

use std::path::Path;

use crate::{
    git::{Git, Oid, refs},
    source::{branch::Branches, manifest::Series},
    sys::{Error, Result},
};

/// Returns the last commit of a branch.
pub fn tip(theirs: &Git<'_>, branch: &str) -> Result<Oid> {
    let found = theirs.resolve(&format!("refs/heads/{branch}^{{commit}}"))?;
    found.ok_or_else(|| {
        let dir = theirs.dir().display();
        Error::new(format!("{dir} has no branch {branch:?}"))
            .help("`git branch` lists the branches")
    })
}

/// Fetches the commits of all branches that the tool's repository lacks.
pub fn fetch(tool: &Git<'_>, kernel: &Path, branches: &Branches) -> Result<()> {
    for (name, commits) in branches {
        let first = commits.first().map(|c| &c.parent).into_iter();
        let all: Vec<&Oid> = first.chain(commits.iter().map(|c| &c.commit)).collect();
        if !has(tool, &all)? {
            let kernel = kernel.canonicalize().unwrap_or_else(|_| kernel.to_owned());
            let kept = refs::branch_commits(name);
            let kept = |(i, oid)| (oid, format!("{kept}/{i}"));
            tool.fetch(&kernel, all.into_iter().enumerate().map(kept))?;
        }
    }
    Ok(())
}

fn has(git: &Git<'_>, names: &[&Oid]) -> Result<bool> {
    let input: String = names.iter().map(|n| format!("{n}\n")).collect();
    let cmd = git.cmd(["cat-file", "--batch-check"]).stdin(input);
    Ok(!git.run(&cmd)?.text().contains(" missing"))
}

/// Returns the fork points that [`remember`] recorded.
pub fn fork_points(tool: &Git<'_>, name: &str) -> Result<Vec<Oid>> {
    if !tool.dir().join(".git").is_dir() {
        return Ok(Vec::new());
    }
    let points = refs::fork_points(name);
    let out = tool.must(["for-each-ref", "--format=%(objectname)", &points])?;
    Ok(out.text().lines().filter_map(Oid::parse).collect())
}

/// Records the tips of lower branches that each branch contains now. When the lower branch is
/// rewritten, its old commits are still known not to be the branch's own.
pub fn remember(
    theirs: &Git<'_>,
    tool: &Git<'_>,
    series: &[&Series],
    branches: &Branches,
) -> Result<()> {
    for one in series {
        let Some(commits) = branches.get(one.name.as_str()) else {
            continue;
        };
        for dep in &one.depends {
            let lower = series.iter().find(|s| *s.name == *dep.value);
            let Some(branch) = lower.and_then(|s| s.branch.as_ref()) else {
                continue;
            };
            let tip = tip(theirs, &branch.value)?;
            let top = commits.last().map_or(&tip, |c| &c.commit);
            if theirs.contains(top, &tip)? && has(tool, &[&tip])? {
                let point = format!("{}/{}", refs::fork_points(&one.name), dep.value);
                tool.set_ref(&point, &tip)?;
            }
        }
    }
    Ok(())
}
