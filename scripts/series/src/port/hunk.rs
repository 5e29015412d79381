// SPDX-License-Identifier: GPL-2.0

//! The hunks of a diff, and where they fit.
//!
//! A hunk is placed as `git apply` places it: all of its lines have to be there, at the line that it
//! names or as near to it as possible; at the start of the file if it starts there, and at the end
//! if nothing follows. A test compares the two.

use super::tree::Bytes;

/// A diff of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileDiff {
    /// The line of the diff at which it starts, from 1.
    pub line: usize,
    /// Its path before; `None` if it is new.
    pub old: Option<String>,
    /// Its path after; `None` if it is removed.
    pub new: Option<String>,
    /// Its hunks.
    pub hunks: Vec<Hunk>,
}

impl FileDiff {
    /// Its path after, or before if it is removed.
    pub fn path(&self) -> &str {
        let path = self.new.as_ref().or(self.old.as_ref());
        path.map_or("", String::as_str)
    }
}

/// A run of lines that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// The line of the diff that has its header, from 1.
    pub line: usize,
    /// The header.
    pub header: String,
    /// Its first line before, from 1; 0 if there is none.
    pub old_start: usize,
    /// Its first line after.
    pub new_start: usize,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// What a line of a hunk is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is there before and after.
    Context,
    /// It goes.
    Old,
    /// It comes.
    New,
}

/// A line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is for.
    pub kind: Kind,
    /// Its text, with its newline if it has one.
    pub text: String,
}

/// Reads a diff.
pub fn parse(diff: &str) -> Vec<FileDiff> {
    let mut files: Vec<FileDiff> = Vec::new();
    // A file whose `---` was not met yet.
    let mut fresh = false;
    let mut left = (0usize, 0usize);
    for (i, line) in diff.split_inclusive('\n').enumerate() {
        let bare = line.trim_end_matches('\n');
        let number = i + 1;
        if let Some(hunk) = files.last_mut().and_then(|f| f.hunks.last_mut()) {
            if let Some(kind) = next_kind(bare, left) {
                match kind {
                    Kind::Context => left = (left.0 - 1, left.1 - 1),
                    Kind::Old => left.0 -= 1,
                    Kind::New => left.1 -= 1,
                }
                let text = match line.starts_with('\n') {
                    // Some mailers drop the blank of an empty line of context.
                    true => line,
                    false => &line[1..],
                };
                let text = match text.ends_with('\n') {
                    true => text.to_owned(),
                    false => format!("{text}\n"),
                };
                hunk.lines.push(Line { kind, text });
                continue;
            }
            if bare.starts_with('\\') {
                if let Some(last) = hunk.lines.last_mut() {
                    last.text.truncate(last.text.trim_end_matches('\n').len());
                }
                continue;
            }
        }
        if let Some(names) = bare.strip_prefix("diff --git ") {
            let path = both(names);
            files.push(FileDiff {
                line: number,
                old: path.clone(),
                new: path,
                hunks: Vec::new(),
            });
            fresh = true;
            continue;
        }
        let name = |prefix: &str, side: &str| {
            let rest = bare.strip_prefix(prefix)?.trim_end_matches('\t');
            Some(rest.strip_prefix(side).map(str::to_owned))
        };
        if let Some(path) = name("--- ", "a/") {
            // One that is only renamed has no such line.
            let own = |file: &FileDiff| path.is_none() || file.old == path;
            if !(fresh && files.last().is_some_and(own)) {
                files.push(FileDiff {
                    line: number,
                    ..FileDiff::default()
                });
            }
            fresh = false;
            if let Some(file) = files.last_mut() {
                file.old = path;
            }
            continue;
        }
        let Some(file) = files.last_mut() else {
            continue;
        };
        if let Some(path) = name("+++ ", "b/") {
            file.new = path;
        } else if bare.starts_with("new file mode ") {
            file.old = None;
        } else if bare.starts_with("deleted file mode ") {
            file.new = None;
        } else if let Some(path) = bare.strip_prefix("rename from ") {
            file.old = Some(path.to_owned());
        } else if let Some(path) = bare.strip_prefix("rename to ") {
            file.new = Some(path.to_owned());
        } else if let Some((old_start, old, new_start, new)) = header(bare) {
            left = (old, new);
            file.hunks.push(Hunk {
                line: number,
                header: bare.to_owned(),
                old_start,
                new_start,
                lines: Vec::new(),
            });
        }
    }
    files
}

