// SPDX-License-Identifier: GPL-2.0

//! Imports an archive through `git fast-import`, or the tree of another repository. Both give the
//! same commit, with a fixed author and the date of the release.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Seek},
    path::{Path, PathBuf},
    sync::LazyLock,
    thread::available_parallelism,
};

use liblzma::{
    read::XzDecoder,
    stream::{MtStreamBuilder, Stream},
};
use regex::Regex;
use tar::EntryType;

use super::describe;
use crate::{
    git::{Author, BaseCommit, FastImport, Git, Mode, Oid, Parent, parse_settings, pinned, refs},
    kernel::checkout::refuse_changes,
    source::manifest::Base,
    sys::{
        Error, Result,
        cache::{Cache, Resource},
        failed,
        files::{remove_below, write},
        pattern,
        ui::{Ui, Unit},
    },
};

/// The ratio of an archive's size as a pack, with the files checked out later, to its compressed
/// size (measured: 0.15 GB, 0.36 GB and 1.4 GB).
const GROWTH: u64 = 12;

const XZ_MEMORY: u64 = 1 << 30;

/// The author of the commits, as in earlier versions: with their caches, patches stay the same byte
/// for byte.
const NAME: &str = "nova-series";
const EMAIL: &str = "nova-series@localhost";

/// Settings of the repository that git, b4 and the tool write, or that the user needs to post.
static KEPT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?x)^(?:
            (?:b4|branch|credential|extensions|gpg|http|remote|sendemail|user)\..*
            | core\.(?:bare|compression|filemode|ignorecase|logallrefupdates|precomposeunicode
                |repositoryformatversion|sparsecheckout|sparsecheckoutcone|symlinks|worktree)
            | gc\.auto | index\.sparse | maintenance\.auto
        )$",
    )
});

/// Removes settings from the repository's own configuration that could change git's results. Git
/// reads that file in every call.
pub fn drop_settings(git: &Git<'_>) -> Result<()> {
    for name in ["config", "config.worktree"] {
        let file = git.dir().join(".git").join(name);
        if !file.is_file() {
            continue;
        }
        let config = || git.cmd(["config", "-z", "--file"]).arg(&file);
        let settings = git.run(&config().arg("--list"))?;
        let mut settings = parse_settings(&settings.stdout);
        if settings.contains(&("extensions.objectformat".to_owned(), "sha256".to_owned())) {
            let dir = git.dir().display();
            let help = format!("remove {dir}, and run this again: the tool recreates it");
            return Err(Error::new("names its objects by sha256, not by sha1")
                .at(git.dir(), None)
                .help(help));
        }
        settings.retain(|(key, _)| !KEPT.is_match(key) && !pinned().any(|(k, _)| k == key));
        settings.dedup_by(|a, b| a.0 == b.0);
        for (key, _) in settings {
            let unset = config().args(["--unset-all", &key]);
            let out = git.try_run(&unset)?;
            // 5: already removed, because the key was listed twice.
            if !matches!(out.code, Some(0 | 5)) {
                return Err(failed(&unset, &out));
            }
        }
    }
    Ok(())
}

/// Pins the kernel's attributes, which select the headings of hunks. git reads them from
/// checked-out files, and the patches must not depend on a checkout.
pub fn pin_attributes(git: &Git<'_>) -> Result<()> {
    let attributes = b"*.[ch] diff=cpp\n*.dts diff=dts\n*.dts[io] diff=dts\n*.rs diff=rust\n";
    write(&git.dir().join(".git/info/attributes"), attributes)
}

pub fn is_xz(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(6).read_to_end(&mut start))
        .map_err(|e| Error::io("read", path, &e))?;
    Ok(start == b"\xfd7zXZ\0")
}

fn decoder() -> Result<Stream> {
    let threads = available_parallelism().map_or(1, |n| n.get());
    MtStreamBuilder::new()
        .threads(u32::try_from(threads).unwrap_or(1))
        .memlimit_threading(XZ_MEMORY)
        .memlimit_stop(u64::MAX)
        .decoder()
        .map_err(|e| Error::new(format!("cannot unpack xz: {e}")))
}

/// Adds an entry of an archive to the current commit, without the top folder of its path.
fn add(to: &mut FastImport<'_>, mut entry: tar::Entry<'_, impl Read>) -> io::Result<()> {
    let path = entry.path()?.into_owned();
    let below: PathBuf = path.components().skip(1).collect();
    let below = below.to_str();
    let below = below.ok_or_else(|| io::Error::other("a file name is not UTF-8"))?;
    let mode = match entry.header().entry_type() {
        EntryType::Regular if entry.header().mode()? & 0o100 != 0 => Mode::Executable,
        EntryType::Regular => Mode::Plain,
        EntryType::Symlink => Mode::Link,
        EntryType::Directory | EntryType::XGlobalHeader => return Ok(()),
        _ => {
            let what = "is neither a file nor a folder nor a symbolic link";
            return Err(io::Error::other(format!("{}: {what}", path.display())));
        }
    };
    let mut content = Vec::new();
    if mode == Mode::Link {
        content.extend_from_slice(&entry.link_name_bytes().unwrap_or_default());
    } else {
        entry.read_to_end(&mut content)?;
    }
    to.file(mode, below, &content)
}

