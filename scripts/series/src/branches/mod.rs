// SPDX-License-Identifier: GPL-2.0

//! Series whose patches are the commits of a branch in the user's kernel clone.
//!
//! [`read`] reads the commits of the branches in the clone, [`fetch`] copies their objects into the
//! tool's repository, [`replay`] applies a commit to the assembled series below it, and [`adopt`]
//! writes the manifests. The clone is only read.

pub mod adopt;
pub mod fetch;
pub mod read;
pub mod replay;
