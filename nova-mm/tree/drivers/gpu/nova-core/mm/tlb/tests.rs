// SPDX-License-Identifier: GPL-2.0

//! Tests of TLB invalidation on the GPU model.

use core::cell::Cell;

use kernel::sync::Arc;

use crate::mm::{
    address::VirtualAddress,
    model::{
        Access,
        Config,
        Fault,
        GpuModel,
        ModelBar0, //
    },
};

use super::*;

/// Offsets of the registers in BAR0.
const PDB: usize = 0x00b8_30a0;
const UPPER_PDB: usize = 0x00b8_30a4;
const INVALIDATE: usize = 0x00b8_30b0;

/// Root page directories.
const ROOT: VramAddress = VramAddress::new(0x0010_0000);
const OTHER_ROOT: VramAddress = VramAddress::new(0x0020_0000);

/// Entries of a root page directory: invalid, and sparse (VOL without an aperture).
const ABSENT: u64 = 0;
const SPARSE: u64 = 1 << 3;

/// An access to BAR0: the offset, and the value of a write.
type Recorded = (usize, Option<u32>);

/// A BAR0 that records all accesses.
struct Recorder<'a> {
    bar: &'a ModelBar0,
    recorded: Cell<KVec<Recorded>>,
}

impl<'a> Recorder<'a> {
    fn new(bar: &'a ModelBar0) -> Self {
        Self {
            bar,
            recorded: Cell::new(KVec::new()),
        }
    }

    fn record(&self, offset: usize, value: Option<u32>) -> Result {
        let mut recorded = self.recorded.take();
        recorded.push((offset, value), GFP_KERNEL)?;
        self.recorded.set(recorded);

        Ok(())
    }
}

impl Mmio for Recorder<'_> {
    fn read32(&self, offset: usize) -> Result<u32> {
        self.record(offset, None)?;
        self.bar.read32(offset)
    }

    fn read64(&self, _offset: usize) -> Result<u64> {
        Err(EINVAL)
    }

    fn write32(&self, value: u32, offset: usize) -> Result {
        self.record(offset, Some(value))?;
        self.bar.write32(value, offset)
    }

    fn write64(&self, _value: u64, _offset: usize) -> Result {
        Err(EINVAL)
    }
}

/// Returns the model of a Turing GPU and its BAR0.
fn turing() -> Result<(Arc<GpuModel>, ModelBar0)> {
    let gpu = GpuModel::new(Config::default())?;
    let bar = gpu.bar0();

    Ok((gpu, bar))
}

/// Starts an invalidation while the GPU is idle and waits until it completes.
fn invalidate(
    tlb: &mut Tlb,
    bar: &dyn Mmio,
    pdb: VramAddress,
    scope: TlbScope,
    change: TlbChange,
) -> Result {
    let number = loop {
        if let Some(number) = tlb.start(bar, pdb, scope, change)? {
            break number;
        }
    };
    while !tlb.is_done(bar, number)? {}

    Ok(())
}

/// Invalidates the TLB after an entry was added.
fn upgrade(bar: &dyn Mmio, pdb: VramAddress) -> Result {
    invalidate(&mut Tlb::new(), bar, pdb, TlbScope::All, TlbChange::Upgrade)
}

/// Returns the register writes of an invalidation as pairs of offset and value.
fn register_writes(
    pdb: VramAddress,
    scope: TlbScope,
    change: TlbChange,
) -> Result<KVec<(usize, u32)>> {
    let (gpu, bar) = turing()?;
    let recorder = Recorder::new(&bar);
    let mut written = KVec::new();

    invalidate(&mut Tlb::new(), &recorder, pdb, scope, change)?;
    gpu.check_clean()?;
    for (offset, value) in recorder.recorded.into_inner() {
        if let Some(value) = value {
            written.push((offset, value), GFP_KERNEL)?;
        }
    }

    Ok(written)
}

/// Returns the fault of an access to virtual address zero.
fn fault_at_zero(gpu: &GpuModel, root: VramAddress, access: Access) -> Fault {
    match gpu.translate(root, VirtualAddress::new(0), access) {
        // No test maps a page.
        Ok(_) => Fault::Malformed,
        Err(fault) => fault,
    }
}

#[kunit_tests(nova_core_mm_tlb)]
mod suite {
    use super::*;

    /// The driver polls until the GPU is idle, writes both parts of the PDB and the trigger, and
    /// polls until the GPU is done.
    #[test]
    fn registers_accessed_in_order() -> Result {
        let (gpu, bar) = turing()?;
        let recorder = Recorder::new(&bar);
        gpu.set_trigger_polls(2);

        upgrade(&recorder, VramAddress::new(0x1234_5678_9000))?;

        let recorded = recorder.recorded.into_inner();
        assert_eq!(
            recorded[..],
            [
                (INVALIDATE, None),
                (PDB, Some(0x3456_7890)),
                (UPPER_PDB, Some(0x12)),
                (INVALIDATE, Some(0x8000_0001)),
                (INVALIDATE, None),
                (INVALIDATE, None),
                (INVALIDATE, None),
            ]
        );
        assert_eq!(gpu.counts().invalidates, 1);
        gpu.check_clean()
    }

