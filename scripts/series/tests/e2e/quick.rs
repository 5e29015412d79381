// SPDX-License-Identifier: GPL-2.0

//! `test --filter` and `test --watch`, with programs that only look like the real ones.

use std::{
    fs,
    io::{
        BufRead,
        BufReader,
        Lines, //
    },
    process::{
        ChildStderr,
        Command,
        Stdio, //
    },
};

use crate::{
    full::{
        command,
        compiled,
        mini, //
    },
    mini::{
        Mini,
        Ran, //
    },
};

fn run(mini: &Mini, args: &[&str]) -> Ran {
    mini.ran(command(mini, args).output().unwrap())
}

/// The filters that the kernel was booted with since the last call.
fn boots(mini: &Mini) -> Vec<String> {
    let path = mini.path("boots");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let _ = fs::remove_file(path);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn filter_boots_once_without_record() {
    let mini = mini();
    let ran = run(
        &mini,
        &["test", "list", "--filter", "rust_list.walk", "--timings"],
    );
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "1 passed\n"),
        "{}",
        ran.stderr
    );
    let steps: Vec<_> = ran
        .stderr
        .lines()
        .filter_map(|l| l.split_once(" s  "))
        .collect();
    let names: Vec<_> = steps.iter().map(|(_, name)| *name).collect();
    insta::assert_snapshot!(names.join("\n"));
    assert_eq!(boots(&mini), ["rust_list.walk"]);
    assert!(!mini.ws("out/kunit").exists() && !mini.ws("out/series.json").exists());
    // The full test builds the kernel again, and boots for each series.
    assert_eq!(compiled(&mini), ["kernel"]);
    assert_eq!(run(&mini, &["test"]).code, Some(0));
    assert_eq!(compiled(&mini), ["kernel"]);
    assert_eq!(boots(&mini).len(), 3);
    let record = mini.read("out/kunit/um/list.json");
    let stamp = fs::read_to_string(mini.path("cache/build/um/series.json")).unwrap();
    // A filtered run that fails changes no record of the same tree.
    mini.overlay("list", "list/owned.rs", "//! BROKEN.\n");
    let ran = run(&mini, &["test", "--filter", "rust_*", "list"]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(mini.read("out/kunit/um/list.json"), record);
    let now = fs::read_to_string(mini.path("cache/build/um/series.json")).unwrap();
    assert_ne!(
        now, stamp,
        "the folder no longer holds the kernel of the full build"
    );
}

#[test]
fn filter_failure_is_shown() {
    let mini = mini();
    mini.overlay("list", "list/owned.rs", "//! BROKEN.\n");
    let said = |args: &[&str]| {
        let ran = run(&mini, &[&["test", "--filter"], args].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
        let at = ran.stderr.find("error: ").unwrap();
        ran.stderr[at..].to_owned()
    };
    insta::assert_snapshot!(
        [
            said(&["rust_list"]),
            said(&["lists", "list"]),
            said(&["a b"]),
            said(&["x", "none"])
        ]
        .join("\n")
    );
    assert!(mini.read("out/quick/um.log").contains("not ok 1 rust_list"));
}

#[test]
fn quick_build_keeps_release() {
    let mini = mini();
    let made = || {
        compiled(&mini);
        run(&mini, &["test", "--filter", "rust_list"]);
        fs::read_to_string(mini.path("made")).unwrap()
    };
    assert!(!made().contains("KERNELRELEASE"));
    mini.file("cache/build/um/include/config/kernel.release", "6.1.2-g0\n");
    mini.overlay("list", "list/owned.rs", "//! Owned, and more.\n");
    assert!(made().contains(" KERNELRELEASE=6.1.2-g0"));
}

/// Reads lines of a running program up to one that starts so.
fn until(lines: &mut Lines<BufReader<ChildStderr>>, start: &str) -> String {
    let mut text = String::new();
    for line in lines.by_ref() {
        let line = line.unwrap();
        text += &format!("{line}\n");
        if line.starts_with(start) {
            return text;
        }
    }
    panic!("no line starts with {start:?}: {text}");
}

#[test]
fn watch_runs_after_each_change() {
    let mini = mini();
    let mut command = command(&mini, &["test", "--watch", "--filter", "rust_list"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut next = || until(&mut lines, "waiting for a change");
    assert!(!next().contains("error: "));
    assert_eq!(boots(&mini).len(), 1);
    let manifest = mini.read("series/list.toml");
    for (file, text, said) in [
        (
            "list/tree/list/owned.rs",
            "//! BROKEN.\n",
            "error: KUnit on um: 1 failed",
        ),
        (
            "series/list.toml",
            "version = 0\n",
            "error: series/list.toml",
        ),
        (
            "list/tree/list/owned.rs",
            "//! Owned.\n",
            "error: series/list.toml",
        ),
    ] {
        mini.file(&format!("ws/{file}"), text);
        let text = next();
        assert!(text.contains(said), "{text}");
    }
    mini.file("ws/series/list.toml", &manifest);
    assert!(!next().contains("error: "));
    assert_eq!(boots(&mini).len(), 2);
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
