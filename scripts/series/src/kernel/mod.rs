// SPDX-License-Identifier: GPL-2.0

//! Kernel trees: their source, the tools that build them, KUnit.

pub mod base;
pub mod build;
pub mod checkout;
pub(crate) mod kconfig;
pub mod kunit;
mod quick;
pub mod tools;
