// SPDX-License-Identifier: GPL-2.0

//! The expectations of maintainers, beyond patches that apply and build.
//!
//! 1. [`unused`]: each public item has a user outside tests.
//! 2. [`fixes`]: a patch that fixes something names the commit at fault.
//! 3. [`recipients`]: the people and lists that `get_maintainer.pl` names are recipients.
//! 4. [`sizes`]: series, patches and mails have a reviewable size.
//! 5. [`subject`]: subjects are short, imperative and in lower case.
//!
//! Each rule is a module of pure functions, which return [`Fault`]s. The manifest has a field for
//! each exception and its reason. [`exceptions`] lists them for the report.

pub mod fixes;
pub mod recipients;
pub mod sizes;
pub mod subject;
pub mod unused;

use std::path::PathBuf;

use serde::Serialize;

use self::{fixes::Lookup, recipients::Script, unused::Items};
use crate::{
    checks::{Finding, Subject},
    git::Git,
    patches::{commits::AssembledSeries, plan::PlannedSeries},
    source::manifest::Series,
    sys::{error::Result, plural::count},
};

/// One of these rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Public items have users.
    Unused,
    /// Fixes name the commit at fault.
    Fixes,
    /// Maintainers are recipients.
    Recipients,
    /// Sizes are limited.
    Sizes,
    /// Subjects have the kernel's form.
    Subject,
}

/// All rules.
pub const RULES: [Rule; 5] = [
    Rule::Unused,
    Rule::Fixes,
    Rule::Recipients,
    Rule::Sizes,
    Rule::Subject,
];

impl Rule {
    /// Returns the name among the checks.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Unused => "unused",
            Rule::Fixes => "fixes",
            Rule::Recipients => "recipients",
            Rule::Sizes => "sizes",
            Rule::Subject => "subject",
        }
    }
}

/// A breach of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub rule: Rule,
    /// The file to fix, below the top folder.
    pub file: PathBuf,
    /// The line, if it is known.
    pub line: Option<usize>,
    /// The number of the patch.
    pub patch: Option<usize>,
    /// The fault, without a full stop.
    pub what: String,
    /// The remedy.
    pub help: String,
}

impl Fault {
    fn found_in(self, series: &str) -> Finding {
        Finding {
            series: series.to_owned(),
            patch: self.patch,
            check: self.rule.name().into(),
            message: self.what,
            file: Some(self.file.display().to_string()),
            line: self.line,
            help: Some(self.help),
        }
    }
}

/// The results of the rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Breaches.
    pub findings: Vec<Finding>,
    /// Claims that cannot be checked here.
    pub warnings: Vec<Finding>,
}

/// Returns the path of an overlay file in the checkout.
fn tree_file(one: &PlannedSeries, path: &str) -> PathBuf {
    PathBuf::from(format!("{}/tree/{path}", one.component.folder()))
}

/// The rules, with the data that all series share.
pub struct Rules<'a> {
    subject: &'a Subject<'a>,
    items: Items,
    script: Option<Script<'a>>,
}

impl<'a> Rules<'a> {
    /// Prepares the rules. The assembled tree must be checked out.
    pub fn new(subject: &'a Subject<'a>) -> Result<Self> {
        let series = &subject.assembled.series;
        let plans: Vec<&PlannedSeries> = series.iter().map(|s| &s.plan).collect();
        let tree = &subject.assembled.all.tree;
        Ok(Self {
            subject,
            items: Items::read(&plans),
            script: Script::find(subject.git, subject.cache, tree)?,
        })
    }

    /// Checks a series.
    pub fn check(&self, one: &AssembledSeries, found: &mut Found) -> Result<()> {
        let series = one.plan.series();
        let Ok(index) = self.subject.assembled.position(one.name()) else {
            return Ok(());
        };
        let mut faults = self.items.faults(index, series);
        let mails = self.subject.mails.get(index);
        let mails = mails.into_iter().flat_map(|m| &m.patches);
        let mails: Vec<&[u8]> = mails.map(|(_, mail)| mail.as_slice()).collect();
        // A series that is never posted has no recipients and no mails.
        let is_posted = series.local.is_none();
        if let Some(script) = self.script.as_ref().filter(|_| is_posted) {
            let named = mails.iter().map(|mail| script.named(mail));
            let named: Vec<_> = named.collect::<Result<_>>()?;
            let author = &self.subject.who.email;
            faults.extend(recipients::faults(series, &named, author));
        }
        if is_posted {
            faults.extend(sizes::faults(series, &mails));
        }
        for (i, patch) in one.plan.patches.iter().enumerate() {
            faults.extend(subject::faults(i + 1, &patch.subject, &patch.source));
        }
        let faults = faults.into_iter();
        found
            .findings
            .extend(faults.map(|f| f.found_in(one.name())));
        fixes_of(self.subject, one, found)
    }
}