fn next_kind(bare: &str, left: (usize, usize)) -> Option<Kind> {
    match (bare.as_bytes().first(), left) {
        (Some(b' ') | None, (1.., 1..)) => Some(Kind::Context),
        (Some(b'-'), (1.., _)) => Some(Kind::Old),
        (Some(b'+'), (_, 1..)) => Some(Kind::New),
        _ => None,
    }
}

/// The path that stands on both sides of `a/x b/x`.
fn both(names: &str) -> Option<String> {
    let rest = names.strip_prefix("a/")?;
    let half = rest.len().checked_sub(" b/".len())? / 2;
    let (old, new) = (rest.get(..half)?, rest.get(half..)?);
    (new.strip_prefix(" b/") == Some(old)).then(|| old.to_owned())
}

fn header(line: &str) -> Option<(usize, usize, usize, usize)> {
    let mut words = line.strip_prefix("@@ ")?.split(' ');
    let mut range = |sign| -> Option<(usize, usize)> {
        let range = words.next()?.strip_prefix(sign)?;
        match range.split_once(',') {
            Some((start, count)) => Some((start.parse().ok()?, count.parse().ok()?)),
            None => Some((range.parse().ok()?, 1)),
        }
    };
    let (old_start, old) = range('-')?;
    let (new_start, new) = range('+')?;
    Some((old_start, old, new_start, new))
}

impl Hunk {
    fn side(&self, gone: Kind) -> Vec<&[u8]> {
        let lines = self.lines.iter().filter(|l| l.kind != gone);
        lines.map(|l| l.text.as_bytes()).collect()
    }

    /// Its lines before.
    pub fn before(&self) -> Vec<&[u8]> {
        self.side(Kind::New)
    }

    /// Its lines after.
    pub fn after(&self) -> Vec<&[u8]> {
        self.side(Kind::Old)
    }

    fn trailing(&self) -> usize {
        let context = self.lines.iter().rev();
        context.take_while(|l| l.kind == Kind::Context).count()
    }

    /// The runs of lines that go and come, one after the other.
    fn changes(&self) -> Vec<Change<'_>> {
        let mut changes: Vec<Change<'_>> = Vec::new();
        let mut inside = false;
        for (i, line) in self.lines.iter().enumerate() {
            if line.kind == Kind::Context {
                inside = false;
                continue;
            }
            if !inside {
                changes.push(Change {
                    first: i,
                    ..Change::default()
                });
                inside = true;
            }
            if let Some(change) = changes.last_mut() {
                change.last = i;
                match line.kind {
                    Kind::Old => change.old.push(line.text.as_bytes()),
                    _ => change.new.push(line.text.as_bytes()),
                }
            }
        }
        changes
    }
}

#[derive(Default)]
struct Change<'a> {
    first: usize,
    last: usize,
    old: Vec<&'a [u8]>,
    new: Vec<&'a [u8]>,
}

/// A file as lines, on the way.
#[derive(Clone)]
pub struct Lines<'a> {
    lines: Vec<&'a [u8]>,
    /// What an earlier hunk wrote, where no other may be placed.
    taken: Vec<bool>,
}

impl<'a> Lines<'a> {
    /// The lines of a file, each with its newline.
    pub fn of(content: &'a [u8]) -> Self {
        let lines: Vec<_> = content.split_inclusive(|b| *b == b'\n').collect();
        Self {
            taken: vec![false; lines.len()],
            lines,
        }
    }

    /// As bytes.
    pub fn content(&self) -> Bytes {
        self.lines.concat().into()
    }

    fn holds_at(&self, at: usize, run: &[&[u8]]) -> bool {
        at + run.len() <= self.lines.len()
            && self.lines[at..at + run.len()] == *run
            && !self.taken[at..at + run.len()].contains(&true)
    }

