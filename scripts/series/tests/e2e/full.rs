// SPDX-License-Identifier: GPL-2.0

//! `check --full` with replacements of the real programs, such as a make that compiles files newer
//! than their objects, and warns of lines with WARN.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    kernels::{RUST, TOOLS},
    mini::{Mini, Ran},
};

/// A script that replaces every program that the tool calls.
///
/// The script warns of source lines with "WARN text" or "WARN-arch text". "ERROR text" is an error,
/// "NEEDS file" is an error if the file is missing, and "DOC text" is a warning of rustdoc. A file
/// `kill` with the number N makes the N-th compilation kill the tool after it printed its warnings.
pub const TOOL: &str = r#"#!/bin/sh
compile() {
	if [ -e "$1.rs" ]; then src=$1.rs; else src=$1.c; fi
	[ ! -e "$o/$1.o" ] || [ "$src" -nt "$o/$1.o" ] || return 0
	echo "$arch $src" >>"$FAKE/compiled"
	grep -n -E "WARN(-$arch)? " "$src" | sed -E "s|^([0-9]+):.*WARN[^ ]* (.*)|$PWD/$src:\1:1: warning: \2|" >&2
	bad=
	grep -n "ERROR " "$src" | sed -E "s|^([0-9]+):.*ERROR (.*)|$PWD/$src:\1:1: error: \2|" >"$o/errors"
	for need in $(sed -n 's/.*NEEDS //p' "$src"); do
		[ -e "$need" ] || echo "$PWD/$src:1:1: error: there is no $need" >>"$o/errors"
	done
	if [ -s "$o/errors" ]; then
		cat "$o/errors" >&2
		echo "make[1]: *** [Makefile:1: $1.o] Error 1" >&2
		failed=1
		return 0
	fi
	mkdir -p "$(dirname "$o/$1.o")"
	touch "$o/$1.o"
	if [ -e "$FAKE/kill" ] && [ "$(wc -l <"$FAKE/compiled")" -ge "$(cat "$FAKE/kill")" ]; then
		kill -9 "$PPID"
		exit 1
	fi
}
case "$(basename "$0") $*" in
"rustc --print sysroot") echo "$FAKE/rust" ;;
"llvm-config-19 --libdir") echo "$FAKE/llvm" ;;
*" --version") echo 0.72.1 ;;
python3*" config "*)
	for arg; do
		case $arg in
		--build_dir=*) made=${arg#*=}/.config; : >"$made" ;;
		--kunitconfig=*) cat "${arg#*=}" >>"$made" ;;
		esac
	done
	;;
python3*" exec "*)
	for arg; do
		case $arg in --build_dir=*) dir=${arg#*=} ;; esac
		suite=${arg%%.*}
	done
	echo "$arg" >>"$FAKE/boots"
	case $suite in *\**) suite=rust_list ;; esac
	result=ok
	! grep -q -r BROKEN --include='*.rs' . || result="not ok"
	printf 'KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: %s\n    1..1\n    %s 1 walk\n%s 1 %s\n' \
		"$suite" "$result" "$result" "$suite" >"$dir/test.log"
	cat "$dir/.config" >>"$FAKE/kunit"
	[ "$result" = ok ]
	;;
make*)
	failed= targets= config=
	for arg; do
		case $arg in
		O=*) o=${arg#*=} ;;
		ARCH=*) arch=${arg#*=} ;;
		KCONFIG_ALLCONFIG=*) config=${arg#*=} ;;
		-* | *=*) ;;
		*) targets="$targets $arg" ;;
		esac
	done
	case $targets in
	*allnoconfig) grep -vxFf "$FAKE/lost" "$config" >"$o/.config" ;;
	*rustdoc)
		echo "$arch rustdoc" >>"$FAKE/compiled"
		grep -n -r "DOC " rust --include='*.rs' | sort | while IFS=: read -r src n text; do
			printf 'warning: %s\n --> %s/%s:%s:1\n  |\n\n' "${text#*DOC }" "$PWD" "$src" "$n" >&2
		done
		;;
	*.o*)
		compile rust/lib
		for target in $targets; do
			case $target in
			*/) for file in "$target"*.c; do compile "${file%.c}"; done ;;
			*) compile "${target%.o}" ;;
			esac
		done
		;;
	" rustavailable") ;;
	*)
		echo "kernel" >>"$FAKE/compiled"
		echo "make $*" >"$FAKE/made"
		! grep -q -r UNLINKED --include='*.rs' . || exit 2
		: >"$o/linux"
		echo "  CC      init/main.o"
		;;
	esac
	[ -z "$failed" ] || exit 2
	;;
