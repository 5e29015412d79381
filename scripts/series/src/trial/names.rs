// SPDX-License-Identifier: GPL-2.0

//! The names that patches add, and the places where another tree defines them.
//!
//! Names are the public items of Rust files, and the functions and types of C files. They are
//! compared as written: `Type::method` for methods, without modules.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use regex::Regex;
use serde::Serialize;

use crate::{
    git::{Git, Oid, PatchCommit},
    patches::{commits::AssembledSeries, plan::PlannedPatch},
    rust::{
        cursor::Seen,
        tokens::{self, Kind},
    },
    sys::{Result, pattern},
};

/// The definition of a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    pub name: String,
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

/// The definitions in the other tree.
#[derive(Debug, Default)]
pub struct Known(BTreeMap<String, Vec<Place>>);

/// Matches a type or a function of a C file. The return type may be on a separate line.
/// Parentheses of parameters nest at most once.
static DEFINITION: LazyLock<Regex> = LazyLock::new(|| {
    let function = r"((?:[A-Za-z_]\w*[ \t\n*]+)+)(\w+)\((?:[^;{}()]|\([^()]*\))*\)[^;{}()=]*\{";
    let kind = r"(?:struct|union|enum) (\w+) \{";
    pattern(&format!("(?m)^(?:{kind}|{function})"))
});

fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

fn is_c(path: &str) -> bool {
    path.ends_with(".c") || path.ends_with(".h")
}

fn defined(path: &str, text: &str) -> Vec<Place> {
    let place = |name: String, line| {
        let file = path.to_owned();
        Place { name, file, line }
    };
    if is_rust(path) {
        let items = tokens::read(text, Seen::Crate).items.into_iter();
        let items = items.filter(|i| i.kind != Kind::Reexport);
        let named = items.map(|item| match &item.path[..] {
            [.., name] if item.kind == Kind::Macro => place(format!("{name}!"), item.line),
            [.., of, name] if item.kind.is_member() => place(format!("{of}::{name}"), item.line),
            path => place(path.last().cloned().unwrap_or_default(), item.line),
        });
        return named.collect();
    }
    let found = DEFINITION.captures_iter(text).filter_map(|found| {
        let mut words = found.get(2).map_or("", |m| m.as_str()).split_whitespace();
        let private = words.any(|word| word == "static") && !path.ends_with(".h");
        let name = found.get(1).or(found.get(3)).filter(|_| !private)?;
        let line = text[..name.start()].matches('\n').count() + 1;
        Some(place(name.as_str().to_owned(), line))
    });
    found.collect()
}

pub fn added(git: &Git<'_>, one: &AssembledSeries) -> Result<Vec<Vec<Place>>> {
    let of = |(patch, before, after): (&PlannedPatch, &PatchCommit, &PatchCommit)| {
        let paths = patch.paths().filter(|p| is_rust(p) || is_c(p));
        let paths: Vec<String> = paths.map(str::to_owned).collect();
        let old = definitions(git, &before.tree, &paths)?;
        let mut new = definitions(git, &after.tree, &paths)?;
        new.retain(|place| !old.iter().any(|o| o.name == place.name));
        new.sort();
        // An item may have several definitions that `cfg` selects.
        new.dedup_by(|a, b| (&a.name, &a.file) == (&b.name, &b.file));
        Ok(new)
    };
    one.steps().map(of).collect()
}

fn definitions(git: &Git<'_>, tree: &Oid, paths: &[String]) -> Result<Vec<Place>> {
    let files = git.files(tree, paths)?;
    let defined = |(path, content): (&String, &Vec<u8>)| {
        let text = String::from_utf8_lossy(content);
        defined(path, &text)
    };
    Ok(files.iter().flat_map(defined).collect())
}

/// Returns the folders in which a name is looked up: the first two of its path.
fn root(path: &str) -> &str {
    let mut ends = path.match_indices('/').map(|(at, _)| at + 1);
    let first = ends.next().unwrap_or(0);
    &path[..ends.next().unwrap_or(first)]
}

