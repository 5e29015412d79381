// SPDX-License-Identifier: GPL-2.0

//! The branch of a series: b4's commit with the cover letter, and the patches.

use sha2::{Digest, Sha256};

use super::{
    reviews,
    tracking::{MARK, OWN_KEY, Tracked, branch_name, head, tracked, tracking},
};
use crate::{
    git::{Git, Identity, Oid, PatchCommit, refs},
    patches::{
        commits::AssembledSeries,
        output::Cover,
        up_to_date::{STALE, now},
    },
    source::{
        manifest::{Base, Series},
        message,
    },
    sys::{Error, Result, hash::hex},
    versions::{postings::Posting, trailers::find::Trailer},
};

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
    let name = &series.name;
    let now = now();
    let message = message(series, cover, who);
    let content = content(one, &message, &cover.trailers, who);
    let head = head(name);
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
        let commits = old.log(git, "%B")?;
        let unknown = reviews::unknown(&one.plan.component, &commits, old.own());
        if let Some(error) = reviews::would_be_lost(name, &unknown) {
            return Err(error);
        }
    }
    let below = &cover.prerequisites;
    let mut json = tracking(series, postings, base, below, old.as_ref(), &content);
    reviews::note(&mut json[OWN_KEY], one);
    let cover = format!(
        "{message}\n{MARK}\n# This section is used internally by b4 prep for tracking purposes.\n{json:#}\n"
    );
    let committer = who.at(now);
    let PatchCommit { commit, tree } = &one.parent;
    let mut tip = git.commit(tree, Some(commit), &committer, &committer, &cover)?;
    let patches = one.plan.patches.iter().zip(&one.messages);
    for ((planned, message), made) in patches.zip(&one.patches) {
        let (text, author) = (message.with_note(), planned.author());
        let author = author.unwrap_or(&committer);
        tip = git.commit(&made.tree, Some(&tip), author, &committer, &text)?;
    }
    // One transaction, so that a killed run updates both refs or neither.
    let seen = refs::b4_seen(name);
    let update = git.cmd(["update-ref", "--create-reflog", "--stdin"]);
    let update = update.args(["-m", "series: assembled"]);
    git.run(&update.stdin(format!("update {head} {tip}\nupdate {seen} {tip}\n")))?;
    let key = format!("branch.{}.b4-prep-cover-strategy", branch_name(name));
    git.must(["config", &key, "commit"])?;
    Ok(None)
}

/// Lists the user's changes to the branch of a series since the tool made it: commits, and edits of
/// the cover letter or of the recipients in it. Ignores changes that b4 makes itself.
fn work_of_others(git: &Git<'_>, series: &Series, now: &Tracked) -> Result<Option<Error>> {
    let name = &series.name;
    let (branch, made, head) = (branch_name(name), refs::b4_seen(name), &now.head);
    if git.resolve(&made)? == git.resolve(head)? {
        return Ok(None);
    }
    let Some(before) = tracked(git, &made)? else {
        // The branch is older than this ref.
        return Ok(None);
    };
    let mut found = changes(&drafts(git, &before)?, &drafts(git, now)?);
    let texts = [&before.cover_text, &now.cover_text];
    let [then, now] = texts.map(|text| cover_lines(text));
    let gone = then.iter().filter(|line| !now.contains(line));
    found.extend(gone.map(|line| format!("cover letter: - {line}")));
    let new = now.iter().filter(|line| !then.contains(line));
    found.extend(new.map(|line| format!("cover letter: + {line}")));
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

fn drafts(git: &Git<'_>, of: &Tracked) -> Result<Vec<Draft>> {
    let commits = of.log(git, "%T %an <%ae>%n%B")?.into_iter();
    let is_own =
        |l: &&str| !l.trim().is_empty() && !message::is_trailer(l) && Trailer::parse(l).is_err();
    let drafts = commits.map(|(commit, text)| Draft {
        commit,
        subject: text.lines().nth(1).unwrap_or_default().to_owned(),
        does: text.lines().filter(is_own).collect::<Vec<_>>().join("\n"),
    });
    Ok(drafts.collect())
}

/// Lists the commits only in `theirs`, or, if there are none, those that are missing there.
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
    let shown = |t: &Draft| format!("commit {}: {}", t.commit.short(), t.subject);
    new.into_iter().map(shown).collect()
}

/// Omits the lines that b4 adds to the changelog after a posting, for the author to edit.
fn cover_lines(text: &str) -> Vec<&str> {
    let begun = ["- EDITME", "- Link to v", "Changes in v"];
    let lines = text.lines().map(str::trim_end);
    let is_own = |l: &&str| !l.is_empty() && !begun.iter().any(|b| l.starts_with(b));
    lines.filter(is_own).collect()
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
    let (name, head, dir) = (&series.name, &old.head, git.dir().display());
    let help = if revision == version + 1 {
        format!(
            "if b4 posted v{version}, record it: `cargo series record {name}`;\n\
             an older state of the series can be assembled, but not sent"
        )
    } else {
        "a later state of the series was posted: this state can be assembled, but not sent".into()
    };
    let what = format!("b4 is at v{revision} of {name}, but the manifest has version = {version}");
    let error = Error::new(what).at(&series.file, series.line_of_version);
    Some(error.help(format!(
        "{help};\nif nothing was posted, delete b4's branch: git -C {dir} update-ref -d {head}"
    )))
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
