// SPDX-License-Identifier: GPL-2.0

//! Reads the lines of a diff and the files that it changes. Only git applies diffs.

use std::{collections::HashSet, mem, sync::LazyLock};

use regex::{Regex, bytes};
use serde::Serialize;

use crate::sys::pattern;

/// A file that a diff changes, creates or removes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FileStat {
    /// The new path, or the old path of a removed file. Empty if the diff does not name it with
    /// the prefix `a/` or `b/`.
    pub path: String,
    /// The old path of a moved or copied file.
    pub from: Option<String>,
    pub added: usize,
    pub removed: usize,
    /// A special kind of change: "new", "gone", "moved", "copied", "binary", "mode".
    pub what: Option<&'static str>,
    /// The first line about the file, counted from 1.
    #[serde(skip)]
    pub line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// The first line about a file.
    File,
    /// A further line about the file, such as its mode or its names.
    Header,
    Hunk,
    Context,
    Removed,
    Added,
    /// The line before it has no newline at its end.
    NoNewline,
}

/// A line about a file, after the first line: its key and its value.
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    let modes = "old mode|new mode|deleted file mode|new file mode";
    let moves = "copy from|copy to|rename from|rename to|(?:dis)?similarity index|index";
    pattern(&format!(r"^({modes}|{moves}|---|\+\+\+|Binary files) (.*)"))
});

/// Returns the lines of a diff, or of a mail with a diff, with their number (from 1) and kind.
///
/// The line counts of a hunk determine its end, so content that looks like a header stays content.
pub fn lines(diff: &str) -> impl Iterator<Item = (usize, Kind, &str)> {
    let mut reader = Reader::default();
    let mut all = diff.split_terminator('\n').enumerate().peekable();
    std::iter::from_fn(move || {
        let (i, line) = all.next()?;
        let next = all.peek().map_or("", |(_, next)| next);
        Some((i + 1, reader.kind(line, next), line))
    })
}

#[derive(Default)]
struct Reader {
    /// Remaining lines of the hunk.
    old: usize,
    new: usize,
    place: Place,
}

/// The place of a line outside hunks.
#[derive(Clone, Copy, Default, PartialEq)]
enum Place {
    #[default]
    Text,
    /// After the first line about a file, and before its hunks.
    Header,
    /// After a hunk of a file.
    Hunks,
    /// In a binary patch, outside and inside a block.
    Binary,
    Block,
}

impl Reader {
    fn kind(&mut self, line: &str, next: &str) -> Kind {
        use Place::{Binary, Block, Header, Hunks, Text};
        if self.old > 0 || self.new > 0 {
            return self.in_hunk(line);
        }
        if let Some(counts) = hunk(line).filter(|_| self.place != Text) {
            (self.old, self.new) = counts;
            self.place = Hunks;
            return Kind::Hunk;
        }
        // A diff of another program than git starts with the names.
        let names = line.starts_with("--- ") && next.starts_with("+++ ");
        let block = line.starts_with("literal ") || line.starts_with("delta ");
        let (place, kind) = match self.place {
            Hunks if line.starts_with("\\ ") => (Hunks, Kind::NoNewline),
            Text | Hunks if names => (Header, Kind::File),
            _ if line.starts_with("diff --git ") => (Header, Kind::File),
            Header if line == "GIT binary patch" => (Binary, Kind::Header),
            Header if HEADER.is_match(line) => (Header, Kind::Header),
            Binary if block => (Block, Kind::Header),
            Block if line.is_empty() => (Binary, Kind::Text),
            Block => (Block, Kind::Header),
            _ => (Text, Kind::Text),
        };
        self.place = place;
        kind
    }

    fn in_hunk(&mut self, line: &str) -> Kind {
        let (old, new, kind) = match line.as_bytes().first() {
            Some(b'-') => (1, 0, Kind::Removed),
            Some(b'+') => (0, 1, Kind::Added),
            Some(b'\\') => (0, 0, Kind::NoNewline),
            _ => (1, 1, Kind::Context),
        };
        self.old = self.old.saturating_sub(old);
        self.new = self.new.saturating_sub(new);
        kind
    }
}

/// Returns the files of a diff, or of a mail with a diff, in order.
pub fn files(diff: &str) -> Vec<FileStat> {
    let mut files: Vec<FileStat> = Vec::new();
    for (number, kind, line) in lines(diff) {
        match (kind, files.last_mut()) {
            (Kind::File, _) => files.push(FileStat {
                path: first_name(line).unwrap_or_default(),
                line: number,
                ..FileStat::default()
            }),
            (Kind::Header, Some(file)) => file.header(line),
            (Kind::Added, Some(file)) => file.added += 1,
            (Kind::Removed, Some(file)) => file.removed += 1,
            _ => (),
        }
    }
    files
}

/// Returns the paths that a diff touches, each once, in order. A rename has both names.
pub fn touched(diff: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let files = files(diff).into_iter();
    let paths = files.flat_map(|file| file.from.into_iter().chain([file.path]));
    let paths = paths.filter(|path| !path.is_empty() && seen.insert(path.clone()));
    paths.collect()
}

