// SPDX-License-Identifier: GPL-2.0

//! A workspace for posting series: the miniature workspace, b4, and a mail program that keeps the
//! mails.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use series::mail::mailbox::{self, Mail};

use crate::{
    mail::b4_folder,
    mini::{Mini, Ran},
};

/// The public commit of the miniature release; only its form matters.
pub const PUBLIC: &str = "1111111111111111111111111111111111111111";

/// A replacement of the mail program, which writes a file for each mail.
const SPOOL: &str = r#"#!/bin/sh
n=$(ls "$SPOOL" | wc -l)
cat >"$SPOOL/$(printf %03d "$n").eml"
"#;

const MM: &str = "
[[patch]]
message = \"1.msg\"
files = [\"mm.rs\"]
edits = [\"1.diff\"]
";

/// The expected mails of a series.
pub struct Wanted<'a> {
    pub subjects: &'a [&'a str],
    /// The trailers for programs, without patch ids.
    pub trailers: &'a [&'a str],
    /// The number of prerequisite patch ids.
    pub ids: usize,
}

pub struct Stage {
    pub mini: Mini,
}

impl Stage {
    pub fn new() -> Self {
        let mini = Mini::with(&[
            ("scripts/checkpatch.pl", 0o755, "#!/usr/bin/perl\nexit 0;\n"),
            (".rustfmt.toml", 0o644, ""),
        ]);
        mini.replace(
            "series/base.toml",
            "version",
            &format!("upstream-commit = \"{PUBLIC}\"\nversion"),
        );
        mini.series("mm", &["buddy"], MM);
        mini.overlay("mm", "mm.rs", "//! Memory.\n");
        mini.edit(
            "mm",
            "1.diff",
            "lib.rs",
            " mod alpha;\n mod buddy;\n mod list;\n+mod mm;\n mod omega;\n",
            (4, 5),
        );
        mini.message("mm", "1.msg", "gpu: mm: add memory management");
        // b4 obeys git's settings for signed tags, and the test has no key.
        mini.file(
            "home/.gitconfig",
            "[user]\n\tname = Dev Eloper\n\temail = dev@example.org\n",
        );
        mini.file("bin/spool", SPOOL);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(mini.path("bin/spool"), mode).unwrap();
        Self { mini }
    }

    pub fn with_b4(&self, mut command: Command) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", b4_folder().display()));
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        let output = self.with_b4(self.mini.command(args)).output().unwrap();
        self.mini.ran(output)
    }

    pub fn good(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{args:?}:\n{}{}", ran.stdout, ran.stderr);
        ran
    }

    /// Returns the error of a run that has to fail as expected.
    pub fn error(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(1), "{args:?}:\n{}{}", ran.stdout, ran.stderr);
        let at = ran.stderr.find("error: ").unwrap();
        ran.stderr[at..].to_owned()
    }

    /// Posts a series with the command that `send` prints, and returns the mails.
    pub fn post(&self, name: &str) -> Vec<Mail> {
        let ran = self.good(&["prepare", name]);
        let lines: Vec<&str> = ran.stderr.lines().collect();
        let at = lines.iter().position(|l| *l == "To post the series:");
        let line = lines[at.unwrap() + 1].trim();
        let dir = self.mini.path("");
        let line = line.replace("DIR", dir.to_str().unwrap().trim_end_matches('/'));
        let spool = self.mini.path(&format!("spool-{name}"));
        let _ = fs::remove_dir_all(&spool);
        fs::create_dir(&spool).unwrap();
        let mut command = Command::new("sh");
        self.mini.isolate(&mut command);
        let mut child = self
            .with_b4(command)
            .args(["-c", &line])
            .env("SPOOL", &spool)
            .env("GIT_CONFIG_COUNT", "2")
            .env("GIT_CONFIG_KEY_0", "sendemail.sendmailcmd")
            .env("GIT_CONFIG_VALUE_0", self.mini.path("bin/spool"))
            .env("GIT_CONFIG_KEY_1", "b4.send-no-patatt-sign")
            .env("GIT_CONFIG_VALUE_1", "yes")
            .current_dir(self.mini.ws(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"\n\n\n").unwrap();
        let ran = self.mini.ran(child.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(0), "{line}:\n{}{}", ran.stdout, ran.stderr);
        let mut files: Vec<_> = fs::read_dir(&spool)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        files.sort();
        files
            .iter()
            .map(|f| mailbox::read(&fs::read(f).unwrap()).unwrap().remove(0))
            .collect()
    }

    /// Verifies mails as a maintainer receives them.
    pub fn look(&self, mails: &[Mail], wanted: &Wanted<'_>) {
        let subjects: Vec<&str> = mails.iter().map(|m| m.subject.as_str()).collect();
        assert_eq!(subjects, wanted.subjects);
        let cover = &mails[0];
        let trailers: Vec<&str> = cover
            .body
            .lines()
            .filter(|l| {
                ["base-commit:", "change-id:", "prerequisite-"]
                    .iter()
                    .any(|k| l.starts_with(k))
            })
            .collect();
        let (ids, others): (Vec<&str>, Vec<&str>) = trailers
            .iter()
            .copied()
            .partition(|l| l.starts_with("prerequisite-patch-id: "));
        assert_eq!(others, wanted.trailers, "{}", cover.body);
        assert_eq!(ids.len(), wanted.ids, "{}", cover.body);
        let mut once = ids.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), ids.len(), "{}", cover.body);
        for mail in &mails[1..] {
            assert_eq!(mail.in_reply_to.as_deref(), Some(cover.id.as_str()));
            assert!(mail.body.contains("Signed-off-by: "), "{}", mail.body);
        }
        assert!(!cover.body.contains("EDITME"), "{}", cover.body);
    }

    pub fn manifest_has(&self, name: &str, line: &str) {
        let manifest = self.mini.read(&format!("series/{name}.toml"));
        assert!(manifest.lines().any(|l| l == line), "{manifest}");
    }

    pub fn cover(&self, name: &str, version: u32) -> String {
        self.mini
            .read(&format!("out/{name}/v{version}/0000-cover-letter.patch"))
    }
}

