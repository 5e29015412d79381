// SPDX-License-Identifier: GPL-2.0

//! The work tree for the builds of all patches. Its repository borrows the objects of the tool's
//! kernel repository, so that `test` and `check` can use the other tree meanwhile.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{
    git::{BaseCommit, Git, Oid},
    sys::{
        cache::Cache,
        error::{Error, Result},
        files::write,
        runner::{Runner, failed, must},
        ui::Ui,
    },
};

/// A file in the repository that exists during a checkout.
const MARK: &str = "series-checkout";

/// The work tree. Only this tool writes to it, so it may remove any file there.
pub struct Checkout<'a> {
    runner: &'a dyn Runner,
    cache: &'a Cache,
    ui: &'a Ui,
    dir: PathBuf,
}

impl<'a> Checkout<'a> {
    /// Opens or creates the work tree. The caller holds the lock.
    ///
    /// # Errors
    ///
    /// git fails, or a folder cannot be created.
    pub fn open(
        runner: &'a dyn Runner,
        cache: &'a Cache,
        base: &BaseCommit,
        ui: &'a Ui,
    ) -> Result<Self> {
        let dir = cache.of_base("full/linux");
        fs::create_dir_all(&dir).map_err(|e| Error::io("create the folder", &dir, &e))?;
        let new = Self {
            runner,
            cache,
            ui,
            dir,
        };
        let own = new.dir.join(".git");
        let git = new.git();
        git.must(["init", "--quiet", "--object-format=sha1"])?;
        let objects = cache.kernel().join(".git/objects");
        let borrowed = own.join("objects/info/alternates");
        write(&borrowed, format!("{}\n", objects.display()).as_bytes())?;
        // The processes that held these locks have died, because the tool's own lock was free.
        for lock in ["index.lock", "HEAD.lock"] {
            let _ = fs::remove_file(own.join(lock));
        }
        // The kernel's version derives from HEAD, and has to be the same for all patches.
        git.must(["update-ref", "--no-deref", "HEAD", base.commit.as_str()])?;
        Ok(new)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the repository of the work tree.
    pub fn git(&self) -> Git<'_> {
        Git::new(self.runner, &self.dir)
    }

    /// Checks out a tree. Files that do not differ keep their dates.
    ///
    /// # Errors
    ///
    /// git fails, or the disk is full.
    pub fn switch(&self, tree: &Oid) -> Result<()> {
        if !self.dir.join(".git/index").is_file() {
            self.cache
                .need_space(3 << 30, "the kernel tree for check --full")?;
            self.ui.say("checking out a second tree of the kernel …");
        }
        let git = self.git();
        let mark = self.dir.join(".git").join(MARK);
        let interrupted = mark.exists();
        fs::write(&mark, b"").map_err(|e| Error::io("write", &mark, &e))?;
        // A changed date alone does not count as a change; git would rewrite the file.
        let refresh = git.cmd(["update-index", "-q", "--refresh"]);
        git.try_run(&refresh)?;
        let workers = ["-c", "checkout.workers=0"];
        let read = git.cmd(workers).args(["read-tree", "--reset", "-u"]);
        must(self.runner, &read.arg(tree.as_str()))?;
        if interrupted {
            // An interrupted checkout may have left files that neither tree has.
            git.must(["clean", "--quiet", "--force", "-d", "-x"])?;
        }
        fs::remove_file(&mark).map_err(|e| Error::io("remove", &mark, &e))
    }

    /// Returns the paths in which two trees differ.
    pub fn differ(&self, old: &Oid, new: &Oid) -> Result<Vec<String>> {
        let git = self.git();
        let args = ["diff-tree", "-r", "-z", "--no-renames", "--name-only"];
        let out = must(
            self.runner,
            &git.cmd(args).args([old.as_str(), new.as_str()]),
        )?;
        let paths = out.stdout.split(|b| *b == 0).filter(|p| !p.is_empty());
        Ok(paths
            .map(|p| String::from_utf8_lossy(p).into_owned())
            .collect())
    }

    /// Sets the dates of files to now, so that make recompiles the objects that depend on them. A
    /// folder includes all files below.
    ///
    /// # Errors
    ///
    /// A date cannot be set.
    pub fn touch(&self, paths: &[String]) -> Result<()> {
        fn one(path: &Path, now: SystemTime) -> Result<()> {
            // Links are skipped, because their date is the date of the target.
            let Ok(meta) = fs::symlink_metadata(path) else {
                return Ok(());
            };
            if meta.is_dir() {
                let entries = fs::read_dir(path).map_err(|e| Error::io("read", path, &e))?;
                for entry in entries.flatten() {
                    one(&entry.path(), now)?;
                }
            } else if meta.is_file() {
                File::options()
                    .write(true)
                    .open(path)
                    .and_then(|f| f.set_modified(now))
                    .map_err(|e| Error::io("date", path, &e))?;
            }
            Ok(())
        }
        let now = SystemTime::now();
        paths.iter().try_for_each(|p| one(&self.dir.join(p), now))
    }

    /// Returns the digest of all Kconfig files of a tree.
    pub fn kconfig(&self, tree: &Oid) -> Result<String> {
        let git = self.git();
        let out = git.must(["ls-tree", "-r", "--full-tree", tree.as_str()])?;
        let text = out.text();
        let lines = text.lines().filter(|l| is_kconfig(l));
        Ok(super::store::Key::of(lines).as_str().to_owned())
    }

    /// Applies the changes from `parent` to `theirs` to `ours`. Returns a tree, or the files with
    /// conflicts.
    pub fn merge(&self, parent: &Oid, ours: &Oid, theirs: &Oid) -> Result<Result<Oid, String>> {
        let git = self.git();
        // With a commit on top of `parent`, git uses `parent` as the merge base.
        let commit = |tree: &Oid, on: Option<&Oid>| -> Result<Oid> {
            let mut cmd = git.cmd(["commit-tree", "-m", "x", tree.as_str()]);
            if let Some(on) = on {
                cmd = cmd.args(["-p", on.as_str()]);
            }
            for who in ["AUTHOR", "COMMITTER"] {
                cmd = cmd
                    .env(format!("GIT_{who}_NAME"), "series")
                    .env(format!("GIT_{who}_EMAIL"), "nobody@localhost")
                    .env(format!("GIT_{who}_DATE"), "@1 +0000");
            }
            let out = must(self.runner, &cmd)?;
            Oid::parse(&out.text()).ok_or_else(|| Error::new("git printed no commit name"))
        };
        let parent = commit(parent, None)?;
        let (ours, theirs) = (commit(ours, Some(&parent))?, commit(theirs, Some(&parent))?);
        let cmd = git
            .cmd([
                "-c",
                "merge.renames=false",
                "-c",
                "merge.directoryRenames=false",
            ])
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

/// Whether a path is a Kconfig file.
pub fn is_kconfig(path: &str) -> bool {
    let name = path.rsplit(['/', '\t']).next();
    name.is_some_and(|name| name.starts_with("Kconfig"))
}
