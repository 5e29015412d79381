// SPDX-License-Identifier: GPL-2.0

//! Withheld parts: lines and items that a later patch adds to a file.

use std::{collections::BTreeMap, ops::Range};

use crate::{
    patches::plan::group::{SeriesGroup, WithheldPart},
    rust::items::{self, Item, Lack, Mark},
    source::{
        component::Component,
        manifest::{At, Withhold},
    },
    sys::{Error, Result},
};

/// The items of parsed files, or the line and the error of files that are not Rust.
type Parsed<'a> = BTreeMap<&'a str, Result<Vec<Item>, (usize, String)>>;

impl SeriesGroup<'_> {
    /// Finds the withheld parts, and checks that their patches follow the patch that adds the file.
    pub(super) fn find_withheld(&mut self, errors: &mut Vec<Error>) {
        // The last series that adds or completes each file.
        let mut touched: BTreeMap<&str, usize> = BTreeMap::new();
        let mut items = BTreeMap::new();
        let mut withheld: BTreeMap<String, Vec<WithheldPart>> = BTreeMap::new();
        for (enters, component, patch) in self.all() {
            let (member, _) = enters;
            for hold in &patch.withhold {
                let At { value: file, line } = &hold.file;
                let error = |what: String| component.series.error(*line, what);
                let Some(before) = touched.get(file.as_str()) else {
                    let help = "withhold parts of a file that an earlier patch adds";
                    errors.push(error(format!("no earlier patch adds {file}")).help(help));
                    continue;
                };
                if !self.is_after(member, *before) {
                    let (name, before) = (component.name(), self.members[*before].name());
                    let help = format!("let {name} depend on {before}, or {before} on {name}");
                    errors.push(error(format!("{before} changes {file} as well")).help(help));
                    continue;
                }
                touched.insert(file, member);
                match self.parts(enters, component, hold, &mut items) {
                    Ok(parts) => {
                        let known = withheld.entry(file.clone()).or_default();
                        let is_known =
                            |part: &WithheldPart| known.iter().any(|k| k.lines == part.lines);
                        if let Some(twice) = parts.iter().find(|part| is_known(part)) {
                            let line = twice.lines.start + 1;
                            let what =
                                format!("the part of {file} in line {line} is withheld twice");
                            errors.push(error(what).help("it enters with one patch; remove one"));
                        }
                        known.extend(parts);
                    }
                    Err(e) => errors.push(e),
                }
            }
            touched.extend(patch.files.iter().map(|f| (f.value.as_str(), member)));
        }
        self.withheld = withheld;
    }

    /// Returns the parts of `component` that the patch at `enters` withholds.
    fn parts<'b>(
        &self,
        enters: (usize, usize),
        component: &Component,
        hold: &'b Withhold,
        parsed: &mut Parsed<'b>,
    ) -> Result<Vec<WithheldPart>> {
        let part = |lines: Range<usize>, mark| WithheldPart {
            enters,
            lines,
            mark,
        };
        let At { value, line } = &hold.file;
        let series = &component.series;
        let file = component.place(self.plain("tree", value));
        let file = file.display().to_string();
        let content = component.overlay.get(value).map(|f| f.content.as_slice());
        let text = std::str::from_utf8(content.unwrap_or_default()).unwrap_or("");
        if let Some(at) = text.find(items::MARKS) {
            let at = text[..at].matches('\n').count() + 1;
            let error = Error::new("the line has a control character").at(&file, at);
            return Err(error.help("remove it; parts of this file are withheld"));
        }
        if let Some(lines) = &hold.text {
            let found = occurrences(text, lines);
            let [at] = found[..] else {
                let times = found.len();
                let what = format!("the withheld lines occur {times} times in {file}");
                let help = "`text` must match whole lines exactly once";
                return Err(series.error(*line, what).help(help));
            };
            let first = text[..at].matches('\n').count();
            let count = lines.matches('\n').count();
            return Ok(vec![part(first..first + count, Mark::Line)]);
        }
        let read = parsed.entry(value).or_insert_with(|| items::read(text));
        let items = read.as_ref().map_err(|(at, what)| {
            let error = Error::new(format!("cannot be parsed as Rust: {what}")).at(&file, *at);
            error.help("`items` needs a Rust file; withhold lines with `text`")
        })?;
        let found = hold.items.iter().flatten().map(|At { value: name, line }| {
            items::find(items, name).map_err(|lack| {
                let (what, help) = item_fault(name, &file, &lack);
                series.error(*line, what).help(help)
            })
        });
        let found = Error::collect(found)?.into_iter().flatten();
        Ok(found.map(|lines| part(lines, Mark::Item)).collect())
    }
}

/// Returns the message and the help for an item that cannot be found.
fn item_fault(name: &str, file: &str, lack: &Lack) -> (String, String) {
    match lack {
        Lack::Unknown(similar) => {
            let help = if similar.is_empty() {
                "write it as declared, without `pub`: \"fn new\", \"impl Foo\", \
                 \"impl Foo::fn new\""
                    .to_owned()
            } else {
                format!("similar items: `{}`", similar.join("`, `"))
            };
            (format!("{file} has no item `{name}`"), help)
        }
        Lack::Several(lines) => {
            let (times, lines) = (lines.len(), lines.iter().map(usize::to_string));
            let lines = lines.collect::<Vec<_>>().join(", ");
            let what =
                format!("the item `{name}` occurs {times} times in {file}, in lines {lines}");
            let help = "be more specific, as in \"impl From<u32> for Foo\", or withhold lines with \
                        `text`";
            (what, help.to_owned())
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
    let found = text.match_indices(lines).map(|(at, _)| at);
    found
        .filter(|at| *at == 0 || text.as_bytes()[at - 1] == b'\n')
        .collect()
}
