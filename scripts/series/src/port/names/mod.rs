// SPDX-License-Identifier: GPL-2.0

//! What files offer to others, by name: the API, as far as it can be compared without a compiler.
//!
//! The names of Rust files are those of the module that they make together, whatever file of it an
//! item stands in: `list.rs` may hold all, or take over what `list/iter.rs` has. Other files stand
//! for themselves.

mod c;
pub(crate) mod rust;

use std::{
    cell::RefCell,
    collections::{
        BTreeMap,
        HashMap, //
    },
    rc::Rc,
};

use super::tree::{
    Bytes,
    Files, //
};
use rust::{
    Child,
    Module,
    Seen, //
};

/// Names, each with what is known of it.
pub type Names = BTreeMap<String, Def>;

/// Where a name is defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Def {
    /// The file.
    pub file: String,
    /// Whether a macro declares it, so that there may be more in it than what is written there.
    pub open: bool,
}

/// Whether a name is among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Has<'a> {
    /// It is, in this file.
    Yes(&'a str),
    /// A macro in this file may make it.
    Maybe(&'a str),
    /// It is not.
    No,
}

/// Looks for a name.
pub fn has<'a>(names: &'a Names, name: &str) -> Has<'a> {
    if let Some(def) = names.get(name) {
        return Has::Yes(&def.file);
    }
    let whole = name.rsplit_once("::").and_then(|(of, _)| names.get(of));
    match whole {
        Some(def) if def.open => Has::Maybe(&def.file),
        _ => Has::No,
    }
}

/// Reads names, and remembers what it has read.
#[derive(Default)]
pub struct Reader {
    modules: RefCell<HashMap<Bytes, Option<Rc<Module>>>>,
}

/// The module that a Rust file is: its path without ending.
pub fn module_of(path: &str) -> Option<&str> {
    path.strip_suffix("/mod.rs")
        .or_else(|| path.strip_suffix(".rs"))
}

/// The two files that a module can be.
pub fn files_of(module: &str) -> [String; 2] {
    [format!("{module}.rs"), format!("{module}/mod.rs")]
}

/// The other file that the module of `path` can be.
pub fn other_form(path: &str) -> Option<String> {
    let forms = files_of(module_of(path)?);
    forms.into_iter().find(|form| form != path)
}

/// The topmost module among `ours` that the file at `path` is in; for what is no Rust, the path.
pub fn unit_of<'a>(path: &'a str, ours: &dyn Fn(&str) -> bool) -> &'a str {
    let Some(own) = module_of(path) else {
        return path;
    };
    let mut top = own;
    let mut module = own;
    while let Some((above, _)) = module.rsplit_once('/') {
        if files_of(above).iter().any(|file| ours(file)) {
            top = above;
        }
        module = above;
    }
    top
}

impl Reader {
    /// The names of a unit, as [`unit_of`] tells it, in a tree.
    pub fn names(&self, files: &dyn Files, unit: &str) -> Names {
        let own = |found: std::collections::BTreeSet<String>| {
            found
                .into_iter()
                .map(|name| (name, def(unit, false)))
                .collect()
        };
        let text = |read: fn(&str) -> std::collections::BTreeSet<String>| match files.read(unit) {
            Some(bytes) => own(read(&String::from_utf8_lossy(&bytes))),
            None => Names::new(),
        };
        let file = unit.rsplit('/').next().unwrap_or(unit);
        match file {
            _ if unit.ends_with(".h") => text(c::header),
            _ if unit.ends_with(".c") => text(c::source),
            _ if file.starts_with("Kconfig") => text(kconfig),
            _ if file.contains('.') && !is_module(files, unit) => Names::new(),
            _ => self.module_names(files, unit),
        }
    }

    fn module_names(&self, files: &dyn Files, unit: &str) -> Names {
        let Some(tree) = self.tree(files, unit) else {
            return Names::new();
        };
        // In a driver, nobody is outside of the crate.
        let least = match unit.starts_with("rust/") {
            true => Seen::All,
            false => Seen::Crate,
        };
        Names::from_iter(tree.exports(least, &mut Vec::new()).into_iter().flat_map(
            |(name, export)| {
                let members = tree.members(&export.item, least);
                let whole = (name.clone(), export.def);
                std::iter::once(whole).chain(
                    members.into_iter().map(move |(member, file)| {
                        (format!("{name}::{member}"), def(&file, false))
                    }),
                )
            },
        ))
    }

    fn tree(&self, files: &dyn Files, module: &str) -> Option<Tree> {
        let file = files_of(module)
            .into_iter()
            .find(|file| files.read(file).is_some())?;
        let content = files.read(&file)?;
        let read = self.module(&content)?;
        Some(self.grow(files, module, &file, &read))
    }

