// SPDX-License-Identifier: GPL-2.0

//! `b4/<name>`: the branch that b4 takes for one that it prepared itself, and the hand-over to it.
//!
//! b4 keeps its state in an empty commit below the patches: the cover letter, and JSON behind a
//! mark. It looks for that commit by the committer, who has to be the user, and by the date, which
//! has to be less than a year ago. So these commits are not the recorded ones, only their trees
//! are; and what b4 wrote into the JSON is kept when the branch is made anew.

use std::{
    path::{
        Path,
        PathBuf, //
    },
    time::{
        SystemTime,
        UNIX_EPOCH, //
    },
};

use serde_json::{
    Map,
    Value,
    json, //
};
use sha2::{
    Digest,
    Sha256, //
};

use crate::{
    assemble::AssembledSeries,
    cache::Cache,
    discipline::trailers::Prerequisite,
    emit::Cover,
    error::{
        Error,
        Result, //
    },
    git::{
        Git,
        Identity,
        Oid, //
    },
    manifest::{
        Base,
        Series, //
    },
    posting::Posting,
    runner::{
        Cmd,
        must, //
    },
    trailers::branch::{
        self as reviews,
        Committed, //
    },
    ui::Ui,
};

/// Stands between the cover letter and the JSON.
const MARK: &str = "--- b4-submit-tracking ---";

/// After this long the branch is made anew, well before b4's year is over.
pub(crate) const STALE: u64 = 180 * 24 * 3600;

/// The tool's own key in b4's JSON; b4 keeps what it does not know.
const OWN_KEY: &str = "nova-series";

/// The branch of a series.
pub fn branch_name(name: &str) -> String {
    format!("b4/{name}")
}

/// What b4 remembers of a branch.
#[derive(Debug, Clone, PartialEq)]
struct Tracked {
    /// The commit of the cover letter.
    cover: Oid,
    json: Map<String, Value>,
    committed: u64,
}

impl Tracked {
    fn series(&self) -> Option<&Map<String, Value>> {
        self.json.get("series")?.as_object()
    }

    fn revision(&self) -> Option<u64> {
        self.series()?.get("revision")?.as_u64()
    }

    fn content(&self) -> Option<&str> {
        self.json.get(OWN_KEY)?.get("content")?.as_str()
    }

    fn own(&self) -> Value {
        self.json.get(OWN_KEY).cloned().unwrap_or_default()
    }
}

/// What b4 puts around the cover letter. The commit that the series start from is private to this
/// repository, and a private hash is of no use to whoever receives it: the trailer is there only
/// where the public commit is known, which then stands in for it.
fn cover_template(base: &Base) -> String {
    let base_commit = match base.upstream_commit {
        Some(_) => "base-commit: ${base_commit}\n",
        None => "",
    };
    format!(
        "${{cover}}\n\n---\n${{shortlog}}\n\n${{diffstat}}\n---\n{base_commit}\
         change-id: ${{change_id}}\n${{prerequisites}}\nBest regards,\n-- \n${{signature}}\n"
    )
}

/// Sets the repository up for b4.
///
/// # Errors
///
/// The template cannot be written, or git fails.
pub fn configure(git: &Git<'_>, base: &Base, who: &Identity) -> Result<()> {
    let template = git.dir().join(".git/nova-series-cover.template");
    crate::workspace::write(&template, cover_template(base).as_bytes())?;
    let template = template.display().to_string();
    let set = git.must(["config", "--local", "--list"])?.text();
    for (key, value) in [
        ("user.name", who.name.as_str()),
        ("user.email", &who.email),
        ("b4.prep-cover-template", &template),
        // b4's diffs are to be the tool's, and with them the patch ids.
        ("diff.algorithm", "histogram"),
        ("diff.context", "3"),
        ("diff.indentheuristic", "true"),
        ("diff.interhunkcontext", "0"),
        ("diff.renames", "true"),
    ] {
        if !set
            .lines()
            .any(|l| l.strip_prefix(key) == Some(&format!("={value}")))
        {
            git.must(["config", key, value])?;
        }
    }
    Ok(())
}

