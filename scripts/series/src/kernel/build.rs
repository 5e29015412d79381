// SPDX-License-Identifier: GPL-2.0

//! One kernel build: configured by `kunit.py`, built by make, recognised when nothing changed.

use std::{
    collections::BTreeMap,
    fs,
    path::{
        Path,
        PathBuf, //
    },
};

use serde::{
    Deserialize,
    Serialize, //
};
use sha2::{
    Digest,
    Sha256, //
};

use crate::{
    git::PatchCommit,
    kernel::tools::{
        Need,
        Toolchain, //
    },
    source::workspace::Workspace,
    sys::{
        cache::Cache,
        error::{
            Error,
            Result, //
        },
        files::write,
        hash::hex,
        runner::{
            Cmd,
            Runner,
            failed,
            must,
            not_started, //
        },
        ui::{
            Ui,
            Unit, //
        }, //
    }, //
};

/// The folder of the configuration fragments.
pub const CONFIGS: &str = "kunit-configs";

/// The kernels that can be built.
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
    /// As the kernel's build calls it.
    pub fn name(self) -> &'static str {
        match self {
            Arch::Um => "um",
            Arch::X86_64 => "x86_64",
            Arch::Arm64 => "arm64",
        }
    }

    /// What `kunit.py` starts.
    fn image(self) -> &'static str {
        match self {
            Arch::Um => "linux",
            Arch::X86_64 => "arch/x86/boot/bzImage",
            Arch::Arm64 => "arch/arm64/boot/Image.gz",
        }
    }

    /// The QEMU that runs it, unless it runs by itself.
    pub fn qemu(self) -> Option<&'static str> {
        match self {
            Arch::Um => None,
            Arch::X86_64 => Some("qemu-system-x86_64"),
            Arch::Arm64 => Some("qemu-system-aarch64"),
        }
    }

    /// The tools for a build and a run.
    pub fn run_needs(self) -> Vec<Need> {
        match self {
            Arch::X86_64 => vec![Need::Kernel, Need::Qemu],
            _ => vec![Need::Kernel],
        }
    }
}

/// A kernel that is built: an architecture, and what is added to the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// As it is.
    Plain(Arch),
    /// User-mode Linux with what looks for faults of memory.
    Hardened,
    /// x86_64 with what looks for faults of locking.
    Lockdep,
}

impl Target {
    /// Every one.
    pub const ALL: [Target; 5] = [
        Target::Plain(Arch::Um),
        Target::Plain(Arch::X86_64),
        Target::Plain(Arch::Arm64),
        Target::Hardened,
        Target::Lockdep,
    ];

    /// The kernel that the command line asks for.
    ///
    /// # Errors
    ///
    /// The checkers do not work on that architecture; the message says why.
    pub fn chosen(arch: Option<Arch>, hardened: bool, lockdep: bool) -> Result<Self> {
        match (hardened, lockdep, arch) {
            (true, _, None | Some(Arch::Um)) => Ok(Target::Hardened),
            (true, _, Some(arch)) => Err(Error::new(format!(
                "--hardened is a kernel of user-mode Linux, not of {}",
                arch.name()
            ))
            .help("leave --arch out")),
            (_, true, None | Some(Arch::X86_64)) => Ok(Target::Lockdep),
            (_, true, Some(Arch::Um)) => Err(Error::new(
                "--lockdep proves nothing on um: lockdep reports a fault of the base as soon as \
                 it boots there, and is off from then on",
            )
            .help("leave --arch out, or say --arch x86_64")),
            (_, true, Some(Arch::Arm64)) => Err(Error::new("--lockdep was not tried on arm64")
                .help("leave --arch out, or say --arch x86_64")),
            (false, false, arch) => Ok(Target::Plain(arch.unwrap_or(Arch::Um))),
        }
    }

    /// The architecture.
    pub fn arch(self) -> Arch {
        match self {
            Target::Plain(arch) => arch,
            Target::Hardened => Arch::Um,
            Target::Lockdep => Arch::X86_64,
        }
    }

    /// Its folder below `build/` and `out/kunit/`.
    pub fn name(self) -> &'static str {
        match self {
            Target::Plain(arch) => arch.name(),
            Target::Hardened => "um-hardened",
            Target::Lockdep => "x86_64-lockdep",
        }
    }

    /// The configuration fragments, below [`CONFIGS`].
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

/// What a finished build was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The tree.
    pub tree: String,
    /// A digest of the configuration and the tools.
    pub key: String,
    /// How many objects were made the last time that much was built.
    pub objects: u64,
}

