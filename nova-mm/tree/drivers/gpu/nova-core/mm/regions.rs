// SPDX-License-Identifier: GPL-2.0

//! The GPU's memory as the GSP describes it, and the regions that the driver may use.
//!
//! The firmware owns the GPU's memory. It reports which regions are free to use and where it has
//! placed the page tables of BAR1. This module only checks that description. Using a wrong or
//! misunderstood description would corrupt memory, so an inconsistent one is rejected as a whole
//! and never corrected.
//!
//! The layout of the description comes from `ctrl2080fb.h` and `gsp_static_config.h` in
//! open-gpu-kernel-modules.

use core::ops::Range;

use kernel::{
    fmt,
    prelude::*, //
};

use crate::{
    mm::address::{
        Pfn,
        VramAddress,
        PAGE_SIZE, //
    },
    num::FromSafeCast, //
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

/// The checked description of a GPU's memory.
///
/// # Invariants
///
/// - The ranges in `usable`, of which there is at least one, are not empty, in ascending order, and
///   do not overlap. Their bounds are multiples of 4 KiB, and they lie in `range`.
/// - The page of 4 KiB at `bar1_pdb` lies in `range`, and in no range of `usable`.
/// - `range` starts at address zero.
pub(crate) struct FbInfo {
    range: Range<VramAddress>,
    usable: KVec<Range<VramAddress>>,
    bar1_pdb: VramAddress,
}

impl FbInfo {
    /// Checks a description of the memory. May sleep, because it allocates memory.
    ///
    /// # Errors
    ///
    /// An [`FbRegionError`], which names the check that failed and converts into an [`Error`].
    pub(crate) fn new(description: &FbDescription<'_>) -> Result<Self, FbRegionError> {
        let regions = description.regions.all()?;
        let mut usable = KVec::with_capacity(regions.len(), GFP_KERNEL)
            .map_err(|_| FbRegionError::Failed(ENOMEM))?;

        let mut end = description.length;

        for (i, region) in regions.iter().enumerate() {
            end = end.max(region.check(description)?);
            for other in &regions[..i] {
                region.check_against(other)?;
            }
            if region.is_usable() {
                let range = VramAddress::new(region.base)..VramAddress::new(region.limit + 1);
                usable
                    .push(range, GFP_KERNEL)
                    .map_err(|_| FbRegionError::Failed(ENOMEM))?;
            }
        }
        if usable.is_empty() {
            return Err(FbRegionError::NoUsableRegion);
        }
        sort_by_start(&mut usable);

        // INVARIANT: The loop checks each region, then compares it with the regions before it.
        // `usable` has been sorted, and is not empty. `check_bar1_pdb` checks the page directory.
        Ok(Self {
            range: VramAddress::new(0)..VramAddress::new(end),
            bar1_pdb: check_bar1_pdb(description, end, &usable)?,
            usable,
        })
    }

    /// Returns the address range of the whole memory, including holes and memory of the firmware.
    ///
    /// It ends at the reported size or at the end of the last region, whichever is higher.
    pub(crate) fn range(&self) -> Range<VramAddress> {
        self.range.clone()
    }

    /// Returns the regions that the driver may use, in ascending order.
    pub(crate) fn usable_regions(&self) -> &[Range<VramAddress>] {
        &self.usable
    }

    /// Returns the address of the root page directory of BAR1, which belongs to the firmware.
    pub(crate) fn bar1_pdb(&self) -> VramAddress {
        self.bar1_pdb
    }
}

/// Sorts at most [`FbRegions::MAX`] ranges.
///
/// An insertion sort is fast enough for so few. objtool does not know the panic functions that the
/// sort of the `core` crate calls.
fn sort_by_start(ranges: &mut [Range<VramAddress>]) {
    for sorted in 1..ranges.len() {
        let mut at = sorted;
        while at > 0 && ranges[at - 1].start > ranges[at].start {
            ranges.swap(at - 1, at);
            at -= 1;
        }
    }
}

/// The input of [`FbInfo::new`].
pub(crate) struct FbDescription<'a> {
    /// Size of the memory in bytes, as reported by the GSP. If the memory has holes, it ends at a
    /// higher address.
    pub(crate) length: u64,
    /// Half-open address ranges that the driver has assigned to the firmware.
    pub(crate) firmware: &'a [Range<u64>],
    /// The regions, as reported by the GSP.
    pub(crate) regions: &'a FbRegions,
    /// Address of the root page directory of BAR1, as reported by the GSP.
    pub(crate) bar1_pdb: u64,
}

/// Checks the address of the root page directory of BAR1.
///
/// The firmware owns the page, so it must not be one that the driver allocates.
fn check_bar1_pdb(
    description: &FbDescription<'_>,
    fb_end: u64,
    usable: &[Range<VramAddress>],
) -> Result<VramAddress, FbRegionError> {
    let error = FbRegionError::Bar1Pdb(description.bar1_pdb);
    let pdb = VramAddress::new(description.bar1_pdb);
    let end = pdb.checked_add(PAGE_SIZE).map_err(|_| error)?;

    if Pfn::try_from(pdb).is_err()
        || end.into_raw() > fb_end
        || usable.iter().any(|range| range.contains(&pdb))
    {
        return Err(error);
    }

    Ok(pdb)
}

