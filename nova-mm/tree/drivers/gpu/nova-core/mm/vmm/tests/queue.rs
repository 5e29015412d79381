// SPDX-License-Identifier: GPL-2.0

//! A workqueue runs the jobs of several address spaces, as a driver's scheduler would.
//!
//! Meanwhile, the thread of the test prepares further jobs, which allocates memory, and frees those
//! that have run. At last it unbinds the device while jobs are queued. Each work item runs its job
//! as the signalling of a DMA fence: with lockdep, an allocation in it, or a lock in it under which
//! memory is allocated anywhere, is reported.

use kernel::{
    impl_has_work, new_mutex, new_work,
    prelude::*,
    sync::{
        Arc,
        Completion,
        Mutex, //
    },
    workqueue::{
        self,
        Work,
        WorkItem, //
    },
};

use crate::mm::{
    format::{
        Access::*,
        PageSizes, //
    },
    hw::MmuHw,
    model::SoftGpu,
    vmm::{
        tests::fixture::{
            all_pages,
            backing,
            ensure,
            ensure_eq,
            mmu_of,
            vfns,
            Fixture,
            TestFormat,
            LARGE, //
        },
        Job,
        JobError,
        Vmm, //
    },
    vram::Vram,
    vram::VramAllocator, //
};

/// Number of address spaces, and of jobs for each in a round.
const SPACES: usize = 3;
const JOBS: u64 = 4;

#[cfg(all(CONFIG_LOCKDEP, CONFIG_DMA_SHARED_BUFFER))]
mod signalling {
    use kernel::bindings;

    /// Calls `f` as code that a DMA fence waits for.
    pub(super) fn with<T>(f: impl FnOnce() -> T) -> T {
        // SAFETY: The section ends below, in the same context.
        let cookie = unsafe { bindings::dma_fence_begin_signalling() };
        let result = f();
        // SAFETY: `cookie` is from the call above.
        unsafe { bindings::dma_fence_end_signalling(cookie) };

        result
    }
}

#[cfg(not(all(CONFIG_LOCKDEP, CONFIG_DMA_SHARED_BUFFER)))]
mod signalling {
    pub(super) fn with<T>(f: impl FnOnce() -> T) -> T {
        f()
    }
}

/// A job that a work item runs.
#[pin_data]
struct Queued {
    /// The job, and its result once it has run. A work item holds the lock while the job runs.
    #[pin]
    job: Mutex<(Option<Job>, Option<Result<(), JobError>>)>,
    #[pin]
    done: Completion,
    #[pin]
    work: Work<Queued>,
}

impl_has_work! {
    impl HasWork<Self> for Queued { self.work }
}

impl WorkItem for Queued {
    type Pointer = Arc<Queued>;

    fn run(this: Arc<Queued>) {
        let mut guard = this.job.lock();
        let (job, result) = &mut *guard;
        if let Some(job) = job {
            *result = Some(signalling::with(|| job.run()));
        }
        drop(guard);
        this.done.complete_all();
    }
}

impl Queued {
    /// Queues a job.
    fn enqueue(job: Job) -> Result<Arc<Self>> {
        let queued = Arc::pin_init(
            pin_init!(Self {
                job <- new_mutex!((Some(job), None), "nova_core_mm_queued"),
                done <- Completion::new(),
                work <- new_work!("nova_core_mm_queued"),
            }),
            GFP_KERNEL,
        )?;
        // A work item that is new is not queued yet.
        if workqueue::system_unbound().enqueue(queued.clone()).is_err() {
            return Err(EBUSY);
        }

        Ok(queued)
    }

    /// Waits for the job, frees it, and returns its result.
    fn wait(&self) -> Result<Result<(), JobError>> {
        self.done.wait_for_completion();
        let (job, result) = {
            let mut guard = self.job.lock();
            (guard.0.take(), guard.1.take())
        };
        drop(job);

        result.ok_or(EINVAL)
    }
}

/// Address spaces of one GPU.
struct Spaces {
    gpu: Arc<SoftGpu>,
    tables: VramAllocator,
    data: VramAllocator,
    vmms: KVec<Arc<Vmm>>,
}