    /// Where `run` stands: as near to `expected` as possible.
    fn find(&self, run: &[&[u8]], expected: usize, start: bool, end: bool) -> Option<usize> {
        let room = self.lines.len().checked_sub(run.len())?;
        if start {
            return (self.holds_at(0, run) && (!end || room == 0)).then_some(0);
        }
        if end {
            return self.holds_at(room, run).then_some(room);
        }
        let expected = expected.min(room);
        // Of two that are as near, git takes the later one.
        (0..=room.max(expected))
            .flat_map(|away| [expected.checked_add(away), expected.checked_sub(away)])
            .flatten()
            .find(|at| *at <= room && self.holds_at(*at, run))
    }

    /// Places a hunk, and returns by how many lines it is off, or `None` if it fits nowhere.
    pub fn apply(&mut self, hunk: &'a Hunk) -> Option<i64> {
        let (before, after) = (hunk.before(), hunk.after());
        let expected = hunk.new_start.saturating_sub(1);
        let start = hunk.old_start <= 1;
        let end = hunk.trailing() == 0;
        let at = self.find(&before, expected, start, end)?;
        self.taken
            .splice(at..at + before.len(), after.iter().map(|_| true));
        self.lines.splice(at..at + before.len(), after);
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        Some(number(at) - number(expected))
    }

    /// Whether what a hunk does was done before: its lines after are there, where `before` the hunk
    /// they were not. `from` is the line behind what an earlier hunk was found to have done.
    pub fn is_done(&self, hunk: &Hunk, before: &Lines<'_>, from: &mut usize) -> Option<Done> {
        let after = hunk.after();
        let expected = hunk.new_start.saturating_sub(1);
        if !after.is_empty()
            && let Some(at) = self.find(&after, expected, false, false)
            && before.find(&after, expected, false, false).is_none()
        {
            *from = (*from).max(at);
            return Some(Done::Whole);
        }
        let mut behind = *from;
        for change in hunk.changes() {
            behind = self.change_is_done(hunk, &change, before, behind)?;
        }
        *from = behind;
        Some(Done::Lines)
    }

    /// Whether one change was done, and after which line.
    fn change_is_done(
        &self,
        hunk: &Hunk,
        change: &Change<'_>,
        before: &Lines<'_>,
        from: usize,
    ) -> Option<usize> {
        let is_in = |lines: &Lines<'_>, run: &[&[u8]], from: usize| {
            let last = lines.lines.len().checked_sub(run.len())?;
            // What an earlier hunk wrote was not there before.
            (from..=last).find(|at| lines.holds_at(*at, run))
        };
        if !change.old.is_empty() && is_in(self, &change.old, 0).is_some() {
            return None;
        }
        if change.new.is_empty() {
            // Nothing tells that lines are gone but that their neighbours are there, side by side.
            let around = [
                change.first.checked_sub(1),
                Some(change.last + 1).filter(|i| *i < hunk.lines.len()),
            ];
            let around: Vec<&[u8]> = around
                .into_iter()
                .flatten()
                .map(|i| hunk.lines[i].text.as_bytes())
                .collect();
            let telling = around.iter().any(|l| is_telling(l));
            let at = is_in(self, &around, from).filter(|_| telling && around.len() == 2)?;
            return is_in(before, &around, 0).is_none().then_some(at + 1);
        }
        let telling = change.new.iter().any(|l| is_telling(l));
        // What could stand anywhere, or stood there before, tells nothing.
        if !telling || is_in(before, &change.new, 0).is_some() {
            return None;
        }
        is_in(self, &change.new, from).map(|at| at + change.new.len())
    }

    /// The place that looks most like the lines before a hunk, and the first of these that is not
    /// there.
    pub fn nearest(&self, hunk: &Hunk) -> Option<Nearest> {
        let before = hunk.before();
        let expected = hunk.new_start.saturating_sub(1);
        let score = |at: usize| -> usize {
            let pairs = before.iter().zip(&self.lines[at..]);
            let weight = |l: &[u8]| if is_telling(l) { 4 } else { 1 };
            pairs.filter(|(a, b)| a == b).map(|(a, _)| weight(a)).sum()
        };
        let best = (0..self.lines.len())
            .max_by_key(|at| (score(*at), std::cmp::Reverse(at.abs_diff(expected))))?;
        // A brace or two are found everywhere.
        if score(best) < 4 {
            return None;
        }
        let differs = before
            .iter()
            .enumerate()
            .position(|(i, l)| self.lines.get(best + i) != Some(l));
        let first = best + differs.unwrap_or(0).saturating_sub(1);
        let last = (first + SHOWN)
            .min(self.lines.len())
            .min(best + before.len() + 1);
        let show = |l: &[u8]| String::from_utf8_lossy(l).trim_end().to_owned();
        Some(Nearest {
            line: first + 1,
            lines: self.lines[first..last.max(first)]
                .iter()
                .map(|l| show(l))
                .collect(),
            wants: differs.map(|i| show(before[i])),
        })
    }
}

