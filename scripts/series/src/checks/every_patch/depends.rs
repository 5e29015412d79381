// SPDX-License-Identifier: GPL-2.0

//! Whether each declared dependency is needed: the series without it has to fail, and from the
//! patch on that the manifest names.

use super::{
    Subject,
    compare::Seen,
    record::{
        Dependency,
        Failure,
        How, //
    },
    walk::{
        Task,
        Walk, //
    },
};
use crate::{
    git::Oid,
    patches::commits::AssembledSeries,
    source::manifest::{
        Series,
        below, //
    },
    sys::error::{
        Error,
        Result, //
    }, //
};

/// How a series fares without one of its dependencies.
pub struct Without<'a> {
    one: &'a AssembledSeries,
    dependency: String,
    /// The base and the other dependencies.
    start: Oid,
}

/// A tree without a dependency, or what does not merge.
type Tree = std::result::Result<Oid, String>;

impl<'a> Without<'a> {
    /// Takes `dependency` away from `one`, and what builds on it.
    ///
    /// # Errors
    ///
    /// The other dependencies do not go together without it.
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
                    "{} cannot be looked at without {dependency}: {name} does not merge: {files}",
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

    /// The tree after so many patches.
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
                1 => "its first patch alone".to_owned(),
                n => format!("its first {n} patches"),
            },
            tree,
            parent: Some(self.start.clone()),
            one_arch: true,
            rustdoc: false,
        }
    }

    /// How the first `patches` patches fail, or `None` if they do not.
    fn probe(&self, walk: &mut Walk<'_>, seen: &Seen, patches: usize) -> Result<Option<Failure>> {
        if patches == 0 {
            // Nothing of the series is there.
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

    /// The tasks that are to be expected if the manifest is right.
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

    /// Finds out from which patch on the dependency is needed. `seen` is all that the series with
    /// its dependencies has to say.
    ///
    /// # Errors
    ///
    /// As [`Walk::perform`].
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

/// The first number from 1 to `all` at which `probe` fails, and how; looked for from the guess
/// that it is the one after `guess`. What fails once is taken to fail from then on.
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
    fn the_first_that_fails_is_found_from_any_guess() {
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
