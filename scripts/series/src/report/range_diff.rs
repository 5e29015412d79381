// SPDX-License-Identifier: GPL-2.0

//! The lines of a range-diff, each with what it is, so that it can be coloured as git does.

use serde::Serialize;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What it is; the name of a class in the page.
    pub class: &'static str,
    /// The line.
    pub text: String,
}

/// The lines of a range-diff.
pub fn lines(text: &str) -> Vec<Line> {
    let line = |line: &str| Line {
        class: class(line),
        text: line.to_owned(),
    };
    text.lines().map(line).collect()
}

/// A line of a range-diff is a heading, or the line of a diff of two diffs, indented by four.
fn class(line: &str) -> &'static str {
    let Some(inner) = line.strip_prefix("    ") else {
        return heading(line);
    };
    let (outer, inner) = match inner.chars().next() {
        Some(outer) => (outer, &inner[outer.len_utf8()..]),
        None => return "plain",
    };
    match (outer, inner.chars().next()) {
        ('@', _) => "hunk",
        // What the new version has, and the old one has not.
        ('+', _) => "come",
        ('-', _) => "go",
        // What both versions add, remove, or say of the file.
        (_, Some('+')) => "both-come",
        (_, Some('-')) => "both-go",
        (_, Some('@')) => "hunk",
        _ if inner.starts_with(" ## ") || inner.starts_with("## ") => "file",
        _ => "plain",
    }
}

/// `1: ! 2: subject`.
fn heading(line: &str) -> &'static str {
    let sign = line.split_once(": ").map(|(_, rest)| rest);
    match sign.and_then(|s| s.chars().next()) {
        Some('=') => "same",
        Some('!') => "changed",
        Some('<') => "dropped",
        Some('>') => "added",
        _ => "plain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_told_by_its_signs() {
        let text = "\
1: = 1: rust: a
2: ! 2: rust: b
    @@ rust/b.rs (new)
      ## Commit message ##
    -    Old.
    +    New.
     +both add
     -both remove
    -+gone
    ++come
      context
3: < -: rust: c
-: > 3: rust: d
    \u{fc}
    
no range-diff
";
        let classes: Vec<_> = lines(text).iter().map(|l| l.class).collect();
        assert_eq!(
            classes,
            [
                "same",
                "changed",
                "hunk",
                "file",
                "go",
                "come",
                "both-come",
                "both-go",
                "go",
                "come",
                "plain",
                "dropped",
                "added",
                "plain",
                "plain",
                "plain"
            ]
        );
        assert_eq!(lines("    +<b>\n")[0].text, "    +<b>");
    }
}
