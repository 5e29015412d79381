// SPDX-License-Identifier: GPL-2.0

//! Reads and applies `<component>/relocation.toml`, which describes a move of kernel files.
//!
//! The file has one step per patch. A step moves files, replaces text, and renames words. The tool
//! generates the patch from the tree before it. Therefore this repository does not contain the
//! moved code, and the move includes earlier fixes.

pub mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::Deserialize;

use crate::{
    source::manifest::{At, parse},
    sys::{Error, Result},
};
use words::{Count, Keep};

/// The moves and renames of one patch. All paths are new paths, except where the field says so.
///
/// A word is renamed unless an exception has it. Whole words take precedence over parts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The name that a patch of the manifest refers to.
    pub name: String,
    #[serde(skip)]
    pub line: usize,
    /// The new paths of moved files, by the old path.
    #[serde(default, rename = "move")]
    pub moves: BTreeMap<String, String>,
    #[serde(default, rename = "text")]
    pub texts: Vec<At<Text>>,
    /// The files whose words are renamed.
    #[serde(default)]
    pub files: Vec<At<String>>,
    /// The new names of parts of words.
    #[serde(default, rename = "part")]
    pub parts: BTreeMap<String, String>,
    /// The new names of whole words.
    #[serde(default, rename = "word")]
    pub words: BTreeMap<String, String>,
    #[serde(default)]
    pub keep: Vec<At<Keep>>,
    #[serde(default)]
    pub met: Vec<Met>,
    /// A source whose object code must not change.
    pub object: Option<At<String>>,
}

/// A replacement of literal text, which must occur in each file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    pub old: String,
    pub new: String,
    pub files: Vec<String>,
}

/// A new name that is allowed to occur in the tree before the step.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Met {
    pub word: String,
    pub why: String,
}

pub type Files = BTreeMap<String, Vec<u8>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    step: Vec<At<Step>>,
}

pub fn read(file: &Path, text: &str) -> Result<Vec<Step>> {
    let raw: Raw = parse(file, text)?;
    let mut steps: Vec<Step> = Vec::new();
    for At { value, line } in raw.step {
        let step = Step { line, ..value };
        check(&step).map_err(|(what, line)| Error::new(what).at(file, line))?;
        if steps.iter().any(|s| s.name == step.name) {
            let what = format!("two steps have the name {:?}", step.name);
            return Err(Error::new(what).at(file, line));
        }
        steps.push(step);
    }
    Ok(steps)
}

/// Checks a step without the tree. Errors have the line.
fn check(step: &Step) -> Result<(), (String, usize)> {
    let mut to = BTreeSet::new();
    if let Some(twice) = step.moves.values().find(|path| !to.insert(*path)) {
        return Err((format!("two files move to {twice}"), step.line));
    }
    let is_idle = |text: &Text| text.old.is_empty() || text.old == text.new;
    if let Some(text) = step.texts.iter().find(|t| is_idle(&t.value)) {
        let what = "the text is empty or equal to its replacement";
        return Err((what.to_owned(), text.line));
    }
    let mut pairs = step.parts.iter().chain(&step.words);
    if let Some((old, _)) = pairs.find(|(old, new)| old == new || !words::is_word(old)) {
        let what = format!("{old:?} is not a word, or equal to its new name");
        return Err((what, step.line));
    }
    if !step.files.is_empty() && !step.renames_words() {
        return Err(("files are listed, but no word is renamed".into(), step.line));
    }
    Ok(())
}

impl Step {
    /// Returns all paths that the step reads or writes.
    pub fn paths(&self) -> BTreeSet<&str> {
        let moved = self.moves.iter().flat_map(|(from, to)| [from, to]);
        let named = self.texts.iter().flat_map(|t| &t.value.files);
        let listed = self.files.iter().map(|f| &f.value);
        let all = moved.chain(named).chain(listed);
        all.map(String::as_str).collect()
    }

    /// Replaces text and renames words, without exceptions for certain files.
    pub fn rename(&self, text: &str) -> String {
        let texts = self.texts.iter().map(|t| &t.value);
        let text = texts.fold(text.to_owned(), |text, t| text.replace(&t.old, &t.new));
        self.rename_words("", &text, &mut Count::default())
    }

    /// Renames words in object code, where macros and the compiler may have extended them.
    pub fn rename_in_object(&self, text: &str) -> String {
        let mut step = self.clone();
        step.parts.append(&mut step.words);
        step.rename(text)
    }

    /// Returns the path before the step of a file that exists after it.
    pub fn path_before<'a>(&'a self, path: &'a str) -> &'a str {
        let moved = self.moves.iter().find(|(_, to)| *to == path);
        moved.map_or(path, |(from, _)| from)
    }

