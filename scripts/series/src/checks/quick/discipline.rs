// SPDX-License-Identifier: GPL-2.0

//! Applies [`crate::versions::rules`] to the assembled patches and the written mails.

use std::{collections::BTreeSet, path::PathBuf};

use crate::{
    checks::{Finding, Subject},
    patches::commits::AssembledSeries,
    source::{changelog, component::Component},
    sys::error::Result,
    versions::{
        postings::commits::applied,
        rules::{self, Fault, Rule, changelog::OtherReasons, moves::Now},
        trailers::needless,
    },
};

/// The rules in the order of their numbers.
pub const RULES: [Rule; 5] = [
    Rule::Version,
    Rule::Changelog,
    Rule::Moves,
    Rule::Dependencies,
    Rule::Trailers,
];

pub fn check(
    subject: &Subject<'_>,
    one: &AssembledSeries,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let component = &one.plan.component;
    let mut faults = Vec::new();
    // A posting is compared on its own base only.
    if component.is_posted_here {
        faults = rules::versions::faults(&component.series, &component.postings);
        faults.extend(of_changelog(subject, one));
        faults.extend(of_moves(subject, one));
    }
    faults.extend(of_dependencies(subject, one)?);
    faults.extend(of_trailers(subject, one)?);
    faults.extend(needless(one.name(), one.trailers()));
    findings.extend(faults.into_iter().map(|f| found(one.name(), f)));
    Ok(())
}

fn found(series: &str, fault: Fault) -> Finding {
    Finding {
        series: series.to_owned(),
        patch: fault.patch,
        check: fault.rule.name().into(),
        message: fault.what,
        file: Some(fault.file.display().to_string()),
        line: fault.line,
        help: Some(fault.help),
    }
}

/// Returns the entries of the changelog. The code that creates the cover letter reports parse
/// errors.
fn entries(component: &Component) -> Vec<changelog::Entry> {
    changelog::parse(&component.changelog).unwrap_or_default()
}

fn of_changelog(subject: &Subject<'_>, one: &AssembledSeries) -> Vec<Fault> {
    let component = &one.plan.component;
    let entries = entries(component);
    let since = subject.since.get(one.name());
    let mut faults = Vec::new();
    // If the version does not follow the last posting, the first rule reports it.
    if let (Some(entry), Some(before), Some(since)) = (entries.first(), component.posted(), since)
        && entry.version == before.version + 1
    {
        let other = OtherReasons {
            reasons: &since.reasons(subject.base),
            release: &subject.base.release(),
        };
        let since = &since.comparison;
        let file = component.changelog_file();
        let name = one.name();
        faults = rules::changelog::faults(&file, name, entry, before, since, other);
    }
    let names: Vec<&str> = subject.assembled.series.iter().map(|s| s.name()).collect();
    faults.extend(rules::moves::in_changelog(component, &entries, &names));
    faults
}

fn of_moves(subject: &Subject<'_>, one: &AssembledSeries) -> Vec<Fault> {
    let others: Vec<&Component> = subject
        .assembled
        .series
        .iter()
        .map(|s| &s.plan.component)
        .collect();
    let report = subject.report.series.iter().find(|r| r.name == one.name());
    let ids: Vec<String> = report
        .into_iter()
        .flat_map(|r| r.patches.iter().map(|p| p.patch_id.clone()))
        .collect();
    let now = Now {
        plan: &one.plan,
        patch_ids: &ids,
        since: subject.since.get(one.name()).map(|s| &s.comparison),
    };
    rules::moves::faults(&now, &others)
}

