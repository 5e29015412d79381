// SPDX-License-Identifier: GPL-2.0

//! `setup`: gets what is missing, as far as this machine and user allow.

use std::{
    fs,
    time::Duration, //
};

use super::{
    B4,
    BINDGEN,
    Fix,
    Own,
    SPECS,
    Spec,
    find,
    rust_src, //
};
use crate::{
    base::Sources,
    cache::{
        Cache,
        Resource, //
    },
    error::{
        Error,
        Result, //
    },
    runner::{
        Cmd,
        Runner,
        must, //
    },
    ui::{
        Ui,
        Unit, //
    },
};

/// The Python modules that checkpatch's own helpers use.
const CHECKPATCH_MODULES: &[&str] = &["ply", "GitPython"];

/// Installs what is missing and says what could not be.
///
/// Packages of the distribution are installed where apt is there and the user is root; elsewhere
/// the line that does it is said. Everything else goes into the cache.
///
/// # Errors
///
/// Something is still missing; all of it is listed. What could be installed is.
pub fn setup(runner: &dyn Runner, cache: &Cache, sources: &Sources, ui: &Ui) -> Result<()> {
    if lacking(runner, cache).is_empty() {
        return Ok(());
    }
    let _lock = cache.lock(Resource::Tools, ui)?;
    let mut errors = Vec::new();
    let mut note = |result: Result<()>| errors.extend(result.err());
    note(packages(runner, cache, ui));
    for spec in lacking(runner, cache) {
        match (&spec.fix, spec.name) {
            (Fix::Install, "rust-src") => note(rust_src::install(runner, cache, sources, ui)),
            (Fix::Install, "bindgen") => note(bindgen(runner, cache, ui)),
            (Fix::Install, "b4") => note(b4(runner, cache, ui)),
            (Fix::Rustup(component), _) => {
                let cmd = Cmd::new("rustup").args(["component", "add", component]);
                note(must(runner, &cmd.timeout(Duration::from_secs(120))).map(drop));
            }
            _ => (),
        }
    }
    match Error::all(errors) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn lacking(runner: &dyn Runner, cache: &Cache) -> Vec<&'static Spec> {
    let missing = |s: &&Spec| find(runner, cache, s).is_none();
    SPECS.iter().filter(missing).collect()
}

fn packages(runner: &dyn Runner, cache: &Cache, ui: &Ui) -> Result<()> {
    let mut wanted: Vec<&str> = lacking(runner, cache)
        .iter()
        .filter_map(|s| match &s.fix {
            Fix::Packages(packages) => Some(*packages),
            _ => None,
        })
        .flatten()
        .copied()
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install {}", wanted.join(" "));
    if !rustix::process::geteuid().is_root() {
        return Err(
            Error::new("packages of the distribution are missing").help(format!(
                "as root: {line}\n(on another distribution: its packages of these names)"
            )),
        );
    }
    let apt = |args: &[&str]| {
        Cmd::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=300"])
            .args(args)
    };
    if runner.run(&apt(&["--version"])).is_err() {
        return Err(
            Error::new("programs are missing, and there is no apt-get to get them with").help(
                format!(
                    "install what these packages of Debian hold: {}",
                    wanted.join(" ")
                ),
            ),
        );
    }
    let mut progress = ui.progress(&line, 0, Unit::Things);
    must(runner, &apt(&["update"]).timeout(Duration::from_secs(300)))?;
    let install = apt(&["install", "--yes", "--no-install-recommends"]).args(&wanted);
    let mut last = Vec::new();
    let mut steps = 0;
    let out = runner
        .stream(&install, &mut |text| {
            steps += 1;
            progress.set(steps, text);
            last.push(text.to_owned());
        })
        .map_err(|e| crate::runner::not_started(&install, &e))?;
    progress.done();
    if !out.ok() {
        let tail = last[last.len().saturating_sub(10)..].join("\n");
        return Err(Error::new(format!("`{line}` failed")).detail(tail));
    }
    Ok(())
}

fn bindgen(runner: &dyn Runner, cache: &Cache, ui: &Ui) -> Result<()> {
    let home = Own::Bindgen.home(cache);
    let made = cache.scratch()?;
    let mut progress = ui.progress(&format!("building bindgen {BINDGEN}"), 0, Unit::Things);
    let cmd = Cmd::new("cargo")
        .args([
            "install",
            "--locked",
            "--no-track",
            "bindgen-cli",
            "--version",
            BINDGEN,
        ])
        .arg("--root")
        .arg(made.path())
        // The checkout's own settings are not bindgen's.
        .dir(made.path())
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS");
    let mut said = Vec::new();
    let out = runner
        .stream(&cmd, &mut |line| {
            progress.add(u64::from(line.trim_start().starts_with("Compiling")));
            said.push(line.to_owned());
        })
        .map_err(|e| crate::runner::not_started(&cmd, &e))?;
    progress.done();
    if !out.ok() {
        let tail = said[said.len().saturating_sub(10)..].join("\n");
        return Err(Error::new(format!("`{}` failed", cmd.line())).detail(tail));
    }
    let _ = fs::remove_dir_all(&home);
    fs::rename(made.path(), &home).map_err(|e| Error::io("keep", &home, &e))
}

/// b4 in an environment of its own. Such an environment holds its own path, so it is made in
/// place; b4 itself comes last, and is what it is known by.
fn b4(runner: &dyn Runner, cache: &Cache, ui: &Ui) -> Result<()> {
    let home = Own::B4.home(cache);
    ui.say(format!("installing b4 {B4} …"));
    let _ = fs::remove_dir_all(&home);
    let venv = Cmd::new("python3").args(["-m", "venv"]).arg(&home);
    must(runner, &venv).map_err(|e| e.help("on Debian: apt-get install python3-venv"))?;
    let pip = || {
        Cmd::new(home.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check"])
    };
    must(runner, &pip().args(CHECKPATCH_MODULES))?;
    must(runner, &pip().arg(format!("b4=={B4}"))).map(drop)
}
