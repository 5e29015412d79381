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
            let (parent, tip) = (&other.parent, other.tip());
            if parent.tree == start {
                start = tip.tree.clone();
                continue;
            }
            start = walk.checkout.merge(parent, tip, &start)?.map_err(|files| {
                let series = one.name();
                Error::new(format!(
                    "cannot check {series} without {dependency}: {name} does not merge: {files}"
                ))
                .at(&one.plan.series().file, None)
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
        let (one, dependency) = (self.one, self.dependency);
        let patch = &one.patches[patches - 1];
        let tree = match walk.checkout.merge(&one.parent, patch, &self.start)? {
            Ok(tree) => tree,
            Err(files) => return Ok(Err(files)),
        };
        let what = format!("{} {patches} without {dependency}", one.name());
        let subject = match patches {
            1 => "its first patch".to_owned(),
            n => format!("its first {n} patches"),
        };
        let task = walk.task(what, &subject, &tree, Some(&self.start), true)?;
        Ok(Ok(task))
    }

    /// Returns how the first `patches` patches fail, or `None` if they build.
    fn probe(&self, walk: &mut Walk<'_>, seen: &Seen, patches: usize) -> Result<Option<Failure>> {
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
        let compiled = &walk.perform(&task)?[0][0];
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

    /// Finds the first patch that needs it. `seen` has the diagnostics with all dependencies.
    pub fn prove(&self, walk: &mut Walk<'_>, seen: &Seen) -> Result<Dependency> {
        let all = self.one.patches.len();
        let declared = self.declared();
        let probe = |patches| self.probe(walk, seen, patches);
        let failure = first_failing(all, declared, probe)?;
        let found = failure.as_ref().map_or(all, |f| f.patch - 1);
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

fn placed(said: &Said) -> String {
    match (said.file.as_str(), said.line) {
        ("", _) => said.message.clone(),
        (file, Some(line)) => format!("{file}:{line}: {}", said.message),
        (file, None) => format!("{file}: {}", said.message),
    }
}

/// Returns the failure of the first number from 1 to `all` at which `probe` fails. The search
/// starts at `guess` and `guess + 1`, and assumes that `probe` fails for all later numbers as well.
fn first_failing<T>(
    all: usize,
    guess: usize,
    mut probe: impl FnMut(usize) -> Result<Option<T>>,
) -> Result<Option<T>> {
    // Numbers up to `good` do not fail. `bad` does, with `failure`, or is beyond the last one.
    let (mut good, mut bad, mut failure) = (0, all + 1, None);
    let mut likely = [guess, guess + 1, all].into_iter();
    while good + 1 < bad {
        let is_open = |number: &usize| (good + 1..bad).contains(number);
        let next = likely.find(is_open).unwrap_or(good.midpoint(bad));
        match probe(next)? {
            None => good = next,
            found => (bad, failure) = (next, found),
        }
    }
    Ok(failure)
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
                        Ok((n >= first).then_some(n))
                    })
                    .unwrap();
                    let right = (first <= all).then_some(first);
                    assert_eq!(found, right, "{all} {first} {guess}");
                    if guess + 1 == first && first <= all {
                        // That nothing fails without patches needs no probe.
                        assert_eq!(probes, if guess == 0 { 1 } else { 2 });
                    }
                }
            }
        }
    }
}