rustfmt*--check*) cat >/dev/null ;;
*) echo 0.72.1 ;;
esac
"#;

const SOURCES: &str = r#"
folders = ["drivers/"]
um = ["lib.rs", "list.rs", "list/owned.rs", "buddy.rs", "buddy_test.rs"]
x86_64 = ["lib.rs", "list.rs", "list/owned.rs", "buddy.rs", "buddy_test.rs"]

[[known]]
message = "nobody believes it"
source = "MODULE_"
why = "the checker does not understand it"
"#;

/// Creates a workspace without findings, and the programs.
pub fn mini() -> Mini {
    let mini = Mini::with(&[
        ("scripts/checkpatch.pl", 0o755, "exit 0;\n"),
        (".rustfmt.toml", 0o644, ""),
        ("rust/lib.rs", 0o644, "// WARN of old\n// DOC of old\n"),
        ("drivers/old.c", 0o644, "int x; /* WARN of old */\n"),
    ]);
    for tool in TOOLS
        .iter()
        .chain(&["sparse", "rustfmt", "clippy-driver", "rustdoc"])
    {
        mini.file(&format!("bin/{tool}"), TOOL);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(mini.path("bin").join(tool), mode).unwrap();
    }
    for part in RUST {
        mini.file(&format!("rust/lib/rustlib/src/rust/library/{part}"), "");
    }
    mini.file("llvm/libclang-19.so.1", "");
    mini.file("lost", "no such line\n");
    mini.file("ws/kunit-configs/all.config", "CONFIG_KUNIT=y\n");
    mini.file("ws/kunit-configs/full/um.config", "CONFIG_KUNIT=y\n");
    mini.file("ws/kunit-configs/full/x86_64.config", "CONFIG_KUNIT=y\n");
    mini.file("ws/kunit-configs/full/sources.toml", SOURCES);
    for series in ["list", "buddy", "other"] {
        let path = format!("series/{series}.toml");
        let manifest = mini.read(&path) + "\n[kunit]\nsuites = [\"rust_list\"]\n";
        mini.file(&format!("ws/{path}"), &manifest);
    }
    // The second patch is the first that needs the list.
    mini.overlay("buddy", "buddy_test.rs", "//! A test.\n// NEEDS list.rs\n");
    mini.edit("buddy", "1.diff", "Kconfig", " # top\n+# buddy\n", (1, 2));
    without(&mini, 1);
    mini
}

/// Sets the number of patches of `buddy` that do not need `list`.
fn without(mini: &Mini, patches: usize) {
    let text = mini.read("series/buddy.toml");
    let old = text.lines().find(|l| l.starts_with("without = ")).unwrap();
    let new = format!("without = {{ list = {patches} }}");
    mini.file("ws/series/buddy.toml", &text.replace(old, &new));
}

pub fn command(mini: &Mini, args: &[&str]) -> Command {
    let path = std::env::var("PATH").unwrap();
    let mut command = mini.command(args);
    command
        .env("PATH", format!("{}:{path}", mini.path("bin").display()))
        .env("FAKE", mini.path(""));
    command
}

fn run(mini: &Mini, args: &[&str]) -> Ran {
    mini.ran(command(mini, args).output().unwrap())
}

