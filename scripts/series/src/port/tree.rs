// SPDX-License-Identifier: GPL-2.0

//! Trees as files by path, and what is changed on the way.

use std::{
    collections::BTreeMap,
    rc::Rc, //
};

/// The content of a file.
pub type Bytes = Rc<[u8]>;

/// A tree that is only read.
pub trait Files {
    /// The content of a file, or `None` if there is none.
    fn read(&self, path: &str) -> Option<Bytes>;
}

impl Files for BTreeMap<String, Bytes> {
    fn read(&self, path: &str) -> Option<Bytes> {
        self.get(path).cloned()
    }
}

/// A tree with changes, which are kept apart from it.
#[derive(Clone)]
pub struct State<'a> {
    below: &'a dyn Files,
    changed: BTreeMap<String, Option<Bytes>>,
}

impl<'a> State<'a> {
    /// The tree as it is.
    pub fn of(below: &'a dyn Files) -> Self {
        Self {
            below,
            changed: BTreeMap::new(),
        }
    }

    /// Writes a file, or removes it.
    pub fn set(&mut self, path: &str, content: Option<Bytes>) {
        self.changed.insert(path.to_owned(), content);
    }
}

impl Files for State<'_> {
    fn read(&self, path: &str) -> Option<Bytes> {
        match self.changed.get(path) {
            Some(content) => content.clone(),
            None => self.below.read(path),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn memory(files: &[(&str, &str)]) -> BTreeMap<String, Bytes> {
        files
            .iter()
            .map(|(path, text)| (path.to_string(), Rc::from(text.as_bytes())))
            .collect()
    }

    #[test]
    fn changes_do_not_reach_the_tree_below() {
        let below = memory(&[("a", "1"), ("b", "2")]);
        let mut state = State::of(&below);
        let before = state.clone();
        state.set("a", None);
        state.set("c", Some(Rc::from(&b"3"[..])));
        let seen = |s: &State<'_>| ["a", "b", "c"].map(|p| s.read(p).is_some());
        assert_eq!(seen(&state), [false, true, true]);
        assert_eq!(seen(&before), [true, true, false]);
    }
}
