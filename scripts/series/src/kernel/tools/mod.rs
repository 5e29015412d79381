// SPDX-License-Identifier: GPL-2.0

//! The required programs: their presence and version, and how to install them.

mod install;
mod rust_src;

pub use self::install::setup;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use regex::Regex;
use serde::Serialize;

use crate::sys::{Cmd, Error, Result, Runner, cache::Cache, pattern};

/// The LLVM that the series are built and measured with.
pub const LLVM: &str = "19";
/// The bindgen version that the kernel requires.
pub const BINDGEN: &str = "0.72.1";
/// The b4 whose file formats this tool writes.
pub const B4: &str = "0.16.0";

const SETUP: &str = "cargo series setup";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    Assemble,
    /// Building and running the kernel.
    Kernel,
    /// Running an x86_64 kernel.
    Qemu,
    Check,
    /// Compiling each patch with every checker.
    Full,
    Send,
    /// Building and measuring the host tests.
    Host,
}

impl Need {
    /// Returns the commands that need the tool.
    pub fn text(self) -> &'static str {
        match self {
            Need::Assemble => "assemble",
            Need::Kernel => "build, test",
            Need::Qemu => "test --arch x86_64",
            Need::Check => "check",
            Need::Full => "check --full",
            Need::Send => "prepare, check",
            Need::Host => "host tests",
        }
    }
}

/// The parts of the toolchain that a workspace uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uses {
    /// Whether LLVM builds its kernels.
    pub llvm: bool,
    /// Whether its patches may touch Rust.
    pub rust: bool,
}

impl Uses {
    fn uses(self, name: &str) -> bool {
        match name {
            "clang-19" | "ld.lld-19" | "llvm-nm-19" => self.llvm,
            "libclang-19" | "rust-src" | "bindgen" | "rustfmt" | "clippy" => self.rust,
            _ => true,
        }
    }
}

/// How a tool is detected and installed.
enum Kind {
    /// A program that prints its version, from packages of a Debian-based distribution.
    Program(&'static [&'static str]),
    /// A C header that has to compile.
    Header(&'static [&'static str]),
    /// A shared library in LLVM's folder.
    Libclang,
    /// A component of rustup with this program.
    Rustup(&'static str),
    /// The standard library's source, of the compiler's version.
    RustSrc,
    /// A program in the cache or in `PATH`.
    Own(Own),
}

/// A program that the tool installs into the cache.
#[derive(Clone, Copy)]
enum Own {
    Bindgen,
    B4,
}

struct Spec {
    name: &'static str,
    need: Need,
    kind: Kind,
}

const fn spec(name: &'static str, need: Need, kind: Kind) -> Spec {
    Spec { name, need, kind }
}

/// All tools, in the order of output and installation.
const SPECS: &[Spec] = {
    use Kind::{Header, Libclang, Program, RustSrc, Rustup};
    use Need::{Assemble, Check, Full, Host, Kernel, Qemu, Send};
    &[
        spec("git", Assemble, Program(&["git"])),
        spec("curl", Assemble, Program(&["curl", "ca-certificates"])),
        spec("make", Kernel, Program(&["make"])),
        spec("gcc", Kernel, Program(&["gcc", "libc6-dev"])),
        spec("clang-19", Kernel, Program(&["clang-19"])),
        spec("ld.lld-19", Kernel, Program(&["lld-19"])),
        spec("llvm-nm-19", Kernel, Program(&["llvm-19"])),
        spec("libclang-19", Kernel, Libclang),
        spec("flex", Kernel, Program(&["flex"])),
        spec("bison", Kernel, Program(&["bison"])),
        spec("bc", Kernel, Program(&["bc"])),
        spec("cpio", Kernel, Program(&["cpio"])),
        spec("pahole", Kernel, Program(&["dwarves"])),
        spec("perl", Check, Program(&["perl"])),
        spec("libelf.h", Kernel, Header(&["libelf-dev"])),
        spec("openssl/ssl.h", Kernel, Header(&["libssl-dev"])),
        spec("python3", Kernel, Program(&["python3", "python3-venv"])),
        spec("qemu-system-x86_64", Qemu, Program(&["qemu-system-x86"])),
        spec("sparse", Full, Program(&["sparse"])),
        spec("valgrind", Host, Program(&["valgrind"])),
        spec("rustfmt", Check, Rustup("rustfmt")),
        spec("clippy", Check, Rustup("clippy-driver")),
        spec("rust-src", Kernel, RustSrc),
        spec("bindgen", Kernel, Kind::Own(Own::Bindgen)),
        spec("b4", Send, Kind::Own(Own::B4)),
    ]
};

