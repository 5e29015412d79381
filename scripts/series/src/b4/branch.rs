// SPDX-License-Identifier: GPL-2.0

//! The branch of a series: b4's commit with the cover letter, and the patches.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    reviews::{self, Committed},
    tracking::{MARK, OWN_KEY, Tracked, tracked, tracking},
};
use crate::{
    git::{Author, Git, Identity, Oid, refs},
    patches::{commits::AssembledSeries, output::Cover, up_to_date::STALE},
    source::{
        manifest::{Base, Series},
        message,
    },
    sys::{Error, Result, hash::hex},
    versions::{postings::Posting, trailers::find::Trailer},
};

pub fn branch_name(name: &str) -> String {
    format!("b4/{name}")
}

/// Creates or updates the branch of a series. If the branch has to stay unchanged and cannot be
/// sent, returns the reason: b4 has another version than the manifest, or the user changed the
/// branch. It is an error if trailers on it would be lost.
pub fn branch(
    git: &Git<'_>,
    one: &AssembledSeries,
    cover: &Cover,
    base: &Base,
    who: &Identity,
) -> Result<Option<Error>> {
    let series = one.plan.series();
    let postings = &one.plan.component.postings;
    let name = branch_name(&series.name);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |d| d.as_secs());
    let message = message(series, cover, who);
    let content = content(one, &message, &cover.trailers, who);
    let head = format!("refs/heads/{name}");
    let old = tracked(git, &head)?;
    if let Some(old) = &old {
        if let Some(why) = other_revision(git, series, postings, old) {
            return Ok(Some(why));
        }
        if let Some(why) = work_of_others(git, series, old)? {
            return Ok(Some(why));
        }
        let tree = git.resolve(&format!("{head}^{{tree}}"))?;
        let same = tree.as_ref() == Some(&one.tip().tree) && old.own()["content"] == content;
        if same && now.saturating_sub(old.committed) < STALE {
            return Ok(None);
        }
        let commits = log(git, &head, old, "%B")?;
        let unknown = reviews::unknown(&one.plan.component, &commits, old.own());
        if let Some(error) = reviews::would_be_lost(&series.name, &unknown) {
            return Err(error);
        }
    }
    let below = &cover.prerequisites;
    let mut json = tracking(series, postings, base, below, old.as_ref(), &content);
    reviews::note(&mut json[OWN_KEY], one);
    let cover = format!(
        "{message}\n{MARK}\n# This section is used internally by b4 prep for tracking purposes.\n{json:#}\n"
    );
    let parent = &one.parent;
    let mut tip = commit(git, &parent.tree, &parent.commit, &cover, None, who, now)?;
    let patches = one.plan.patches.iter().zip(&one.messages);
    for ((planned, message), made) in patches.zip(&one.patches) {
        let (text, author) = (message.with_note(), planned.author());
        tip = commit(git, &made.tree, &tip, &text, author, who, now)?;
    }
    // One transaction, so that a killed run updates both refs or neither.
    let seen = refs::b4_seen(&series.name);
    let update = git.cmd(["update-ref", "--create-reflog", "--stdin"]);
    let update = update.args(["-m", "series: assembled"]);
    git.run(&update.stdin(format!("update {head} {tip}\nupdate {seen} {tip}\n")))?;
    let key = format!("branch.{name}.b4-prep-cover-strategy");
    git.must(["config", &key, "commit"])?;
    Ok(None)
}

/// Lists the user's changes to the branch of a series since the tool made it: commits, and edits of
/// the cover letter or of the recipients in it. Ignores changes that b4 makes itself.
fn work_of_others(git: &Git<'_>, series: &Series, now: &Tracked) -> Result<Option<Error>> {
    let name = &series.name;
    let (branch, made) = (branch_name(name), refs::b4_seen(name));
    let head = format!("refs/heads/{branch}");
    let tip = git.resolve(&made)?;
    if tip == git.resolve(&head)? {
        return Ok(None);
    }
    let Some(before) = tracked(git, &made)? else {
        // The branch is older than this ref.
        return Ok(None);
    };
    let found = changes(&drafts(git, &made, &before)?, &drafts(git, &head, now)?);
    let (then, now) = (
        cover_lines(&before.cover_text),
        cover_lines(&now.cover_text),
    );
    let gone = then.iter().filter(|line| !now.contains(line));
    let new = now.iter().filter(|line| !then.contains(line));
    let lines = gone
        .map(|line| ('-', line))
        .chain(new.map(|line| ('+', line)));
    let lines = lines.map(|(sign, line)| format!("cover letter: {sign} {line}"));
    let found: Vec<String> = found.into_iter().chain(lines).collect();
    if found.is_empty() {
        return Ok(None);
    }
    let (dir, folder) = (git.dir().display(), &series.component);
    let what = format!("the branch {branch} has changes that are not in this checkout");
    let error = Error::new(what).at(git.dir(), None);
    Ok(Some(error.detail(found.join("\n")).help(format!(
        "copy them into the checkout: patches into {folder}/ and series/{name}/, the text into \
         cover-letters/{name}.md,\nrecipients into series/{name}.toml, the changelog into \
         {folder}/CHANGELOG.md.\nThen let the tool recreate the branch; this keeps yours as \
         {name}-mine:\n\
         git -C {dir} branch {name}-mine {branch} && git -C {dir} update-ref {head} {made}"
    ))))
}

