// SPDX-License-Identifier: GPL-2.0

//! The public items of a Rust file, and the names that its code uses outside tests.
//!
//! The lexer of procedural macros splits the text into tokens, so that comments, doctests and
//! literals do not count. Names are compared as written; types are not resolved.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::cursor::{Cursor, Seen, at_commas, inherent, uses};

/// The kind of a public item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A struct, an enum, a union, or a type alias.
    Type,
    Trait,
    /// A function of a module.
    Function,
    /// A function of a type.
    Method,
    /// A constant or a static of a module.
    Constant,
    /// A constant of a type.
    AssociatedConstant,
    /// An exported macro.
    Macro,
    /// A `pub use`.
    Reexport,
    /// A C function with `EXPORT_SYMBOL`.
    Export,
}

impl Kind {
    /// Returns the word for messages.
    pub fn text(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Trait => "trait",
            Self::Function => "function",
            Self::Method => "method",
            Self::Constant => "constant",
            Self::AssociatedConstant => "associated constant",
            Self::Macro => "macro",
            Self::Reexport => "re-export",
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
    /// The enclosing modules within the file, and the type.
    pub path: Vec<String>,
    pub name: String,
    pub kind: Kind,
    /// The line, counted from 1.
    pub line: usize,
}

impl Item {
    /// Returns the path within the file.
    pub fn key(&self) -> String {
        let words = self.path.iter().chain([&self.name]);
        words.map(String::as_str).collect::<Vec<_>>().join("::")
    }
}

/// How often a name is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// All uses.
    pub any: usize,
    /// Uses after `::`, and method calls.
    pub member: usize,
}

/// The items and names of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    /// The public items.
    pub items: Vec<Item>,
    /// The names that the code uses.
    pub names: BTreeMap<String, Count>,
    /// The names in public signatures. These items must be public as well.
    pub signatures: BTreeSet<String>,
    /// Modules in separate files that are compiled for tests only.
    pub test_modules: Vec<String>,
}

/// Reads a file. Returns `None` if it is not Rust. Items are public from the visibility `least` on.
pub fn read(text: &str, least: Seen) -> Option<File> {
    let tokens: TokenStream = text.parse().ok()?;
    let mut reader = Reader {
        least,
        file: File::default(),
    };
    reader.names(Cursor::new(tokens.clone()));
    reader.items(Cursor::new(tokens), &Place::default());
    Some(reader.file)
}

/// The relevant attributes of an item.
#[derive(Debug, Default)]
struct Attributes {
    /// The item is compiled for tests only.
    tests: bool,
    /// The macro is exported.
    export: bool,
    /// C code calls the function by its name.
    called_by_c: bool,
}

/// Skips the attributes in front of an item.
fn attributes(cursor: &mut Cursor) -> Attributes {
    let mut found = Attributes::default();
    while cursor.punct(0, '#') {
        let inner = usize::from(cursor.punct(1, '!'));
        let Some((Delimiter::Bracket, stream)) = cursor.group(1 + inner) else {
            break;
        };
        cursor.at += 2 + inner;
        let inside = Cursor::new(stream);
        if inner == 1 {
            continue;
        }
        let words = inside.tokens.iter().filter_map(|t| match t {
            TokenTree::Ident(word) => Some(word.to_string()),
            _ => None,
        });
        for word in words {
            found.tests |= ["kunit_tests", "test"].contains(&word.as_str());
            found.export |= word == "macro_export";
            found.called_by_c |= ["no_mangle", "export"].contains(&word.as_str());
        }
        if let (true, Some((_, condition))) = (inside.is(0, "cfg"), inside.group(1)) {
            found.tests |= !may_hold(condition).0;
        }
    }
    found
}

/// Returns whether a condition of `cfg` may be true, and whether it may be false, in a kernel
/// without KUnit.
fn may_hold(condition: TokenStream) -> (bool, bool) {
    let cursor = Cursor::new(condition);
    let Some(word) = cursor.ident(0) else {
        return (true, true);
    };
    let Some((_, stream)) = cursor.group(1) else {
        let test = word == "test" || word.contains("KUNIT");
        return (!test, true);
    };
    let parts = at_commas(stream).into_iter();
    let parts = parts.filter(|p| !p.tokens.is_empty());
    let parts: Vec<(bool, bool)> = parts
        .map(|p| may_hold(p.tokens.into_iter().collect()))
        .collect();
    let all = |of: fn(&(bool, bool)) -> bool| parts.iter().all(of);
    let any = |of: fn(&(bool, bool)) -> bool| parts.iter().any(of);
    match word.as_str() {
        "all" => (all(|p| p.0), any(|p| p.1)),
        "any" => (any(|p| p.0), all(|p| p.1)),
        "not" => (any(|p| p.1), any(|p| p.0)),
        _ => (true, true),
    }
}

