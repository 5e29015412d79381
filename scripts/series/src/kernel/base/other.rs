// SPDX-License-Identifier: GPL-2.0

//! A base for `try`, other than the base of the series: found, imported once, and kept under its
//! own ref.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::{describe, import};
use crate::{
    git::{BaseCommit, Git, Oid, refs},
    sys::{
        apt,
        cache::{Cache, Resource},
        error::{Error, Result},
        hash::sha256_of,
        runner::Runner,
        ui::Ui,
    },
};

/// The source of another base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A repository and a revision.
    Git {
        dir: PathBuf,
        /// The revision, or `None` for HEAD.
        rev: Option<String>,
    },
    /// An archive, compressed with xz.
    Archive(PathBuf),
    /// A source package of the distribution.
    Apt {
        suite: String,
        package: String,
        version: String,
    },
}

/// Another base in the kernel repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// The name for files and refs.
    pub name: String,
    /// The release that its Makefile names.
    pub version: String,
    /// The source: a file with its hash, a commit, or a package.
    pub from: String,
    pub commit: BaseCommit,
}

impl Place {
    /// Parses the argument of `try`: `apt:SUITE:PACKAGE=VERSION`, a folder, `FOLDER@REV`, or a
    /// file.
    ///
    /// # Errors
    ///
    /// The argument has none of these forms.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(rest) = text.strip_prefix("apt:") {
            return Self::parse_apt(rest).ok_or_else(|| {
                Error::new(format!("{text:?} does not name a source package")).help(
                    "write it as apt:SUITE:linux=VERSION; `apt-cache showsrc` lists the versions",
                )
            });
        }
        let path = Path::new(text);
        if path.is_dir() {
            let dir = path.to_owned();
            return Ok(Self::Git { dir, rev: None });
        }
        if path.is_file() {
            return match text.ends_with(".tar.xz") {
                true => Ok(Self::Archive(path.to_owned())),
                false => Err(Error::new("is neither a folder nor a .tar.xz archive")
                    .at(path, None)
                    .help("unpack it and pack it again: tar -cJf linux.tar.xz FOLDER")),
            };
        }
        // A revision may contain an @ as well, as in v7.3@{1}.
        let split = text.match_indices('@').find_map(|(at, _)| {
            let (dir, rev) = (Path::new(&text[..at]), &text[at + 1..]);
            (dir.is_dir() && !rev.is_empty()).then(|| (dir.to_owned(), rev.to_owned()))
        });
        if let Some((dir, rev)) = split {
            return Ok(Self::Git {
                dir,
                rev: Some(rev),
            });
        }
        Err(Error::new("no such folder or file").at(path, None).help(
            "name a kernel tree in git (DIR or DIR@REV), a .tar.xz archive,\n\
                 or a source package of the distribution (apt:SUITE:linux=VERSION)",
        ))
    }

    fn parse_apt(text: &str) -> Option<Self> {
        let (suite, source) = text.split_once(':')?;
        let (package, version) = source.split_once('=')?;
        let plain = |word: &str, more: &str| {
            word.starts_with(|c: char| c.is_ascii_alphanumeric())
                && word
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        // These words become arguments of apt and lines of its configuration.
        let good = plain(suite, "-.") && plain(package, "-+.") && plain(version, "-+.~:");
        good.then(|| Self::Apt {
            suite: suite.to_owned(),
            package: package.to_owned(),
            version: version.to_owned(),
        })
    }
}

/// Returns the ref of an imported base.
fn kept(name: &str) -> String {
    refs::other(name)
}

/// Replaces characters that refs or file names do not allow.
fn name_of(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        match c {
            c if c.is_ascii_alphanumeric() || c == '_' => name.push(c),
            '.' if !name.is_empty() && !name.ends_with(['.', '-']) => name.push('.'),
            _ if !name.ends_with('-') => name.push('-'),
            _ => (),
        }
    }
    name.trim_matches(['-', '.']).to_owned()
}

