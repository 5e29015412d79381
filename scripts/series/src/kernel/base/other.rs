// SPDX-License-Identifier: GPL-2.0

//! A base for `try`, other than the base of the series: found, imported once, and kept under its
//! own ref.

use std::{
    fs, iter,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;

use super::{
    describe,
    import::{Importer, canonical, is_xz, version},
    route::sha256,
};
use crate::{
    git::{BaseCommit, Git, Oid, refs},
    kernel::checkout::changes,
    sys::{Error, Result, Runner, apt, cache::Cache, pattern, ui::Ui},
};

/// How to make an archive that can be imported.
const PACK: &str = "tar -cJf linux.tar.xz FOLDER";

/// The source of another base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Git {
        dir: PathBuf,
        /// The revision, or `None` for HEAD.
        rev: Option<String>,
    },
    /// An archive, compressed with xz.
    Archive(PathBuf),
    Apt(Package),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    suite: String,
    name: String,
    version: String,
}

/// Another base in the kernel repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// The release that its Makefile names.
    pub version: String,
    /// The source: a file with its hash, a commit, or a package.
    pub from: String,
    pub commit: BaseCommit,
}

/// `SUITE:PACKAGE=VERSION`. These words become arguments of apt and lines of its configuration.
static PACKAGE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?x)^([[:alnum:]][[:alnum:].-]*) : ([[:alnum:]][[:alnum:].+-]*)
              =([[:alnum:]][[:alnum:].+~:-]*)$",
    )
});

impl Place {
    /// Parses `apt:SUITE:PACKAGE=VERSION`, a folder, `FOLDER@REV`, a file, or a revision of `kernel`.
    pub fn parse(text: &str, kernel: Option<&Path>) -> Result<Self> {
        if let Some(package) = text.strip_prefix("apt:") {
            let Some(words) = PACKAGE.captures(package) else {
                let what = format!("{text:?} does not name a source package");
                return Err(Error::new(what).help(
                    "write it as apt:SUITE:linux=VERSION; `apt-cache showsrc` lists the versions",
                ));
            };
            let [suite, name, version] = words.extract().1.map(str::to_owned);
            return Ok(Self::Apt(Package {
                suite,
                name,
                version,
            }));
        }
        let path = Path::new(text);
        if path.is_file() {
            if text.ends_with(".tar.xz") {
                return Ok(Self::Archive(path.to_owned()));
            }
            return Err(Error::new("is neither a folder nor a .tar.xz archive")
                .at(path, None)
                .help(format!("unpack it and pack it again: {PACK}")));
        }
        // Folders and revisions may contain an @ as well, as in v7.3@{1}.
        let splits = text.match_indices('@').map(|(at, _)| text.split_at(at));
        for (dir, rev) in iter::once((text, "")).chain(splits) {
            if Path::new(dir).is_dir() && rev != "@" {
                let (dir, rev) = (dir.into(), rev.strip_prefix('@').map(str::to_owned));
                return Ok(Self::Git { dir, rev });
            }
        }
        if let Some(dir) = kernel {
            let (dir, rev) = (dir.to_owned(), Some(text.to_owned()));
            return Ok(Self::Git { dir, rev });
        }
        Err(Error::new("no such folder or file").at(path, None).help(
            "name a kernel tree in git (DIR or DIR@REV), a .tar.xz archive,\n\
                 or a source package of the distribution (apt:SUITE:linux=VERSION)",
        ))
    }

    /// Reports a missing revision before anything is assembled.
    pub fn check(&self, runner: &dyn Runner) -> Result<()> {
        match self {
            Self::Git { dir, rev } => {
                let dir = canonical(dir)?;
                look_up(&Git::of_user(runner, &dir), rev.as_deref()).map(drop)
            }
            Self::Archive(_) | Self::Apt(_) => Ok(()),
        }
    }
}

