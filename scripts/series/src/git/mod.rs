// SPDX-License-Identifier: GPL-2.0

//! The kernel repository, worked on with git's plumbing and private index files.

pub mod damage;

use std::{
    collections::BTreeMap,
    fmt,
    io::Write,
    path::{
        Path,
        PathBuf, //
    },
    sync::OnceLock,
};

use crate::{
    source::{
        component::Mode,
        workspace::write, //
    },
    sys::{
        cache::{
            Cache,
            Resource, //
        },
        error::{
            Error,
            Result, //
        },
        runner::{
            Cmd,
            Output,
            Runner,
            failed,
            must,
            not_started,
            quote, //
        }, //
    }, //
};

use sha2::{
    Digest,
    Sha256, //
};

/// The name of a git object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid(String);

impl Oid {
    /// From 40 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| Self(text.to_owned()))
    }

    /// As git writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its mode.
    pub mode: Mode,
    /// Its content's name.
    pub blob: Oid,
}

/// Who makes a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The full name.
    pub name: String,
    /// The mail address.
    pub email: String,
    /// Whether a person set it; without that nobody signs off, and nothing can be posted.
    pub set: bool,
}

impl Identity {
    /// `Name <address>`, without what would end either of them early, as git leaves it out.
    pub fn ident(&self) -> String {
        let clean = |text: &str| text.replace(['<', '>', '\n', '\0'], "");
        format!("{} <{}>", clean(&self.name), clean(&self.email))
    }

    /// Who git says the user is in `dir`.
    ///
    /// # Errors
    ///
    /// git is missing, or cannot read the user's configuration.
    pub fn of_user(runner: &dyn Runner, dir: &Path) -> Result<Self> {
        let settings = user_settings(runner, dir, "^user\\.(name|email)$")?;
        let get = |key: &str| {
            let value = settings.iter().rev().find(|(k, _)| k == key);
            let value = value.map(|(_, v)| in_ident(v));
            value.filter(|v| !v.is_empty())
        };
        Ok(match (get("user.name"), get("user.email")) {
            (Some(name), Some(email)) => Self {
                name,
                email,
                set: true,
            },
            _ => Self {
                name: "Nobody Yet".to_owned(),
                email: "nobody@localhost".to_owned(),
                set: false,
            },
        })
    }
}

/// A name or an address without the characters that delimit it in a commit. Git strips them too.
fn in_ident(text: &str) -> String {
    let text = text.replace(['<', '>', '\n', '\r', '\0'], "");
    text.trim().to_owned()
}

/// The settings of the user, from all files and variables that git reads in `dir`, whose names
/// match a regular expression; the last one of a name counts.
///
/// # Errors
///
/// git is missing, or cannot read a file of the configuration.
pub fn user_settings(
    runner: &dyn Runner,
    dir: &Path,
    names: &str,
) -> Result<Vec<(String, String)>> {
    let mut cmd = Cmd::new("git")
        .args(["config", "-z", "--get-regexp", names])
        // A hook that runs the tool has set the repository and much more.
        .without("GIT_")
        .env("LC_ALL", "C.UTF-8")
        .dir(dir);
    for (key, value) in std::env::vars_os() {
        if key.as_encoded_bytes().starts_with(b"GIT_CONFIG_") {
            cmd = cmd.env(key, value);
        }
    }
    let out = runner.run(&cmd).map_err(|e| not_started(&cmd, &e))?;
    match out.code {
        Some(0) => Ok(parse_settings(&out.stdout)),
        // There is none of these names.
        Some(1) => Ok(Vec::new()),
        _ => Err(Error::new("git cannot read your configuration")
            .detail(out.complaint())
            .help("mend it; `git config --list --show-origin` has to work")),
    }
}

/// Parses the output of `git config -z`: a name, a newline, a value.
pub fn parse_settings(text: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(text);
    let all = text.split('\0').filter(|s| !s.is_empty());
    all.map(|s| {
        let (key, value) = s.split_once('\n').unwrap_or((s, "true"));
        (key.to_owned(), value.to_owned())
    })
    .collect()
}