/// The regions that the GSP reports, not checked yet.
#[derive(Clone)]
pub(crate) struct FbRegions {
    /// Number of regions.
    pub(crate) count: u32,
    /// The regions. Elements from index `count` on have no meaning.
    pub(crate) table: [FbRegion; FbRegions::MAX],
}

impl FbRegions {
    /// Maximum number of regions.
    pub(crate) const MAX: usize = 16;

    /// Returns the regions.
    fn all(&self) -> Result<&[FbRegion], FbRegionError> {
        self.table
            .get(..usize::from_safe_cast(self.count))
            .ok_or(FbRegionError::TooManyRegions(self.count))
    }
}

/// A region that the GSP reports, not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FbRegion {
    /// Address of the first byte.
    pub(crate) base: u64,
    /// Address of the last byte.
    pub(crate) limit: u64,
    /// Number of bytes in the region that the firmware has reserved for itself.
    pub(crate) reserved: u64,
    /// Whether only protected clients of the GPU have access.
    pub(crate) is_protected: bool,
    /// Whether the region can hold compressed surfaces.
    pub(crate) supports_compression: bool,
    /// Whether the region can hold surfaces that a display scans out, which takes "isochronous"
    /// accesses.
    pub(crate) supports_iso: bool,
}

impl FbRegion {
    /// Returns whether the driver may allocate the whole region, for any purpose.
    fn is_usable(&self) -> bool {
        self.reserved == 0 && !self.is_protected && self.supports_compression && self.supports_iso
    }

    /// Checks a region on its own and returns its exclusive end.
    ///
    /// Regions that the driver does not use only have to be valid ranges.
    fn check(&self, description: &FbDescription<'_>) -> Result<u64, FbRegionError> {
        if self.limit < self.base {
            return Err(FbRegionError::Inverted(*self));
        }
        let end = self
            .limit
            .checked_add(1)
            .ok_or(FbRegionError::EndOverflows(*self))?;

        if !self.is_usable() {
            return Ok(end);
        }
        if self.base % PAGE_SIZE != 0 || end % PAGE_SIZE != 0 {
            return Err(FbRegionError::Misaligned(*self));
        }
        if description
            .firmware
            .iter()
            .any(|range| range.start < end && self.base < range.end)
        {
            return Err(FbRegionError::OverlapsFirmware(*self));
        }

        Ok(end)
    }

    /// Checks that this region does not overlap `other`, unless the driver uses neither.
    ///
    /// Both regions have passed [`Self::check`].
    fn check_against(&self, other: &Self) -> Result<(), FbRegionError> {
        if (self.is_usable() || other.is_usable())
            && self.base <= other.limit
            && other.base <= self.limit
        {
            return Err(FbRegionError::Overlaps(*self, *other));
        }

        Ok(())
    }
}

impl fmt::Display for FbRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..={:#x}", self.base, self.limit)
    }
}

/// The reason to reject a description of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FbRegionError {
    /// The number of regions exceeds [`FbRegions::MAX`].
    TooManyRegions(u32),
    /// The driver may not use any of the regions.
    NoUsableRegion,
    /// The region ends before it starts.
    Inverted(FbRegion),
    /// The exclusive end of the region does not fit into 64 bits.
    EndOverflows(FbRegion),
    /// A bound of the region is not a multiple of 4 KiB.
    Misaligned(FbRegion),
    /// The region overlaps memory that the driver has assigned to the firmware.
    OverlapsFirmware(FbRegion),
    /// The regions overlap.
    Overlaps(FbRegion, FbRegion),
    /// The root page directory of BAR1 cannot be at this address, which is misaligned, beyond the
    /// end of the memory, or in memory that the driver may allocate.
    Bar1Pdb(u64),
    /// The driver failed to check the description.
    Failed(Error),
}

impl fmt::Display for FbRegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (region, what) = match self {
            Self::TooManyRegions(count) => {
                return f.write_fmt(fmt!("too many regions: {count}"));
            }
            Self::NoUsableRegion => return f.write_str("no region is usable"),
            Self::Overlaps(region, other) => {
                return f.write_fmt(fmt!("regions {region} and {other} overlap"));
            }
            Self::Bar1Pdb(address) => {
                return f.write_fmt(fmt!("invalid BAR1 page directory address {address:#x}"));
            }
            Self::Failed(error) => return f.write_fmt(fmt!("{error:?}")),
            Self::Inverted(region) => (region, "is inverted"),
            Self::EndOverflows(region) => (region, "exceeds the address space"),
            Self::Misaligned(region) => (region, "is not aligned to 4 KiB"),
            Self::OverlapsFirmware(region) => (region, "overlaps the firmware"),
        };

        f.write_fmt(fmt!("region {region} {what}"))
    }
}

/// Returns [`ENODEV`] if no region is usable, the error of the driver if the description could not
/// be checked, and [`EINVAL`] otherwise.
impl From<FbRegionError> for Error {
    fn from(error: FbRegionError) -> Self {
        match error {
            FbRegionError::NoUsableRegion => ENODEV,
            FbRegionError::Failed(error) => error,
            _ => EINVAL,
        }
    }
}
