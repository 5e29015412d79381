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
    sys::{
        error::{Error, Result},
        hash::hex,
        runner::must,
    },
    versions::{postings::Posting, trailers::find::Trailer},
};

/// Returns the branch of a series.
pub fn branch_name(name: &str) -> String {
    format!("b4/{name}")
}

/// Returns the ref of the tip that the tool last gave to a branch, to detect changes by the user.
fn made_ref(name: &str) -> String {
    refs::b4_seen(name)
}

/// Creates or updates the branch of a series. If the branch has to stay unchanged and cannot be
/// sent, returns the reason: b4 has another version than the manifest, or the user changed the
/// branch.
///
/// # Errors
///
/// The branch cannot be read, or has trailers that would be lost.
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
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    let message = message(series, cover, who);
    let content = content(one, &message, &cover.trailers, who);
    let old = tracked(git, &format!("refs/heads/{name}"))?;
    if let Some(old) = &old {
        if let Some(why) = other_revision(git, series, postings, old) {
            return Ok(Some(why));
        }
        if let Some(why) = work_of_others(git, series, old)? {
            return Ok(Some(why));
        }
        let tree = git.resolve(&format!("refs/heads/{name}^{{tree}}"))?;
        let same = tree.as_ref() == Some(&one.tip().tree) && old.content() == Some(&content);
        if same && now.saturating_sub(old.committed) < STALE {
            return Ok(None);
        }
        let commits = commits_above(git, &name, old)?;
        let unknown = reviews::unknown(&one.plan.component, &commits, &old.own());
        if let Some(error) = reviews::would_be_lost(&series.name, &unknown) {
            return Err(error);
        }
    }
    let below = &cover.prerequisites;
    let mut json = tracking(series, postings, base, below, old.as_ref(), &content);
    reviews::note(&mut json[OWN_KEY], one);
    let json = serde_json::to_string_pretty(&Value::Object(json))
        .map_err(|e| Error::new(format!("cannot be written as JSON: {e}")))?;
    let cover = format!(
        "{message}\n{MARK}\n# This section is used internally by b4 prep for tracking purposes.\n{json}\n"
    );
    let parent = &one.parent;
    let mut tip = commit(git, &parent.tree, &parent.commit, &cover, None, who, now)?;
    let patches = one.plan.patches.iter().zip(&one.messages);
    for ((planned, message), made) in patches.zip(&one.patches) {
        let (text, author) = (message.with_note(), planned.author());
        tip = commit(git, &made.tree, &tip, &text, author, who, now)?;
    }
    // One transaction, so that a killed run updates both refs or neither.
    let refs = format!(
        "update refs/heads/{name} {tip}\nupdate {} {tip}\n",
        made_ref(&series.name)
    );
    let args = [
        "update-ref",
        "--create-reflog",
        "-m",
        "series: assembled",
        "--stdin",
    ];
    must(git.runner(), &git.cmd(args).stdin(refs))?;
    let key = format!("branch.{name}.b4-prep-cover-strategy");
    git.must(["config", &key, "commit"])?;
    Ok(None)
}

/// Lists the user's changes to the branch of a series since the tool made it: commits, and edits of
/// the cover letter or of the recipients in it. Ignores changes that b4 makes itself.
fn work_of_others(git: &Git<'_>, series: &Series, now: &Tracked) -> Result<Option<Error>> {
    let name = &series.name;
    let (branch, made) = (format!("refs/heads/{}", branch_name(name)), made_ref(name));
    let (Some(tip), Some(ours)) = (git.resolve(&branch)?, git.resolve(&made)?) else {
        // The branch is missing, or older than this ref.
        return Ok(None);
    };
    if tip == ours {
        return Ok(None);
    }
    let Some(before) = tracked(git, &made)? else {
        return Ok(None);
    };
    let (theirs, ours) = (drafts(git, &branch, now)?, drafts(git, &made, &before)?);
    let mut found: Vec<String> = theirs
        .iter()
        .filter(|t| !ours.iter().any(|o| o.does == t.does))
        .map(|t| format!("commit {}: {}", &t.commit.as_str()[..12], t.subject))
        .collect();
    if found.is_empty() && theirs.len() < ours.len() {
        let gone = ours
            .iter()
            .filter(|o| !theirs.iter().any(|t| t.does == o.does));
        found.extend(gone.map(|o| format!("without the patch: {}", o.subject)));
    }
    let (then, now) = (
        cover_lines(&before.cover_text),
        cover_lines(&now.cover_text),
    );
    let differ = |a: &[String], b: &[String], sign: &str| -> Vec<String> {
        let only = a.iter().filter(|line| !b.contains(line));
        only.map(|line| format!("cover letter: {sign} {line}"))
            .collect()
    };
    found.extend(differ(&then, &now, "-"));
    found.extend(differ(&now, &then, "+"));
    if found.is_empty() {
        return Ok(None);
    }
    let (dir, branch) = (git.dir().display(), branch_name(name));
    let folder = &series.component;
    Ok(Some(
        Error::new(format!(
            "the branch {branch} has changes that are not in this checkout"
        ))
        .at(git.dir(), None)
        .detail(found.join("\n"))
        .help(format!(
            "copy them into the checkout: patches into {folder}/ and series/{name}/, the text into \
             cover-letters/{name}.md,\nrecipients into series/{name}.toml, the changelog into \
             {folder}/CHANGELOG.md.\nThen let the tool recreate the branch; this keeps yours as \
             {name}-mine:\n\
             git -C {dir} branch {name}-mine {branch} && git -C {dir} update-ref \
             refs/heads/{branch} {made}"
        )),
    ))
}

