// SPDX-License-Identifier: GPL-2.0

//! Checks that public items have users. A user is code outside tests that names the item in another
//! file, in the same patch or a later one, in the same series or a later one.
//!
//! The check searches for names and compiles nothing. An item counts as used if later code contains
//! its name, even after an unrelated type. Fields and variants are not checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::LazyLock,
};

use regex::Regex;

use super::{Fault, Rule, tree_file};
use crate::{
    mail::diff,
    patches::plan::{PlannedPatch, PlannedSeries},
    rust::{
        cursor::Seen,
        tokens::{self, Count, File, Item, Kind},
    },
    source::manifest::Series,
};

/// A public item, and the patch that adds it.
#[derive(Debug, Clone)]
pub struct Public {
    /// The index of the series in order.
    series: usize,
    /// The number of the patch in the series.
    patch: usize,
    /// The patch, counted through all series.
    at: usize,
    /// The file in the kernel.
    path: String,
    /// The file that contains the item, below the top folder.
    shown: PathBuf,
    /// The whole path, from the top folder of the kernel.
    full: String,
    /// The name, and the names after later relocations.
    names: Vec<String>,
    kind: Kind,
    line: usize,
}

/// The user of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
enum User {
    /// Code in another file.
    File(String),
    /// A public signature in the same file.
    Signature,
    /// Only code in the same file.
    Own,
    None,
}

impl User {
    fn counts(&self) -> bool {
        matches!(self, Self::File(_) | Self::Signature)
    }
}

/// A use of a name.
#[derive(Debug, Clone)]
struct Use {
    at: usize,
    path: String,
    member: bool,
}

/// The public items of all series, and the names that their code uses.
#[derive(Debug, Default)]
pub struct Items {
    items: Vec<Public>,
    uses: BTreeMap<String, Vec<Use>>,
    signatures: BTreeMap<String, BTreeSet<String>>,
    /// The paths of modules that are compiled for tests only, without the ending.
    test_modules: BTreeSet<String>,
}

/// The state of a file after a patch.
struct Version<'a> {
    series: usize,
    patch: usize,
    at: usize,
    path: &'a str,
    shown: PathBuf,
    text: &'a str,
}

static EXPORT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?m)^EXPORT_SYMBOL(?:_GPL|_NS|_NS_GPL)?\(\s*(\w+)")
        .unwrap_or_else(|e| unreachable!("the pattern is a constant: {e}"))
});

static WORD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#""(?:[^"\\]|\\.)*"|//.*|/\*.*?(?:\*/|$)|[A-Za-z_]\w*"#)
        .unwrap_or_else(|e| unreachable!("the pattern is a constant: {e}"))
});

impl Items {
    /// Reads all series in the order in which they apply.
    pub fn read(series: &[&PlannedSeries]) -> Self {
        let mut all = Self::default();
        let mut files = BTreeMap::new();
        let mut at = 0;
        for (index, one) in series.iter().enumerate() {
            for (number, patch) in one.patches.iter().enumerate() {
                at += 1;
                all.rename(patch);
                for write in patch.writes() {
                    let Ok(text) = std::str::from_utf8(&write.content) else {
                        continue;
                    };
                    let version = Version {
                        series: index,
                        patch: number + 1,
                        at,
                        path: &write.path,
                        shown: tree_file(one, &write.path),
                        text,
                    };
                    all.file(&version, &mut files);
                }
                for edit in patch.edits() {
                    let version = Version {
                        series: index,
                        patch: number + 1,
                        at,
                        path: "",
                        shown: edit.source.clone(),
                        text: &edit.diff,
                    };
                    all.edit(&version);
                }
                if let Some(commit) = patch.commit() {
                    all.edit(&Version {
                        series: index,
                        patch: number + 1,
                        at,
                        path: "",
                        shown: commit.place(),
                        text: &commit.diff,
                    });
                }
            }
        }
        all.leave_tests_out();
        all
    }

    /// Renames exported symbols as a relocation does.
    fn rename(&mut self, patch: &PlannedPatch) {
        let Some(step) = patch.relocate() else {
            return;
        };
        for item in self.items.iter_mut().filter(|i| i.kind == Kind::Export) {
            let last = item.names.last().map(|name| step.rename(name));
            item.names.extend(last);
        }
    }