/// Skips an item, a statement, a field or a match arm.
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
            while cursor.at < cursor.tokens.len() {
                let brace = matches!(cursor.group(0), Some((Delimiter::Brace, _)));
                let end = brace || cursor.punct(0, ',') || cursor.punct(0, ';');
                cursor.at += 1;
                if end {
                    break;
                }
            }
        }
    }
}

/// Returns whether the name at the cursor is defined there.
fn is_definition(cursor: &Cursor) -> bool {
    let before = |n: usize| {
        let at = cursor.at.checked_sub(n)?;
        Some(cursor.tokens[at].to_string())
    };
    match before(1).as_deref() {
        Some("fn" | "struct" | "enum" | "union" | "trait" | "type" | "mod" | "static") => true,
        // `*const T` and `&raw const x` use the name.
        Some("const") => !matches!(before(2).as_deref(), Some("*" | "raw")),
        Some("!") => before(2).as_deref() == Some("macro_rules"),
        _ => false,
    }
}

/// Returns whether the name at the cursor follows a value or a type.
fn is_member(cursor: &Cursor) -> bool {
    let is = |at: Option<usize>, c: char| {
        let token = at.and_then(|at| cursor.tokens.get(at));
        matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == c)
    };
    let before = |n: usize| cursor.at.checked_sub(n);
    let call = matches!(cursor.group(1), Some((Delimiter::Parenthesis, _)))
        || cursor.punct(1, ':') && cursor.punct(2, ':');
    is(before(1), ':') && is(before(2), ':') || is(before(1), '.') && call
}

/// The place of items.
#[derive(Debug, Clone, Default)]
struct Place {
    /// The modules within the file, and the type.
    path: Vec<String>,
    /// The type, in an implementation.
    of: Option<String>,
    /// Whether it is the implementation of a trait.
    of_trait: bool,
}

struct Reader {
    least: Seen,
    file: File,
}

impl Reader {
    /// Counts the names that code uses, except in tests and in re-exports.
    fn names(&mut self, mut cursor: Cursor) {
        while cursor.at < cursor.tokens.len() {
            let start = cursor.at;
            if cursor.punct(0, '#') {
                let attributes = attributes(&mut cursor);
                if attributes.tests {
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
                    let count = self.file.names.entry(name).or_default();
                    count.any += 1;
                    count.member += usize::from(is_member(&cursor));
                }
            } else if let Some((_, stream)) = cursor.group(0) {
                self.names(Cursor::new(stream));
            }
            if cursor.at == start {
                cursor.at += 1;
            }
        }
    }

    fn items(&mut self, mut cursor: Cursor, place: &Place) {
        while cursor.at < cursor.tokens.len() {
            let start = cursor.at;
            self.item(&mut cursor, place);
            if cursor.at == start {
                cursor.at += 1;
            }
        }
    }

