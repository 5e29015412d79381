// SPDX-License-Identifier: GPL-2.0

//! Reads and writes b4's tracking data: JSON in the commit of the cover letter.

use serde_json::{Value, json};

use crate::{
    git::{Git, Oid, refs},
    source::manifest::{Base, Series},
    sys::{Error, Result},
    versions::{
        postings::{Posting, Sent},
        rules::trailers::Prerequisite,
    },
};

pub fn branch_name(name: &str) -> String {
    format!("b4/{name}")
}

/// Returns the ref of the branch of a series.
pub(super) fn head(name: &str) -> String {
    format!("{}/{name}", refs::B4)
}

/// The line between the cover letter and the JSON.
pub(super) const MARK: &str = "--- b4-submit-tracking ---";

pub fn is_cover(message: &str) -> bool {
    message.lines().any(|line| line == MARK)
}

/// The tool's key in b4's JSON. b4 preserves unknown keys.
pub(super) const OWN_KEY: &str = "cargo-series";

/// The key of earlier versions.
const OLD_KEY: &str = "nova-series";

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tracked {
    /// The ref of the branch.
    pub head: String,
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

    /// Returns the commits above the cover letter, in order, each with a text in git's `format`.
    pub fn log(&self, git: &Git<'_>, format: &str) -> Result<Vec<(Oid, String)>> {
        let range = format!("{}..{}", self.cover, self.head);
        git.log(format, ["--reverse", &range])
    }

    fn parse(head: &str, cover: Oid, text: &str) -> Option<Self> {
        let (committed, message) = text.split_once('\n')?;
        let (text, json) = split(message)?;
        Some(Self {
            head: head.to_owned(),
            cover,
            cover_text: text.to_owned(),
            json,
            committed: committed.parse().ok()?,
        })
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

/// b4 adds the patches of posted series, so these have no patch ids here.
fn prerequisites(base: &Base, below: &[Prerequisite]) -> Vec<String> {
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

/// Returns the newest cover letters of b4 in the history of a revision, each with the date of its
/// commit, in seconds since 1970, and below that its message.
pub fn covers(git: &Git<'_>, rev: &str, most: usize) -> Result<Vec<(Oid, String)>> {
    let (most, grep) = (format!("--max-count={most}"), format!("--grep={MARK}"));
    git.log("%ct%n%B", [&most, "--fixed-strings", &grep, rev])
}

/// Returns b4's tracking data of a branch, given by its ref, or `None` without such a branch.
pub(super) fn tracked(git: &Git<'_>, head: &str) -> Result<Option<Tracked>> {
    if git.resolve(head)?.is_none() {
        return Ok(None);
    }
    // b4 did not write to a branch without a cover letter.
    let Some((cover, text)) = covers(git, head, 1)?.pop() else {
        return Ok(None);
    };
    Tracked::parse(head, cover, &text).map(Some).ok_or_else(|| {
        let what = format!("cannot read b4's tracking data in the cover letter of {head}");
        Error::new(what).at(git.dir(), None).help(format!(
            "repair it with `b4 prep --edit-cover`, or delete the branch: git -C {} update-ref -d \
             {head}",
            git.dir().display()
        ))
    })
}

/// Returns b4's posting of a version of a series, if it exists.
pub fn sent(git: &Git<'_>, name: &str, version: u32) -> Result<Option<Sent>> {
    let Some(tracked) = tracked(git, &head(name))? else {
        return Ok(None);
    };
    let ids = &tracked.json["series"]["history"][format!("v{version}")];
    let id = ids.as_array().and_then(|ids| ids.last()?.as_str());
    let parent = git.resolve(&format!("{}^", tracked.cover))?;
    Ok(parent.zip(id).map(|(parent, id)| Sent {
        parent,
        message_id: bare(id).to_owned(),
    }))
}

/// Returns a message id without brackets.
fn bare(id: &str) -> &str {
    id.trim_matches(['<', '>'])
}

/// Removes a posting of `version` with this message id from b4's tracking data, and resets b4's
/// version. All other data and the patches on the branch stay unchanged.
pub fn forget(git: &Git<'_>, name: &str, version: u32, message_id: &str) -> Result<()> {
    let Some(mut old) = tracked(git, &head(name))? else {
        return Ok(());
    };
    if old.revision() == Some(u64::from(version) + 1) {
        old.json["series"]["revision"] = json!(version);
    }
    let key = format!("v{version}");
    if let Some(Value::Object(history)) = old.json.pointer_mut("/series/history")
        && let Some(Value::Array(ids)) = history.get_mut(&key)
    {
        ids.retain(|id| id.as_str().map(bare) != Some(message_id));
        if ids.is_empty() {
            history.remove(&key);
        }
    }
    let raw = |commit: &Oid| -> Result<String> {
        let out = git.must(["cat-file", "commit", commit.as_str()])?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let text = raw(&old.cover)?;
    let mark = text.find(MARK);
    let Some(start) = mark.and_then(|mark| Some(mark + text[mark..].find('{')?)) else {
        return Ok(());
    };
    let mut tip = git.write_commit(format!("{}{:#}\n", &text[..start], old.json))?;
    let mut parent = old.cover.clone();
    for (commit, _) in old.log(git, "")? {
        let text = raw(&commit)?;
        let moved = text.replacen(&format!("parent {parent}"), &format!("parent {tip}"), 1);
        (parent, tip) = (commit, git.write_commit(moved)?);
    }
    git.set_ref(&old.head, &tip)
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
        let text = format!("1700000000\nTitle\n\nText\n\n{MARK}\n# note\n{json}\n");
        let cover = Oid::parse(&"0".repeat(40)).unwrap();
        Tracked::parse("refs/heads/b4/x", cover, &text).unwrap()
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