/// How many lines of a file are shown.
const SHOWN: usize = 6;

/// The lines that a hunk brings and that stand in a file already, if they are most of those that were
/// not in the file it was made for: somebody else may have done the same elsewhere in it.
pub fn doubles(hunk: &Hunk, content: &[u8], before: &[u8]) -> Vec<String> {
    let (now, known) = (Lines::of(content).lines, Lines::of(before).lines);
    let new = hunk.lines.iter().filter(|l| l.kind == Kind::New);
    let new: Vec<&[u8]> = new
        .map(|l| l.text.as_bytes())
        .filter(|l| is_telling(l) && !known.contains(l))
        .collect();
    let double: Vec<&&[u8]> = new.iter().filter(|l| now.contains(l)).collect();
    match double.len() * 2 > new.len() {
        true => double
            .into_iter()
            .map(|l| String::from_utf8_lossy(l).trim().to_owned())
            .collect(),
        false => Vec::new(),
    }
}

/// How it is known that a hunk was done before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// The hunk can be taken back.
    Whole,
    /// The lines that come are there and those that go are not, but around them it looks otherwise.
    Lines,
}

/// A place that looks like the one that a hunk is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearest {
    /// The line of the first of these lines, from 1.
    pub line: usize,
    /// What stands there.
    pub lines: Vec<String>,
    /// The first line of the hunk that is not where it should be.
    pub wants: Option<String>,
}

/// Whether a line says something, unlike a brace.
pub fn is_telling(line: &[u8]) -> bool {
    line.iter().filter(|b| b.is_ascii_alphanumeric()).count() >= 4
}

