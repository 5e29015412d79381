// SPDX-License-Identifier: GPL-2.0

//! Counts the lines that a patch adds to and removes from each file.

use serde::Serialize;

use crate::mail::diff::{self, Kind};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FileStat {
    /// The new path, or the old path of a removed file.
    pub path: String,
    /// The old path of a moved or copied file.
    pub from: Option<String>,
    /// The numbers of added and removed lines.
    pub added: usize,
    pub removed: usize,
    /// A special kind of change: "new", "gone", "moved", "copied", "binary", "mode".
    pub what: Option<&'static str>,
}

/// Returns the files of a diff, or of a mail with a diff, in order.
pub fn diffstat(diff: &str) -> Vec<FileStat> {
    let mut files: Vec<FileStat> = Vec::new();
    for (_, kind, line) in diff::lines(diff) {
        match (kind, files.last_mut()) {
            (Kind::File, _) => files.push(FileStat {
                path: path_of(line),
                ..FileStat::default()
            }),
            (Kind::Header, Some(file)) => header(file, line),
            (Kind::Added, Some(file)) => file.added += 1,
            (Kind::Removed, Some(file)) => file.removed += 1,
            _ => (),
        }
    }
    files
}

fn path_of(line: &str) -> String {
    if let Some(path) = line.strip_prefix("--- ") {
        return named(path).unwrap_or_default();
    }
    // "a/x b/x": both halves are equal. The paths of a moved file follow in later lines.
    let names = line.trim_start_matches("diff --git ");
    let half = names.get(names.len() / 2 + 1..).unwrap_or(names);
    named(half).unwrap_or_default()
}

fn header(file: &mut FileStat, line: &str) {
    let after = |prefix: &str| line.strip_prefix(prefix);
    if let Some(path) = after("rename from ").or(after("copy from ")) {
        file.from = Some(unquoted(path));
    } else if let Some(path) = after("rename to ") {
        (file.path, file.what) = (unquoted(path), Some("moved"));
    } else if let Some(path) = after("copy to ") {
        (file.path, file.what) = (unquoted(path), Some("copied"));
    } else if after("new file mode ").is_some() {
        file.what = Some("new");
    } else if after("deleted file mode ").is_some() {
        file.what = Some("gone");
    } else if after("new mode ").is_some() {
        file.what = file.what.or(Some("mode"));
    } else if after("Binary files ").is_some() || line == "GIT binary patch" {
        file.what = Some("binary");
    } else if let Some(path) = after("+++ ").or(after("--- ")).and_then(named) {
        file.path = path;
    }
}

/// Returns the path in a line that starts with `---` or `+++`; `None` for `/dev/null`.
fn named(path: &str) -> Option<String> {
    let path = unquoted(path.trim_end_matches('\t'));
    match path.split_once('/') {
        Some(("a" | "b", path)) => Some(path.to_owned()),
        _ if path == "/dev/null" => None,
        _ => Some(path),
    }
}

/// Removes the quotes that git puts around unusual names. Escapes remain.
fn unquoted(path: &str) -> String {
    path.trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "\
From 0 Mon Sep 17 00:00:00 2001
Subject: [PATCH] x

text
---
 a | 3 +--

diff --git a/dir/lib.rs b/dir/lib.rs
index 1..2 100644
--- a/dir/lib.rs
+++ b/dir/lib.rs
@@ -1,3 +1,3 @@
 a
--- a/not/a/header
++++ b/nor/this
 b
@@ -9,0 +10,1 @@
+c
diff --git a/new b/new
new file mode 100644
--- /dev/null
+++ b/new
@@ -0,0 +1 @@
+x
\\ No newline at end of file
diff --git a/old.c b/moved.c
similarity index 90%
rename from old.c
rename to moved.c
index 1..2 100644
--- a/old.c
+++ b/moved.c
@@ -1 +1 @@
-a
+b
diff --git a/gone b/gone
deleted file mode 100644
--- a/gone
+++ /dev/null
@@ -1,2 +0,0 @@
-a
-b
diff --git a/run.sh b/run.sh
old mode 100644
new mode 100755
diff --git a/pic.png b/pic.png
index 1..2 100644
Binary files a/pic.png and b/pic.png differ
diff --git a/whole.c b/other.c
similarity index 100%
rename from whole.c
rename to other.c
-- 
2.47
";

    #[test]
    fn diffstat_of_git_diff() {
        let files: Vec<String> = diffstat(DIFF)
            .iter()
            .map(|f| {
                let from = f
                    .from
                    .as_ref()
                    .map_or(String::new(), |p| format!("{p} => "));
                let what = f.what.map_or(String::new(), |w| format!(" {w}"));
                format!("+{} -{} {from}{}{what}", f.added, f.removed, f.path)
            })
            .collect();
        assert_eq!(
            files,
            [
                "+2 -1 dir/lib.rs",
                "+1 -0 new new",
                "+1 -1 old.c => moved.c moved",
                "+0 -2 gone gone",
                "+0 -0 run.sh mode",
                "+0 -0 pic.png binary",
                "+0 -0 whole.c => other.c moved",
            ]
        );
    }

    #[test]
    fn diffstat_of_plain_diff() {
        let files = diffstat(
            "--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-a\n+b\n--- a/y.c\n+++ b/y.c\n@@ -1 +1,2 @@\n a\n+b\n",
        );
        let files: Vec<_> = files
            .iter()
            .map(|f| (f.path.as_str(), f.added, f.removed))
            .collect();
        assert_eq!(files, [("x.c", 1, 1), ("y.c", 1, 0)]);
    }
}
