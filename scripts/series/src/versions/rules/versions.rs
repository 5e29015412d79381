// SPDX-License-Identifier: GPL-2.0

//! Rule 1: each series counts its own versions from 1, and vN needs a recorded posting of v(N-1).

use crate::{
    source::{finding::Finding, manifest::Series},
    versions::postings::Posting,
};

/// Reports a version that has a posting already, which must not be assembled again.
pub fn unfinished(series: &Series, postings: &[Posting]) -> Option<Finding> {
    let (version, name) = (series.version, &series.name);
    postings.last().filter(|last| version <= last.version)?;
    let what = format!("v{version} of {name} was already posted");
    let help = format!("complete the recording: `cargo series record {name}`");
    let fault = Finding::new(name, "version", what);
    Some(fault.at(&series.file, series.line_of_version).help(help))
}

/// Checks the version and the change id in the manifest.
pub fn faults(series: &Series, postings: &[Posting]) -> Vec<Finding> {
    let next = postings.last().map_or(0, |p| p.version) + 1;
    let (version, name) = (series.version, &series.name);
    let mut faults: Vec<Finding> = unfinished(series, postings).into_iter().collect();
    let mut add = |what: String, help: String| {
        let fault = Finding::new(name, "version", what);
        faults.push(fault.at(&series.file, series.line_of_version).help(help));
    };
    if version > next {
        let before = version - 1;
        add(
            format!("v{version} of {name} needs a recorded posting of v{before}, which is missing"),
            format!(
                "the next version is v{next}: set version = {next}; if v{next} was posted by other \
                 means, record it: `cargo series record {name} --mbox FILE`"
            ),
        );
    }
    let own = series.change_id.as_str();
    if let Some(other) = postings.iter().find(|p| p.change_id != own) {
        let (version, id) = (other.version, &other.change_id);
        let what = format!("change-id is {own:?}, but v{version} was posted with {id:?}");
        let help = "all versions of a series have the same change-id; restore it";
        add(what, help.to_owned());
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{source::finding::shown, versions::postings::tests::posting};

    fn says(version: u32, posted: u32) -> String {
        let text = format!("# x\nversion = {version}\nchange-id = \"20260102-x-1\"\n");
        let series = Series::parse("x", "series/x.toml".as_ref(), &text).unwrap();
        let postings: Vec<_> = (1..=posted).map(|v| posting(v, &["a: b"])).collect();
        shown(faults(&series, &postings))
    }

    #[test]
    fn faults_next_version_passes() {
        assert_eq!(says(1, 0), "");
        assert_eq!(says(3, 2), "");
    }

    #[test]
    fn faults_version_without_previous_posting() {
        insta::assert_snapshot!(says(2, 0), @r"
        series/x.toml:2: v2 of x needs a recorded posting of v1, which is missing
          help: the next version is v1: set version = 1; if v1 was posted by other means, record it: `cargo series record x --mbox FILE`
        ");
        insta::assert_snapshot!(says(6, 1), @r"
        series/x.toml:2: v6 of x needs a recorded posting of v5, which is missing
          help: the next version is v2: set version = 2; if v2 was posted by other means, record it: `cargo series record x --mbox FILE`
        ");
    }

    #[test]
    fn faults_posted_version_is_refused() {
        insta::assert_snapshot!(says(1, 1), @r"
        series/x.toml:2: v1 of x was already posted
          help: complete the recording: `cargo series record x`
        ");
    }

    #[test]
    fn faults_other_change_id_is_refused() {
        let text = "version = 2\nchange-id = \"20260102-other\"\n";
        let series = Series::parse("x", "series/x.toml".as_ref(), text).unwrap();
        insta::assert_snapshot!(shown(faults(&series, &[posting(1, &["a: b"])])), @r#"
        series/x.toml:1: change-id is "20260102-other", but v1 was posted with "20260102-x-1"
          help: all versions of a series have the same change-id; restore it
        "#);
    }
}
