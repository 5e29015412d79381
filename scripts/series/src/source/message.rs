// SPDX-License-Identifier: GPL-2.0

//! Checks commit messages by the rules of `Documentation/process/submitting-patches.rst`.

use crate::sys::error::Error;

/// The longest line of a message body.
const BODY_COLUMNS: usize = 75;

/// The longest subject that checkpatch and most maintainers accept.
const SUBJECT_COLUMNS: usize = 75;

/// A fault in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    what: String,
    help: &'static str,
}

impl Fault {
    /// Converts the fault to an error without a place.
    pub fn into_error(&self) -> Error {
        Error::new(&self.what).help(self.help)
    }
}

/// Returns the first line.
pub fn subject(message: &str) -> &str {
    message.lines().next().unwrap_or("").trim_end()
}

/// Returns whether a line is a trailer ("Key: value").
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

/// Adds `trailer` to the block of trailers, or starts such a block.
pub fn with_trailer(message: &str, trailer: &str) -> String {
    let message = message.trim_end();
    let last = message.rsplit("\n\n").next().unwrap_or("");
    let in_block = message.contains("\n\n") && last.lines().all(|l| is_trailer(l) || is_note(l));
    let gap = if in_block { "\n" } else { "\n\n" };
    format!("{message}{gap}{trailer}\n")
}

/// Inserts a note below the `---` of a mail from git. `git am` discards it.
pub fn note_below(mail: &mut Vec<u8>, note: &str) {
    const END: &[u8] = b"\n---\n";
    let end = mail.windows(END.len()).position(|w| w == END);
    if let Some(end) = end.filter(|_| !note.is_empty()) {
        let at = end + END.len();
        mail.splice(at..at, format!("{note}\n").into_bytes());
    }
}

/// Returns whether a line is a maintainer's remark among the trailers.
pub(crate) fn is_note(line: &str) -> bool {
    line.starts_with('[') && line.ends_with(']')
}

/// Checks the message of a commit. Unlike other messages, it contains the sign-offs.
pub fn faults_of_commit(message: &str) -> Vec<Fault> {
    let line = |at: usize| message.lines().nth(at - 1).unwrap_or_default();
    let mut all = faults(message);
    all.retain(|f| !(line(f.line).starts_with(SIGN_OFF) && f.help == NO_SIGN_OFF));
    all
}

/// Removes the sign-off of `who` from the end of a message, and returns both parts.
pub fn split_sign_off<'a>(message: &'a str, who: &str) -> (&'a str, Option<&'a str>) {
    let text = message.trim_end();
    let last = text.lines().last().unwrap_or_default();
    match last.strip_prefix(SIGN_OFF) == Some(who) {
        true => (text[..text.len() - last.len()].trim_end(), Some(last)),
        false => (message, None),
    }
}

/// How a sign-off starts.
const SIGN_OFF: &str = "Signed-off-by: ";

/// The remedy for a sign-off in a file with a message.
const NO_SIGN_OFF: &str =
    "remove it here; the person who posts certifies the patch with their own name";

/// Checks a message.
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
            format!("the subject {subject:?} has no subsystem prefix"),
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
    if let Some((what, help)) = title_fault(subject) {
        add(1, what, help);
    }
    let body: Vec<_> = message.lines().enumerate().skip(1).collect();
    for (index, line) in &body {
        if let Some((what, help)) = mail_fault(line) {
            add(index + 1, what, help);
        }
    }
    let start = body.iter().find(|(_, l)| !l.trim().is_empty());
    if let Some((index, _)) = start.filter(|(_, l)| is_header_to_git(l)) {
        add(
            index + 1,
            "git reads this line at the start of the text as a header".into(),
            "start with another line",
        );
    }
    if body.first().is_some_and(|(_, l)| !l.trim().is_empty()) {
        add(
            2,
            "no blank line follows the subject".into(),
            "insert one; otherwise git reads the whole paragraph as the subject",
        );
    }
    for pair in body.windows(2) {
        if let [(_, first), (index, second)] = pair
            && first.trim().is_empty()
            && second.trim().is_empty()
        {
            add(
                index + 1,
                "two blank lines in a row, but `git am` keeps only one".into(),
                "remove one",
            );
        }
    }
    if body
        .iter()
        .all(|(_, l)| l.trim().is_empty() || is_trailer(l))
    {
        add(
            1,
            "the message has no body".into(),
            "explain why the change is made; a cover letter does not reach the git log",
        );
    }
    for (index, line) in body {
        line_faults(index + 1, line, &mut add);
    }
    faults.sort_by_key(|f| f.line);
    faults
}

