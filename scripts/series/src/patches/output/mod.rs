// SPDX-License-Identifier: GPL-2.0

//! Writes `out/`: patches, cover letters, mailboxes, and `series.json`.

mod cover_letter;
mod mails;
mod series_json;

use std::{collections::BTreeSet, fs, path::Path};

use crate::{
    git::{Git, Identity},
    mail::{bundle, diff},
    patches::output::{
        cover_letter::letter,
        series_json::{report, tip},
    },
    source::workspace::Workspace,
    sys::{
        error::{Error, Result},
        files::write,
        json::json,
    },
};

pub use self::{
    cover_letter::{Cover, Material},
    mails::{Mails, mails},
    series_json::{BaseReport, PatchReport, PostedReport, Report, SeriesReport, read_report},
};

/// Writes `out/` and returns the report. `series.json` lists all series, and is written only if the
/// `whole` workspace was assembled.
///
/// # Errors
///
/// Fails if a cover letter or changelog is invalid, if git fails, or if a file cannot be written.
pub fn emit(
    ws: &Workspace,
    git: &Git<'_>,
    material: &Material<'_>,
    who: &Identity,
    whole: bool,
) -> Result<Report> {
    let (assembled, base) = (material.assembled, material.base);
    let out = ws.out()?;
    let mut boxes: Vec<(&str, Vec<Vec<u8>>)> = Vec::new();
    let mut reports = Vec::new();
    for (one, mails) in assembled.series.iter().zip(material.mails) {
        let series = one.plan.series();
        let cover = material.cover(one)?;
        let mut report = report(one, &cover.title);
        report.posted = one.plan.component.posted().map(|p| PostedReport {
            version: p.version,
            link: p.link(),
            unchanged: material.as_posted(one).is_some(),
        });
        if one.patches.is_empty() {
            reports.push(report);
            continue;
        }
        let folder = ws.below_out(format!("{}/v{}", series.name, series.version));
        let folder = folder.display().to_string();
        let letter = letter(git, one, &cover, who, mails)?;
        let mut files = vec![("0000-cover-letter.patch".to_owned(), letter)];
        files.extend(mails.patches.iter().cloned());
        for (number, (_, mail)) in files.iter_mut().enumerate() {
            *mail = bundle::with_id(series, number, mail, who);
        }
        replace_patches(&ws.path(&folder), &files)?;
        let dir = out.join(series.name.as_str());
        let file = |ending: &str| dir.join(format!("v{}.{ending}", series.version));
        let patches: Vec<Vec<u8>> = files.into_iter().skip(1).map(|(_, mail)| mail).collect();
        write(&file("mbox"), &patches.concat())?;
        boxes.push((&series.name, patches));
        let is_in = |name: &str| name == series.name || one.below.iter().any(|b| b == name);
        let bundle = boxes.iter().filter(|(name, _)| is_in(name));
        let bundle: Vec<&[u8]> = bundle.flat_map(|(_, b)| b).map(Vec::as_slice).collect();
        let bundle = bundle::bundle(&series.subject_prefix(), &bundle);
        write(&file("with-deps.mbox"), &bundle)?;
        if let Some(since) = material.since.get(series.name.as_str()) {
            write(&file("changes.json"), &json(&since.comparison)?)?;
            write(&file("range-diff"), since.comparison.text.as_bytes())?;
        }
        report.applies = mails.applies;
        for (i, patch) in report.patches.iter_mut().enumerate() {
            patch.file = format!("{folder}/{}", mails.patches[i].0);
            patch.patch_id = mails.patch_ids[i].clone();
            patch.added = diff::added_lines(&String::from_utf8_lossy(&mails.patches[i].1));
        }
        report.folder = Some(folder);
        reports.push(report);
    }
    let report = Report {
        base: BaseReport {
            version: base.version.clone(),
            upstream_commit: base.upstream_commit.clone(),
            commit: assembled.base.commit.to_string(),
            tree: assembled.base.tree.to_string(),
        },
        series: reports,
        all: tip(&assembled.all),
    };
    if whole {
        write(&out.join("series.json"), &json(&report)?)?;
    }
    Ok(report)
}

/// Writes patch files, and removes all other patch files of the folder.
fn replace_patches(dir: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    for (name, content) in files {
        write(&dir.join(name), content)?;
    }
    let keep: BTreeSet<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    let entries = fs::read_dir(dir).map_err(|e| Error::io("list", dir, &e))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".patch") && !keep.contains(&*name) {
            fs::remove_file(entry.path()).map_err(|e| Error::io("remove", entry.path(), &e))?;
        }
    }
    Ok(())
}
