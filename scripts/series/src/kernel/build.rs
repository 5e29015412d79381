// SPDX-License-Identifier: GPL-2.0

//! Builds a kernel: `kunit.py` configures it, make builds it. An unchanged kernel is not built again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    git::PatchCommit,
    kernel::{
        config::lost_options,
        tools::{Need, Toolchain},
    },
    source::workspace::Workspace,
    sys::{
        cache::Cache,
        error::{Error, Result},
        files::write,
        hash::hex,
        runner::{Cmd, Runner, failed, must, not_started},
        ui::{Ui, Unit},
    },
};

/// The folder of the configuration fragments.
pub const CONFIGS: &str = "kunit-configs";

/// An architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    /// User-mode Linux, which runs as a program.
    Um,
    /// x86_64, run under QEMU.
    #[value(name = "x86_64")]
    X86_64,
    /// arm64, run under QEMU.
    Arm64,
}

impl Arch {
    /// Returns the value of ARCH for make.
    pub fn name(self) -> &'static str {
        match self {
            Arch::Um => "um",
            Arch::X86_64 => "x86_64",
            Arch::Arm64 => "arm64",
        }
    }

    /// Returns the value of `--arch` for `kunit.py`.
    fn image(self) -> &'static str {
        match self {
            Arch::Um => "linux",
            Arch::X86_64 => "arch/x86/boot/bzImage",
            Arch::Arm64 => "arch/arm64/boot/Image.gz",
        }
    }

    /// Returns the QEMU that runs the kernel; user-mode Linux needs none.
    pub fn qemu(self) -> Option<&'static str> {
        match self {
            Arch::Um => None,
            Arch::X86_64 => Some("qemu-system-x86_64"),
            Arch::Arm64 => Some("qemu-system-aarch64"),
        }
    }

    /// Returns the tools for a build and a run.
    pub fn run_needs(self) -> Vec<Need> {
        match self {
            Arch::X86_64 => vec![Need::Kernel, Need::Qemu],
            _ => vec![Need::Kernel],
        }
    }
}

/// A kernel to build: an architecture and a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Without checkers.
    Plain(Arch),
    /// User-mode Linux with checkers for memory errors.
    Hardened,
    /// x86_64 with lockdep.
    Lockdep,
}

impl Target {
    /// All kernels.
    pub const ALL: [Target; 5] = [
        Target::Plain(Arch::Um),
        Target::Plain(Arch::X86_64),
        Target::Plain(Arch::Arm64),
        Target::Hardened,
        Target::Lockdep,
    ];

    /// Returns the kernel for the options of the command line.
    ///
    /// # Errors
    ///
    /// The checkers do not work on that architecture.
    pub fn chosen(arch: Option<Arch>, hardened: bool, lockdep: bool) -> Result<Self> {
        match (hardened, lockdep, arch) {
            (true, _, None | Some(Arch::Um)) => Ok(Target::Hardened),
            (true, _, Some(arch)) => Err(Error::new(format!(
                "--hardened is a kernel of user-mode Linux, not of {}",
                arch.name()
            ))
            .help("omit --arch")),
            (_, true, None | Some(Arch::X86_64)) => Ok(Target::Lockdep),
            (_, true, Some(Arch::Um)) => Err(Error::new(
                "--lockdep proves nothing on um: lockdep reports a fault of the base as soon as \
                 it boots there, and is off from then on",
            )
            .help("omit --arch, or use --arch x86_64")),
            (_, true, Some(Arch::Arm64)) => Err(Error::new("--lockdep was not tried on arm64")
                .help("omit --arch, or use --arch x86_64")),
            (false, false, arch) => Ok(Target::Plain(arch.unwrap_or(Arch::Um))),
        }
    }

    pub fn arch(self) -> Arch {
        match self {
            Target::Plain(arch) => arch,
            Target::Hardened => Arch::Um,
            Target::Lockdep => Arch::X86_64,
        }
    }

