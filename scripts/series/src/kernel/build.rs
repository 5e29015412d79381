// SPDX-License-Identifier: GPL-2.0

//! Builds a kernel: `kunit.py` configures it, make builds it. An unchanged one is not built again.

use std::{
    fs,
    path::{Path, PathBuf},
    thread::available_parallelism,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    git::PatchCommit,
    kernel::{
        kconfig::lost_options,
        tools::{Need, Toolchain},
    },
    source::workspace::Workspace,
    sys::{
        Cmd, Error, Result, Runner,
        cache::Cache,
        failed,
        files::create,
        hash::hex,
        json, must,
        ui::{Ui, Unit},
    },
};

pub const CONFIGS: &str = "kunit-configs";

/// The file of a build folder with the [`Stamp`].
const STAMP: &str = "series.json";

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
    /// Returns the value of ARCH for make, and of `--arch` for `kunit.py`.
    pub fn name(self) -> &'static str {
        match self {
            Arch::Um => "um",
            Arch::X86_64 => "x86_64",
            Arch::Arm64 => "arm64",
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
    Plain(Arch),
    /// User-mode Linux with checkers for memory errors.
    Hardened,
    Lockdep,
}

impl Target {
    pub const ALL: [Target; 5] = [
        Target::Plain(Arch::Um),
        Target::Plain(Arch::X86_64),
        Target::Plain(Arch::Arm64),
        Target::Hardened,
        Target::Lockdep,
    ];

