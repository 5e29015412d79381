// SPDX-License-Identifier: GPL-2.0

//! `setup`: installs missing tools, as far as the machine and the user allow.

use std::{collections::BTreeSet, fs, time::Duration};

use super::{B4, BINDGEN, Kind, Own, SPECS, Spec, Uses, find, rust_src};
use crate::{
    kernel::base::Sources,
    sys::{
        Cmd, Error, Result, Runner,
        cache::{Cache, Resource},
        files::write,
        must,
        ui::{Progress, Ui, Unit},
    },
};

/// Build dependencies of [`PACKAGES`].
const BUILD_PACKAGES: &str = include_str!("../../../python/build.txt");
/// b4 with its dependencies, and the modules that checkpatch's helpers import.
const PACKAGES: &str = include_str!("../../../python/b4.txt");

/// Root installs distribution packages through apt, after `yes` or an answer at the terminal; for
/// other users, the error contains the apt-get command. All other tools go to the cache.
pub fn setup(
    runner: &dyn Runner,
    cache: &Cache,
    sources: &Sources,
    ui: &Ui,
    uses: Uses,
    yes: bool,
) -> Result<()> {
    if lacking(runner, cache, uses).is_empty() {
        return Ok(());
    }
    let _lock = cache.lock(Resource::Tools, ui)?;
    let from_apt = packages(runner, cache, ui, uses, yes);
    let others = lacking(runner, cache, uses).into_iter();
    let others = others.map(|spec| match spec.kind {
        Kind::RustSrc => rust_src::install(runner, cache, sources, ui),
        Kind::Own(Own::Bindgen) => bindgen(runner, cache, ui),
        Kind::Own(Own::B4) => b4(runner, cache, ui),
        Kind::Rustup(_) => rust_src::rustup(runner, spec.name),
        Kind::Program(_) | Kind::Header(_) | Kind::Libclang => Ok(()),
    });
    Error::collect([from_apt].into_iter().chain(others)).map(drop)
}

fn lacking(runner: &dyn Runner, cache: &Cache, uses: Uses) -> Vec<&'static Spec> {
    let missing = |s: &&Spec| uses.uses(s.name) && find(runner, cache, s).is_none();
    SPECS.iter().filter(missing).collect()
}

/// Asks for consent, because packages change the machine for all users.
fn consent(
    root: bool,
    yes: bool,
    line: &str,
    ask: impl FnOnce(&str) -> Option<bool>,
) -> Result<()> {
    let missing = "distribution packages are missing";
    if !root {
        let other = "on another distribution: its packages with these names";
        return Err(Error::new(missing).help(format!("as root: {line}\n({other})")));
    }
    let question = format!("{missing}. Run `{line}`?");
    let answer = if yes { Some(true) } else { ask(&question) };
    match answer {
        Some(true) => Ok(()),
        Some(false) => Err(Error::new(missing).help(format!("to install them: {line}"))),
        None => {
            let what = format!("{missing}, and there is no terminal for a question");
            let help = format!("pass --yes to install them, or run: {line}");
            Err(Error::new(what).help(help))
        }
    }
}

fn packages(runner: &dyn Runner, cache: &Cache, ui: &Ui, uses: Uses, yes: bool) -> Result<()> {
    let missing = lacking(runner, cache, uses).into_iter();
    let wanted: BTreeSet<&str> = missing.flat_map(Spec::packages).copied().collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let wanted: Vec<&str> = wanted.into_iter().collect();
    let names = wanted.join(" ");
    let root = rustix::process::geteuid().is_root();
    let apt = |args: &[&str]| {
        Cmd::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=300"])
            .args(args)
    };
    if root && runner.run(&apt(&["--version"])).is_err() {
        let what = "programs are missing, and apt-get is not available";
        let help = format!("install the contents of these Debian packages: {names}");
        return Err(Error::new(what).help(help));
    }
    let line = format!("apt-get install {names}");
    consent(root, yes, &line, |question| ui.ask(question))?;
    let progress = ui.progress(&line, 0, Unit::Things);
    must(runner, &apt(&["update"]).timeout(Duration::from_secs(300)))?;
    let install = apt(&["install", "--yes", "--no-install-recommends"]).args(&wanted);
    follow(runner, &install, &line, progress, |progress, line| {
        progress.set(progress.at() + 1, line);
    })
}

/// Runs a command that messages call `name`, and shows its progress.
fn follow(
    runner: &dyn Runner,
    cmd: &Cmd,
    name: &str,
    mut progress: Progress,
    show: impl Fn(&mut Progress, &str),
) -> Result<()> {
    let mut said = Vec::new();
    let mut on_line = |line: &str| {
        show(&mut progress, line);
        said.push(line.to_owned());
    };
    let out = runner.follow(cmd, &mut on_line)?;
    progress.done();
    if out.ok() {
        return Ok(());
    }
    let tail = said[said.len().saturating_sub(10)..].join("\n");
    Err(Error::new(format!("`{name}` failed")).detail(tail))
}

