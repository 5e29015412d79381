// SPDX-License-Identifier: GPL-2.0

//! Renames words. A word is a maximal sequence of letters, digits and underscores, as in C.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Step;

/// A text whose words keep their names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// The text. It matches only at the boundaries of words.
    pub text: String,
    pub why: String,
    /// The files to which the exception applies. Empty for all files.
    #[serde(default)]
    pub files: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Count {
    /// The number of renames, by the old name.
    pub renamed: BTreeMap<String, usize>,
    /// The number of matches, by the text of the exception.
    pub kept: BTreeMap<String, usize>,
}

fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

pub fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(in_word)
}

pub fn words(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].iter().position(|b| in_word(*b))?;
        at = start + text[start..].iter().take_while(|b| in_word(**b)).count();
        Some((start, &text[start..at]))
    })
}

impl Step {
    pub fn renames_words(&self) -> bool {
        !self.parts.is_empty() || !self.words.is_empty()
    }

    /// Returns the new name of a word, or `None` if no rule applies. Ignores exceptions.
    pub fn new_name(&self, word: &str) -> Option<String> {
        if let Some(new) = self.words.get(word) {
            return Some(new.clone());
        }
        let parts = self.parts.iter();
        let new = parts.fold(word.to_owned(), |new, (old, part)| new.replace(old, part));
        (new != word).then_some(new)
    }

    /// Returns the exception that matches at `at` in a file.
    fn kept(&self, path: &str, text: &[u8], at: usize) -> Option<&str> {
        let found = self.keep.iter().map(|k| &k.value).filter(|k| {
            let word = k.text.as_bytes();
            let (before, after) = (text[..at].last(), text.get(at + word.len()));
            let cut = |a: Option<&u8>, b: Option<&u8>| {
                a.is_some_and(|a| in_word(*a)) && b.is_some_and(|b| in_word(*b))
            };
            text[at..].starts_with(word)
                && !word.is_empty()
                && (k.files.is_empty() || k.files.iter().any(|f| f == path))
                && !cut(before, word.first())
                && !cut(word.last(), after)
        });
        found.map(|k| k.text.as_str()).max_by_key(|t| t.len())
    }

    pub fn rename_words(&self, path: &str, text: &str, count: &mut Count) -> String {
        let bytes = text.as_bytes();
        let mut out = String::with_capacity(text.len());
        let (mut at, mut copied) = (0, 0);
        while at < bytes.len() {
            let start = at == 0 || !in_word(bytes[at - 1]) || !in_word(bytes[at]);
            if start && let Some(kept) = self.kept(path, bytes, at) {
                *count.kept.entry(kept.to_owned()).or_default() += 1;
                at += kept.len();
            } else if in_word(bytes[at]) {
                let end = at + bytes[at..].iter().take_while(|b| in_word(**b)).count();
                let word = &text[at..end];
                if let Some(new) = self.new_name(word) {
                    *count.renamed.entry(word.to_owned()).or_default() += 1;
                    out.push_str(&text[copied..at]);
                    out.push_str(&new);
                    copied = end;
                }
                at = end;
            } else {
                at += 1;
            }
        }
        out.push_str(&text[copied..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::manifest::At;

    fn step() -> Step {
        let pairs = |list: &[(&str, &str)]| {
            list.iter()
                .map(|(a, b)| (a.to_string(), b.to_string()))
                .collect()
        };
        let keep = |text: &str, files: &[&str]| At {
            value: Keep {
                text: text.to_owned(),
                why: String::new(),
                files: files.iter().map(|f| f.to_string()).collect(),
            },
            line: 1,
        };
        Step {
            parts: pairs(&[("drm_buddy", "gpu_buddy"), ("DRM_BUDDY", "GPU_BUDDY")]),
            words: pairs(&[("drm_get_buddy", "gpu_get_buddy")]),
            keep: vec![
                keep("drm_buddy_print", &[]),
                keep("<drm/drm_buddy.h>", &[]),
                keep("DRM_BUDDY", &["Kconfig"]),
            ],
            ..Step::default()
        }
    }

    fn renamed(path: &str, text: &str) -> String {
        step().rename_words(path, text, &mut Count::default())
    }

    #[test]
    fn apply_renames_words_with_part() {
        assert_eq!(
            renamed(
                "a.c",
                "__drm_buddy_free(drm_buddy, i915_ttm_buddy, drm_get_buddy_x)"
            ),
            "__gpu_buddy_free(gpu_buddy, i915_ttm_buddy, drm_get_buddy_x)"
        );
        assert_eq!(renamed("a.c", "drm_get_buddy(x)"), "gpu_get_buddy(x)");
        assert_eq!(
            renamed("a.c", "DRM_BUDDY_*_ALLOCATION"),
            "GPU_BUDDY_*_ALLOCATION"
        );
        assert_eq!(renamed("a.c", "µdrm_buddy µ"), "µgpu_buddy µ");
    }

    #[test]
    fn apply_keeps_whole_exceptions() {
        assert_eq!(
            renamed("a.c", "drm_buddy_print drm_buddy_printer x_drm_buddy_print"),
            "drm_buddy_print gpu_buddy_printer x_gpu_buddy_print"
        );
        assert_eq!(
            renamed("a.c", "#include <drm/drm_buddy.h> <x/drm_buddy.h>"),
            "#include <drm/drm_buddy.h> <x/gpu_buddy.h>"
        );
        assert_eq!(
            renamed("Kconfig", "DRM_BUDDY DRM_BUDDY_X"),
            "DRM_BUDDY GPU_BUDDY_X"
        );
        assert_eq!(renamed("a.c", "DRM_BUDDY"), "GPU_BUDDY");
    }

    #[test]
    fn apply_counts_words() {
        let mut count = Count::default();
        step().rename_words("a.c", "drm_buddy drm_buddy_print drm_buddy x", &mut count);
        assert_eq!(count.renamed, BTreeMap::from([("drm_buddy".into(), 2)]));
        assert_eq!(count.kept, BTreeMap::from([("drm_buddy_print".into(), 1)]));
        step().rename_words("b.c", "drm_buddy drm_buddy_print drm_buddy", &mut count);
        assert_eq!(count.renamed["drm_buddy"], 4);
        assert_eq!(count.kept["drm_buddy_print"], 2);
    }

    #[test]
    fn words_with_offsets() {
        let found: Vec<_> = words(b"a_1(b) c").collect();
        assert_eq!(found, [(0, &b"a_1"[..]), (4, b"b"), (7, b"c")]);
    }
}
