// SPDX-License-Identifier: GPL-2.0

//! Reads and removes postings in b4's tracking data.

use serde_json::{Value, json};

use super::{
    branch::{branch_name, log},
    tracking::{MARK, tracked},
};
use crate::{
    git::{Git, Oid},
    sys::Result,
    versions::postings::Sent,
};

/// Returns b4's posting of a version of a series, if it exists.
pub fn sent(git: &Git<'_>, name: &str, version: u32) -> Result<Option<Sent>> {
    let Some(tracked) = tracked(git, &format!("refs/heads/{}", branch_name(name)))? else {
        return Ok(None);
    };
    let ids = &tracked.json["series"]["history"][format!("v{version}")];
    let id = ids.as_array().and_then(|ids| ids.last()?.as_str());
    let parent = git.resolve(&format!("{}^", tracked.cover))?;
    let sent = parent.zip(id).map(|(parent, id)| Sent {
        parent,
        message_id: id.trim_matches(['<', '>']).to_owned(),
    });
    Ok(sent)
}

/// Removes a posting of `version` with this message id from b4's tracking data, and resets b4's
/// version. All other data and the patches on the branch stay unchanged.
pub fn forget(git: &Git<'_>, name: &str, version: u32, message_id: &str) -> Result<()> {
    let branch = format!("refs/heads/{}", branch_name(name));
    let Some(old) = tracked(git, &branch)? else {
        return Ok(());
    };
    let mut json = old.json.clone();
    if old.revision() == Some(u64::from(version) + 1) {
        json["series"]["revision"] = json!(version);
    }
    let history = json.pointer_mut("/series/history");
    if let Some(history) = history.and_then(Value::as_object_mut) {
        let key = format!("v{version}");
        let is_it = |id: &str| id.trim_matches(['<', '>']) == message_id;
        if let Some(ids) = history.get_mut(&key).and_then(Value::as_array_mut) {
            ids.retain(|id| !id.as_str().is_some_and(is_it));
            if ids.is_empty() {
                history.remove(&key);
            }
        }
    }
    let raw = |commit: &Oid| -> Result<String> {
        let out = git.must(["cat-file", "commit", commit.as_str()])?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let store = |content: String| {
        let hash = git.cmd(["hash-object", "-t", "commit", "-w", "--stdin"]);
        git.oid(&hash.stdin(content))
    };
    let text = raw(&old.cover)?;
    let mark = text.find(MARK);
    let Some(start) = mark.and_then(|mark| Some(mark + text[mark..].find('{')?)) else {
        return Ok(());
    };
    let mut tip = store(format!("{}{json:#}\n", &text[..start]))?;
    let mut parent = old.cover.clone();
    for (commit, _) in log(git, &branch, &old, "")? {
        let text = raw(&commit)?;
        let moved = text.replacen(&format!("parent {parent}"), &format!("parent {tip}"), 1);
        (parent, tip) = (commit, store(moved)?);
    }
    git.set_ref(&branch, &tip)
}