/// Makes or renews the branch of a series.
///
/// # Errors
///
/// b4 has posted another version than the manifest says.
pub fn branch(
    git: &Git<'_>,
    one: &AssembledSeries,
    cover: &Cover,
    base: &Base,
    who: &Identity,
) -> Result<()> {
    let series = one.plan.series();
    let postings = &one.plan.component.postings;
    let name = branch_name(&series.name);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    let message = message(series, cover, who);
    let content = content(one, &message, &cover.trailers, who);
    let old = tracked(git, &name)?;
    if let Some(old) = &old {
        check_revision(series, postings, old)?;
        // Somebody may have worked on the branch.
        let tree = git.resolve(&format!("refs/heads/{name}^{{tree}}"))?;
        let same = tree.as_ref() == Some(&one.tip().tree) && old.content() == Some(&content);
        if same && now.saturating_sub(old.committed) < STALE {
            return Ok(());
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
    let mut tip = commit(git, &one.parent.tree, &one.parent.commit, &cover, who, now)?;
    for (dressed, made) in one.dressed.iter().zip(&one.patches) {
        tip = commit(git, &made.tree, &tip, &dressed.with_note(), who, now)?;
    }
    git.must([
        "update-ref",
        "--create-reflog",
        "-m",
        "nova-series: assembled",
        &format!("refs/heads/{name}"),
        tip.as_str(),
    ])?;
    let key = format!("branch.{name}.b4-prep-cover-strategy");
    git.must(["config", &key, "commit"]).map(drop)
}

/// The cover letter as b4 keeps it: recipients above `---`, the changelog below.
fn message(series: &Series, cover: &Cover, who: &Identity) -> String {
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

fn content(one: &AssembledSeries, message: &str, trailers: &[String], who: &Identity) -> String {
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
    for dressed in &one.dressed {
        hash.update(format!("{}\0", dressed.note));
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

fn tracking(
    series: &Series,
    postings: &[Posting],
    base: &Base,
    below: &[Prerequisite],
    old: Option<&Tracked>,
    content: &str,
) -> Map<String, Value> {
    let mut json = old.map(|o| o.json.clone()).unwrap_or_default();
    let mut inner = old.and_then(|o| o.series().cloned()).unwrap_or_default();
    inner.insert("revision".into(), json!(series.version));
    inner.insert("change-id".into(), json!(series.change_id));
    let prefixes: Vec<_> = series.prefix.split(' ').filter(|w| *w != "PATCH").collect();
    inner.insert("prefixes".into(), json!(prefixes));
    inner.insert("prerequisites".into(), json!(prerequisites(base, below)));
    let history = inner.entry("history").or_insert_with(|| json!({}));
    if let Some(history) = history.as_object_mut() {
        for posting in postings {
            let key = format!("v{}", posting.version);
            let ids = history.entry(key).or_insert_with(|| json!([]));
            let known = ids.as_array_mut();
            if let Some(known) = known.filter(|k| !k.contains(&json!(posting.message_id))) {
                known.push(json!(posting.message_id));
            }
        }
    }
    json.insert("series".into(), Value::Object(inner));
    json.insert(
        OWN_KEY.into(),
        json!({ "series": series.name, "content": content }),
    );
    json
}

/// In b4's words. It looks up the patches of a posted series by itself, and would name them twice
/// if they stood here as well.
fn prerequisites(base: &Base, below: &[Prerequisite]) -> Vec<String> {
    let mut words = Vec::new();
    for one in below {
        match one.posted {
            Some(version) => words.push(format!("change-id: {}:v{version}", one.change_id)),
            None => words.extend(one.patch_ids.iter().map(|id| format!("patch-id: {id}"))),
        }
    }
    let public = base.upstream_commit.iter();
    words.extend(public.map(|commit| format!("base-commit: {commit}")));
    words
}

/// The commits of a series' branch, and the tool's part of what b4 keeps there; `None` if there is
/// no branch.
///
/// # Errors
///
/// b4's branch cannot be read.
pub fn commits(git: &Git<'_>, name: &str) -> Result<Option<(Vec<Committed>, Value)>> {
    let branch = branch_name(name);
    let Some(tracked) = tracked(git, &branch)? else {
        return Ok(None);
    };
    let commits = commits_above(git, &branch, &tracked)?;
    Ok(Some((commits, tracked.own())))
}

/// The commits above the cover letter, in order.
fn commits_above(git: &Git<'_>, branch: &str, tracked: &Tracked) -> Result<Vec<Committed>> {
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

/// What b4 posted of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The commit that the first patch was made on.
    pub parent: Oid,
    /// The message id of the cover letter, or of the single patch.
    pub message_id: String,
}

/// What b4 posted as `version` of a series, if it did.
///
/// # Errors
///
/// b4's branch cannot be read.
pub fn sent(git: &Git<'_>, name: &str, version: u32) -> Result<Option<Sent>> {
    let Some(tracked) = tracked(git, &branch_name(name))? else {
        return Ok(None);
    };
    let id = tracked.series().and_then(|s| {
        s.get("history")?
            .get(format!("v{version}"))?
            .as_array()?
            .last()?
            .as_str()
    });
    let parent = git.resolve(&format!("{}^", tracked.cover))?;
    Ok(match (id, parent) {
        (Some(id), Some(parent)) => Some(Sent {
            parent,
            message_id: id.trim_matches(['<', '>']).to_owned(),
        }),
        _ => None,
    })
}

/// Has b4 forget that `version` of a series was posted under this message id, and count from there
/// again. What else it keeps stays, and so does the rest of the branch.
///
/// # Errors
///
/// b4's branch cannot be read or written.
pub fn forget(git: &Git<'_>, name: &str, version: u32, message_id: &str) -> Result<()> {
    let branch = branch_name(name);
    let Some(old) = tracked(git, &branch)? else {
        return Ok(());
    };
    let mut json = old.json.clone();
    if let Some(series) = json.get_mut("series").and_then(Value::as_object_mut) {
        if old.revision() == Some(u64::from(version) + 1) {
            series.insert("revision".into(), json!(version));
        }
        if let Some(history) = series.get_mut("history").and_then(Value::as_object_mut) {
            let key = format!("v{version}");
            let is_it =
                |id: &Value| id.as_str().map(|id| id.trim_matches(['<', '>'])) == Some(message_id);
            let ids = history.get_mut(&key).and_then(Value::as_array_mut);
            let left = ids.map(|ids| {
                ids.retain(|id| !is_it(id));
                ids.len()
            });
            if left == Some(0) {
                history.remove(&key);
            }
        }
    }
    let raw = |commit: &Oid| Ok(git.must(["cat-file", "commit", commit.as_str()])?.stdout);
    let text = String::from_utf8_lossy(&raw(&old.cover)?).into_owned();
    let at = text
        .find(MARK)
        .and_then(|mark| Some(mark + text[mark..].find('{')?));
    let Some(at) = at else {
        return Ok(());
    };
    let shown = serde_json::to_string_pretty(&Value::Object(json))
        .map_err(|e| Error::new(format!("cannot be written as JSON: {e}")))?;
    let store = |content: Vec<u8>| {
        let args = ["hash-object", "-t", "commit", "-w", "--stdin"];
        let out = must(git.runner(), &git.cmd(args).stdin(content))?.text();
        Oid::parse(&out).ok_or_else(|| Error::new("git hash-object named no commit"))
    };
    let (mut parent, mut tip) = (
        old.cover.clone(),
        store(format!("{}{shown}\n", &text[..at]).into_bytes())?,
    );
    for one in commits_above(git, &branch, &old)? {
        let content = raw(&one.commit)?;
        let text = String::from_utf8_lossy(&content);
        let moved = text.replacen(&format!("parent {parent}"), &format!("parent {tip}"), 1);
        (parent, tip) = (one.commit, store(moved.into_bytes())?);
    }
    git.set_ref(&format!("refs/heads/{branch}"), &tip)
}

/// b4 counts a version up when it has posted one; the manifest has to follow.
fn check_revision(series: &Series, postings: &[Posting], old: &Tracked) -> Result<()> {
    let (Some(revision), version) = (old.revision(), u64::from(series.version)) else {
        return Ok(());
    };
    let recorded = postings.last().map_or(0, |p| u64::from(p.version));
    // What was posted by other means is recorded without b4.
    if revision == version || (revision < version && revision <= recorded) {
        return Ok(());
    }
    let name = &series.name;
    let help = match revision == version + 1 {
        true => format!("record what was posted: `cargo series posted {name}`"),
        false => format!(
            "the manifest follows what was posted: set version = {revision}, and write its entry in \
             the changelog"
        ),
    };
    Err(Error::new(format!(
        "b4 is at v{revision} of {name}, but the manifest has version = {version}"
    ))
    .at(series.file(), series.line_of_version)
    .help(format!(
        "{help};\nif that is wrong, drop b4's branch in the tool's kernel repository: \
         git update-ref -d refs/heads/{}",
        branch_name(name)
    )))
}

/// What b4 wrote on a branch, or `None` if there is no such branch.
fn tracked(git: &Git<'_>, name: &str) -> Result<Option<Tracked>> {
    let log = git.cmd([
        "log",
        "--max-count=1",
        "--fixed-strings",
        &format!("--grep={MARK}"),
        "--format=%H %ct%n%B",
        &format!("refs/heads/{name}"),
        "--",
    ]);
    let out = git.try_run(&log)?;
    // A branch without a cover letter is none that b4 wrote to.
    if !out.ok() || out.stdout.is_empty() {
        return Ok(None);
    }
    parse_tracked(&out.text()).map(Some).ok_or_else(|| {
        Error::new(format!(
            "what b4 keeps in the cover letter of {name} cannot be read"
        ))
        .at(git.dir(), None)
        .help(format!(
            "mend it with `b4 prep --edit-cover`, or drop it: git update-ref -d refs/heads/{name}"
        ))
    })
}

fn parse_tracked(text: &str) -> Option<Tracked> {
    let (head, body) = text.split_once('\n')?;
    let (cover, committed) = head.split_once(' ')?;
    let json = body.split_once(MARK)?.1;
    let json = &json[json.find('{')?..];
    Some(Tracked {
        cover: Oid::parse(cover)?,
        json: serde_json::from_str(json).ok()?,
        committed: committed.parse().ok()?,
    })
}

fn commit(
    git: &Git<'_>,
    tree: &Oid,
    parent: &Oid,
    message: &str,
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
    let out = must(git.runner(), &cmd)?.text();
    Oid::parse(&out).ok_or_else(|| Error::new("git commit-tree named no commit"))
}

/// Where b4 works on a series: a work tree with hardly a file in it.
pub fn work_tree(cache: &Cache, name: &str) -> PathBuf {
    cache.path("send").join(name)
}

/// Mails as b4 would send them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// The mails.
    pub mails: Vec<PathBuf>,
    /// The command with which a person has them sent to themselves.
    pub reflect: String,
    /// The command with which a person posts the series.
    pub post: String,
}

/// Has b4 write the mails of a series to `to`, offline: no key, no mail set-up, no connection.
///
/// # Errors
///
/// b4's own, or that nobody is set to sign off.
pub fn rehearse(
    git: &Git<'_>,
    cache: &Cache,
    b4: &Path,
    name: &str,
    to: &Path,
    ui: &Ui,
) -> Result<Rehearsal> {
    let tree = work_tree(cache, name);
    prepare_work_tree(git, &tree, name)?;
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).map_err(|e| Error::io("make the folder", to, &e))?;
    ui.say(format!("writing the mails of {name} through b4 …"));
    let state = cache.path("b4-state");
    let cmd = Cmd::new(b4)
        .args(["-c", "b4.send-no-patatt-sign=yes"])
        // Without a mail server b4 asks for a key; with one it does not connect to it here.
        .args(["-c", "sendemail.smtpserver=localhost"])
        .args(["send", "--output-dir"])
        .arg(to)
        .env("XDG_CACHE_HOME", state.join("cache"))
        .env("XDG_DATA_HOME", state.join("data"))
        .env("GIT_TERMINAL_PROMPT", "0")
        .dir(&tree);
    let out = must(git.runner(), &cmd)?;
    let mut mails: Vec<PathBuf> = std::fs::read_dir(to)
        .map_err(|e| Error::io("list", to, &e))?
        .flatten()
        .map(|e| e.path())
        .collect();
    mails.sort();
    if mails.is_empty() {
        return Err(Error::new("b4 wrote no mail").detail(out.complaint()));
    }
    let at = crate::runner::quote(&tree.display().to_string());
    let b4 = crate::runner::quote(&b4.display().to_string());
    // Another checkout may make the branch anew; what is posted has to be what was rehearsed.
    let tip = Git::new(git.runner(), &tree)
        .must(["rev-parse", "HEAD"])?
        .text();
    let guard = format!("cd {at} && test \"$(git rev-parse HEAD)\" = {tip}");
    Ok(Rehearsal {
        mails,
        reflect: format!("{guard} && {b4} send --reflect"),
        post: format!("{guard} && {b4} send"),
    })
}

fn prepare_work_tree(git: &Git<'_>, tree: &Path, name: &str) -> Result<()> {
    let branch = branch_name(name);
    let shown = tree.display().to_string();
    if !tree.join(".git").exists() {
        git.must(["worktree", "prune"])?;
        let args = ["worktree", "add", "--quiet", "--no-checkout", "--force"];
        must(git.runner(), &git.cmd(args).arg(&shown).arg(&branch))?;
    }
    let here = Git::new(git.runner(), tree);
    // b4 takes a tree for a kernel's by these files.
    here.must([
        "sparse-checkout",
        "set",
        "--no-cone",
        "/Kconfig",
        "/MAINTAINERS",
    ])?;
    here.must(["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")])?;
    here.must(["reset", "--hard", "--quiet"]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(version: u32) -> Series {
        let text = format!(
            "version = {version}\nprefix = \"RFC PATCH\"\nchange-id = \"20261122-x-1\"\nto = [\"A <a@b.org>\"]\n"
        );
        Series::parse("x", Path::new("series/x.toml"), &text).unwrap()
    }

    fn base() -> Base {
        let text = "version = \"6.19.11\"\ntrees = []\narchive = []\n[host]\npaths = []\n";
        Base::parse(Path::new("base.toml"), text).unwrap()
    }

    fn old(json: &str) -> Tracked {
        parse_tracked(&format!(
            "{} 1700000000\nTitle\n\nText\n\n{MARK}\n# note\n{json}\n",
            "0".repeat(40)
        ))
        .unwrap()
    }

    #[test]
    fn what_b4_wrote_is_kept() {
        let before = old(
            r#"{"series": {"revision": 2, "change-id": "c", "history": {"v1": ["m@id"]}}, "other": 1}"#,
        );
        let json = Value::Object(tracking(
            &series(2),
            &[],
            &base(),
            &[],
            Some(&before),
            "key",
        ));
        assert_eq!(json["series"]["history"]["v1"][0], "m@id");
        assert_eq!(json["other"], 1);
        assert_eq!(json["series"]["revision"], 2);
        assert_eq!(json["series"]["prefixes"], json!(["RFC"]));
        assert_eq!(json[OWN_KEY]["content"], "key");
    }

    #[test]
    fn what_was_recorded_is_part_of_the_history() {
        let one = |id: &str, posted| Prerequisite {
            change_id: id.into(),
            posted,
            patch_ids: vec!["1".into(), "2".into()],
        };
        let below = [one("list", Some(1)), one("buddy", None)];
        let postings = [crate::posting::tests::posting(1, &["a: b"])];
        let json = tracking(&series(2), &postings, &base(), &below, None, "key");
        assert_eq!(
            json["series"]["prerequisites"],
            json!(["change-id: list:v1", "patch-id: 1", "patch-id: 2"])
        );
        let id = "20260102-x-v1-0-abc@example.org";
        assert_eq!(json["series"]["history"], json!({ "v1": [id] }));
        // Once is enough.
        let again = old(&serde_json::to_string(&json).unwrap());
        let json = tracking(&series(2), &postings, &base(), &below, Some(&again), "key");
        assert_eq!(json["series"]["history"], json!({ "v1": [id] }));
    }

    #[test]
    fn a_private_base_is_never_named() {
        let prerequisites = |base: &Base| {
            let json = Value::Object(tracking(&series(1), &[], base, &[], None, "key"));
            json["series"]["prerequisites"].clone()
        };
        let mut base = base();
        assert_eq!(prerequisites(&base), json!([]));
        assert!(!cover_template(&base).contains("base-commit"));
        let public = "1".repeat(40);
        base.upstream_commit = Some(public.clone());
        assert_eq!(
            prerequisites(&base),
            json!([format!("base-commit: {public}")])
        );
        assert!(cover_template(&base).contains("base-commit: ${base_commit}\n"));
    }

    #[test]
    fn a_posted_version_has_to_be_followed() {
        let posted = old(r#"{"series": {"revision": 2, "change-id": "c"}}"#);
        insta::assert_snapshot!(check_revision(&series(1), &[], &posted).unwrap_err(), @r"
        series/x.toml:1: b4 is at v2 of x, but the manifest has version = 1
          help: record what was posted: `cargo series posted x`;
                if that is wrong, drop b4's branch in the tool's kernel repository: git update-ref -d refs/heads/b4/x
        ");
        check_revision(&series(2), &[], &posted).unwrap();
        // What was recorded without b4.
        let recorded = [crate::posting::tests::posting(2, &["a: b"])];
        check_revision(&series(3), &recorded, &posted).unwrap();
        assert!(check_revision(&series(3), &[], &posted).is_err());
    }

    #[test]
    fn the_cover_has_recipients_above_and_the_changelog_below() {
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
