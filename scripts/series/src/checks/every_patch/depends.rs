// SPDX-License-Identifier: GPL-2.0

//! Verifies that each declared dependency is necessary: without it, the series fails, starting with
//! the patch that the manifest names.

use super::{
    Subject,
    compare::Seen,
    record::{Dependency, Failure, How},
    walk::{Task, Walk},
};
use crate::{
    git::Oid,
    patches::commits::AssembledSeries,
    source::manifest::{Series, below},
    sys::error::{Error, Result},
};

/// A series without one of its dependencies.
pub struct Without<'a> {
    one: &'a AssembledSeries,
    dependency: String,
    /// The tree of the base and the other dependencies.
    start: Oid,
}

/// A tree without the dependency, or the files that do not merge.
type Tree = std::result::Result<Oid, String>;

impl<'a> Without<'a> {
    /// Removes `dependency` and the series that build on it from the tree below `one`.
    ///
    /// # Errors
    ///
    /// The other dependencies do not merge without it.
    pub fn new(
        subject: &Subject<'_>,
        walk: &Walk<'_>,
        one: &'a AssembledSeries,
        dependency: &str,
    ) -> Result<Self> {
        let all: Vec<&Series> = subject
            .assembled
            .series
            .iter()
            .map(|s| s.plan.series())
            .collect();
        let needs = |name: &str| below(&all, name).iter().any(|s| s.name == dependency);
        let mut start = subject.assembled.base.tree.clone();
        for name in one.below.iter().filter(|n| *n != dependency && !needs(n)) {
            let other = subject.assembled.find(name)?;
            if other.parent.tree == start {
                start = other.tip().tree.clone();
                continue;
            }
            let (parent, tip) = (&other.parent.tree, &other.tip().tree);
            start = walk.checkout.merge(parent, &start, tip)?.map_err(|files| {
                Error::new(format!(
                    "cannot check {} without {dependency}: {name} does not merge: {files}",
                    one.name()
                ))
                .at(one.plan.series().file(), None)
            })?;
        }
        Ok(Self {
            one,
            dependency: dependency.to_owned(),
            start,
        })
    }

    /// Returns the tree after this number of patches.
    fn tree(&self, walk: &Walk<'_>, patches: usize) -> Result<Tree> {
        let Some(last) = patches.checked_sub(1) else {
            return Ok(Ok(self.start.clone()));
        };
        let patch = &self.one.patches[last].tree;
        walk.checkout
            .merge(&self.one.parent.tree, &self.start, patch)
    }

    fn task(&self, tree: Oid, patches: usize) -> Task {
        let name = self.one.name();
        Task {
            what: format!("{name} {patches} without {}", self.dependency),
            subject: match patches {
                1 => "its first patch".to_owned(),
                n => format!("its first {n} patches"),
            },
            tree,
            parent: Some(self.start.clone()),
            one_arch: true,
            rustdoc: false,
        }
    }

    /// Returns how the first `patches` patches fail, or `None` if they build.
    fn probe(&self, walk: &mut Walk<'_>, seen: &Seen, patches: usize) -> Result<Option<Failure>> {
        if patches == 0 {
            // The base and the other dependencies build.
            return Ok(None);
        }
        let failure = |how, error: String| Failure {
            patch: patches,
            subject: self.one.plan.patches[patches - 1].subject.clone(),
            how,
            error,
        };
        let tree = match self.tree(walk, patches)? {
            Ok(tree) => tree,
            Err(files) => return Ok(Some(failure(How::DoesNotApply, files))),
        };
        let task = self.task(tree, patches);
        let Some(made) = walk.perform(&task)?.into_iter().next() else {
            return Ok(None);
        };
        let mut seen = seen.clone();
        let new = seen.new_in(&made.compiled.said);
        let (warnings, errors) = super::compare::by_level(new, made.compiled.builds);
        let first = |list: &[super::record::Said]| {
            list.first().map_or("make fails".to_owned(), super::placed)
        };
        Ok(match (made.compiled.builds, warnings.is_empty()) {
            (false, _) => Some(failure(How::DoesNotBuild, first(&errors))),
            (true, false) => Some(failure(How::Warns, first(&warnings))),
            (true, true) => None,
        })
    }

    /// Returns the tasks to expect if the manifest is correct.
    pub fn tasks(&self, walk: &Walk<'_>) -> Result<Vec<Task>> {
        let declared = self.declared();
        let mut tasks = Vec::new();
        for patches in [declared, declared + 1] {
            if patches > 0
                && patches <= self.one.patches.len()
                && let Ok(tree) = self.tree(walk, patches)?
            {
                tasks.push(self.task(tree, patches));
            }
        }
        Ok(tasks)
    }

    fn declared(&self) -> usize {
        let without = &self.one.plan.series().without;
        without.get(&self.dependency).map_or(0, |n| n.value)
    }

    /// Determines the first patch that needs the dependency. `seen` holds the diagnostics of the
    /// series with all dependencies.
    ///
    /// # Errors
    ///
    /// As for [`Walk::perform`].
    pub fn prove(&self, walk: &mut Walk<'_>, seen: &Seen) -> Result<Dependency> {
        let all = self.one.patches.len();
        let declared = self.declared();
        let found = first_failing(all, declared.min(all), |patches| {
            self.probe(walk, seen, patches)
        })?;
        let (found, failure) = match found {
            Some((patch, failure)) => (patch - 1, Some(failure)),
            None => (all, None),
        };
        Ok(Dependency {
            name: self.dependency.clone(),
            without: declared,
            found,
            needed: failure.is_some(),
            pass: failure.is_some() && found == declared,
            failure,
        })
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
