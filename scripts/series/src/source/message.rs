// SPDX-License-Identifier: GPL-2.0

//! Checks commit messages by the rules of `Documentation/process/submitting-patches.rst`.

use std::sync::LazyLock;

use regex::Regex;

use crate::sys::{Error, pattern};

/// The longest line, and the longest subject that checkpatch and most maintainers accept.
const COLUMNS: usize = 75;

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

/// Removes the sign-off of `who` from the end of a message, and returns both parts.
pub fn split_sign_off<'a>(message: &'a str, who: &str) -> (&'a str, Option<&'a str>) {
    let text = message.trim_end();
    let last = text.lines().last().unwrap_or_default();
    if last.strip_prefix(SIGN_OFF) != Some(who) {
        return (message, None);
    }
    (text[..text.len() - last.len()].trim_end(), Some(last))
}

const SIGN_OFF: &str = "Signed-off-by: ";

/// The remedy for a subject without a prefix.
const START: &str = "start with `subsystem: summary`";

/// Checks the file with the message of a patch. Returns the lines of the faults, from 1.
pub fn faults(message: &str) -> Vec<(usize, Error)> {
    let mut faults = faults_of_commit(message);
    let body = (1..).zip(message.lines()).skip(1);
    for (line, _) in body.filter(|(_, text)| text.starts_with(SIGN_OFF)) {
        let error = Error::new("the sign-off is added when the series is assembled");
        let help = "remove it here; the person who posts certifies the patch with their own name";
        faults.push((line, error.help(help)));
    }
    faults.sort_by_key(|(line, _)| *line);
    faults
}

/// Checks the message of a commit. Unlike a file, it contains the sign-offs.
pub fn faults_of_commit(message: &str) -> Vec<(usize, Error)> {
    let mut faults = Vec::new();
    let mut add = |line, what: &str, help: &str| faults.push((line, Error::new(what).help(help)));
    let subject = subject(message);
    if subject.is_empty() {
        add(1, "the subject is empty", START);
        return faults;
    }
    subject_faults(subject, &mut add);
    let body: Vec<(usize, &str)> = (1..).zip(message.lines()).skip(1).collect();
    let is_blank = |line: &str| line.trim().is_empty();
    for (at, line) in &body {
        if let Some((what, help)) = mail_fault(line) {
            add(*at, &what, help);
        }
    }
    let start = body.iter().find(|(_, l)| !is_blank(l));
    if let Some((at, _)) = start.filter(|(_, l)| is_header_to_git(l)) {
        let what = "git reads this line at the start of the text as a header";
        add(*at, what, "start with another line");
    }
    if body.first().is_some_and(|(_, l)| !is_blank(l)) {
        let help = "insert one; otherwise git reads the whole paragraph as the subject";
        add(2, "no blank line follows the subject", help);
    }
    for pair in body.windows(2) {
        if pair.iter().all(|(_, l)| is_blank(l)) {
            let what = "two blank lines in a row, but `git am` keeps only one";
            add(pair[1].0, what, "remove one");
        }
    }
    if body.iter().all(|(_, l)| is_blank(l) || is_trailer(l)) {
        let help = "explain why the change is made; a cover letter does not reach the git log";
        add(1, "the message has no body", help);
    }
    for (at, line) in body {
        line_faults(at, line, &mut add);
    }
    faults.sort_by_key(|(line, _)| *line);
    faults
}

fn subject_faults(subject: &str, add: &mut impl FnMut(usize, &str, &str)) {
    if !subject.contains(": ") {
        let what = format!("the subject {subject:?} has no subsystem prefix");
        add(1, &what, START);
    }
    if subject.chars().count() > COLUMNS {
        let what = format!("the subject is longer than {COLUMNS} columns");
        add(1, &what, "shorten it; the body has room");
    }
    if subject.ends_with('.') {
        add(1, "the subject ends with a full stop", "remove it");
    }
    if let Some((what, help)) = title_fault(subject) {
        add(1, &what, help);
    }
}

fn line_faults(at: usize, line: &str, add: &mut impl FnMut(usize, &str, &str)) {
    // Long words and trailers cannot be wrapped. Indented lines are code or output, as are lines of
    // the kernel's log.
    let is_output = line.starts_with([' ', '\t']) || LOGGED.is_match(line);
    let wrappable = line.contains(' ') && !is_output && !is_trailer(line);
    if wrappable && !line.contains("://") && line.chars().count() > COLUMNS {
        let what = format!("the line is longer than {COLUMNS} columns");
        add(at, &what, "wrap it");
    }
    if line.trim_end() != line {
        let what = "the line ends with a blank, which `git am` removes";
        add(at, what, "remove it");
    }
    let lower = line.to_ascii_lowercase();
    let version = lower.strip_prefix("changes in v");
    let version = version.or_else(|| lower.strip_prefix("changes since v"));
    if version.is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit())) {
        let what = "a changelog between versions does not belong in a commit message";
        let help = "write it in CHANGELOG.md; the tool puts it below `---` of the cover letter";
        add(at, what, help);
    }
}

