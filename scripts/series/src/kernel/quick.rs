// SPDX-License-Identifier: GPL-2.0

//! The build of the edit loop: the same folder, configuration and sources as the full build, with
//! fewer steps.
//!
//! Its results are never recorded. The stamp of the folder stays empty, and make compares the
//! options of each compiler call, so that the next full build compiles the files of these
//! crates again.

use std::{
    collections::BTreeSet,
    fs,
    path::Path, //
};

use crate::{
    kernel::build::{
        Arch,
        Build, //
    },
    sys::error::Result, //
};

/// An option of rustc. Optimization takes half of the time of a crate, and more at level 1 than at 2.
const UNOPTIMIZED: &str = "-Copt-level=0";

/// Has the link of user-mode Linux include a file that turns a failed `build_assert!` into a panic:
/// without optimization, the compiler leaves such calls in. Other options of the variable silence
/// warnings.
const BUILD_ERROR: &str = "LDFLAGS_EXECSTACK=-z noexecstack rust/build_error.o";

/// The variable of [`BUILD_ERROR`] in the Makefile of user-mode Linux.
const VARIABLE: &str = "$(LDFLAGS_EXECSTACK)";

impl Build<'_> {
    /// Builds the tree that is checked out. `crates` are compiled incrementally, and without
    /// optimization where their kernel can be linked then. Returns the compilers' warnings.
    ///
    /// # Errors
    ///
    /// As [`Build::build`].
    pub fn build_quick(&self, crates: &BTreeSet<String>) -> Result<Vec<String>> {
        let before = self.begin()?;
        if self.check_config().is_err() {
            self.configure()?;
        }
        let mut make = self.make();
        if let Some(release) = release(&self.dir()) {
            // Otherwise each commit has another one, which several files contain.
            make = make.arg(format!("KERNELRELEASE={release}"));
        }
        let unoptimized = self.links_unoptimized();
        for name in crates {
            let folder = self.dir().join("series-incremental").join(name);
            let mut flags = format!("-Cincremental={}", folder.display());
            if unoptimized {
                flags = format!("{UNOPTIMIZED} {flags}");
            }
            make = make.arg(format!("RUSTFLAGS_{name}.o={flags}"));
        }
        if unoptimized {
            make = make.arg(BUILD_ERROR);
        }
        let (said, _) = self.run_make(&make, before)?;
        Ok(said)
    }

    /// Returns whether the kernel can be linked with crates that are not optimized.
    fn links_unoptimized(&self) -> bool {
        let makefile = self.cache.kernel().join("arch/um/Makefile");
        let makefile = fs::read_to_string(makefile).unwrap_or_default();
        let config = fs::read_to_string(self.dir().join(".config")).unwrap_or_default();
        let links_it_anyway = config.contains("\nCONFIG_RUST_BUILD_ASSERT_ALLOW=y");
        self.target.arch() == Arch::Um && makefile.contains(VARIABLE) && !links_it_anyway
    }
}

/// Returns the release of the last build.
fn release(dir: &Path) -> Option<String> {
    let text = fs::read_to_string(dir.join("include/config/kernel.release")).ok()?;
    Some(text.trim().to_owned()).filter(|release| !release.is_empty())
}

/// Returns the crates outside `rust/` to which these files of the tree in `dir` belong: the root of a
/// crate is a file that the Makefile of its folder names as an object.
pub fn crates<'a>(dir: &Path, paths: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let sources = paths.filter(|p| p.ends_with(".rs") && !p.starts_with("rust/"));
    let folders: BTreeSet<&Path> = sources
        .flat_map(|path| Path::new(path).ancestors().skip(1))
        .collect();
    folders
        .into_iter()
        .flat_map(|folder| roots(&dir.join(folder)))
        .collect()
}

/// Returns the names of Rust files in a folder that its Makefile compiles.
fn roots(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("Makefile")).unwrap_or_default();
    let objects = text
        .split_whitespace()
        .filter_map(|word| word.strip_suffix(".o"));
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
        let found = crates(dir.path(), paths.into_iter());
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["nova"]);
    }
}
