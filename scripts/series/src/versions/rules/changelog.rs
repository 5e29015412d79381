// SPDX-License-Identifier: GPL-2.0

//! Rule 2: the changelog entry agrees with the changes since the last posting.
//!
//! An entry names patches by their numbers in the new version: "Patch 2: …", "Patches 2, 4-6: …",
//! "New patch 3: …". It names a removed patch by its old number: "Dropped patch 4 of v1: …". "All
//! patches" names each patch. Other changes have the items of [`super::reasons`]. The rest of an
//! entry is not checked.

use std::{path::Path, sync::LazyLock};

use regex::{Captures, Regex};

use super::reasons::{self, Reason};
use crate::{
    source::{changelog::Entry, finding::Finding},
    sys::pattern,
    versions::{
        postings::Posting,
        range_diff::{Change, Comparison, PatchChange},
    },
};

/// A place where an entry names a patch.
struct Mention {
    /// "Changed" unless the entry calls the patch new or dropped.
    kind: Change,
    /// Whether the number belongs to the old version.
    old: bool,
    number: usize,
    line: usize,
    /// Whether a reason follows.
    reason: bool,
}

static MENTION: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?xi) \b (?: (?P<new> new | add(?:s|ed)? ) \s+
                     | (?P<drop> drop(?:s|ped)? | remove[sd]? ) \s+ )?
          (?: the \s+ )?
          (?: (?P<all> all \s+ patches | every \s+ patch | each \s+ patch )
            | patch(?:es)? \s+ (?P<list> \d+ (?: \s* (?: - | – | to | , \s* and | , | and ) \s* \d+ )* ) )
          (?P<old> \s* \(? (?: of \s+ )? v\d+ \)? )?",
    )
});

/// Whether the text after a mention counts as a reason: at least two words.
fn says_something(rest: &str) -> bool {
    let rest = rest.trim_start();
    let rest = rest.strip_prefix([':', ',']).unwrap_or(rest);
    rest.split_whitespace().count() >= 2
}

/// Parses the numbers of "2, 4-6 and 8".
fn numbers(list: &str) -> Vec<usize> {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern(r"(-|–|to)?\s*(\d+)"));
    let mut found: Vec<usize> = Vec::new();
    for part in NUMBER.captures_iter(list) {
        let is_end = part.get(1).is_some();
        match (found.last(), part[2].parse::<usize>()) {
            (Some(first), Ok(n)) if is_end => found.extend(first + 1..=n.min(first + 1000)),
            (_, n) => found.extend(n),
        }
    }
    found
}

/// Returns the line of each item of an entry, with its text joined into one line.
fn items(entry: &Entry) -> Vec<(usize, String)> {
    let mut items: Vec<(usize, String)> = Vec::new();
    for (at, line) in (entry.first_line..).zip(entry.text.lines()) {
        match items.last_mut() {
            Some((_, text)) if !line.starts_with("- ") && !line.trim().is_empty() => {
                *text += &format!(" {}", line.trim());
            }
            _ => items.push((at, line.trim().to_owned())),
        }
    }
    items.retain(|(_, text)| !text.is_empty());
    items
}

fn mentions(entry: &Entry, patches: usize) -> Vec<Mention> {
    let mut found = Vec::new();
    for (line, text) in items(entry) {
        for m in MENTION.captures_iter(&text) {
            let kind = match (m.name("new"), m.name("drop")) {
                (Some(_), _) => Change::Added,
                (_, Some(_)) => Change::Dropped,
                _ => Change::Changed,
            };
            let list = match m.name("list") {
                Some(list) => numbers(list.as_str()),
                None => (1..=patches).collect(),
            };
            found.extend(list.into_iter().map(|number| Mention {
                kind,
                old: kind == Change::Dropped || m.name("old").is_some(),
                number,
                line,
                reason: says_something(&text[m.get_match().end()..]),
            }));
        }
    }
    found
}

/// An item of an entry that names patches of the new version by number.
pub struct Named {
    pub numbers: Vec<usize>,
    /// The text in one line, without the numbers if it starts with them.
    pub text: String,
}

/// Returns the items that name patches of the new version by number.
pub fn named(entry: &Entry) -> Vec<Named> {
    let items = items(entry).into_iter();
    items.filter_map(|(_, item)| named_in(&item)).collect()
}

