// SPDX-License-Identifier: GPL-2.0

//! Ranges in which the steps map memory, and the firmware's mappings there.

use super::*;

use crate::mm::{
    format::{
        Pde,
        Pte, //
    },
    model::Generation,
    vmm::tests::{
        fixture::{
            BAR_PAGES,
            FIRMWARE, //
        },
        trace::EMPTY_TABLE, //
    }, //
};

/// Pages that the firmware has mapped in its BAR: a large page, and a table of small pages.
const FIRMWARE_PAGES: [Range<u64>; 2] = [LARGE..2 * LARGE, 17 * LARGE..18 * LARGE];

/// Page of VRAM that the firmware has mapped at these pages.
const FIRMWARE_FRAME: u64 = 8 * LARGE;

/// Index in [`windows`] of the range that contains 512 MiB pages.
pub(super) const HUGE_WINDOW: usize = 5;

/// Returns a chip generation with this format and 512 MiB pages.
pub(super) fn with_huge_pages<F: TestFormat>() -> Generation {
    match F::GENERATION {
        Generation::Turing => Generation::Ampere,
        other => other,
    }
}

/// Returns the end of the pages that can be mapped.
pub(super) fn end_page<F: TestFormat>(of_bar: bool) -> u64 {
    match of_bar {
        true => BAR_PAGES,
        false => (1 << F::VA_BITS) / PAGE_SIZE,
    }
}

/// Returns the ranges in which memory is mapped: around the addresses at which an entry of each
/// level ends, at both ends of the address space, and a range of 1.5 GiB for large mappings.
pub(super) fn windows<F: TestFormat>(of_bar: bool) -> [Range<u64>; 6] {
    let end = end_page::<F>(of_bar);
    let around = |page: u64| page - 2 * LARGE..page + 2 * LARGE;

    match of_bar {
        true => [
            0..4 * LARGE,
            16 * LARGE..20 * LARGE,
            around(32 * LARGE),
            around(64 * LARGE),
            80 * LARGE..end,
            end - 2 * LARGE..end,
        ],
        false => [
            0..2 * LARGE,
            around(PageSize::Size512M.pages()),
            around(PageSize::Size256G.pages()),
            around(512 * PageSize::Size256G.pages()),
            end - 2 * LARGE..end,
            PageSize::Size256G.pages() / 64 - 128 * LARGE
                ..PageSize::Size256G.pages() / 64 + 640 * LARGE,
        ],
    }
}

/// Returns the pages that the firmware has mapped.
pub(super) fn firmware_pages(of_bar: bool) -> &'static [Range<u64>] {
    match of_bar {
        true => &FIRMWARE_PAGES,
        false => &[],
    }
}

/// Creates directories of the firmware for the first addresses of a BAR. Returns the address of the
/// last directory, which is empty. Each of the others has one entry.
pub(crate) fn directories<F: TestFormat>(gpu: &GpuModel, root: VramAddress) -> Result<VramAddress> {
    let mut table = root;

    for depth in 0..F::LEVELS.len() - 2 {
        let below = firmware_table(depth)?;
        gpu.vram_write(below, &EMPTY_TABLE);
        gpu.vram_write64(table, F::encode_pde(&Pde::vram(below))?);
        table = below;
    }

    Ok(table)
}

/// Creates the address space of a BAR with mappings of the firmware.
pub(crate) fn fixture_of_bar<F: TestFormat>() -> Result<Fixture<F>> {
    Fixture::of_bar(|gpu, root| {
        let directory = directories::<F>(gpu, root)?;
        let small = firmware_table(F::LEVELS.len() - 2)?;
        gpu.vram_write(small, &EMPTY_TABLE);

        let page = Pte::new(
            Aperture::Vram,
            FIRMWARE_FRAME * PAGE_SIZE,
            &PageAttributes::default(),
        );
        gpu.vram_write64(
            small.checked_add(8)?,
            F::encode_pte(&page, PageSize::Size4K)?,
        );
        let entries = [
            [F::encode_pte(&page, PageSize::Size2M)?, 0],
            F::encode_dual(None, Some(&Pde::vram(small)))?,
        ];
        for (pages, entry) in FIRMWARE_PAGES.iter().zip(entries) {
            let at = directory.checked_add(pages.start / LARGE * 16)?;
            gpu.vram_write64(at, entry[0]);
            gpu.vram_write64(at.checked_add(8)?, entry[1]);
        }

        Ok(())
    })
}

/// Checks that the mappings of the firmware are unchanged.
pub(crate) fn check_firmware<F: TestFormat>(fixture: &Fixture<F>) -> Result {
    let frame = |page| -> Result<Option<u64>> {
        Ok(fixture.lookup(page)?.map(|found| found.address / PAGE_SIZE))
    };
    let [large, small] = FIRMWARE_PAGES;

    ensure_eq!(frame(large.start + 3)?, Some(FIRMWARE_FRAME + 3));
    ensure_eq!(frame(small.start)?, None);
    ensure_eq!(frame(small.start + 1)?, Some(FIRMWARE_FRAME));

    Ok(())
}

/// Returns the address of a table of the firmware.
fn firmware_table(number: usize) -> Result<VramAddress> {
    Ok(VramAddress::new(
        FIRMWARE.start + u64::try_from(number)? * PAGE_SIZE,
    ))
}
