// SPDX-License-Identifier: GPL-2.0

//! What a maintainer receives: patches, cover letter, mailboxes, and `series.json`.

use std::{
    collections::{
        BTreeMap,
        BTreeSet, //
    },
    fs,
    path::Path, //
};

use serde::{
    Deserialize,
    Serialize, //
};

use crate::{
    git::{
        Git,
        Identity,
        format_patch,
        patch_ids, //
    },
    mail::{
        bundle,
        diff,
        received, //
    },
    patches::{
        commits::{
            Assembled,
            AssembledSeries, //
        },
        since::Since, //
    },
    source::{
        changelog,
        cover::{
            self,
            Dependency,
            Without, //
        },
        manifest::Base,
        message,
        words::{
            self,
            Recipient, //
        },
        workspace::Workspace, //
    },
    sys::{
        error::{
            Error,
            Result, //
        },
        files::write,
        json::json, //
    },
    versions::{
        postings::Posting,
        rules::trailers::{
            self,
            Prerequisite, //
        }, //
    }, //
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
    /// b4's change id.
    #[serde(default)]
    pub change_id: String,
    /// Its last posting, if there is one.
    #[serde(default)]
    pub posted: Option<PostedReport>,
    /// Its patches.
    pub patches: Vec<PatchReport>,
}

/// The last posting of a series in `out/series.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedReport {
    /// The version.
    pub version: u32,
    /// The link to it.
    pub link: String,
    /// Whether nothing changed since that a reviewer has to look at.
    pub unchanged: bool,
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
#[derive(Debug, Clone, Default)]
pub struct Mails {
    /// File name and content of each patch.
    pub patches: Vec<(String, Vec<u8>)>,
    /// `git patch-id --stable` of each.
    pub patch_ids: Vec<String>,
    /// Whether they give the recorded tree on the base plus what the series depends on.
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
    /// What it names as dependencies.
    pub dependencies: Vec<Dependency>,
    /// What it builds on, for machines.
    pub prerequisites: Vec<Prerequisite>,
    /// All lines for machines, as they are mailed.
    pub trailers: Vec<String>,
}

/// Everything that is mailed, and what it is compared with.
pub struct Material<'a> {
    /// What was assembled.
    pub assembled: &'a Assembled,
    /// The base.
    pub base: &'a Base,
    /// The mails of each series, in the same order.
    pub mails: &'a [Mails],
    /// What changed since the last posting, by series.
    pub since: &'a Since,
}

