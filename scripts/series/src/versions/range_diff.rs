// SPDX-License-Identifier: GPL-2.0

//! Changes between two versions of a series, patch by patch.
//!
//! `git range-diff` pairs the patches. It gets explicit ranges, because b4 chooses wrong ones for a
//! series with dependencies. The text of the patch determines its change: its added and removed
//! lines, its message, or only its context.

use serde::{Deserialize, Serialize};

use crate::{
    git::{Git, Oid},
    mail::{
        diff::{self, Kind},
        fingerprint::fingerprint,
    },
    sys::{
        cache::Cache,
        error::{Error, Result},
        files::write,
        runner::must,
    },
    versions::postings::commits::without_tags,
};

/// The threshold, in percent, up to which git pairs patches; its default is 60.
const CREATION_FACTOR: u32 = 80;

/// The threshold at which git pairs any two patches.
const ANY: u32 = 999;

/// The kind of change of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Same,
    /// Only context or line numbers changed, for example after a rebase.
    Moved,
    /// The message changed, apart from the tags of people.
    Message,
    /// Lines that it adds or removes changed.
    Changed,
    /// The old version does not have it.
    Added,
    /// The new version does not have it.
    Dropped,
}

impl Change {
    /// Returns the kind in one or two words.
    pub fn text(self) -> &'static str {
        match self {
            Change::Same => "same",
            Change::Moved => "moved",
            Change::Message => "message changed",
            Change::Changed => "changed",
            Change::Added => "new",
            Change::Dropped => "dropped",
        }
    }

    /// Whether reviewers have to read the patch again.
    pub fn counts(self) -> bool {
        !matches!(self, Change::Same | Change::Moved)
    }
}

/// The change of one patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchChange {
    /// The number in the old version.
    pub old: Option<usize>,
    /// The number in the new version.
    pub new: Option<usize>,
    pub change: Change,
    /// The subject in the new version, or in the old one for a dropped patch.
    pub subject: String,
}

