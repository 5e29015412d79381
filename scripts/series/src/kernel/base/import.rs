// SPDX-License-Identifier: GPL-2.0

//! Imports an archive through `git fast-import`, or the tree of another repository. Both give the
//! same commit, with a fixed author and the date of the release.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read},
    path::Path,
};

use liblzma::{read::XzDecoder, stream::MtStreamBuilder};

use crate::{
    git::{Git, Identity, Mode, Oid, PINNED, Parent, Signature, parse_settings, refs},
    source::manifest::Base,
    sys::{
        cache::Cache,
        error::{Error, Result},
        runner::{Cmd, failed, must},
        ui::{Ui, Unit},
    },
};

/// The ratio of an archive's size as a pack, with the files checked out later, to its compressed
/// size (measured: 0.15 GB, 0.36 GB and 1.4 GB).
const GROWTH: u64 = 12;

/// The memory limit of the decompression.
const XZ_MEMORY: u64 = 1 << 30;

/// Creates the repository if necessary, and removes the remains of an interrupted import.
pub fn prepare(git: &Git<'_>, cache: &Cache) -> Result<()> {
    let home = git.dir().join(".git");
    if !home.is_dir() {
        let scratch = cache.scratch()?;
        let new = Git::new(git.runner(), scratch.path());
        new.must([
            "init",
            "--quiet",
            &format!("--initial-branch={}", refs::BRANCH),
            "--object-format=sha1",
            "--template=",
        ])?;
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
        let dir = git.dir();
        fs::create_dir_all(dir).map_err(|e| Error::io("create the folder", dir, &e))?;
        fs::rename(scratch.path().join(".git"), &home)
            .map_err(|e| Error::io("create the repository", &home, &e))?;
    }
    drop_settings(git)?;
    let packs = home.join("objects/pack");
    for entry in fs::read_dir(packs).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("tmp_") {
            // An unfinished pack only takes space.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Settings of the repository that git, b4 and the tool write, or that the user needs to post.
/// Sections end with a dot.
const KEPT: &[&str] = &[
    "b4.",
    "branch.",
    "core.bare",
    "core.compression",
    "core.filemode",
    "core.ignorecase",
    "core.logallrefupdates",
    "core.precomposeunicode",
    "core.repositoryformatversion",
    "core.sparsecheckout",
    "core.sparsecheckoutcone",
    "core.symlinks",
    "core.worktree",
    "credential.",
    "extensions.",
    "gc.auto",
    "gpg.",
    "http.",
    "index.sparse",
    "maintenance.auto",
    "remote.",
    "sendemail.",
    "user.",
];

/// Removes settings from the repository's own configuration that could change git's results. Git
/// reads that file in every call.
///
/// # Errors
///
/// The repository is damaged, or not one that the tool made.
pub fn drop_settings(git: &Git<'_>) -> Result<()> {
    for name in ["config", "config.worktree"] {
        let file = git.dir().join(".git").join(name);
        if !file.is_file() {
            continue;
        }
        let config = || git.cmd(["config", "-z", "--file"]).arg(&file);
        let settings = must(git.runner(), &config().arg("--list"))?;
        let mut settings = parse_settings(&settings.stdout);
        if settings.contains(&("extensions.objectformat".to_owned(), "sha256".to_owned())) {
            let dir = git.dir().display();
            return Err(Error::new("names its objects by sha256, not by sha1")
                .at(git.dir(), None)
                .help(format!(
                    "remove {dir}, and run this again: the tool recreates it"
                )));
        }
        settings.retain(|(key, _)| {
            let kept = |k: &str| match k.ends_with('.') {
                true => key.starts_with(k),
                false => key == k,
            };
            let pinned = PINNED.iter().any(|(k, _)| k == key);
            !pinned && !KEPT.iter().any(|k| kept(k))
        });
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
    crate::sys::files::write(&git.dir().join(".git/info/attributes"), attributes)
}

fn stamp(when: u64) -> Signature {
    Signature {
        who: Identity {
            // The name in earlier versions: with their caches, patches stay the same byte for byte.
            name: "nova-series".to_owned(),
            email: "nova-series@localhost".to_owned(),
            set: true,
        },
        when,
    }
}

fn message(base: &Base) -> String {
    format!("Linux {}\n", base.version)
}

/// Counts the bytes read.
struct Counted<R, F: FnMut(u64)> {
    from: R,
    count: F,
}

impl<R: Read, F: FnMut(u64)> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buffer)?;
        (self.count)(n as u64);
        Ok(n)
    }
}

