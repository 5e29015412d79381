// SPDX-License-Identifier: GPL-2.0

//! Settings for calls of git. They override the settings of the user, except where these matter.

use std::{path::Path, sync::OnceLock};

use crate::sys::{Cmd, Error, Result, Runner, runner::quote};

type Setting = (String, String);

/// Returns the user's settings whose names match a regular expression, from all files and variables
/// that git reads in `dir`. The last value of a name counts.
pub fn user_settings(runner: &dyn Runner, dir: &Path, names: &str) -> Result<Vec<Setting>> {
    let mut cmd = Cmd::new("git")
        .args(["config", "-z", "--get-regexp", names])
        // If a git hook runs the tool, git has set the repository and more.
        .without("GIT_")
        .env("LC_ALL", "C.UTF-8")
        .dir(dir);
    for (key, value) in std::env::vars_os() {
        if key.as_encoded_bytes().starts_with(b"GIT_CONFIG_") {
            cmd = cmd.env(key, value);
        }
    }
    let out = runner.run(&cmd)?;
    match out.code {
        Some(0) => Ok(parse_settings(&out.stdout)),
        // No setting matches.
        Some(1) => Ok(Vec::new()),
        _ => Err(Error::new("git cannot read your configuration")
            .detail(out.complaint())
            .help("repair it; `git config --list --show-origin` has to work")),
    }
}

/// Parses the output of `git config -z`: a name, a newline, a value.
pub fn parse_settings(text: &[u8]) -> Vec<Setting> {
    let text = String::from_utf8_lossy(text);
    let all = text.split('\0').filter(|s| !s.is_empty());
    let all = all.map(|s| s.split_once('\n').unwrap_or((s, "true")));
    all.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The user's `safe.directory` values: repositories of other users that git may use.
static TRUSTED: OnceLock<Vec<String>> = OnceLock::new();

/// Reads the `safe.directory` values. Like git, ignores the configuration of the repository.
pub fn read_trusted(runner: &dyn Runner, dir: &Path) -> Result<()> {
    let settings = user_settings(runner, dir, "^safe\\.directory$")?;
    // The values do not change during a run.
    let _ = TRUSTED.set(settings.into_iter().map(|(_, folder)| folder).collect());
    Ok(())
}

/// Git clears the environment of the other side of a fetch, so `safe.directory` is an argument.
pub fn upload_pack() -> String {
    let trusted = TRUSTED.get().into_iter().flatten();
    let options = trusted.map(|dir| format!("-c {} ", quote(&format!("safe.directory={dir}"))));
    format!("git {}upload-pack", options.collect::<String>())
}

/// Settings that change the output of git or b4. The environment passes them to git, also when b4
/// calls it. `b4::configure` writes them into the tool's repository as well, because the user runs
/// b4 there to post.
const PINNED: &str = "
    color.ui=false color.diff=false color.branch=false color.status=false color.grep=false
    color.decorate=false color.showbranch=false
    core.abbrev=12 core.attributesfile=/dev/null core.autocrlf=false core.bigfilethreshold=512m
    core.eol=lf core.fsmonitor=false core.quotepath=true core.splitindex=false
    core.untrackedcache=false core.usereplacerefs=false core.whitespace=
    diff.algorithm=histogram diff.colormoved=no diff.context=3 diff.ignoresubmodules=none
    diff.indentheuristic=true diff.interhunkcontext=0 diff.mnemonicprefix=false diff.noprefix=false
    diff.orderfile=/dev/null diff.relative=false diff.renamelimit=1000 diff.renames=true
    diff.srcprefix=a/ diff.dstprefix=b/ diff.statgraphwidth=0 diff.statnamewidth=0
    diff.submodule=short diff.suppressblankempty=false diff.wserrorhighlight=none
    format.attach= format.encodeemailheaders=true format.filenamemaxlength=64
    format.forceinbodyfrom=false format.from=false format.mboxrd=false format.notes=false
    format.pretty=medium format.signoff=false format.subjectprefix=PATCH format.useautobase=false
    i18n.commitencoding=UTF-8 i18n.logoutputencoding=UTF-8 log.date=default log.decorate=false
    log.follow=false log.mailmap=false log.showsignature=false mailmap.file=/dev/null mailmap.blob=
";

/// Settings for calls by the tool only. The user may need other values in the repository, and may
/// have a bare repository.
const OWN: &str = "
    advice.detachedhead=false apply.ignorewhitespace=no apply.whitespace=nowarn
    commit.gpgsign=false core.excludesfile=/dev/null core.hookspath=/dev/null gc.auto=0
    maintenance.auto=false safe.barerepository=all tar.umask=0022
";

fn settings(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split_whitespace().filter_map(|s| s.split_once('='))
}

pub fn pinned<'a>() -> impl Iterator<Item = (&'a str, &'a str)> {
    settings(PINNED)
}

/// Lets git read its repository's configuration, overridden by ours, and no `GIT_*` variable.
pub fn isolated(cmd: Cmd) -> Cmd {
    let trusted = TRUSTED.get().into_iter().flatten();
    let trusted = trusted.map(|dir| ("safe.directory", dir.as_str()));
    let settings: Vec<_> = pinned().chain(settings(OWN)).chain(trusted).collect();
    let mut cmd = cmd
        .without("GIT_")
        // git formats diffstats for a terminal of this width.
        .env_remove("COLUMNS")
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (i, (key, value)) in settings.into_iter().enumerate() {
        cmd = cmd
            .env(format!("GIT_CONFIG_KEY_{i}"), key)
            .env(format!("GIT_CONFIG_VALUE_{i}"), value);
    }
    cmd
}
