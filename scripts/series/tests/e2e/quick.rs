// SPDX-License-Identifier: GPL-2.0

//! `test --filter` and `test --watch`, with programs that only look like the real ones.

use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    process::{ChildStderr, Command, Stdio},
};

use crate::{
    full::{command, compiled, mini},
    mini::{Mini, Ran},
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
    // A filtered run that fails changes neither the record nor the folder of the full build.
    let kept = || {
        let stamp = mini.path("cache/build/um/series.json");
        (
            mini.read("out/kunit/um/list.json"),
            fs::read_to_string(stamp).unwrap(),
        )
    };
    let before = kept();
    mini.overlay("list", "list/owned.rs", "//! BROKEN.\n");
    let ran = run(&mini, &["test", "--filter", "rust_*", "list"]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(kept(), before);
}

#[test]
fn filter_with_names_builds_their_series() {
    let mini = mini();
    mini.edit(
        "buddy",
        "1.diff",
        "Kconfig",
        " # top\n+config BUDDY\n",
        (1, 2),
    );
    let tree = |names: &[&str]| {
        let ran = run(&mini, &[&["test", "--filter", "rust_list"], names].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let kernel = mini.path("cache/kernel");
        let other = fs::read_to_string(kernel.join("MAINTAINERS")).unwrap();
        let has = |file: &str| kernel.join(file).exists();
        [has("list.rs"), has("buddy.rs"), other.contains("F:\tb/\n")]
    };
    assert_eq!(tree(&[]), [true, true, true]);
    assert_eq!(tree(&["list"]), [true, false, false]);
    assert_eq!(tree(&["buddy"]), [true, true, false]);
    // No series includes both.
    assert_eq!(tree(&["buddy", "other"]), [true, true, true]);
    // The kernel with `list` alone does not have the option.
    let config = "ws/kunit-configs/all.config";
    mini.file(config, "CONFIG_KUNIT=y\nCONFIG_BUDDY=y\n");
    assert_eq!(tree(&["list"]), [true, true, true]);
    assert_eq!(tree(&["buddy"]), [true, true, false]);
}

#[test]
fn quick_build_is_configured_on_changes() {
    let mini = mini();
    let configured = || {
        let ran = run(&mini, &["-v", "test", "--filter", "rust_list"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr.contains("kunit.py config")
    };
    let config = || fs::read_to_string(mini.path("cache/build/um-quick/.config")).unwrap();
    assert!(configured() && !configured());
    let fragment = "ws/kunit-configs/quick/um.config";
    mini.file(fragment, "CONFIG_RUST_BUILD_ASSERT_ALLOW=y\n");
    assert!(configured() && !configured());
    assert!(config().ends_with("CONFIG_RUST_BUILD_ASSERT_ALLOW=y\n"));
    let made = || fs::read_to_string(mini.path("made")).unwrap();
    assert!(made().contains(" cmd_rustc_o_rs="), "{}", made());
    fs::remove_file(mini.path(fragment)).unwrap();
    assert!(configured() && !config().contains("RUST_BUILD"));
    mini.file(fragment, "CONFIG_UML_TIME_TRAVEL_SUPPORT=y\n");
    let booted = || run(&mini, &["-v", "test", "--filter", "rust_list"]).stderr;
    assert!(booted().contains(" --kernel_args=time-travel "));
    fs::remove_file(mini.path(fragment)).unwrap();
    assert!(!booted().contains("--kernel_args"));
    assert!(!made().contains("cmd_rustc_o_rs"), "{}", made());
    mini.edit(
        "buddy",
        "1.diff",
        "Kconfig",
        " # top\n+config BUDDY\n",
        (1, 2),
    );
    assert!(configured() && !configured());
    // Source files have no options, and neither has a kernel that does not build.
    mini.overlay("list", "list/owned.rs", "//! UNLINKED.\n");
    let ran = run(&mini, &["-v", "test", "--filter", "rust_list"]);
    assert!(ran.code == Some(1) && !ran.stderr.contains("kunit.py config"));
    mini.overlay("list", "list/owned.rs", "//! Owned.\n");
    assert!(!configured());
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
    mini.file(
        "cache/build/um-quick/include/config/kernel.release",
        "6.1.2-g0\n",
    );
    mini.overlay("list", "list/owned.rs", "//! Owned, and more.\n");
    let line = made();
    assert!(line.contains(" KERNELRELEASE=6.1.2-g0"), "{line}");
    assert!(line.contains(" KBUILD_BUILD_VERSION=1"), "{line}");
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