/// Imports another base, unless the repository has it. The base of the series is not affected.
///
/// # Errors
///
/// The base is not available, or is not a kernel. An error leaves the kernel repository as it was,
/// because the ref is set last.
pub fn obtain_other(runner: &dyn Runner, cache: &Cache, place: &Place, ui: &Ui) -> Result<Other> {
    let dir = cache.kernel();
    let git = Git::new(runner, &dir);
    let import = Import {
        git: &git,
        cache,
        ui,
    };
    match place {
        Place::Git { dir, rev } => import.repository(dir, rev.as_deref()),
        Place::Archive(path) => import.archive(path),
        Place::Apt {
            suite,
            package,
            version,
        } => import.package(suite, package, version),
    }
}

struct Import<'a> {
    git: &'a Git<'a>,
    cache: &'a Cache,
    ui: &'a Ui,
}

impl Import<'_> {
    /// Returns the base of this name. Unless it exists, `make` imports it into the given ref.
    fn once(
        &self,
        name: &str,
        from: String,
        make: impl FnOnce(&str) -> Result<Oid>,
    ) -> Result<Other> {
        if let Some(found) = self.find(name, &from)? {
            return Ok(found);
        }
        let lock = self.cache.lock(Resource::Base, self.ui)?;
        // A concurrent run may have imported it meanwhile.
        if let Some(found) = self.find(name, &from)? {
            return Ok(found);
        }
        import::prepare(self.git, self.cache)?;
        import::pin_attributes(self.git)?;
        if lock.after_death() {
            self.git.remove_stale_locks(Resource::Base);
        }
        // This ref keeps the objects until they are verified to be a kernel.
        let under_way = refs::import(&format!("port-{name}"));
        let made = make(&under_way).and_then(|commit| {
            kernel(self.git, &commit)?;
            self.git.set_ref(&kept(name), &commit)
        });
        // The temporary ref is useless after success and failure alike.
        let _ = self.git.must(["update-ref", "-d", &under_way]);
        made?;
        self.find(name, &from)?
            .ok_or_else(|| Error::new(format!("git cannot find {name} right after its import")))
    }

    fn find(&self, name: &str, from: &str) -> Result<Option<Other>> {
        if !self.git.dir().join(".git").is_dir() {
            return Ok(None);
        }
        let Some(commit) = describe(self.git, &kept(name))? else {
            return Ok(None);
        };
        Ok(Some(Other {
            name: name.to_owned(),
            version: import::version(self.git, &commit.commit)?,
            from: from.to_owned(),
            commit,
        }))
    }

    fn archive(&self, path: &Path) -> Result<Other> {
        if !import::is_xz(path)? {
            return Err(Error::new("is not compressed with xz")
                .at(path, None)
                .help("unpack it and pack it again: tar -cJf linux.tar.xz FOLDER"));
        }
        let hash = sha256(path)?;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let stem = file.trim_end_matches(".tar.xz");
        let name = name_of(&format!("{stem}-{}", &hash[..12]));
        let from = format!("{file}, sha256 {hash}");
        self.once(&name, from, |reference| {
            let into = import::Target {
                title: &file,
                reference,
                message: &format!("{stem}\n"),
            };
            import::unpack(self.git, self.cache, path, &into, self.ui)
                .map_err(|e| e.help("if the archive is truncated or damaged, download it again"))
        })
        .map_err(|e| e.at(path, None))
    }

    fn package(&self, suite: &str, package: &str, version: &str) -> Result<Other> {
        // A version of a package never changes, so an imported version is valid for every suite.
        let name = name_of(&format!("{package}_{version}"));
        let from = format!("source package {package} {version}");
        let upstream = upstream(version);
        let file = format!("{package}_{upstream}.orig.tar.xz");
        let archive = self.cache.path("archives").join(&file);
        let made = self.once(&name, from, |reference| {
            self.download(suite, package, version, &archive)?;
            let into = import::Target {
                title: &file,
                reference,
                message: &format!("{package} {version}\n"),
            };
            import::unpack(self.git, self.cache, &archive, &into, self.ui)
        });
        // The archive is either imported or damaged.
        let _ = fs::remove_file(&archive);
        made
    }

    /// Downloads the archive of a source package through apt, which verifies its hash.
    fn download(&self, suite: &str, package: &str, version: &str, to: &Path) -> Result<()> {
        if to.is_file() {
            // The archive is left from a run that ended before the import.
            return Ok(());
        }
        let asked = format!("{package}={version}");
        let named = format!("apt:{suite}:{asked}");
        let scratch = self.cache.scratch()?;
        self.ui.say(format!("downloading {asked} with apt …"));
        let asking = apt::Suite::open(self.git.runner(), scratch.path(), suite)
            .map_err(|e| e.at(&named, None))?;
        let have = asking.versions(package)?;
        if !have.iter().any(|v| v == version) {
            let what = match have.is_empty() {
                true => format!("{suite} has no source package {package}"),
                false => format!("{suite} has no {package} {version}"),
            };
            let error = Error::new(what).at(&named, None);
            return Err(match have.is_empty() {
                true => error.help("name another suite"),
                false => error.help(format!("it has {}", have.join(", "))),
            });
        }
        let file = to.file_name().unwrap_or_default().to_string_lossy();
        let part = asking.source(&asked, &file).map_err(|e| {
            e.at(&named, None).help(
                "a suite's lists may name versions that its mirror no longer has; \
                 try another version",
            )
        })?;
        fs::rename(&part, to).map_err(|e| Error::io("keep", to, &e))
    }

    fn repository(&self, dir: &Path, rev: Option<&str>) -> Result<Other> {
        let dir = &fs::canonicalize(dir).map_err(|e| Error::io("open", dir, &e))?;
        let theirs = Theirs {
            git: Git::of_user(self.git.runner(), dir),
            dir,
        };
        let bare = theirs.check()?;
        let commit = theirs.commit(rev.unwrap_or("HEAD"))?;
        if rev.is_none() && !bare {
            theirs.warn_of_changes(self.ui)?;
        }
        let label = dir.file_name().unwrap_or_default().to_string_lossy();
        let label = match rev {
            Some(rev) => format!("{label}-{rev}"),
            None => label.into_owned(),
        };
        let name = name_of(&format!("{label}-{}", &commit.as_str()[..12]));
        let from = format!("commit {commit} ({})", rev.unwrap_or("HEAD"));
        self.once(&name, from, |reference| {
            // Detects errors before anything is fetched.
            kernel(&theirs.git, &commit)?;
            self.ui
                .say(format!("fetching {commit} of {} …", dir.display()));
            let when = import::fetch(self.git, dir, &commit, reference)?;
            let tree = self.git.tree_of(&commit)?;
            import::commit(self.git, &tree, when, &format!("{label}\n"))
        })
        .map_err(|e| e.at(dir, None))
    }
}

