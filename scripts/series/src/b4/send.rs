// SPDX-License-Identifier: GPL-2.0

//! Writes the mails with `b4 send --output-dir`, in a separate work tree.

use std::path::{Path, PathBuf};

use super::{branch::branch_name, settings::local_settings};
use crate::{
    git::{Git, isolated, refs, user_settings},
    sys::{
        cache::Cache,
        error::{Error, Result},
        plural::count,
        runner::{Cmd, must},
        ui::Ui,
    },
};

/// Returns b4's work tree for a series, in which only few files are checked out.
pub fn work_tree(cache: &Cache, name: &str) -> PathBuf {
    cache.of_base("send").join(name)
}

/// Mails as b4 would send them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    pub mails: Vec<PathBuf>,
    /// The command that sends the mails to the user only.
    pub reflect: String,
    /// The command that posts the series.
    pub post: String,
}

/// Runs b4 to write the mails of a series to `to`, without a key, a mail server or the network.
///
/// # Errors
///
/// b4 failed, the user changed files in b4's work tree, or b4 would post different mails with the
/// user's settings.
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
    // Another checkout may recreate the branch, but the rehearsed commits must be posted.
    let tip = Git::new(git.runner(), &tree)
        .must(["rev-parse", "HEAD"])?
        .text();
    let line = |send: &str| {
        format!(
            "cd {} && if test \"$(git rev-parse HEAD)\" = {tip}; then {program} {send}; else echo \
             'nothing was posted: {} changed since the rehearsal; run: cargo series prepare {name}' >&2; \
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

/// Returns environment variables that change git's output or its paths. The command that posts
/// must run without them.
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
    /// Runs b4 to write the mails to `to`. `set_up` prepares the environment.
    fn write(&self, set_up: impl FnOnce(Cmd) -> Cmd, to: &Path) -> Result<Vec<PathBuf>> {
        let state = self.cache.of_base("b4-state");
        let cmd = Cmd::new(self.b4)
            .args(["-c", "b4.send-no-patatt-sign=yes"])
            // Without a mail server, b4 asks for a key. It does not connect to this server.
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

    /// Runs b4 again with the user's settings, as in the posting, and compares the mails.
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
            Error::new("with your settings, b4 would post different mails")
                .at(self.tree, None)
                .detail(difference)
                .detail(settings()?)
                .help(format!(
                    "override the setting in this repository: \
                     git -C {kernel} config NAME VALUE"
                )),
        )
    }

    /// Returns the names of the user's settings that b4 reads and the tool does not override. Omits
    /// the values, which may be secret.
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

/// Removes the headers that differ in every run: message ids, dates, and data that contains them.
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

/// Returns the first lines in which two mails differ.
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

/// Returns the files in which a work tree or its index differs from a commit.
pub(super) fn changes(here: &Git<'_>, from: &str) -> Result<Vec<String>> {
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

/// Returns the ref of the commit that was last checked out in the work tree of a series.
fn prepared_ref(name: &str) -> String {
    refs::send(name)
}

fn prepare_work_tree(git: &Git<'_>, tree: &Path, name: &str) -> Result<()> {
    let branch = branch_name(name);
    let shown = tree.display().to_string();
    if tree.join(".git").exists() {
        refuse_work(git, tree, name)?;
    } else {
        git.must(["worktree", "prune"])?;
        let args = ["worktree", "add", "--quiet", "--no-checkout", "--force"];
        must(git.runner(), &git.cmd(args).arg(&shown).arg(&branch))?;
    }
    let here = Git::new(git.runner(), tree);
    // b4 recognizes a kernel tree by these files.
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
    let head = head.ok_or_else(|| Error::new(format!("{branch} does not exist")).at(tree, None))?;
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
                "finish the work there, keep its commits on another branch,\n\
                and switch back: git -C {shown} switch {branch}"
            )));
    }
    // Ignore files whose date alone changed.
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

    #[test]
    fn lasting_drops_passing_headers() {
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
}
