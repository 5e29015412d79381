// SPDX-License-Identifier: GPL-2.0

//! The public items of a Rust file, and the names that its code uses outside tests.
//!
//! The lexer of procedural macros splits the text into tokens, so that comments, doctests and
//! literals do not count. Names are compared as written; types are not resolved.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::ItemUse;

use super::cursor::{Cursor, Seen, at_commas, implemented, uses};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A struct, an enum, a union, or a type alias.
    Type,
    Trait,
    /// A function of a module.
    Function,
    Method,
    /// A constant or a static of a module.
    Constant,
    AssociatedConstant,
    Macro,
    /// A `pub use`.
    Reexport,
    /// A C function with `EXPORT_SYMBOL`.
    Export,
}

impl Kind {
    pub fn text(self) -> &'static str {
        match self {
            Self::Type => "public type",
            Self::Trait => "public trait",
            Self::Function => "public function",
            Self::Method => "public method",
            Self::Constant => "public constant",
            Self::AssociatedConstant => "public associated constant",
            Self::Macro => "public macro",
            Self::Reexport => "public re-export",
            Self::Export => "exported symbol",
        }
    }

    /// Returns whether code refers to the item through a value or a type.
    pub fn is_member(self) -> bool {
        matches!(self, Self::Method | Self::AssociatedConstant)
    }
}

/// A public item outside tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The enclosing modules within the file, the type, and the name.
    pub path: Vec<String>,
    pub kind: Kind,
    /// The line, counted from 1.
    pub line: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub any: usize,
    /// Uses after `::`, and method calls.
    pub member: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    pub items: Vec<Item>,
    pub names: BTreeMap<String, Count>,
    /// The names in public signatures. These items must be public as well.
    pub signatures: BTreeSet<String>,
    /// Modules in separate files that are compiled for tests only.
    pub test_modules: Vec<String>,
}

/// Items are public from the visibility `least` on. A file that is not Rust has no items and names.
pub fn read(text: &str, least: Seen) -> File {
    let tokens: TokenStream = text.parse().unwrap_or_default();
    let mut file = File::default();
    file.names(Cursor::new(tokens.clone()));
    let (path, of_trait) = (Vec::new(), None);
    let place = Place {
        least,
        path,
        of_trait,
    };
    file.items(Cursor::new(tokens), &place);
    file
}

#[derive(Debug, Default)]
pub(super) struct Attributes {
    /// The item is compiled for tests only.
    tests: bool,
    export: bool,
    called_by_c: bool,
}

/// Passes the attributes in front of an item.
pub(super) fn attributes(cursor: &mut Cursor) -> Attributes {
    let mut found = Attributes::default();
    while cursor.punct(0, '#') {
        let inner = usize::from(cursor.punct(1, '!'));
        let Some((Delimiter::Bracket, stream)) = cursor.group(1 + inner) else {
            break;
        };
        cursor.at += 2 + inner;
        if inner == 1 {
            continue;
        }
        let inside = Cursor::new(stream);
        for word in (0..inside.tokens.len()).filter_map(|at| inside.ident(at)) {
            match word.as_str() {
                "kunit_tests" | "test" => found.tests = true,
                "macro_export" => found.export = true,
                "no_mangle" | "export" => found.called_by_c = true,
                _ => (),
            }
        }
        if let (true, Some((_, condition))) = (inside.is(0, "cfg"), inside.group(1)) {
            found.tests |= !may_hold(&Cursor::new(condition)).0;
        }
    }
    found
}

/// Returns whether a `cfg` may be true, and whether it may be false, in a kernel without KUnit.
fn may_hold(condition: &Cursor) -> (bool, bool) {
    let Some(word) = condition.ident(0) else {
        return (true, true);
    };
    let Some((_, stream)) = condition.group(1) else {
        let test = word == "test" || word.contains("KUNIT");
        return (!test, true);
    };
    let parts: Vec<(bool, bool)> = at_commas(stream).iter().map(may_hold).collect();
    let (mut may, mut may_not) = (parts.iter().map(|p| p.0), parts.iter().map(|p| p.1));
    match word.as_str() {
        "all" => (may.all(|p| p), may_not.any(|p| p)),
        "any" => (may.any(|p| p), may_not.all(|p| p)),
        "not" => (may_not.any(|p| p), may.any(|p| p)),
        _ => (true, true),
    }
}

