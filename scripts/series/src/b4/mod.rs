// SPDX-License-Identifier: GPL-2.0

//! `b4/<name>`: the branch that b4 takes for one that it prepared itself, and the hand-over to it.
//!
//! b4 keeps its state in an empty commit below the patches: the cover letter, and JSON behind a
//! mark. It looks for that commit by the committer, who has to be the user, and by the date, which
//! has to be less than a year ago. So these commits are not the recorded ones, only their trees
//! are; and what b4 wrote into the JSON is kept when the branch is made anew.

pub mod reviews;

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

use self::reviews::Committed;
use crate::{
    git::{
        Git,
        Identity,
        Oid,
        PINNED,
        isolated,
        parse_settings,
        user_settings, //
    },
    patches::{
        commits::AssembledSeries,
        output::Cover, //
    },
    source::{
        manifest::{
            Base,
            Series, //
        },
        message, //
    },
    sys::{
        cache::Cache,
        error::{
            Error,
            Result, //
        },
        hash::hex,
        plural::count,
        runner::{
            Cmd,
            must, //
        },
        ui::Ui, //
    },
    versions::{
        postings::Posting,
        rules::trailers::Prerequisite,
        trailers::find::Trailer, //
    }, //
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
    /// Its text.
    cover_text: String,
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
    crate::sys::files::write(&template, cover_template(base).as_bytes())?;
    let template = template.display().to_string();
    let set = local_settings(git)?;
    let own = [
        ("user.name", who.name.as_str()),
        ("user.email", &who.email),
        ("b4.prep-cover-template", &template),
    ];
    // When the user posts with b4 there, the mails must equal those of the rehearsal.
    for (key, value) in own.iter().chain(PINNED) {
        let values: Vec<_> = set.iter().filter(|(k, _)| k == key).collect();
        if !matches!(values[..], [(_, one)] if one == value) {
            git.must(["config", "--local", "--replace-all", key, value])?;
        }
    }
    Ok(())
}

/// The settings of the repository itself.
fn local_settings(git: &Git<'_>) -> Result<Vec<(String, String)>> {
    let listed = git.must(["config", "--local", "-z", "--list"])?;
    Ok(parse_settings(&listed.stdout))
}

/// The tip that the tool last gave to a branch, to detect later changes by the user.
fn made_ref(name: &str) -> String {
    format!("refs/nova-series/b4/{name}")
}

