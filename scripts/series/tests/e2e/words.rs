// SPDX-License-Identifier: GPL-2.0

//! Invalid names, recipients, prefixes, titles and texts are reported with file and line, before git
//! or b4 can misread them.

use std::{fs, path::Path};

use series::{
    mail::mailbox::{self, Mail},
    source::message,
};

use crate::{mail::with_b4, mini::Mini};

/// A manifest with invalid words is refused with file and line, and nothing is assembled.
#[test]
fn manifest_words_errors_name_lines() {
    let mini = Mini::new();
    mini.replace(
        "series/list.toml",
        "20260102-list-0123456789ab",
        "../../heads/x y",
    );
    mini.replace(
        "series/list.toml",
        "to = [\"List <list@example.org>\"]",
        "to = [\n\t\"L <l@x.org>\\nX-Injected: yes\",\n\t\"not an address\",\n]\ncc = [\"a@b.org, c@d.org\"]\nprefix = \"PATCH v2\"",
    );
    mini.replace(
        "series/other.toml",
        "to = [\"List <list@example.org>\"]",
        "to = []",
    );
    let text = mini.error(&["assemble"]);
    insta::assert_snapshot!("manifest_words", text);
    mini.replace(
        "series/list.toml",
        &mini.read("series/list.toml"),
        &mini.read("series/buddy.toml"),
    );
    mini.file("ws/series/a b~c.toml", "version = 1\n");
    let text = mini.error(&["check"]);
    insta::assert_snapshot!("series_name", text);
    assert!(!mini.ws("out/list").exists());
}

#[test]
fn missing_recipients_and_equal_ids() {
    let mini = Mini::new();
    mini.replace(
        "series/other.toml",
        "to = [\"List <list@example.org>\"]",
        "to = []",
    );
    mini.replace("series/other.toml", "20260102-other", "20260102-list");
    insta::assert_snapshot!("missing_recipients", mini.error(&["assemble"]));
}

#[test]
fn mail_breaking_texts_are_refused() {
    let mini = Mini::new();
    mini.file(
        "ws/series/list/1.msg",
        "[RFC] rust: list: EDITME\n\nFrom: Somebody <s@example.org>\n\
         From x@y.org Mon Nov 30 10:00:00 2026\n-- >8 --\ndiff -u a b\n--- a/file\n\n\nend \n",
    );
    mini.file(
        "ws/cover-letters/buddy.md",
        "# *** SUBJECT HERE ***\n\nText.\nFrom here on it breaks.\n-- \n",
    );
    mini.replace(
        "series/other.toml",
        "[[patch]]",
        "[provenance]\ntext = \"EDITME\"\nlinks = [\"x\\ny\"]\n\n[[patch]]",
    );
    insta::assert_snapshot!("texts", mini.error(&["assemble"]));
    let mini = Mini::new();
    mini.replace(
        "cover-letters/list.md",
        "# rust: list: add it",
        "# *** SUBJECT HERE ***",
    );
    mini.replace(
        "cover-letters/list.md",
        "Drivers",
        "From here on it breaks.\nDrivers",
    );
    insta::assert_snapshot!("cover", mini.error(&["assemble"]));
    let mini = Mini::new();
    mini.replace(
        "list/CHANGELOG.md",
        "- First",
        "- -- >8 --\nFrom the first\n- First",
    );
    insta::assert_snapshot!("changelog", mini.error(&["assemble"]));
}

/// Lines for the text of a message, valid and invalid.
const LINES: &[&str] = &[
    "From x@y.org Mon Nov 30 10:00:00 2026",
    ">From x@y.org Mon Nov 30 10:00:00 2026",
    " From x@y.org Mon Nov 30 10:00:00 2026",
    "From here on",
    "from here on",
    "From: here on",
    "-- >8 --",
    "-- >8 -- cut here -- >8 --",
    "---------- 8< ----------",
    "    - - - %< - - -",
    "->8-",
    "if (a >8 - b)",
    "x >8 and 9< y",
    "---",
    "--- ",
    "--- a/file",
    "---a",
    "-----",
    "    --- a/file",
    "-- ",
    "--",
    "diff --git a/x b/x",
    "diff -u x y",
    "different",
    "    diff --git a/x b/x",
    "Index: x",
    "Index of it",
    "Subject: x",
    "[PATCH] x",
    "[a: remark]",
    "# a heading",
    "+a",
    "@@ -1 +1 @@",
    "Ünï \u{65e5}\u{672c}",
    "tab\there",
    "blank at the end ",
    "bell \u{7}",
    "Signed: nobody",
    "Cc: A <a@b.org>",
    "\"quoted\" \\ and 100%",
];

