// SPDX-License-Identifier: GPL-2.0

//! Another suite of the distribution, asked privately: own lists, own cache, own source list.
//!
//! The machine's apt configuration is read (which mirror, which keys) and never changed.

use std::{
    fs,
    path::{
        Path,
        PathBuf, //
    },
    time::Duration,
};

use crate::{
    error::{
        Error,
        Result, //
    },
    runner::{
        Cmd,
        Runner,
        failed,
        must,
        not_started, //
    },
};

/// A private view of one suite, in a scratch folder.
pub struct Suite<'a> {
    runner: &'a dyn Runner,
    dir: PathBuf,
    name: String,
}

impl<'a> Suite<'a> {
    /// Reads the package lists of `suite` from the mirror that the machine's apt uses.
    ///
    /// # Errors
    ///
    /// There is no apt, it has no Debian mirror, or the mirror does not answer.
    pub fn open(runner: &'a dyn Runner, dir: &Path, suite: &str) -> Result<Self> {
        let own = Self {
            runner,
            dir: dir.to_owned(),
            name: suite.to_owned(),
        };
        let ask = Cmd::new("apt-get").args([
            "indextargets",
            "--format",
            "$(CREATED_BY)|$(ORIGIN)|$(RELEASE)|$(REPO_URI)",
        ]);
        let targets = must(runner, &ask)?.text();
        let mirror = mirror(&targets).ok_or_else(|| {
            Error::new("apt has no mirror of Debian's archive to ask")
                .help("run `apt-get update`, or add a mirror to apt's sources")
        })?;
        for sub in ["lists/partial", "archives/partial", "files"] {
            let sub = dir.join(sub);
            fs::create_dir_all(&sub).map_err(|e| Error::io("make the folder", &sub, &e))?;
        }
        let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let signed = match Path::new(keys).exists() {
            true => format!("[signed-by={keys}] "),
            false => String::new(),
        };
        let list =
            format!("deb {signed}{mirror} {suite} main\ndeb-src {signed}{mirror} {suite} main\n");
        let path = own.dir.join("sources.list");
        fs::write(&path, list).map_err(|e| Error::io("write", &path, &e))?;
        let update = own
            .apt("apt-get", ["update"])
            .timeout(Duration::from_secs(120));
        must(runner, &update)?;
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
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::http::Timeout=20".to_owned(),
            "Acquire::Retries=1".to_owned(),
        ];
        let mut cmd = Cmd::new(program)
            .env("LC_ALL", "C")
            .dir(self.dir.join("files"));
        for option in options {
            cmd = cmd.args(["-o", &option]);
        }
        cmd.args(args)
    }

    /// Downloads what there is of a source package, and returns the file wanted.
    ///
    /// The call may end with an error although the file came: the small files of an old version
    /// leave the mirrors before the archive does.
    ///
    /// # Errors
    ///
    /// The file did not come; what apt said is in the message.
    pub fn source(&self, source: &str, file: &str) -> Result<PathBuf> {
        let cmd = self
            .apt("apt-get", ["source", "--download-only", source])
            .timeout(Duration::from_secs(1800));
        let out = self.runner.run(&cmd).map_err(|e| not_started(&cmd, &e))?;
        let path = self.dir.join("files").join(file);
        match path.is_file() {
            true => Ok(path),
            false => Err(failed(&cmd, &out)),
        }
    }

    /// The versions of a source package that the suite has.
    ///
    /// # Errors
    ///
    /// apt cannot be run.
    pub fn versions(&self, package: &str) -> Result<Vec<String>> {
        let cmd = self.apt("apt-cache", ["showsrc", "--only-source", package]);
        // It complains with an exit code where there is none.
        let out = self.runner.run(&cmd).map_err(|e| not_started(&cmd, &e))?;
        let text = out.text();
        let versions = text.lines().filter_map(|l| l.strip_prefix("Version: "));
        Ok(versions.map(str::to_owned).collect())
    }

    /// Downloads the newest `.deb` of a package whose version starts with `version`.
    ///
    /// # Errors
    ///
    /// The suite has none, or it did not come.
    pub fn deb(&self, package: &str, version: &str) -> Result<PathBuf> {
        let out = must(self.runner, &self.apt("apt-cache", ["madison", package]))?.text();
        let have: Vec<&str> = out
            .lines()
            .filter_map(|l| l.split('|').nth(1))
            .map(str::trim)
            .collect();
        let wanted = have
            .iter()
            .find(|v| {
                v.strip_prefix(version)
                    .is_some_and(|rest| rest.starts_with(['+', '-']))
            })
            .ok_or_else(|| {
                Error::new(format!(
                    "{} has no {package} {version}, only {}",
                    self.name,
                    have.join(", ")
                ))
            })?;
        let cmd = self
            .apt("apt-get", ["download", &format!("{package}={wanted}")])
            .timeout(Duration::from_secs(600));
        must(self.runner, &cmd)?;
        let files = self.dir.join("files");
        let entries = fs::read_dir(&files).map_err(|e| Error::io("list", &files, &e))?;
        entries
            .flatten()
            .map(|e| e.path())
            .find(|p| {
                let name = p.file_name().and_then(|n| n.to_str()).unwrap_or("");
                name.starts_with(&format!("{package}_")) && name.ends_with(".deb")
            })
            .ok_or_else(|| Error::new(format!("apt downloaded no file of {package}")))
    }
}

/// The mirror of the main archive among apt's index targets.
fn mirror(targets: &str) -> Option<String> {
    let rows = targets.lines().filter_map(|line| {
        let mut fields = line.split('|');
        let (kind, origin) = (fields.next()?, fields.next()?);
        let (release, uri) = (fields.next()?, fields.next()?);
        // The security archive is another one, and has no backports.
        let main = kind == "Packages" && origin == "Debian" && !release.contains("security");
        main.then(|| uri.to_owned())
    });
    rows.min_by_key(|uri| uri.contains("security"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_archive_is_chosen() {
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
