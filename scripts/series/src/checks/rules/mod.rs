// SPDX-License-Identifier: GPL-2.0

//! The expectations of maintainers, beyond patches that apply and build.
//!
//! 1. [`unused`]: each public item has a user outside tests.
//! 2. [`fixes`]: a patch that fixes something names the commit at fault.
//! 3. [`recipients`]: the people and lists that `get_maintainer.pl` names are recipients.
//! 4. [`sizes`]: series, patches and mails have a reviewable size.
//! 5. [`subject`]: subjects are short, imperative and in lower case.
//!
//! Each rule is a module of pure functions, which return [`Finding`]s. The manifest has a field for
//! each exception and its reason. [`exceptions`] lists them for the report.

mod fixes;
mod recipients;
mod sizes;
mod subject;
mod unused;

use std::collections::BTreeMap;

use serde::Serialize;

use self::{
    recipients::Script,
    unused::{Change, Changed, Items, is_source},
};
use crate::{
    checks::Subject,
    git::Git,
    mail::diff,
    patches::commits::AssembledSeries,
    source::{finding::Finding, manifest::Series},
    sys::{Result, plural::count},
};

/// The names of the rules among the checks.
pub const RULES: [&str; 5] = ["unused", "fixes", "recipients", "sizes", "subject"];

/// The rules, with the data that all series share.
pub struct Rules<'a> {
    subject: &'a Subject<'a>,
    items: Items,
    script: Option<Script<'a>>,
}

impl<'a> Rules<'a> {
    /// Prepares the rules. The assembled tree must be checked out.
    pub fn new(subject: &'a Subject<'a>) -> Result<Self> {
        let assembled = &subject.made.assembled;
        let plans: Vec<_> = assembled.series.iter().map(|s| &s.plan).collect();
        let changed = changed(subject.git, &assembled.series)?;
        let (tree, base) = (&assembled.all.tree, &assembled.base.tree);
        let mut items = Items::read(&plans, &changed);
        let open = items.open_exports();
        if !open.is_empty() {
            let paths = subject.git.files_with(base, &open, subject.cache)?;
            let paths: Vec<_> = paths.into_iter().filter(|path| is_source(path)).collect();
            for (path, content) in subject.git.files(base, &paths)? {
                items.add_base(&path, &String::from_utf8_lossy(&content));
            }
        }
        Ok(Self {
            subject,
            items,
            script: Script::find(subject.git, subject.cache, tree)?,
        })
    }

    pub fn check(&self, one: &AssembledSeries) -> Result<Vec<Finding>> {
        let (made, series) = (self.subject.made, one.plan.series());
        let index = made.assembled.position(one.name())?;
        let mut findings = self.items.findings(index, series);
        // A series that is never posted has no recipients and no mails.
        if series.local.is_none() {
            let mails = made.mails[index].patches.iter();
            let mails: Vec<&[u8]> = mails.map(|(_, mail)| mail.as_slice()).collect();
            if let Some(script) = &self.script {
                let named = mails.iter().map(|mail| script.named(mail));
                let named: Vec<_> = named.collect::<Result<_>>()?;
                findings.extend(recipients::findings(series, &named, &made.who.email));
            }
            findings.extend(sizes::findings(series, &mails));
        }
        for (number, patch) in (1..).zip(&one.plan.patches) {
            let new = subject::findings(series, number, &patch.subject, &patch.source);
            findings.extend(new);
        }
        findings.extend(fixes_of(self.subject, one)?);
        Ok(findings)
    }
}