    /// Fails if the checkers of the kernel do not work on that architecture.
    pub fn chosen(arch: Option<Arch>, hardened: bool, lockdep: bool) -> Result<Self> {
        let what = match (hardened, lockdep, arch) {
            (false, false, arch) => return Ok(Target::Plain(arch.unwrap_or(Arch::Um))),
            (true, _, None | Some(Arch::Um)) => return Ok(Target::Hardened),
            (false, true, None | Some(Arch::X86_64)) => return Ok(Target::Lockdep),
            (true, _, Some(arch)) => {
                let arch = arch.name();
                let what = format!("--hardened is a kernel of user-mode Linux, not of {arch}");
                return Err(Error::new(what).help("omit --arch"));
            }
            (false, true, Some(Arch::Um)) => {
                "--lockdep proves nothing on um: lockdep reports a fault of the base as soon as it \
                 boots there, and is off from then on"
            }
            (false, true, Some(Arch::Arm64)) => "--lockdep was not tried on arm64",
        };
        Err(Error::new(what).help("omit --arch, or use --arch x86_64"))
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

impl Stamp {
    pub fn read(dir: &Path) -> Option<Self> {
        json::read(&dir.join(STAMP))
    }
}

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
    pub fn dir(&self) -> PathBuf {
        let name = self.target.name();
        match self.purpose {
            Purpose::Quick => self.cache.build(&format!("{name}-quick")),
            Purpose::AllSeries | Purpose::SingleSeries(_) => self.cache.build(name),
        }
    }

    pub(super) fn image(&self) -> PathBuf {
        self.dir().join(match self.target.arch() {
            Arch::Um => "linux",
            Arch::X86_64 => "arch/x86/boot/bzImage",
            Arch::Arm64 => "arch/arm64/boot/Image.gz",
        })
    }

    /// Returns the folder of its results in `out/kunit/`. Results of quick builds are not kept.
    pub fn results(&self) -> String {
        let name = self.target.name();
        match self.purpose {
            Purpose::SingleSeries(_) => format!("{name}-alone"),
            Purpose::AllSeries | Purpose::Quick => name.to_owned(),
        }
    }

    /// Returns the configuration fragments, as paths below the top folder or as absolute paths.
    fn fragments(&self) -> Vec<PathBuf> {
        if let Purpose::SingleSeries(fragment) = &self.purpose {
            return vec![fragment.clone()];
        }
        let of_target = self.target.fragments().iter();
        let of_target = of_target.map(|f| self.ws.place(CONFIGS, f));
        let quick = format!("quick/{}.config", self.target.name());
        let quick = self.ws.place(CONFIGS, quick);
        let is_used = self.purpose == Purpose::Quick && self.ws.path(&quick).is_file();
        of_target.chain(is_used.then_some(quick)).collect()
    }

    pub(super) fn read_fragments(&self) -> Result<Vec<String>> {
        let fragments = self.fragments();
        fragments.iter().map(|f| self.ws.read(f)).collect()
    }

    /// Reports whether the build folder contains the kernel of this tree.
    pub fn is_current(&self, tip: &PatchCommit) -> Result<bool> {
        let key = self.key()?;
        let fits = |s: Stamp| s.tree == tip.tree.as_str() && s.key == key;
        Ok(Stamp::read(&self.dir()).is_some_and(fits) && self.image().is_file())
    }

    pub(super) fn key(&self) -> Result<String> {
        let mut hash = Sha256::new();
        for fragment in self.read_fragments()? {
            hash.update(fragment);
        }
        for part in self.toolchain.make.iter().chain([&self.toolchain.rustc]) {
            hash.update(format!("\0{part}"));
        }
        for (key, value) in &self.toolchain.env {
            hash.update(format!("\0{key}={value}"));
        }
        Ok(hex(hash.finalize()))
    }

    pub(super) fn kunit(&self, verb: &str) -> Cmd {
        let cmd = Cmd::new("python3")
            .arg("tools/testing/kunit/kunit.py")
            .arg(verb)
            .arg(format!("--build_dir={}", self.dir().display()))
            .arg(format!("--arch={}", self.target.arch().name()))
            .dir(self.cache.kernel());
        self.toolchain.apply(cmd)
    }

    pub(super) fn make(&self) -> Cmd {
        let jobs = available_parallelism().map_or(1, |n| n.get());
        let cmd = Cmd::new("make")
            .arg(format!("ARCH={}", self.target.arch().name()))
            .arg(format!("O={}", self.dir().display()))
            .arg(format!("-j{jobs}"))
            .args(&self.toolchain.make)
            .dir(self.cache.kernel());
        self.toolchain.apply(cmd)
    }

    /// Builds the checked out tree, which is the tree of `tip`. Returns the compilers' warnings.
    pub fn build(&self, tip: &PatchCommit) -> Result<Vec<String>> {
        let before = self.begin()?.objects;
        self.configure()?;
        let (said, objects) = self.run_make(&self.make(), before)?;
        self.write_stamp(tip.tree.as_str(), &self.key()?, objects.max(before))?;
        Ok(said)
    }

    /// Returns the inputs of the last finished build.
    pub(super) fn begin(&self) -> Result<Stamp> {
        let dir = self.dir();
        self.cache.need_space(1 << 30, "the build")?;
        create(&dir)?;
        let before = Stamp::read(&dir).unwrap_or_default();
        // Until the build succeeds, the folder contains no complete kernel.
        self.write_stamp("", "", before.objects)?;
        Ok(before)
    }

    /// Runs make. `before` is the number of objects of the last full build. Returns the compilers'
    /// warnings and the number of objects. The error has the output of the compilers.
    pub(super) fn run_make(&self, make: &Cmd, before: u64) -> Result<(Vec<String>, u64)> {
        let what = format!("building the kernel ({})", self.target.name());
        let mut progress = self.ui.progress(&what, before, Unit::Things);
        let mut said = Vec::new();
        let mut objects = 0;
        let mut on_line = |line: &str| match object(line) {
            Some(name) => {
                objects += 1;
                progress.set(objects, name);
            }
            None if line.trim().is_empty() => (),
            None => said.push(line.to_owned()),
        };
        if !self.runner.follow(make, &mut on_line)?.ok() {
            let (tree, dir) = (self.cache.kernel(), self.dir());
            let (tree, dir) = (tree.display(), dir.display());
            return Err(Error::new("the kernel does not build")
                .detail(said[said.len().saturating_sub(30)..].join("\n"))
                .help(format!("the tree is {tree}, the build folder {dir}")));
        }
        progress.done();
        said.retain(|l| l.contains("warning"));
        Ok((said, objects))
    }

    pub(super) fn write_stamp(&self, tree: &str, key: &str, objects: u64) -> Result<()> {
        let (tree, key) = (tree.to_owned(), key.to_owned());
        json::write(&self.dir().join(STAMP), &Stamp { tree, key, objects })
    }

    pub(super) fn configure(&self) -> Result<()> {
        if self.toolchain.rust {
            let check = self.make().arg("rustavailable");
            must(self.runner, &check).map_err(|e| {
                e.help("the kernel cannot use the Rust tools; see `cargo series doctor`")
            })?;
        }
        let fragments = self.fragments().into_iter().map(|f| self.ws.path(f));
        let fragments = fragments.map(|f| format!("--kunitconfig={}", f.display()));
        let options = self.toolchain.make.iter();
        let options = options.map(|option| format!("--make_options={option}"));
        let cmd = self.kunit("config").args(fragments).args(options);
        let out = self.runner.run(&cmd)?;
        // The names and lines of the options are easier to read than the output of kunit.py.
        self.check_config()?;
        if out.ok() {
            return Ok(());
        }
        Err(failed(&cmd, &out))
    }

    /// Verifies that the configuration has every option of the fragments. The error names each with
    /// file and line.
    pub fn check_config(&self) -> Result<()> {
        let made = fs::read_to_string(self.dir().join(".config")).unwrap_or_default();
        let mut errors = Vec::new();
        for fragment in self.fragments() {
            let lost = lost_options(&self.ws.read(&fragment)?, &made).into_iter();
            errors.extend(lost.map(|l| Error::new(l.value.to_string()).at(&fragment, l.line)));
        }
        let help = "the option depends on others, or does not exist for this architecture: see \
                    `depends on` in its Kconfig";
        Error::all(errors).map_err(|e| e.help(help))
    }
}

/// Returns the object that a line of make's short output names.
fn object(line: &str) -> Option<&str> {
    let (tool, name) = line.strip_prefix("  ")?.split_once(' ')?;
    let short = !tool.is_empty() && tool.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    short.then(|| name.trim_start().trim_start_matches("[M]").trim_start())
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
