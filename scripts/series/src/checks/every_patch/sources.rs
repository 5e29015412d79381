// SPDX-License-Identifier: GPL-2.0

//! `kunit-configs/full/sources.toml`: the objects to compile at each patch, and false reports of
//! checkers.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{Subject, diagnostics::Diagnostic};
use crate::{
    kernel::build::{Arch, CONFIGS},
    patches::commits::Assembled,
    source::{finding::Finding, manifest, workspace::Workspace},
    sys::Result,
};

pub fn file(ws: &Workspace) -> PathBuf {
    ws.place(CONFIGS, "full/sources.toml")
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sources {
    /// Folders that are compiled completely, each with its `/`.
    pub folders: Vec<String>,
    um: Vec<String>,
    #[serde(rename = "x86_64")]
    x86_64: Vec<String>,
    arm64: Vec<String>,
    /// Files that no kernel compiles, each with the reason.
    left_out: BTreeMap<String, String>,
    known: Vec<Known>,
    /// The text of the file, which results depend on.
    #[serde(skip)]
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    message: String,
    /// The start of the source line that the report names.
    source: String,
    /// The reason why it is false. Only readers use it.
    #[serde(rename = "why")]
    _why: String,
}

impl Sources {
    /// Reads the file. Without it, the sources are the files that the branches touch; a series with
    /// a component needs it.
    pub fn read(ws: &Workspace, assembled: &Assembled) -> Result<Self> {
        let file = file(ws);
        let mut series = assembled.series.iter().map(|s| s.plan.series());
        if !ws.path(&file).exists() && series.all(|s| s.branch.is_some()) {
            return Ok(Self::touched(assembled));
        }
        let text = ws.read(&file)?;
        let read: Self = manifest::parse(&file, &text)
            .map_err(|e| e.help("the fields are described in the file itself"))?;
        Ok(Self { text, ..read })
    }

    /// The C and Rust files that patches touch, compiled on each architecture.
    fn touched(assembled: &Assembled) -> Self {
        let patches = assembled.series.iter().flat_map(|s| &s.plan.patches);
        let paths = patches.flat_map(|p| p.paths()).filter(|p| is_code(p));
        let files: BTreeSet<&str> = paths.collect();
        let files: Vec<String> = files.into_iter().map(str::to_owned).collect();
        Self {
            text: files.join("\n"),
            um: files.clone(),
            x86_64: files.clone(),
            arm64: files,
            ..Self::default()
        }
    }

    /// Returns the files that an architecture compiles in addition to the folders.
    pub fn files(&self, arch: Arch) -> &[String] {
        match arch {
            Arch::Um => &self.um,
            Arch::X86_64 => &self.x86_64,
            Arch::Arm64 => &self.arm64,
        }
    }

    /// Returns the make targets in a tree: the folders, and the objects of existing files. Each of
    /// them makes `rust/` first. `rust/` as a target would make them run one after the other.
    pub fn targets(&self, arch: Arch, tree: &Path) -> Vec<String> {
        let folders = self.folders.iter().filter(|f| tree.join(f).is_dir());
        let files = self.files(arch).iter().filter(|f| tree.join(f).is_file());
        let objects = files.filter_map(|f| Some(format!("{}.o", f.rsplit_once('.')?.0)));
        let targets: Vec<String> = folders.cloned().chain(objects).collect();
        if targets.is_empty() {
            return vec!["prepare".to_owned()];
        }
        targets
    }

    /// Whether the list has a C or Rust file, compiled or left out.
    fn speaks_of(&self, path: &str) -> bool {
        let mut listed = [&self.um, &self.x86_64, &self.arm64].into_iter().flatten();
        let mut folders = self.folders.iter().map(String::as_str).chain(["rust/"]);
        listed.any(|f| f == path)
            || folders.any(|f| path.starts_with(f))
            || self.left_out.contains_key(path)
    }

    /// Whether a diagnostic of the tree in this folder is a known false report.
    pub fn knows(&self, diagnostic: &Diagnostic, tree: &Path) -> bool {
        let said = &diagnostic.said;
        let mut known = self.known.iter().filter(|k| k.message == said.message);
        let Some(line) = said.line else {
            return false;
        };
        let source = || {
            let text = std::fs::read_to_string(tree.join(&said.file)).ok()?;
            Some(text.lines().nth(line.checked_sub(1)?)?.to_owned())
        };
        known.any(|k| source().is_some_and(|s| s.trim_start().starts_with(&k.source)))
    }

    /// Verifies that the list has each touched file, and each file that includes a touched header.
    pub fn check(&self, subject: &Subject<'_>) -> Result<Vec<Finding>> {
        let list = file(subject.ws).display().to_string();
        let mut told = BTreeSet::new();
        let mut findings = Vec::new();
        let mut find = |series: &str, patch: usize, path: &str, why: &str| {
            if is_code(path) && !self.speaks_of(path) && told.insert(path.to_owned()) {
                let what = format!(
                    "{path} {why}, but no kernel of --full compiles it: name it in {list}, or \
                     list it there as left out, with the reason"
                );
                let finding = Finding::new(series, "full", what).of_patch(patch);
                findings.push(finding.at(&list, None));
            }
        };
        let base = &subject.assembled.base.tree;
        for one in &subject.assembled.series {
            for (number, patch) in (1..).zip(&one.plan.patches) {
                for path in patch.paths() {
                    find(one.name(), number, path, "is touched");
                    let Some(needles) = includes(path) else {
                        continue;
                    };
                    let needles = needles.each_ref().map(String::as_str);
                    for user in subject.git.files_with(base, &needles, subject.cache)? {
                        find(one.name(), number, &user, &format!("includes {path}"));
                    }
                }
            }
        }
        Ok(findings)
    }
}

/// Whether a file is compiled to an object of its name.
fn is_code(path: &str) -> bool {
    [".c", ".rs"].iter().any(|end| path.ends_with(end))
}

/// Returns the ways in which a header is included; `None` if the file is not a header.
fn includes(path: &str) -> Option<[String; 3]> {
    let name = path.rsplit('/').next().filter(|n| n.ends_with(".h"))?;
    // Only bindgen includes its own header, and `rust/` is compiled in any case.
    let below = path.strip_prefix("include/").unwrap_or(name);
    Some([
        format!("include <{below}>"),
        format!("include \"{name}\""),
        format!("/{name}\""),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::every_patch::diagnostics::parse;

    const TEXT: &str = r#"
folders = ["drivers/nova/"]
um = ["drivers/a.c", "drivers/b.c"]

[left-out]
"drivers/part.c" = "a part of a.c"

[[known]]
message = "bad constant expression"
source = "MODULE_"
why = "it does not understand it"
"#;

    fn sources() -> Sources {
        manifest::parse(Path::new("sources.toml"), TEXT).unwrap()
    }

    #[test]
    fn targets_are_existing_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("drivers")).unwrap();
        std::fs::write(dir.path().join("drivers/b.c"), "").unwrap();
        let targets = |arch| sources().targets(arch, dir.path());
        assert_eq!(targets(Arch::Um), ["drivers/b.o"]);
        assert_eq!(targets(Arch::X86_64), ["prepare"]);
        std::fs::create_dir_all(dir.path().join("drivers/nova")).unwrap();
        assert_eq!(targets(Arch::X86_64), ["drivers/nova/"]);
    }

    #[test]
    fn knows_false_report_by_its_line() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("a.c"),
            "MODULE_LICENSE(\"GPL\");\nint x = y;\n",
        )
        .unwrap();
        let said = parse(
            "a.c:1:1: error: bad constant expression\na.c:2:9: error: bad constant expression\n\
             a.c:1:1: error: other\n",
            "/linux",
        );
        let known: Vec<_> = said
            .iter()
            .map(|d| sources().knows(d, dir.path()))
            .collect();
        assert_eq!(known, [true, false, false].map(|k| k));
    }

    #[test]
    fn includes_lists_forms_of_header() {
        assert_eq!(
            includes("include/drm/drm_buddy.h").unwrap(),
            [
                "include <drm/drm_buddy.h>",
                "include \"drm_buddy.h\"",
                "/drm_buddy.h\""
            ]
        );
        assert_eq!(includes("drivers/a.c"), None);
    }
}