/// The user's `safe.directory` values: folders of other users that git may work in.
static TRUSTED: OnceLock<Vec<String>> = OnceLock::new();

/// Reads which folders of other users git may work in: as git itself, from the user's files only.
///
/// # Errors
///
/// As [`user_settings`].
pub fn read_trusted(runner: &dyn Runner, dir: &Path) -> Result<()> {
    let settings = user_settings(runner, dir, "^safe\\.directory$")?;
    let folders = settings.into_iter().map(|(_, folder)| folder).collect();
    // Once is enough.
    let _ = TRUSTED.set(folders);
    Ok(())
}

/// The command for the other side of a fetch. Git clears its environment, so `safe.directory` is
/// passed as an argument.
pub fn upload_pack() -> String {
    let trusted = TRUSTED.get().into_iter().flatten();
    let options = trusted.map(|dir| format!("-c {} ", quote(&format!("safe.directory={dir}"))));
    format!("git {}upload-pack", options.collect::<String>())
}

/// Settings that change the output of git or b4. The environment passes them to git, which overrides
/// the configuration of the repository, and to git calls by b4. [`crate::b4::configure`] also writes
/// them into the tool's repository, because the user runs b4 there to post.
pub const PINNED: &[(&str, &str)] = &[
    ("color.ui", "false"),
    ("color.diff", "false"),
    ("color.branch", "false"),
    ("color.status", "false"),
    ("color.grep", "false"),
    ("color.decorate", "false"),
    ("color.showbranch", "false"),
    ("core.abbrev", "12"),
    ("core.attributesfile", "/dev/null"),
    ("core.autocrlf", "false"),
    ("core.bigfilethreshold", "512m"),
    ("core.eol", "lf"),
    ("core.fsmonitor", "false"),
    ("core.quotepath", "true"),
    ("core.splitindex", "false"),
    ("core.untrackedcache", "false"),
    ("core.usereplacerefs", "false"),
    ("core.whitespace", ""),
    ("diff.algorithm", "histogram"),
    ("diff.colormoved", "no"),
    ("diff.context", "3"),
    ("diff.ignoresubmodules", "none"),
    ("diff.indentheuristic", "true"),
    ("diff.interhunkcontext", "0"),
    ("diff.mnemonicprefix", "false"),
    ("diff.noprefix", "false"),
    ("diff.orderfile", "/dev/null"),
    ("diff.relative", "false"),
    ("diff.renamelimit", "1000"),
    ("diff.renames", "true"),
    ("diff.srcprefix", "a/"),
    ("diff.dstprefix", "b/"),
    ("diff.statgraphwidth", "0"),
    ("diff.statnamewidth", "0"),
    ("diff.submodule", "short"),
    ("diff.suppressblankempty", "false"),
    ("diff.wserrorhighlight", "none"),
    ("format.attach", ""),
    ("format.encodeemailheaders", "true"),
    ("format.filenamemaxlength", "64"),
    ("format.forceinbodyfrom", "false"),
    ("format.from", "false"),
    ("format.mboxrd", "false"),
    ("format.notes", "false"),
    ("format.pretty", "medium"),
    ("format.signoff", "false"),
    ("format.subjectprefix", "PATCH"),
    ("format.useautobase", "false"),
    ("i18n.commitencoding", "UTF-8"),
    ("i18n.logoutputencoding", "UTF-8"),
    ("log.date", "default"),
    ("log.decorate", "false"),
    ("log.follow", "false"),
    ("log.mailmap", "false"),
    ("log.showsignature", "false"),
    ("mailmap.file", "/dev/null"),
    ("mailmap.blob", ""),
];

