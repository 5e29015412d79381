// SPDX-License-Identifier: GPL-2.0

//! What was found, as data.

use serde::Serialize;

/// How the series fare on another base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The other base.
    pub base: BaseReport,
    /// The release that the series are made for.
    pub made_for: String,
    /// The series, in dependency order.
    pub series: Vec<SeriesReport>,
}

/// The other base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BaseReport {
    /// By which the results are named.
    pub name: String,
    /// The release that it says it is.
    pub version: String,
    /// What was looked at.
    pub from: String,
    /// Its tree.
    pub tree: String,
}

/// A series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeriesReport {
    /// Its name.
    pub name: String,
    /// What it builds on, in the order to apply.
    pub depends: Vec<String>,
    /// How it fares behind what of those applies.
    pub verdict: Verdict,
    /// How it fares without what it builds on; `None` if it builds on nothing.
    pub alone: Option<Verdict>,
    /// Of what is missing of series that it builds on and that are there in part: what it uses, as
    /// far as words tell.
    pub needs: Vec<Name>,
    /// The names that it brings, against those that the base has.
    pub names: NamesReport,
    /// Its patches.
    pub patches: Vec<PatchReport>,
}

/// The outcome for a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// In a word.
    pub is: Is,
    /// Patches that apply, of which some may do so with an offset or by a merge.
    pub apply: usize,
    /// Patches whose whole content is there.
    pub there: usize,
    /// Patches of which a part is there, while the rest applies or is missing.
    pub in_part: usize,
    /// Patches with a conflict of their own.
    pub conflict: usize,
    /// Patches that fail only because of earlier ones.
    pub follow: usize,
    /// The first patch with a conflict of its own, from 1.
    pub first_conflict: Option<usize>,
}

/// The outcome in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Is {
    /// Every patch applies.
    Applies,
    /// All of it is there.
    There,
    /// A part of it is there.
    InPart,
    /// Nothing of it is there, and not all of it applies.
    Conflicts,
    /// It has no patches.
    Empty,
}

/// Names that a series brings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NamesReport {
    /// Those that the base has.
    pub there: Vec<Name>,
    /// Those that it has not.
    pub missing: Vec<Name>,
    /// Those that one of its macros may make; only a compiler can tell.
    pub unsure: Vec<Name>,
    /// Those that the base has in the same modules, and the series has not.
    pub only_there: Vec<Name>,
}

/// A name, and where it is defined.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Name {
    /// The file: the base's if it is there, else that of the series.
    pub file: String,
    /// The name, below the module or file that was compared.
    pub name: String,
}

/// A patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PatchReport {
    /// Its number in the series, from 1.
    pub number: usize,
    /// The first line of its message.
    pub subject: String,
    /// Its outcome.
    pub is: PatchIs,
    /// Its parts.
    pub parts: Vec<Part>,
}

/// The outcome for a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatchIs {
    /// It applies.
    Applies,
    /// All of it is there.
    There,
    /// A part is there; the rest applies, or is a name that is missing.
    InPart,
    /// It does not apply.
    Conflicts,
    /// It does not apply, but would if earlier ones did.
    Follows,
}

/// A part of a patch: a file, a step of a relocation, or a hunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Where it is written down here: file, and line where there is one.
    pub source: String,
    /// The file of the base that it is about.
    pub path: String,
    /// The header of the hunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hunk: Option<String>,
    /// What is found.
    #[serde(flatten)]
    pub finding: Finding,
}

/// What becomes of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum Finding {
    /// A new file, at a path that is free.
    Enters,
    /// It fits, so many lines further down than on the base that it was made for.
    Applies {
        /// The offset.
        offset: i64,
        /// If most of the lines that come stand in the file already: those that do.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        doubles: Vec<String>,
    },
    /// A three-way merge of the file succeeds.
    Merges {
        /// As above.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        doubles: Vec<String>,
    },
    /// It is there.
    There {
        /// How that is known.
        #[serde(flatten)]
        how: How,
    },
    /// Some of its names are there.
    InPart {
        /// The file that has most of those that are there.
        at: String,
        /// Those that are there.
        there: Vec<String>,
        /// Those that are not.
        missing: Vec<String>,
    },
    /// The base has made the step, but some of what it changes still stands there.
    Left {
        /// The files, each with what stands there.
        files: Vec<String>,
    },
    /// It does not fit.
    Conflicts {
        /// Why.
        why: String,
        /// What stands there.
        #[serde(skip_serializing_if = "Option::is_none")]
        near: Option<Excerpt>,
        /// The patches without which it would fit: then nothing is wrong with it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        after: Vec<Cause>,
    },
}

