// SPDX-License-Identifier: GPL-2.0

//! Writes `out/`: patches, cover letters, mailboxes, and `series.json`.

mod cover_letter;
mod mails;
mod series_json;

use std::path::Path;

use crate::{
    git::{Git, Identity},
    mail::bundle,
    patches::{commits::AssembledSeries, output::cover_letter::letter},
    source::workspace::Workspace,
    sys::{
        Result,
        files::{list, remove, write},
        json,
    },
};

pub use self::{
    cover_letter::{Cover, Material},
    mails::{Mails, mails},
    series_json::{BaseReport, PatchReport, PostedReport, Report, SeriesReport, read_report},
};

type Boxes<'a> = Vec<(&'a str, Vec<Vec<u8>>)>;

/// Writes `out/` and returns the report. `covers` has the cover of each series. `series.json` lists
/// all series, and is written only if the `whole` workspace was assembled.
pub fn emit(
    ws: &Workspace,
    git: &Git<'_>,
    material: &Material<'_>,
    covers: &[Cover],
    who: &Identity,
    whole: bool,
) -> Result<Report> {
    let (assembled, base) = (material.assembled, material.base);
    let out = ws.out()?;
    let mut boxes = Boxes::new();
    let mut series = Vec::new();
    let written = assembled.series.iter().zip(material.mails);
    for ((one, mails), cover) in written.zip(covers) {
        let posted = one.plan.component.posted().map(|p| PostedReport {
            version: p.version,
            link: p.link(),
            unchanged: material.as_posted(one).is_some(),
        });
        let folder = format!("{}/v{}", one.name(), one.plan.series().version);
        let to = out.join(&folder);
        if !one.patches.is_empty() {
            let letter = letter(git, one, cover, who, mails)?;
            write_mails(&to, one, letter, mails, who, &mut boxes)?;
            if let Some(since) = material.since.get(one.name()) {
                let comparison = &since.comparison;
                json::write(&to.with_extension("changes.json"), comparison)?;
                write(&to.with_extension("range-diff"), comparison.text.as_bytes())?;
            }
        }
        let folder = ws.below_out(folder).display().to_string();
        series.push(SeriesReport::of(one, cover, posted, folder, mails));
    }
    let report = Report {
        base: BaseReport {
            version: base.version.clone(),
            upstream_commit: base.upstream_commit.clone(),
            commit: assembled.base.commit.clone(),
            tree: assembled.base.tree.clone(),
        },
        series,
        all: assembled.all.clone(),
    };
    if whole {
        json::write(&out.join("series.json"), &report)?;
    }
    Ok(report)
}

/// Writes the patches of a series to a folder, and its mailboxes next to it.
fn write_mails<'a>(
    to: &Path,
    one: &'a AssembledSeries,
    letter: Vec<u8>,
    mails: &Mails,
    who: &Identity,
    boxes: &mut Boxes<'a>,
) -> Result<()> {
    let series = one.plan.series();
    let mut files = vec![("0000-cover-letter.patch".to_owned(), letter)];
    files.extend(mails.patches.iter().cloned());
    for (number, (_, mail)) in files.iter_mut().enumerate() {
        *mail = bundle::with_id(series, number, mail, who);
    }
    replace_patches(to, &files)?;
    let patches: Vec<Vec<u8>> = files.into_iter().skip(1).map(|(_, mail)| mail).collect();
    write(&to.with_extension("mbox"), &patches.concat())?;
    boxes.push((one.name(), patches));
    let is_in = |name: &str| name == one.name() || one.below.iter().any(|b| b == name);
    let bundle = boxes.iter().filter(|(name, _)| is_in(name));
    let bundle: Vec<&[u8]> = bundle.flat_map(|(_, b)| b).map(Vec::as_slice).collect();
    let bundle = bundle::bundle(&series.subject_prefix(), &bundle);
    write(&to.with_extension("with-deps.mbox"), &bundle)
}

/// Writes patch files, and removes all other patch files of the folder.
fn replace_patches(dir: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    for (name, content) in files {
        write(&dir.join(name), content)?;
    }
    for path in list(dir)? {
        let is_patch = path.extension().is_some_and(|ending| ending == "patch");
        if is_patch && !files.iter().any(|(name, _)| path.ends_with(name)) {
            remove(&path)?;
        }
    }
    Ok(())
}
