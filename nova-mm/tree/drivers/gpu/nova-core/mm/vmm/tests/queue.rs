// SPDX-License-Identifier: GPL-2.0

//! Tests in which a workqueue runs the jobs of several address spaces, as a driver's scheduler
//! would.
//!
//! Meanwhile, the test thread prepares further jobs, which allocates memory, and frees completed
//! ones. Finally, it unbinds the device while jobs are queued. Each work item runs its job inside a
//! DMA fence signalling section, so lockdep reports allocations in the job, and locks taken in it
//! under which memory is allocated anywhere.

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
    model::GpuModel,
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

/// Number of address spaces, and number of jobs per address space and round.
const SPACES: usize = 3;
const JOBS: u64 = 4;

#[cfg(all(CONFIG_LOCKDEP, CONFIG_DMA_SHARED_BUFFER))]
mod signalling {
    use kernel::bindings;

    /// Calls `f` in a DMA fence signalling section.
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

/// The result of running a job.
type RunResult = Result<(), JobError>;

/// A job that a work item runs.
#[pin_data]
struct Queued {
    /// The job, and its result once it has run. A work item holds the lock while the job runs.
    #[pin]
    job: Mutex<(Option<Job>, Option<RunResult>)>,
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
        // The work item is new, so it is not queued yet.
        if workqueue::system_unbound().enqueue(queued.clone()).is_err() {
            return Err(EBUSY);
        }

        Ok(queued)
    }

    /// Waits for the job, frees it, and returns its result.
    fn wait(&self) -> Result<RunResult> {
        self.done.wait_for_completion();
        let (job, result) = {
            let mut guard = self.job.lock();
            (guard.0.take(), guard.1.take())
        };
        drop(job);

        result.ok_or(EINVAL)
    }
}

/// Several address spaces of one GPU.
struct Spaces {
    gpu: Arc<GpuModel>,
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

    /// Prepares a job of a round. Each round has different jobs.
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
pub(crate) fn queued_jobs_of_spaces<F: TestFormat>() -> Result {
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
    // Neither the address spaces nor the fixture hold any tables.
    ensure_eq!(tables.avail(), tables.size());

    Ok(())
}

/// If the device is unbound while jobs are queued, the jobs fail, memory that the GPU may access is
/// not freed, and no thread waits forever.
pub(crate) fn queued_jobs_unbound<F: TestFormat>() -> Result {
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
            fn queued_jobs_of_spaces() -> Result {
                super::queued_jobs_of_spaces::<$format>()
            }

            #[test]
            fn queued_jobs_unbound() -> Result {
                super::queued_jobs_unbound::<$format>()
            }
        }
    };
}

queue_suite!(v2, nova_core_mm_queue_v2, crate::mm::format::v2::MmuV2);
queue_suite!(v3, nova_core_mm_queue_v3, crate::mm::format::v3::MmuV3);
