// SPDX-License-Identifier: GPL-2.0

//! Rule 2: the changelog entry agrees with the changes since the last posting.
//!
//! An entry names patches by their numbers in the new version: "Patch 2: …", "Patches 2, 4-6: …",
//! "New patch 3: …". It names a removed patch by its old number: "Dropped patch 4 of v1: …". "All
//! patches" names each patch. Other changes have the items of [`super::reasons`]. The rest of an
//! entry is not checked.

use std::{collections::BTreeMap, path::Path, sync::LazyLock};

use regex::{Captures, Regex};

use super::{
    Fault, Rule,
    reasons::{self, Reason},
};
use crate::{
    source::changelog::Entry,
    versions::{
        postings::Posting,
        range_diff::{Change, Comparison, PatchChange},
    },
};

/// The form in which an entry names a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Changed,
    New,
    Dropped,
}

/// A place where an entry names a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mention {
    kind: Kind,
    /// Whether the number belongs to the old version.
    old: bool,
    number: usize,
    /// The line in the file.
    line: usize,
    /// Whether a reason follows.
    reason: bool,
}

static MENTION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?xi) \b (?: (?P<new> new | add(?:s|ed)? ) \s+
                     | (?P<drop> drop(?:s|ped)? | remove[sd]? ) \s+ )?
          (?: the \s+ )?
          (?: (?P<all> all \s+ patches | every \s+ patch | each \s+ patch )
            | patch(?:es)? \s+ (?P<list> \d+ (?: \s* (?: - | – | to | , \s* and | , | and ) \s* \d+ )* ) )
          (?P<old> \s* \(? (?: of \s+ )? v\d+ \)? )?",
    )
    .unwrap_or_else(|e| unreachable!("the pattern is a constant: {e}"))
});

/// Whether the text after a mention counts as a reason: at least two words.
fn says_something(rest: &str) -> bool {
    let rest = rest.trim_start();
    let rest = rest.strip_prefix([':', ',']).unwrap_or(rest);
    rest.split_whitespace().count() >= 2
}

/// Parses the numbers of "2, 4-6 and 8".
fn numbers(list: &str) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    let mut word = String::new();
    let mut range = false;
    for c in list.chars().chain([' ']) {
        if c.is_ascii_digit() {
            word.push(c);
            continue;
        }
        if let Ok(n) = word.parse::<usize>() {
            match found.last() {
                Some(first) if range => found.extend(first + 1..=n.min(first + 1000)),
                _ => found.push(n),
            }
            range = false;
        }
        word.clear();
        range |= c == '-' || c == '–' || c == 't';
    }
    found
}

/// Returns the line of each item of an entry, with its text joined into one line.
fn items(entry: &Entry) -> Vec<(usize, String)> {
    let mut items: Vec<(usize, String)> = Vec::new();
    for (index, line) in entry.text.lines().enumerate() {
        let at = entry.first_line + index;
        match items.last_mut() {
            Some((_, text)) if !line.starts_with("- ") && !line.trim().is_empty() => {
                text.push(' ');
                text.push_str(line.trim());
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
            let end = m.get(0).map_or(text.len(), |m| m.end());
            let dropped = m.name("drop").is_some();
            let kind = match (m.name("new"), dropped) {
                (Some(_), _) => Kind::New,
                (_, true) => Kind::Dropped,
                _ => Kind::Changed,
            };
            let list = match m.name("list") {
                Some(list) => numbers(list.as_str()),
                None => (1..=patches).collect(),
            };
            found.extend(list.into_iter().map(|number| Mention {
                kind,
                old: dropped || m.name("old").is_some(),
                number,
                line,
                reason: says_something(&text[end..]),
            }));
        }
    }
    found
}

/// An item of an entry that names patches of the new version by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub numbers: Vec<usize>,
    /// The text in one line, without the numbers if it starts with them.
    pub text: String,
}

/// Returns the items that name patches of the new version by number.
pub fn named(entry: &Entry) -> Vec<Named> {
    let mut found = Vec::new();
    for (_, item) in items(entry) {
        let text = item.strip_prefix("- ").unwrap_or(&item);
        let is_here = |m: &Captures<'_>| m.name("drop").is_none() && m.name("old").is_none();
        let all: Vec<_> = MENTION
            .captures_iter(text)
            .filter(|m| is_here(m) && m.name("list").is_some())
            .collect();
        let list = |m: &Captures<'_>| m.name("list").map_or(Vec::new(), |l| numbers(l.as_str()));
        let first = all.first().and_then(|m| Some((m, m.get(0)?)));
        let at_start = first.filter(|(_, whole)| whole.start() == 0);
        let rest =
            at_start.and_then(|(m, whole)| Some((m, text[whole.end()..].strip_prefix(':')?)));
        found.extend(match rest {
            // "Patch 2: …" describes that patch, whatever other patches it mentions.
            Some((m, rest)) => Some(Named {
                numbers: list(m),
                text: match m.name("new") {
                    Some(_) => format!("New patch:{rest}"),
                    None => rest.trim_start().to_owned(),
                },
            }),
            None if all.is_empty() => None,
            None => Some(Named {
                numbers: all.iter().flat_map(list).collect(),
                text: text.to_owned(),
            }),
        });
    }
    found
}

