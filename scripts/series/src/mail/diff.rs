// SPDX-License-Identifier: GPL-2.0

//! Reads the lines of a diff and the files that it changes. Only git applies diffs.

use std::sync::LazyLock;

use regex::Regex;

/// A file that a diff changes, creates or removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    pub path: String,
    /// The line of the diff that names the file, counted from 1.
    pub line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text around the diff.
    Text,
    /// The first line about a file.
    File,
    /// A further line about the file, such as its mode or its names.
    Header,
    /// The position of a hunk.
    Hunk,
    Context,
    Removed,
    Added,
    /// The line before it has no newline at its end.
    NoNewline,
}

/// A line about a file, after the first line.
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    let modes = "old mode|new mode|deleted file mode|new file mode";
    let moves = "copy from|copy to|rename from|rename to|(?:dis)?similarity index|index";
    Regex::new(&format!(r"^(?:{modes}|{moves}|---|\+\+\+|Binary files) "))
        .expect("the pattern is constant")
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

/// Returns the files that `diff` touches, each once, in order. A rename has both names.
pub fn touched(diff: &str) -> Vec<Touched> {
    let mut found: Vec<Touched> = Vec::new();
    let mut add = |path: &str, line| {
        if !found.iter().any(|t| t.path == path) {
            found.push(Touched {
                path: path.to_owned(),
                line,
            });
        }
    };
    let names = lines(diff).filter(|(_, kind, _)| matches!(kind, Kind::File | Kind::Header));
    for (at, _, line) in names {
        // An empty file has none of the headers below.
        let both = line.strip_prefix("diff --git a/").and_then(|names| {
            let half = names.len().checked_sub(" b/".len())? / 2;
            let (old, new) = (names.get(..half)?, names.get(half..)?);
            (new.strip_prefix(" b/") == Some(old)).then_some(old)
        });
        if let Some(path) = both {
            add(path, at);
        }
        for prefix in ["--- a/", "+++ b/", "rename from ", "rename to "] {
            if let Some(path) = line.strip_prefix(prefix) {
                add(path.trim_end_matches('\t'), at);
            }
        }
    }
    found
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

pub fn added_lines(diff: &str) -> usize {
    let is_added = |l: &&str| l.starts_with('+') && !l.starts_with("+++ ");
    diff.lines().filter(is_added).count()
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
        let paths: Vec<_> = touched(DIFF)
            .into_iter()
            .map(|t| (t.line, t.path))
            .collect();
        assert_eq!(
            paths,
            [
                (1, "rust/kernel/lib.rs".to_owned()),
                (9, "new".to_owned()),
                (16, "old".to_owned()),
                (17, "moved".to_owned()),
                (18, "empty".to_owned()),
            ]
        );
    }

    #[test]
    fn touched_without_diff() {
        assert!(touched("just text\n--- \n").is_empty());
    }
}
