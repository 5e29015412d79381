// SPDX-License-Identifier: GPL-2.0

//! Rust items of a file by name, and the file without some of them.
//!
//! A name is written as the item is declared, without visibility: `fn new`, `struct Block`, `impl
//! Block`, `impl Drop for Block`, `mod tests`, `use self::iter`, `register! NV_PBUS`. `::` leads
//! into an item: `impl Block::fn size`, `mod tests::fn free_block`. An item includes its
//! documentation, its attributes, the comment right above it, and one adjacent blank line. A `use`
//! may also name elements of a group that has one element per line, closed by `//`.

use std::{ops::Range, str::FromStr};

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;

/// An item of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The names of the enclosing items and of the item itself, the outermost first.
    path: Vec<Names>,
    /// Its lines, counted from 0.
    lines: Range<usize>,
    /// Whether the lines also contain other code.
    shared: bool,
}

/// The names of an item, with one blank between tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    /// Equivalent names. Messages use the first.
    Any(Vec<String>),
    /// The path of a `use`. Each start of the path is a name.
    Use(Vec<String>),
    /// An element in a group of a `use`: the path of the group, and the whole path.
    Element(Vec<String>, Vec<String>),
}

/// The reason why a name does not identify an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// No item has the name. These names are similar.
    Unknown(Vec<String>),
    /// Several items have the name, in these lines, counted from 1.
    Several(Vec<usize>),
    /// The item shares its lines with other code. This is its first line, counted from 1.
    Shared(usize),
}

/// Whether to keep a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Keeps the line.
    Kept,
    /// Removes the line alone.
    Line,
    /// Removes the line as part of an item, with a blank line adjacent to the item.
    Item,
}

/// Reads the items of a file.
///
/// # Errors
///
/// The text is not Rust. Returns the line, counted from 1, and the reason.
pub fn read(text: &str) -> Result<Vec<Item>, (usize, String)> {
    let file = syn::parse_file(text).map_err(|e| (e.span().start().line, e.to_string()))?;
    let mut reader = Reader {
        text,
        lines: text.lines().collect(),
        path: Vec::new(),
        found: Vec::new(),
    };
    // The parser skips a byte order mark.
    reader.items(&file.items);
    Ok(reader.found)
}

/// Finds the lines of the item with this name. The name of a `use` finds each `use` that starts
/// with it.
pub fn find(items: &[Item], name: &str) -> Result<Vec<Range<usize>>, Lack> {
    let wanted = segments(name);
    let found = items.iter().filter(|i| i.is(&wanted));
    let (elements, mut found): (Vec<&Item>, Vec<&Item>) = found.partition(|i| i.is_element());
    if found.is_empty() {
        let is_in = |e: &Item, o: &Item| {
            e != o && o.lines.start <= e.lines.start && e.lines.end <= o.lines.end
        };
        let outermost = elements
            .iter()
            .filter(|e| !elements.iter().any(|o| is_in(e, o)));
        found = outermost.copied().collect();
    }
    if let Some(shared) = found.iter().find(|i| i.shared) {
        return Err(Lack::Shared(shared.lines.start + 1));
    }
    let many = found.iter().all(|i| i.is_use());
    match found[..] {
        [] => Err(Lack::Unknown(similar(items, &wanted))),
        [_, _, ..] if !many => Err(Lack::Several(
            found.iter().map(|i| i.lines.start + 1).collect(),
        )),
        _ => Ok(found.iter().map(|i| i.lines.clone()).collect()),
    }
}