    /// The lower register holds bits 39:12 in bits 31:4, the upper register bits 59:40.
    #[test]
    fn pdb_written_completely() -> Result {
        for (pdb, lower, upper) in [
            (0, 0, 0),
            (0x1000, 0x10, 0),
            (0x00ff_ffff_f000, 0xffff_fff0, 0),
            (0x0100_0000_0000, 0, 1),
            (0x0abc_def1_2345_6000, 0xf123_4560, 0xabcde),
            (0x0fff_ffff_ffff_f000, 0xffff_fff0, 0xf_ffff),
        ] {
            let written =
                register_writes(VramAddress::new(pdb), TlbScope::All, TlbChange::Upgrade)?;

            assert_eq!(written[0], (PDB, lower));
            assert_eq!(written[1], (UPPER_PDB, upper));
        }

        Ok(())
    }

    #[test]
    fn pdb_out_of_range_fails() -> Result {
        let (gpu, bar) = turing()?;

        for pdb in [
            1,
            0x10,
            0x800,
            0x1234_5800,
            1 << 60,
            1 << 63,
            u64::MAX - 0xfff,
        ] {
            assert_eq!(upgrade(&bar, VramAddress::new(pdb)), Err(EINVAL));
        }
        assert_eq!(gpu.counts().total(), 0);

        Ok(())
    }

    #[test]
    fn scope_selects_hub() -> Result {
        let all = register_writes(ROOT, TlbScope::All, TlbChange::Upgrade)?;
        let hub = register_writes(ROOT, TlbScope::Hub, TlbChange::Upgrade)?;

        assert_eq!(all[2], (INVALIDATE, 0x8000_0001));
        assert_eq!(hub[2], (INVALIDATE, 0x8000_0007));

        Ok(())
    }

    /// The TLB also caches invalid entries.
    #[test]
    fn invalidate_one_address_space() -> Result {
        let (gpu, bar) = turing()?;
        for root in [ROOT, OTHER_ROOT] {
            gpu.vram_write64(root, ABSENT);
            assert_eq!(fault_at_zero(&gpu, root, Access::READ), Fault::Unmapped);
            gpu.vram_write64(root, SPARSE);
            assert_eq!(fault_at_zero(&gpu, root, Access::READ), Fault::Unmapped);
        }

        upgrade(&bar, ROOT)?;

        assert_eq!(fault_at_zero(&gpu, ROOT, Access::READ), Fault::Sparse);
        assert_eq!(
            fault_at_zero(&gpu, OTHER_ROOT, Access::READ),
            Fault::Unmapped
        );
        gpu.check_clean()
    }

    /// The upper part of the address must not be dropped.
    #[test]
    fn invalidate_high_pdb() -> Result {
        const HIGH: VramAddress = VramAddress::new(1 << 44);

        let gpu = GpuModel::new(Config {
            vram_start: HIGH,
            bar1_pdb: HIGH,
            ..Config::default()
        })?;
        let bar = gpu.bar0();
        assert_eq!(fault_at_zero(&gpu, HIGH, Access::READ), Fault::Unmapped);
        gpu.vram_write64(HIGH, SPARSE);

        upgrade(&bar, HIGH)?;

        assert_eq!(fault_at_zero(&gpu, HIGH, Access::READ), Fault::Sparse);
        gpu.check_clean()
    }

    #[test]
    fn hub_scope_keeps_other_units() -> Result {
        let (gpu, bar) = turing()?;
        let mut tlb = Tlb::new();
        gpu.vram_write64(ROOT, ABSENT);
        for access in [Access::READ, Access::HUB_READ] {
            assert_eq!(fault_at_zero(&gpu, ROOT, access), Fault::Unmapped);
        }
        gpu.vram_write64(ROOT, SPARSE);

        invalidate(&mut tlb, &bar, ROOT, TlbScope::Hub, TlbChange::Upgrade)?;
        assert_eq!(fault_at_zero(&gpu, ROOT, Access::HUB_READ), Fault::Sparse);
        assert_eq!(fault_at_zero(&gpu, ROOT, Access::READ), Fault::Unmapped);

        invalidate(&mut tlb, &bar, ROOT, TlbScope::All, TlbChange::Upgrade)?;
        assert_eq!(fault_at_zero(&gpu, ROOT, Access::READ), Fault::Sparse);
        gpu.check_clean()
    }

