// SPDX-License-Identifier: GPL-2.0

//! Parts of a file that enter later than the file.

use std::{
    collections::BTreeMap,
    ops::Range, //
};

use crate::{
    patches::plan::{
        group::Group,
        manifest::Check, //
    },
    rust::items::{
        self,
        Item,
        Lack,
        Mark, //
    },
    source::{
        component::Component,
        manifest::{
            At,
            Parts,
            Withhold, //
        }, //
    },
    sys::error::Error, //
};

/// A part of a file that enters later than the file.
pub(super) struct Cut {
    /// The series, by its place among those of the component, and the patch in which it enters.
    pub(super) enters: (usize, usize),
    /// Its lines.
    pub(super) lines: Range<usize>,
    /// What becomes of them before.
    pub(super) mark: Mark,
}

impl Group<'_> {
    /// Looks up what enters later than its file, and where that may be.
    pub(super) fn withheld(&mut self, errors: &mut Vec<Error>) {
        let mut entered: BTreeMap<&str, usize> = BTreeMap::new();
        let mut touched: BTreeMap<&str, usize> = BTreeMap::new();
        let mut items = BTreeMap::new();
        let mut cuts: BTreeMap<String, Vec<Cut>> = BTreeMap::new();
        for (enters, component, patch) in self.all() {
            let (member, _) = enters;
            for hold in &patch.withhold {
                let At { value, line } = &hold.file;
                let err = |what: String| Check::new(component).err(*line, what);
                let Some(first) = entered.get(value.as_str()) else {
                    errors.push(
                        err(format!("{value} does not enter in an earlier patch"))
                            .help("withhold parts of a file that is there already"),
                    );
                    continue;
                };
                let before = touched.get(value.as_str()).unwrap_or(first);
                if !self.is_after(member, *before) {
                    let (name, before) = (component.name(), self.members[*before].name());
                    errors.push(err(format!("{value} is written by {before} as well")).help(
                        format!("let {name} depend on {before}, or {before} on {name}"),
                    ));
                    continue;
                }
                touched.insert(value, member);
                match self.parts(component, hold, &mut items) {
                    Ok(found) => {
                        cuts.entry(value.clone())
                            .or_default()
                            .extend(found.into_iter().map(|(lines, mark)| Cut {
                                enters,
                                lines,
                                mark,
                            }))
                    }
                    Err(faults) => errors.extend(faults),
                }
            }
            for file in &patch.files {
                entered.insert(&file.value, member);
            }
        }
        self.cuts = cuts;
    }

    /// The lines that a patch withholds. `items` are those of the files read so far.
    fn parts<'b>(
        &self,
        component: &Component,
        hold: &'b Withhold,
        items: &mut BTreeMap<&'b str, std::result::Result<Vec<Item>, (usize, String)>>,
    ) -> std::result::Result<Vec<(Range<usize>, Mark)>, Vec<Error>> {
        let At { value, line } = &hold.file;
        let check = Check::new(component);
        let file = component.place(format!("{}/tree/{value}", self.folder()));
        let file = file.display().to_string();
        let content = component.overlay.get(value);
        let text = content
            .and_then(|f| std::str::from_utf8(&f.content).ok())
            .unwrap_or("");
        let names = match &hold.parts {
            Parts::Text(lines) => {
                let found = places(text, lines);
                let [at] = found[..] else {
                    let times = found.len();
                    let what = format!("the withheld lines stand {times} times in {file}");
                    let help = "they have to be whole lines that stand there once, to the letter";
                    return Err(vec![check.err(*line, what).help(help)]);
                };
                let first = text[..at].matches('\n').count();
                let count = lines.matches('\n').count();
                return Ok(vec![(first..first + count, Mark::Line)]);
            }
            Parts::Items(names) => names,
        };
        let read = items.entry(value).or_insert_with(|| items::read(text));
        let items = read.as_ref().map_err(|(at, what)| {
            vec![
                Error::new(format!("is not Rust: {what}"))
                    .at(&file, *at)
                    .help("`items` names items of Rust files; withhold lines with `text`"),
            ]
        })?;
        let mut found = Vec::new();
        let mut errors = Vec::new();
        for At { value: name, line } in names {
            match items::find(items, name) {
                Ok(all) => found.extend(all.into_iter().map(|lines| (lines, Mark::Item))),
                Err(lack) => {
                    let (what, help) = said(name, &file, &lack);
                    errors.push(check.err(*line, what).help(help));
                }
            }
        }
        match errors.is_empty() {
            true => Ok(found),
            false => Err(errors),
        }
    }
}

/// What is wrong with the name of an item, and what to do.
fn said(name: &str, file: &str, lack: &Lack) -> (String, String) {
    match lack {
        Lack::Unknown(similar) => (
            format!("there is no item `{name}` in {file}"),
            match similar.is_empty() {
                true => {
                    "name it as it is declared there, without `pub`: \"fn new\", \"impl Foo\", \
                         \"impl Foo::fn new\""
                        .to_owned()
                }
                false => format!("similar ones are: `{}`", similar.join("`, `")),
            },
        ),
        Lack::Several(lines) => {
            let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
            (
                format!(
                    "the item `{name}` stands {} times in {file}: in lines {}",
                    lines.len(),
                    lines.join(", ")
                ),
                "write more of it, as \"impl From<u32> for Foo\", or withhold lines with `text`"
                    .to_owned(),
            )
        }
        Lack::Shared(line) => (
            format!("the item `{name}` shares its lines with other code in {file}:{line}"),
            "give it lines of its own".to_owned(),
        ),
    }
}

/// Where `lines` stand in `text` as whole lines.
fn places(text: &str, lines: &str) -> Vec<usize> {
    if lines.trim().is_empty() || !lines.ends_with('\n') {
        return Vec::new();
    }
    text.match_indices(lines)
        .map(|(at, _)| at)
        .filter(|at| *at == 0 || text.as_bytes()[at - 1] == b'\n')
        .collect()
}
