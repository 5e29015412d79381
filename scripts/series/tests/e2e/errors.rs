// SPDX-License-Identifier: GPL-2.0

//! Error messages for wrong input. Each run exits with 1 and loses nothing.

use std::{fs, os::unix::fs::symlink};

use crate::mini::Mini;

macro_rules! says {
    ($mini:expr, $args:expr, @$text:literal) => {
        insta::assert_snapshot!($mini.error(&$args), @$text)
    };
}

#[test]
fn manifest_malformed() {
    let mini = Mini::new();
    mini.replace("series/list.toml", "version = 1", "version = = 1");
    let text = mini.error(&["assemble"]);
    assert!(text.starts_with("error: series/list.toml:1: "), "{text}");
    assert!(text.contains("help: the fields are described"), "{text}");
}

#[test]
fn manifest_unknown_field() {
    let mini = Mini::new();
    mini.replace("series/list.toml", "files =", "filez =");
    says!(mini, ["assemble"], @r#"
    error: series/list.toml:8: unknown field `filez`, expected one of `message`, `subject`, `only`, `files`, `relocate`, `edits`, `withhold`, `large`, `no-fixes`, `checkpatch`, `unverified`
      help: the fields are described in ARCHITECTURE.md, "Manifests"
    "#);
}

#[test]
fn file_claimed_twice_or_never() {
    let mini = Mini::new();
    mini.overlay("list", "stray.rs", "");
    mini.replace(
        "series/list.toml",
        "[\"list/owned.rs\"]",
        "[\"list/owned.rs\", \"list.rs\"]",
    );
    says!(mini, ["assemble"], @r"
    error: series/list.toml:13: list.rs is claimed twice, first in line 8
      help: one patch adds the whole file; remove one of the two lines
    error: list/tree/stray.rs: no patch claims this file
      help: name it in a [[patch]] of series/list.toml
    ");
}

#[test]
fn path_outside_component() {
    let mini = Mini::new();
    mini.replace(
        "series/list.toml",
        "[\"list/owned.rs\"]",
        "[\"list/owned.rs\", \"../../x\"]",
    );
    says!(mini, ["assemble"], @r#"error: series/list.toml:13: "../../x" is outside the component: `..` is not allowed"#);
}

#[test]
fn link_out_of_component() {
    let mini = Mini::new();
    symlink("/etc/hostname", mini.ws("list/tree/link.rs")).unwrap();
    says!(mini, ["assemble"], @r"
    error: list/tree/link.rs: is a symbolic link
      help: the overlay may contain plain files only
    ");
}

#[test]
fn message_is_a_link() {
    let mini = Mini::new();
    fs::rename(mini.ws("series/list/1.msg"), mini.path("elsewhere")).unwrap();
    symlink(mini.path("elsewhere"), mini.ws("series/list/1.msg")).unwrap();
    says!(mini, ["assemble"], @r"
    error: series/list/1.msg: is a symbolic link
      help: replace the link with the file
    ");
}

#[test]
fn edit_without_context() {
    let mini = Mini::new();
    mini.replace("buddy/edits/1.diff", " mod list;", " mod tsil;");
    says!(mini, ["assemble"], @r"
    error: buddy/edits/1.diff: does not apply
        error: patch failed: lib.rs:1
        error: lib.rs: patch does not apply
      help: the diff must apply to the base plus list and the patches before it; update it
    ");
}

#[test]
fn overlay_file_exists_in_base() {
    let mini = Mini::new();
    mini.overlay("list", "Kconfig", "# ours\n");
    mini.replace(
        "series/list.toml",
        "[\"list.rs\"]",
        "[\"list.rs\", \"Kconfig\"]",
    );
    says!(mini, ["assemble"], @r"
    error: list/tree/Kconfig: the base already has this file
      help: change files of the base with a diff in list/edits/
    ");
}

#[test]
fn dependency_cycle() {
    let mini = Mini::new();
    mini.replace("series/list.toml", "depends = []", "depends = [\"mm\"]");
    says!(mini, ["assemble"], @r"
    error: series/mm.toml:3: the dependencies have a cycle: buddy -> list -> mm -> buddy
      help: remove one of these dependencies
    ");
}

#[test]
fn dependency_missing() {
    let mini = Mini::new();
    // The edit of buddy needs the line that list adds, but its manifest does not declare that.
    mini.replace("series/buddy.toml", "depends = [\"list\"]", "depends = []");
    let text = mini.error(&["assemble"]);
    assert!(
        text.starts_with("error: buddy/edits/1.diff: does not apply"),
        "{text}"
    );
    assert!(
        text.contains("must apply to the base and the patches before it"),
        "{text}"
    );
}

#[test]
fn series_unknown() {
    let mini = Mini::new();
    says!(mini, ["assemble", "lits"], @r#"
    error: unknown series "lits"
      help: the series are: list, buddy, mm, other
    "#);
}

#[test]
fn message_and_changelog_malformed() {
    let mini = Mini::new();
    mini.replace(
        "series/list/1.msg",
        "Drivers",
        "Changes in v2:\n- x\n\nDrivers",
    );
    says!(mini, ["assemble"], @r"
    error: series/list/1.msg:3: a changelog between versions does not belong in a commit message
      help: write it in CHANGELOG.md; the tool puts it below `---` of the cover letter
    ");
    let mini = Mini::new();
    mini.replace("series/list.toml", "version = 1", "version = 2");
    says!(mini, ["assemble"], @r"
    error: list/CHANGELOG.md: there is no entry for v2
      help: describe the changes in design and code below `## v2`
    ");
}

#[test]
fn archive_wrong_hash() {
    let mini = Mini::new();
    fs::write(mini.path("mirror/mini.tar.xz"), "not it").unwrap();
    let text = mini.error(&["assemble"]);
    assert!(
        text.starts_with("error: no source for Linux v6.1.2 worked\n"),
        "{text}"
    );
    assert!(text.contains("checksum mismatch for mini.tar.xz"), "{text}");
    assert!(
        text.contains("help: put mini.tar.xz into a folder"),
        "{text}"
    );
    assert!(!mini.path("cache/archives/mini.tar.xz").exists());
    // The cache is unchanged: with the right archive, the next run succeeds.
    let right = Mini::new();
    fs::copy(
        right.path("mirror/mini.tar.xz"),
        mini.path("mirror/mini.tar.xz"),
    )
    .unwrap();
    mini.good(&["assemble"]);
}

#[test]
fn archive_of_another_release() {
    let mini = Mini::new();
    mini.archive(&[(
        "Makefile",
        0o644,
        "VERSION = 5\nPATCHLEVEL = 4\nSUBLEVEL = 0\nEXTRAVERSION = -rc1\n",
    )]);
    says!(mini, ["assemble"], @"error: DIR/mirror/mini.tar.xz: is Linux 5.4-rc1, but the series are based on 6.1.2");
}

#[test]
fn kernel_tree_with_changes() {
    let mini = Mini::new();
    let kernel = mini.pristine("kernel");
    mini.file("kernel/lib.rs", "changed\n");
    says!(mini, ["assemble", "--kernel", kernel.to_str().unwrap()], @r"
    error: DIR/kernel: the kernel tree has uncommitted changes (1 file)
         M lib.rs
      help: commit or stash them, or name a clean tree
    ");
    assert_eq!(
        fs::read_to_string(kernel.join("lib.rs")).unwrap(),
        "changed\n"
    );
}

#[test]
fn kernel_tree_of_another_release() {
    let mini = Mini::new();
    let dir = mini.path("foreign");
    fs::create_dir(&dir).unwrap();
    let args = ["assemble", "--kernel", dir.to_str().unwrap()];
    says!(mini, args, @r"
    error: DIR/foreign: is not a git tree
      help: name a clone that has the tag v6.1.2, or leave --kernel out
    ");
    mini.git(&dir, &["init", "--quiet"]);
    mini.git(&dir, &["commit", "--quiet", "--allow-empty", "-m", "x"]);
    says!(mini, args, @r"
    error: DIR/foreign: is not a Linux kernel tree
      help: check out v6.1.2, or leave --kernel out
    ");
    mini.file(
        "foreign/Makefile",
        "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 0\nEXTRAVERSION =\n",
    );
    mini.git(&dir, &["add", "Makefile"]);
    mini.git(&dir, &["commit", "--quiet", "-m", "x"]);
    says!(mini, args, @r"
    error: DIR/foreign: is Linux 7.3, but the series are based on 6.1.2
      help: check out v6.1.2, or leave --kernel out
    ");
}

#[test]
fn work_tree_changes_are_kept() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    let kernel = mini.path("cache/kernel");
    mini.git(
        &kernel,
        &["reset", "--hard", "--quiet", "refs/series/base/6.1.2"],
    );
    mini.file("cache/kernel/lib.rs", "work of hours\n");
    let text = mini.error(&["check"]);
    assert!(
        text.contains("the tool's kernel tree has changes that the tool did not make")
            && text.contains(" M lib.rs")
            && text.contains("help: keep them: git -C DIR/cache/kernel diff HEAD > my.diff"),
        "{text}"
    );
    assert_eq!(
        fs::read_to_string(kernel.join("lib.rs")).unwrap(),
        "work of hours\n"
    );
}

#[test]
fn work_tree_commits_are_kept() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    let kernel = mini.path("cache/kernel");
    let base = mini.git(&kernel, &["rev-parse", "refs/series/base/6.1.2"]);
    mini.git(&kernel, &["reset", "--hard", "--quiet", &base]);
    mini.git(
        &kernel,
        &["update-ref", "refs/series/tree/checked-out", &base],
    );
    mini.git(
        &kernel,
        &["commit", "--quiet", "--allow-empty", "-m", "work of hours"],
    );
    let mine = mini.git(&kernel, &["rev-parse", "HEAD"]);
    let text = mini.error(&["check"]);
    assert!(
        text.contains("has commits that the tool did not make"),
        "{text}"
    );
    assert_eq!(mini.git(&kernel, &["rev-parse", "HEAD"]), mine);
}

#[test]
fn another_cache_starts_empty() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    let mut command = mini.command(&["assemble"]);
    let ran = mini.ran(
        command
            .env("SERIES_CACHE", mini.path("new"))
            .output()
            .unwrap(),
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn git_missing() {
    let mini = Mini::new();
    let mut command = mini.command(&["assemble"]);
    command.env("PATH", mini.path("nowhere"));
    let ran = mini.ran(command.output().unwrap());
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr
            .contains("error: git is not installed\n  help: `cargo series doctor`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn missing_tools_have_fixes() {
    let mini = Mini::new();
    let mut command = mini.command(&["doctor"]);
    command.env("PATH", mini.path("nowhere"));
    let ran = mini.ran(command.output().unwrap());
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stdout
            .contains("| clang-19           | MISSING | build, test"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("apt-get install clang-19"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr.contains("error: missing: git, curl, make, "),
        "{}",
        ran.stderr
    );
}

/// Returns the tools that a run reports as missing when only git is installed.
fn demanded(args: &[&str]) -> String {
    let mini = Mini::new();
    let bin = mini.path("bin");
    fs::create_dir(&bin).unwrap();
    let git = mini.git(&mini.path("home"), &["--exec-path"]);
    symlink(format!("{git}/git"), bin.join("git")).unwrap();
    let ran = mini.ran(mini.command(args).env("PATH", bin).output().unwrap());
    assert_eq!(ran.code, Some(1), "{args:?}: {}", ran.stderr);
    let missing = ran
        .stderr
        .lines()
        .find_map(|l| l.strip_prefix("error: missing: "));
    missing
        .unwrap_or_else(|| panic!("{args:?}: {}", ran.stderr))
        .to_owned()
}

#[test]
fn tools_missing_per_command() {
    let build = "make, gcc, clang-19, ld.lld-19, llvm-nm-19, libclang-19, flex, bison, bc, cpio, \
                 pahole, libelf.h, openssl/ssl.h, python3, rust-src, bindgen";
    let qemu = build.replace("rust-src", "qemu-system-x86_64, rust-src");
    for (args, missing) in [
        (&["build"][..], build),
        (&["build", "--arch", "x86_64"], build),
        (&["test"], build),
        (&["test", "--arch", "x86_64"], &qemu),
        (&["check"], "perl, rustfmt, clippy"),
        (&["prepare", "list"], "b4"),
    ] {
        assert_eq!(demanded(args), missing, "{args:?}");
    }
}

#[test]
fn setup_as_root_needs_yes() {
    let mini = Mini::new();
    // An apt-get that only records its calls.
    mini.file(
        "bin/apt-get",
        "#!/bin/sh\n[ \"$1\" = --version ] || [ \"$5\" = --version ] || echo \"$*\" >>\"$CALLS\"\n",
    );
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(mini.path("bin/apt-get"), mode).unwrap();
    symlink("/bin/sh", mini.path("bin/sh")).unwrap();
    let calls = mini.path("calls");
    let run = |args: &[&str]| {
        let mut command = mini.command(args);
        command.env("PATH", mini.path("bin")).env("CALLS", &calls);
        mini.ran(command.stdin(std::process::Stdio::null()).output().unwrap())
    };
    let ran = run(&["setup"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(!calls.exists(), "{}", fs::read_to_string(&calls).unwrap());
    assert!(
        ran.stderr.contains("distribution packages are missing"),
        "{}",
        ran.stderr
    );
    if rustix::process::geteuid().is_root() {
        assert!(ran.stderr.contains("pass --yes to"), "{}", ran.stderr);
        run(&["setup", "--yes"]);
        let called = fs::read_to_string(&calls).unwrap();
        assert!(called.contains(" install --yes "), "{called}");
    }
}

#[test]
fn cache_unwritable_names_variable() {
    let mini = Mini::new();
    mini.file("plain", "a file where the cache should be\n");
    let mut command = mini.command(&["status"]);
    command.env("SERIES_CACHE", mini.path("plain"));
    let ran = mini.ran(command.output().unwrap());
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(ran.stderr, @"
    error: cannot make the folder DIR/plain/tmp: Not a directory (os error 20)
      help: set SERIES_CACHE to a writable folder with 20 GB of space
    ");
}

#[test]
fn series_removed_reported() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    for path in [
        "series/other.toml",
        "series/other",
        "other",
        "cover-letters/other.md",
    ] {
        fs::rename(mini.ws(path), mini.path(&path.replace('/', "-"))).unwrap();
    }
    let ran = mini.good(&["assemble"]);
    assert!(
        ran.stderr.contains(
            "note: series/other.toml was removed; to delete the output of the series:\n    \
             rm -r out/other\n    \
             git -C DIR/cache/kernel branch --force --delete b4/other\n"
        ),
        "{}",
        ran.stderr
    );
    mini.git(
        &mini.path("cache/kernel"),
        &["branch", "--force", "--delete", "b4/other"],
    );
    fs::remove_dir_all(mini.ws("out/other")).unwrap();
    assert!(!mini.good(&["assemble"]).stderr.contains("was removed"));
}

#[test]
fn series_new_lists_missing_files() {
    let mini = Mini::new();
    let manifest = "version = 1\nchange-id = \"20260102-more-0123456789ab\"\n\
                    to = [\"List <list@example.org>\"]\n";
    mini.file("ws/series/more.toml", manifest);
    says!(mini, ["assemble"], @"
    error: cover-letters/more.md: the file is missing
      help: create it: `# rust: x: add it` in the first line, then the reason for the series
    error: more/CHANGELOG.md: the file is missing
      help: create it: `## v1` in a line, and `- First posting.` below it
    ");
}

#[test]
fn outside_of_workspace() {
    let mini = Mini::new();
    let mut command = mini.command(&["status"]);
    command.current_dir(mini.path("home"));
    let ran = mini.ran(command.output().unwrap());
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(ran.stderr, @r"
    error: DIR/home is not in a workspace of patch series: there is no series/bases or series/base.toml above it
      help: change into the checkout, or name it with --workspace DIR
    ");
}
