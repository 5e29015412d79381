// SPDX-License-Identifier: GPL-2.0

//! A move of kernel files as data: `<component>/relocation.toml`.
//!
//! The file holds steps, one per patch. A step moves files, replaces text, and renames words. The
//! patch is made from the tree as the patches before it leave it, so that what is moved is never
//! committed here, and a fix that goes before the move is moved with the rest.

pub mod words;

use std::{
    collections::{
        BTreeMap,
        BTreeSet, //
    },
    path::Path,
};

use serde::Deserialize;
use toml::Spanned;

use crate::{
    source::manifest::{
        At,
        Lines,
        parse, //
    },
    sys::error::{
        Error,
        Result, //
    }, //
};
use words::{
    Count,
    Rules, //
};

/// One step: what one patch moves and renames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The name by which a patch of the manifest claims it.
    pub name: String,
    /// Its line in the file.
    pub line: usize,
    /// Files that move: from their old path to their new one.
    pub moves: BTreeMap<String, String>,
    /// Text that is replaced.
    pub texts: Vec<Text>,
    /// The files, by their new paths, whose words are renamed.
    pub files: Vec<At<String>>,
    /// How words are renamed.
    pub rules: Rules,
    /// New names that the tree has already.
    pub met: Vec<Met>,
    /// A source that has to give the same object code as before, by its new path.
    pub object: Option<At<String>>,
}

/// A text that is replaced to the letter, once or more in each file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Its line in the file.
    pub line: usize,
    /// What stands there before.
    pub old: String,
    /// What stands there after.
    pub new: String,
    /// The files, by their new paths.
    pub files: Vec<String>,
}

/// A new name that the tree has already, on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Met {
    /// The word.
    pub word: String,
    /// Why.
    pub why: String,
}

/// What a step makes of a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Paths that are gone.
    pub removed: Vec<String>,
    /// Files with a new content or a new path.
    pub written: BTreeMap<String, Written>,
    /// What was renamed, by file.
    pub counts: BTreeMap<String, Count>,
}

/// A file that a step writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where it was before; its mode is that file's.
    pub was: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// Files of a tree by path.
pub type Files = BTreeMap<String, Vec<u8>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    step: Vec<Spanned<RawStep>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    name: String,
    #[serde(default, rename = "move")]
    moves: BTreeMap<String, String>,
    #[serde(default, rename = "text")]
    texts: Vec<Spanned<RawText>>,
    #[serde(default)]
    files: Vec<Spanned<String>>,
    #[serde(default)]
    part: BTreeMap<String, String>,
    #[serde(default)]
    word: BTreeMap<String, String>,
    #[serde(default)]
    keep: Vec<Spanned<words::Keep>>,
    #[serde(default)]
    met: Vec<Met>,
    object: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawText {
    old: String,
    new: String,
    files: Vec<String>,
}

/// Reads the steps of a `relocation.toml`.
///
/// # Errors
///
/// Not TOML, an unknown field, a name that is used twice, or a rule that can do nothing.
pub fn read(file: &Path, text: &str) -> Result<Vec<Step>> {
    let raw: Raw = parse(file, text)?;
    let lines = Lines(text);
    let mut names = BTreeSet::new();
    raw.step
        .into_iter()
        .map(|spanned| {
            let At { value, line } = lines.at(spanned);
            let step = Step {
                line,
                texts: value
                    .texts
                    .into_iter()
                    .map(|t| {
                        let At { value, line } = lines.at(t);
                        Text {
                            line,
                            old: value.old,
                            new: value.new,
                            files: value.files,
                        }
                    })
                    .collect(),
                files: lines.all(value.files),
                rules: Rules {
                    parts: value.part,
                    words: value.word,
                    keep: lines.all(value.keep),
                },
                met: value.met,
                object: value.object.map(|o| lines.at(o)),
                moves: value.moves,
                name: value.name,
            };
            check(&step).map_err(|(what, line)| Error::new(what).at(file, line))?;
            match names.insert(step.name.clone()) {
                true => Ok(step),
                false => Err(
                    Error::new(format!("there are two steps named {:?}", step.name)).at(file, line),
                ),
            }
        })
        .collect()
}

/// What is wrong with a step on its own, and in which line.
fn check(step: &Step) -> Result<(), (String, usize)> {
    let mut to = BTreeSet::new();
    if let Some(twice) = step.moves.values().find(|path| !to.insert(*path)) {
        return Err((format!("two files move to {twice}"), step.line));
    }
    if let Some(text) = step
        .texts
        .iter()
        .find(|t| t.old.is_empty() || t.old == t.new)
    {
        return Err((
            "this text is replaced by itself, or is empty".into(),
            text.line,
        ));
    }
    let pairs = || step.rules.parts.iter().chain(&step.rules.words);
    if let Some((old, _)) = pairs().find(|(old, new)| old == new || !words::is_word(old)) {
        return Err((
            format!("{old:?} is renamed to itself, or is no word"),
            step.line,
        ));
    }
    if !step.files.is_empty() && pairs().next().is_none() {
        return Err(("files are listed, but no word is renamed".into(), step.line));
    }
    Ok(())
}

