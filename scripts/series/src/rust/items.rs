// SPDX-License-Identifier: GPL-2.0

//! Rust items of a file by name, and the file without some of them.
//!
//! A name is written as the item is declared, without visibility: `fn new`, `struct Block`, `impl
//! Block`, `impl Drop for Block`, `mod tests`, `use self::iter`, `register! NV_PBUS`. `::` leads
//! into an item: `impl Block::fn size`, `mod tests::fn free_block`. An item includes its
//! documentation, its attributes, the comment right above it, and one adjacent blank line. A `use`
//! may also name elements of a group that has one element per line, closed by `//`.

use std::{collections::BTreeSet, ops::Range, sync::LazyLock};

use proc_macro2::TokenStream;
use regex::{Captures, Regex};
use syn::spanned::Spanned;

use super::{cursor::Cursor, tokens::attributes};
use crate::sys::pattern;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The equivalent [`squeezed`] names of the enclosing items and of the item, outermost first.
    path: Vec<Vec<String>>,
    /// The name for messages.
    shown: String,
    /// Its lines, counted from 0.
    lines: Range<usize>,
    /// Whether the lines also contain other code.
    shared: bool,
    /// Whether it is an element in a group of a `use`.
    is_element: bool,
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
    Kept,
    /// Removes the line alone.
    Line,
    /// Removes the line as part of an item, with a blank line adjacent to the item.
    Item,
}

/// Reads the items of a file, or returns the line, from 1, and the reason why it is not Rust.
pub fn read(text: &str) -> Result<Vec<Item>, (usize, String)> {
    let file = syn::parse_file(text).map_err(|e| (e.span().start().line, e.to_string()))?;
    let mut reader = Reader {
        text,
        path: Vec::new(),
        found: Vec::new(),
    };
    reader.items(&file.items);
    Ok(reader.found)
}

/// Finds the lines of an item. The name of a `use` finds each `use` that starts with it.
pub fn find(items: &[Item], name: &str) -> Result<Vec<Range<usize>>, Lack> {
    let shown = segments(name);
    let wanted: Vec<String> = shown.iter().map(|part| squeezed(part)).collect();
    let found = items.iter().filter(|i| i.is(&wanted));
    let (elements, mut found): (Vec<&Item>, Vec<&Item>) = found.partition(|i| i.is_element);
    if found.is_empty() {
        let is_in = |e: &Item, o: &Item| {
            e != o && o.lines.start <= e.lines.start && e.lines.end <= o.lines.end
        };
        let is_outermost = |e: &&Item| !elements.iter().any(|o| is_in(e, o));
        found = elements.iter().copied().filter(is_outermost).collect();
    }
    if let Some(shared) = found.iter().find(|i| i.shared) {
        return Err(Lack::Shared(shared.lines.start + 1));
    }
    if found.is_empty() {
        return Err(Lack::Unknown(similar(items, &shown.join("::"))));
    }
    if found.len() > 1 && !found.iter().all(|i| i.is_use()) {
        let lines = found.iter().map(|i| i.lines.start + 1);
        return Err(Lack::Several(lines.collect()));
    }
    Ok(found.iter().map(|i| i.lines.clone()).collect())
}

/// The characters that [`without`] inserts for a gap, and for a joint, where lines were joined
/// because of one.
pub const MARKS: [char; 2] = ['\0', '\x01'];

/// Removes the marked lines from a text. Leaves one blank line where an item was, and none at a
/// brace. The text has none of [`MARKS`].
pub fn without(text: &str, marks: &[Mark]) -> String {
    let lines = text.split_inclusive('\n').zip(marks);
    // A line for each line of an item shows the gap. It ends like the last element of a group if
    // that line does.
    let lines = lines.map(|(line, mark)| match mark {
        Mark::Kept => line,
        Mark::Line => "",
        Mark::Item if line.trim_end().ends_with(", //") => "\0, //\n",
        Mark::Item => "\0\n",
    });
    let mut text: String = lines.collect();
    loop {
        let tidy = TIDY.iter().fold(text.clone(), |text, (around, tidy)| {
            around.replace_all(&text, *tidy).into_owned()
        });
        if tidy == text {
            return MARKED.replace_all(&text, "").into_owned();
        }
        text = tidy;
    }
}

/// Matches the mark of a gap or of a joint.
static MARKED: LazyLock<Regex> = LazyLock::new(|| pattern(r"[\x00\x01].*\n"));