/// Builds bindgen. cargo verifies the crate against the hash in the registry's index, and its
/// dependencies against the lock file in the crate.
fn bindgen(runner: &dyn Runner, cache: &Cache, ui: &Ui) -> Result<()> {
    let home = Own::Bindgen.home(cache);
    let made = cache.scratch()?;
    let cmd = Cmd::new("cargo")
        .args(["install", "--locked", "--no-track", "bindgen-cli"])
        .args(["--version", BINDGEN, "--root"])
        .arg(made.path())
        // The settings of the checkout must not apply to bindgen.
        .dir(made.path())
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS");
    let progress = ui.progress(&format!("building bindgen {BINDGEN}"), 0, Unit::Things);
    follow(runner, &cmd, &cmd.line(), progress, |progress, line| {
        progress.add(u64::from(line.trim_start().starts_with("Compiling")));
    })?;
    let _ = fs::remove_dir_all(&home);
    fs::rename(made.path(), &home).map_err(|e| Error::io("keep", &home, &e))
}

/// Installs b4 into its own environment. An environment contains its path, so it is created in
/// place. b4 comes last, because its presence marks a complete environment.
fn b4(runner: &dyn Runner, cache: &Cache, ui: &Ui) -> Result<()> {
    let home = Own::B4.home(cache);
    ui.say(format!("installing b4 {B4} …"));
    let _ = fs::remove_dir_all(&home);
    let venv = Cmd::new("python3").args(["-m", "venv"]).arg(&home);
    must(runner, &venv).map_err(|e| e.help("on Debian: apt-get install python3-venv"))?;
    let lists = cache.scratch()?;
    for (name, packages) in [("build.txt", BUILD_PACKAGES), ("b4.txt", PACKAGES)] {
        let list = lists.path().join(name);
        write(&list, packages.as_bytes())?;
        // With hashes, pip rejects unlisted packages. An isolated build would fetch unlisted tools.
        let pip = Cmd::new(home.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(["--require-hashes", "--no-build-isolation"])
            .args(["--only-binary", ":all:", "--no-binary", "dkimpy"])
            .arg("--requirement")
            .arg(list);
        must(runner, &pip)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::runner::tests::{Fake, succeeds};

    /// Parses a list into packages and the number of hashes of each.
    fn pins(list: &str) -> Vec<(&str, usize)> {
        let mut pins: Vec<(&str, usize)> = Vec::new();
        for line in list.lines().filter(|l| !l.starts_with('#')) {
            let line = line.trim_end_matches(" \\");
            match (
                line.trim_start().strip_prefix("--hash=sha256:"),
                pins.last_mut(),
            ) {
                (Some(hash), Some(last)) => {
                    assert_eq!(hash.len(), 64, "{line}");
                    last.1 += 1;
                }
                _ => pins.push((line, 0)),
            }
        }
        pins
    }

    #[test]
    fn python_lists_pin_version_and_hash() {
        let all = [pins(BUILD_PACKAGES), pins(PACKAGES)].concat();
        for (name, hashes) in &all {
            assert!(name.contains("==") && *hashes > 0, "{name}: {hashes}");
        }
        let b4 = format!("b4=={B4}");
        assert!(all.iter().any(|(name, _)| *name == b4), "{all:?}");
        // Modules that checkpatch.pl's helpers import.
        for module in ["ply==", "gitpython=="] {
            assert!(all.iter().any(|(n, _)| n.starts_with(module)), "{module}");
        }
    }

    #[test]
    fn b4_is_installed_by_hash() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let calls = Fake::new(|_| succeeds(""));
        b4(&calls, &cache, &Ui::detect(true)).unwrap();
        let calls = calls.lines.into_inner().unwrap();
        let pip: Vec<_> = calls.iter().filter(|c| c.contains("bin/pip ")).collect();
        assert_eq!(pip.len(), 2, "{calls:?}");
        for call in pip {
            assert!(call.contains(" --require-hashes "), "{call}");
            assert!(call.contains(" --no-build-isolation "), "{call}");
            assert!(!call.contains("=="), "{call}");
        }
    }

    #[test]
    fn consent_needs_root_and_yes() {
        let line = "apt-get install x";
        let never = |_: &str| panic!("asked");
        assert!(consent(true, true, line, never).is_ok());
        assert!(consent(true, false, line, |_| Some(true)).is_ok());
        let says = |root, yes, answer| {
            let result = consent(root, yes, line, |_| answer);
            result.unwrap_err().to_string()
        };
        insta::assert_snapshot!(says(true, false, Some(false)), @"
        distribution packages are missing
          help: to install them: apt-get install x
        ");
        insta::assert_snapshot!(says(true, false, None), @"
        distribution packages are missing, and there is no terminal for a question
          help: pass --yes to install them, or run: apt-get install x
        ");
        insta::assert_snapshot!(says(false, true, Some(true)), @"
        distribution packages are missing
          help: as root: apt-get install x
                (on another distribution: its packages with these names)
        ");
    }
}