fn named_in(item: &str) -> Option<Named> {
    let item = item.strip_prefix("- ").unwrap_or(item);
    let is_here = |m: &Captures<'_>| m.name("drop").is_none() && m.name("old").is_none();
    let all = MENTION.captures_iter(item).filter(is_here);
    let all: Vec<_> = all.filter(|m| m.name("list").is_some()).collect();
    let first = all.first()?;
    let rest = item.strip_prefix(&first[0]);
    let rest = rest.and_then(|rest| rest.strip_prefix(':'));
    let Some(rest) = rest else {
        let numbers = all.iter().flat_map(|m| numbers(&m["list"])).collect();
        let text = item.to_owned();
        return Some(Named { numbers, text });
    };
    // "Patch 2: …" describes that patch, whatever other patches it mentions.
    Some(Named {
        numbers: numbers(&first["list"]),
        text: match first.name("new") {
            Some(_) => format!("New patch:{rest}"),
            None => rest.trim_start().to_owned(),
        },
    })
}

/// The entry of the present version, and what it has to describe.
pub struct Check<'a> {
    pub file: &'a Path,
    pub name: &'a str,
    pub entry: &'a Entry,
    /// The posting that `since` compares with.
    pub before: &'a Posting,
    pub since: &'a Comparison,
    /// Changes other than patches.
    pub reasons: &'a [Reason],
    /// The release of the present base.
    pub release: &'a str,
}

