// SPDX-License-Identifier: GPL-2.0

//! Tests of the attributes of pages, and of the words of entries.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::mm::{
    address::PageSize,
    format::{
        Access,
        Aperture,
        PageAttributes,
        PteKind, //
    },
    memory::{
        Backing,
        Coherence,
        SysMemory, //
    },
    model::Fault,
    vmm::tests::{
        fixture::{
            ensure,
            ensure_eq,
            start_of,
            within,
            Fixture,
            TestFormat,
            LARGE, //
        },
        mappings::{
            expect_fault,
            expect_pages,
            expect_size,
            map,
            vram_at,
            Expected,
            FirstWords,
            Published, //
        },
    },
};

/// Number of 4 KiB pages in a 64 KiB page.
const BIG: u64 = PageSize::Size64K.pages();

/// Attributes that differ from the default in one field each, and in all fields.
pub(crate) const ATTRIBUTES: [PageAttributes; 6] = {
    const DEFAULT: PageAttributes = PageAttributes {
        kind: PteKind::Pitch,
        access: Access::ReadWrite,
        volatile: false,
        privileged: false,
    };

    [
        DEFAULT,
        PageAttributes {
            kind: PteKind::Generic,
            ..DEFAULT
        },
        PageAttributes {
            access: Access::ReadOnly,
            ..DEFAULT
        },
        PageAttributes {
            volatile: true,
            ..DEFAULT
        },
        PageAttributes {
            privileged: true,
            ..DEFAULT
        },
        PageAttributes {
            kind: PteKind::Other(0x0a),
            access: Access::ReadOnly,
            volatile: true,
            privileged: true,
        },
    ]
};

/// PTEs of each size and aperture have the published words.
pub(crate) fn page_words_match_headers<F: Published>() -> Result {
    for attributes in ATTRIBUTES {
        for size in [PageSize::Size4K, PageSize::Size64K, PageSize::Size2M] {
            let fixture = Fixture::<F>::new()?;
            let vram = fixture.alloc(size.pages())?;
            let va = fixture.reserve(size.pages())?;
            let backing = Backing::new(vram.clone(), 0, attributes);
            map(&fixture, &va, 0..size.pages(), backing)?;

            let words = FirstWords::read(&fixture)?;
            let found = match size {
                PageSize::Size4K => words.small,
                PageSize::Size64K => words.big,
                _ => words.dual[0],
            };
            ensure_eq!(found, F::page(0, start_of(&vram)?, &attributes));
        }
        for (coherence, aperture) in [(Coherence::Coherent, 2), (Coherence::NonCoherent, 3)] {
            let fixture = Fixture::<F>::new()?;
            let address = F::SYSMEM_END - 0x1000;
            let memory = SysMemory::new([(address, 0x1000)].into_iter(), coherence, ())?;
            let memory = Arc::new(memory, GFP_KERNEL)?;
            let va = fixture.reserve(1)?;
            map(&fixture, &va, 0..1, Backing::new(memory, 0, attributes))?;

            let words = FirstWords::read(&fixture)?;
            ensure_eq!(words.small, F::page(aperture, address, &attributes));
        }
    }

    Ok(())
}

/// PDEs have the published words, with one and with both tables of PTEs.
pub(crate) fn table_words_match_headers<F: Published>() -> Result {
    for (pages, has_big, has_small) in [
        (0..1, false, true),
        (0..BIG, true, false),
        (0..BIG + 1, true, true),
    ] {
        let fixture = Fixture::<F>::new()?;
        let vram = fixture.alloc(2 * BIG)?;
        let va = fixture.reserve(2 * BIG)?;
        fixture.map(&va, pages, &vram, 0, Access::ReadWrite)?;

        let tables = fixture.owned()?;
        let is_table = |address| tables.iter().any(|table| table.into_raw() == address);
        let words = FirstWords::read(&fixture)?;
        for &word in &words.directories {
            let (address, rest) = F::split_pde(word);
            ensure!(is_table(address));
            ensure_eq!(rest, F::PDE);
        }
        for (word, is_used, (address, rest)) in [
            (words.dual[0], has_big, F::split_big_pde(words.dual[0])),
            (words.dual[1], has_small, F::split_pde(words.dual[1])),
        ] {
            if is_used {
                ensure!(is_table(address));
                ensure_eq!(rest, F::PDE);
            } else {
                ensure_eq!(word, 0);
            }
        }
    }

    Ok(())
}

