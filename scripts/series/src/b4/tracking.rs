// SPDX-License-Identifier: GPL-2.0

//! Reads and writes b4's tracking data: JSON in the commit of the cover letter.

use serde_json::{Map, Value, json};

use crate::{
    git::{Git, Oid},
    source::manifest::{Base, Series},
    sys::{
        error::{Error, Result},
        runner::must,
    },
    versions::{postings::Posting, rules::trailers::Prerequisite},
};

/// The line between the cover letter and the JSON.
pub(super) const MARK: &str = "--- b4-submit-tracking ---";

/// Whether a commit message is a cover letter that b4 keeps in a commit.
pub fn is_cover(message: &str) -> bool {
    message.lines().any(|line| line == MARK)
}

/// The tool's key in b4's JSON. b4 preserves unknown keys.
pub(super) const OWN_KEY: &str = "cargo-series";

/// The key of earlier versions.
const OLD_KEY: &str = "nova-series";

/// b4's tracking data of a branch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tracked {
    /// The commit of the cover letter.
    pub cover: Oid,
    /// The text of the cover letter.
    pub cover_text: String,
    pub json: Map<String, Value>,
    pub committed: u64,
}

impl Tracked {
    pub fn series(&self) -> Option<&Map<String, Value>> {
        self.json.get("series")?.as_object()
    }

    pub fn revision(&self) -> Option<u64> {
        self.series()?.get("revision")?.as_u64()
    }

    pub fn content(&self) -> Option<&str> {
        self.noted()?.get("content")?.as_str()
    }

    pub fn own(&self) -> Value {
        self.noted().cloned().unwrap_or_default()
    }

    pub fn noted(&self) -> Option<&Value> {
        self.json.get(OWN_KEY).or_else(|| self.json.get(OLD_KEY))
    }
}

pub(super) fn tracking(
    series: &Series,
    postings: &[Posting],
    base: &Base,
    below: &[Prerequisite],
    old: Option<&Tracked>,
    content: &str,
) -> Map<String, Value> {
    let mut json = old.map(|o| o.json.clone()).unwrap_or_default();
    let mut inner = old.and_then(|o| o.series().cloned()).unwrap_or_default();
    inner.insert("revision".into(), json!(series.version));
    inner.insert("change-id".into(), json!(series.change_id));
    let prefixes: Vec<_> = series.prefix.split(' ').filter(|w| *w != "PATCH").collect();
    inner.insert("prefixes".into(), json!(prefixes));
    inner.insert("prerequisites".into(), json!(prerequisites(base, below)));
    let history = inner.entry("history").or_insert_with(|| json!({}));
    if let Some(history) = history.as_object_mut() {
        for posting in postings {
            let key = format!("v{}", posting.version);
            let ids = history.entry(key).or_insert_with(|| json!([]));
            let known = ids.as_array_mut();
            if let Some(known) = known.filter(|k| !k.contains(&json!(posting.message_id))) {
                known.push(json!(posting.message_id));
            }
        }
    }
    json.insert("series".into(), Value::Object(inner));
    json.insert(
        OWN_KEY.into(),
        json!({ "series": series.name, "content": content }),
    );
    json
}

/// Returns the prerequisites in b4's form. b4 adds the patches of posted series, so these have no
/// patch ids here.
pub(super) fn prerequisites(base: &Base, below: &[Prerequisite]) -> Vec<String> {
    let mut words = Vec::new();
    for one in below {
        match one.posted {
            Some(version) => words.push(format!("change-id: {}:v{version}", one.change_id)),
            None => words.extend(one.patch_ids.iter().map(|id| format!("patch-id: {id}"))),
        }
    }
    let public = base.upstream_commit.iter();
    words.extend(public.map(|commit| format!("base-commit: {commit}")));
    words
}

