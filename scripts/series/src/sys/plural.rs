// SPDX-License-Identifier: GPL-2.0

//! Counts with the right form of the noun.

use std::fmt::Display;

/// "1 patch", "2 patches".
pub fn count<N: Display + From<u8> + PartialEq>(n: N, one: &str, many: &str) -> String {
    let word = if n == N::from(1) { one } else { many };
    format!("{n} {word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_one_is_singular() {
        let all = [0, 1, 2].map(|n| count(n, "patch", "patches"));
        assert_eq!(all, ["0 patches", "1 patch", "2 patches"]);
    }

    /// Finds lines of the tool that print a number before a plural without checking for 1.
    fn careless(dir: &std::path::Path, found: &mut Vec<String>) {
        let plural = r"\{[^{}]*\} (patches|mails|files|lines|diffs|tags|trailers|words|exports)\b";
        let plural = regex::Regex::new(plural).unwrap();
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                careless(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            // In a match, an earlier arm handles 1.
            let checked = |l: &str| l.contains("=> ") || l.contains("folders belong here");
            let lines = text.lines().map(str::trim).filter(|l| !l.starts_with("//"));
            let lines = lines.filter(|l| plural.is_match(l) && !checked(l));
            found.extend(lines.map(|l| format!("{}: {l}", path.display())));
        }
    }

    #[test]
    fn sources_check_for_singular() {
        let mut found = Vec::new();
        let src = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        careless(src.as_ref(), &mut found);
        assert_eq!(found, Vec::<String>::new());
    }
}
