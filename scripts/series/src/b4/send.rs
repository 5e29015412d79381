// SPDX-License-Identifier: GPL-2.0

//! Writes the mails with `b4 send --output-dir`, in a separate work tree.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;

use super::{
    settings::local_settings,
    tracking::{branch_name, head},
};
use crate::{
    git::{Git, Oid, isolated, refs, user_settings},
    sys::{
        Cmd, Error, Result, cache::Cache, files, must, pattern, plural::count, runner::quote,
        ui::Ui,
    },
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    pub mails: Vec<PathBuf>,
    /// The command that sends the mails to the user only.
    pub reflect: String,
    /// The command that posts the series.
    pub post: String,
}

/// Runs b4 to write the mails of a series to `to`, without a key, a mail server or the network. It
/// is an error if b4 would post different mails with the user's settings.
pub fn rehearse(
    git: &Git<'_>,
    cache: &Cache,
    b4: &Path,
    name: &str,
    to: &Path,
    ui: &Ui,
) -> Result<Rehearsal> {
    // Only few files are checked out there.
    let tree = cache.of_base("send").join(name);
    let tip = prepare_work_tree(git, &tree, name)?;
    let _ = std::fs::remove_dir_all(to);
    files::create(to)?;
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
    let quoted = |path: &Path| quote(&path.display().to_string());
    let (dir, branch) = (quoted(&tree), branch_name(name));
    let mut program = quoted(b4);
    if !disturbing.is_empty() {
        program = format!("env -u {} {program}", disturbing.join(" -u "));
    }
    // Another checkout may recreate the branch, but the rehearsed commits must be posted.
    let line = |send: &str| {
        format!(
            "cd {dir} && if test \"$(git rev-parse HEAD)\" = {tip}; then {program} {send}; else echo \
             'nothing was posted: {branch} changed since the rehearsal; run: cargo series prepare \
             {name}' >&2; false; fi"
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
    static HARMLESS: LazyLock<Regex> = LazyLock::new(|| {
        let mail = "ASKPASS|AUTHOR_|COMMITTER_|PROXY|SSH|SSL|TERMINAL_PROMPT";
        let others = "CONFIG_|EDITOR|EXEC_PATH|PAGER|SEQUENCE_EDITOR|TRACE";
        pattern(&format!("^GIT_(?:{mail}|{others})"))
    });
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut names: Vec<String> = names
        .filter(|n| n == "COLUMNS" || n.starts_with("GIT_") && !HARMLESS.is_match(n))
        .filter(|n| n.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()))
        .collect();
    names.sort();
    names
}

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
        let mails = files::list(to)?;
        if mails.is_empty() {
            return Err(Error::new("b4 wrote no mail").detail(out.complaint()));
        }
        Ok(mails)
    }

    /// Runs b4 again with the user's settings, as in the posting, and compares the mails.
    fn compare(&self, mails: &[PathBuf], disturbing: &[String]) -> Result<()> {
        let scratch = self.cache.scratch()?;
        let as_posted = |cmd: Cmd| disturbing.iter().fold(cmd, Cmd::env_remove);
        let posted = match self.write(as_posted, scratch.path()) {
            Ok(posted) => posted,
            Err(e) => return Err(e.detail(self.suspects()?)),
        };
        let mut difference = (mails.len() != posted.len()).then(|| {
            let posted = count(posted.len(), "mail", "mails");
            format!("{posted} instead of {}", mails.len())
        });
        for (meant, posted) in mails.iter().zip(&posted) {
            let (meant, posted) = (
                lasting(&files::read(meant)?),
                lasting(&files::read(posted)?),
            );
            difference = difference.or_else(|| first_difference(&meant, &posted));
        }
        let Some(difference) = difference else {
            return Ok(());
        };
        let kernel = self.git.dir().display();
        let error = Error::new("with your settings, b4 would post different mails");
        let error = error.at(self.tree, None).detail(difference);
        Err(error.detail(self.suspects()?).help(format!(
            "override the setting in this repository: git -C {kernel} config NAME VALUE"
        )))
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

/// The headers that differ in every run: message ids, dates, and data that contains them.
static PASSING: LazyLock<Regex> = LazyLock::new(|| {
    let names = "date|message-id|in-reply-to|references|x-b4-tracking";
    pattern(&format!(r"(?mi)^(?:{names}):.*\n(?:[ \t].*\n)*"))
});

fn lasting(mail: &[u8]) -> String {
    let mail = String::from_utf8_lossy(mail);
    let (head, body) = mail.split_once("\n\n").unwrap_or((&mail, ""));
    let head = PASSING.replace_all(&format!("{head}\n"), "").into_owned();
    format!("{head}\n{body}")
}

fn first_difference(meant: &str, posted: &str) -> Option<String> {
    let end = || std::iter::once("(the end)");
    let (a, b) = (meant.lines().chain(end()), posted.lines().chain(end()));
    let (a, b) = a.zip(b).find(|(a, b)| a != b)?;
    Some(format!("- {a}\n+ {b}"))
}

/// Returns the files in which a work tree or its index differs from a commit.
fn changes(here: &Git<'_>, from: &str) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for cached in [&[][..], &["--cached"]] {
        let cmd = here.cmd(["diff-index", "--name-status"]).args(cached);
        let out = here.run(&cmd.args([from, "--"]))?.text();
        files.extend(out.lines().map(str::to_owned));
    }
    files.sort_unstable();
    files.dedup();
    Ok(files)
}

