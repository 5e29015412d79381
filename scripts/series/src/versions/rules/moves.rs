// SPDX-License-Identifier: GPL-2.0

//! Rule 3: a patch stays in its series, and the changelog does not describe its origin.
//!
//! A split happens only once: a series that was never posted may take patches from a posted series
//! if its provenance links to that posting. After its first posting, its patches stay.

use super::{Fault, Rule};
use crate::{
    patches::plan::PlannedSeries,
    source::{changelog::Entry, component::Component},
    versions::{
        postings::Posting,
        range_diff::{Change, Comparison},
    },
};

/// The present state of a series.
pub struct Now<'a> {
    /// The planned patches.
    pub plan: &'a PlannedSeries,
    /// `git patch-id --stable` of each patch.
    pub patch_ids: &'a [String],
    /// The comparison with its last posting, if there is one.
    pub since: Option<&'a Comparison>,
}

impl Now<'_> {
    /// Returns the numbers of the patches that its own last posting does not have.
    fn new_here(&self) -> Vec<usize> {
        match self.since {
            None => (1..=self.plan.patches.len()).collect(),
            Some(since) => since
                .patches
                .iter()
                .filter(|p| p.change == Change::Added)
                .filter_map(|p| p.new)
                .collect(),
        }
    }
}

/// Finds patches of `now` that were posted as part of one of `others`.
pub fn faults(now: &Now<'_>, others: &[&Component]) -> Vec<Fault> {
    let component = &now.plan.component;
    let mut faults = Vec::new();
    for number in now.new_here() {
        let planned = &now.plan.patches[number - 1];
        let id = now.patch_ids.get(number - 1);
        let found = others
            .iter()
            .filter(|other| other.name() != component.name())
            .find_map(|other| {
                let posting = other.postings.iter().rev();
                let mut all =
                    posting.flat_map(|p| p.patches.iter().enumerate().map(move |n| (p, n)));
                let same =
                    |(_, (_, p)): &(&Posting, (usize, &crate::versions::postings::PostedPatch))| {
                        Some(&p.patch_id) == id || p.subject == planned.subject
                    };
                all.find(same).map(|(p, (i, _))| (*other, p, i + 1))
            });
        let Some((other, posting, n)) = found else {
            continue;
        };
        if is_split(component, posting) {
            continue;
        }
        let (name, from) = (component.name(), other.name());
        faults.push(Fault {
            rule: Rule::Moves,
            file: component.series.file(),
            line: component.series.patches.get(number - 1).map(|p| p.line),
            patch: Some(number),
            what: format!(
                "patch {number} (\"{}\") was posted as patch {n} of v{} of {from}",
                planned.subject, posting.version
            ),
            help: match component.postings.is_empty() {
                true => format!(
                    "patches do not move between series: leave it in {from}; if {name} is split \
                     off from it, link to {} in [provenance] of {name}",
                    posting.link()
                ),
                false => format!("patches do not move between series: leave it in {from}"),
            },
        });
    }
    faults
}

/// Whether a series that was never posted links to that posting as its origin.
fn is_split(component: &Component, posting: &Posting) -> bool {
    let provenance = component.series.provenance.iter();
    let mut links = provenance.flat_map(|p| &p.links);
    component.postings.is_empty() && links.any(|l| l.contains(&posting.message_id))
}

/// Finds statements in a changelog about the origin of a series or a patch.
pub fn in_changelog(component: &Component, entries: &[Entry], series: &[&str]) -> Vec<Fault> {
    let name = component.name();
    let provenance = component.series.provenance.iter();
    let links: Vec<&String> = provenance.flat_map(|p| &p.links).collect();
    let mut faults = Vec::new();
    for entry in entries {
        for (index, line) in entry.text.lines().enumerate() {
            let from = links.iter().any(|l| line.contains(l.as_str()));
            if !from && !speaks_of_a_move(line, name, series) {
                continue;
            }
            faults.push(Fault {
                rule: Rule::Moves,
                file: component.changelog_file(),
                line: Some(entry.first_line + index),
                patch: None,
                what: format!(
                    "the entry of v{} describes the origin of patches",
                    entry.version
                ),
                help: format!(
                    "a changelog describes changes in design and code; the origin of a series \
                     belongs into its cover letter: [provenance] in {}",
                    component.series.file().display()
                ),
            });
        }
    }
    faults
}

/// Matches lines such as "Moved patch 3 to gpu-buddy" and "Taken over from clist".
fn speaks_of_a_move(line: &str, own: &str, series: &[&str]) -> bool {
    let words: Vec<String> = line
        .split(|c: char| !c.is_alphanumeric() && c != '-')
        .map(str::to_lowercase)
        .collect();
    let has = |list: &[&str]| words.iter().any(|w| list.contains(&w.as_str()));
    let other = series
        .iter()
        .any(|s| *s != own && words.iter().any(|w| w == s));
    other
        && has(&[
            "moved",
            "move",
            "moves",
            "split",
            "taken",
            "transferred",
            "merged",
            "combined",
        ])
        && has(&["from", "to", "into", "out", "off", "with"])
        && has(&["patch", "patches", "series"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        patches::plan::{
            plan,
            tests::{MESSAGE, component},
        },
        source::changelog,
        versions::{postings::tests::posting, rules::shown},
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
            patches: vec![crate::versions::range_diff::PatchChange {
                old: None,
                new: Some(1),
                change: Change::Added,
                subject: String::new(),
            }],
            text: String::new(),
        };
        let ids = [id.to_owned()];
        let now = Now {
            plan: &planned[0],
            patch_ids: &ids,
            since: posted.then_some(&since),
        };
        shown(faults(&now, &[&other]))
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