/// Settings for calls by the tool only; in the repository the user may need other values.
const OWN: &[(&str, &str)] = &[
    ("advice.detachedhead", "false"),
    ("apply.ignorewhitespace", "no"),
    ("apply.whitespace", "nowarn"),
    ("commit.gpgsign", "false"),
    ("core.excludesfile", "/dev/null"),
    ("core.hookspath", "/dev/null"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    // The user's kernel tree may be a bare repository.
    ("safe.barerepository", "all"),
    ("tar.umask", "0022"),
];

/// Isolates a command that runs git: it reads the configuration of its repository, overridden by
/// ours, and inherits no `GIT_*` variable.
pub fn isolated(cmd: Cmd) -> Cmd {
    let trusted = TRUSTED.get().into_iter().flatten();
    let trusted = trusted.map(|dir| ("safe.directory", dir.as_str()));
    let settings = PINNED.iter().chain(OWN).copied().chain(trusted);
    let mut cmd = cmd
        .without("GIT_")
        // git lays a diffstat out for a terminal of this width.
        .env_remove("COLUMNS")
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_TERMINAL_PROMPT", "0");
    let mut count = 0;
    for (key, value) in settings {
        cmd = cmd
            .env(format!("GIT_CONFIG_KEY_{count}"), key)
            .env(format!("GIT_CONFIG_VALUE_{count}"), value);
        count += 1;
    }
    cmd.env("GIT_CONFIG_COUNT", count.to_string())
}

/// A git repository.
#[derive(Clone, Copy)]
pub struct Git<'a> {
    runner: &'a dyn Runner,
    dir: &'a Path,
    foreign: bool,
}

impl<'a> Git<'a> {
    /// The repository of the tool's whose work tree is `dir`.
    pub fn new(runner: &'a dyn Runner, dir: &'a Path) -> Self {
        let foreign = false;
        Self {
            runner,
            dir,
            foreign,
        }
    }

    /// A repository of the user's, which is only read.
    pub fn of_user(runner: &'a dyn Runner, dir: &'a Path) -> Self {
        let foreign = true;
        Self {
            runner,
            dir,
            foreign,
        }
    }