/// Checks that a commit contains a kernel.
fn kernel(git: &Git<'_>, commit: &Oid) -> Result<()> {
    import::version(git, commit).map(drop).map_err(|e| {
        e.help("name the complete sources of a kernel, whose Makefile names the release")
    })
}

/// Returns the version of the sources from a package version: without epoch and revision.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, v)| v);
    version.rsplit_once('-').map_or(version, |(v, _)| v)
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|e| Error::io("open", path, &e))?;
    sha256_of(&mut file, |_| ()).map_err(|e| Error::io("read", path, &e))
}

/// A repository of the user.
struct Theirs<'a> {
    git: Git<'a>,
    dir: &'a Path,
}

impl Theirs<'_> {
    /// Checks that the folder is the top of a repository, and returns whether it is bare.
    fn check(&self) -> Result<bool> {
        let cmd = self.git.cmd([
            "rev-parse",
            "--is-bare-repository",
            "--absolute-git-dir",
            "--show-object-format",
        ]);
        let out = self.git.try_run(&cmd)?;
        let text = out.text();
        let lines: Vec<&str> = text.lines().collect();
        let [bare, home, format] = lines[..] else {
            return Err(self.no_repository().detail(out.complaint()));
        };
        let bare = bare == "true";
        if !bare {
            let top = self.git.must(["rev-parse", "--show-toplevel"])?.text();
            if Path::new(&top) != self.dir {
                return Err(self
                    .no_repository()
                    .detail(format!("it lies in that of {top}")));
            }
        } else if Path::new(home) != self.dir {
            return Err(self
                .no_repository()
                .detail(format!("it lies in that of {home}")));
        }
        match format {
            "sha1" => Ok(bare),
            other => Err(Error::new(format!("its objects have {other} names"))
                .at(self.dir, None)
                .help("name a repository with SHA-1 names, as the kernel's is, or an archive")),
        }
    }

    fn no_repository(&self) -> Error {
        Error::new("is not a git repository")
            .at(self.dir, None)
            .help(
                "name the top folder of a clone, or pack an unpacked kernel:\n\
             tar -cJf linux.tar.xz FOLDER",
            )
    }

    fn commit(&self, rev: &str) -> Result<Oid> {
        if let Some(commit) = self.git.resolve(&format!("{rev}^{{commit}}"))? {
            return Ok(commit);
        }
        let shallow = self.git.must(["rev-parse", "--is-shallow-repository"])?;
        let help = match shallow.text().as_str() {
            "true" => {
                "the clone is shallow: fetch the revision there, or name \
                       another revision"
            }
            _ => "`git tag` and `git branch --all` list its revisions",
        };
        Err(Error::new(format!("has no revision {rev:?}"))
            .at(self.dir, None)
            .help(help))
    }

    fn warn_of_changes(&self, ui: &Ui) -> Result<()> {
        let args = ["status", "--porcelain", "--untracked-files=no"];
        let changed = self.git.must(args)?.text().lines().count();
        if changed > 0 {
            ui.warn(format!(
                "{} has uncommitted changes in {}; they are ignored",
                self.dir.display(),
                crate::sys::plural::count(changed, "file", "files")
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_accepts_each_form() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_str().unwrap();
        let git = |rev: Option<&str>| Place::Git {
            dir: dir.path().to_owned(),
            rev: rev.map(str::to_owned),
        };
        assert_eq!(Place::parse(at).unwrap(), git(None));
        assert_eq!(
            Place::parse(&format!("{at}@v7.3")).unwrap(),
            git(Some("v7.3"))
        );
        assert_eq!(
            Place::parse(&format!("{at}@next/HEAD@{{1}}")).unwrap(),
            git(Some("next/HEAD@{1}"))
        );
        // The name of a folder may contain an @.
        fs::create_dir(dir.path().join("a@b")).unwrap();
        let place = Place::parse(&format!("{at}/a@b@c")).unwrap();
        assert_eq!(
            place,
            Place::Git {
                dir: dir.path().join("a@b"),
                rev: Some("c".into())
            }
        );
        let file = format!("{at}/linux.tar.xz");
        fs::write(&file, "").unwrap();
        assert_eq!(Place::parse(&file).unwrap(), Place::Archive(file.into()));
        assert_eq!(
            Place::parse("apt:trixie-backports:linux=7.2.6-1~bpo13+1").unwrap(),
            Place::Apt {
                suite: "trixie-backports".into(),
                package: "linux".into(),
                version: "7.2.6-1~bpo13+1".into(),
            }
        );
    }

    #[test]
    fn parse_refuses_words_unsafe_for_apt() {
        for text in [
            "apt:sid",
            "apt:sid:linux",
            "apt:sid:linux=",
            "apt:-o x:linux=1",
            "apt:sid:--x=1",
            "apt:sid:linux=1 2",
            "apt:sid\ndeb x:linux=1",
        ] {
            assert!(Place::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn name_of_suits_files_and_refs() {
        assert_eq!(name_of("linux_7.2.6-1~bpo13+1"), "linux_7.2.6-1-bpo13-1");
        assert_eq!(name_of("../x..y/@{1}.lock-"), "x.-y-1-lock");
        assert_eq!(name_of("v7.3^"), "v7.3");
    }

    #[test]
    fn upstream_drops_epoch_and_revision() {
        assert_eq!(upstream("7.2.6-1~bpo13+1"), "7.2.6");
        assert_eq!(upstream("1:7.3~rc7-1~exp1"), "7.3~rc7");
        assert_eq!(upstream("7.2"), "7.2");
    }
}
