// SPDX-License-Identifier: GPL-2.0

//! Withheld parts: lines and items that a later patch adds to a file.

use std::{collections::BTreeMap, ops::Range};

use crate::{
    patches::plan::{
        group::{SeriesGroup, WithheldPart},
        manifest::ManifestCheck,
    },
    rust::items::{self, Item, Lack, Mark},
    source::{
        component::Component,
        manifest::{At, Parts, Withhold},
    },
    sys::error::Error,
};

impl SeriesGroup<'_> {
    /// Finds the withheld parts, and checks that their patches follow the patch that adds the file.
    pub(super) fn find_withheld(&mut self, errors: &mut Vec<Error>) {
        let mut entered: BTreeMap<&str, usize> = BTreeMap::new();
        let mut touched: BTreeMap<&str, usize> = BTreeMap::new();
        let mut items = BTreeMap::new();
        let mut withheld: BTreeMap<String, Vec<WithheldPart>> = BTreeMap::new();
        for (enters, component, patch) in self.all() {
            let (member, _) = enters;
            for hold in &patch.withhold {
                let At { value, line } = &hold.file;
                let err = |what: String| ManifestCheck::new(component).err(*line, what);
                let Some(first) = entered.get(value.as_str()) else {
                    errors.push(
                        err(format!("no earlier patch adds {value}"))
                            .help("withhold parts of a file that an earlier patch adds"),
                    );
                    continue;
                };
                let before = touched.get(value.as_str()).unwrap_or(first);
                if !self.is_after(member, *before) {
                    let (name, before) = (component.name(), self.members[*before].name());
                    errors.push(
                        err(format!("{before} changes {value} as well")).help(format!(
                            "let {name} depend on {before}, or {before} on {name}"
                        )),
                    );
                    continue;
                }
                touched.insert(value, member);
                match self.parts(component, hold, &mut items) {
                    Ok(found) => {
                        withheld
                            .entry(value.clone())
                            .or_default()
                            .extend(found.into_iter().map(|(lines, mark)| WithheldPart {
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
        self.withheld = withheld;
    }

    /// Returns the lines that a patch withholds. `items` caches the items of parsed files.
    fn parts<'b>(
        &self,
        component: &Component,
        hold: &'b Withhold,
        items: &mut BTreeMap<&'b str, std::result::Result<Vec<Item>, (usize, String)>>,
    ) -> std::result::Result<Vec<(Range<usize>, Mark)>, Vec<Error>> {
        let At { value, line } = &hold.file;
        let check = ManifestCheck::new(component);
        let file = component.place(format!("{}/tree/{value}", self.folder()));
        let file = file.display().to_string();
        let content = component.overlay.get(value);
        let text = content
            .and_then(|f| std::str::from_utf8(&f.content).ok())
            .unwrap_or("");
        let names = match &hold.parts {
            Parts::Text(lines) => {
                let found = occurrences(text, lines);
                let [at] = found[..] else {
                    let times = found.len();
                    let what = format!("the withheld lines occur {times} times in {file}");
                    let help = "`text` must match whole lines exactly once";
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
                Error::new(format!("cannot be parsed as Rust: {what}"))
                    .at(&file, *at)
                    .help("`items` needs a Rust file; withhold lines with `text`"),
            ]
        })?;
        let mut found = Vec::new();
        let mut errors = Vec::new();
        for At { value: name, line } in names {
            match items::find(items, name) {
                Ok(all) => found.extend(all.into_iter().map(|lines| (lines, Mark::Item))),
                Err(lack) => {
                    let (what, help) = item_fault(name, &file, &lack);
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

/// Returns the message and the help for an item that cannot be found.
fn item_fault(name: &str, file: &str, lack: &Lack) -> (String, String) {
    match lack {
        Lack::Unknown(similar) => (
            format!("{file} has no item `{name}`"),
            match similar.is_empty() {
                true => "write it as declared, without `pub`: \"fn new\", \"impl Foo\", \
                         \"impl Foo::fn new\""
                    .to_owned(),
                false => format!("similar items: `{}`", similar.join("`, `")),
            },
        ),
        Lack::Several(lines) => {
            let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
            (
                format!(
                    "the item `{name}` occurs {} times in {file}, in lines {}",
                    lines.len(),
                    lines.join(", ")
                ),
                "be more specific, as in \"impl From<u32> for Foo\", or withhold lines with `text`"
                    .to_owned(),
            )
        }
        Lack::Shared(line) => (
            format!("the item `{name}` shares its lines with other code in {file}:{line}"),
            "put it on separate lines".to_owned(),
        ),
    }
}

/// Returns the offsets in `text` at which `lines` occur as whole lines.
fn occurrences(text: &str, lines: &str) -> Vec<usize> {
    if lines.trim().is_empty() || !lines.ends_with('\n') {
        return Vec::new();
    }
    text.match_indices(lines)
        .map(|(at, _)| at)
        .filter(|at| *at == 0 || text.as_bytes()[at - 1] == b'\n')
        .collect()
}
