// SPDX-License-Identifier: GPL-2.0

//! Locates the assembled kernel tree. All build scripts of the host crates include this file.
//!
//! The tree is `$SERIES_TREE`, or `out/tree` at the top of the workspace, the tree of the default
//! base. `$SERIES_BASE` selects another base, such as `v7.3.4`, but only for the C code.

// Each build script uses only some functions.
#![allow(dead_code)]

use std::{
    env,
    path::{Path, PathBuf},
};

/// The kernel tree that the host crates read their sources from.
pub struct Tree(PathBuf);

impl Tree {
    /// Finds the tree; `top` is the path of the workspace relative to the calling package.
    pub fn locate(top: &str) -> Self {
        println!("cargo::rerun-if-env-changed=SERIES_TREE");
        let root = match env::var_os("SERIES_TREE").filter(|v| !v.is_empty()) {
            Some(dir) => PathBuf::from(dir),
            None => Path::new(top).canonicalize().unwrap().join("out/tree"),
        };
        let root = std::path::absolute(root).unwrap();
        if !root.is_dir() {
            missing(&root);
        }
        // Watches the whole tree. It may be a link that changes to a tree with older files, and
        // Cargo rebuilds only if files are newer.
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

    /// Returns a folder of the tree, which has to exist.
    pub fn folder(&self, path: &str) -> PathBuf {
        let path = self.0.join(path);
        if !path.is_dir() {
            missing(&path);
        }
        path
    }

    /// Returns a file of the tree, which has to exist. A change of the file triggers a build.
    pub fn file(&self, path: &str) -> PathBuf {
        let path = self.0.join(path);
        if !path.is_file() {
            missing(&path);
        }
        println!("cargo::rerun-if-changed={}", path.display());
        path
    }

    /// Creates the module `item`, such as `pub mod foo`, with the file `path` as its content.
    ///
    /// The compiler reads the original file, so the test build has the same bytes. Lints apply
    /// where the file is maintained.
    pub fn module(&self, item: &str, path: &str) -> String {
        self.module_at(item, &self.file(path))
    }

    /// Creates the module from a link to a file of the tree.
    pub fn module_at(&self, item: &str, path: &Path) -> String {
        format!(
            "#[allow(dead_code, unexpected_cfgs, unused_attributes, unused_imports, clippy::all, \
             rustdoc::all, clippy::undocumented_unsafe_blocks)]\n\
             #[path = {path:?}]\n{item};\n"
        )
    }
}

/// Ends the build with an error that names the remedy.
fn missing(path: &Path) -> ! {
    println!(
        "cargo::error=there is no `{}`: run scripts/assemble first (or set SERIES_TREE to an \
         assembled kernel tree)",
        path.display()
    );
    std::process::exit(1)
}
