// SPDX-License-Identifier: GPL-2.0

//! Kernels with checkers, built and booted by replacements of the real programs.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::mini::{Mini, Ran};

/// A script that replaces every program that the tool calls.
pub const TOOL: &str = r#"#!/bin/sh
case "$(basename "$0") $*" in
"rustc --print sysroot") echo "$FAKE/rust" ;;
"llvm-config-19 --libdir") echo "$FAKE/llvm" ;;
gcc*" -o "*)
	while [ "$1" != -o ]; do shift; done
	cat >/dev/null
	echo program >"$2"
	;;
python3*" config "*)
	for arg; do
		case $arg in
		--build_dir=*) made=${arg#*=}/.config; : >"$made" ;;
		--kunitconfig=*) grep -vxFf "$FAKE/lost" "${arg#*=}" >>"$made" ;;
		esac
	done
	;;
make*)
	for arg; do
		case $arg in O=*) dir=${arg#*=} ;; esac
	done
	mkdir -p "$dir/arch/x86/boot"
	printf '#!/bin/sh\ncat "%s"\n' "$FAKE/boot.log" >"$dir/linux"
	chmod +x "$dir/linux"
	: >"$dir/arch/x86/boot/bzImage"
	echo "  CC      init/main.o"
	;;
qemu*" -initrd "*) cat "$FAKE/boot.log" ;;
*) echo 0.72.1 ;;
esac
"#;

pub const TOOLS: &[&str] = &[
    "make",
    "gcc",
    "clang-19",
    "ld.lld-19",
    "llvm-nm-19",
    "llvm-config-19",
    "flex",
    "bison",
    "bc",
    "cpio",
    "pahole",
    "python3",
    "rustc",
    "bindgen",
    "qemu-system-x86_64",
];

pub const RUST: &[&str] = &[
    "core/src/lib.rs",
    "core/src/alloc/mod.rs",
    "portable-simd/crates/core_simd/src/vendor/x86.rs",
    "portable-simd/crates/core_simd/src/vendor/arm.rs",
    "stdarch/crates/core_arch/src/mod.rs",
    "backtrace/src/lib.rs",
];

const HARDENED: &str = "\
Linux version 6.1.2
KernelAddressSanitizer initialized (generic)
kmemleak: Kernel memory leak detector initialized (mem pool available: 39000)
KTAP version 1
1..1
    KTAP version 1
    # Subtest: rust_list
    1..1
    ok 1 walk
ok 1 rust_list
series-probe: start
series-probe: kmemleak: scanned
series-probe: kmemleak: scanned
series-probe: end
reboot: System halted
";

const LOCKDEP: &str = "\
Linux version 6.1.2
Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar
KTAP version 1
1..1
    KTAP version 1
    # Subtest: rust_list
    1..1
    ok 1 walk
ok 1 rust_list
series-probe: start
series-probe: lockdep|  debug_locks:                             1
series-probe: end
reboot: Restarting system
";

/// Creates a workspace whose first series has a suite, and the programs.
fn mini(log: &str) -> Mini {
    let mini = Mini::new();
    for tool in TOOLS {
        mini.file(&format!("bin/{tool}"), TOOL);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(mini.path("bin").join(tool), mode).unwrap();
    }
    for part in RUST {
        mini.file(&format!("rust/lib/rustlib/src/rust/library/{part}"), "");
    }
    mini.file("llvm/libclang-19.so.1", "");
    mini.file("lost", "no such line\n");
    mini.file("boot.log", log);
    mini.file("ws/kunit-configs/all.config", "CONFIG_KUNIT=y\n");
    mini.file(
        "ws/kunit-configs/hardened.config",
        "# Checkers.\nCONFIG_KASAN=y\nCONFIG_DEBUG_KMEMLEAK=y\n",
    );
    mini.file(
        "ws/kunit-configs/lockdep.config",
        "CONFIG_PROVE_LOCKING=y\n",
    );
    let manifest = mini.read("series/list.toml") + "\n[kunit]\nsuites = [\"rust_list\"]\n";
    mini.file("ws/series/list.toml", &manifest);
    mini
}

fn run(mini: &Mini, args: &[&str]) -> Ran {
    let path = std::env::var("PATH").unwrap();
    let mut command = mini.command(args);
    command
        .env("PATH", format!("{}:{path}", mini.path("bin").display()))
        .env("FAKE", mini.path(""));
    mini.ran(command.output().unwrap())
}

