// SPDX-License-Identifier: GPL-2.0

//! Rule 3: a patch stays in its series, and the changelog does not describe its origin.
//!
//! A split happens only once: a series that was never posted may take patches from a posted series
//! if its provenance links to that posting. After its first posting, its patches stay.

use crate::{
    patches::plan::PlannedSeries,
    source::{changelog::Entry, component::Component, finding::Finding, manifest::Series},
    versions::{
        postings::PostedPatch,
        range_diff::{Change, Comparison, PatchChange},
    },
};

/// Finds patches of a series that were posted as part of one of `others`.
///
/// `patch_ids` has the `git patch-id --stable` of each patch, `since` is the comparison with the last
/// posting.
pub fn faults(
    plan: &PlannedSeries,
    patch_ids: &[String],
    since: Option<&Comparison>,
    others: &[&Component],
) -> Vec<Finding> {
    let component = &plan.component;
    let (name, series) = (component.name(), &component.series);
    let never_posted = component.postings.is_empty();
    let mut faults = Vec::new();
    for (index, planned) in plan.patches.iter().enumerate() {
        let number = index + 1;
        let is_it = |p: &PatchChange| p.change == Change::Added && p.new == Some(number);
        if since.is_some_and(|since| !since.patches.iter().any(is_it)) {
            continue;
        }
        let (subject, id) = (&planned.subject, patch_ids.get(index));
        let same = |p: &PostedPatch| Some(&p.patch_id) == id || p.subject == *subject;
        let mut others = others.iter().filter(|other| other.name() != name);
        let found = others.find_map(|other| {
            other.postings.iter().rev().find_map(|posting| {
                let at = posting.patches.iter().position(same)?;
                Some((other.name(), posting, at + 1))
            })
        });
        let Some((from, posting, n)) = found else {
            continue;
        };
        if never_posted && links(series).any(|l| l.contains(&posting.message_id)) {
            continue;
        }
        let (version, link) = (posting.version, posting.link());
        let what = format!(
            "patch {number} (\"{subject}\") was posted as patch {n} of v{version} of {from}"
        );
        let mut help = format!("patches do not move between series: leave it in {from}");
        if never_posted {
            let split = format!("if {name} is split off from it");
            help += &format!("; {split}, link to {link} in [provenance] of {name}");
        }
        let line = series.patches.get(index).map(|p| p.line);
        let fault = Finding::new(name, "moves", what).of_patch(number);
        faults.push(fault.at(&series.file, line).help(help));
    }
    faults
}

/// Returns the links to the origin of a series.
fn links(series: &Series) -> impl Iterator<Item = &String> {
    series.provenance.iter().flat_map(|p| &p.value.links)
}

/// Finds statements in a changelog about the origin of a series or a patch.
pub fn in_changelog(component: &Component, entries: &[Entry], series: &[&str]) -> Vec<Finding> {
    let manifest = &component.series.file;
    let help = format!(
        "a changelog describes changes in design and code; the origin of a series belongs into its \
         cover letter: [provenance] in {}",
        manifest.display()
    );
    let is_origin = |line: &str| {
        links(&component.series).any(|l| line.contains(l))
            || speaks_of_a_move(line, component.name(), series)
    };
    let mut faults = Vec::new();
    for entry in entries {
        let lines = (entry.first_line..).zip(entry.text.lines());
        let what = format!(
            "the entry of v{} describes the origin of patches",
            entry.version
        );
        for (number, _) in lines.filter(|(_, line)| is_origin(line)) {
            let fault = Finding::new(component.name(), "moves", &what);
            faults.push(fault.at(component.changelog_file(), number).help(&help));
        }
    }
    faults
}

