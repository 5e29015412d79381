// SPDX-License-Identifier: GPL-2.0

//! Tests of the invalidation of the TLB, on the software GPU.

use core::cell::Cell;

use kernel::{
    sync::Arc,
    time::{
        Instant,
        Monotonic, //
    },
};

use crate::mm::{
    address::VirtualAddress,
    model::{
        Access,
        Config,
        Fault,
        Logged,
        ModelBar0,
        SoftGpu, //
    },
    pramin::{
        hal::tu102::TU102_HAL,
        Pramin, //
    },
};

use super::*;

/// Offsets in BAR0 of the registers.
const PDB: usize = 0x00b8_30a0;
const UPPER_PDB: usize = 0x00b8_30a4;
const INVALIDATE: usize = 0x00b8_30b0;

/// Root page directories.
const ROOT: VramAddress = VramAddress::new(0x0010_0000);
const OTHER_ROOT: VramAddress = VramAddress::new(0x0020_0000);

/// Entries of them: one that is absent, and one that is sparse, which is a volatile one without an
/// aperture.
const ABSENT: u64 = 0;
const SPARSE: u64 = 1 << 3;

/// An access to BAR0: its offset, and the value if it was a write.
type Noted = (usize, Option<u32>);

/// BAR0, where each access is noted.
struct Notes<'a> {
    bar: &'a ModelBar0,
    noted: Cell<KVec<Noted>>,
}

impl<'a> Notes<'a> {
    fn new(bar: &'a ModelBar0) -> Self {
        Self {
            bar,
            noted: Cell::new(KVec::new()),
        }
    }

    fn note(&self, offset: usize, value: Option<u32>) -> Result {
        let mut noted = self.noted.take();
        noted.push((offset, value), GFP_KERNEL)?;
        self.noted.set(noted);

        Ok(())
    }
}

impl Mmio for Notes<'_> {
    fn read32(&self, offset: usize) -> Result<u32> {
        self.note(offset, None)?;
        self.bar.read32(offset)
    }

    fn read64(&self, _offset: usize) -> Result<u64> {
        Err(EINVAL)
    }

    fn write32(&self, value: u32, offset: usize) -> Result {
        self.note(offset, Some(value))?;
        self.bar.write32(value, offset)
    }

    fn write64(&self, _value: u64, _offset: usize) -> Result {
        Err(EINVAL)
    }
}

/// Returns a software GPU of Turing with its BAR0.
fn turing() -> Result<(Arc<SoftGpu>, ModelBar0)> {
    let gpu = SoftGpu::new(Config::default())?;
    let bar = gpu.bar0();

    Ok((gpu, bar))
}

/// Invalidates by way of `tlb`, after changes that were made by a session that is long over.
fn invalidate(
    tlb: &mut Tlb,
    bar: &dyn Mmio,
    pdb: VramAddress,
    scope: TlbScope,
    change: TlbChange,
) -> Result {
    let mut pramin = Pramin::with_hal(TU102_HAL);
    let visible = pramin.window(bar).finish()?;

    tlb.invalidate(bar, visible, pdb, scope, change)
}

/// Invalidates after something was added to an address space.
fn upgrade(bar: &dyn Mmio, pdb: VramAddress) -> Result {
    invalidate(&mut Tlb::new(), bar, pdb, TlbScope::All, TlbChange::Upgrade)
}

/// Returns what an invalidate writes, as pairs of an offset and a value.
fn written(pdb: VramAddress, scope: TlbScope, change: TlbChange) -> Result<KVec<(usize, u32)>> {
    let (gpu, bar) = turing()?;
    let notes = Notes::new(&bar);
    let mut written = KVec::new();

    invalidate(&mut Tlb::new(), &notes, pdb, scope, change)?;
    gpu.check_clean()?;
    for (offset, value) in notes.noted.into_inner() {
        if let Some(value) = value {
            written.push((offset, value), GFP_KERNEL)?;
        }
    }

    Ok(written)
}

/// Returns why an access to virtual address zero faults.
fn look(gpu: &SoftGpu, root: VramAddress, access: Access) -> Fault {
    match gpu.translate(root, VirtualAddress::new(0), access) {
        // Nothing is ever mapped.
        Ok(_) => Fault::Invalid,
        Err(fault) => fault,
    }
}

#[kunit_tests(nova_mm_tlb)]
mod suite {
    use super::*;

