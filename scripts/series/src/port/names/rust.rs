// SPDX-License-Identifier: GPL-2.0

//! The items of a Rust file, as far as others can see them.
//!
//! The text is split into tokens by the lexer that procedural macros use, so that comments, texts
//! and lifetimes are no trouble. What the tokens mean is only read at the level of items; what is
//! not understood is passed over. A parser would refuse the whole file for one new piece of syntax,
//! and would not look into the macros that declare items.

use std::collections::BTreeMap;

use proc_macro2::{
    Delimiter,
    TokenStream,
    TokenTree, //
};

/// A module: a file, or a part of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Module {
    /// Its own items.
    pub items: Vec<Item>,
    /// What it names for others: `pub use`.
    pub uses: Vec<Use>,
    /// Inherent implementations.
    pub impls: Vec<Impl>,
    /// Modules below.
    pub children: BTreeMap<String, Child>,
}

/// Who can see an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// Only modules nearby.
    Near,
    /// The whole crate.
    Crate,
    /// Everybody.
    All,
}

/// An item with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name; that of a macro ends with `!`.
    pub name: String,
    /// Who sees it.
    pub seen: Seen,
    /// What it has inside that others can see: fields, variants, methods of a trait.
    pub members: Vec<Member>,
    /// Whether a macro declares it, which may give it more than what is written there.
    pub by_macro: bool,
}

/// Something in a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Who sees it.
    pub seen: Seen,
}

/// A name that is taken over from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Where it is: the words of the path.
    pub path: Vec<String>,
    /// Its name here; `None` for all that there is.
    pub name: Option<String>,
    /// Who sees it.
    pub seen: Seen,
}

/// An inherent implementation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impl {
    /// The type.
    pub of: String,
    /// Its functions and constants.
    pub members: Vec<Member>,
}

/// A module below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Who sees it.
    pub seen: Seen,
    /// Its content, or `None` if that is a file of its own.
    pub inline: Option<Module>,
}

/// Reads a file; `None` if it is no Rust.
pub fn read(text: &str) -> Option<Module> {
    let tokens: TokenStream = text.parse().ok()?;
    let mut module = Module::default();
    Cursor::new(tokens).module(&mut module);
    Some(module)
}

/// A place among tokens.
pub(crate) struct Cursor {
    pub(crate) tokens: Vec<TokenTree>,
    pub(crate) at: usize,
}

impl Cursor {
    pub(crate) fn new(tokens: TokenStream) -> Self {
        Self {
            tokens: tokens.into_iter().collect(),
            at: 0,
        }
    }

    pub(crate) fn ident(&self, ahead: usize) -> Option<String> {
        match self.tokens.get(self.at + ahead)? {
            TokenTree::Ident(ident) => Some(ident.to_string().trim_start_matches("r#").to_owned()),
            _ => None,
        }
    }

    pub(crate) fn is(&self, ahead: usize, word: &str) -> bool {
        self.ident(ahead).is_some_and(|i| i == word)
    }

    pub(crate) fn punct(&self, ahead: usize, c: char) -> bool {
        matches!(self.tokens.get(self.at + ahead), Some(TokenTree::Punct(p)) if p.as_char() == c)
    }

    pub(crate) fn group(&self, ahead: usize) -> Option<(Delimiter, TokenStream)> {
        match self.tokens.get(self.at + ahead)? {
            TokenTree::Group(group) => Some((group.delimiter(), group.stream())),
            _ => None,
        }
    }

    /// Passes attributes; whether one says that what follows is for tests.
    fn attributes(&mut self) -> (bool, bool) {
        let (mut tests, mut export) = (false, false);
        while self.punct(0, '#') {
            let inner = usize::from(self.punct(1, '!'));
            let Some((Delimiter::Bracket, stream)) = self.group(1 + inner) else {
                break;
            };
            let text: String = stream.to_string().split_whitespace().collect();
            tests |= text.contains("kunit_tests(") || text == "cfg(test)";
            export |= text.starts_with("macro_export");
            self.at += 2 + inner;
        }
        (tests, export)
    }

    pub(crate) fn visibility(&mut self) -> Seen {
        if !self.is(0, "pub") {
            return Seen::Near;
        }
        self.at += 1;
        let Some((Delimiter::Parenthesis, stream)) = self.group(0) else {
            return Seen::All;
        };
        let words: Vec<String> = stream.into_iter().map(|t| t.to_string()).collect();
        match words.first().map(String::as_str) {
            Some("crate") if words.len() == 1 => {
                self.at += 1;
                Seen::Crate
            }
            Some("super" | "self" | "in") => {
                self.at += 1;
                Seen::Near
            }
            // A field of a tuple, in a macro.
            _ => Seen::All,
        }
    }

