// SPDX-License-Identifier: GPL-2.0

//! Applies the mailboxes as a maintainer does, with git and b4, without a network. Each series alone,
//! and all series in every order that the dependencies allow, have to give the recorded trees.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{mail::b4_folder, mini::Mini};

/// The series with their dependencies. `soft` needs `list` only to build.
const SERIES: [(&str, &[&str]); 5] = [
    ("list", &[]),
    ("buddy", &["list"]),
    ("mm", &["buddy", "list"]),
    ("other", &[]),
    ("soft", &["list"]),
];

const ONE_PATCH: &str = "
[[patch]]
message = \"1.msg\"
edits = [\"1.diff\"]
";

const ONE_FILE: &str = "
[[patch]]
message = \"1.msg\"
files = [\"soft.rs\"]
";

/// The way in which a maintainer applies mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// `git am` of the mailbox.
    GitAm,
    /// `b4 am`, and `git am` of its output.
    B4Am,
    /// `b4 shazam`.
    Shazam,
}

/// The source of the mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mails {
    /// `v1.mbox`: the patches.
    Mbox,
    /// The files of `v1/`, with the cover letter.
    Patches,
    /// The mails that b4 creates when it sends the series.
    Sent,
    /// `v1.with-deps.mbox`.
    WithDeps,
}

/// Creates a workspace with all series assembled.
fn workspace() -> Mini {
    let mini = Mini::new();
    mini.series("mm", &["buddy"], ONE_PATCH);
    mini.edit(
        "mm",
        "1.diff",
        "lib.rs",
        " mod alpha;\n mod buddy;\n mod list;\n+mod mm;\n mod omega;\n",
        (4, 5),
    );
    mini.message("mm", "1.msg", "gpu: mm: add memory management");
    mini.series("soft", &["list"], ONE_FILE);
    mini.overlay("soft", "soft.rs", "use crate::list;\n");
    mini.message("soft", "1.msg", "rust: soft: add a user of lists");
    // `b4 shazam` obeys git's settings for signing, and the test has no key.
    mini.file(
        "home/.gitconfig",
        "[user]\n\tname = Main Tainer\n\temail = main@example.org\n",
    );
    mini.good(&["assemble"]);
    mini
}

fn with_b4(command: &mut Command) {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", b4_folder().display()));
}

/// Creates a mailbox from single mails, as the archive of a list does.
fn mailbox(mini: &Mini, name: &str, mails: &[String]) -> PathBuf {
    let mut text = String::new();
    for mail in mails {
        if !mail.starts_with("From ") {
            text += "From mboxrd@z Thu Jan  1 00:00:00 1970\n";
        }
        text += mail.trim_end();
        text += "\n\n";
    }
    mini.file(name, &text);
    mini.path(name)
}

/// Returns the contents of these files in the order of their names.
fn contents(dir: &Path) -> Vec<String> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    let texts = paths.iter().map(|p| fs::read_to_string(p).unwrap());
    texts.collect()
}

fn mails(mini: &Mini, name: &str, which: Mails) -> PathBuf {
    match which {
        Mails::Mbox => mini.ws(&format!("out/{name}/v1.mbox")),
        Mails::WithDeps => mini.ws(&format!("out/{name}/v1.with-deps.mbox")),
        Mails::Patches => {
            let files = contents(&mini.ws(&format!("out/{name}/v1")));
            mailbox(mini, &format!("{name}.mbox"), &files)
        }
        Mails::Sent => {
            let mut command = mini.command(&["prepare", name]);
            with_b4(&mut command);
            let ran = mini.ran(command.output().unwrap());
            assert_eq!(ran.code, Some(0), "{}", ran.stderr);
            let files = contents(&mini.ws(&format!("out/{name}/v1-mails")));
            mailbox(mini, &format!("{name}-sent.mbox"), &files)
        }
    }
}

/// Runs b4 in a clone, with an unreachable address for lore.
fn b4(mini: &Mini, dir: &Path, args: &[&str]) -> (bool, String) {
    let mut command = Command::new(b4_folder().join("b4"));
    mini.isolate(&mut command);
    let out = command
        .args([
            "--offline-mode",
            "-c",
            "b4.midmask=http://localhost:9/all/%s",
        ])
        .args(args)
        .env("XDG_CACHE_HOME", mini.path("b4-cache"))
        .env("XDG_DATA_HOME", mini.path("b4-data"))
        .current_dir(dir)
        .output()
        .unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8(text).unwrap())
}

