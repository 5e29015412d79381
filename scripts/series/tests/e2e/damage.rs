// SPDX-License-Identifier: GPL-2.0

//! Errors name damaged repositories, output that cannot be written, and special files.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::mini::{Mini, Ran};

fn assembled() -> Mini {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    // The change makes the tool assemble `list` again.
    mini.overlay("list", "list/owned.rs", "//! Owned by Rust.\n");
    mini
}

/// Returns the error of a run on a damaged repository.
fn damage(mini: &Mini) -> String {
    let text = mini.error(&["assemble"]);
    assert!(
        text.starts_with("error: the git repository in DIR/cache/kernel is damaged\n"),
        "{text}"
    );
    text
}

fn pack(mini: &Mini) -> PathBuf {
    // The objects of the miniature kernel are too few for an automatic pack.
    let kernel = mini.path("cache/kernel");
    mini.git(&kernel, &["repack", "-a", "-d", "--quiet"]);
    let packs = fs::read_dir(kernel.join(".git/objects/pack")).unwrap();
    let mut packs = packs.map(|e| e.unwrap().path());
    let pack = packs
        .find(|p| p.extension().is_some_and(|e| e == "pack"))
        .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(&pack, mode).unwrap();
    pack
}

#[test]
fn broken_pack_is_named() {
    for cut in [true, false] {
        let mini = assembled();
        let pack = pack(&mini);
        let mut bytes = fs::read(&pack).unwrap();
        let end = bytes.len() - 20;
        match cut {
            true => bytes.truncate(end / 2),
            false => bytes[12..end].iter_mut().for_each(|b| *b ^= 0x55),
        }
        fs::write(&pack, bytes).unwrap();
        let text = damage(&mini);
        assert!(
            text.contains("help: remove DIR/cache/kernel, and run this again"),
            "{text}"
        );
        fs::remove_dir_all(mini.path("cache/kernel")).unwrap();
        mini.good(&["assemble"]);
    }
}

#[test]
fn missing_pack_is_named() {
    let mini = assembled();
    fs::remove_file(pack(&mini)).unwrap();
    damage(&mini);
}

#[test]
fn broken_head_is_repaired() {
    for content in [None, Some(""), Some("nonsense\n")] {
        let mini = assembled();
        let head = mini.path("cache/kernel/.git/HEAD");
        fs::remove_file(&head).unwrap();
        if let Some(content) = content {
            fs::write(&head, content).unwrap();
        }
        let text = damage(&mini);
        assert!(
            text.contains("echo 'ref: refs/heads/series' > DIR/cache"),
            "{text}"
        );
        fs::write(&head, "ref: refs/heads/series\n").unwrap();
        mini.good(&["assemble"]);
    }
}

#[test]
fn broken_ref_shows_last_value() {
    for (name, content) in [
        ("refs/heads/b4/list", "nonsense\n"),
        ("refs/heads/b4/list", ""),
        ("refs/series/archive/", "nonsense\n"),
        ("refs/series/base/6.1.2", "nonsense\n"),
        ("refs/series/b4/list", "nonsense\n"),
    ] {
        let mini = assembled();
        let kernel = mini.path("cache/kernel");
        let format = "--format=%(refname)";
        let name = mini.git(&kernel, &["for-each-ref", format, name]);
        let name = name.as_str();
        let was = mini.git(&kernel, &["rev-parse", name]);
        let file = kernel.join(".git").join(name);
        fs::write(&file, content).unwrap();
        let text = damage(&mini);
        assert!(
            text.contains(&format!("DIR/cache/kernel/.git/{name}")),
            "{text}"
        );
        if name.starts_with("refs/heads") {
            assert!(text.contains(&was), "{text}");
            fs::write(&file, format!("{was}\n")).unwrap();
        } else {
            fs::remove_file(&file).unwrap();
        }
        mini.good(&["assemble"]);
    }
}

#[test]
fn sha256_repository_is_named() {
    let mini = Mini::new();
    fs::create_dir_all(mini.path("cache/kernel")).unwrap();
    mini.git(
        &mini.path("cache/kernel"),
        &["init", "--quiet", "--object-format=sha256"],
    );
    let text = mini.error(&["assemble"]);
    assert!(
        text.contains("sha256") && text.contains("help: remove DIR/cache/kernel"),
        "{text}"
    );
}