    /// Only [`Self::paths`] of the tree have to be present. The error has the line, but not the
    /// file.
    pub fn apply(&self, before: &Files) -> Result<Files, (String, usize)> {
        let mut after = before.clone();
        after.retain(|path, _| !self.moves.contains_key(path));
        for (from, to) in &self.moves {
            let Some(content) = before.get(from) else {
                return Err((format!("{from} moves, but does not exist"), self.line));
            };
            if before.contains_key(to) && !self.moves.contains_key(to) {
                return Err((format!("{from} moves to {to}, which exists"), self.line));
            }
            after.insert(to.clone(), content.clone());
        }
        for At { value: text, line } in &self.texts {
            for path in &text.files {
                let content = self.content(&after, path).map_err(|what| (what, *line))?;
                if !content.contains(&text.old) {
                    let what = format!("{path} does not contain {:?}", text.old);
                    return Err((what, *line));
                }
                let new = content.replace(&text.old, &text.new);
                after.insert(path.clone(), new.into_bytes());
            }
        }
        for At { value: path, line } in &self.files {
            let content = self.content(&after, path).map_err(|what| (what, *line))?;
            let new = self.rename_words(path, content, &mut Count::default());
            if new == content {
                return Err((format!("{path} has no word to rename"), *line));
            }
            after.insert(path.clone(), new.into_bytes());
        }
        Ok(after)
    }

    fn content<'a>(&self, files: &'a Files, path: &str) -> Result<&'a str, String> {
        match files.get(path) {
            Some(content) => {
                let text = std::str::from_utf8(content);
                text.map_err(|_| format!("{path} is not UTF-8 text"))
            }
            None if self.moves.contains_key(path) => Err(format!("{path} moves: use its new path")),
            None => Err(format!("{path} does not exist")),
        }
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

    fn after(step: &Step, tree: Files) -> Files {
        step.apply(&tree).unwrap()
    }

    #[test]
    fn apply_moves_then_renames() {
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
    fn apply_move_to_moved_path() {
        let text = "[[step]]\nname = \"s\"\n[step.move]\na = \"b\"\nb = \"c\"\n";
        let tree = files(&[("a", "1"), ("b", "2")]);
        assert_eq!(
            after(&steps(text)[0], tree),
            files(&[("b", "1"), ("c", "2")])
        );
    }

    #[test]
    fn apply_to_other_tree_fails() {
        let error_of = |edit: &dyn Fn(&mut Files)| {
            let mut tree = tree();
            edit(&mut tree);
            steps(MOVE)[0].apply(&tree).unwrap_err()
        };
        assert_eq!(
            error_of(&|t| drop(t.remove("drm/a.h"))),
            ("drm/a.h moves, but does not exist".into(), 2)
        );
        assert_eq!(
            error_of(&|t| drop(t.insert("gpu/a.c".into(), Vec::new()))),
            ("drm/a.c moves to gpu/a.c, which exists".into(), 2)
        );
        assert_eq!(
            error_of(&|t| drop(t.insert("drm/user.c".into(), b"int x;\n".to_vec()))),
            ("drm/user.c does not contain \"<drm/a.h>\"".into(), 9)
        );
        assert_eq!(
            error_of(&|t| drop(t.insert("drm/user.c".into(), vec![0xff]))),
            ("drm/user.c is not UTF-8 text".into(), 9)
        );
        let (what, line) = steps(MOVE)[1].apply(&tree()).unwrap_err();
        assert_eq!((what.as_str(), line), ("gpu/a.c does not exist", 16));
        let mut idle = tree();
        idle.insert("gpu/a.c".into(), b"int x;\n".to_vec());
        let (what, line) = steps(MOVE)[1].apply(&idle).unwrap_err();
        assert_eq!((what.as_str(), line), ("gpu/a.c has no word to rename", 16));
    }

    #[test]
    fn read_rules_without_effect() {
        let error_of = |text: &str| {
            read(Path::new("x/relocation.toml"), text)
                .unwrap_err()
                .to_string()
        };
        let step = "[[step]]\nname = \"s\"\n";
        for (more, what) in [
            ("[step.move]\na = \"c\"\nb = \"c\"\n", "two files move to c"),
            ("[step.part]\na = \"a\"\n", "equal to its new name"),
            ("[step.word]\n\"a b\" = \"c\"\n", "is not a word"),
            ("files = [\"a\"]\n", "no word is renamed"),
            (
                "[[step.text]]\nold = \"\"\nnew = \"b\"\nfiles = []\n",
                "the text is empty",
            ),
            ("[[step]]\nname = \"s\"\n", "two steps have the name \"s\""),
            ("filez = []\n", "unknown field `filez`"),
        ] {
            let error = error_of(&format!("{step}{more}"));
            assert!(error.contains(what), "{error}");
            assert!(error.starts_with("x/relocation.toml:"), "{error}");
        }
    }
}