impl Spaces {
    fn new<F: TestFormat>() -> Result<Self> {
        let fixture = Fixture::<F>::new()?;
        let gpu = fixture.gpu.clone();
        let hw: Arc<MmuHw> = mmu_of::<F>(&gpu, PageSizes::COMMON)?;
        let mut vmms = KVec::new();
        for _ in 0..SPACES {
            let vmm = Vmm::new(hw.clone(), fixture.memory.clone(), all_pages::<F>()?)?;
            vmms.push(vmm, GFP_KERNEL)?;
        }

        Ok(Self {
            gpu,
            tables: fixture.memory.clone(),
            data: fixture.data.clone(),
            vmms,
        })
    }

    fn memory(&self) -> Result<Arc<Vram>> {
        let size = crate::mm::address::PageSize::Size2M;

        Ok(Arc::new(
            self.data.alloc(2 * size.bytes(), size)?,
            GFP_KERNEL,
        )?)
    }

    /// Prepares a job of a round, which differs from the others.
    fn prepare(&self, vmm: &Arc<Vmm>, round: u64, number: u64) -> Result<Job> {
        let first = number * 2 * LARGE;
        let pages = first + round % 7..first + LARGE + round % 5;

        match (round + number) % 4 {
            0 => vmm.prepare_unmap(vfns(pages)?),
            1 => vmm.prepare_protect(vfns(pages)?, ReadOnly),
            _ => vmm.prepare_map(vfns(pages)?, backing(&self.memory()?, round % 9, ReadWrite)),
        }
    }

    /// Queues the jobs of a round.
    fn enqueue(&self, round: u64) -> Result<KVec<Arc<Queued>>> {
        let mut queue = KVec::new();
        for number in 0..JOBS {
            for vmm in &self.vmms {
                let job = Queued::enqueue(self.prepare(vmm, round, number)?)?;
                queue.push(job, GFP_KERNEL)?;
            }
        }

        Ok(queue)
    }
}

/// Jobs of several address spaces run while others are prepared and freed.
pub(crate) fn jobs_of_spaces<F: TestFormat>() -> Result {
    let spaces = Spaces::new::<F>()?;
    let mut running = spaces.enqueue(0)?;
    for round in 1..20 {
        let next = spaces.enqueue(round)?;
        for job in &running {
            ensure_eq!(job.wait()?, Ok(()));
        }
        running = next;
    }
    for job in &running {
        ensure_eq!(job.wait()?, Ok(()));
    }
    drop(running);

    for vmm in &spaces.vmms {
        vmm.teardown()?;
        ensure!(!vmm.has_deferred());
    }
    ensure_eq!(spaces.data.avail(), spaces.data.size());
    spaces.gpu.check_clean()?;
    let Spaces { tables, vmms, .. } = spaces;
    drop(vmms);
    // The fixture that they come from has kept nothing.
    ensure_eq!(tables.avail(), tables.size());

    Ok(())
}

/// The device goes away while jobs are queued: they fail, nothing that the GPU may reach is freed,
/// and nothing waits forever.
pub(crate) fn unbind_with_queued_jobs<F: TestFormat>() -> Result {
    for sections in 0..40 {
        let spaces = Spaces::new::<F>()?;
        for job in &spaces.enqueue(2)? {
            ensure_eq!(job.wait()?, Ok(()));
        }
        ensure!(spaces.data.avail() < spaces.data.size());

        let queue = spaces.enqueue(6);
        spaces.gpu.unbind_after(Some(3 * sections));
        for job in &queue? {
            // After the address space is broken, further jobs fail with `EIO`.
            if let Err(error) = job.wait()? {
                ensure!([ENODEV, EIO].contains(&Error::from(error)));
            }
        }
        let mut is_left = false;
        for vmm in &spaces.vmms {
            if vmm.teardown().is_err() {
                ensure!(spaces.gpu.is_unbound());
                is_left = true;
            }
        }
        ensure!(!is_left || spaces.data.avail() < spaces.data.size());
        spaces.gpu.check_clean()?;
    }

    Ok(())
}

macro_rules! queue_suite {
    ($module:ident, $suite:ident, $format:ty) => {
        #[kunit_tests($suite)]
        mod $module {
            use super::*;

            #[test]
            fn jobs_of_spaces() -> Result {
                super::jobs_of_spaces::<$format>()
            }

            #[test]
            fn unbind_with_queued_jobs() -> Result {
                super::unbind_with_queued_jobs::<$format>()
            }
        }
    };
}

queue_suite!(v2, nova_core_mm_queue_v2, crate::mm::format::v2::MmuV2);
queue_suite!(v3, nova_core_mm_queue_v3, crate::mm::format::v3::MmuV3);