/// Imports an archive whose hash was verified.
///
/// # Errors
///
/// The archive is not a kernel, the disk is full, or git failed.
pub fn from_archive(
    git: &Git<'_>,
    cache: &Cache,
    base: &Base,
    archive: &Path,
    ui: &Ui,
) -> Result<Oid> {
    let into = Target {
        title: &format!("Linux {}", base.version),
        reference: &refs::import(&base.version),
        message: &message(base),
    };
    let commit = unpack(git, cache, archive, &into, ui)?;
    check_version(git, base, &commit).map_err(|e| e.at(archive, None))?;
    warn_unknown_tree(git, base, &commit, ui)?;
    Ok(commit)
}

/// The commit that an import creates.
pub struct Target<'a> {
    /// The name for progress messages.
    pub title: &'a str,
    /// The ref that keeps its objects.
    pub reference: &'a str,
    /// The message of the commit.
    pub message: &'a str,
}

/// Returns whether a file is compressed with xz.
pub fn is_xz(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(6).read_to_end(&mut start))
        .map_err(|e| Error::io("read", path, &e))?;
    Ok(start == b"\xfd7zXZ\0")
}

/// Creates an xz decoder that uses all processors.
fn decoder() -> Result<liblzma::stream::Stream> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    MtStreamBuilder::new()
        .threads(u32::try_from(threads).unwrap_or(1))
        .memlimit_threading(XZ_MEMORY)
        .memlimit_stop(u64::MAX)
        .decoder()
        .map_err(|e| Error::new(format!("cannot unpack xz: {e}")))
}

/// Imports the files of an archive as one commit.
///
/// # Errors
///
/// The file is not an archive, the disk is full, or git failed.
pub fn unpack(
    git: &Git<'_>,
    cache: &Cache,
    archive: &Path,
    into: &Target<'_>,
    ui: &Ui,
) -> Result<Oid> {
    let file = File::open(archive).map_err(|e| Error::io("open", archive, &e))?;
    let size = file.metadata().map_or(0, |m| m.len());
    let growth = if is_xz(archive)? { GROWTH } else { 2 };
    cache.need_space(growth * size, "the kernel")?;
    let scratch = cache.scratch()?;
    let mut progress = ui.progress(&format!("importing {}", into.title), size, Unit::Bytes);
    let is_packed = is_xz(archive)?;
    let counted = Counted {
        from: BufReader::new(file),
        count: |n| progress.add(n),
    };
    let from: Box<dyn Read + '_> = match is_packed {
        true => Box::new(XzDecoder::new_stream(counted, decoder()?)),
        false => Box::new(counted),
    };
    let mut tar = tar::Archive::new(from);
    let mut when = 0;
    let commits = git.fast_import(scratch.path(), &mut |to| {
        let mut entries = tar.entries()?;
        let first = entries
            .next()
            .ok_or_else(|| io::Error::other("the archive is empty"))??;
        // `git archive` gives every file the date of the release.
        when = first.header().mtime()?;
        to.commit(
            into.reference,
            1,
            &stamp(when),
            into.message,
            &Parent::Nothing,
        )?;
        let mut content = Vec::new();
        for entry in std::iter::once(Ok(first)).chain(entries) {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let below: std::path::PathBuf = path.components().skip(1).collect();
            let below = below
                .to_str()
                .ok_or_else(|| io::Error::other("a file name is not UTF-8"))?;
            let kind = entry.header().entry_type();
            let mode = match kind {
                tar::EntryType::Regular if entry.header().mode()? & 0o100 != 0 => Mode::Executable,
                tar::EntryType::Regular => Mode::Plain,
                tar::EntryType::Symlink => Mode::Link,
                tar::EntryType::Directory | tar::EntryType::XGlobalHeader => continue,
                _ => {
                    let what = "is neither a file nor a folder nor a symbolic link";
                    return Err(io::Error::other(format!("{}: {what}", path.display())));
                }
            };
            content.clear();
            if mode == Mode::Link {
                let link = entry.link_name_bytes().unwrap_or_default();
                content.extend_from_slice(&link);
            } else {
                entry.read_to_end(&mut content)?;
            }
            to.file(mode, below, &content)?;
        }
        Ok(())
    });
    let commit = commits
        .map_err(|e| e.at(archive, None))?
        .into_iter()
        .next()
        .ok_or_else(|| Error::new("git created no commit from the archive"))?;
    drop(tar);
    progress.done();
    Ok(commit)
}