/// Removes the marked lines from a text. Leaves one blank line where an item was, and none at a
/// brace.
pub fn without(text: &str, marks: &[Mark]) -> String {
    let lines = text.split_inclusive('\n').zip(marks);
    let left: Vec<(&str, bool)> = lines
        .filter(|(_, mark)| **mark != Mark::Line)
        .map(|(line, mark)| (line, *mark == Mark::Item))
        .collect();
    let is_blank = |line: &str| line.trim().is_empty();
    let mut out: Vec<String> = Vec::new();
    // The gaps that items left.
    let mut gaps: Vec<usize> = Vec::new();
    let mut at = 0;
    while at < left.len() {
        if !left[at].1 {
            out.push(left[at].0.to_owned());
            at += 1;
            continue;
        }
        // Items with only blank lines between them leave one gap.
        let mut end = at;
        for (index, (line, item)) in left.iter().enumerate().skip(at) {
            match item {
                true => end = index + 1,
                false if is_blank(line) => (),
                false => break,
            }
        }
        let closes_group = left[end - 1].0.trim_end().ends_with(CLOSER);
        at = end;
        let opens = |line: &String| line.trim_end().ends_with(['{', '(', '[']);
        if out.last().is_none_or(|l| is_blank(l) || opens(l)) {
            at += left[at..]
                .iter()
                .take_while(|(l, i)| !i && is_blank(l))
                .count();
        }
        let next = left.get(at).map(|(line, _)| line.trim());
        if next.is_none_or(|l| l.starts_with(['}', ')', ']'])) {
            while out.last().is_some_and(|l| is_blank(l)) {
                out.pop();
            }
        }
        // The last element of a group gets the mark that keeps one element per line.
        let is_last = closes_group && next.is_some_and(|l| l.starts_with('}'));
        if let Some(last) = out
            .last_mut()
            .filter(|l| is_last && l.trim_end().ends_with(','))
        {
            last.truncate(last.trim_end().len() - 1);
            last.push_str(CLOSER);
            last.push('\n');
        }
        gaps.push(out.len());
        // rustfmt puts an empty body into one line, except below a where clause.
        let empty = next.is_some_and(|l| l.starts_with('}'));
        if let Some(last) = out
            .last_mut()
            .filter(|l| empty && opens(l) && l.trim() != "{")
        {
            last.truncate(last.trim_end().len());
            last.push_str(left[at].0.trim_start());
            at += 1;
        }
    }
    // Removing the braces of a group may leave a single element in the enclosing group.
    let near = |gap: usize| [gap.checked_sub(1), gap.checked_sub(2)];
    while let Some((open, one)) = gaps
        .iter()
        .flat_map(|gap| near(*gap))
        .flatten()
        .find_map(|open| Some((open, single(out.get(open..open + 3)?)?)))
    {
        out.splice(open..open + 3, [one]);
        for gap in gaps.iter_mut().filter(|gap| **gap > open) {
            *gap = (*gap).saturating_sub(2).max(open + 1);
        }
    }
    out.concat()
}

/// The end of the last element of a group, which makes rustfmt keep one element per line.
const CLOSER: &str = ", //";

/// Writes a group of one element without its braces, if these three lines are one.
fn single(lines: &[String]) -> Option<String> {
    let [open, element, close] = lines else {
        return None;
    };
    let path = open.trim_end().strip_suffix("::{")?;
    let element = element.trim().strip_suffix(CLOSER)?;
    let close = close.trim_start().strip_prefix('}')?;
    Some(match element {
        "self" => format!("{path}{close}"),
        element => format!("{path}::{element}{close}"),
    })
}

impl Item {
    fn is(&self, wanted: &[String]) -> bool {
        self.path.len() == wanted.len() && self.path.iter().zip(wanted).all(|(n, w)| n.has(w))
    }

    fn is_element(&self) -> bool {
        matches!(self.path.last(), Some(Names::Element(..)))
    }

    fn is_use(&self) -> bool {
        self.is_element() || matches!(self.path.last(), Some(Names::Use(_)))
    }

    /// The name for messages.
    fn shown(&self) -> String {
        let parts: Vec<String> = self.path.iter().map(Names::shown).collect();
        parts.join("::")
    }
}

impl Names {
    fn has(&self, wanted: &str) -> bool {
        match self {
            Names::Any(names) => names.iter().any(|n| n == wanted),
            Names::Use(path) => starts(path, wanted).is_some(),
            Names::Element(group, path) => {
                starts(path, wanted).is_some_and(|parts| parts > group.len())
            }
        }
    }

    fn shown(&self) -> String {
        match self {
            Names::Any(names) => plain(names.first().map_or("", String::as_str)),
            Names::Use(path) | Names::Element(_, path) => format!("use {}", path.join("::")),
        }
    }
}

/// Returns the number of parts in the path of `wanted`, if `path` starts with it.
fn starts(path: &[String], wanted: &str) -> Option<usize> {
    let wanted: Vec<&str> = wanted.strip_prefix("use ")?.split(" : : ").collect();
    let start = path.get(..wanted.len())?;
    (start == wanted).then_some(wanted.len())
}

