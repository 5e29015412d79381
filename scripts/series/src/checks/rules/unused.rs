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

use crate::{
    patches::plan::{PlannedPatch, PlannedSeries},
    rust::{
        cursor::Seen,
        tokens::{self, Count, File, Item, Kind},
    },
    source::{finding::Finding, manifest::Series},
    sys::pattern,
};

/// A file in a patch.
#[derive(Debug, Clone, Default)]
struct Place {
    /// The index of the series in order, and the number of the patch in it.
    at: (usize, usize),
    /// The file in the kernel.
    path: String,
    /// The file that an author edits, below the top folder.
    source: PathBuf,
}

#[derive(Debug)]
struct Public {
    /// The patch and the file that add it.
    place: Place,
    line: usize,
    /// The whole path, from the top folder of the kernel.
    full: String,
    /// The name, and the names after later relocations.
    names: Vec<String>,
    kind: Kind,
}

#[derive(Debug)]
struct Use {
    at: (usize, usize),
    path: String,
    member: bool,
}

/// An item and its user; without one, whether code in its own file uses it.
type Row<'a> = (&'a Public, Result<&'a str, bool>);

/// A source file that a commit of a branch or an edit changes, before and after the patch.
pub struct Change {
    pub path: String,
    /// The path before the patch.
    pub from: String,
    /// The contents; empty if the file does not exist.
    pub old: String,
    pub new: String,
}

/// The changes of a patch, by the index of the series and the number of the patch in it.
pub type Changed = BTreeMap<(usize, usize), Vec<Change>>;

/// The public items of all series, and the names that their code uses.
#[derive(Debug, Default)]
pub struct Items {
    items: Vec<Public>,
    uses: BTreeMap<String, Vec<Use>>,
    /// The names in public signatures, by file.
    signatures: BTreeMap<String, BTreeSet<String>>,
    /// The paths of modules that are compiled for tests only, without the ending.
    test_modules: BTreeSet<String>,
}

