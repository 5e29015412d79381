// SPDX-License-Identifier: GPL-2.0

//! What a maintainer receives: patches, cover letter, mailboxes, and `series.json`.

use std::{
    collections::BTreeSet,
    fs,
    path::{
        Path,
        PathBuf, //
    },
};

use serde::{
    Deserialize,
    Serialize, //
};

use crate::{
    assemble::{
        Assembled,
        AssembledSeries, //
    },
    changelog, cover, diff,
    error::{
        Error,
        Result, //
    },
    git::{
        Git,
        Identity, //
    },
    manifest::Base,
    message,
    runner::must,
    workspace::{
        Workspace,
        write, //
    },
};

/// `out/series.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The kernel that all series are made for.
    pub base: BaseReport,
    /// The series, in dependency order.
    pub series: Vec<SeriesReport>,
    /// The tree that has all of them.
    pub all: Tip,
}

/// The base in `out/series.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseReport {
    /// "6.19.11".
    pub version: String,
    /// The commit of the release in the public tree, where it is known.
    pub upstream_commit: Option<String>,
    /// The commit that stands for it in the tool's kernel repository.
    pub commit: String,
    /// Its tree.
    pub tree: String,
}

/// A commit and its tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    /// The commit.
    pub commit: String,
    /// Its tree.
    pub tree: String,
}

/// A series in `out/series.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesReport {
    /// Its name.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Its version.
    pub version: u32,
    /// What it builds on, in the order to apply.
    pub depends: Vec<String>,
    /// The commit it starts from.
    pub parent: Tip,
    /// Its last commit; the parent if there is no patch.
    pub tip: Tip,
    /// Whether its patches give the recorded tree on the base plus `depends` alone.
    pub applies: bool,
    /// The folder of its patches, below the top folder; `None` if there is no patch yet.
    pub folder: Option<String>,
    /// Its patches.
    pub patches: Vec<PatchReport>,
}

/// A patch in `out/series.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchReport {
    /// Its number, from 1.
    pub id: usize,
    /// Its subject without the brackets.
    pub subject: String,
    /// Its file, below the top folder.
    pub file: String,
    /// Its commit.
    pub commit: String,
    /// Its tree.
    pub tree: String,
    /// `git patch-id --stable`.
    pub patch_id: String,
    /// Lines that it adds.
    pub added: usize,
}

/// A series as mail.
#[derive(Debug, Clone)]
struct Mails {
    /// File name and content of each patch.
    patches: Vec<(String, Vec<u8>)>,
    patch_ids: Vec<String>,
    applies: bool,
}

impl Mails {
    fn mbox(&self) -> Vec<u8> {
        self.patches
            .iter()
            .flat_map(|(_, mail)| mail.clone())
            .collect()
    }
}

/// The cover letter of a series, in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    /// The title.
    pub title: String,
    /// The text above `---`.
    pub text: String,
    /// The text below `---`.
    pub below: String,
}

