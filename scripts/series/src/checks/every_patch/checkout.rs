// SPDX-License-Identifier: GPL-2.0

//! The work tree for the builds of all patches. Its repository borrows the objects of the tool's
//! kernel repository, so that `test` and `check` can use the other tree meanwhile.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{Subject, store::Key};
use crate::{
    git::{Git, Oid},
    kernel::kconfig::is_kconfig,
    sys::{Error, Result, failed, files::write, must},
};

/// A file in the repository that exists during a checkout.
const MARK: &str = "series-checkout";

/// The work tree. Only this tool writes to it, so it may remove any file there.
pub struct Checkout<'a> {
    subject: &'a Subject<'a>,
    pub dir: PathBuf,
}

impl<'a> Checkout<'a> {
    /// Opens or creates the work tree. The caller holds the lock.
    pub fn open(subject: &'a Subject<'a>) -> Result<Self> {
        let dir = subject.cache.of_base("full/linux");
        fs::create_dir_all(&dir).map_err(|e| Error::io("create the folder", &dir, &e))?;
        let new = Self { subject, dir };
        let own = new.dir.join(".git");
        let git = new.git();
        git.must(["init", "--quiet", "--object-format=sha1"])?;
        let objects = subject.cache.kernel().join(".git/objects");
        let borrowed = own.join("objects/info/alternates");
        write(&borrowed, format!("{}\n", objects.display()).as_bytes())?;
        // The processes that held these locks have died, because the tool's own lock was free.
        for lock in ["index.lock", "HEAD.lock"] {
            let _ = fs::remove_file(own.join(lock));
        }
        // The kernel's version derives from HEAD, and has to be the same for all patches.
        let base = subject.assembled.base.commit.as_str();
        git.must(["update-ref", "--no-deref", "HEAD", base])?;
        Ok(new)
    }

    fn git(&self) -> Git<'_> {
        Git::new(self.subject.runner, &self.dir)
    }

    /// Checks out a tree. Files that do not differ keep their dates.
    pub fn switch(&self, tree: &Oid) -> Result<()> {
        let Subject { cache, ui, .. } = *self.subject;
        if !self.dir.join(".git/index").is_file() {
            cache.need_space(3 << 30, "the kernel tree for check --full")?;
            ui.say("checking out a second tree of the kernel …");
        }
        let git = self.git();
        let mark = self.dir.join(".git").join(MARK);
        let interrupted = mark.exists();
        fs::write(&mark, b"").map_err(|e| Error::io("write", &mark, &e))?;
        // A changed date alone does not count as a change; git would rewrite the file.
        git.try_run(&git.cmd(["update-index", "-q", "--refresh"]))?;
        let read = ["-c", "checkout.workers=0", "read-tree", "--reset", "-u"];
        git.must(read.into_iter().chain([tree.as_str()]))?;
        if interrupted {
            // An interrupted checkout may have left files that neither tree has.
            git.must(["clean", "--quiet", "--force", "-d", "-x"])?;
        }
        fs::remove_file(&mark).map_err(|e| Error::io("remove", &mark, &e))
    }

    /// Returns the paths in which two trees differ.
    pub fn differ(&self, old: &Oid, new: &Oid) -> Result<Vec<String>> {
        let args = ["diff-tree", "-r", "-z", "--no-renames", "--name-only"];
        let args = args.into_iter().chain([old.as_str(), new.as_str()]);
        let listing = self.git().must(args)?.stdout;
        let paths = listing.split(|b| *b == 0).filter(|p| !p.is_empty());
        let paths = paths.map(|p| String::from_utf8_lossy(p).into_owned());
        Ok(paths.collect())
    }

    /// Sets the dates of files to now, so that make recompiles the objects that depend on them. A
    /// folder includes all files below.
    pub fn touch(&self, paths: &[String]) -> Result<()> {
        let now = SystemTime::now();
        paths.iter().try_for_each(|p| touch(&self.dir.join(p), now))
    }

    pub fn kconfig(&self, tree: &Oid) -> Result<Key> {
        let args = ["ls-tree", "-r", "--full-tree", tree.as_str()];
        let listing = self.git().must(args)?.text();
        let of_kconfig = |line: &&str| {
            let path = line.split_once('\t').map(|(_, path)| path);
            path.is_some_and(is_kconfig)
        };
        Ok(Key::of(listing.lines().filter(of_kconfig)))
    }

    /// Applies the changes from `parent` to `theirs` to `ours`. Returns a tree, or the files with
    /// conflicts.
    pub fn merge(&self, parent: &Oid, ours: &Oid, theirs: &Oid) -> Result<Result<Oid, String>> {
        let git = self.git();
        // With a commit on top of `parent`, git uses `parent` as the merge base.
        let commit = |tree: &Oid, parent: &str| -> Result<Oid> {
            let who = "series <nobody@localhost> 1 +0000";
            let text = format!("tree {tree}\n{parent}author {who}\ncommitter {who}\n\nx\n");
            let cmd = git.cmd(["hash-object", "-t", "commit", "-w", "--stdin"]);
            let name = must(self.subject.runner, &cmd.stdin(text))?.text();
            Oid::parse(&name).ok_or_else(|| Error::new("git printed no commit name"))
        };
        let parent = format!("parent {}\n", commit(parent, "")?);
        let (ours, theirs) = (commit(ours, &parent)?, commit(theirs, &parent)?);
        let cmd = git
            .cmd(["-c", "merge.renames=false"])
            .args(["-c", "merge.directoryRenames=false"])
            .args(["merge-tree", "--write-tree", "--name-only", "--no-messages"])
            .args([ours.as_str(), theirs.as_str()]);
        let out = git.try_run(&cmd)?;
        let text = out.text();
        let mut lines = text.lines();
        match (out.code, lines.next().and_then(Oid::parse)) {
            (Some(0), Some(tree)) => Ok(Ok(tree)),
            (Some(1), Some(_)) => Ok(Err(lines.collect::<Vec<_>>().join(", "))),
            _ => Err(failed(&cmd, &out)),
        }
    }
}

fn touch(path: &Path, now: SystemTime) -> Result<()> {
    // Links are skipped, because their date is the date of the target.
    let Ok(meta) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if meta.is_dir() {
        let entries = fs::read_dir(path).map_err(|e| Error::io("read", path, &e))?;
        let mut paths = entries.flatten().map(|entry| entry.path());
        return paths.try_for_each(|path| touch(&path, now));
    }
    if meta.is_file() {
        let file = File::options().write(true).open(path);
        let done = file.and_then(|f| f.set_modified(now));
        done.map_err(|e| Error::io("date", path, &e))?;
    }
    Ok(())
}