    fn file<'a>(&mut self, now: &Version<'a>, files: &mut BTreeMap<&'a str, (File, &'a str)>) {
        if !now.path.ends_with(".rs") {
            return self.c_file(now, files);
        }
        // The items of a driver are public within its crate.
        let least = match now.path.starts_with("rust/") {
            true => Seen::All,
            false => Seen::Crate,
        };
        let file = tokens::read(now.text, least).unwrap_or_default();
        let before = files.insert(now.path, (file.clone(), now.text));
        let before = before.map(|(file, _)| file).unwrap_or_default();
        // The first of several items that `cfg` selects from counts.
        let mut seen = BTreeSet::new();
        for item in file.items.iter().filter(|i| seen.insert(i.key())) {
            self.item(now, item);
        }
        for (name, count) in &file.names {
            let old = before.names.get(name).copied().unwrap_or_default();
            self.used(now, now.path, name, *count, old);
        }
        let signatures = self.signatures.entry(now.path.to_owned()).or_default();
        signatures.extend(file.signatures);
        let below = folder_of_modules(now.path);
        let modules = file.test_modules.iter();
        self.test_modules
            .extend(modules.map(|name| format!("{below}{name}")));
    }

    /// Adds a new item, or updates the line of a known one.
    fn item(&mut self, now: &Version<'_>, item: &Item) {
        let full = format!("{}::{}", module(now.path), item.key());
        if let Some(known) = self.items.iter_mut().find(|i| i.full == full) {
            known.line = item.line;
            return;
        }
        self.items.push(Public {
            series: now.series,
            patch: now.patch,
            at: now.at,
            path: now.path.to_owned(),
            shown: now.shown.clone(),
            full,
            names: vec![item.name.clone()],
            kind: item.kind,
            line: item.line,
        });
    }

    fn used(&mut self, now: &Version<'_>, path: &str, name: &str, count: Count, old: Count) {
        if count.any > old.any || count.member > old.member {
            self.uses.entry(name.to_owned()).or_default().push(Use {
                at: now.at,
                path: path.to_owned(),
                member: count.member > old.member,
            });
        }
    }

    fn c_file<'a>(&mut self, now: &Version<'a>, files: &mut BTreeMap<&'a str, (File, &'a str)>) {
        if !is_c(now.path) {
            return;
        }
        let before = files.insert(now.path, (File::default(), now.text));
        let before = before.map_or("", |(_, text)| text);
        let had = |name: &str| EXPORT.captures_iter(before).any(|c| &c[1] == name);
        for found in EXPORT.captures_iter(now.text) {
            let (name, start) = (&found[1], found.get_match().start());
            if !had(name) {
                let line = now.text[..start].matches('\n').count() + 1;
                self.export(now, now.path, name, line);
            }
        }
        for (name, count) in words(now.text.lines()) {
            self.used(now, now.path, &name, count, Count::default());
        }
    }

    fn export(&mut self, now: &Version<'_>, path: &str, name: &str, line: usize) {
        self.items.push(Public {
            series: now.series,
            patch: now.patch,
            at: now.at,
            path: path.to_owned(),
            shown: now.shown.clone(),
            full: name.to_owned(),
            names: vec![name.to_owned()],
            kind: Kind::Export,
            line,
        });
    }

    /// Reads the lines that a diff adds to files of the base.
    fn edit(&mut self, now: &Version<'_>) {
        let mut files: BTreeMap<String, Vec<(usize, &str)>> = BTreeMap::new();
        let mut removed = BTreeSet::new();
        let mut path = String::new();
        for (line, kind, text) in diff::lines(now.text) {
            match kind {
                diff::Kind::File | diff::Kind::Header => {
                    let to = text.strip_prefix("+++ b/");
                    path = to.map_or(path, |to| to.trim_end_matches('\t').to_owned());
                }
                diff::Kind::Added => files
                    .entry(path.clone())
                    .or_default()
                    .push((line, &text[1..])),
                diff::Kind::Removed => {
                    removed.extend(EXPORT.captures(&text[1..]).map(|c| c[1].to_owned()));
                }
                _ => (),
            }
        }
        for (path, lines) in &files {
            for (line, text) in lines.iter().filter(|_| is_c(path)) {
                let exported = EXPORT.captures(text);
                if let Some(found) = exported.filter(|c| !removed.contains(&c[1])) {
                    self.export(now, path, &found[1], *line);
                }
            }
            if is_c(path) || path.ends_with(".rs") {
                for (name, count) in words(lines.iter().map(|(_, text)| *text)) {
                    self.used(now, path, &name, count, Count::default());
                }
            }
        }
    }

    fn leave_tests_out(&mut self) {
        let modules = &self.test_modules;
        let is_test = |path: &str| {
            let below = |m: &String| {
                let rest = path.strip_prefix(m.as_str());
                rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            };
            is_test_file(path) || modules.iter().any(below)
        };
        self.items.retain(|i| !is_test(&i.path));
        for uses in self.uses.values_mut() {
            // Headers declare functions and rarely call them.
            uses.retain(|u| !is_test(&u.path) && !u.path.ends_with(".h"));
        }
    }

    fn user(&self, item: &Public) -> User {
        let uses = item.names.iter().filter_map(|name| self.uses.get(name));
        let mut uses = uses
            .flatten()
            .filter(|u| u.at >= item.at && (u.member || !item.kind.is_member()));
        let mut own = false;
        let other = uses.find(|u| {
            own |= u.path == item.path;
            u.path != item.path
        });
        let signatures = self.signatures.get(&item.path);
        let in_signature = || {
            let named = |s: &BTreeSet<String>| item.names.iter().any(|name| s.contains(name));
            item.kind != Kind::Method && signatures.is_some_and(named)
        };
        match other {
            Some(found) => User::File(found.path.clone()),
            None if in_signature() => User::Signature,
            // The file of an exported function has its name in the definition.
            None if own && item.kind != Kind::Export => User::Own,
            None => User::None,
        }
    }

    /// Returns the items of a series with their users.
    fn of(&self, series: usize) -> Vec<(&Public, User)> {
        let items = self.items.iter().filter(|i| i.series == series);
        let all: Vec<(&Public, User)> = items.map(|i| (i, self.user(i))).collect();
        let without = |name: &str| {
            let mut items = all.iter().filter(|(i, _)| i.kind != Kind::Reexport);
            items.any(|(i, user)| i.names[0] == name && !user.counts())
        };
        // Report an item and its re-exports once.
        let again = |i: &Public| i.kind == Kind::Reexport && without(&i.names[0]);
        all.iter().filter(|(i, _)| !again(i)).cloned().collect()
    }

    /// Checks a series, given by its index in order.
    pub fn faults(&self, index: usize, series: &Series) -> Vec<Fault> {
        let all = self.of(index);
        let shown: Vec<String> = all.iter().map(|(i, _)| shortest(&i.full, &all)).collect();
        let mut faults = Vec::new();
        for ((item, user), name) in all.iter().zip(&shown) {
            let excused = series.unused.keys().any(|key| names(key, &item.full));
            if user.counts() || excused {
                continue;
            }
            let manifest = series.file().display().to_string();
            let kind = match item.kind {
                Kind::Export => "exported symbol".to_owned(),
                kind => format!("public {}", kind.text()),
            };
            let (what, remedy) = match user {
                User::Own => ("is used in its own file only", "make it private"),
                _ => (
                    "has no user outside tests",
                    "remove it, or add it with its user",
                ),
            };
            faults.push(Fault {
                rule: Rule::Unused,
                file: item.shown.clone(),
                line: Some(item.line),
                patch: Some(item.patch),
                what: format!("the {kind} {name} {what}"),
                help: format!(
                    "{remedy}; or give the reason below [unused] of {manifest}: \"{name}\" = \"…\""
                ),
            });
        }
        faults.extend(entries(series, &all, &shown));
        faults
    }
}

