// SPDX-License-Identifier: GPL-2.0

//! Searches whole trees, and caches the results.

use super::{Git, object::Oid};
use crate::sys::{Result, cache::Cache, failed, files::write, hash::sha256};

impl Git<'_> {
    /// Returns the paths of files in a tree that contain one of these texts. Caches the result,
    /// because searching a whole kernel is slow.
    pub fn files_with(&self, tree: &Oid, texts: &[&str], cache: &Cache) -> Result<Vec<String>> {
        let mut cmd = self.cmd(["grep", "-l", "-z", "-I", "--fixed-strings"]);
        let mut key = tree.as_str().to_owned();
        for text in texts {
            cmd = cmd.args(["-e", text]);
            key.push_str(&format!("\0{text}"));
        }
        let record = cache.path("grep").join(sha256(key));
        let listing = match std::fs::read(&record) {
            Ok(listing) => listing,
            Err(_) => {
                let cmd = cmd.args([tree.as_str(), "--"]);
                let out = self.try_run(&cmd)?;
                // git grep exits with 1 if nothing matches.
                if !matches!(out.code, Some(0 | 1)) {
                    return Err(failed(&cmd, &out));
                }
                write(&record, &out.stdout)?;
                out.stdout
            }
        };
        let listing = String::from_utf8_lossy(&listing);
        let found = listing.split('\0').filter_map(|line| line.split_once(':'));
        Ok(found.map(|(_, path)| path.to_owned()).collect())
    }
}