/// Checks out the branch of a series in its work tree. Returns the tip.
fn prepare_work_tree(git: &Git<'_>, tree: &Path, name: &str) -> Result<Oid> {
    let here = Git::new(git.runner(), tree);
    if tree.join(".git").exists() {
        refuse_other_repository(git, &here)?;
        refuse_work(&here, name)?;
    } else {
        git.must(["worktree", "prune"])?;
        let add = git.cmd(["worktree", "add", "--quiet", "--no-checkout", "--force"]);
        git.run(&add.arg(tree).arg(branch_name(name)))?;
    }
    // b4 recognizes a kernel tree by these files.
    let files = ["/Kconfig", "/MAINTAINERS"];
    here.run(
        &here
            .cmd(["sparse-checkout", "set", "--no-cone"])
            .args(files),
    )?;
    here.must(["symbolic-ref", "HEAD", &head(name)])?;
    here.must(["reset", "--hard", "--quiet"])?;
    let tip = here.resolve("HEAD")?.ok_or_else(|| {
        Error::new(format!("{} does not exist", branch_name(name))).at(here.dir(), None)
    })?;
    git.set_ref(&refs::send(name), &tip)?;
    Ok(tip)
}

/// Refuses a work tree of another repository: in a copied or moved cache, it names the old one.
fn refuse_other_repository(git: &Git<'_>, here: &Git<'_>) -> Result<()> {
    let args = ["rev-parse", "--path-format=absolute", "--git-common-dir"];
    let of = here.try_run(&here.cmd(args))?.text();
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    if of.is_empty() || real(of.as_ref()) != real(&git.dir().join(".git")) {
        let error = Error::new("belongs to the repository of another cache").at(here.dir(), None);
        let help = "the cache was copied or moved: remove this folder, and run this again";
        return Err(error.detail(of).help(help));
    }
    Ok(())
}

fn refuse_work(here: &Git<'_>, name: &str) -> Result<()> {
    let (branch, tree) = (branch_name(name), here.dir().display());
    let at = here.try_run(&here.cmd(["symbolic-ref", "--quiet", "HEAD"]))?;
    let at = at.text();
    if at != head(name) {
        let at = match at.as_str() {
            "" => "no branch",
            at => at.trim_start_matches("refs/heads/"),
        };
        let error = Error::new(format!("is on {at}, not on {branch}")).at(here.dir(), None);
        return Err(error.help(format!(
            "finish the work there, keep its commits on another branch,\n\
             and switch back: git -C {tree} switch {branch}"
        )));
    }
    // Ignore files whose date alone changed.
    here.try_run(&here.cmd(["update-index", "-q", "--refresh"]))?;
    if changes(here, "HEAD")?.is_empty() {
        return Ok(());
    }
    // The branch may have moved since, so comparing with HEAD alone is not enough.
    let prepared = here.resolve(&refs::send(name))?;
    let prepared = prepared.map_or("HEAD".to_owned(), |p| p.to_string());
    let mut files = changes(here, &prepared)?;
    if files.is_empty() {
        return Ok(());
    }
    files.truncate(20);
    let error =
        Error::new("the folder has changes that the tool did not make").at(here.dir(), None);
    Err(error.detail(files.join("\n")).help(format!(
        "copy them into {name}/; keep them: git -C {tree} diff {prepared} > my.diff\n\
         then drop them: git -C {tree} reset --hard"
    )))
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
