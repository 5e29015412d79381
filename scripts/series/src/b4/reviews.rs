// SPDX-License-Identifier: GPL-2.0

//! Trailers that `b4 trailers` writes into the commits of b4's branch.
//!
//! The tool recreates the branch, so it has to record these trailers before. It lists its own
//! trailers in b4's tracking data, so that a removed trailer is not mistaken for one of b4.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::tracking::{branch_name, head, tracked};
use crate::{
    git::{Git, Oid},
    patches::commits::AssembledSeries,
    source::{component::Component, manifest::Patch, message},
    sys::{Error, Result},
    versions::trailers::{
        collect::Posted,
        find::{self, Trailer},
        has,
        store::Entry,
    },
};

const KEY: &str = "trailers";

/// Unrecorded trailers from b4 in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The file of the patch's message.
    pub patch: String,
    pub commit: Oid,
    /// Reviewed-by, Acked-by, Tested-by.
    pub reviews: Vec<Trailer>,
    pub others: Vec<String>,
}

/// Lists the trailers of the tool in its part of b4's tracking data.
pub fn note(own: &mut Value, one: &AssembledSeries) {
    let mut written: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for commit in &one.messages {
        let of = written.entry(message::subject(&commit.message));
        of.or_default().extend(lines(&commit.message));
    }
    own[KEY] = json!(written);
}

fn lines(message: &str) -> impl Iterator<Item = &str> {
    let is_one = |l: &&str| message::is_trailer(l) || Trailer::parse(l).is_ok();
    block(message).lines().filter(is_one)
}

/// Returns the last paragraph above `---`.
fn block(message: &str) -> &str {
    let above = message.split("\n---\n").next().unwrap_or(message);
    let (_, block) = above.trim_end().rsplit_once("\n\n").unwrap_or(("", ""));
    block
}

/// Returns the unrecorded trailers in the branch of a series, or `None` without a branch.
pub fn in_branch(git: &Git<'_>, component: &Component) -> Result<Option<Vec<Unknown>>> {
    let Some(tracked) = tracked(git, &head(component.name()))? else {
        return Ok(None);
    };
    let commits = tracked.log(git, "%B")?;
    Ok(Some(unknown(component, &commits, tracked.own())))
}

/// Returns the unrecorded trailers from b4. `own` is the tool's part of b4's tracking data.
pub fn unknown(component: &Component, commits: &[(Oid, String)], own: &Value) -> Vec<Unknown> {
    let patches = &component.series.patches;
    let text = |patch: &Patch| {
        let message = component.messages.get(&patch.message.value);
        message.map_or("", String::as_str)
    };
    let mut found = Vec::new();
    for (i, (commit, message)) in commits.iter().enumerate() {
        let subject = message::subject(message);
        let same = patches
            .iter()
            .find(|p| message::subject(text(p)) == subject);
        // The subject of a patch may have changed.
        let as_many = || patches.get(i).filter(|_| commits.len() == patches.len());
        let Some(planned) = same.or_else(as_many) else {
            continue;
        };
        let (patch, text) = (&planned.message.value, text(planned));
        let written = own[KEY][subject].as_array();
        let ours = written.into_iter().flatten().filter_map(Value::as_str);
        let ours = ours.collect::<Vec<_>>().join("\n");
        let mut reviews = find::read(block(message)).trailers;
        reviews.retain(|t| {
            let mut recorded = component.trailers.iter();
            let is_recorded = recorded.any(|e| e.patch == *patch && e.trailer == *t);
            !has(&ours, t) && !has(text, t) && !is_recorded
        });
        // Without a list in the tracking data, all other trailers count as the tool's.
        let is_other = |l: &&str| {
            let mut known = text.lines().chain(ours.lines());
            Trailer::parse(l).is_err() && written.is_some() && !known.any(|known| known == *l)
        };
        let others: Vec<String> = lines(message).filter(is_other).map(str::to_owned).collect();
        if !reviews.is_empty() || !others.is_empty() {
            found.push(Unknown {
                patch: patch.clone(),
                commit: commit.clone(),
                reviews,
                others,
            });
        }
    }
    found
}