/// A commit on b4's branch.
struct Draft {
    commit: Oid,
    subject: String,
    /// Tree, author and message without trailers, which b4 may add.
    does: String,
}

fn drafts(git: &Git<'_>, branch: &str, tracked: &Tracked) -> Result<Vec<Draft>> {
    let commits = log(git, branch, tracked, "%T %an <%ae>%n%B")?.into_iter();
    let is_own =
        |l: &&str| !l.trim().is_empty() && !message::is_trailer(l) && Trailer::parse(l).is_err();
    let drafts = commits.map(|(commit, text)| Draft {
        commit,
        subject: text.lines().nth(1).unwrap_or_default().to_owned(),
        does: text.lines().filter(is_own).collect::<Vec<_>>().join("\n"),
    });
    Ok(drafts.collect())
}

/// Lists the commits that are only in `theirs`, or, if there are none, those that are missing there.
fn changes(ours: &[Draft], theirs: &[Draft]) -> Vec<String> {
    fn only<'a>(of: &'a [Draft], others: &[Draft]) -> Vec<&'a Draft> {
        let is_new = |one: &&Draft| !others.iter().any(|other| other.does == one.does);
        of.iter().filter(is_new).collect()
    }
    let new = only(theirs, ours);
    if new.is_empty() && theirs.len() < ours.len() {
        let gone = |o: &Draft| format!("without the patch: {}", o.subject);
        return only(ours, theirs).into_iter().map(gone).collect();
    }
    let shown = |t: &Draft| format!("commit {}: {}", &t.commit.as_str()[..12], t.subject);
    new.into_iter().map(shown).collect()
}

/// Returns the author's lines of a cover letter. After a posting, b4 adds lines to the changelog
/// that the author has to edit.
fn cover_lines(text: &str) -> Vec<String> {
    let begun = ["- EDITME", "- Link to v", "Changes in v"];
    let lines = text.lines().map(str::trim_end);
    lines
        .filter(|l| !l.is_empty() && !begun.iter().any(|b| l.starts_with(b)))
        .map(str::to_owned)
        .collect()
}

/// Returns the cover letter in b4's form: recipients above `---`, and the changelog below.
fn message(series: &Series, cover: &Cover, who: &Identity) -> String {
    let mut text = format!("{}\n\n{}\n", cover.title, cover.text);
    text.extend(series.to.iter().map(|to| format!("To: {to}\n")));
    text.extend(series.cc.iter().map(|cc| format!("Cc: {cc}\n")));
    if who.set {
        text += &format!("Signed-off-by: {}\n", who.ident());
    }
    text += &format!("\n---\n{}", cover.below);
    // b4 drops lines that start with "#" unless they are escaped.
    let escape = |l: &str| if l.starts_with('#') { ">" } else { "" };
    let lines = text.lines().map(|l| format!("{}{l}\n", escape(l)));
    lines.collect()
}

fn content(one: &AssembledSeries, message: &str, trailers: &[String], who: &Identity) -> String {
    let mut hash = Sha256::new();
    hash.update(message);
    hash.update(trailers.join("\0"));
    hash.update(who.ident());
    let series = one.plan.series();
    let (prefix, id, version) = (&series.prefix, &series.change_id, series.version);
    hash.update(format!("{prefix}\0{id}\0{version}\0"));
    for patch in one.patches.iter().chain([&one.parent]) {
        hash.update(patch.commit.as_str());
    }
    for message in &one.messages {
        hash.update(format!("{}\0", message.note));
    }
    hex(hash.finalize())
}

/// Returns the commits on the branch of a series, and the tool's part of b4's tracking data.
/// Returns `None` if the branch does not exist.
pub fn commits(git: &Git<'_>, name: &str) -> Result<Option<(Vec<Committed>, Value)>> {
    let branch = format!("refs/heads/{}", branch_name(name));
    let Some(tracked) = tracked(git, &branch)? else {
        return Ok(None);
    };
    let commits = log(git, &branch, &tracked, "%B")?;
    Ok(Some((commits, tracked.own().clone())))
}

