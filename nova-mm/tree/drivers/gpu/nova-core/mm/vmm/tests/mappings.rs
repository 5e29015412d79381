// SPDX-License-Identifier: GPL-2.0

//! Tests of all kinds of mappings: pages of all sizes, system memory, sparse ranges, and
//! attributes.

use core::ops::Range;

use kernel::prelude::*;

use crate::mm::{
    address::{
        PageSize,
        Vfn,
        VramAddress,
        PAGE_SIZE, //
    },
    format::{
        v2::MmuV2,
        Access,
        Aperture,
        EntryType,
        PageAttributes, //
    },
    memory::Backing,
    model::{
        Access as ModelAccess,
        Fault,
        GpuModel, //
    },
    vmm::{
        tests::fixture::{
            complete,
            ensure,
            ensure_eq,
            within,
            Area,
            Fixture,
            TestFormat, //
        },
        Job,
        JobError, //
    }, //
};

pub(crate) mod attributes;
pub(crate) mod huge;
pub(crate) mod sizes;
pub(crate) mod sparse;
pub(crate) mod sysmem;

/// Defines the suite of these tests for a format.
macro_rules! mappings_suite {
    ($module:ident, $suite:ident, $format:ty) => {
        $crate::mm::vmm::tests::suite! {
            $module, $suite, $format,
            $crate::mm::vmm::tests::mappings, {
                attributes::page_words_match_headers,
                attributes::table_words_match_headers,
                attributes::map_sets_attributes,
                attributes::attributes_survive_protect,
                attributes::attributes_survive_splits,
                attributes::adjacent_attributes_kept_apart,
                attributes::unknown_kind_einval,
                huge::huge_page_maps_512m,
                huge::huge_page_without_size_maps_2m,
                huge::huge_page_unmap_part,
                huge::huge_page_protect_part,
                huge::huge_page_remap_part,
                huge::huge_page_replaces_smaller,
                huge::huge_page_split_keeps_rest,
                sizes::big_pages_of_scattered_vram,
                sizes::big_and_small_pages_share_slot,
                sizes::big_page_unmap_part,
                sizes::big_page_protect_part,
                sizes::big_page_remap_part,
                sizes::big_page_protect_whole,
                sizes::big_page_protect_unlinks_table,
                sizes::big_page_protect_two_mappings,
                sizes::big_pages_replace_small,
                sizes::small_pages_replace_big,
                sizes::big_pages_replace_2m,
                sizes::remap_to_other_sizes,
                sizes::cached_directory_sees_rest,
                sizes::cached_directory_sees_protected,
                sparse::sparse_range_no_fault,
                sparse::sparse_range_uses_few_tables,
                sparse::sparse_words_match_headers,
                sparse::sparse_unmap_part,
                sparse::sparse_replaces_memory_and_back,
                sparse::sparse_protect_keeps_sparse,
                sparse::sparse_replaces_tables,
                sysmem::sysmem_maps_in_order,
                sysmem::sysmem_uses_4k_pages,
                sysmem::sysmem_unmap_part,
                sysmem::sysmem_protect,
                sysmem::sysmem_replaces_vram_and_back,
                sysmem::sysmem_owner_dropped_by_free,
                sysmem::sysmem_owner_kept_by_part,
                sysmem::sysmem_owner_kept_after_timeout,
                sysmem::sysmem_owner_leaked_without_unmap,
                sysmem::sysmem_unencodable_einval,
            }
        }
    };
}

mappings_suite!(v2, nova_core_mm_mappings_v2, MmuV2);

mod v3;

/// Published bits of a format, independent of the code under test.
pub(crate) trait Published: TestFormat {
    /// First system memory address that entries cannot represent.
    const SYSMEM_END: u64;

    /// Number of kinds that an entry can represent.
    const KINDS: u16;

    /// Sparse entries: a one-word PDE, a dual PDE, and a PTE.
    const SPARSE: [u64; 3];

    /// A PDE without the address, for a table in VRAM.
    const PDE: u64;

    /// Splits a PDE for a table of the driver, or the small half of a dual PDE, into the address of
    /// the table and the remaining bits.
    fn split_pde(word: u64) -> (u64, u64);

