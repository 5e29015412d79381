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

use super::store::{Key, Store};
use crate::sys::{
    error::{Error, Result},
    files::{read_text, write},
    json::json,
    plural::count,
};

/// The inputs of results that messages name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The name of the base.
    pub base: String,
    /// The tree with all series.
    pub tree: String,
    /// Options and versions of the tools.
    pub tools: Vec<String>,
}

impl Origin {
    /// Returns the reason why `other` has other results.
    fn difference(&self, other: &Self) -> String {
        let mut tools = self.tools.iter().zip(&other.tools);
        if let Some((ours, theirs)) = tools.find(|(ours, theirs)| ours != theirs) {
            let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
            let (ours, theirs) = (first(ours), first(theirs));
            return format!("they were made with {theirs}, and this machine has {ours}");
        }
        match self.tree == other.tree {
            true => "they were made with other files in kunit-configs".to_owned(),
            false => format!(
                "they were made from other series, whose tree is {:.12} instead of {:.12}",
                other.tree, self.tree
            ),
        }
    }
}

/// The content of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    #[serde(flatten)]
    origin: Origin,
    units: Vec<Unit>,
}

/// The result of a unit.
#[derive(Debug, Serialize, Deserialize)]
struct Unit {
    /// The name of the unit: "gpu-buddy 3 um".
    what: String,
    /// The hash of its inputs.
    key: String,
    /// The checksum of name, key and result.
    checksum: String,
    /// The file of the result in the store.
    result: String,
}

impl Unit {
    fn new(what: &str, key: &Key, result: String) -> Self {
        Self {
            checksum: checksum(what, key.as_str(), &result),
            what: what.to_owned(),
            key: key.as_str().to_owned(),
            result,
        }
    }
}

fn checksum(what: &str, key: &str, result: &str) -> String {
    Key::of([what, key, result]).as_str().to_owned()
}

/// Writes results into `file`. Units without a stored result are left out: KUnit that failed.
///
/// # Errors
///
/// The file could not be written.
pub fn export(
    file: &Path,
    origin: Origin,
    store: &Store,
    units: &[(String, Key)],
) -> Result<usize> {
    let mut exported: Vec<Unit> = Vec::new();
    for (what, key) in units {
        if let Some(result) = store.content(key)
            && !exported.iter().any(|unit| unit.key == key.as_str())
        {
            exported.push(Unit::new(what, key, result));
        }
    }
    let number = exported.len();
    let units = exported;
    write(file, &json(&Content { origin, units })?)?;
    Ok(number)
}

/// A file with results that are undamaged.
#[derive(Debug)]
pub struct Results {
    path: PathBuf,
    content: Content,
}

/// Reads files with results, and all such files in folders. `bases` are the bases of the workspace.
///
/// # Errors
///
/// A file is damaged, is not a file with results, or belongs to an unknown base.
pub fn read(paths: &[PathBuf], bases: &[String]) -> Result<Vec<Results>> {
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        find(path, &mut files)?;
        if files.len() == before {
            return Err(Error::new("the folder has no files with results")
                .at(path, None)
                .help("`cargo series check --full --export DIR` writes them"));
        }
    }
    files.sort();
    files
        .into_iter()
        .map(|file| read_one(file, bases))
        .collect()
}

fn find(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(path).map_err(|e| Error::io("read", path, &e))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() || path.extension().is_some_and(|e| e == "json") {
            find(&path, files)?;
        }
    }
    Ok(())
}

fn read_one(path: PathBuf, bases: &[String]) -> Result<Results> {
    let text = read_text(&path).map_err(|e| e.at(&path, None))?;
    let content: Content = serde_json::from_str(&text).map_err(|e| {
        Error::new(format!("not a complete file with results: {e}"))
            .at(&path, None)
            .help("copy the file again, or have its machine write it again")
    })?;
    let is_intact = |unit: &&Unit| unit.checksum == checksum(&unit.what, &unit.key, &unit.result);
    if let Some(unit) = content.units.iter().find(|unit| !is_intact(unit)) {
        return Err(Error::new(format!(
            "checksum mismatch for the result of {:?}",
            unit.what
        ))
        .at(&path, None)
        .help("the file is damaged; copy it again, or have its machine write it again"));
    }
    let base = &content.origin.base;
    if !bases.contains(base) {
        return Err(
            Error::new(format!("has results of {base:?}, which is not a base here"))
                .at(&path, None)
                .help(format!("the bases are: {}", bases.join(", "))),
        );
    }
    Ok(Results { path, content })
}

/// Puts the results of this base into the store. `expected` are the hashes of the units here, by
/// name. Returns the number of results.
///
/// # Errors
///
/// A result has other inputs than the unit has here. Nothing is imported then.
pub fn import(
    files: &[Results],
    origin: &Origin,
    store: &Store,
    expected: &BTreeMap<String, Key>,
) -> Result<usize> {
    let of_base = |file: &&Results| file.content.origin.base == origin.base;
    let mut units = Vec::new();
    for file in files.iter().filter(of_base) {
        let theirs = &file.content;
        let is_foreign = |unit: &&Unit| {
            let key = expected.get(&unit.what);
            key.is_some_and(|key| key.as_str() != unit.key)
        };
        let foreign: Vec<_> = theirs.units.iter().filter(is_foreign).collect();
        if let Some(first) = foreign.first() {
            return Err(Error::new(format!(
                "{} of {} from other inputs, the first for {:?}: {}",
                foreign.len(),
                count(theirs.units.len(), "result is", "results are"),
                first.what,
                origin.difference(&theirs.origin)
            ))
            .at(&file.path, None)
            .help("run all shards on the same commit, in the same image"));
        }
        let known = theirs
            .units
            .iter()
            .filter(|u| expected.contains_key(&u.what));
        units.extend(known);
    }
    for unit in &units {
        store.keep(&expected[&unit.what], &unit.result)?;
    }
    Ok(units.len())
}