/// Reads the source files that edits and commits of branches change.
fn changed(git: &Git<'_>, series: &[AssembledSeries]) -> Result<Changed> {
    let mut all = Changed::new();
    for (index, one) in series.iter().enumerate() {
        for (number, (planned, before, after)) in (1..).zip(one.steps()) {
            let commit = planned.commit.iter().map(|commit| &commit.diff);
            let diffs = planned.edits.iter().map(|edit| &edit.diff).chain(commit);
            let step = planned.relocate.as_ref();
            let paths = diffs.flat_map(|diff| diff::files(diff)).map(|file| {
                let from = file.from.as_deref().unwrap_or(&file.path);
                let from = step.map_or(from, |step| step.path_before(from));
                (file.path.clone(), from.to_owned())
            });
            let paths: BTreeMap<_, _> = paths.filter(|(to, _)| is_source(to)).collect();
            let (to, from): (Vec<_>, Vec<_>) = paths.into_iter().unzip();
            let (old, new) = (
                git.files(&before.tree, &from)?,
                git.files(&after.tree, &to)?,
            );
            let text = |files: &BTreeMap<String, Vec<u8>>, path: &str| {
                let content = files.get(path).map_or(&[][..], Vec::as_slice);
                String::from_utf8_lossy(content).into_owned()
            };
            let changes = to.into_iter().zip(from).map(|(path, from)| {
                let (mut old, new) = (text(&old, &from), text(&new, &path));
                if let Some(step) = step {
                    // A new file may replace one that moves away.
                    let is_new = from == path && step.moves.contains_key(&path);
                    old = if is_new {
                        String::new()
                    } else {
                        step.rename(&old)
                    };
                }
                Change {
                    path,
                    from,
                    old,
                    new,
                }
            });
            all.insert((index, number), changes.collect());
        }
    }
    Ok(all)
}

/// Checks the `Fixes:` tags of a series.
pub fn fixes_of(subject: &Subject<'_>, one: &AssembledSeries) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (number, planned) in (1..).zip(&one.plan.patches) {
        let patch = fixes::Patch {
            series: one.plan.series(),
            number,
            message: &planned.message,
            file: &planned.source,
            only_tests: planned.paths().all(unused::is_test_file),
            look_up: &|hash| look_up(subject, hash),
        };
        findings.extend(patch.check()?);
    }
    Ok(findings)
}

/// Looks for a commit in the tree that the user named, then in the history of the base, and returns
/// its subject. The tool's repository also has private commits, which are ancestors of neither.
fn look_up(subject: &Subject<'_>, hash: &str) -> Result<Option<String>> {
    // The branches of the user's tree may contain commits that are not public.
    let public = subject.base.upstream_commit.as_deref();
    let public = public.filter(|_| subject.base.rev.is_some());
    let tip = public.unwrap_or("HEAD");
    let user = |dir| (Git::of_user(subject.git.runner(), dir), tip);
    let named = subject.history.as_deref().map(user);
    let base = subject.made.assembled.base.commit.as_str();
    for (git, tip) in named.into_iter().chain([(*subject.git, base)]) {
        let Some(commit) = git.resolve(&format!("{hash}^{{commit}}"))? else {
            continue;
        };
        let below = git.cmd(["merge-base", "--is-ancestor", commit.as_str(), tip]);
        if git.try_run(&below)?.ok() {
            let log = git.must(["log", "-1", "--format=%s", commit.as_str()])?;
            return Ok(Some(log.text()));
        }
    }
    Ok(None)
}

/// An exception in a manifest, with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exception {
    /// The field of the manifest.
    pub field: &'static str,
    /// The object: an item, a recipient, "patch 3".
    pub of: String,
    pub why: String,
}

/// Returns the exceptions of a series, in the order of the rules.
pub fn exceptions(series: &Series) -> Vec<Exception> {
    let mut all = Vec::new();
    let mut add = |field, of: &str, why: &str| {
        let (of, why) = (of.to_owned(), why.to_owned());
        all.push(Exception { field, of, why });
    };
    for (item, why) in &series.unused {
        add("unused", item, &why.value);
    }
    let number = |(at, patch): (usize, _)| (format!("patch {}", at + 1), patch);
    let patches = series.patches.iter().enumerate().map(number);
    for (of, patch) in patches.clone() {
        for hash in &patch.unverified {
            let why = format!("Fixes: {} was not looked up", hash.value);
            add("unverified", &of, &why);
        }
        if let Some(why) = &patch.no_fixes {
            add("no-fixes", &of, &why.value);
        }
        for (kind, why) in &patch.checkpatch {
            add("checkpatch", &of, &format!("{kind}: {}", why.value));
        }
    }
    for (who, why) in &series.absent {
        add("absent", who, &why.value);
    }
    if let Some(why) = &series.many {
        let of = count(series.patches.len(), "patch", "patches");
        add("many", &of, &why.value);
    }
    if let Some(why) = &series.capitals {
        add("capitals", "all subjects", &why.value);
    }
    for (of, patch) in patches {
        if let Some(why) = &patch.large {
            add("large", &of, &why.value);
        }
    }
    all
}
