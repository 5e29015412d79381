// SPDX-License-Identifier: GPL-2.0

//! The kernel tree as files: the checkout that is built, and the small part that host tests read.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::SystemTime,
};

use sha2::{Digest, Sha256};

use crate::{
    git::{Git, Oid, PatchCommit, refs},
    source::{manifest::Base, workspace::Workspace},
    sys::{Error, Result, cache::Cache, files, hash::hex, plural::count, ui::Ui},
};

/// Marks the repository during a checkout.
const MARK: &str = "series-checkout";

/// The number of exports to keep for other checkouts.
const EXPORTS: usize = 8;

/// Checks out the tree of `tip` in the kernel repository, unless the work tree has changes or
/// commits of the user. Unchanged files keep their dates, so that make rebuilds only changed files.
pub fn check_out(git: &Git<'_>, tip: &PatchCommit, ui: &Ui) -> Result<()> {
    let mark = git.dir().join(".git").join(MARK);
    let first = !git.dir().join(".git/index").exists();
    // After an interrupted checkout, the tool wrote all files, although git reports changes.
    let again = mark.exists();
    let dir = git.dir().display();
    if !first && !again {
        let what = "the tool's kernel tree has changes that the tool did not make";
        let help = format!(
            "keep them: git -C {dir} diff HEAD > my.diff\n\
             then drop them: git -C {dir} reset --hard"
        );
        refuse_changes(git, |_| what.to_owned(), &help)?;
        let head = git.resolve("HEAD^{commit}")?;
        if head.as_ref() == Some(&tip.commit) {
            return Ok(());
        }
        let ours = git.resolve(&format!("{}^{{commit}}", refs::CHECKED_OUT))?;
        if ours.is_some() && head != ours {
            let what = "the tool's kernel tree has commits that the tool did not make";
            return Err(Error::new(what).at(git.dir(), None).help(format!(
                "keep them: git -C {dir} branch mine\n\
                 then let go of them: git -C {dir} reset --hard {}",
                refs::CHECKED_OUT
            )));
        }
    }
    if first {
        ui.say("checking out the kernel's files …");
    }
    fs::write(&mark, b"").map_err(|e| Error::io("write", &mark, &e))?;
    let switch = git.cmd(["-c", "checkout.workers=0"]);
    let switch = if first || again {
        let branch = format!("refs/heads/{}", refs::BRANCH);
        git.must(["symbolic-ref", "HEAD", &branch])?;
        switch.args(["reset", "--hard", "--quiet"])
    } else {
        // Unlike a reset, this refuses to overwrite files that git does not know.
        switch.args(["checkout", "--quiet", "-B", refs::BRANCH])
    };
    let switched = git.run(&switch.arg(tip.commit.as_str()));
    if switched.is_ok() || !(first || again) {
        // A checkout that git refuses changes nothing.
        files::remove(&mark)?;
    }
    switched?;
    git.set_ref(refs::CHECKED_OUT, &tip.commit)
}

/// Fails if a work tree has uncommitted changes. `what` describes the number of files with changes;
/// the error lists the first of them.
pub(super) fn refuse_changes(
    git: &Git<'_>,
    what: impl FnOnce(&str) -> String,
    help: &str,
) -> Result<()> {
    let Some((files, first)) = changes(git)? else {
        return Ok(());
    };
    let error = Error::new(what(&files)).at(git.dir(), None);
    Err(error.detail(first).help(help))
}

/// Counts the files with uncommitted changes, as in "2 files", and names the first of them.
pub(super) fn changes(git: &Git<'_>) -> Result<Option<(String, String)>> {
    let out = git.must(["status", "--porcelain", "--untracked-files=no"])?;
    let out = out.text();
    let files: Vec<_> = out.lines().collect();
    let first = files[..files.len().min(5)].join("\n");
    let all = count(files.len(), "file", "files");
    Ok((!files.is_empty()).then_some((all, first)))
}

/// Exports the files of the assembled tree and of the base that host builds read, and links
/// `out/tree` to them. The name of a folder is a hash of its content, so the content never changes.
pub fn export_host(
    ws: &Workspace,
    git: &Git<'_>,
    cache: &Cache,
    base: &Base,
    base_tree: &Oid,
    tree: &Oid,
) -> Result<PathBuf> {
    let have = listed(git, tree, &base.host.paths)?;
    let of_base = listed(git, base_tree, &base.host.base_paths)?;
    let mut hash = Sha256::new();
    hash.update(have.join("\n"));
    if !of_base.is_empty() {
        hash.update("\n\n");
        hash.update(of_base.join("\n"));
    }
    let exports = cache.path("host");
    let folder = exports.join(hex(&hash.finalize()[..10]));
    if !folder.is_dir() {
        let scratch = cache.scratch()?;
        unpack(git, tree, &have, scratch.path())?;
        unpack(git, base_tree, &of_base, &scratch.path().join("base"))?;
        files::create(&exports)?;
        // Another run may have created the same folder first.
        if let Err(e) = fs::rename(scratch.path(), &folder)
            && !folder.is_dir()
        {
            return Err(Error::io("keep", &folder, &e));
        }
    }
    keep_few(&exports, &folder);
    let link = ws.out()?.join("tree");
    if fs::read_link(&link).ok().as_ref() != Some(&folder) {
        let _ = fs::remove_file(&link);
        symlink(&folder, &link).map_err(|e| Error::io("make the link", &link, &e))?;
    }
    Ok(folder)
}

/// Writes the files and folders of `ls-tree` lines to `dir`.
fn unpack(git: &Git<'_>, tree: &Oid, lines: &[String], dir: &Path) -> Result<()> {
    if lines.is_empty() {
        // To git, no path means the whole tree.
        return Ok(());
    }
    let paths = lines.iter().filter_map(|line| line.split('\t').nth(1));
    let cmd = git.cmd(["archive", "--format=tar", tree.as_str(), "--"]);
    let tar = git.run(&cmd.args(paths))?.stdout;
    tar::Archive::new(&tar[..])
        .unpack(dir)
        .map_err(|e| Error::io("unpack into", dir, &e))
}

/// Removes the least recently used exports.
fn keep_few(dir: &Path, used: &Path) {
    // Only the order matters. A checkout whose export was removed exports it again.
    let _ = fs::File::open(used).and_then(|f| f.set_modified(SystemTime::now()));
    let mut exports = files::list(dir).unwrap_or_default();
    exports.sort_by_key(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok());
    for old in exports.iter().rev().skip(EXPORTS) {
        let _ = fs::remove_dir_all(old);
    }
}

/// Returns the `ls-tree` lines of paths in a tree. They contain hashes, so they serve as a key.
fn listed(git: &Git<'_>, tree: &Oid, paths: &[String]) -> Result<Vec<String>> {
    if paths.is_empty() {
        // Without a path, git lists the whole tree.
        return Ok(Vec::new());
    }
    let cmd = git.cmd(["ls-tree", "--full-tree", tree.as_str(), "--"]);
    let out = git.run(&cmd.args(paths))?.text();
    Ok(out.lines().map(str::to_owned).collect())
}
