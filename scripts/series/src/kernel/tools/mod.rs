// SPDX-License-Identifier: GPL-2.0

//! The required programs: their presence and version, and how to install them.

mod install;
mod rust_src;

pub use self::install::setup;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use crate::sys::{
    cache::Cache,
    error::{Error, Result},
    runner::{Cmd, Runner},
};

/// The LLVM that the series are built and measured with.
pub const LLVM: &str = "19";
/// The bindgen version that the kernel requires.
pub const BINDGEN: &str = "0.72.1";
/// The b4 whose file formats this tool writes.
pub const B4: &str = "0.16.0";

/// The command that installs missing tools.
const SETUP: &str = "cargo series setup";

/// The purpose of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// Assembling patches.
    Assemble,
    /// Building and running the kernel.
    Kernel,
    /// Running an x86_64 kernel.
    Qemu,
    /// Checking patches.
    Check,
    /// Compiling each patch with every checker.
    Full,
    /// Writing mails.
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
            Need::Send => "send",
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
    /// Returns whether a tool is used.
    fn uses(self, name: &str) -> bool {
        match name {
            "clang-19" | "ld.lld-19" | "llvm-nm-19" => self.llvm,
            "libclang-19" | "rust-src" | "bindgen" | "rustfmt" | "clippy" => self.rust,
            _ => true,
        }
    }
}

