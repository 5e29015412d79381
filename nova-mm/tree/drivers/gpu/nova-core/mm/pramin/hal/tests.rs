// SPDX-License-Identifier: GPL-2.0

//! Tests of the window registers of Hopper and Blackwell on the GPU model.

use crate::mm::{
    model::{
        Config,
        Generation,
        GpuModel,
        Violation, //
    },
    pramin::Pramin,
};

use super::{
    gb100::GB100_HAL,
    gh100::GH100_HAL,
    *, //
};

/// Converts a number of bytes to an address.
fn at(address: u64) -> VramAddress {
    VramAddress::new(address)
}

#[kunit_tests(nova_core_mm_pramin_hal)]
mod suite {
    use super::*;

    /// Checks that the window of a GPU of `generation` can be placed anywhere below `end` and not
    /// above, and that the register holds `value` for the last base.
    fn check_end(generation: Generation, hal: &dyn PraminHal, end: u64, value: u32) -> Result {
        let gpu = GpuModel::new(Config {
            generation,
            ..Config::default()
        })?;
        let bar = gpu.bar0();
        let last = end - 0x1_0000;

        assert_eq!(hal.max_base(), at(last));
        hal.write_base(&bar, at(last))?;
        // This is a violation because the model has no VRAM there.
        assert_eq!(gpu.take_violation(), Some(Violation::WindowValue(value)));

        gpu.reset_counts();
        for base in [
            end,
            end + 0x1_0000,
            2 * end,
            u64::MAX - 0xffff,
            last + 0x1000,
        ] {
            assert_eq!(hal.write_base(&bar, at(base)), Err(EINVAL));
        }
        assert_eq!(gpu.counts().total(), 0);

        Ok(())
    }

    /// Checks that `hal` gives access to VRAM of a GPU of `generation`.
    fn check_session(generation: Generation, hal: &'static dyn PraminHal) -> Result {
        let gpu = GpuModel::new(Config {
            generation,
            ..Config::default()
        })?;
        let bar = gpu.bar0();
        let mut pramin = Pramin::new(hal);
        let mut window = pramin.window(&bar);

        window.write64(at(0x0012_3450), 1)?;
        window.write64(at(0x0052_3458), 2)?;
        let _ = window.flush()?;

        assert_eq!(gpu.vram_read64(at(0x0012_3450)), 1);
        assert_eq!(gpu.vram_read64(at(0x0052_3458)), 2);
        assert_eq!(gpu.counts().window_writes, 2);
        gpu.check_clean()
    }

    #[test]
    fn hopper_limit_256_gib() -> Result {
        check_end(Generation::Hopper, GH100_HAL, 1 << 38, 0x003f_ffff)?;
        check_session(Generation::Hopper, GH100_HAL)
    }

    #[test]
    fn blackwell_limit_512_gib() -> Result {
        check_end(Generation::Blackwell, GB100_HAL, 1 << 39, 0x007f_ffff)?;
        check_session(Generation::Blackwell, GB100_HAL)
    }
}
