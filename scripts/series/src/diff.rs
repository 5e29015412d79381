// SPDX-License-Identifier: GPL-2.0

//! What a diff touches. Applying it is git's work.

/// A file that a diff changes, makes or removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Its path.
    pub path: String,
    /// The line of the diff that names it, from 1.
    pub line: usize,
}

/// The files that `diff` touches, each once, in order; both names of a rename.
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
    // Lines left of the hunk that is being read: a removed "-- a/x" must not look like a header.
    let (mut old, mut new) = (0usize, 0usize);
    for (i, line) in diff.lines().enumerate() {
        if old > 0 || new > 0 {
            match line.as_bytes().first() {
                Some(b'-') => old = old.saturating_sub(1),
                Some(b'+') => new = new.saturating_sub(1),
                Some(b'\\') => (),
                _ => {
                    old = old.saturating_sub(1);
                    new = new.saturating_sub(1);
                }
            }
            continue;
        }
        if let Some((o, n)) = hunk(line) {
            (old, new) = (o, n);
            continue;
        }
        // An empty file has neither of the lines below.
        let both = line.strip_prefix("diff --git a/").and_then(|names| {
            let half = names.len().checked_sub(" b/".len())? / 2;
            let (old, new) = (names.get(..half)?, names.get(half..)?);
            (new.strip_prefix(" b/") == Some(old)).then_some(old)
        });
        if let Some(path) = both {
            add(path, i + 1);
        }
        for prefix in ["--- a/", "+++ b/", "rename from ", "rename to "] {
            if let Some(path) = line.strip_prefix(prefix) {
                add(path.trim_end_matches('\t'), i + 1);
            }
        }
    }
    found
}

/// The line counts of a hunk header.
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

/// Lines added and removed, per file.
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
    fn headers_count_and_content_does_not() {
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
    fn no_diff_touches_nothing() {
        assert!(touched("just text\n--- \n").is_empty());
    }
}
