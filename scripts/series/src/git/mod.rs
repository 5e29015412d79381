// SPDX-License-Identifier: GPL-2.0

//! Git repositories, read and written with git's plumbing and private index files.

pub mod damage;
mod identity;
mod import;
mod mail;
pub mod merge;
mod object;
pub mod refs;
mod settings;

use std::{collections::BTreeMap, ffi::OsStr, path::Path};

pub use self::{
    identity::{Author, Identity},
    import::{FastImport, Parent},
    mail::{format_patch, patch_ids},
    object::{BaseCommit, Entry, Mode, Oid, PatchCommit},
    settings::{isolated, parse_settings, pinned, read_trusted, user_settings},
};
use self::{object::index_info, settings::upload_pack};
use crate::sys::{Cmd, Error, Output, Result, Runner, cache::Cache, failed, hash::sha256, must};

#[derive(Clone, Copy)]
pub struct Git<'a> {
    runner: &'a dyn Runner,
    dir: &'a Path,
    /// The folder of new objects, unless they go to the repository.
    objects: Option<&'a Path>,
    explain: fn(&Cmd, &str) -> Option<Error>,
}

impl<'a> Git<'a> {
    /// Opens a repository of the tool with the work tree `dir`.
    pub fn new(runner: &'a dyn Runner, dir: &'a Path) -> Self {
        Self {
            runner,
            dir,
            objects: None,
            explain: damage::of_tool,
        }
    }

    /// Opens a repository of the user, which is only read.
    pub fn of_user(runner: &'a dyn Runner, dir: &'a Path) -> Self {
        let mut git = Self::new(runner, dir);
        git.explain = damage::of_user;
        git
    }

    /// Returns the repository with another folder for new objects.
    pub fn with_objects_in(mut self, objects: &'a Path) -> Self {
        self.objects = Some(objects);
        self
    }

