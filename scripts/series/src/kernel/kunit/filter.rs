// SPDX-License-Identifier: GPL-2.0

//! Selects suites and cases by name, as `kunit.filter_glob` does: `SUITE` or `SUITE.CASE`.

use regex::Regex;

use super::{ktap::Log, verdict::Expectation};
use crate::sys::{Error, Result};

/// A filter of `test --filter`.
#[derive(Debug, Clone)]
pub struct Filter {
    pub glob: String,
    suites: Regex,
}

impl Filter {
    /// Reads a filter. Fails if KUnit would not take it: it becomes a word of the kernel's command
    /// line.
    pub fn parse(glob: &str) -> Result<Self> {
        let suite = glob.split('.').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-*?[]!.,/#".contains(c);
        match Regex::new(&format!("^{}$", regex_of(suite))) {
            Ok(suites) if !suite.is_empty() && glob.chars().all(plain) => {
                let glob = glob.to_owned();
                Ok(Self { glob, suites })
            }
            _ => Err(Error::new(format!("{glob:?} is not a filter of KUnit"))
                .help("name a suite, SUITE.CASE, or a pattern of them with * and ?")),
        }
    }

    /// Returns the selected suites. If there are none, the error lists all.
    pub fn select(&self, all: &[String]) -> Result<Vec<String>> {
        let selected = all.iter().filter(|suite| self.suites.is_match(suite));
        let selected: Vec<String> = selected.cloned().collect();
        if selected.is_empty() {
            return Err(Error::new(format!("no suite matches {:?}", self.glob))
                .help(format!("the suites are: {}", all.join(", "))));
        }
        Ok(selected)
    }

    /// Returns the suites that have to run. A filter of cases selects some in some of the suites,
    /// so only those in the log are expected.
    pub fn expected(&self, mut suites: Vec<String>, log: &Log) -> Expectation {
        let ran = |suite: &String| log.suite(suite).next().is_some();
        // If none ran, the verdict names the suites in which no case has such a name.
        if self.glob.contains('.') && suites.iter().any(ran) {
            suites.retain(ran);
        }
        let doctests = Vec::new();
        Expectation { suites, doctests }
    }
}

fn regex_of(glob: &str) -> String {
    let translate = |c: char| match c {
        '*' => ".*".to_owned(),
        '?' => ".".to_owned(),
        '[' | ']' => c.to_string(),
        '!' => "^".to_owned(),
        c => regex::escape(&c.to_string()),
    };
    glob.chars().map(translate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::kunit::ktap;

    fn all() -> Vec<String> {
        ["mm_va", "mm_va_tree", "clist"].map(str::to_owned).to_vec()
    }

    #[test]
    fn filter_selects_suites() {
        for (glob, suites) in [
            ("mm_va", &["mm_va"][..]),
            ("mm_*", &["mm_va", "mm_va_tree"]),
            ("mm_v?.x*", &["mm_va"]),
            ("[a-c]list", &["clist"]),
            ("[!m]*", &["clist"]),
        ] {
            let filter = Filter::parse(glob).unwrap();
            assert_eq!(filter.select(&all()).unwrap(), suites, "{glob}");
        }
    }

    #[test]
    fn filter_without_suite_lists_all() {
        let error = Filter::parse("va").unwrap().select(&all()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("mm_va, mm_va_tree, clist"), "{text}");
        for bad in ["", ".x", "a b", "a;b", "[a"] {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn filter_of_cases_expects_suites_in_log() {
        let log = "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: mm_va\n    1..1\n    \
                   ok 1 walk\nok 1 mm_va\n";
        let log = ktap::parse(log.as_bytes());
        let expected = |glob| Filter::parse(glob).unwrap().expected(all(), &log).suites;
        assert_eq!(expected("*.walk"), ["mm_va"]);
        assert_eq!(expected("*"), all());
        assert_eq!(
            Filter::parse("*.x")
                .unwrap()
                .expected(all(), &ktap::parse(b""))
                .suites,
            all()
        );
    }
}
