// SPDX-License-Identifier: GPL-2.0

//! A build folder: the objects of one architecture.
//!
//! All make calls have the same flags, because others would recompile everything.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::SystemTime,
};

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{
    diagnostics::{Diagnostic, Level, parse},
    record::Said,
    sources::Sources,
};
use crate::{
    kernel::{
        build::Arch,
        config::{LostOption, lost_options},
        tools::Toolchain,
    },
    sys::{
        cache::Cache,
        error::{Error, Result},
        files::write,
        runner::{Cmd, Output, Runner, failed, is_ending, not_started},
    },
};

/// The flags of each make call: more warnings of C compilers and `kernel-doc`, clippy, sparse.
const FLAGS: [&str; 3] = ["W=1", "CLIPPY=1", "C=1"];

/// The number of parallel jobs of one make. rustc, which does most of the work, is a single job,
/// and the architectures are built in parallel.
const JOBS: usize = 2;

/// Crates that no series touches, but whose documentation takes most of the time.
const UNDOCUMENTED: [&str; 4] = ["core", "proc_macro2", "quote", "syn"];

/// A file that exists during a compilation; its date is the start of the compilation.
const MARK: &str = "series-under-way";

/// A file that records the Kconfig files, fragment and tools that the folder is configured for.
const CONFIGURED: &str = "series-configured";

/// The result of a make call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiled {
    /// Whether everything was built.
    pub builds: bool,
    /// The diagnostics.
    pub said: Vec<Diagnostic>,
    /// Options of the fragment that the configuration lacks.
    pub lost: Vec<LostOption>,
}

/// A build folder.
pub struct Folder<'a> {
    pub runner: &'a dyn Runner,
    pub cache: &'a Cache,
    pub toolchain: &'a Toolchain,
    /// The list of objects to compile.
    pub sources: &'a Sources,
    pub arch: Arch,
    /// The configuration fragment.
    pub fragment: String,
    /// The folder of the kernel tree.
    pub tree: PathBuf,
}