/// How a tool is detected.
enum Probe {
    /// A program whose output contains its version.
    Program(&'static str, &'static [&'static str]),
    /// A C header that has to compile.
    Header(&'static str),
    /// A shared library in LLVM's folder.
    Libclang,
    /// A program in the cache or in `PATH`: bindgen of this version, b4 of this one or a later one.
    Own(Own, &'static str),
    /// The standard library's source, of the compiler's version.
    RustSrc,
}

#[derive(Clone, Copy)]
enum Own {
    Bindgen,
    B4,
}

/// How a tool is installed.
enum Fix {
    /// With these packages of a Debian-based distribution.
    Packages(&'static [&'static str]),
    /// By the tool itself, into the cache.
    Install,
    /// With rustup.
    Rustup(&'static str),
}

struct Spec {
    name: &'static str,
    need: Need,
    probe: Probe,
    fix: Fix,
}

const fn program(
    name: &'static str,
    need: Need,
    packages: &'static [&'static str],
    args: &'static [&'static str],
) -> Spec {
    Spec {
        name,
        need,
        probe: Probe::Program(name, args),
        fix: Fix::Packages(packages),
    }
}

const fn header(name: &'static str, packages: &'static [&'static str]) -> Spec {
    Spec {
        name,
        need: Need::Kernel,
        probe: Probe::Header(name),
        fix: Fix::Packages(packages),
    }
}

/// All tools, in the order of output and installation.
const SPECS: &[Spec] = &[
    program("git", Need::Assemble, &["git"], &["--version"]),
    program(
        "curl",
        Need::Assemble,
        &["curl", "ca-certificates"],
        &["--version"],
    ),
    program("make", Need::Kernel, &["make"], &["--version"]),
    program("gcc", Need::Kernel, &["gcc", "libc6-dev"], &["--version"]),
    program("clang-19", Need::Kernel, &["clang-19"], &["--version"]),
    program("ld.lld-19", Need::Kernel, &["lld-19"], &["--version"]),
    program("llvm-nm-19", Need::Kernel, &["llvm-19"], &["--version"]),
    Spec {
        name: "libclang-19",
        need: Need::Kernel,
        probe: Probe::Libclang,
        fix: Fix::Packages(&["libclang-19-dev"]),
    },
    program("flex", Need::Kernel, &["flex"], &["--version"]),
    program("bison", Need::Kernel, &["bison"], &["--version"]),
    program("bc", Need::Kernel, &["bc"], &["--version"]),
    program("cpio", Need::Kernel, &["cpio"], &["--version"]),
    program("pahole", Need::Kernel, &["dwarves"], &["--version"]),
    program("perl", Need::Check, &["perl"], &["-e", "print $^V"]),
    header("libelf.h", &["libelf-dev"]),
    header("openssl/ssl.h", &["libssl-dev"]),
    program(
        "python3",
        Need::Kernel,
        &["python3", "python3-venv"],
        &["--version"],
    ),
    program(
        "qemu-system-x86_64",
        Need::Qemu,
        &["qemu-system-x86"],
        &["--version"],
    ),
    program("sparse", Need::Full, &["sparse"], &["--version"]),
    program("valgrind", Need::Host, &["valgrind"], &["--version"]),
    Spec {
        name: "rustfmt",
        need: Need::Check,
        probe: Probe::Program("rustfmt", &["--version"]),
        fix: Fix::Rustup("rustfmt"),
    },
    Spec {
        name: "clippy",
        need: Need::Check,
        probe: Probe::Program("clippy-driver", &["--version"]),
        fix: Fix::Rustup("clippy"),
    },
    Spec {
        name: "rust-src",
        need: Need::Kernel,
        probe: Probe::RustSrc,
        fix: Fix::Install,
    },
    Spec {
        name: "bindgen",
        need: Need::Kernel,
        probe: Probe::Own(Own::Bindgen, BINDGEN),
        fix: Fix::Install,
    },
    Spec {
        name: "b4",
        need: Need::Send,
        probe: Probe::Own(Own::B4, B4),
        fix: Fix::Install,
    },
];

/// The state of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    pub name: &'static str,
    pub need: Need,
    /// The version; `None` if the tool is missing.
    pub version: Option<String>,
    /// The command that installs it, if it is missing.
    pub fix: Option<String>,
}

/// Looks for the tools that a workspace uses.
pub fn used(runner: &dyn Runner, cache: &Cache, uses: Uses) -> Vec<Found> {
    let all = SPECS.iter().filter(|spec| uses.uses(spec.name));
    all.map(|spec| look_for(runner, cache, spec)).collect()
}

/// Returns the missing tools that `needs` require. Does not look for others, which takes seconds.
pub fn missing(runner: &dyn Runner, cache: &Cache, needs: &[Need], uses: Uses) -> Vec<Found> {
    let wanted = |spec: &&Spec| needs.contains(&spec.need) && uses.uses(spec.name);
    let found = SPECS.iter().filter(wanted);
    found
        .map(|spec| look_for(runner, cache, spec))
        .filter(|found| found.version.is_none())
        .collect()
}

fn look_for(runner: &dyn Runner, cache: &Cache, spec: &Spec) -> Found {
    let version = find(runner, cache, spec);
    let fix = version.is_none().then(|| match &spec.fix {
        Fix::Packages(packages) => format!("apt-get install {}", packages.join(" ")),
        Fix::Install => SETUP.to_owned(),
        Fix::Rustup(component) => format!("rustup component add {component}"),
    });
    Found {
        name: spec.name,
        need: spec.need,
        version,
        fix,
    }
}

/// Creates the error for missing tools.
pub fn lacking(missing: &[Found]) -> Error {
    let names: Vec<_> = missing.iter().map(|f| f.name).collect();
    let mut fixes: Vec<_> = missing.iter().filter_map(|f| f.fix.clone()).collect();
    fixes.dedup();
    fixes.retain(|f| f != SETUP);
    let by_hand = match fixes.is_empty() {
        true => String::new(),
        false => format!(", or\n{}", fixes.join("\n")),
    };
    Error::new(format!("missing: {}", names.join(", "))).help(format!(
        "run `{SETUP}`, which installs the tools for all commands{by_hand}"
    ))
}

fn find(runner: &dyn Runner, cache: &Cache, spec: &Spec) -> Option<String> {
    match &spec.probe {
        Probe::Program(name, args) => answer(runner, Path::new(name), args),
        Probe::Header(name) => {
            let source = format!("#include <{name}>\n");
            let cmd = Cmd::new("gcc").args(["-E", "-x", "c", "-o", "/dev/null", "-"]);
            let out = runner.run(&cmd.stdin(source)).ok()?;
            out.ok().then(|| "found".to_owned())
        }
        Probe::Libclang => {
            let folder = llvm_libraries(runner)?;
            let name = format!("libclang-{LLVM}.so");
            let mut files = std::fs::read_dir(folder).ok()?.flatten();
            let found = files.any(|e| e.file_name().to_string_lossy().starts_with(&name));
            found.then(|| "found".to_owned())
        }
        Probe::Own(own, version) => own
            .find(runner, cache, version)
            .map(|_| (*version).to_owned()),
        Probe::RustSrc => {
            rust_src::find(runner, cache)?;
            rust_src::compiler(runner)
        }
    }
}

/// Returns the folder with LLVM's libraries, in which bindgen finds libclang.
fn llvm_libraries(runner: &dyn Runner) -> Option<PathBuf> {
    let cmd = Cmd::new(format!("llvm-config-{LLVM}")).arg("--libdir");
    let out = runner.run(&cmd).ok()?;
    out.ok().then(|| PathBuf::from(out.text()))
}

fn answer(runner: &dyn Runner, program: &Path, args: &[&str]) -> Option<String> {
    let cmd = Cmd::new(program)
        .args(args)
        .timeout(Duration::from_secs(30));
    let out = runner.run(&cmd).ok()?;
    out.ok().then(|| version_in(&out.text()))
}

/// Returns the first version among the words of a text, or its first line.
fn version_in(text: &str) -> String {
    let version = text.split_whitespace().find_map(version_of);
    let found = version.or(text.lines().next()).unwrap_or("found");
    found.to_owned()
}

/// Returns the version that a word is or ends with, as in `v1.24`, `(19.1.7)` and
/// `valgrind-3.19.0`.
fn version_of(word: &str) -> Option<&str> {
    let numbered = |w: &&str| w.starts_with(|c: char| c.is_ascii_digit()) && w.contains('.');
    let word = word.trim_matches(['(', ')', ',', ';', ':']);
    // The part after a name and a dash, unless the version itself contains the dash.
    let ends = word.match_indices('-').map(|(at, _)| &word[at + 1..]);
    let all = std::iter::once(word).chain(ends);
    all.map(|w| w.strip_prefix('v').unwrap_or(w)).find(numbered)
}

/// Whether a version is `least` or a later one.
fn is_at_least(version: &str, least: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        let digits = text.split(|c: char| !c.is_ascii_digit());
        digits.map_while(|n| n.parse().ok()).collect()
    };
    numbers(version) >= numbers(least)
}

impl Own {
    fn program(self) -> &'static str {
        match self {
            Own::Bindgen => "bindgen",
            Own::B4 => "b4",
        }
    }

