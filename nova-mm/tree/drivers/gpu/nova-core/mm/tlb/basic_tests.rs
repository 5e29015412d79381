// SPDX-License-Identifier: GPL-2.0

//! Tests of the registers that invalidate the TLB with a fake BAR0.

use super::*;

use crate::mm::fake::FakeBar;

const PDB: usize = 0xb830a0;
const UPPER_PDB: usize = 0xb830a4;
const INVALIDATE: usize = 0xb830b0;

const ROOT: VramAddress = VramAddress::new(0x1234_5678_9000);

#[kunit_tests(nova_core_mm_tlb_basic)]
mod suite {
    use super::*;

    #[test]
    fn start_writes_registers_in_order() -> Result {
        for (scope, change, command) in [
            (TlbScope::All, TlbChange::Upgrade, 0x8000_0001),
            (TlbScope::All, TlbChange::Downgrade, 0x8000_00c1),
            (TlbScope::Hub, TlbChange::Upgrade, 0x8000_0007),
            (TlbScope::Hub, TlbChange::Downgrade, 0x8000_00c7),
        ] {
            let bar = FakeBar::new()?;

            assert_eq!(Tlb::new().start(&bar, ROOT, scope, change)?, Some(1));
            assert_eq!(
                bar.take_writes()[..],
                [(PDB, 0x3456_7890), (UPPER_PDB, 0x12), (INVALIDATE, command)]
            );
        }

        Ok(())
    }

    #[test]
    fn start_waits_for_pending_invalidate() -> Result {
        let bar = FakeBar::new()?;
        let mut tlb = Tlb::new();
        let mut start = || tlb.start(&bar, ROOT, TlbScope::All, TlbChange::Upgrade);

        bar.set_pending_polls(1);
        assert_eq!(start()?, None);
        assert_eq!(bar.take_writes().len(), 0);
        assert_eq!(start()?, Some(1));

        Ok(())
    }

    #[test]
    fn is_done_polls_trigger() -> Result {
        let bar = FakeBar::new()?;
        let mut tlb = Tlb::new();
        let number = tlb.start(&bar, ROOT, TlbScope::All, TlbChange::Upgrade)?;
        let number = number.ok_or(EINVAL)?;

        bar.set_pending_polls(2);
        assert!(!tlb.is_done(&bar, number)?);
        assert!(!tlb.is_done(&bar, number)?);
        assert!(tlb.is_done(&bar, number)?);

        Ok(())
    }

    #[test]
    fn start_unencodable_pdb_einval() -> Result {
        let bar = FakeBar::new()?;

        for pdb in [0x1234_5678_9100, 1 << 60] {
            let pdb = VramAddress::new(pdb);
            let started = Tlb::new().start(&bar, pdb, TlbScope::All, TlbChange::Upgrade);

            assert_eq!(started.err(), Some(EINVAL));
        }
        assert_eq!(bar.take_writes().len(), 0);

        Ok(())
    }
}
