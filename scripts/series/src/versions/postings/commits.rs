// SPDX-License-Identifier: GPL-2.0

//! Commits of a posting, restored by applying its mails to the base that they were made for.

use std::collections::BTreeMap;

use super::{Import, Posting, is_patch, read_all, read_mailbox};
use crate::{
    git::{Author, BaseCommit, Entry, Git, Oid, Parent, PatchCommit, refs},
    kernel::base,
    mail::{
        diff,
        mailbox::{self, Mail, Person},
    },
    source::{component::Component, manifest, message, workspace::Workspace},
    sys::{Error, Result, cache::Cache, hash::sha256},
};

/// A posted version as commits, and its mails.
pub struct Rebuilt {
    /// The commit below the first patch.
    pub parent: PatchCommit,
    pub patches: Commits,
    /// The mails of the posting, the cover letter first.
    pub mails: Vec<Mail>,
}

type Commits = Vec<PatchCommit>;

impl Rebuilt {
    /// The last patch, or the parent of an empty posting.
    pub fn tip(&self) -> &PatchCommit {
        self.patches.last().unwrap_or(&self.parent)
    }

    /// The text of the cover letter; empty if there is none.
    pub fn cover(&self) -> &str {
        let cover = self.mails.first().filter(|mail| !is_patch(mail));
        cover.map_or("", |mail| &mail.body)
    }

    pub fn patch_mails(&self) -> impl Iterator<Item = &Mail> {
        self.mails.iter().filter(|mail| is_patch(mail))
    }
}

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
    pub fn commits(&self, name: &str, posting: &Posting) -> Result<Rebuilt> {
        let file = posting.below_mbox(name);
        let below = if self.ws.path(&file).exists() {
            read_mailbox(self.ws, &file)?
        } else {
            self.below_recorded(name, posting)?
        };
        self.commits_of(name, posting, posting.all_mails(self.ws, name)?, below)
    }

    /// Creates the commits of a posting whose files the checkout does not have yet.
    pub fn commits_before_record(&self, name: &str, import: &Import) -> Result<Rebuilt> {
        let posting = &import.posting;
        let below = if import.below.is_empty() {
            self.below_recorded(name, posting)?
        } else {
            mailbox::read(&import.below)?
        };
        let own = posting.in_order(name, mailbox::read(&import.mails)?)?;
        self.commits_of(name, posting, own, below)
    }

    fn commits_of(
        &self,
        name: &str,
        posting: &Posting,
        own: Vec<Mail>,
        mut below: Vec<Mail>,
    ) -> Result<Rebuilt> {
        below.retain(is_patch);
        let patches = own.iter().filter(|mail| is_patch(mail));
        let mails: Vec<&Mail> = below.iter().chain(patches).collect();
        // If the cache never had that base, patches that do not fit the present one fail to apply.
        let base = base::made_for(self.git, self.cache, &posting.base)?;
        let base = base.unwrap_or_else(|| self.base.clone());
        let to_ref = ref_of(&base, &mails);
        let mut commits = match self.known(&base, &to_ref, mails.len())? {
            Some(commits) => commits,
            None => {
                let diffs: Vec<&[u8]> = mails.iter().map(|m| m.body.as_bytes()).collect();
                let changes = applied(self.git, self.cache, &base.tree, &diffs);
                let changes = changes.map_err(|(at, e)| {
                    let (version, base) = (posting.version, &posting.base);
                    let what = match at.checked_sub(below.len()) {
                        Some(own) => format!("patch {} of the posted v{version}", own + 1),
                        None => format!("the patches below v{version} of {name}"),
                    };
                    Error::new(format!("cannot restore the commits of {what}"))
                        .at(posting.mbox(name), None)
                        .detail(e.to_string())
                        .help(format!(
                            "the mails were made for Linux {base}; `cargo series assemble` in a \
                             checkout for {base} imports that kernel into the cache"
                        ))
                })?;
                self.create(&base, &to_ref, &mails, &changes)?
            }
        };
        let patches = commits.split_off(below.len());
        let BaseCommit { commit, tree, .. } = base;
        Ok(Rebuilt {
            parent: commits.pop().unwrap_or(PatchCommit { commit, tree }),
            patches,
            mails: own,
        })
    }

    fn below_recorded(&self, name: &str, posting: &Posting) -> Result<Vec<Mail>> {
        let mut mails = Vec::new();
        for below in &posting.below {
            let (series, version) = (&below.series, below.version);
            let present = self.components.iter().find(|c| c.name() == series);
            let postings = match present {
                Some(component) => component.postings.clone(),
                // A series that was merged has left its records.
                None => read_all(self.ws, series)?,
            };
            let found = postings.iter().find(|p| p.version == version);
            let found = found.ok_or_else(|| {
                let what = format!("builds on v{version} of {series}, which has no record");
                let help = format!("restore series/{series}/posted");
                Error::new(what).at(posting.file(name), None).help(help)
            })?;
            mails.extend(found.mails(self.ws, series)?);
        }
        Ok(mails)
    }

    /// Returns the components below, in the order in which they apply.
    pub fn below(&self, component: &Component) -> Vec<&Component> {
        let series: Vec<manifest::Series> =
            self.components.iter().map(|c| c.series.clone()).collect();
        let ordered = manifest::in_order(&series).unwrap_or_default();
        let below = manifest::below(&ordered, component.name()).into_iter();
        let found = below.filter_map(|s| self.components.iter().find(|c| c.name() == s.name));
        found.copied().collect()
    }

    /// Creates a commit from each mail and its changes, and sets a ref to the last.
    fn create(
        &self,
        base: &BaseCommit,
        to_ref: &str,
        mails: &[&Mail],
        changes: &[Changes],
    ) -> Result<Commits> {
        let scratch = self.cache.scratch()?;
        self.git.fast_import(scratch.path(), &mut |to| {
            let mut from = Parent::Commit(base.commit.clone());
            for (mark, (mail, changes)) in (1..).zip(mails.iter().zip(changes)) {
                let Person { name, email } = &mail.from;
                let who = Author::new(name, email, base.when + mark as u64);
                to.commit(to_ref, mark, &who, &who, &message_of(mail), &from)?;
                for (path, entry) in changes {
                    to.set(path, entry.as_ref())?;
                }
                from = Parent::Mark(mark);
            }
            Ok(())
        })
    }

    /// Returns the commits between the base and a ref, if their number is `count`.
    fn known(&self, base: &BaseCommit, name: &str, count: usize) -> Result<Option<Commits>> {
        if count == 0 {
            return Ok(Some(Vec::new()));
        }
        if self.git.resolve(name)?.is_none() {
            return Ok(None);
        }
        let range = format!("{}..{name}", base.commit);
        let log = self.git.log("%T", ["--reverse", &range])?.into_iter();
        let commits = log.map(|(commit, tree)| {
            let tree = Oid::parse(&tree)?;
            Some(PatchCommit { commit, tree })
        });
        let commits: Option<Commits> = commits.collect();
        Ok(commits.filter(|c| c.len() == count))
    }
}