    /// Passes what may stand before `fn`, `trait`, `impl` and `mod`.
    pub(crate) fn qualifiers(&mut self) {
        loop {
            let is = |word| self.is(0, word);
            let function = || ["fn", "unsafe", "async"].iter().any(|w| self.is(1, w));
            let plain = ["unsafe", "async", "default", "safe"].into_iter().any(is);
            if plain || is("const") && function() {
                self.at += 1;
            } else if is("extern")
                && matches!(self.tokens.get(self.at + 1), Some(TokenTree::Literal(_)))
            {
                self.at += 2;
            } else {
                return;
            }
        }
    }

    /// Goes on to the brace or the semicolon that ends an item, and returns what is in the brace.
    pub(crate) fn body(&mut self, brace_ends: bool) -> Option<TokenStream> {
        let mut angles = 0i32;
        let mut before = ' ';
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            let mut now = ' ';
            match token {
                TokenTree::Group(group)
                    if brace_ends && group.delimiter() == Delimiter::Brace && angles <= 0 =>
                {
                    return Some(group.stream());
                }
                TokenTree::Punct(punct) => {
                    now = punct.as_char();
                    match now {
                        ';' => return None,
                        '<' => angles += 1,
                        // No end of anything in `->` and `=>`.
                        '>' if before != '-' && before != '=' => angles -= 1,
                        _ => (),
                    }
                }
                _ => (),
            }
            before = now;
        }
        None
    }

    fn module(&mut self, into: &mut Module) {
        while self.at < self.tokens.len() {
            let start = self.at;
            self.item(into);
            if self.at == start {
                self.at += 1;
            }
        }
    }

    fn item(&mut self, into: &mut Module) {
        let (tests, export) = self.attributes();
        let seen = self.visibility();
        self.qualifiers();
        let Some(word) = self.ident(0) else {
            return;
        };
        let mut add = |name: String, members| {
            into.items.push(Item {
                name,
                seen,
                members,
                by_macro: false,
            })
        };
        match (word.as_str(), self.ident(1)) {
            ("struct" | "union", Some(name)) => {
                self.at += 2;
                let fields = self.body(true).map(fields).unwrap_or_default();
                add(name, fields);
            }
            ("enum", Some(name)) => {
                self.at += 2;
                let variants = self.body(true).map(variants).unwrap_or_default();
                add(name, variants);
            }
            ("trait", Some(name)) => {
                self.at += 2;
                let mut members = self.body(true).map(members).unwrap_or_default();
                for member in &mut members {
                    member.seen = Seen::All;
                }
                add(name, members);
            }
            ("fn", Some(name)) => {
                self.at += 2;
                self.body(true);
                add(name, Vec::new());
            }
            ("type" | "const" | "static", Some(name)) => {
                let name = match name.as_str() {
                    "mut" => self.ident(2).unwrap_or_default(),
                    _ => name,
                };
                self.at += 2;
                self.body(false);
                if name != "_" {
                    add(name, Vec::new());
                }
            }
            ("mod", Some(name)) => {
                self.at += 2;
                let inline = self.body(true).map(|stream| {
                    let mut module = Module::default();
                    Cursor::new(stream).module(&mut module);
                    module
                });
                if !tests && name != "tests" {
                    into.children.insert(name, Child { seen, inline });
                }
            }
            ("use", _) => {
                self.at += 1;
                let start = self.at;
                self.body(false);
                if seen > Seen::Near {
                    let end = self.at.saturating_sub(1).max(start);
                    let tokens = self.tokens[start..end].to_vec();
                    uses(&tokens, &[], seen, &mut into.uses);
                }
            }
            ("impl", _) => {
                self.at += 1;
                let start = self.at;
                let body = self.body(true);
                let head = &self.tokens[start..self.at.saturating_sub(1).max(start)];
                if let (Some(body), Some(of)) = (body, inherent(head)) {
                    let members = members(body);
                    into.impls.push(Impl { of, members });
                }
            }
            ("macro_rules", None) if self.punct(1, '!') => {
                let name = self.ident(2).unwrap_or_default();
                self.at += 4;
                into.items.push(Item {
                    name: format!("{name}!"),
                    seen: if export { Seen::All } else { Seen::Near },
                    members: Vec::new(),
                    by_macro: false,
                });
            }
            ("extern", _) => {
                self.at += 1;
                self.body(true);
            }
            _ => self.invocation(into),
        }
    }

    /// A macro that is called at the level of items may declare some: its text is read as if it
    /// stood there itself.
    fn invocation(&mut self, into: &mut Module) {
        self.at += 1;
        while self.punct(0, ':') && self.punct(1, ':') && self.ident(2).is_some() {
            self.at += 3;
        }
        if self.punct(0, '!')
            && let Some((_, stream)) = self.group(1)
        {
            self.at += 2;
            let mut inside = Module::default();
            Cursor::new(stream).module(&mut inside);
            let items = inside.items.into_iter();
            into.items.extend(items.map(|item| Item {
                by_macro: true,
                ..item
            }));
            into.impls.extend(inside.impls);
        }
    }
}

