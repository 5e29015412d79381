// SPDX-License-Identifier: GPL-2.0

//! The cover letter and the tracking data that b4 keeps in a commit of a branch of the user's.

use serde_json::{Map, Value};

use super::tracking::split;
use crate::source::cover;

/// The data of a branch that the user prepared with b4.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prepared {
    pub title: String,
    /// The text of the cover letter, without recipients, sign-off and changelog.
    pub text: String,
    pub to: Vec<String>,
    pub cc: Vec<String>,
    /// The words of the prefix besides "PATCH".
    pub prefixes: Vec<String>,
    pub change_id: Option<String>,
    /// The versions that b4 posted, in order.
    pub posted: Vec<String>,
}

/// Reads the message of b4's commit; [`None`] if it is not one.
pub fn parse(message: &str) -> Option<Prepared> {
    let (text, json) = split(message)?;
    let series = json.get("series").filter(|series| series.is_object())?;
    let prefixes = series["prefixes"].as_array().into_iter().flatten();
    let prefixes = prefixes.filter_map(Value::as_str).map(str::to_owned);
    let history = series["history"].as_object().into_iter();
    let mut posted: Vec<String> = history.flat_map(Map::keys).cloned().collect();
    posted.sort_by_key(|v| (v.len(), v.clone()));
    let (title, body) = text.split_once('\n').unwrap_or((text, ""));
    let mut prepared = Prepared {
        title: title.trim().to_owned(),
        prefixes: prefixes.collect(),
        change_id: series["change-id"].as_str().map(str::to_owned),
        posted,
        ..Prepared::default()
    };
    let body = format!("\n{body}");
    let above = body.split("\n---\n").next().unwrap_or_default();
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
