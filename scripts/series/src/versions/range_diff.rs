// SPDX-License-Identifier: GPL-2.0

//! Changes between two versions of a series, patch by patch.
//!
//! `git range-diff` pairs the patches. It gets explicit ranges, because b4 chooses wrong ones for a
//! series with dependencies. The text of the patch determines its change: its added and removed
//! lines, its message, or only its context.

use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::{
    git::{Git, Oid},
    mail::{
        diff::{self, Kind},
        fingerprint::fingerprint,
    },
    sys::{Error, Result, cache::Cache, pattern},
    versions::postings::commits::without_tags,
};

/// The threshold, in percent, up to which git pairs patches; its default is 60.
const CREATION_FACTOR: u32 = 80;

/// The threshold at which git pairs any two patches.
const ANY: u32 = 999;

/// The kind of change of a patch, in the order of a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Lines that it adds or removes changed.
    Changed,
    /// The message changed, apart from the tags of people.
    Message,
    Added,
    Dropped,
    /// Only context or line numbers changed, for example after a rebase.
    Moved,
    Same,
}

impl Change {
    pub fn text(self) -> &'static str {
        match self {
            Change::Changed => "changed",
            Change::Message => "message changed",
            Change::Added => "new",
            Change::Dropped => "dropped",
            Change::Moved => "moved",
            Change::Same => "same",
        }
    }

    /// Whether reviewers have to read the patch again.
    pub fn counts(self) -> bool {
        !matches!(self, Change::Same | Change::Moved)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchChange {
    /// The numbers in the old and in the new version.
    pub old: Option<usize>,
    pub new: Option<usize>,
    pub change: Change,
    /// The subject in the new version, or in the old one for a dropped patch.
    pub subject: String,
}

/// The changes between a posted version and the present one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    pub against: u32,
    /// The patches of the present version in order, then the dropped ones.
    pub patches: Vec<PatchChange>,
    /// The range-diff, without the names of commits, which are private.
    #[serde(skip)]
    pub text: String,
}

impl Comparison {
    /// Whether reviewers have nothing to read again.
    pub fn unchanged(&self) -> bool {
        self.patches.iter().all(|p| !p.change.counts())
    }

    pub fn count(&self, change: Change) -> usize {
        self.patches.iter().filter(|p| p.change == change).count()
    }

    /// Returns a summary such as "2 changed, 1 new".
    pub fn summary(&self) -> String {
        let mut counts = BTreeMap::<Change, usize>::new();
        for patch in &self.patches {
            *counts.entry(patch.change).or_default() += 1;
        }
        let part = |(change, n): (&Change, &usize)| format!("{n} {}", change.text());
        counts.iter().map(part).collect::<Vec<_>>().join(", ")
    }
}

/// A patch as it is mailed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    pub subject: String,
    pub message: String,
    /// The diff, or the mail that contains it.
    pub diff: String,
}

pub struct Side {
    /// The commit below the first patch.
    pub parent: Oid,
    pub tip: Oid,
    pub patches: Vec<Patch>,
}

/// Compares the posted version `against` with the present one.
pub fn compare(
    git: &Git<'_>,
    cache: &Cache,
    against: u32,
    old: &Side,
    new: &Side,
) -> Result<Comparison> {
    let said = cached(git, cache, old, new)?;
    Ok(Comparison {
        against,
        patches: judged(&said, old, new)?,
        text: anonymous(&said),
    })
}

pub fn colored(text: &str) -> String {
    text.lines()
        .map(|line| match color(line) {
            Some(code) => format!("\x1b[{code}m{line}\x1b[m\n"),
            None => format!("{line}\n"),
        })
        .collect()
}

/// Returns the terminal's number for the color of a heading, or of a line in a diff of two diffs.
fn color(line: &str) -> Option<u8> {
    const RED: u8 = 31;
    const GREEN: u8 = 32;
    const YELLOW: u8 = 33;
    const CYAN: u8 = 36;
    let inner = line.strip_prefix("    ");
    let rest = inner.or_else(|| Some(line.split_once(": ")?.1))?;
    match rest.chars().next()? {
        '-' | '<' => Some(RED),
        '+' | '>' => Some(GREEN),
        '!' => Some(YELLOW),
        '@' => Some(CYAN),
        _ => None,
    }
}

