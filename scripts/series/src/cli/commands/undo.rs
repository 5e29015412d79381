// SPDX-License-Identifier: GPL-2.0

//! `record --undo`: undoes the last record of a series.

use std::{io::ErrorKind, path::PathBuf};

use super::{
    App, Component, Error, Posting, Resource, Result, b4, component, read_file,
    record::last_posting, write,
};
use crate::{
    source::changelog,
    versions::{
        postings::{resend::Resend, tag},
        trailers::store,
    },
};

impl App<'_> {
    pub(super) fn undo(&self, name: &str) -> Result<()> {
        let components = component::read_all(&self.ws)?;
        let component = component::find(&components, name)?;
        let posting = last_posting(component, "there is nothing to undo")?;
        let version = posting.version;
        let lock = self.lock(Resource::Refs)?;
        if let Some(resend) = posting.resends.last() {
            return self.undo_resend(name, posting, resend);
        }
        // This fails if the entry that `record` added was edited.
        let changelog = self.changed_changelog(component, |text, section| {
            changelog::ended(text, section, version + 1, &posting.link())
        })?;
        let mut errors: Vec<Error> = self.edited_record(name, posting)?.into_iter().collect();
        errors.extend(given_to(component, version));
        errors.extend(built_on(&components, name, version));
        errors.extend(version_fault(component, version));
        Error::all(errors)?;
        let kept = self.remove_posting(component, posting, &changelog)?;
        self.say(format!(
            "removed the record of v{version} of {name}; its mails are in {}",
            self.ws.shown(&kept).display()
        ));
        drop(lock);
        let made = self.make(&[])?;
        self.show(&made.report)
    }

    /// Removes the last resend. A resend starts no version, so nothing else changes.
    fn undo_resend(&self, name: &str, posting: &Posting, resend: &Resend) -> Result<()> {
        Error::all(self.edited_record(name, posting)?)?;
        let mut without = posting.clone();
        without.resends.pop();
        without.write_record(&self.ws, name)?;
        let (version, id) = (posting.version, &resend.message_id);
        self.say(format!(
            "removed the record of the last resend of v{version} of {name}, {id}"
        ));
        Ok(())
    }

    /// Undoes the record of a posting. Removes the record last, so that another run finishes an
    /// interrupted one. Keeps a copy of the mails, because b4 has none.
    fn remove_posting(
        &self,
        component: &Component,
        posting: &Posting,
        changelog: &str,
    ) -> Result<PathBuf> {
        let (name, version) = (component.name(), posting.version);
        let file = posting.mbox(name);
        let mails = read_file(&self.ws.path(&file)).map_err(|e| Error::io("read", &file, &e))?;
        let out = self.ws.out()?.join(name);
        let kept = out.join(format!("v{version}-undone.mbox"));
        write(&kept, &mails)?;
        let file = self.ws.path(component.changelog_file());
        write(&file, changelog.as_bytes())?;
        let had_range_diff = String::from_utf8_lossy(&mails).contains("\nRange-diff against v");
        self.edit_manifest(name, |manifest| {
            manifest["version"] = toml_edit::value(i64::from(version));
            if had_range_diff {
                manifest["range-diff"] = toml_edit::value(true);
            }
        })?;
        let git = self.git();
        tag::remove(&git, posting)?;
        b4::forget(&git, name, version, &posting.message_id)?;
        let files = [
            posting.file(name),
            posting.mbox(name),
            posting.below_mbox(name),
        ];
        let mut files = files.map(|file| self.ws.path(file)).into_iter();
        files.try_for_each(|path| match std::fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("remove", &path, &e)),
            _ => Ok(()),
        })?;
        Ok(kept)
    }

    fn edited_record(&self, name: &str, posting: &Posting) -> Result<Option<Error>> {
        posting.mails(&self.ws, name)?;
        let file = posting.file(name);
        let is_edited = self.ws.read(&file)? != posting.text()?;
        let error = Error::new("the record was edited").at(&file, None);
        let help = "restore it, or remove it and its mails by hand";
        Ok(is_edited.then(|| error.help(help)))
    }
}

/// Returns an error for each trailer that refers to the posting.
fn given_to(component: &Component, version: u32) -> impl Iterator<Item = Error> {
    let file = store::file(component.name());
    let of_it = component
        .trailers
        .iter()
        .filter(move |entry| entry.version == version);
    of_it.map(move |entry| {
        Error::new(format!("{} was given to v{version}", entry.trailer))
            .at(&file, entry.line)
            .help("remove it first; reviewers have seen that version")
    })
}

/// Returns an error for each posting of another series that depends on it.
fn built_on(components: &[Component], name: &str, version: u32) -> Vec<Error> {
    let mut errors = Vec::new();
    for component in components {
        for other in &component.postings {
            let mut below = other.below.iter();
            if below.any(|b| b.series == name && b.version == version) {
                let (v, of) = (other.version, component.name());
                let error = Error::new(format!("v{v} of {of} depends on v{version} of {name}"));
                errors.push(error.at(other.file(of), None).help(format!(
                    "undo that record first: `cargo series record {of} --undo`"
                )));
            }
        }
    }
    errors
}

/// Returns an error unless the manifest has the posted version or the next one.
fn version_fault(component: &Component, version: u32) -> Option<Error> {
    let series = &component.series;
    let (has, next) = (series.version, version + 1);
    (has != version && has != next).then(|| {
        let what = format!("the manifest has version = {has}");
        let error = series.error(series.line_of_version, what);
        error.help(format!("set version = {next}, as `record` did"))
    })
}
