// SPDX-License-Identifier: GPL-2.0

//! Files with results of `check --full`, by which machines exchange them.
//!
//! Each result is in the file under the hash of its inputs and with a checksum. Results are
//! imported only if this checkout gives their units the same hashes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    record::UnitTime,
    store::{Key, Store},
};
use crate::sys::{
    Error, Result,
    files::{list, read_text, write},
    json,
    plural::count,
};

/// The inputs of results that messages name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub base: String,
    /// The tree with all series.
    pub tree: String,
    /// Options and versions of the tools.
    pub tools: Vec<String>,
}

impl Origin {
    fn difference(&self, other: &Self) -> String {
        let mut tools = self.tools.iter().zip(&other.tools);
        if let Some((ours, theirs)) = tools.find(|(ours, theirs)| ours != theirs) {
            let [ours, theirs] = [ours, theirs].map(|tool| tool.lines().next().unwrap_or_default());
            return format!("they were made with {theirs}, and this machine has {ours}");
        }
        if self.tree == other.tree {
            return "they were made with other files in kunit-configs".to_owned();
        }
        let (ours, theirs) = (&self.tree, &other.tree);
        format!(
            "they were made from other series, whose tree is {theirs:.12} instead of {ours:.12}"
        )
    }
}

/// A file with results that are undamaged.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    #[serde(skip)]
    path: PathBuf,
    #[serde(flatten)]
    origin: Origin,
    units: Vec<Unit>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Unit {
    /// The name of the unit: "gpu-buddy 3 um".
    what: String,
    key: Key,
    /// The checksum of name, key and result.
    checksum: Key,
    /// The file of the result in the store.
    result: String,
}

fn checksum(what: &str, key: &Key, result: &str) -> Key {
    Key::of([what, key.as_str(), result])
}

/// Returns the number of results. Units without a stored one are left out: KUnit that failed.
pub fn export(file: &Path, origin: &Origin, store: &Store, units: &[UnitTime]) -> Result<usize> {
    let mut exported: Vec<Unit> = Vec::new();
    for UnitTime { what, key, .. } in units {
        if let Ok(result) = fs::read_to_string(store.file(key))
            && exported.iter().all(|unit| unit.key != *key)
        {
            exported.push(Unit {
                checksum: checksum(what, key, &result),
                what: what.clone(),
                key: key.clone(),
                result,
            });
        }
    }
    let results = Results {
        path: file.to_owned(),
        origin: origin.clone(),
        units: exported,
    };
    json::write(file, &results)?;
    Ok(results.units.len())
}

/// Reads files with results, and all such files in folders. `bases` are the bases of the workspace.
pub fn read(paths: &[PathBuf], bases: &[String]) -> Result<Vec<Results>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.to_owned());
            continue;
        }
        let (mut inside, mut folders) = (Vec::new(), vec![path.clone()]);
        while let Some(folder) = folders.pop() {
            // Unlike below(), this follows links.
            let (below, files): (Vec<_>, Vec<_>) =
                list(&folder)?.into_iter().partition(|path| path.is_dir());
            folders.extend(below);
            inside.extend(files);
        }
        inside.retain(|file| file.extension().is_some_and(|e| e == "json"));
        if inside.is_empty() {
            return Err(Error::new("the folder has no files with results")
                .at(path, None)
                .help("`cargo series check --full --export DIR` writes them"));
        }
        files.extend(inside);
    }
    files.sort();
    let results = files.into_iter().map(|file| read_one(file, bases));
    results.collect()
}

fn read_one(path: PathBuf, bases: &[String]) -> Result<Results> {
    let error = |what: String, help: &str| Error::new(what).at(&path, None).help(help);
    let text = read_text(&path).map_err(|e| e.at(&path, None))?;
    let mut results: Results = serde_json::from_str(&text).map_err(|e| {
        let help = "copy the file again, or have its machine write it again";
        error(format!("not a complete file with results: {e}"), help)
    })?;
    let is_damaged = |unit: &&Unit| unit.checksum != checksum(&unit.what, &unit.key, &unit.result);
    if let Some(unit) = results.units.iter().find(is_damaged) {
        let what = format!("checksum mismatch for the result of {:?}", unit.what);
        let help = "the file is damaged; copy it again, or have its machine write it again";
        return Err(error(what, help));
    }
    let base = &results.origin.base;
    if !bases.contains(base) {
        let what = format!("has results of {base:?}, which is not a base here");
        return Err(error(what, &format!("the bases are: {}", bases.join(", "))));
    }
    results.path = path;
    Ok(results)
}

/// Puts the results of this base into the store. `expected` are the hashes of the units here, by
/// name. Returns the number of results. If one has other inputs than the unit has here, nothing is
/// imported.
pub fn import(
    files: &[Results],
    origin: &Origin,
    store: &Store,
    expected: &BTreeMap<&str, &Key>,
) -> Result<usize> {
    let mut known = Vec::new();
    for file in files.iter().filter(|file| file.origin.base == origin.base) {
        let ours = |unit: &&Unit| expected.contains_key(unit.what.as_str());
        let is_known = |unit: &&Unit| *expected[unit.what.as_str()] == unit.key;
        let (new, foreign): (Vec<_>, Vec<_>) = file.units.iter().filter(ours).partition(is_known);
        known.extend(new);
        if let Some(first) = foreign.first() {
            return Err(Error::new(format!(
                "{} of {} from other inputs, the first for {:?}: {}",
                foreign.len(),
                count(file.units.len(), "result is", "results are"),
                first.what,
                origin.difference(&file.origin)
            ))
            .at(&file.path, None)
            .help("run all shards on the same commit, in the same image"));
        }
    }
    for unit in &known {
        write(&store.file(&unit.key), unit.result.as_bytes())?;
    }
    Ok(known.len())
}