/// The time at the start of a line of the kernel's log.
static LOGGED: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\[ *[0-9]+\.[0-9]+\]"));

const TEMPLATE: [&str; 3] = ["EDITME", "*** SUBJECT HERE ***", "*** BLURB HERE ***"];

/// Returns the fault and the help for a line that breaks the mail.
pub fn mail_fault(line: &str) -> Option<(String, &'static str)> {
    let fault = |what: &str, help| Some((what.to_owned(), help));
    if line.contains(|c: char| c.is_control() && c != '\t') {
        return fault("the line has a control character", "remove it");
    }
    if let Some(word) = TEMPLATE.iter().find(|word| line.contains(**word)) {
        let help = "write the text; b4 does not send mails with EDITME";
        return fault(&format!("{word:?} remains from a template"), help);
    }
    if line.trim_start_matches('>').starts_with("From ") {
        let what = "`From ` at the start of a line begins the next mail of a mailbox";
        return fault(what, "wrap the text elsewhere, or indent it");
    }
    if line == "-- " {
        return fault("`-- ` starts the signature of a mail", "use another line");
    }
    if line.trim_end() == "---" {
        let what = "`---` ends the message here when the patch is applied";
        return fault(what, "use another line");
    }
    let mut diffs = ["diff -", "Index: ", "--- "].iter();
    if diffs.any(|start| line.starts_with(start)) {
        let what = "looks like the start of a diff when the patch is applied";
        return fault(what, "indent it");
    }
    if is_scissors(line) {
        let what = "looks like scissors: `git am --scissors` drops the text above it";
        return fault(what, "use another line");
    }
    None
}

/// Returns whether git may read a line as scissors: marks and dashes are at least a quarter of the
/// line. The limit of git is a third.
fn is_scissors(line: &str) -> bool {
    let line = line.trim();
    let marks = [">8", "8<", ">%", "%<"].iter();
    let marks: usize = marks.map(|mark| 2 * line.matches(mark).count()).sum();
    let cut = line.matches(['-', ' ', '\t']).count();
    marks > 0 && line.contains('-') && 4 * (marks + cut) >= line.chars().count()
}

/// Returns whether git reads the first line of a mail's text as a header of the patch.
fn is_header_to_git(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let mut headers = ["from:", "subject:", "date:", "[patch]"].iter();
    headers.any(|start| lower.starts_with(start))
}

/// Finds a title that changes as the subject of a mail. Returns the fault and the help.
pub fn title_fault(title: &str) -> Option<(String, &'static str)> {
    let fault = |what: &str, help| Some((what.to_owned(), help));
    if let Some(fault) = mail_fault(title) {
        return Some(fault);
    }
    if title.starts_with('[') {
        let what = "brackets at the start of a subject are dropped when the patch is applied";
        let help =
            "start with `subsystem: summary`; words like RFC belong in `prefix` of the manifest";
        return fault(what, help);
    }
    if ["fixup! ", "squash! ", "amend! "]
        .iter()
        .any(|mark| title.starts_with(mark))
    {
        let what = "the commit is to be joined with another one";
        return fault(what, "run `git rebase -i --autosquash`");
    }
    if title.starts_with(':') || title.to_ascii_lowercase().starts_with("re:") {
        let what = "the start of the subject is dropped when the patch is applied";
        return fault(what, START);
    }
    if title.contains(|c: char| c.is_whitespace() && c != ' ') || title.contains("  ") {
        let what = "the words of the subject are not separated by single blanks";
        return fault(what, "write one blank between words, as in a mail");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "rust: list: add a walk\n\nDrivers need it.\n\nLink: https://example.org/\n";

    fn check(message: &str) -> String {
        let without_help = |e: &Error| e.to_string().lines().next().unwrap().to_owned();
        faults(message)
            .iter()
            .map(|(line, e)| format!("{line}: {}\n", without_help(e)))
            .collect()
    }

    #[test]
    fn faults_of_good_message() {
        assert_eq!(check(GOOD), "");
    }

    #[test]
    fn faults_of_bad_messages() {
        insta::assert_snapshot!(check(""), @"1: the subject is empty");
        insta::assert_snapshot!(check("\n\nSigned-off-by: A <a@b>\n"), @r"
        1: the subject is empty
        3: the sign-off is added when the series is assembled
        ");
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
        let log = format!("[   12.345678] BUG: {long}");
        insta::assert_snapshot!(check(&format!("a: b\n\n{log}\n[12] {long}\n  {long}\n")), @"4: the line is longer than 75 columns");
        insta::assert_snapshot!(check("fixup! a: b\n\nText\n"), @"1: the commit is to be joined with another one");
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
