// SPDX-License-Identifier: GPL-2.0

//! The places where steps map memory, and the mappings of the firmware there.

use super::*;

use crate::mm::{
    format::{
        Pde,
        Pte, //
    },
    model::Generation,
    vmm::tests::fixture::{
        BAR_PAGES,
        FIRMWARE, //
    }, //
};

/// Pages that the firmware has mapped in its BAR: one large page, and a table of small ones.
const FIRMWARE_PAGES: [Range<u64>; 2] = [LARGE..2 * LARGE, 17 * LARGE..18 * LARGE];

/// The page of VRAM that all of them are mapped to, or at.
const FIRMWARE_FRAME: u64 = 8 * LARGE;

/// The index in [`windows`] of the place that contains pages of 512 MiB.
pub(super) const HUGE_WINDOW: usize = 5;

/// Returns a chip with the format that has pages of 512 MiB.
pub(super) fn with_huge_pages<F: TestFormat>() -> Generation {
    match F::GENERATION {
        Generation::Turing => Generation::Ampere,
        other => other,
    }
}

/// Returns the number of the last page that can be mapped, plus one.
pub(super) fn end_page<F: TestFormat>(of_bar: bool) -> u64 {
    match of_bar {
        true => BAR_PAGES,
        false => (1 << F::VA_BITS) / PAGE_SIZE,
    }
}

/// Returns where something may be mapped: around the places where an entry of each level ends, at
/// both ends of the address space, and in 1.5 GiB that have room for much.
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

/// Makes directories of the firmware for the first addresses of a BAR, all but the last of which
/// have one entry; returns where the last one is, which is empty.
pub(crate) fn directories<F: TestFormat>(gpu: &SoftGpu, root: VramAddress) -> Result<VramAddress> {
    let mut table = root;

    for depth in 0..F::LEVELS.len() - 2 {
        let below = firmware_table(depth)?;
        zero(gpu, below)?;
        gpu.vram_write64(table, F::encode_pde(&Pde::vram(below))?);
        table = below;
    }

    Ok(table)
}

/// Makes the address space of a BAR in which the firmware has mapped something.
pub(crate) fn fixture_of_bar<F: TestFormat>() -> Result<Fixture<F>> {
    Fixture::of_bar(|gpu, root| {
        let directory = directories::<F>(gpu, root)?;
        let small = firmware_table(F::LEVELS.len() - 2)?;
        zero(gpu, small)?;

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
        Ok(fixture.look(page)?.map(|found| found.address / PAGE_SIZE))
    };
    let [large, small] = FIRMWARE_PAGES;

    ensure_eq!(frame(large.start + 3)?, Some(FIRMWARE_FRAME + 3));
    ensure_eq!(frame(small.start)?, None);
    ensure_eq!(frame(small.start + 1)?, Some(FIRMWARE_FRAME));

    Ok(())
}

/// Returns where a table of the firmware is.
fn firmware_table(number: usize) -> Result<VramAddress> {
    Ok(VramAddress::new(
        FIRMWARE.start + u64::try_from(number)? * PAGE_SIZE,
    ))
}

fn zero(gpu: &SoftGpu, table: VramAddress) -> Result {
    for offset in (0..PAGE_SIZE).step_by(8) {
        gpu.vram_write64(table.checked_add(offset)?, 0);
    }

    Ok(())
}
