// SPDX-License-Identifier: GPL-2.0

//! `port`: the state of the series on another kernel.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    mini::{Mini, tar_xz},
    relocate,
};

macro_rules! says {
    ($mini:expr, $base:expr, @$text:literal) => {
        insta::assert_snapshot!($mini.error(&["try", &$base]), @$text)
    };
}

/// The miniature kernel in git, with `changes` committed on top.
fn other(mini: &Mini, changes: &[(&str, &str)]) -> PathBuf {
    let dir = mini.pristine("other");
    for (path, text) in changes {
        mini.file(&format!("other/{path}"), text);
    }
    mini.git(&dir, &["add", "--all"]);
    mini.git(&dir, &["commit", "--quiet", "--allow-empty", "-m", "Other"]);
    dir
}

fn json(mini: &Mini, base: &Path) -> Value {
    let base = base.to_str().unwrap();
    serde_json::from_str(&mini.good(&["try", base, "--json"]).stdout).unwrap()
}

/// The text of the report, without object names, which depend on the date of the commits.
fn text(mini: &Mini, base: &Path) -> String {
    let ran = mini.good(&["try", base.to_str().unwrap(), "--quiet"]);
    let hex = |word: &str| word.len() == 40 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let mask = |line: &str| {
        let words = line.split(' ').map(|w| if hex(w) { "HASH" } else { w });
        words.collect::<Vec<_>>().join(" ")
    };
    ran.stdout.lines().map(|l| mask(l) + "\n").collect()
}

/// The results for the patches of a series.
fn results<'a>(report: &'a Value, name: &str) -> Vec<&'a str> {
    let series = report["series"].as_array().unwrap();
    let series = series.iter().find(|s| s["name"] == name).unwrap();
    let patches = series["patches"].as_array().unwrap().iter();
    patches.map(|p| p["is"].as_str().unwrap()).collect()
}

#[test]
fn same_base_applies() {
    let mini = Mini::new();
    let base = other(&mini, &[]);
    let report = json(&mini, &base);
    for (name, patches) in [("list", 2), ("buddy", 2), ("mm", 0), ("other", 1)] {
        assert_eq!(results(&report, name), vec!["applies"; patches], "{name}");
    }
    assert_eq!(report["base"]["version"], "6.1.2");
    assert_eq!(report["made_for"], "6.1.2");
    let tree = mini.git(&base, &["rev-parse", "HEAD^{tree}"]);
    assert_eq!(report["base"]["tree"], tree.as_str());
}

#[test]
fn assembled_base_has_everything() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    let kernel = mini.path("cache/kernel");
    let base = format!("{}@b4/buddy", kernel.display());
    let report = json(&mini, Path::new(&base));
    assert_eq!(results(&report, "buddy"), ["there", "there"]);
    assert_eq!(results(&report, "other"), ["applies"]);
}

#[test]
fn nothing_else_changes() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    let kernel = mini.path("cache/kernel");
    let refs = || {
        let all = mini.git(&kernel, &["for-each-ref"]);
        let others = all.lines().filter(|l| !l.contains("refs/series/port/"));
        others.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = (mini.report(), mini.received(), refs());
    let base = other(&mini, &[("lib.rs", "mod other;\n")]);
    mini.good(&["try", base.to_str().unwrap()]);
    assert_eq!(before, (mini.report(), mini.received(), refs()));
    let again = mini.good(&["assemble"]).stderr;
    assert!(again.contains("nothing changed since"), "{again}");
}

#[test]
fn second_run_fetches_nothing() {
    let mini = Mini::new();
    let base = other(&mini, &[]);
    let base = base.to_str().unwrap();
    let first = mini.good(&["try", base]);
    assert!(first.stderr.contains("fetching "), "{}", first.stderr);
    let again = mini.good(&["try", base]);
    assert!(!again.stderr.contains("fetching "), "{}", again.stderr);
    assert_eq!(first.stdout, again.stdout);
    // Another commit is another base.
    mini.file("other/lib.rs", "mod alpha;\n");
    mini.git(
        &mini.path("other"),
        &["commit", "--quiet", "--all", "-m", "More"],
    );
    let third = mini.good(&["try", base]);
    assert!(third.stderr.contains("fetching "), "{}", third.stderr);
}

