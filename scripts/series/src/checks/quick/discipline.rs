// SPDX-License-Identifier: GPL-2.0

//! Applies [`crate::versions::rules`] to the assembled patches and the written mails.

use std::{collections::BTreeSet, path::PathBuf};

use crate::{
    checks::Subject,
    patches::{commits::AssembledSeries, output::Cover},
    source::{changelog, component::Component, finding::Finding},
    sys::Result,
    versions::{
        postings::commits::applied,
        rules,
        trailers::{contradicted, needless},
    },
};

/// Applies the version rules to a series.
pub fn check(subject: &Subject<'_>, one: &AssembledSeries) -> Result<Vec<Finding>> {
    let component = &one.plan.component;
    let letter = letter(subject, one);
    let mut faults = Vec::new();
    // A posting is compared on its own base only.
    if component.is_posted_here {
        faults = rules::versions::faults(&component.series, &component.postings);
        faults.extend(of_changelog(subject, one));
        faults.extend(of_moves(subject, one));
    }
    faults.extend(of_dependencies(subject, one, letter.as_ref())?);
    faults.extend(of_trailers(subject, one, letter.as_ref()));
    faults.extend(needless(one.name(), one.trailers()));
    let messages = one.trailers().zip(&one.messages);
    faults.extend(contradicted(one.name(), messages));
    Ok(faults)
}

/// The cover letter of a series as planned, and its written file and text.
type Letter<'a> = (&'a Cover, PathBuf, String);

fn letter<'a>(subject: &Subject<'a>, one: &AssembledSeries) -> Option<Letter<'a>> {
    let made = subject.made;
    let cover = made.covers.get(made.assembled.position(one.name()).ok()?)?;
    let folder = subject.written(one)?.folder.as_ref()?;
    let file = PathBuf::from(folder).join("0000-cover-letter.patch");
    let text = subject.ws.read(&file).ok()?;
    Some((cover, file, text))
}

fn of_changelog(subject: &Subject<'_>, one: &AssembledSeries) -> Vec<Finding> {
    let component = &one.plan.component;
    // The code that creates the cover letter reports parse errors.
    let entries = changelog::parse(&component.changelog).unwrap_or_default();
    let since = subject.made.since.get(one.name());
    let mut faults = Vec::new();
    // If the version does not follow the last posting, the first rule reports it.
    if let (Some(entry), Some(before), Some(since)) = (entries.first(), component.posted(), since)
        && entry.version == before.version + 1
    {
        let check = rules::changelog::Check {
            file: &component.changelog_file(),
            name: one.name(),
            entry,
            before,
            since: &since.comparison,
            reasons: &since.reasons(subject.base),
            release: &subject.base.release(),
        };
        faults = check.faults();
    }
    let all = subject.made.assembled.series.iter();
    let names: Vec<&str> = all.map(|s| s.name()).collect();
    faults.extend(rules::moves::in_changelog(component, &entries, &names));
    faults
}

fn of_moves(subject: &Subject<'_>, one: &AssembledSeries) -> Vec<Finding> {
    let all = &subject.made.assembled.series;
    let others: Vec<&Component> = all.iter().map(|s| &s.plan.component).collect();
    let patches = subject.written(one).into_iter().flat_map(|r| &r.patches);
    let ids: Vec<String> = patches.map(|p| p.patch_id.clone()).collect();
    let since = subject.made.since.get(one.name()).map(|s| &s.comparison);
    rules::moves::faults(&one.plan, &ids, since, &others)
}

fn of_dependencies(
    subject: &Subject<'_>,
    one: &AssembledSeries,
    letter: Option<&Letter<'_>>,
) -> Result<Vec<Finding>> {
    let series = one.plan.series();
    let mut faults = rules::dependencies::in_manifest(series, one.patches.len());
    if let Some((cover, file, text)) = letter {
        let named = &cover.dependencies;
        faults.extend(rules::dependencies::in_cover(one.name(), file, text, named));
    }
    for (name, declared) in &series.without {
        let n = declared.value;
        if !faults.is_empty() || n > one.patches.len() {
            break;
        }
        if let Some((patch, why)) = needs(subject, one, name, n)? {
            let what =
                format!("patch {patch} does not apply without {name}, but [without] declares {n}");
            let help = format!("correct the number: {name} = {}\n{why}", patch - 1);
            let fault = Finding::new(one.name(), "dependencies", what).of_patch(patch);
            faults.push(fault.at(&series.file, declared.line).help(help));
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
    // Series that build on the omitted dependency are omitted as well.
    let mut out = BTreeSet::from([without]);
    let mut mails: Vec<&[u8]> = Vec::new();
    let mut own = 0;
    let made = subject.made;
    for (other, of_it) in made.assembled.series.iter().zip(&made.mails) {
        let of_it = of_it.patches.iter().map(|(_, mail)| mail.as_slice());
        if other.name() == one.name() {
            own = mails.len();
            mails.extend(of_it.take(count));
            break;
        }
        if other.below.iter().any(|b| out.contains(b.as_str())) {
            out.insert(other.name());
        }
        if one.below.iter().any(|b| b == other.name()) && !out.contains(other.name()) {
            mails.extend(of_it);
        }
    }
    let tree = &made.assembled.base.tree;
    match applied(subject.git, subject.cache, tree, &mails) {
        Ok(_) => Ok(None),
        Err((at, e)) if at >= own => Ok(Some((at - own + 1, e.to_string()))),
        Err((_, e)) => Err(e),
    }
}

fn of_trailers(
    subject: &Subject<'_>,
    one: &AssembledSeries,
    letter: Option<&Letter<'_>>,
) -> Vec<Finding> {
    let assembled = &subject.made.assembled;
    let made = assembled.base.commit.as_str();
    let (component, name) = (&one.plan.component, one.name());
    let mut faults = Vec::from_iter(rules::trailers::private_base(name, subject.base, made));
    if let Some((cover, file, text)) = letter {
        faults.extend(rules::trailers::in_cover(name, file, text, &cover.trailers));
    }
    let patches = assembled.series.iter().flat_map(|s| &s.patches);
    let plans = assembled.series.iter().flat_map(|s| &s.plan.patches);
    let branches = plans.filter_map(|p| Some(p.commit.as_ref()?.commit.as_str()));
    let patches = patches.map(|p| p.commit.as_str());
    // The base of branches is public.
    let made = Some(made).filter(|_| subject.base.rev.is_none());
    let private: Vec<&str> = patches.chain(branches).chain(made).collect();
    let texts = [
        (component.cover_file.clone(), &component.cover),
        (component.changelog_file(), &component.changelog),
    ];
    let messages = component.messages.iter();
    let messages = messages.map(|(file, text)| (component.place_of_message(file), text));
    for (file, text) in texts.into_iter().chain(messages) {
        faults.extend(rules::trailers::private_names(name, &file, text, &private));
    }
    faults
}