/// Changes other than patches.
#[derive(Debug, Clone, Copy)]
pub struct OtherReasons<'a> {
    pub reasons: &'a [Reason],
    /// The release of the present base.
    pub release: &'a str,
}

/// Checks the entry of the present version.
///
/// `before` is the posting that `since` compares with.
pub fn faults(
    file: &Path,
    name: &str,
    entry: &Entry,
    before: &Posting,
    since: &Comparison,
    other: OtherReasons<'_>,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |line: usize, patch: Option<usize>, what: String, help: String| {
        faults.push(Fault {
            rule: Rule::Changelog,
            file: file.to_owned(),
            line: Some(line),
            patch,
            what,
            help,
        });
    };
    let version = entry.version;
    let link = before.link();
    if !entry.text.contains(&link) {
        let v = before.version;
        add(
            entry.line,
            None,
            format!("the entry of v{version} does not link to v{v}"),
            format!("write `- Link to v{v}: {link}`"),
        );
    }
    for (line, what, help) in of_other_reasons(entry, before, other) {
        add(line, None, what, help);
    }
    if entry.is_open() && since.unchanged() {
        return faults;
    }
    let patches = since.patches.iter().filter(|p| p.new.is_some()).count();
    let mentions = mentions(entry, patches);
    let mut said: BTreeMap<(bool, usize), Vec<&Mention>> = BTreeMap::new();
    for mention in &mentions {
        said.entry((mention.old, mention.number))
            .or_default()
            .push(mention);
    }
    for patch in &since.patches {
        let of = |old: bool, n: Option<usize>| n.and_then(|n| said.get(&(old, n)));
        let here: Vec<&Mention> = of(false, patch.new)
            .into_iter()
            .chain(of(true, patch.old))
            .flatten()
            .copied()
            .collect();
        if let Some((line, what, help)) = fault_of(name, entry, before, patch, &here) {
            add(line, patch.new.or(patch.old), what, help);
        }
    }
    for mention in &mentions {
        let known = since.patches.iter().any(|p| match mention.old {
            true => p.old == Some(mention.number),
            false => p.new == Some(mention.number),
        });
        if !known {
            let of = if mention.old { before.version } else { version };
            let number = mention.number;
            add(
                mention.line,
                None,
                format!("v{of} has no patch {number}"),
                "use the numbers of the new version; name removed patches as \
                 `Dropped patch N of vM: why`"
                    .to_owned(),
            );
        }
    }
    faults
}

/// Checks the items of an entry that name changes other than patches, in both directions.
fn of_other_reasons(
    entry: &Entry,
    before: &Posting,
    other: OtherReasons<'_>,
) -> Vec<(usize, String, String)> {
    let (v, old) = (entry.version, before.version);
    let said: Vec<_> = items(entry)
        .into_iter()
        .filter_map(|(line, text)| Some((line, reasons::statement(&text)?)))
        .collect();
    let mut faults = Vec::new();
    for reason in Reason::ALL {
        let changed = other.reasons.contains(&reason);
        let (word, subject) = (reason.word(), reason.subject());
        let write = match reason {
            Reason::Base => format!("write `- {word} Linux {}.`", other.release),
            _ => format!("write `- {word} …`, with the change and the reason"),
        };
        let mut here = said.iter().filter(|(_, s)| s.reason == reason).peekable();
        if changed && here.peek().is_none() {
            let what =
                format!("the entry of v{v} does not mention that {subject} changed since v{old}");
            faults.push((entry.line, what, write.clone()));
        }
        for (line, statement) in here {
            let right = |r: &String| format!("v{r}") == other.release;
            if !changed {
                let what = format!(
                    "the entry of v{v} has `{word} …`, but {subject} did not change since v{old}"
                );
                faults.push((*line, what, "remove the item".to_owned()));
            } else if !statement.release.as_ref().is_none_or(right) {
                let what = format!("the series is based on Linux {}", other.release);
                faults.push((*line, what, write.clone()));
            } else if !statement.explained {
                let what = format!("the entry of v{v} does not explain how {subject} changed");
                faults.push((*line, what, write.clone()));
            }
        }
    }
    faults
}