/// Formats words in the usual spacing.
fn plain(words: &str) -> String {
    let mut out = words.to_owned();
    for (from, to) in [
        (" : : ", "::"),
        (" ! ", "! "),
        (" < ", "<"),
        (" >", ">"),
        (" , ", ", "),
        ("& ", "&"),
        ("' ", "'"),
    ] {
        out = out.replace(from, to);
    }
    out
}

/// Joins the tokens of Rust code with one blank between them, so that spacing does not matter.
fn words(text: &str) -> String {
    fn add(stream: TokenStream, out: &mut Vec<String>) {
        for token in stream {
            match token {
                TokenTree::Group(group) => {
                    let (open, close) = match group.delimiter() {
                        proc_macro2::Delimiter::Parenthesis => ("(", ")"),
                        proc_macro2::Delimiter::Brace => ("{", "}"),
                        proc_macro2::Delimiter::Bracket => ("[", "]"),
                        proc_macro2::Delimiter::None => ("", ""),
                    };
                    out.push(open.to_owned());
                    add(group.stream(), out);
                    out.push(close.to_owned());
                }
                TokenTree::Ident(ident) => out.push(ident.to_string()),
                TokenTree::Punct(punct) => out.push(punct.as_char().to_string()),
                TokenTree::Literal(literal) => out.push(literal.to_string()),
            }
        }
    }
    let mut out = Vec::new();
    match TokenStream::from_str(text) {
        Ok(stream) => add(stream, &mut out),
        Err(_) => out.push(text.to_owned()),
    }
    out.join(" ")
}

/// The words that start the name of an item.
const KINDS: [&str; 13] = [
    "fn", "struct", "enum", "union", "trait", "impl", "mod", "use", "const", "static", "type",
    "unsafe", "pub",
];

/// Splits a name into its parts. `::` separates parts where a kind of item follows. Elsewhere it
/// belongs to a path.
fn segments(name: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for piece in name.split("::") {
        let first = piece.split([' ', '<', '(']).next().unwrap_or("");
        let starts = KINDS.contains(&first) && first.len() < piece.len() || first.ends_with('!');
        match parts.last_mut() {
            Some(last) if !starts => *last = format!("{last}::{piece}"),
            _ => parts.push(piece.to_owned()),
        }
    }
    parts.iter().map(|p| declared(&words(p))).collect()
}

/// Removes visibility and qualifiers from the front of a declaration.
fn declared(words: &str) -> String {
    let mut words = words;
    if let Some(rest) = words.strip_prefix("pub ") {
        words = match rest.strip_prefix("( ") {
            Some(rest) => rest.split_once(" ) ").map_or(rest, |(_, rest)| rest),
            None => rest,
        };
    }
    for before in ["const ", "async ", "unsafe ", "extern \"C\" "] {
        let rest = words.strip_prefix(before);
        // `const` may also be the kind of the item.
        let is_more = |r: &&str| {
            ["fn ", "async ", "unsafe ", "extern ", "impl "]
                .iter()
                .any(|k| r.starts_with(k))
                || before == "unsafe "
        };
        words = rest.filter(is_more).unwrap_or(words);
    }
    words.to_owned()
}

/// Returns the names in the file that are most similar to `wanted`.
fn similar(items: &[Item], wanted: &[String]) -> Vec<String> {
    let wanted = plain(&wanted.join(" : : "));
    let own = |name: &str| name.rsplit([' ', ':']).next().unwrap_or(name).to_owned();
    let mut near: Vec<(usize, String)> = items
        .iter()
        .map(Item::shown)
        .map(|name| match own(&name) == own(&wanted) {
            true => (0, name),
            false => (distance(&name, &wanted), name),
        })
        .filter(|(far, name)| *far <= name.len().max(wanted.len()) / 3)
        .collect();
    near.sort();
    near.dedup();
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Returns how many letters have to be added, removed or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = before + usize::from(ca != *cb);
            before = row[j + 1];
            row[j + 1] = replaced.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

struct Reader<'a> {
    text: &'a str,
    lines: Vec<&'a str>,
    path: Vec<Names>,
    found: Vec<Item>,
}