impl Stage {
    /// Runs `b4 prep --show-info`; returns its output, and whether it succeeded.
    pub fn try_info(&self, name: &str) -> (bool, String) {
        let mut command = Command::new("b4");
        self.mini.isolate(&mut command);
        let ran = self
            .with_b4(command)
            .args(["prep", "--show-info", &format!("b4/{name}")])
            .current_dir(self.mini.path(&format!("cache/send/{name}")))
            .output()
            .unwrap();
        let ran = self.mini.ran(ran);
        (ran.code == Some(0), format!("{}{}", ran.stdout, ran.stderr))
    }

    pub fn info(&self, name: &str) -> String {
        let (ok, said) = self.try_info(name);
        assert!(ok, "{said}");
        said
    }

    /// Changes the dates of b4's branch to more than a year ago.
    pub fn age(&self, name: &str) {
        let kernel = self.mini.path("cache/kernel");
        let branch = format!("b4/{name}");
        let git = |args: &[&str]| self.mini.git(&kernel, args);
        let count = 3;
        let mut commits: Vec<String> = (0..count)
            .map(|n| git(&["rev-parse", &format!("{branch}~{n}")]))
            .collect();
        commits.reverse();
        let mut parent = git(&["rev-parse", &format!("{branch}~{count}")]);
        for commit in commits {
            let body = git(&["cat-file", "commit", &commit]);
            let old: Vec<String> = body
                .split('\n')
                .map(|l| match l.split_once(' ') {
                    Some(("parent", _)) => format!("parent {parent}"),
                    Some(("author" | "committer", _)) if l.contains('>') => {
                        let (who, _) = l.rsplit_once("> ").unwrap();
                        format!("{who}> 1700000000 +0000")
                    }
                    _ => l.to_owned(),
                })
                .collect();
            self.mini.file("aged", &old.join("\n"));
            let file = self.mini.path("aged");
            parent = git(&["hash-object", "-t", "commit", "-w", file.to_str().unwrap()]);
        }
        git(&["update-ref", &format!("refs/heads/{branch}"), &parent]);
    }
}

pub fn link(mails: &[Mail]) -> String {
    format!("https://patch.msgid.link/{}", mails[0].id)
}

/// Returns the change-id of a series.
pub fn change_id(name: &str) -> String {
    format!("change-id: 20260102-{name}-0123456789ab")
}

/// Removes the parts that differ in each run: dates and random parts of message ids.
pub fn without_ids(text: &str) -> String {
    let id = regex::Regex::new(r"\d{8}-(\w+)-v(\d)-(\d)-[0-9a-f]{12}@").unwrap();
    id.replace_all(text, "DATE-$1-v$2-$3-RANDOM@").into_owned()
}