/// A commit on b4's branch.
struct Draft {
    commit: Oid,
    subject: String,
    /// Tree, author and message without trailers, which b4 may add.
    does: String,
}

fn drafts(git: &Git<'_>, branch: &str, tracked: &Tracked) -> Result<Vec<Draft>> {
    let range = format!("{}..{branch}", tracked.cover);
    let args = [
        "log",
        "--reverse",
        "-z",
        "--format=%H%n%T %an <%ae>%n%B",
        &range,
        "--",
    ];
    let out = must(git.runner(), &git.cmd(args))?.text();
    let drafts = out.split('\0').filter_map(|one| {
        let (commit, rest) = one.split_once('\n')?;
        let text = rest.lines().filter(|l| {
            !l.trim().is_empty() && !message::is_trailer(l) && Trailer::parse(l).is_none()
        });
        Some(Draft {
            commit: Oid::parse(commit)?,
            subject: rest.lines().nth(1).unwrap_or_default().to_owned(),
            does: text.collect::<Vec<_>>().join("\n"),
        })
    });
    Ok(drafts.collect())
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
pub(super) fn message(series: &Series, cover: &Cover, who: &Identity) -> String {
    let mut text = format!("{}\n\n{}\n", cover.title, cover.text);
    for to in &series.to {
        text += &format!("To: {to}\n");
    }
    for cc in &series.cc {
        text += &format!("Cc: {cc}\n");
    }
    if who.set {
        text += &format!("Signed-off-by: {}\n", who.ident());
    }
    // b4 drops lines that start with "#" unless they are escaped.
    format!("{text}\n---\n{}", cover.below)
        .lines()
        .map(|l| match l.starts_with('#') {
            true => format!(">{l}\n"),
            false => format!("{l}\n"),
        })
        .collect()
}

pub(super) fn content(
    one: &AssembledSeries,
    message: &str,
    trailers: &[String],
    who: &Identity,
) -> String {
    let mut hash = Sha256::new();
    hash.update(message);
    hash.update(trailers.join("\0"));
    hash.update(who.ident());
    let series = one.plan.series();
    hash.update(format!(
        "{}\0{}\0{}\0",
        series.prefix, series.change_id, series.version
    ));
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
    let branch = branch_name(name);
    let Some(tracked) = tracked(git, &format!("refs/heads/{branch}"))? else {
        return Ok(None);
    };
    let commits = commits_above(git, &branch, &tracked)?;
    Ok(Some((commits, tracked.own())))
}

/// Returns the commits above the cover letter, in order.
pub(super) fn commits_above(
    git: &Git<'_>,
    branch: &str,
    tracked: &Tracked,
) -> Result<Vec<Committed>> {
    let range = format!("{}..refs/heads/{branch}", tracked.cover);
    let args = ["log", "--reverse", "-z", "--format=%H%n%B", &range, "--"];
    let out = must(git.runner(), &git.cmd(args))?.text();
    let commits = out.split('\0').filter_map(|one| {
        let (commit, message) = one.split_once('\n')?;
        Some(Committed {
            commit: Oid::parse(commit)?,
            message: message.to_owned(),
        })
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
    let name = &series.name;
    let help = match revision == version + 1 {
        true => format!(
            "if b4 posted v{version}, record it: `cargo series record {name}`;\n\
             an older state of the series can be assembled, but not sent"
        ),
        false => {
            "a later state of the series was posted: this state can be assembled, but not sent"
                .to_owned()
        }
    };
    let dir = git.dir().display();
    Some(
        Error::new(format!(
            "b4 is at v{revision} of {name}, but the manifest has version = {version}"
        ))
        .at(series.file(), series.line_of_version)
        .help(format!(
            "{help};\nif nothing was posted, delete b4's branch: git -C {dir} update-ref -d \
         refs/heads/{}",
            branch_name(name)
        )),
    )
}

pub(super) fn commit(
    git: &Git<'_>,
    tree: &Oid,
    parent: &Oid,
    message: &str,
    author: Option<&Author>,
    who: &Identity,
    now: u64,
) -> Result<Oid> {
    let args = [
        "commit-tree",
        tree.as_str(),
        "-p",
        parent.as_str(),
        "-F",
        "-",
    ];
    let mut cmd = git.cmd(args).stdin(message);
    let date = format!("{now} +0000");
    for role in ["AUTHOR", "COMMITTER"] {
        cmd = cmd
            .env(format!("GIT_{role}_NAME"), &who.name)
            .env(format!("GIT_{role}_EMAIL"), &who.email)
            .env(format!("GIT_{role}_DATE"), &date);
    }
    if let Some(Author { name, email, date }) = author {
        cmd = cmd
            .env("GIT_AUTHOR_NAME", name)
            .env("GIT_AUTHOR_EMAIL", email)
            .env("GIT_AUTHOR_DATE", date);
    }
    let out = must(git.runner(), &cmd)?.text();
    Oid::parse(&out).ok_or_else(|| Error::new("git commit-tree printed no commit"))
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
