// SPDX-License-Identifier: GPL-2.0

//! The memory management of a bound GPU.

use kernel::{
    device,
    pci,
    prelude::*,
    sizes::{
        SZ_1K,
        SZ_1M, //
    }, //
};

use crate::{
    driver,
    gpu::Chipset,
    mm::{
        bar1,
        gpu_mm::GpuMm,
        hw::MmuConfig,
        mmio::Registers,
        regions::FbInfo, //
    },
    num::usize_as_u64, //
};

use crate::mm::selftest::SelfTest;

/// Creates the memory management.
///
/// If this fails, logs the reason and returns [`None`], because nothing depends on memory
/// management yet.
pub(super) fn new(
    pdev: &pci::Device<device::Bound>,
    chipset: Chipset,
    fb_info: FbInfo,
    registers: Registers,
) -> Option<GpuMm> {
    let dev = pdev.as_ref();
    let end = fb_info.range().end;
    let bar1_pdb = fb_info.bar1_pdb();
    let config = MmuConfig::new(chipset)
        .inspect_err(|_| dev_warn!(dev, "no memory management for {}\n", chipset))
        .ok()?;
    let (resource, size) = bar1::find_resource(|number| pdev.resource_len(number))
        .inspect_err(|e| dev_err!(dev, "failed to find BAR1: {:?}\n", e))
        .ok()?;
    // This fails if the console still uses BAR1.
    let aperture = driver::map_bar1(pdev, resource)
        .inspect_err(|e| dev_warn!(dev, "failed to map BAR1: {:?}\n", e))
        .ok();

    let mm = GpuMm::new(config, fb_info, registers, aperture, size)
        .inspect_err(|e| {
            dev_err!(dev, "failed to initialize memory management: {:?}\n", e);
            dev_err!(
                dev,
                "VRAM ends at {}, BAR1 page directory at {}, BAR1 size {:#x}\n",
                end,
                bar1_pdb,
                size
            );
        })
        .ok()?;
    report(dev, &mm);
    if cfg!(CONFIG_NOVA_CORE_MM_SELFTEST) {
        run_selftests(dev, &mm);
    }

    Some(mm)
}

/// Logs the usable VRAM, and page table entries of BAR1 that could not be decoded.
fn report(dev: &device::Device, mm: &GpuMm) {
    if let Some(unknown) = mm.bar1().unknown_entries() {
        let [low, high] = unknown.first.words;
        dev_warn!(
            dev,
            "BAR1: unknown page table entry at {}: {:#x} {:#x}\n",
            unknown.first.address,
            low,
            high
        );
        dev_warn!(
            dev,
            "BAR1: {} unknown page table entries, {} pages not used\n",
            unknown.count,
            unknown.pages
        );
    }
    dev_info!(
        dev,
        "VRAM: {} MiB usable in {} regions\n",
        mm.vram().size() / usize_as_u64(SZ_1M),
        mm.usable_regions().len()
    );
}

/// Runs the self-tests of memory management and logs the results.
fn run_selftests(dev: &device::Device, mm: &GpuMm) {
    for (name, test) in SelfTest::ALL {
        match test(&SelfTest(mm)) {
            Ok(()) => dev_info!(dev, "selftest: {}: passed\n", name),
            Err(error) => dev_err!(dev, "selftest: {}: {}\n", name, error),
        }
    }
}

/// Removes the driver's mappings from the firmware's page tables.
pub(super) fn teardown(dev: &device::Device, mm: &GpuMm) {
    if let Err(e) = mm.teardown() {
        dev_warn!(dev, "failed to tear down BAR1 mappings: {:?}\n", e);
    }
    let leaked = mm.vram().leaked();
    if leaked > 0 {
        dev_warn!(
            dev,
            "leaking {} KiB of VRAM that the GPU may still access\n",
            leaked / usize_as_u64(SZ_1K)
        );
    }
}