/// A base with a part of `list`, another order in lib.rs, and another entry in MAINTAINERS.
const PART: &[(&str, &str)] = &[
    (
        "list.rs",
        "//! Theirs.\n\npub fn walk() {}\n\npub fn more() {}\n",
    ),
    ("lib.rs", "mod alpha;\nmod beta;\nmod omega;\n"),
    ("MAINTAINERS", "A\nF:\ta/\n\nZ\nF:\tz/\n\nZZ\nF:\tzz/\n"),
];

#[test]
fn part_there_and_conflicts() {
    let mini = Mini::new();
    let owned = "pub struct Owned;\n\nimpl Owned {\n    pub fn push() {}\n}\n";
    mini.overlay("list", "list/owned.rs", owned);
    let base = other(&mini, PART);
    insta::assert_snapshot!(text(&mini, &base));
    let report = json(&mini, &base);
    let patch = &report["series"][0]["patches"][0];
    assert_eq!(patch["there"][0]["name"], "walk");
    assert_eq!(patch["there"][0]["line"], 3);
    let conflicts = patch["conflicts"].as_array().unwrap();
    let found = |n: usize| (&conflicts[n]["path"], &conflicts[n]["what"]);
    assert_eq!(found(0), (&"lib.rs".into(), &"content".into()));
    assert_eq!(found(1), (&"list.rs".into(), &"both-add".into()));
}

#[test]
fn base_after_relocation() {
    let mini = relocate::mini();
    let moved = "/* moved */\n#include <linux/a.h>\n\nint gpu_a_one(void)\n{\n\treturn 1;\n}\n\n\
                 int gpu_a_two(void)\n{\n\treturn 2;\n}\n";
    let user = "#include <linux/a.h>\nint x(void) { return gpu_a_one(); }\n";
    let changes = [
        ("gpu/a.c", moved),
        ("linux/a.h", "int gpu_a_one(void);\nint gpu_a_two(void);\n"),
        ("drm/user.c", user),
        // The old path has another file.
        ("drm/a.c", "/* printers */\n"),
    ];
    let base = other(&mini, &changes);
    mini.git(&base, &["rm", "--quiet", "drm/a.h"]);
    mini.git(&base, &["commit", "--quiet", "-m", "Moved"]);
    insta::assert_snapshot!(text(&mini, &base));
}

