// SPDX-License-Identifier: GPL-2.0

//! The tables of `status`.

use comfy_table::{ContentArrangement, Table, presets};

use super::{ChangelogStatus, Changes, CheckStatus, FullStatus, KunitStatus, SeriesStatus};
use crate::report::graph::LOCAL;

/// Formats the table of patches, builds and test results.
pub fn table(statuses: &[SeriesStatus]) -> String {
    let mut table = empty(&[
        "component",
        "series",
        "version",
        "patches",
        "base",
        "needs",
        "goes to",
        "applies",
        "builds",
        "KUnit",
        "patches in",
    ]);
    for (component, s) in grouped(statuses) {
        table.add_row([component].into_iter().chain(row(s)));
    }
    table.to_string()
}

/// Formats the table of postings, reviews and checks.
pub fn details(statuses: &[SeriesStatus]) -> String {
    let mut table = empty(&[
        "component",
        "series",
        "state",
        "changed since",
        "changelog",
        "reviewed",
        "check",
        "check --full",
    ]);
    for (component, s) in grouped(statuses) {
        table.add_row([component].into_iter().chain(detail_row(s)));
    }
    let mut text = table.to_string();
    for s in statuses {
        if let Some(posted) = &s.posted {
            text += &format!("\n{} v{}: {}", s.name, posted.version, posted.link);
        }
    }
    text
}

/// Returns the series with the name of the component, which only the first of several has.
fn grouped(statuses: &[SeriesStatus]) -> impl Iterator<Item = (String, &SeriesStatus)> {
    let before = statuses.iter().map(|s| Some(s.component.as_str()));
    let before = [None].into_iter().chain(before);
    statuses.iter().zip(before).map(|(s, before)| {
        let component = match before == Some(s.component.as_str()) {
            true => String::new(),
            false => s.component.clone(),
        };
        (component, s)
    })
}

fn empty(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.iter().copied());
    table
}

fn dash() -> String {
    "-".to_owned()
}

fn row(s: &SeriesStatus) -> [String; 10] {
    let or_dash = |text: String| if text.is_empty() { dash() } else { text };
    let names: Vec<_> = s.builds.iter().map(|a| a.name()).collect();
    let kunit = s.kunit.iter();
    let kunit: Vec<_> = kunit
        .map(|k| format!("{}: {}", k.kernel.name(), kunit_text(k)))
        .collect();
    [
        s.name.clone(),
        format!("v{}", s.version),
        s.patches.to_string(),
        s.base.clone(),
        or_dash(s.needs.join(", ")),
        match (&s.local, &s.posted_on) {
            (Some(_), _) => LOCAL.to_owned(),
            (None, Some(base)) => format!("posted on {base}"),
            (None, None) => s.goes_to.clone().unwrap_or_else(dash),
        },
        match s.applies {
            None => dash(),
            Some(true) => "yes".to_owned(),
            Some(false) => "NO".to_owned(),
        },
        match s.patches {
            0 => dash(),
            _ => or_dash(names.join(", ")),
        },
        or_dash(kunit.join(", ")),
        match (&s.folder, s.patches) {
            (Some(folder), _) => folder.clone(),
            (None, 0) => "no patches yet".to_owned(),
            (None, _) => "not assembled".to_owned(),
        },
    ]
}

fn detail_row(s: &SeriesStatus) -> [String; 7] {
    [
        s.name.clone(),
        s.state(),
        s.changes.as_ref().map_or(dash(), changes_text),
        match s.changelog {
            ChangelogStatus::Missing => format!("NO ENTRY for v{}", s.version),
            ChangelogStatus::Begun => "begun".to_owned(),
            ChangelogStatus::Written => "written".to_owned(),
        },
        match s.reviewed {
            Some(n) if s.patches > 0 => format!("{n} of {}", s.patches),
            _ => dash(),
        },
        s.check.as_ref().map_or(dash(), check_text),
        s.full.as_ref().map_or(dash(), full_text),
    ]
}

/// "v1: 2 changed, 1 new".
fn changes_text(c: &Changes) -> String {
    let counts = [
        (c.changed, "changed"),
        (c.message, "message changed"),
        (c.added, "new"),
        (c.dropped, "dropped"),
        (c.moved, "moved"),
    ];
    let counts = counts.iter().filter(|(n, _)| *n > 0);
    let counts: Vec<_> = counts.map(|(n, what)| format!("{n} {what}")).collect();
    match counts.is_empty() {
        true => format!("v{}: nothing", c.against),
        false => format!("v{}: {}", c.against, counts.join(", ")),
    }
}