pub struct Importer<'a> {
    pub git: &'a Git<'a>,
    pub cache: &'a Cache,
    pub ui: &'a Ui,
}

impl Importer<'_> {
    /// Returns the commit that `find` finds. If there is none, `make` imports it into the prepared
    /// repository while no other run imports, and the ref `kept` is set last.
    pub fn once(
        &self,
        kept: &str,
        find: impl Fn() -> Result<Option<BaseCommit>>,
        make: impl FnOnce() -> Result<Oid>,
    ) -> Result<BaseCommit> {
        if let Some(found) = find()? {
            return Ok(found);
        }
        let lock = self.cache.lock(Resource::Base, self.ui)?;
        // Another run may have imported it meanwhile.
        if let Some(found) = find()? {
            return Ok(found);
        }
        self.prepare()?;
        if lock.after_death {
            self.git.remove_stale_locks(Resource::Base);
        }
        self.git.set_ref(kept, &make()?)?;
        let what = format!("git cannot find {kept} right after its import");
        describe(self.git, kept)?.ok_or_else(|| Error::new(what))
    }

    /// Creates the repository if necessary, and removes the remains of an interrupted import.
    fn prepare(&self) -> Result<()> {
        let dir = self.git.dir();
        let home = dir.join(".git");
        if !home.is_dir() {
            let scratch = self.cache.scratch()?;
            let new = Git::new(self.git.runner(), scratch.path());
            let branch = format!("--initial-branch={}", refs::BRANCH);
            let init = ["init", "--quiet", &branch, "--object-format=sha1"];
            new.run(&new.cmd(init).arg("--template="))?;
            for (key, value) in [
                // Other checkouts use the objects.
                ("gc.auto", "0"),
                ("maintenance.auto", "false"),
                ("core.logAllRefUpdates", "true"),
                // The pack of the kernel is written once and read often.
                ("core.compression", "1"),
            ] {
                new.must(["config", key, value])?;
            }
            fs::create_dir_all(dir).map_err(|e| Error::io("create the folder", dir, &e))?;
            fs::rename(scratch.path().join(".git"), &home)
                .map_err(|e| Error::io("create the repository", &home, &e))?;
        }
        drop_settings(self.git)?;
        // An unfinished pack only takes space.
        remove_below(&home.join("objects/pack"), &|name| name.starts_with("tmp_"));
        pin_attributes(self.git)
    }

    /// Makes one commit of an archive. `title` is for the progress, `reference` keeps the objects.
    pub fn unpack(
        &self,
        archive: &Path,
        title: &str,
        reference: &str,
        message: &str,
    ) -> Result<Oid> {
        let file = &File::open(archive).map_err(|e| Error::io("open", archive, &e))?;
        let size = file.metadata().map_or(0, |m| m.len());
        let is_packed = is_xz(archive)?;
        let growth = if is_packed { GROWTH } else { 2 };
        self.cache.need_space(growth * size, "the kernel")?;
        let scratch = self.cache.scratch()?;
        let what = format!("importing {title}");
        let mut progress = self.ui.progress(&what, size, Unit::Bytes);
        let from: Box<dyn Read + '_> = if is_packed {
            Box::new(XzDecoder::new_stream(BufReader::new(file), decoder()?))
        } else {
            Box::new(BufReader::new(file))
        };
        let mut tar = tar::Archive::new(from);
        let commits = self.git.fast_import(scratch.path(), &mut |to| {
            let mut entries = tar.entries()?;
            let first = entries.next();
            let first = first.ok_or_else(|| io::Error::other("the archive is empty"))??;
            // `git archive` gives every file the date of the release.
            let who = Author::new(NAME, EMAIL, first.header().mtime()?);
            to.commit(reference, 1, &who, &who, message, &Parent::Nothing)?;
            let mut read = file;
            for entry in std::iter::once(Ok(first)).chain(entries) {
                add(to, entry?)?;
                progress.set(read.stream_position()?, "");
            }
            Ok(())
        });
        let commit = commits.map_err(|e| e.at(archive, None))?.into_iter().next();
        progress.done();
        let commit = commit.map(|made| made.commit);
        commit.ok_or_else(|| Error::new("git created no commit from the archive"))
    }

    /// Imports the tree of the release from the user's kernel repository, which may have no other
    /// version and no uncommitted changes.
    pub fn import_release(&self, base: &Base, kernel: &Path) -> Result<Oid> {
        let kernel = &canonical(kernel)?;
        let theirs = Git::of_user(self.git.runner(), kernel);
        let release = base.release();
        let unusable = |what: String| {
            Error::new(what).at(kernel, None).help(format!(
                "name a clone that has the tag {release}, or leave --kernel out"
            ))
        };
        let tagged = theirs.resolve(&format!("{release}^{{commit}}"));
        let (what, commit) = match tagged {
            Ok(Some(commit)) => (release.as_str(), commit),
            _ => {
                let head = theirs.resolve("HEAD^{commit}").ok().flatten();
                let head = head.ok_or_else(|| unusable("is not a git tree".to_owned()))?;
                let what =
                    |files: &str| format!("the kernel tree has uncommitted changes ({files})");
                let help = "commit or stash them, or name a clean tree";
                refuse_changes(&theirs, what, help)?;
                ("HEAD", head)
            }
        };
        if let Some(known) = &base.upstream_commit
            && *known != commit.as_str()
        {
            return Err(unusable(format!("{what} is {commit}, not {known}")));
        }
        check_version(&theirs, base, &commit).map_err(|e| {
            e.at(kernel, None)
                .help(format!("check out {release}, or leave --kernel out"))
        })?;
        let tree = theirs.tree_of(&commit)?;
        if !base.trees.is_empty() && !lists(base, &tree) {
            return Err(unusable(format!(
                "{what} has the tree {tree}, which differs from the tree of {release}"
            )));
        }
        let dir = kernel.display();
        self.ui.say(format!("fetching {what} of {dir} …"));
        let message = format!("Linux {}\n", base.version);
        self.copy(kernel, &commit, &refs::import(&base.version), &message)
    }

    /// Imports a revision of the user's kernel repository. Its version does not matter. Returns the
    /// commit there, and the commit with the same tree in the tool's repository.
    pub fn import_revision(&self, base: &Base, kernel: &Path, rev: &str) -> Result<(Oid, Oid)> {
        let kernel = &canonical(kernel)?;
        let theirs = Git::of_user(self.git.runner(), kernel);
        let found = theirs.resolve(&format!("{rev}^{{commit}}")).ok().flatten();
        let public = found.ok_or_else(|| {
            let file = base.file.display();
            Error::new(format!("has no revision {rev:?}"))
                .at(kernel, None)
                .help(format!(
                    "fetch it there, or name another with --rev or in {file}"
                ))
        })?;
        // Detects errors before anything is fetched.
        let found = version(&theirs, &public).map_err(|e| e.at(kernel, None))?;
        let what = format!("fetching {rev} of {}: {public}", kernel.display());
        self.ui.say(format!("{what}, Linux {found} …"));
        let message = format!("Linux {found}, {}\n", base.name);
        let commit = self.copy(kernel, &public, &refs::import(base.ref_name()), &message)?;
        Ok((public, commit))
    }

    /// Copies a commit without its history, author and message. `reference` keeps the objects.
    pub fn copy(&self, from: &Path, commit: &Oid, reference: &str, message: &str) -> Result<Oid> {
        let git = self.git;
        git.fetch(from, [(commit, reference.to_owned())])?;
        let fetched = describe(git, reference)?;
        let BaseCommit { tree, when, .. } =
            fetched.ok_or_else(|| Error::new(format!("git did not fetch {commit}")))?;
        let who = Author::new(NAME, EMAIL, when);
        git.commit(&tree, None, &who, &who, message)
    }
}

