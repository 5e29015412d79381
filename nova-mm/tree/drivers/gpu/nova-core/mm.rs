// SPDX-License-Identifier: GPL-2.0

//! Memory management of the GPU: VRAM, page tables, address spaces and BAR1.
//!
//! See `Documentation/gpu/nova/core/mm.rst` for an overview.

pub(crate) mod address;
pub(crate) mod bar1;
pub(crate) mod chips;
#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
pub(crate) mod fake;
pub(crate) mod flag;
pub(crate) mod format;
pub(crate) mod gpu_mm;
pub(crate) mod hw;
#[cfg(all(CONFIG_NOVA_CORE_KUNIT_TEST, CONFIG_INDIRECT_IOMEM))]
pub(crate) mod iomem;
pub(crate) mod memory;
pub(crate) mod mmio;
#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
pub(crate) mod model;
pub(crate) mod pramin;
pub(crate) mod regions;
pub(crate) mod regs;
pub(crate) mod selftest;
pub(crate) mod stack;
pub(crate) mod tables;
pub(crate) mod tlb;
pub(crate) mod va;
pub(crate) mod vma;
pub(crate) mod vmm;
pub(crate) mod vram;
pub(crate) mod walk;
