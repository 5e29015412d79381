// SPDX-License-Identifier: GPL-2.0

//! What of a patch a review was about: the lines that it adds and removes.
//!
//! A patch that is posted again on another base has other context and other line numbers, but says
//! the same; `git patch-id` would call it another one.

use sha2::{
    Digest,
    Sha256, //
};

use crate::diff::{
    self,
    Kind, //
};

/// A hash of what a patch does: of each file its name and mode where they change, and the lines
/// that are added and removed. `mail_or_diff` is a diff, or a mail with one whose text is decoded;
/// header, message and diffstat of the mail do not count, nor do context, positions of hunks, and
/// the order of the files.
pub fn essence(mail_or_diff: &str) -> String {
    let mut files: Vec<String> = Vec::new();
    // Whether the line before counts, and with it the newline that it lacks.
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
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
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
    fn what_is_around_the_lines_does_not_count() {
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
    fn what_the_patch_does_counts() {
        for (old, new) in [
            ("-old", "-0ld"),
            ("+new", "+new "),
            ("+new\n after", "+new\n\\ No newline at end of file"),
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
        // No line may pass for one of another kind or file.
        let one = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +0,0 @@\n--- a/y\n";
        let other = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+-- a/y\n";
        assert_ne!(essence(one), essence(other));
    }

    #[test]
    fn the_order_of_the_files_does_not_count() {
        let a = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +0,0 @@\n-a\n";
        let b = "diff --git a/b b/b\n--- a/b\n+++ b/b\n@@ -1 +0,0 @@\n-b\n";
        assert_eq!(essence(&format!("{a}{b}")), essence(&format!("{b}{a}")));
        assert_ne!(essence(a), essence(b));
    }

    #[test]
    fn a_binary_file_counts() {
        let text = "diff --git a/x b/x\nindex 1..2 100644\nGIT binary patch\nliteral 3\nKcmV+b0NEa\n\nliteral 0\nHcmV?d00001\n\n-- \n2.47\n";
        let other = text.replace("KcmV", "KcmX");
        assert_ne!(essence(text), essence(&other));
        assert_eq!(essence(text), essence(&text.replace("-- \n2.47\n", "")));
    }
}
