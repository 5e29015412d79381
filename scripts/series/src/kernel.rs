// SPDX-License-Identifier: GPL-2.0

//! One kernel build: configured by `kunit.py`, built by make, recognised when nothing changed.

use std::{
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
    assemble::PatchCommit,
    cache::Cache,
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
    tools::{
        Need,
        Toolchain, //
    },
    ui::{
        Ui,
        Unit, //
    },
    workspace::{
        Workspace,
        write, //
    },
};

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

    /// What a build and a run need.
    pub fn needs(self) -> Vec<Need> {
        match self {
            Arch::X86_64 => vec![Need::Kernel, Need::Qemu],
            _ => vec![Need::Kernel],
        }
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
    /// The architecture.
    pub arch: Arch,
    /// Where talk goes.
    pub ui: &'a Ui,
}

impl Build<'_> {
    /// The build folder.
    pub fn dir(&self) -> PathBuf {
        self.cache.build(self.arch.name())
    }

    /// The kernel that it makes.
    pub fn image(&self) -> PathBuf {
        self.dir().join(self.arch.image())
    }

    /// The configuration fragments.
    fn config(&self) -> PathBuf {
        self.ws.path("kunit-configs/all.config")
    }

    fn stamp_path(&self) -> PathBuf {
        self.dir().join("nova-series.json")
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
        let config = self.config();
        let config = fs::read(&config).map_err(|e| Error::io("read", &config, &e))?;
        let mut hash = Sha256::new();
        hash.update(&config);
        for part in self.toolchain.make.iter().chain([&self.toolchain.rustc]) {
            hash.update(b"\0");
            hash.update(part);
        }
        for (key, value) in &self.toolchain.env {
            hash.update(format!("\0{key}={value}"));
        }
        Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
    }

    /// A command of `kunit.py` on this build.
    pub fn kunit(&self, verb: &str) -> Cmd {
        let mut cmd = Cmd::new("python3")
            .arg("tools/testing/kunit/kunit.py")
            .arg(verb)
            .arg(format!("--build_dir={}", self.dir().display()))
            .arg(format!("--arch={}", self.arch.name()))
            .dir(self.cache.kernel());
        if verb == "config" {
            cmd = cmd.arg(format!("--kunitconfig={}", self.config().display()));
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
            .arg(format!("ARCH={}", self.arch.name()))
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
        let dir = self.dir();
        self.cache.need_space(1 << 30, "the build")?;
        fs::create_dir_all(&dir).map_err(|e| Error::io("make the folder", &dir, &e))?;
        let before = self.stamp().map_or(0, |s| s.objects);
        // Until this build is done the folder holds no tree's kernel.
        self.write_stamp("", "", before)?;
        self.configure()?;
        let what = format!("building the kernel ({})", self.arch.name());
        let mut progress = self.ui.progress(&what, before, Unit::Things);
        let mut said = Vec::new();
        let mut objects = 0;
        let make = self.make();
        let out = self
            .runner
            .stream(&make, &mut |line| match object(line) {
                Some(name) => {
                    objects += 1;
                    progress.set(objects, name);
                }
                None if !line.trim().is_empty() => said.push(line.to_owned()),
                None => (),
            })
            .map_err(|e| not_started(&make, &e))?;
        if !out.ok() {
            let tail = said[said.len().saturating_sub(30)..].join("\n");
            return Err(Error::new("the kernel does not build")
                .detail(tail)
                .help(format!(
                    "the tree is {}, the build folder {}",
                    self.cache.kernel().display(),
                    dir.display()
                )));
        }
        progress.done();
        self.write_stamp(tip.tree.as_str(), &self.key()?, objects.max(before))?;
        said.retain(|l| l.contains("warning"));
        Ok(said)
    }

    fn write_stamp(&self, tree: &str, key: &str, objects: u64) -> Result<()> {
        let stamp = Stamp {
            tree: tree.to_owned(),
            key: key.to_owned(),
            objects,
        };
        write(&self.stamp_path(), &crate::emit::json(&stamp)?)
    }

    fn configure(&self) -> Result<()> {
        let check = self.make().arg("rustavailable");
        must(self.runner, &check).map_err(|e| {
            e.help("the kernel cannot use the Rust tools; see `cargo series doctor`")
        })?;
        let cmd = self.kunit("config");
        let out = self.runner.run(&cmd).map_err(|e| not_started(&cmd, &e))?;
        match out.ok() {
            true => Ok(()),
            false => Err(failed(&cmd, &out).help(format!(
                "an option of {} did not survive; the text above says which",
                self.ws.shown(&self.config()).display()
            ))),
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

/// Reads the stamp of an architecture without the tools.
pub fn stamp_of(cache: &Cache, arch: Arch) -> Option<Stamp> {
    let path: &Path = &cache.build(arch.name()).join("nova-series.json");
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