    /// The work tree.
    pub fn dir(&self) -> &'a Path {
        self.dir
    }

    /// The seam below.
    pub fn runner(&self) -> &'a dyn Runner {
        self.runner
    }

    /// A git command here, deaf to the user's settings.
    pub fn cmd<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(&self, args: I) -> Cmd {
        let explain = match self.foreign {
            true => damage::of_user,
            false => damage::of_tool,
        };
        let cmd = isolated(Cmd::new("git").dir(self.dir));
        cmd.explain(explain).args(args)
    }

    /// Runs a git command that has to succeed.
    pub fn must<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(
        &self,
        args: I,
    ) -> Result<Output> {
        must(self.runner, &self.cmd(args))
    }

    /// Runs a git command that may fail.
    pub fn try_run(&self, cmd: &Cmd) -> Result<Output> {
        self.runner.run(cmd).map_err(|e| not_started(cmd, &e))
    }

    /// What a revision names, or `None`.
    pub fn resolve(&self, rev: &str) -> Result<Option<Oid>> {
        let cmd = self.cmd(["rev-parse", "--quiet", "--verify", "--end-of-options", rev]);
        let out = self.try_run(&cmd)?;
        if !out.ok() {
            refuse_damage(&cmd, &out)?;
        }
        Ok(out.ok().then(|| Oid::parse(&out.text())).flatten())
    }

    /// The tree of a commit.
    pub fn tree_of(&self, commit: &Oid) -> Result<Oid> {
        let rev = format!("{commit}^{{tree}}");
        self.resolve(&rev)?
            .ok_or_else(|| Error::new(format!("{commit} is not a commit of the kernel repository")))
    }

    /// Removes lock files that a run which is no more has left. Only for the holder of a lock of
    /// the cache who was told so.
    pub fn remove_stale_locks(&self, resource: Resource) {
        fn walk(dir: &Path) {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    walk(&path);
                } else if path.extension().is_some_and(|e| e == "lock") {
                    // It may vanish under us; what matters is that it is gone.
                    let _ = std::fs::remove_file(path);
                }
            }
        }
        let dir = self.dir.join(".git");
        // Other resources may be somebody's at this moment.
        let (folders, files): (&[&str], &[&str]) = match resource {
            Resource::Base => (
                &[
                    "refs/nova-series/archive",
                    "refs/nova-series/archive",
                    "refs/nova-series/base",
                    "refs/nova-series/import",
                    "refs/nova-series/port",
                ],
                &["shallow"],
            ),
            Resource::Refs => (
                &[
                    "refs/heads/b4",
                    "refs/nova-series/b4",
                    "refs/nova-series/send",
                    "refs/nova-series/steps",
                    "refs/nova-series/posted",
                    "refs/tags/sent",
                    "logs/refs/heads/b4",
                    "worktrees",
                ],
                &["config", "packed-refs"],
            ),
            Resource::Tree => (
                &["refs/nova-series/tree"],
                &["index", "HEAD", "refs/heads/nova-series"],
            ),
            // That tree has a repository of its own.
            Resource::Full | Resource::Tools => (&[], &[]),
        };
        for below in folders {
            walk(&dir.join(below));
        }
        for name in files {
            let _ = std::fs::remove_file(dir.join(format!("{name}.lock")));
        }
    }

    /// Points a ref at a commit.
    pub fn set_ref(&self, name: &str, to: &Oid) -> Result<()> {
        self.must(["update-ref", name, to.as_str()]).map(drop)
    }

    /// The entries of `paths` in a tree; a missing path has none.
    pub fn entries(&self, tree: &Oid, paths: &[String]) -> Result<BTreeMap<String, Entry>> {
        if paths.is_empty() {
            return Ok(BTreeMap::new());
        }
        let args = ["ls-tree", "-z", "--full-tree", tree.as_str(), "--"];
        let out = must(self.runner, &self.cmd(args).args(paths))?;
        // Mode, type, object.
        Ok(parse_listing(&out.stdout, 2))
    }

    /// The content of a file in a tree, or `None`.
    pub fn content(&self, tree: &Oid, path: &str) -> Result<Option<Vec<u8>>> {
        let cmd = self.cmd(["cat-file", "blob", &format!("{tree}:{path}")]);
        let out = self.try_run(&cmd)?;
        if !out.ok() {
            refuse_damage(&cmd, &out)?;
        }
        Ok(out.ok().then_some(out.stdout))
    }

    /// The paths of a tree's files that hold one of these texts. To look through a whole kernel
    /// takes long, so that the answer is kept in the cache.
    ///
    /// # Errors
    ///
    /// git cannot be run.
    pub fn files_with(&self, tree: &Oid, texts: &[&str], cache: &Cache) -> Result<Vec<String>> {
        let mut cmd = self.cmd(["grep", "-l", "-z", "-I", "--fixed-strings"]);
        let mut hash = Sha256::new();
        hash.update(tree.as_str());
        for text in texts {
            cmd = cmd.args(["-e", text]);
            hash.update(format!("\0{text}"));
        }
        let name: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        let record = cache.path("grep").join(name);
        let listing = match std::fs::read(&record) {
            Ok(listing) => listing,
            Err(_) => {
                let cmd = cmd.args([tree.as_str(), "--"]);
                let out = self.try_run(&cmd)?;
                // 1: found nothing.
                if !matches!(out.code, Some(0 | 1)) {
                    return Err(failed(&cmd, &out));
                }
                write(&record, &out.stdout)?;
                out.stdout
            }
        };
        let paths = listing.split(|b| *b == 0).filter(|p| !p.is_empty());
        Ok(paths
            .map(|p| String::from_utf8_lossy(p).into_owned())
            .filter_map(|p| p.split_once(':').map(|(_, path)| path.to_owned()))
            .collect())
    }

    /// The contents of these blobs, in their order.
    ///
    /// # Errors
    ///
    /// One is not there.
    pub fn blobs(&self, blobs: &[&Oid]) -> Result<Vec<Vec<u8>>> {
        let input: String = blobs.iter().map(|b| format!("{b}\n")).collect();
        let cmd = self.cmd(["cat-file", "--batch"]).stdin(input);
        let out = must(self.runner, &cmd)?.stdout;
        let mut rest = &out[..];
        let contents: Option<Vec<_>> = blobs
            .iter()
            .map(|blob| {
                let end = rest.iter().position(|b| *b == b'\n')?;
                let header = std::str::from_utf8(&rest[..end]).ok()?;
                let size: usize = header
                    .strip_prefix(&format!("{blob} blob "))?
                    .parse()
                    .ok()?;
                let content = rest.get(end + 1..end + 1 + size)?;
                rest = rest.get(end + 2 + size..)?;
                Some(content.to_vec())
            })
            .collect();
        contents.ok_or_else(|| Error::new("a blob is missing in the kernel repository"))
    }

    /// What each of these commits changes, as a diff.
    ///
    /// # Errors
    ///
    /// One is not there.
    pub fn diffs(&self, commits: &[&Oid]) -> Result<Vec<String>> {
        if commits.is_empty() {
            return Ok(Vec::new());
        }
        let input: String = commits.iter().map(|c| format!("{c}\n")).collect();
        let cmd = self
            .cmd(["log", "--no-walk=unsorted", "--stdin", "--format=%H"])
            .args(["--patch", "--binary", "--find-renames", "-O/dev/null"])
            .args(["--default-prefix", "--no-ext-diff", "--no-textconv"])
            .args(["--no-notes", "--no-color", "--no-show-signature"])
            .stdin(input);
        let out = must(self.runner, &cmd)?.stdout;
        let out = String::from_utf8_lossy(&out);
        let mut rest = &out[..];
        let diffs: Option<Vec<_>> = commits
            .iter()
            .enumerate()
            .map(|(i, commit)| {
                rest = rest.strip_prefix(commit.as_str())?.strip_prefix('\n')?;
                // No line of a diff looks like the name of a commit.
                let end = match commits.get(i + 1) {
                    Some(next) => match rest.strip_prefix(next.as_str()) {
                        Some(_) => 0,
                        None => rest.find(&format!("\n{next}\n"))? + 1,
                    },
                    None => rest.len(),
                };
                let (diff, after) = rest.split_at(end);
                rest = after;
                Some(diff.to_owned())
            })
            .collect();
        diffs.ok_or_else(|| Error::new("git did not show the commits that it was asked for"))
    }

    /// Adds contents to the repository, and names them in their order.
    ///
    /// # Errors
    ///
    /// They cannot be written.
    pub fn add_blobs(&self, scratch: &Path, contents: &[&[u8]]) -> Result<Vec<Oid>> {
        let mut paths = String::new();
        for (i, content) in contents.iter().enumerate() {
            let path = scratch.join(format!("blob-{i}"));
            std::fs::write(&path, content).map_err(|e| Error::io("write", &path, &e))?;
            paths.push_str(&format!("{}\n", path.display()));
        }
        let cmd = self.cmd(["hash-object", "-w", "--no-filters", "--stdin-paths"]);
        let out = must(self.runner, &cmd.stdin(paths))?.text();
        let oids: Option<Vec<_>> = out.lines().map(Oid::parse).collect();
        oids.filter(|o| o.len() == contents.len())
            .ok_or_else(|| Error::new("git did not name what it was given"))
    }

    /// Applies diffs one after the other to `entries`, in a private index that holds nothing else,
    /// and returns what the index holds afterwards.
    ///
    /// # Errors
    ///
    /// What `git apply` says when a hunk finds no place.
    pub fn apply(
        &self,
        index: &Path,
        entries: &BTreeMap<String, Entry>,
        diffs: &[&[u8]],
    ) -> Result<BTreeMap<String, Entry>> {
        let mut info = Vec::new();
        for (path, Entry { mode, blob }) in entries {
            info.extend_from_slice(format!("{} {blob}\t{path}\0", mode.as_str()).as_bytes());
        }
        let private = |args: &[&str]| self.cmd(args).env("GIT_INDEX_FILE", index);
        // git makes an index that is not there.
        let _ = std::fs::remove_file(index);
        let fill = private(&["update-index", "-z", "--index-info"]).stdin(info);
        must(self.runner, &fill)?;
        for diff in diffs {
            let apply = private(&["apply", "--cached", "--whitespace=nowarn", "-"]).stdin(*diff);
            let out = self.try_run(&apply)?;
            if !out.ok() {
                refuse_damage(&apply, &out)?;
                return Err(Error::new("does not apply").detail(out.complaint()));
            }
        }
        let out = must(self.runner, &private(&["ls-files", "-s", "-z"]))?;
        // Mode, object, stage.
        Ok(parse_listing(&out.stdout, 1))
    }

    /// Feeds `git fast-import` and returns the commits behind its marks, from 1.
    ///
    /// # Errors
    ///
    /// What git says, or what `feed` returns.
    pub fn fast_import(
        &self,
        scratch: &Path,
        feed: &mut dyn FnMut(&mut FastImport<'_>) -> std::io::Result<()>,
    ) -> Result<Vec<Oid>> {
        let marks: PathBuf = scratch.join("marks");
        let cmd = self
            .cmd(["fast-import", "--quiet", "--force", "--done", "--depth=0"])
            .arg(format!("--export-marks={}", marks.display()));
        let out = self
            .runner
            .feed(&cmd, &mut |to| {
                let mut import = FastImport { to };
                feed(&mut import)?;
                import.to.write_all(b"done\n")
            })
            .map_err(|e| Error::new(format!("git fast-import was cut off: {e}")))?;
        if !out.ok() {
            return Err(failed(&cmd, &out));
        }
        let text = std::fs::read_to_string(&marks).map_err(|e| Error::io("read", &marks, &e))?;
        let mut oids: Vec<(usize, Oid)> = text
            .lines()
            .filter_map(|l| {
                let (mark, oid) = l.strip_prefix(':')?.split_once(' ')?;
                Some((mark.parse().ok()?, Oid::parse(oid)?))
            })
            .collect();
        oids.sort();
        Ok(oids.into_iter().map(|(_, oid)| oid).collect())
    }
}