    /// Returns the folder of the copy in the cache.
    fn home(self, cache: &Cache) -> PathBuf {
        cache.path("tools").join(match self {
            Own::Bindgen => format!("bindgen-{BINDGEN}"),
            Own::B4 => format!("b4-{B4}"),
        })
    }

    fn find(self, runner: &dyn Runner, cache: &Cache, version: &str) -> Option<PathBuf> {
        let own = self.home(cache).join("bin").join(self.program());
        let fits = |found: String| match self {
            // Results of `check --full` are exchanged between machines with the same bindgen.
            Own::Bindgen => found == version,
            Own::B4 => is_at_least(&found, version),
        };
        [own, PathBuf::from(self.program())]
            .into_iter()
            .find(|p| answer(runner, p, &["--version"]).is_some_and(fits))
    }
}

/// Finds b4.
///
/// # Errors
///
/// It is missing.
pub fn b4(runner: &dyn Runner, cache: &Cache) -> Result<PathBuf> {
    let found = Own::B4.find(runner, cache, B4);
    found.ok_or_else(|| Error::new("missing: b4").help(format!("run `{SETUP}`, which installs it")))
}

/// The settings that pass the tools to the kernel's build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// Options for make: "LLVM=-19", and bindgen's path.
    pub make: Vec<String>,
    /// The environment of the build.
    pub env: Vec<(String, String)>,
    /// The compiler's version.
    pub rustc: String,
    /// Whether kernels have to support Rust.
    pub rust: bool,
}

impl Toolchain {
    /// Finds the tools that a build needs.
    ///
    /// # Errors
    ///
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
            env.push(("LIBCLANG_PATH".to_owned(), libraries.display().to_string()));
        }
        let mut make = Vec::new();
        if uses.llvm {
            make.push(format!("LLVM=-{LLVM}"));
        }
        // The kernel's Makefile sets this variable regardless of the environment.
        if let Some(bindgen) = Own::Bindgen.find(runner, cache, BINDGEN) {
            make.push(format!("BINDGEN={}", bindgen.display()));
        }
        Ok(Self {
            make,
            env,
            rustc: rust_src::compiler(runner).unwrap_or_default(),
            rust: uses.rust,
        })
    }

    /// Returns what results depend on: the options for make, with versions in place of paths, which
    /// differ between machines.
    pub fn identity(&self) -> Vec<String> {
        let portable = |option: &String| match option.starts_with("BINDGEN=") {
            true => format!("BINDGEN={BINDGEN}"),
            false => option.clone(),
        };
        self.make.iter().map(portable).collect()
    }

    /// Adds the environment to a command.
    pub fn apply(&self, cmd: Cmd) -> Cmd {
        self.env
            .iter()
            .fold(cmd, |cmd, (key, value)| cmd.env(key, value))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

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
        #[derive(Default)]
        struct Asked(Mutex<Vec<String>>);
        impl Runner for Asked {
            fn run(&self, cmd: &Cmd) -> std::io::Result<crate::sys::runner::Output> {
                self.0.lock().unwrap().push(cmd.line());
                Err(std::io::ErrorKind::NotFound.into())
            }
        }
        let asked = Asked::default();
        let uses = Uses {
            llvm: true,
            rust: true,
        };
        Toolchain::find(&asked, &cache, &[], uses).unwrap();
        for program in ["b4", "qemu", "valgrind", "clang-19"] {
            let all = asked.0.lock().unwrap();
            assert!(!all.iter().any(|c| c.contains(program)), "{all:?}");
        }
    }

    #[test]
    fn missing_tools_have_fixes() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        struct Nothing;
        impl Runner for Nothing {
            fn run(&self, _: &Cmd) -> std::io::Result<crate::sys::runner::Output> {
                Err(std::io::ErrorKind::NotFound.into())
            }
        }
        const ALL: Uses = Uses {
            llvm: true,
            rust: true,
        };
        let found = used(&Nothing, &cache, ALL);
        assert_eq!(found.len(), SPECS.len());
        assert!(found.iter().all(|f| f.version.is_none() && f.fix.is_some()));
        let text = Toolchain::find(&Nothing, &cache, &[Need::Qemu], ALL)
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
            let missing = missing(&Nothing, &cache, &[Need::Kernel, Need::Check], uses);
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
