// SPDX-License-Identifier: GPL-2.0

//! The essence of a patch: the lines that it adds and removes.
//!
//! A review remains valid as long as these lines are unchanged. On a new base, context and line
//! numbers may differ, and `git patch-id` would treat the patch as changed.

use sha2::{
    Digest,
    Sha256, //
};

use crate::{
    mail::diff::{
        self,
        Kind, //
    },
    sys::hash::hex, //
};

/// Returns a hash of the changes in a patch: names, changed modes, added and removed lines.
///
/// `mail_or_diff` is a diff, or a mail with a diff whose text is decoded. The hash ignores header,
/// message and diffstat of the mail, context, positions of hunks, and the order of the files.
pub fn essence(mail_or_diff: &str) -> String {
    let mut files: Vec<String> = Vec::new();
    // Whether the previous line counts. If so, its missing newline counts as well.
    let mut counts = false;
    for (_, kind, line) in diff::lines(mail_or_diff) {
        counts = match kind {
            Kind::File => {
                files.push(String::new());
                true
            }
            Kind::Header => !["index ", "similarity index ", "dissimilarity index "]
                .iter()
                .any(|p| line.starts_with(p)),
            Kind::Added | Kind::Removed => true,
            Kind::NoNewline => counts,
            Kind::Text | Kind::Hunk | Kind::Context => false,
        };
        if let Some(file) = files.last_mut().filter(|_| counts) {
            file.push_str(line);
            file.push('\n');
        }
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in &files {
        hash.update(format!("{}\0{file}", file.len()));
    }
    hex(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "\
From 0123 Mon Sep 17 00:00:00 2001
From: A <a@example.org>
Subject: [PATCH v2 1/2] x: y

Text.
@@ -1,9 +1,9 @@ is text as well
---
 x | 2 +-
 1 file changed, 1 insertion(+), 1 deletion(-)

diff --git a/x b/x
index 1111111..2222222 100644
--- a/x
+++ b/x
@@ -10,3 +10,3 @@ fn f()
 before
-old
+new
 after
diff --git a/from b/to
similarity index 100%
rename from from
rename to to
-- 
2.47.3

";

    #[test]
    fn essence_ignores_context() {
        let same = [
            // Positions, context, header, message, hashes, the end.
            MAIL.replace("@@ -10,3 +10,3 @@ fn f()", "@@ -99,3 +104,3 @@ fn g()"),
            MAIL.replace(" before\n", " other\n"),
            MAIL.replace("@@ -10,3 +10,3 @@ fn f()\n before\n", "@@ -10,2 +10,2 @@\n"),
            MAIL.replace("Text.", "Other text.")
                .replace("PATCH v2", "PATCH v3"),
            MAIL.replace("index 1111111..2222222", "index 3333333..4444444"),
            MAIL.replace("similarity index 100%", "similarity index 99%"),
            MAIL.replace("-- \n2.47.3\n\n", "-- \n2.50.0\n"),
            MAIL.split_once("\n---\n").unwrap().1.to_owned(),
        ];
        for other in &same {
            assert_ne!(other, MAIL);
            assert_eq!(essence(other), essence(MAIL), "{other}");
        }
    }

    #[test]
    fn essence_depends_on_changes() {
        for (old, new) in [
            ("-old", "-0ld"),
            ("+new", "+new "),
            (
                "@@ -10,3 +10,3 @@ fn f()\n before\n-old\n+new\n after\n",
                "@@ -10,2 +10,2 @@\n before\n-old\n+new\n\\ No newline at end of file\n",
            ),
            ("rename to to", "rename to two"),
            ("--- a/x\n+++ b/x", "--- a/y\n+++ b/y"),
            (
                "index 1111111..2222222 100644",
                "old mode 100644\nnew mode 100755",
            ),
        ] {
            let other = MAIL.replace(old, new);
            assert_ne!(other, MAIL, "{old}");
            assert_ne!(essence(&other), essence(MAIL), "{old}");
        }
        // A line must not be mistaken for one of another kind or file.
        let one = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +0,0 @@\n--- a/y\n";
        let other = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+-- a/y\n";
        assert_ne!(essence(one), essence(other));
    }

    #[test]
    fn essence_ignores_order_of_files() {
        let a = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +0,0 @@\n-a\n";
        let b = "diff --git a/b b/b\n--- a/b\n+++ b/b\n@@ -1 +0,0 @@\n-b\n";
        assert_eq!(essence(&format!("{a}{b}")), essence(&format!("{b}{a}")));
        assert_ne!(essence(a), essence(b));
    }

    #[test]
    fn essence_depends_on_binary_file() {
        let text = "diff --git a/x b/x\nindex 1..2 100644\nGIT binary patch\nliteral 3\nKcmV+b0NEa\n\nliteral 0\nHcmV?d00001\n\n-- \n2.47\n";
        let other = text.replace("KcmV", "KcmX");
        assert_ne!(essence(text), essence(&other));
        assert_eq!(essence(text), essence(&text.replace("-- \n2.47\n", "")));
    }

    /// Pseudo-random numbers, the same in each run (xorshift).
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % n as u64) as usize
        }
    }

    /// Lines that resemble headers.
    const CONTENT: [&str; 10] = [
        "",
        "a",
        "b",
        "-- ",
        "-- a/x",
        "++ b/x",
        "@@ -1,2 +1,2 @@",
        "diff --git a/x b/x",
        "\\ No newline",
        "index 1..2",
    ];

    /// The signs and contents of a diff, by file and hunk.
    type Hunks = Vec<Vec<Vec<(char, &'static str)>>>;

    fn some_hunks(random: &mut Random) -> Hunks {
        let mut line = || {
            let sign = ['+', '-', ' '][random.below(3)];
            (sign, CONTENT[random.below(CONTENT.len())])
        };
        let mut hunks = Hunks::new();
        for files in 1..=3 {
            let hunk = |line: &mut dyn FnMut() -> (char, &'static str)| {
                let mut lines: Vec<_> = (0..files * 2).map(|_| line()).collect();
                lines.push(('+', "last"));
                lines
            };
            hunks.push((0..2).map(|_| hunk(&mut line)).collect());
        }
        hunks
    }

    fn shown(hunks: &Hunks, start: usize, text: &str) -> String {
        let mut diff = format!("From: a@b\n\n{text}\n---\n");
        for (f, hunks) in hunks.iter().enumerate() {
            diff += &format!(
                "diff --git a/f{f} b/f{f}\nindex {start}..2 100644\n--- a/f{f}\n+++ b/f{f}\n"
            );
            for (h, lines) in hunks.iter().enumerate() {
                let count = |sign| {
                    lines
                        .iter()
                        .filter(|(s, _)| *s == sign || *s == ' ')
                        .count()
                };
                let at = start + 10 * h;
                diff += &format!("@@ -{at},{} +{at},{} @@ f\n", count('-'), count('+'));
                for (sign, content) in lines {
                    diff += &format!("{sign}{content}\n");
                }
            }
        }
        diff + "-- \n2.47\n"
    }

    #[test]
    fn essence_of_random_diffs() {
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        for _ in 0..500 {
            let hunks = some_hunks(&mut random);
            let is = essence(&shown(&hunks, 1, "Text."));
            assert_eq!(essence(&shown(&hunks, 7, "@@ -1 +1 @@\nOther.")), is);
            // Replace, add and remove context.
            let mut other = hunks.clone();
            let file = random.below(other.len());
            for lines in &mut other[file] {
                lines.retain(|(sign, _)| *sign != ' ' || random.below(2) == 0);
                let at = random.below(lines.len() + 1);
                lines.insert(at, (' ', CONTENT[random.below(CONTENT.len())]));
            }
            assert_eq!(
                essence(&shown(&other, 3, "Text.")),
                is,
                "{hunks:?}\n{other:?}"
            );
            // Change, add or remove a line.
            let mut other = hunks.clone();
            let hunk = random.below(other[file].len());
            let lines = &mut other[file][hunk];
            let changed: Vec<_> = (0..lines.len()).filter(|at| lines[*at].0 != ' ').collect();
            let at = changed[random.below(changed.len())];
            match random.below(4) {
                0 => drop(lines.remove(at)),
                1 => lines[at].1 = "other",
                2 => lines[at].0 = if lines[at].0 == '+' { '-' } else { '+' },
                _ => lines.insert(at, ('-', "more")),
            }
            assert_ne!(
                essence(&shown(&other, 1, "Text.")),
                is,
                "{hunks:?}\n{other:?}"
            );
        }
    }
}