/// The changes between a posted version and the present one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// The posted version.
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

    /// Counts the patches with this kind of change.
    pub fn count(&self, change: Change) -> usize {
        self.patches.iter().filter(|p| p.change == change).count()
    }

    /// Returns a summary such as "2 changed, 1 new".
    pub fn summary(&self) -> String {
        let parts: Vec<String> = [
            Change::Changed,
            Change::Message,
            Change::Added,
            Change::Dropped,
            Change::Moved,
            Change::Same,
        ]
        .into_iter()
        .map(|change| (change, self.count(change)))
        .filter(|(_, n)| *n > 0)
        .map(|(change, n)| format!("{n} {}", change.text()))
        .collect();
        parts.join(", ")
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

/// A version to compare.
#[derive(Debug, Clone)]
pub struct Side {
    /// The commit below the first patch.
    pub parent: Oid,
    /// The last patch.
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
    let pairs = paired(&said, old, new)?;
    Ok(Comparison {
        against,
        patches: judged(&pairs, old, new),
        text: anonymous(&said),
    })
}

/// Adds git's colors for terminals to the text.
pub fn colored(text: &str) -> String {
    text.lines()
        .map(|line| match color(line) {
            Some(code) => format!("\x1b[{code}m{line}\x1b[m\n"),
            None => format!("{line}\n"),
        })
        .collect()
}

/// Returns the color of a line as a terminal color number.
fn color(line: &str) -> Option<u8> {
    const RED: u8 = 31;
    const GREEN: u8 = 32;
    const YELLOW: u8 = 33;
    const CYAN: u8 = 36;
    if let Some(inner) = line.strip_prefix("    ") {
        return match inner.chars().next()? {
            '@' => Some(CYAN),
            '+' => Some(GREEN),
            '-' => Some(RED),
            _ => None,
        };
    }
    let (_, rest) = line.split_once(": ")?;
    match rest.chars().next()? {
        '!' => Some(YELLOW),
        '<' => Some(RED),
        '>' => Some(GREEN),
        _ => None,
    }
}

fn command(git: &Git<'_>, factor: u32, old: &str, new: &str) -> crate::sys::runner::Cmd {
    git.cmd(["range-diff", "--no-color", "--no-notes"])
        .arg(format!("--creation-factor={factor}"))
        .arg(old)
        .arg(new)
}

/// Caches the range-diff, which takes 0.1 s and depends only on the commits.
fn cached(git: &Git<'_>, cache: &Cache, old: &Side, new: &Side) -> Result<String> {
    let name = format!("{}-{}-paired", old.tip, new.tip);
    let record = cache.path("range-diff").join(name);
    if let Ok(text) = std::fs::read_to_string(&record) {
        return Ok(text);
    }
    let range = |side: &Side| format!("{}..{}", side.parent, side.tip);
    let cmd = command(git, CREATION_FACTOR, &range(old), &range(new));
    let said = String::from_utf8_lossy(&must(git.runner(), &cmd)?.stdout).into_owned();
    let text = rewritten(&said, old, new, &mut |old, new| {
        let range = |commit: &str| format!("{commit}^..{commit}");
        let cmd = command(git, ANY, &range(old), &range(new));
        Ok(String::from_utf8_lossy(&must(git.runner(), &cmd)?.stdout).into_owned())
    })?;
    write(&record, text.as_bytes())?;
    Ok(text)
}

/// Inserts the changes of each patch that was rewritten under its subject where git shows the patch
/// as new. `compare` compares one commit with another.
fn rewritten(
    said: &str,
    old: &Side,
    new: &Side,
    compare: &mut dyn FnMut(&str, &str) -> Result<String>,
) -> Result<String> {
    let headings: Vec<Heading<'_>> = said.lines().filter_map(Heading::parse).collect();
    let pairs: Pairs = headings.iter().map(|h| (h.old, h.new)).collect();
    let same = same_subject(&pairs, old, new);
    let commit = |is_it: &dyn Fn(&&Heading<'_>) -> bool| headings.iter().find(is_it);
    let mut text = String::new();
    for line in said.lines() {
        let heading = Heading::parse(line);
        let lone = |h: &Heading<'_>| (h.old, h.new);
        let pair = heading.as_ref().and_then(|h| match lone(h) {
            (Some(o), None) => same.iter().find(|p| p.0 == o).map(|p| (p, false)),
            (None, Some(n)) => same.iter().find(|p| p.1 == n).map(|p| (p, true)),
            _ => None,
        });
        let Some(((o, n), is_new)) = pair else {
            text += &format!("{line}\n");
            continue;
        };
        if !is_new {
            continue;
        }
        let before = commit(&|h| h.old == Some(*o) && h.new.is_none());
        let after = commit(&|h| h.new == Some(*n) && h.old.is_none());
        let (Some(before), Some(after)) = (before, after) else {
            continue;
        };
        let between = compare(before.old_commit, after.new_commit)?;
        let body = between.lines().filter(|l| l.starts_with("    "));
        text += &format!(
            "{o}:  {} ! {n}:  {} {}\n",
            before.old_commit, after.new_commit, after.subject
        );
        text.extend(body.map(|l| format!("{l}\n")));
    }
    Ok(text)
}

/// A line of a range-diff that names a pair: numbers and the sign between them.
struct Heading<'a> {
    old: Option<usize>,
    old_commit: &'a str,
    sign: &'a str,
    new: Option<usize>,
    new_commit: &'a str,
    subject: &'a str,
}

impl<'a> Heading<'a> {
    /// Parses ` 1:  0123abcd ! 2:  4567cdef subject`; a missing side consists of dashes.
    fn parse(line: &'a str) -> Option<Self> {
        if line.starts_with("    ") {
            return None;
        }
        let (old, rest) = line.trim_start().split_once(':')?;
        let (hash, rest) = rest.trim_start().split_once(' ')?;
        let (sign, rest) = rest.trim_start().split_once(' ')?;
        let (new, rest) = rest.trim_start().split_once(':')?;
        let (other, subject) = rest.trim_start().split_once(' ')?;
        let name = |n: &str| n.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
        let number = |n: &str| match n {
            "-" => Some(None),
            n => n.parse().ok().map(Some),
        };
        let fits = name(hash) && name(other) && ["=", "!", "<", ">"].contains(&sign);
        fits.then_some(Self {
            old: number(old)?,
            old_commit: hash,
            sign,
            new: number(new)?,
            new_commit: other,
            subject,
        })
    }
}

/// Removes the names of commits from a range-diff.
fn anonymous(said: &str) -> String {
    let number = |n: Option<usize>| n.map_or("-".to_owned(), |n| n.to_string());
    said.lines()
        .map(|line| match Heading::parse(line) {
            Some(h) => format!(
                "{}: {} {}: {}\n",
                number(h.old),
                h.sign,
                number(h.new),
                h.subject
            ),
            None => format!("{line}\n"),
        })
        .collect()
}

/// Old and new numbers that belong together.
type Pairs = Vec<(Option<usize>, Option<usize>)>;

/// Pairs patches that were rewritten under the same subject, in which git finds no similarity.
fn same_subject(pairs: &Pairs, old: &Side, new: &Side) -> Vec<(usize, usize)> {
    let gone = pairs.iter().filter_map(|p| p.0.filter(|_| p.1.is_none()));
    let mut come: Vec<usize> = pairs
        .iter()
        .filter_map(|p| p.1.filter(|_| p.0.is_none()))
        .collect();
    let mut found = Vec::new();
    for o in gone {
        let subject = old.patches.get(o - 1).map(|p| &p.subject);
        let at = come.iter().position(|n| {
            let other = new.patches.get(n - 1).map(|p| &p.subject);
            subject.is_some() && subject == other
        });
        found.extend(at.map(|at| (o, come.remove(at))));
    }
    found
}

fn paired(said: &str, old: &Side, new: &Side) -> Result<Pairs> {
    let mut pairs: Pairs = said
        .lines()
        .filter_map(Heading::parse)
        .map(|h| (h.old, h.new))
        .collect();
    for (o, n) in same_subject(&pairs, old, new) {
        pairs.retain(|p| *p != (Some(o), None));
        if let Some(pair) = pairs.iter_mut().find(|p| **p == (None, Some(n))) {
            pair.0 = Some(o);
        }
    }
    let mut seen: Vec<usize> = pairs.iter().filter_map(|p| p.1).collect();
    seen.sort_unstable();
    if seen.iter().copied().eq(1..=new.patches.len()) {
        return Ok(pairs);
    }
    Err(Error::new("git range-diff did not list each patch once").detail(said))
}

fn judged(pairs: &Pairs, old: &Side, new: &Side) -> Vec<PatchChange> {
    let mut changes: Vec<PatchChange> = pairs
        .iter()
        .map(|(o, n)| {
            let before = o.map(|o| &old.patches[o - 1]);
            let after = n.map(|n| &new.patches[n - 1]);
            PatchChange {
                old: *o,
                new: *n,
                change: match (before, after) {
                    (None, _) => Change::Added,
                    (_, None) => Change::Dropped,
                    (Some(before), Some(after)) => changed(before, after),
                },
                subject: after
                    .or(before)
                    .map_or(String::new(), |p| p.subject.clone()),
            }
        })
        .collect();
    changes.sort_by_key(|c| (c.new.unwrap_or(usize::MAX), c.old));
    changes
}

fn changed(before: &Patch, after: &Patch) -> Change {
    if fingerprint(&before.diff) != fingerprint(&after.diff) {
        return Change::Changed;
    }
    if without_tags(&before.message) != without_tags(&after.message) {
        return Change::Message;
    }
    match hunks(&before.diff) == hunks(&after.diff) {
        true => Change::Same,
        false => Change::Moved,
    }
}

/// Returns the diff without the names of blobs and the surrounding mail.
fn hunks(mail: &str) -> Vec<&str> {
    let counts = |kind: Kind, line: &str| match kind {
        Kind::Text => false,
        Kind::Header => !line.starts_with("index "),
        _ => true,
    };
    let lines = diff::lines(mail).filter(|(_, kind, line)| counts(*kind, line));
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
        let pairs = paired(SAID, &old, &new).unwrap();
        assert_eq!(
            pairs,
            [
                (Some(1), None),
                (Some(2), Some(1)),
                (Some(3), Some(2)),
                (None, Some(3))
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
            patches: judged(&pairs, &old, &new),
            text: String::new(),
        };
        assert_eq!(said.summary(), "1 new, 1 dropped, 2 same");
        assert!(!said.unchanged());
        assert_eq!(said.patches[3].subject, "a: gone");
    }

    #[test]
    fn same_subject_pairs_rewritten_patch() {
        let said = "1:  aaaa < -:  ---- a: b\n-:  ---- > 1:  bbbb a: c\n-:  ---- > 2:  cccc a: b\n";
        let pairs = paired(said, &side(&["a: b"]), &side(&["a: c", "a: b"])).unwrap();
        assert_eq!(pairs, [(None, Some(1)), (Some(1), Some(2))]);
    }

    #[test]
    fn rewritten_shows_text_of_patch() {
        let said = "1:  aaaa < -:  ---- a: b\n2:  cccc = 1:  dddd a: c\n-:  ---- > 2:  bbbb a: b\n-:  ---- > 3:  eeee a: d\n";
        let (old, new) = (side(&["a: b", "a: c"]), side(&["a: c", "a: b", "a: d"]));
        let mut asked = Vec::new();
        let text = rewritten(said, &old, &new, &mut |old, new| {
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
        let pairs = paired(&text, &old, &new).unwrap();
        assert_eq!(
            pairs,
            [(Some(2), Some(1)), (Some(1), Some(2)), (None, Some(3))]
        );
        assert_eq!(
            rewritten(SAID, &old, &new, &mut |_, _| unreachable!()).unwrap(),
            SAID
        );
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
        let error = paired(
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