/// A hunk that makes `after` of `before`; `line` is where it is written down.
pub fn between(before: &[u8], after: &[u8], line: usize) -> Option<Hunk> {
    const CONTEXT: usize = 3;
    let (old, new) = (Lines::of(before).lines, Lines::of(after).lines);
    let same = |(a, b): &(&&[u8], &&[u8])| a == b;
    let head = old.iter().zip(&new).take_while(same).count();
    let room = old.len().min(new.len()) - head;
    let tail = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take(room)
        .take_while(same)
        .count();
    if head == old.len() && head == new.len() {
        return None;
    }
    let first = head.saturating_sub(CONTEXT);
    let end = |lines: &[&[u8]]| (lines.len() - tail + CONTEXT).min(lines.len());
    let line_of = |kind, text: &&[u8]| Line {
        kind,
        text: String::from_utf8_lossy(text).into_owned(),
    };
    let context =
        |run: &[&[u8]]| -> Vec<Line> { run.iter().map(|l| line_of(Kind::Context, l)).collect() };
    let mut lines = context(&old[first..head]);
    lines.extend(
        old[head..old.len() - tail]
            .iter()
            .map(|l| line_of(Kind::Old, l)),
    );
    lines.extend(
        new[head..new.len() - tail]
            .iter()
            .map(|l| line_of(Kind::New, l)),
    );
    lines.extend(context(&old[old.len() - tail..end(&old)]));
    let (count_old, count_new) = (end(&old) - first, end(&new) - first);
    Some(Hunk {
        line,
        header: format!("@@ -{0},{count_old} +{0},{count_new} @@", first + 1),
        old_start: first + 1,
        new_start: first + 1,
        lines,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        git::Git,
        runner::System, //
    };

    const DIFF: &str = "\
diff --git a/rust/kernel/lib.rs b/rust/kernel/lib.rs
index 1..2 100644
--- a/rust/kernel/lib.rs
+++ b/rust/kernel/lib.rs
@@ -1,3 +1,3 @@
 a
--- a/not/a/header
++++ b/nor/this
 b
@@ -10 +10,2 @@ fn x
-c
+d
+e
\\ No newline at end of file
diff --git a/new b/new
new file mode 100644
--- /dev/null
+++ b/new
@@ -0,0 +1 @@
+x
diff --git a/old b/old
deleted file mode 100644
--- a/old
+++ /dev/null
@@ -1 +0,0 @@
-x
diff --git a/from b/to
rename from from
rename to to
--- a/plain
+++ b/plain
@@ -1 +1 @@
-x
+y
";

    #[test]
    fn a_diff_is_read() {
        let files = parse(DIFF);
        let paths: Vec<_> = files
            .iter()
            .map(|f| (f.line, f.old.as_deref(), f.new.as_deref(), f.hunks.len()))
            .collect();
        assert_eq!(
            paths,
            [
                (1, Some("rust/kernel/lib.rs"), Some("rust/kernel/lib.rs"), 2),
                (15, None, Some("new"), 1),
                (21, Some("old"), None, 1),
                (27, Some("from"), Some("to"), 0),
                (30, Some("plain"), Some("plain"), 1),
            ]
        );
        let hunks = &files[0].hunks;
        assert_eq!((hunks[0].line, hunks[1].line), (5, 10));
        assert_eq!(
            hunks[0].before(),
            [&b"a\n"[..], b"-- a/not/a/header\n", b"b\n"]
        );
        assert_eq!(hunks[1].after(), [&b"d\n"[..], b"e"]);
        assert_eq!(hunks[1].header, "@@ -10 +10,2 @@ fn x");
    }

    fn hunk(text: &str) -> Hunk {
        let diff = format!("--- a/x\n+++ b/x\n{text}");
        parse(&diff).remove(0).hunks.remove(0)
    }

    fn text(lines: &[&str]) -> String {
        lines.iter().map(|l| format!("{l}\n")).collect()
    }

    #[test]
    fn a_hunk_is_found_near_its_line() {
        let hunk = hunk("@@ -2,3 +2,4 @@\n one\n+new\n two\n three\n");
        let place = |lines: &[&str]| {
            let text = text(lines);
            let mut lines = Lines::of(text.as_bytes());
            let offset = lines.apply(&hunk);
            (offset, String::from_utf8(lines.content().to_vec()).unwrap())
        };
        let (offset, after) = place(&["a", "one", "two", "three", "b"]);
        assert_eq!(
            (offset, after.as_str()),
            (Some(0), "a\none\nnew\ntwo\nthree\nb\n")
        );
        assert_eq!(place(&["a", "b", "c", "one", "two", "three"]).0, Some(2));
        assert_eq!(place(&["one", "two", "three"]).0, Some(-1));
        assert_eq!(place(&["a", "one", "two", "four"]).0, None);
    }

    fn done(hunk_text: &str, before: &[&str], now: &[&str]) -> Option<Done> {
        let (before, now) = (text(before), text(now));
        Lines::of(now.as_bytes()).is_done(&hunk(hunk_text), &Lines::of(before.as_bytes()), &mut 0)
    }

    #[test]
    fn what_is_done_is_recognised() {
        let add = "@@ -1,2 +1,3 @@\n mod alpha;\n+mod list;\n mod omega;\n";
        let before = ["mod alpha;", "mod omega;"];
        let whole = ["mod alpha;", "mod list;", "mod omega;"];
        assert_eq!(done(add, &before, &whole), Some(Done::Whole));
        let other = ["mod alpha;", "mod beta;", "mod list;", "mod more;"];
        assert_eq!(done(add, &before, &other), Some(Done::Lines));
        assert_eq!(done(add, &before, &before), None);
        // A line that stood there before, or says nothing, tells nothing.
        assert_eq!(
            done(add, &["mod list;", "mod alpha;", "mod omega;"], &other),
            None
        );
        let brace = "@@ -1,2 +1,3 @@\n mod alpha;\n+}\n mod omega;\n";
        assert_eq!(done(brace, &before, &["x();", "}"]), None);
    }

    #[test]
    fn one_line_is_not_taken_for_what_two_hunks_did() {
        let hunk = hunk("@@ -1,2 +1,3 @@\n mod alpha;\n+mod list;\n mod omega;\n");
        let (before, now) = (
            text(&["mod alpha;", "mod omega;"]),
            text(&["x();", "mod list;"]),
        );
        let (before, now) = (Lines::of(before.as_bytes()), Lines::of(now.as_bytes()));
        let mut from = 0;
        assert_eq!(now.is_done(&hunk, &before, &mut from), Some(Done::Lines));
        assert_eq!(now.is_done(&hunk, &before, &mut from), None);
    }

    #[test]
    fn what_a_hunk_did_is_not_taken_for_what_the_next_one_does() {
        let add = "--- a/x\n+++ b/x\n@@ -1,2 +1,3 @@\n first\n+the same\n second\n\
                   @@ -3,2 +4,3 @@\n third\n+the same\n fourth\n";
        let now = text(&["first", "second", "third", "fourth", "fifth"]);
        let hunks = &parse(add)[0].hunks;
        let before = Lines::of(now.as_bytes());
        let mut lines = before.clone();
        let mut from = 0;
        for hunk in hunks {
            assert_eq!(lines.is_done(hunk, &before, &mut from), None);
            assert_eq!(lines.apply(hunk), Some(0));
        }
    }

    #[test]
    fn what_replaces_is_done_only_if_the_old_lines_are_gone() {
        let fix = "@@ -1,3 +1,3 @@\n int f(void)\n-return wrong;\n+return right;\n }\n";
        let before = ["int f(void)", "return wrong;", "}"];
        assert_eq!(
            done(fix, &before, &["int g(void)", "return right;", "}"]),
            Some(Done::Lines)
        );
        let both = ["return wrong;", "int g(void)", "return right;", "}"];
        assert_eq!(done(fix, &before, &both), None);
        let neither = ["int f(void)", "return other;", "}"];
        assert_eq!(done(fix, &before, &neither), None);
        // That lines are gone is told by their neighbours.
        let remove = "@@ -1,4 +1,3 @@\n first line\n second line\n-third line\n fourth line\n";
        let before = ["first line", "second line", "third line", "fourth line"];
        let gone = ["another", "second line", "fourth line"];
        assert_eq!(done(remove, &before, &gone), Some(Done::Lines));
        assert_eq!(done(remove, &before, &["another", "fourth line"]), None);
        assert_eq!(done(remove, &before, &before), None);
    }

    #[test]
    fn the_place_of_a_conflict_is_the_one_that_looks_most_like_it() {
        let hunk = hunk("@@ -1,3 +1,4 @@\n int f(void)\n {\n+new();\n return wrong;\n");
        let now = text(&[
            "int g(void)",
            "{",
            "}",
            "int f(void)",
            "{",
            "return right;",
            "}",
        ]);
        let near = Lines::of(now.as_bytes()).nearest(&hunk).unwrap();
        assert_eq!(near.line, 5);
        assert_eq!(near.lines, ["{", "return right;", "}"]);
        assert_eq!(near.wants.as_deref(), Some("return wrong;"));
        assert_eq!(Lines::of(b"{\n}\n").nearest(&hunk), None);
    }

    #[test]
    fn lines_that_stand_elsewhere_are_told() {
        let hunk = hunk("@@ -1,2 +1,5 @@\n first\n+GPU BUDDY\n+F: buddy.c\n+M: Someone\n last\n");
        let told = |now: &str| doubles(&hunk, now.as_bytes(), b"first\nM: Someone\nlast\n");
        assert_eq!(
            told("GPU BUDDY\nF: buddy.c\nfirst\nlast\n"),
            ["GPU BUDDY", "F: buddy.c"]
        );
        assert!(told("GPU BUDDY\nM: Someone\nfirst\nlast\n").is_empty());
    }

    #[test]
    fn a_hunk_is_made_between_two_files() {
        let old = text(&["1", "2", "3", "4", "5", "6", "7"]);
        let new = text(&["1", "2", "3", "4", "new", "new", "5", "6", "7"]);
        let hunk = between(old.as_bytes(), new.as_bytes(), 7).unwrap();
        assert_eq!(hunk.header, "@@ -2,6 +2,8 @@");
        let mut lines = Lines::of(old.as_bytes());
        assert_eq!(lines.apply(&hunk), Some(0));
        assert_eq!(&*lines.content(), new.as_bytes());
        assert_eq!(between(b"a\n", b"a\n", 1), None);
        // Lines that repeat belong to one side only.
        let hunk = between(b"a\nb\n", b"a\nb\na\nb\n", 1).unwrap();
        let mut lines = Lines::of(b"a\nb\n");
        assert_eq!(lines.apply(&hunk), Some(0));
        assert_eq!(&*lines.content(), b"a\nb\na\nb\n");
    }

    /// Numbers that look random and are the same each time.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, n: usize) -> usize {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from((self.0 >> 33) % n as u64).unwrap()
        }
    }

    /// A file of few different lines, so that hunks fit in several places.
    fn file(numbers: &mut Numbers) -> Vec<String> {
        let len = 1 + numbers.below(14);
        (0..len)
            .map(|_| format!("line {}", numbers.below(4)))
            .collect()
    }

    #[test]
    fn hunks_are_placed_as_git_apply_does() {
        let dir = tempfile::tempdir().unwrap();
        let git = Git::new(&System, dir.path());
        git.must(["init", "--quiet"]).unwrap();
        let path = dir.path().join("x");
        let mut numbers = Numbers(7);
        let (mut fits, mut not) = (0, 0);
        for round in 0..250 {
            let old = file(&mut numbers);
            let mut new = old.clone();
            for _ in 0..1 + numbers.below(2) {
                let at = numbers.below(new.len());
                match numbers.below(3) {
                    0 => new.insert(at, format!("new {round}")),
                    1 => new[at] = format!("changed {round}"),
                    _ => drop(new.remove(at)),
                }
                if new.is_empty() {
                    new.push("left".to_owned());
                }
            }
            // What it is applied to: the same, with lines before, behind, or changed.
            let mut target = old.clone();
            for _ in 0..numbers.below(5) {
                let at = numbers.below(target.len() + 1);
                match numbers.below(4) {
                    0 => drop(target.splice(0..0, file(&mut numbers))),
                    1 => target.extend(file(&mut numbers)),
                    2 => target.insert(at, "other".to_owned()),
                    _ => target.insert(at, format!("line {}", numbers.below(4))),
                }
            }
            let join =
                |lines: &[String]| lines.iter().map(|l| format!("{l}\n")).collect::<String>();
            std::fs::write(&path, join(&old)).unwrap();
            git.must(["add", "x"]).unwrap();
            std::fs::write(&path, join(&new)).unwrap();
            let context = format!("-U{}", 1 + numbers.below(3));
            let diff = git.must(["diff", &context, "x"]).unwrap().stdout;
            if diff.is_empty() {
                continue;
            }
            std::fs::write(&path, join(&target)).unwrap();
            let apply = git.cmd(["apply", "--verbose", "-"]).stdin(diff.clone());
            let out = git.try_run(&apply).unwrap();
            let theirs = out.ok().then(|| std::fs::read_to_string(&path).unwrap());
            let files = parse(std::str::from_utf8(&diff).unwrap());
            let content = join(&target);
            let mut lines = Lines::of(content.as_bytes());
            let offsets: Option<Vec<i64>> = files[0]
                .hunks
                .iter()
                .map(|hunk| lines.apply(hunk))
                .collect();
            let ours = offsets
                .is_some()
                .then(|| String::from_utf8(lines.content().to_vec()).unwrap());
            let said = String::from_utf8_lossy(&diff).into_owned() + &out.complaint();
            assert_eq!(ours, theirs, "round {round}\n{content}\n{said}");
            match offsets {
                Some(offsets) => {
                    fits += 1;
                    for offset in offsets.iter().filter(|o| **o != 0) {
                        let words = match offset {
                            1 => format!("(offset {offset} line)"),
                            _ => format!("(offset {offset} lines)"),
                        };
                        assert!(
                            out.complaint().contains(&words),
                            "round {round}\n{content}\n{said}"
                        );
                    }
                }
                None => not += 1,
            }
        }
        assert!(fits > 50 && not > 50, "{fits} {not}");
    }
}