impl FileStat {
    fn header(&mut self, line: &str) {
        let found = HEADER.captures(line).map(|found| found.extract());
        let (_, [key, value]) = found.unwrap_or_default();
        match key {
            "rename from" | "copy from" => self.from = Some(unquoted(value)),
            "rename to" => (self.path, self.what) = (unquoted(value), Some("moved")),
            "copy to" => (self.path, self.what) = (unquoted(value), Some("copied")),
            "new file mode" => self.what = Some("new"),
            "deleted file mode" => self.what = Some("gone"),
            "new mode" => self.what = self.what.or(Some("mode")),
            "---" => self.path = named(value).unwrap_or_else(|| mem::take(&mut self.path)),
            "+++" => {
                let new = named(value).unwrap_or_else(|| self.path.clone());
                let old = mem::replace(&mut self.path, new);
                // A diff of another program has no lines about a move.
                if !old.is_empty() && old != self.path {
                    self.from.get_or_insert(old);
                }
            }
            "Binary files" => self.what = Some("binary"),
            _ if line == "GIT binary patch" => self.what = Some("binary"),
            _ => (),
        }
    }
}

/// Returns the path in the first line about a file. A moved file has its paths in later lines.
fn first_name(line: &str) -> Option<String> {
    if let Some(path) = line.strip_prefix("--- ") {
        return named(path);
    }
    // "a/x b/x": an empty file has no other names.
    let names = line.strip_prefix("diff --git ")?;
    let (old, new) = names.split_at_checked(names.len() / 2)?;
    named(new.strip_prefix(' ')?).filter(|new| named(old).as_ref() == Some(new))
}

/// Returns the path after `a/` or `b/`. `/dev/null` has none.
fn named(path: &str) -> Option<String> {
    let path = unquoted(path.trim_end_matches('\t'));
    let path = path.strip_prefix("a/").or(path.strip_prefix("b/"));
    path.map(str::to_owned)
}

/// Removes the quotes and escapes of unusual names, which git writes as in C.
fn unquoted(path: &str) -> String {
    static ESCAPED: LazyLock<bytes::Regex> = LazyLock::new(|| pattern(r"(?-u)\\([0-7]{3}|.)"));
    let inside = path.strip_prefix('"').and_then(|p| p.strip_suffix('"'));
    let Some(inside) = inside else {
        return path.to_owned();
    };
    let plain = ESCAPED.replace_all(
        inside.as_bytes(),
        |found: &bytes::Captures<'_>| match &found[1] {
            b"a" => vec![7],
            b"b" => vec![8],
            b"t" => vec![b'\t'],
            b"n" => vec![b'\n'],
            b"v" => vec![11],
            b"f" => vec![12],
            b"r" => vec![b'\r'],
            [one] => vec![*one],
            octal => vec![
                octal
                    .iter()
                    .fold(0, |byte: u8, digit| byte.wrapping_mul(8) + (digit - b'0')),
            ],
        },
    );
    String::from_utf8_lossy(&plain).into_owned()
}

/// Returns the line counts of a hunk header.
fn hunk(line: &str) -> Option<(usize, usize)> {
    let mut words = line.strip_prefix("@@ ")?.split(' ');
    let mut count = |sign| -> Option<usize> {
        let range = words.next()?.strip_prefix(sign)?;
        range
            .split_once(',')
            .map_or(Some(1), |(_, n)| n.parse().ok())
    };
    Some((count('-')?, count('+')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "\
diff --git a/rust/kernel/lib.rs b/rust/kernel/lib.rs
--- a/rust/kernel/lib.rs
+++ b/rust/kernel/lib.rs
@@ -1,3 +1,3 @@
 a
--- a/not/a/header
++++ b/nor/this
 b
diff --git a/new b/new
new file mode 100644
--- /dev/null
+++ b/new
@@ -0,0 +1 @@
+x
diff --git a/old b/moved
rename from old
rename to moved
diff --git a/empty b/empty
new file mode 100644
index 000000000000..e69de29bb2d1
";

    #[test]
    fn touched_ignores_content() {
        let paths = ["rust/kernel/lib.rs", "new", "old", "moved", "empty"];
        assert_eq!(touched(DIFF), paths);
        let lines: Vec<_> = files(DIFF).into_iter().map(|f| (f.line, f.path)).collect();
        assert_eq!(
            lines,
            [
                (1, "rust/kernel/lib.rs".to_owned()),
                (9, "new".to_owned()),
                (15, "moved".to_owned()),
                (18, "empty".to_owned()),
            ]
        );
    }

    #[test]
    fn touched_without_diff() {
        assert!(touched("just text\n--- \n").is_empty());
    }

    #[test]
    fn touched_names_both_files_of_plain_diff() {
        let diff = "--- a/x\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n";
        assert_eq!(touched(diff), ["x", "y"]);
        let quoted = r#""a/gr\303\266\303\237e \"\t.c" "b/gr\303\266\303\237e \"\t.c""#;
        let quoted = format!("diff --git {quoted}\nnew file mode 100644\n");
        assert_eq!(touched(&quoted), ["größe \"\t.c"]);
    }

    const MAIL: &str = "\
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
    fn files_of_git_diff() {
        let files: Vec<String> = files(MAIL)
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
    fn files_of_plain_diff() {
        let files = files(
            "--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-a\n+b\n--- a/y.c\n+++ b/y.c\n@@ -1 +1,2 @@\n a\n+b\n",
        );
        let files: Vec<_> = files
            .iter()
            .map(|f| (f.path.as_str(), f.added, f.removed))
            .collect();
        assert_eq!(files, [("x.c", 1, 1), ("y.c", 1, 0)]);
    }
}
