// SPDX-License-Identifier: GPL-2.0

//! The tables of `status`.

use super::{ChangelogStatus, Changes, CheckStatus, FullStatus, KunitStatus, LOCAL, SeriesStatus};
use crate::sys::{plural::count, table::markdown};

/// Formats the table of patches, builds and test results.
pub fn table(statuses: &[SeriesStatus]) -> String {
    let header = "series | version | patches | base | needs | goes to | applies | builds | KUnit | \
                  patches in";
    grouped(statuses, header, row)
}

/// Formats the table of postings, reviews and checks.
pub fn details(statuses: &[SeriesStatus]) -> String {
    let header = "series | state | changed since | changelog | reviewed | check | check --full";
    let mut text = grouped(statuses, header, detail_row);
    for s in statuses {
        if let Some(posted) = &s.posted {
            text += &format!("\n{} v{}: {}", s.name, posted.version, posted.link);
        }
    }
    text
}

/// Formats a row for each series. The first of several series of a component shows its name.
fn grouped<const N: usize>(
    statuses: &[SeriesStatus],
    header: &str,
    row: impl Fn(&SeriesStatus) -> [String; N],
) -> String {
    let mut before = "";
    let rows = statuses.iter().map(|s| {
        let is_first = s.component != before;
        before = &s.component;
        let name = if is_first { before } else { "" };
        [name.to_owned()].into_iter().chain(row(s))
    });
    markdown(&format!("component | {header}"), rows)
}

fn or_dash(text: Option<String>) -> String {
    text.filter(|t| !t.is_empty()).unwrap_or("-".to_owned())
}

fn row(s: &SeriesStatus) -> [String; 10] {
    let builds: Vec<_> = s.builds.iter().map(|kernel| kernel.name()).collect();
    let kunit = |k: &KunitStatus| format!("{}: {}", k.kernel.name(), kunit_text(k));
    let kunit: Vec<_> = s.kunit.iter().map(kunit).collect();
    let applies = s.applies.map(|yes| if yes { "yes" } else { "NO" });
    [
        s.name.clone(),
        format!("v{}", s.version),
        s.patches.to_string(),
        s.base.clone(),
        or_dash(Some(s.needs.join(", "))),
        match (&s.local, &s.posted_on) {
            (Some(_), _) => LOCAL.to_owned(),
            (None, Some(base)) => format!("posted on {base}"),
            (None, None) => or_dash(s.goes_to.clone()),
        },
        or_dash(applies.map(str::to_owned)),
        or_dash((s.patches > 0).then(|| builds.join(", "))),
        or_dash(Some(kunit.join(", "))),
        match (&s.folder, s.patches) {
            (Some(folder), _) => folder.clone(),
            (None, 0) => "no patches yet".to_owned(),
            (None, _) => "not assembled".to_owned(),
        },
    ]
}

fn detail_row(s: &SeriesStatus) -> [String; 7] {
    let reviewed = s.reviewed.filter(|_| s.patches > 0);
    [
        s.name.clone(),
        s.state(),
        or_dash(s.changes.as_ref().map(changes_text)),
        match s.changelog {
            ChangelogStatus::Missing => format!("NO ENTRY for v{}", s.version),
            ChangelogStatus::Begun => "begun".to_owned(),
            ChangelogStatus::Written => "written".to_owned(),
        },
        or_dash(reviewed.map(|n| format!("{n} of {}", s.patches))),
        or_dash(s.check.as_ref().map(check_text)),
        or_dash(s.full.as_ref().map(full_text)),
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
    if counts.is_empty() {
        return format!("v{}: nothing", c.against);
    }
    format!("v{}: {}", c.against, counts.join(", "))
}

fn findings(n: usize) -> String {
    match n {
        0 => "nothing found".to_owned(),
        n => count(n, "FINDING", "FINDINGS"),
    }
}

fn check_text(c: &CheckStatus) -> String {
    // Show minutes only.
    let when = c.when.get(..16).unwrap_or(&c.when).replace('T', " ");
    if !c.current {
        return format!("changed since {when} UTC");
    }
    format!("{}, {when} UTC", findings(c.findings))
}

fn full_text(f: &FullStatus) -> String {
    let text = format!("{} of {}, {}", f.done, f.units, findings(f.findings));
    match f.left {
        0 => text,
        left => format!("{text}; {left} left"),
    }
}

/// "30 passed".
pub fn kunit_text(k: &KunitStatus) -> String {
    let counts = match k.failed {
        0 => format!("{} passed", k.passed),
        n => format!("{} passed, {n} FAILED", k.passed),
    };
    match k.reports {
        0 if k.pass || k.failed > 0 => counts,
        0 => format!("{counts} (INCOMPLETE)"),
        n => format!("{counts}, {n} REPORTED"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::build::{Arch, Target},
        report::status::Posted,
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
            last: None,
            changes: None,
            changelog: ChangelogStatus::Written,
            reviewed: Some(0),
            check: None,
            full: None,
            exceptions: Vec::new(),
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