impl Known {
    /// Looks up names in a tree, in the folders of the files that the patches add them to.
    pub fn read<'a>(
        git: &Git<'_>,
        tree: &Oid,
        names: impl Iterator<Item = &'a Place>,
    ) -> Result<Self> {
        let (rust, c): (Vec<&Place>, Vec<&Place>) = names.partition(|name| is_rust(&name.file));
        let mut known = Self::default();
        for (names, endings) in [(rust, &["rs"][..]), (c, &["c", "h"])] {
            // The type has to be in the file of its method.
            let words = names.iter().filter_map(|n| n.name.split("::").next());
            let words: BTreeSet<&str> = words.map(|w| w.trim_end_matches('!')).collect();
            if words.is_empty() {
                continue;
            }
            let any = words.into_iter().collect::<Vec<_>>().join("|");
            let roots: BTreeSet<&str> = names.iter().map(|n| root(&n.file)).collect();
            let globs = roots.iter().flat_map(|root| {
                let endings = endings.iter();
                endings.map(move |ending| format!(":/{root}*.{ending}"))
            });
            let files = git.grep(["-w", "-E", "-e", &any], tree, &Vec::from_iter(globs))?;
            for place in definitions(git, tree, &files)? {
                known.0.entry(place.name.clone()).or_default().push(place);
            }
        }
        Ok(known)
    }

    /// Returns the definition of a name in the same file, or else in its folders.
    pub fn place(&self, name: &Place) -> Option<Place> {
        let places = self.0.get(&name.name)?.iter();
        let near = |p: &&Place| {
            root(&p.file) == root(&name.file) && is_rust(&p.file) == is_rust(&name.file)
        };
        places
            .filter(near)
            .min_by_key(|p| p.file != name.file)
            .cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Known {
        /// Creates definitions from names, files and lines.
        pub fn of(places: &[(&str, &str, usize)]) -> Self {
            let mut known = Self::default();
            for (name, file, line) in places {
                let (name, file) = (name.to_string(), file.to_string());
                let places = known.0.entry(name.clone()).or_default();
                let line = *line;
                places.push(Place { name, file, line });
            }
            known
        }
    }

    fn names(path: &str, text: &str) -> Vec<String> {
        let all = defined(path, text).into_iter();
        all.map(|p| format!("{}:{}", p.name, p.line)).collect()
    }

    #[test]
    fn defined_rust() {
        let text = "
//! pub struct Comment;
pub use self::owned::Owned;
pub struct List;
impl List {
    pub fn walk() {}
    fn private() {}
    pub(crate) const MAX: u8 = 1;
}
impl Drop for List { fn drop(&mut self) {} }
pub mod below { pub fn f() {} }
pub(super) fn near() {}
#[macro_export]
macro_rules! create { () => {} }
";
        assert_eq!(
            names("rust/list.rs", text),
            [
                "List:4",
                "List::walk:6",
                "List::MAX:8",
                "f:11",
                "create!:14"
            ]
        );
        assert!(names("rust/list.rs", "fn f( {").is_empty());
    }

    #[test]
    fn defined_c() {
        let text = r#"
struct a {
	int (*method)(struct a *a);
};
int a_init(struct a *mm, u64 size);
static int helper(void)
{
	if (x) {
	}
}
struct a *
a_get(struct a *a, int (*f)(int))
{
}
void __printf(2, 3) a_print(struct a *a, ...);
EXPORT_SYMBOL(a_get);
static inline u64 a_offset(const struct a *a)
{
}
static struct kunit_case cases[] = { KUNIT_CASE(one), {} };
"#;
        assert_eq!(names("a.c", text), ["a:2", "a_get:12"]);
        assert_eq!(
            names("a.h", text),
            ["a:2", "helper:6", "a_get:12", "a_offset:17"]
        );
    }

    #[test]
    fn place_prefers_same_file() {
        let files = ["drivers/gpu/a.rs", "rust/kernel/b.rs", "rust/kernel/c.rs"];
        let known = Known::of(&files.map(|file| ("a", file, 1)));
        let file = |path: &str| {
            let (name, file) = ("a".to_owned(), path.to_owned());
            known
                .place(&Place {
                    name,
                    file,
                    line: 1,
                })
                .map(|p| p.file)
        };
        assert_eq!(
            file("rust/kernel/c.rs").as_deref(),
            Some("rust/kernel/c.rs")
        );
        assert_eq!(
            file("rust/kernel/x/d.rs").as_deref(),
            Some("rust/kernel/b.rs")
        );
        assert_eq!(file("rust/pin-init/d.rs"), None);
        assert_eq!(file("rust/kernel/d.c"), None);
        assert_eq!([root("a.rs"), root("rust/a.rs")], ["", "rust/"]);
    }
}
