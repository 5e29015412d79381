// SPDX-License-Identifier: GPL-2.0

//! The framebuffer as the GSP describes it, and what of it is for the driver to use.
//!
//! The firmware owns the GPU's memory and says which regions of it are free, and where it put the
//! page tables of BAR1. All that is done here is to check what it says. Memory is corrupted if that
//! is wrong, or was misunderstood, so it is taken as a whole or refused: nothing is corrected.
//!
//! The layout of the description is that of `ctrl2080fb.h` and `gsp_static_config.h` in
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

/// The memory of a GPU.
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
    /// Checks a description of the framebuffer.
    ///
    /// Context: may sleep, for it allocates memory.
    ///
    /// # Errors
    ///
    /// What is wrong with the description. It converts into an [`Error`].
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

        // INVARIANT: All of this was checked, here or above. That regions neither wrap around nor
        // are empty is checked before two of them are compared.
        Ok(Self {
            range: VramAddress::new(0)..VramAddress::new(end),
            bar1_pdb: check_bar1_pdb(description, end, &usable)?,
            usable,
        })
    }

    /// Returns the addresses of all of the memory, including holes and the memory of the firmware.
    /// The GSP reports the end.
    pub(crate) fn range(&self) -> Range<VramAddress> {
        self.range.clone()
    }

    /// Returns the memory that the driver may use, in ascending order.
    pub(crate) fn usable_regions(&self) -> &[Range<VramAddress>] {
        &self.usable
    }

    /// Returns the address of the root page directory of BAR1, which belongs to the firmware.
    pub(crate) fn bar1_pdb(&self) -> VramAddress {
        self.bar1_pdb
    }
}

/// Sorts a handful of ranges. The sort of the `core` crate is made for many, and its panics are not
/// known to objtool.
fn sort_by_start(ranges: &mut [Range<VramAddress>]) {
    for sorted in 1..ranges.len() {
        let mut at = sorted;
        while at > 0 && ranges[at - 1].start > ranges[at].start {
            ranges.swap(at - 1, at);
            at -= 1;
        }
    }
}

/// What a [`FbInfo`] is made from.
pub(crate) struct FbDescription<'a> {
    /// Size of the memory in bytes, as reported by the GSP. The memory ends at a higher address if
    /// there are holes in it.
    pub(crate) length: u64,
    /// What the driver itself has given to the firmware: half-open ranges of addresses.
    pub(crate) firmware: &'a [Range<u64>],
    /// What the GSP says of the regions.
    pub(crate) regions: &'a FbRegions,
    /// Where the GSP says that the root page directory of BAR1 is.
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

/// The regions of the framebuffer as the GSP describes them, not checked.
#[derive(Clone)]
pub(crate) struct FbRegions {
    /// Number of regions.
    pub(crate) count: u32,
    /// The regions, and whatever comes after them.
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

/// A region of the framebuffer as the GSP describes it, not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FbRegion {
    /// Address of the first byte.
    pub(crate) base: u64,
    /// Address of the last byte.
    pub(crate) limit: u64,
    /// Number of bytes in it that the firmware keeps for itself.
    pub(crate) reserved: u64,
    /// Whether only protected clients of the GPU have access.
    pub(crate) is_protected: bool,
    /// Whether it can hold compressed surfaces.
    pub(crate) supports_compression: bool,
    /// Whether it can hold what a display shows: "isochronous" accesses.
    pub(crate) supports_iso: bool,
}

impl FbRegion {
    /// Returns whether the driver may allocate all of the region, for any purpose.
    fn is_usable(&self) -> bool {
        self.reserved == 0 && !self.is_protected && self.supports_compression && self.supports_iso
    }

    /// Checks the region by itself, and returns its exclusive end. For regions that are not used,
    /// this checks only that they are ranges.
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

    /// Checks that no memory is in this region and in `other`, unless neither is used.
    ///
    /// Both have been checked for themselves.
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

/// Why a description of the framebuffer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FbRegionError {
    /// There are more regions than can be described.
    TooManyRegions(u32),
    /// There is no region that the driver may use.
    NoUsableRegion,
    /// The region ends before it starts.
    Inverted(FbRegion),
    /// The region ends with the last address there is.
    EndOverflows(FbRegion),
    /// A bound of the region is no multiple of 4 KiB.
    Misaligned(FbRegion),
    /// There is memory in the region that the driver has given to the firmware.
    OverlapsFirmware(FbRegion),
    /// There is memory in both regions.
    Overlaps(FbRegion, FbRegion),
    /// The root page directory of BAR1 cannot be at this address.
    Bar1Pdb(u64),
    /// The description could not be checked.
    Failed(Error),
}

impl fmt::Display for FbRegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (region, what) = match self {
            Self::TooManyRegions(count) => {
                return f.write_fmt(fmt!("{count} regions are too many"));
            }
            Self::NoUsableRegion => return f.write_str("no region is usable"),
            Self::Overlaps(region, other) => {
                return f.write_fmt(fmt!("regions {region} and {other} overlap"));
            }
            Self::Bar1Pdb(address) => {
                return f.write_fmt(fmt!("BAR1's root page directory is at {address:#x}"));
            }
            Self::Failed(error) => return f.write_fmt(fmt!("{error:?}")),
            Self::Inverted(region) => (region, "is inverted"),
            Self::EndOverflows(region) => (region, "ends with the last address"),
            Self::Misaligned(region) => (region, "is not aligned to 4 KiB"),
            Self::OverlapsFirmware(region) => (region, "overlaps the firmware"),
        };

        f.write_fmt(fmt!("region {region} {what}"))
    }
}

/// [`ENODEV`] if no region is usable, else [`EINVAL`], unless the error was one of the driver's.
impl From<FbRegionError> for Error {
    fn from(error: FbRegionError) -> Self {
        match error {
            FbRegionError::NoUsableRegion => ENODEV,
            FbRegionError::Failed(error) => error,
            _ => EINVAL,
        }
    }
}
