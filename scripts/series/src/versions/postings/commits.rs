// SPDX-License-Identifier: GPL-2.0

//! Commits of a posting, restored by applying its mails to the base that they were made for.

use std::{collections::BTreeMap, path::PathBuf};

use sha2::{Digest, Sha256};

use super::{Posting, patches_below, read_all};
use crate::{
    git::{BaseCommit, Entry, Git, Identity, Oid, Parent, PatchCommit, Signature, refs},
    kernel::base,
    mail::{diff, mailbox::Mail},
    source::{component::Component, message, workspace::Workspace},
    sys::{
        cache::Cache,
        error::{Error, Result},
        hash::hex,
        runner::must,
    },
};

/// A posted version as commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// The commit below the first patch.
    pub parent: PatchCommit,
    pub patches: Vec<PatchCommit>,
}

impl Rebuilt {
    /// The last patch, or the parent of an empty posting.
    pub fn tip(&self) -> &PatchCommit {
        self.patches.last().unwrap_or(&self.parent)
    }
}

/// The inputs for restoring postings.
pub struct Rebuild<'a> {
    pub ws: &'a Workspace,
    pub git: &'a Git<'a>,
    pub cache: &'a Cache,
    /// The base of the series in the checkout.
    pub base: &'a BaseCommit,
    pub components: &'a [&'a Component],
}

impl Rebuild<'_> {
    /// Restores the commits of a posted version, unless the repository has them.
    ///
    /// # Errors
    ///
    /// Mails are missing, or do not apply.
    pub fn commits(&self, name: &str, posting: &Posting) -> Result<Rebuilt> {
        let below = self.below(name, posting)?;
        let own = posting.mails(self.ws, name)?;
        self.commits_of(name, posting, below, own)
    }

    /// Creates the commits of a posting that is about to be recorded. `mails` and `below` are the
    /// future contents of its files, which the checkout does not have yet.
    ///
    /// # Errors
    ///
    /// As [`Rebuild::commits`].
    pub fn commits_before_record(
        &self,
        name: &str,
        posting: &Posting,
        mails: &[u8],
        below: &[u8],
    ) -> Result<Rebuilt> {
        let below = match below.is_empty() {
            true => self.below_recorded(name, posting)?,
            false => patches_below(below)?,
        };
        let own = posting.patches_in(name, mails)?;
        self.commits_of(name, posting, below, own)
    }

    fn commits_of(
        &self,
        name: &str,
        posting: &Posting,
        below: Vec<Mail>,
        own: Vec<Mail>,
    ) -> Result<Rebuilt> {
        let count = own.len();
        let base = self.base_of(posting)?;
        let mails: Vec<Mail> = below.into_iter().chain(own).collect();
        let mut commits = replay(self.git, self.cache, &base, &mails).map_err(|(at, e)| {
            let what = match at.checked_sub(mails.len() - count) {
                Some(own) => format!("patch {} of the posted v{}", own + 1, posting.version),
                None => format!("the patches below v{} of {name}", posting.version),
            };
            let base = &posting.base;
            Error::new(format!("cannot restore the commits of {what}"))
                .at(posting.mbox(name), None)
                .detail(e.to_string())
                .help(format!(
                    "the mails were made for Linux {base}; `cargo series assemble` in a checkout for \
                     {base} imports that kernel into the cache"
                ))
        })?;
        let own = commits.split_off(commits.len() - count);
        let parent = commits.pop().unwrap_or(PatchCommit {
            commit: base.commit,
            tree: base.tree,
        });
        Ok(Rebuilt {
            parent,
            patches: own,
        })
    }

    /// Reads the mails of the patches below the posting.
    fn below(&self, name: &str, posting: &Posting) -> Result<Vec<Mail>> {
        let file = posting.below_mbox(name);
        if self.ws.path(&file).exists() {
            let bytes = crate::sys::files::read_file(&self.ws.path(&file));
            let bytes = bytes.map_err(|e| Error::io("read", &file, &e))?;
            return patches_below(&bytes).map_err(|e| e.at(&file, None));
        }
        self.below_recorded(name, posting)
    }

    /// Collects the mails of the posted versions below.
    fn below_recorded(&self, name: &str, posting: &Posting) -> Result<Vec<Mail>> {
        let mut mails = Vec::new();
        for below in &posting.below {
            let present = self.components.iter().find(|c| c.name() == below.series);
            let postings = match present {
                Some(component) => component.postings.clone(),
                // A series that was merged has left its records.
                None => read_all(self.ws, &below.series)?,
            };
            let found = postings.iter().find(|p| p.version == below.version);
            let found = found.ok_or_else(|| {
                Error::new(format!(
                    "builds on v{} of {}, which has no record",
                    below.version, below.series
                ))
                .at(posting.file(name), None)
                .help(format!("restore series/{}/posted", below.series))
            })?;
            mails.extend(found.mails(self.ws, &below.series)?);
        }
        Ok(mails)
    }

    /// Returns the base that the posting was made for, or the present one if the cache never had
    /// the other. Patches that do not fit the present base then fail to apply.
    fn base_of(&self, posting: &Posting) -> Result<BaseCommit> {
        let old = base::made_for(self.git, self.cache, &posting.base)?;
        Ok(old.unwrap_or_else(|| self.base.clone()))
    }
}

/// Returns the commit message of a mailed patch.
pub fn message_of(mail: &Mail) -> String {
    let body = mail.body.replace("\r\n", "\n");
    let body = body
        .split_once("\n---\n")
        .map_or(body.as_str(), |(text, _)| text);
    // An in-body author is not part of the message.
    let body = match body.strip_prefix("From: ").and_then(|b| b.split_once('\n')) {
        Some((_, rest)) => rest,
        None => body,
    };
    format!("{}\n\n{}\n", mail.title(), body.trim())
}