impl Reader<'_> {
    /// Returns the [`words`] of a span of the file.
    fn words(&self, piece: &impl Spanned) -> String {
        words(self.text.get(piece.span().byte_range()).unwrap_or(""))
    }

    fn items(&mut self, items: &[syn::Item]) {
        for item in items {
            let Some(names) = self.names(item) else {
                continue;
            };
            self.add(item, names, |reader| match item {
                syn::Item::Mod(m) => {
                    let content = m.content.iter();
                    content.for_each(|(_, items)| reader.items(items));
                }
                syn::Item::Impl(i) => i.items.iter().for_each(|item| reader.in_impl(item)),
                syn::Item::Trait(t) => t.items.iter().for_each(|item| reader.in_trait(item)),
                _ => (),
            });
            if let syn::Item::Use(i) = item {
                self.elements(Vec::new(), &i.tree);
            }
        }
    }

    /// Adds the elements of all groups in the tree of a `use`.
    fn elements(&mut self, mut group: Vec<String>, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(p) => {
                group.push(p.ident.to_string());
                self.elements(group, &p.tree);
            }
            syn::UseTree::Group(g) => {
                for element in &g.items {
                    let path = [group.clone(), used(element)].concat();
                    self.add(element, Names::Element(group.clone(), path), |_| ());
                    self.elements(group.clone(), element);
                }
            }
            _ => (),
        }
    }

    fn add(&mut self, item: &impl Spanned, names: Names, inside: impl FnOnce(&mut Self)) {
        self.path.push(names);
        let (lines, shared) = self.lines_of(item.span());
        self.found.push(Item {
            path: self.path.clone(),
            lines,
            shared,
        });
        inside(self);
        self.path.pop();
    }

    /// Returns the lines of an item with the comment above it, and whether it shares them.
    fn lines_of(&self, span: proc_macro2::Span) -> (Range<usize>, bool) {
        let range = span.byte_range();
        let line_of = |at: usize| self.text[..at].matches('\n').count();
        let (first, last) = (line_of(range.start), line_of(range.end));
        let before = self.text[..range.start].rsplit('\n').next().unwrap_or("");
        let after = self.text[range.end..].lines().next().unwrap_or("").trim();
        let after = after.trim_start_matches([';', ',']).trim_start();
        let shared = !before.trim().is_empty() || !(after.is_empty() || after.starts_with("//"));
        let is_comment = |line: &&&str| {
            let line = line.trim_start();
            line.starts_with("//") && !line.starts_with("//!")
        };
        let above = self.lines[..first].iter().rev();
        let comment = above.take_while(is_comment).count();
        // The comment at the top describes the file.
        let start = match first - comment {
            0 => first,
            start => start,
        };
        (start..last + 1, shared)
    }

    fn names(&self, item: &syn::Item) -> Option<Names> {
        let one = |kind: &str, name: &dyn ToString| {
            Some(Names::Any(vec![format!("{kind} {}", name.to_string())]))
        };
        match item {
            syn::Item::Const(i) => one("const", &i.ident),
            syn::Item::Enum(i) => one("enum", &i.ident),
            syn::Item::ExternCrate(i) => one("extern crate", &i.ident),
            syn::Item::Fn(i) => one("fn", &i.sig.ident),
            syn::Item::Mod(i) => one("mod", &i.ident),
            syn::Item::Static(i) => one("static", &i.ident),
            syn::Item::Struct(i) => one("struct", &i.ident),
            syn::Item::Trait(i) => one("trait", &i.ident),
            syn::Item::Type(i) => one("type", &i.ident),
            syn::Item::Union(i) => one("union", &i.ident),
            syn::Item::Macro(i) => Some(match &i.ident {
                Some(ident) => Names::Any(vec![format!("macro_rules ! {ident}")]),
                None => called(&i.mac),
            }),
            syn::Item::Use(i) => Some(Names::Use(used(&i.tree))),
            syn::Item::Impl(i) => Some(Names::Any(self.implemented(i))),
            _ => None,
        }
    }

    /// Returns the names of an `impl`, with and without generics and paths.
    fn implemented(&self, i: &syn::ItemImpl) -> Vec<String> {
        let mut own = Vec::new();
        if let syn::Type::Path(path) = &*i.self_ty {
            own.extend(path.path.segments.last().map(|s| s.ident.to_string()));
        }
        own.push(self.words(&*i.self_ty));
        let mut names: Vec<String> = match &i.trait_ {
            None => own,
            Some((path, _)) => {
                let last = path.segments.last();
                let traits = [
                    last.map(|s| self.words(s)),
                    Some(self.words(path)),
                    last.map(|s| s.ident.to_string()),
                ];
                let not = match i.modifiers.polarity {
                    Some(_) => "! ",
                    None => "",
                };
                let traits = traits.into_iter().flatten();
                traits
                    .flat_map(|t| own.iter().map(move |o| format!("{not}{t} for {o}")))
                    .collect()
            }
        };
        if i.generics.lt_token.is_some() {
            let generics = self.words(&i.generics);
            let with: Vec<String> = names.iter().map(|n| format!("{generics} {n}")).collect();
            names.extend(with);
        }
        names.into_iter().map(|n| format!("impl {n}")).collect()
    }

    fn in_impl(&mut self, item: &syn::ImplItem) {
        let names = match item {
            syn::ImplItem::Const(i) => vec![format!("const {}", i.ident)],
            syn::ImplItem::Fn(i) => vec![format!("fn {}", i.sig.ident)],
            syn::ImplItem::Type(i) => vec![format!("type {}", i.ident)],
            syn::ImplItem::Macro(i) => return self.add(i, called(&i.mac), |_| ()),
            _ => return,
        };
        self.add(item, Names::Any(names), |_| ());
    }

    fn in_trait(&mut self, item: &syn::TraitItem) {
        let names = match item {
            syn::TraitItem::Const(i) => vec![format!("const {}", i.ident)],
            syn::TraitItem::Fn(i) => vec![format!("fn {}", i.sig.ident)],
            syn::TraitItem::Type(i) => vec![format!("type {}", i.ident)],
            syn::TraitItem::Macro(i) => return self.add(i, called(&i.mac), |_| ()),
            _ => return,
        };
        self.add(item, Names::Any(names), |_| ());
    }
}