/// Matches text around a gap, and changes it as rustfmt would. The marks stay, so that further rules
/// may apply.
static TIDY: LazyLock<[(Regex, &str); 8]> = LazyLock::new(|| {
    let rules = [
        // Items with only blank lines between them leave one gap.
        (r"(?:\x00.*\n\s*)+(\x00.*\n)", "$1"),
        // No blank line follows the start of the file, another blank line, or a brace.
        (r"((?:\A|(?:^|[{(\[])[ \t]*\n)\x00.*\n)(?:[ \t]*\n)+", "$1"),
        // No blank line precedes a brace or the end of the file.
        (r"(?:^[ \t]*\n)+(\x00.*\n(?:[ \t]*[})\]]|\z))", "$1"),
        // The last element of a group gets the mark that keeps one element per line.
        (r",[ \t]*\n\x00, //\n([ \t]*\})", ", //\n\0\n$1"),
        // An empty body is in one line, except below a where clause.
        (r"^(.*\S.*\{)[ \t]*\n\x00.*\n[ \t]*(\}.*\n?)", "$1$2\x01\n"),
        // A group of one element has no braces.
        (r"(::\{\n)\x00.*\n(.*, //\n)", "$1$2\x01\n"),
        (
            r"^(.*)::\{\n\s*self, //\n(?:[\x00\x01].*\n)+\s*\}(.*\n?)",
            "$1$2\x01\n",
        ),
        (
            r"^(.*::)\{\n\s*(.*), //\n(?:[\x00\x01].*\n)+\s*\}(.*\n?)",
            "$1$2$3\x01\n",
        ),
    ];
    rules.map(|(around, tidy)| (pattern(&format!("(?m){around}")), tidy))
});

impl Item {
    fn is(&self, wanted: &[String]) -> bool {
        let same = |(names, wanted): (&Vec<String>, &String)| names.contains(wanted);
        self.path.len() == wanted.len() && self.path.iter().zip(wanted).all(same)
    }

    fn is_use(&self) -> bool {
        let names = self.path.last().into_iter().flatten();
        names.into_iter().any(|name| name.starts_with("use "))
    }
}

/// Removes the blanks that do not separate words, so that spacing does not matter.
fn squeezed(text: &str) -> String {
    static BLANKS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\s*([^\w\s])\s*|\s+"));
    let sign = |found: &Captures<'_>| found.get(1).map_or(" ", |sign| sign.as_str()).to_owned();
    BLANKS.replace_all(text.trim(), sign).into_owned()
}

/// The words that start the name of an item.
const KINDS: [&str; 13] = [
    "fn", "struct", "enum", "union", "trait", "impl", "mod", "use", "const", "static", "type",
    "unsafe", "pub",
];

/// Splits a name at each `::` before a kind of item. Another `::` belongs to a path.
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
    parts.iter().map(|p| declared(p)).collect()
}

/// Removes visibility and qualifiers from the front of a declaration. `const` may also be its kind.
fn declared(name: &str) -> String {
    static FRONT: LazyLock<Regex> = LazyLock::new(|| {
        let visibility = r"pub(?:\s*\([^)]*\)\s*|\s+)";
        let qualifier = r#"(?:const|async|unsafe|extern\s*"C")\s+"#;
        pattern(&format!(
            r"^\s*(?:{visibility})?(?:(?:{qualifier})*((?:fn|impl|trait|mod)\b))?"
        ))
    });
    FRONT.replace(name, "$1").trim().to_owned()
}

/// Returns the names in the file that are most similar to `wanted`.
fn similar(items: &[Item], wanted: &str) -> Vec<String> {
    let own = |name: &str| name.rsplit([' ', ':']).next().unwrap_or(name).to_owned();
    let far = |name: &str| {
        if own(name) == own(wanted) {
            return 0;
        }
        strsim::levenshtein(name, wanted)
    };
    let names = items.iter().map(|item| (far(&item.shown), &item.shown));
    let is_near = |(far, name): &(usize, &String)| *far <= name.len().max(wanted.len()) / 3;
    let near: BTreeSet<(usize, &String)> = names.filter(is_near).collect();
    let nearest = near.into_iter().take(3);
    nearest.map(|(_, name)| name.clone()).collect()
}

struct Reader<'a> {
    text: &'a str,
    path: Vec<Vec<String>>,
    found: Vec<Item>,
}

