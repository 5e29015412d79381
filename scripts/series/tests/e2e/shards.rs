// SPDX-License-Identifier: GPL-2.0

//! `check --full` divided among machines. Each machine has its cache at another path.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::{
    full::{TOOL, command, compiled, mini},
    mini::{Mini, Ran},
};

/// A workspace with a warning in the first patch of one series and in the second of another.
fn odd() -> Mini {
    let mini = mini();
    mini.overlay("list", "list/owned.rs", "//! Owned.\n// WARN it is odd\n");
    mini.overlay("buddy", "buddy.rs", "//! A buddy.\n// WARN it is odd too\n");
    mini
}

/// Runs `check --full` with the cache of a machine, which has its own bindgen.
fn on(mini: &Mini, machine: &str, args: &[&str]) -> Ran {
    let bindgen = format!("{machine}/tools/bindgen-0.72.1/bin/bindgen");
    mini.file(&bindgen, TOOL);
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(mini.path(&bindgen), mode).unwrap();
    let mut command = command(mini, &[&["check", "--full"], args].concat());
    command.env("SERIES_CACHE", mini.path(machine));
    mini.ran(command.output().unwrap())
}

/// The error of a run, with which it has to fail.
fn error_of(ran: &Ran) -> &str {
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    let at = ran.stderr.find("error: ").unwrap();
    &ran.stderr[at..]
}

/// Has two machines make the results, each one half of them.
fn two_shards(mini: &Mini) {
    for (machine, shard) in [("one", "1/2"), ("two", "2/2")] {
        let ran = on(mini, machine, &["--shard", shard, "--export", "results"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let made = compiled(mini);
        assert!(made.iter().any(|l| l == "kernel"), "{made:?}");
        assert!(!mini.ws("out/full.json").exists(), "it has no verdict");
    }
}

#[test]
fn two_shards_match_single_run() {
    let mini = odd();
    let alone = on(&mini, "alone", &[]);
    let record = mini.read("out/full.json");
    let kunit = mini.read("out/kunit/um-alone/buddy.json");
    fs::remove_dir_all(mini.ws("out")).unwrap();
    compiled(&mini);
    two_shards(&mini);
    // The folder that is imported has a link to that of the machines.
    fs::create_dir(mini.ws("collected")).unwrap();
    std::os::unix::fs::symlink("../results", mini.ws("collected/results")).unwrap();
    let joined = on(&mini, "three", &["--import", "collected"]);
    assert_eq!(compiled(&mini), Vec::<String>::new());
    assert_eq!(error_of(&joined), error_of(&alone));
    assert_eq!(mini.read("out/full.json"), record);
    assert_eq!(mini.read("out/kunit/um-alone/buddy.json"), kunit);
    assert!(!mini.path("three/full/linux/Makefile").exists());
}

#[test]
fn shard_uses_imported_results() {
    let mini = odd();
    two_shards(&mini);
    let again = ["--import", "results/v6.1.2-1-of-2.json", "--shard", "1/2"];
    let ran = on(&mini, "three", &again);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(compiled(&mini), Vec::<String>::new());
    // The other half is missing.
    on(&mini, "three", &[]);
    assert!(!compiled(&mini).is_empty());
}

#[test]
fn damaged_results_are_refused() {
    let mini = odd();
    two_shards(&mini);
    let file = "results/v6.1.2-2-of-2.json";
    let text = mini.read(file);
    let damage = [
        text[..text.find("\"units\"").unwrap()].to_owned(),
        text.replacen("odd too", "all right", 1),
        text.replacen("\"what\": \"", "\"what\": \"x", 1),
        "{}".to_owned(),
        text.replace("\"base\": \"v6.1.2\"", "\"base\": \"v6.1.3\""),
    ];
    let mut said = Vec::new();
    for damaged in damage {
        assert_ne!(damaged, text);
        mini.file(&format!("ws/{file}"), &damaged);
        let ran = on(&mini, "three", &["--import", "results"]);
        said.push(error_of(&ran).to_owned());
    }
    fs::create_dir(mini.ws("empty")).unwrap();
    for path in ["empty", "missing.json"] {
        said.push(error_of(&on(&mini, "three", &["--import", path])).to_owned());
    }
    insta::assert_snapshot!(said.join("\n"));
    assert_eq!(compiled(&mini), Vec::<String>::new());
}

#[test]
fn results_of_other_inputs_are_refused() {
    let mini = odd();
    two_shards(&mini);
    let refused = || {
        let ran = on(&mini, "three", &["--import", "results"]);
        let said = error_of(&ran).to_owned();
        assert_eq!(compiled(&mini), Vec::<String>::new(), "{said}");
        said
    };
    let config = "ws/kunit-configs/full/um.config";
    mini.file(config, "CONFIG_KUNIT=y\n# Anew.\n");
    let configured = refused();
    mini.file(config, "CONFIG_KUNIT=y\n");
    let tool = TOOL.replacen(
        "*\" --version\") echo 0.72.1",
        "*\" --version\") echo 0.72.2",
        1,
    );
    let sparse = mini.read("../bin/sparse");
    mini.file("bin/sparse", &tool);
    let made_with = refused();
    mini.file("bin/sparse", &sparse);
    mini.overlay("list", "list/owned.rs", "//! Owned.\n");
    let text = [configured, made_with, refused()].join("\n");
    let tree = regex(r"[0-9a-f]{12}");
    insta::assert_snapshot!(tree.replace_all(&text, "TREE"));
}

fn regex(pattern: &str) -> regex::Regex {
    regex::Regex::new(pattern).unwrap()
}

#[test]
fn shard_without_full_is_wrong_usage() {
    let mini = mini();
    for args in [
        &["check", "--shard", "1/2"][..],
        &["check", "--full", "--shard", "3/2"],
        &["check", "--full", "--shard", "1/2", "--json"],
    ] {
        let out = command(&mini, args).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{args:?}");
    }
}