/// Titles, valid and invalid.
const TITLES: &[&str] = &[
    "[RFC] a: b",
    "Re: a: b",
    "re: a: b",
    ": a: b",
    "a:  b",
    "a: b\tc",
    "a: [b] c",
    "a: b: \u{fc}",
    "a: \"b\" <c>",
    "a: 50%",
    "real: b",
];

/// Commits each message, creates mails, and applies them elsewhere with `git am`. Returns the
/// messages of the resulting commits.
fn through_git_am(mini: &Mini, messages: &[String], scissors: &str) -> Vec<String> {
    mini.file(
        "home/.gitconfig",
        "[user]\n\tname = Dev Eloper\n\temail = dev@example.org\n",
    );
    let (from, to) = (mini.path("from"), mini.path("to"));
    for dir in [&from, &to] {
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(dir).unwrap();
        mini.git(dir, &["init", "--quiet"]);
        mini.git(dir, &["commit", "--quiet", "--allow-empty", "-m", "start"]);
    }
    for (i, text) in messages.iter().enumerate() {
        fs::write(from.join(format!("f{i}")), "x\n").unwrap();
        fs::write(mini.path("text"), text).unwrap();
        mini.git(&from, &["add", "--all"]);
        let file = mini.path("text");
        let file = file.to_str().unwrap();
        mini.git(
            &from,
            &["commit", "--quiet", "--cleanup=verbatim", "-F", file],
        );
    }
    let range = format!("HEAD~{}", messages.len());
    let mbox = mini.git(
        &from,
        &["format-patch", "--stdout", "--suffix=.patch", &range],
    );
    fs::write(mini.path("mbox"), mbox + "\n").unwrap();
    let mut command = std::process::Command::new("git");
    mini.isolate(&mut command);
    let _ = command
        .args(["-c", "commit.gpgsign=false", "am", "--quiet", scissors])
        .arg(mini.path("mbox"))
        .current_dir(&to)
        .output();
    let log = mini.git(&to, &["log", "--reverse", "-z", "--format=%B", ":/start.."]);
    log.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn accepted_text_survives_git_am() {
    let mini = Mini::new();
    let messages: Vec<String> = LINES
        .iter()
        .flat_map(|line| {
            [
                format!("a: b\n\n{line}\nText.\n"),
                format!("a: b\n\nText.\n\n{line}\n\nText.\n"),
            ]
        })
        .chain(TITLES.iter().map(|title| format!("{title}\n\nText.\n")))
        .collect();
    let (good, bad): (Vec<String>, Vec<String>) = messages
        .into_iter()
        .partition(|m| message::faults(m).is_empty());
    assert!(
        good.len() > 40 && bad.len() > 30,
        "{} and {}",
        good.len(),
        bad.len()
    );
    for scissors in ["--scissors", "--no-scissors"] {
        let out = through_git_am(&mini, &good, scissors);
        for (out, meant) in out.iter().zip(&good) {
            assert_eq!(out.trim_end(), meant.trim_end());
        }
        assert_eq!(out.len(), good.len());
    }
}

#[test]
fn refused_text_breaks_git_am() {
    let mini = Mini::new();
    let breaking = [
        "a: b\n\nText.\n\nFrom x@y.org Mon Nov 30 10:00:00 2026\nMore.\n",
        "a: b\n\nText.\n-- >8 --\nMore.\n",
        "a: b\n\nText.\n---\nMore.\n",
        "a: b\n\nText.\nIndex: x\nMore.\n",
        "a: b\n\nSubject: x\nMore.\n",
        "[RFC] a: b\n\nText.\n",
        "re: a: b\n\nText.\n",
        "a: b\n\nText. \nMore.\n",
    ];
    let fine = "a: b\n\nText.\n";
    assert_eq!(
        through_git_am(&mini, &[fine.to_owned()], "--scissors"),
        [fine]
    );
    for text in breaking {
        assert!(!message::faults(text).is_empty(), "{text}");
        let out = through_git_am(&mini, &[text.to_owned()], "--scissors");
        assert_ne!(out, [text], "{text}");
    }
}

/// The headers of a mail, folded lines joined.
fn header(mail: &str, name: &str) -> String {
    let (head, _) = mail.split_once("\n\n").unwrap();
    let joined = head.replace("\n ", " ");
    let line = joined.lines().find(|l| l.starts_with(name));
    line.unwrap_or_default().to_owned()
}

fn read(mini: &Mini, below: &str) -> Mail {
    mailbox::read(mini.read(below).as_bytes())
        .unwrap()
        .remove(0)
}

#[test]
fn cover_letter_headers_match_git() {
    let mini = Mini::new();
    let people = [
        ("J\u{f6}rg, Dev", "non-ASCII and a comma"),
        ("Dev, Eloper", "a comma"),
        ("D. Eloper", "a full stop"),
        ("Dev \\\"X\\\" Eloper", "quotes"),
    ];
    mini.replace("cover-letters/list.md", "add it", "add \u{fc}ber");
    mini.replace(
        "series/list.toml",
        "\"List <list@example.org>\"",
        "'\"Doe, J\u{f6}\" <jd@example.org>', 'B\u{e9} <b@example.org>'",
    );
    for (name, what) in people {
        mini.file(
            "home/.gitconfig",
            &format!("[user]\n\tname = \"{name}\"\n\temail = dev@example.org\n"),
        );
        mini.good(&["assemble"]);
        let cover = mini.read("out/list/v1/0000-cover-letter.patch");
        let patch = mini.read("out/list/v1/0001-rust-list-add-a-walk.patch");
        assert_eq!(header(&cover, "From: "), header(&patch, "From: "), "{what}");
        let (head, _) = cover.split_once("\n\n").unwrap();
        assert!(head.is_ascii(), "{head}");
        let mail = read(&mini, "out/list/v1/0000-cover-letter.patch");
        assert_eq!(mail.from.email, "dev@example.org", "{what}");
        assert_eq!(mail.subject, "[PATCH 0/2] rust: list: add \u{fc}ber");
        assert_eq!(mail.addresses("To"), ["jd@example.org", "b@example.org"]);
    }
}

#[test]
fn recipients_and_prefix_reach_b4() {
    let mini = Mini::new();
    mini.replace(
        "series/list.toml",
        "to = [\"List <list@example.org>\"]",
        "to = ['\"Doe, J\u{f6}\" <jd@example.org>', 'plain@example.org']\ncc = ['D. Eloper <d@example.org>']\nprefix = \"PATCH net-next\"",
    );
    let ran = with_b4(&mini, mini.command(&["prepare", "list"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for file in ran.stdout.lines() {
        let mail = read(&mini, file);
        assert!(
            mail.subject.starts_with("[PATCH net-next "),
            "{}",
            mail.subject
        );
        assert_eq!(
            mail.addresses("To"),
            ["jd@example.org", "plain@example.org"]
        );
        assert!(mail.addresses("Cc").contains(&"d@example.org".to_owned()));
    }
}

#[test]
fn misread_message_is_found_in_mail() {
    // The proof of the mails catches damage that the rules for messages would miss.
    let dir = tempfile::tempdir().unwrap();
    let mini = Mini::new();
    mini.good(&["assemble"]);
    let kernel = mini.path("cache/kernel");
    let runner = series::sys::runner::System;
    let git = series::git::Git::new(&runner, &kernel);
    let mbox = fs::read(mini.ws("out/list/v1.mbox")).unwrap();
    let who = [(); 2].map(|()| mailbox::person("Dev Eloper <dev@example.org>"));
    let read = |mbox: &[u8], below: &Path| {
        series::mail::received::read(&git, mbox, &dir.path().join(below)).unwrap()
    };
    let meant = read(&mbox, Path::new("a"));
    let messages: Vec<String> = meant.iter().map(|m| m.message.clone()).collect();
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    let says = |mbox: &[u8], below: &str| {
        series::mail::received::difference(&read(mbox, Path::new(below)), &messages, &who)
    };
    assert_eq!(says(&mbox, "b"), None);
    let changed = |from: &str, to: &str| {
        String::from_utf8(mbox.clone())
            .unwrap()
            .replacen(from, to, 1)
    };
    let cut = changed("Drivers need", "-- >8 --\nDrivers need");
    assert!(says(cut.as_bytes(), "c").is_none());
    let cut = changed("no other way.\n", "no other way.\n-- >8 --\n");
    assert!(
        says(cut.as_bytes(), "d")
            .unwrap()
            .1
            .contains("`git am` reads")
    );
    let split = changed(
        "no other way.\n",
        "no\n\nFrom x@y.org Mon Nov 30 10:00:00 2026\nway.\n",
    );
    assert_eq!(
        says(split.as_bytes(), "e").unwrap().1,
        "git finds 3 mails instead of 2"
    );
    let other = changed("From: Dev Eloper", "From: Another");
    assert!(
        says(other.as_bytes(), "f")
            .unwrap()
            .1
            .contains("Another <dev@example.org> as the author")
    );
}