/// Returns the names of a macro call: with and without the first word of its arguments.
fn called(mac: &syn::Macro) -> Names {
    let name = mac.path.segments.last().map(|s| s.ident.to_string());
    let name = name.unwrap_or_default();
    let mut tokens = mac.tokens.clone().into_iter().peekable();
    let mut first = None;
    while let Some(token) = tokens.next() {
        match token {
            // Skip an attribute with its brackets.
            TokenTree::Punct(p) if p.as_char() == '#' => drop(tokens.next()),
            TokenTree::Ident(i) if i == "pub" => {
                tokens.next_if(|t| matches!(t, TokenTree::Group(_)));
            }
            TokenTree::Ident(i) => {
                first = Some(i.to_string());
                break;
            }
            _ => break,
        }
    }
    let with = first.map(|first| format!("{name} ! {first}"));
    Names::Any(with.into_iter().chain([format!("{name} !")]).collect())
}

/// Returns the path of a `use`, up to a group.
fn used(tree: &syn::UseTree) -> Vec<String> {
    let mut path = Vec::new();
    let mut tree = tree;
    loop {
        match tree {
            syn::UseTree::Path(p) => {
                path.push(p.ident.to_string());
                tree = &p.tree;
            }
            syn::UseTree::Name(n) => {
                path.push(n.ident.to_string());
                return path;
            }
            syn::UseTree::Rename(r) => {
                path.push(r.ident.to_string());
                return path;
            }
            syn::UseTree::Glob(_) => {
                path.push("*".to_owned());
                return path;
            }
            _ => return path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
// SPDX-License-Identifier: GPL-2.0

//! A file.

use crate::prelude::*;
use self::iter::Iter;
pub(crate) use self::iter::Next;

pub mod iter;

/// A block.
#[derive(Clone)]
pub struct Block<T> {
    size: T,
}

// SAFETY: It holds no reference.
unsafe impl<T> Send for Block<T> {}

impl<T> Block<T> {
    /// Its size.
    pub const fn size(&self) -> u64 {
        0
    }

    /// Frees it.
    pub fn free(self) {}
}

impl From<u32> for Block<u8> {
    fn from(_: u32) -> Self {
        todo!()
    }
}

register!(
    /// A register.
    #[allow(dead_code)]
    pub(crate) NV_PBUS @ 0x10 {}
);
register!(NV_PFB @ 0x20 {});

#[cfg(CONFIG_A)]
mod tests {
    //! Tests.

    fn one() {}
}
";

    fn lines(name: &str) -> Result<Vec<Range<usize>>, Lack> {
        find(&read(FILE).unwrap(), name)
    }

    /// Returns the lines of the items with this name.
    fn taken(name: &str) -> String {
        let all: Vec<&str> = FILE.lines().collect();
        let ranges = lines(name).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        ranges
            .into_iter()
            .map(|r| all[r].join("\n"))
            .collect::<Vec<_>>()
            .join("\n…\n")
    }

    fn without(text: &str, names: &[&str]) -> String {
        let items = read(text).unwrap();
        let mut marks = vec![Mark::Kept; text.lines().count()];
        for name in names {
            for lines in find(&items, name).unwrap() {
                marks[lines].fill(Mark::Item);
            }
        }
        super::without(text, &marks)
    }

    #[test]
    fn item_includes_docs_and_comment() {
        assert_eq!(
            taken("struct Block"),
            "/// A block.\n#[derive(Clone)]\npub struct Block<T> {\n    size: T,\n}"
        );
        let send = "// SAFETY: It holds no reference.\nunsafe impl<T> Send for Block<T> {}";
        for name in [
            "impl Send for Block",
            "unsafe impl<T> Send for Block<T>",
            "impl<T> Send for Block<T>",
        ] {
            assert_eq!(taken(name), send, "{name}");
        }
        assert_eq!(
            taken("impl Block::fn free"),
            "    /// Frees it.\n    pub fn free(self) {}"
        );
        assert_eq!(taken("mod tests::fn one"), "    fn one() {}");
        assert!(taken("mod tests").starts_with("#[cfg(CONFIG_A)]\nmod tests {"));
    }

    #[test]
    fn find_impl_in_each_form() {
        for name in [
            "impl From<u32> for Block",
            "impl From<u32> for Block<u8>",
            "impl From< u32 >  for Block",
            "impl From for Block",
        ] {
            assert!(
                taken(name).starts_with("impl From<u32> for Block<u8> {"),
                "{name}"
            );
        }
        for name in ["impl Block", "impl Block<T>", "impl<T> Block<T>"] {
            assert!(taken(name).starts_with("impl<T> Block<T> {"), "{name}");
        }
        assert!(taken("impl From<u32> for Block::fn from").starts_with("    fn from(_: u32)"));
    }

    #[test]
    fn find_use_by_start_of_path() {
        assert_eq!(
            taken("use self::iter"),
            "use self::iter::Iter;\n…\npub(crate) use self::iter::Next;"
        );
        assert_eq!(
            taken("pub(crate) use self::iter::Next"),
            "pub(crate) use self::iter::Next;"
        );
        assert_eq!(taken("use crate::prelude::*"), "use crate::prelude::*;");
        assert!(lines("use self::it").is_err());
    }

    const GROUPS: &str = "\
use crate::{
    a::{
        self,
        B, //
    },
    c::D,
    e::{
        F,
        G as H, //
    }, //
};
use x::{Y, Z};

fn f() {}
";

    #[test]
    fn remove_elements_of_group() {
        let left = |names: &[&str]| {
            let text = without(GROUPS, names);
            text.split("use x").next().unwrap().to_owned()
        };
        insta::assert_snapshot!(left(&["use crate::c"]), @r"
        use crate::{
            a::{
                self,
                B, //
            },
            e::{
                F,
                G as H, //
            }, //
        };
        ");
        insta::assert_snapshot!(left(&["use crate::a::B", "use crate::e::G"]), @r"
        use crate::{
            a,
            c::D,
            e::F, //
        };
        ");
        insta::assert_snapshot!(left(&["use crate::a::self", "use crate::e"]), @r"
        use crate::{
            a::B,
            c::D, //
        };
        ");
        insta::assert_snapshot!(left(&["use crate::a", "use crate::c", "use crate::e::F"]), @r"
        use crate::e::G as H;
        ");
        assert!(left(&["use crate"]).is_empty());
        let items = read(GROUPS).unwrap();
        assert_eq!(find(&items, "use x::Z"), Err(Lack::Shared(12)));
        assert!(matches!(
            find(&items, "use crate::c::E"),
            Err(Lack::Unknown(_))
        ));
    }

    #[test]
    fn find_macro_by_first_word() {
        assert_eq!(taken("register! NV_PFB"), "register!(NV_PFB @ 0x20 {});");
        assert!(taken("register! NV_PBUS").starts_with("register!(\n"));
        assert!(matches!(lines("register!"), Err(Lack::Several(l)) if l.len() == 2));
    }

    #[test]
    fn find_unknown_suggests_similar() {
        let similar = |name: &str| match lines(name) {
            Err(Lack::Unknown(similar)) => similar.join(", "),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(similar("fn size"), "impl Block::fn size");
        assert_eq!(similar("struct Blocks"), "struct Block");
        assert_eq!(similar("fn nothing_like_it_at_all"), "");
        assert_eq!(
            similar("register! NV_PFBX"),
            "register! NV_PFB, register! NV_PBUS"
        );
    }

    #[test]
    fn find_shared_line_is_refused() {
        let items = read("mod a; mod b;\nfn c() {}\n").unwrap();
        assert_eq!(find(&items, "mod a"), Err(Lack::Shared(1)));
        assert_eq!(find(&items, "fn c").map(|l| l.len()), Ok(1));
    }

    #[test]
    fn read_malformed_names_line() {
        assert_eq!(read("fn a() {}\nfn (\n").unwrap_err().0, 2);
    }

    #[test]
    fn remove_item_with_blank_line() {
        let text = "//! A.\n\nuse b;\n\nmod c;\nmod d;\n\nfn e() {}\n\nfn f() {}\n";
        for (names, left) in [
            (
                &["use b"][..],
                "//! A.\n\nmod c;\nmod d;\n\nfn e() {}\n\nfn f() {}\n",
            ),
            (
                &["mod c"],
                "//! A.\n\nuse b;\n\nmod d;\n\nfn e() {}\n\nfn f() {}\n",
            ),
            (
                &["mod d"],
                "//! A.\n\nuse b;\n\nmod c;\n\nfn e() {}\n\nfn f() {}\n",
            ),
            (
                &["mod c", "mod d"],
                "//! A.\n\nuse b;\n\nfn e() {}\n\nfn f() {}\n",
            ),
            (
                &["fn f"],
                "//! A.\n\nuse b;\n\nmod c;\nmod d;\n\nfn e() {}\n",
            ),
            (&["fn e", "fn f"], "//! A.\n\nuse b;\n\nmod c;\nmod d;\n"),
            (
                &["use b", "fn e"],
                "//! A.\n\nmod c;\nmod d;\n\nfn f() {}\n",
            ),
        ] {
            assert_eq!(without(text, names), left, "{names:?}");
        }
        let text = "impl A {\n    fn a() {}\n\n    fn b() {}\n\n    fn c() {}\n}\n";
        for (names, left) in [
            (
                &["impl A::fn a"][..],
                "impl A {\n    fn b() {}\n\n    fn c() {}\n}\n",
            ),
            (
                &["impl A::fn b"],
                "impl A {\n    fn a() {}\n\n    fn c() {}\n}\n",
            ),
            (
                &["impl A::fn c"],
                "impl A {\n    fn a() {}\n\n    fn b() {}\n}\n",
            ),
            (
                &["impl A::fn a", "impl A::fn c"],
                "impl A {\n    fn b() {}\n}\n",
            ),
            (
                &["impl A::fn a", "impl A::fn b", "impl A::fn c"],
                "impl A {}\n",
            ),
            (&["impl A", "impl A::fn b"], ""),
        ] {
            assert_eq!(without(text, names), left, "{names:?}");
        }
    }

    #[test]
    fn remove_line_keeps_blank_line() {
        let text = "a\n\nb\n\nc\n";
        let marks = [Mark::Kept, Mark::Kept, Mark::Line, Mark::Kept, Mark::Item];
        assert_eq!(super::without(text, &marks), "a\n");
        let marks = [Mark::Kept, Mark::Kept, Mark::Line, Mark::Kept, Mark::Kept];
        assert_eq!(super::without(text, &marks), "a\n\n\nc\n");
    }
}