/// Checks the `Fixes:` tags of a series.
pub fn fixes_of(subject: &Subject<'_>, one: &AssembledSeries, found: &mut Found) -> Result<()> {
    let series = one.plan.series();
    let manifest = series.file();
    for (i, (planned, patch)) in one.plan.patches.iter().zip(&series.patches).enumerate() {
        let of_patch = fixes::Subject {
            number: i + 1,
            message: &planned.message,
            file: &planned.source,
            patch,
            manifest: &manifest,
            only_tests: planned.paths().all(unused::is_test_file),
        };
        let new = fixes::check(&of_patch, &|hash| look_up(subject, hash))?;
        let placed = |fault: Fault| fault.found_in(one.name());
        found.findings.extend(new.faults.into_iter().map(placed));
        found
            .warnings
            .extend(new.unverified.into_iter().map(placed));
    }
    Ok(())
}

/// Looks for a commit in the tree that the user named, then in the history of the base. The tool's
/// repository also has private commits, which are ancestors of neither.
fn look_up(subject: &Subject<'_>, hash: &str) -> Result<Lookup> {
    // The branches of the user's tree may contain commits that are not public.
    let public = subject.base.upstream_commit.as_deref();
    let tip = public
        .filter(|_| subject.base.rev.is_some())
        .unwrap_or("HEAD");
    let user = |dir| (Git::of_user(subject.git.runner(), dir), tip);
    let named = subject.history.as_deref().map(user);
    let base = subject.assembled.base.commit.as_str();
    for (git, tip) in named.into_iter().chain([(*subject.git, base)]) {
        let Some(commit) = git.resolve(&format!("{hash}^{{commit}}"))? else {
            continue;
        };
        let below = git.cmd(["merge-base", "--is-ancestor", commit.as_str(), tip]);
        if git.try_run(&below)?.ok() {
            let text = git
                .must(["log", "-1", "--format=%s", commit.as_str()])?
                .text();
            return Ok(Lookup::Found(text.trim_end().to_owned()));
        }
    }
    Ok(Lookup::Unknown)
}

/// An exception in a manifest, with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exception {
    /// The field of the manifest.
    pub field: &'static str,
    /// The object: an item, a recipient, "patch 3".
    pub of: String,
    /// The reason.
    pub why: String,
}

/// Returns the exceptions of a series, in the order of the rules.
pub fn exceptions(series: &Series) -> Vec<Exception> {
    let mut all = Vec::new();
    let mut add = |field, of: String, why: &str| {
        all.push(Exception {
            field,
            of,
            why: why.to_owned(),
        });
    };
    for (item, why) in &series.unused {
        add("unused", item.clone(), &why.value);
    }
    let patches = || series.patches.iter().zip(1..);
    for (patch, number) in patches() {
        for hash in &patch.unverified {
            let why = format!("Fixes: {} was not looked up", hash.value);
            add("unverified", format!("patch {number}"), &why);
        }
        if let Some(why) = &patch.no_fixes {
            add("no-fixes", format!("patch {number}"), &why.value);
        }
    }
    for (who, why) in &series.absent {
        add("absent", who.clone(), &why.value);
    }
    if let Some(why) = &series.many {
        add(
            "many",
            count(series.patches.len(), "patch", "patches"),
            &why.value,
        );
    }
    for (patch, number) in patches() {
        if let Some(why) = &patch.large {
            add("large", format!("patch {number}"), &why.value);
        }
    }
    all
}

#[cfg(test)]
pub(crate) fn shown(faults: Vec<Fault>) -> String {
    use crate::sys::error::Error;

    let errors = faults.into_iter();
    let errors = errors.map(|f| Error::new(f.what).at(f.file, f.line).help(f.help));
    Error::all(errors.collect()).map_or(String::new(), |e| e.to_string())
}
