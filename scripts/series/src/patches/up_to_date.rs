// SPDX-License-Identifier: GPL-2.0

//! Detects that `assemble` has nothing to do, because its input, output and branches are unchanged.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    git::{Git, Identity, damage, refs},
    patches::output::Report,
    source::workspace::Workspace,
    sys::{
        Result, failed,
        files::{list, read_file},
        hash::hex,
        json, must,
    },
};

/// The age in seconds at which branches are recreated, well before b4's limit of a year.
pub const STALE: u64 = 180 * 24 * 3600;

/// The file name of the stamp in the output folder.
const FILE: &str = "assembled.json";

/// The state after the last `assemble`.
#[derive(Serialize, Deserialize)]
struct Stamp {
    input: String,
    output: String,
    /// The created branches and the refs of the bases.
    refs: String,
    /// The time in seconds since the epoch. b4 ignores old branches.
    when: u64,
}

pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| d.as_secs())
}

/// Whether `assemble` would change nothing.
pub fn holds(ws: &Workspace, git: &Git<'_>, who: &Identity, report: &Report) -> Result<bool> {
    let Some(stamp) = json::read::<Stamp>(&ws.path(ws.below_out(FILE))) else {
        return Ok(false);
    };
    Ok(now().saturating_sub(stamp.when) < STALE
        && stamp.input == input(ws, who)
        && stamp.output == output(ws, report)
        && stamp.refs == refs(git)?)
}

/// Records a finished `assemble`. `input` is the hash from before the input was read.
pub fn record(ws: &Workspace, git: &Git<'_>, input: String, report: &Report) -> Result<()> {
    let stamp = Stamp {
        input,
        output: output(ws, report),
        refs: refs(git)?,
        when: now(),
    };
    json::write(&ws.path(ws.below_out(FILE)), &stamp)
}

fn refs(git: &Git<'_>) -> Result<String> {
    let args = ["for-each-ref", "--format=%(objectname) %(refname)"];
    let cmd = git.cmd(args).args([refs::B4, refs::BASES]);
    let out = must(git.runner(), &cmd)?;
    // git skips refs that it cannot read, and succeeds.
    if damage::is_damage(&out.complaint()) {
        return Err(failed(&cmd, &out));
    }
    Ok(out.text())
}

pub fn input(ws: &Workspace, who: &Identity) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{}\0{}\0", who.ident(), who.set));
    // Another version of the tool may create different patches.
    let program = std::env::current_exe().and_then(|exe| exe.metadata());
    let program = program.and_then(|m| Ok((m.len(), m.modified()?)));
    hash.update(format!("{program:?}\0"));
    for (name, commits) in ws.branches().into_iter().flatten() {
        let commits: Vec<&str> = commits.iter().map(|c| c.commit.as_str()).collect();
        hash.update(format!("{name}\0{}\0", commits.join(" ")));
    }
    let mut paths = vec![PathBuf::from("series"), PathBuf::from("cover-letters")];
    for folder in list(ws.root()).unwrap_or_default() {
        if folder.ends_with("out") {
            continue;
        }
        let of_component = ["tree", "edits", "on", "relocation.toml", "CHANGELOG.md"];
        let of_component = of_component.map(|below| folder.join(below)).into_iter();
        let of_component = of_component.filter(|path| path.exists());
        paths.extend(of_component.map(|path| ws.shown(&path).to_owned()));
    }
    digest(ws, &paths, &mut hash);
    hex(hash.finalize())
}

fn output(ws: &Workspace, report: &Report) -> String {
    let mut hash = Sha256::new();
    let mut paths = vec![ws.below_out("series.json")];
    for series in &report.series {
        let files = ["", ".mbox", ".with-deps.mbox"].into_iter();
        let files = files.map(|end| format!("{}/v{}{end}", series.name, series.version));
        paths.extend(files.map(|file| ws.below_out(file)));
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
            let inside = list(&path).unwrap_or_default();
            let inside: Vec<PathBuf> = inside.iter().map(|p| ws.shown(p).to_owned()).collect();
            digest(ws, &inside, hash);
            continue;
        }
        let mut content = Vec::new();
        if !meta.is_symlink() {
            // `assemble` reports files that cannot be read.
            content = read_file(&path).unwrap_or_default();
        }
        let mode = meta.permissions().mode();
        hash.update(format!("{mode:o} {}\0", content.len()));
        hash.update(&content);
    }
}
