// SPDX-License-Identifier: GPL-2.0

//! `diff` and `record`: compare a series with a posting, and record one.

use std::{io::IsTerminal, path::Path};

use toml_edit::DocumentMut;

use super::{App, mails};
use crate::{
    b4,
    cli::{
        args::Diff,
        stdout::{print, print_json},
    },
    git::Identity,
    mail::mailbox::{self, Mail},
    patches::{commits::AssembledSeries, since},
    source::{
        changelog,
        component::{self, Component},
    },
    sys::{
        cache::Resource,
        error::{Error, Result},
        files::write,
        plural::count,
    },
    versions::{
        postings::{
            Posting,
            commits::Rebuild,
            import::{Import, Importer},
            tag,
        },
        range_diff,
        rules::versions,
    },
};

impl App<'_> {
    pub(super) fn diff(&self, diff: &Diff) -> Result<()> {
        if diff.append || diff.no_append {
            self.set_range_diff(&diff.name, diff.append)?;
        }
        let made = self.make(std::slice::from_ref(&diff.name))?;
        let at = made.assembled.position(&diff.name)?;
        let one = &made.assembled.series[at];
        let component = &one.plan.component;
        let postings = &component.postings;
        let posting = match diff.against {
            None => postings.last(),
            Some(v) => postings.iter().find(|p| p.version == v),
        };
        let posting = posting.ok_or_else(|| never_posted(component, diff.against))?;
        let change = match made.since.get(&diff.name) {
            Some(change) if change.comparison.against == posting.version => change.clone(),
            _ => self.change(&made.assembled, posting, one)?,
        };
        if diff.json {
            print_json(&change.comparison)?;
            return Ok(());
        }
        let (v, summary) = (posting.version, change.comparison.summary());
        self.ui
            .say(format!("{} against v{v}: {summary}", diff.name));
        let text = match std::io::stdout().is_terminal() {
            true => range_diff::colored(&change.comparison.text),
            false => change.comparison.text,
        };
        print(&text);
        Ok(())
    }

    /// Compares a series with a posting other than the last.
    fn change(
        &self,
        assembled: &crate::patches::commits::Assembled,
        posting: &Posting,
        one: &AssembledSeries,
    ) -> Result<since::Change> {
        let series = &assembled.series;
        let components: Vec<_> = series.iter().map(|s| &s.plan.component).collect();
        let git = self.git();
        let rebuild = self.rebuild(&git, &assembled.base, &components);
        let _lock = self.lock(Resource::Refs)?;
        since::change(&rebuild, posting, one)
    }

    pub(super) fn record(&self, name: &str, mbox: Option<&Path>) -> Result<()> {
        let all = component::read_all(&self.ws)?;
        let components: Vec<&Component> = all.iter().collect();
        let component = component::find(&all, name)?;
        component.series.refuse_local()?;
        let version = component.series.version;
        let recorded = component.posted().map_or(0, |p| p.version);
        if recorded + 1 < version {
            let faults = versions::faults(&component.series, &component.postings);
            let errors = faults.into_iter().map(|f| f.into_error()).collect();
            return Error::all(errors).map_or(Ok(()), Err);
        }
        let posting = match component.posted().filter(|p| p.version == version) {
            // An interrupted run recorded this posting. Finish that run.
            Some(posting) => posting.clone(),
            None => self.import_posting(&components, component, mbox)?,
        };
        self.begin_next(component, &posting)?;
        self.ui.say(format!(
            "recorded: v{} of {name}, {}, {}",
            posting.version,
            count(posting.patches.len(), "patch", "patches"),
            posting.link()
        ));
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
        let base = self.base_commit()?;
        let git = self.git();
        let rebuild = self.rebuild(&git, &base, components);
        let _lock = self.lock(Resource::Refs)?;
        let name = component.name();
        let importer = Importer {
            rebuild: &rebuild,
            component,
            kernel: self.base.made_for(),
        };
        let found = match mbox {
            Some(from) => {
                let below = self.below_now(&rebuild, component);
                let user = Identity::of_user(self.runner, self.ws.root())?.email;
                let all = mails::read(from)?;
                let found = importer.read_mails(&all, &user, &below);
                let found = found.map_err(|e| e.at(from, None))?;
                self.refuse_prepared(component, &found.mails)
                    .map_err(|e| e.at(from, None))?;
                self.warn_of_sender(&found.mails, &user)?;
                found
            }
            None => {
                let version = component.series.version;
                let sent = b4::sent(&git, name, version)?.ok_or_else(|| {
                    Error::new(format!(
                        "b4 did not post v{version} of {name} from this workspace"
                    ))
                    .at(component.series.file(), component.series.line_of_version)
                    .help(format!(
                        "`cargo series prepare {name}` prints the command that posts it; to record \
                             other mails, use `cargo series record {name} --mbox FILE`"
                    ))
                })?;
                importer.read_tag(&sent)?
            }
        };
        for other in &found.left_out {
            self.ui.say(format!("not recorded: {other}"));
        }
        let Import {
            posting,
            mails,
            below,
            ..
        } = found;
        // Create the commits and b4's tag first, because a user would have to remove a record
        // without them by hand.
        let made = rebuild.commits_before_record(name, &posting, &mails, &below)?;
        let cover = tag::cover_of(&mailbox::read(&mails)?);
        tag::make(&git, &posting, &cover, &made)?;
        posting.write(&self.ws, name, &mails, &below)?;
        tag::ensure(&git, &posting, &cover, &made)?;
        Ok(posting)
    }

    /// Warns if the sender of a posting is not the user.
    fn warn_of_sender(&self, mails: &[u8], user: &str) -> Result<()> {
        let mails = mailbox::read(mails)?;
        let sender = mails.first().map(|m| &m.from);
        if let Some(other) = sender.filter(|p| !p.email.eq_ignore_ascii_case(user)) {
            self.ui.warn(format!(
                "the sender of the posting is {} <{}>",
                other.name, other.email
            ));
        }
        Ok(())
    }

    /// Refuses the mails that `prepare` wrote, whose message IDs were never posted. Accepts mails
    /// with headers of a mail server.
    fn refuse_prepared(&self, component: &Component, mails: &[u8]) -> Result<()> {
        let (name, version) = (component.name(), component.series.version);
        let folder = self.ws.below_out(format!("{name}/v{version}-mails"));
        let dir = self.ws.path(&folder);
        if !dir.is_dir() {
            return Ok(());
        }
        let written: Vec<Mail> = mails::read(&dir).unwrap_or_default();
        let is_received = |m: &Mail| m.header("Received").is_some();
        let read = mailbox::read(mails)?;
        let mut same = read.iter().filter(|m| written.iter().any(|w| w.id == m.id));
        match same.find(|m| !is_received(m)) {
            None => Ok(()),
            Some(mail) => Err(Error::new(format!(
                "{:?} was not posted: `cargo series prepare {name}` wrote it to {}",
                mail.subject,
                folder.display()
            ))
            .help(
                "post the series and record the received mails; b4 sends them with other message \
                 IDs",
            )),
        }
    }

    /// Returns the patches of the dependencies from the last `assemble`.
    fn below_now(&self, rebuild: &Rebuild<'_>, component: &Component) -> Vec<u8> {
        let boxes = rebuild.below(component).into_iter().map(|c| {
            let file = format!("{}/v{}.mbox", c.name(), c.series.version);
            let file = self.ws.path(self.ws.below_out(file));
            crate::sys::files::read_file(&file).unwrap_or_default()
        });
        boxes.collect::<Vec<_>>().concat()
    }

    /// Starts the version after `posting`: adds an entry with the link to the changelog, and sets
    /// the number in the manifest. A second call changes nothing.
    fn begin_next(&self, component: &Component, posting: &Posting) -> Result<()> {
        let name = component.name();
        let next = posting.version + 1;
        let text = self.changed_changelog(component, |text| {
            changelog::begun(text, next, &posting.link())
        })?;
        write(&self.ws.path(component.changelog_file()), text.as_bytes())?;
        self.edit_manifest(name, |manifest| {
            manifest["version"] = toml_edit::value(i64::from(next));
            // `range-diff` applies to the posted version only.
            manifest.remove("range-diff");
        })
    }

    /// Returns the changelog of the component, with `change` applied to the section of the series.
    pub(super) fn changed_changelog(
        &self,
        component: &Component,
        change: impl FnOnce(&str) -> Result<String, (usize, Error)>,
    ) -> Result<String> {
        let file = component.changelog_file();
        let text = self.ws.read(&file)?;
        let section = changelog::section(&text, component.name(), &component.siblings)
            .map_err(|(line, e)| e.at(&file, line))?;
        changelog::in_section(&text, &section, change).map_err(|(line, e)| e.at(&file, line))
    }

    fn set_range_diff(&self, name: &str, on: bool) -> Result<()> {
        self.edit_manifest(name, |manifest| {
            match on {
                true => manifest["range-diff"] = toml_edit::value(true),
                false => drop(manifest.remove("range-diff")),
            };
        })
    }

    /// Edits the manifest of a series and its variants in place.
    pub(super) fn edit_manifest(
        &self,
        name: &str,
        change: impl Fn(&mut DocumentMut),
    ) -> Result<()> {
        for file in self.ws.variants("series", format!("{name}.toml")) {
            let text = self.ws.read(&file)?;
            let mut manifest: DocumentMut = text
                .parse()
                .map_err(|e: toml_edit::TomlError| Error::new(e.message()).at(&file, None))?;
            change(&mut manifest);
            write(&self.ws.path(&file), manifest.to_string().as_bytes())?;
        }
        Ok(())
    }
}

pub(super) fn never_posted(component: &Component, version: Option<u32>) -> Error {
    let name = component.name();
    let what = match version {
        Some(v) => format!("v{v} of {name} is not recorded"),
        None => format!("no posting of {name} is recorded"),
    };
    let help = match component.posted() {
        Some(last) => format!("v1 to v{} are recorded", last.version),
        None => format!("record a posting with `cargo series record {name}`"),
    };
    Error::new(what)
        .at(component.series.file(), None)
        .help(help)
}
