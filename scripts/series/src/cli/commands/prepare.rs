// SPDX-License-Identifier: GPL-2.0

//! `prepare`: b4 writes the mails of a posting. Nothing is sent.

use super::{App, Made};
use crate::{
    b4,
    checks::quick,
    cli::stdout::print,
    kernel::{
        build::{Arch, Target},
        tools,
    },
    mail::mailbox,
    patches::commits::AssembledSeries,
    report::status::{self, SeriesStatus},
    source::{changelog, component},
    sys::{
        cache::Resource,
        error::{Error, Result},
    },
    versions::rules::mails::{self, Wanted},
};

impl App<'_> {
    pub(super) fn prepare(&self, name: &str) -> Result<()> {
        let all = component::read_all(&self.ws)?;
        component::find(&all, name)?.series.refuse_local()?;
        let made = self.make(&[])?;
        let at = made.assembled.position(name)?;
        let one = &made.assembled.series[at];
        self.refuse(&made, one)?;
        let b4 = tools::b4(self.runner, &self.cache)?;
        let version = one.plan.series().version;
        let to = self.ws.out()?.join(name).join(format!("v{version}-mails"));
        let _lock = self.lock(Resource::Refs)?;
        let done = b4::rehearse(&self.git(), &self.cache, &b4, name, &to, &self.ui)?;
        for mail in &done.mails {
            print(&format!("{}\n", self.ws.shown(mail).display()));
        }
        self.check_mails(&made, at, &done.mails)?;
        if !made.who.set {
            return Err(Error::new("the patches have no sign-off").help(
                "git config --global user.name NAME; git config --global user.email ADDRESS",
            ));
        }
        let statuses = status::statuses(&self.ws, &self.cache, &self.base, Some(&made.report))?;
        let status = statuses.iter().find(|s| s.name == name);
        for line in status.map(outstanding).unwrap_or_default() {
            self.ui.say(format!("note: {line}"));
        }
        // A user may paste these lines, so print them after all checks.
        self.ui
            .say("\nNothing was sent. To send the mails to yourself only:");
        self.ui.say(format!("  {}", done.reflect));
        self.ui.say("To post the series:");
        self.ui.say(format!("  {}", done.post));
        self.ui.say("After posting:");
        self.ui.say(format!("  cargo series record {name}"));
        Ok(())
    }

    /// Refuses a series that must not be posted in its current state.
    fn refuse(&self, made: &Made, one: &AssembledSeries) -> Result<()> {
        let (series, name) = (one.plan.series(), one.name());
        if let Some(why) = made.unsendable.get(name) {
            return Err(why.clone());
        }
        if one.patches.is_empty() {
            return Err(Error::new(format!("{name} has no patches yet"))
                .at(series.file(), None)
                .help("add a [[patch]]"));
        }
        let git = self.git();
        let subject = self.subject(made, &git, None);
        let mut findings = quick::discipline_of(&subject, one)?;
        let fixes = quick::fixes_of(&subject, one)?;
        findings.extend(fixes.findings);
        for warning in &fixes.warnings {
            self.ui.warn(quick::error_of(warning).to_string());
        }
        if let Some(error) = quick::failure_of(&findings) {
            return Err(error);
        }
        let posted = one.plan.component.posted();
        let since = made.since.get(name);
        let at = made.assembled.position(name)?;
        let trailers = &made.covers[at].trailers;
        if let (Some(posted), Some(since)) = (posted, since)
            && since.is_empty(&self.base, trailers)
        {
            let v = posted.version;
            return Err(Error::new(format!("nothing changed since v{v} of {name}"))
                .at(series.file(), None)
                .help(format!(
                    "it was posted as {}; to post it again, use `cargo series prepare {name} \
                     --resend`",
                    posted.link()
                )));
        }
        self.refuse_open_entry(one)?;
        self.refuse_stale_below(made, one)
    }

    /// Refuses a version whose changelog entry is empty, even if only a dependency is new.
    fn refuse_open_entry(&self, one: &AssembledSeries) -> Result<()> {
        let version = one.plan.series().version;
        let file = one.plan.component.changelog_file();
        let entries = changelog::parse(&one.plan.component.changelog);
        let entries = entries.map_err(|(line, e)| e.at(&file, line))?;
        match entries.first().filter(|e| e.is_open()) {
            Some(open) => Err(Error::new(format!("the entry of v{version} is empty"))
                .at(&file, open.line)
                .help("state the reason for it, as in `- Rebased on v2 of its dependency.`")),
            None => Ok(()),
        }
    }

    /// Refuses a series that depends on a posting that does not apply to the current base.
    fn refuse_stale_below(&self, made: &Made, one: &AssembledSeries) -> Result<()> {
        let mut errors = Vec::new();
        for below in &one.below {
            let below = made.assembled.find(below)?;
            let posted = below.plan.component.posted();
            let since = made.since.get(below.name());
            let (Some(posted), Some(since)) = (posted, since) else {
                continue;
            };
            if since.comparison.unchanged() && !since.applies {
                let (v, other, name) = (posted.version, below.name(), one.name());
                let next = below.plan.series().version;
                errors.push(
                    Error::new(format!(
                        "v{v} of {other} does not apply to Linux {}, but {name} depends on it",
                        self.base.release()
                    ))
                    .at(one.plan.series().file(), None)
                    .help(format!(
                        "post v{next} of {other} first: `cargo series prepare {other}`"
                    )),
                );
            }
        }
        Error::all(errors).map_or(Ok(()), Err)
    }

    /// Compares the mails from b4 with the patches and the manifest.
    fn check_mails(&self, made: &Made, at: usize, files: &[std::path::PathBuf]) -> Result<()> {
        let one = &made.assembled.series[at];
        let mut all = Vec::new();
        for file in files {
            let bytes = std::fs::read(file).map_err(|e| Error::io("read", file, &e))?;
            let shown = self.ws.shown(file);
            let mut read = mailbox::read(&bytes).map_err(|e| e.at(shown, None))?;
            all.extend(read.pop().map(|mail| (shown.to_owned(), mail)));
        }
        let subjects: Vec<&str> = one
            .plan
            .patches
            .iter()
            .map(|p| p.subject.as_str())
            .collect();
        let series = one.plan.series();
        let wanted = Wanted {
            series,
            title: &made.covers[at].title,
            subjects: &subjects,
            trailers: &made.covers[at].trailers,
            links: &one
                .plan
                .component
                .postings
                .iter()
                .map(|p| p.link())
                .collect::<Vec<_>>(),
            from: &made.who.email,
        };
        let errors = mails::faults(&wanted, &all).into_iter();
        Error::all(errors.map(|f| f.into_error()).collect()).map_or(Ok(()), Err)
    }
}

/// Returns the checks and tests that the series has not passed in its current state. The author
/// decides which of them are necessary.
fn outstanding(status: &SeriesStatus) -> Vec<String> {
    let name = &status.name;
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
        (format!("check {name}"), check),
        (format!("check --full {name}"), full),
        (format!("test {name}"), kunit(Target::Plain(Arch::Um))),
        (format!("test --hardened {name}"), kunit(Target::Hardened)),
        (format!("test --lockdep {name}"), kunit(Target::Lockdep)),
    ];
    let all = all
        .into_iter()
        .filter_map(|(command, what)| Some((command, what?)));
    all.map(|(command, what)| {
        format!("for this state of the series, `cargo series {command}` {what}")
    })
    .collect()
}
