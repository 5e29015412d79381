// SPDX-License-Identifier: GPL-2.0

//! The graph of the dependencies, created from the manifests only.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use crate::mini::Mini;

#[test]
fn graph_needs_only_manifests() {
    let mini = Mini::new();
    for below in ["mirror", "ws/list/tree", "ws/series/list"] {
        fs::remove_dir_all(mini.path(below)).unwrap();
    }
    let ran = mini.good(&["graph"]);
    insta::assert_snapshot!(ran.stdout, @r"
    Linux v6.1.2
    ├─ list      2 patches, v1 to be posted
    │  └─ buddy  2 patches, v1 to be posted
    │     └─ mm  no patches yet, v1 to be posted
    └─ other     1 patch, v1 to be posted
    ");
    assert!(!mini.ws("out").exists());
}

#[test]
fn graph_has_requested_form() {
    let mini = Mini::new();
    let chart = mini.good(&["graph", "--format", "mermaid"]).stdout;
    assert!(chart.starts_with("graph BT\n"), "{chart}");
    assert!(chart.contains("(\"buddy<br>2 patches<br>"), "{chart}");
    let dot = mini.good(&["graph", "--format", "dot"]).stdout;
    assert!(dot.contains("\n    \"buddy\" -> \"list\";\n"), "{dot}");
    let graphviz = Command::new("dot")
        .arg("-Tplain")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut graphviz) = graphviz else {
        eprintln!("graphviz is not installed: not tested");
        return;
    };
    let mut stdin = graphviz.stdin.take().unwrap();
    stdin.write_all(dot.as_bytes()).unwrap();
    drop(stdin);
    let out = graphviz.wait_with_output().unwrap();
    let plain = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success());
    assert!(plain.contains("edge buddy list "), "{plain}");
}

#[test]
fn graph_names_cycle() {
    let mini = Mini::new();
    mini.replace("series/list.toml", "depends = []", "depends = [\"buddy\"]");
    insta::assert_snapshot!(mini.error(&["graph"]), @r"
    error: series/list.toml:3: the dependencies have a cycle: buddy -> list -> buddy
      help: remove one of these dependencies
    ");
}