    pub fn dir(&self) -> &'a Path {
        self.dir
    }

    pub fn runner(&self) -> &'a dyn Runner {
        self.runner
    }

    /// Returns a git command in the repository that ignores the user's settings.
    pub fn cmd(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Cmd {
        let cmd = isolated(Cmd::new("git").dir(self.dir));
        let cmd = cmd.explain(self.explain).args(args);
        let Some(objects) = self.objects else {
            return cmd;
        };
        let known = self.dir.join(".git/objects");
        cmd.env("GIT_OBJECT_DIRECTORY", objects)
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", known)
    }

    /// Runs a git command that has to succeed.
    pub fn must(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Output> {
        self.run(&self.cmd(args))
    }

    /// Runs a git command of [`Self::cmd`] that has to succeed.
    pub fn run(&self, cmd: &Cmd) -> Result<Output> {
        must(self.runner, cmd)
    }

    /// Runs a git command that prints the name of an object.
    pub fn oid(&self, cmd: &Cmd) -> Result<Oid> {
        let out = self.run(cmd)?;
        Oid::parse(&out.text()).ok_or_else(|| Error::new("git printed no object name"))
    }

    /// Runs a git command that may fail.
    pub fn try_run(&self, cmd: &Cmd) -> Result<Output> {
        self.runner.run(cmd)
    }

    /// Runs a git command that may fail, unless the repository is damaged.
    fn try_undamaged(&self, cmd: &Cmd) -> Result<Output> {
        let out = self.try_run(cmd)?;
        if !out.ok() && damage::is_damage(&out.complaint()) {
            return Err(failed(cmd, &out));
        }
        Ok(out)
    }

    /// Resolves a revision. Returns `None` if it does not exist.
    pub fn resolve(&self, rev: &str) -> Result<Option<Oid>> {
        let cmd = self.cmd(["rev-parse", "--quiet", "--verify", "--end-of-options", rev]);
        let out = self.try_undamaged(&cmd)?;
        Ok(out.ok().then(|| Oid::parse(&out.text())).flatten())
    }

    pub fn tree_of(&self, commit: &Oid) -> Result<Oid> {
        let tree = self.resolve(&format!("{commit}^{{tree}}"))?;
        tree.ok_or_else(|| Error::new(format!("{commit} is not a commit of the kernel repository")))
    }

    pub fn set_ref(&self, name: &str, to: &Oid) -> Result<()> {
        self.must(["update-ref", name, to.as_str()]).map(drop)
    }

    /// Returns whether a revision is `commit`, or has it as an ancestor.
    pub fn contains(&self, rev: &Oid, commit: &Oid) -> Result<bool> {
        let (rev, commit) = (rev.as_str(), commit.as_str());
        let cmd = self.cmd(["merge-base", "--is-ancestor", commit, rev]);
        Ok(self.try_run(&cmd)?.ok())
    }

    /// Returns the commits that `git log` selects with `args`, each with a text in git's `format`.
    pub fn log<A: AsRef<OsStr>>(
        &self,
        format: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Vec<(Oid, String)>> {
        let cmd = self.cmd(["log", "-z", &format!("--format=%H%n{format}")]);
        let out = self.run(&cmd.args(args).arg("--"))?;
        let out = String::from_utf8_lossy(&out.stdout);
        let commits = out.split('\0').filter_map(|one| {
            let (commit, text) = one.split_once('\n')?;
            Some((Oid::parse(commit)?, text.to_owned()))
        });
        Ok(commits.collect())
    }

    /// Creates a commit without a ref.
    pub fn commit(
        &self,
        tree: &Oid,
        parent: Option<&Oid>,
        author: &Author,
        committer: &Author,
        message: &str,
    ) -> Result<Oid> {
        let parent = parent.map_or(String::new(), |p| format!("parent {p}\n"));
        self.write_commit(format!(
            "tree {tree}\n{parent}author {author}\ncommitter {committer}\n\n{message}"
        ))
    }

    /// Creates a commit with this content, as `git cat-file commit` prints it.
    pub fn write_commit(&self, content: String) -> Result<Oid> {
        let cmd = self.cmd(["hash-object", "-t", "commit", "-w", "--stdin"]);
        self.oid(&cmd.stdin(content))
    }

    /// Fetches commits of another repository, each without its history and into a ref.
    pub fn fetch<'o>(
        &self,
        from: &Path,
        commits: impl IntoIterator<Item = (&'o Oid, String)>,
    ) -> Result<()> {
        let wanted = |(commit, to)| format!("+{commit}:{to}");
        let cmd = self
            .cmd(["-c", "protocol.file.allow=always"])
            // Older protocols only serve commits that a ref points to.
            .args(["-c", "protocol.version=2", "fetch", "--quiet", "--no-tags"])
            // Creates a separate pack, without the history.
            .arg("--depth=1")
            .arg(format!("--upload-pack={}", upload_pack()))
            // git decodes the path after `file://`.
            .arg(format!("file://{}", from.display()).replace('%', "%25"));
        let cmd = cmd.args(commits.into_iter().map(wanted));
        self.run(&cmd).map(drop)
    }

    /// Returns the entries of `paths` in a tree, without missing paths.
    pub fn entries(&self, tree: &Oid, paths: &[String]) -> Result<BTreeMap<String, Entry>> {
        if paths.is_empty() {
            return Ok(BTreeMap::new());
        }
        let cmd = self.cmd(["ls-tree", "-z", "--full-tree", tree.as_str(), "--"]);
        Ok(parse_listing(&self.run(&cmd.args(paths))?.stdout))
    }

    /// Returns the content of a file in a tree, or `None` if it is missing.
    pub fn content(&self, tree: &Oid, path: &str) -> Result<Option<Vec<u8>>> {
        let cmd = self.cmd(["cat-file", "blob", &format!("{tree}:{path}")]);
        let out = self.try_undamaged(&cmd)?;
        Ok(out.ok().then_some(out.stdout))
    }

    /// Returns the contents of files in a tree, without missing files.
    pub fn files(&self, tree: &Oid, paths: &[String]) -> Result<BTreeMap<String, Vec<u8>>> {
        let entries = self.entries(tree, paths)?;
        let blobs: Vec<&Oid> = entries.values().map(|e| &e.blob).collect();
        let contents = self.blobs(&blobs)?;
        Ok(entries.into_keys().zip(contents).collect())
    }

    /// Returns the contents of blobs, in order.
    pub fn blobs(&self, blobs: &[&Oid]) -> Result<Vec<Vec<u8>>> {
        let input: String = blobs.iter().map(|b| format!("{b}\n")).collect();
        let out = self.run(&self.cmd(["cat-file", "--batch"]).stdin(input))?;
        let mut rest = &out.stdout[..];
        let contents = blobs.iter().map(|blob| {
            let end = rest.iter().position(|b| *b == b'\n')?;
            let header = std::str::from_utf8(&rest[..end]).ok()?;
            let size = header.strip_prefix(&format!("{blob} blob "))?;
            let (content, after) = rest[end + 1..].split_at_checked(size.parse().ok()?)?;
            rest = after.strip_prefix(b"\n")?;
            Some(content.to_vec())
        });
        let contents: Option<Vec<_>> = contents.collect();
        contents.ok_or_else(|| Error::new("a blob is missing in the kernel repository"))
    }

    /// Returns the changes of each commit as a diff.
    pub fn diffs(&self, commits: &[&Oid]) -> Result<Vec<String>> {
        if commits.is_empty() {
            return Ok(Vec::new());
        }
        let input: String = commits.iter().map(|c| format!("{c}\n")).collect();
        let cmd = self
            .cmd(["log", "--no-walk=unsorted", "--stdin"])
            // Only binary files have a zero byte, and git encodes these.
            .args(["--format=%x00commit %H", "--patch", "--binary"])
            .args(["--find-renames", "-O/dev/null", "--default-prefix"])
            .args(["--no-ext-diff", "--no-textconv", "--no-notes"])
            .args(["--no-color", "--no-show-signature"])
            .stdin(input);
        let out = self.run(&cmd)?.stdout;
        let out = String::from_utf8_lossy(&out);
        let shown = out.split("\0commit ").skip(1).zip(commits);
        let diffs = shown.map_while(|(shown, commit)| {
            let diff = shown.strip_prefix(commit.as_str())?.strip_prefix('\n')?;
            Some(diff.to_owned())
        });
        let diffs: Vec<String> = diffs.collect();
        let all = Some(diffs).filter(|diffs| diffs.len() == commits.len());
        all.ok_or_else(|| Error::new("git did not show all commits"))
    }

    /// Returns the paths of files in a tree that contain one of these texts. Caches them, because
    /// searching a whole kernel is slow.
    pub fn files_with(&self, tree: &Oid, texts: &[&str], cache: &Cache) -> Result<Vec<String>> {
        let key = sha256(format!("{tree}\0{}", texts.join("\0")));
        let found = cache.remember(format!("files-with/{key}"), || {
            let texts = texts.iter().flat_map(|text| ["-e", text]);
            let args = ["-I", "--fixed-strings"].into_iter().chain(texts);
            Ok(self.grep(args, tree, &[])?.join("\0"))
        })?;
        let paths = found.split('\0').filter(|path| !path.is_empty());
        Ok(paths.map(str::to_owned).collect())
    }

    /// Returns the paths of files in a tree that `git grep` finds with these arguments.
    pub fn grep<'b>(
        &self,
        args: impl IntoIterator<Item = &'b str>,
        tree: &Oid,
        globs: &[String],
    ) -> Result<Vec<String>> {
        let cmd = self.cmd(["grep", "-l", "-z"]).args(args);
        let cmd = cmd.args([tree.as_str(), "--"]).args(globs);
        let out = self.try_run(&cmd)?;
        // git grep exits with 1 if nothing matches.
        if !matches!(out.code, Some(0 | 1)) {
            return Err(failed(&cmd, &out));
        }
        let listing = String::from_utf8_lossy(&out.stdout);
        let found = listing.split('\0').filter_map(|line| line.split_once(':'));
        Ok(found.map(|(_, path)| path.to_owned()).collect())
    }

    /// Writes blobs to the repository, and returns their names in order.
    pub fn add_blobs(&self, scratch: &Path, contents: &[&[u8]]) -> Result<Vec<Oid>> {
        let mut paths = String::new();
        for (i, content) in contents.iter().enumerate() {
            let path = scratch.join(format!("blob-{i}"));
            std::fs::write(&path, content).map_err(|e| Error::io("write", &path, &e))?;
            paths += &format!("{}\n", path.display());
        }
        let cmd = self.cmd(["hash-object", "-w", "--no-filters", "--stdin-paths"]);
        let out = self.run(&cmd.stdin(paths))?.text();
        let oids: Option<Vec<_>> = out.lines().map(Oid::parse).collect();
        oids.filter(|o| o.len() == contents.len())
            .ok_or_else(|| Error::new("git did not print the names of all blobs"))
    }

    /// Returns a tree in which some files differ; `None` removes a file. Uses a private index.
    pub fn changed_tree<'f>(
        &self,
        index: &Path,
        tree: &Oid,
        files: impl IntoIterator<Item = (&'f String, Option<&'f Entry>)>,
    ) -> Result<Oid> {
        let private = |args: &[&str]| self.cmd(args).env("GIT_INDEX_FILE", index);
        self.run(&private(&["read-tree", tree.as_str()]))?;
        let update = private(&["update-index", "-z", "--index-info"]);
        self.run(&update.stdin(index_info(files)))?;
        self.oid(&private(&["write-tree"]))
    }

    /// Applies diffs in order to `entries` in a private index, and returns the resulting entries.
    pub fn apply(
        &self,
        index: &Path,
        entries: &BTreeMap<String, Entry>,
        diffs: &[&[u8]],
    ) -> Result<BTreeMap<String, Entry>> {
        let private = |args: &[&str]| self.cmd(args).env("GIT_INDEX_FILE", index);
        // git creates a missing index.
        let _ = std::fs::remove_file(index);
        let fill = private(&["update-index", "-z", "--index-info"]);
        let all = entries.iter().map(|(path, entry)| (path, Some(entry)));
        self.run(&fill.stdin(index_info(all)))?;
        for diff in diffs {
            let apply = private(&["apply", "--cached", "--whitespace=nowarn", "-"]).stdin(*diff);
            let out = self.try_undamaged(&apply)?;
            if !out.ok() {
                return Err(Error::new("does not apply").detail(out.complaint()));
            }
        }
        let out = self.run(&private(&["ls-files", "-s", "-z"]))?;
        Ok(parse_listing(&out.stdout))
    }
}

