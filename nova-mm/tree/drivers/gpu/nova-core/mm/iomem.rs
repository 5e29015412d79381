// SPDX-License-Identifier: GPL-2.0

//! The GPU model as I/O memory, for `readl()` and similar functions.
//!
//! If the kernel emulates I/O memory (`CONFIG_INDIRECT_IOMEM`, as on UML), the BARs of the GPU
//! model can be mapped like those of a device, so that the driver accesses them through `Io`.
//!
//! C header: [`include/linux/logic_iomem.h`](srctree/include/linux/logic_iomem.h)

use core::{
    ptr::null_mut,
    sync::atomic::{
        AtomicBool,
        AtomicPtr,
        Ordering, //
    }, //
};

use kernel::{
    bindings,
    ffi::{
        c_int,
        c_long,
        c_uint,
        c_ulong,
        c_void, //
    },
    prelude::*,
    sizes::SZ_16M,
    sync::Arc, //
};

use crate::{
    mm::{
        mmio::{
            Aperture,
            DeviceBar,
            Mmio,
            Registers, //
        },
        model::GpuModel, //
    },
    num::{
        u32_as_usize,
        u64_as_usize,
        usize_as_u64, //
    },
};

mod mapping;

use mapping::Mapping;

/// Physical addresses of the BARs, which UML does not use otherwise.
const BAR0: u64 = 0x100_0000_0000;
const BAR1: u64 = BAR0 + SIZE;
/// Size of both BARs, and the maximum size of a mapping of emulated I/O memory.
const SIZE: u64 = usize_as_u64(SZ_16M);

/// The GPU model that backs the BARs. The [`MappedGpu`] that has set it owns a reference.
static CURRENT: AtomicPtr<GpuModel> = AtomicPtr::new(null_mut());

/// Whether the BARs have been registered. They cannot be unregistered. Only the owner of
/// [`CURRENT`] accesses this.
static ADDED: AtomicBool = AtomicBool::new(false);

/// Registers the BARs on the first call.
fn add_regions() -> Result {
    if !ADDED.load(Ordering::Relaxed) {
        add_region(BAR0, &BAR0_REGION)?;
        add_region(BAR1, &BAR1_REGION)?;
        ADDED.store(true, Ordering::Relaxed);
    }

    Ok(())
}

/// Registers a region of emulated I/O memory.
fn add_region(start: u64, ops: &'static bindings::logic_iomem_region_ops) -> Result {
    let resource = bindings::resource {
        start,
        end: start + SIZE - 1,
        name: c"nova-mm-model".as_char_ptr(),
        flags: u32_as_usize(bindings::IORESOURCE_MEM),
        ..pin_init::zeroed()
    };
    let resource = KBox::leak(KBox::new(resource, GFP_KERNEL)?);

    // SAFETY: `resource` has been leaked, and `ops` is static, so both stay valid.
    kernel::error::to_result(unsafe { bindings::logic_iomem_add_region(resource, ops) })
}

/// A GPU model whose BARs are mapped. At most one exists at a time.
pub(crate) struct MappedGpu {
    // Fields are dropped in this order: the mappings are removed before `CURRENT` is cleared.
    bar0: Mapping,
    bar1: Mapping,
    _current: CurrentGpu,
}

impl MappedGpu {
    /// Maps all of BAR0 and the first 16 MiB of BAR1 of `gpu`. May sleep.
    ///
    /// # Errors
    ///
    /// - [`EBUSY`] if another GPU model is mapped.
    /// - [`ENOMEM`] if memory or address space for mappings runs out.
    pub(crate) fn new(gpu: &Arc<GpuModel>) -> Result<Self> {
        let current = CurrentGpu::new(gpu.clone())?;
        add_regions()?;

        Ok(Self {
            bar0: Mapping::new(BAR0)?,
            bar1: Mapping::new(BAR1)?,
            _current: current,
        })
    }

    /// Returns BAR0.
    pub(crate) fn bar0(&self) -> &dyn Mmio {
        self.bar0.bar()
    }

    /// Returns the first 16 MiB of BAR1.
    pub(crate) fn bar1(&self) -> &dyn Mmio {
        self.bar1.bar()
    }

    /// Returns BAR0 as the driver accesses it.
    pub(crate) fn registers(self: &Arc<Self>) -> Result<Registers> {
        Ok(Registers::new(MappedBar::new(self, Self::bar0)?))
    }

    /// Returns the first 16 MiB of BAR1 as the driver accesses it.
    pub(crate) fn aperture(self: &Arc<Self>) -> Result<Aperture> {
        Ok(Aperture::new(MappedBar::new(self, Self::bar1)?))
    }
}

/// One of the BARs of a [`MappedGpu`], which it keeps mapped.
struct MappedBar {
    gpu: Arc<MappedGpu>,
    bar: fn(&MappedGpu) -> &dyn Mmio,
}