/// Whether a command failed because the repository is damaged.
fn refuse_damage(cmd: &Cmd, out: &Output) -> Result<()> {
    match damage::is_damage(&out.complaint()) {
        true => Err(failed(cmd, out)),
        false => Ok(()),
    }
}

/// Reads what `ls-tree -z` and `ls-files -sz` write: words, a tab, a path. The first word is the
/// mode, that at `blob` the object. What is neither file nor link is left out.
fn parse_listing(listing: &[u8], blob: usize) -> BTreeMap<String, Entry> {
    let lines = listing.split(|b| *b == 0).filter_map(|line| {
        let line = String::from_utf8_lossy(line);
        let (words, path) = line.split_once('\t')?;
        let words: Vec<&str> = words.split(' ').collect();
        let mode = Mode::parse(words.first()?)?;
        let blob = Oid::parse(words.get(blob)?)?;
        Some((path.to_owned(), Entry { mode, blob }))
    });
    lines.collect()
}

/// The stream that `git fast-import` reads.
pub struct FastImport<'a> {
    to: &'a mut dyn Write,
}

/// Who made a commit, and when (seconds since 1970, UTC).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Who.
    pub who: Identity,
    /// When.
    pub when: u64,
}

/// What a commit grows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// Nothing: a first commit.
    Nothing,
    /// A commit of the repository.
    Commit(Oid),
    /// A commit of this stream.
    Mark(usize),
}

