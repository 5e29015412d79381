// SPDX-License-Identifier: GPL-2.0

//! What a C file offers to others: types, functions, macros of headers, exported symbols.
//!
//! No parser, but a reader of what stands outside of all braces: comments, texts and directives are
//! taken out first, then each statement is looked at.

use std::collections::BTreeSet;

/// The names that a header declares.
pub fn header(text: &str) -> BTreeSet<String> {
    names(text, true)
}

/// The names that a source file defines for others.
pub fn source(text: &str) -> BTreeSet<String> {
    names(text, false)
}

fn names(text: &str, header: bool) -> BTreeSet<String> {
    let code = without_comments(text);
    let mut found = BTreeSet::new();
    let mut rest = String::with_capacity(code.len());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let Some(directive) = line.trim_start().strip_prefix('#') else {
            rest.push_str(line);
            rest.push('\n');
            continue;
        };
        let mut whole = directive.to_owned();
        while whole.ends_with('\\') {
            whole.pop();
            whole.push_str(lines.next().unwrap_or(""));
        }
        if header && let Some(name) = macro_name(&whole) {
            found.insert(name);
        }
    }
    for statement in statements(&rest) {
        found.extend(declared(&statement, header));
    }
    found
}

/// Comments become a space, texts become empty texts.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('/', Some('/')) => {
                for c in chars.by_ref() {
                    if c == '\n' {
                        out.push('\n');
                        break;
                    }
                }
            }
            ('/', Some('*')) => {
                chars.next();
                out.push(' ');
                let mut last = ' ';
                for c in chars.by_ref() {
                    if c == '\n' {
                        out.push('\n');
                    }
                    if (last, c) == ('*', '/') {
                        break;
                    }
                    last = c;
                }
            }
            ('"' | '\'', _) => {
                out.push(c);
                while let Some(inner) = chars.next() {
                    match inner {
                        '\\' => drop(chars.next()),
                        // An apostrophe in an `#error` is no text.
                        '\n' => {
                            out.push('\n');
                            break;
                        }
                        inner if inner == c => {
                            out.push(c);
                            break;
                        }
                        _ => (),
                    }
                }
            }
            _ => out.push(c),
        }
    }
    out
}

/// The macro that a directive defines, unless it is an include guard.
fn macro_name(directive: &str) -> Option<String> {
    let rest = directive.trim_start().strip_prefix("define")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let end = rest.find(|c: char| !in_word(c)).unwrap_or(rest.len());
    let (name, value) = rest.split_at(end);
    (!name.is_empty() && !value.trim().is_empty()).then(|| name.to_owned())
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A statement outside of all braces.
#[derive(Debug, Default)]
struct Statement {
    /// Up to its brace, or all of it.
    head: String,
    /// What is in its brace.
    body: Option<String>,
    /// What stands between brace and semicolon.
    tail: String,
}

fn statements(code: &str) -> Vec<Statement> {
    let (mut all, mut now) = (Vec::new(), Statement::default());
    let mut depth = 0usize;
    for c in code.chars() {
        match c {
            '{' => {
                depth += 1;
                if depth == 1 {
                    now.body.get_or_insert_with(String::new);
                    continue;
                }
            }
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    // A function has no semicolon behind it.
                    if is_function(&now.head) {
                        all.push(std::mem::take(&mut now));
                    }
                    continue;
                }
            }
            ';' if depth == 0 => {
                all.push(std::mem::take(&mut now));
                continue;
            }
            _ => (),
        }
        match &mut now.body {
            Some(body) if depth > 0 => body.push(c),
            Some(_) => now.tail.push(c),
            None => now.head.push(c),
        }
    }
    all
}

fn is_function(head: &str) -> bool {
    head.contains('(') && !head.contains('=') && !head.trim_start().starts_with("typedef")
}

fn declared(statement: &Statement, header: bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let words: Vec<&str> = statement
        .head
        .split(|c| !in_word(c))
        .filter(|w| !w.is_empty())
        .collect();
    let Some(first) = words.first() else {
        return found;
    };
    if first.starts_with("EXPORT_SYMBOL") {
        found.extend(words.get(1).map(|w| (*w).to_owned()));
        return found;
    }
    if *first == "typedef" {
        let text = match &statement.body {
            Some(_) => &statement.tail,
            None => &statement.head,
        };
        found.extend(typedef(text));
        if !header {
            return found;
        }
    }
    let kind = words
        .iter()
        .position(|w| ["struct", "union", "enum"].contains(w));
    if let (Some(at), Some(body)) = (kind, &statement.body)
        && !statement.head.contains('(')
    {
        // What a source file defines for itself is nobody else's.
        if header {
            found.extend(words.get(at + 1).map(|w| (*w).to_owned()));
            if words[at] == "enum" {
                found.extend(enumerators(body));
            }
        }
        return found;
    }
    if *first != "typedef" && statement.head.contains('(') && (header || *first != "static") {
        found.extend(function(&statement.head));
    }
    found
}