fn range_diff(git: &Git<'_>, factor: u32, old: &str, new: &str) -> Result<String> {
    let cmd = git.cmd(["range-diff", "--no-color", "--no-notes"]);
    let cmd = cmd.arg(format!("--creation-factor={factor}"));
    let out = git.run(&cmd.args([old, new]))?;
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Caches the range-diff, which takes 0.1 s and depends only on the commits.
fn cached(git: &Git<'_>, cache: &Cache, old: &Side, new: &Side) -> Result<String> {
    cache.remember(format!("range-diff/{}-{}-paired", old.tip, new.tip), || {
        let range = |side: &Side| format!("{}..{}", side.parent, side.tip);
        let said = range_diff(git, CREATION_FACTOR, &range(old), &range(new))?;
        rewritten(&said, &mut |old, new| {
            let (old, new) = (format!("{old}^..{old}"), format!("{new}^..{new}"));
            range_diff(git, ANY, &old, &new)
        })
    })
}

/// Inserts the changes of each patch that was rewritten under its subject where git shows the patch
/// as new. `compare` compares one commit with another.
fn rewritten(said: &str, compare: &mut dyn FnMut(&str, &str) -> Result<String>) -> Result<String> {
    let same = same_subject(said);
    let mut text = String::new();
    for line in said.lines() {
        if same.iter().any(|((gone, _), _)| *gone == line) {
            continue;
        }
        let pair = same.iter().find(|(_, (come, _))| *come == line);
        let Some(((_, [o, old, ..]), (_, [.., n, new, subject]))) = pair else {
            text += &format!("{line}\n");
            continue;
        };
        text += &format!("{o}:  {old} ! {n}:  {new} {subject}\n");
        let between = compare(old, new)?;
        let body = between.lines().filter(|l| l.starts_with("    "));
        text.extend(body.map(|l| format!("{l}\n")));
    }
    Ok(text)
}

/// Pairs patches that were rewritten under the same subject, in which git finds no similarity.
fn same_subject(said: &str) -> Vec<(Heading<'_>, Heading<'_>)> {
    let lone = headings(said).filter(|(_, [old, _, _, new, ..])| *old == NONE || *new == NONE);
    let (gone, mut come): (Vec<_>, Vec<_>) = lone.partition(|(_, [.., new, _, _])| *new == NONE);
    let mut found = Vec::new();
    for before in gone {
        let (_, [.., subject]) = before;
        let at = come.iter().position(|(_, [.., other])| *other == subject);
        found.extend(at.map(|at| (before, come.remove(at))));
    }
    found
}

/// A line such as ` 1:  0123abcd ! 2:  4567cdef subject`, which names a pair, and its parts.
type Heading<'a> = (&'a str, [&'a str; 6]);

/// The number of a patch that a version does not have. Its commit consists of dashes.
const NONE: &str = "-";

static HEADING: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?m)^ {0,3}(-|\d+): +([0-9a-f]+|-+) ([=!<>]) +(-|\d+): +([0-9a-f]+|-+) (.*)$")
});

fn headings(said: &str) -> impl Iterator<Item = Heading<'_>> {
    HEADING.captures_iter(said).map(|found| found.extract())
}

/// Removes the names of commits from a range-diff.
fn anonymous(said: &str) -> String {
    HEADING.replace_all(said, "$1: $3 $4: $6").into_owned()
}

