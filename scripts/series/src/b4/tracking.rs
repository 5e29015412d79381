// SPDX-License-Identifier: GPL-2.0

//! Reads and writes b4's tracking data: JSON in the commit of the cover letter.

use serde_json::{Value, json};

use crate::{
    git::{Git, Oid},
    source::manifest::{Base, Series},
    sys::{Error, Result},
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

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tracked {
    pub cover: Oid,
    pub cover_text: String,
    pub json: Value,
    pub committed: u64,
}

impl Tracked {
    pub fn revision(&self) -> Option<u64> {
        self.json["series"]["revision"].as_u64()
    }

    /// The tool's part.
    pub fn own(&self) -> &Value {
        self.json.get(OWN_KEY).unwrap_or(&self.json[OLD_KEY])
    }
}

pub(super) fn tracking(
    series: &Series,
    postings: &[Posting],
    base: &Base,
    below: &[Prerequisite],
    old: Option<&Tracked>,
    content: &str,
) -> Value {
    let mut json = old.map_or_else(|| json!({}), |o| o.json.clone());
    json[OWN_KEY] = json!({ "series": series.name, "content": content });
    let inner = object(&mut json, "series");
    inner["revision"] = json!(series.version);
    inner["change-id"] = json!(series.change_id);
    let prefixes = series.prefix.split(' ').filter(|w| *w != "PATCH");
    inner["prefixes"] = json!(prefixes.collect::<Vec<_>>());
    inner["prerequisites"] = json!(prerequisites(base, below));
    let history = object(inner, "history");
    for posting in postings {
        let (key, id) = (format!("v{}", posting.version), json!(posting.message_id));
        if history[&key].is_null() {
            history[&key] = json!([]);
        }
        let known = history[&key].as_array_mut();
        if let Some(known) = known.filter(|known| !known.contains(&id)) {
            known.push(id);
        }
    }
    json
}

/// Returns the object at a key, which replaces anything else there.
fn object<'a>(json: &'a mut Value, key: &str) -> &'a mut Value {
    if !json[key].is_object() {
        json[key] = json!({});
    }
    &mut json[key]
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
    let grep = format!("--grep={MARK}");
    let log = git.cmd(["log", "--max-count=1", "--fixed-strings", &grep]);
    let out = git.run(&log.args(["--format=%H %ct%n%B", name, "--"]))?;
    // b4 did not write to a branch without a cover letter.
    if out.stdout.is_empty() {
        return Ok(None);
    }
    parse_tracked(&out.text()).map(Some).ok_or_else(|| {
        let what = format!("cannot read b4's tracking data in the cover letter of {name}");
        Error::new(what).at(git.dir(), None).help(format!(
            "repair it with `b4 prep --edit-cover`, or delete the branch: git -C {} update-ref -d \
             {name}",
            git.dir().display()
        ))
    })
}

fn parse_tracked(text: &str) -> Option<Tracked> {
    let (head, body) = text.split_once('\n')?;
    let (cover, committed) = head.split_once(' ')?;
    let (text, json) = split(body)?;
    Some(Tracked {
        cover_text: text.to_owned(),
        cover: Oid::parse(cover)?,
        json,
        committed: committed.parse().ok()?,
    })
}

/// Splits the message of a cover letter into its text and b4's data, an object.
pub(super) fn split(message: &str) -> Option<(&str, Value)> {
    let (text, json) = message.split_once(MARK)?;
    let json = serde_json::from_str(&json[json.find('{')?..]).ok()?;
    Some((text, json))
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
        Base::parse(Path::new("series/base.toml"), text).unwrap()
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
        let json = tracking(&series(2), &[], &base(), &[], Some(&before), "key");
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
            let json = tracking(&series(1), &[], base, &[], None, "key");
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