    /// Does the same for the big half of a dual PDE.
    fn split_big_pde(word: u64) -> (u64, u64);

    /// Returns the PTE for `address` in the aperture with this number.
    fn page(aperture: u64, address: u64, attributes: &PageAttributes) -> u64;
}

impl Published for MmuV2 {
    const SYSMEM_END: u64 = 1 << 58;
    const KINDS: u16 = 1 << 8;
    // VOL, bit 3, with neither an aperture nor VALID.
    const SPARSE: [u64; 3] = [1 << 3; 3];
    // APERTURE 2:1 is VIDEO_MEMORY.
    const PDE: u64 = 1 << 1;

    fn split_pde(word: u64) -> (u64, u64) {
        // ADDRESS_VID 32:8, in units of 4 KiB.
        let address = word & 0x1_ffff_ff00;

        (address << 4, word - address)
    }

    fn split_big_pde(word: u64) -> (u64, u64) {
        // ADDRESS_BIG_VID 32:4, in units of 256 bytes.
        let address = word & 0x1_ffff_fff0;

        (address << 4, word - address)
    }

    fn page(aperture: u64, address: u64, attributes: &PageAttributes) -> u64 {
        // VALID 0, APERTURE 2:1, VOL 3, PRIVILEGE 5, READ_ONLY 6, ADDRESS from bit 8, KIND 63:56.
        1 | aperture << 1
            | u64::from(is_volatile(aperture, attributes)) << 3
            | u64::from(attributes.privileged) << 5
            | u64::from(attributes.access == Access::ReadOnly) << 6
            | (address >> 12) << 8
            | u64::from(u8::from(attributes.kind)) << 56
    }
}

/// Returns whether accesses bypass the GPU's caches, as accesses to system memory always do.
pub(crate) fn is_volatile(aperture: u64, attributes: &PageAttributes) -> bool {
    attributes.volatile || aperture != 0
}

/// Words of entry 0 of each table on the path to page 0: two words of the last directory, and the
/// first words of the tables of big and of small pages, or zero if the table does not exist.
pub(crate) struct FirstWords {
    pub(crate) directories: KVec<u64>,
    pub(crate) dual: [u64; 2],
    pub(crate) big: u64,
    pub(crate) small: u64,
}

impl FirstWords {
    /// Reads the words. The path ends at a directory entry that is not a PDE.
    pub(crate) fn read<F: Published>(fixture: &Fixture<F>) -> Result<Self> {
        let read = |address| fixture.gpu.vram_read64(VramAddress::new(address));
        let mut words = Self {
            directories: KVec::new(),
            dual: [0; 2],
            big: 0,
            small: 0,
        };
        let mut table = fixture.pdb().into_raw();

        for _ in F::LEVELS.iter().filter(|it| it.kind == EntryType::Pde) {
            let word = read(table);
            words.directories.push(word, GFP_KERNEL)?;
            let (address, rest) = F::split_pde(word);
            if rest != F::PDE {
                return Ok(words);
            }
            table = address;
        }
        words.dual = [read(table), read(table + 8)];
        if let (address @ 1.., _) = F::split_big_pde(words.dual[0]) {
            if words.dual[0] & 1 == 0 {
                words.big = read(address);
            }
        }
        if let (address @ 1.., _) = F::split_pde(words.dual[1]) {
            words.small = read(address);
        }

        Ok(words)
    }
}

/// Memory expected at consecutive pages.
pub(crate) struct Expected<'a> {
    pub(crate) aperture: Aperture,
    /// Returns the expected address for each page.
    pub(crate) address: &'a dyn Fn(u64) -> u64,
    pub(crate) attributes: PageAttributes,
}

/// Returns a function from page numbers to addresses in contiguous memory that begins at `start`.
pub(crate) fn vram_at(start: u64) -> impl Fn(u64) -> u64 {
    move |page| start + page * PAGE_SIZE
}