/// Returns the changes of the pairs of a range-diff, in which each new patch has to occur.
fn judged(said: &str, old: &Side, new: &Side) -> Result<Vec<PatchChange>> {
    let judge = |(_, [o, _, _, n, ..]): Heading<'_>| {
        let (o, n) = (o.parse().ok(), n.parse().ok());
        let before = o.map(|o: usize| &old.patches[o - 1]);
        let after = n.map(|n: usize| &new.patches[n - 1]);
        let subject = after.or(before).map(|p| p.subject.clone());
        PatchChange {
            old: o,
            new: n,
            change: match (before, after) {
                (None, _) => Change::Added,
                (_, None) => Change::Dropped,
                (Some(before), Some(after)) => changed(before, after),
            },
            subject: subject.unwrap_or_default(),
        }
    };
    let mut changes: Vec<PatchChange> = headings(said).map(judge).collect();
    changes.sort_by_key(|c| (c.new.unwrap_or(usize::MAX), c.old));
    let seen = changes.iter().filter_map(|c| c.new);
    if seen.ne(1..=new.patches.len()) {
        return Err(Error::new("git range-diff did not list each patch once").detail(said));
    }
    Ok(changes)
}

fn changed(before: &Patch, after: &Patch) -> Change {
    if fingerprint(&before.diff) != fingerprint(&after.diff) {
        Change::Changed
    } else if without_tags(&before.message) != without_tags(&after.message) {
        Change::Message
    } else if hunks(&before.diff) != hunks(&after.diff) {
        Change::Moved
    } else {
        Change::Same
    }
}