/// Checks the entries of `[unused]`: each names one item, and the item has no user.
fn entries(series: &Series, all: &[(&Public, User)], shown: &[String]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (key, why) in &series.unused {
        let mut add = |what: String, help: String| {
            faults.push(Fault {
                rule: Rule::Unused,
                file: series.file(),
                line: Some(why.line),
                patch: None,
                what,
                help,
            });
        };
        let meant = || {
            all.iter()
                .zip(shown)
                .filter(|((i, _), _)| names(key, &i.full))
        };
        let paths: BTreeSet<&str> = meant().map(|((i, _), _)| i.full.as_str()).collect();
        let used = meant().find_map(|((_, user), _)| user.counts().then_some(user));
        match (paths.len(), used) {
            (0, _) => {
                let last = key.rsplit("::").next().unwrap_or(key);
                let like = all
                    .iter()
                    .zip(shown)
                    .filter(|((i, _), _)| i.names[0] == last);
                let like: Vec<&str> = like.map(|(_, name)| name.as_str()).collect();
                add(
                    format!("{} has no public item {key:?}", series.name),
                    match like.is_empty() {
                        true => "remove the line".to_owned(),
                        false => format!("remove the line, or name {}", like.join(" or ")),
                    },
                );
            }
            (1, Some(User::File(file))) => add(
                format!("{key} has a user: {file}"),
                "remove the line".to_owned(),
            ),
            (1, Some(_)) => add(
                format!("{key} has a user: a public signature of its own file"),
                "remove the line".to_owned(),
            ),
            (1, None) => (),
            (n, _) => {
                let each: BTreeSet<&str> = meant().map(|(_, name)| name.as_str()).collect();
                let each: Vec<&str> = each.into_iter().collect();
                add(
                    format!("{key:?} matches {n} public items"),
                    format!("name one of {}", each.join(", ")),
                );
            }
        }
    }
    faults
}

