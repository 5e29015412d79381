// SPDX-License-Identifier: GPL-2.0

//! The commits of all series: each series on the base and its dependencies, and all series in one
//! chain.

mod assembler;

pub use self::assembler::assemble;
use crate::{
    git::{BaseCommit, Identity, PatchCommit},
    mail::mailbox::Person,
    patches::plan::{PlannedPatch, PlannedSeries},
    source::{
        manifest::{Series, selected_series, unknown_series},
        relocation,
    },
    sys::Result,
    versions::trailers::{MessageWithTrailers, TrailerState, store::Entry},
};

#[derive(Debug, Clone)]
pub struct AssembledSeries {
    pub plan: PlannedSeries,
    /// The names of the dependencies, in the order to apply them.
    pub below: Vec<String>,
    /// The parent of the first patch: the base, or the last patch of the dependencies.
    pub parent: PatchCommit,
    pub patches: Vec<PatchCommit>,
    /// The messages of the patches, with trailers.
    pub messages: Vec<MessageWithTrailers>,
}

impl AssembledSeries {
    pub fn name(&self) -> &str {
        self.plan.name()
    }

    /// Returns the recorded trailers of each patch and their states.
    pub fn trailers(&self) -> impl Iterator<Item = (&[Entry], &[TrailerState])> {
        let patches = self.plan.patches.iter().zip(&self.messages);
        patches.map(|(patch, message)| (&patch.trailers[..], &message.states[..]))
    }

    /// Returns each patch with the commit before it and its own.
    pub fn steps(&self) -> impl Iterator<Item = (&PlannedPatch, &PatchCommit, &PatchCommit)> {
        let parents = [&self.parent].into_iter().chain(&self.patches);
        let commits = parents.zip(&self.patches);
        let patches = self.plan.patches.iter().zip(commits);
        patches.map(|(planned, (before, after))| (planned, before, after))
    }

    /// Returns the authors of the patches. Patches of components are authored by `who`.
    pub fn authors(&self, who: &Identity) -> Vec<Person> {
        let of = |patch: &PlannedPatch| {
            let (name, email) = match patch.author() {
                Some(author) => (&author.name, &author.email),
                None => (&who.name, &who.email),
            };
            let (name, email) = (name.clone(), email.clone());
            Person { name, email }
        };
        self.plan.patches.iter().map(of).collect()
    }

    /// Returns the last patch, or the parent if the series has no patch.
    pub fn tip(&self) -> &PatchCommit {
        self.patches.last().unwrap_or(&self.parent)
    }
}

#[derive(Debug, Clone)]
pub struct Assembled {
    pub base: BaseCommit,
    /// The series, in dependency order.
    pub series: Vec<AssembledSeries>,
    /// The commit with all series.
    pub all: PatchCommit,
}

impl Assembled {
    pub fn named(&self, names: &[String]) -> Result<Vec<&AssembledSeries>> {
        let selected = self.selected(names)?;
        selected.iter().map(|name| self.find(name)).collect()
    }

    /// Returns the names of the series that `names` selects. The name of a component selects all
    /// its series, and an empty list selects all series.
    pub fn selected(&self, names: &[String]) -> Result<Vec<String>> {
        selected_series(&self.manifests(), names)
    }

    /// Returns the relocation steps of later series of the same component.
    pub fn steps_after(&self, one: &AssembledSeries) -> Vec<&relocation::Step> {
        let later = self.series.iter().skip_while(|s| s.name() != one.name());
        let later = later.skip(1).map(|s| &s.plan);
        let later = later.filter(|p| p.component.folder() == one.plan.component.folder());
        let patches = later.flat_map(|p| &p.patches);
        patches.filter_map(|p| p.relocate.as_ref()).collect()
    }

    fn manifests(&self) -> Vec<&Series> {
        self.series.iter().map(|s| s.plan.series()).collect()
    }

    /// Finds a series by name. The error lists all series.
    pub fn find(&self, name: &str) -> Result<&AssembledSeries> {
        Ok(&self.series[self.position(name)?])
    }

    pub fn position(&self, name: &str) -> Result<usize> {
        let found = self.series.iter().position(|s| s.name() == name);
        found.ok_or_else(|| unknown_series(&self.manifests(), name))
    }
}