/// Imports the tree of the release from the user's kernel repository.
///
/// # Errors
///
/// The tree is not a kernel, has another version, or has uncommitted changes.
pub fn from_git(git: &Git<'_>, base: &Base, kernel: &Path, ui: &Ui) -> Result<Oid> {
    let kernel = &fs::canonicalize(kernel).map_err(|e| Error::io("open", kernel, &e))?;
    let theirs = Git::of_user(git.runner(), kernel);
    let tag = format!("{}^{{commit}}", base.release());
    let unusable = |what: String| {
        Error::new(what).at(kernel, None).help(format!(
            "name a clone that has the tag {}, or leave --kernel out",
            base.release()
        ))
    };
    let (what, commit) = match theirs.resolve(&tag) {
        Ok(Some(commit)) => (base.release(), commit),
        _ => {
            let head = theirs.resolve("HEAD^{commit}").ok().flatten();
            let head = head.ok_or_else(|| unusable("is not a git tree".to_owned()))?;
            refuse_changes(&theirs)?;
            ("HEAD".to_owned(), head)
        }
    };
    if let Some(known) = &base.upstream_commit
        && *known != commit.as_str()
    {
        return Err(unusable(format!("{what} is {commit}, not {known}")));
    }
    check_version(&theirs, base, &commit).map_err(|e| {
        e.at(kernel, None).help(format!(
            "check out {}, or leave --kernel out",
            base.release()
        ))
    })?;
    let tree = theirs.tree_of(&commit)?;
    if !base.trees.is_empty() && !base.trees.iter().any(|t| t == tree.as_str()) {
        return Err(unusable(format!(
            "{what} has the tree {tree}, which differs from the tree of {}",
            base.release()
        )));
    }
    ui.say(format!("fetching {what} of {} …", kernel.display()));
    let target = refs::import(&base.version);
    let when = fetch(git, kernel, &commit, &target)?;
    let tree = git.tree_of(&commit)?;
    let made = commit_tree(git, &tree, &stamp(when), &message(base))?;
    warn_unknown_tree(git, base, &made, ui)?;
    Ok(made)
}

/// An imported revision of a git tree.
pub struct Revision {
    /// The commit in the user's tree.
    pub public: Oid,
    /// The commit with the same tree in the tool's repository, without history.
    pub commit: Oid,
}

/// Imports a revision of the user's kernel repository. Its version does not matter.
///
/// # Errors
///
/// The revision does not exist, or is not a kernel.
pub fn revision(git: &Git<'_>, base: &Base, kernel: &Path, rev: &str, ui: &Ui) -> Result<Revision> {
    let kernel = &fs::canonicalize(kernel).map_err(|e| Error::io("open", kernel, &e))?;
    let theirs = Git::of_user(git.runner(), kernel);
    let found = theirs.resolve(&format!("{rev}^{{commit}}")).ok().flatten();
    let public = found.ok_or_else(|| {
        Error::new(format!("has no revision {rev:?}"))
            .at(kernel, None)
            .help(format!(
                "fetch it there, or name another with --rev or in {}",
                base.file.display()
            ))
    })?;
    // Detects errors before anything is fetched.
    let found = version(&theirs, &public).map_err(|e| e.at(kernel, None))?;
    ui.say(format!(
        "fetching {rev} of {}: {public}, Linux {found} …",
        kernel.display()
    ));
    let target = refs::import(base.ref_name());
    let when = fetch(git, kernel, &public, &target)?;
    let tree = git.tree_of(&public)?;
    let message = format!("Linux {found}, {}\n", base.name);
    let commit = commit_tree(git, &tree, &stamp(when), &message)?;
    Ok(Revision { public, commit })
}

