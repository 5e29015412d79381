// SPDX-License-Identifier: GPL-2.0

//! Recognizes a damaged repository by the messages of git, and names the repair.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::sys::{Cmd, Error};

/// Messages of git about objects, packs and refs that it cannot read.
const SIGNS: &str = "bad config line|bad object refs/|bad ref for |does not match index|\
    does not point to a valid object|error: inflate:|ignoring broken ref|is corrupt|\
    is far too short to be a packfile|is not a GIT packfile|is too small|missing object |\
    not a git repository (or any|reference broken|unable to read tree|unexpected line in |\
    wrong index v";

const HEAD: &str = "ref: refs/heads/series";

pub fn of_tool(cmd: &Cmd, output: &str) -> Option<Error> {
    let dir = repository(cmd.dir.as_deref().filter(|_| is_damage(output))?);
    let home = dir.join(".git");
    if !home.is_dir() {
        return None;
    }
    let help = if !has_head(&home) {
        let file = home.join("HEAD");
        format!("restore its HEAD: echo '{HEAD}' > {}", file.display())
    } else if let Some(name) = broken_ref(output) {
        let file = home.join(name);
        let file = file.display();
        match last_value(&home, name) {
            Some(oid) => format!("restore the last value of {name}: echo {oid} > {file}"),
            None => format!("remove {file}, and run this again"),
        }
    } else {
        format!(
            "remove {}, and run this again: the tool recreates it.\n\
             This loses postings by b4 that `cargo series record` did not record",
            dir.display()
        )
    };
    Some(damaged(&dir, output).help(help))
}

pub fn of_user(cmd: &Cmd, output: &str) -> Option<Error> {
    let dir = cmd.dir.as_deref().filter(|_| is_damage(output))?;
    // A folder outside a repository is not damaged.
    let inside = !output.contains("not a git repository");
    inside.then(|| damaged(dir, output).help("run `git fsck` there, or name another clone"))
}

fn damaged(dir: &Path, output: &str) -> Error {
    let mut lines: Vec<&str> = output.lines().collect();
    lines.dedup();
    lines.truncate(5);
    let what = format!("the git repository in {} is damaged", dir.display());
    Error::new(what).detail(lines.join("\n"))
}

pub fn is_damage(output: &str) -> bool {
    SIGNS.split('|').any(|sign| output.contains(sign))
}

/// Returns the main work tree. In a linked work tree, the file `.git` names it.
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

/// Returns the ref with an invalid value. If a valid ref names a missing object, objects are lost
/// and not the ref.
fn broken_ref(output: &str) -> Option<&str> {
    let broken = |l: &&str| l.contains("broken ref") || l.contains("reference broken");
    let mut words = output.lines().find(broken)?.split([' ', '\'', ':']);
    words.find(|w| w.starts_with("refs/"))
}

/// Returns the last value in the reflog of a ref.
fn last_value(home: &Path, name: &str) -> Option<String> {
    let log = fs::read_to_string(home.join("logs").join(name)).ok()?;
    let oid = log.lines().last()?.split(' ').nth(1)?;
    crate::git::Oid::parse(oid).map(|oid| oid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(dir: &Path, output: &str) -> String {
        let error = of_tool(&Cmd::new("git").dir(dir), output)
            .unwrap()
            .to_string();
        error.replace(dir.to_str().unwrap(), "DIR")
    }

    #[test]
    fn of_tool_names_repair() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join(".git");
        fs::create_dir_all(home.join("logs/refs/heads/b4")).unwrap();
        let of = |output| explained(dir.path(), output);
        insta::assert_snapshot!(of("fatal: not a git repository (or any of the parent directories): .git"), @r"
        the git repository in DIR is damaged
            fatal: not a git repository (or any of the parent directories): .git
          help: restore its HEAD: echo 'ref: refs/heads/series' > DIR/.git/HEAD
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
                This loses postings by b4 that `cargo series record` did not record
        ");
    }

    #[test]
    fn is_damage_other_failures() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".git")).unwrap();
        let cmd = Cmd::new("git").dir(dir.path());
        for output in [
            "error: patch failed: a:1",
            "fatal: ambiguous argument 'x': unknown revision or path not in the working tree.",
            "fatal: path 'x' does not exist in 'HEAD'",
        ] {
            assert!(
                of_tool(&cmd, output).is_none() && of_user(&cmd, output).is_none(),
                "{output}"
            );
        }
        let outside = "fatal: not a git repository (or any of the parent directories): .git";
        assert!(of_user(&cmd, outside).is_none());
    }

    #[test]
    fn repository_of_linked_work_tree() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join(".git"),
            "gitdir: /c/kernel/.git/worktrees/x\n",
        )
        .unwrap();
        assert_eq!(repository(dir.path()), Path::new("/c/kernel"));
    }
}