/// Parses the output of `ls-tree -z` and `ls-files -sz`. Skips folders and submodules.
fn parse_listing(listing: &[u8]) -> BTreeMap<String, Entry> {
    let listing = String::from_utf8_lossy(listing);
    let entries = listing.split('\0').filter_map(|line| {
        let (words, path) = line.split_once('\t')?;
        Some((path.to_owned(), Entry::parse(words)?))
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{cache::Resource, runner::System};

    fn repository() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        Git::new(&System, dir.path())
            .must(["init", "--quiet"])
            .unwrap();
        dir
    }

    fn author() -> Author {
        Author::new("A", "a@example.org", 1_700_000_000)
    }

    fn import(git: &Git<'_>, path: &str, content: &[u8]) -> Oid {
        let scratch = tempfile::tempdir().unwrap();
        git.fast_import(scratch.path(), &mut |to| {
            let who = author();
            to.commit("refs/heads/x", 1, &who, &who, "m\n", &Parent::Nothing)?;
            to.file(Mode::Plain, path, content)
        })
        .unwrap()
        .remove(0)
        .commit
    }

    #[test]
    fn ident_cleans_name() {
        let ident = |name: &str, email: &str| {
            let (name, email) = (name.into(), email.into());
            let set = true;
            Identity { name, email, set }.ident()
        };
        assert_eq!(ident("A <b>\nc", "a@b>\n"), "A bc <a@b>");
        assert_eq!(ident("Doe, \"J\" \u{f6}", "j@d"), "Doe, \"J\" \u{f6} <j@d>");
    }

    #[test]
    fn content_of_imported_file() {
        let dir = repository();
        let git = Git::new(&System, dir.path());
        let odd = "a b/\"c\"\\d";
        let commit = import(&git, odd, b"x\n");
        assert_eq!(git.content(&commit, odd).unwrap().unwrap(), b"x\n");
        assert_eq!(git.content(&commit, "none").unwrap(), None);
        assert_eq!(git.resolve("no-such-ref").unwrap(), None);
    }

    #[test]
    fn remove_stale_locks_of_resource() {
        let dir = repository();
        let git = Git::new(&System, dir.path());
        let locks = [
            "config.lock",
            "refs/heads/b4/x.lock",
            "refs/series/posted/x.lock",
            "refs/tags/sent/x.lock",
        ];
        for folder in ["refs/heads/b4", "refs/series/posted", "refs/tags/sent"] {
            std::fs::create_dir_all(dir.path().join(".git").join(folder)).unwrap();
        }
        for lock in locks.into_iter().chain(["index.lock"]) {
            std::fs::write(dir.path().join(".git").join(lock), "").unwrap();
        }
        let error = git.must(["config", "a.b", "c"]).unwrap_err().to_string();
        assert!(error.contains("could not lock config file"), "{error}");
        git.remove_stale_locks(Resource::Refs);
        git.must(["config", "a.b", "c"]).unwrap();
        for lock in locks {
            assert!(!dir.path().join(".git").join(lock).exists());
        }
        assert!(dir.path().join(".git/HEAD").exists());
        assert!(
            dir.path().join(".git/index.lock").exists(),
            "another resource covers it"
        );
    }

    #[test]
    fn diffs_of_several_commits() {
        let dir = repository();
        let git = Git::new(&System, dir.path());
        let scratch = tempfile::tempdir().unwrap();
        let mut feed = |to: &mut FastImport<'_>| {
            for (mark, content) in [(1, "one\n"), (2, "one\n"), (3, "two\n")] {
                let from = match mark {
                    1 => Parent::Nothing,
                    mark => Parent::Mark(mark - 1),
                };
                to.commit("refs/heads/x", mark, &author(), &author(), "m\n", &from)?;
                to.file(Mode::Plain, "a", content.as_bytes())?;
            }
            Ok(())
        };
        let commits = git.fast_import(scratch.path(), &mut feed).unwrap();
        let [one, same, two] = &commits[..] else {
            panic!("{commits:?}");
        };
        let diffs = git.diffs(&[&two.commit, &same.commit, &one.commit]);
        let diffs = diffs.unwrap();
        assert!(
            diffs[0].ends_with("@@ -1 +1 @@\n-one\n+two\n"),
            "{}",
            diffs[0]
        );
        assert_eq!(diffs[1], "");
        assert!(diffs[2].ends_with("@@ -0,0 +1 @@\n+one\n"), "{}", diffs[2]);
        assert_eq!(git.diffs(&[]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn apply_in_private_index() {
        let dir = repository();
        let git = Git::new(&System, dir.path());
        let commit = import(&git, "a", b"one\ntwo\n");
        let tree = git.tree_of(&commit).unwrap();
        let entries = git.entries(&tree, &["a".into(), "none".into()]).unwrap();
        assert_eq!(entries.len(), 1);
        let index = dir.path().join("private");
        let diff = b"--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n";
        let after = git.apply(&index, &entries, &[diff]).unwrap();
        let out = git.must(["cat-file", "blob", after["a"].blob.as_str()]);
        assert_eq!(out.unwrap().stdout, b"one\n2\n");
        let error = git.apply(&index, &after, &[diff]).unwrap_err().to_string();
        assert!(error.contains("patch failed: a:1"), "{error}");
    }
}
