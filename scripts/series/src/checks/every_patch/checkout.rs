// SPDX-License-Identifier: GPL-2.0

//! The work tree for the builds of all patches. Its repository borrows the objects of the tool's
//! kernel repository, so that `test` and `check` can use the other tree meanwhile.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::PathBuf,
    time::SystemTime,
};

use super::{Subject, store::Key};
use crate::{
    git::{Git, Oid, PatchCommit},
    kernel::kconfig::is_kconfig,
    sys::{
        Error, Result,
        files::{below, create, remove, write},
    },
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
        create(&dir)?;
        let new = Self { subject, dir };
        let own = new.dir.join(".git");
        let git = new.git();
        git.must(["init", "--quiet", "--object-format=sha1"])?;
        let objects = subject.cache.kernel().join(".git/objects");
        let borrowed = own.join("objects/info/alternates");
        write(&borrowed, format!("{}\n", objects.display()).as_bytes())?;
        // The processes that held these locks have died, because the tool's own lock was free.
        for lock in ["index.lock", "merge-index.lock", "HEAD.lock"] {
            let _ = fs::remove_file(own.join(lock));
        }
        // The kernel's version derives from HEAD, and has to be the same for all patches.
        let base = subject.assembled.base.commit.as_str();
        git.must(["update-ref", "--no-deref", "HEAD", base])?;
        Ok(new)
    }

    fn git(&self) -> Git<'_> {
        Git::new(self.subject.git.runner(), &self.dir)
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
        remove(&mark)
    }

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
        for path in paths {
            for file in below(&self.dir.join(path))? {
                let opened = File::options().write(true).open(&file);
                let done = opened.and_then(|f| f.set_modified(now));
                done.map_err(|e| Error::io("date", &file, &e))?;
            }
        }
        Ok(())
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

    /// Applies the changes from `parent` to `patch` to the tree `onto`. Returns a tree, or the
    /// files with conflicts, which include changed files that `onto` lacks.
    pub fn merge(
        &self,
        parent: &PatchCommit,
        patch: &PatchCommit,
        onto: &Oid,
    ) -> Result<Result<Oid, String>> {
        let git = self.git();
        // A merge would apply the change to a file with another name, but `git am` does not.
        let args = ["diff-tree", "-r", "-z", "--no-renames", "--name-only"];
        let changed = git.cmd(args).arg("--diff-filter=MD");
        let changed = git.run(&changed.args([parent.tree.as_str(), patch.tree.as_str()]))?;
        let text = changed.text();
        let changed = text.split_terminator('\0').map(str::to_owned);
        let changed: Vec<String> = changed.collect();
        let there = git.entries(onto, &changed)?;
        let absent = changed.into_iter().filter(|path| !there.contains_key(path));
        let mut files: BTreeSet<String> = absent.collect();
        let index = self.dir.join(".git/merge-index");
        let merged = git.merge(&index, &parent.commit, &patch.tree, onto)?;
        files.extend(merged.conflicts.into_iter().map(|(path, ..)| path));
        Ok(if files.is_empty() {
            Ok(merged.tree)
        } else {
            Err(Vec::from_iter(files).join(", "))
        })
    }
}