/// Returns the commit of a revision, or of HEAD, and whether the repository is bare.
fn look_up(theirs: &Git<'_>, rev: Option<&str>) -> Result<(Oid, bool)> {
    let bare = check_repository(theirs)?;
    Ok((commit_of(theirs, rev.unwrap_or("HEAD"))?, bare))
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

/// Imports another base, unless the repository has it. The base of the series is not affected. An
/// error leaves the kernel repository as it was, because the ref is set last.
pub fn obtain_other(runner: &dyn Runner, cache: &Cache, place: &Place, ui: &Ui) -> Result<Other> {
    let dir = cache.kernel();
    let git = &Git::new(runner, &dir);
    let import = Importer { git, cache, ui };
    match place {
        Place::Git { dir, rev } => import.of_repository(dir, rev.as_deref()),
        Place::Archive(path) => import.of_archive(path),
        Place::Apt(package) => import.of_package(package),
    }
}

impl Importer<'_> {
    /// Returns the base of this name. Unless it exists, `make` imports it into the given ref.
    fn other(
        &self,
        name: &str,
        from: String,
        make: impl FnOnce(&str) -> Result<Oid>,
    ) -> Result<Other> {
        let kept = refs::other(name);
        let find = || describe(self.git, &kept);
        let commit = self.once(&kept, find, || {
            // This ref keeps the objects until they are verified to be a kernel.
            let under_way = refs::import(&format!("port-{name}"));
            let made = make(&under_way).and_then(|commit| {
                check_kernel(self.git, &commit)?;
                self.git.set_ref(&kept, &commit)?;
                Ok(commit)
            });
            // The temporary ref is useless after success and failure alike.
            let _ = self.git.must(["update-ref", "-d", &under_way]);
            made
        })?;
        Ok(Other {
            version: version(self.git, &commit.commit)?,
            from,
            commit,
        })
    }

    fn of_archive(&self, path: &Path) -> Result<Other> {
        if !is_xz(path)? {
            return Err(Error::new("is not compressed with xz")
                .at(path, None)
                .help(format!("unpack it and pack it again: {PACK}")));
        }
        let hash = sha256(path, |_| ())?;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let stem = file.trim_end_matches(".tar.xz");
        let name = name_of(&format!("{stem}-{}", &hash[..12]));
        let made = self.other(&name, format!("{file}, sha256 {hash}"), |reference| {
            self.unpack(path, &file, reference, &format!("{stem}\n"))
                .map_err(|e| e.help("if the archive is truncated or damaged, download it again"))
        });
        made.map_err(|e| e.at(path, None))
    }

    fn of_package(&self, package: &Package) -> Result<Other> {
        let (suite, name, version) = (&package.suite, &package.name, &package.version);
        let file = format!("{name}_{}.orig.tar.xz", upstream(version));
        let archive = self.cache.path("archives").join(&file);
        let from = format!("source package {name} {version}");
        // A version of a package never changes, so an imported version is valid for every suite.
        let key = name_of(&format!("{name}_{version}"));
        let made = self.other(&key, from, |reference| {
            self.download_package(package, &file, &archive)
                .map_err(|e| e.at(format!("apt:{suite}:{name}={version}"), None))?;
            let message = format!("{name} {version}\n");
            self.unpack(&archive, &file, reference, &message)
        });
        // The archive is either imported or damaged.
        let _ = fs::remove_file(&archive);
        made
    }

    /// Downloads the archive of a source package through apt, which verifies its hash.
    fn download_package(&self, package: &Package, file: &str, to: &Path) -> Result<()> {
        if to.is_file() {
            // The archive is left from a run that ended before the import.
            return Ok(());
        }
        let (suite, name, version) = (&package.suite, &package.name, &package.version);
        let asked = format!("{name}={version}");
        let scratch = self.cache.scratch()?;
        self.ui.say(format!("downloading {asked} with apt …"));
        let asking = apt::Suite::open(self.git.runner(), scratch.path(), suite)?;
        let have = asking.versions(name)?;
        if have.is_empty() {
            let what = format!("{suite} has no source package {name}");
            return Err(Error::new(what).help("name another suite"));
        }
        if !have.contains(version) {
            let what = format!("{suite} has no {name} {version}");
            return Err(Error::new(what).help(format!("it has {}", have.join(", "))));
        }
        let help = "a suite's lists may name versions that its mirror no longer has; try another \
                    version";
        let part = asking.source(&asked, file).map_err(|e| e.help(help))?;
        fs::rename(&part, to).map_err(|e| Error::io("keep", to, &e))
    }

    fn of_repository(&self, dir: &Path, rev: Option<&str>) -> Result<Other> {
        let dir = &canonical(dir)?;
        let theirs = Git::of_user(self.git.runner(), dir);
        let (commit, bare) = look_up(&theirs, rev)?;
        let folder = dir.display();
        if rev.is_none()
            && !bare
            && let Some((files, _)) = changes(&theirs)?
        {
            self.ui.warn(format!(
                "{folder} has uncommitted changes in {files}; they are ignored"
            ));
        }
        let label = dir.file_name().unwrap_or_default().to_string_lossy();
        let label = label.into_owned() + &rev.map(|rev| format!("-{rev}")).unwrap_or_default();
        let name = name_of(&format!("{label}-{}", &commit.as_str()[..12]));
        let from = format!("commit {commit} ({})", rev.unwrap_or("HEAD"));
        let made = self.other(&name, from, |reference| {
            // Detects errors before anything is fetched.
            check_kernel(&theirs, &commit)?;
            self.ui.say(format!("fetching {commit} of {folder} …"));
            self.copy(dir, &commit, reference, &format!("{label}\n"))
        });
        made.map_err(|e| e.at(dir, None))
    }
}

