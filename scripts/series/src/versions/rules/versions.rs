// SPDX-License-Identifier: GPL-2.0

//! Rule 1: each series counts its own versions from 1, and vN needs a recorded posting of v(N-1).

use super::{
    Fault,
    Rule, //
};
use crate::{
    source::manifest::Series,
    versions::postings::Posting, //
};

fn fault(series: &Series, what: String, help: String) -> Fault {
    Fault {
        rule: Rule::Version,
        file: series.file(),
        line: series.line_of_version,
        patch: None,
        what,
        help,
    }
}

/// The fault of a version that was posted: nothing is to be made of it any more.
pub fn unfinished(series: &Series, postings: &[Posting]) -> Option<Fault> {
    let (version, name) = (series.version, &series.name);
    let posted = postings.last().map_or(0, |p| p.version);
    (version <= posted).then(|| {
        let what = format!("v{version} of {name} was posted already");
        let help = format!("finish what was begun: `cargo series posted {name}`");
        fault(series, what, help)
    })
}

/// What is wrong with the version in the manifest.
pub fn faults(series: &Series, postings: &[Posting]) -> Vec<Fault> {
    let posted = postings.last().map_or(0, |p| p.version);
    let (version, name) = (series.version, &series.name);
    let mut faults: Vec<Fault> = unfinished(series, postings).into_iter().collect();
    if version > posted + 1 {
        let before = version - 1;
        let next = posted + 1;
        faults.push(fault(
            series,
            format!(
                "v{version} of {name} needs a recorded posting of v{before}, and there is none"
            ),
            format!(
                "the next version is v{next}: set version = {next}; if v{next} was posted by other \
                 means, record it: `cargo series posted {name} --mbox FILE`"
            ),
        ));
    }
    let other = postings.iter().find(|p| p.change_id != series.change_id);
    if let Some(other) = other {
        faults.push(fault(
            series,
            format!(
                "change-id is {:?}, but v{} was posted with {:?}",
                series.change_id.as_str(),
                other.version,
                other.change_id
            ),
            "it never changes, since it holds the versions together; restore it".to_owned(),
        ));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::versions::{
        postings::tests::posting,
        rules::shown, //
    };

    fn says(version: u32, posted: u32) -> String {
        let text = format!("# x\nversion = {version}\nchange-id = \"20260102-x-1\"\n");
        let series = Series::parse("x", "series/x.toml".as_ref(), &text).unwrap();
        let postings: Vec<_> = (1..=posted).map(|v| posting(v, &["a: b"])).collect();
        shown(faults(&series, &postings))
    }

    #[test]
    fn the_next_version_is_fine() {
        assert_eq!(says(1, 0), "");
        assert_eq!(says(3, 2), "");
    }

    #[test]
    fn a_version_without_a_posting_before_it_is_refused() {
        insta::assert_snapshot!(says(2, 0), @r"
        series/x.toml:2: v2 of x needs a recorded posting of v1, and there is none
          help: the next version is v1: set version = 1; if v1 was posted by other means, record it: `cargo series posted x --mbox FILE`
        ");
        insta::assert_snapshot!(says(6, 1), @r"
        series/x.toml:2: v6 of x needs a recorded posting of v5, and there is none
          help: the next version is v2: set version = 2; if v2 was posted by other means, record it: `cargo series posted x --mbox FILE`
        ");
    }

    #[test]
    fn a_version_that_was_posted_is_refused() {
        insta::assert_snapshot!(says(1, 1), @r"
        series/x.toml:2: v1 of x was posted already
          help: finish what was begun: `cargo series posted x`
        ");
    }

    #[test]
    fn the_change_id_stays() {
        let text = "version = 2\nchange-id = \"20260102-other\"\n";
        let series = Series::parse("x", "series/x.toml".as_ref(), text).unwrap();
        insta::assert_snapshot!(shown(faults(&series, &[posting(1, &["a: b"])])), @r#"
        series/x.toml:1: change-id is "20260102-other", but v1 was posted with "20260102-x-1"
          help: it never changes, since it holds the versions together; restore it
        "#);
    }
}
