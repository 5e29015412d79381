// SPDX-License-Identifier: GPL-2.0

//! Concurrent runs, killed runs, and a full disk.

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::mini::Mini;

#[test]
fn concurrent_runs_succeed() {
    let mini = Mini::new();
    let children: Vec<_> = (0..4)
        .map(|_| {
            let mut command = mini.command(&["assemble", "--quiet"]);
            command
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let ran = mini.ran(child.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
    let alone = Mini::new();
    alone.good(&["assemble"]);
    assert_eq!(mini.received(), alone.received());
    assert_eq!(mini.report(), alone.report());
}

#[test]
fn killed_run_keeps_results() {
    let alone = Mini::new();
    alone.good(&["assemble"]);
    let mini = Mini::new();
    // From the start to past the end; most delays end in the middle.
    for delay in [0, 3, 8, 15, 25, 40, 60, 90, 130, 180, 250, 350] {
        let mut command = mini.command(&["assemble", "--quiet"]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(delay));
        // SIGKILL; the run may have ended before.
        let _ = child.kill();
        child.wait().unwrap();
    }
    // A file that an interrupted run left when it wrote a result.
    mini.file("ws/out/list/.series-4194999-x", "half");
    mini.good(&["assemble"]);
    assert_eq!(mini.received(), alone.received());
    assert_eq!(mini.report(), alone.report());
    let left = std::fs::read_dir(mini.path("cache/tmp")).unwrap().count();
    assert_eq!(left, 0, "what killed runs left in tmp/ was not removed");
}

#[test]
fn interrupt_exits_with_130() {
    let mini = Mini::new();
    // A pipe as the mirror's archive keeps the run busy.
    std::fs::remove_file(mini.path("mirror/mini.tar.xz")).unwrap();
    let git = mini.path("bin/git");
    mini.file("bin/git", "#!/bin/sh\nexec sleep 60\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&git, mode).unwrap();
    let path = format!(
        "{}:{}",
        mini.path("bin").display(),
        std::env::var("PATH").unwrap()
    );
    let mut command = mini.command(&["assemble"]);
    let child = command
        .env("PATH", path)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(300));
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let ran = mini.ran(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("interrupted: no results are lost"),
        "{}",
        ran.stderr
    );
}

#[test]
fn full_disk_leaves_cache_usable() {
    let mini = Mini::new();
    std::fs::create_dir(mini.path("small")).unwrap();
    let small = mini.path("small");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=16k", "none"])
        .arg(&small)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success());
    if !mounted {
        eprintln!("skipped: only root can make a file system that is full");
        return;
    }
    let mut command = mini.command(&["assemble"]);
    let ran = mini.ran(command.env("SERIES_CACHE", &small).output().unwrap());
    let grow = |size: &str| {
        let option = format!("remount,size={size}");
        let status = Command::new("mount")
            .args(["-o", &option])
            .arg(&small)
            .status();
        assert!(status.unwrap().success());
    };
    grow("64m");
    let mut command = mini.command(&["assemble"]);
    let again = mini.ran(command.env("SERIES_CACHE", &small).output().unwrap());
    let status = Command::new("umount").arg(&small).status();
    assert!(status.unwrap().success());
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("No space left on device") || ran.stderr.contains("MiB are free"),
        "{}",
        ran.stderr
    );
    assert_eq!(again.code, Some(0), "{}", again.stderr);
}