fn good(mini: &Mini) -> Ran {
    let ran = run(mini, &["check", "--full"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    ran
}

/// Returns the error of a run that has to fail as expected.
fn error(mini: &Mini, args: &[&str]) -> String {
    let ran = run(mini, args);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    let at = ran.stderr.find("error: ").unwrap();
    ran.stderr[at..].to_owned()
}

/// Returns the files that were compiled since the last call.
pub fn compiled(mini: &Mini) -> Vec<String> {
    let path = mini.path("compiled");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let _ = fs::remove_file(path);
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn full(mini: &Mini) -> Value {
    serde_json::from_str(&mini.read("out/full.json")).unwrap()
}

/// Returns the units of a patch: architecture, whether it passes, and the diagnostics.
fn units(mini: &Mini, series: usize, patch: usize) -> Vec<(String, bool, Vec<String>)> {
    let record = full(mini);
    let units = &record["series"][series]["patches"][patch - 1]["units"];
    let said = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|s| s["message"].as_str().unwrap().to_owned())
            .collect()
    };
    let unit = |u: &Value| {
        let all = [said(&u["warnings"]), said(&u["errors"])].concat();
        (
            u["arch"].as_str().unwrap().to_owned(),
            u["pass"] == true,
            all,
        )
    };
    units.as_array().unwrap().iter().map(unit).collect()
}

#[test]
fn full_check_without_findings() {
    let mini = mini();
    let ran = good(&mini);
    insta::assert_snapshot!(ran.stdout);
    insta::assert_snapshot!("record", mini.read("out/full.json"));
    let log = mini.read("out/kunit/um-alone/list.log");
    assert!(log.contains("ok 1 rust_list"), "{log}");
    let times: Value = serde_json::from_str(&mini.read("out/full-times.json")).unwrap();
    assert_eq!(times["cached"], 0);
    // A second run uses the stored results.
    compiled(&mini);
    let before = mini.read("out/full.json");
    good(&mini);
    assert_eq!(compiled(&mini), Vec::<String>::new());
    assert_eq!(mini.read("out/full.json"), before);
    let times: Value = serde_json::from_str(&mini.read("out/full-times.json")).unwrap();
    assert_eq!(times["cached"], times["units"].as_array().unwrap().len());
}

#[test]
fn diagnostic_belongs_to_its_patch() {
    let mini = mini();
    mini.overlay("list", "list/owned.rs", "//! Owned.\n// WARN it is odd\n");
    mini.overlay(
        "buddy",
        "buddy.rs",
        "//! A buddy.\n// WARN-um it is odd here\n",
    );
    insta::assert_snapshot!(error(&mini, &["check", "--full"]));
    let clean = |arch: &str| (arch.to_owned(), true, Vec::new());
    let odd = |arch: &str, text: &str| (arch.to_owned(), false, vec![text.to_owned()]);
    assert_eq!(units(&mini, 0, 1), [clean("um"), clean("x86_64")]);
    assert_eq!(
        units(&mini, 0, 2),
        [odd("um", "it is odd"), odd("x86_64", "it is odd")]
    );
    assert_eq!(
        units(&mini, 1, 1),
        [odd("um", "it is odd here"), clean("x86_64")]
    );
    assert_eq!(units(&mini, 1, 2), [clean("um"), clean("x86_64")]);
    // The stored findings are reported again without a compiler.
    compiled(&mini);
    let ran = run(&mini, &["check", "--full", "--json"]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(compiled(&mini), Vec::<String>::new());
    let outcome: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(outcome["findings"].as_array().unwrap().len(), 2);
}

#[test]
fn findings_are_reported_without_standard_output() {
    let mini = mini();
    mini.overlay("list", "list/owned.rs", "//! Owned.\n// WARN it is odd\n");
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let mut command = command(&mini, &["check", "--full"]);
    command.stdout(full.unwrap()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let ran = mini.ran(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    for error in [
        "error: list/owned.rs:2: list patch 2: warning: um, x86_64: it is odd",
        "error: cannot write to standard output: No space left",
    ] {
        assert!(ran.stderr.contains(error), "{}", ran.stderr);
    }
}

#[test]
fn known_false_report_is_ignored() {
    let mini = mini();
    let text = "MODULE_X // WARN nobody believes it\n";
    mini.overlay("list", "list/owned.rs", text);
    good(&mini);
    mini.overlay("list", "list/owned.rs", &format!("// {text}"));
    assert!(error(&mini, &["check", "--full"]).contains("nobody believes it"));
}

#[test]
fn rustdoc_runs_on_documented_files() {
    let mini = mini();
    mini.overlay(
        "list",
        "rust/list.rs",
        "// DOC of old\n// DOC broken link\n",
    );
    let files = "files = [\"list/owned.rs\", \"rust/list.rs\"]";
    mini.replace("series/list.toml", "files = [\"list/owned.rs\"]", files);
    insta::assert_snapshot!(error(&mini, &["check", "--full", "list"]));
    assert!(!mini.ws("out/full.json").exists(), "it was a part only");
}

#[test]
fn failing_patch_does_not_stop_run() {
    let mini = mini();
    mini.overlay(
        "list",
        "list.rs",
        "//! A list.\n\nmod owned;\n\npub fn walk() {}\n// ERROR no such type\n",
    );
    insta::assert_snapshot!(error(&mini, &["check", "--full"]));
    let record = full(&mini);
    assert_eq!(record["series"][0]["builds_alone"], false);
    assert_eq!(record["series"][2]["builds_alone"], true);
}

#[test]
fn change_recompiles_affected_files() {
    let mini = mini();
    good(&mini);
    compiled(&mini);
    mini.overlay(
        "buddy",
        "buddy_test.rs",
        "//! Another test.\n// NEEDS list.rs\n",
    );
    good(&mini);
    let again = compiled(&mini);
    let of = |what: &str| again.iter().filter(|l| l.ends_with(what)).count();
    // At its patch for both kernels, and once more without the list.
    assert_eq!(of(" buddy_test.rs"), 3, "{again:?}");
    assert_eq!(of(" rust/lib.rs"), 0, "{again:?}");
    assert_eq!(of("kernel"), 1, "{again:?}");
    let times: Value = serde_json::from_str(&mini.read("out/full-times.json")).unwrap();
    let done = times["units"].as_array().unwrap().iter();
    let done: Vec<_> = done
        .filter(|u| u["cached"] == false)
        .map(|u| u["what"].as_str().unwrap())
        .collect();
    assert_eq!(
        done,
        [
            "buddy 2 um",
            "buddy 2 x86_64",
            "buddy 2 without list um",
            "buddy kunit"
        ]
    );
}

#[test]
fn killed_run_resumes() {
    let mini = mini();
    // The first patches have new warnings.
    mini.overlay("list", "list/owned.rs", "//! Owned.\n// WARN it is odd\n");
    mini.overlay("buddy", "buddy.rs", "//! A buddy.\n// WARN it is odd too\n");
    let said = error(&mini, &["check", "--full"]);
    let record = mini.read("out/full.json");
    let kunit = mini.read("out/kunit/um-alone/buddy.json");
    fs::remove_dir_all(mini.path("cache")).unwrap();
    fs::remove_dir_all(mini.ws("out")).unwrap();
    compiled(&mini);
    for at in [1, 2, 5, 8, 10, 11, 12, 13, 15, 17] {
        mini.file("kill", &at.to_string());
        let out = command(&mini, &["check", "--full"]).output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.signal(), Some(9), "{at}: {text}");
    }
    fs::remove_file(mini.path("kill")).unwrap();
    assert_eq!(error(&mini, &["check", "--full"]), said);
    assert_eq!(mini.read("out/full.json"), record);
    assert_eq!(mini.read("out/kunit/um-alone/buddy.json"), kunit);
}

#[test]
fn unneeded_dependency_is_found() {
    let mini = mini();
    mini.overlay("buddy", "buddy_test.rs", "//! A test.\n");
    insta::assert_snapshot!(error(&mini, &["check", "--full"]));
    assert_eq!(full(&mini)["series"][1]["dependencies"][0]["needed"], false);
}

#[test]
fn wrong_number_in_without_is_found() {
    let mini = mini();
    for wrong in [0, 2] {
        without(&mini, wrong);
        insta::assert_snapshot!(
            format!("without_{wrong}"),
            error(&mini, &["check", "--full"])
        );
    }
}

#[test]
fn conflict_shows_dependency() {
    let mini = mini();
    mini.edit(
        "buddy",
        "1.diff",
        "lib.rs",
        " mod alpha;\n+mod buddy;\n mod list;\n mod omega;\n",
        (3, 4),
    );
    without(&mini, 0);
    good(&mini);
    let failure = &full(&mini)["series"][1]["dependencies"][0]["failure"];
    assert_eq!(failure["how"], "does_not_apply");
    assert_eq!(failure["patch"], 1);
    assert_eq!(failure["error"], "lib.rs");
}

#[test]
fn failure_on_series_alone_is_found() {
    let mini = mini();
    mini.overlay(
        "buddy",
        "buddy_test.rs",
        "//! BROKEN test.\n// NEEDS list.rs\n",
    );
    insta::assert_snapshot!(error(&mini, &["check", "--full"]));
    let record = full(&mini);
    assert_eq!(record["series"][0]["kunit"]["pass"], true);
    assert_eq!(record["series"][1]["kunit"]["failed"], 1);
    // Failures run again.
    compiled(&mini);
    error(&mini, &["check", "--full"]);
    let kernels = compiled(&mini).iter().filter(|l| *l == "kernel").count();
    assert_eq!(kernels, 1);
}

#[test]
fn link_failure_is_found() {
    let mini = mini();
    mini.overlay(
        "buddy",
        "buddy_test.rs",
        "//! UNLINKED test.\n// NEEDS list.rs\n",
    );
    let text = error(&mini, &["check", "--full"]);
    assert!(
        text.contains(
            "buddy: kunit: on the base and its dependencies only: the kernel does not build"
        ),
        "{text}"
    );
}

#[test]
fn options_of_later_series_are_left_out() {
    let mini = mini();
    mini.file(
        "ws/kunit-configs/all.config",
        "CONFIG_KUNIT=y\nCONFIG_BUDDY=y\n",
    );
    mini.edit(
        "buddy",
        "1.diff",
        "Kconfig",
        " # top\n+config KUNIT\n+config BUDDY\n",
        (1, 3),
    );
    good(&mini);
    let configs = fs::read_to_string(mini.path("kunit")).unwrap();
    assert_eq!(configs, "CONFIG_KUNIT=y\nCONFIG_BUDDY=y\n");
    // Each option has to exist at some patch.
    mini.file("lost", "CONFIG_KUNIT=y\n");
    mini.file(
        "ws/kunit-configs/full/um.config",
        "CONFIG_KUNIT=y\n# Anew.\n",
    );
    insta::assert_snapshot!(error(&mini, &["check", "--full"]));
}

#[test]
fn file_outside_kernels_is_found() {
    let mini = mini();
    mini.replace("kunit-configs/full/sources.toml", ", \"buddy_test.rs\"", "");
    mini.replace("kunit-configs/full/sources.toml", ", \"buddy_test.rs\"", "");
    let text = error(&mini, &["check", "--full"]);
    let line = text.lines().find(|l| l.contains("buddy_test.rs")).unwrap();
    insta::assert_snapshot!(line.trim_start_matches("error: "));
    // Listed as left out, the file causes no finding.
    let sources = mini.read("kunit-configs/full/sources.toml");
    let (head, tail) = sources.split_once("[[known]]").unwrap();
    let why = "[left-out]\n\"buddy_test.rs\" = \"a test of the test\"\n\n[[known]]";
    mini.file(
        "ws/kunit-configs/full/sources.toml",
        &format!("{head}{why}{tail}"),
    );
    let text = error(&mini, &["check", "--full"]);
    assert!(
        text.contains("list is not needed") && !text.contains("left out"),
        "{text}"
    );
}

#[test]
fn arch_without_configuration() {
    let mini = mini();
    let text = error(&mini, &["check", "--full", "--arch", "arm64"]);
    assert_eq!(
        text,
        "error: kunit-configs/full/arm64.config: the file is missing\n"
    );
}
