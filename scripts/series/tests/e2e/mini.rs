// SPDX-License-Identifier: GPL-2.0

//! A miniature kernel and a miniature workspace for each test, used by the real program, git and
//! b4. The base comes from a folder, so no network is necessary.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The date of the miniature release: 2026-01-02 03:04:05 UTC.
const RELEASED: u64 = 1_767_323_045;

/// The files of the miniature kernel.
const KERNEL: &[KernelFile] = &[
    (
        "Makefile",
        0o644,
        "# SPDX-License-Identifier: GPL-2.0\nVERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 2\nEXTRAVERSION =\nNAME = Mini\n",
    ),
    ("Kconfig", 0o644, "# top\n"),
    (".gitattributes", 0o644, "*.[ch] diff=cpp\n*.rs diff=rust\n"),
    ("MAINTAINERS", 0o644, "A\nF:\ta/\n\nZ\nF:\tz/\n"),
    ("lib.rs", 0o644, "mod alpha;\nmod omega;\n"),
    ("scripts/run.sh", 0o755, "#!/bin/sh\n"),
];

/// Path, mode and content.
type KernelFile = (&'static str, u32, &'static str);

pub struct Mini {
    dir: tempfile::TempDir,
    kernel: Vec<KernelFile>,
}

/// The result of a run, without paths of this machine.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Mini {
    /// Creates a workspace without errors: three series that build on each other, and a separate
    /// one.
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// Creates the same workspace with additional files in the kernel.
    pub fn with(more: &[KernelFile]) -> Self {
        let mini = Self {
            dir: tempfile::tempdir().unwrap(),
            kernel: [KERNEL, more].concat(),
        };
        mini.file(
            "home/.gitconfig",
            "[user]\n\tname = Dev Eloper\n\temail = dev@example.org\n[commit]\n\tgpgsign = true\n[diff]\n\tnoprefix = true\n\tcontext = 1\n[format]\n\tcoverLetter = true\n\tsignOff = true\n\tnoprefix = true\n\tsuffix = .txt\n",
        );
        mini.archive(&mini.kernel);
        mini.series("list", &[], LIST);
        mini.overlay(
            "list",
            "list.rs",
            "//! A list.\n\nmod owned;\n\npub fn walk() {}\n",
        );
        mini.overlay("list", "list/owned.rs", "//! Owned.\n");
        mini.edit(
            "list",
            "1.diff",
            "lib.rs",
            " mod alpha;\n+mod list;\n mod omega;\n",
            (2, 3),
        );
        mini.message("list", "1.msg", "rust: list: add a walk");
        mini.message("list", "2.msg", "rust: list: add the owned side");
        mini.series("buddy", &["list"], BUDDY);
        mini.overlay("buddy", "buddy.rs", "//! A buddy.\n");
        mini.edit(
            "buddy",
            "1.diff",
            "lib.rs",
            " mod alpha;\n+mod buddy;\n mod list;\n mod omega;\n",
            (3, 4),
        );
        mini.overlay("buddy", "buddy_test.rs", "//! A test.\n");
        mini.message("buddy", "1.msg", "rust: buddy: add the binding");
        mini.message("buddy", "2.msg", "rust: buddy: add a test");
        mini.series("mm", &["buddy"], "");
        mini.series("other", &[], OTHER);
        mini.edit(
            "other",
            "1.diff",
            "MAINTAINERS",
            " A\n F:\ta/\n \n+B\n+F:\tb/\n+\n Z\n F:\tz/\n",
            (5, 8),
        );
        mini.message("other", "1.msg", "MAINTAINERS: add an entry");
        mini
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub fn ws(&self, below: &str) -> PathBuf {
        self.path("ws").join(below)
    }

    pub fn read(&self, below: &str) -> String {
        fs::read_to_string(self.ws(below)).unwrap_or_else(|e| panic!("{below}: {e}"))
    }

    pub fn file(&self, below: &str, text: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn overlay(&self, series: &str, path: &str, text: &str) {
        self.file(&format!("ws/{series}/tree/{path}"), text);
    }

    /// Adds a diff with one hunk at the start of a file; `counts` are its lines before and after.
    pub fn edit(&self, series: &str, name: &str, path: &str, hunk: &str, counts: (u32, u32)) {
        let (old, new) = counts;
        let head = format!("--- a/{path}\n+++ b/{path}\n@@ -1,{old} +1,{new} @@\n");
        self.file(&format!("ws/{series}/edits/{name}"), &(head + hunk));
    }

    pub fn message(&self, series: &str, name: &str, subject: &str) {
        let text = format!("{subject}\n\nDrivers need it, and there is no other way.\n");
        self.file(&format!("ws/series/{series}/{name}"), &text);
    }

    pub fn series(&self, name: &str, depends: &[&str], patches: &str) {
        let without: Vec<_> = depends.iter().map(|d| format!("{d} = 0")).collect();
        let without = match without.is_empty() {
            true => String::new(),
            false => format!("without = {{ {} }}\n", without.join(", ")),
        };
        let manifest = format!(
            "version = 1\nchange-id = \"20260102-{name}-0123456789ab\"\ndepends = {depends:?}\n\
             {without}to = [\"List <list@example.org>\"]\n{patches}"
        );
        self.file(&format!("ws/series/{name}.toml"), &manifest);
        self.file(
            &format!("ws/cover-letters/{name}.md"),
            &format!("# rust: {name}: add it\n\nDrivers need {name}.\n"),
        );
        self.file(
            &format!("ws/{name}/CHANGELOG.md"),
            &format!("# Changelog of {name}\n\n## v1\n- First posting.\n"),
        );
    }

    pub fn replace(&self, below: &str, from: &str, to: &str) {
        let text = self.read(below);
        assert!(text.contains(from), "{below} has no {from:?}");
        fs::write(self.ws(below), text.replacen(from, to, 1)).unwrap();
    }

    /// Creates the archive of the base, and the manifest that names it.
    pub fn archive(&self, files: &[(&str, u32, &str)]) {
        let xz = tar_xz("linux-6.1.2", files);
        let hash: String = Sha256::digest(&xz)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        fs::create_dir_all(self.path("mirror")).unwrap();
        fs::write(self.path("mirror/mini.tar.xz"), xz).unwrap();
        self.file(
            "ws/series/base.toml",
            &format!(
                "version = \"6.1.2\"\ntrees = []\n\n[[archive]]\nfile = \"mini.tar.xz\"\n\
                 sha256 = \"{hash}\"\n\n[host]\npaths = [\"list.rs\", \"scripts\"]\n\
                 base-paths = [\"Makefile\"]\n"
            ),
        );
    }

    /// Creates the archive of another release, in which these files have other text. Returns its
    /// name and its hash.
    fn archive_of(&self, sublevel: u32, changed: &[(&str, &str)]) -> (String, String) {
        let makefile = self.kernel.iter().find(|(path, ..)| *path == "Makefile");
        let makefile = makefile.unwrap().2;
        let makefile = makefile.replace("SUBLEVEL = 2", &format!("SUBLEVEL = {sublevel}"));
        let text_of = |path: &str, text| match changed.iter().find(|(of, _)| *of == path) {
            Some((_, other)) => *other,
            None => text,
        };
        let files: Vec<(&str, u32, &str)> = self
            .kernel
            .iter()
            .map(|(path, mode, text)| match *path {
                "Makefile" => (*path, *mode, makefile.as_str()),
                _ => (*path, *mode, text_of(path, *text)),
            })
            .collect();
        let is_new = |path: &str| !self.kernel.iter().any(|(of, ..)| *of == path);
        let new = changed.iter().filter(|(path, _)| is_new(path));
        let files = [
            files,
            new.map(|(path, text)| (*path, 0o644, *text)).collect(),
        ]
        .concat();
        let xz = tar_xz(&format!("linux-6.1.{sublevel}"), &files);
        let hash: String = Sha256::digest(&xz)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let archive = format!("mini-{sublevel}.tar.xz");
        fs::write(self.path("mirror").join(&archive), xz).unwrap();
        (archive, hash)
    }

    /// Adds a base, in which these files have other text; `more` are lines of its file.
    pub fn base(&self, name: &str, sublevel: u32, changed: &[(&str, &str)], more: &str) {
        let (archive, hash) = self.archive_of(sublevel, changed);
        self.file(
            &format!("ws/series/bases/{name}.toml"),
            &format!(
                "version = \"6.1.{sublevel}\"\n{more}\n[[archive]]\nfile = \"{archive}\"\n\
                 sha256 = \"{hash}\"\n\n[host]\npaths = [\"list.rs\"]\n"
            ),
        );
    }

    /// Switches the base to another release, in which these files have other text.
    pub fn release(&self, sublevel: u32, changed: &[(&str, &str)]) {
        let (archive, hash) = self.archive_of(sublevel, changed);
        let base = self.read("series/base.toml");
        let lines = base.lines().map(|line| match line.split_once(" = ") {
            Some(("version", _)) => format!("version = \"6.1.{sublevel}\"\n"),
            Some(("file", _)) => format!("file = \"{archive}\"\n"),
            Some(("sha256", _)) => format!("sha256 = \"{hash}\"\n"),
            _ => format!("{line}\n"),
        });
        self.file("ws/series/base.toml", &lines.collect::<String>());
    }

    /// Returns the program with its arguments, in this workspace and isolated from the user's
    /// settings.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_series"));
        self.isolate(&mut command);
        command.args(args).current_dir(self.ws(""));
        command
    }

    pub fn isolate(&self, command: &mut Command) {
        for var in [
            "GIT_DIR",
            "GIT_INDEX_FILE",
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
        ] {
            command.env_remove(var);
        }
        // rustup finds its toolchains through HOME, which is replaced below.
        for (var, folder) in [("RUSTUP_HOME", ".rustup"), ("CARGO_HOME", ".cargo")] {
            if let (None, Some(home)) = (std::env::var_os(var), std::env::var_os("HOME")) {
                command.env(var, Path::new(&home).join(folder));
            }
        }
        command
            .env("HOME", self.path("home"))
            .env("GIT_CONFIG_GLOBAL", self.path("home/.gitconfig"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("SERIES_CACHE", self.path("cache"))
            .env("SERIES_MIRROR", self.path("mirror"));
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.ran(self.command(args).output().unwrap())
    }

    pub fn ran(&self, output: Output) -> Ran {
        let dir = self.dir.path().to_str().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(dir, "DIR");
        Ran {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Runs the program, which has to succeed.
    pub fn good(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{args:?}:\n{}{}", ran.stdout, ran.stderr);
        ran
    }

    /// Runs the program, which has to fail as expected, and returns the error.
    pub fn error(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(1), "{args:?}:\n{}{}", ran.stdout, ran.stderr);
        let at = ran
            .stderr
            .find("error: ")
            .unwrap_or_else(|| panic!("{}", ran.stderr));
        ran.stderr[at..].to_owned()
    }

    pub fn report(&self) -> Value {
        serde_json::from_str(&self.read("out/series.json")).unwrap()
    }

    pub fn series_report(&self, name: &str) -> Value {
        let report = self.report();
        let all = report["series"].as_array().unwrap();
        all.iter().find(|s| s["name"] == name).unwrap().clone()
    }

    /// Runs git in a folder with the test's settings, and returns its output.
    pub fn git(&self, dir: &Path, args: &[&str]) -> String {
        let mut command = Command::new("git");
        self.isolate(&mut command);
        let out = command
            .args([
                "-c",
                "commit.gpgsign=false",
                "-c",
                "diff.noprefix=false",
                "-c",
                "diff.context=3",
            ])
            .args(args)
            .current_dir(dir)
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
    }

    /// Creates a clone of the miniature kernel, as a maintainer has it.
    pub fn pristine(&self, name: &str) -> PathBuf {
        let dir = self.path(name);
        fs::create_dir_all(&dir).unwrap();
        for (path, mode, text) in &self.kernel {
            self.file(&format!("{name}/{path}"), text);
            let mode = std::os::unix::fs::PermissionsExt::from_mode(*mode);
            fs::set_permissions(dir.join(path), mode).unwrap();
        }
        self.git(&dir, &["init", "--quiet"]);
        self.git(&dir, &["add", "--all"]);
        self.git(&dir, &["commit", "--quiet", "-m", "Mini 6.1.2"]);
        dir
    }

    /// Returns every file below `out/` that a maintainer receives, with its content.
    pub fn received(&self) -> Vec<(String, String)> {
        let series = ["list", "buddy", "other"].into_iter();
        let mut files: Vec<_> = series.flat_map(|s| self.received_of(s, 1)).collect();
        files.sort();
        files
    }

    /// Returns these files for one version of a series.
    pub fn received_of(&self, series: &str, version: u32) -> Vec<(String, String)> {
        let mut files = Vec::new();
        let of_version = format!("out/{series}/v{version}");
        for below in [format!("out/{series}"), of_version.clone()] {
            let entries = fs::read_dir(self.ws(&below)).unwrap().flatten();
            for entry in entries.filter(|e| e.path().is_file()) {
                let below = format!("{below}/{}", entry.file_name().to_string_lossy());
                if below.starts_with(&of_version) {
                    files.push((below.clone(), self.read(&below)));
                }
            }
        }
        files.sort();
        files
    }
}

/// Creates an archive with these files below a folder.
pub fn tar_xz(folder: &str, files: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(*mode);
        header.set_mtime(RELEASED);
        tar.append_data(&mut header, format!("{folder}/{path}"), text.as_bytes())
            .unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    std::io::Write::write_all(&mut xz, &tar).unwrap();
    xz.finish().unwrap()
}

const LIST: &str = "
[[patch]]
message = \"1.msg\"
files = [\"list.rs\"]
edits = [\"1.diff\"]

[[patch]]
message = \"2.msg\"
files = [\"list/owned.rs\"]

[[patch.withhold]]
file = \"list.rs\"
text = '''

mod owned;
'''

[unused]
\"list::walk\" = \"Drivers that are posted later call it.\"
";

const BUDDY: &str = "
[[patch]]
message = \"1.msg\"
files = [\"buddy.rs\"]
edits = [\"1.diff\"]

[[patch]]
message = \"2.msg\"
files = [\"buddy_test.rs\"]
";

const OTHER: &str = "
[[patch]]
message = \"1.msg\"
edits = [\"1.diff\"]
";