fn line_faults(at: usize, line: &str, add: &mut impl FnMut(usize, String, &'static str)) {
    // Long words and trailers cannot be wrapped. Indented lines are code or output.
    let wrappable = line.contains(' ') && !line.starts_with("    ") && !is_trailer(line);
    if wrappable && !line.contains("://") && line.chars().count() > BODY_COLUMNS {
        add(
            at,
            format!("the line is longer than {BODY_COLUMNS} columns"),
            "wrap it",
        );
    }
    if line.trim_end() != line {
        add(
            at,
            "the line ends with a blank, which `git am` removes".into(),
            "remove it",
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
    if line.starts_with(SIGN_OFF) {
        add(
            at,
            "the sign-off is added when the series is assembled".into(),
            NO_SIGN_OFF,
        );
    }
}

/// Template text that the author has to replace.
const TEMPLATE: [&str; 3] = ["EDITME", "*** SUBJECT HERE ***", "*** BLURB HERE ***"];

/// Finds a line of a message, cover letter or changelog that breaks the mail. Returns the fault and
/// the help.
pub fn mail_fault(line: &str) -> Option<(String, &'static str)> {
    if line.contains(|c: char| c.is_control() && c != '\t') {
        return Some(("the line has a control character".into(), "remove it"));
    }
    if let Some(word) = TEMPLATE.iter().find(|word| line.contains(**word)) {
        return Some((
            format!("{word:?} remains from a template"),
            "write the text; b4 does not send mails with EDITME",
        ));
    }
    if line.trim_start_matches('>').starts_with("From ") {
        return Some((
            "`From ` at the start of a line begins the next mail of a mailbox".into(),
            "wrap the text elsewhere, or indent it",
        ));
    }
    if line == "-- " {
        return Some((
            "`-- ` starts the signature of a mail".into(),
            "use another line",
        ));
    }
    let after = line.strip_prefix("---");
    if after.is_some_and(|rest| rest.trim().is_empty()) {
        return Some((
            "`---` ends the message here when the patch is applied".into(),
            "use another line",
        ));
    }
    let diff = ["diff -", "Index: "]
        .iter()
        .any(|start| line.starts_with(start));
    if diff || after.is_some_and(|rest| rest.starts_with(' ')) {
        return Some((
            "looks like the start of a diff when the patch is applied".into(),
            "indent it",
        ));
    }
    is_scissors(line).then(|| {
        (
            "looks like scissors: `git am --scissors` drops the text above it".into(),
            "use another line",
        )
    })
}

/// Returns whether git may read a line as scissors: marks and dashes are at least a quarter of the
/// line. The limit of git is a third.
fn is_scissors(line: &str) -> bool {
    const MARKS: [&str; 4] = [">8", "8<", ">%", "%<"];
    let line = line.trim();
    let marks: usize = MARKS
        .iter()
        .map(|mark| 2 * line.matches(mark).count())
        .sum();
    let cut = line
        .chars()
        .filter(|c| ['-', ' ', '\t'].contains(c))
        .count();
    marks > 0 && line.contains('-') && 4 * (marks + cut) >= line.chars().count()
}

/// Returns whether git reads the first line of a mail's text as a header of the patch.
fn is_header_to_git(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let header = ["from:", "subject:", "date:"]
        .iter()
        .any(|key| lower.starts_with(key));
    header || lower.starts_with("[patch]")
}

/// Finds a title that changes as the subject of a mail. Returns the fault and the help.
pub fn title_fault(title: &str) -> Option<(String, &'static str)> {
    if let Some(fault) = mail_fault(title) {
        return Some(fault);
    }
    if title.starts_with('[') {
        return Some((
            "brackets at the start of a subject are dropped when the patch is applied".into(),
            "start with `subsystem: summary`; words like RFC belong in `prefix` of the manifest",
        ));
    }
    let re = title
        .get(..3)
        .is_some_and(|start| start.eq_ignore_ascii_case("re:"));
    if re || title.starts_with(':') {
        return Some((
            "the start of the subject is dropped when the patch is applied".into(),
            "start with `subsystem: summary`",
        ));
    }
    let blanks = |c: char| c.is_whitespace() && c != ' ';
    (title.contains(blanks) || title.contains("  ")).then(|| {
        (
            "the words of the subject are not separated by single blanks".into(),
            "write one blank between words, as in a mail",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "rust: list: add a walk\n\nDrivers need it.\n\nLink: https://example.org/\n";

    fn check(message: &str) -> String {
        faults(message)
            .iter()
            .map(|f| format!("{}: {}\n", f.line, f.what))
            .collect()
    }

    #[test]
    fn faults_of_good_message() {
        assert_eq!(check(GOOD), "");
    }

    #[test]
    fn faults_of_bad_messages() {
        insta::assert_snapshot!(check(""), @"1: the subject is empty");
        insta::assert_snapshot!(check("Add it.\nAt once\n"), @r#"
        1: the subject "Add it." has no subsystem prefix
        1: the subject ends with a full stop
        2: no blank line follows the subject
        "#);
        insta::assert_snapshot!(check("a: b\n\nReviewed-by: A <a@b>\n"), @"1: the message has no body");
        let long = "word ".repeat(16);
        let long = long.trim();
        insta::assert_snapshot!(check(&format!("a: {long}\n\n{long}\n    {long}\n")), @r"
        1: the subject is longer than 75 columns
        3: the line is longer than 75 columns
        ");
        insta::assert_snapshot!(
            check("a: b\n\nText\nChanges in v2:\n---\ndiff --git a/x b/x\nSigned-off-by: A <a@b>\n"), @r"
        4: a changelog between versions does not belong in a commit message
        5: `---` ends the message here when the patch is applied
        6: looks like the start of a diff when the patch is applied
        7: the sign-off is added when the series is assembled
        ");
    }

    #[test]
    fn is_trailer_by_key() {
        assert!(is_trailer("Fixes: 0123456789ab (\"x\")"));
        assert!(is_trailer("Reviewed-by: A <a@b>"));
        assert!(!is_trailer("Note: this is text"));
        assert!(!is_trailer("see-also: lower case"));
    }

    #[test]
    fn note_below_separator() {
        let mut mail = b"Subject: a\n\nText.\n---\n x | 2 +-\n".to_vec();
        note_below(&mut mail, "");
        note_below(&mut mail, "Dropped.\n");
        let text = String::from_utf8(mail).unwrap();
        assert_eq!(text, "Subject: a\n\nText.\n---\nDropped.\n\n x | 2 +-\n");
    }

    #[test]
    fn with_trailer_extends_block() {
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