    fn item(&mut self, cursor: &mut Cursor, place: &Place) {
        let attributes = attributes(cursor);
        let start = cursor.at;
        let seen = cursor.visibility();
        cursor.qualifiers();
        let Some(word) = cursor.ident(0) else {
            return;
        };
        let name = cursor.ident(1);
        if attributes.tests || word == "mod" && name.as_deref() == Some("tests") {
            cursor.at = start;
            pass(cursor);
            if word == "mod" {
                self.file.test_modules.extend(name);
            }
            return;
        }
        let public = seen >= self.least;
        let mut add = |name: &str, kind: Kind, line: usize| {
            self.file.items.push(Item {
                path: place.path.clone(),
                name: name.to_owned(),
                kind,
                line,
            });
        };
        let line = cursor.tokens.get(cursor.at + 1).map_or(0, line_of);
        let body_at = cursor.at + 2;
        match (word.as_str(), name) {
            ("struct" | "union", Some(name)) => {
                cursor.at += 2;
                cursor.body(true);
                if public {
                    add(&name, Kind::Type, line);
                    let tokens = cursor.tokens[body_at..cursor.at].to_vec();
                    self.fields(tokens, &name);
                }
            }
            ("enum" | "trait", Some(name)) => {
                cursor.at += 2;
                cursor.body(true);
                if public {
                    let kind = match word.as_str() {
                        "enum" => Kind::Type,
                        _ => Kind::Trait,
                    };
                    add(&name, kind, line);
                    self.signature(&cursor.tokens[body_at..cursor.at], Some(&name));
                }
            }
            ("fn", Some(name)) => {
                cursor.at += 2;
                let body = usize::from(cursor.body(true).is_some());
                if public && !attributes.called_by_c {
                    let kind = match place.of {
                        Some(_) => Kind::Method,
                        None => Kind::Function,
                    };
                    add(&name, kind, line);
                }
                if public {
                    let end = (cursor.at - body).max(body_at);
                    let of = place.of.as_deref();
                    self.signature(&cursor.tokens[body_at..end], of);
                }
            }
            ("type" | "const" | "static", Some(name)) => {
                cursor.at += 2;
                cursor.body(false);
                let kind = match (word.as_str(), &place.of) {
                    ("type", _) => Kind::Type,
                    (_, Some(_)) => Kind::AssociatedConstant,
                    _ => Kind::Constant,
                };
                if public && name != "_" {
                    add(&name, kind, line);
                }
                if public || place.of_trait {
                    let of = place.of.as_deref();
                    self.signature(&cursor.tokens[body_at..cursor.at], of);
                }
            }
            ("mod", Some(name)) => {
                cursor.at += 2;
                if let Some(stream) = cursor.body(true) {
                    let mut below = place.clone();
                    below.path.push(name);
                    self.items(Cursor::new(stream), &below);
                }
            }
            ("use", _) => {
                cursor.at += 1;
                let start = cursor.at;
                cursor.body(false);
                let end = cursor.at.saturating_sub(1).max(start);
                let mut all = Vec::new();
                if public {
                    uses(&cursor.tokens[start..end], None, &mut all);
                }
                for name in all {
                    add(&name, Kind::Reexport, line);
                }
            }
            ("impl", _) => {
                cursor.at += 1;
                let start = cursor.at;
                let body = cursor.body(true);
                let end = cursor.at.saturating_sub(1).max(start);
                let head = cursor.tokens[start..end].to_vec();
                if let (Some(body), Some((of, of_trait))) = (body, implemented(&head)) {
                    self.signature(&head, Some(&of));
                    let mut inside = place.clone();
                    inside.path.push(of.clone());
                    inside.of = Some(of);
                    inside.of_trait = of_trait;
                    self.items(Cursor::new(body), &inside);
                }
            }
            ("macro_rules", None) if cursor.punct(1, '!') => {
                if let (true, Some(name)) = (attributes.export, cursor.ident(2)) {
                    add(&name, Kind::Macro, line);
                }
                cursor.at += 4;
            }
            ("extern", _) => {
                cursor.at += 1;
                cursor.body(true);
            }
            _ => self.invocation(cursor, place),
        }
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
    fn fields(&mut self, tokens: Vec<TokenTree>, of: &str) {
        for token in tokens {
            let TokenTree::Group(group) = token else {
                continue;
            };
            for mut field in at_commas(group.stream()) {
                attributes(&mut field);
                if field.visibility() >= self.least {
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
                    self.file.signatures.insert(name.to_string());
                }
                _ => (),
            }
        }
    }
}

fn line_of(token: &TokenTree) -> usize {
    token.span().start().line
}

/// Returns the type of an implementation, and whether it implements a trait.
fn implemented(head: &[TokenTree]) -> Option<(String, bool)> {
    if let Some(of) = inherent(head) {
        return Some((of, false));
    }
    let is_for = |i: &usize| {
        let bound = matches!(head.get(i + 1), Some(TokenTree::Punct(p)) if p.as_char() == '<');
        matches!(&head[*i], TokenTree::Ident(word) if word == "for") && !bound
    };
    let at = (0..head.len()).find(is_for)?;
    Some((inherent(&head[at + 1..])?, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        read(text, Seen::All).unwrap()
    }

    fn keys(text: &str) -> Vec<String> {
        let items = file(text).items.into_iter();
        let shown = |i: Item| format!("{} {} {}", i.line, i.kind.text(), i.key());
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
                "1 type List",
                "5 method List::len",
                "6 associated constant List::MAX",
                "13 function inner::f",
                "16 macro make",
                "17 re-export Iter",
                "17 re-export Name",
                "18 type Flags",
                "22 trait Walk",
            ]
        );
        let crate_wide = read(text, Seen::Crate).unwrap().items;
        assert!(crate_wide.iter().any(|i| i.name == "near"));
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
        assert_eq!(keys(text), ["21 function without", "23 function either"]);
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
