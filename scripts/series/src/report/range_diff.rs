// SPDX-License-Identifier: GPL-2.0

//! Classifies the lines of a range-diff, so that the page can color them like git.

use serde::Serialize;

#[derive(Serialize)]
pub struct Line<'a> {
    /// The CSS class.
    class: &'static str,
    text: &'a str,
}

pub fn lines(text: &str) -> Vec<Line<'_>> {
    let line = |text| Line {
        class: class(text),
        text,
    };
    text.lines().map(line).collect()
}

/// Returns the class of a line: a heading, or a line in the diff of two diffs, indented by four.
fn class(line: &str) -> &'static str {
    let Some(inner) = line.strip_prefix("    ") else {
        return heading(line);
    };
    let mut chars = inner.chars();
    let outer = chars.next();
    let inner = chars.as_str();
    match (outer, chars.next()) {
        (Some('@'), _) => "hunk",
        // Lines of one version only.
        (Some('+'), _) => "come",
        (Some('-'), _) => "go",
        // Lines of both versions.
        (_, Some('+')) => "both-come",
        (_, Some('-')) => "both-go",
        (_, Some('@')) => "hunk",
        _ if inner.starts_with(" ## ") || inner.starts_with("## ") => "file",
        _ => "plain",
    }
}

/// Returns the class of a heading, such as `1: ! 2: subject`.
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
    fn lines_have_class_of_sign() {
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