/// Returns whether an entry of `[unused]` names the item with this path.
fn names(key: &str, full: &str) -> bool {
    let rest = full.strip_suffix(key);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with("::"))
}

/// Returns the shortest end of a path that is unambiguous, with at least module and name.
fn shortest(full: &str, all: &[(&Public, User)]) -> String {
    let starts = full.match_indices("::").map(|(at, _)| at + 2);
    let starts: Vec<usize> = std::iter::once(0).chain(starts).collect();
    let ends = starts.iter().rev().skip(1).map(|at| &full[*at..]);
    let mut ends = ends.chain([full]);
    let single = |end: &&str| {
        let meant: BTreeSet<&str> = all
            .iter()
            .map(|(i, _)| i.full.as_str())
            .filter(|f| names(end, f))
            .collect();
        meant.len() == 1
    };
    ends.find(single).unwrap_or(full).to_owned()
}

/// Converts the path of a file to a module path.
fn module(path: &str) -> String {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    path.replace('/', "::")
}

/// Returns the folder of the child modules of a file, with its slash.
fn folder_of_modules(path: &str) -> String {
    match path.strip_suffix("mod.rs") {
        Some(folder) => folder.to_owned(),
        None => format!("{}/", path.trim_end_matches(".rs")),
    }
}

fn is_c(path: &str) -> bool {
    path.ends_with(".c") || path.ends_with(".h")
}

/// Returns whether the name of a file marks it as a test.
pub(super) fn is_test_file(path: &str) -> bool {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    stem == "tests" || stem.ends_with("_test") || folder.split('/').any(|f| f == "tests")
}

