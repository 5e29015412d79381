// SPDX-License-Identifier: GPL-2.0

//! The notes below the `---` line of each patch: the changelog items about the patch.
//!
//! The cover letter contains the whole changelog. Reviewers of one patch look for its changes in
//! the patch itself.

use crate::{
    source::{changelog, component::Component, cover, message},
    versions::{
        postings,
        rules::changelog::{Named, named},
    },
};

/// Returns the notes of all patches of a series, in order. The note of a patch is empty if the
/// changelog does not mention the patch.
///
/// A series of one patch has no notes, because its mail contains the whole changelog.
pub fn of_patches(component: &Component) -> Vec<String> {
    let patches = &component.series.patches;
    let mut notes = vec![String::new(); patches.len()];
    if patches.len() < 2 {
        return notes;
    }
    // The code that creates the cover letter reports an invalid changelog.
    for entry in changelog::parse(&component.changelog).unwrap_or_default() {
        let (named, version) = (named(&entry), entry.version);
        for (patch, note) in patches.iter().zip(&mut notes) {
            let file = &patch.message.value;
            let is_about = |item: &&Named| names_patch(component, version, item, file);
            let items = named.iter().filter(is_about);
            let items: String = items.map(|item| list_item(&item.text)).collect();
            if !items.is_empty() {
                *note = joined(&[note, &format!("Changes in v{version}:\n{items}")]);
            }
        }
    }
    notes
}

/// Whether a changelog item of a version names the patch whose message file is `file`.
fn names_patch(component: &Component, version: u32, item: &Named, file: &str) -> bool {
    let series = &component.series;
    if version == series.version {
        let at = series.patches.iter().position(|p| p.message.value == file);
        return at.is_some_and(|at| item.numbers.contains(&(at + 1)));
    }
    let posting = component.postings.iter().find(|p| p.version == version);
    let messages = &component.messages;
    let subject = messages.get(file).map(|text| message::subject(text));
    let was = |number: &usize| {
        let patch = posting?.patches.get(number.checked_sub(1)?)?;
        let now = |old: &String| postings::present_file(old, &component.postings, series, messages);
        Some(match patch.message.as_ref().and_then(now) {
            Some(now) => now == file,
            None => Some(patch.subject.as_str()) == subject,
        })
    };
    item.numbers.iter().any(|n| was(n) == Some(true))
}

/// Formats a list item, wrapped to the width of a cover letter.
fn list_item(text: &str) -> String {
    let lines = cover::fill(text, cover::COLUMNS - 2);
    format!("- {}\n", lines.replace('\n', "\n  "))
}

/// Joins notes with blank lines.
pub fn joined(notes: &[&str]) -> String {
    let notes = notes.iter().filter(|note| !note.is_empty());
    notes.copied().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{patches::plan::tests::component, versions::postings::tests::posting};

    const PATCHES: &str = "[[patch]]\nmessage = \"1.msg\"\n[[patch]]\nmessage = \"2.msg\"\n\
                           [[patch]]\nmessage = \"3.msg\"\n";

    fn notes(changelog: &str, patches: &str) -> Vec<String> {
        let mut one = component("list", patches, &[], &[]);
        one.series.version = 2;
        one.changelog = changelog.to_owned();
        one.postings = vec![posting(1, &["rust: first", "rust: second"])];
        one.postings[0].patches[0].message = Some("3.msg".into());
        one.postings[0].patches[1].message = None;
        one.messages.insert("1.msg".into(), "rust: second\n".into());
        one.messages.insert("2.msg".into(), "rust: new\n".into());
        one.messages.insert("3.msg".into(), "rust: first\n".into());
        of_patches(&one)
    }

    #[test]
    fn of_patches_selects_items_by_patch() {
        let changelog = "## v2\n- Patch 1: take the lock first, since the list may be read while it \
                         is\n  changed.\n- Patches 1, 3: rename it.\n- New patch 2: it is needed.\n\
                         - Order: the fix first.\n- The names of patch 2 are shorter.\n\
                         - Dropped patch 3 of v1: nobody needs it.\n- All patches: spelling.\n\n\
                         ## v1\n- Patch 2: as asked for in the RFC.\n";
        let notes = notes(changelog, PATCHES);
        insta::assert_snapshot!(notes.join("===\n"), @r"
        Changes in v2:
        - take the lock first, since the list may be read while it is changed.
        - rename it.

        Changes in v1:
        - as asked for in the RFC.
        ===
        Changes in v2:
        - New patch: it is needed.
        - The names of patch 2 are shorter.
        ===
        Changes in v2:
        - rename it.
        ");
    }

    #[test]
    fn of_patches_single_patch_is_empty() {
        let one = "[[patch]]\nmessage = \"1.msg\"\n";
        assert_eq!(
            notes("## v2\n- Patch 1: more.\n\n## v1\n- First.\n", one),
            [""]
        );
    }

    #[test]
    fn joined_adds_blank_line() {
        assert_eq!(joined(&["a\n", "b\n"]), "a\n\nb\n");
        assert_eq!(joined(&["", "b\n"]) + &joined(&["a\n", ""]), "b\na\n");
    }
}
