// SPDX-License-Identifier: GPL-2.0

//! Stores results under the hash of all their inputs, and their durations.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::sys::{
    Result,
    cache::Cache,
    files::{sweep, write},
    hash::hex,
    json::json,
};

/// The version of the stored format and of the method. A change discards all results.
const FORMAT: &str = "2";

/// The estimated seconds for the first unit of a kind.
const UNKNOWN: f64 = 60.0;

/// The hash of all inputs of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key(String);

impl Key {
    /// Hashes these parts, in this order.
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

/// A result and the time that it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timed<T> {
    pub seconds: f64,
    pub result: T,
}

/// The results and durations in the cache.
pub struct Store {
    dir: PathBuf,
    /// The last duration of each unit by its name, regardless of the content.
    durations: BTreeMap<String, f64>,
}

impl Store {
    /// Opens the store. The caller holds the lock.
    pub fn open(cache: &Cache) -> Self {
        let dir = cache.of_base("full");
        sweep(&dir.join("units"));
        sweep(&dir);
        // Without durations, only the estimate is worse.
        let durations = fs::read(dir.join("durations.json")).unwrap_or_default();
        let durations = serde_json::from_slice(&durations).unwrap_or_default();
        Self { dir, durations }
    }

    /// Returns the file of a result.
    pub fn file(&self, key: &Key) -> PathBuf {
        self.dir.join("units").join(format!("{}.json", key.0))
    }

    /// Returns a stored result. An unreadable file counts as missing.
    pub fn get<T: DeserializeOwned>(&self, key: &Key) -> Option<Timed<T>> {
        serde_json::from_slice(&fs::read(self.file(key)).ok()?).ok()
    }

    pub fn put<T: Serialize>(&self, key: &Key, result: &Timed<T>) -> Result<()> {
        write(&self.file(key), &json(result)?)
    }

    pub fn took(&mut self, what: &str, seconds: f64) -> Result<()> {
        self.durations.insert(what.to_owned(), seconds);
        write(&self.dir.join("durations.json"), &json(&self.durations)?)
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
    use super::*;

    #[test]
    fn store_keeps_results_and_durations() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let mut store = Store::open(&cache);
        let key = Key::of(["a", "b"]);
        assert_eq!(store.get::<u32>(&key), None);
        let timed = Timed {
            seconds: 1.5,
            result: 7u32,
        };
        store.put(&key, &timed).unwrap();
        store.took("clist 1 um", 10.0).unwrap();
        let store = Store::open(&cache);
        assert_eq!(store.get(&key), Some(timed));
        assert_eq!(store.expect("clist 1 um"), 10.0);
        fs::write(store.file(&key), "half").unwrap();
        assert_eq!(store.get::<u32>(&key), None);
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