fn ref_of(base: &BaseCommit, mails: &[&Mail]) -> String {
    let mut made_from = base.commit.as_str().as_bytes().to_vec();
    for mail in mails {
        made_from.extend((mail.raw.len() as u64).to_le_bytes());
        made_from.extend(&mail.raw);
    }
    refs::posted(&sha256(made_from)[..20])
}

pub fn message_of(mail: &Mail) -> String {
    let body = mail.body.replace("\r\n", "\n");
    let (body, _) = body.split_once("\n---\n").unwrap_or((&body, ""));
    // An in-body author is not part of the message.
    let author = body.strip_prefix("From: ").and_then(|b| b.split_once('\n'));
    let body = author.map_or(body, |(_, rest)| rest);
    format!("{}\n\n{}\n", mail.title(), body.trim())
}

/// The files that a mail changes; `None` removes a file.
type Changes = BTreeMap<String, Option<Entry>>;

/// Applies diffs, which may follow other text. An error has the index of the diff that fails.
pub fn applied(
    git: &Git<'_>,
    cache: &Cache,
    tree: &Oid,
    diffs: &[&[u8]],
) -> Result<Vec<Changes>, (usize, Error)> {
    let texts = diffs.iter().map(|diff| String::from_utf8_lossy(diff));
    let touched: Vec<Vec<String>> = texts.map(|text| diff::touched(&text)).collect();
    let mut all = touched.concat();
    all.sort();
    all.dedup();
    let mut state = git.entries(tree, &all).map_err(|e| (0, e))?;
    let scratch = cache.scratch().map_err(|e| (0, e))?;
    let index = scratch.path().join("index");
    let mut changes = Vec::new();
    for (i, (diff, touched)) in diffs.iter().zip(&touched).enumerate() {
        let before = touched.iter().filter_map(|p| state.remove_entry(p));
        let before = before.collect();
        let after = git.apply(&index, &before, &[diff]).map_err(|e| (i, e))?;
        let entries = touched.iter().map(|p| (p.clone(), after.get(p).cloned()));
        changes.push(entries.collect());
        state.extend(after);
    }
    Ok(changes)
}

/// Removes the tags of people from a message, since they change while the patch stays the same.
pub fn without_tags(text: &str) -> String {
    let is_of_person = |key: &str| key.ends_with("-by") || key == "Cc";
    let mut kept = Vec::new();
    let mut after_tag = false;
    for line in text.lines() {
        let key = line.split_once(": ").map_or("", |(key, _)| key);
        // A remark belongs to the tag above it.
        let is_tag = message::is_trailer(line) && is_of_person(key);
        after_tag = is_tag || after_tag && message::is_note(line);
        if !after_tag {
            kept.push(line);
        }
    }
    kept.join("\n").trim().to_owned()
}