impl FastImport<'_> {
    /// Starts a commit; the changes follow.
    pub fn commit(
        &mut self,
        to_ref: &str,
        mark: usize,
        stamp: &Stamp,
        message: &str,
        from: &From,
    ) -> std::io::Result<()> {
        let Identity { name, email, .. } = &stamp.who;
        let who = format!("{} <{}>", in_ident(name), in_ident(email));
        let when = stamp.when;
        writeln!(self.to, "commit {to_ref}\nmark :{mark}")?;
        writeln!(self.to, "author {who} {when} +0000")?;
        writeln!(self.to, "committer {who} {when} +0000")?;
        self.data(message.as_bytes())?;
        match from {
            From::Nothing => Ok(()),
            From::Commit(oid) => writeln!(self.to, "from {oid}"),
            From::Mark(mark) => writeln!(self.to, "from :{mark}"),
        }
    }

    /// A file of the current commit, with its content.
    pub fn file(&mut self, mode: Mode, path: &str, content: &[u8]) -> std::io::Result<()> {
        writeln!(self.to, "M {} inline {}", mode.as_str(), quoted(path))?;
        self.data(content)
    }

    /// A file of the current commit whose content the repository has.
    pub fn known(&mut self, entry: &Entry, path: &str) -> std::io::Result<()> {
        let Entry { mode, blob } = entry;
        writeln!(self.to, "M {} {blob} {}", mode.as_str(), quoted(path))
    }

    /// Removes a file from the current commit.
    pub fn remove(&mut self, path: &str) -> std::io::Result<()> {
        writeln!(self.to, "D {}", quoted(path))
    }

    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        writeln!(self.to, "data {}", bytes.len())?;
        self.to.write_all(bytes)?;
        self.to.write_all(b"\n")
    }
}

