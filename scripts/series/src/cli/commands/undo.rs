// SPDX-License-Identifier: GPL-2.0

//! `record --undo`: undoes the last record of a series.

use std::path::PathBuf;

use super::App;
use crate::{
    b4,
    source::{
        changelog,
        component::{self, Component},
    },
    sys::{
        cache::Resource,
        error::{Error, Result},
        files::write,
    },
    versions::{
        postings::{Posting, tag},
        trailers::store,
    },
};

impl App<'_> {
    pub(super) fn undo(&self, name: &str) -> Result<()> {
        let all = component::read_all(&self.ws)?;
        let component = component::find(&all, name)?;
        let posting = component.posted().ok_or_else(|| {
            Error::new(format!("no posting of {name} is recorded"))
                .at(component.series.file(), None)
                .help("there is nothing to undo")
        })?;
        let lock = self.lock(Resource::Refs)?;
        if !posting.resends.is_empty() {
            return self.undo_resend(name, posting);
        }
        let text = self.changelog_before(component, posting)?;
        let faults = [
            self.edited_record(name, posting)?,
            given_to(component, posting),
            built_on(&all, name, posting),
            version_fault(component, posting),
        ];
        if let Some(error) = Error::all(faults.into_iter().flatten().collect()) {
            return Err(error);
        }
        let kept = self.remove_posting(component, posting, &text)?;
        self.ui.say(format!(
            "removed the record of v{} of {name}; its mails are in {}",
            posting.version,
            self.ws.shown(&kept).display()
        ));
        drop(lock);
        let made = self.make(&[])?;
        self.show(&made.report)
    }

    /// Removes the last resend from the record. A resend starts no version, so nothing else
    /// changes.
    fn undo_resend(&self, name: &str, posting: &Posting) -> Result<()> {
        if let Some(error) = self.edited_record(name, posting)? {
            return Err(error);
        }
        let mut without = posting.clone();
        let resend = without.resends.pop();
        without.write_record(&self.ws, name)?;
        self.ui.say(format!(
            "removed the record of the last resend of v{} of {name}{}",
            posting.version,
            resend.map_or_else(String::new, |r| format!(", {}", r.message_id))
        ));
        Ok(())
    }

    /// Undoes the record of a posting. Removes the record last, so that another run finishes an
    /// interrupted one. Keeps a copy of the mails, because b4 has none.
    fn remove_posting(
        &self,
        component: &Component,
        posting: &Posting,
        text: &str,
    ) -> Result<PathBuf> {
        let (name, version) = (component.name(), posting.version);
        let mails = posting.mbox(name);
        let bytes = crate::sys::files::read_file(&self.ws.path(&mails))
            .map_err(|e| Error::io("read", &mails, &e))?;
        let out = self.ws.out()?.join(name);
        let kept = out.join(format!("v{version}-undone.mbox"));
        write(&kept, &bytes)?;
        write(&self.ws.path(component.changelog_file()), text.as_bytes())?;
        let had_range_diff = String::from_utf8_lossy(&bytes).contains("\nRange-diff against v");
        self.edit_manifest(name, |manifest| {
            manifest["version"] = toml_edit::value(i64::from(version));
            if had_range_diff {
                manifest["range-diff"] = toml_edit::value(true);
            }
        })?;
        let git = self.git();
        tag::remove(&git, posting)?;
        b4::forget(&git, name, version, &posting.message_id)?;
        for file in [posting.file(name), mails, posting.below_mbox(name)] {
            let path = self.ws.path(file);
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path, &e));
                }
                _ => (),
            }
        }
        Ok(kept)
    }

    /// Returns the changelog without the entry that `record` added.
    ///
    /// # Errors
    ///
    /// The entry was edited.
    fn changelog_before(&self, component: &Component, posting: &Posting) -> Result<String> {
        self.changed_changelog(component, |text| {
            changelog::ended(text, posting.version + 1, &posting.link())
        })
    }

    /// Returns the error for a record that was edited.
    fn edited_record(&self, name: &str, posting: &Posting) -> Result<Option<Error>> {
        posting.mails(&self.ws, name)?;
        let file = posting.file(name);
        let same = self.ws.read(&file)? == posting.text()?;
        Ok((!same).then(|| {
            Error::new("the record was edited")
                .at(&file, None)
                .help("restore it, or remove it and its mails by hand")
        }))
    }
}

/// Returns an error for each trailer that refers to the posting.
fn given_to(component: &Component, posting: &Posting) -> Option<Error> {
    let file = store::file(component.name());
    let all = component.trailers.iter().map(|recorded| &recorded.entry);
    let of_it = all.filter(|entry| entry.version == posting.version);
    let errors = of_it.map(|entry| {
        let Posting { version, .. } = posting;
        Error::new(format!("{} was given to v{version}", entry.trailer))
            .at(&file, entry.line)
            .help("remove it first; reviewers have seen that version")
    });
    Error::all(errors.collect())
}

/// Returns an error for each posting of another series that depends on it.
fn built_on(all: &[Component], name: &str, posting: &Posting) -> Option<Error> {
    let mut errors = Vec::new();
    for component in all {
        for other in &component.postings {
            let mut below = other.below.iter();
            if below.any(|b| b.series == name && b.version == posting.version) {
                let (v, of) = (other.version, component.name());
                errors.push(
                    Error::new(format!(
                        "v{v} of {of} depends on v{} of {name}",
                        posting.version
                    ))
                    .at(other.file(of), None)
                    .help(format!(
                        "undo that record first: `cargo series record {of} --undo`"
                    )),
                );
            }
        }
    }
    Error::all(errors)
}

/// Returns an error unless the manifest has the posted version or the next one.
fn version_fault(component: &Component, posting: &Posting) -> Option<Error> {
    let series = &component.series;
    let (has, version) = (series.version, posting.version);
    (has != version && has != version + 1).then(|| {
        Error::new(format!("the manifest has version = {has}"))
            .at(series.file(), series.line_of_version)
            .help(format!("set version = {}, as `record` did", version + 1))
    })
}
