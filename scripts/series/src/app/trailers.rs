// SPDX-License-Identifier: GPL-2.0

//! `trailers`: what reviewers gave is taken over, from replies or from b4's branch.

use std::path::Path;

use serde::Serialize;

use super::{
    App,
    print, //
};
use crate::{
    b4,
    cache::Resource,
    component::{
        self,
        Component, //
    },
    emit,
    error::{
        Error,
        Result, //
    },
    essence::essence,
    mailbox,
    posting::commits::Rebuild,
    trailers::{
        branch,
        collect::{
            Collected,
            Posted,
            Refused,
            collect, //
        },
        store::{
            self,
            Entry,
            Merged, //
        },
    },
    workspace::write,
};

/// What is printed with `--json`.
#[derive(Serialize)]
struct Outcome<'a> {
    taken: &'a [Entry],
    known: usize,
    refused: &'a [Refused],
    strays: &'a [String],
}

impl App<'_> {
    pub(super) fn trailers(&self, name: &str, mbox: Option<&Path>, json: bool) -> Result<()> {
        let all = component::read_all(&self.ws)?;
        let components: Vec<&Component> = all.iter().collect();
        let Some(component) = all.iter().find(|c| c.name() == name) else {
            let names: Vec<_> = all.iter().map(Component::name).collect();
            return Err(Error::new(format!("there is no series {name:?}"))
                .help(format!("the series are: {}", names.join(", "))));
        };
        if component.postings.is_empty() {
            return Err(Error::new(format!("no posting of {name} is recorded"))
                .at(component.series.file(), None)
                .help(format!(
                    "trailers are given to what was posted; `cargo series posted {name}` records it"
                )));
        }
        let base = self.base_commit()?;
        let git = self.git();
        let rebuild = self.rebuild(&git, &base, &components);
        let _lock = self.lock(Resource::Refs)?;
        let posted = versions(&rebuild, component)?;
        let (collected, by_hand) = match mbox {
            Some(file) => (in_mails(&posted, file)?, None),
            None => self.in_branch(component, &posted)?,
        };
        let file = store::file(name);
        let old = match self.ws.path(&file).exists() {
            true => self.ws.read(&file)?,
            false => String::new(),
        };
        let merged = store::merge(&file, &old, &collected.found)?;
        if !merged.taken.is_empty() {
            write(&self.ws.path(&file), merged.text.as_bytes())?;
        }
        self.tell(name, &collected, &merged, json)?;
        by_hand.map_or(Ok(()), Err)
    }

    /// What b4 wrote into its branch, and what of it is not for the tool to keep.
    fn in_branch(
        &self,
        component: &Component,
        posted: &[Posted],
    ) -> Result<(Collected, Option<Error>)> {
        let git = self.git();
        let name = component.name();
        let (commits, own) = b4::commits(&git, name)?.ok_or_else(|| {
            Error::new(format!("there is no branch {}", b4::branch_name(name)))
                .at(git.dir(), None)
                .help(format!(
                    "`cargo series assemble` makes it; for replies: `cargo series trailers {name} \
                     --mbox FILE`"
                ))
        })?;
        let unknown = branch::unknown(component, &commits, &own);
        let names: Vec<_> = unknown.iter().map(|u| &u.commit).collect();
        let diffs = git.diffs(&names)?;
        let essences: Vec<String> = diffs.iter().map(|d| essence(d)).collect();
        let collected = Collected {
            found: branch::entries(&unknown, &essences, posted),
            ..Collected::default()
        };
        Ok((collected, branch::by_hand(name, &unknown)))
    }

    fn tell(&self, name: &str, collected: &Collected, merged: &Merged, json: bool) -> Result<()> {
        let Collected {
            refused, strays, ..
        } = collected;
        for Refused {
            trailer,
            mail,
            reason,
        } in refused
        {
            self.ui
                .warn(format!("not taken: {trailer}: {reason} ({mail})"));
        }
        if json {
            let outcome = Outcome {
                taken: &merged.taken,
                known: merged.known,
                refused,
                strays,
            };
            print(&String::from_utf8_lossy(&emit::json(&outcome)?));
        } else {
            for entry in &merged.taken {
                let Entry {
                    patch,
                    trailer,
                    version,
                    ..
                } = entry;
                print(&format!("{patch}: {trailer} (given to v{version})\n"));
            }
        }
        if !strays.is_empty() {
            let n = strays.len();
            self.ui.say(format!(
                "mails about nothing that was posted of {name}: {n}"
            ));
        }
        let (taken, known) = (merged.taken.len(), merged.known);
        let refused = refused.len();
        self.ui.say(format!(
            "trailers: {taken} new, {known} known, {refused} not taken"
        ));
        if taken > 0 {
            self.ui
                .say("`cargo series assemble` puts them into the patches");
        }
        Ok(())
    }
}

/// The posted versions as replies refer to them. What the patches did is read from commits, so that
/// it does not depend on how the diffs were made that were mailed.
fn versions(rebuild: &Rebuild<'_>, component: &Component) -> Result<Vec<Posted>> {
    let patches = &component.series.patches;
    let is_there = |message: &String| patches.iter().any(|p| p.message.value == *message);
    let mut versions = Vec::new();
    for posting in &component.postings {
        let made = rebuild.commits(component.name(), posting)?;
        let commits: Vec<_> = made.patches.iter().map(|p| &p.commit).collect();
        let diffs = rebuild.git.diffs(&commits)?;
        let patches = posting.patches.iter().zip(&diffs);
        let first = versions.len();
        versions.push(Posted {
            version: posting.version,
            cover: posting.message_id.clone(),
            patches: patches
                .map(|(patch, diff)| crate::trailers::collect::PostedPatch {
                    subject: patch.subject.clone(),
                    message_id: patch.message_id.clone(),
                    message: patch.message.clone().filter(is_there),
                    essence: essence(diff),
                })
                .collect(),
        });
        // Replies to resent mails refer to the same patches.
        for again in &posting.resends {
            let mut resent = versions[first].clone();
            resent.cover.clone_from(&again.message_id);
            for (patch, id) in resent.patches.iter_mut().zip(&again.patches) {
                patch.message_id.clone_from(id);
            }
            versions.push(resent);
        }
    }
    Ok(versions)
}

fn in_mails(posted: &[Posted], file: &Path) -> Result<Collected> {
    let bytes = std::fs::read(file).map_err(|e| Error::io("read", file, &e))?;
    let mails = mailbox::read(&bytes).map_err(|e| e.at(file, None))?;
    Ok(collect(posted, &mails))
}
