// SPDX-License-Identifier: GPL-2.0

//! Manual page and completions, read by the programs that they are made for.

use std::{fs, process::Command};

/// Returns the output of the tool in a folder outside of any checkout.
fn output_of(args: &[&str]) -> String {
    let elsewhere = tempfile::tempdir().unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_series"))
        .args(args)
        .current_dir(elsewhere.path())
        .env_remove("HOME")
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&out.stderr);
    assert_eq!((out.status.code(), &*complaint), (Some(0), ""));
    String::from_utf8(out.stdout).unwrap()
}

/// Runs a program; returns `None` if it is not installed.
fn run(program: &str, args: &[&str]) -> Option<(String, String)> {
    let out = Command::new(program).args(args).output();
    let out = match out {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("{program} is not installed: not tested");
            return None;
        }
        out => out.unwrap(),
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Some((text(out.stdout), text(out.stderr)))
}

#[test]
fn manual_page_passes_groff() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cargo-series.1");
    fs::write(&file, output_of(&["man"])).unwrap();
    let file = file.to_str().unwrap();
    if let Some((page, complaint)) = run("groff", &["-man", "-ww", "-Kutf8", "-Tutf8", file]) {
        assert_eq!(complaint, "");
        assert!(page.contains("Patch series"), "{page}");
    }
    if let Some((_, complaint)) = run("man", &["--warnings=w", "-l", file]) {
        assert_eq!(complaint, "");
    }
}

/// Completes command lines in a bash that has read the script. Each line is a list of words, and
/// the last word is incomplete. cargo's own completion answers "elsewhere".
fn completed(lines: &[&str]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let script = output_of(&["completions", "bash"]);
    fs::write(dir.path().join("script"), script).unwrap();
    let mut driver = String::from(
        r#"
        _elsewhere() { COMPREPLY=(elsewhere "$2"); }
        complete -F _elsewhere cargo
        . "$1"
        . "$1"
        try() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMPREPLY=()
            COMP_POINT=${#COMP_LINE}
            [[ $(complete -p cargo) =~ -F\ ([^ ]+) ]]
            "${BASH_REMATCH[1]}" cargo "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
            echo "${COMPREPLY[*]}"
        }
        "#,
    );
    for line in lines {
        driver += &format!("try {line}\n");
    }
    let script = dir.path().join("script");
    let args = ["--norc", "-c", &driver, "bash", script.to_str().unwrap()];
    let (replies, complaint) = run("bash", &args).unwrap();
    assert_eq!(complaint, "");
    replies.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_alias_only() {
    let replies = completed(&[
        "cargo series gra",
        "cargo series graph --form",
        "cargo series graph --format ''",
        "cargo +nightly series completions f",
        "cargo seri",
        "cargo test series --l",
    ]);
    assert_eq!(
        replies,
        [
            "graph",
            "--format",
            "text dot mermaid",
            "fish",
            "elsewhere seri",
            "elsewhere --l"
        ]
    );
}

#[test]
fn fish_and_zsh_completions_have_names() {
    let fish = output_of(&["completions", "fish"]);
    assert!(fish.contains("\ncomplete -c cargo -n "), "{fish}");
    let script = tempfile::NamedTempFile::new().unwrap();
    fs::write(script.path(), &fish).unwrap();
    let line = format!(
        "source {}; complete -C 'cargo series graph --format m'",
        script.path().display()
    );
    if let Some((replies, complaint)) = run("fish", &["--no-config", "-c", &line]) {
        assert_eq!(
            (replies.as_str(), complaint.as_str()),
            ("mermaid\tMermaid, which many Markdown viewers render\n", "")
        );
    }
    let zsh = output_of(&["completions", "zsh"]);
    assert!(zsh.starts_with("#compdef cargo-series\n"), "{zsh}");
    assert!(zsh.contains("\n_cargo-series() {\n"), "{zsh}");
}

#[test]
fn installed_program_names_itself() {
    let elsewhere = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_series"))
            .args(args)
            .current_dir(elsewhere.path())
            .env_remove("CARGO_MANIFEST_DIR")
            .output()
            .unwrap();
        String::from_utf8([out.stdout, out.stderr].concat()).unwrap()
    };
    for args in [
        &["--help"][..],
        &["check", "--help"],
        &["completions", "--help"],
        &["chek"],
        &["status"],
        &["completions", "bash"],
        &["man"],
    ] {
        let text = run(args);
        assert!(text.contains("series"), "{args:?}: {text}");
        assert!(!text.contains("cargo series"), "{args:?}: {text}");
    }
    assert!(run(&["completions", "bash"]).ends_with(" series\nfi\n"));
}