/// A kernel to build.
pub struct Build<'a> {
    /// The seam below.
    pub runner: &'a dyn Runner,
    /// The checkout.
    pub ws: &'a Workspace,
    /// The cache.
    pub cache: &'a Cache,
    /// The tools.
    pub toolchain: &'a Toolchain,
    /// Which kernel.
    pub target: Target,
    /// A fragment in place of the kernel's own, for a series on its own.
    pub alone: Option<PathBuf>,
    /// Where talk goes.
    pub ui: &'a Ui,
}

impl Build<'_> {
    /// The build folder.
    pub fn dir(&self) -> PathBuf {
        self.cache.build(self.target.name())
    }

    /// The kernel that it makes.
    pub fn image(&self) -> PathBuf {
        self.dir().join(self.target.arch().image())
    }

    /// The folder of its results below `out/kunit/`.
    pub fn results(&self) -> String {
        match self.alone {
            Some(_) => format!("{}-alone", self.target.name()),
            None => self.target.name().to_owned(),
        }
    }

    /// The configuration fragments, below the top folder or with their whole path.
    fn fragments(&self) -> Vec<PathBuf> {
        match &self.alone {
            Some(fragment) => vec![fragment.clone()],
            None => {
                let fragments = self.target.fragments().iter();
                fragments.map(|f| self.ws.place(CONFIGS, f)).collect()
            }
        }
    }

    fn stamp_path(&self) -> PathBuf {
        self.dir().join("series.json")
    }

    /// The stamp of the last finished build.
    pub fn stamp(&self) -> Option<Stamp> {
        let text = fs::read(self.stamp_path()).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Whether the build folder holds the kernel of this tree.
    pub fn is_current(&self, tip: &PatchCommit) -> Result<bool> {
        let key = self.key()?;
        let fits = |s: Stamp| s.tree == tip.tree.as_str() && s.key == key;
        Ok(self.stamp().is_some_and(fits) && self.image().is_file())
    }

    fn key(&self) -> Result<String> {
        let mut hash = Sha256::new();
        for fragment in self.fragments() {
            hash.update(self.ws.read(fragment)?);
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

    /// A command of `kunit.py` on this build.
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

    /// A call of make on this build.
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

    /// Builds the tree that is checked out, which is that of `tip`. Returns the compilers' warnings.
    ///
    /// # Errors
    ///
    /// A lost option, or what the compilers said.
    pub fn build(&self, tip: &PatchCommit) -> Result<Vec<String>> {
        let before = self.begin()?;
        self.configure()?;
        let (said, objects) = self.run_make(&self.make(), before)?;
        self.write_stamp(tip.tree.as_str(), &self.key()?, objects.max(before))?;
        Ok(said)
    }

    /// Begins a build. Returns the number of objects of the last full one.
    ///
    /// # Errors
    ///
    /// The folder cannot be written.
    pub(super) fn begin(&self) -> Result<u64> {
        let dir = self.dir();
        self.cache.need_space(1 << 30, "the build")?;
        fs::create_dir_all(&dir).map_err(|e| Error::io("make the folder", &dir, &e))?;
        let before = self.stamp().map_or(0, |s| s.objects);
        // Until this build is done the folder holds no tree's kernel.
        self.write_stamp("", "", before)?;
        Ok(before)
    }

    /// Runs make, of which the last build made `before` objects. Returns the compilers' warnings and
    /// the number of objects.
    ///
    /// # Errors
    ///
    /// What the compilers said.
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

    fn write_stamp(&self, tree: &str, key: &str, objects: u64) -> Result<()> {
        let stamp = Stamp {
            tree: tree.to_owned(),
            key: key.to_owned(),
            objects,
        };
        write(&self.stamp_path(), &crate::sys::json::json(&stamp)?)
    }

    pub(super) fn configure(&self) -> Result<()> {
        let check = self.make().arg("rustavailable");
        must(self.runner, &check).map_err(|e| {
            e.help("the kernel cannot use the Rust tools; see `cargo series doctor`")
        })?;
        let cmd = self.kunit("config");
        let out = self.runner.run(&cmd).map_err(|e| not_started(&cmd, &e))?;
        // The options by name and place are easier to read than what kunit.py says about them.
        self.check_config()?;
        match out.ok() {
            true => Ok(()),
            false => Err(failed(&cmd, &out)),
        }
    }

    /// Checks that the build folder is configured as the fragments say.
    ///
    /// # Errors
    ///
    /// Names each option that is not set as it should be, with its place.
    pub fn check_config(&self) -> Result<()> {
        let made = crate::sys::files::read_text(&self.dir().join(".config")).unwrap_or_default();
        let mut errors = Vec::new();
        for fragment in self.fragments() {
            let wanted = self.ws.read(&fragment)?;
            errors.extend(lost(&wanted, &made).into_iter().map(|lost| {
                Error::new(format!("{} did not survive: {}", lost.wanted, lost.found()))
                    .at(&fragment, lost.line)
            }));
        }
        let help = "the option needs others, or is not there for this architecture: see `depends \
                    on` in its Kconfig";
        match Error::all(errors) {
            Some(error) => Err(error.help(help)),
            None => Ok(()),
        }
    }
}

/// The object that a line of make's short output announces.
fn object(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("  ")?;
    let (tool, name) = rest.split_once(' ')?;
    let short = !tool.is_empty() && tool.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    short.then(|| name.trim_start().trim_start_matches("[M]").trim_start())
}

/// An option that a configuration lacks.
#[derive(Debug, PartialEq, Eq)]
struct Lost<'a> {
    /// The line of the fragment.
    wanted: &'a str,
    /// Where it stands, from 1.
    line: usize,
    /// What the configuration has instead.
    instead: Option<&'a str>,
}

impl Lost<'_> {
    fn found(&self) -> String {
        match self.instead {
            Some(line) => format!("the configuration has \"{line}\""),
            None => "the configuration does not have it".to_owned(),
        }
    }
}

