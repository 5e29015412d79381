// SPDX-License-Identifier: GPL-2.0

//! Infrastructure for GPU drivers that does not depend on DRM.

#[cfg(CONFIG_GPU_BUDDY = "y")]
pub mod buddy;
