// SPDX-License-Identifier: GPL-2.0

//! Reads the lines of a diff and the files that it changes. Only git applies diffs.

/// A file that a diff changes, creates or removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    pub path: String,
    /// The line of the diff that names the file, counted from 1.
    pub line: usize,
}

/// The kind of a line in a diff.
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

/// The starts of lines about a file, after the first line.
const HEADERS: [&str; 14] = [
    "old mode ",
    "new mode ",
    "deleted file mode ",
    "new file mode ",
    "copy from ",
    "copy to ",
    "rename from ",
    "rename to ",
    "similarity index ",
    "dissimilarity index ",
    "index ",
    "--- ",
    "+++ ",
    "Binary files ",
];

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

/// The position of the reader in a diff.
#[derive(Default)]
struct Reader {
    /// Remaining lines of the hunk.
    old: usize,
    new: usize,
    /// Only headers and hunks of one file have appeared since its first line.
    in_file: bool,
    /// No hunk has appeared since the first line of the file.
    in_header: bool,
    binary: Binary,
}

/// The position of the reader in a binary patch.
#[derive(Default, PartialEq)]
enum Binary {
    #[default]
    No,
    Between,
    Inside,
}

impl Reader {
    fn kind(&mut self, line: &str, next: &str) -> Kind {
        if self.old > 0 || self.new > 0 {
            return self.in_hunk(line);
        }
        if self.in_file && !self.in_header && line.starts_with("\\ ") {
            return Kind::NoNewline;
        }
        if let (true, Some((old, new))) = (self.in_file, hunk(line)) {
            (self.old, self.new) = (old, new);
            self.in_header = false;
            return Kind::Hunk;
        }
        // A diff of another program than git starts with the names.
        let names = !self.in_header && line.starts_with("--- ") && next.starts_with("+++ ");
        if names || line.starts_with("diff --git ") {
            *self = Self {
                in_file: true,
                in_header: true,
                ..Self::default()
            };
            return Kind::File;
        }
        if self.in_header && self.in_header(line) {
            return Kind::Header;
        }
        if self.binary == Binary::No {
            (self.in_file, self.in_header) = (false, false);
        }
        Kind::Text
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

    fn in_header(&mut self, line: &str) -> bool {
        let block = line.starts_with("literal ") || line.starts_with("delta ");
        match self.binary {
            Binary::No if line == "GIT binary patch" => self.binary = Binary::Between,
            Binary::No => return HEADERS.iter().any(|h| line.starts_with(h)),
            Binary::Between if block => self.binary = Binary::Inside,
            Binary::Between => {
                self.binary = Binary::No;
                return false;
            }
            Binary::Inside if line.is_empty() => {
                self.binary = Binary::Between;
                return false;
            }
            Binary::Inside => (),
        }
        true
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
    for (at, kind, line) in lines(diff) {
        if !matches!(kind, Kind::File | Kind::Header) {
            continue;
        }
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
        match range.split_once(',') {
            Some((_, n)) => n.parse().ok(),
            None => Some(1),
        }
    };
    Some((count('-')?, count('+')?))
}

/// Returns the number of added lines.
pub fn added_lines(diff: &str) -> usize {
    diff.lines()
        .filter(|l| l.starts_with('+') && !l.starts_with("+++ "))
        .count()
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