/// Creates a commit from each mail, each on top of the previous one, unless the repository has
/// them.
///
/// # Errors
///
/// The index in `mails` of the mail that does not apply, and the reason.
pub fn replay(
    git: &Git<'_>,
    cache: &Cache,
    base: &BaseCommit,
    mails: &[Mail],
) -> Result<Vec<PatchCommit>, (usize, Error)> {
    let mut hash = Sha256::new();
    hash.update(base.commit.as_str());
    for mail in mails {
        hash.update((mail.raw.len() as u64).to_le_bytes());
        hash.update(&mail.raw);
    }
    let key = hex(hash.finalize());
    let name = refs::posted(&key[..20]);
    let all = |e| (0, e);
    if let Some(found) = known(git, base, &name, mails.len()).map_err(all)? {
        return Ok(found);
    }
    let diffs: Vec<&[u8]> = mails.iter().map(|m| m.body.as_bytes()).collect();
    let changes = applied(git, cache, &base.tree, &diffs)?;
    let scratch = cache.scratch().map_err(all)?;
    git.fast_import(scratch.path(), &mut |to| {
        for (i, (mail, changes)) in mails.iter().zip(&changes).enumerate() {
            let stamp = Signature {
                who: author(mail),
                when: base.when + 1 + i as u64,
            };
            let from = match i {
                0 => Parent::Commit(base.commit.clone()),
                mark => Parent::Mark(mark),
            };
            to.commit(&name, i + 1, &stamp, &message_of(mail), &from)?;
            for (path, entry) in changes {
                match entry {
                    Some(entry) => to.known(entry, path)?,
                    None => to.remove(path)?,
                }
            }
        }
        Ok(())
    })
    .map_err(all)?;
    known(git, base, &name, mails.len())
        .map_err(all)?
        .ok_or_else(|| {
            all(Error::new(
                "git reports no commits right after it created them",
            ))
        })
}

/// The author of a commit. [`Identity::ident`] drops characters that git rejects in a name.
fn author(mail: &Mail) -> Identity {
    Identity {
        name: mail.from.name.clone(),
        email: mail.from.email.clone(),
        set: true,
    }
}

/// Returns the commits between the base and a ref, if their number is `count`.
fn known(
    git: &Git<'_>,
    base: &BaseCommit,
    name: &str,
    count: usize,
) -> Result<Option<Vec<PatchCommit>>> {
    if count == 0 {
        return Ok(Some(Vec::new()));
    }
    if git.resolve(name)?.is_none() {
        return Ok(None);
    }
    let range = format!("{}..{name}", base.commit);
    let args = ["log", "--reverse", "--format=%H %T", &range, "--"];
    let out = must(git.runner(), &git.cmd(args))?.text();
    let commits: Vec<_> = out.lines().filter_map(pair).collect();
    Ok((commits.len() == count).then_some(commits))
}

fn pair(line: &str) -> Option<PatchCommit> {
    let (commit, tree) = line.split_once(' ')?;
    Some(PatchCommit {
        commit: Oid::parse(commit)?,
        tree: Oid::parse(tree)?,
    })
}

/// The files that a mail changes; `None` removes a file.
type Changes = BTreeMap<String, Option<Entry>>;

/// Applies diffs in order to a tree, in a private index. Each diff may follow other text.
///
/// # Errors
///
/// The index in `diffs` of the diff that does not apply, and the reason.
pub fn applied(
    git: &Git<'_>,
    cache: &Cache,
    tree: &Oid,
    diffs: &[&[u8]],
) -> Result<Vec<Changes>, (usize, Error)> {
    let touched: Vec<Vec<String>> = diffs.iter().map(|d| paths(d)).collect();
    let mut all: Vec<String> = touched.concat();
    all.sort();
    all.dedup();
    let mut state = git.entries(tree, &all).map_err(|e| (0, e))?;
    let scratch = cache.scratch().map_err(|e| (0, e))?;
    let index: PathBuf = scratch.path().join("index");
    let mut changes = Vec::new();
    for (i, (diff, touched)) in diffs.iter().zip(&touched).enumerate() {
        let known: BTreeMap<String, Entry> = touched
            .iter()
            .filter_map(|p| Some((p.clone(), state.get(p)?.clone())))
            .collect();
        let after = git.apply(&index, &known, &[diff]).map_err(|e| (i, e))?;
        let mut change = Changes::new();
        for path in touched {
            let entry = after.get(path).cloned();
            match &entry {
                Some(entry) => state.insert(path.clone(), entry.clone()),
                None => state.remove(path),
            };
            change.insert(path.clone(), entry);
        }
        changes.push(change);
    }
    Ok(changes)
}

fn paths(diff: &[u8]) -> Vec<String> {
    let touched = diff::touched(&String::from_utf8_lossy(diff));
    touched.into_iter().map(|t| t.path).collect()
}

/// Removes the tags of people from a message, since they change while the patch stays the same.
pub fn without_tags(text: &str) -> String {
    let mut kept = Vec::new();
    let mut after_tag = false;
    for line in text.lines() {
        // A remark belongs to the tag above it.
        after_tag = message::is_trailer(line) && is_tag_of_a_person(line)
            || after_tag && message::is_note(line);
        if !after_tag {
            kept.push(line);
        }
    }
    kept.join("\n").trim().to_owned()
}

fn is_tag_of_a_person(line: &str) -> bool {
    line.split_once(": ")
        .is_some_and(|(key, _)| key.ends_with("-by") || key == "Cc")
}