static EXPORT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?m)^EXPORT_SYMBOL(?:_GPL|_NS|_NS_GPL)?\(\s*(\w+)"));

static WORD: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#""(?:[^"\\]|\\.)*"|//.*|/\*.*?(?:\*/|$)|[A-Za-z_]\w*"#));

impl Items {
    /// Reads all series in the order in which they apply, and the files that they change.
    pub fn read(series: &[&PlannedSeries], changed: &Changed) -> Self {
        let mut all = Self::default();
        let mut files: BTreeMap<&str, File> = BTreeMap::new();
        let mut place = Place::default();
        for (index, one) in series.iter().enumerate() {
            for (number, planned) in (1..).zip(&one.patches) {
                place.at = (index, number);
                all.rename(planned);
                for write in &planned.writes {
                    let Ok(text) = std::str::from_utf8(&write.content) else {
                        continue;
                    };
                    place.path.clone_from(&write.path);
                    let source = format!("{}/tree/{}", one.component.folder(), write.path);
                    place.source = source.into();
                    let (before, now) = (
                        files.entry(&write.path).or_default(),
                        read(&write.path, text),
                    );
                    all.file(&place, &now, before);
                    *before = now;
                }
                for file in changed.get(&place.at).into_iter().flatten() {
                    place.path.clone_from(&file.path);
                    place.source = PathBuf::from(&file.path);
                    all.file(
                        &place,
                        &read(&file.path, &file.new),
                        &read(&file.from, &file.old),
                    );
                }
            }
        }
        all.leave_tests_out();
        all
    }

    /// Renames exported symbols as a relocation does.
    fn rename(&mut self, planned: &PlannedPatch) {
        let Some(step) = &planned.relocate else {
            return;
        };
        for item in self.items.iter_mut().filter(|i| i.kind == Kind::Export) {
            let last = item.names.last().map(|name| step.rename(name));
            item.names.extend(last);
        }
    }

    /// Reads a file before and after a patch.
    fn file(&mut self, place: &Place, now: &File, before: &File) {
        let path = &place.path;
        let full = |item: &Item| match item.kind {
            Kind::Export => item.path.concat(),
            _ => format!("{}::{}", module(path), item.path.join("::")),
        };
        let fulls: BTreeSet<String> = now.items.iter().map(full).collect();
        self.items
            .retain(|i| i.place.source != place.source || fulls.contains(&i.full));
        let old: BTreeSet<_> = before.items.iter().map(|item| &item.path).collect();
        // The first of several items that `cfg` selects from counts.
        let mut seen = BTreeSet::new();
        for item in now.items.iter().filter(|i| seen.insert(&i.path)) {
            let is_new = !old.contains(&item.path);
            self.add(place, full(item), item.kind, item.line, is_new);
        }
        for (name, count) in &now.names {
            let old = before.names.get(name).copied().unwrap_or_default();
            self.used(place, name, *count, old);
        }
        let signatures = self.signatures.entry(path.clone()).or_default();
        signatures.extend(now.signatures.iter().cloned());
        let below = folder_of_modules(path);
        let modules = now.test_modules.iter();
        let modules = modules.map(|name| format!("{below}{name}"));
        self.test_modules.extend(modules);
    }

    /// Adds a new item, or updates the line of a known one.
    fn add(&mut self, place: &Place, full: String, kind: Kind, line: usize, is_new: bool) {
        let is_same = |i: &&mut Public| i.full == full && i.place.source == place.source;
        if let Some(known) = self.items.iter_mut().find(is_same) {
            known.line = line;
        } else if is_new {
            self.items.push(Public {
                place: place.clone(),
                line,
                names: vec![full.rsplit("::").next().unwrap_or_default().to_owned()],
                full,
                kind,
            });
        }
    }

    /// Notes a name that a file uses more often than before.
    fn used(&mut self, place: &Place, name: &str, count: Count, old: Count) {
        if count.any > old.any || count.member > old.member {
            self.uses.entry(name.to_owned()).or_default().push(Use {
                at: place.at,
                path: place.path.clone(),
                member: count.member > old.member,
            });
        }
    }

    fn leave_tests_out(&mut self) {
        let is_test = |path: &str| {
            let below = |module: &String| {
                let rest = path.strip_prefix(module.as_str());
                rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            };
            is_test_file(path) || self.test_modules.iter().any(below)
        };
        self.items.retain(|i| !is_test(&i.place.path));
        for uses in self.uses.values_mut() {
            // Headers declare functions and rarely call them.
            uses.retain(|u| !is_test(&u.path) && !u.path.ends_with(".h"));
        }
    }

    fn row<'a>(&'a self, item: &'a Public) -> Row<'a> {
        let uses = item.names.iter().filter_map(|name| self.uses.get(name));
        let counts = |u: &&Use| u.at >= item.place.at && (u.member || !item.kind.is_member());
        let uses = uses.flatten().filter(counts);
        let (own, other): (Vec<_>, Vec<_>) = uses.partition(|u| u.path == item.place.path);
        let signatures = self.signatures.get(&item.place.path);
        let in_signature = |name: &String| signatures.is_some_and(|s| s.contains(name));
        let user = match other.first() {
            Some(user) => Ok(user.path.as_str()),
            None if item.kind != Kind::Method && item.names.iter().any(in_signature) => {
                Ok("a public signature of its own file")
            }
            // The file of an exported function has its name in the definition.
            None => Err(!own.is_empty() && item.kind != Kind::Export),
        };
        (item, user)
    }

    /// Returns the items of a series with their users.
    fn rows(&self, series: usize) -> Vec<Row<'_>> {
        let items = self.items.iter().filter(|i| i.place.at.0 == series);
        let mut rows: Vec<Row<'_>> = items.map(|item| self.row(item)).collect();
        // Report an item and its re-exports once.
        let is_reexport = |item: &Public| item.kind == Kind::Reexport;
        let items = rows.iter().filter(|(i, _)| !is_reexport(i));
        let unused = items.filter(|(_, user)| user.is_err());
        let unused: BTreeSet<&str> = unused.map(|(i, _)| &*i.names[0]).collect();
        rows.retain(|(i, _)| !is_reexport(i) || !unused.contains(&*i.names[0]));
        rows
    }

    pub fn findings(&self, index: usize, series: &Series) -> Vec<Finding> {
        let rows = self.rows(index);
        let mut findings = Vec::new();
        for (item, user) in &rows {
            let Err(own) = user else {
                continue;
            };
            if series.unused.keys().any(|key| names(key, &item.full)) {
                continue;
            }
            let (what, remedy) = if *own {
                ("is used in its own file only", "make it private")
            } else {
                (
                    "has no user outside tests",
                    "remove it, or add it with its user",
                )
            };
            let name = shortest(&item.full, &rows);
            let what = format!("the {} {name} {what}", item.kind.text());
            let help = format!(
                "{remedy}; or give the reason below [unused] of {}: \"{name}\" = \"…\"",
                series.file.display()
            );
            let finding = Finding::new(&series.name, "unused", what).of_patch(item.place.at.1);
            findings.push(finding.at(&item.place.source, item.line).help(help));
        }
        findings.extend(entries(series, &rows));
        findings
    }
}

