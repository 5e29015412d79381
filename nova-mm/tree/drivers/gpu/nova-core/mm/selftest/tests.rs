// SPDX-License-Identifier: GPL-2.0

//! The self-tests, run against the software GPU.

use kernel::prelude::*;

use crate::mm::{
    bar1::tests::Fixture,
    format::v2::MmuV2,
    mmio::Mmio,
    selftest::{
        Defect,
        SelfTest, //
    }, //
};

/// Runs all self-tests, and returns the name and the defect of the first one that fails.
fn run(fixture: &Fixture, aperture: &dyn Mmio) -> Option<(&'static str, Defect)> {
    let tests = SelfTest {
        vram: &fixture.vram,
        mmu: &fixture.mmu,
        bar1: &fixture.bar1,
        bar0: &fixture.gpu.bar0(),
        aperture,
    };

    SelfTest::<MmuV2>::ALL
        .iter()
        .find_map(|(name, test)| test(&tests).err().map(|defect| (*name, defect)))
}

/// A BAR1 in which one bit of what is read is wrong.
struct Broken<T>(T);

impl<T: Mmio> Mmio for Broken<T> {
    fn read32(&self, offset: usize) -> Result<u32> {
        self.0.read32(offset)
    }

    fn read64(&self, offset: usize) -> Result<u64> {
        self.0.read64(offset).map(|value| value ^ 0x10)
    }

    fn write32(&self, value: u32, offset: usize) -> Result {
        self.0.write32(value, offset)
    }

    fn write64(&self, value: u64, offset: usize) -> Result {
        self.0.write64(value, offset)
    }
}

#[kunit_tests(nova_mm_selftest)]
mod suite {
    use super::*;

    #[test]
    fn all_pass_and_leave_nothing_behind() -> Result {
        let fixture = Fixture::new()?;
        let before = fixture.vram.avail();

        assert_eq!(run(&fixture, &fixture.gpu.bar1()), None);
        assert_eq!(fixture.vram.avail(), before);
        assert!(fixture.gpu.take_bar1_fault().is_none());

        fixture.gpu.check_clean()
    }

    #[test]
    fn a_wrong_bit_is_reported() -> Result {
        let fixture = Fixture::new()?;

        let Some((
            name,
            Defect::Wrong {
                expected, found, ..
            },
        )) = run(&fixture, &Broken(fixture.gpu.bar1()))
        else {
            return Err(EINVAL);
        };
        assert_eq!(name, "BAR1");
        assert_eq!(expected ^ found, 0x10);

        Ok(())
    }

    #[test]
    fn a_time_out_is_reported() -> Result {
        let fixture = Fixture::new()?;
        fixture.gpu.hang_invalidate(0);

        assert_eq!(
            run(&fixture, &fixture.gpu.bar1()),
            Some(("page tables", Defect::Failed(ETIMEDOUT)))
        );

        // What the GPU may use is not given back, nor does anybody else get it.
        fixture.gpu.recover();
        assert!(fixture.vram.avail() < fixture.vram.size());
        assert_eq!(run(&fixture, &fixture.gpu.bar1()), None);

        fixture.gpu.check_clean()
    }
}