impl Step {
    /// Every path that it reads or writes.
    pub fn paths(&self) -> BTreeSet<&str> {
        let moved = self.moves.iter().flat_map(|(from, to)| [from, to]);
        let named = self.texts.iter().flat_map(|t| &t.files);
        let listed = self.files.iter().map(|f| &f.value);
        moved
            .chain(named)
            .chain(listed)
            .map(String::as_str)
            .collect()
    }

    /// Text under its new names, whatever file it is from.
    pub fn rename(&self, text: &str) -> String {
        self.rules.rename(&self.replace(text))
    }

    /// The same where macros and the compiler made longer words of the words that are renamed.
    pub fn rename_in_object(&self, text: &str) -> String {
        let mut rules = self.rules.clone();
        rules.parts.append(&mut rules.words);
        rules.rename(&self.replace(text))
    }

    fn replace(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for change in &self.texts {
            text = text.replace(&change.old, &change.new);
        }
        text
    }

    /// Makes the step of a tree that holds at least [`Self::paths`], as far as they exist.
    ///
    /// # Errors
    ///
    /// A file is missing, a path is taken, or a text or a file has nothing to change. The error
    /// has the line, but not the file.
    pub fn apply(&self, before: &Files) -> Result<Outcome, (String, usize)> {
        let mut out = Outcome::default();
        for (from, to) in &self.moves {
            let Some(content) = before.get(from) else {
                return Err((
                    format!("{from} moves, but there is no such file"),
                    self.line,
                ));
            };
            if before.contains_key(to) && !self.moves.contains_key(to) {
                return Err((format!("{from} moves to {to}, which exists"), self.line));
            }
            let (was, content) = (from.clone(), content.clone());
            out.written.insert(to.clone(), Written { was, content });
        }
        let gone = |path: &String| !out.written.contains_key(path);
        out.removed = self.moves.keys().filter(|p| gone(p)).cloned().collect();
        for text in &self.texts {
            for path in &text.files {
                self.rewrite(before, path, text.line, &mut out, |old| {
                    old.contains(&text.old)
                        .then(|| old.replace(&text.old, &text.new))
                        .ok_or_else(|| format!("{path} does not hold {:?}", text.old))
                })?;
            }
        }
        for At { value: path, line } in &self.files {
            let mut count = Count::default();
            self.rewrite(before, path, *line, &mut out, |old| {
                let new = self.rules.apply(path, old, &mut count);
                match count.renamed.is_empty() {
                    true => Err(format!("{path} holds no word that is renamed")),
                    false => Ok(new),
                }
            })?;
            out.counts.insert(path.clone(), count);
        }
        Ok(out)
    }

    /// Changes a file, which may have been written before.
    fn rewrite(
        &self,
        before: &Files,
        path: &str,
        line: usize,
        out: &mut Outcome,
        change: impl FnOnce(&str) -> Result<String, String>,
    ) -> Result<(), (String, usize)> {
        let fail = |what: String| (what, line);
        if out.removed.iter().any(|p| p == path) {
            return Err(fail(format!("{path} moves away: name its new path")));
        }
        let entry = match out.written.get(path) {
            Some(written) => written.clone(),
            None => Written {
                was: path.to_owned(),
                content: before
                    .get(path)
                    .cloned()
                    .ok_or_else(|| fail(format!("there is no file {path}")))?,
            },
        };
        let old = String::from_utf8(entry.content)
            .map_err(|_| fail(format!("{path} is not UTF-8 text")))?;
        let content = change(&old).map_err(fail)?.into_bytes();
        out.written
            .insert(path.to_owned(), Written { content, ..entry });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOVE: &str = r##"
[[step]]
name = "files"

[step.move]
"drm/a.c" = "gpu/a.c"
"drm/a.h" = "linux/a.h"

[[step.text]]
old = "<drm/a.h>"
new = "<linux/a.h>"
files = ["gpu/a.c", "drm/user.c"]

[[step]]
name = "symbols"
files = ["gpu/a.c", "drm/user.c"]

[step.part]
drm_a = "gpu_a"

[step.word]
drm_get = "gpu_get"

[[step.keep]]
text = "drm_a_print"
why = "it prints to a DRM printer"
"##;

    fn steps(text: &str) -> Vec<Step> {
        read(Path::new("x/relocation.toml"), text).unwrap()
    }

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter()
            .map(|(p, t)| (p.to_string(), t.as_bytes().to_vec()))
            .collect()
    }

