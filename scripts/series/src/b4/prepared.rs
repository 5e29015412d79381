// SPDX-License-Identifier: GPL-2.0

//! The cover letter and the tracking data that b4 keeps in a commit of a branch of the user's.

use serde_json::{Map, Value};

use super::tracking::MARK;
use crate::source::cover;

/// The data of a branch that the user prepared with b4.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prepared {
    /// The title of the cover letter.
    pub title: String,
    /// Its text, without recipients, sign-off and changelog.
    pub text: String,
    /// Recipients.
    pub to: Vec<String>,
    /// Further recipients.
    pub cc: Vec<String>,
    /// The words of the prefix besides "PATCH".
    pub prefixes: Vec<String>,
    /// The change id.
    pub change_id: Option<String>,
    /// The versions that b4 posted.
    pub posted: Vec<String>,
}

/// Reads the message of b4's commit; [`None`] if it is not one.
pub fn parse(message: &str) -> Option<Prepared> {
    let (text, json) = message.split_once(MARK)?;
    let json: Value = serde_json::from_str(&json[json.find('{')?..]).ok()?;
    let series = json.get("series")?.as_object()?;
    let (title, body) = text.split_once('\n').unwrap_or((text, ""));
    let above = format!("\n{body}");
    let above = above.split("\n---\n").next().unwrap_or_default();
    let mut prepared = Prepared {
        title: title.trim().to_owned(),
        prefixes: words(series, "prefixes"),
        change_id: series
            .get("change-id")
            .and_then(Value::as_str)
            .map(str::to_owned),
        posted: posted(series),
        ..Prepared::default()
    };
    let mut kept = Vec::new();
    for line in above.lines() {
        match line.split_once(": ") {
            Some(("To", one)) => prepared.to.push(one.trim().to_owned()),
            Some(("Cc", one)) => prepared.cc.push(one.trim().to_owned()),
            Some(("Signed-off-by", _)) => (),
            // b4 leaves such lines out of the mail.
            _ if line.starts_with('#') => (),
            _ => kept.push(line),
        }
    }
    prepared.text = cover::plain(&kept.join("\n"));
    Some(prepared)
}

/// A list of words in b4's data.
fn words(series: &Map<String, Value>, key: &str) -> Vec<String> {
    let list = series
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The versions with a message id, in order.
fn posted(series: &Map<String, Value>) -> Vec<String> {
    let history = series.get("history").and_then(Value::as_object);
    let mut versions: Vec<String> = history.into_iter().flat_map(Map::keys).cloned().collect();
    versions.sort_by_key(|v| (v.len(), v.clone()));
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cover_commit_is_read() {
        let message = "list: add it\n\nDrivers need it.\n\n>#include is left.\n# A comment.\n\n\
                       To: List <list@example.org>\nCc: c@example.org\n\
                       Signed-off-by: A <a@b.org>\n\n---\nChanges in v2:\n- EDITME\n\n\
                       --- b4-submit-tracking ---\n# For b4.\n{\"series\": {\"revision\": 2, \
                       \"change-id\": \"20260102-list-0123456789ab\", \"prefixes\": [\"RFC\"], \
                       \"history\": {\"v1\": [\"x@y\"]}}}\n";
        let found = parse(message).unwrap();
        assert_eq!(found.title, "list: add it");
        assert_eq!(found.text, "Drivers need it.\n\n#include is left.");
        assert_eq!(found.to, ["List <list@example.org>"]);
        assert_eq!(found.cc, ["c@example.org"]);
        assert_eq!(found.prefixes, ["RFC"]);
        assert_eq!(
            found.change_id.as_deref(),
            Some("20260102-list-0123456789ab")
        );
        assert_eq!(found.posted, ["v1"]);
        assert_eq!(parse("list: add it\n\nText.\n"), None);
    }
}
