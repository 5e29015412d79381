// SPDX-License-Identifier: GPL-2.0

//! A cursor over the tokens of a Rust file.
//!
//! The lexer of procedural macros splits the text into tokens. A parser would reject a whole file
//! for new syntax, and would skip macros that declare items.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The visibility of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// Visible in some modules of the crate.
    Near,
    /// Visible in the whole crate.
    Crate,
    /// Visible in all crates.
    All,
}

/// A place among tokens.
pub(super) struct Cursor {
    pub(super) tokens: Vec<TokenTree>,
    pub(super) at: usize,
}

impl Cursor {
    pub(super) fn new(tokens: TokenStream) -> Self {
        Self {
            tokens: tokens.into_iter().collect(),
            at: 0,
        }
    }

    pub(super) fn ident(&self, ahead: usize) -> Option<String> {
        match self.tokens.get(self.at + ahead)? {
            TokenTree::Ident(ident) => Some(ident.to_string().trim_start_matches("r#").to_owned()),
            _ => None,
        }
    }

    pub(super) fn is(&self, ahead: usize, word: &str) -> bool {
        self.ident(ahead).is_some_and(|i| i == word)
    }

    pub(super) fn punct(&self, ahead: usize, c: char) -> bool {
        matches!(self.tokens.get(self.at + ahead), Some(TokenTree::Punct(p)) if p.as_char() == c)
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

    /// Passes the qualifiers before `fn`, `trait`, `impl` and `mod`.
    pub(super) fn qualifiers(&mut self) {
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

    /// Passes the rest of an item and returns the tokens in its braces.
    pub(super) fn body(&mut self, brace_ends: bool) -> Option<TokenStream> {
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
                        // Not `->` or `=>`.
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
}

/// Splits at commas outside angle brackets.
pub(super) fn at_commas(stream: TokenStream) -> Vec<Cursor> {
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

/// The type of an inherent implementation; `None` for one of a trait.
pub(super) fn inherent(head: &[TokenTree]) -> Option<String> {
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
                    // Skip `for<'a>`.
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

/// Collects the names that a `use` brings into scope. `parent` is the module in front of a brace.
pub(super) fn uses(tokens: &[TokenTree], parent: Option<&str>, into: &mut Vec<String>) {
    let mut cursor = Cursor {
        tokens: tokens.to_vec(),
        at: 0,
    };
    let mut last = parent.map(str::to_owned);
    while cursor.at < cursor.tokens.len() {
        if let Some((Delimiter::Brace, stream)) = cursor.group(0) {
            for part in at_commas(stream) {
                if !part.tokens.is_empty() {
                    uses(&part.tokens, last.as_deref(), into);
                }
            }
            return;
        }
        match cursor.ident(0).as_deref() {
            Some("as") => {
                into.extend(cursor.ident(1).filter(|name| name != "_"));
                return;
            }
            // `use x::{self}` names `x`.
            Some("self") => (),
            Some(word) => last = Some(word.to_owned()),
            None if cursor.punct(0, '*') => return,
            None => (),
        }
        cursor.at += 1;
    }
    into.extend(last);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(text: &str) -> Cursor {
        Cursor::new(text.parse().unwrap())
    }

    #[test]
    fn uses_names() {
        let names = |text: &str| {
            let mut names = Vec::new();
            uses(&cursor(text).tokens, None, &mut names);
            names
        };
        assert_eq!(names("self::owned::{A, B as C, //\n}"), ["A", "C"]);
        assert_eq!(names("crate::{a, x::{self, Y}}"), ["a", "x", "Y"]);
        assert!(names("self::iter::*").is_empty());
        assert!(names("a::Trait as _").is_empty());
    }

    #[test]
    fn inherent_of_trait_is_none() {
        let of = |text: &str| inherent(&cursor(text).tokens);
        let bound = "<T, const N: usize> a::List<T, N> where T: for<'a> Fn(&'a u8) -> u8";
        assert_eq!(of(bound).as_deref(), Some("List"));
        assert_eq!(
            of("<F> Other<F> where F: for<'a> Fn()").as_deref(),
            Some("Other")
        );
        assert_eq!(of("<T> Drop for List<T>"), None);
        assert_eq!(of("<F: for<'a> Fn(&'a u8)> Send for List<F>"), None);
    }

    #[test]
    fn body_ends_outside_angle_brackets() {
        let mut text = cursor("Short = List<u8, { 8 * 2 }>; fn g() -> u8 { 1 } last");
        assert!(text.body(true).is_none());
        assert!(text.body(true).is_some());
        assert!(text.is(0, "last"));
    }
}