/// Pages of each size have the attributes that they are mapped with.
pub(crate) fn map_sets_attributes<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    // Small pages, 64 KiB pages and 2 MiB pages.
    let vram = fixture.alloc(2 * LARGE)?;
    let address = vram_at(start_of(&vram)?);

    for attributes in ATTRIBUTES {
        let va = fixture.reserve(2 * LARGE)?;
        let backing = Backing::new(vram.clone(), 0, attributes);
        map(&fixture, &va, 0..LARGE + BIG + 3, backing)?;
        fixture.check()?;
        let expected = Expected {
            aperture: Aperture::Vram,
            address: &address,
            attributes,
        };
        expect_pages(&fixture, &va, 0..LARGE + BIG + 3, &expected)?;
        expect_size(&fixture, &va, 0..LARGE, PageSize::Size2M)?;
        expect_size(&fixture, &va, LARGE..LARGE + BIG, PageSize::Size64K)?;
        expect_size(
            &fixture,
            &va,
            LARGE + BIG..LARGE + BIG + 3,
            PageSize::Size4K,
        )?;
    }

    Ok(())
}

/// Changing the access preserves the other attributes.
pub(crate) fn attributes_survive_protect<F: TestFormat>() -> Result {
    for attributes in ATTRIBUTES {
        let mut fixture = Fixture::<F>::new()?;
        let vram = fixture.alloc(2 * LARGE)?;
        let address = vram_at(start_of(&vram)?);
        let va = fixture.reserve(2 * LARGE)?;
        let backing = Backing::new(vram.clone(), 0, attributes);
        map(&fixture, &va, 0..LARGE + BIG + 3, backing)?;

        for access in [Access::ReadOnly, Access::ReadWrite] {
            for pages in [
                0..LARGE + BIG + 3,
                100..LARGE + 5,
                LARGE + BIG + 1..LARGE + BIG + 2,
            ] {
                fixture.protect(&va, pages.clone(), access)?;
                fixture.check()?;
                let expected = Expected {
                    aperture: Aperture::Vram,
                    address: &address,
                    attributes: PageAttributes {
                        access,
                        ..attributes
                    },
                };
                expect_pages(&fixture, &va, pages, &expected)?;
            }
        }
    }

    Ok(())
}

/// When a large page is split, the smaller pages have its attributes.
pub(crate) fn attributes_survive_splits<F: TestFormat>() -> Result {
    for attributes in ATTRIBUTES {
        for part in [5..7, LARGE + 5..LARGE + 7, LARGE - 9..LARGE + 9] {
            let mut fixture = Fixture::<F>::new()?;
            let vram = fixture.alloc(2 * LARGE)?;
            let address = vram_at(start_of(&vram)?);
            let va = fixture.reserve(2 * LARGE)?;
            let backing = Backing::new(vram.clone(), 0, attributes);
            map(&fixture, &va, 0..LARGE + BIG, backing)?;

            fixture.unmap(&va, part.clone())?;
            fixture.check()?;
            let expected = Expected {
                aperture: Aperture::Vram,
                address: &address,
                attributes,
            };
            expect_pages(&fixture, &va, 0..part.start, &expected)?;
            expect_fault(&fixture, &va, part.clone(), Fault::Unmapped)?;
            expect_pages(&fixture, &va, part.end..LARGE + BIG, &expected)?;
        }
    }

    Ok(())
}

/// Adjacent parts of memory that are mapped with different attributes keep them when they are
/// split.
pub(crate) fn adjacent_attributes_kept_apart<F: TestFormat>() -> Result {
    for attributes in &ATTRIBUTES[1..] {
        let mut fixture = Fixture::<F>::new()?;
        let vram = fixture.alloc(2 * LARGE)?;
        let address = vram_at(start_of(&vram)?);
        let va = fixture.reserve(2 * LARGE)?;
        let expected = [PageAttributes::default(), *attributes].map(|attributes| Expected {
            aperture: Aperture::Vram,
            address: &address,
            attributes,
        });
        for (slot, expected) in (0..).zip(&expected) {
            let pages = slot * LARGE..(slot + 1) * LARGE;
            let backing = Backing::new(vram.clone(), pages.start, expected.attributes);
            map(&fixture, &va, pages, backing)?;
        }

        fixture.unmap(&va, LARGE - 3..LARGE + 3)?;
        fixture.check()?;
        expect_pages(&fixture, &va, 0..LARGE - 3, &expected[0])?;
        expect_pages(&fixture, &va, LARGE + 3..2 * LARGE, &expected[1])?;
    }

    Ok(())
}

/// Mapping fails for a kind that entries cannot represent, and for the invalid kind.
pub(crate) fn unknown_kind_einval<F: Published>() -> Result {
    let fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(LARGE)?;
    let va = fixture.reserve(LARGE)?;
    let free = fixture.free_tables();

    for kind in 0..=u8::MAX {
        let attributes = PageAttributes {
            kind: PteKind::from(kind),
            ..PageAttributes::default()
        };
        let backing = Backing::new(vram.clone(), 0, attributes);
        let job = fixture.vmm.prepare_map(within(&va, 0..LARGE)?, backing);
        // 7 is the invalid kind.
        let is_known = u16::from(kind) < F::KINDS && kind != 7;
        ensure_eq!(job.err(), if is_known { None } else { Some(EINVAL) });
    }
    ensure_eq!(fixture.free_tables(), free);

    Ok(())
}
