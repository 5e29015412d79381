// SPDX-License-Identifier: GPL-2.0

//! The fingerprint of a patch: the lines that it adds and removes.
//!
//! A review remains valid as long as these lines are unchanged. On a new base, context and line
//! numbers may differ, and `git patch-id` would treat the patch as changed.

use crate::{
    mail::diff::{self, Kind},
    sys::hash::sha256,
};

/// Returns a hash of the changes in a patch: names, changed modes, added and removed lines.
///
/// `mail_or_diff` is a diff, or a mail with a diff whose text is decoded. The hash ignores header,
/// message and diffstat of the mail, context, positions of hunks, and the order of the files.
pub fn fingerprint(mail_or_diff: &str) -> String {
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
    let parts = files.iter().map(|file| format!("{}\0{file}", file.len()));
    sha256(parts.collect::<String>())
}

#[cfg(test)]
mod tests {
    use proptest::{
        array::uniform2,
        collection::vec,
        prelude::*,
        sample::{Index, select},
    };

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
    fn fingerprint_ignores_context() {
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
            assert_eq!(fingerprint(other), fingerprint(MAIL), "{other}");
        }
    }

    #[test]
    fn fingerprint_depends_on_changes() {
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
            assert_ne!(fingerprint(&other), fingerprint(MAIL), "{old}");
        }
        // A line must not be mistaken for one of another kind or file.
        let one = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +0,0 @@\n--- a/y\n";
        let other = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+-- a/y\n";
        assert_ne!(fingerprint(one), fingerprint(other));
    }

    #[test]
    fn fingerprint_ignores_order_of_files() {
        let a = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +0,0 @@\n-a\n";
        let b = "diff --git a/b b/b\n--- a/b\n+++ b/b\n@@ -1 +0,0 @@\n-b\n";
        assert_eq!(
            fingerprint(&format!("{a}{b}")),
            fingerprint(&format!("{b}{a}"))
        );
        assert_ne!(fingerprint(a), fingerprint(b));
    }

    #[test]
    fn fingerprint_depends_on_binary_file() {
        let text = "diff --git a/x b/x\nindex 1..2 100644\nGIT binary patch\nliteral 3\nKcmV+b0NEa\n\nliteral 0\nHcmV?d00001\n\n-- \n2.47\n";
        let other = text.replace("KcmV", "KcmX");
        assert_ne!(fingerprint(text), fingerprint(&other));
        assert_eq!(
            fingerprint(text),
            fingerprint(&text.replace("-- \n2.47\n", ""))
        );
    }

    /// Lines that resemble headers.
    const CONTENT: &[&str] = &[
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

    /// The context lines at the same place of two mails with the same changes.
    type Context = [Vec<&'static str>; 2];

    /// An added or removed line.
    #[derive(Debug, Clone)]
    struct Change {
        before: Context,
        sign: char,
        content: &'static str,
    }

    #[derive(Debug, Clone)]
    struct Hunk {
        changes: Vec<Change>,
        after: Context,
    }

    /// The hunks of each file.
    type Files = Vec<Vec<Hunk>>;

    fn context() -> impl Strategy<Value = Context> {
        uniform2(vec(select(CONTENT), 0..4))
    }

    fn files() -> impl Strategy<Value = Files> {
        let change = (context(), select(&['+', '-']), select(CONTENT));
        let change = change.prop_map(|(before, sign, content)| Change {
            before,
            sign,
            content,
        });
        let hunk = (vec(change, 1..7), context());
        let hunk = hunk.prop_map(|(changes, after)| Hunk { changes, after });
        vec(vec(hunk, 1..3), 1..4)
    }

    /// An edit of a changed line. The new contents are not in [`CONTENT`].
    #[derive(Debug, Clone, Copy)]
    enum Edit {
        Remove,
        Replace,
        FlipSign,
        Insert,
    }

    const EDITS: &[Edit] = &[Edit::Remove, Edit::Replace, Edit::FlipSign, Edit::Insert];

    /// Edits one of the changed lines.
    fn edited(mut files: Files, at: Index, edit: Edit) -> Files {
        let mut places = Vec::new();
        for (f, hunks) in files.iter().enumerate() {
            for (h, hunk) in hunks.iter().enumerate() {
                places.extend((0..hunk.changes.len()).map(|line| (f, h, line)));
            }
        }
        let (f, h, line) = *at.get(&places);
        let changes = &mut files[f][h].changes;
        match edit {
            Edit::Remove => drop(changes.remove(line)),
            Edit::Replace => changes[line].content = "other",
            Edit::FlipSign if changes[line].sign == '+' => changes[line].sign = '-',
            Edit::FlipSign => changes[line].sign = '+',
            Edit::Insert => changes.insert(
                line,
                Change {
                    before: Context::default(),
                    sign: '-',
                    content: "more",
                },
            ),
        }
        files
    }

    /// Returns a mail with these changes and one of the two contexts.
    fn mail(files: &Files, context: usize, start: usize, text: &str) -> String {
        let mut diff = format!("From: a@b\n\n{text}\n---\n");
        for (f, hunks) in files.iter().enumerate() {
            diff += &format!(
                "diff --git a/f{f} b/f{f}\nindex {start}..2 100644\n--- a/f{f}\n+++ b/f{f}\n"
            );
            for (h, Hunk { changes, after }) in hunks.iter().enumerate() {
                let mut lines = Vec::new();
                for change in changes {
                    lines.extend(change.before[context].iter().map(|c| (' ', *c)));
                    lines.push((change.sign, change.content));
                }
                lines.extend(after[context].iter().map(|c| (' ', *c)));
                let count = |sign| {
                    lines
                        .iter()
                        .filter(|(s, _)| *s == sign || *s == ' ')
                        .count()
                };
                let at = start + 30 * h;
                diff += &format!("@@ -{at},{} +{at},{} @@ f\n", count('-'), count('+'));
                for (sign, content) in lines {
                    diff += &format!("{sign}{content}\n");
                }
            }
        }
        diff + "-- \n2.47\n"
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 500,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn fingerprint_ignores_surroundings(
            files in files(),
            start in 1..100_usize,
            text in select(&["Text.", "@@ -1 +1 @@\nOther."]),
        ) {
            let is = fingerprint(&mail(&files, 0, 1, "Text."));
            prop_assert_eq!(fingerprint(&mail(&files, 1, start, text)), is);
        }

        #[test]
        fn fingerprint_depends_on_each_line(
            files in files(),
            at in any::<Index>(),
            edit in select(EDITS),
        ) {
            let other = edited(files.clone(), at, edit);
            let is = fingerprint(&mail(&files, 0, 1, "Text."));
            prop_assert_ne!(fingerprint(&mail(&other, 0, 1, "Text.")), is, "{:?}", other);
        }
    }
}
