// SPDX-License-Identifier: GPL-2.0

//! Version rules, which the reviewers of the last posting rely on.
//!
//! 1. Each series counts its own versions from 1, and vN needs a recorded posting of v(N-1).
//! 2. The changelog names exactly the patches that changed, and links to the previous posting. It
//!    also names changes of base, order, prefix, cover letter and recipients.
//! 3. A patch stays in its series. The changelog names each added or dropped patch with the reason.
//!    The cover letter describes the origin of a series, the changelog never does.
//! 4. The cover letter names each dependency with version and link, and lists the patches that do
//!    not need it.
//! 5. The trailers for programs agree with the manifest. No mail names a private commit.
//!
//! Each rule is a module of pure functions that return a [`Finding`] for each fault.
//!
//! [`Finding`]: crate::source::finding::Finding

pub mod changelog;
pub mod dependencies;
pub mod moves;
pub mod reasons;
pub mod trailers;
pub mod versions;

/// The names of the rules among the checks, in the order of their numbers.
pub const RULES: [&str; 5] = ["version", "changelog", "moves", "dependencies", "trailers"];