/// Checks the entries of `[unused]`: each names one item, and the item has no user.
fn entries(series: &Series, rows: &[Row<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, why) in &series.unused {
        let mut add = |what: String, help: &str| {
            let finding = Finding::new(&series.name, "unused", what);
            findings.push(finding.at(&series.file, why.line).help(help));
        };
        let meant: Vec<_> = rows.iter().filter(|(i, _)| names(key, &i.full)).collect();
        let paths: BTreeSet<&str> = meant.iter().map(|(i, _)| &*i.full).collect();
        let user = meant.iter().find_map(|(_, user)| user.ok());
        match (paths.len(), user) {
            (0, _) => {
                let last = key.rsplit("::").next().unwrap_or(key);
                let like = rows.iter().filter(|(i, _)| i.names[0] == last);
                let like: Vec<&str> = like.map(|(i, _)| shortest(&i.full, rows)).collect();
                let mut help = "remove the line".to_owned();
                if !like.is_empty() {
                    help += &format!(", or name {}", like.join(" or "));
                }
                add(format!("{} has no public item {key:?}", series.name), &help);
            }
            (1, None) => (),
            (1, Some(user)) => add(format!("{key} has a user: {user}"), "remove the line"),
            (n, _) => {
                let each: BTreeSet<&str> = paths.iter().map(|p| shortest(p, rows)).collect();
                add(
                    format!("{key:?} matches {n} public items"),
                    &format!("name one of {}", Vec::from_iter(each).join(", ")),
                );
            }
        }
    }
    findings
}

/// Returns whether an entry of `[unused]` names the item with this path.
fn names(key: &str, full: &str) -> bool {
    let rest = full.strip_suffix(key);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with("::"))
}