/// Returns the commits above the cover letter, in order, each with a text in git's `format`.
pub(super) fn log(git: &Git<'_>, head: &str, of: &Tracked, format: &str) -> Result<Vec<Committed>> {
    let (range, format) = (
        format!("{}..{head}", of.cover),
        format!("--format=%H%n{format}"),
    );
    let log = git.must(["log", "--reverse", "-z", &format, &range, "--"])?;
    let out = log.text();
    let commits = out.split('\0').filter_map(|one| {
        let (commit, text) = one.split_once('\n')?;
        Some((Oid::parse(commit)?, text.to_owned()))
    });
    Ok(commits.collect())
}

/// Returns an error if b4 has another version than the manifest. b4 increments its version after a
/// posting. The manifest has to follow, which it does not in a checkout of an older state.
fn other_revision(
    git: &Git<'_>,
    series: &Series,
    postings: &[Posting],
    old: &Tracked,
) -> Option<Error> {
    let (revision, version) = (old.revision()?, u64::from(series.version));
    let recorded = postings.last().map_or(0, |p| u64::from(p.version));
    // A posting by other means is recorded, but b4 does not know it.
    if revision == version || (revision < version && revision <= recorded) {
        return None;
    }
    let (name, branch, dir) = (&series.name, branch_name(&series.name), git.dir().display());
    let record = format!(
        "if b4 posted v{version}, record it: `cargo series record {name}`;\n\
         an older state of the series can be assembled, but not sent"
    );
    let later = "a later state of the series was posted: this state can be assembled, but not sent";
    let next = revision == version + 1;
    let help = if next { record.as_str() } else { later };
    let what = format!("b4 is at v{revision} of {name}, but the manifest has version = {version}");
    let error = Error::new(what).at(series.file(), series.line_of_version);
    Some(error.help(format!(
        "{help};\nif nothing was posted, delete b4's branch: git -C {dir} update-ref -d \
         refs/heads/{branch}"
    )))
}

fn commit(
    git: &Git<'_>,
    tree: &Oid,
    parent: &Oid,
    message: &str,
    author: Option<&Author>,
    who: &Identity,
    now: u64,
) -> Result<Oid> {
    let cmd = git.cmd(["commit-tree", tree.as_str(), "-F", "-"]);
    let mut cmd = cmd.args(["-p", parent.as_str()]).stdin(message);
    let now = format!("{now} +0000");
    let committer = (&who.name, &who.email, &now);
    let author = author.map_or(committer, |a| (&a.name, &a.email, &a.date));
    for (role, (name, email, date)) in [("AUTHOR", author), ("COMMITTER", committer)] {
        cmd = cmd
            .env(format!("GIT_{role}_NAME"), name)
            .env(format!("GIT_{role}_EMAIL"), email)
            .env(format!("GIT_{role}_DATE"), date);
    }
    git.oid(&cmd)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::b4::tracking::tests::{old, series};

    #[test]
    fn other_revision_is_named() {
        let posted = old(r#"{"series": {"revision": 2, "change-id": "c"}}"#);
        let dir = Path::new("/kernel");
        let git = Git::new(&crate::sys::runner::System, dir);
        let of = |version, postings: &[Posting]| {
            other_revision(&git, &series(version), postings, &posted).map(|e| e.to_string())
        };
        insta::assert_snapshot!(of(1, &[]).unwrap(), @r"
        series/x.toml:1: b4 is at v2 of x, but the manifest has version = 1
          help: if b4 posted v1, record it: `cargo series record x`;
                an older state of the series can be assembled, but not sent;
                if nothing was posted, delete b4's branch: git -C /kernel update-ref -d refs/heads/b4/x
        ");
        assert_eq!(of(2, &[]), None);
        // The posting of v2 was recorded without b4.
        assert_eq!(
            of(
                3,
                &[crate::versions::postings::tests::posting(2, &["a: b"])]
            ),
            None
        );
        assert!(of(3, &[]).is_some());
    }

    #[test]
    fn cover_lines_without_begun_changelog() {
        let text = "Title\n\nText\n---\nChanges in v1:\n- First.\n";
        let begun = "Title\n\nText\n---\nChanges in v2:\n- EDITME: say what\n- Link to v1: x\n\nChanges in v1:\n- First.\n";
        assert_eq!(cover_lines(text), cover_lines(begun));
        assert_ne!(
            cover_lines(text),
            cover_lines(&text.replace("Text", "Other"))
        );
    }

    #[test]
    fn message_has_recipients_and_changelog() {
        let cover = Cover {
            title: "Title".into(),
            text: "Text\n# not a comment\n".into(),
            below: "Changes in v1:\n- First.\n".into(),
            dependencies: Vec::new(),
            prerequisites: Vec::new(),
            trailers: Vec::new(),
        };
        let who = Identity {
            name: "A".into(),
            email: "a@b".into(),
            set: true,
        };
        insta::assert_snapshot!(message(&series(1), &cover, &who));
    }
}