/// Applies a mailbox; the error is the output of git or b4.
fn apply(mini: &Mini, dir: &Path, how: How, mbox: &Path) -> Result<(), String> {
    let mbox = mbox.to_str().unwrap();
    match how {
        How::GitAm => git_am(mini, dir, mbox),
        How::B4Am => {
            let made = mini.path("made");
            let into = made.to_str().unwrap();
            let (good, said) = b4(mini, dir, &["am", "-m", mbox, "-o", into, "-n", "x"]);
            assert!(
                good && !said.contains("WARNING") && !said.contains("ERROR"),
                "{said}"
            );
            git_am(mini, dir, made.join("x.mbx").to_str().unwrap())
        }
        How::Shazam => match b4(mini, dir, &["shazam", "-m", mbox]) {
            (true, said) if said.contains("WARNING") || said.contains("ERROR") => panic!("{said}"),
            (true, _) => Ok(()),
            (false, said) => Err(said),
        },
    }
}

fn git_am(mini: &Mini, dir: &Path, mbox: &str) -> Result<(), String> {
    let mut command = Command::new("git");
    mini.isolate(&mut command);
    let out = command
        .args(["am", mbox])
        .current_dir(dir)
        .output()
        .unwrap();
    match out.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8([out.stdout, out.stderr].concat()).unwrap()),
    }
}

fn tree(mini: &Mini, dir: &Path) -> String {
    mini.git(dir, &["rev-parse", "HEAD^{tree}"])
}

fn recorded(mini: &Mini, name: &str) -> String {
    let report = mini.series_report(name);
    report["tip"]["tree"].as_str().unwrap().to_owned()
}

/// Returns a clone with the dependencies of a series applied.
fn below(mini: &Mini, name: &str) -> PathBuf {
    let dir = mini.pristine("clone");
    let needs = SERIES.iter().find(|(n, _)| *n == name).unwrap().1;
    for (name, _) in SERIES.iter().filter(|(n, _)| needs.contains(n)) {
        apply(mini, &dir, How::GitAm, &mails(mini, name, Mails::Mbox)).unwrap();
    }
    dir
}

