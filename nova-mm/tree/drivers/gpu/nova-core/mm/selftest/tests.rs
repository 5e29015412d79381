// SPDX-License-Identifier: GPL-2.0

//! Tests of the self-tests on the GPU model.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::mm::{
    gpu_mm::tests::Fixture,
    mmio::{
        Aperture,
        DeviceBar,
        Mmio, //
    },
    model::{
        Config,
        ModelBar1, //
    },
    selftest::{
        SelfTest,
        SelfTestError, //
    }, //
};

/// Size of VRAM in bytes.
const VRAM: u64 = 16 << 20;

/// Runs all self-tests. Returns the name and the error of the first one that fails.
fn run(fixture: &Fixture) -> Option<(&'static str, SelfTestError)> {
    let tests = SelfTest(&fixture.mm);

    SelfTest::ALL
        .iter()
        .find_map(|(name, test)| test(&tests).err().map(|error| (*name, error)))
}

/// A BAR1 that returns one wrong bit in each 64-bit read.
struct Broken(ModelBar1);

impl DeviceBar for Broken {
    fn with(&self, access: &mut dyn FnMut(&dyn Mmio)) -> Result {
        access(self);

        Ok(())
    }
}

impl Mmio for Broken {
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

#[kunit_tests(nova_core_mm_selftest)]
mod suite {
    use super::*;

    #[test]
    fn all_pass_and_free_memory() -> Result {
        let fixture = Fixture::new(VRAM)?;
        let vram = fixture.mm.vram();
        let before = vram.avail();

        assert_eq!(run(&fixture), None);
        assert_eq!(vram.avail(), before);
        assert_eq!(vram.leaked(), 0);
        assert!(fixture.gpu.take_bar1_fault().is_none());

        fixture.gpu.check_clean()
    }

    /// Goes through `readl()` and similar functions instead of calling the GPU model directly.
    #[cfg(CONFIG_INDIRECT_IOMEM)]
    #[test]
    fn all_pass_through_readl() -> Result {
        use crate::mm::iomem::MappedGpu;

        let config = Config {
            bar1_size: 16 << 20,
            ..Config::default()
        };
        let fixture = Fixture::with_bars(VRAM, config, |gpu| {
            let mapped = Arc::new(MappedGpu::new(gpu)?, GFP_KERNEL)?;

            Ok((mapped.registers()?, mapped.aperture()?))
        })?;

        assert_eq!(run(&fixture), None);
        assert!(fixture.gpu.counts().total() > 0);
        fixture.gpu.check_clean()
    }

    #[test]
    fn wrong_bit_reported() -> Result {
        let fixture = Fixture::with_bars(VRAM, Config::default(), |gpu| {
            let bar1 = Arc::new(Broken(gpu.bar1()), GFP_KERNEL)?;

            Ok((gpu.registers()?, Aperture::new(bar1)))
        })?;

        let Some((
            name,
            SelfTestError::Mismatch {
                expected, found, ..
            },
        )) = run(&fixture)
        else {
            return Err(EINVAL);
        };
        assert_eq!(name, "bar1");
        assert_eq!(expected ^ found, 0x10);

        Ok(())
    }

    #[test]
    fn timeout_reported() -> Result {
        let fixture = Fixture::new(VRAM)?;
        fixture.gpu.hang_invalidate(0);

        let timeout = SelfTestError::Failed(ETIMEDOUT);
        assert_eq!(run(&fixture), Some(("page-tables", timeout)));
        // The GPU may still access the memory, so it is never freed.
        let vram = fixture.mm.vram();
        let leaked = vram.leaked();
        assert!(leaked > 0);
        assert_eq!(vram.avail() + leaked, vram.size());

        // Later tests are not affected once the GPU responds.
        let test = SelfTest::ALL.iter().find(|(name, _)| *name == "bar1");
        let (_, test) = test.ok_or(EINVAL)?;
        assert_eq!(test(&SelfTest(&fixture.mm)), Err(timeout));
        fixture.gpu.recover();
        assert_eq!(test(&SelfTest(&fixture.mm)), Ok(()));

        fixture.gpu.check_clean()
    }

    #[test]
    fn unbound_device_reported() -> Result {
        let fixture = Fixture::new(VRAM)?;
        fixture.gpu.unbind_after(Some(0));

        let unbound = SelfTestError::Failed(ENODEV);
        assert_eq!(run(&fixture), Some(("pramin", unbound)));

        fixture.gpu.check_clean()
    }
}