/// Makes or renews the branch of a series. Returns the reason if the branch was left unchanged, and
/// cannot be sent: b4 is at another version than the manifest, or the user changed the branch.
///
/// # Errors
///
/// b4's branch cannot be read, or holds trailers that would be lost.
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
    let mut tip = commit(git, &one.parent.tree, &one.parent.commit, &cover, who, now)?;
    for (dressed, made) in one.dressed.iter().zip(&one.patches) {
        tip = commit(git, &made.tree, &tip, &dressed.with_note(), who, now)?;
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
        "nova-series: assembled",
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
        // Made before the tool kept this ref, or never.
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

/// A commit of a branch of b4's.
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

/// The lines of a cover letter that are its author's. When b4 has posted a version, it begins the
/// changelog of the next one with lines for the author to edit.
fn cover_lines(text: &str) -> Vec<String> {
    let begun = ["- EDITME", "- Link to v", "Changes in v"];
    let lines = text.lines().map(str::trim_end);
    lines
        .filter(|l| !l.is_empty() && !begun.iter().any(|b| l.starts_with(b)))
        .map(str::to_owned)
        .collect()
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
    hex(hash.finalize())
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
    let Some(tracked) = tracked(git, &format!("refs/heads/{branch}"))? else {
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
    let Some(tracked) = tracked(git, &format!("refs/heads/{}", branch_name(name)))? else {
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
    let Some(old) = tracked(git, &format!("refs/heads/{branch}"))? else {
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

/// b4 counts a version up when it has posted one; before the next one is sent, the manifest has to
/// follow. A checkout of an older state does not.
fn other_revision(
    git: &Git<'_>,
    series: &Series,
    postings: &[Posting],
    old: &Tracked,
) -> Option<Error> {
    let (revision, version) = (old.revision()?, u64::from(series.version));
    let recorded = postings.last().map_or(0, |p| u64::from(p.version));
    // What was posted by other means is recorded without b4.
    if revision == version || (revision < version && revision <= recorded) {
        return None;
    }
    let name = &series.name;
    let help = match revision == version + 1 {
        true => format!(
            "if b4 posted v{version}, record it: `cargo series posted {name}`;\n\
             an older state of the series can be assembled, but not sent"
        ),
        false => {
            "this is not the state of the series that was posted last: it can be assembled, but \
                  not sent"
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

/// b4's tracking data of a branch, named by its ref, or `None` if the branch does not exist.
fn tracked(git: &Git<'_>, name: &str) -> Result<Option<Tracked>> {
    if git.resolve(name)?.is_none() {
        return Ok(None);
    }
    let log = git.cmd([
        "log",
        "--max-count=1",
        "--fixed-strings",
        &format!("--grep={MARK}"),
        "--format=%H %ct%n%B",
        name,
        "--",
    ]);
    let out = must(git.runner(), &log)?;
    // A branch without a cover letter is none that b4 wrote to.
    if out.stdout.is_empty() {
        return Ok(None);
    }
    parse_tracked(&out.text()).map(Some).ok_or_else(|| {
        Error::new(format!(
            "what b4 keeps in the cover letter of {name} cannot be read"
        ))
        .at(git.dir(), None)
        .help(format!(
            "mend it with `b4 prep --edit-cover`, or drop it: git -C {} update-ref -d {name}",
            git.dir().display()
        ))
    })
}

fn parse_tracked(text: &str) -> Option<Tracked> {
    let (head, body) = text.split_once('\n')?;
    let (cover, committed) = head.split_once(' ')?;
    let (text, json) = body.split_once(MARK)?;
    let json = &json[json.find('{')?..];
    Some(Tracked {
        cover_text: text.to_owned(),
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
    cache.of_base("send").join(name)
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
/// b4 failed, the user changed files in b4's work tree, or with the user's settings b4 would post
/// other mails.
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
    let calls = Calls {
        git,
        cache,
        b4,
        tree: &tree,
    };
    let mails = calls.write(isolated, to)?;
    let disturbing = disturbing();
    calls.compare(&mails, &disturbing)?;
    let quoted = |path: &Path| crate::sys::runner::quote(&path.display().to_string());
    let mut program = quoted(b4);
    if !disturbing.is_empty() {
        program = format!("env -u {} {program}", disturbing.join(" -u "));
    }
    // Another checkout may make the branch anew; what is posted has to be what was rehearsed.
    let tip = Git::new(git.runner(), &tree)
        .must(["rev-parse", "HEAD"])?
        .text();
    let line = |send: &str| {
        format!(
            "cd {} && if test \"$(git rev-parse HEAD)\" = {tip}; then {program} {send}; else echo \
             'nothing was posted: {} changed since the rehearsal; run: cargo series send {name}' >&2; \
             false; fi",
            quoted(&tree),
            branch_name(name)
        )
    };
    Ok(Rehearsal {
        reflect: line("send --reflect"),
        post: line("send"),
        mails,
    })
}

/// Environment variables that change git's output or its paths. The command that posts must run
/// without them.
fn disturbing() -> Vec<String> {
    // The user chooses the transport and the sender of mail. Traces do not change git's output.
    let harmless = [
        "GIT_ASKPASS",
        "GIT_AUTHOR_",
        "GIT_COMMITTER_",
        "GIT_CONFIG_",
        "GIT_EDITOR",
        "GIT_EXEC_PATH",
        "GIT_PAGER",
        "GIT_PROXY",
        "GIT_SEQUENCE_EDITOR",
        "GIT_SSH",
        "GIT_SSL",
        "GIT_TERMINAL_PROMPT",
        "GIT_TRACE",
    ];
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut names: Vec<String> = names
        .filter(|n| n == "COLUMNS" || n.starts_with("GIT_"))
        .filter(|n| !harmless.iter().any(|h| n.starts_with(h)))
        .filter(|n| n.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()))
        .collect();
    names.sort();
    names
}

/// Calls of b4 that write mails to a folder.
struct Calls<'a> {
    git: &'a Git<'a>,
    cache: &'a Cache,
    b4: &'a Path,
    tree: &'a Path,
}

impl Calls<'_> {
    /// Has b4 write the mails to `to`; `set_up` prepares the environment of the call.
    fn write(&self, set_up: impl FnOnce(Cmd) -> Cmd, to: &Path) -> Result<Vec<PathBuf>> {
        let state = self.cache.of_base("b4-state");
        let cmd = Cmd::new(self.b4)
            .args(["-c", "b4.send-no-patatt-sign=yes"])
            // Without a mail server b4 asks for a key; with one it does not connect to it here.
            .args(["-c", "sendemail.smtpserver=localhost"])
            .args(["send", "--output-dir"])
            .arg(to)
            .dir(self.tree);
        let cmd = set_up(cmd)
            .env("XDG_CACHE_HOME", state.join("cache"))
            .env("XDG_DATA_HOME", state.join("data"))
            .env("GIT_TERMINAL_PROMPT", "0");
        let out = must(self.git.runner(), &cmd)?;
        let mut mails: Vec<PathBuf> = std::fs::read_dir(to)
            .map_err(|e| Error::io("list", to, &e))?
            .flatten()
            .map(|e| e.path())
            .collect();
        mails.sort();
        match mails.is_empty() {
            true => Err(Error::new("b4 wrote no mail").detail(out.complaint())),
            false => Ok(mails),
        }
    }

    /// Has b4 write the mails again with the user's settings, as it will when they are posted, and
    /// compares.
    fn compare(&self, mails: &[PathBuf], disturbing: &[String]) -> Result<()> {
        let scratch = self.cache.scratch()?;
        let as_posted = |mut cmd: Cmd| {
            for name in disturbing {
                cmd = cmd.env_remove(name);
            }
            cmd
        };
        let settings = || self.suspects();
        let posted = match self.write(as_posted, scratch.path()) {
            Ok(posted) => posted,
            Err(e) => return Err(e.detail(settings()?)),
        };
        let read = |path: &PathBuf| std::fs::read(path).map_err(|e| Error::io("read", path, &e));
        let mut difference = (mails.len() != posted.len()).then(|| {
            format!(
                "{} instead of {}",
                count(posted.len(), "mail", "mails"),
                mails.len()
            )
        });
        for (meant, posted) in mails.iter().zip(&posted) {
            let (meant, posted) = (lasting(&read(meant)?), lasting(&read(posted)?));
            if difference.is_none() {
                difference = first_difference(&meant, &posted);
            }
        }
        let Some(difference) = difference else {
            return Ok(());
        };
        let kernel = self.git.dir().display();
        Err(
            Error::new("with your settings, b4 would post other mails than these")
                .at(self.tree, None)
                .detail(difference)
                .detail(settings()?)
                .help(format!(
                    "override the setting in this repository: \
                     git -C {kernel} config NAME VALUE"
                )),
        )
    }

    /// The names of the user's settings that b4 reads and nothing here overrides. Their values may
    /// be secret.
    fn suspects(&self) -> Result<String> {
        let names = "^(b4|sendemail|user|format|diff|log|core|i18n)\\.";
        let set = user_settings(self.git.runner(), self.tree, names)?;
        let ours = local_settings(self.git)?;
        let mut names: Vec<String> = set.into_iter().map(|(key, _)| key).collect();
        names.retain(|key| !ours.iter().any(|(k, _)| k == key));
        names.sort();
        names.dedup();
        Ok(format!("your settings that b4 reads: {}", names.join(", ")))
    }
}

/// A mail without the headers that differ in every run: message ids, dates, and data that contains
/// them.
fn lasting(mail: &[u8]) -> String {
    let mail = String::from_utf8_lossy(mail);
    let (head, body) = mail.split_once("\n\n").unwrap_or((&mail, ""));
    let passing = [
        "date:",
        "message-id:",
        "in-reply-to:",
        "references:",
        "x-b4-tracking:",
    ];
    let mut kept = String::new();
    let mut keep = true;
    for line in head.lines() {
        if !line.starts_with([' ', '\t']) {
            let lower = line.to_ascii_lowercase();
            keep = !passing.iter().any(|p| lower.starts_with(p));
        }
        if keep {
            kept += &format!("{line}\n");
        }
    }
    format!("{kept}\n{body}")
}

/// The first lines in which two mails differ.
fn first_difference(meant: &str, posted: &str) -> Option<String> {
    let (mut a, mut b) = (meant.lines(), posted.lines());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return None,
            (a, b) if a == b => (),
            (a, b) => {
                let (a, b) = (a.unwrap_or("(the end)"), b.unwrap_or("(the end)"));
                return Some(format!("- {a}\n+ {b}"));
            }
        }
    }
}

/// The files in which a work tree, or its index, differs from a commit.
fn changes(here: &Git<'_>, from: &str) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for cached in [&[][..], &["--cached"]] {
        let cmd = here.cmd(["diff-index", "--name-status"]).args(cached);
        let out = must(here.runner(), &cmd.args([from, "--"]))?.text();
        files.extend(out.lines().map(str::to_owned));
    }
    files.sort_unstable();
    files.dedup();
    Ok(files)
}

/// The commit last checked out in the work tree of a series.
fn prepared_ref(name: &str) -> String {
    format!("refs/nova-series/send/{name}")
}

fn prepare_work_tree(git: &Git<'_>, tree: &Path, name: &str) -> Result<()> {
    let branch = branch_name(name);
    let shown = tree.display().to_string();
    if !tree.join(".git").exists() {
        git.must(["worktree", "prune"])?;
        let args = ["worktree", "add", "--quiet", "--no-checkout", "--force"];
        must(git.runner(), &git.cmd(args).arg(&shown).arg(&branch))?;
    } else {
        refuse_work(git, tree, name)?;
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
    here.must(["reset", "--hard", "--quiet"])?;
    let head = here.resolve("HEAD")?;
    let head = head.ok_or_else(|| Error::new(format!("{branch} is gone")).at(tree, None))?;
    git.set_ref(&prepared_ref(name), &head)
}

/// Returns an error if the user changed files in the work tree of a series.
fn refuse_work(git: &Git<'_>, tree: &Path, name: &str) -> Result<()> {
    let here = Git::new(git.runner(), tree);
    let branch = branch_name(name);
    let shown = tree.display();
    let head = here.try_run(&here.cmd(["symbolic-ref", "--quiet", "HEAD"]))?;
    if head.text() != format!("refs/heads/{branch}") {
        let at = match head.text() {
            at if at.is_empty() => "no branch".to_owned(),
            at => at.replace("refs/heads/", ""),
        };
        return Err(Error::new(format!("is on {at}, not on {branch}"))
            .at(tree, None)
            .help(format!(
                "end what is under way there, keep its commits on a branch of yours,\n\
                 and go back: git -C {shown} switch {branch}"
            )));
    }
    // A new date alone is not a change.
    here.try_run(&here.cmd(["update-index", "-q", "--refresh"]))?;
    // The branch may have moved since, so comparing with HEAD alone is not enough.
    let prepared = git.resolve(&prepared_ref(name))?;
    let prepared = prepared.map_or("HEAD".to_owned(), |p| p.to_string());
    if changes(&here, "HEAD")?.is_empty() {
        return Ok(());
    }
    let mut files = changes(&here, &prepared)?;
    if files.is_empty() {
        return Ok(());
    }
    files.truncate(20);
    Err(
        Error::new("the folder has changes that the tool did not make")
            .at(tree, None)
            .detail(files.join("\n"))
            .help(format!(
                "copy them into {name}/; keep them: git -C {shown} diff {prepared} > \
                 my.diff\nthen drop them: git -C {shown} reset --hard"
            )),
    )
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
        let postings = [crate::versions::postings::tests::posting(1, &["a: b"])];
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
    fn other_revision_is_named() {
        let posted = old(r#"{"series": {"revision": 2, "change-id": "c"}}"#);
        let dir = Path::new("/kernel");
        let git = Git::new(&crate::sys::runner::System, dir);
        let of = |version, postings: &[Posting]| {
            other_revision(&git, &series(version), postings, &posted).map(|e| e.to_string())
        };
        insta::assert_snapshot!(of(1, &[]).unwrap(), @r"
        series/x.toml:1: b4 is at v2 of x, but the manifest has version = 1
          help: if b4 posted v1, record it: `cargo series posted x`;
                an older state of the series can be assembled, but not sent;
                if nothing was posted, delete b4's branch: git -C /kernel update-ref -d refs/heads/b4/x
        ");
        assert_eq!(of(2, &[]), None);
        // What was recorded without b4.
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
    fn passing_headers_are_not_compared() {
        let mail =
            "From: A <a@b>\nMessage-Id: <1@b>\nX-B4-Tracking: v=1;\n b=xy\nTo: C <c@d>\n\nText\n";
        assert_eq!(
            lasting(mail.as_bytes()),
            "From: A <a@b>\nTo: C <c@d>\n\nText\n"
        );
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(
            first_difference("a\nb\n", "a\n").unwrap(),
            "- b\n+ (the end)"
        );
    }

    #[test]
    fn begun_changelog_is_b4s() {
        let text = "Title\n\nText\n---\nChanges in v1:\n- First.\n";
        let begun = "Title\n\nText\n---\nChanges in v2:\n- EDITME: say what\n- Link to v1: x\n\nChanges in v1:\n- First.\n";
        assert_eq!(cover_lines(text), cover_lines(begun));
        assert_ne!(
            cover_lines(text),
            cover_lines(&text.replace("Text", "Other"))
        );
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
