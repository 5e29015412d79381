// SPDX-License-Identifier: GPL-2.0

//! Packages of another suite of the distribution, with separate lists, cache and source list.
//!
//! The apt configuration of the machine is read (mirror and keys) but never changed.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::{Builder, TempDir};

use crate::sys::{Cmd, Error, Result, Runner, failed, files, must};

/// A private view of one suite, in a scratch folder.
pub struct Suite<'a> {
    runner: &'a dyn Runner,
    /// The folder in which apt works, and the one for downloaded files.
    dir: PathBuf,
    wanted: PathBuf,
    name: String,
    /// Apt's folder, if it is separate. Dropping it removes the folder.
    own: Option<TempDir>,
}

impl<'a> Suite<'a> {
    /// Reads the package lists of `suite` from the mirror that the machine's apt uses.
    pub fn open(runner: &'a dyn Runner, dir: &Path, suite: &str) -> Result<Self> {
        let format = "$(CREATED_BY)|$(ORIGIN)|$(RELEASE)|$(REPO_URI)";
        let ask = Cmd::new("apt-get").args(["indextargets", "--format", format]);
        let mirror = mirror(&must(runner, &ask)?.text()).ok_or_else(|| {
            Error::new("apt has no mirror of the Debian archive")
                .help("run `apt-get update`, or add a mirror to apt's sources")
        })?;
        let sandbox = sandbox(runner)?;
        // Apt's user must be able to enter its folder, which may be impossible below the cache.
        let new = || Builder::new().prefix("series-apt-").tempdir();
        let own = sandbox.as_ref().map(|_| new()).transpose();
        let own = own.map_err(|e| Error::io("make a folder in", std::env::temp_dir(), &e))?;
        let own = Self {
            runner,
            dir: own.as_ref().map_or(dir, TempDir::path).to_owned(),
            wanted: dir.to_owned(),
            name: suite.to_owned(),
            own,
        };
        for sub in ["lists/partial", "archives/partial", "files"] {
            files::create(&own.dir.join(sub))?;
        }
        let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let signed = Path::new(keys).exists();
        let signed = signed.then(|| format!("[signed-by={keys}] "));
        let from = format!("{}{mirror} {suite} main", signed.unwrap_or_default());
        let sources = format!("deb {from}\ndeb-src {from}\n");
        files::write(&own.dir.join("sources.list"), sources.as_bytes())?;
        if let Some(user) = sandbox {
            let give = Cmd::new("chown").args(["--recursive", &user]);
            must(runner, &give.arg(&own.dir))?;
        }
        let update = own.apt("apt-get", ["update"]);
        must(runner, &update.timeout(Duration::from_secs(120)))?;
        Ok(own)
    }

    fn apt<const N: usize>(&self, program: &str, args: [&str; N]) -> Cmd {
        let at = |sub: &str| self.dir.join(sub).display().to_string();
        let options = [
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::Cache={}", self.dir.display()),
            format!("Dir::Cache::archives={}", at("archives")),
            "Acquire::http::Timeout=20".to_owned(),
            "Acquire::Retries=1".to_owned(),
        ];
        let cmd = Cmd::new(program).env("LC_ALL", "C").dir(at("files"));
        let cmd = cmd.args(options.iter().flat_map(|option| ["-o", option]));
        cmd.args(args)
    }

    /// Downloads the files of a source package and returns the path of `file`. apt may fail
    /// although `file` arrived: mirrors drop the small files of an old version before its archive.
    pub fn source(&self, source: &str, file: &str) -> Result<PathBuf> {
        let cmd = self.apt("apt-get", ["source", "--download-only", source]);
        let cmd = cmd.timeout(Duration::from_secs(1800));
        let out = self.runner.run(&cmd)?;
        let path = self.dir.join("files").join(file);
        if !path.is_file() {
            return Err(failed(&cmd, &out));
        }
        self.bring(&path)
    }

    pub fn versions(&self, package: &str) -> Result<Vec<String>> {
        let cmd = self.apt("apt-cache", ["showsrc", "--only-source", package]);
        // apt-cache fails if the suite lacks the package.
        let out = self.runner.run(&cmd)?;
        let text = out.text();
        let versions = text.lines().filter_map(|l| l.strip_prefix("Version: "));
        Ok(versions.map(str::to_owned).collect())
    }

