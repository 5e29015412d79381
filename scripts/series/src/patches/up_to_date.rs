// SPDX-License-Identifier: GPL-2.0

//! Detects that `assemble` has nothing to do, because its input, output and branches are unchanged.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    git::{Git, Identity, damage, refs},
    patches::output::Report,
    source::workspace::Workspace,
    sys::{
        error::Result,
        files::{read_file, write},
        hash::hex,
        json::json,
        runner::{failed, must},
    },
};

/// The age in seconds at which branches are recreated, well before b4's limit of a year.
pub const STALE: u64 = 180 * 24 * 3600;

/// The file name of the stamp in the output folder.
const FILE: &str = "assembled.json";

/// A hash of the input of `assemble`, computed before the input is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input(String);

/// The state after the last `assemble`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    /// A hash of the input.
    input: String,
    /// A hash of the output.
    output: String,
    /// The created branches and the refs of the bases.
    refs: String,
    /// The time in seconds since the epoch. b4 ignores old branches.
    when: u64,
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| d.as_secs())
}

/// Whether `assemble` would change nothing.
///
/// # Errors
///
/// Fails if git fails.
pub fn holds(ws: &Workspace, git: &Git<'_>, who: &Identity, report: &Report) -> Result<bool> {
    let stamp = read_file(&ws.path(ws.below_out(FILE))).ok();
    let stamp: Option<Stamp> = stamp.and_then(|text| serde_json::from_slice(&text).ok());
    let Some(stamp) = stamp else {
        return Ok(false);
    };
    Ok(now().saturating_sub(stamp.when) < STALE
        && stamp.input == input(ws, who).0
        && stamp.output == output(ws, report)
        && stamp.refs == refs(git)?)
}

/// Records a finished `assemble`.
///
/// # Errors
///
/// Fails if git fails, or if the stamp cannot be written.
pub fn record(ws: &Workspace, git: &Git<'_>, read: Input, report: &Report) -> Result<()> {
    let stamp = Stamp {
        input: read.0,
        output: output(ws, report),
        refs: refs(git)?,
        when: now(),
    };
    write(&ws.path(ws.below_out(FILE)), &json(&stamp)?)
}

fn refs(git: &Git<'_>) -> Result<String> {
    let refs = [refs::B4, refs::BASES];
    let args = ["for-each-ref", "--format=%(objectname) %(refname)"];
    let cmd = git.cmd(args).args(refs);
    let out = must(git.runner(), &cmd)?;
    // git skips refs that it cannot read, and succeeds.
    match damage::is_damage(&out.complaint()) {
        true => Err(failed(&cmd, &out)),
        false => Ok(out.text()),
    }
}

/// Hashes the input of `assemble`.
pub fn input(ws: &Workspace, who: &Identity) -> Input {
    let mut hash = Sha256::new();
    hash.update(format!("{}\0{}\0", who.ident(), who.set));
    // Another version of the tool may create different patches.
    let program = std::env::current_exe().and_then(|exe| exe.metadata());
    let program = program.and_then(|m| Ok((m.len(), m.modified()?)));
    hash.update(format!("{program:?}\0"));
    for (name, commits) in ws.branches().into_iter().flatten() {
        let commits = commits.iter().map(|c| c.commit.as_str());
        hash.update(format!(
            "{name}\0{}\0",
            commits.collect::<Vec<_>>().join(" ")
        ));
    }
    let mut paths = vec![PathBuf::from("series"), PathBuf::from("cover-letters")];
    let folders = ws.folders("series", "").into_iter();
    let manifests = folders.filter_map(|dir| fs::read_dir(ws.path(dir)).ok());
    let manifests = manifests.flatten().flatten();
    let mut names: Vec<_> = manifests
        .map(|e| e.path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .filter_map(|path| component_of(&path))
        .collect();
    names.sort();
    names.dedup();
    for name in names {
        let below = ["tree", "edits", "on", "relocation.toml", "CHANGELOG.md"];
        paths.extend(below.map(|b| name.join(b)));
    }
    digest(ws, &paths, &mut hash);
    Input(hex(hash.finalize()))
}

/// Returns the folder of the component that a manifest belongs to.
fn component_of(manifest: &Path) -> Option<PathBuf> {
    let name = manifest.file_stem().map(PathBuf::from);
    let text = read_file(manifest).unwrap_or_default();
    let table: Option<toml::Table> = toml::from_str(&String::from_utf8_lossy(&text)).ok();
    let component = table.and_then(|t| Some(PathBuf::from(t.get("component")?.as_str()?)));
    // The default is the folder named like the series. `assemble` reports an unreadable manifest.
    component.or(name)
}

fn output(ws: &Workspace, report: &Report) -> String {
    let mut hash = Sha256::new();
    let mut paths = vec![ws.below_out("series.json")];
    for series in &report.series {
        let out = ws.below_out(&series.name);
        let version = series.version;
        paths.push(out.join(format!("v{version}")));
        paths.push(out.join(format!("v{version}.mbox")));
        paths.push(out.join(format!("v{version}.with-deps.mbox")));
    }
    let tree = ws.path(ws.below_out("tree"));
    let target = fs::read_link(&tree).ok();
    hash.update(format!("{target:?} {}\0", tree.is_dir()));
    digest(ws, &paths, &mut hash);
    hex(hash.finalize())
}

/// Hashes names, modes and contents of files and folders, sorted by name.
fn digest(ws: &Workspace, paths: &[PathBuf], hash: &mut Sha256) {
    for below in paths {
        let path = ws.path(below);
        hash.update(format!("{}\0", below.display()));
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            let mut names: Vec<_> = entries.map(|e| below.join(e.file_name())).collect();
            names.sort();
            digest(ws, &names, hash);
            continue;
        }
        let mode = std::os::unix::fs::PermissionsExt::mode(&meta.permissions());
        let content = match meta.is_symlink() {
            true => Vec::new(),
            // `assemble` reports files that cannot be read.
            false => read_file(&path).unwrap_or_default(),
        };
        hash.update(format!("{mode:o} {}\0", content.len()));
        hash.update(&content);
    }
}