impl Material<'_> {
    fn read(&self, one: &AssembledSeries) -> Result<cover::Text> {
        cover::parse(&one.plan.component.cover).map_err(|errors| {
            let file = &one.plan.component.cover_file;
            let placed = errors.into_iter().map(|(line, e)| e.at(file, line));
            let unknown = || Error::new("cannot be read").at(file, None);
            Error::all(placed.collect()).unwrap_or_else(unknown)
        })
    }

    fn mails_of(&self, name: &str) -> Option<&Mails> {
        let at = self
            .assembled
            .series
            .iter()
            .position(|s| s.name() == name)?;
        self.mails.get(at)
    }

    /// The last posting of a series, if no patch changed since and its mails still apply.
    fn as_posted<'b>(&self, one: &'b AssembledSeries) -> Option<&'b Posting> {
        let stands = self.since.get(one.name())?.is_valid();
        one.plan.component.posted().filter(|_| stands)
    }

    /// Makes the cover letter of a series.
    ///
    /// # Errors
    ///
    /// The cover or the changelog is wrong; the place is named.
    pub fn cover(&self, one: &AssembledSeries) -> Result<Cover> {
        let series = one.plan.series();
        let name = &series.name;
        let text = self.read(one)?;
        let entries = changelog::of_version(&one.plan.component.changelog, series.version)
            .map_err(|(line, e)| e.at(one.plan.component.changelog_file(), line))?;
        let (mut dependencies, mut prerequisites) = (Vec::new(), Vec::new());
        for below in &one.below {
            let below = self.assembled.find(below)?;
            dependencies.push(self.dependency(one, below)?);
            prerequisites.push(self.prerequisite(below));
        }
        let since = self.since.get(name.as_str()).filter(|_| series.range_diff);
        let range_diff = since.map(|s| (s.comparison.against, s.comparison.text.as_str()));
        Ok(Cover {
            text: cover::message(&text, series, self.base, &dependencies),
            below: cover::below(&entries, range_diff),
            title: text.title,
            trailers: trailers::expected(series, self.base, &prerequisites),
            dependencies,
            prerequisites,
        })
    }

    fn dependency(&self, one: &AssembledSeries, below: &AssembledSeries) -> Result<Dependency> {
        let series = below.plan.series();
        let name = below.name();
        let without = match one.plan.series().without.get(name) {
            Some(n) => Without::Patches(n.value),
            None => {
                let depends = |s: &&AssembledSeries| {
                    let depends = &s.plan.series().depends;
                    one.below.iter().any(|b| b == s.name())
                        && depends.iter().any(|d| d.value == name)
                };
                let by = self.assembled.series.iter().find(depends);
                let direct = one.plan.series().depends.iter().any(|d| d.value == name);
                match by.filter(|_| !direct) {
                    Some(by) => Without::NeededBy(by.name().to_owned()),
                    None => Without::Unknown,
                }
            }
        };
        if let Some(posting) = self.as_posted(below) {
            return Ok(Dependency {
                prefix: posting.subject_prefix(),
                patches: posting.patches.len(),
                title: posting.title.clone(),
                link: Some(posting.link()),
                before: None,
                without,
            });
        }
        let title = match &below.plan.patches[..] {
            [only] => only.subject.clone(),
            _ => self.read(below)?.title,
        };
        let before = below.plan.component.posted();
        Ok(Dependency {
            prefix: series.subject_prefix(),
            patches: below.patches.len(),
            title,
            link: None,
            before: before.map(|p| (p.version, p.link())),
            without,
        })
    }

    fn prerequisite(&self, below: &AssembledSeries) -> Prerequisite {
        let change_id = below.plan.series().change_id.to_string();
        match self.as_posted(below) {
            Some(posting) => Prerequisite {
                change_id,
                posted: Some(posting.version),
                patch_ids: posting.patches.iter().map(|p| p.patch_id.clone()).collect(),
            },
            None => Prerequisite {
                change_id,
                posted: None,
                patch_ids: self
                    .mails_of(below.name())
                    .map_or(Vec::new(), |m| m.patch_ids.clone()),
            },
        }
    }
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

/// Reads `out/series.json`, if there is one.
///
/// # Errors
///
/// It is not what this version of the tool writes.
pub fn read_report(ws: &Workspace) -> Result<Option<Report>> {
    let below = ws.below_out("series.json");
    let Ok(text) = crate::sys::files::read_file(&ws.path(&below)) else {
        return Ok(None);
    };
    let parsed = serde_json::from_slice(&text).map(Some);
    parsed.map_err(|e| {
        Error::new(format!("is not what this tool writes: {e}"))
            .at(below, e.line())
            .help("run `cargo series assemble`, which writes it anew")
    })
}

fn tip(patch: &crate::git::PatchCommit) -> Tip {
    Tip {
        commit: patch.commit.to_string(),
        tree: patch.tree.to_string(),
    }
}