impl Spec {
    fn packages(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Program(packages) | Kind::Header(packages) => packages,
            Kind::Libclang => &["libclang-19-dev"],
            Kind::Rustup(_) | Kind::RustSrc | Kind::Own(_) => &[],
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    pub name: &'static str,
    pub need: Need,
    /// The version; `None` if the tool is missing.
    pub version: Option<String>,
    /// The command that installs it, if it is missing.
    pub fix: Option<String>,
}

pub fn used(runner: &dyn Runner, cache: &Cache, uses: Uses) -> Vec<Found> {
    let all = SPECS.iter().filter(|spec| uses.uses(spec.name));
    all.map(|spec| look_for(runner, cache, spec)).collect()
}

/// Returns the missing tools that `needs` require. Does not look for others, which takes seconds.
pub fn missing(runner: &dyn Runner, cache: &Cache, needs: &[Need], uses: Uses) -> Vec<Found> {
    let all = SPECS.iter().filter(|spec| needs.contains(&spec.need));
    let all = all.filter(|spec| uses.uses(spec.name));
    let found = all.map(|spec| look_for(runner, cache, spec));
    found.filter(|found| found.version.is_none()).collect()
}

fn look_for(runner: &dyn Runner, cache: &Cache, spec: &Spec) -> Found {
    let version = find(runner, cache, spec);
    let fix = version.is_none().then(|| match spec.kind {
        Kind::Rustup(_) => format!("rustup component add {}", spec.name),
        Kind::RustSrc | Kind::Own(_) => SETUP.to_owned(),
        _ => format!("apt-get install {}", spec.packages().join(" ")),
    });
    Found {
        name: spec.name,
        need: spec.need,
        version,
        fix,
    }
}

pub fn lacking(missing: &[Found]) -> Error {
    let names: Vec<_> = missing.iter().map(|f| f.name).collect();
    let mut fixes: Vec<_> = missing.iter().filter_map(|f| f.fix.as_deref()).collect();
    fixes.dedup();
    fixes.retain(|f| *f != SETUP);
    let mut help = format!("run `{SETUP}`, which installs the tools for all commands");
    if !fixes.is_empty() {
        help += &format!(", or\n{}", fixes.join("\n"));
    }
    Error::new(format!("missing: {}", names.join(", "))).help(help)
}

/// Returns the version of a tool, or "found".
fn find(runner: &dyn Runner, cache: &Cache, spec: &Spec) -> Option<String> {
    let found = || "found".to_owned();
    match spec.kind {
        Kind::Program(_) => answer(runner, Path::new(spec.name)),
        Kind::Rustup(program) => answer(runner, Path::new(program)),
        Kind::Header(_) => {
            let cmd = Cmd::new("gcc").args(["-E", "-x", "c", "-o", "/dev/null", "-"]);
            let cmd = cmd.stdin(format!("#include <{}>\n", spec.name));
            output(runner, &cmd).map(|_| found())
        }
        Kind::Libclang => {
            let name = format!("libclang-{LLVM}.so");
            let mut files = fs::read_dir(llvm_libraries(runner)?).ok()?.flatten();
            let is_it = |e: fs::DirEntry| e.file_name().to_string_lossy().starts_with(&name);
            files.any(is_it).then(found)
        }
        Kind::Own(own) => {
            let (_, version) = own.find(runner, cache)?;
            Some(version)
        }
        Kind::RustSrc => {
            rust_src::find(runner, cache)?;
            rust_src::compiler(runner)
        }
    }
}

fn output(runner: &dyn Runner, cmd: &Cmd) -> Option<String> {
    let out = runner.run(cmd).ok()?;
    out.ok().then(|| out.text())
}

/// Returns the folder with LLVM's libraries, in which bindgen finds libclang.
fn llvm_libraries(runner: &dyn Runner) -> Option<String> {
    let config = Cmd::new(format!("llvm-config-{LLVM}"));
    output(runner, &config.arg("--libdir"))
}

fn answer(runner: &dyn Runner, program: &Path) -> Option<String> {
    let cmd = Cmd::new(program).arg("--version");
    let text = output(runner, &cmd.timeout(Duration::from_secs(30)))?;
    Some(version_in(&text))
}

/// A version that a word is or ends with, as in `v1.24`, `(19.1.7)` and `valgrind-3.19.0`.
static VERSION: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?:^|[\s(-])v?([0-9][^\s(),;:.]*\.[^\s(),;:]+)"));

/// Returns the first version in a text, or its first line.
fn version_in(text: &str) -> String {
    let found = VERSION.captures(text);
    let version = found.and_then(|found| Some(found.get(1)?.as_str()));
    let version = version.or(text.lines().next());
    version.unwrap_or("found").to_owned()
}

fn is_at_least(version: &str, least: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        let digits = text.split(|c: char| !c.is_ascii_digit());
        digits.map_while(|n| n.parse().ok()).collect()
    };
    numbers(version) >= numbers(least)
}

