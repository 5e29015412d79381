// SPDX-License-Identifier: GPL-2.0

//! Limits the sizes: patches in a series, lines in a patch, bytes in a mail.

use crate::{
    mail::diff,
    source::{finding::Finding, manifest::Series},
    sys::plural::count,
};

/// The limit on patches, from `Documentation/process/submitting-patches.rst`.
const PATCHES: usize = 15;

/// The limit on added lines, without moved files.
const LINES: usize = 500;

/// The limit on bytes in a mail. List servers hold larger mails for moderation.
const BYTES: usize = 100_000;

/// Checks the sizes of a series with these mails.
pub fn findings(series: &Series, mails: &[&[u8]]) -> Vec<Finding> {
    let finding = |line: usize, what: String, help: &str| {
        Finding::new(&series.name, "sizes", what)
            .at(&series.file, line)
            .help(help)
    };
    let mut found = Vec::new();
    let (name, patches) = (&series.name, count(mails.len(), "patch", "patches"));
    match (mails.len() > PATCHES, &series.many) {
        (true, None) => found.push(finding(
            series.line_of_version.unwrap_or(1),
            format!("{name} has {patches}, more than {PATCHES}"),
            "split it into consecutive series, or give the reason as `many = \"…\"`",
        )),
        (false, Some(why)) => found.push(finding(
            why.line,
            format!("`many` is not needed: {name} has {patches}"),
            "remove the line",
        )),
        _ => (),
    }
    for ((number, patch), mail) in (1..).zip(&series.patches).zip(mails) {
        let (added, bytes) = (added(mail), mail.len());
        let lines = count(added, "line", "lines");
        let mut over = Vec::new();
        if added > LINES {
            over.push(format!("adds {lines}, more than {LINES}"));
        }
        if bytes > BYTES {
            over.push(format!("is a mail of {bytes} bytes, more than {BYTES}"));
        }
        let new = match (over.is_empty(), &patch.large) {
            (false, None) => finding(
                patch.line,
                format!("the patch {}", over.join(" and ")),
                "split it, or give the reason as `large = \"…\"` in its [[patch]]",
            ),
            (true, Some(why)) => finding(
                why.line,
                format!(
                    "`large` is not needed: the patch adds {lines} and is a mail of {bytes} bytes"
                ),
                "remove the line",
            ),
            _ => continue,
        };
        found.push(new.of_patch(number));
    }
    found
}

/// Returns the number of lines that a mail adds, except in moved files.
fn added(mail: &[u8]) -> usize {
    let files = diff::files(&String::from_utf8_lossy(mail)).into_iter();
    let stay = files.filter(|f| f.what != Some("moved"));
    stay.map(|f| f.added).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::finding::shown;

    fn mail(header: &str, lines: usize, line: &str) -> Vec<u8> {
        let mut text = format!(
            "Subject: x\n\nText.\n---\n\ndiff --git a/a b/b\n{header}--- a/a\n+++ b/b\n\
             @@ -0,0 +1,{lines} @@\n"
        );
        text.extend((0..lines).map(|_| format!("+{line}\n")));
        text.into_bytes()
    }

    fn check(manifest: &str, patch: &str, mails: &[Vec<u8>]) -> String {
        let one = format!("[[patch]]\nmessage = \"1.msg\"\n{patch}");
        let text = format!(
            "version = 1\nchange-id = \"20260102-x-1\"\n{manifest}{}",
            one.repeat(mails.len())
        );
        let series = Series::parse("x", "series/x.toml".as_ref(), &text).unwrap();
        let mails: Vec<&[u8]> = mails.iter().map(Vec::as_slice).collect();
        shown(findings(&series, &mails))
    }

    #[test]
    fn findings_of_too_many_patches() {
        let some = |n: usize| vec![mail("", 1, "x"); n];
        assert_eq!(check("", "", &some(15)), "");
        insta::assert_snapshot!(check("", "", &some(16)), @r#"
        series/x.toml:1: x has 16 patches, more than 15
          help: split it into consecutive series, or give the reason as `many = "…"`
        "#);
        let many = "many = \"They are one change each.\"\n";
        assert_eq!(check(many, "", &some(16)), "");
        insta::assert_snapshot!(check(many, "", &some(15)), @r"
        series/x.toml:3: `many` is not needed: x has 15 patches
          help: remove the line
        ");
    }

    #[test]
    fn findings_of_large_patch() {
        assert_eq!(check("", "", &[mail("", 500, "x")]), "");
        let moved = "rename from a\nrename to b\n";
        assert_eq!(check("", "", &[mail(moved, 501, "x")]), "");
        insta::assert_snapshot!(check("", "", &[mail("", 501, "x")]), @r#"
        series/x.toml:3: the patch adds 501 lines, more than 500
          help: split it, or give the reason as `large = "…"` in its [[patch]]
        "#);
        let long = "x".repeat(1000);
        insta::assert_snapshot!(check("", "", &[mail("", 100, &long)]), @r#"
        series/x.toml:3: the patch is a mail of 100276 bytes, more than 100000
          help: split it, or give the reason as `large = "…"` in its [[patch]]
        "#);
        let large = "large = \"It is one table.\"\n";
        assert_eq!(check("", large, &[mail("", 501, "x")]), "");
        insta::assert_snapshot!(check("", large, &[mail("", 1, "x")]), @r"
        series/x.toml:5: `large` is not needed: the patch adds 1 line and is a mail of 77 bytes
          help: remove the line
        ");
    }
}