/// How it is known that something is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "how", content = "where", rename_all = "kebab-case")]
pub enum How {
    /// The file is the same.
    Same,
    /// All names are there, in this file.
    Names(String),
    /// The path is there, with another content; there are no names to compare.
    Path(String),
    /// The hunk can be taken back.
    Reverse,
    /// The lines that come are there, those that go are not; around them it looks otherwise.
    Lines,
    /// A three-way merge changes nothing.
    Merge,
    /// The file has what all patches of the series make of it.
    End,
    /// The paths and the words of the step are the new ones.
    Step,
    /// The file is gone.
    Gone,
}

/// Lines of the base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excerpt {
    /// The number of the first of them, from 1.
    pub line: usize,
    /// The lines.
    pub lines: Vec<String>,
    /// The line that the hunk wants there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wants: Option<String>,
}

/// An earlier patch that did not go in as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cause {
    /// Its series.
    pub series: String,
    /// Its number, from 1.
    pub patch: usize,
}

impl Finding {
    /// It fits where it should.
    pub fn applies() -> Self {
        Self::applies_at(0)
    }

    /// It fits with this offset.
    pub fn applies_at(offset: i64) -> Self {
        Finding::Applies {
            offset,
            doubles: Vec::new(),
        }
    }

    /// Whether it is a conflict.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Finding::Conflicts { .. })
    }

    /// Whether it is a conflict of its own.
    pub fn is_own_conflict(&self) -> bool {
        matches!(self, Finding::Conflicts { after, .. } if after.is_empty())
    }

    /// Whether the file of the base is afterwards what the patch makes of it, or was before.
    pub fn is_exact(&self) -> bool {
        match self {
            Finding::Enters | Finding::Applies { .. } | Finding::Merges { .. } => true,
            Finding::There { how } => {
                matches!(
                    how,
                    How::Same | How::Reverse | How::Merge | How::End | How::Step | How::Gone
                )
            }
            // What is moved and renamed stays so.
            Finding::Left { .. } => true,
            Finding::InPart { .. } | Finding::Conflicts { .. } => false,
        }
    }
}

impl PatchIs {
    /// From what became of the parts.
    pub fn of(parts: &[Part]) -> Self {
        let any = |test: &dyn Fn(&Finding) -> bool| parts.iter().any(|p| test(&p.finding));
        let there = |f: &Finding| matches!(f, Finding::There { .. });
        let in_part = |f: &Finding| matches!(f, Finding::InPart { .. } | Finding::Left { .. });
        if any(&Finding::is_own_conflict) {
            PatchIs::Conflicts
        } else if any(&Finding::is_conflict) {
            PatchIs::Follows
        } else if !any(&there) && !any(&in_part) {
            PatchIs::Applies
        } else if parts.iter().all(|p| there(&p.finding)) {
            PatchIs::There
        } else {
            PatchIs::InPart
        }
    }
}

impl Verdict {
    /// From what became of the patches.
    pub fn of(patches: &[PatchReport]) -> Self {
        let count = |is| patches.iter().filter(|p| p.is == is).count();
        let first = patches.iter().find(|p| p.is == PatchIs::Conflicts);
        let (apply, there, in_part) = (
            count(PatchIs::Applies),
            count(PatchIs::There),
            count(PatchIs::InPart),
        );
        let part_there = |p: &PatchReport| {
            let mut findings = p.parts.iter().map(|p| &p.finding);
            // A line that is there by chance does not make a series one that is there.
            findings.any(|f| {
                matches!(
                    f,
                    Finding::InPart { .. }
                        | Finding::Left { .. }
                        | Finding::There {
                            how: How::Names(_) | How::Step | How::Same | How::End
                        }
                )
            })
        };
        let is = if patches.is_empty() {
            Is::Empty
        } else if there == patches.len() {
            Is::There
        } else if apply == patches.len() {
            Is::Applies
        } else if there + in_part > 0 || patches.iter().any(part_there) {
            Is::InPart
        } else {
            Is::Conflicts
        };
        Self {
            is,
            apply,
            there,
            in_part,
            conflict: count(PatchIs::Conflicts),
            follow: count(PatchIs::Follows),
            first_conflict: first.map(|p| p.number),
        }
    }
}