fn report(one: &AssembledSeries, title: &str) -> SeriesReport {
    let series = one.plan.series();
    let patches = one.plan.patches.iter().zip(&one.patches).enumerate();
    SeriesReport {
        name: series.name.to_string(),
        title: title.to_owned(),
        version: series.version,
        depends: one.below.clone(),
        parent: tip(&one.parent),
        tip: tip(one.tip()),
        applies: true,
        folder: None,
        change_id: series.change_id.to_string(),
        posted: None,
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

/// The mails of all series.
///
/// # Errors
///
/// git's own, or a patch that changes nothing.
pub fn mails(
    git: &Git<'_>,
    assembled: &Assembled,
    who: &Identity,
    scratch: &Path,
) -> Result<Vec<Mails>> {
    let series = assembled.series.iter();
    series
        .map(|one| match one.patches.is_empty() {
            true => Ok(Mails::default()),
            false => mails_of(git, one, who, scratch),
        })
        .collect()
}

fn mails_of(git: &Git<'_>, one: &AssembledSeries, who: &Identity, scratch: &Path) -> Result<Mails> {
    let range = format!("{}..{}", one.parent.commit, one.tip().commit);
    let prefix = one.plan.series().subject_prefix();
    let mut patches = format_patch(git, &range, &prefix, &scratch.join(one.name()))?;
    if patches.len() != one.patches.len() {
        return Err(Error::new(format!(
            "git made {} of {} of {}",
            crate::sys::plural::count(patches.len(), "mail", "mails"),
            crate::sys::plural::count(one.patches.len(), "patch", "patches"),
            one.name()
        ))
        .help("a patch that changes nothing against the one before it gets no mail"));
    }
    for ((_, mail), dressed) in patches.iter_mut().zip(&one.dressed) {
        message::note_below(mail, &dressed.note);
    }
    let mut mails = Mails {
        patches,
        patch_ids: Vec::new(),
        applies: false,
    };
    mails.patch_ids = patch_ids(git, &mails.mbox())?;
    let alone = scratch.join(format!("{}-alone", one.name()));
    mails.applies = applies(git, one, &mails, who, &alone)?;
    Ok(mails)
}

/// Whether the mails, read by git from a mailbox, give the recorded tree on the base plus the
/// dependencies alone. Another message or author is an error.
fn applies(
    git: &Git<'_>,
    one: &AssembledSeries,
    mails: &Mails,
    who: &Identity,
    scratch: &Path,
) -> Result<bool> {
    let received = received::read(git, &mails.mbox(), &scratch.join("received"))?;
    let messages: Vec<&str> = one.dressed.iter().map(|d| d.message.as_str()).collect();
    if let Some((at, what)) = received::difference(&received, &messages, &one.authors(who)) {
        let source = one.plan.patches.get(at).map(|p| p.source.clone());
        return Err(
            Error::new(format!("the mail is not received as it is meant: {what}"))
                .at(source.unwrap_or_else(|| one.plan.series().file()), None)
                .help("word the message another way"),
        );
    }
    let touched = diff::touched(&String::from_utf8_lossy(&mails.mbox()));
    let paths: Vec<String> = touched.into_iter().map(|t| t.path).collect();
    let before = git.entries(&one.parent.tree, &paths)?;
    // One by one: in one diff git would look for what moves where it was at the start.
    let diffs: Vec<&[u8]> = received.iter().map(|r| &r.diff[..]).collect();
    let after = git
        .apply(&scratch.join("index"), &before, &diffs)
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
    text += &format!(
        "From: {}\nDate: {date}\n",
        words::mailbox(&who.name, &who.email)
    );
    text += &format!(
        "Subject: [{} {:0width$}/{n}] {}\n",
        series.subject_prefix(),
        0,
        words::header_text(&cover.title)
    );
    for (header, list) in [("To", &series.to), ("Cc", &series.cc)] {
        if !list.is_empty() {
            let list: Vec<String> = list.iter().map(Recipient::header).collect();
            text += &format!("{header}: {}\n", list.join(",\n "));
        }
    }
    text += "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n";
    text += "Content-Transfer-Encoding: 8bit\n\n";
    text += &format!("{}\n---\n{}\n", cover.text, cover.below);
    text += &shortlog(one, who);
    text += &format!("\n{}\n", String::from_utf8_lossy(&stat.stdout));
    text += &format!("---\n{}\n\n", cover.trailers.join("\n"));
    Ok(text.into_bytes())
}

/// The subjects of the patches by author, as `git shortlog` prints them.
fn shortlog(one: &AssembledSeries, who: &Identity) -> String {
    let mut by_author: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (patch, (name, _)) in one.plan.patches.iter().zip(one.authors(who)) {
        let subject = message::subject(&patch.message);
        by_author.entry(name).or_default().push(subject);
    }
    let parts = by_author.into_iter().map(|(name, subjects)| {
        let lines: String = subjects.iter().map(|s| format!("  {s}\n")).collect();
        format!("{name} ({}):\n{lines}", subjects.len())
    });
    parts.collect::<Vec<_>>().join("\n")
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