/// Makes the cover letter of a series.
///
/// # Errors
///
/// The cover or the changelog is wrong; the place is named.
pub fn cover(assembled: &Assembled, one: &AssembledSeries, base: &Base) -> Result<Cover> {
    let series = one.plan.series();
    let name = &series.name;
    let read = |s: &AssembledSeries| {
        cover::parse(&s.plan.component.cover)
            .map_err(|e| e.at(format!("cover-letters/{}.md", s.name()), None))
    };
    let text = read(one)?;
    let entries = changelog::of_version(&one.plan.component.changelog, series.version)
        .map_err(|(line, e)| e.at(format!("{name}/CHANGELOG.md"), line))?;
    let dependencies = one
        .below
        .iter()
        .map(|below| {
            let below = assembled.find(below)?;
            Ok(cover::Dependency {
                prefix: below.plan.series().subject_prefix(),
                patches: below.patches.len(),
                title: read(below)?.title,
                link: None,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Cover {
        text: cover::message(&text, series, base, &dependencies),
        below: cover::below(&entries),
        title: text.title,
    })
}

/// Writes `out/` and returns what it wrote. `series.json` is about all series, so it is written
/// only when the `whole` workspace was assembled.
///
/// # Errors
///
/// A cover letter or changelog that is wrong, git, or a file that cannot be written.
pub fn emit(
    ws: &Workspace,
    git: &Git<'_>,
    assembled: &Assembled,
    base: &Base,
    who: &Identity,
    scratch: &Path,
    whole: bool,
) -> Result<Report> {
    let out = ws.out()?;
    let mut boxes: Vec<(String, Vec<u8>)> = Vec::new();
    let mut reports = Vec::new();
    for one in &assembled.series {
        let series = one.plan.series();
        let cover = cover(assembled, one, base)?;
        let mut report = report(one, &cover.title);
        if one.patches.is_empty() {
            boxes.push((series.name.clone(), Vec::new()));
            reports.push(report);
            continue;
        }
        let mails = mails(git, one, scratch)?;
        let folder = format!("out/{}/v{}", series.name, series.version);
        let letter = letter(git, one, &cover, who, &mails)?;
        let mut files = vec![("0000-cover-letter.patch".to_owned(), letter)];
        files.extend(mails.patches.iter().cloned());
        replace_patches(&ws.path(&folder), &files)?;
        let mbox = mails.mbox();
        let dir = out.join(&series.name);
        let file = |ending: &str| dir.join(format!("v{}.{ending}", series.version));
        write(&file("mbox"), &mbox)?;
        let mut with: Vec<u8> = Vec::new();
        for below in &one.below {
            let found = boxes.iter().find(|(name, _)| name == below);
            with.extend(found.iter().flat_map(|(_, mbox)| mbox.clone()));
        }
        with.extend(&mbox);
        write(&file("with-deps.mbox"), &with)?;
        boxes.push((series.name.clone(), mbox));
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

/// JSON as it is written to files: indented, with a newline at the end.
pub fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|e| Error::new(format!("cannot be written as JSON: {e}")))?;
    text.push(b'\n');
    Ok(text)
}

/// Reads `out/series.json`, if there is one.
///
/// # Errors
///
/// It is not what this version of the tool writes.
pub fn read_report(ws: &Workspace) -> Result<Option<Report>> {
    let below = Path::new("out/series.json");
    let Ok(text) = fs::read(ws.path(below)) else {
        return Ok(None);
    };
    let parsed = serde_json::from_slice(&text).map(Some);
    parsed.map_err(|e| {
        Error::new(format!("is not what this tool writes: {e}"))
            .at(below, e.line())
            .help("run `cargo series assemble`, which writes it anew")
    })
}

fn tip(patch: &crate::assemble::PatchCommit) -> Tip {
    Tip {
        commit: patch.commit.to_string(),
        tree: patch.tree.to_string(),
    }
}

fn report(one: &AssembledSeries, title: &str) -> SeriesReport {
    let series = one.plan.series();
    let patches = one.plan.patches.iter().zip(&one.patches).enumerate();
    SeriesReport {
        name: series.name.clone(),
        title: title.to_owned(),
        version: series.version,
        depends: one.below.clone(),
        parent: tip(&one.parent),
        tip: tip(one.tip()),
        applies: true,
        folder: None,
        patches: patches
            .map(|(i, (plan, made))| PatchReport {
                id: i + 1,
                subject: plan.subject.clone(),
                file: String::new(),
                commit: made.commit.to_string(),
                tree: made.tree.to_string(),
                patch_id: String::new(),
                added: 0,
            })
            .collect(),
    }
}

fn mails(git: &Git<'_>, one: &AssembledSeries, scratch: &Path) -> Result<Mails> {
    let dir = scratch.join(one.name());
    let range = format!("{}..{}", one.parent.commit, one.tip().commit);
    let prefix = one.plan.series().subject_prefix();
    let cmd = git
        .cmd(["format-patch", "--quiet", "--no-signature", "--numbered"])
        .args(["--find-renames", "--no-thread", "--encode-email-headers"])
        .args([
            "--no-attach",
            "--no-to",
            "--no-cc",
            "--no-add-header",
            "--no-base",
        ])
        .args(["--no-notes", "--no-ext-diff", "--no-textconv", "--no-color"])
        .args([
            "--no-cover-letter",
            "--no-signoff",
            "--suffix=.patch",
            "-O/dev/null",
            "--default-prefix",
        ])
        .arg(format!("--subject-prefix={prefix}"))
        .arg("-o")
        .arg(&dir)
        .arg(range);
    must(git.runner(), &cmd)?;
    let mut names: Vec<PathBuf> = fs::read_dir(&dir)
        .map_err(|e| Error::io("list", &dir, &e))?
        .flatten()
        .map(|e| e.path())
        .collect();
    names.sort();
    let mut patches = Vec::new();
    for path in names {
        let mail = fs::read(&path).map_err(|e| Error::io("read", &path, &e))?;
        let name = path.file_name().unwrap_or_default();
        patches.push((name.to_string_lossy().into_owned(), mail));
    }
    if patches.len() != one.patches.len() {
        return Err(Error::new(format!(
            "git made {} mails of the {} patches of {}",
            patches.len(),
            one.patches.len(),
            one.name()
        ))
        .help("a patch that changes nothing against the one before it gets no mail"));
    }
    let mut mails = Mails {
        patches,
        patch_ids: Vec::new(),
        applies: false,
    };
    let mbox = mails.mbox();
    let ids = git.cmd(["patch-id", "--stable"]).stdin(mbox.clone());
    let ids = must(git.runner(), &ids)?.text();
    mails.patch_ids = ids
        .lines()
        .filter_map(|l| l.split(' ').next().map(str::to_owned))
        .collect();
    mails.applies = applies(git, one, &mails, &scratch.join("alone"))?;
    Ok(mails)
}

/// Whether the mails give the recorded tree on nothing but the base and the dependencies.
fn applies(git: &Git<'_>, one: &AssembledSeries, mails: &Mails, index: &Path) -> Result<bool> {
    let touched = diff::touched(&String::from_utf8_lossy(&mails.mbox()));
    let paths: Vec<String> = touched.into_iter().map(|t| t.path).collect();
    let before = git.entries(&one.parent.tree, &paths)?;
    // One by one: in one diff git would look for what moves where it was at the start.
    let diffs: Vec<&[u8]> = mails.patches.iter().map(|(_, mail)| &mail[..]).collect();
    let after = git
        .apply(index, &before, &diffs)
        .map_err(|e| e.at(format!("out/{}", one.name()), None))?;
    Ok(after == git.entries(&one.tip().tree, &paths)?)
}

/// The cover letter as a mail.
fn letter(
    git: &Git<'_>,
    one: &AssembledSeries,
    cover: &Cover,
    who: &Identity,
    mails: &Mails,
) -> Result<Vec<u8>> {
    let series = one.plan.series();
    let n = one.patches.len();
    let width = n.to_string().len();
    let stat = git.must([
        "diff",
        "--stat=72",
        "--summary",
        "--find-renames",
        one.parent.commit.as_str(),
        one.tip().commit.as_str(),
    ])?;
    // The date of the last patch, in the form that git gave it.
    let last = mails
        .patches
        .last()
        .map(|(_, mail)| String::from_utf8_lossy(mail));
    let last = last.unwrap_or_default();
    let date = last
        .lines()
        .find_map(|l| l.strip_prefix("Date: "))
        .unwrap_or("");
    let zero = "0".repeat(40);
    let mut text = format!("From {zero} Mon Sep 17 00:00:00 2001\n");
    text += &format!("From: {}\nDate: {date}\n", who.ident());
    text += &format!(
        "Subject: [{} {:0width$}/{n}] {}\n",
        series.subject_prefix(),
        0,
        cover.title
    );
    for (header, list) in [("To", &series.to), ("Cc", &series.cc)] {
        if !list.is_empty() {
            text += &format!("{header}: {}\n", list.join(",\n "));
        }
    }
    text += "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n";
    text += "Content-Transfer-Encoding: 8bit\n\n";
    text += &format!("{}\n---\n{}\n", cover.text, cover.below);
    text += &format!("{} ({n}):\n", who.name);
    for patch in &one.plan.patches {
        text += &format!("  {}\n", message::subject(&patch.message));
    }
    text += &format!("\n{}\n", String::from_utf8_lossy(&stat.stdout));
    Ok(text.into_bytes())
}

/// Makes a folder hold these files, and no other patch.
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
