// SPDX-License-Identifier: GPL-2.0

//! The tree that is walked: a repository of its own that borrows the objects of the tool's kernel
//! repository, so that the tree that `test` and `check` use stays free.

use std::{
    fs::{
        self,
        File, //
    },
    path::{
        Path,
        PathBuf, //
    },
    time::SystemTime,
};

use crate::{
    git::{
        BaseCommit,
        Git,
        Oid, //
    },
    sys::{
        cache::Cache,
        error::{
            Error,
            Result, //
        },
        files::write,
        runner::{
            Runner,
            failed,
            must, //
        },
        ui::Ui, //
    }, //
};

/// Stands in the repository while a checkout is under way.
const MARK: &str = "nova-series-checkout";

/// The tree that is walked. Nobody else has business in it, so whatever is found there is ours.
pub struct Checkout<'a> {
    runner: &'a dyn Runner,
    dir: PathBuf,
}

impl<'a> Checkout<'a> {
    /// Opens it, made if need be. Only for the holder of the lock.
    ///
    /// # Errors
    ///
    /// git, or a folder that cannot be made.
    pub fn open(runner: &'a dyn Runner, cache: &Cache, base: &BaseCommit, ui: &Ui) -> Result<Self> {
        let dir = cache.of_base("full/linux");
        fs::create_dir_all(&dir).map_err(|e| Error::io("make the folder", &dir, &e))?;
        let new = Self { runner, dir };
        let own = new.dir.join(".git");
        if !own.join("index").is_file() {
            cache.need_space(3 << 30, "the tree that is walked")?;
            ui.say("checking out a second tree of the kernel …");
        }
        let git = new.git();
        git.must(["init", "--quiet", "--object-format=sha1"])?;
        let objects = cache.kernel().join(".git/objects");
        let borrowed = own.join("objects/info/alternates");
        write(&borrowed, format!("{}\n", objects.display()).as_bytes())?;
        // Whoever held it has died: the lock is ours, and its children hold that as well.
        for lock in ["index.lock", "HEAD.lock"] {
            let _ = fs::remove_file(own.join(lock));
        }
        // The kernel's version is made from it, and is to stay the same on the way.
        git.must(["update-ref", "--no-deref", "HEAD", base.commit.as_str()])?;
        Ok(new)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its repository.
    pub fn git(&self) -> Git<'_> {
        Git::new(self.runner, &self.dir)
    }

    /// Checks a tree out. Files that do not differ keep their dates.
    ///
    /// # Errors
    ///
    /// git, or a full disk.
    pub fn switch(&self, tree: &Oid) -> Result<()> {
        let git = self.git();
        let mark = self.dir.join(".git").join(MARK);
        let interrupted = mark.exists();
        fs::write(&mark, b"").map_err(|e| Error::io("write", &mark, &e))?;
        // Dates that were changed are not to count as changes, else the files are written anew.
        let refresh = git.cmd(["update-index", "-q", "--refresh"]);
        git.try_run(&refresh)?;
        let workers = ["-c", "checkout.workers=0"];
        let read = git.cmd(workers).args(["read-tree", "--reset", "-u"]);
        must(self.runner, &read.arg(tree.as_str()))?;
        if interrupted {
            // What that checkout wrote may be in neither tree.
            git.must(["clean", "--quiet", "--force", "-d", "-x"])?;
        }
        fs::remove_file(&mark).map_err(|e| Error::io("remove", &mark, &e))
    }

    /// The paths in which two trees differ.
    ///
    /// # Errors
    ///
    /// git cannot read them.
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

    /// Dates files of the tree to now, so that make compiles what depends on them. Folders stand
    /// for all files below.
    ///
    /// # Errors
    ///
    /// A date cannot be set.
    pub fn touch(&self, paths: &[String]) -> Result<()> {
        fn one(path: &Path, now: SystemTime) -> Result<()> {
            // A link has the date of what it points at.
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

    /// The digest of what configures a tree: all its Kconfig files.
    ///
    /// # Errors
    ///
    /// git cannot read it.
    pub fn kconfig(&self, tree: &Oid) -> Result<String> {
        let git = self.git();
        let out = git.must(["ls-tree", "-r", "--full-tree", tree.as_str()])?;
        let text = out.text();
        let lines = text.lines().filter(|l| is_kconfig(l));
        Ok(super::store::Key::of(lines).as_str().to_owned())
    }

    /// What the changes from `parent` to `theirs` make of `ours`: a tree, or the files in which
    /// that leaves conflicts.
    ///
    /// # Errors
    ///
    /// git cannot do it.
    pub fn merge(&self, parent: &Oid, ours: &Oid, theirs: &Oid) -> Result<Result<Oid, String>> {
        let git = self.git();
        // A commit on top of `parent` has git take that for what both sides have in common.
        let commit = |tree: &Oid, on: Option<&Oid>| -> Result<Oid> {
            let mut cmd = git.cmd(["commit-tree", "-m", "x", tree.as_str()]);
            if let Some(on) = on {
                cmd = cmd.args(["-p", on.as_str()]);
            }
            for who in ["AUTHOR", "COMMITTER"] {
                cmd = cmd
                    .env(format!("GIT_{who}_NAME"), "nova-series")
                    .env(format!("GIT_{who}_EMAIL"), "nobody@localhost")
                    .env(format!("GIT_{who}_DATE"), "@1 +0000");
            }
            let out = must(self.runner, &cmd)?;
            Oid::parse(&out.text()).ok_or_else(|| Error::new("git did not name its commit"))
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

/// Whether a line of `ls-tree`, or a path, speaks of a Kconfig file.
pub fn is_kconfig(path: &str) -> bool {
    let name = path.rsplit(['/', '\t']).next();
    name.is_some_and(|name| name.starts_with("Kconfig"))
}
