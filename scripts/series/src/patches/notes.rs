// SPDX-License-Identifier: GPL-2.0

//! The notes below `---` of each patch: the items of the changelog that name the patch.
//!
//! The cover letter has the whole changelog. The notes show a reviewer of one patch the items about
//! that patch next to its diff.

use crate::{
    source::{
        changelog,
        component::Component,
        cover,
        message, //
    },
    versions::{
        postings,
        rules::changelog::{
            Named,
            named, //
        }, //
    }, //
};

/// Returns the notes of all patches of a series, in order. A note is empty if the changelog does not
/// name the patch.
///
/// The mail of a single patch has the whole changelog already.
pub fn of_patches(component: &Component) -> Vec<String> {
    let series = &component.series;
    let files: Vec<&str> = series
        .patches
        .iter()
        .map(|p| p.message.value.as_str())
        .collect();
    let mut notes = vec![String::new(); files.len()];
    if files.len() < 2 {
        return notes;
    }
    // A changelog that cannot be read is an error of the cover letter.
    for entry in changelog::parse(&component.changelog).unwrap_or_default() {
        for (file, note) in files.iter().zip(&mut notes) {
            let items: Vec<String> = named(&entry)
                .iter()
                .filter(|item| is_of(component, entry.version, item, file))
                .map(|item| listed(&item.text))
                .collect();
            if !items.is_empty() {
                let gap = if note.is_empty() { "" } else { "\n" };
                *note += &format!("{gap}Changes in v{}:\n{}", entry.version, items.concat());
            }
        }
    }
    notes
}

/// Reports whether an item of a version names the patch that has this message now.
fn is_of(component: &Component, version: u32, item: &Named, file: &str) -> bool {
    let series = &component.series;
    if version == series.version {
        let at = series.patches.iter().position(|p| p.message.value == file);
        return at.is_some_and(|at| item.numbers.contains(&(at + 1)));
    }
    let posting = component.postings.iter().find(|p| p.version == version);
    let subject = component
        .messages
        .get(file)
        .map(|text| message::subject(text));
    let was = |number: &usize| {
        let patch = posting?.patches.get(number.checked_sub(1)?)?;
        let by_file = patch.message.as_ref().and_then(|old| {
            postings::present_file(old, &component.postings, series, &component.messages)
        });
        Some(match by_file {
            Some(now) => now == file,
            None => Some(patch.subject.as_str()) == subject,
        })
    };
    item.numbers.iter().any(|n| was(n) == Some(true))
}

/// Wraps an item of a list.
fn listed(text: &str) -> String {
    let lines = cover::fill(text, cover::COLUMNS - 2);
    format!("- {}\n", lines.replace('\n', "\n  "))
}

/// Joins two notes of one patch.
pub fn joined(first: &str, second: &str) -> String {
    match first.is_empty() || second.is_empty() {
        true => format!("{first}{second}"),
        false => format!("{first}\n{second}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        patches::plan::tests::component,
        versions::postings::tests::posting, //
    };

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
    fn each_patch_has_the_items_that_name_it() {
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
    fn single_patch_has_no_note() {
        let one = "[[patch]]\nmessage = \"1.msg\"\n";
        assert_eq!(
            notes("## v2\n- Patch 1: more.\n\n## v1\n- First.\n", one),
            [""]
        );
    }

    #[test]
    fn notes_are_joined_by_a_blank_line() {
        assert_eq!(joined("a\n", "b\n"), "a\n\nb\n");
        assert_eq!(joined("", "b\n") + &joined("a\n", ""), "b\na\n");
    }
}