#[test]
fn named_series_only() {
    let mini = Mini::new();
    let base = other(&mini, &[]);
    let ran = mini.good(&["try", base.to_str().unwrap(), "buddy", "--json"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["series"].as_array().unwrap().len(), 1);
    assert_eq!(results(&report, "buddy"), ["applies", "applies"]);
}

#[test]
fn bare_repository_and_revision() {
    let mini = Mini::new();
    let base = other(&mini, &[("lib.rs", "mod gamma;\n")]);
    mini.git(&base, &["tag", "next", "HEAD~1"]);
    let bare = mini.path("bare.git");
    mini.git(
        &base,
        &["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()],
    );
    let on = |rev: &str| json(&mini, Path::new(&format!("{}{rev}", bare.display())));
    assert_eq!(results(&on(""), "list")[0], "conflicts");
    assert_eq!(results(&on("@next"), "list")[0], "applies");
    assert_eq!(results(&on("@HEAD^{commit}"), "list")[0], "conflicts");
    // Without its history, too.
    let shallow = mini.path("shallow");
    let url = format!("file://{}", bare.display());
    mini.git(
        &base,
        &[
            "clone",
            "--quiet",
            "--depth=1",
            &url,
            shallow.to_str().unwrap(),
        ],
    );
    assert_eq!(results(&json(&mini, &shallow), "list")[0], "conflicts");
    let base = format!("{}@v9", shallow.display());
    says!(mini, base, @r#"
    error: DIR/shallow: has no revision "v9"
      help: the clone is shallow: fetch the revision there, or name another revision
    "#);
}

#[test]
fn uncommitted_changes_warned() {
    let mini = Mini::new();
    let base = other(&mini, &[]);
    mini.file("other/lib.rs", "mod gamma;\n");
    let ran = mini.good(&["try", base.to_str().unwrap(), "--json"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(results(&report, "list")[0], "applies");
    assert!(
        ran.stderr
            .contains("warning: DIR/other has uncommitted changes in 1 file; they are ignored"),
        "{}",
        ran.stderr
    );
}

/// An archive of the miniature kernel, of another release.
fn archive(mini: &Mini, file: &str) -> PathBuf {
    let makefile = "VERSION = 6\nPATCHLEVEL = 3\nSUBLEVEL = 0\nEXTRAVERSION = -rc1\n";
    let files = [
        ("Makefile", 0o644, makefile),
        ("MAINTAINERS", 0o644, "A\nF:\ta/\n\nZ\nF:\tz/\n"),
        ("lib.rs", 0o644, "mod alpha;\nmod omega;\n"),
    ];
    let path = mini.path(file);
    fs::write(&path, tar_xz("linux-6.3-rc1", &files)).unwrap();
    path
}

#[test]
fn archive_without_hash() {
    let mini = Mini::new();
    let path = archive(&mini, "linux-6.3-rc1.tar.xz");
    let report = json(&mini, &path);
    assert_eq!(results(&report, "buddy"), ["applies", "applies"]);
    assert_eq!(report["base"]["version"], "6.3-rc1");
    let from = report["base"]["from"].as_str().unwrap();
    assert!(from.starts_with("linux-6.3-rc1.tar.xz, sha256 "), "{from}");
    let again = mini.good(&["try", path.to_str().unwrap()]);
    assert!(!again.stderr.contains("importing"), "{}", again.stderr);
}

/// Creates replacements of apt's programs with one source package, with or without its archive.
fn apt(mini: &Mini, archive: &Path, have: bool) -> String {
    let serve = match have {
        true => format!("cp {} linux_6.3~rc1.orig.tar.xz", archive.display()),
        false => "echo 'E: 404  Not Found' >&2; exit 100".to_owned(),
    };
    let get = format!(
        "#!/bin/sh\ncase \"$*\" in\n*indextargets*) echo 'Packages|Debian|x|http://mirror.invalid/';;\n\
         *update*) ;;\n*source*) {serve};;\nesac\n"
    );
    mini.file("bin/apt-get", &get);
    mini.file(
        "bin/apt-cache",
        "#!/bin/sh\nprintf 'Package: linux\\nVersion: 6.3~rc1-1\\n'\n",
    );
    for name in ["apt-get", "apt-cache"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(mini.path(&format!("bin/{name}")), mode).unwrap();
    }
    format!(
        "{}:{}",
        mini.path("bin").display(),
        std::env::var("PATH").unwrap()
    )
}

fn with_path(mini: &Mini, path: &str, base: &str) -> crate::mini::Ran {
    let mut command = mini.command(&["try", base]);
    mini.ran(command.env("PATH", path).output().unwrap())
}

#[test]
fn source_package() {
    let mini = Mini::new();
    let archive = archive(&mini, "x.tar.xz");
    let path = apt(&mini, &archive, true);
    let base = "apt:sid:linux=6.3~rc1-1";
    let ran = with_path(&mini, &path, base);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let head = "Linux 6.3-rc1, source package linux 6.3~rc1-1, tree ";
    assert!(ran.stdout.starts_with(head), "{}", ran.stdout);
    // The second run uses the imported package.
    let left: Vec<_> = fs::read_dir(mini.path("cache/archives"))
        .unwrap()
        .flatten()
        .collect();
    assert!(left.is_empty(), "{left:?}");
    fs::remove_dir_all(mini.path("bin")).unwrap();
    let again = with_path(&mini, &path, base);
    assert_eq!(
        (again.code, again.stdout),
        (Some(0), ran.stdout),
        "{}",
        again.stderr
    );
}

#[test]
fn source_package_unavailable() {
    let mini = Mini::new();
    let archive = archive(&mini, "x.tar.xz");
    let path = apt(&mini, &archive, false);
    let says = |base: &str| {
        let ran = with_path(&mini, &path, base);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        let at = ran.stderr.find("error: ").unwrap();
        ran.stderr[at..].to_owned()
    };
    insta::assert_snapshot!(says("apt:sid:linux=6.4-1"), @r#"
    error: apt:sid:linux=6.4-1: sid has no linux 6.4-1
      help: it has 6.3~rc1-1
    "#);
    let text = says("apt:sid:linux=6.3~rc1-1");
    assert!(
        text.starts_with("error: apt:sid:linux=6.3~rc1-1: `apt-get"),
        "{text}"
    );
    assert!(text.contains("    E: 404  Not Found\n"), "{text}");
    assert!(text.ends_with("try another version\n"), "{text}");
    says!(mini, "apt:sid:linux", @r#"
    error: "apt:sid:linux" does not name a source package
      help: write it as apt:SUITE:linux=VERSION; `apt-cache showsrc` lists the versions
    "#);
}

#[test]
fn base_invalid() {
    let mini = Mini::new();
    let at = |name: &str| mini.path(name).to_str().unwrap().to_owned();
    says!(mini, at("nowhere"), @r#"
    error: DIR/nowhere: no such folder or file
      help: name a kernel tree in git (DIR or DIR@REV), a .tar.xz archive,
            or a source package of the distribution (apt:SUITE:linux=VERSION)
    "#);
    mini.file("plain/Makefile", "VERSION = 6\n");
    let text = mini.error(&["try", &at("plain")]);
    assert!(
        text.starts_with("error: DIR/plain: is not a git repository\n    fatal: not a git repo"),
        "{text}"
    );
    assert!(
        text.contains("  help: name the top folder of a clone"),
        "{text}"
    );
    // A folder inside another repository.
    let other = other(&mini, &[]);
    mini.file("other/below/Makefile", "VERSION = 6\n");
    says!(mini, at("other/below"), @r#"
    error: DIR/other/below: is not a git repository
        it lies in that of DIR/other
      help: name the top folder of a clone, or pack an unpacked kernel:
            tar -cJf linux.tar.xz FOLDER
    "#);
    says!(mini, format!("{}@v9", other.display()), @r#"
    error: DIR/other: has no revision "v9"
      help: `git tag` and `git branch --all` list its revisions
    "#);
    mini.git(&other, &["rm", "--quiet", "Makefile"]);
    mini.git(&other, &["commit", "--quiet", "-m", "No kernel"]);
    says!(mini, at("other"), @r#"
    error: DIR/other: is not a Linux kernel tree
      help: name the complete sources of a kernel, whose Makefile names the release
    "#);
    mini.git(
        &mini.path(""),
        &["init", "--quiet", "--object-format=sha256", "long"],
    );
    says!(mini, at("long"), @r#"
    error: DIR/long: its objects have sha256 names
      help: name a repository with SHA-1 names, as the kernel's is, or an archive
    "#);
}

#[test]
fn archive_invalid() {
    let mini = Mini::new();
    let at = |name: &str| mini.path(name).to_str().unwrap().to_owned();
    mini.file("linux.tar.gz", "x");
    says!(mini, at("linux.tar.gz"), @r#"
    error: DIR/linux.tar.gz: is neither a folder nor a .tar.xz archive
      help: unpack it and pack it again: tar -cJf linux.tar.xz FOLDER
    "#);
    mini.file("text.tar.xz", "no archive");
    says!(mini, at("text.tar.xz"), @r#"
    error: DIR/text.tar.xz: is not compressed with xz
      help: unpack it and pack it again: tar -cJf linux.tar.xz FOLDER
    "#);
    fs::write(
        mini.path("none.tar.xz"),
        tar_xz("x", &[("README", 0o644, "x\n")]),
    )
    .unwrap();
    says!(mini, at("none.tar.xz"), @r#"
    error: DIR/none.tar.xz: is not a Linux kernel tree
      help: name the complete sources of a kernel, whose Makefile names the release
    "#);
    let whole = fs::read(archive(&mini, "linux.tar.xz")).unwrap();
    fs::write(mini.path("cut.tar.xz"), &whole[..whole.len() / 2]).unwrap();
    let text = mini.error(&["try", &at("cut.tar.xz")]);
    assert!(text.starts_with("error: DIR/cut.tar.xz: "), "{text}");
    assert!(
        text.ends_with("help: if the archive is truncated or damaged, download it again\n"),
        "{text}"
    );
    // Failed imports leave no refs.
    let refs = mini.git(&mini.path("cache/kernel"), &["for-each-ref", "refs/series"]);
    assert!(!refs.contains("/port"), "{refs}");
    json(&mini, &mini.path("linux.tar.xz"));
}

#[test]
fn import_killed_leaves_nothing() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    let report = mini.report();
    let path = archive(&mini, "linux.tar.xz");
    let base = path.to_str().unwrap();
    for delay in [0, 5, 10, 20, 30, 45, 60, 80, 110, 150] {
        let mut command = mini.command(&["try", base, "--quiet"]);
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
    // A lock that an interrupted run left when it set the ref.
    let kernel = mini.path("cache/kernel/.git");
    mini.git(&kernel, &["for-each-ref"]);
    let refs = mini.git(
        &kernel,
        &["for-each-ref", "--format=%(refname)", "refs/series/port"],
    );
    for name in refs.lines() {
        mini.git(&kernel, &["update-ref", "-d", name]);
    }
    mini.file("cache/kernel/.git/refs/series/import/port-x.lock", "");
    mini.file("cache/kernel/.git/shallow.lock", "");
    mini.file("cache/lock/base", "4194999");
    let ran = mini.good(&["try", base]);
    assert!(
        ran.stderr.contains("importing linux.tar.xz"),
        "{}",
        ran.stderr
    );
    assert!(
        !mini
            .path("cache/kernel/.git/refs/series/import/port-x.lock")
            .exists()
    );
    let refs = mini.git(&kernel, &["for-each-ref", "refs/series/import"]);
    assert!(!refs.contains("/port"), "{refs}");
    assert_eq!(fs::read_dir(mini.path("cache/tmp")).unwrap().count(), 0);
    let again = mini.good(&["assemble"]);
    assert!(
        again.stderr.contains("nothing changed since"),
        "{}",
        again.stderr
    );
    assert_eq!(mini.report(), report);
}

#[test]
fn concurrent_runs_import_once() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    let path = archive(&mini, "linux.tar.xz");
    let children: Vec<_> = (0..3)
        .map(|_| {
            let mut command = mini.command(&["try", path.to_str().unwrap()]);
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let ran: Vec<_> = children
        .into_iter()
        .map(|child| mini.ran(child.wait_with_output().unwrap()))
        .collect();
    assert!(ran.iter().all(|r| r.code == Some(0)), "{}", ran[0].stderr);
    assert!(ran.iter().all(|r| r.stdout == ran[0].stdout));
    let done = "importing linux.tar.xz done in";
    let imports = ran.iter().filter(|r| r.stderr.contains(done));
    assert_eq!(imports.count(), 1);
}
