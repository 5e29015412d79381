// SPDX-License-Identifier: GPL-2.0

//! Commit messages by the kernel's rules (`Documentation/process/submitting-patches.rst`).

use crate::error::Error;

/// The longest line of a message body.
const BODY_COLUMNS: usize = 75;

/// The longest subject, as checkpatch and most maintainers have it.
const SUBJECT_COLUMNS: usize = 75;

/// Something wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    what: String,
    help: &'static str,
}

impl Fault {
    /// As an error without a place.
    pub fn into_error(&self) -> Error {
        Error::new(&self.what).help(self.help)
    }
}

/// The first line.
pub fn subject(message: &str) -> &str {
    message.lines().next().unwrap_or("").trim_end()
}

/// Whether a line is a trailer ("Key: value").
pub fn is_trailer(line: &str) -> bool {
    let Some((key, value)) = line.split_once(": ") else {
        return false;
    };
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    key.starts_with(|c: char| c.is_ascii_uppercase())
        && key.chars().all(word)
        && (key.contains('-') || ["Fixes", "Link", "Cc", "Closes"].contains(&key))
        && !value.trim().is_empty()
}

/// The message with `trailer` at its end, in the block of trailers if there is one.
pub fn with_trailer(message: &str, trailer: &str) -> String {
    let message = message.trim_end();
    let last = message.rsplit("\n\n").next().unwrap_or("");
    let in_block = message.contains("\n\n") && last.lines().all(|l| is_trailer(l) || is_note(l));
    let gap = if in_block { "\n" } else { "\n\n" };
    format!("{message}{gap}{trailer}\n")
}

/// Puts a note below the `---` of a mail that git made, where it is cut off when it is applied.
pub fn note_below(mail: &mut Vec<u8>, note: &str) {
    const END: &[u8] = b"\n---\n";
    let end = mail.windows(END.len()).position(|w| w == END);
    if let Some(end) = end.filter(|_| !note.is_empty()) {
        let at = end + END.len();
        mail.splice(at..at, format!("{note}\n").into_bytes());
    }
}

/// A maintainer's remark among the trailers.
pub(crate) fn is_note(line: &str) -> bool {
    line.starts_with('[') && line.ends_with(']')
}

/// What the kernel's rules have against a message.
pub fn faults(message: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |line, what: String, help| faults.push(Fault { line, what, help });
    let subject = subject(message);
    if subject.is_empty() {
        add(
            1,
            "the subject is empty".into(),
            "start with `subsystem: summary`",
        );
        return faults;
    }
    if !subject.contains(": ") {
        add(
            1,
            format!("the subject {subject:?} names no subsystem"),
            "start with `subsystem: summary`",
        );
    }
    if subject.chars().count() > SUBJECT_COLUMNS {
        add(
            1,
            format!("the subject is longer than {SUBJECT_COLUMNS} columns"),
            "shorten it; the body has room",
        );
    }
    if subject.ends_with('.') {
        add(1, "the subject ends with a full stop".into(), "remove it");
    }
    let body: Vec<_> = message.lines().enumerate().skip(1).collect();
    if body.first().is_some_and(|(_, l)| !l.trim().is_empty()) {
        add(
            2,
            "no blank line follows the subject".into(),
            "insert one; git takes the whole paragraph for the subject otherwise",
        );
    }
    if body
        .iter()
        .all(|(_, l)| l.trim().is_empty() || is_trailer(l))
    {
        add(
            1,
            "the message has no body".into(),
            "say why the change is made; a cover letter does not reach the git log",
        );
    }
    for (index, line) in body {
        line_faults(index + 1, line, &mut add);
    }
    faults
}