/// Passes an item, a statement, a field or a match arm.
fn pass(cursor: &mut Cursor) {
    cursor.visibility();
    cursor.qualifiers();
    match cursor.ident(0).as_deref() {
        Some("fn" | "struct" | "enum" | "union" | "trait" | "impl" | "mod" | "extern") => {
            cursor.body(true);
        }
        Some("use" | "const" | "static" | "type" | "let") => {
            cursor.body(false);
        }
        _ => {
            let mut is_end = false;
            while !is_end && !cursor.is_at_end() {
                let brace = matches!(cursor.group(0), Some((Delimiter::Brace, _)));
                is_end = brace || cursor.punct(0, ',') || cursor.punct(0, ';');
                cursor.at += 1;
            }
        }
    }
}

/// Returns whether the name at the cursor is defined there.
fn is_definition(cursor: &Cursor) -> bool {
    match cursor.before(1).as_deref() {
        Some("fn" | "struct" | "enum" | "union" | "trait" | "type" | "mod" | "static") => true,
        // `*const T` and `&raw const x` use the name.
        Some("const") => !matches!(cursor.before(2).as_deref(), Some("*" | "raw")),
        Some("!") => cursor.before(2).as_deref() == Some("macro_rules"),
        _ => false,
    }
}

/// Returns whether the name at the cursor follows a value or a type.
fn is_member(cursor: &Cursor) -> bool {
    let is_call = matches!(cursor.group(1), Some((Delimiter::Parenthesis, _)))
        || cursor.punct(1, ':') && cursor.punct(2, ':');
    match cursor.before(1).as_deref() {
        Some(":") => cursor.before(2).as_deref() == Some(":"),
        Some(".") => is_call,
        _ => false,
    }
}

struct Place {
    /// The visibility from which on items are public.
    least: Seen,
    /// The modules within the file, and the type.
    path: Vec<String>,
    /// In an implementation, whether it is one of a trait.
    of_trait: Option<bool>,
}

impl Place {
    /// Returns the type, in an implementation.
    fn of(&self) -> Option<&str> {
        self.path
            .last()
            .filter(|_| self.of_trait.is_some())
            .map(String::as_str)
    }

    fn below(&self, name: String, of_trait: Option<bool>) -> Self {
        Self {
            path: [&self.path[..], &[name]].concat(),
            of_trait,
            ..*self
        }
    }
}

impl File {
    /// Counts the names that code uses, except in tests and in re-exports.
    fn names(&mut self, mut cursor: Cursor) {
        while !cursor.is_at_end() {
            let start = cursor.at;
            if cursor.punct(0, '#') {
                if attributes(&mut cursor).tests {
                    pass(&mut cursor);
                }
            } else if cursor.is(0, "pub") {
                cursor.visibility();
                if cursor.is(0, "use") {
                    cursor.body(false);
                }
            } else if cursor.is(0, "mod") && cursor.is(1, "tests") {
                cursor.body(true);
            } else if let Some(name) = cursor.ident(0) {
                if !is_definition(&cursor) {
                    let count = self.names.entry(name).or_default();
                    count.any += 1;
                    count.member += usize::from(is_member(&cursor));
                }
            } else if let Some((_, stream)) = cursor.group(0) {
                self.names(Cursor::new(stream));
            }
            cursor.at = cursor.at.max(start + 1);
        }
    }

    fn items(&mut self, mut cursor: Cursor, place: &Place) {
        while !cursor.is_at_end() {
            let start = cursor.at;
            self.item(&mut cursor, place);
            cursor.at = cursor.at.max(start + 1);
        }
    }