/// Checks the mentions of one patch in an entry.
fn fault_of(
    name: &str,
    entry: &Entry,
    before: &Posting,
    patch: &PatchChange,
    said: &[&Mention],
) -> Option<(usize, String, String)> {
    let (v, old) = (entry.version, before.version);
    let subject = &patch.subject;
    let first = said.first();
    let line = first.map_or(entry.line, |m| m.line);
    let number = match patch.new {
        Some(n) => format!("patch {n} (\"{subject}\")"),
        None => format!("patch {} of v{old} (\"{subject}\")", patch.old?),
    };
    let n = patch.new.or(patch.old)?;
    let with = |kind: Kind| said.iter().find(|m| m.kind == kind);
    let fault = |what: String, help: String| Some((line, what, help));
    match patch.change {
        Change::Same | Change::Moved => first.and_then(|_| {
            let help = match patch.change {
                Change::Moved => {
                    "only its context changed; remove the item, or describe that without a number"
                }
                _ => "remove the item, or name the patch that changed",
            };
            fault(
                format!("the entry of v{v} mentions {number}, which did not change since v{old}"),
                help.to_owned(),
            )
        }),
        Change::Changed | Change::Message => match (first, with(Kind::New), with(Kind::Dropped)) {
            (None, ..) => {
                let how = match patch.change {
                    Change::Message => "whose message changed since",
                    _ => "which changed since",
                };
                fault(
                    format!("the entry of v{v} does not mention {number}, {how} v{old}"),
                    format!(
                        "describe the change as `- Patch {n}: …`; `cargo series diff {name}` \
                         shows it"
                    ),
                )
            }
            (_, Some(_), _) | (_, _, Some(_)) => fault(
                format!("{number} is neither new nor dropped: it changed since v{old}"),
                format!("describe the change as `- Patch {n}: …`"),
            ),
            _ => None,
        },
        Change::Added => match with(Kind::New) {
            None => fault(
                format!("the entry of v{v} does not name {number} as new"),
                format!("give the reason: `- New patch {n}: …`"),
            ),
            Some(m) if !m.reason => fault(
                format!("the entry of v{v} does not explain why {number} is new"),
                format!("give the reason: `- New patch {n}: …`"),
            ),
            Some(_) => None,
        },
        Change::Dropped => match with(Kind::Dropped) {
            None => fault(
                format!("the entry of v{v} does not mention that {number} is gone"),
                format!("give the reason: `- Dropped patch {n} of v{old}: …`"),
            ),
            Some(m) if !m.reason => fault(
                format!("the entry of v{v} does not explain why {number} is gone"),
                format!("give the reason: `- Dropped patch {n} of v{old}: …`"),
            ),
            Some(_) => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        source::changelog,
        versions::{postings::tests::posting, rules::shown},
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
        let other = OtherReasons {
            reasons,
            release: "v6.1.3",
        };
        let before = posting(1, &["a: b"]);
        shown(faults(
            Path::new("x/CHANGELOG.md"),
            "x",
            &entries[0],
            &before,
            since,
            other,
        ))
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

    const ALL_SAID: &str = "- Rebased on Linux v6.1.3.\n- Order: the user comes last, as asked for.\n\
        - Prefix: no longer an RFC.\n- Cover: says what\n  is measured.\n\
        - Recipients: net is added.\n";

    #[test]
    fn other_change_with_item_passes() {
        assert_eq!(found(ALL_SAID, &Reason::ALL), "");
        let other = "- rebase onto 6.1.3-\n- Cover letter: has figures now.\n";
        assert_eq!(found(other, &[Reason::Base, Reason::Cover]), "");
        // Text without a release does not describe the base.
        assert_eq!(found("- Rebased on v2 of list.\n- Rebased.\n", &[]), "");
    }

    #[test]
    fn other_change_without_item_is_refused() {
        insta::assert_snapshot!(found("- Rebased on v6.1.2.\n- Order: changed\n", &Reason::ALL), @r"
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
        let before = posting(1, &["a: b"]);
        let none = OtherReasons {
            reasons: &[],
            release: "v6.1.2",
        };
        assert_eq!(
            shown(faults(
                Path::new("x/CHANGELOG.md"),
                "x",
                &entry,
                &before,
                &same,
                none
            )),
            ""
        );
        let entry = Entry {
            text: "- Rebased.".to_owned(),
            ..entry
        };
        insta::assert_snapshot!(shown(faults(Path::new("x/CHANGELOG.md"), "x", &entry, &before, &same, none)), @r"
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