/// Returns the names in lines of a diff.
fn words<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, Count> {
    let mut found: BTreeMap<String, Count> = BTreeMap::new();
    let mut reexport = false;
    for line in lines {
        let start = line.trim_start();
        reexport |= start.starts_with("pub use ") || start.starts_with("pub(crate) use ");
        let comment = ["* ", "*/", "/*"].iter().any(|c| start.starts_with(c)) || start == "*";
        let skip = comment || reexport || EXPORT.is_match(line);
        reexport &= !line.contains(';');
        if skip {
            continue;
        }
        for word in WORD.find_iter(line) {
            let name = word.as_str();
            let before = line[..word.start()].trim_end();
            let after = line[word.end()..].trim_start();
            let defined = ["fn", "struct", "enum", "mod", "trait", "union", "type"];
            let last = before.rsplit(|c: char| !c.is_alphanumeric()).next();
            if name.starts_with(['"', '/']) || last.is_some_and(|w| defined.contains(&w)) {
                continue;
            }
            let call = after.starts_with('(') || after.starts_with("::");
            let member = before.ends_with("::") || before.ends_with('.') && call;
            let count = found.entry(name.to_owned()).or_default();
            count.any += 1;
            count.member += usize::from(member);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checks::rules::shown as text,
        patches::plan::{
            plan,
            tests::{component, with_change_ids},
        },
        sys::error::Error,
    };

    const LIST: &str = "[[patch]]\nmessage = \"1.msg\"\n\
        files = [\"rust/list.rs\", \"rust/list/iter.rs\"]\n\
        [[patch]]\nmessage = \"2.msg\"\nfiles = [\"rust/list/tests.rs\"]\n";

    const MM: &str = "depends = [\"list\"]\n[[patch]]\nmessage = \"1.msg\"\n\
        files = [\"drivers/mm.rs\"]\nedits = [\"1.diff\"]\n";

    /// Returns the findings in the first of two series.
    fn check(unused: &str, list: &str, iter: &str, mm: &str, edit: &str) -> String {
        let tests = "fn f(l: List) { l.tested(); Unused::new(); }";
        let list = component(
            "list",
            &format!("{LIST}{unused}"),
            &[
                ("rust/list.rs", list),
                ("rust/list/iter.rs", iter),
                ("rust/list/tests.rs", tests),
            ],
            &[],
        );
        let lines = edit.lines().count();
        let added: String = edit.lines().map(|l| format!("+{l}\n")).collect();
        let diff = format!("--- a/gpu.rs\n+++ b/gpu.rs\n@@ -1,1 +1,{lines} @@\n-x\n{added}");
        let mm = component("mm", MM, &[("drivers/mm.rs", mm)], &[("1.diff", &diff)]);
        let planned = plan(with_change_ids(vec![list, mm])).map_err(|e: Error| e.to_string());
        let planned = planned.unwrap();
        let planned: Vec<&PlannedSeries> = planned.iter().collect();
        text(Items::read(&planned).faults(0, planned[0].series()))
    }

    const ITEMS: &str = "\
mod iter;
#[cfg(CONFIG_KUNIT)]
mod model;
pub use self::iter::Iter;
pub struct List;
impl List {
    pub fn walk(&self) -> Iter { self.own() }
    pub fn own(&self) {}
    pub fn tested(&self) {}
}
pub struct Unused;
";

    #[test]
    fn faults_item_without_user() {
        let user = "fn f(l: List) { l.walk(); }";
        insta::assert_snapshot!(check("", ITEMS, "pub struct Iter;", user, ""), @r#"
        list/tree/rust/list.rs:8: the public method List::own is used in its own file only
          help: make it private; or give the reason below [unused] of series/list.toml: "List::own" = "…"
        error: list/tree/rust/list.rs:9: the public method List::tested has no user outside tests
          help: remove it, or add it with its user; or give the reason below [unused] of series/list.toml: "List::tested" = "…"
        error: list/tree/rust/list.rs:11: the public type list::Unused has no user outside tests
          help: remove it, or add it with its user; or give the reason below [unused] of series/list.toml: "list::Unused" = "…"
        "#);
        // Comments and fields do not count.
        let other = "/// tested() Unused\nfn f(l: List) { l.walk(); l.tested; }";
        let same = check("", ITEMS, "pub struct Iter;", other, "");
        assert_eq!(same, check("", ITEMS, "pub struct Iter;", user, ""));
    }

    #[test]
    fn user_in_new_or_edited_file() {
        let items = "pub struct List; impl List { pub fn walk(&self) {} } pub fn make() {}";
        assert_eq!(
            check("", items, "", "fn f() { List::walk(make()) }", ""),
            ""
        );
        assert_eq!(
            check("", items, "fn f() { List::walk(make()) }", "", ""),
            ""
        );
        assert_eq!(
            check("", items, "", "", "let l: List = make();\nl.walk();"),
            ""
        );
        assert_ne!(check("", items, "", "", "// List make walk()"), "");
    }

    #[test]
    fn faults_needless_unused_entry() {
        let user = "fn f(l: List) { l.walk(); l.own(); l.tested(); }";
        let entries = "[unused]\n\"list::Unused\" = \"later\"\n\"List::walk\" = \"x\"\n\
                       \"List::gone\" = \"x\"\n\"other::own\" = \"x\"\n";
        insta::assert_snapshot!(check(entries, ITEMS, "pub struct Iter;", user, ""), @r#"
        series/list.toml:12: list has no public item "List::gone"
          help: remove the line
        error: series/list.toml:11: List::walk has a user: drivers/mm.rs
          help: remove the line
        error: series/list.toml:13: list has no public item "other::own"
          help: remove the line, or name List::own
        "#);
    }

    #[test]
    fn faults_export_without_user() {
        let c = "int f(void)\n{\n}\nEXPORT_SYMBOL_GPL(f);\n";
        let manifest = "[[patch]]\nmessage = \"1.msg\"\nfiles = [\"lib/a.c\", \"lib/b.c\"]\n";
        let check = |b: &str| {
            let files = [("lib/a.c", c), ("lib/b.c", b)];
            let planned = plan(vec![component("list", manifest, &files, &[])]).unwrap();
            text(Items::read(&[&planned[0]]).faults(0, planned[0].series()))
        };
        assert_eq!(check("void g(void)\n{\n\tf();\n}\n"), "");
        insta::assert_snapshot!(check("/* f() */\n"), @r#"
        list/tree/lib/a.c:4: the exported symbol f has no user outside tests
          help: remove it, or add it with its user; or give the reason below [unused] of series/list.toml: "f" = "…"
        "#);
    }
}