    fn item(&mut self, cursor: &mut Cursor, place: &Place) {
        let attributes = attributes(cursor);
        let start = cursor.at;
        let is_public = cursor.visibility() >= place.least;
        cursor.qualifiers();
        let (Some(word), name) = (cursor.ident(0), cursor.ident(1)) else {
            return;
        };
        if attributes.tests || word == "mod" && name.as_deref() == Some("tests") {
            cursor.at = start;
            pass(cursor);
            let module = name.filter(|_| word == "mod");
            self.test_modules.extend(module);
            return;
        }
        let is_member = place.of_trait.is_some();
        let kind = match word.as_str() {
            "struct" | "union" | "enum" | "type" => Kind::Type,
            "trait" => Kind::Trait,
            "fn" if is_member => Kind::Method,
            "fn" => Kind::Function,
            "const" | "static" if is_member => Kind::AssociatedConstant,
            "const" | "static" => Kind::Constant,
            _ => return self.other(cursor, place, is_public, attributes.export),
        };
        let Some(name) = name else {
            return self.invocation(cursor, place);
        };
        if is_public && name != "_" && !(word == "fn" && attributes.called_by_c) {
            self.add(place, name.clone(), kind, cursor.line(1));
        }
        let start = cursor.at + 2;
        let is_value = matches!(word.as_str(), "type" | "const" | "static");
        let body = cursor.body(!is_value).filter(|_| word == "fn");
        let tokens = &cursor.tokens[start..cursor.at - usize::from(body.is_some())];
        match word.as_str() {
            "struct" | "union" if is_public => self.fields(tokens, &name, place.least),
            "struct" | "union" => (),
            "enum" | "trait" if is_public => self.signature(tokens, Some(&name)),
            _ if is_public || is_value && place.of_trait == Some(true) => {
                self.signature(tokens, place.of());
            }
            _ => (),
        }
    }

    /// Reads blocks with items, imports, and macros.
    fn other(&mut self, cursor: &mut Cursor, place: &Place, is_public: bool, exports: bool) {
        let (line, start) = (cursor.line(1), cursor.at + 1);
        match (cursor.ident(0).as_deref(), cursor.ident(1)) {
            (Some("mod"), Some(name)) => {
                if let Some(stream) = cursor.body(true) {
                    self.items(Cursor::new(stream), &place.below(name, None));
                }
            }
            (Some("use"), _) => {
                cursor.body(false);
                let tokens = cursor.tokens[start - 1..cursor.at].iter().cloned();
                let item = syn::parse2::<ItemUse>(tokens.collect()).ok();
                for item in item.iter().filter(|_| is_public) {
                    for name in uses(&item.tree, None) {
                        self.add(place, name, Kind::Reexport, line);
                    }
                }
            }
            (Some("impl"), _) => {
                let Some(body) = cursor.body(true) else {
                    return;
                };
                let head = &cursor.tokens[start..cursor.at - 1];
                if let Some((of, of_trait)) = implemented(head) {
                    self.signature(head, Some(&of));
                    self.items(Cursor::new(body), &place.below(of, Some(of_trait)));
                }
            }
            (Some("macro_rules"), None) if cursor.punct(1, '!') => {
                if let Some(name) = cursor.ident(2).filter(|_| exports) {
                    self.add(place, name, Kind::Macro, line);
                }
                cursor.at += 4;
            }
            (Some("extern"), _) => {
                cursor.body(true);
            }
            _ => self.invocation(cursor, place),
        }
    }

    fn add(&mut self, place: &Place, name: String, kind: Kind, line: usize) {
        let path = [&place.path[..], &[name]].concat();
        self.items.push(Item { path, kind, line });
    }

    /// Reads the arguments of a macro that is called between items, since it may declare items.
    fn invocation(&mut self, cursor: &mut Cursor, place: &Place) {
        cursor.at += 1;
        while cursor.punct(0, ':') && cursor.punct(1, ':') && cursor.ident(2).is_some() {
            cursor.at += 3;
        }
        if let (true, Some((_, stream))) = (cursor.punct(0, '!'), cursor.group(1)) {
            cursor.at += 2;
            self.items(Cursor::new(stream), place);
        }
    }

    /// Records the names in the public fields of a type.
    fn fields(&mut self, tokens: &[TokenTree], of: &str, least: Seen) {
        for token in tokens {
            let TokenTree::Group(group) = token else {
                continue;
            };
            for mut field in at_commas(group.stream()) {
                attributes(&mut field);
                if field.visibility() >= least {
                    self.signature(&field.tokens[field.at..], Some(of));
                }
            }
        }
    }

