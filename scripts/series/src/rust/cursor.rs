// SPDX-License-Identifier: GPL-2.0

//! A cursor over the tokens of a Rust file.
//!
//! The lexer of procedural macros splits the text into tokens. A parser would reject a whole file
//! for new syntax, and would skip macros that declare items.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use syn::{UseTree, ext::IdentExt};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// Visible in some modules of the crate.
    Near,
    /// Visible in the whole crate.
    Crate,
    /// Visible in all crates.
    All,
}

pub(super) struct Cursor {
    pub(super) tokens: Vec<TokenTree>,
    pub(super) at: usize,
}

impl Cursor {
    pub(super) fn new(tokens: impl IntoIterator<Item = TokenTree>) -> Self {
        let tokens = tokens.into_iter().collect();
        Self { tokens, at: 0 }
    }

    /// Returns the line of a token, from 1.
    pub(super) fn line(&self, ahead: usize) -> usize {
        let token = self.tokens.get(self.at + ahead);
        token.map_or(0, |token| token.span().start().line)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Returns the word or sign at a distance behind the cursor.
    pub(super) fn before(&self, back: usize) -> Option<String> {
        match self.tokens.get(self.at.checked_sub(back)?)? {
            TokenTree::Group(_) => None,
            token => Some(token.to_string()),
        }
    }

    pub(super) fn ident(&self, ahead: usize) -> Option<String> {
        match self.tokens.get(self.at + ahead)? {
            TokenTree::Ident(ident) => Some(ident.unraw().to_string()),
            _ => None,
        }
    }

    pub(super) fn is(&self, ahead: usize, word: &str) -> bool {
        self.ident(ahead).is_some_and(|i| i == word)
    }

    pub(super) fn punct(&self, ahead: usize, c: char) -> bool {
        self.tokens
            .get(self.at + ahead)
            .is_some_and(|t| sign(t) == c)
    }

    pub(super) fn group(&self, ahead: usize) -> Option<(Delimiter, TokenStream)> {
        match self.tokens.get(self.at + ahead)? {
            TokenTree::Group(group) => Some((group.delimiter(), group.stream())),
            _ => None,
        }
    }

    pub(super) fn visibility(&mut self) -> Seen {
        if !self.is(0, "pub") {
            return Seen::Near;
        }
        self.at += 1;
        let Some((Delimiter::Parenthesis, stream)) = self.group(0) else {
            return Seen::All;
        };
        let words: Vec<String> = stream.into_iter().map(|t| t.to_string()).collect();
        let seen = match words.first().map(String::as_str) {
            Some("crate") if words.len() == 1 => Seen::Crate,
            Some("super" | "self" | "in") => Seen::Near,
            // A field of a tuple, in a macro.
            _ => return Seen::All,
        };
        self.at += 1;
        seen
    }

    /// Passes the qualifiers before `fn`, `trait`, `impl` and `mod`.
    pub(super) fn qualifiers(&mut self) {
        loop {
            let is_abi = matches!(self.tokens.get(self.at + 1), Some(TokenTree::Literal(_)));
            let is_function = ["fn", "unsafe", "async"].iter().any(|w| self.is(1, w));
            self.at += match self.ident(0).as_deref() {
                Some("unsafe" | "async" | "default" | "safe") => 1,
                Some("const") if is_function => 1,
                Some("extern") if is_abi => 2,
                _ => return,
            };
        }
    }

    /// Passes the rest of an item and returns the tokens in its braces.
    pub(super) fn body(&mut self, brace_ends: bool) -> Option<TokenStream> {
        let rest = self.tokens.get(self.at..).unwrap_or_default();
        let end = angles(rest).position(|(inside, token)| match token {
            TokenTree::Group(g) => brace_ends && !inside && g.delimiter() == Delimiter::Brace,
            token => sign(token) == ';',
        });
        let Some(end) = end else {
            self.at = self.tokens.len();
            return None;
        };
        self.at += end + 1;
        match &self.tokens[self.at - 1] {
            TokenTree::Group(group) => Some(group.stream()),
            _ => None,
        }
    }
}

/// Returns the character of a sign, and a blank for other tokens.
fn sign(token: &TokenTree) -> char {
    match token {
        TokenTree::Punct(punct) => punct.as_char(),
        _ => ' ',
    }
}

/// Returns each token, and whether it is inside angle brackets.
fn angles(tokens: &[TokenTree]) -> impl Iterator<Item = (bool, &TokenTree)> {
    let (mut depth, mut before) = (0, ' ');
    tokens.iter().map(move |token| {
        let (inside, now) = (depth > 0, sign(token));
        match now {
            '<' => depth += 1,
            // Not `->` or `=>`.
            '>' if before != '-' && before != '=' => depth -= 1,
            _ => (),
        }
        before = now;
        (inside, token)
    })
}

/// Splits at commas outside angle brackets, without empty parts.
pub(super) fn at_commas(stream: TokenStream) -> Vec<Cursor> {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let tokens: Vec<(bool, &TokenTree)> = angles(&tokens).collect();
    let parts = tokens.split(|(inside, token)| !inside && sign(token) == ',');
    let parts = parts.filter(|part| !part.is_empty());
    let cursor = |part: &[(bool, &TokenTree)]| Cursor::new(part.iter().map(|(_, t)| (*t).clone()));
    parts.map(cursor).collect()
}

/// Returns the type of an implementation, and whether it implements a trait.
pub(super) fn implemented(head: &[TokenTree]) -> Option<(String, bool)> {
    let outside = angles(head).filter(|(inside, _)| !inside);
    let words: Vec<String> = outside.map(|(_, token)| token.to_string()).collect();
    let end = words
        .iter()
        .position(|w| w == "where")
        .unwrap_or(words.len());
    // Not `for<'a>`.
    let is_for = |at: &usize| words[*at] == "for" && words.get(at + 1).is_none_or(|w| w != "<");
    let of_trait = (0..end).find(is_for);
    let of = &words[of_trait.map_or(0, |at| at + 1)..end];
    let is_name = |word: &&String| {
        let word = word.as_str();
        word.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && !["const", "dyn", "mut"].contains(&word)
    };
    // The last word of the path.
    Some((of.iter().rfind(is_name)?.clone(), of_trait.is_some()))
}

/// Returns the names that a `use` brings into scope. `last` is the module in front of a brace.
pub(super) fn uses(tree: &UseTree, last: Option<&Ident>) -> Vec<String> {
    let name = |ident: &Ident| ident.unraw().to_string();
    match tree {
        UseTree::Path(p) => uses(&p.tree, Some(&p.ident)),
        UseTree::Group(g) => g.items.iter().flat_map(|tree| uses(tree, last)).collect(),
        // `use x::{self}` names `x`.
        UseTree::Name(n) if n.ident == "self" => last.map(name).into_iter().collect(),
        UseTree::Name(n) => vec![name(&n.ident)],
        UseTree::Rename(r) if r.rename != "_" => vec![name(&r.rename)],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(text: &str) -> Cursor {
        Cursor::new(text.parse::<TokenStream>().unwrap())
    }

    #[test]
    fn uses_names() {
        let names = |text: &str| uses(&syn::parse_str(text).unwrap(), None);
        assert_eq!(names("self::owned::{A, B as C, //\n}"), ["A", "C"]);
        assert_eq!(names("crate::{a, x::{self, Y}}"), ["a", "x", "Y"]);
        assert!(names("self::iter::*").is_empty());
        assert!(names("a::Trait as _").is_empty());
    }

    #[test]
    fn implemented_type_and_trait() {
        let of = |text: &str| implemented(&cursor(text).tokens).unwrap();
        let inherent = |of: &str| (of.to_owned(), false);
        let bound = "<T, const N: usize> a::List<T, N> where T: for<'a> Fn(&'a u8) -> u8";
        assert_eq!(of(bound), inherent("List"));
        let other = "<F> Other<F> where F: for<'a> Fn()";
        assert_eq!(of(other), inherent("Other"));
        assert_eq!(of("<T> Drop for List<T>"), ("List".to_owned(), true));
        let send = "<F: for<'a> Fn(&'a u8)> Send for List<F>";
        assert_eq!(of(send), ("List".to_owned(), true));
    }

    #[test]
    fn body_ends_outside_angle_brackets() {
        let mut text = cursor("Short = List<u8, { 8 * 2 }>; fn g() -> u8 { 1 } last");
        assert!(text.body(true).is_none());
        assert!(text.body(true).is_some());
        assert!(text.is(0, "last"));
    }
}