/// A path as fast-import reads it whatever is in it.
fn quoted(path: &str) -> String {
    let mut text = String::from("\"");
    for c in path.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::runner::System;

    fn repository() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        Git::new(&System, dir.path())
            .must(["init", "--quiet"])
            .unwrap();
        dir
    }

    fn stamp() -> Stamp {
        Stamp {
            who: Identity {
                name: "A".into(),
                email: "a@example.org".into(),
                set: true,
            },
            when: 1_700_000_000,
        }
    }

    fn import(git: &Git<'_>, path: &str, content: &[u8]) -> Oid {
        let scratch = tempfile::tempdir().unwrap();
        git.fast_import(scratch.path(), &mut |to| {
            to.commit("refs/heads/x", 1, &stamp(), "m\n", &From::Nothing)?;
            to.file(Mode::Plain, path, content)
        })
        .unwrap()
        .remove(0)
    }

    #[test]
    fn ident_with_odd_name_is_cleaned() {
        let ident = |name: &str, email: &str| {
            let (name, email) = (name.into(), email.into());
            let set = true;
            Identity { name, email, set }.ident()
        };
        assert_eq!(ident("A <b>\nc", "a@b>\n"), "A bc <a@b>");
        assert_eq!(ident("Doe, \"J\" \u{f6}", "j@d"), "Doe, \"J\" \u{f6} <j@d>");
    }

    #[test]
    fn imported_files_are_found() {
        let dir = repository();
        let git = Git::new(&System, dir.path());
        let odd = "a b/\"c\"\\d";
        let commit = import(&git, odd, b"x\n");
        assert_eq!(git.content(&commit, odd).unwrap().unwrap(), b"x\n");
        assert_eq!(git.content(&commit, "none").unwrap(), None);
        assert_eq!(git.resolve("no-such-ref").unwrap(), None);
    }

    #[test]
    fn stale_locks_are_removed_and_nothing_else() {
        let dir = repository();
        let git = Git::new(&System, dir.path());
        let locks = [
            "config.lock",
            "refs/heads/b4/x.lock",
            "refs/nova-series/posted/x.lock",
            "refs/tags/sent/x.lock",
        ];
        for folder in ["refs/heads/b4", "refs/nova-series/posted", "refs/tags/sent"] {
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
            "that is another resource's"
        );
    }

    #[test]
    fn commits_are_shown_one_after_the_other() {
        let dir = repository();
        let git = Git::new(&System, dir.path());
        let scratch = tempfile::tempdir().unwrap();
        let mut feed = |to: &mut FastImport<'_>| {
            for (mark, content) in [(1, "one\n"), (2, "one\n"), (3, "two\n")] {
                let from = match mark {
                    1 => From::Nothing,
                    mark => From::Mark(mark - 1),
                };
                to.commit("refs/heads/x", mark, &stamp(), "m\n", &from)?;
                to.file(Mode::Plain, "a", content.as_bytes())?;
            }
            Ok(())
        };
        let commits = git.fast_import(scratch.path(), &mut feed).unwrap();
        let [one, same, two] = &commits[..] else {
            panic!("{commits:?}");
        };
        let diffs = git.diffs(&[two, same, one]).unwrap();
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
    fn a_diff_is_applied_in_an_index_of_its_own() {
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
