// SPDX-License-Identifier: GPL-2.0

//! Tests of the validation of the VRAM description that the GSP provides.

use core::fmt::Write;

use super::*;

const MIB: u64 = 1 << 20;

/// Size of VRAM in most tests.
const SIZE: u64 = 64 * MIB;

/// A region of one byte.
const BYTE: FbRegion = usable(0, 0);

/// A reserved region that overlaps no other one.
const RESERVED: FbRegion = reserved(32 * MIB, 33 * MIB - 1);

/// Returns a usable region. `limit` is its last byte.
const fn usable(base: u64, limit: u64) -> FbRegion {
    FbRegion {
        base,
        limit,
        reserved: 0,
        is_protected: false,
        supports_compression: true,
        supports_iso: true,
    }
}

/// Returns a region that the firmware has reserved in part.
const fn reserved(base: u64, limit: u64) -> FbRegion {
    FbRegion {
        reserved: 0x1000,
        ..usable(base, limit)
    }
}

/// Creates the description that the GSP would send. Unused elements hold an invalid region.
fn table(regions: &[FbRegion]) -> Result<FbRegions> {
    let mut table = [usable(1, 0); FbRegions::MAX];

    table
        .get_mut(..regions.len())
        .ok_or(EINVAL)?
        .copy_from_slice(regions);

    Ok(FbRegions {
        count: regions.len().try_into()?,
        table,
    })
}

/// Checks a description with `length` bytes of VRAM. The firmware owns the last 2 MiB below
/// [`SIZE`].
fn check_with(length: u64, regions: &FbRegions, bar1_pdb: u64) -> Result<FbInfo, FbRegionError> {
    FbInfo::new(&FbDescription {
        length,
        firmware: &[SIZE - 2 * MIB..SIZE - MIB, SIZE - MIB..SIZE],
        regions,
        bar1_pdb,
    })
}

/// Checks a description with `regions`.
fn check(regions: &[FbRegion]) -> Result<FbInfo, FbRegionError> {
    let regions = table(regions).map_err(FbRegionError::Failed)?;

    check_with(SIZE, &regions, SIZE - MIB)
}

/// Text that has been written.
struct Text(KVec<u8>);

impl Write for Text {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        self.0
            .extend_from_slice(s.as_bytes(), GFP_KERNEL)
            .map_err(|_| core::fmt::Error)
    }
}

/// Returns a half-open range of addresses.
fn range(range: Range<u64>) -> Range<VramAddress> {
    VramAddress::new(range.start)..VramAddress::new(range.end)
}

#[kunit_tests(nova_core_mm_regions)]
mod suite {
    use super::*;

    /// Usable regions are used even if the first one is sufficient.
    #[test]
    fn usable_regions_all_used() -> Result {
        let fb_info = check(&[
            usable(0, MIB - 1),
            reserved(MIB, 2 * MIB - 1),
            usable(2 * MIB, 4 * MIB - 1),
            usable(8 * MIB, 16 * MIB - 1),
        ])?;

        assert_eq!(fb_info.range(), range(0..SIZE));
        assert_eq!(fb_info.bar1_pdb(), VramAddress::new(SIZE - MIB));
        assert_eq!(
            fb_info.usable_regions(),
            [
                range(0..MIB),
                range(2 * MIB..4 * MIB),
                range(8 * MIB..16 * MIB)
            ]
        );

        Ok(())
    }

    #[test]
    fn region_unusable() -> Result {
        let region = usable(MIB, 2 * MIB - 1);
        let unusable = [
            FbRegion {
                reserved: 1,
                ..region
            },
            FbRegion {
                is_protected: true,
                ..region
            },
            FbRegion {
                supports_compression: false,
                ..region
            },
            FbRegion {
                supports_iso: false,
                ..region
            },
        ];

        assert_eq!(check(&[region])?.usable_regions(), [range(MIB..2 * MIB)]);
        for region in unusable {
            let fb_info = check(&[region, usable(4 * MIB, 5 * MIB - 1)])?;

            assert_eq!(fb_info.usable_regions(), [range(4 * MIB..5 * MIB)]);
            assert_eq!(check(&[region]).err(), Some(FbRegionError::NoUsableRegion));
        }

        Ok(())
    }