impl MappedBar {
    fn new(gpu: &Arc<MappedGpu>, bar: fn(&MappedGpu) -> &dyn Mmio) -> Result<Arc<Self>> {
        let gpu = gpu.clone();

        Ok(Arc::new(Self { gpu, bar }, GFP_KERNEL)?)
    }
}

impl DeviceBar for MappedBar {
    fn with(&self, access: &mut dyn FnMut(&dyn Mmio)) -> Result {
        access((self.bar)(&self.gpu));

        Ok(())
    }
}

/// Ownership of [`CURRENT`].
///
/// # Invariants
///
/// [`CURRENT`] points to the GPU model that this type refers to, and is modified only by its owner.
struct CurrentGpu(#[expect(dead_code, reason = "keeps it alive")] Arc<GpuModel>);

impl CurrentGpu {
    fn new(gpu: Arc<GpuModel>) -> Result<Self> {
        CURRENT
            .compare_exchange(
                null_mut(),
                core::ptr::from_ref::<GpuModel>(&gpu).cast_mut(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .map_err(|_| EBUSY)?;

        // INVARIANT: `CURRENT` has been set above. Other callers set it only if it is null.
        Ok(Self(gpu))
    }
}

impl Drop for CurrentGpu {
    fn drop(&mut self) {
        CURRENT.store(null_mut(), Ordering::Release);
    }
}

/// Returns the GPU model that backs the BARs.
///
/// # Safety
///
/// The caller must be inside an access to a mapping of a [`MappedGpu`], and must not use the result
/// after the access.
unsafe fn current<'a>() -> Result<&'a GpuModel> {
    let gpu = CURRENT.load(Ordering::Acquire);

    // SAFETY: If the pointer is not null, a `CurrentGpu` owns a reference. It is dropped after the
    // mappings that the access uses.
    unsafe { gpu.as_ref() }.ok_or(ENODEV)
}

/// Reads 4 or 8 bytes (`size`).
fn read(bar: &dyn Mmio, offset: c_uint, size: c_int) -> Result<c_ulong> {
    let offset = u32_as_usize(offset);

    match size {
        4 => Ok(u32_as_usize(bar.read32(offset)?)),
        8 => Ok(u64_as_usize(bar.read64(offset)?)),
        _ => Err(EINVAL),
    }
}

/// Writes 4 or 8 bytes (`size`).
fn write(bar: &dyn Mmio, offset: c_uint, size: c_int, value: c_ulong) -> Result {
    let offset = u32_as_usize(offset);

    match size {
        4 => bar.write32(u32::try_from(value)?, offset),
        8 => bar.write64(usize_as_u64(value), offset),
        _ => Err(EINVAL),
    }
}

/// Defines the operations of a region of emulated I/O memory.
macro_rules! region {
    ($region:ident, $ops:ident, $bar:ident) => {
        static $ops: bindings::logic_iomem_ops = {
            /// Reads from the BAR.
            ///
            /// # Safety
            ///
            /// The caller must be inside an access to a mapping of a [`MappedGpu`].
            unsafe extern "C" fn read_callback(
                _private: *mut c_void,
                offset: c_uint,
                size: c_int,
            ) -> c_ulong {
                // SAFETY: By the safety requirements of this function.
                unsafe { current() }
                    .and_then(|gpu| read(&gpu.$bar(), offset, size))
                    .unwrap_or(c_ulong::MAX)
            }

            /// Writes to the BAR.
            ///
            /// # Safety
            ///
            /// The caller must be inside an access to a mapping of a [`MappedGpu`].
            unsafe extern "C" fn write_callback(
                _private: *mut c_void,
                offset: c_uint,
                size: c_int,
                value: c_ulong,
            ) {
                // SAFETY: By the safety requirements of this function.
                let gpu = unsafe { current() };
                if let Err(error) = gpu.and_then(|gpu| write(&gpu.$bar(), offset, size, value)) {
                    pr_err!("GPU model: write at {:#x}: {:?}\n", offset, error);
                }
            }

            bindings::logic_iomem_ops {
                read: Some(read_callback),
                write: Some(write_callback),
                set: None,
                copy_from: None,
                copy_to: None,
                unmap: None,
            }
        };

        static $region: bindings::logic_iomem_region_ops = {
            /// Returns the operations for a mapping.
            ///
            /// # Safety
            ///
            /// Both pointers must be valid for writes.
            unsafe extern "C" fn map_callback(
                _offset: c_ulong,
                _size: usize,
                ops: *mut *const bindings::logic_iomem_ops,
                private: *mut *mut c_void,
            ) -> c_long {
                // SAFETY: By the safety requirements of this function.
                unsafe {
                    *ops = &$ops;
                    *private = null_mut();
                }
                0
            }

            bindings::logic_iomem_region_ops {
                map: Some(map_callback),
            }
        };
    };
}

region!(BAR0_REGION, BAR0_OPS, bar0);
region!(BAR1_REGION, BAR1_OPS, bar1);

mod tests;