impl Folder<'_> {
    /// Returns the path of the folder.
    pub fn dir(&self) -> PathBuf {
        self.cache.build(&format!("full-{}", self.arch.name()))
    }

    fn make(&self) -> Cmd {
        let cmd = Cmd::new("make")
            .arg(format!("ARCH={}", self.arch.name()))
            .arg(format!("O={}", self.dir().display()))
            .args(&self.toolchain.make)
            .args(FLAGS)
            // Keeps the output of parallel compilers apart, and continues after errors to find all
            // of them.
            .args(["--output-sync=target", "--keep-going"])
            .arg(format!("-j{JOBS}"))
            .dir(&self.tree)
            .env("LC_ALL", "C.UTF-8");
        self.toolchain.apply(cmd)
    }

    /// Marks the start of a compilation. Removes the objects of an interrupted run, because their
    /// diagnostics are lost.
    pub fn begin(&self) -> Result<()> {
        let dir = self.dir();
        fs::create_dir_all(&dir).map_err(|e| Error::io("make the folder", &dir, &e))?;
        let mark = dir.join(MARK);
        if let Ok(since) = fs::metadata(&mark).and_then(|m| m.modified()) {
            unmake(&dir, since)?;
            fs::remove_file(&mark).map_err(|e| Error::io("remove", &mark, &e))?;
        }
        fs::write(&mark, b"").map_err(|e| Error::io("write", &mark, &e))
    }

    /// Marks the end of a compilation whose result is stored.
    pub fn end(&self) -> Result<()> {
        let mark = self.dir().join(MARK);
        fs::remove_file(&mark).map_err(|e| Error::io("remove", &mark, &e))
    }

    /// Compiles the checked-out tree. `kconfig` is the digest of its Kconfig files; `reconfigure`
    /// configures the tree even if the digest is unchanged.
    ///
    /// # Errors
    ///
    /// make cannot be run, or was interrupted. Build errors are part of the result.
    pub fn compile(&self, kconfig: &str, reconfigure: bool) -> Result<Compiled> {
        self.cache.need_space(1 << 30, "the build")?;
        let mut said = self.configure(kconfig, reconfigure)?;
        let targets = self.sources.targets(self.arch, &self.tree);
        let out = self.run(&self.make().args(targets))?;
        said.extend(self.read(&out));
        said.sort();
        said.dedup();
        let lost = lost_options(&self.fragment, &self.config()).into_iter();
        Ok(Compiled {
            builds: out.ok(),
            lost: lost.map(|at| at.value).collect(),
            said,
        })
    }

    /// Runs rustdoc on the documented crates.
    ///
    /// # Errors
    ///
    /// As for [`Self::compile`].
    pub fn document(&self) -> Result<Compiled> {
        let front = self.cache.of_base("full/rustdoc");
        let skipped: Vec<_> = UNDOCUMENTED
            .iter()
            .map(|name| format!("*\" --crate-name {name} \"*"))
            .collect();
        let script = format!(
            "#!/bin/sh\ncase \" $* \" in\n{}) exit 0 ;;\nesac\nexec rustdoc \"$@\"\n",
            skipped.join(" | ")
        );
        write(&front, script.as_bytes())?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
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
        let out = self.runner.run(cmd).map_err(|e| not_started(cmd, &e))?;
        let text = out.complaint();
        // An interrupted make or a full disk is not a result of the patch.
        if !out.ok() && (is_ending() || out.code.is_none() || ENDED.is_match(&text)) {
            return Err(failed(cmd, &out));
        }
        if !out.ok() && text.contains("No space left on device") {
            return Err(failed(cmd, &out)
                .help("free some space on that file system and run the same command again"));
        }
        Ok(out)
    }

    fn read(&self, out: &Output) -> Vec<Diagnostic> {
        let text = out.complaint();
        let mut said = parse(&text, &self.tree.to_string_lossy());
        said.retain(|d| !self.sources.knows(d, &self.tree));
        if !out.ok() && !said.iter().any(|d| d.level == Level::Error) {
            let lines: Vec<_> = text.lines().collect();
            said.push(Diagnostic {
                level: Level::Error,
                said: Said {
                    file: String::new(),
                    line: None,
                    message: "make fails".to_owned(),
                    text: lines[lines.len().saturating_sub(20)..].join("\n"),
                },
            });
        }
        said
    }

    /// Configures the tree if necessary. Omits options that the tree does not have yet.
    fn configure(&self, kconfig: &str, reconfigure: bool) -> Result<Vec<Diagnostic>> {
        let dir = self.dir();
        let mut wanted = format!("{kconfig}\n{}", self.toolchain.rustc);
        wanted.push_str(&self.fragment);
        let stamp = dir.join(CONFIGURED);
        let is = fs::read(&stamp).is_ok_and(|is| is == wanted.as_bytes());
        if is && !reconfigure && dir.join(".config").is_file() {
            return Ok(Vec::new());
        }
        let _ = fs::remove_file(&stamp);
        let file = dir.join("series.config");
        write(&file, self.fragment.as_bytes())?;
        let make = self
            .make()
            .arg(format!("KCONFIG_ALLCONFIG={}", file.display()))
            .arg("allnoconfig");
        let out = self.run(&make)?;
        if !out.ok() {
            return Err(failed(&make, &out));
        }
        write(&stamp, wanted.as_bytes())?;
        Ok(self.read(&out))
    }

    /// Returns the contents of `.config`.
    fn config(&self) -> String {
        fs::read_to_string(self.dir().join(".config")).unwrap_or_default()
    }
}

/// Matches make's report of a program that a signal ended.
static ENDED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?m)^make.*\] (Terminated|Killed|Interrupt|Hangup)")
        .expect("a pattern that does not compile")
});

/// Removes the objects that were compiled since then.
fn unmake(dir: &Path, since: SystemTime) -> Result<()> {
    let entries = fs::read_dir(dir).map_err(|e| Error::io("read", dir, &e))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            unmake(&path, since)?;
        } else if kind.is_file() && is_compiled(&path) {
            let date = entry.metadata().and_then(|m| m.modified());
            if date.is_ok_and(|date| date >= since) {
                fs::remove_file(&path).map_err(|e| Error::io("remove", &path, &e))?;
            }
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
