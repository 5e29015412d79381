// SPDX-License-Identifier: GPL-2.0

//! `prepare`: b4 writes the mails of a posting. Nothing is sent.

use super::{
    App, AssembledSeries, Error, Finding, Made, Resource, Result, SeriesStatus, Target, b4,
    component, print_line, quick, tools,
};
use crate::{checks::mails, kernel::build::Arch, source::changelog};

impl App<'_> {
    pub(super) fn prepare(&self, name: &str) -> Result<()> {
        let all = component::read_all(&self.ws)?;
        component::find(&all, name)?.series.refuse_local()?;
        let made = self.make(&[])?;
        let at = made.assembled.position(name)?;
        let one = &made.assembled.series[at];
        self.refuse(&made, at)?;
        let b4 = tools::b4(self.runner, &self.cache)?;
        let version = one.plan.series().version;
        let to = self.ws.out()?.join(name).join(format!("v{version}-mails"));
        let _lock = self.lock(Resource::Refs)?;
        let done = b4::rehearse(&self.git(), &self.cache, &b4, name, &to, &self.ui)?;
        // The mails are checked even if their names cannot be printed.
        let mut mails = done.mails.iter();
        let printed = mails.try_for_each(|mail| print_line(self.ws.shown(mail).display()));
        let checked = self.check_mails(&made, at, &done.mails);
        Error::all([checked, printed].into_iter().filter_map(Result::err))?;
        if !made.who.set {
            return Err(Error::new("the patches have no sign-off").help(
                "git config --global user.name NAME; git config --global user.email ADDRESS",
            ));
        }
        let statuses = self.statuses(Some(&made.report))?;
        let status = statuses.iter().find(|s| s.name == name);
        for (command, what) in status.map(outstanding).unwrap_or_default() {
            self.say(format!(
                "note: for this state of the series, `cargo series {command} {name}` {what}"
            ));
        }
        // A user may paste these lines, so print them after all checks.
        let (reflect, post) = (&done.reflect, &done.post);
        self.say(format!(
            "\nNothing was sent. To send the mails to yourself only:\n  {reflect}\n\
             To post the series:\n  {post}\n\
             After posting:\n  cargo series record {name}"
        ));
        Ok(())
    }

    fn refuse(&self, made: &Made, at: usize) -> Result<()> {
        let one = &made.assembled.series[at];
        let (series, name) = (one.plan.series(), one.name());
        if let Some(why) = made.unsendable.get(name) {
            return Err(why.clone());
        }
        if one.patches.is_empty() {
            let error = series.error(None, format!("{name} has no patches yet"));
            return Err(error.help("add a [[patch]]"));
        }
        let git = self.git();
        let subject = self.subject(made, &git, None);
        let mut findings = quick::discipline_of(&subject, one)?;
        findings.extend(quick::fixes_of(&subject, one)?);
        for warning in findings.extract_if(.., |f| f.is_warning) {
            self.ui.warn(warning.into_full_error().to_string());
        }
        if let Some(error) = quick::failure_of(&findings) {
            return Err(error);
        }
        if let (Some(posted), Some(since)) = (one.plan.component.posted(), made.since.get(name))
            && since.is_empty(&self.base, &made.covers[at].trailers)
        {
            let (v, link) = (posted.version, posted.link());
            let error = series.error(None, format!("nothing changed since v{v} of {name}"));
            return Err(error.help(format!(
                "it was posted as {link}; to post it again, use `cargo series prepare {name} \
                 --resend`"
            )));
        }
        refuse_open_entry(one)?;
        self.refuse_stale_below(made, one)
    }

    /// Refuses a series that depends on a posting that does not apply to the current base.
    fn refuse_stale_below(&self, made: &Made, one: &AssembledSeries) -> Result<()> {
        let (name, release) = (one.name(), self.base.release());
        let mut errors = Vec::new();
        for below in &one.below {
            let below = made.assembled.find(below)?;
            let posted = below.plan.component.posted();
            let since = made.since.get(below.name());
            if let (Some(posted), Some(since)) = (posted, since)
                && since.comparison.unchanged()
                && !since.applies
            {
                let (v, other) = (posted.version, below.name());
                let next = below.plan.series().version;
                let what = format!(
                    "v{v} of {other} does not apply to Linux {release}, but {name} depends on it"
                );
                errors.push(one.plan.series().error(None, what).help(format!(
                    "post v{next} of {other} first: `cargo series prepare {other}`"
                )));
            }
        }
        Error::all(errors)
    }

    /// Compares the mails from b4 with the patches and the manifest.
    fn check_mails(&self, made: &Made, at: usize, files: &[std::path::PathBuf]) -> Result<()> {
        let mut all_mails = Vec::new();
        for file in files {
            let mail = super::mails::read(file)?.pop();
            all_mails.extend(mail.map(|mail| (self.ws.shown(file).to_owned(), mail)));
        }
        let (plan, cover) = (&made.assembled.series[at].plan, &made.covers[at]);
        let findings = mails::findings(plan, cover, &made.who.email, &all_mails);
        Error::all(findings.into_iter().map(Finding::into_error))
    }
}

/// Refuses a version whose changelog entry is empty, even if only a dependency is new.
fn refuse_open_entry(one: &AssembledSeries) -> Result<()> {
    let version = one.plan.series().version;
    let file = one.plan.component.changelog_file();
    let entries = changelog::parse(&one.plan.component.changelog);
    let entries = entries.map_err(|(line, e)| e.at(&file, line))?;
    let open = entries.first().filter(|e| e.is_open());
    Error::all(open.map(|open| {
        Error::new(format!("the entry of v{version} is empty"))
            .at(&file, open.line)
            .help("state the reason for it, as in `- Rebased on v2 of its dependency.`")
    }))
}

/// Returns what the series has not passed yet. The author decides what of it is necessary.
fn outstanding(status: &SeriesStatus) -> Vec<(&'static str, &'static str)> {
    let check = match status.check.as_ref().filter(|c| c.current) {
        None => Some("was not run"),
        Some(check) if check.findings > 0 => Some("has findings"),
        Some(_) => None,
    };
    let full = match &status.full {
        None => Some("was not run"),
        Some(full) if full.findings > 0 => Some("has findings"),
        Some(full) if !full.complete => Some("did not finish"),
        Some(_) => None,
    };
    let kunit = |target: Target| match status.kunit.iter().find(|k| k.kernel == target) {
        None => Some("was not run"),
        Some(kunit) if !kunit.pass => Some("failed"),
        Some(_) => None,
    };
    let all = [
        ("check", check),
        ("check --full", full),
        ("test", kunit(Target::Plain(Arch::Um))),
        ("test --hardened", kunit(Target::Hardened)),
        ("test --lockdep", kunit(Target::Lockdep)),
    ];
    let all = all.into_iter();
    all.filter_map(|(command, what)| Some((command, what?)))
        .collect()
}
