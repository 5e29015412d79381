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

/// Not for tests, as `EXPORT_SYMBOL_IF_KUNIT` is.
static EXPORT: LazyLock<Regex> = LazyLock::new(|| {
    let kinds = "_GPL|_NS|_NS_GPL|_FOR_MODULES";
    pattern(&format!(
        r"(?m)^EXPORT_(?:PER_CPU_)?SYMBOL(?:{kinds})?\(\s*(\w+)\s*[,)]"
    ))
});

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
                    all.file(&place, &now, before, &BTreeSet::new());
                    *before = now;
                }
                let changes = changed.get(&place.at).into_iter().flatten();
                let changes = changes.map(|file| {
                    let (now, before) = (read(&file.path, &file.new), read(&file.from, &file.old));
                    (file, now, before)
                });
                let changes: Vec<_> = changes.collect();
                // Items that the patch moves to another file are not new there.
                let gone = changes.iter().flat_map(|(_, now, before)| {
                    let is_kept = |item: &Item| now.items.iter().any(|i| i.path == item.path);
                    before.items.iter().filter(move |item| !is_kept(item))
                });
                let gone: BTreeSet<&Vec<String>> = gone.map(|item| &item.path).collect();
                for (file, now, before) in &changes {
                    all.rename_file(&file.from, &file.path);
                    place.path.clone_from(&file.path);
                    place.source = PathBuf::from(&file.path);
                    all.file(&place, now, before, &gone);
                }
            }
        }
        all.leave_tests_out();
        all
    }

    /// Renames files and exported symbols as a relocation does.
    fn rename(&mut self, planned: &PlannedPatch) {
        let Some(step) = &planned.relocate else {
            return;
        };
        for item in self.items.iter_mut().filter(|i| i.kind == Kind::Export) {
            let last = item.names.last().map(|name| step.rename(name));
            item.names.extend(last);
        }
        for (from, to) in &step.moves {
            self.rename_file(from, to);
        }
    }

    /// Gives the items and the uses in a file its new name.
    fn rename_file(&mut self, from: &str, to: &str) {
        if from == to {
            return;
        }
        let is_here = |i: &&mut Public| i.place.source.as_os_str() == from;
        for item in self.items.iter_mut().filter(is_here) {
            item.place.path = to.to_owned();
            item.place.source = to.into();
            if let Some(rest) = item.full.strip_prefix(&module(from)) {
                item.full = module(to) + rest;
            }
        }
        for used in self.uses.values_mut().flatten().filter(|u| u.path == from) {
            used.path = to.to_owned();
        }
    }

    /// Reads a file before and after a patch, which removes the items `gone` elsewhere.
    fn file(&mut self, place: &Place, now: &File, before: &File, gone: &BTreeSet<&Vec<String>>) {
        let path = &place.path;
        let full = |item: &Item| match item.kind {
            Kind::Export => item.path.concat(),
            _ => format!("{}::{}", module(path), item.path.join("::")),
        };
        let fulls: BTreeSet<String> = now.items.iter().map(full).collect();
        let is_there = |i: &Public| {
            // A relocation renames exports.
            let renamed = i.names.last().filter(|_| i.kind == Kind::Export);
            fulls.contains(&i.full) || renamed.is_some_and(|name| fulls.contains(name))
        };
        self.items
            .retain(|i| i.place.source != place.source || is_there(i));
        let old: BTreeSet<_> = before.items.iter().map(|item| &item.path).collect();
        // The first of several items that `cfg` selects from counts.
        let mut seen = BTreeSet::new();
        for item in now.items.iter().filter(|i| seen.insert(&i.path)) {
            let is_new = !old.contains(&item.path) && !gone.contains(&item.path);
            self.add(place, full(item), item.kind, item.line, is_new);
        }
        for (name, count) in &now.names {
            let old = before.names.get(name).copied().unwrap_or_default();
            self.used(place, name, *count, old);
        }
        for name in before
            .names
            .keys()
            .filter(|name| !now.names.contains_key(*name))
        {
            if let Some(uses) = self.uses.get_mut(name) {
                uses.retain(|used| used.path != *path);
            }
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
            uses.retain(|u| !is_test(&u.path));
        }
    }

    /// Returns the exported symbols that no series uses.
    pub fn open_exports(&self) -> Vec<&str> {
        let exports = self.items.iter().filter(|item| item.kind == Kind::Export);
        let open = exports.filter(|item| self.row(item).1.is_err());
        open.flat_map(|item| &item.names)
            .map(String::as_str)
            .collect()
    }

    /// Adds the uses in a file of the base, which count for all series.
    pub fn add_base(&mut self, path: &str, text: &str) {
        let place = Place {
            at: (usize::MAX, 0),
            path: path.to_owned(),
            source: PathBuf::new(),
        };
        for (name, count) in read(path, text).names {
            if !is_test_file(path) {
                self.used(&place, &name, count, Count::default());
            }
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
    // A line of a header that is not indented declares functions.
    let is_header = path.ends_with(".h");
    let is_code = |line: &&str| {
        let is_macro = line.starts_with('#') && !line.starts_with("#include");
        !is_header || is_macro || line.starts_with([' ', '\t'])
    };
    File {
        items: EXPORT.captures_iter(text).map(item).collect(),
        names: words(text.lines().filter(is_code)),
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
        let of_cpu = "EXPORT_PER_CPU_SYMBOL_GPL(f);\n";
        assert_ne!(check_changes(&[&[("lib/a.c", c, of_cpu)]]), "");
        let of_test = "EXPORT_SYMBOL_IF_KUNIT(f);\n";
        assert_eq!(check_changes(&[&[("lib/a.c", c, of_test)]]), "");
        let of_macro = "#define GEN(name) \\\nEXPORT_SYMBOL(a_##name)\n";
        assert_eq!(check_changes(&[&[("lib/a.c", c, of_macro)]]), "");
    }

    #[test]
    fn findings_of_moved_code() {
        let (base, one) = ("pub fn old() {}\n", "pub fn old() {}\npub fn new() {}\n");
        let first = ("rust/a.rs", base, one);
        let user = ("rust/b.rs", "", "fn f() { new() }");
        // An item and its user move in one patch.
        let moved = [
            ("rust/a.rs", one, base),
            ("rust/b.rs", "", "pub fn new() {}"),
        ];
        assert_eq!(check_changes(&[&moved]), "");
        // A file is renamed after an item was added to it.
        let renamed = ("rust/a.rs -> rust/c.rs", one, one);
        insta::assert_snapshot!(check_changes(&[&[first], &[renamed]]), @r#"
        rust/c.rs:2: the public function c::new has no user outside tests
          help: remove it, or add it with its user; or give the reason below [unused] of series/list.toml: "c::new" = "…"
        "#);
        assert_eq!(
            check_changes(&[&[first], &[renamed], &[("rust/c.rs", one, base)]]),
            ""
        );
        assert_eq!(check_changes(&[&[first], &[renamed], &[user]]), "");
        // A later patch removes the user.
        let gone = ("rust/b.rs", "fn f() { new() }", "fn f() {}");
        assert_ne!(check_changes(&[&[first], &[user], &[gone]]), "");
        // An export and its function move.
        let (c, export) = ("int g;\n", "int f(void)\n{\n}\nEXPORT_SYMBOL(f);\n");
        let moved = [("lib/a.c", export, c), ("lib/b.c", c, export)];
        assert_eq!(check_changes(&[&moved]), "");
    }

    #[test]
    fn users_in_headers_and_in_the_base() {
        let export = ("lib/a.c", "", "int f(void)\n{\n}\nEXPORT_SYMBOL(f);\n");
        let header = |text| check_changes(&[&[export, ("include/a.h", "", text)]]);
        assert_ne!(header("int f(void);\n"), "");
        assert_ne!(header("#include <linux/f.h>\n"), "");
        assert_eq!(header("#define g() f()\n"), "");
        assert_eq!(
            header("static inline int g(void)\n{\n\treturn f();\n}\n"),
            ""
        );
        let change = Change {
            path: "lib/a.c".to_owned(),
            from: "lib/a.c".to_owned(),
            old: String::new(),
            new: export.2.to_owned(),
        };
        let list = component(
            "list",
            "[[patch]]\nmessage = \"1.msg\"\nfiles = [\"x\"]\n",
            &[("x", "")],
            &[],
        );
        let planned = plan(vec![list]).unwrap();
        let changed = BTreeMap::from([((0, 1), vec![change])]);
        let mut items = Items::read(&[&planned[0]], &changed);
        assert_eq!(items.open_exports(), ["f"]);
        items.add_base("lib/a.c", export.2);
        items.add_base("lib/tests/a.c", "int g(void)\n{\n\treturn f();\n}\n");
        assert_eq!(items.open_exports(), ["f"]);
        items.add_base("mm/b.c", "int g(void)\n{\n\treturn f();\n}\n");
        assert_eq!(items.open_exports(), [""; 0]);
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
