// SPDX-License-Identifier: GPL-2.0

//! Stores results under the hash of all their inputs, and their durations.

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use sha2::{Digest, Sha256};

use crate::sys::{Result, cache::Cache, files::sweep, hash::hex, json};

/// The version of the stored format and of the method. A change discards all results.
const FORMAT: &str = "2";

/// The estimated seconds for the first unit of a kind.
const UNKNOWN: f64 = 60.0;

/// The hash of all inputs of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key(String);

impl Key {
    pub fn of<S: AsRef<str>>(parts: impl IntoIterator<Item = S>) -> Self {
        let mut hash = Sha256::new();
        hash.update(FORMAT);
        for part in parts {
            let part = part.as_ref();
            // The length separates the parts.
            hash.update(format!("\0{}\0{part}", part.len()));
        }
        Self(hex(hash.finalize()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A piece of work whose result is stored: a call of make or rustdoc, or KUnit of a series.
#[derive(Debug, Clone)]
pub struct Unit {
    /// The name: "gpu-buddy 3 um".
    pub what: String,
    pub key: Key,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timed<T> {
    pub seconds: f64,
    pub result: T,
    /// Whether this run made it.
    #[serde(skip)]
    pub is_new: bool,
}

pub struct Store {
    dir: PathBuf,
    /// The last duration of each unit by its name, regardless of the content.
    durations: BTreeMap<String, f64>,
}

impl Store {
    /// Opens the store. The caller holds the lock.
    pub fn open(cache: &Cache) -> Self {
        let dir = cache.of_base("full");
        sweep(&dir);
        // Without durations, only the estimate is worse.
        let durations = json::read(&dir.join("durations.json")).unwrap_or_default();
        Self { dir, durations }
    }

    pub fn file(&self, key: &Key) -> PathBuf {
        self.dir.join("units").join(format!("{}.json", key.0))
    }

    pub fn get<T: DeserializeOwned>(&self, key: &Key) -> Option<Timed<T>> {
        json::read(&self.file(key))
    }

    pub fn has(&self, unit: &Unit) -> bool {
        self.get::<IgnoredAny>(&unit.key).is_some()
    }

    /// Returns the stored result of a unit, or makes it. Stores what `is_final` accepts.
    pub fn result<T: Serialize + DeserializeOwned>(
        &self,
        unit: &Unit,
        is_final: impl FnOnce(&T) -> bool,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<Timed<T>> {
        if let Some(known) = self.get(&unit.key) {
            return Ok(known);
        }
        let start = Instant::now();
        let result = make()?;
        let made = Timed {
            seconds: start.elapsed().as_secs_f64(),
            result,
            is_new: true,
        };
        if is_final(&made.result) {
            json::write(&self.file(&unit.key), &made)?;
        }
        Ok(made)
    }

    pub fn took(&mut self, what: &str, seconds: f64) -> Result<()> {
        self.durations.insert(what.to_owned(), seconds);
        json::write(&self.dir.join("durations.json"), &self.durations)
    }

    /// Estimates a duration: the last one, or the average of similar units.
    pub fn expect(&self, what: &str) -> f64 {
        if let Some(seconds) = self.durations.get(what) {
            return *seconds;
        }
        let kind = what.rsplit(' ').next();
        // A base is compiled completely, so no other unit is similar.
        let is_like = |other: &str| other.rsplit(' ').next() == kind && !other.starts_with("base ");
        let like = self.durations.iter().filter(|(other, _)| is_like(other));
        let (n, sum) = like.fold((0u32, 0.0), |(n, sum), (_, s)| (n + 1, sum + s));
        if n == 0 { UNKNOWN } else { sum / f64::from(n) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn store_keeps_results_and_durations() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let mut store = Store::open(&cache);
        let unit = Unit {
            what: "clist 1 um".into(),
            key: Key::of(["a", "b"]),
        };
        assert_eq!(store.get::<u32>(&unit.key), None);
        let make = |store: &Store, is_final: bool, result: u32| {
            let made = store.result(&unit, |_| is_final, || Ok(result)).unwrap();
            (made.result, made.is_new)
        };
        assert_eq!(make(&store, false, 6), (6, true));
        assert_eq!(make(&store, true, 7), (7, true));
        store.took(&unit.what, 10.0).unwrap();
        let store = Store::open(&cache);
        assert_eq!(make(&store, true, 8), (7, false));
        assert!(store.has(&unit));
        assert_eq!(store.expect("clist 1 um"), 10.0);
        fs::write(store.file(&unit.key), "half").unwrap();
        assert_eq!(store.get::<u32>(&unit.key), None);
        assert!(!store.has(&unit));
    }

    #[test]
    fn key_separates_parts() {
        assert_ne!(Key::of(["ab", "c"]), Key::of(["a", "bc"]));
        assert_eq!(Key::of(["ab", "c"]), Key::of(["ab", "c"]));
    }

    #[test]
    fn expect_new_unit_uses_similar_ones() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&Cache::at(dir.path()).unwrap());
        assert_eq!(store.expect("clist 1 um"), UNKNOWN);
        store.took("clist 1 um", 10.0).unwrap();
        store.took("clist 2 um", 20.0).unwrap();
        store.took("clist 1 x86_64", 90.0).unwrap();
        store.took("base um", 900.0).unwrap();
        assert_eq!(store.expect("nova-mm 3 um"), 15.0);
    }
}