    /// Returns the name of its folder in `build/` and `out/kunit/`.
    pub fn name(self) -> &'static str {
        match self {
            Target::Plain(arch) => arch.name(),
            Target::Hardened => "um-hardened",
            Target::Lockdep => "x86_64-lockdep",
        }
    }

    /// Returns the configuration fragments in [`CONFIGS`].
    pub fn fragments(self) -> &'static [&'static str] {
        match self {
            Target::Plain(_) => &["all.config"],
            Target::Hardened => &["all.config", "hardened.config"],
            Target::Lockdep => &["all.config", "lockdep.config"],
        }
    }
}

impl Serialize for Target {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

/// The inputs of a finished build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub tree: String,
    /// A hash of the configuration and the tools.
    pub key: String,
    /// The number of objects of the last full build.
    pub objects: u64,
}

/// The purpose of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// The tests of all series, with results in `out/`.
    AllSeries,
    /// The tests of a single series. Its fragment replaces the fragments of the kernel.
    SingleSeries(PathBuf),
    /// Tests while the author edits a file, in a folder of their own. Their fragment in
    /// `kunit-configs/quick/` is optional, and comes on top of the fragments of the kernel.
    Quick,
}

/// A kernel to build.
pub struct Build<'a> {
    pub runner: &'a dyn Runner,
    pub ws: &'a Workspace,
    pub cache: &'a Cache,
    pub toolchain: &'a Toolchain,
    pub target: Target,
    pub purpose: Purpose,
    pub ui: &'a Ui,
}

