// SPDX-License-Identifier: GPL-2.0

//! The refs of the tool in its kernel repository, and the locks of the cache that cover them.

use std::path::Path;

use super::Git;
use crate::sys::cache::Resource;

impl Git<'_> {
    /// Removes lock files that a run which is no more has left. Only for the holder of a lock of
    /// the cache who was told so.
    pub fn remove_stale_locks(&self, resource: Resource) {
        fn walk(dir: &Path) {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    walk(&path);
                } else if path.extension().is_some_and(|e| e == "lock") {
                    // It may vanish under us; what matters is that it is gone.
                    let _ = std::fs::remove_file(path);
                }
            }
        }
        let dir = self.dir().join(".git");
        // Other resources may be somebody's at this moment.
        let (folders, files): (&[&str], &[&str]) = match resource {
            Resource::Base => (
                &[
                    "refs/nova-series/archive",
                    "refs/nova-series/archive",
                    "refs/nova-series/base",
                    "refs/nova-series/import",
                    "refs/nova-series/port",
                ],
                &["shallow"],
            ),
            Resource::Refs => (
                &[
                    "refs/heads/b4",
                    "refs/nova-series/b4",
                    "refs/nova-series/send",
                    "refs/nova-series/steps",
                    "refs/nova-series/posted",
                    "refs/tags/sent",
                    "logs/refs/heads/b4",
                    "worktrees",
                ],
                &["config", "packed-refs"],
            ),
            Resource::Tree => (
                &["refs/nova-series/tree"],
                &["index", "HEAD", "refs/heads/nova-series"],
            ),
            // That tree has a repository of its own.
            Resource::Full | Resource::Tools => (&[], &[]),
        };
        for below in folders {
            walk(&dir.join(below));
        }
        for name in files {
            let _ = std::fs::remove_file(dir.join(format!("{name}.lock")));
        }
    }
}