fn typedef(text: &str) -> Option<String> {
    // A pointer to a function has its name in the first parentheses.
    let text = match text.split_once("(*") {
        Some((_, rest)) => rest.split(')').next().unwrap_or(""),
        None => text.split('[').next().unwrap_or(""),
    };
    let word = text.split(|c| !in_word(c)).rfind(|w| !w.is_empty())?;
    Some(word.to_owned())
}

fn enumerators(body: &str) -> impl Iterator<Item = String> {
    body.split(',').filter_map(|part| {
        let word = part.split(|c| !in_word(c)).find(|w| !w.is_empty())?;
        Some(word.to_owned())
    })
}

/// The name of the function that a head declares.
fn function(head: &str) -> Option<String> {
    // A variable that is set to the value of a call is none.
    let head = head.split('=').next()?;
    let mut candidates: Vec<&str> = Vec::new();
    let mut depth = 0usize;
    for (at, c) in head.char_indices() {
        match c {
            '(' => {
                let before = head[..at].trim_end();
                let start = before.rfind(|c| !in_word(c)).map_or(0, |i| {
                    i + before[i..].chars().next().map_or(1, char::len_utf8)
                });
                let word = &before[start..];
                // A call of a macro at the start of a statement declares what cannot be seen.
                if depth == 0 && !word.is_empty() && !before[..start].trim().is_empty() {
                    candidates.push(word);
                }
                depth += 1;
            }
            ')' => depth = depth.saturating_sub(1),
            _ => (),
        }
    }
    // Attributes look like calls as well: `void __printf(1, 2) f(…) __acquires(x)`.
    let plain = candidates.iter().rfind(|w| !w.starts_with("__"));
    plain.or(candidates.first()).map(|w| (*w).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &BTreeSet<String>) -> Vec<&str> {
        names.iter().map(String::as_str).collect()
    }

    #[test]
    fn a_header_declares_types_functions_and_macros() {
        let text = r#"
/* int no_comment(void); */
#ifndef __A_H__
#define __A_H__
#include <linux/list.h>
// int nor_this(void);
#define A_FLAG		BIT(0)
#define for_each_a(a) \
	for ((a) = 0; (a) < 3; (a)++)
enum a_tree {
	A_CLEAR = 0,	/* not, this */
	A_DIRTY,
};
struct forward;
struct a {
#define A_IN_STRUCT 1
	u64 header;
	union { struct rb_node rb; struct list_head link; };
	int (*method)(struct a *a);
};
typedef int (*a_call)(struct a *a);
typedef unsigned long a_word;
static inline u64
a_offset(const struct a *a)
{
	return f("int in_text(void); }") & a->header;
}
int a_init(struct a *mm, u64 size,
	   u64 chunk_size);
void __printf(2, 3) a_print(struct a *a, const char *f, ...);
int __a_special(struct a *a) __acquires(lock);
extern const char *a_names[];
#endif
"#;
        assert_eq!(
            listed(&header(text)),
            [
                "A_CLEAR",
                "A_DIRTY",
                "A_FLAG",
                "A_IN_STRUCT",
                "__a_special",
                "a",
                "a_call",
                "a_init",
                "a_offset",
                "a_print",
                "a_tree",
                "a_word",
                "for_each_a",
            ]
        );
    }

    #[test]
    fn a_source_offers_what_is_not_static() {
        let text = r#"
static struct kmem_cache *slab;
struct own { int x; };
static int helper(void) { return 1; }
__rust_helper void rust_helper_INIT(struct list_head *list)
{
	if (list) { INIT(list); }
}
bool rust_helper_valid(struct list_head *entry)
{
	return valid(entry);
}
EXPORT_SYMBOL(a_init);
EXPORT_SYMBOL_GPL(a_fini);
EXPORT_SYMBOL_NS_GPL(a_reset, "NS");
module_init(a_module);
static struct kunit_case cases[] = { KUNIT_CASE(one), {} };
int table[] = { [0] = f(1), };
"#;
        assert_eq!(
            listed(&source(text)),
            [
                "a_fini",
                "a_init",
                "a_reset",
                "rust_helper_INIT",
                "rust_helper_valid",
            ]
        );
    }
}