/// Applies each series alone to its declared dependencies.
fn alone(ways: &[(How, Mails)]) {
    let mini = workspace();
    for (name, _) in SERIES {
        let dir = below(&mini, name);
        let start = mini.git(&dir, &["rev-parse", "HEAD"]);
        let mut made = BTreeMap::new();
        for (how, which) in ways {
            let mbox = made
                .entry(format!("{which:?}"))
                .or_insert_with(|| mails(&mini, name, *which));
            mini.git(&dir, &["reset", "--quiet", "--hard", &start]);
            apply(&mini, &dir, *how, mbox)
                .unwrap_or_else(|e| panic!("{name} {how:?} {which:?}: {e}"));
            assert_eq!(
                tree(&mini, &dir),
                recorded(&mini, name),
                "{name} {how:?} {which:?}"
            );
        }
        fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn mailbox_gives_recorded_tree() {
    alone(&[
        (How::GitAm, Mails::Mbox),
        (How::B4Am, Mails::Mbox),
        (How::Shazam, Mails::Mbox),
    ]);
}

#[test]
fn patch_files_give_recorded_tree() {
    alone(&[(How::B4Am, Mails::Patches), (How::Shazam, Mails::Patches)]);
}

#[test]
fn sent_mails_give_recorded_tree() {
    alone(&[(How::B4Am, Mails::Sent), (How::Shazam, Mails::Sent)]);
}

#[test]
fn bundle_gives_recorded_tree_on_base() {
    let mini = workspace();
    let dir = mini.pristine("clone");
    let start = mini.git(&dir, &["rev-parse", "HEAD"]);
    for (name, _) in SERIES {
        for how in [How::GitAm, How::B4Am, How::Shazam] {
            mini.git(&dir, &["reset", "--quiet", "--hard", &start]);
            apply(&mini, &dir, how, &mails(&mini, name, Mails::WithDeps)).unwrap();
            assert_eq!(tree(&mini, &dir), recorded(&mini, name), "{name} {how:?}");
        }
    }
}

/// Returns all orders in which each series follows its dependencies.
fn orders() -> Vec<Vec<&'static str>> {
    fn go(done: &[&'static str], all: &mut Vec<Vec<&'static str>>) {
        if done.len() == SERIES.len() {
            all.push(done.to_vec());
        }
        for (name, needs) in SERIES {
            if !done.contains(&name) && needs.iter().all(|n| done.contains(n)) {
                go(&[done, &[name]].concat(), all);
            }
        }
    }
    let mut all = Vec::new();
    go(&[], &mut all);
    all
}

/// Applies all series in every order. The same series give the same tree in each order.
fn in_every_order(how: How) {
    let mini = workspace();
    let orders = orders();
    // list < buddy < mm, list < soft, and other anywhere: 3 places for soft, 5 for other.
    assert_eq!(orders.len(), 15);
    let dir = mini.pristine("clone");
    let start = mini.git(&dir, &["rev-parse", "HEAD"]);
    let mut trees: BTreeMap<Vec<&str>, String> = BTreeMap::new();
    for (name, needs) in SERIES {
        let mut set = [needs, &[name]].concat();
        set.sort();
        trees.insert(set, recorded(&mini, name));
    }
    let mut at: BTreeMap<Vec<&str>, String> = BTreeMap::from([(Vec::new(), start)]);
    for order in orders {
        for n in 1..=order.len() {
            // Orders share their first steps.
            let done = order[..n].to_vec();
            if at.contains_key(&done) {
                continue;
            }
            let before = &at[&done[..n - 1]];
            mini.git(&dir, &["reset", "--quiet", "--hard", before]);
            let mbox = mails(&mini, done[n - 1], Mails::Mbox);
            apply(&mini, &dir, how, &mbox).unwrap_or_else(|e| panic!("{done:?}: {e}"));
            let tree = tree(&mini, &dir);
            at.insert(done.clone(), mini.git(&dir, &["rev-parse", "HEAD"]));
            let mut set = done.clone();
            set.sort();
            assert_eq!(*trees.entry(set).or_insert(tree.clone()), tree, "{done:?}");
        }
        let all = mini.report()["all"]["tree"].as_str().unwrap().to_owned();
        assert_eq!(
            mini.git(&dir, &["rev-parse", &format!("{}^{{tree}}", at[&order])]),
            all
        );
    }
}

#[test]
fn git_am_in_every_order() {
    in_every_order(How::GitAm);
}

#[test]
fn b4_am_in_every_order() {
    in_every_order(How::B4Am);
}

#[test]
fn b4_shazam_in_every_order() {
    in_every_order(How::Shazam);
}

#[test]
fn git_refuses_missing_dependency() {
    let mini = workspace();
    let dir = mini.pristine("clone");
    let before = tree(&mini, &dir);
    for name in ["buddy", "mm"] {
        for (how, which) in [
            (How::GitAm, Mails::Mbox),
            (How::B4Am, Mails::Mbox),
            (How::Shazam, Mails::Patches),
        ] {
            let mbox = mails(&mini, name, which);
            let said = apply(&mini, &dir, how, &mbox).unwrap_err();
            assert!(said.contains("error: patch failed: lib.rs:1\n"), "{said}");
            mini.git(&dir, &["am", "--abort"]);
            assert_eq!(tree(&mini, &dir), before, "{name} {how:?}");
        }
    }
}

#[test]
fn cover_names_build_only_dependency() {
    let mini = workspace();
    let dir = mini.pristine("clone");
    let start = mini.git(&dir, &["rev-parse", "HEAD"]);
    for how in [How::GitAm, How::B4Am, How::Shazam] {
        mini.git(&dir, &["reset", "--quiet", "--hard", &start]);
        apply(&mini, &dir, how, &mails(&mini, "soft", Mails::Mbox)).unwrap();
        assert_ne!(tree(&mini, &dir), recorded(&mini, "soft"), "{how:?}");
    }
    let cover = mini.read("out/soft/v1/0000-cover-letter.patch");
    assert!(
        cover
            .contains("Dependencies (apply in this order):\n  1. [PATCH 0/2] rust: list: add it\n"),
        "{cover}"
    );
    // b4 looks for the patches that the cover letter names, but only on lore.
    mini.git(&dir, &["reset", "--quiet", "--hard", &start]);
    let mbox = mails(&mini, "soft", Mails::Patches);
    let (good, said) = b4(&mini, &dir, &["shazam", "-m", mbox.to_str().unwrap()]);
    assert!(good, "{said}");
    assert!(
        said.contains(" Deps: looking for dependencies matching 2 patch-ids\n"),
        "{said}"
    );
}