/// Fetches one commit of another repository, without its history, and returns its date.
pub fn fetch(git: &Git<'_>, from: &Path, commit: &Oid, reference: &str) -> Result<u64> {
    // Creates a separate pack, without the history.
    let cmd = git
        .cmd([
            "-c",
            "protocol.file.allow=always",
            // Older protocols only serve commits that a ref points to.
            "-c",
            "protocol.version=2",
            "fetch",
            "--quiet",
            "--no-tags",
            "--depth=1",
        ])
        .arg(format!("--upload-pack={}", crate::git::upload_pack()))
        // git decodes the path after `file://`.
        .arg(format!("file://{}", from.display()).replace('%', "%25"))
        .arg(format!("+{commit}:{reference}"));
    must(git.runner(), &cmd)?;
    let when = git
        .must(["show", "-s", "--format=%ct", commit.as_str()])?
        .text();
    Ok(when.parse().unwrap_or(0))
}

/// Creates a commit of a tree with a fixed author.
pub fn commit(git: &Git<'_>, tree: &Oid, when: u64, message: &str) -> Result<Oid> {
    commit_tree(git, tree, &stamp(when), message)
}

fn commit_tree(git: &Git<'_>, tree: &Oid, stamp: &Signature, message: &str) -> Result<Oid> {
    let cmd: Cmd = git.cmd(["commit-tree", tree.as_str(), "-F", "-"]);
    let date = format!("{} +0000", stamp.when);
    let mut cmd = cmd.stdin(message);
    for role in ["AUTHOR", "COMMITTER"] {
        cmd = cmd
            .env(format!("GIT_{role}_NAME"), &stamp.who.name)
            .env(format!("GIT_{role}_EMAIL"), &stamp.who.email)
            .env(format!("GIT_{role}_DATE"), &date);
    }
    let out = must(git.runner(), &cmd)?.text();
    Oid::parse(&out).ok_or_else(|| Error::new("git commit-tree printed no commit name"))
}

fn refuse_changes(theirs: &Git<'_>) -> Result<()> {
    let out = theirs
        .must(["status", "--porcelain", "--untracked-files=no"])?
        .text();
    if out.is_empty() {
        return Ok(());
    }
    let shown: Vec<_> = out.lines().take(5).collect();
    Err(Error::new(format!(
        "the kernel tree has uncommitted changes ({})",
        crate::sys::plural::count(out.lines().count(), "file", "files")
    ))
    .at(theirs.dir(), None)
    .detail(shown.join("\n"))
    .help("commit or stash them, or name a clean tree"))
}

/// Checks that the Makefile of a tree names the release.
fn check_version(git: &Git<'_>, base: &Base, commit: &Oid) -> Result<()> {
    let found = version(git, commit)?;
    if found == base.version {
        return Ok(());
    }
    Err(Error::new(format!(
        "is Linux {found}, but the series are based on {}",
        base.version
    )))
}

/// Returns the release that the Makefile of a tree names.
///
/// # Errors
///
/// The tree is not a kernel.
pub fn version(git: &Git<'_>, commit: &Oid) -> Result<String> {
    let unusable = || Error::new("is not a Linux kernel tree");
    let makefile = git.content(commit, "Makefile")?.ok_or_else(unusable)?;
    let makefile = String::from_utf8_lossy(&makefile);
    kernel_version(&makefile).ok_or_else(unusable)
}

/// Parses the version in a kernel's top Makefile.
fn kernel_version(makefile: &str) -> Option<String> {
    let value = |key: &str| {
        makefile.lines().take(20).find_map(|l| {
            let (k, v) = l.split_once('=')?;
            (k.trim() == key).then(|| v.trim().to_owned())
        })
    };
    let (major, minor) = (value("VERSION")?, value("PATCHLEVEL")?);
    let sub = value("SUBLEVEL")?;
    let extra = value("EXTRAVERSION")?;
    let sub = if sub == "0" {
        String::new()
    } else {
        format!(".{sub}")
    };
    Some(format!("{major}.{minor}{sub}{extra}"))
}

fn warn_unknown_tree(git: &Git<'_>, base: &Base, commit: &Oid, ui: &Ui) -> Result<()> {
    let tree = git.tree_of(commit)?;
    if !base.trees.iter().any(|t| t == tree.as_str()) {
        ui.warn(format!(
            "the tree {tree} is not among those that {} lists for {}",
            base.file.display(),
            base.version
        ));
    }
    Ok(())
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