    fn grow(&self, files: &dyn Files, module: &str, file: &str, read: &Module) -> Tree {
        let children = read.children.iter().filter_map(|(name, child)| {
            let below = format!("{module}/{name}");
            let Child { seen, inline } = child;
            let tree = match inline {
                Some(inline) => self.grow(files, &below, file, inline),
                None => self.tree(files, &below)?,
            };
            Some((name.clone(), (*seen, tree)))
        });
        Tree {
            file: file.to_owned(),
            children: children.collect(),
            own: Module {
                children: BTreeMap::new(),
                ..read.clone()
            },
        }
    }

    fn module(&self, content: &Bytes) -> Option<Rc<Module>> {
        if let Some(known) = self.modules.borrow().get(content) {
            return known.clone();
        }
        let read = std::str::from_utf8(content)
            .ok()
            .and_then(rust::read)
            .map(Rc::new);
        self.modules
            .borrow_mut()
            .insert(content.clone(), read.clone());
        read
    }
}

fn def(file: &str, open: bool) -> Def {
    Def {
        file: file.to_owned(),
        open,
    }
}

fn is_module(files: &dyn Files, unit: &str) -> bool {
    files_of(unit).iter().any(|f| files.read(f).is_some())
}

/// The options that a Kconfig file declares.
fn kconfig(text: &str) -> std::collections::BTreeSet<String> {
    let option = |line: &str| {
        let mut words = line.split_whitespace();
        let word = words.next()?;
        ["config", "menuconfig"]
            .contains(&word)
            .then(|| words.next().map(str::to_owned))?
    };
    text.lines().filter_map(option).collect()
}

/// A module with those below it.
struct Tree {
    file: String,
    own: Module,
    children: BTreeMap<String, (Seen, Tree)>,
}

/// What a name stands for.
#[derive(Clone)]
struct Export {
    /// The name of the item where it is defined.
    item: String,
    def: Def,
}

impl Tree {
    /// The names that others see. `path` guards against modules that take over from each other.
    fn exports(&self, least: Seen, path: &mut Vec<String>) -> BTreeMap<String, Export> {
        let mut found = BTreeMap::new();
        for item in self.own.items.iter().filter(|i| i.seen >= least) {
            found.insert(item.name.clone(), self.export(&item.name));
        }
        for (name, (seen, tree)) in &self.children {
            if *seen >= least {
                found.insert(name.clone(), self.export(name));
                for (inner, export) in tree.exports(least, path) {
                    found.insert(format!("{name}::{inner}"), export);
                }
            }
        }
        for one in self.own.uses.iter().filter(|u| u.seen >= least) {
            let words = one.path.iter().map(String::as_str);
            let words: Vec<&str> = words.skip_while(|w| *w == "self").collect();
            match &one.name {
                None => {
                    let key = words.join("::");
                    if let Some(below) = self.below(&words).filter(|_| !path.contains(&key)) {
                        path.push(key);
                        found.extend(below.exports(least, path));
                        path.pop();
                    }
                }
                Some(name) => {
                    found.extend(self.taken_over(&words, name));
                }
            }
        }
        found
    }

    fn export(&self, item: &str) -> Export {
        Export {
            item: item.to_owned(),
            def: def(
                &self.file,
                self.own.items.iter().any(|i| i.name == item && i.by_macro),
            ),
        }
    }

    fn below(&self, words: &[&str]) -> Option<&Tree> {
        words
            .iter()
            .try_fold(self, |tree, word| Some(&tree.children.get(*word)?.1))
    }

    /// What `pub use` of a path makes visible under `name`. A macro that is exported has its name
    /// anyway.
    fn taken_over(&self, words: &[&str], name: &str) -> Option<(String, Export)> {
        let (last, before) = words.split_last()?;
        if let Some(tree) = self.below(before) {
            let macro_name = format!("{last}!");
            let items = &tree.own.items;
            if items.iter().any(|i| i.name == *last) {
                return Some((name.to_owned(), tree.export(last)));
            }
            if items.iter().any(|i| i.name == macro_name) {
                return Some((format!("{name}!"), tree.export(&macro_name)));
            }
            let mut further = tree
                .own
                .uses
                .iter()
                .filter(|u| u.name.as_deref() == Some(last));
            if let Some(one) = further.next()
                && (!before.is_empty() || one.path.len() != words.len())
            {
                let words: Vec<&str> = one.path.iter().map(String::as_str).collect();
                let words = words.strip_prefix(&["self"]).unwrap_or(&words);
                let (_, export) = tree.taken_over(words, last)?;
                return Some((name.to_owned(), export));
            }
        }
        let own_macro = format!("{last}!");
        let exported = self.own.items.iter().any(|i| i.name == own_macro);
        (!exported).then(|| (name.to_owned(), self.export(last)))
    }