/// Matches lines such as "Moved patch 3 to gpu-buddy" and "Taken over from clist".
fn speaks_of_a_move(line: &str, own: &str, series: &[&str]) -> bool {
    let line = line.to_lowercase();
    let words = line.split(|c: char| !c.is_alphanumeric() && c != '-');
    let words: Vec<&str> = words.collect();
    let has = |list: &str| list.split(' ').any(|word| words.contains(&word));
    series.iter().any(|s| *s != own && words.contains(s))
        && has("moved move moves split taken transferred merged combined")
        && has("from to into out off with")
        && has("patch patches series")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        patches::plan::tests::{MESSAGE, component, plan},
        source::{changelog, finding::shown},
        versions::postings::tests::posting,
    };

    const PATCH: &str = "[[patch]]\nmessage = \"1.msg\"\nfiles = [\"a.rs\"]\n";

    fn subject() -> &'static str {
        MESSAGE.lines().next().unwrap()
    }

    fn says(provenance: &str, posted: bool, id: &str, theirs: &str) -> String {
        let mut one = component(
            "mm",
            &format!("{provenance}{PATCH}"),
            &[("a.rs", "x\n")],
            &[],
        );
        if posted {
            one.postings = vec![posting(1, &["a: b"])];
        }
        let mut other = component("list", "", &[], &[]);
        other.postings = vec![posting(1, &["first: patch", theirs])];
        let planned = plan(vec![one]).unwrap();
        let since = Comparison {
            against: 1,
            patches: vec![PatchChange {
                old: None,
                new: Some(1),
                change: Change::Added,
                subject: String::new(),
            }],
            text: String::new(),
        };
        let ids = [id.to_owned()];
        let since = posted.then_some(&since);
        shown(faults(&planned[0], &ids, since, &[&other]))
    }

    #[test]
    fn faults_own_patch_passes() {
        assert_eq!(says("", true, "0", "other: patch"), "");
        assert_eq!(says("", false, "0", "other: patch"), "");
    }

    #[test]
    fn faults_moved_patch_is_refused() {
        insta::assert_snapshot!(says("", true, "0", subject()), @r#"
        series/mm.toml:3: patch 1 ("rust: add a thing") was posted as patch 2 of v1 of list
          help: patches do not move between series: leave it in list
        "#);
        // With another subject.
        let id = format!("{:040x}", 1);
        assert!(
            says("", true, &id, "other: patch").contains("was posted as patch 1 of v1 of list")
        );
    }

    #[test]
    fn faults_split_with_provenance_passes() {
        insta::assert_snapshot!(says("", false, "0", subject()), @r#"
        series/mm.toml:3: patch 1 ("rust: add a thing") was posted as patch 2 of v1 of list
          help: patches do not move between series: leave it in list; if mm is split off from it, link to https://patch.msgid.link/20260102-x-v1-0-abc@example.org in [provenance] of mm
        "#);
        let link = posting(1, &["a: b"]).link();
        let provenance =
            format!("provenance = {{ text = \"Split off.\", links = [\"{link}\"] }}\n");
        assert_eq!(says(&provenance, false, "0", subject()), "");
        // Only before the first posting.
        assert_ne!(says(&provenance, true, "0", subject()), "");
    }

    #[test]
    fn in_changelog_origin_is_refused() {
        let manifest = "provenance = { text = \"x\", links = [\"https://example.org/old\"] }\n";
        let one = component("mm", manifest, &[], &[]);
        let says = |items: &str| {
            let text = format!("## v1\n\n- First.\n{items}");
            let entries = changelog::parse(&text).map_err(|(_, e)| e).unwrap();
            shown(in_changelog(&one, &entries, &["mm", "list"]))
        };
        assert_eq!(
            says("- Split the block in two, as list does.\n- Moved a lock.\n"),
            ""
        );
        assert_eq!(says("- Patch 2: take what list gives.\n"), "");
        insta::assert_snapshot!(says("- Moved patch 3 to list.\n"), @r"
        mm/CHANGELOG.md:4: the entry of v1 describes the origin of patches
          help: a changelog describes changes in design and code; the origin of a series belongs into its cover letter: [provenance] in series/mm.toml
        ");
        assert!(says("- See https://example.org/old\n").contains("mm/CHANGELOG.md:4"));
    }
}