impl Check<'_> {
    fn fault(&self, line: usize, what: String, help: impl Into<String>) -> Finding {
        let fault = Finding::new(self.name, "changelog", what);
        fault.at(self.file, line).help(help)
    }

    pub fn faults(&self) -> Vec<Finding> {
        let (entry, since) = (self.entry, self.since);
        let (v, old, link) = (entry.version, self.before.version, self.before.link());
        let mut faults = Vec::new();
        if !entry.text.contains(&link) {
            let what = format!("the entry of v{v} does not link to v{old}");
            let help = format!("write `- Link to v{old}: {link}`");
            faults.push(self.fault(entry.line, what, help));
        }
        faults.extend(self.of_other_reasons());
        if entry.is_open() && since.unchanged() {
            return faults;
        }
        let patches = since.patches.iter().filter(|p| p.new.is_some());
        let mentions = mentions(entry, patches.count());
        for patch in &since.patches {
            let of = |old: bool, n: Option<usize>| {
                let is_it = move |m: &&Mention| m.old == old && Some(m.number) == n;
                mentions.iter().filter(is_it)
            };
            let here: Vec<&Mention> = of(false, patch.new).chain(of(true, patch.old)).collect();
            faults.extend(self.of_patch(patch, &here));
        }
        for mention in &mentions {
            let number = |p: &PatchChange| if mention.old { p.old } else { p.new };
            let mut patches = since.patches.iter();
            if patches.all(|p| number(p) != Some(mention.number)) {
                let of = if mention.old { old } else { v };
                let what = format!("v{of} has no patch {}", mention.number);
                let help = "use the numbers of the new version; name removed patches as \
                            `Dropped patch N of vM: why`";
                faults.push(self.fault(mention.line, what, help));
            }
        }
        faults
    }

    /// Checks the items that name changes other than patches, in both directions.
    fn of_other_reasons(&self) -> Vec<Finding> {
        let (entry, release) = (self.entry, self.release);
        let (v, old) = (entry.version, self.before.version);
        let items = items(entry).into_iter();
        let said = items.filter_map(|(line, text)| Some((line, reasons::statement(&text)?)));
        let said: Vec<_> = said.collect();
        let mut faults = Vec::new();
        for (reason, word, subject) in Reason::ALL {
            let changed = self.reasons.contains(&reason);
            let write = match reason {
                Reason::Base => format!("write `- {word} Linux {release}.`"),
                _ => format!("write `- {word} …`, with the change and the reason"),
            };
            let here: Vec<_> = said.iter().filter(|(_, s)| s.reason == reason).collect();
            if changed && here.is_empty() {
                let why = format!("{subject} changed since v{old}");
                let what = format!("the entry of v{v} does not mention that {why}");
                faults.push(self.fault(entry.line, what, &write));
            }
            for (line, statement) in here {
                let is_other = |named: &String| format!("v{named}") != release;
                let (what, help) = if !changed {
                    let why = format!("but {subject} did not change since v{old}");
                    let what = format!("the entry of v{v} has `{word} …`, {why}");
                    (what, "remove the item")
                } else if statement.release.as_ref().is_some_and(is_other) {
                    let what = format!("the series is based on Linux {release}");
                    (what, write.as_str())
                } else if !statement.explained {
                    let what = format!("the entry of v{v} does not explain how {subject} changed");
                    (what, write.as_str())
                } else {
                    continue;
                };
                faults.push(self.fault(*line, what, help));
            }
        }
        faults
    }

    /// Checks the mentions of one patch.
    fn of_patch(&self, patch: &PatchChange, said: &[&Mention]) -> Option<Finding> {
        let (v, old) = (self.entry.version, self.before.version);
        let (n, subject) = (patch.new.or(patch.old)?, &patch.subject);
        let number = match patch.new {
            Some(n) => format!("patch {n} (\"{subject}\")"),
            None => format!("patch {n} of v{old} (\"{subject}\")"),
        };
        let entry = |does: String| format!("the entry of v{v} {does}");
        let describe = format!("describe the change as `- Patch {n}: …`");
        // A new or dropped patch needs an item that says so and why.
        let needs = |unnamed: String, is: &str, item: String| {
            let what = match said.iter().find(|m| m.kind == patch.change) {
                None => unnamed,
                Some(m) if !m.reason => format!("does not explain why {number} is {is}"),
                Some(_) => return None,
            };
            Some((entry(what), format!("give the reason: `- {item}: …`")))
        };
        let (what, help) = match patch.change {
            Change::Same | Change::Moved => {
                said.first()?;
                let help = match patch.change {
                    Change::Moved => {
                        "only its context changed; remove the item, or describe that without a \
                         number"
                    }
                    _ => "remove the item, or name the patch that changed",
                };
                let what = format!("mentions {number}, which did not change since v{old}");
                (entry(what), help.to_owned())
            }
            Change::Changed | Change::Message if said.is_empty() => {
                let how = match patch.change {
                    Change::Message => "whose message changed",
                    _ => "which changed",
                };
                let what = format!("does not mention {number}, {how} since v{old}");
                let help = format!("{describe}; `cargo series diff {}` shows it", self.name);
                (entry(what), help)
            }
            Change::Changed | Change::Message => {
                said.iter().find(|m| m.kind != Change::Changed)?;
                let what = format!("{number} is neither new nor dropped: it changed since v{old}");
                (what, describe)
            }
            Change::Added => {
                let unnamed = format!("does not name {number} as new");
                needs(unnamed, "new", format!("New patch {n}"))?
            }
            Change::Dropped => {
                let unnamed = format!("does not mention that {number} is gone");
                needs(unnamed, "gone", format!("Dropped patch {n} of v{old}"))?
            }
        };
        let line = said.first().map_or(self.entry.line, |m| m.line);
        Some(self.fault(line, what, help).of_patch(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        source::{changelog, finding::shown},
        versions::postings::tests::posting,
    };

    fn change(
        old: Option<usize>,
        new: Option<usize>,
        change: Change,
        subject: &str,
    ) -> PatchChange {
        PatchChange {
            old,
            new,
            change,
            subject: subject.into(),
        }
    }

    /// Of v1's four patches, the first is the same, the second changed, the third is gone, and the
    /// fourth only moved. The fourth of v2 is new, and the fifth has another message.
    fn since() -> Comparison {
        Comparison {
            against: 1,
            patches: vec![
                change(Some(1), Some(1), Change::Same, "a: same"),
                change(Some(2), Some(2), Change::Changed, "a: changed"),
                change(Some(4), Some(3), Change::Moved, "a: moved"),
                change(None, Some(4), Change::Added, "a: new"),
                change(Some(5), Some(5), Change::Message, "a: told"),
                change(Some(3), None, Change::Dropped, "a: gone"),
            ],
            text: String::new(),
        }
    }

    const LINK: &str = "- Link to v1: https://patch.msgid.link/20260102-x-v1-0-abc@example.org\n";

    fn says_of(items: &str, since: &Comparison, reasons: &[Reason]) -> String {
        let text = format!("# Changelog\n\n## v2\n\n{LINK}{items}\n## v1\n\n- First.\n");
        let entries = changelog::parse(&text).map_err(|(_, e)| e).unwrap();
        shown_of(&entries[0], since, reasons)
    }

    fn shown_of(entry: &Entry, since: &Comparison, reasons: &[Reason]) -> String {
        let check = Check {
            file: Path::new("x/CHANGELOG.md"),
            name: "x",
            entry,
            before: &posting(1, &["a: b"]),
            since,
            reasons,
            release: "v6.1.3",
        };
        shown(check.faults())
    }

    fn says(items: &str) -> String {
        says_of(items, &since(), &[])
    }

    /// Returns the faults of an entry when no patch changed.
    fn found(items: &str, reasons: &[Reason]) -> String {
        let mut same = since();
        same.patches.truncate(1);
        says_of(items, &same, reasons)
    }

    fn all_reasons() -> [Reason; 5] {
        Reason::ALL.map(|(reason, ..)| reason)
    }

    const ALL_SAID: &str = "- Rebased on Linux v6.1.3.\n- Order: the user comes last, as asked for.\n\
        - Prefix: no longer an RFC.\n- Cover: says what\n  is measured.\n\
        - Recipients: net is added.\n";

    #[test]
    fn other_change_with_item_passes() {
        assert_eq!(found(ALL_SAID, &all_reasons()), "");
        let other = "- rebase onto 6.1.3-\n- Cover letter: has figures now.\n";
        assert_eq!(found(other, &[Reason::Base, Reason::Cover]), "");
        // Text without a release does not describe the base.
        assert_eq!(found("- Rebased on v2 of list.\n- Rebased.\n", &[]), "");
    }

    #[test]
    fn other_change_without_item_is_refused() {
        insta::assert_snapshot!(found("- Rebased on v6.1.2.\n- Order: changed\n", &all_reasons()), @r"
        x/CHANGELOG.md:6: the series is based on Linux v6.1.3
          help: write `- Rebased on Linux v6.1.3.`
        error: x/CHANGELOG.md:7: the entry of v2 does not explain how the order of the patches changed
          help: write `- Order: …`, with the change and the reason
        error: x/CHANGELOG.md:3: the entry of v2 does not mention that the prefix changed since v1
          help: write `- Prefix: …`, with the change and the reason
        error: x/CHANGELOG.md:3: the entry of v2 does not mention that the cover letter changed since v1
          help: write `- Cover: …`, with the change and the reason
        error: x/CHANGELOG.md:3: the entry of v2 does not mention that the recipients changed since v1
          help: write `- Recipients: …`, with the change and the reason
        ");
        // An empty entry is an error as well.
        assert!(found("", &[Reason::Order]).contains("the order of the patches changed"));
    }

    #[test]
    fn item_without_other_change_is_refused() {
        insta::assert_snapshot!(found(ALL_SAID, &[]), @r"
        x/CHANGELOG.md:6: the entry of v2 has `Rebased on …`, but the base did not change since v1
          help: remove the item
        error: x/CHANGELOG.md:7: the entry of v2 has `Order: …`, but the order of the patches did not change since v1
          help: remove the item
        error: x/CHANGELOG.md:8: the entry of v2 has `Prefix: …`, but the prefix did not change since v1
          help: remove the item
        error: x/CHANGELOG.md:9: the entry of v2 has `Cover: …`, but the cover letter did not change since v1
          help: remove the item
        error: x/CHANGELOG.md:11: the entry of v2 has `Recipients: …`, but the recipients did not change since v1
          help: remove the item
        ");
    }

    const HONEST: &str = "- Patch 2: take the lock first (Alice).\n\
        - New patch 4: the test that was\n  asked for.\n\
        - Patch 5: say why in the message.\n\
        - Dropped patch 3 of v1: nobody uses it.\n\
        - Rebased.\n";

    #[test]
    fn entry_with_all_changes_passes() {
        assert_eq!(says(HONEST), "");
        let other = "- Patches 2 and 5: take the lock first.\n- Added patch 4: for a test.\n\
                     - Removed patch 3 (v1): it has no user.\n";
        assert_eq!(says(other), "");
    }

    #[test]
    fn faults_name_their_patches() {
        let without = |line: &str| says(&HONEST.replace(line, "- Something"));
        insta::assert_snapshot!(without("- Patch 2"), @r#"
        x/CHANGELOG.md:3: the entry of v2 does not mention patch 2 ("a: changed"), which changed since v1
          help: describe the change as `- Patch 2: …`; `cargo series diff x` shows it
        "#);
        insta::assert_snapshot!(without("- Patch 5"), @r#"
        x/CHANGELOG.md:3: the entry of v2 does not mention patch 5 ("a: told"), whose message changed since v1
          help: describe the change as `- Patch 5: …`; `cargo series diff x` shows it
        "#);
        insta::assert_snapshot!(without("- New patch 4"), @r#"
        x/CHANGELOG.md:3: the entry of v2 does not name patch 4 ("a: new") as new
          help: give the reason: `- New patch 4: …`
        "#);
        insta::assert_snapshot!(without("- Dropped patch 3 of v1"), @r#"
        x/CHANGELOG.md:3: the entry of v2 does not mention that patch 3 of v1 ("a: gone") is gone
          help: give the reason: `- Dropped patch 3 of v1: …`
        "#);
    }

    #[test]
    fn mention_of_unchanged_patch_is_refused() {
        insta::assert_snapshot!(says(&format!("{HONEST}- Patch 1: faster.\n")), @r#"
        x/CHANGELOG.md:12: the entry of v2 mentions patch 1 ("a: same"), which did not change since v1
          help: remove the item, or name the patch that changed
        "#);
        insta::assert_snapshot!(says(&format!("{HONEST}- Patch 3: rebased.\n")), @r#"
        x/CHANGELOG.md:12: the entry of v2 mentions patch 3 ("a: moved"), which did not change since v1
          help: only its context changed; remove the item, or describe that without a number
        "#);
        insta::assert_snapshot!(says(&format!("{HONEST}- Patch 9: better.\n")), @r"
        x/CHANGELOG.md:12: v2 has no patch 9
          help: use the numbers of the new version; name removed patches as `Dropped patch N of vM: why`
        ");
        assert!(says("- All patches: renamed.\n").contains("mentions patch 1 (\"a: same\")"));
    }

    #[test]
    fn added_and_dropped_need_a_reason() {
        let bare = HONEST
            .replace(": the test that was\n  asked for.", ".")
            .replace(": nobody uses it.", "");
        insta::assert_snapshot!(says(&bare), @r#"
        x/CHANGELOG.md:7: the entry of v2 does not explain why patch 4 ("a: new") is new
          help: give the reason: `- New patch 4: …`
        error: x/CHANGELOG.md:9: the entry of v2 does not explain why patch 3 of v1 ("a: gone") is gone
          help: give the reason: `- Dropped patch 3 of v1: …`
        "#);
        let wrong = HONEST.replace("- Patch 2", "- New patch 2");
        insta::assert_snapshot!(says(&wrong), @r#"
        x/CHANGELOG.md:6: patch 2 ("a: changed") is neither new nor dropped: it changed since v1
          help: describe the change as `- Patch 2: …`
        "#);
    }

    #[test]
    fn empty_entry_is_refused_after_changes() {
        insta::assert_snapshot!(says(""), @r#"
        x/CHANGELOG.md:3: the entry of v2 does not mention patch 2 ("a: changed"), which changed since v1
          help: describe the change as `- Patch 2: …`; `cargo series diff x` shows it
        error: x/CHANGELOG.md:3: the entry of v2 does not name patch 4 ("a: new") as new
          help: give the reason: `- New patch 4: …`
        error: x/CHANGELOG.md:3: the entry of v2 does not mention patch 5 ("a: told"), whose message changed since v1
          help: describe the change as `- Patch 5: …`; `cargo series diff x` shows it
        error: x/CHANGELOG.md:3: the entry of v2 does not mention that patch 3 of v1 ("a: gone") is gone
          help: give the reason: `- Dropped patch 3 of v1: …`
        "#);
        let entry = Entry {
            version: 2,
            text: LINK.trim().to_owned(),
            line: 1,
            first_line: 2,
        };
        let mut same = since();
        same.patches.truncate(1);
        assert_eq!(shown_of(&entry, &same, &[]), "");
        let entry = Entry {
            text: "- Rebased.".to_owned(),
            ..entry
        };
        insta::assert_snapshot!(shown_of(&entry, &same, &[]), @r"
        x/CHANGELOG.md:1: the entry of v2 does not link to v1
          help: write `- Link to v1: https://patch.msgid.link/20260102-x-v1-0-abc@example.org`
        ");
    }

    #[test]
    fn numbers_parses_lists() {
        assert_eq!(numbers("2"), [2]);
        assert_eq!(numbers("2, 4-6 and 8"), [2, 4, 5, 6, 8]);
        assert_eq!(numbers("1 to 3, and 7"), [1, 2, 3, 7]);
        assert_eq!(numbers("3 – 4"), [3, 4]);
    }
}
