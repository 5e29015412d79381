// SPDX-License-Identifier: GPL-2.0

//! The build of the edit loop: the sources of the full build, in a folder of its own, with fewer
//! steps and options. Its results are never recorded.

use std::{collections::BTreeSet, fs, path::Path};

use sha2::{Digest, Sha256};

use crate::{
    git::{Git, Oid},
    kernel::{
        build::{Build, Purpose},
        kconfig::{self, is_kconfig},
    },
    sys::{Cmd, Result, hash::hex},
};

/// Without this option, a kernel links only if the compiler removes every call of `build_error()`,
/// for which it needs the crate in one unit.
const BUILD_ASSERT_ALLOW: &str = "CONFIG_RUST_BUILD_ASSERT_ALLOW=y";

/// Compiles a crate as many units, of which rustc compiles again only those that changed, and joins
/// them. It replaces the command of `scripts/Makefile.build`, because rustc writes no single object
/// of several units.
const JOIN_UNITS: &str = "cmd_rustc_o_rs=$(rust_common_cmd) --emit=link=$(@:.o=.rlib) $< && \
                          $(LD) $(KBUILD_LDFLAGS) -r -o $@ --whole-archive $(@:.o=.rlib) \
                          $(cmd_objtool)";

/// The number of units of incremental compilation in cargo.
const UNITS: &str = " -Ccodegen-units=256";

/// With this option, the clock of an idle kernel can jump to the next timer, so that tests do not
/// wait for timeouts.
const TIME_TRAVEL: &str = "CONFIG_UML_TIME_TRAVEL_SUPPORT=y";

/// Without them, each build has another date and number, and compiles and links the file that
/// contains them.
const SAME_VERSION: [&str; 2] = [
    "KBUILD_BUILD_TIMESTAMP=1970-01-01",
    "KBUILD_BUILD_VERSION=1",
];

impl Build<'_> {
    /// Builds the checked out tree, with the changed files `paths`. Their crates are compiled
    /// incrementally, in units if the configuration allows it. Returns the compilers' warnings.
    pub fn build_quick(&self, paths: &[&str]) -> Result<Vec<String>> {
        let tree = self.cache.kernel();
        let key = format!("{} {}", self.key()?, hash_of_kconfig(&tree, paths));
        let before = self.begin()?;
        if before.key != key || self.check_config().is_err() {
            self.configure()?;
        }
        // A failed build does not change the configuration.
        self.write_stamp("", &key, before.objects)?;
        let make = self.make_quick(&crates(&tree, paths));
        let (said, objects) = self.run_make(&make, before.objects)?;
        self.write_stamp("", &key, objects.max(before.objects))?;
        Ok(said)
    }

    /// Returns whether the configuration fits the tree `part`, which lacks some of the changes of
    /// `all` to the files `paths`.
    pub fn is_configurable(
        &self,
        git: &Git<'_>,
        part: &Oid,
        all: &Oid,
        paths: &[&str],
    ) -> Result<bool> {
        let files: Vec<_> = paths.iter().copied().filter(|p| is_kconfig(p)).collect();
        if files.is_empty() {
            return Ok(true);
        }
        let there = kconfig::options(git, part, &files)?;
        let later = kconfig::options(git, all, &files)?;
        let is_missing = |name| later.contains(name) && !there.contains(name);
        let fragments = self.read_fragments()?;
        let lines = fragments.iter().flat_map(|text| text.lines());
        Ok(!lines.filter_map(kconfig::enabled).any(is_missing))
    }

    /// Returns the arguments of kunit.py for a boot of the quick kernel.
    pub fn boot_args(&self) -> Option<&'static str> {
        let is_used = self.purpose == Purpose::Quick && self.has(TIME_TRAVEL);
        is_used.then_some("--kernel_args=time-travel")
    }

    fn has(&self, option: &str) -> bool {
        let config = fs::read_to_string(self.dir().join(".config")).unwrap_or_default();
        config.lines().any(|line| line == option)
    }

    fn make_quick(&self, crates: &BTreeSet<String>) -> Cmd {
        let dir = self.dir();
        let joins_units = self.has(BUILD_ASSERT_ALLOW);
        let units = if joins_units { UNITS } else { "" };
        let mut make = self.make().args(SAME_VERSION);
        if let Some(release) = release(&dir) {
            // Otherwise each commit has another one, which several files contain.
            make = make.arg(format!("KERNELRELEASE={release}"));
        }
        for name in crates {
            let folder = dir.join("series-incremental").join(name);
            let folder = folder.display();
            make = make.arg(format!("RUSTFLAGS_{name}.o=-Cincremental={folder}{units}"));
        }
        make.args(joins_units.then_some(JOIN_UNITS))
    }
}

fn hash_of_kconfig(dir: &Path, paths: &[&str]) -> String {
    let files: BTreeSet<_> = paths.iter().filter(|path| is_kconfig(path)).collect();
    let mut hash = Sha256::new();
    for file in files {
        hash.update(fs::read(dir.join(file)).unwrap_or_default());
        hash.update(b"\0");
    }
    hex(hash.finalize())
}

fn release(dir: &Path) -> Option<String> {
    let text = fs::read_to_string(dir.join("include/config/kernel.release")).ok()?;
    Some(text.trim().to_owned()).filter(|release| !release.is_empty())
}

/// Returns the crates outside `rust/` to which these files of the tree in `dir` belong: the root of
/// a crate is a file that the Makefile of its folder names as an object.
fn crates(dir: &Path, paths: &[&str]) -> BTreeSet<String> {
    let is_source = |p: &&&str| p.ends_with(".rs") && !p.starts_with("rust/");
    let sources = paths.iter().filter(is_source).map(Path::new);
    let folders: BTreeSet<&Path> = sources.flat_map(|p| p.ancestors().skip(1)).collect();
    let folders = folders.into_iter().map(|folder| dir.join(folder));
    folders.flat_map(|folder| roots(&folder)).collect()
}

/// Returns the names of Rust files in a folder that its Makefile compiles.
fn roots(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("Makefile")).unwrap_or_default();
    let objects = text.split_whitespace().filter_map(|w| w.strip_suffix(".o"));
    let is_rust = |name: &&str| folder.join(format!("{name}.rs")).is_file();
    objects.filter(is_rust).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::files::write;

    #[test]
    fn crates_of_files_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = |path: &str, text: &str| write(&dir.path().join(path), text.as_bytes()).unwrap();
        file(
            "drivers/gpu/nova/Makefile",
            "obj-$(CONFIG_NOVA) += nova.o c.o\n",
        );
        file("drivers/gpu/nova/nova.rs", "");
        file("drivers/gpu/nova/c.c", "");
        file("rust/Makefile", "obj-y += kernel.o\n");
        file("rust/kernel.rs", "");
        let paths = [
            "drivers/gpu/nova/mm/va.rs",
            "rust/kernel/list.rs",
            "drivers/gpu/nova/c.c",
        ];
        let found = crates(dir.path(), &paths);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["nova"]);
    }
}