/// Returns the shortest end of a path that is unambiguous, with at least module and name.
fn shortest<'a>(full: &'a str, rows: &[Row<'_>]) -> &'a str {
    let paths: BTreeSet<&str> = rows.iter().map(|(i, _)| &*i.full).collect();
    let is_single = |end: &&str| paths.iter().filter(|path| names(end, path)).count() == 1;
    let ends = full.rmatch_indices("::").map(|(at, _)| &full[at + 2..]);
    // The name alone does not count.
    let mut ends = ends.skip(1);
    ends.find(is_single).unwrap_or(full)
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

pub(super) fn is_source(path: &str) -> bool {
    path.ends_with(".rs") || is_c(path)
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

/// Returns the public items of a file, and the names in its code.
fn read(path: &str, text: &str) -> File {
    if path.ends_with(".rs") {
        // The items of a driver are public within its crate.
        let is_kernel = path.starts_with("rust/");
        let least = if is_kernel { Seen::All } else { Seen::Crate };
        return tokens::read(text, least);
    }
    if !is_c(path) {
        return File::default();
    }
    let item = |found: regex::Captures<'_>| Item {
        path: vec![found[1].to_owned()],
        kind: Kind::Export,
        line: text[..found.get_match().start()].matches('\n').count() + 1,
    };
    File {
        items: EXPORT.captures_iter(text).map(item).collect(),
        names: words(text.lines()),
        ..File::default()
    }
}

/// Returns the names in lines of C.
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
        patches::plan::tests::{component, plan, with_change_ids},
        source::finding::shown as text,
        sys::Error,
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
        let change = |path: &str| Change {
            path: path.to_owned(),
            from: path.to_owned(),
            old: "x\n".to_owned(),
            new: edit.to_owned(),
        };
        let changed = BTreeMap::from([((1, 1), vec![change("gpu.rs")])]);
        text(Items::read(&planned, &changed).findings(0, planned[0].series()))
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
    fn findings_of_item_without_user() {
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
    fn findings_of_needless_unused_entry() {
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

    /// Returns the findings in a series whose patches change these files: path, old and new text.
    fn check_changes(patches: &[&[(&str, &str, &str)]]) -> String {
        let manifest = "[[patch]]\nmessage = \"1.msg\"\nfiles = [\"rust/list.rs\"]\n";
        let list = component("list", manifest, &[("rust/list.rs", "")], &[]);
        let planned = plan(vec![list]).unwrap();
        let mut one = planned[0].clone();
        one.patches = vec![one.patches[0].clone(); patches.len()];
        let change = |(to, old, new): &(&str, &str, &str)| {
            let (from, path) = to.split_once(" -> ").unwrap_or((to, to));
            let [path, from, old, new] = [path, from, old, new].map(str::to_owned);
            Change {
                path,
                from,
                old,
                new,
            }
        };
        let changes = patches
            .iter()
            .map(|files| files.iter().map(change).collect());
        let changed = (1..).map(|number| (0, number)).zip(changes).collect();
        text(Items::read(&[&one], &changed).findings(0, one.series()))
    }

    #[test]
    fn findings_of_changed_files() {
        // A patch adds to a file of the base; a later patch moves the lines.
        let base = "pub fn old() {}\n";
        let one = "pub fn old() {}\npub fn new() {}\n";
        let two = "pub fn old() {}\n\npub fn new() {}\n";
        let first = ("rust/a.rs", base, one);
        insta::assert_snapshot!(check_changes(&[&[first], &[("rust/a.rs", one, two)]]), @r#"
        rust/a.rs:3: the public function a::new has no user outside tests
          help: remove it, or add it with its user; or give the reason below [unused] of series/list.toml: "a::new" = "…"
        "#);
        // A later patch of the series uses or removes it.
        let user = ("rust/b.rs", "", "fn f() { new() }");
        assert_eq!(check_changes(&[&[first], &[user]]), "");
        assert_eq!(check_changes(&[&[first], &[("rust/a.rs", one, base)]]), "");
        // The use was there before.
        let old_user = ("rust/b.rs", "fn f() { new() }", "fn f() { new(); }");
        assert_ne!(check_changes(&[&[first], &[old_user]]), "");
        // A moved file has no new items.
        assert_eq!(
            check_changes(&[&[("rust/a.rs -> rust/b.rs", one, one)]]),
            ""
        );
        assert_ne!(check_changes(&[&[("rust/b.rs", "", one)]]), "");
        let (c, export) = ("int f(void);\n", "int f(void);\nEXPORT_SYMBOL(f);\n");
        insta::assert_snapshot!(check_changes(&[&[("lib/a.c", c, export)]]), @r#"
        lib/a.c:2: the exported symbol f has no user outside tests
          help: remove it, or add it with its user; or give the reason below [unused] of series/list.toml: "f" = "…"
        "#);
        assert_eq!(check_changes(&[&[("lib/a.c", export, export)]]), "");
    }

    #[test]
    fn findings_of_export_without_user() {
        let c = "int f(void)\n{\n}\nEXPORT_SYMBOL_GPL(f);\n";
        let manifest = "[[patch]]\nmessage = \"1.msg\"\nfiles = [\"lib/a.c\", \"lib/b.c\"]\n";
        let check = |b: &str| {
            let files = [("lib/a.c", c), ("lib/b.c", b)];
            let planned = plan(vec![component("list", manifest, &files, &[])]).unwrap();
            let items = Items::read(&[&planned[0]], &Changed::new());
            text(items.findings(0, planned[0].series()))
        };
        assert_eq!(check("void g(void)\n{\n\tf();\n}\n"), "");
        insta::assert_snapshot!(check("/* f() */\n"), @r#"
        list/tree/lib/a.c:4: the exported symbol f has no user outside tests
          help: remove it, or add it with its user; or give the reason below [unused] of series/list.toml: "f" = "…"
        "#);
    }
}
