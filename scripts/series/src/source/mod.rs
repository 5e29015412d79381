// SPDX-License-Identifier: GPL-2.0

//! The files that authors write: manifests, commit messages, cover letters, changelogs.

pub mod branch;
pub mod changelog;
pub mod component;
pub mod cover;
pub mod finding;
pub mod manifest;
pub mod message;
pub mod relocation;
pub mod words;
pub mod workspace;