/// "2 findings", "nothing found".
fn findings(n: usize) -> String {
    match n {
        0 => "nothing found".to_owned(),
        1 => "1 FINDING".to_owned(),
        n => format!("{n} FINDINGS"),
    }
}

fn check_text(c: &CheckStatus) -> String {
    // Show minutes only.
    let when = c.when.get(..16).unwrap_or(&c.when).replace('T', " ");
    match c.current {
        true => format!("{}, {when} UTC", findings(c.findings)),
        false => format!("changed since {when} UTC"),
    }
}

fn full_text(f: &FullStatus) -> String {
    let found = findings(f.findings);
    match f.left {
        0 => format!("{} of {}, {found}", f.done, f.units),
        left => format!("{} of {}, {found}; {left} left", f.done, f.units),
    }
}

/// "30 passed".
pub(crate) fn kunit_text(k: &KunitStatus) -> String {
    let counts = match k.failed {
        0 => format!("{} passed", k.passed),
        n => format!("{} passed, {n} FAILED", k.passed),
    };
    let odd = match k.reports {
        0 if k.pass || k.failed > 0 => String::new(),
        0 => " (INCOMPLETE)".to_owned(),
        n => format!(", {n} REPORTED"),
    };
    format!("{counts}{odd}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::build::{Arch, Target},
        report::graph::Posted,
    };

    fn status(name: &str, patches: usize) -> SeriesStatus {
        SeriesStatus {
            name: name.into(),
            component: name.into(),
            local: None,
            version: 1,
            patches,
            base: "v6.19.11".into(),
            depends: Vec::new(),
            needs: Vec::new(),
            posted_on: None,
            goes_to: Some("dri-devel".into()),
            applies: (patches > 0).then_some(true),
            builds: vec![Target::Plain(Arch::Um)],
            kunit: Vec::new(),
            folder: (patches > 0).then(|| format!("out/{name}/v1")),
            posted: None,
            changes: None,
            changelog: ChangelogStatus::Written,
            reviewed: Some(0),
            check: None,
            full: None,
        }
    }

    #[test]
    fn table_of_results() {
        let kunit = |kernel, pass, passed, failed, reports| KunitStatus {
            kernel,
            pass,
            passed,
            failed,
            reports,
        };
        let mut good = status("clist", 4);
        good.kunit = vec![
            kunit(Target::Plain(Arch::Um), true, 30, 0, 0),
            kunit(Target::Plain(Arch::X86_64), false, 29, 1, 0),
            kunit(Target::Hardened, false, 30, 0, 2),
        ];
        let mut odd = status("mm", 2);
        odd.needs = vec!["clist".into()];
        odd.kunit = vec![
            kunit(Target::Plain(Arch::Um), false, 0, 0, 0),
            kunit(Target::Lockdep, true, 3, 0, 0),
        ];
        let mut more = status("mm-more", 1);
        more.component = "mm".into();
        more.local = Some("a rehearsal".into());
        let mut missing = status("other", 1);
        missing.folder = None;
        insta::assert_snapshot!(table(&[good, status("gpu-buddy", 0), odd, more, missing]));
    }

    #[test]
    fn details_of_postings() {
        let full = |done, findings| FullStatus {
            units: 8,
            done,
            left: 8 - done,
            findings,
            complete: done == 8,
        };
        let check = |current, findings| CheckStatus {
            when: "2026-01-02T03:04:05Z".into(),
            tree: String::new(),
            current,
            findings,
        };
        let mut changed = status("clist", 4);
        changed.version = 2;
        changed.posted = Some(Posted {
            version: 1,
            link: "https://example.org/1".into(),
        });
        changed.changes = Some(Changes {
            against: 1,
            same: 1,
            moved: 1,
            message: 1,
            changed: 2,
            added: 3,
            dropped: 1,
        });
        changed.changelog = ChangelogStatus::Begun;
        changed.reviewed = Some(3);
        changed.check = Some(check(true, 2));
        changed.full = Some(full(5, 1));
        let mut clean = changed.clone();
        clean.name = "gpu-buddy".into();
        clean.component = "gpu-buddy".into();
        clean.changes = Some(Changes {
            same: 4,
            moved: 0,
            message: 0,
            changed: 0,
            added: 0,
            dropped: 0,
            against: 1,
        });
        clean.check = Some(check(true, 0));
        clean.full = Some(full(8, 0));
        let mut old = status("mm", 2);
        old.changelog = ChangelogStatus::Missing;
        old.check = Some(check(false, 0));
        insta::assert_snapshot!(details(&[changed, clean, old, status("none", 0)]));
    }
}
