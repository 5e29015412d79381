// SPDX-License-Identifier: GPL-2.0

//! A build folder: the objects of one architecture.
//!
//! All make calls have the same flags, because others would recompile everything.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::SystemTime,
};

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{
    Subject,
    diagnostics::{Diagnostic, Level, parse},
    record::Said,
    store::Key,
};
use crate::{
    kernel::{build::Arch, kconfig},
    sys::{
        Cmd, Error, Output, Result, failed,
        files::{below, remove, write},
        pattern,
        runner::is_ending,
    },
};

/// The flags of each make call: more warnings of C compilers and `kernel-doc`, clippy, sparse.
const FLAGS: [&str; 3] = ["W=1", "CLIPPY=1", "C=1"];

/// The number of parallel jobs of one make. rustc, which does most of the work, is a single job,
/// and the architectures are built in parallel.
const JOBS: usize = 2;

/// rustdoc without the crates that no series touches, whose documentation takes most of the time.
const RUSTDOC: &str = r#"#!/bin/sh
case " $* " in
*" --crate-name core "* | *" --crate-name proc_macro2 "*) exit 0 ;;
*" --crate-name quote "* | *" --crate-name syn "*) exit 0 ;;
esac
exec rustdoc "$@"
"#;

/// A file that exists during a compilation; its date is the start of the compilation.
const MARK: &str = "series-under-way";

/// A file that records the Kconfig files, fragment and tools that the folder is configured for.
const CONFIGURED: &str = "series-configured";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiled {
    pub builds: bool,
    pub said: Vec<Diagnostic>,
    /// Options of the fragment that the configuration lacks.
    pub lost: Vec<kconfig::LostOption>,
}

pub struct Folder<'a> {
    pub dir: PathBuf,
    pub subject: &'a Subject<'a>,
    pub arch: Arch,
    pub fragment: String,
    pub tree: PathBuf,
}