/// Fails unless the GPU finds the expected memory at `pages`, which are relative to the start of
/// `va`.
pub(crate) fn expect_pages<F: TestFormat>(
    fixture: &Fixture<F>,
    va: &Area,
    pages: Range<u64>,
    expected: &Expected<'_>,
) -> Result {
    let Expected {
        aperture,
        address,
        attributes,
    } = expected;

    for page in pages {
        let found = fixture.translate(va.start() + page)?;
        let Ok(found) = found else {
            pr_err!("page {:#x} of the area: {:?}\n", page, found);
            return Err(EINVAL);
        };
        ensure_eq!(found.aperture, *aperture);
        ensure_eq!(found.address, address(page));
        ensure_eq!(found.kind, u8::from(attributes.kind));
        ensure_eq!(found.read_only, attributes.access == Access::ReadOnly);
        ensure_eq!(found.privileged, attributes.privileged);
        let is_sysmem = *aperture != Aperture::Vram;
        ensure_eq!(found.volatile, attributes.volatile || is_sysmem);
        ensure!(!found.no_atomics);
    }

    Ok(())
}

/// Fails unless pages of `size` map `pages`, which are relative to the start of `va`.
pub(crate) fn expect_size<F: TestFormat>(
    fixture: &Fixture<F>,
    va: &Area,
    pages: Range<u64>,
    size: PageSize,
) -> Result {
    for page in pages {
        let found = fixture.translate(va.start() + page)?;
        ensure_eq!(found.map(|found| found.page_size), Ok(size));
    }

    Ok(())
}

/// Fails unless accesses to `pages`, which are relative to the start of `va`, end with `fault`.
pub(crate) fn expect_fault<F: TestFormat>(
    fixture: &Fixture<F>,
    va: &Area,
    pages: Range<u64>,
    fault: Fault,
) -> Result {
    for page in pages {
        ensure_eq!(fixture.translate(va.start() + page)?, Err(fault));
    }

    Ok(())
}

/// Maps `backing` at `pages`, which are relative to the start of `va`.
pub(crate) fn map<F: TestFormat>(
    fixture: &Fixture<F>,
    va: &Area,
    pages: Range<u64>,
    backing: Backing,
) -> Result {
    complete(fixture.vmm.prepare_map(within(va, pages)?, backing)?)
}

/// Fails unless the page tables of `gpu` map each of `pages` to one of two addresses.
///
/// `pages` are relative to page `first`. The functions return the allowed addresses.
pub(crate) fn ensure_either(
    gpu: &GpuModel,
    pdb: VramAddress,
    first: u64,
    pages: Range<u64>,
    old: &dyn Fn(u64) -> u64,
    new: &dyn Fn(u64) -> u64,
) -> Result {
    for page in pages {
        let found = gpu.walk(pdb, Vfn::new(first + page)?.address());
        let found = found.map(|found| found.address);
        if found != Ok(old(page)) && found != Ok(new(page)) {
            pr_err!("page {:#x} of the area: {:x?}\n", page, found);
            return Err(EINVAL);
        }
    }

    Ok(())
}

/// Translates a page, relative to the start of an area, to the address of its memory.
pub(crate) type Translate<'a> = dyn Fn(u64) -> Result<u64> + 'a;

/// Runs a job while the TLB holds the directory entries on the path to page `cached`, which is
/// relative to the start of `va`. Calls `check` before the TLB is invalidated.
pub(crate) fn run_with_cached_directories<F: TestFormat>(
    fixture: &mut Fixture<F>,
    va: &Area,
    cached: u64,
    mut job: Job,
    check: &mut dyn FnMut(&Translate<'_>) -> Result,
) -> Result {
    let pdb = fixture.pdb();
    let gpu = fixture.gpu.clone();
    let translate = |page| -> Result<u64> {
        let address = Vfn::new(va.start() + page)?.address();
        let found = gpu.translate(pdb, address, ModelAccess::READ);
        if found.is_err() {
            pr_err!("page {:#x} of the area: {:?}\n", page, found);
        }

        found.map(|found| found.address).map_err(|_| EFAULT)
    };
    // The TLB is empty, so that it holds no other entries.
    fixture.vmm.retry_invalidate()?;
    let _ = translate(cached)?;

    fixture.gpu.hang_invalidate(0);
    ensure_eq!(job.run(), Err(JobError::NotInvalidated(ETIMEDOUT)));
    check(&translate)?;

    fixture.gpu.recover();
    fixture.vmm.retry_invalidate()?;
    job.free();

    fixture.check()
}