fn of_dependencies(subject: &Subject<'_>, one: &AssembledSeries) -> Result<Vec<Fault>> {
    let series = one.plan.series();
    let mut faults = rules::dependencies::in_manifest(series, one.patches.len());
    if let (Some(cover), Some((file, text))) = (subject.cover(one.name()), letter(subject, one)) {
        let named = &cover.dependencies;
        faults.extend(rules::dependencies::in_cover(&file, &text, named));
    }
    for (name, n) in &series.without {
        if !faults.is_empty() || n.value > one.patches.len() {
            break;
        }
        if let Some((patch, why)) = needs(subject, one, name, n.value)? {
            faults.push(Fault {
                rule: Rule::Dependencies,
                file: series.file(),
                line: Some(n.line),
                patch: Some(patch),
                what: format!(
                    "patch {patch} does not apply without {name}, but [without] declares {}",
                    n.value
                ),
                help: format!("correct the number: {name} = {}\n{why}", patch - 1),
            });
        }
    }
    Ok(faults)
}

/// Returns which of the first `count` patches does not apply without a dependency, and the reason.
fn needs(
    subject: &Subject<'_>,
    one: &AssembledSeries,
    without: &str,
    count: usize,
) -> Result<Option<(usize, String)>> {
    let all = &subject.assembled.series;
    // Series that build on the omitted dependency are omitted as well.
    let mut out = BTreeSet::from([without]);
    for below in all
        .iter()
        .filter(|s| one.below.iter().any(|b| b == s.name()))
    {
        if below.below.iter().any(|b| out.contains(b.as_str())) {
            out.insert(below.name());
        }
    }
    let mails_of = |s: &AssembledSeries, n: usize| {
        let at = all.iter().position(|a| a.name() == s.name());
        let mails = at.and_then(|at| subject.mails.get(at));
        let mails = mails.into_iter().flat_map(|m| m.patches.iter().take(n));
        mails.map(|(_, mail)| mail.as_slice()).collect::<Vec<_>>()
    };
    let mut mails = Vec::new();
    for below in all {
        if one.below.iter().any(|b| b == below.name()) && !out.contains(below.name()) {
            mails.extend(mails_of(below, usize::MAX));
        }
    }
    let first = mails.len();
    mails.extend(mails_of(one, count));
    let tree = &subject.assembled.base.tree;
    match applied(subject.git, subject.cache, tree, &mails) {
        Ok(_) => Ok(None),
        Err((at, e)) if at >= first => Ok(Some((at - first + 1, e.to_string()))),
        Err((_, e)) => Err(e),
    }
}

/// Returns the written cover letter and its file.
fn letter(subject: &Subject<'_>, one: &AssembledSeries) -> Option<(PathBuf, String)> {
    let report = subject
        .report
        .series
        .iter()
        .find(|r| r.name == one.name())?;
    let file = PathBuf::from(report.folder.as_ref()?).join("0000-cover-letter.patch");
    let text = subject.ws.read(&file).ok()?;
    Some((file, text))
}

fn of_trailers(subject: &Subject<'_>, one: &AssembledSeries) -> Result<Vec<Fault>> {
    let made = subject.assembled.base.commit.as_str();
    let component = &one.plan.component;
    let mut faults: Vec<Fault> = rules::trailers::private_base(subject.base, made)
        .into_iter()
        .collect();
    if let (Some(cover), Some((file, text))) = (subject.cover(one.name()), letter(subject, one)) {
        let wanted = &cover.trailers;
        faults.extend(rules::trailers::in_cover(&file, &text, wanted));
    }
    let series = subject.assembled.series.iter();
    let commits = series.flat_map(|s| s.patches.iter().map(|p| p.commit.as_str()));
    let private: Vec<&str> = commits.chain([made]).collect();
    let texts = [
        (component.cover_file.display().to_string(), &component.cover),
        (
            component.changelog_file().display().to_string(),
            &component.changelog,
        ),
    ];
    let messages = component.messages.iter();
    let messages = messages.map(|(file, text)| {
        let place = component.place_of_message(file);
        (place.display().to_string(), text)
    });
    for (file, text) in texts.into_iter().chain(messages) {
        let found = rules::trailers::private_names(file.as_ref(), text, &private);
        faults.extend(found);
    }
    Ok(faults)
}