impl<'a> Reader<'a> {
    fn source(&self, piece: &impl Spanned) -> &'a str {
        self.text.get(piece.span().byte_range()).unwrap_or("")
    }

    fn items(&mut self, items: &[syn::Item]) {
        for item in items {
            let names = match item {
                syn::Item::Use(i) => Some(starts(&used(&i.tree), 0)),
                syn::Item::Impl(i) => Some(self.implemented(i)),
                item => named(self.source(item)),
            };
            let Some(names) = names else { continue };
            self.add(item, names.clone(), false);
            self.path.push(names);
            match item {
                syn::Item::Mod(m) => m.content.iter().for_each(|(_, items)| self.items(items)),
                syn::Item::Impl(i) => i.items.iter().for_each(|item| self.member(item)),
                syn::Item::Trait(t) => t.items.iter().for_each(|item| self.member(item)),
                _ => (),
            }
            self.path.pop();
            if let syn::Item::Use(i) = item {
                self.elements(Vec::new(), &i.tree);
            }
        }
    }

    fn member(&mut self, item: &impl Spanned) {
        if let Some(names) = named(self.source(item)) {
            self.add(item, names, false);
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
                    self.add(element, starts(&path, group.len()), true);
                    self.elements(group.clone(), element);
                }
            }
            _ => (),
        }
    }

    fn add(&mut self, item: &impl Spanned, names: Vec<String>, is_element: bool) {
        let path: Vec<&Vec<String>> = self.path.iter().chain([&names]).collect();
        let shown = path.iter().filter_map(|names| names.first().cloned());
        let squeeze = |names: &&Vec<String>| names.iter().map(|name| squeezed(name)).collect();
        let (lines, shared) = self.lines_of(item.span());
        self.found.push(Item {
            shown: shown.collect::<Vec<_>>().join("::"),
            path: path.iter().map(squeeze).collect(),
            lines,
            shared,
            is_element,
        });
    }

    /// Returns the lines of an item with the comment above it, and whether it shares them.
    fn lines_of(&self, span: proc_macro2::Span) -> (Range<usize>, bool) {
        let range = span.byte_range();
        let line_of = |at: usize| self.text[..at].matches('\n').count();
        let (first, last) = (line_of(range.start), line_of(range.end));
        let before = &self.text[..range.start];
        let (above, before) = before.rsplit_once('\n').unwrap_or(("", before));
        let after = self.text[range.end..].lines().next().unwrap_or("").trim();
        let after = after.trim_start_matches([';', ',']).trim_start();
        let shared = !before.trim().is_empty() || !(after.is_empty() || after.starts_with("//"));
        // Unlike `lines()`, this keeps an empty line right above the item.
        let mut above = above.split('\n').rev().map(str::trim_start);
        let comment = above.position(|l| !l.starts_with("//") || l.starts_with("//!"));
        // The comment at the top describes the file.
        (first - comment.unwrap_or(0)..last + 1, shared)
    }

    /// Returns the names of an `impl`, with and without generics and paths.
    fn implemented(&self, i: &syn::ItemImpl) -> Vec<String> {
        let mut names = Vec::new();
        if let syn::Type::Path(path) = &*i.self_ty {
            names.extend(path.path.segments.last().map(|s| s.ident.to_string()));
        }
        names.push(self.source(&*i.self_ty).to_owned());
        if let Some((path, _)) = &i.trait_ {
            let last = path.segments.last();
            let traits = [
                last.map(|s| self.source(s).to_owned()),
                Some(self.source(path).to_owned()),
                last.map(|s| s.ident.to_string()),
            ];
            let not = i.modifiers.polarity.as_ref().map_or("", |_| "!");
            let of = |of: String| names.iter().map(move |own| format!("{not}{of} for {own}"));
            names = traits.into_iter().flatten().flat_map(of).collect();
        }
        let generics = &i.generics;
        let given = generics.lt_token.as_ref().map(|_| self.source(generics));
        let starts = std::iter::once("").chain(given);
        let all = starts.flat_map(|start| names.iter().map(move |n| format!("impl{start} {n}")));
        all.map(|name| name.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }
}

/// Returns the equivalent names of an item with this text. Messages use the first.
fn named(text: &str) -> Option<Vec<String>> {
    let mut cursor = Cursor::new(text.parse::<TokenStream>().ok()?);
    attributes(&mut cursor);
    cursor.visibility();
    cursor.qualifiers();
    // The path of a macro.
    while cursor.punct(1, ':') && cursor.punct(2, ':') {
        cursor.at += 3;
    }
    let kind = cursor.ident(0)?;
    if !cursor.punct(1, '!') {
        let words = (0..).map_while(|ahead| cursor.ident(ahead));
        let words = words.filter(|word| word != "mut");
        let count = if kind == "extern" { 3 } else { 2 };
        return Some(vec![words.take(count).collect::<Vec<_>>().join(" ")]);
    }
    if let Some(name) = cursor.ident(2) {
        return Some(vec![format!("macro_rules! {name}")]);
    }
    // A call is named with and without the first word of its arguments.
    let mut arguments = Cursor::new(cursor.group(2)?.1);
    attributes(&mut arguments);
    arguments.visibility();
    let first = arguments.ident(0).map(|first| format!("{kind}! {first}"));
    Some(first.into_iter().chain([format!("{kind}!")]).collect())
}

/// Returns each start of the path of a `use` that has more parts than `group`, the longest first.
fn starts(path: &[String], group: usize) -> Vec<String> {
    let starts = (group..path.len()).rev().map(|last| &path[..=last]);
    starts
        .map(|start| format!("use {}", start.join("::")))
        .collect()
}

/// Returns the path of a `use`, up to a group.
fn used(tree: &syn::UseTree) -> Vec<String> {
    match tree {
        syn::UseTree::Path(p) => [vec![p.ident.to_string()], used(&p.tree)].concat(),
        syn::UseTree::Name(n) => vec![n.ident.to_string()],
        syn::UseTree::Rename(r) => vec![r.ident.to_string()],
        syn::UseTree::Glob(_) => vec!["*".to_owned()],
        _ => Vec::new(),
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
    fn comment_above_empty_line_is_not_of_item() {
        let text = "mod a;\n\n// Part 1.\n// Part 2.\n\nfn x() {}\n";
        let found = find(&read(text).unwrap(), "fn x").unwrap();
        assert_eq!(found, [Range { start: 5, end: 6 }]);
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