fn good(mini: &Mini, args: &[&str]) -> Ran {
    let ran = run(mini, args);
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

#[test]
fn hardened_without_reports_passes() {
    let mini = mini(HARDENED);
    let ran = good(&mini, &["test", "list", "--hardened"]);
    assert!(
        ran.stdout
            .contains("| um-hardened | um-hardened: 1 passed |"),
        "{}",
        ran.stdout
    );
    let record: serde_json::Value =
        serde_json::from_str(&mini.read("out/kunit/um-hardened/list.json")).unwrap();
    assert_eq!(record["kernel"], "um-hardened");
    assert_eq!(record["arch"], "um");
    assert_eq!(record["pass"], true);
    assert_eq!(record["reports"], serde_json::json!([]));
    assert_eq!(mini.read("out/kunit/um-hardened/list.log"), HARDENED);
    assert!(mini.read("out/report.md").contains("um-hardened: 1 passed"));
    // The build folder differs from the plain kernel's.
    assert!(mini.path("cache/build/um-hardened/linux").is_file());
    assert!(!mini.path("cache/build/um").exists());
}

#[test]
fn leak_fails_passing_tests() {
    let leak = "\
series-probe: kmemleak| unreferenced object 0x61c0e0c0 (size 64):
series-probe: kmemleak|   comm \"kunit_try_catch\", pid 31, jiffies 4294937326
series-probe: kmemleak|   backtrace (crc 0):
series-probe: kmemleak|     __kmalloc_noprof+0x1/0x2
series-probe: kmemleak|     rust_list_walk+0x3/0x4
series-probe: end";
    let mini = mini(&HARDENED.replace("series-probe: end", leak));
    insta::assert_snapshot!(error(&mini, &["test", "list", "--hardened"]));
    let report = mini.read("out/report.md");
    assert!(report.contains("1 passed, 1 REPORTED"), "{report}");
}

#[test]
fn checker_turned_off_fails() {
    let log = HARDENED.replace(
        "series-probe: kmemleak: scanned\n",
        "series-probe: error: cannot scan by /debug/kmemleak: errno 1\n",
    );
    insta::assert_snapshot!(
        "kmemleak_is_off",
        error(&mini(&log), &["test", "list", "--hardened"])
    );
    let log = LOCKDEP.replace("         1\n", "         0\n");
    insta::assert_snapshot!(
        "lockdep_is_off",
        error(&mini(&log), &["test", "list", "--lockdep"])
    );
}

#[test]
fn lockdep_runs_under_qemu() {
    let mini = mini(LOCKDEP);
    for args in [
        &["test", "list", "--lockdep"][..],
        &["test", "list", "--arch", "x86_64", "--lockdep"],
    ] {
        let ran = good(&mini, args);
        assert!(
            ran.stdout.contains("x86_64-lockdep: 1 passed"),
            "{}",
            ran.stdout
        );
    }
    let ran = good(&mini, &["test", "list", "--lockdep", "--json"]);
    let records: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(records[0]["kernel"], "x86_64-lockdep");
    assert_eq!(
        records[0]["proofs"][1],
        "lockdep was on after the suites: debug_locks 1"
    );
}

#[test]
fn vanished_option_is_named() {
    let mini = mini(HARDENED);
    mini.file("lost", "CONFIG_DEBUG_KMEMLEAK=y\n");
    insta::assert_snapshot!(error(&mini, &["test", "list", "--hardened"]));
}

#[test]
fn vanished_option_rebuilds_kernel() {
    let mini = mini(HARDENED);
    good(&mini, &["test", "list", "--hardened"]);
    let ran = good(&mini, &["test", "list", "--hardened"]);
    assert!(ran.stderr.contains("is up to date"), "{}", ran.stderr);
    mini.file("cache/build/um-hardened/.config", "CONFIG_KUNIT=y\n");
    let ran = good(&mini, &["test", "list", "--hardened"]);
    assert!(!ran.stderr.contains("is up to date"), "{}", ran.stderr);
}

#[test]
fn conflicting_flags() {
    let mini = mini(HARDENED);
    let ran = run(&mini, &["test", "--hardened", "--lockdep"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    insta::assert_snapshot!(error(&mini, &["test", "--lockdep", "--arch", "um"]));
}