/// Which options of a fragment are not in the configuration that was made of it.
fn lost<'a>(fragment: &'a str, made: &'a str) -> Vec<Lost<'a>> {
    let found: BTreeMap<_, _> = made
        .lines()
        .filter_map(|line| Some((option(line)?, line)))
        .map(|((name, value), line)| (name, (value, line)))
        .collect();
    let wanted = fragment.lines().enumerate();
    wanted
        .filter_map(|(index, line)| {
            let (name, value) = option(line)?;
            let is = found.get(name);
            // An option that is not there at all is off.
            (is.map_or("n", |(value, _)| value) != value).then(|| Lost {
                wanted: line.trim_end(),
                line: index + 1,
                instead: is.map(|(_, line)| *line),
            })
        })
        .collect()
}

/// What separates an option from how the configuration lacks it.
const LOST: &str = " did not survive: ";

/// Each option of a fragment that is not in the configuration that was made of it, in a sentence.
pub fn lost_options(fragment: &str, made: &str) -> Vec<String> {
    lost(fragment, made)
        .iter()
        .map(|lost| format!("{}{LOST}{}", lost.wanted, lost.found()))
        .collect()
}

/// Whether two of these sentences are about the same option.
pub fn same_option(one: &str, other: &str) -> bool {
    one.split(LOST).next() == other.split(LOST).next()
}

/// Name and value of the option that a line sets.
fn option(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_end();
    if let Some(rest) = line.strip_prefix("# CONFIG_") {
        return Some((rest.strip_suffix(" is not set")?, "n"));
    }
    line.strip_prefix("CONFIG_")?.split_once('=')
}

/// Reads the stamp of a kernel without the tools.
pub fn stamp_of(cache: &Cache, target: Target) -> Option<Stamp> {
    let path: &Path = &cache.build(target.name()).join("series.json");
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_vanish_are_named() {
        let made = "CONFIG_KASAN=y\n# CONFIG_UBSAN is not set\nCONFIG_SIZE=1\nCONFIG_MODE=m\n";
        let fragment = "# What looks for faults.\nCONFIG_KASAN=y\nCONFIG_UBSAN=y\nCONFIG_FAILSLAB=y\n\
                        CONFIG_SIZE=2\nCONFIG_MODE=y\n# CONFIG_OTHER is not set\n\
                        # CONFIG_KASAN is not set\n";
        let said: Vec<_> = lost(fragment, made)
            .iter()
            .map(|l| format!("{}: {}: {}", l.line, l.wanted, l.found()))
            .collect();
        insta::assert_snapshot!(said.join("\n"));
        assert!(lost("", "").is_empty() && lost("CONFIG_KASAN=y\n", made).is_empty());
    }

    #[test]
    fn one_of_the_two_flags_names_a_kernel() {
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
    fn names_are_folders_of_their_own() {
        let names: std::collections::BTreeSet<_> = Target::ALL.iter().map(|t| t.name()).collect();
        assert_eq!(names.len(), Target::ALL.len());
    }

    #[test]
    fn objects_are_told_from_talk() {
        assert_eq!(object("  CC      init/main.o"), Some("init/main.o"));
        assert_eq!(object("  RUSTC L rust/kernel.o"), Some("L rust/kernel.o"));
        assert_eq!(object("  CC [M]  x.o"), Some("x.o"));
        assert_eq!(object("make[1]: Entering directory"), None);
        assert_eq!(object("  indented text"), None);
        assert_eq!(object("warning: unused"), None);
    }
}