impl Build<'_> {
    /// Returns the build folder.
    pub fn dir(&self) -> PathBuf {
        let name = self.target.name();
        match self.purpose {
            Purpose::Quick => self.cache.build(&format!("{name}-quick")),
            Purpose::AllSeries | Purpose::SingleSeries(_) => self.cache.build(name),
        }
    }

    /// Returns the file of the kernel.
    pub fn image(&self) -> PathBuf {
        self.dir().join(self.target.arch().image())
    }

    /// Returns the folder of its results in `out/kunit/`.
    pub fn results(&self) -> String {
        let name = self.target.name();
        match self.purpose {
            Purpose::AllSeries => name.to_owned(),
            Purpose::SingleSeries(_) => format!("{name}-alone"),
            Purpose::Quick => format!("{name}-quick"),
        }
    }

    /// Returns the configuration fragments, as paths below the top folder or as absolute paths.
    fn fragments(&self) -> Vec<PathBuf> {
        let of_target = self.target.fragments().iter();
        let of_target = of_target.map(|f| self.ws.place(CONFIGS, f));
        match &self.purpose {
            Purpose::AllSeries => of_target.collect(),
            Purpose::SingleSeries(fragment) => vec![fragment.clone()],
            Purpose::Quick => {
                let quick = format!("quick/{}.config", self.target.name());
                let quick = self.ws.place(CONFIGS, quick);
                let exists = self.ws.path(&quick).is_file();
                of_target.chain(exists.then_some(quick)).collect()
            }
        }
    }

    pub(super) fn read_fragments(&self) -> Result<Vec<String>> {
        let fragments = self.fragments();
        fragments.iter().map(|f| self.ws.read(f)).collect()
    }

    fn stamp_path(&self) -> PathBuf {
        self.dir().join("series.json")
    }

    /// Returns the inputs of the last finished build.
    pub fn stamp(&self) -> Option<Stamp> {
        let text = fs::read(self.stamp_path()).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Reports whether the build folder contains the kernel of this tree.
    pub fn is_current(&self, tip: &PatchCommit) -> Result<bool> {
        let key = self.key()?;
        let fits = |s: Stamp| s.tree == tip.tree.as_str() && s.key == key;
        Ok(self.stamp().is_some_and(fits) && self.image().is_file())
    }

    pub(super) fn key(&self) -> Result<String> {
        let mut hash = Sha256::new();
        for fragment in self.read_fragments()? {
            hash.update(fragment);
        }
        for part in self.toolchain.make.iter().chain([&self.toolchain.rustc]) {
            hash.update(b"\0");
            hash.update(part);
        }
        for (key, value) in &self.toolchain.env {
            hash.update(format!("\0{key}={value}"));
        }
        Ok(hex(hash.finalize()))
    }

    /// Returns a `kunit.py` command for this build folder.
    pub fn kunit(&self, verb: &str) -> Cmd {
        let mut cmd = Cmd::new("python3")
            .arg("tools/testing/kunit/kunit.py")
            .arg(verb)
            .arg(format!("--build_dir={}", self.dir().display()))
            .arg(format!("--arch={}", self.target.arch().name()))
            .dir(self.cache.kernel());
        if verb == "config" {
            for fragment in self.fragments() {
                let path = self.ws.path(fragment);
                cmd = cmd.arg(format!("--kunitconfig={}", path.display()));
            }
            for option in &self.toolchain.make {
                cmd = cmd.arg(format!("--make_options={option}"));
            }
        }
        self.toolchain.apply(cmd)
    }

    /// Returns a make command for this build folder.
    pub fn make(&self) -> Cmd {
        let jobs = std::thread::available_parallelism().map_or(1, |n| n.get());
        let cmd = Cmd::new("make")
            .arg(format!("ARCH={}", self.target.arch().name()))
            .arg(format!("O={}", self.dir().display()))
            .arg(format!("-j{jobs}"))
            .args(&self.toolchain.make)
            .dir(self.cache.kernel());
        self.toolchain.apply(cmd)
    }

    /// Builds the checked out tree, which is the tree of `tip`. Returns the warnings of the compilers.
    ///
    /// # Errors
    ///
    /// An option is missing from the configuration, or the build fails.
    pub fn build(&self, tip: &PatchCommit) -> Result<Vec<String>> {
        let before = self.begin()?;
        self.configure()?;
        let (said, objects) = self.run_make(&self.make(), before)?;
        self.write_stamp(tip.tree.as_str(), &self.key()?, objects.max(before))?;
        Ok(said)
    }

    /// Starts a build. Returns the number of objects of the last full build.
    ///
    /// # Errors
    ///
    /// The folder cannot be written.
    pub(super) fn begin(&self) -> Result<u64> {
        let dir = self.dir();
        self.cache.need_space(1 << 30, "the build")?;
        fs::create_dir_all(&dir).map_err(|e| Error::io("make the folder", &dir, &e))?;
        let before = self.stamp().map_or(0, |s| s.objects);
        // Until the build succeeds, the folder contains no complete kernel.
        self.write_stamp("", "", before)?;
        Ok(before)
    }

    /// Runs make. `before` is the number of objects of the last full build. Returns the warnings of the
    /// compilers and the number of objects.
    ///
    /// # Errors
    ///
    /// The build fails; the error has the output of the compilers.
    pub(super) fn run_make(&self, make: &Cmd, before: u64) -> Result<(Vec<String>, u64)> {
        let what = format!("building the kernel ({})", self.target.name());
        let mut progress = self.ui.progress(&what, before, Unit::Things);
        let mut said = Vec::new();
        let mut objects = 0;
        let out = self
            .runner
            .stream(make, &mut |line| match object(line) {
                Some(name) => {
                    objects += 1;
                    progress.set(objects, name);
                }
                None if !line.trim().is_empty() => said.push(line.to_owned()),
                None => (),
            })
            .map_err(|e| not_started(make, &e))?;
        if !out.ok() {
            let tail = said[said.len().saturating_sub(30)..].join("\n");
            return Err(Error::new("the kernel does not build")
                .detail(tail)
                .help(format!(
                    "the tree is {}, the build folder {}",
                    self.cache.kernel().display(),
                    self.dir().display()
                )));
        }
        progress.done();
        said.retain(|l| l.contains("warning"));
        Ok((said, objects))
    }

    pub(super) fn write_stamp(&self, tree: &str, key: &str, objects: u64) -> Result<()> {
        let stamp = Stamp {
            tree: tree.to_owned(),
            key: key.to_owned(),
            objects,
        };
        write(&self.stamp_path(), &crate::sys::json::json(&stamp)?)
    }

    pub(super) fn configure(&self) -> Result<()> {
        if self.toolchain.rust {
            let check = self.make().arg("rustavailable");
            must(self.runner, &check).map_err(|e| {
                e.help("the kernel cannot use the Rust tools; see `cargo series doctor`")
            })?;
        }
        let cmd = self.kunit("config");
        let out = self.runner.run(&cmd).map_err(|e| not_started(&cmd, &e))?;
        // The names and lines of the options are easier to read than the output of kunit.py.
        self.check_config()?;
        match out.ok() {
            true => Ok(()),
            false => Err(failed(&cmd, &out)),
        }
    }

    /// Verifies that the configuration has every option of the fragments.
    ///
    /// # Errors
    ///
    /// Options differ; the error names each with file and line.
    pub fn check_config(&self) -> Result<()> {
        let made = crate::sys::files::read_text(&self.dir().join(".config")).unwrap_or_default();
        let mut errors = Vec::new();
        for fragment in self.fragments() {
            let wanted = self.ws.read(&fragment)?;
            for lost in lost_options(&wanted, &made) {
                errors.push(Error::new(lost.value.to_string()).at(&fragment, lost.line));
            }
        }
        let help = "the option depends on others, or does not exist for this architecture: see \
                    `depends on` in its Kconfig";
        match Error::all(errors) {
            Some(error) => Err(error.help(help)),
            None => Ok(()),
        }
    }
}