/// Reports whether the manifest lists a tree for its release.
pub fn lists(base: &Base, tree: &Oid) -> bool {
    base.trees.iter().any(|t| t == tree.as_str())
}

pub fn canonical(dir: &Path) -> Result<PathBuf> {
    fs::canonicalize(dir).map_err(|e| Error::io("open", dir, &e))
}

/// Checks that the Makefile of a tree names the release.
pub fn check_version(git: &Git<'_>, base: &Base, commit: &Oid) -> Result<()> {
    let (found, wanted) = (version(git, commit)?, &base.version);
    if found == *wanted {
        return Ok(());
    }
    let what = format!("is Linux {found}, but the series are based on {wanted}");
    Err(Error::new(what))
}

/// Returns the release that the Makefile of a tree names. Fails if the tree is not a kernel.
pub fn version(git: &Git<'_>, commit: &Oid) -> Result<String> {
    let makefile = git.content(commit, "Makefile")?.unwrap_or_default();
    kernel_version(&String::from_utf8_lossy(&makefile))
        .ok_or_else(|| Error::new("is not a Linux kernel tree"))
}

fn kernel_version(makefile: &str) -> Option<String> {
    let value = |key: &str| {
        let mut lines = makefile.lines().take(20).filter_map(|l| l.split_once('='));
        lines.find_map(|(k, v)| (k.trim() == key).then(|| v.trim().to_owned()))
    };
    let (major, minor) = (value("VERSION")?, value("PATCHLEVEL")?);
    let (sub, extra) = (value("SUBLEVEL")?, value("EXTRAVERSION")?);
    Some(match sub.as_str() {
        "0" => format!("{major}.{minor}{extra}"),
        _ => format!("{major}.{minor}.{sub}{extra}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_version_reads_makefile() {
        let text =
            "# SPDX\nVERSION = 6\nPATCHLEVEL = 19\nSUBLEVEL = 11\nEXTRAVERSION =\nNAME = x\n";
        assert_eq!(kernel_version(text).unwrap(), "6.19.11");
        let rc = text
            .replace("11", "0")
            .replace("EXTRAVERSION =", "EXTRAVERSION = -rc3");
        assert_eq!(kernel_version(&rc).unwrap(), "6.19-rc3");
        assert_eq!(kernel_version("all:\n"), None);
    }
}