/// Splits at the commas that are in no angle brackets.
pub(crate) fn at_commas(stream: TokenStream) -> Vec<Cursor> {
    let mut parts = vec![Vec::new()];
    let (mut angles, mut before) = (0i32, ' ');
    for token in stream {
        let mut now = ' ';
        if let TokenTree::Punct(punct) = &token {
            now = punct.as_char();
            match now {
                ',' if angles <= 0 => {
                    parts.push(Vec::new());
                    before = now;
                    continue;
                }
                '<' => angles += 1,
                '>' if before != '-' && before != '=' => angles -= 1,
                _ => (),
            }
        }
        before = now;
        if let Some(last) = parts.last_mut() {
            last.push(token);
        }
    }
    parts
        .into_iter()
        .map(|tokens| Cursor { tokens, at: 0 })
        .collect()
}

fn fields(stream: TokenStream) -> Vec<Member> {
    let parts = at_commas(stream).into_iter();
    let fields = parts.filter_map(|mut field| {
        field.attributes();
        let seen = field.visibility();
        let name = field.ident(0)?;
        field.punct(1, ':').then_some(Member { name, seen })
    });
    fields.collect()
}

fn variants(stream: TokenStream) -> Vec<Member> {
    let parts = at_commas(stream).into_iter();
    let variants = parts.filter_map(|mut variant| {
        variant.attributes();
        let name = variant.ident(0)?;
        Some(Member {
            name,
            seen: Seen::All,
        })
    });
    variants.collect()
}

/// What an implementation or a trait has: these are items like those of a module.
fn members(stream: TokenStream) -> Vec<Member> {
    let mut inside = Module::default();
    Cursor::new(stream).module(&mut inside);
    let items = inside.items.into_iter();
    items
        .map(|item| Member {
            name: item.name,
            seen: item.seen,
        })
        .collect()
}

/// The type of an inherent implementation; `None` for one of a trait.
pub(crate) fn inherent(head: &[TokenTree]) -> Option<String> {
    let (mut angles, mut before) = (0i32, ' ');
    let mut of = None;
    for (i, token) in head.iter().enumerate() {
        let mut now = ' ';
        match token {
            TokenTree::Punct(punct) => {
                now = punct.as_char();
                match now {
                    '<' => angles += 1,
                    '>' if before != '-' && before != '=' => angles -= 1,
                    _ => (),
                }
            }
            TokenTree::Ident(ident) if angles <= 0 => match ident.to_string().as_str() {
                "where" => break,
                "for" => {
                    // Not that of `for<'a>`.
                    let bound =
                        matches!(head.get(i + 1), Some(TokenTree::Punct(p)) if p.as_char() == '<');
                    if !bound {
                        return None;
                    }
                }
                "const" | "dyn" | "mut" => (),
                // The last word of the path.
                name => of = Some(name.to_owned()),
            },
            _ => (),
        }
        before = now;
    }
    of
}