/// Converts trailers to records. `fingerprints` has the fingerprint of each commit. b4 adds a
/// trailer to the commit with the same changes as the posted patch.
pub fn entries(unknown: &[Unknown], fingerprints: &[String], posted: &[Posted]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (one, fingerprint) in unknown.iter().zip(fingerprints) {
        let same = posted.iter().rev().find(|version| {
            let mut patches = version.patches();
            patches.any(|(p, was)| p.message.as_ref() == Some(&one.patch) && was == fingerprint)
        });
        let Some(version) = same.or(posted.last()).map(|v| v.posting.version) else {
            continue;
        };
        entries.extend(one.reviews.iter().map(|trailer| Entry {
            patch: one.patch.clone(),
            trailer: trailer.clone(),
            version,
            fingerprint: fingerprint.clone(),
            ..Entry::default()
        }));
    }
    entries
}

/// Returns an error if recreating the branch would lose trailers.
pub fn would_be_lost(name: &str, unknown: &[Unknown]) -> Option<Error> {
    let lines = unknown.iter().flat_map(|u| {
        let reviews = u.reviews.iter().map(ToString::to_string);
        let all = reviews.chain(u.others.iter().cloned());
        all.map(|line| format!("{}: {line}", u.patch))
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return None;
    }
    let branch = branch_name(name);
    let error = Error::new(format!(
        "b4 wrote trailers into {branch} that would be lost"
    ));
    let help = format!("record them: `cargo series trailers {name}`");
    Some(error.detail(lines.join("\n")).help(help))
}

/// Returns an error for trailers from b4 that the tool does not record.
pub fn by_hand(name: &str, unknown: &[Unknown]) -> Option<Error> {
    let help =
        "the tool records only Reviewed-by, Acked-by and Tested-by; add the line to this file";
    let others = unknown
        .iter()
        .flat_map(|u| u.others.iter().map(move |line| (u, line)));
    let errors = others.map(|(u, line)| {
        Error::new(format!("b4 wrote {line:?} into this patch"))
            .at(format!("series/{name}/{}", u.patch), None)
            .help(help)
    });
    Error::all(errors).err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{patches::plan::tests::component, versions::postings::tests::posting};

    const MANIFEST: &str = "[[patch]]\nmessage = \"1.msg\"\n[[patch]]\nmessage = \"2.msg\"\n";

    fn series() -> Component {
        let mut series = component("x", MANIFEST, &[], &[]);
        for n in ["1", "2"] {
            let text = format!("x: {n}\n\nText.\n\nAcked-by: Own <own@x.org>\n");
            series.messages.insert(format!("{n}.msg"), text);
        }
        series
    }

    fn oid(n: usize) -> Oid {
        Oid::parse(&format!("{n:040}")).unwrap()
    }

    fn commits(subjects: [&str; 2], trailers: &str) -> Vec<(Oid, String)> {
        let message =
            |s| format!("{s}\n\nText.\n\n{trailers}\n---\nReviewed-by: Below <b@x.org>\n");
        let messages = subjects.into_iter().map(message).enumerate();
        messages.map(|(n, message)| (oid(n + 1), message)).collect()
    }

    fn found(unknown: &[Unknown]) -> Vec<String> {
        unknown
            .iter()
            .map(|u| {
                let reviews = u.reviews.iter().map(Trailer::text);
                let all: Vec<_> = reviews.chain(u.others.iter().cloned()).collect();
                format!(
                    "{} {}: {}",
                    u.patch,
                    &u.commit.as_str()[39..],
                    all.join(", ")
                )
            })
            .collect()
    }

    const SIGN_OFF: &str = "Signed-off-by: D <d@x.org>";

    #[test]
    fn unknown_trailers_of_b4() {
        let series = series();
        let ann = "Reviewed-by: Ann <ann@x.org>";
        let text = format!(
            "Acked-by: Own <own@x.org>\nReported-by: R <r@x.org>\n{ann}\n[half of it]\n{SIGN_OFF}"
        );
        let own = |lines: &[&str]| json!({ "trailers": { "x: 1": lines, "x: 2": [ann, SIGN_OFF, "Reported-by: R <r@x.org>"] } });
        let commits = commits(["x: 1", "x: 2"], &text);
        let all = found(&unknown(&series, &commits, &own(&[SIGN_OFF])));
        assert_eq!(
            all,
            ["1.msg 1: Reviewed-by: Ann <ann@x.org>\n[half of it], Reported-by: R <r@x.org>"]
        );
        let ours = own(&[
            SIGN_OFF,
            "reviewed-by: Ann <ann@x.org>",
            "Reported-by: R <r@x.org>",
        ]);
        assert_eq!(
            found(&unknown(&series, &commits, &ours)),
            Vec::<String>::new()
        );
        // Without a list, only reviews are from b4.
        let all = found(&unknown(&series, &commits, &Value::Null));
        assert_eq!(all.len(), 2);
        assert!(all[0].ends_with("[half of it]"), "{all:?}");
    }

    #[test]
    fn unknown_without_recorded() {
        let mut series = series();
        let entry = |patch: &str| Entry {
            patch: patch.into(),
            trailer: Trailer::parse("Reviewed-by: Ann <ann@x.org>").unwrap(),
            version: 1,
            fingerprint: "e".into(),
            line: 1,
            ..Entry::default()
        };
        let commits = commits(["x: 1", "x: 2"], "Reviewed-by: Ann <ann@x.org>");
        series.trailers = vec![entry("1.msg")];
        let all = found(&unknown(&series, &commits, &Value::Null));
        assert_eq!(all, ["2.msg 2: Reviewed-by: Ann <ann@x.org>"]);
        assert!(would_be_lost("x", &[]).is_none() && by_hand("x", &[]).is_none());
    }

    #[test]
    fn unknown_by_subject_or_index() {
        let series = series();
        let ann = "Reviewed-by: Ann <ann@x.org>";
        let unknown_of =
            |commits: &[(Oid, String)]| found(&unknown(&series, commits, &Value::Null));
        let all = commits(["x: 2", "x: 1"], ann);
        assert_eq!(
            unknown_of(&all),
            [
                "2.msg 1: Reviewed-by: Ann <ann@x.org>",
                "1.msg 2: Reviewed-by: Ann <ann@x.org>"
            ]
        );
        assert_eq!(unknown_of(&commits(["x: one", "x: 2"], ann)).len(), 2);
        // A dropped patch has no trailers to keep.
        assert_eq!(
            unknown_of(&commits(["x: one", "x: 2"], ann)[..1]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn entries_version_with_same_changes() {
        let version = |version, fingerprint: &str| Posted {
            posting: posting(version, &["x: 1"]),
            authors: Default::default(),
            fingerprints: vec![fingerprint.into()],
        };
        let posted = [version(1, "e1"), version(2, "e1"), version(3, "e3")];
        let unknown = [Unknown {
            patch: "1.msg".into(),
            commit: oid(1),
            reviews: vec![Trailer::parse("Reviewed-by: Ann <ann@x.org>").unwrap()],
            others: Vec::new(),
        }];
        let given =
            |fingerprint: &str| entries(&unknown, &[fingerprint.into()], &posted)[0].version;
        assert_eq!((given("e1"), given("e3"), given("e4")), (2, 3, 3));
    }

    #[test]
    fn lines_of_trailers() {
        let commit = "x: 1\n\nText.\nNote: no trailer.\n\nFixes: 0123456789ab (\"x\")\nTested-by: A <a@x.org> # b\n";
        assert_eq!(
            lines(commit).collect::<Vec<_>>(),
            ["Fixes: 0123456789ab (\"x\")", "Tested-by: A <a@x.org> # b"]
        );
        assert_eq!(lines("x: 1").count(), 0);
    }
}