impl Own {
    /// Returns the name of the program, and its version.
    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Own::Bindgen => ("bindgen", BINDGEN),
            Own::B4 => ("b4", B4),
        }
    }

    /// Returns the folder of the copy in the cache.
    fn home(self, cache: &Cache) -> PathBuf {
        let (name, version) = self.parts();
        cache.path("tools").join(format!("{name}-{version}"))
    }

    /// Returns a suitable copy and its version.
    fn find(self, runner: &dyn Runner, cache: &Cache) -> Option<(PathBuf, String)> {
        let (name, version) = self.parts();
        let fits = |found: &str| match self {
            // Results of `check --full` are exchanged between machines with the same bindgen.
            Own::Bindgen => found == version,
            Own::B4 => is_at_least(found, version),
        };
        let own = self.home(cache).join("bin").join(name);
        let all = [own, PathBuf::from(name)].into_iter();
        let mut all = all.filter_map(|path| answer(runner, &path).map(|version| (path, version)));
        all.find(|(_, version)| fits(version))
    }
}

pub fn b4(runner: &dyn Runner, cache: &Cache) -> Result<PathBuf> {
    let help = format!("run `{SETUP}`, which installs it");
    let found = Own::B4.find(runner, cache).map(|(b4, _)| b4);
    found.ok_or_else(|| Error::new("missing: b4").help(help))
}

/// The settings that pass the tools to the kernel's build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// Options for make: "LLVM=-19", and bindgen's path.
    pub make: Vec<String>,
    pub env: Vec<(String, String)>,
    pub rustc: String,
    /// Whether kernels have to support Rust.
    pub rust: bool,
}

impl Toolchain {
    /// The error lists every missing tool with its installation.
    pub fn find(runner: &dyn Runner, cache: &Cache, needs: &[Need], uses: Uses) -> Result<Self> {
        let missing = missing(runner, cache, needs, uses);
        if !missing.is_empty() {
            return Err(lacking(&missing));
        }
        let mut env = Vec::new();
        if let Some(source) = rust_src::find(runner, cache) {
            env.push(("RUST_LIB_SRC".to_owned(), source.display().to_string()));
        }
        if let Some(libraries) = llvm_libraries(runner) {
            env.push(("LIBCLANG_PATH".to_owned(), libraries));
        }
        let mut make = Vec::new();
        if uses.llvm {
            make.push(format!("LLVM=-{LLVM}"));
        }
        // The kernel's Makefile sets this variable regardless of the environment.
        if let Some((bindgen, _)) = Own::Bindgen.find(runner, cache) {
            make.push(format!("BINDGEN={}", bindgen.display()));
        }
        Ok(Self {
            make,
            env,
            rustc: rust_src::compiler(runner).unwrap_or_default(),
            rust: uses.rust,
        })
    }

    /// Returns what results depend on: the options for make, with versions in place of paths.
    pub fn identity(&self) -> Vec<String> {
        let mut options = self.make.clone();
        if let Some(bindgen) = options.iter_mut().find(|o| o.starts_with("BINDGEN=")) {
            *bindgen = format!("BINDGEN={BINDGEN}");
        }
        options
    }

