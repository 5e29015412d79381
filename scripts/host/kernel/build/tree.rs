// SPDX-License-Identifier: GPL-2.0

//! Where the assembled kernel tree is; shared by the build scripts of the host crates.
//!
//! The tree is `$NOVA_SERIES_TREE`, else `out/tree` at the top of the workspace. It is the tree of
//! the default base. `$SERIES_BASE` names another base, such as `v7.3.4`, for the C code alone.

// Each build script uses a part of it.
#![allow(dead_code)]

use std::{
    env,
    path::{Path, PathBuf},
};

/// The kernel tree that the host crates read their sources from.
pub struct Tree(PathBuf);

impl Tree {
    /// Finds the tree; `top` is the top of the workspace as seen from the calling package.
    pub fn locate(top: &str) -> Self {
        println!("cargo::rerun-if-env-changed=NOVA_SERIES_TREE");
        let root = match env::var_os("NOVA_SERIES_TREE").filter(|v| !v.is_empty()) {
            Some(dir) => PathBuf::from(dir),
            None => Path::new(top).canonicalize().unwrap().join("out/tree"),
        };
        let root = std::path::absolute(root).unwrap();
        if !root.is_dir() {
            missing(&root);
        }
        // The tree as a whole, because it may be a link that is turned to another tree with older
        // files, which Cargo would not notice from the files: it looks for newer ones.
        println!("cargo::rerun-if-changed={}", root.display());
        Self(root)
    }

    /// Finds the tree with the C code: `out/$SERIES_BASE/tree`, or without `$SERIES_BASE` the tree of
    /// [`Self::locate`].
    pub fn locate_c(top: &str) -> Self {
        println!("cargo::rerun-if-env-changed=SERIES_BASE");
        let Some(base) = env::var_os("SERIES_BASE").filter(|v| !v.is_empty()) else {
            return Self::locate(top);
        };
        let out = Path::new(top).canonicalize().unwrap().join("out");
        let root = out.join(base).join("tree");
        if !root.is_dir() {
            missing(&root);
        }
        println!("cargo::rerun-if-changed={}", root.display());
        Self(root)
    }

    /// A folder of the tree, which has to be there.
    pub fn folder(&self, path: &str) -> PathBuf {
        let path = self.0.join(path);
        if !path.is_dir() {
            missing(&path);
        }
        path
    }

    /// A file of the tree, which has to be there; a change of it starts a new build.
    pub fn file(&self, path: &str) -> PathBuf {
        let path = self.0.join(path);
        if !path.is_file() {
            missing(&path);
        }
        println!("cargo::rerun-if-changed={}", path.display());
        path
    }

    /// The module `item`, such as `pub mod foo`, whose content is the file `path`.
    ///
    /// The compiler reads the file where it lies, so that the test build has the same bytes. It is
    /// linted where it is maintained.
    pub fn module(&self, item: &str, path: &str) -> String {
        self.module_at(item, &self.file(path))
    }

    /// The same for a link to a file of the tree.
    pub fn module_at(&self, item: &str, path: &Path) -> String {
        format!(
            "#[allow(dead_code, unexpected_cfgs, unused_attributes, unused_imports, clippy::all, \
             rustdoc::all, clippy::undocumented_unsafe_blocks)]\n\
             #[path = {path:?}]\n{item};\n"
        )
    }
}

/// Ends the build and says what to do.
fn missing(path: &Path) -> ! {
    println!(
        "cargo::error=there is no `{}`: run scripts/assemble first (or set NOVA_SERIES_TREE to an \
         assembled kernel tree)",
        path.display()
    );
    std::process::exit(1)
}