    /// What the type of this name has that others see.
    fn members(&self, item: &str, least: Seen) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let own = self.own.items.iter().filter(|i| i.name == item);
        let own = own.flat_map(|i| &i.members);
        let of = self.own.impls.iter().filter(|i| i.of == item);
        for member in own.chain(of.flat_map(|i| &i.members)) {
            if member.seen >= least {
                found.insert(member.name.clone(), self.file.clone());
            }
        }
        for (_, tree) in self.children.values() {
            found.extend(tree.members(item, least));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::tree::tests::memory;

    fn listed(files: &[(&str, &str)], unit: &str) -> Vec<String> {
        let files = memory(files);
        let names = Reader::default().names(&files, unit);
        names
            .into_iter()
            .map(|(n, d)| format!("{n} {}", d.file))
            .collect()
    }

    #[test]
    fn a_module_of_several_files_offers_what_one_file_would() {
        let one = listed(
            &[(
                "rust/list.rs",
                "pub struct List; impl List { pub fn iter(&self) -> Iter {} }\n\
                 pub struct Iter; #[macro_export] macro_rules! create { () => {} }\n\
                 pub use create; struct Private; impl Private { pub fn f() {} }",
            )],
            "rust/list",
        );
        let several = listed(
            &[
                (
                    "rust/list/mod.rs",
                    "mod iter; pub use self::iter::Iter; mod gone;\n\
                     pub struct List; #[macro_export] macro_rules! create { () => {} }\n\
                     pub use crate::create;",
                ),
                (
                    "rust/list/iter.rs",
                    "use super::List; impl List { pub fn iter(&self) -> Iter {} }\n\
                     pub struct Iter; pub struct Hidden;",
                ),
                ("rust/list/stray.rs", "pub struct Stray;"),
            ],
            "rust/list",
        );
        assert_eq!(
            several,
            [
                "Iter rust/list/iter.rs",
                "List rust/list/mod.rs",
                "List::iter rust/list/iter.rs",
                "create! rust/list/mod.rs",
            ]
        );
        let names = |list: &[String]| -> Vec<String> {
            let first = |l: &String| l.split(' ').next().unwrap_or("").to_owned();
            list.iter().map(first).collect()
        };
        assert_eq!(names(&one), names(&several));
    }

    #[test]
    fn public_modules_have_their_name_before_that_of_the_item() {
        let files = [
            ("rust/interop.rs", "pub mod list; mod hidden;"),
            (
                "rust/interop/list.rs",
                "pub struct CList; pub use inner::*; mod inner { pub fn f() {} pub use super::inner::*; }",
            ),
            ("rust/interop/hidden.rs", "pub struct Hidden;"),
        ];
        assert_eq!(
            listed(&files, "rust/interop"),
            [
                "list rust/interop.rs",
                "list::CList rust/interop/list.rs",
                "list::f rust/interop/list.rs",
            ]
        );
    }

    #[test]
    fn what_a_macro_declares_may_have_more_in_it() {
        let files = memory(&[(
            "rust/a.rs",
            "impl_flags!(pub struct Flags(u8); pub enum Flag { One });\npub struct Plain;",
        )]);
        let names = Reader::default().names(&files, "rust/a");
        assert_eq!(has(&names, "Flag::One"), Has::Yes("rust/a.rs"));
        assert_eq!(has(&names, "Flags::contains"), Has::Maybe("rust/a.rs"));
        assert_eq!(has(&names, "Plain::contains"), Has::No);
        assert_eq!(has(&names, "contains"), Has::No);
    }

    #[test]
    fn in_a_driver_the_crate_is_everybody() {
        let text = "pub(crate) struct A { pub(crate) x: u8, y: u8 } pub(super) struct B;\n\
                    impl A { pub(crate) fn f() {} pub(super) fn g() {} }";
        assert_eq!(
            listed(&[("drivers/gpu/mm.rs", text)], "drivers/gpu/mm"),
            [
                "A drivers/gpu/mm.rs",
                "A::f drivers/gpu/mm.rs",
                "A::x drivers/gpu/mm.rs"
            ]
        );
        assert!(listed(&[("rust/mm.rs", text)], "rust/mm").is_empty());
    }

    #[test]
    fn other_files_stand_for_themselves() {
        let files = [
            (
                "a/Kconfig",
                "config GPU_BUDDY\n\tbool\n# config NO\nmenuconfig MENU\n",
            ),
            ("a/x.h", "int f(void);\n"),
            ("a/x.c", "EXPORT_SYMBOL(g);\n"),
            ("a/x.rst", "pub struct No;\n"),
        ];
        assert_eq!(
            listed(&files, "a/Kconfig"),
            ["GPU_BUDDY a/Kconfig", "MENU a/Kconfig"]
        );
        assert_eq!(listed(&files, "a/x.h"), ["f a/x.h"]);
        assert_eq!(listed(&files, "a/x.c"), ["g a/x.c"]);
        assert!(listed(&files, "a/x.rst").is_empty());
    }

    #[test]
    fn the_unit_of_a_file_is_the_topmost_module_of_ours() {
        let ours = |p: &str| ["r/interop/mod.rs", "r/interop/list.rs"].contains(&p);
        assert_eq!(unit_of("r/interop/list/iter.rs", &ours), "r/interop");
        assert_eq!(unit_of("r/interop/mod.rs", &ours), "r/interop");
        assert_eq!(unit_of("r/other.rs", &ours), "r/other");
        assert_eq!(unit_of("r/helpers/list.c", &ours), "r/helpers/list.c");
    }
}