fn check_kernel(git: &Git<'_>, commit: &Oid) -> Result<()> {
    version(git, commit).map(drop).map_err(|e| {
        e.help("name the complete sources of a kernel, whose Makefile names the release")
    })
}

/// Returns the version of the sources from a package version: without epoch and revision.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, v)| v);
    version.rsplit_once('-').map_or(version, |(v, _)| v)
}

/// Checks that the folder is the top of a repository, and returns whether it is bare.
fn check_repository(theirs: &Git<'_>) -> Result<bool> {
    let dir = theirs.dir();
    let no_repository = |why: String| {
        Error::new("is not a git repository")
            .at(dir, None)
            .detail(why)
            .help(format!(
                "name the top folder of a clone, or pack an unpacked kernel:\n{PACK}"
            ))
    };
    let cmd = theirs.cmd(["rev-parse", "--is-bare-repository", "--absolute-git-dir"]);
    let out = theirs.try_run(&cmd.arg("--show-object-format"))?;
    let text = out.text();
    let lines: Vec<&str> = text.lines().collect();
    let [bare, home, format] = lines[..] else {
        return Err(no_repository(out.complaint()));
    };
    let bare = bare == "true";
    let top = if bare {
        home.to_owned()
    } else {
        theirs.must(["rev-parse", "--show-toplevel"])?.text()
    };
    if Path::new(&top) != dir {
        return Err(no_repository(format!("it lies in that of {top}")));
    }
    if format != "sha1" {
        return Err(Error::new(format!("its objects have {format} names"))
            .at(dir, None)
            .help("name a repository with SHA-1 names, as the kernel's is, or an archive"));
    }
    Ok(bare)
}

fn commit_of(theirs: &Git<'_>, rev: &str) -> Result<Oid> {
    if let Some(commit) = theirs.resolve(&format!("{rev}^{{commit}}"))? {
        return Ok(commit);
    }
    let shallow = theirs.must(["rev-parse", "--is-shallow-repository"])?;
    let help = match shallow.text().as_str() {
        "true" => "the clone is shallow: fetch the revision there, or name another revision",
        _ => "`git tag` and `git branch --all` list its revisions",
    };
    Err(Error::new(format!("has no revision {rev:?}"))
        .at(theirs.dir(), None)
        .help(help))
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
        assert_eq!(Place::parse(at, None).unwrap(), git(None));
        assert_eq!(
            Place::parse(&format!("{at}@v7.3"), None).unwrap(),
            git(Some("v7.3"))
        );
        let kernel = Some(dir.path());
        assert_eq!(Place::parse("v7.3", kernel).unwrap(), git(Some("v7.3")));
        assert_eq!(
            Place::parse(&format!("{at}@next/HEAD@{{1}}"), None).unwrap(),
            git(Some("next/HEAD@{1}"))
        );
        // The name of a folder may contain an @.
        fs::create_dir(dir.path().join("a@b")).unwrap();
        let place = Place::parse(&format!("{at}/a@b@c"), None).unwrap();
        assert_eq!(
            place,
            Place::Git {
                dir: dir.path().join("a@b"),
                rev: Some("c".into())
            }
        );
        let file = format!("{at}/linux.tar.xz");
        fs::write(&file, "").unwrap();
        assert_eq!(
            Place::parse(&file, None).unwrap(),
            Place::Archive(file.into())
        );
        assert_eq!(
            Place::parse("apt:trixie-backports:linux=7.2.6-1~bpo13+1", None).unwrap(),
            Place::Apt(Package {
                suite: "trixie-backports".into(),
                name: "linux".into(),
                version: "7.2.6-1~bpo13+1".into(),
            })
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
            assert!(Place::parse(text, None).is_err(), "{text:?}");
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