    /// A look at whether the GPU is idle, the two halves of the PDB, the trigger, and looks until
    /// the GPU is done.
    #[test]
    fn registers_are_used_in_order() -> Result {
        let (gpu, bar) = turing()?;
        let notes = Notes::new(&bar);
        gpu.set_trigger_polls(2);

        upgrade(&notes, VramAddress::new(0x1234_5678_9000))?;

        let noted = notes.noted.into_inner();
        assert_eq!(
            noted[..],
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

    /// The register of the lower half has bits 39:12 at bit 4, that of the upper half bits 59:40.
    #[test]
    fn the_whole_address_names_the_directory() -> Result {
        for (pdb, lower, upper) in [
            (0, 0, 0),
            (0x1000, 0x10, 0),
            (0x00ff_ffff_f000, 0xffff_fff0, 0),
            (0x0100_0000_0000, 0, 1),
            (0x0abc_def1_2345_6000, 0xf123_4560, 0xabcde),
            (0x0fff_ffff_ffff_f000, 0xffff_fff0, 0xf_ffff),
        ] {
            let written = written(VramAddress::new(pdb), TlbScope::All, TlbChange::Upgrade)?;

            assert_eq!(written[0], (PDB, lower));
            assert_eq!(written[1], (UPPER_PDB, upper));
        }

        Ok(())
    }

    #[test]
    fn an_address_that_does_not_fit_does_nothing() -> Result {
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
    fn only_address_spaces_of_bars_stay_within_the_hub() -> Result {
        let all = written(ROOT, TlbScope::All, TlbChange::Upgrade)?;
        let hub = written(ROOT, TlbScope::Hub, TlbChange::Upgrade)?;

        assert_eq!(all[2], (INVALIDATE, 0x8000_0001));
        assert_eq!(hub[2], (INVALIDATE, 0x8000_0007));

        Ok(())
    }

    /// This order is the only one that compiles: it takes the end of the session to invalidate.
    #[test]
    fn changes_arrive_before_the_gpu_looks() -> Result {
        let (gpu, bar) = turing()?;
        let mut pramin = Pramin::with_hal(TU102_HAL);
        gpu.vram_write64(ROOT, ABSENT);
        assert_eq!(look(&gpu, ROOT, Access::READ), Fault::Unmapped);

        gpu.start_log(8)?;
        let mut window = pramin.window(&bar);
        window.write64(ROOT, SPARSE)?;
        let visible = window.finish()?;
        Tlb::new().invalidate(&bar, visible, ROOT, TlbScope::All, TlbChange::Upgrade)?;

        assert_eq!(look(&gpu, ROOT, Access::READ), Fault::Sparse);
        assert_eq!(
            gpu.take_log()[..],
            [
                Logged::Write {
                    address: ROOT,
                    value: SPARSE,
                    width: 8,
                },
                Logged::Read {
                    address: ROOT.checked_add(4)?,
                },
                Logged::Invalidate {
                    pdb: ROOT,
                    command: 0x8000_0001,
                },
                Logged::InvalidateDone,
            ]
        );
        gpu.check_clean()
    }

    /// What was absent is cached as absent until then, and only what is named is forgotten.
    #[test]
    fn the_gpu_forgets_one_address_space() -> Result {
        let (gpu, bar) = turing()?;
        for root in [ROOT, OTHER_ROOT] {
            gpu.vram_write64(root, ABSENT);
            assert_eq!(look(&gpu, root, Access::READ), Fault::Unmapped);
            gpu.vram_write64(root, SPARSE);
            assert_eq!(look(&gpu, root, Access::READ), Fault::Unmapped);
        }

        upgrade(&bar, ROOT)?;

        assert_eq!(look(&gpu, ROOT, Access::READ), Fault::Sparse);
        assert_eq!(look(&gpu, OTHER_ROOT, Access::READ), Fault::Unmapped);
        gpu.check_clean()
    }

    /// The whole address counts: other drivers drop its upper half.
    #[test]
    fn the_gpu_forgets_an_address_space_whose_root_is_high() -> Result {
        const HIGH: VramAddress = VramAddress::new(1 << 44);

        let gpu = SoftGpu::new(Config {
            vram_start: HIGH,
            bar1_pdb: HIGH,
            ..Config::default()
        })?;
        let bar = gpu.bar0();
        assert_eq!(look(&gpu, HIGH, Access::READ), Fault::Unmapped);
        gpu.vram_write64(HIGH, SPARSE);

        upgrade(&bar, HIGH)?;

        assert_eq!(look(&gpu, HIGH, Access::READ), Fault::Sparse);
        gpu.check_clean()
    }

    #[test]
    fn the_hub_forgets_by_itself() -> Result {
        let (gpu, bar) = turing()?;
        let mut tlb = Tlb::new();
        gpu.vram_write64(ROOT, ABSENT);
        for access in [Access::READ, Access::HUB_READ] {
            assert_eq!(look(&gpu, ROOT, access), Fault::Unmapped);
        }
        gpu.vram_write64(ROOT, SPARSE);

        invalidate(&mut tlb, &bar, ROOT, TlbScope::Hub, TlbChange::Upgrade)?;
        assert_eq!(look(&gpu, ROOT, Access::HUB_READ), Fault::Sparse);
        assert_eq!(look(&gpu, ROOT, Access::READ), Fault::Unmapped);

        invalidate(&mut tlb, &bar, ROOT, TlbScope::All, TlbChange::Upgrade)?;
        assert_eq!(look(&gpu, ROOT, Access::READ), Fault::Sparse);
        gpu.check_clean()
    }

    /// The firmware binds a BAR's address space: the hardware may know it by a root that the driver
    /// does not know.
    #[test]
    fn hub_scope_covers_all_roots() -> Result {
        let (gpu, bar) = turing()?;
        let mut tlb = Tlb::new();
        for root in [ROOT, OTHER_ROOT] {
            gpu.vram_write64(root, ABSENT);
            for access in [Access::READ, Access::HUB_READ] {
                assert_eq!(look(&gpu, root, access), Fault::Unmapped);
            }
            gpu.vram_write64(root, SPARSE);
        }

        invalidate(&mut tlb, &bar, ROOT, TlbScope::Hub, TlbChange::Downgrade)?;
        assert_eq!(look(&gpu, ROOT, Access::HUB_READ), Fault::Sparse);
        assert_eq!(look(&gpu, OTHER_ROOT, Access::HUB_READ), Fault::Sparse);
        assert_eq!(look(&gpu, OTHER_ROOT, Access::READ), Fault::Unmapped);

        invalidate(&mut tlb, &bar, ROOT, TlbScope::All, TlbChange::Downgrade)?;
        assert_eq!(look(&gpu, ROOT, Access::READ), Fault::Sparse);
        assert_eq!(look(&gpu, OTHER_ROOT, Access::READ), Fault::Unmapped);
        gpu.check_clean()
    }

    /// The firmware writes the same registers, so their values are not known between invalidates.
    #[test]
    fn root_is_written_each_time() -> Result {
        let (gpu, bar) = turing()?;
        let mut tlb = Tlb::new();
        invalidate(&mut tlb, &bar, ROOT, TlbScope::All, TlbChange::Upgrade)?;
        gpu.vram_write64(ROOT, ABSENT);
        assert_eq!(look(&gpu, ROOT, Access::READ), Fault::Unmapped);
        gpu.vram_write64(ROOT, SPARSE);
        gpu.leave_pending(1);

        invalidate(&mut tlb, &bar, ROOT, TlbScope::All, TlbChange::Upgrade)?;
        assert_eq!(look(&gpu, ROOT, Access::READ), Fault::Sparse);
        gpu.check_clean()
    }

    /// Memory may be freed after a downgrade, so it waits for accesses that are under way.
    #[test]
    fn downgrade_is_acknowledged_globally() -> Result {
        let all = written(ROOT, TlbScope::All, TlbChange::Downgrade)?;
        let hub = written(ROOT, TlbScope::Hub, TlbChange::Downgrade)?;

        assert_eq!(all[2], (INVALIDATE, 0x8000_00c1));
        assert_eq!(hub[2], (INVALIDATE, 0x8000_00c7));

        Ok(())
    }

    /// The firmware uses the same registers; the software GPU minds if they are written too early.
    #[test]
    fn pending_invalidate_is_waited_for() -> Result {
        let (gpu, bar) = turing()?;
        let notes = Notes::new(&bar);
        gpu.leave_pending(5);

        invalidate(
            &mut Tlb::new(),
            &notes,
            ROOT,
            TlbScope::All,
            TlbChange::Downgrade,
        )?;

        let noted = notes.noted.into_inner();
        assert!(noted[..6]
            .iter()
            .all(|access| *access == (INVALIDATE, None)));
        assert_eq!(noted[6].0, PDB);
        gpu.check_clean()
    }

    /// The error comes when the time is over; later ones come before anything is written, as the
    /// GPU is still at the first.
    #[test]
    fn a_gpu_that_hangs_is_an_error_in_time() -> Result {
        const TIMEOUT: Delta = Delta::from_millis(20);

        let (gpu, bar) = turing()?;
        let mut tlb = Tlb::with_timeout(TIMEOUT);
        let mut invalidate = || {
            let start = Instant::<Monotonic>::now();
            let result = super::invalidate(&mut tlb, &bar, ROOT, TlbScope::All, TlbChange::Upgrade);

            (result, start.elapsed())
        };
        gpu.hang_invalidate(1);

        assert_eq!(invalidate().0, Ok(()));
        for _ in 0..2 {
            let (result, time) = invalidate();

            assert_eq!(result, Err(ETIMEDOUT));
            assert!(time >= TIMEOUT);
            assert!(time < Delta::from_secs(2));
            assert_eq!(gpu.counts().invalidates, 2);
        }

        gpu.recover();
        assert_eq!(invalidate().0, Ok(()));
        gpu.check_clean()
    }

    /// Somebody else's invalidate that does not end is an error as well, and nothing is written.
    #[test]
    fn a_gpu_that_stays_busy_is_left_alone() -> Result {
        let (gpu, bar) = turing()?;
        let notes = Notes::new(&bar);
        gpu.leave_pending(u32::MAX);

        let result = invalidate(
            &mut Tlb::with_timeout(Delta::from_millis(1)),
            &notes,
            ROOT,
            TlbScope::All,
            TlbChange::Downgrade,
        );

        assert_eq!(result, Err(ETIMEDOUT));
        assert!(notes
            .noted
            .into_inner()
            .iter()
            .all(|access| *access == (INVALIDATE, None)));
        gpu.check_clean()
    }
}
