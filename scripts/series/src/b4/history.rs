// SPDX-License-Identifier: GPL-2.0

//! Reads and removes postings in b4's tracking data.

use serde_json::{Value, json};

use super::{
    branch::{branch_name, commits_above},
    tracking::{MARK, tracked},
};
use crate::{
    git::{Git, Oid},
    sys::{
        error::{Error, Result},
        runner::must,
    },
    versions::postings::Sent,
};

/// Returns b4's posting of a version of a series, if it exists.
pub fn sent(git: &Git<'_>, name: &str, version: u32) -> Result<Option<Sent>> {
    let Some(tracked) = tracked(git, &format!("refs/heads/{}", branch_name(name)))? else {
        return Ok(None);
    };
    let id = tracked.series().and_then(|s| {
        s.get("history")?
            .get(format!("v{version}"))?
            .as_array()?
            .last()?
            .as_str()
    });
    let parent = git.resolve(&format!("{}^", tracked.cover))?;
    Ok(match (id, parent) {
        (Some(id), Some(parent)) => Some(Sent {
            parent,
            message_id: id.trim_matches(['<', '>']).to_owned(),
        }),
        _ => None,
    })
}

/// Removes a posting of `version` with this message id from b4's tracking data, and resets b4's
/// version. All other data and the patches on the branch stay unchanged.
pub fn forget(git: &Git<'_>, name: &str, version: u32, message_id: &str) -> Result<()> {
    let branch = branch_name(name);
    let Some(old) = tracked(git, &format!("refs/heads/{branch}"))? else {
        return Ok(());
    };
    let mut json = old.json.clone();
    if let Some(series) = json.get_mut("series").and_then(Value::as_object_mut) {
        if old.revision() == Some(u64::from(version) + 1) {
            series.insert("revision".into(), json!(version));
        }
        if let Some(history) = series.get_mut("history").and_then(Value::as_object_mut) {
            let key = format!("v{version}");
            let is_it =
                |id: &Value| id.as_str().map(|id| id.trim_matches(['<', '>'])) == Some(message_id);
            let ids = history.get_mut(&key).and_then(Value::as_array_mut);
            let left = ids.map(|ids| {
                ids.retain(|id| !is_it(id));
                ids.len()
            });
            if left == Some(0) {
                history.remove(&key);
            }
        }
    }
    let raw = |commit: &Oid| Ok(git.must(["cat-file", "commit", commit.as_str()])?.stdout);
    let text = String::from_utf8_lossy(&raw(&old.cover)?).into_owned();
    let at = text
        .find(MARK)
        .and_then(|mark| Some(mark + text[mark..].find('{')?));
    let Some(at) = at else {
        return Ok(());
    };
    let shown = serde_json::to_string_pretty(&Value::Object(json))
        .map_err(|e| Error::new(format!("cannot be written as JSON: {e}")))?;
    let store = |content: Vec<u8>| {
        let args = ["hash-object", "-t", "commit", "-w", "--stdin"];
        let out = must(git.runner(), &git.cmd(args).stdin(content))?.text();
        Oid::parse(&out).ok_or_else(|| Error::new("git hash-object printed no commit"))
    };
    let (mut parent, mut tip) = (
        old.cover.clone(),
        store(format!("{}{shown}\n", &text[..at]).into_bytes())?,
    );
    for one in commits_above(git, &branch, &old)? {
        let content = raw(&one.commit)?;
        let text = String::from_utf8_lossy(&content);
        let moved = text.replacen(&format!("parent {parent}"), &format!("parent {tip}"), 1);
        (parent, tip) = (one.commit, store(moved.into_bytes())?);
    }
    git.set_ref(&format!("refs/heads/{branch}"), &tip)
}