    /// The firmware binds the address space of a BAR, possibly with a root directory other than the
    /// driver's.
    #[test]
    fn hub_scope_covers_all_pdbs() -> Result {
        let (gpu, bar) = turing()?;
        let mut tlb = Tlb::new();
        for root in [ROOT, OTHER_ROOT] {
            gpu.vram_write64(root, ABSENT);
            for access in [Access::READ, Access::HUB_READ] {
                assert_eq!(fault_at_zero(&gpu, root, access), Fault::Unmapped);
            }
            gpu.vram_write64(root, SPARSE);
        }

        invalidate(&mut tlb, &bar, ROOT, TlbScope::Hub, TlbChange::Downgrade)?;
        assert_eq!(fault_at_zero(&gpu, ROOT, Access::HUB_READ), Fault::Sparse);
        assert_eq!(
            fault_at_zero(&gpu, OTHER_ROOT, Access::HUB_READ),
            Fault::Sparse
        );
        assert_eq!(
            fault_at_zero(&gpu, OTHER_ROOT, Access::READ),
            Fault::Unmapped
        );

        invalidate(&mut tlb, &bar, ROOT, TlbScope::All, TlbChange::Downgrade)?;
        assert_eq!(fault_at_zero(&gpu, ROOT, Access::READ), Fault::Sparse);
        assert_eq!(
            fault_at_zero(&gpu, OTHER_ROOT, Access::READ),
            Fault::Unmapped
        );
        gpu.check_clean()
    }

    /// The firmware may write the same registers between two invalidations of the driver.
    #[test]
    fn pdb_written_each_time() -> Result {
        let (gpu, bar) = turing()?;
        let mut tlb = Tlb::new();
        invalidate(&mut tlb, &bar, ROOT, TlbScope::All, TlbChange::Upgrade)?;
        gpu.vram_write64(ROOT, ABSENT);
        assert_eq!(fault_at_zero(&gpu, ROOT, Access::READ), Fault::Unmapped);
        gpu.vram_write64(ROOT, SPARSE);
        gpu.leave_pending(1);

        invalidate(&mut tlb, &bar, ROOT, TlbScope::All, TlbChange::Upgrade)?;
        assert_eq!(fault_at_zero(&gpu, ROOT, Access::READ), Fault::Sparse);
        gpu.check_clean()
    }

    /// Memory may be freed after a downgrade, so the invalidation waits for accesses in flight.
    #[test]
    fn downgrade_acknowledged_globally() -> Result {
        let all = register_writes(ROOT, TlbScope::All, TlbChange::Downgrade)?;
        let hub = register_writes(ROOT, TlbScope::Hub, TlbChange::Downgrade)?;

        assert_eq!(all[2], (INVALIDATE, 0x8000_00c1));
        assert_eq!(hub[2], (INVALIDATE, 0x8000_00c7));

        Ok(())
    }

    /// The firmware uses the same registers. Writing them too early is a violation in the GPU
    /// model.
    #[test]
    fn start_waits_for_pending() -> Result {
        let (gpu, bar) = turing()?;
        let recorder = Recorder::new(&bar);
        gpu.leave_pending(5);

        invalidate(
            &mut Tlb::new(),
            &recorder,
            ROOT,
            TlbScope::All,
            TlbChange::Downgrade,
        )?;

        let recorded = recorder.recorded.into_inner();
        assert!(recorded[..6]
            .iter()
            .all(|access| *access == (INVALIDATE, None)));
        assert_eq!(recorded[6].0, PDB);
        gpu.check_clean()
    }

    /// Completion of a later invalidation implies completion of the earlier one, because the GPU
    /// executes one at a time.
    #[test]
    fn completion_covers_earlier() -> Result {
        let (gpu, bar) = turing()?;
        let mut tlb = Tlb::new();
        let mut start = |root| tlb.start(&bar, root, TlbScope::All, TlbChange::Upgrade);

        let first = start(ROOT)?.ok_or(EINVAL)?;
        // The GPU stays busy until the register has been polled.
        assert_eq!(start(OTHER_ROOT)?, None);
        let second = start(OTHER_ROOT)?.ok_or(EINVAL)?;

        assert!(!tlb.is_done(&bar, second)?);
        assert!(tlb.is_done(&bar, second)?);
        gpu.reset_counts();
        assert!(tlb.is_done(&bar, first)?);
        assert_eq!(gpu.counts().total(), 0);
        gpu.check_clean()
    }

    /// Only a completed invalidation shows that the GPU has recovered.
    #[test]
    fn completion_ends_wedge() -> Result {
        let (gpu, bar) = turing()?;
        let mut tlb = Tlb::new();
        gpu.hang_invalidate(0);
        let start = |tlb: &mut Tlb| tlb.start(&bar, ROOT, TlbScope::All, TlbChange::Upgrade);

        let number = start(&mut tlb)?.ok_or(EINVAL)?;
        assert!(!tlb.is_done(&bar, number)?);
        assert!(!tlb.is_wedged());
        tlb.set_wedged();
        assert_eq!(start(&mut tlb)?, None);
        assert!(tlb.is_wedged());

        gpu.recover();
        let number = start(&mut tlb)?.ok_or(EINVAL)?;
        assert!(tlb.is_wedged());
        while !tlb.is_done(&bar, number)? {}
        assert!(!tlb.is_wedged());
        gpu.check_clean()
    }
}