/// Returns the diff without the names of blobs and the surrounding mail.
fn hunks(mail: &str) -> Vec<&str> {
    let lines = diff::lines(mail).filter(|(_, kind, line)| match kind {
        Kind::Text => false,
        Kind::Header => !line.starts_with("index "),
        _ => true,
    });
    lines.map(|(_, _, line)| line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(subject: &str, body: &str, hunk: &str) -> Patch {
        Patch {
            subject: subject.into(),
            message: format!("{subject}\n\n{body}\n"),
            diff: format!("diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n{hunk}"),
        }
    }

    const HUNK: &str = "@@ -1,2 +1,3 @@\n a\n+b\n c\n";

    #[test]
    fn change_depends_on_text_of_patch() {
        let old = patch("x: y", "Text.", HUNK);
        let says = |new: &Patch| changed(&old, new);
        assert_eq!(says(&old), Change::Same);
        let moved = HUNK.replace("1,2 +1,3", "8,2 +9,3").replace(" a", " z");
        assert_eq!(says(&patch("x: y", "Text.", &moved)), Change::Moved);
        assert_eq!(says(&patch("x: y", "Other.", HUNK)), Change::Message);
        assert_eq!(says(&patch("x: z", "Text.", HUNK)), Change::Message);
        let tagged = "Text.\n\nReviewed-by: A <a@b>\n[the tests]\nSigned-off-by: B <b@c>";
        assert_eq!(says(&patch("x: y", tagged, HUNK)), Change::Same);
        assert_eq!(
            says(&patch("x: y", "Text.\n[a remark]", HUNK)),
            Change::Message
        );
        // In the format of a mailbox.
        assert_eq!(
            says(&patch("x: y", "Text.", &format!("{HUNK}\n"))),
            Change::Same
        );
        let fixes = "Text.\n\nFixes: 0123456789ab (\"x\")";
        assert_eq!(says(&patch("x: y", fixes, HUNK)), Change::Message);
        let other = HUNK.replace("+b", "+B");
        assert_eq!(says(&patch("x: y", "Text.", &other)), Change::Changed);
    }

    fn side(subjects: &[&str]) -> Side {
        let oid = Oid::parse(&"0".repeat(40)).unwrap();
        Side {
            parent: oid.clone(),
            tip: oid,
            patches: subjects.iter().map(|s| patch(s, "Text.", HUNK)).collect(),
        }
    }

    fn pairs(changes: &[PatchChange]) -> Vec<(Option<usize>, Option<usize>)> {
        changes.iter().map(|c| (c.old, c.new)).collect()
    }

    const SAID: &str = "\
1:  aaaaaaaaaaaa < -:  ------------ a: gone
2:  bbbbbbbbbbbb = 1:  cccccccccccc a: stays
3:  dddddddddddd ! 2:  eeeeeeeeeeee a: changes
    @@ x
      1:  abc = 2:  def text that looks like a pair
-:  ------------ > 3:  ffffffffffff a: new
";

    #[test]
    fn heading_and_anonymous_on_pairs() {
        let old = side(&["a: gone", "a: stays", "a: changes"]);
        let new = side(&["a: stays", "a: changes", "a: new"]);
        let patches = judged(SAID, &old, &new).unwrap();
        assert_eq!(
            pairs(&patches),
            [
                (Some(2), Some(1)),
                (Some(3), Some(2)),
                (None, Some(3)),
                (Some(1), None)
            ]
        );
        insta::assert_snapshot!(anonymous(SAID), @r"
        1: < -: a: gone
        2: = 1: a: stays
        3: ! 2: a: changes
            @@ x
              1:  abc = 2:  def text that looks like a pair
        -: > 3: a: new
        ");
        let said = Comparison {
            against: 1,
            patches,
            text: String::new(),
        };
        assert_eq!(said.summary(), "1 new, 1 dropped, 2 same");
        assert!(!said.unchanged());
        assert_eq!(said.patches[3].subject, "a: gone");
    }

    #[test]
    fn same_subject_pairs_rewritten_patch() {
        let said = "1:  aaaa < -:  ---- a: b\n-:  ---- > 1:  bbbb a: c\n-:  ---- > 2:  cccc a: b\n";
        let text = rewritten(said, &mut |_, _| Ok(String::new())).unwrap();
        let patches = judged(&text, &side(&["a: b"]), &side(&["a: c", "a: b"])).unwrap();
        assert_eq!(pairs(&patches), [(None, Some(1)), (Some(1), Some(2))]);
    }

    #[test]
    fn rewritten_shows_text_of_patch() {
        let said = "1:  aaaa < -:  ---- a: b\n2:  cccc = 1:  dddd a: c\n-:  ---- > 2:  bbbb a: b\n-:  ---- > 3:  eeee a: d\n";
        let (old, new) = (side(&["a: b", "a: c"]), side(&["a: c", "a: b", "a: d"]));
        let mut asked = Vec::new();
        let text = rewritten(said, &mut |old, new| {
            asked.push(format!("{old} {new}"));
            Ok("1:  aaaa ! 1:  bbbb a: b\n    @@ x\n    -+old\n    ++new\n".to_owned())
        });
        let text = text.unwrap();
        assert_eq!(asked, ["aaaa bbbb"]);
        insta::assert_snapshot!(anonymous(&text), @r"
        2: = 1: a: c
        1: ! 2: a: b
            @@ x
            -+old
            ++new
        -: > 3: a: d
        ");
        assert_eq!(
            pairs(&judged(&text, &old, &new).unwrap()),
            [(Some(2), Some(1)), (Some(1), Some(2)), (None, Some(3))]
        );
        assert_eq!(rewritten(SAID, &mut |_, _| unreachable!()).unwrap(), SAID);
    }

    #[test]
    fn colored_matches_git() {
        let text =
            "1: = 1: a\n2: ! 2: b\n    @@ x\n    ++c\n    - d\n      e\n3: < -: f\n-: > 3: g\n";
        let shown = colored(text).replace("\x1b", "");
        insta::assert_snapshot!(shown, @r"
        1: = 1: a
        [33m2: ! 2: b[m
        [36m    @@ x[m
        [32m    ++c[m
        [31m    - d[m
              e
        [31m3: < -: f[m
        [32m-: > 3: g[m
        ");
    }

    #[test]
    fn pairs_missing_patch_is_an_error() {
        let error = judged(
            "1:  aaaa = 1:  bbbb a: b\n",
            &side(&["a: b"]),
            &side(&["a: b", "c"]),
        );
        assert!(error.unwrap_err().to_string().contains("each patch once"));
    }

    #[test]
    fn hunks_ignore_end_of_mail() {
        let one = patch("a: b", "Text.", "@@ -1,2 +1,3 @@\n a\n+b\n c\n");
        let mut other = one.clone();
        other.diff += "\n-- \n2.47\n";
        assert_eq!(changed(&one, &other), Change::Same);
        other.diff = other.diff.replace("-1,2 +1,3", "-9,2 +9,3");
        assert_eq!(changed(&one, &other), Change::Moved);
    }
}
