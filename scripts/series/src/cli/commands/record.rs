// SPDX-License-Identifier: GPL-2.0

//! `diff` and `record`: compare a series with a posting, and record one.

use std::{collections::BTreeSet, io::IsTerminal, ops::Range, path::Path};

use toml_edit::DocumentMut;

use super::{
    App, Component, Error, Finding, Posting, Resource, Result, b4, component, count, mails,
    print_as, read_file, versions, write,
};
use crate::{
    cli::args::{Diff, Record},
    mail::mailbox::{self, Mail},
    source::changelog,
    versions::{
        postings::{Import, import::Importer, tag},
        range_diff,
    },
};

impl App<'_> {
    pub(super) fn diff(&self, args: &Diff) -> Result<()> {
        let name = &args.name;
        if args.append || args.no_append {
            self.edit_manifest(name, |manifest| {
                if args.append {
                    manifest["range-diff"] = toml_edit::value(true);
                } else {
                    manifest.remove("range-diff");
                }
            })?;
        }
        let made = self.make(std::slice::from_ref(name))?;
        let one = made.assembled.find(name)?;
        let component = &one.plan.component;
        let help = format!("record a posting with `cargo series record {name}`");
        let last = last_posting(component, &help)?;
        let against = args.against.unwrap_or(last.version);
        let posting = component.postings.iter().find(|p| p.version == against);
        let posting = posting.ok_or_else(|| {
            let what = format!("v{against} of {name} is not recorded");
            let help = format!("v1 to v{} are recorded", last.version);
            component.series.error(None, what).help(help)
        })?;
        let last = made.since.get(name);
        let comparison = match last.filter(|c| c.comparison.against == posting.version) {
            Some(change) => change.comparison.clone(),
            None => {
                let _lock = self.lock(Resource::Refs)?;
                self.change(&made.assembled, posting, one)?.comparison
            }
        };
        if !args.json {
            let (v, summary) = (posting.version, comparison.summary());
            self.say(format!("{name} against v{v}: {summary}"));
        }
        let text = if std::io::stdout().is_terminal() {
            range_diff::colored(&comparison.text)
        } else {
            comparison.text.clone()
        };
        print_as(args.json, &comparison, &text)
    }

    pub(super) fn record_command(&self, args: &Record) -> Result<()> {
        match &args.mbox {
            _ if args.undo => self.undo(&args.name),
            Some(mbox) if args.resend => self.record_resend(&args.name, mbox),
            mbox => self.record(&args.name, mbox.as_deref()),
        }
    }

    fn record(&self, name: &str, mbox: Option<&Path>) -> Result<()> {
        let read = component::read_all(&self.ws)?;
        let components: Vec<&Component> = read.iter().collect();
        let component = component::find(&read, name)?;
        component.series.refuse_local()?;
        let version = component.series.version;
        let recorded = component.posted().map_or(0, |p| p.version);
        if recorded + 1 < version {
            let faults = versions::faults(&component.series, &component.postings);
            return Error::all(faults.into_iter().map(Finding::into_error));
        }
        let posting = match component.posted().filter(|p| p.version == version) {
            // An interrupted run recorded this posting. Finish that run.
            Some(posting) => posting.clone(),
            None => self.import_posting(&components, component, mbox)?,
        };
        self.begin_next(component, &posting)?;
        let patches = count(posting.patches.len(), "patch", "patches");
        let (version, link) = (posting.version, posting.link());
        self.say(format!("recorded: v{version} of {name}, {patches}, {link}"));
        // The cover letters of dependent series refer to the new posting.
        let made = self.make(&[])?;
        self.show(&made.report)
    }

    /// Reads a posting and writes it to `series/<name>/posted/`.
    fn import_posting(
        &self,
        components: &[&Component],
        component: &Component,
        mbox: Option<&Path>,
    ) -> Result<Posting> {
        let name = component.name();
        let base = self.base_commit()?;
        let git = self.git();
        let rebuild = self.rebuild(&git, &base, components);
        let _lock = self.lock(Resource::Refs)?;
        let importer = Importer {
            rebuild: &rebuild,
            component,
            kernel: self.base.made_for(),
        };
        let found = match mbox {
            Some(from) => self.import_mails(&importer, from)?,
            None => self.import_from_b4(&importer)?,
        };
        for other in &found.left_out {
            self.say(format!("not recorded: {other}"));
        }
        // Create the commits and b4's tag first, because a user would have to remove a record
        // without them by hand.
        let made = rebuild.commits_before_record(name, &found)?;
        let Import {
            posting,
            mails,
            below,
            ..
        } = found;
        tag::make(&git, &posting, &made)?;
        posting.write(&self.ws, name, &mails, &below)?;
        tag::ensure(&git, &posting, &made)?;
        Ok(posting)
    }

    /// Reads a posting from mails. Warns if the sender is not the user.
    fn import_mails(&self, importer: &Importer<'_>, from: &Path) -> Result<Import> {
        let at = |e: Error| e.at(from, None);
        // The patches of the dependencies from the last `assemble`.
        let below = importer.rebuild.below(importer.component).into_iter();
        let below = below.flat_map(|c| {
            let file = format!("{}/v{}.mbox", c.name(), c.series.version);
            read_file(&self.ws.path(self.ws.below_out(file))).unwrap_or_default()
        });
        let below: Vec<u8> = below.collect();
        let user = self.user()?.email;
        let all = mails::read(from)?;
        let found = importer.read_mails(&all, &user, &below).map_err(at)?;
        let mails = mailbox::read(&found.mails)?;
        self.refuse_prepared(importer.component, &mails)
            .map_err(at)?;
        let sender = mails.first().map(|m| &m.from);
        if let Some(other) = sender.filter(|p| !p.email.eq_ignore_ascii_case(&user)) {
            let ui = &self.ui;
            ui.warn(format!("the sender of the posting is {other}"));
        }
        Ok(found)
    }

    fn import_from_b4(&self, importer: &Importer<'_>) -> Result<Import> {
        let series = &importer.component.series;
        let (name, version) = (&series.name, series.version);
        let sent = b4::sent(importer.rebuild.git, name, version)?.ok_or_else(|| {
            let what = format!("b4 did not post v{version} of {name} from this workspace");
            let error = series.error(series.line_of_version, what);
            error.help(format!(
                "`cargo series prepare {name}` prints the command that posts it; to record other \
                 mails, use `cargo series record {name} --mbox FILE`"
            ))
        })?;
        importer.read_tag(&sent)
    }

    /// Refuses the mails that `prepare` wrote, whose message IDs were never posted. Accepts mails
    /// with headers of a mail server.
    fn refuse_prepared(&self, component: &Component, mails: &[Mail]) -> Result<()> {
        let (name, version) = (component.name(), component.series.version);
        let folder = self.ws.below_out(format!("{name}/v{version}-mails"));
        let written = mails::read(&self.ws.path(&folder)).unwrap_or_default();
        let is_written = |m: &&Mail| written.iter().any(|w| w.id == m.id);
        let mut same = mails.iter().filter(is_written);
        let Some(mail) = same.find(|m| m.header("Received").is_none()) else {
            return Ok(());
        };
        let (subject, folder) = (&mail.subject, folder.display());
        let what = format!(
            "{subject:?} was not posted: `cargo series prepare {name}` wrote it to {folder}"
        );
        let help =
            "post the series and record the received mails; b4 sends them with other message IDs";
        Err(Error::new(what).help(help))
    }

    /// Starts the version after `posting`: adds an entry with the link to the changelog, and sets
    /// the number in the manifest. A second call changes nothing.
    fn begin_next(&self, component: &Component, posting: &Posting) -> Result<()> {
        let next = posting.version + 1;
        let text = self.changed_changelog(component, |text, section| {
            changelog::begun(text, section, next, &posting.link())
        })?;
        write(&self.ws.path(component.changelog_file()), text.as_bytes())?;
        self.edit_manifest(component.name(), |manifest| {
            manifest["version"] = toml_edit::value(i64::from(next));
            // `range-diff` applies to the posted version only.
            manifest.remove("range-diff");
        })
    }

    /// Returns the changelog of the component, with `change` applied to the section of the series.
    pub(super) fn changed_changelog(
        &self,
        component: &Component,
        change: impl FnOnce(&str, &Range<usize>) -> Result<String, (usize, Error)>,
    ) -> Result<String> {
        let file = component.changelog_file();
        let text = self.ws.read(&file)?;
        let section = changelog::section(&text, component.name(), &component.siblings)
            .map_err(|(line, e)| e.at(&file, line))?;
        change(&text, &section).map_err(|(line, e)| e.at(&file, line))
    }

    /// Sets the posted version in the manifests of all bases, if an interrupted `record` or `--undo`
    /// changed some of them. The command then starts as if it had changed none.
    pub(super) fn finish_manifests(&self, name: &str) -> Result<()> {
        let files = self
            .ws
            .variants("series", format!("{name}.toml"))
            .into_iter();
        // The command reports faults.
        let texts = files.filter_map(|file| self.ws.read(file).ok()?.parse::<DocumentMut>().ok());
        let versions: BTreeSet<i64> = texts
            .filter_map(|m| m.get("version")?.as_integer())
            .collect();
        let versions = Vec::from_iter(versions);
        let [posted, next] = versions[..] else {
            return Ok(());
        };
        let record = format!("series/{name}/posted/v{posted}.toml");
        if next != posted + 1 || !self.ws.path(record).exists() {
            return Ok(());
        }
        self.edit_manifest(name, |manifest| {
            manifest["version"] = toml_edit::value(posted);
        })
    }

    /// Edits the manifest of a series and its variants in place.
    pub(super) fn edit_manifest(
        &self,
        name: &str,
        change: impl Fn(&mut DocumentMut),
    ) -> Result<()> {
        for file in self.ws.variants("series", format!("{name}.toml")) {
            let parsed = self.ws.read(&file)?.parse::<DocumentMut>();
            let mut manifest = parsed.map_err(|e| Error::new(e.message()).at(&file, None))?;
            change(&mut manifest);
            write(&self.ws.path(&file), manifest.to_string().as_bytes())?;
        }
        Ok(())
    }
}

/// Returns the last posting of a series. The error has the remedy `help`.
pub(super) fn last_posting<'a>(component: &'a Component, help: &str) -> Result<&'a Posting> {
    component.posted().ok_or_else(|| {
        let what = format!("no posting of {} is recorded", component.name());
        component.series.error(None, what).help(help)
    })
}