    pub fn apply(&self, cmd: Cmd) -> Cmd {
        let add = |cmd: Cmd, (key, value): &(String, String)| cmd.env(key, value);
        self.env.iter().fold(cmd, add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::runner::tests::{Fake, not_found};

    #[test]
    fn toolchain_identity_has_no_path() {
        let toolchain = Toolchain {
            make: vec![
                "LLVM=-19".to_owned(),
                "BINDGEN=/cache/bin/bindgen".to_owned(),
            ],
            env: Vec::new(),
            rustc: String::new(),
            rust: true,
        };
        let identity = toolchain.identity();
        assert_eq!(identity, ["LLVM=-19", &format!("BINDGEN={BINDGEN}")]);
    }

    #[test]
    fn version_in_finds_versions() {
        for (text, version) in [
            ("git version 2.47.3", "2.47.3"),
            ("Debian clang version 19.1.7 (3~deb12u1)", "19.1.7"),
            ("v1.24\n", "1.24"),
            ("bindgen 0.72.1", "0.72.1"),
            (
                "gcc (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright",
                "12.2.0-14+deb12u1",
            ),
            ("0.16.0", "0.16.0"),
            ("valgrind-3.19.0", "3.19.0"),
            ("v0.6.4 (Debian: 0.6.4-3)", "0.6.4"),
            ("QEMU emulator version 7.2.22 (Debian 1:7.2)", "7.2.22"),
            ("LLVM (http://llvm.org/):\n  LLVM version 19.1.7", "19.1.7"),
            ("Ubuntu-tool (2.1)", "2.1"),
            (
                "rustfmt 1.8.0-stable (59807616e1 2026-04-14)",
                "1.8.0-stable",
            ),
            ("no number", "no number"),
        ] {
            assert_eq!(version_in(text), version);
        }
    }

    #[test]
    fn version_is_at_least_another() {
        for (version, least, is) in [
            ("0.16.0", "0.16.0", true),
            ("0.16.1", "0.16.0", true),
            ("0.9.2", "0.16.0", false),
            ("1.0", "0.72.1", true),
            ("0.16-dev", "0.16.0", false),
            ("unknown", "0.16.0", false),
        ] {
            assert_eq!(is_at_least(version, least), is, "{version} {least}");
        }
    }

    #[test]
    fn find_asks_needed_tools_only() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let asked = Fake::new(not_found);
        let uses = Uses {
            llvm: true,
            rust: true,
        };
        Toolchain::find(&asked, &cache, &[], uses).unwrap();
        for program in ["b4", "qemu", "valgrind", "clang-19"] {
            let all = asked.lines.lock().unwrap();
            // The folder has a random name, which may contain the name of a program.
            let mut asked = all
                .iter()
                .filter_map(|c| c.split(' ').next()?.rsplit('/').next());
            assert!(!asked.any(|name| name.starts_with(program)), "{all:?}");
        }
    }

    #[test]
    fn missing_tools_have_fixes() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let nothing = Fake::new(not_found);
        const ALL: Uses = Uses {
            llvm: true,
            rust: true,
        };
        let found = used(&nothing, &cache, ALL);
        assert_eq!(found.len(), SPECS.len());
        assert!(found.iter().all(|f| f.version.is_none() && f.fix.is_some()));
        let text = Toolchain::find(&nothing, &cache, &[Need::Qemu], ALL)
            .unwrap_err()
            .to_string();
        insta::assert_snapshot!(text, @r"
        missing: qemu-system-x86_64
          help: run `cargo series setup`, which installs the tools for all commands, or
                apt-get install qemu-system-x86
        ");
        let gcc = Uses {
            llvm: false,
            rust: false,
        };
        let names = |uses| {
            let missing = missing(&nothing, &cache, &[Need::Kernel, Need::Check], uses);
            missing.into_iter().map(|f| f.name).collect::<Vec<_>>()
        };
        let only_for_rust = ["rust-src", "clang-19", "bindgen"];
        for name in names(gcc) {
            assert!(!only_for_rust.contains(&name), "{name}");
            assert!(
                name.starts_with("gcc") || names(ALL).contains(&name),
                "{name}"
            );
        }
        for name in only_for_rust.into_iter().chain(["make", "perl"]) {
            assert!(names(ALL).contains(&name), "{name}");
        }
    }
}
