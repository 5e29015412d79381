// SPDX-License-Identifier: GPL-2.0

//! Recognizes a damaged repository by the messages of git, and names the repair.

use std::{
    fs,
    path::{
        Path,
        PathBuf, //
    },
};

use crate::sys::{
    error::Error,
    runner::Cmd, //
};

/// Messages of git about objects, packs and refs that it cannot read.
const SIGNS: &[&str] = &[
    "bad config line",
    "bad object refs/",
    "bad ref for ",
    "does not match index",
    "does not point to a valid object",
    "error: inflate:",
    "ignoring broken ref",
    "is corrupt",
    "is far too short to be a packfile",
    "is not a GIT packfile",
    "is too small",
    "missing object ",
    "not a git repository (or any",
    "reference broken",
    "unable to read tree",
    "unexpected line in ",
    "wrong index v",
];

/// The branch that a repository of the tool is on.
const HEAD: &str = "ref: refs/heads/nova-series";

/// Explains a failure in a repository of the tool's.
pub fn of_tool(cmd: &Cmd, said: &str) -> Option<Error> {
    if !is_damage(said) {
        return None;
    }
    let dir = repository(cmd.dir.as_deref()?);
    let home = dir.join(".git");
    let error = Error::new(format!(
        "the git repository in {} is damaged",
        dir.display()
    ))
    .detail(lines(said));
    if !home.is_dir() {
        return None;
    }
    if !has_head(&home) {
        return Some(error.help(format!(
            "restore its HEAD: echo '{HEAD}' > {}",
            home.join("HEAD").display()
        )));
    }
    if let Some(name) = broken_ref(said) {
        let file = home.join(name);
        return Some(error.help(match last_value(&home, name) {
            Some(oid) => format!(
                "restore the last value of {name}: echo {oid} > {}",
                file.display()
            ),
            None => format!("remove {}, and run this again", file.display()),
        }));
    }
    Some(error.help(format!(
        "remove {}, and run this again: the tool recreates it.\n\
         This loses postings by b4 that `cargo series posted` did not record",
        dir.display()
    )))
}

/// Explains a failure in a repository of the user's.
pub fn of_user(cmd: &Cmd, said: &str) -> Option<Error> {
    let dir = cmd.dir.as_deref().filter(|_| is_damage(said))?;
    // A folder that is in no repository is not a damaged one.
    (!said.contains("not a git repository")).then(|| {
        Error::new(format!(
            "the git repository in {} is damaged",
            dir.display()
        ))
        .detail(lines(said))
        .help("run `git fsck` there, or name another clone")
    })
}

/// Whether a message of git reports damage.
pub fn is_damage(said: &str) -> bool {
    SIGNS.iter().any(|sign| said.contains(sign))
}

fn lines(said: &str) -> String {
    let mut lines: Vec<&str> = said.lines().collect();
    lines.dedup();
    lines.truncate(5);
    lines.join("\n")
}

/// The main work tree: a linked one has a file that names its part of the repository.
fn repository(dir: &Path) -> PathBuf {
    let link = fs::read_to_string(dir.join(".git")).unwrap_or_default();
    let home = link.strip_prefix("gitdir: ").map(|l| Path::new(l.trim()));
    let main = home.and_then(|home| home.ancestors().find(|a| a.ends_with(".git"))?.parent());
    main.unwrap_or(dir).to_owned()
}

fn has_head(home: &Path) -> bool {
    let head = fs::read_to_string(home.join("HEAD")).unwrap_or_default();
    let head = head.trim_end();
    head.starts_with("ref: refs/") || crate::git::Oid::parse(head).is_some()
}

/// The ref with an invalid value. A valid ref to a missing object is a loss of objects, not of the
/// ref.
fn broken_ref(said: &str) -> Option<&str> {
    let broken = |l: &&str| {
        ["broken ref", "reference broken"]
            .iter()
            .any(|s| l.contains(s))
    };
    let line = said.lines().find(broken)?;
    line.split([' ', '\'', ':'])
        .find(|w| w.starts_with("refs/"))
}

/// The last value in the reflog of a ref.
fn last_value(home: &Path, name: &str) -> Option<String> {
    let log = fs::read_to_string(home.join("logs").join(name)).ok()?;
    let oid = log.lines().last()?.split(' ').nth(1)?;
    crate::git::Oid::parse(oid).map(|oid| oid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(dir: &Path, said: &str) -> String {
        let error = of_tool(&Cmd::new("git").dir(dir), said)
            .unwrap()
            .to_string();
        error.replace(dir.to_str().unwrap(), "DIR")
    }

    #[test]
    fn damage_is_named_with_what_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join(".git");
        fs::create_dir_all(home.join("logs/refs/heads/b4")).unwrap();
        let of = |said| explained(dir.path(), said);
        insta::assert_snapshot!(of("fatal: not a git repository (or any of the parent directories): .git"), @r"
        the git repository in DIR is damaged
            fatal: not a git repository (or any of the parent directories): .git
          help: restore its HEAD: echo 'ref: refs/heads/nova-series' > DIR/.git/HEAD
        ");
        fs::write(home.join("HEAD"), format!("{HEAD}\n")).unwrap();
        insta::assert_snapshot!(of("warning: ignoring broken ref refs/heads/b4/x"), @r"
        the git repository in DIR is damaged
            warning: ignoring broken ref refs/heads/b4/x
          help: remove DIR/.git/refs/heads/b4/x, and run this again
        ");
        let zero = "0".repeat(40);
        let log = format!("{zero} {} A <a@b> 1 +0000\tx\n", "1".repeat(40));
        fs::write(home.join("logs/refs/heads/b4/x"), log).unwrap();
        insta::assert_snapshot!(of("cannot lock ref 'refs/heads/b4/x': reference broken"), @r"
        the git repository in DIR is damaged
            cannot lock ref 'refs/heads/b4/x': reference broken
          help: restore the last value of refs/heads/b4/x: echo 1111111111111111111111111111111111111111 > DIR/.git/refs/heads/b4/x
        ");
        let pack = "error: packfile x.pack does not match index\n".repeat(3);
        insta::assert_snapshot!(of(&pack), @r"
        the git repository in DIR is damaged
            error: packfile x.pack does not match index
          help: remove DIR, and run this again: the tool recreates it.
                This loses postings by b4 that `cargo series posted` did not record
        ");
    }

    #[test]
    fn other_failures_are_not_damage() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".git")).unwrap();
        let cmd = Cmd::new("git").dir(dir.path());
        for said in [
            "error: patch failed: a:1",
            "fatal: ambiguous argument 'x': unknown revision or path not in the working tree.",
            "fatal: path 'x' does not exist in 'HEAD'",
        ] {
            assert!(
                of_tool(&cmd, said).is_none() && of_user(&cmd, said).is_none(),
                "{said}"
            );
        }
        let outside = "fatal: not a git repository (or any of the parent directories): .git";
        assert!(of_user(&cmd, outside).is_none());
    }

    #[test]
    fn linked_work_tree_leads_to_the_repository() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join(".git"),
            "gitdir: /c/kernel/.git/worktrees/x\n",
        )
        .unwrap();
        assert_eq!(repository(dir.path()), Path::new("/c/kernel"));
    }
}