/// The names of a `use`.
pub(crate) fn uses(tokens: &[TokenTree], prefix: &[String], seen: Seen, into: &mut Vec<Use>) {
    let cursor = Cursor {
        tokens: tokens.to_vec(),
        at: 0,
    };
    let mut path = prefix.to_vec();
    let mut cursor = cursor;
    loop {
        if let Some((Delimiter::Brace, stream)) = cursor.group(0) {
            for part in at_commas(stream) {
                if !part.tokens.is_empty() {
                    uses(&part.tokens, &path, seen, into);
                }
            }
            return;
        }
        if cursor.punct(0, '*') {
            let name = None;
            into.push(Use { path, name, seen });
            return;
        }
        if let Some(word) = cursor.ident(0) {
            if word == "as" {
                let name = cursor.ident(1);
                if name.as_deref() != Some("_") {
                    into.push(Use { path, name, seen });
                }
                return;
            }
            path.push(word);
        }
        cursor.at += 1;
        if cursor.at >= cursor.tokens.len() {
            break;
        }
    }
    // `use self::x::{self}` names `x`.
    if path.last().is_some_and(|w| w == "self") {
        path.pop();
    }
    if let Some(name) = path.last().cloned() {
        into.push(Use {
            path,
            name: Some(name),
            seen,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(module: &Module) -> Vec<String> {
        let mut all = Vec::new();
        for item in &module.items {
            let mark = match item.seen {
                Seen::Near => "-",
                Seen::Crate => "c",
                Seen::All => "+",
            };
            all.push(format!("{mark}{}", item.name));
            for member in item.members.iter().filter(|m| m.seen == Seen::All) {
                all.push(format!("{mark}{}::{}", item.name, member.name));
            }
        }
        all
    }

    #[test]
    fn items_are_found_whatever_is_around_them() {
        let text = r##"
//! pub struct Comment;
#![feature(x)]
use a::b;
/// pub fn doc() {}
#[pin_data]
#[repr(transparent)]
pub struct List<T, const OFFSET: usize>(Head, PhantomData<fn() -> T>) where T: Fn(u8) -> u8;
pub struct Params<'a> { pub base: u64, size: Vec<(u8, u8)>, pub(crate) x: &'a str }
pub enum Mode { Simple, Range(Range<u64>, u8), #[x] Top = 3 }
pub(crate) struct Inner;
pub(super) fn near() -> impl Fn() -> u8 { "pub fn text() {}"; 'x'; r#"pub fn raw() {}"# }
pub const unsafe fn f<const N: usize>() where [(); { N + 1 }]: Sized {}
pub const MAX: u64 = { 1 };
const _: () = assert!(true);
pub type Short = List<u8, { 8 * 2 }>;
pub static mut S: u8 = 1;
pub unsafe trait Io { const A: u8; type B; fn read(&self) -> u8 { 1 } fn write(&self); }
pub unsafe extern "C" fn c() {}
#[macro_export]
macro_rules! create { () => { pub struct InMacro; } }
macro_rules! own { () => {} }
impl_flags!(
    /// Flags.
    #[derive(Clone)]
    pub struct Flags(usize);
    pub enum Flag { One = 1, Two = bindings::TWO }
);
#[cfg(CONFIG_X)]
pub fn last() {}
"##;
        let module = read(text).unwrap();
        assert_eq!(
            items(&module),
            [
                "+List",
                "+Params",
                "+Params::base",
                "+Mode",
                "+Mode::Simple",
                "+Mode::Range",
                "+Mode::Top",
                "cInner",
                "-near",
                "+f",
                "+MAX",
                "+Short",
                "+S",
                "+Io",
                "+Io::A",
                "+Io::B",
                "+Io::read",
                "+Io::write",
                "+c",
                "+create!",
                "-own!",
                "+Flags",
                "+Flag",
                "+Flag::One",
                "+Flag::Two",
                "+last",
            ]
        );
    }

    #[test]
    fn only_inherent_implementations_count() {
        let text = "
impl<T, const N: usize> a::List<T, N> where T: for<'a> Fn(&'a u8) -> u8 {
    pub fn new() -> Self { fn pub_inside() {} }
    fn private() {}
    pub const A: u8 = 1;
    pub(crate) unsafe fn near(self: Pin<&mut Self>) {}
}
impl<T> Drop for List<T> { fn drop(&mut self) {} }
unsafe impl<F: for<'a> Fn(&'a u8)> Send for List<F> {}
impl<F> Other<F> where F: for<'a> Fn() { pub fn x() {} }
";
        let module = read(text).unwrap();
        let impls: Vec<_> = module
            .impls
            .iter()
            .map(|i| {
                let names = i.members.iter().filter(|m| m.seen == Seen::All);
                let names: Vec<_> = names.map(|m| m.name.as_str()).collect();
                (i.of.as_str(), names)
            })
            .collect();
        assert_eq!(impls, [("List", vec!["new", "A"]), ("Other", vec!["x"])]);
    }

    #[test]
    fn modules_and_uses_are_told_apart() {
        let text = "
mod owned;
pub mod iter;
#[cfg(CONFIG_KUNIT = \"y\")]
mod tests;
#[kunit_tests(x)]
mod cases { }
pub(crate) mod inline { pub fn f() {} mod deeper; }
use private::Thing;
pub use self::owned::{CListCursor, CListDrain as Drain, //
};
pub use self::iter::*;
pub(crate) use crate::{clist_create, x::{self, Y}};
";
        let module = read(text).unwrap();
        let children: Vec<_> = module
            .children
            .iter()
            .map(|(name, c)| (name.as_str(), c.seen, c.inline.is_some()))
            .collect();
        assert_eq!(
            children,
            [
                ("inline", Seen::Crate, true),
                ("iter", Seen::All, false),
                ("owned", Seen::Near, false),
            ]
        );
        let uses: Vec<_> = module
            .uses
            .iter()
            .map(|u| {
                format!(
                    "{} as {}",
                    u.path.join("::"),
                    u.name.as_deref().unwrap_or("*")
                )
            })
            .collect();
        assert_eq!(
            uses,
            [
                "self::owned::CListCursor as CListCursor",
                "self::owned::CListDrain as Drain",
                "self::iter as *",
                "crate::clist_create as clist_create",
                "crate::x as x",
                "crate::x::Y as Y",
            ]
        );
    }

    #[test]
    fn what_is_no_rust_is_no_module() {
        assert_eq!(read("fn f( {"), None);
    }
}