/// Returns b4's tracking data of a branch, given by its ref, or `None` without such a branch.
pub(super) fn tracked(git: &Git<'_>, name: &str) -> Result<Option<Tracked>> {
    if git.resolve(name)?.is_none() {
        return Ok(None);
    }
    let log = git.cmd([
        "log",
        "--max-count=1",
        "--fixed-strings",
        &format!("--grep={MARK}"),
        "--format=%H %ct%n%B",
        name,
        "--",
    ]);
    let out = must(git.runner(), &log)?;
    // b4 did not write to a branch without a cover letter.
    if out.stdout.is_empty() {
        return Ok(None);
    }
    parse_tracked(&out.text()).map(Some).ok_or_else(|| {
        Error::new(format!(
            "cannot read b4's tracking data in the cover letter of {name}"
        ))
        .at(git.dir(), None)
        .help(format!(
            "repair it with `b4 prep --edit-cover`, or delete the branch: git -C {} update-ref -d \
             {name}",
            git.dir().display()
        ))
    })
}

fn parse_tracked(text: &str) -> Option<Tracked> {
    let (head, body) = text.split_once('\n')?;
    let (cover, committed) = head.split_once(' ')?;
    let (text, json) = body.split_once(MARK)?;
    let json = &json[json.find('{')?..];
    Some(Tracked {
        cover_text: text.to_owned(),
        cover: Oid::parse(cover)?,
        json: serde_json::from_str(json).ok()?,
        committed: committed.parse().ok()?,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::b4::settings::cover_template;

    pub fn series(version: u32) -> Series {
        let text = format!(
            "version = {version}\nprefix = \"RFC PATCH\"\nchange-id = \"20261122-x-1\"\nto = [\"A <a@b.org>\"]\n"
        );
        Series::parse("x", Path::new("series/x.toml"), &text).unwrap()
    }

    pub fn base() -> Base {
        let text = "version = \"6.19.11\"\ntrees = []\narchive = []\n[host]\npaths = []\n";
        Base::parse(Path::new("base.toml"), text).unwrap()
    }

    pub fn old(json: &str) -> Tracked {
        parse_tracked(&format!(
            "{} 1700000000\nTitle\n\nText\n\n{MARK}\n# note\n{json}\n",
            "0".repeat(40)
        ))
        .unwrap()
    }

    #[test]
    fn tracking_keeps_data_of_b4() {
        let before = old(
            r#"{"series": {"revision": 2, "change-id": "c", "history": {"v1": ["m@id"]}}, "other": 1}"#,
        );
        let json = Value::Object(tracking(
            &series(2),
            &[],
            &base(),
            &[],
            Some(&before),
            "key",
        ));
        assert_eq!(json["series"]["history"]["v1"][0], "m@id");
        assert_eq!(json["other"], 1);
        assert_eq!(json["series"]["revision"], 2);
        assert_eq!(json["series"]["prefixes"], json!(["RFC"]));
        assert_eq!(json[OWN_KEY]["content"], "key");
    }

    #[test]
    fn tracking_has_recorded_history() {
        let one = |id: &str, posted| Prerequisite {
            change_id: id.into(),
            posted,
            patch_ids: vec!["1".into(), "2".into()],
        };
        let below = [one("list", Some(1)), one("buddy", None)];
        let postings = [crate::versions::postings::tests::posting(1, &["a: b"])];
        let json = tracking(&series(2), &postings, &base(), &below, None, "key");
        assert_eq!(
            json["series"]["prerequisites"],
            json!(["change-id: list:v1", "patch-id: 1", "patch-id: 2"])
        );
        let id = "20260102-x-v1-0-abc@example.org";
        assert_eq!(json["series"]["history"], json!({ "v1": [id] }));
        // A known message id is not added again.
        let again = old(&serde_json::to_string(&json).unwrap());
        let json = tracking(&series(2), &postings, &base(), &below, Some(&again), "key");
        assert_eq!(json["series"]["history"], json!({ "v1": [id] }));
    }

    #[test]
    fn prerequisites_without_private_base() {
        let prerequisites = |base: &Base| {
            let json = Value::Object(tracking(&series(1), &[], base, &[], None, "key"));
            json["series"]["prerequisites"].clone()
        };
        let mut base = base();
        assert_eq!(prerequisites(&base), json!([]));
        assert!(!cover_template(&base).contains("base-commit"));
        let public = "1".repeat(40);
        base.upstream_commit = Some(public.clone());
        assert_eq!(
            prerequisites(&base),
            json!([format!("base-commit: {public}")])
        );
        assert!(cover_template(&base).contains("base-commit: ${base_commit}\n"));
    }
}
