// SPDX-License-Identifier: GPL-2.0

//! Determines the diagnostics that neither the base nor the earlier patches have.
//!
//! Two diagnostics are the same if file and message agree. Line numbers do not count, but
//! repetitions do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use regex::Regex;

use super::{
    diagnostics::{Diagnostic, Level},
    record::Said,
};
use crate::{source::relocation::Step, sys::pattern};

/// Offsets in functions, and line numbers within a message.
static NUMBERS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\+0x[0-9a-f]+|:\d+(:\d+)?"));

/// The parts of a diagnostic that stay the same when lines move: level, file and message.
type Key = (Level, String, String);

#[derive(Debug, Clone, Default)]
pub struct Seen(BTreeMap<Key, usize>);

impl Seen {
    /// Returns the diagnostics that are new or more frequent than before, and remembers them.
    pub fn new_in(&mut self, diagnostics: &[Diagnostic]) -> Vec<Diagnostic> {
        let mut groups: BTreeMap<Key, Vec<&Diagnostic>> = BTreeMap::new();
        for one in diagnostics {
            let message = NUMBERS.replace_all(&one.said.message, "");
            let key = (one.level, one.said.file.clone(), message.into_owned());
            groups.entry(key).or_default().push(one);
        }
        let mut new = BTreeSet::new();
        for (key, group) in groups {
            let before = self.0.entry(key).or_default();
            new.extend(group.iter().skip(*before).copied().cloned());
            *before = group.len().max(*before);
        }
        new.into_iter().collect()
    }

    /// Renames the files and words of known diagnostics, after a step that moves and renames them.
    pub fn rename(&mut self, step: &Step) {
        for ((level, file, message), n) in self.0.clone() {
            let file = step.moves.get(&file).unwrap_or(&file).clone();
            let key = (level, file, step.rename(&message));
            let known = self.0.entry(key).or_default();
            *known = n.max(*known);
        }
    }
}

/// Divides diagnostics into warnings and, if the build failed, errors.
pub fn by_level(diagnostics: Vec<Diagnostic>, builds: bool) -> (Vec<Said>, Vec<Said>) {
    let (mut warnings, mut errors) = (Vec::new(), Vec::new());
    for Diagnostic { level, said } in diagnostics {
        if level == Level::Error && !builds {
            errors.push(said);
        } else {
            warnings.push(said);
        }
    }
    (warnings, errors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::every_patch::diagnostics::parse;

    fn said(text: &str) -> Vec<Diagnostic> {
        parse(text, "/linux")
    }

    fn lines(new: &[Diagnostic]) -> Vec<String> {
        let line = |d: &Diagnostic| {
            format!(
                "{}:{}: {}",
                d.said.file,
                d.said.line.unwrap_or(0),
                d.said.message
            )
        };
        new.iter().map(line).collect()
    }

    #[test]
    fn new_in_ignores_moved_lines() {
        let mut seen = Seen::default();
        assert_eq!(seen.new_in(&said("a.c:1:1: warning: w\n")).len(), 1);
        assert!(seen.new_in(&said("a.c:7:3: warning: w\n")).is_empty());
        let both = said("a.c:7:3: warning: w\na.c:9:3: warning: w\nb.c:1:1: warning: w\n");
        assert_eq!(lines(&seen.new_in(&both)), ["a.c:9: w", "b.c:1: w"]);
        assert!(seen.new_in(&both).is_empty());
        // The same number of repetitions is not new.
        assert!(seen.new_in(&said("a.c:1:1: warning: w\n")).is_empty());
        assert!(seen.new_in(&both).is_empty());
    }

    #[test]
    fn new_in_ignores_offsets() {
        let mut seen = Seen::default();
        seen.new_in(&said("a.o: warning: objtool: f+0x12: odd, see b.c:12\n"));
        assert!(
            seen.new_in(&said("a.o: warning: objtool: f+0x9f: odd, see b.c:99\n"))
                .is_empty()
        );
    }

    #[test]
    fn rename_keeps_known_diagnostics() {
        let steps = crate::source::relocation::read(
            std::path::Path::new("x/relocation.toml"),
            "[[step]]\nname = \"s\"\nfiles = [\"gpu/a.c\"]\n[step.move]\n\"drm/a.c\" = \"gpu/a.c\"\n\
             [step.part]\ndrm_a = \"gpu_a\"\n",
        )
        .unwrap();
        let mut seen = Seen::default();
        seen.new_in(&said("drm/a.c:1:1: warning: drm_a_get is odd\n"));
        seen.rename(&steps[0]);
        let new = seen.new_in(&said(
            "gpu/a.c:4:1: warning: gpu_a_get is odd\ngpu/a.c:5:1: warning: gpu_a_put is odd\n",
        ));
        assert_eq!(lines(&new), ["gpu/a.c:5: gpu_a_put is odd"]);
    }

    #[test]
    fn by_level_error_without_failure() {
        let one = said("a.c:1:1: error: bad constant expression\n");
        let (warnings, errors) = by_level(one.clone(), true);
        assert_eq!((warnings.len(), errors.len()), (1, 0));
        let (warnings, errors) = by_level(one, false);
        assert_eq!((warnings.len(), errors.len()), (0, 1));
    }
}
