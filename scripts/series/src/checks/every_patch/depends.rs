// SPDX-License-Identifier: GPL-2.0

//! Verifies that each declared dependency is necessary: without it, the series fails, starting with
//! the patch that the manifest names.

use super::{
    compare::{Seen, by_level},
    record::{Dependency, Failure, How, Said},
    walk::{Task, Walk},
};
use crate::{
    git::Oid,
    patches::commits::AssembledSeries,
    source::manifest::below,
    sys::{Error, Result},
};

/// A series without one of its dependencies.
pub struct Without<'a> {
    one: &'a AssembledSeries,
    dependency: &'a str,
    /// The tree of the base and the other dependencies.
    start: Oid,
}

impl<'a> Without<'a> {
    /// Removes `dependency` and the series that build on it from the tree below `one`.
    pub fn new(walk: &Walk<'_>, one: &'a AssembledSeries, dependency: &'a str) -> Result<Self> {
        let assembled = walk.subject.assembled;
        let all: Vec<_> = assembled.series.iter().map(|s| s.plan.series()).collect();
        let needs = |name: &str| below(&all, name).iter().any(|s| s.name == dependency);
        let mut start = assembled.base.tree.clone();
        for name in one.below.iter().filter(|n| *n != dependency && !needs(n)) {
            let other = assembled.find(name)?;
            let (parent, tip) = (&other.parent.tree, &other.tip().tree);
            if *parent == start {
                start = tip.clone();
                continue;
            }
            start = walk.checkout.merge(parent, &start, tip)?.map_err(|files| {
                let series = one.name();
                Error::new(format!(
                    "cannot check {series} without {dependency}: {name} does not merge: {files}"
                ))
                .at(one.plan.series().file(), None)
            })?;
        }
        Ok(Self {
            one,
            dependency,
            start,
        })
    }

    /// Returns the task for this number of patches, or the files with conflicts.
    fn task(&self, walk: &Walk<'_>, patches: usize) -> Result<Result<Task, String>> {
        let (name, parent) = (self.one.name(), &self.one.parent.tree);
        let patch = &self.one.patches[patches - 1].tree;
        let tree = walk.checkout.merge(parent, &self.start, patch)?;
        Ok(tree.map(|tree| Task {
            what: format!("{name} {patches} without {}", self.dependency),
            subject: match patches {
                1 => "its first patch".to_owned(),
                n => format!("its first {n} patches"),
            },
            tree,
            parent: Some(self.start.clone()),
            one_arch: true,
            rustdoc: false,
        }))
    }

    /// Returns how the first `patches` patches fail, or `None` if they build.
    fn probe(&self, walk: &mut Walk<'_>, seen: &Seen, patches: usize) -> Result<Option<Failure>> {
        if patches == 0 {
            // The base and the other dependencies build.
            return Ok(None);
        }
        let failure = |how, error| {
            Some(Failure {
                patch: patches,
                subject: self.one.plan.patches[patches - 1].subject.clone(),
                how,
                error,
            })
        };
        let task = match self.task(walk, patches)? {
            Ok(task) => task,
            Err(files) => return Ok(failure(How::DoesNotApply, files)),
        };
        let made = walk.perform(&task)?;
        let Some(compiled) = made.first().map(|made| &made.compiled) else {
            return Ok(None);
        };
        let new = seen.clone().new_in(&compiled.said);
        let (warnings, errors) = by_level(new, compiled.builds);
        let first = |list: &[Said]| list.first().map_or("make fails".to_owned(), placed);
        Ok(match (compiled.builds, warnings.is_empty()) {
            (false, _) => failure(How::DoesNotBuild, first(&errors)),
            (true, false) => failure(How::Warns, first(&warnings)),
            (true, true) => None,
        })
    }

    /// Returns the tasks to expect if the manifest is correct.
    pub fn tasks(&self, walk: &Walk<'_>) -> Result<Vec<Task>> {
        let declared = self.declared();
        let mut tasks = Vec::new();
        for patches in [declared, declared + 1] {
            if (1..=self.one.patches.len()).contains(&patches) {
                tasks.extend(self.task(walk, patches)?);
            }
        }
        Ok(tasks)
    }

    fn declared(&self) -> usize {
        let without = &self.one.plan.series().without;
        without.get(self.dependency).map_or(0, |n| n.value)
    }

    /// Determines the first patch that needs the dependency. `seen` holds the diagnostics of the
    /// series with all dependencies.
    pub fn prove(&self, walk: &mut Walk<'_>, seen: &Seen) -> Result<Dependency> {
        let all = self.one.patches.len();
        let declared = self.declared();
        let probe = |patches| self.probe(walk, seen, patches);
        let (found, failure) = match first_failing(all, declared.min(all), probe)? {
            Some((patch, failure)) => (patch - 1, Some(failure)),
            None => (all, None),
        };
        Ok(Dependency {
            name: self.dependency.to_owned(),
            without: declared,
            found,
            needed: failure.is_some(),
            pass: failure.is_some() && found == declared,
            failure,
        })
    }
}

/// Formats a message as one line with its place.
fn placed(said: &Said) -> String {
    match (said.file.as_str(), said.line) {
        ("", _) => said.message.clone(),
        (file, Some(line)) => format!("{file}:{line}: {}", said.message),
        (file, None) => format!("{file}: {}", said.message),
    }
}

/// Returns the first number from 1 to `all` at which `probe` fails, and the failure. The search
/// starts at `guess + 1`, and assumes that `probe` fails for all later numbers as well.
fn first_failing<T>(
    all: usize,
    guess: usize,
    mut probe: impl FnMut(usize) -> Result<Option<T>>,
) -> Result<Option<(usize, T)>> {
    // Numbers up to `good` do not fail; `bad` does.
    let (mut good, mut bad) = match probe(guess)? {
        Some(failure) => (0, (guess, failure)),
        None if guess == all => return Ok(None),
        None => match probe(guess + 1)? {
            Some(failure) => return Ok(Some((guess + 1, failure))),
            None => match probe(all)? {
                Some(failure) => (guess + 1, (all, failure)),
                None => return Ok(None),
            },
        },
    };
    while good + 1 < bad.0 {
        let middle = good + (bad.0 - good) / 2;
        match probe(middle)? {
            Some(failure) => bad = (middle, failure),
            None => good = middle,
        }
    }
    Ok(Some(bad))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_failing_from_any_guess() {
        for all in 1..9 {
            for first in 1..=all + 1 {
                for guess in 0..=all {
                    let mut probes = 0;
                    let found = first_failing(all, guess, |n| {
                        probes += 1;
                        Ok((n >= first && n > 0).then_some(n))
                    })
                    .unwrap();
                    let right = (first <= all).then_some((first, first));
                    assert_eq!(found, right, "{all} {first} {guess}");
                    if guess + 1 == first && first <= all {
                        assert_eq!(probes, 2);
                    }
                }
            }
        }
    }
}