/// Returns the object that a line of make's short output names.
fn object(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("  ")?;
    let (tool, name) = rest.split_once(' ')?;
    let short = !tool.is_empty() && tool.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    short.then(|| name.trim_start().trim_start_matches("[M]").trim_start())
}

/// Reads the inputs of the last build, without looking for tools.
pub fn stamp_of(cache: &Cache, target: Target) -> Option<Stamp> {
    let path: &Path = &cache.build(target.name()).join("series.json");
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_accepts_one_checker() {
        let chosen =
            |arch, hardened, lockdep| Target::chosen(arch, hardened, lockdep).map(Target::name);
        assert_eq!(chosen(None, false, false).unwrap(), "um");
        assert_eq!(chosen(Some(Arch::Arm64), false, false).unwrap(), "arm64");
        for arch in [None, Some(Arch::Um)] {
            assert_eq!(chosen(arch, true, false).unwrap(), "um-hardened");
        }
        for arch in [None, Some(Arch::X86_64)] {
            assert_eq!(chosen(arch, false, true).unwrap(), "x86_64-lockdep");
        }
        let said: Vec<_> = [
            (Arch::X86_64, true),
            (Arch::Um, false),
            (Arch::Arm64, false),
        ]
        .map(|(arch, hardened)| {
            let error = chosen(Some(arch), hardened, !hardened).unwrap_err();
            error.to_string()
        })
        .to_vec();
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn name_is_unique() {
        let names: std::collections::BTreeSet<_> = Target::ALL.iter().map(|t| t.name()).collect();
        assert_eq!(names.len(), Target::ALL.len());
    }

    #[test]
    fn object_parses_make_output() {
        assert_eq!(object("  CC      init/main.o"), Some("init/main.o"));
        assert_eq!(object("  RUSTC L rust/kernel.o"), Some("L rust/kernel.o"));
        assert_eq!(object("  CC [M]  x.o"), Some("x.o"));
        assert_eq!(object("make[1]: Entering directory"), None);
        assert_eq!(object("  indented text"), None);
        assert_eq!(object("warning: unused"), None);
    }
}