    /// Downloads the newest `.deb` of a package whose version is `version` or starts with it.
    pub fn deb(&self, package: &str, version: &str) -> Result<PathBuf> {
        let out = must(self.runner, &self.apt("apt-cache", ["madison", package]))?.text();
        let have = out.lines().filter_map(|l| l.split('|').nth(1));
        let have: Vec<&str> = have.map(str::trim).collect();
        let fits = |rest: &str| rest.is_empty() || rest.starts_with(['+', '-']);
        let is_wanted = |have: &&&str| have.strip_prefix(version).is_some_and(fits);
        let wanted = have.iter().find(is_wanted);
        let wanted = wanted.ok_or_else(|| {
            let (suite, have) = (&self.name, have.join(", "));
            Error::new(format!("{suite} has no {package} {version}, only {have}"))
        })?;
        let cmd = self.apt("apt-get", ["download", &format!("{package}={wanted}")]);
        must(self.runner, &cmd.timeout(Duration::from_secs(600)))?;
        let start = format!("{package}_");
        let is_it = |name: &OsStr| name.to_string_lossy().starts_with(&start);
        let mut files = files::list(&self.dir.join("files"))?.into_iter();
        let file = files.find(|path| path.file_name().is_some_and(is_it));
        let file = file.ok_or_else(|| Error::new(format!("apt did not download {package}")))?;
        self.bring(&file)
    }

    /// Moves a downloaded file to the caller's folder, which apt's user cannot write.
    fn bring(&self, file: &Path) -> Result<PathBuf> {
        let to = self.wanted.join(file.file_name().unwrap_or_default());
        if self.own.is_some() {
            fs::copy(file, &to).map_err(|e| Error::io("copy", file, &e))?;
        } else {
            fs::rename(file, &to).map_err(|e| Error::io("move", file, &e))?;
        }
        Ok(to)
    }
}

/// Returns the user that apt switches to for downloads when run by root; `None` if we are not root,
/// or the machine's configuration keeps apt root.
fn sandbox(runner: &dyn Runner) -> Result<Option<String>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let ask = Cmd::new("apt-config").args(["dump", "--format", "%v%n", "APT::Sandbox::User"]);
    let user = must(runner, &ask)?.text().trim().to_owned();
    Ok(Some(user).filter(|user| !user.is_empty() && user != "root"))
}

/// Returns the mirror of the main archive from apt's index targets.
fn mirror(targets: &str) -> Option<String> {
    let rows = targets.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split('|').collect();
        match fields[..] {
            // The security archive is separate and has no backports.
            ["Packages", "Debian", release, uri, ..] if !release.contains("security") => Some(uri),
            _ => None,
        }
    });
    let mirror = rows.min_by_key(|uri| uri.contains("security"));
    mirror.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::runner::tests::{Fake, succeeds};

    /// Downloads a package, checks the file and returns the recorded calls.
    fn download(user: &'static str) -> Vec<String> {
        // An apt with one package.
        let debian = Fake::new(|cmd| {
            let line = cmd.line();
            if line.ends_with("download tool=1.2-3") {
                fs::write(cmd.dir.as_ref().unwrap().join("tool_1.2-3_all.deb"), "deb")?;
            }
            succeeds(if line.contains("indextargets") {
                "Packages|Debian|bookworm|http://mirror.example/debian/\n"
            } else if line.starts_with("apt-config") {
                user
            } else if line.contains("madison") {
                "tool | 1.2-3 | http://mirror.example/debian suite/main\n"
            } else {
                ""
            })
        });
        let dir = tempfile::tempdir().unwrap();
        let suite = Suite::open(&debian, dir.path(), "suite").unwrap();
        let deb = suite.deb("tool", "1.2").unwrap();
        assert_eq!(deb, dir.path().join("tool_1.2-3_all.deb"));
        assert_eq!(fs::read(deb).unwrap(), b"deb");
        drop(suite);
        debian.lines.into_inner().unwrap()
    }

    #[test]
    fn apt_as_root_keeps_sandbox() {
        let calls = download("_apt");
        let switched = calls.iter().find(|c| c.contains("Sandbox::User="));
        assert_eq!(switched, None);
        if rustix::process::geteuid().is_root() {
            let at = |start: &str| calls.iter().position(|c| c.starts_with(start));
            let given = at("chown --recursive _apt ").expect("apt's user gets the folder");
            let update = calls.iter().position(|c| c.ends_with(" update"));
            assert!(Some(given) < update, "{calls:?}");
        }
    }

    #[test]
    fn apt_without_sandbox_no_chown() {
        for user in ["", "root"] {
            let calls = download(user);
            assert!(!calls.iter().any(|c| c.starts_with("chown")), "{calls:?}");
        }
    }

    #[test]
    fn mirror_of_main_archive() {
        let targets = "\
DEP-11|Debian|bookworm|http://mirror.example/debian/
Packages|Debian|bookworm-security|http://mirror.example/debian-security/
Packages|Other|nodistro|http://other.example/
Packages|Debian|bookworm|http://mirror.example/debian/
";
        assert_eq!(
            mirror(targets).as_deref(),
            Some("http://mirror.example/debian/")
        );
        assert_eq!(mirror("Packages|Other|x|http://other.example/\n"), None);
    }
}