    /// Records the names in a signature, except the name of its type.
    fn signature(&mut self, tokens: &[TokenTree], of: Option<&str>) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => {
                    let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                    self.signature(&inside, of);
                }
                TokenTree::Ident(name) if of.is_none_or(|of| name != of) => {
                    self.signatures.insert(name.to_string());
                }
                _ => (),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        read(text, Seen::All)
    }

    fn keys(text: &str) -> Vec<String> {
        let items = file(text).items.into_iter();
        let shown = |i: Item| format!("{} {} {}", i.line, i.kind.text(), i.path.join("::"));
        items.map(shown).collect()
    }

    #[test]
    fn read_items_with_path_and_line() {
        let text = "\
pub struct List<T>(T);

impl<T> List<T> {
    /// Doc.
    pub const fn len(&self) -> usize { 0 }
    pub const MAX: usize = 1;
    fn private(&self) {}
}
impl Clone for List<u8> {
    fn clone(&self) -> Self {}
}
pub mod inner {
    pub fn f() {}
}
#[macro_export]
macro_rules! make { ($n:ident) => { pub fn $n() {} }; }
pub use self::iter::{Iter, Other as Name};
bitfield! { pub struct Flags(u32) { 0:0 a; } }
pub(crate) fn near() {}
#[no_mangle]
pub extern \"C\" fn called() {}
pub trait Walk { fn walk(&self); }
";
        assert_eq!(
            keys(text),
            [
                "1 public type List",
                "5 public method List::len",
                "6 public associated constant List::MAX",
                "13 public function inner::f",
                "16 public macro make",
                "17 public re-export Iter",
                "17 public re-export Name",
                "18 public type Flags",
                "22 public trait Walk",
            ]
        );
        let crate_wide = read(text, Seen::Crate).items;
        assert!(crate_wide.iter().any(|i| i.path == ["near"]));
    }

    #[test]
    fn read_skips_tests() {
        let text = "\
#[cfg(CONFIG_KUNIT = \"y\")]
mod model;
#[cfg(test)]
mod more;
mod tests;
#[kunit_tests(suite)]
mod suite { fn f() { used_in_suite(); } }
#[cfg(CONFIG_X_KUNIT_TEST)]
impl A { pub fn hook<A, B>(&self) where A: X, B: Y { used_in_hook(); } }
fn f() {
    #[cfg(all(CONFIG_KUNIT, CONFIG_64BIT))]
    used_in_statement(1, 2);
    kept();
    let a = A {
        #[cfg(CONFIG_KUNIT)]
        field: used_in_field,
        other: kept_too,
    };
}
#[cfg(not(CONFIG_KUNIT))]
pub fn without() {}
#[cfg(any(CONFIG_64BIT, CONFIG_KUNIT))]
pub fn either() {}
";
        assert_eq!(
            keys(text),
            ["21 public function without", "23 public function either"]
        );
        let file = file(text);
        assert_eq!(file.test_modules, ["model", "more", "tests", "suite"]);
        let names: Vec<&String> = file.names.keys().collect();
        assert!(names.iter().all(|n| !n.starts_with("used_in")), "{names:?}");
        assert!(file.names.contains_key("kept") && file.names.contains_key("kept_too"));
    }

    #[test]
    fn read_counts_used_names() {
        let text = "\
//! A `doc` with commented().
/// ```
/// doctest();
/// ```
fn defined(x: *const Pointed) { x.called(1); x.field; T::path; T::<u8>::generic::<T>(); \"text\"; }
pub use a::exported;
use a::imported;
mod module;
macro_rules! rules { () => { in_macro() }; }
";
        let names = file(text).names;
        let of = |name: &str| names.get(name).map(|c| (c.any, c.member));
        for name in [
            "doctest",
            "commented",
            "defined",
            "text",
            "exported",
            "module",
            "rules",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
        for name in ["called", "path", "generic", "imported"] {
            assert_eq!(of(name), Some((1, 1)), "{name}");
        }
        for name in ["field", "Pointed", "in_macro"] {
            assert_eq!(of(name), Some((1, 0)), "{name}");
        }
    }

    #[test]
    fn read_names_in_signatures() {
        let text = "\
pub struct A { pub shown: Shown, hidden: Hidden }
impl A { pub fn f(&self) -> Given { Body::new() } fn g() -> Private {} }
impl Iterator for A { type Item = Yielded; }
impl From<Source> for A { fn from(s: Source) -> Self { Inside } }
pub struct Tuple(pub First, Second);
";
        let found = file(text).signatures;
        for name in ["Shown", "Given", "Yielded", "Source", "First"] {
            assert!(found.contains(name), "{name}");
        }
        for name in ["A", "Hidden", "Body", "Private", "Inside", "Second"] {
            assert!(!found.contains(name), "{name}");
        }
    }
}