impl Folder<'_> {
    fn make(&self) -> Cmd {
        let toolchain = self.subject.toolchain;
        let cmd = Cmd::new("make")
            .arg(format!("ARCH={}", self.arch.name()))
            .arg(format!("O={}", self.dir.display()))
            .args(&toolchain.make)
            .args(FLAGS)
            // Keep the output of parallel compilers apart, and find all errors.
            .args(["--output-sync=target", "--keep-going"])
            .arg(format!("-j{JOBS}"))
            .dir(&self.tree)
            .env("LC_ALL", "C.UTF-8");
        toolchain.apply(cmd)
    }

    /// Removes the objects of an interrupted run, because their diagnostics are lost.
    pub fn begin(&self) -> Result<()> {
        let mark = self.dir.join(MARK);
        if let Ok(since) = fs::metadata(&mark).and_then(|m| m.modified()) {
            unmake(&self.dir, since)?;
            self.end()?;
        }
        write(&mark, b"")
    }

    /// Marks the end of a compilation whose result is stored.
    pub fn end(&self) -> Result<()> {
        remove(&self.dir.join(MARK))
    }

    /// Compiles the checked-out tree. `kconfig` is the digest of its Kconfig files; `reconfigure`
    /// configures the tree even if the digest is unchanged. Build errors are part of the result.
    pub fn compile(&self, kconfig: &Key, reconfigure: bool) -> Result<Compiled> {
        self.subject.cache.need_space(1 << 30, "the build")?;
        let mut said = self.configure(kconfig, reconfigure)?;
        let targets = self.subject.sources.targets(self.arch, &self.tree);
        let out = self.run(&self.make().args(targets))?;
        said.extend(self.read(&out));
        said.sort();
        said.dedup();
        let made = fs::read_to_string(self.dir.join(".config")).unwrap_or_default();
        let lost = kconfig::lost_options(&self.fragment, &made).into_iter();
        Ok(Compiled {
            builds: out.ok(),
            lost: lost.map(|at| at.value).collect(),
            said,
        })
    }

    /// Runs rustdoc on the documented crates. Errors as for [`Self::compile`].
    pub fn document(&self) -> Result<Compiled> {
        let front = self.subject.cache.of_base("full/rustdoc");
        write(&front, RUSTDOC.as_bytes())?;
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&front, mode).map_err(|e| Error::io("write", &front, &e))?;
        let make = self.make().arg(format!("RUSTDOC={}", front.display()));
        let out = self.run(&make.arg("rustdoc"))?;
        let mut said = self.read(&out);
        // The Makefile prints its own errors to standard output.
        said.extend(parse(&out.text(), &self.tree.to_string_lossy()));
        Ok(Compiled {
            builds: out.ok(),
            said,
            lost: Vec::new(),
        })
    }

    fn run(&self, cmd: &Cmd) -> Result<Output> {
        let out = self.subject.git.runner().run(cmd)?;
        if out.ok() {
            return Ok(out);
        }
        let text = out.complaint();
        // An interrupted make or a full disk is not a result of the patch.
        if is_ending() || out.code.is_none() || ENDED.is_match(&text) {
            return Err(failed(cmd, &out));
        }
        if text.contains("No space left on device") {
            return Err(failed(cmd, &out)
                .help("free some space on that file system and run the same command again"));
        }
        Ok(out)
    }

    fn read(&self, out: &Output) -> Vec<Diagnostic> {
        let text = out.complaint();
        let mut found = parse(&text, &self.tree.to_string_lossy());
        found.retain(|d| !self.subject.sources.knows(d, &self.tree));
        if !out.ok() && !found.iter().any(|d| d.level == Level::Error) {
            let lines: Vec<_> = text.lines().collect();
            found.push(Diagnostic {
                level: Level::Error,
                said: Said {
                    message: "make fails".to_owned(),
                    text: lines[lines.len().saturating_sub(20)..].join("\n"),
                    ..Said::default()
                },
            });
        }
        found
    }

    /// Configures the tree if necessary. Omits options that the tree does not have yet.
    fn configure(&self, kconfig: &Key, reconfigure: bool) -> Result<Vec<Diagnostic>> {
        let (rustc, fragment) = (&self.subject.toolchain.rustc, &self.fragment);
        let wanted = format!("{}\n{rustc}{fragment}", kconfig.as_str());
        let stamp = self.dir.join(CONFIGURED);
        let is = fs::read(&stamp).is_ok_and(|is| is == wanted.as_bytes());
        if is && !reconfigure && self.dir.join(".config").is_file() {
            return Ok(Vec::new());
        }
        let _ = fs::remove_file(&stamp);
        let file = self.dir.join("series.config");
        write(&file, fragment.as_bytes())?;
        let all = format!("KCONFIG_ALLCONFIG={}", file.display());
        let make = self.make().arg(all).arg("allnoconfig");
        let out = self.run(&make)?;
        if !out.ok() {
            return Err(failed(&make, &out));
        }
        write(&stamp, wanted.as_bytes())?;
        Ok(self.read(&out))
    }
}

static ENDED: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?m)^make.*\] (Terminated|Killed|Interrupt|Hangup)"));

/// Removes the objects that were compiled since then.
fn unmake(dir: &Path, since: SystemTime) -> Result<()> {
    for path in below(dir)? {
        let date = fs::metadata(&path).and_then(|m| m.modified());
        if is_compiled(&path) && date.is_ok_and(|date| date >= since) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Whether a file of a build folder comes from a compiler, or from the output of one.
fn is_compiled(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ends = [".o", ".rmeta", ".rlib", ".so", ".a", ".cmd"];
    ends.iter().any(|end| name.ends_with(end)) || name.contains("_generated.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begin_removes_objects_of_killed_run() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("rust")).unwrap();
        let old = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        for name in [
            "old.o",
            "new.o",
            "rust/libkernel.rmeta",
            ".config",
            "auto.conf",
        ] {
            fs::write(at(name), "").unwrap();
        }
        fs::File::options()
            .write(true)
            .open(at("old.o"))
            .unwrap()
            .set_modified(old)
            .unwrap();
        let since = old + std::time::Duration::from_secs(1);
        unmake(dir.path(), since).unwrap();
        let left: Vec<_> = [
            "old.o",
            "new.o",
            "rust/libkernel.rmeta",
            ".config",
            "auto.conf",
        ]
        .into_iter()
        .filter(|n| at(n).exists())
        .collect();
        assert_eq!(left, ["old.o", ".config", "auto.conf"]);
    }

    #[test]
    fn ended_matches_killed_programs() {
        assert!(ENDED.is_match("x\nmake[3]: *** [scripts/Makefile.build:289: a.o] Terminated\n"));
        assert!(!ENDED.is_match("make[3]: *** [scripts/Makefile.build:289: a.o] Error 1\n"));
    }
}
