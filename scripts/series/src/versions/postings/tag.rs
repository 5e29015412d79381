// SPDX-License-Identifier: GPL-2.0

//! The tag by which b4 identifies a posting.
//!
//! b4 resolves a prerequisite `change-id:…:vN` into the patch ids between the `base-commit:` in the
//! tag's message and the tag. With b4's own tags, that works only for a series without
//! dependencies, and only if the repository has the public commit of the base. The tool therefore
//! recreates the tag from the record, with the commit below the first patch as its base. The tag is
//! identical in every cache.

use super::{Posting, commits::Rebuilt};
use crate::{
    git::{Git, Oid},
    sys::Result,
};

pub fn name(change_id: &str, version: u32) -> String {
    format!("sent/{change_id}-v{version}")
}

fn ref_of(posting: &Posting) -> String {
    format!("refs/tags/{}", name(&posting.change_id, posting.version))
}

/// Creates the tag of a recorded posting, unless it exists.
pub fn ensure(git: &Git<'_>, posting: &Posting, made: &Rebuilt) -> Result<()> {
    let full = ref_of(posting);
    if git.resolve(&format!("{full}^{{commit}}"))?.as_ref() == Some(&made.tip().commit) {
        return Ok(());
    }
    git.set_ref(&full, &make(git, posting, made)?)
}

/// Creates the tag object without a ref, so that the caller can write the record first.
pub fn make(git: &Git<'_>, posting: &Posting, made: &Rebuilt) -> Result<Oid> {
    let name = name(&posting.change_id, posting.version);
    let tip = &made.tip().commit;
    let message = message(posting, made.cover(), &made.parent.commit);
    // A fixed tagger and date make the tag identical in every cache.
    let content = format!(
        "object {tip}\ntype commit\ntag {name}\ntagger series <series@localhost> 0 +0000\n\n\
         {message}"
    );
    git.oid(&git.cmd(["mktag"]).stdin(content))
}

/// Removes the tag of a posting whose record was removed.
pub fn remove(git: &Git<'_>, posting: &Posting) -> Result<()> {
    let full = ref_of(posting);
    if let Some(tag) = git.resolve(&full)? {
        git.must(["update-ref", "-d", &full, tag.as_str()])?;
    }
    Ok(())
}

/// Returns the cover letter as it was sent, followed by the lines that b4 reads.
fn message(posting: &Posting, cover: &str, parent: &Oid) -> String {
    let is_read = |l: &&str| l.starts_with("base-commit:") || l.starts_with("change-id:");
    let kept = cover.lines().filter(|l| !is_read(l));
    let kept: String = kept.map(|l| format!("{l}\n")).collect();
    let Posting {
        title, change_id, ..
    } = posting;
    let kept = kept.trim();
    format!("{title}\n\n{kept}\n\n---\nbase-commit: {parent}\nchange-id: {change_id}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_names_parent_commit() {
        let posting = crate::versions::postings::tests::posting(1, &["a: b"]);
        let parent = Oid::parse(&"7".repeat(40)).unwrap();
        let cover = "Text.\n\nbase-commit: 1111\nchange-id: other\nprerequisite-patch-id: 2\n";
        insta::assert_snapshot!(message(&posting, cover, &parent), @r"
        rust: x: add it

        Text.

        prerequisite-patch-id: 2

        ---
        base-commit: 7777777777777777777777777777777777777777
        change-id: 20260102-x-1
        ");
    }
}