    #[test]
    fn regions_sorted() -> Result {
        let fb_info = check(&[
            usable(8 * MIB, 9 * MIB - 1),
            usable(0, MIB - 1),
            usable(4 * MIB, 5 * MIB - 1),
        ])?;

        assert_eq!(
            fb_info.usable_regions(),
            [
                range(0..MIB),
                range(4 * MIB..5 * MIB),
                range(8 * MIB..9 * MIB)
            ]
        );

        Ok(())
    }

    #[test]
    fn regions_adjacent() -> Result {
        let fb_info = check(&[usable(MIB, 2 * MIB - 1), usable(0, MIB - 1)])?;

        assert_eq!(
            fb_info.usable_regions(),
            [range(0..MIB), range(MIB..2 * MIB)]
        );

        Ok(())
    }

    /// The limit is the last byte, and a region may be as small as 4 KiB.
    #[test]
    fn region_limit_inclusive() -> Result {
        assert_eq!(
            check(&[usable(0, 0xfff)])?.usable_regions(),
            [range(0..0x1000)]
        );
        for limit in [0, 0xffe, 0x1000] {
            let region = usable(0, limit);

            assert_eq!(
                check(&[region]).err(),
                Some(FbRegionError::Misaligned(region))
            );
        }

        Ok(())
    }

    #[test]
    fn regions_max_count() -> Result {
        let mut regions = [BYTE; FbRegions::MAX];
        let mut base = 0;

        for region in &mut regions {
            *region = usable(base, base + MIB - 1);
            base += 2 * MIB;
        }
        let fb_info = check(&regions)?;

        assert_eq!(fb_info.usable_regions().len(), FbRegions::MAX);
        assert_eq!(
            fb_info.usable_regions().last(),
            Some(&range(30 * MIB..31 * MIB))
        );

        for count in [17, u32::MAX] {
            let table = FbRegions {
                count,
                table: regions,
            };

            assert_eq!(
                check_with(SIZE, &table, SIZE - MIB).err(),
                Some(FbRegionError::TooManyRegions(count))
            );
        }

        Ok(())
    }

    #[test]
    fn no_regions() {
        assert_eq!(check(&[]).err(), Some(FbRegionError::NoUsableRegion));
        assert_eq!(
            check(&[reserved(0, MIB - 1)]).err(),
            Some(FbRegionError::NoUsableRegion)
        );
    }

    #[test]
    fn regions_inverted() {
        for region in [
            usable(MIB, MIB - 1),
            usable(u64::MAX, 0),
            reserved(MIB, MIB - 1),
        ] {
            assert_eq!(
                check(&[region]).err(),
                Some(FbRegionError::Inverted(region))
            );
        }
        for region in [usable(0, u64::MAX), reserved(MIB, u64::MAX)] {
            assert_eq!(
                check(&[region]).err(),
                Some(FbRegionError::EndOverflows(region))
            );
        }
    }

    /// Only regions that pages are allocated from must be aligned.
    #[test]
    fn regions_misaligned() -> Result {
        for region in [
            usable(0x800, 0xfff),
            usable(0x1800, 0x27ff),
            usable(0, 0x17ff),
        ] {
            assert_eq!(
                check(&[region]).err(),
                Some(FbRegionError::Misaligned(region))
            );
        }
        assert!(check(&[usable(0, MIB - 1), reserved(MIB, MIB + 0x123)]).is_ok());

        Ok(())
    }

    /// If there are holes, the last address is higher than the length.
    #[test]
    fn end_of_regions_and_length() -> Result {
        let root = SIZE - MIB;
        let first = usable(0, MIB - 1);

        for (length, regions, end) in [
            (SIZE, [first, first], SIZE),
            (SIZE, [first, reserved(MIB, SIZE - 1)], SIZE),
            (SIZE, [first, reserved(MIB, SIZE + 0x123)], SIZE + 0x124),
            (SIZE, [first, usable(2 * SIZE, 3 * SIZE - 1)], 3 * SIZE),
            (0, [reserved(MIB, SIZE - 1), first], SIZE),
            (4 * SIZE, [first, usable(2 * SIZE, 3 * SIZE - 1)], 4 * SIZE),
        ] {
            let regions = FbRegions {
                count: if regions[0] == regions[1] { 1 } else { 2 },
                ..table(&regions)?
            };
            assert_eq!(check_with(length, &regions, root)?.range(), range(0..end));

            // The root directory of BAR1 must be below the end.
            let last = (end - 1) & !0xfff;
            let past_end = if end & 0xfff == 0 { end } else { last };
            let found = check_with(length, &regions, past_end).err();
            assert_eq!(found, Some(FbRegionError::Bar1Pdb(past_end)));
        }

        Ok(())
    }