fn line_faults(at: usize, line: &str, add: &mut impl FnMut(usize, String, &'static str)) {
    // A long word cannot be wrapped, nor may a trailer; indented lines are code or output.
    let wrappable = line.contains(' ') && !line.starts_with("    ") && !is_trailer(line);
    if wrappable && !line.contains("://") && line.chars().count() > BODY_COLUMNS {
        add(
            at,
            format!("the line is longer than {BODY_COLUMNS} columns"),
            "wrap it",
        );
    }
    if line.trim_end() == "---" {
        add(
            at,
            "`---` ends the message here when the patch is applied".into(),
            "use another line, or move what follows to the cover letter",
        );
    }
    if line.starts_with("diff --git ") || line.starts_with("Index: ") {
        add(
            at,
            "looks like the start of a diff to whoever applies it".into(),
            "indent it",
        );
    }
    let lower = line.to_ascii_lowercase();
    let version = lower
        .strip_prefix("changes in v")
        .or_else(|| lower.strip_prefix("changes since v"));
    if version.is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit())) {
        add(
            at,
            "a changelog between versions does not belong in a commit message".into(),
            "write it in CHANGELOG.md; the tool puts it below `---` of the cover letter",
        );
    }
    if line.starts_with("Signed-off-by: ") {
        add(
            at,
            "the sign-off is added when the series is assembled".into(),
            "remove it here; the person who posts certifies the patch with their own name",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "rust: list: add a walk\n\nDrivers need it.\n\nLink: https://example.org/\n";

    fn says(message: &str) -> String {
        faults(message)
            .iter()
            .map(|f| format!("{}: {}\n", f.line, f.what))
            .collect()
    }

    #[test]
    fn a_good_message_has_no_fault() {
        assert_eq!(says(GOOD), "");
    }

    #[test]
    fn each_rule_has_its_message() {
        insta::assert_snapshot!(says(""), @"1: the subject is empty");
        insta::assert_snapshot!(says("Add it.\nAt once\n"), @r#"
        1: the subject "Add it." names no subsystem
        1: the subject ends with a full stop
        2: no blank line follows the subject
        "#);
        insta::assert_snapshot!(says("a: b\n\nReviewed-by: A <a@b>\n"), @"1: the message has no body");
        let long = "word ".repeat(16);
        insta::assert_snapshot!(says(&format!("a: {long}\n\n{long}\n    {long}\n")), @r"
        1: the subject is longer than 75 columns
        3: the line is longer than 75 columns
        ");
        insta::assert_snapshot!(
            says("a: b\n\nText\nChanges in v2:\n---\ndiff --git a/x b/x\nSigned-off-by: A <a@b>\n"), @r"
        4: a changelog between versions does not belong in a commit message
        5: `---` ends the message here when the patch is applied
        6: looks like the start of a diff to whoever applies it
        7: the sign-off is added when the series is assembled
        ");
    }

    #[test]
    fn trailers_are_told_from_text() {
        assert!(is_trailer("Fixes: 0123456789ab (\"x\")"));
        assert!(is_trailer("Reviewed-by: A <a@b>"));
        assert!(!is_trailer("Note: this is text"));
        assert!(!is_trailer("see-also: lower case"));
    }

    #[test]
    fn a_note_stands_below_the_message() {
        let mut mail = b"Subject: a\n\nText.\n---\n x | 2 +-\n".to_vec();
        note_below(&mut mail, "");
        note_below(&mut mail, "Dropped.\n");
        let text = String::from_utf8(mail).unwrap();
        assert_eq!(text, "Subject: a\n\nText.\n---\nDropped.\n\n x | 2 +-\n");
    }

    #[test]
    fn a_trailer_joins_its_block() {
        assert_eq!(
            with_trailer("a: b\n\nText.\n", "Signed-off-by: A <a@b>"),
            "a: b\n\nText.\n\nSigned-off-by: A <a@b>\n"
        );
        assert_eq!(
            with_trailer(
                "a: b\n\nText.\n\nFixes: 1 (\"x\")\n",
                "Signed-off-by: A <a@b>"
            ),
            "a: b\n\nText.\n\nFixes: 1 (\"x\")\nSigned-off-by: A <a@b>\n"
        );
        assert_eq!(
            with_trailer("a: b\n", "Signed-off-by: A <a@b>"),
            "a: b\n\nSigned-off-by: A <a@b>\n"
        );
    }
}