#[test]
fn imported_base_must_match_manifest() {
    let mini = assembled();
    // The archive is unchanged; the manifest has another hash.
    let manifest = mini.read("series/base.toml");
    let (before, rest) = manifest.split_once("sha256 = \"").unwrap();
    let other = format!("{before}sha256 = \"{}{}", "0".repeat(64), &rest[64..]);
    mini.file("ws/series/base.toml", &other);
    let text = mini.error(&["assemble"]);
    assert!(text.contains("no source for Linux v6.1.2"), "{text}");
    // Another archive of that version becomes a second base; the first one stays.
    let first = mini.git(
        &mini.path("cache/kernel"),
        &["rev-parse", "refs/series/base/6.1.2"],
    );
    mini.file("ws/series/base.toml", &manifest);
    mini.good(&["assemble"]);
    let files = [
        (
            "Makefile",
            0o644,
            "VERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 2\nEXTRAVERSION =\nNAME = X\n",
        ),
        ("Kconfig", 0o644, "# other\n"),
        ("MAINTAINERS", 0o644, "A\nF:\ta/\n\nZ\nF:\tz/\n"),
        ("lib.rs", 0o644, "mod alpha;\nmod omega;\n"),
        ("scripts/run.sh", 0o755, "#!/bin/sh\n"),
    ];
    mini.archive(&files);
    mini.good(&["assemble"]);
    let second = mini.report()["base"]["commit"].clone();
    assert_ne!(second, first);
    mini.file("ws/series/base.toml", &manifest);
    mini.good(&["assemble"]);
    assert_eq!(mini.report()["base"]["commit"], first);
}

/// Runs the tool with a given standard output.
fn printing(mini: &Mini, args: &[&str], to: Stdio) -> Ran {
    let mut command = mini.command(args);
    mini.ran(command.stdout(to).output_with_own_stdout())
}

trait OwnStdout {
    fn output_with_own_stdout(&mut self) -> std::process::Output;
}

impl OwnStdout for Command {
    fn output_with_own_stdout(&mut self) -> std::process::Output {
        let child = self.stderr(Stdio::piped()).spawn().unwrap();
        child.wait_with_output().unwrap()
    }
}

#[test]
fn full_standard_output_fails() {
    let mini = assembled();
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    for args in [
        &["assemble"][..],
        &["graph"],
        &["status", "--json"],
        &["man"],
    ] {
        let ran = printing(&mini, args, full().into());
        assert_eq!(ran.code, Some(1), "{args:?}: {}", ran.stderr);
        assert!(
            ran.stderr
                .contains("error: cannot write to standard output: No space left"),
            "{args:?}: {}",
            ran.stderr
        );
    }
    // Standard error carries no results.
    let mut command = mini.command(&["assemble"]);
    assert!(command.stderr(full()).output().unwrap().status.success());
}

#[test]
fn closed_pipe_is_not_an_error() {
    let mini = assembled();
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let ran = printing(&mini, &["assemble"], write.into());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(!ran.stderr.contains("error"), "{}", ran.stderr);
}

#[test]
fn pipe_in_tree_is_refused_at_once() {
    for path in [
        "list/tree/pipe.rs",
        "list/edits/2.diff",
        "series/list/1.msg",
        "series/list.toml",
        "cover-letters/list.md",
        "list/CHANGELOG.md",
        "list/relocation.toml",
    ] {
        let mini = assembled();
        let file = mini.ws(path);
        let _ = fs::remove_file(&file);
        assert!(
            Command::new("mkfifo")
                .arg(&file)
                .status()
                .unwrap()
                .success()
        );
        let mut command = Command::new("timeout");
        let series = mini.command(&["assemble"]);
        for (key, value) in series.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        command
            .arg("60")
            .arg(series.get_program())
            .arg("assemble")
            .current_dir(mini.ws(""));
        let ran = mini.ran(command.output().unwrap());
        assert_eq!(ran.code, Some(1), "{path}: {}", ran.stderr);
        let said = format!("error: {path}: is not a plain file\n");
        assert!(ran.stderr.contains(&said), "{path}: {}", ran.stderr);
    }
}

#[test]
fn pipe_in_out_does_not_hang() {
    let mini = assembled();
    for path in ["out/series.json", "out/assembled.json", "out/list/v1.mbox"] {
        fs::remove_file(mini.ws(path)).unwrap();
        assert!(
            Command::new("mkfifo")
                .arg(mini.ws(path))
                .status()
                .unwrap()
                .success()
        );
    }
    mini.good(&["assemble"]);
    assert!(mini.read("out/list/v1.mbox").contains("Subject: "));
}

#[test]
fn git_failure_is_shown_short() {
    let mini = assembled();
    let mut lock = File::create(mini.path("cache/kernel/.git/refs/heads/b4/list.lock")).unwrap();
    lock.write_all(b"").unwrap();
    let text = mini.error(&["assemble"]);
    let first = text.lines().next().unwrap();
    assert!(
        first.starts_with("error: `git update-ref --create-reflog"),
        "{text}"
    );
    assert!(!text.contains("core.quotepath"), "{text}");
}