    /// Regions that contain the first byte, the last byte, or all of the firmware's memory.
    #[test]
    fn regions_overlap_firmware() {
        for region in [
            usable(0, SIZE - 2 * MIB + 0xfff),
            usable(SIZE - 0x1000, SIZE - 1),
            usable(0, SIZE - 1),
            usable(SIZE - 2 * MIB + 0x1000, SIZE - 2 * MIB + 0x1fff),
        ] {
            assert_eq!(
                check(&[region]).err(),
                Some(FbRegionError::OverlapsFirmware(region))
            );
        }
        assert!(check(&[usable(0, SIZE - 2 * MIB - 1)]).is_ok());
        assert!(check(&[usable(0, MIB - 1), reserved(0x10_0000, SIZE - 1)]).is_ok());
    }

    #[test]
    fn regions_overlap() {
        let first = usable(2 * MIB, 4 * MIB - 1);

        for second in [
            usable(2 * MIB, 4 * MIB - 1),
            usable(0, 2 * MIB + 0xfff),
            usable(4 * MIB - 0x1000, 5 * MIB - 1),
            usable(0, 5 * MIB - 1),
            usable(3 * MIB, 3 * MIB + 0xfff),
            reserved(0, 2 * MIB),
            reserved(4 * MIB - 1, 5 * MIB),
        ] {
            assert_eq!(
                check(&[first, RESERVED, second]).err(),
                Some(FbRegionError::Overlaps(second, first))
            );
            assert_eq!(
                check(&[RESERVED, first, second]).err(),
                Some(FbRegionError::Overlaps(second, first))
            );
            assert_eq!(
                check(&[second, first]).err(),
                Some(FbRegionError::Overlaps(first, second))
            );
        }
    }

    /// Regions that are not used may overlap.
    #[test]
    fn reserved_regions_overlap() -> Result {
        let fb_info = check(&[RESERVED, usable(0, MIB - 1), RESERVED])?;

        assert_eq!(fb_info.usable_regions(), [range(0..MIB)]);

        Ok(())
    }

    #[test]
    fn bar1_pdb_location() -> Result {
        let regions = table(&[usable(MIB, 2 * MIB - 1), reserved(2 * MIB, 3 * MIB - 1)])?;

        for root in [0, MIB - 0x1000, 2 * MIB, SIZE - MIB, SIZE - 0x1000] {
            assert_eq!(
                check_with(SIZE, &regions, root)?.bar1_pdb().into_raw(),
                root
            );
        }
        for root in [
            // In memory that the driver allocates.
            MIB,
            2 * MIB - 0x1000,
            // Misaligned.
            SIZE - MIB + 0x800,
            8,
            // Outside VRAM.
            SIZE,
            SIZE - 0x800,
            u64::MAX,
            u64::MAX - 0xfff,
        ] {
            assert_eq!(
                check_with(SIZE, &regions, root).err(),
                Some(FbRegionError::Bar1Pdb(root))
            );
        }

        Ok(())
    }

    #[test]
    fn error_codes() {
        assert_eq!(Error::from(FbRegionError::NoUsableRegion), ENODEV);
        assert_eq!(Error::from(FbRegionError::TooManyRegions(17)), EINVAL);
        assert_eq!(Error::from(FbRegionError::Inverted(BYTE)), EINVAL);
        assert_eq!(Error::from(FbRegionError::Bar1Pdb(0)), EINVAL);
        assert_eq!(Error::from(FbRegionError::Failed(ENOMEM)), ENOMEM);
    }

    /// Error messages name the region.
    #[test]
    fn error_messages() -> Result {
        let region = usable(0x1000, 0x4fff);
        let expect = |error, message: &str| {
            let mut text = Text(KVec::new());

            assert!(text.write_fmt(fmt!("{error}")).is_ok());
            assert_eq!(text.0.as_slice(), message.as_bytes());
        };

        expect(
            FbRegionError::Misaligned(region),
            "region 0x1000..=0x4fff is not aligned to 4 KiB",
        );
        expect(
            FbRegionError::Overlaps(region, BYTE),
            "regions 0x1000..=0x4fff and 0x0..=0x0 overlap",
        );

        Ok(())
    }
}