    fn tree() -> Files {
        files(&[
            (
                "drm/a.c",
                "#include <drm/a.h>\nint drm_a_get(void) { return drm_get(); }\n",
            ),
            ("drm/a.h", "int drm_a_get(void);\n"),
            (
                "drm/user.c",
                "#include <drm/a.h>\nint x = drm_a_get(drm_a_print);\n",
            ),
        ])
    }

    /// The tree after a step.
    fn after(step: &Step, mut tree: Files) -> Files {
        let out = step.apply(&tree).unwrap();
        for path in &out.removed {
            tree.remove(path);
        }
        for (path, written) in out.written {
            tree.insert(path, written.content);
        }
        tree
    }

    #[test]
    fn files_move_first_and_words_change_after() {
        let steps = steps(MOVE);
        let moved = after(&steps[0], tree());
        assert_eq!(
            moved,
            files(&[
                (
                    "gpu/a.c",
                    "#include <linux/a.h>\nint drm_a_get(void) { return drm_get(); }\n"
                ),
                ("linux/a.h", "int drm_a_get(void);\n"),
                (
                    "drm/user.c",
                    "#include <linux/a.h>\nint x = drm_a_get(drm_a_print);\n"
                ),
            ])
        );
        let renamed = after(&steps[1], moved);
        assert_eq!(
            std::str::from_utf8(&renamed["gpu/a.c"]).unwrap(),
            "#include <linux/a.h>\nint gpu_a_get(void) { return gpu_get(); }\n"
        );
        assert_eq!(
            std::str::from_utf8(&renamed["drm/user.c"]).unwrap(),
            "#include <linux/a.h>\nint x = gpu_a_get(drm_a_print);\n"
        );
    }

    #[test]
    fn a_file_may_take_the_place_of_one_that_moves() {
        let text = "[[step]]\nname = \"s\"\n[step.move]\na = \"b\"\nb = \"c\"\n";
        let tree = files(&[("a", "1"), ("b", "2")]);
        assert_eq!(
            after(&steps(text)[0], tree),
            files(&[("b", "1"), ("c", "2")])
        );
    }

    #[test]
    fn what_does_not_fit_the_tree_is_an_error_with_its_line() {
        let say = |edit: &dyn Fn(&mut Files)| {
            let mut tree = tree();
            edit(&mut tree);
            steps(MOVE)[0].apply(&tree).unwrap_err()
        };
        assert_eq!(
            say(&|t| drop(t.remove("drm/a.h"))),
            ("drm/a.h moves, but there is no such file".into(), 2)
        );
        assert_eq!(
            say(&|t| drop(t.insert("gpu/a.c".into(), Vec::new()))),
            ("drm/a.c moves to gpu/a.c, which exists".into(), 2)
        );
        assert_eq!(
            say(&|t| drop(t.insert("drm/user.c".into(), b"int x;\n".to_vec()))),
            ("drm/user.c does not hold \"<drm/a.h>\"".into(), 9)
        );
        assert_eq!(
            say(&|t| drop(t.insert("drm/user.c".into(), vec![0xff]))),
            ("drm/user.c is not UTF-8 text".into(), 9)
        );
        let (what, line) = steps(MOVE)[1].apply(&tree()).unwrap_err();
        assert_eq!((what.as_str(), line), ("there is no file gpu/a.c", 16));
        let mut idle = tree();
        idle.insert("gpu/a.c".into(), b"int x;\n".to_vec());
        let (what, line) = steps(MOVE)[1].apply(&idle).unwrap_err();
        assert_eq!(
            (what.as_str(), line),
            ("gpu/a.c holds no word that is renamed", 16)
        );
    }

    #[test]
    fn rules_that_can_do_nothing_are_refused() {
        let say = |text: &str| {
            read(Path::new("x/relocation.toml"), text)
                .unwrap_err()
                .to_string()
        };
        let step = "[[step]]\nname = \"s\"\n";
        for (more, what) in [
            ("[step.move]\na = \"c\"\nb = \"c\"\n", "two files move to c"),
            ("[step.part]\na = \"a\"\n", "renamed to itself"),
            ("[step.word]\n\"a b\" = \"c\"\n", "is no word"),
            ("files = [\"a\"]\n", "no word is renamed"),
            (
                "[[step.text]]\nold = \"\"\nnew = \"b\"\nfiles = []\n",
                "or is empty",
            ),
            ("[[step]]\nname = \"s\"\n", "two steps named \"s\""),
            ("filez = []\n", "unknown field `filez`"),
        ] {
            let said = say(&format!("{step}{more}"));
            assert!(said.contains(what), "{said}");
            assert!(said.starts_with("x/relocation.toml:"), "{said}");
        }
    }
}
