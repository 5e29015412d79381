// SPDX-License-Identifier: GPL-2.0

//! Numbers of things, as a sentence names them.

/// "1 patch", "2 patches".
pub fn count(n: usize, one: &str, many: &str) -> String {
    let word = if n == 1 { one } else { many };
    format!("{n} {word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_named_in_the_singular() {
        let all = [0, 1, 2].map(|n| count(n, "patch", "patches"));
        assert_eq!(all, ["0 patches", "1 patch", "2 patches"]);
    }

    /// The lines of the tool that put a number before a plural without asking whether it is one.
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
            // An arm of a match had the one before it.
            let asked = |l: &str| l.contains("=> ") || l.contains("folders belong here");
            let lines = text.lines().map(str::trim).filter(|l| !l.starts_with("//"));
            let lines = lines.filter(|l| plural.is_match(l) && !asked(l));
            found.extend(lines.map(|l| format!("{}: {l}", path.display())));
        }
    }

    #[test]
    fn plurals_are_used_for_plurals() {
        let mut found = Vec::new();
        let src = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        careless(src.as_ref(), &mut found);
        assert_eq!(found, Vec::<String>::new());
    }
}
