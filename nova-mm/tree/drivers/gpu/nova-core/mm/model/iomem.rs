// SPDX-License-Identifier: GPL-2.0

//! The software GPU behind `readl()` and its kin.
//!
//! Where a kernel emulates I/O memory (`CONFIG_INDIRECT_IOMEM`, as UML does), the BARs of the
//! software GPU can be mapped like those of a device, so that the driver reaches them through
//! [`Io`] and all that is below it.
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
    io::{
        Io,
        IoRaw, //
    },
    prelude::*,
    sizes::SZ_16M,
    sync::Arc, //
};

use crate::{
    mm::{
        mmio::Mmio,
        model::SoftGpu, //
    },
    num::{
        u32_as_usize,
        u64_as_usize,
        usize_as_u64, //
    },
};

/// Where the BARs are on the bus. Nothing else is there on UML.
const BAR0: u64 = 0x100_0000_0000;
const BAR1: u64 = BAR0 + SIZE;
/// Size of both; no mapping of emulated I/O memory can be larger.
const SIZE: u64 = usize_as_u64(SZ_16M);

/// The software GPU that is behind the BARs now; the [`MappedGpu`] that has set it owns it.
static CURRENT: AtomicPtr<SoftGpu> = AtomicPtr::new(null_mut());

/// Whether the BARs are there: they cannot be removed. Used by who has set [`CURRENT`] alone.
static ADDED: AtomicBool = AtomicBool::new(false);

/// Adds the BARs, unless they are there.
fn add_regions() -> Result {
    if !ADDED.load(Ordering::Relaxed) {
        add_region(BAR0, &BAR0_REGION)?;
        add_region(BAR1, &BAR1_REGION)?;
        ADDED.store(true, Ordering::Relaxed);
    }

    Ok(())
}

/// Adds emulated I/O memory.
fn add_region(start: u64, ops: &'static bindings::logic_iomem_region_ops) -> Result {
    let resource = bindings::resource {
        start,
        end: start + SIZE - 1,
        name: c"nova-mm-model".as_char_ptr(),
        flags: u32_as_usize(bindings::IORESOURCE_MEM),
        ..pin_init::zeroed()
    };
    let resource = KBox::leak(KBox::new(resource, GFP_KERNEL)?);

    // SAFETY: Both live for ever.
    kernel::error::to_result(unsafe { bindings::logic_iomem_add_region(resource, ops) })
}

/// A software GPU whose BARs are mapped. There is at most one.
pub(crate) struct MappedGpu {
    // Fields are dropped in this order: nothing is mapped when the place is free.
    bar0: Mapping,
    bar1: Mapping,
    _place: Place,
}

impl MappedGpu {
    /// Maps the BARs of `gpu`: all of BAR0, and the first 16 MiB of BAR1.
    ///
    /// This sleeps.
    ///
    /// # Errors
    ///
    /// - [`EBUSY`] if another one is mapped.
    /// - [`ENOMEM`] if there is no memory, or no place for a mapping.
    pub(crate) fn new(gpu: &Arc<SoftGpu>) -> Result<Self> {
        let place = Place::new(gpu.clone())?;
        add_regions()?;

        Ok(Self {
            bar0: Mapping::new(BAR0)?,
            bar1: Mapping::new(BAR1)?,
            _place: place,
        })
    }

    /// Returns BAR0.
    pub(crate) fn bar0(&self) -> &Io<SZ_16M> {
        self.bar0.io()
    }

    /// Returns the first 16 MiB of BAR1.
    pub(crate) fn bar1(&self) -> &Io<SZ_16M> {
        self.bar1.io()
    }
}

/// The place behind the BARs.
///
/// # Invariants
///
/// [`CURRENT`] points to what is inside, and nobody else changes it.
struct Place(#[expect(dead_code, reason = "keeps it alive")] Arc<SoftGpu>);

impl Place {
    fn new(gpu: Arc<SoftGpu>) -> Result<Self> {
        CURRENT
            .compare_exchange(
                null_mut(),
                core::ptr::from_ref::<SoftGpu>(&gpu).cast_mut(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .map_err(|_| EBUSY)?;

        // INVARIANT: It was set just now, and only when it is null anybody else sets it.
        Ok(Self(gpu))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        CURRENT.store(null_mut(), Ordering::Release);
    }
}

/// A mapping of one of the BARs.
///
/// # Invariants
///
/// The address is that of I/O memory of 16 MiB that `ioremap()` has mapped.
struct Mapping(IoRaw<SZ_16M>);

impl Mapping {
    fn new(start: u64) -> Result<Self> {
        // SAFETY: There is emulated I/O memory of this size.
        let address = unsafe { bindings::ioremap(start, SZ_16M) };
        if address.is_null() {
            return Err(ENOMEM);
        }

        // INVARIANT: It was mapped just now.
        // CAST: As `IoRaw` wants it.
        Ok(Self(IoRaw::new(address as usize, SZ_16M)?))
    }

    fn io(&self) -> &Io<SZ_16M> {
        // SAFETY: By the type invariant.
        unsafe { Io::from_raw(&self.0) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; nobody can use it from here on.
        // CAST: Back from what `IoRaw` wants.
        unsafe { bindings::iounmap(self.0.addr() as *mut c_void) };
    }
}

/// Returns the software GPU behind the BARs.
///
/// # Safety
///
/// The caller is an access to a mapping of a [`MappedGpu`], and uses it no longer than that takes.
unsafe fn current<'a>() -> Result<&'a SoftGpu> {
    let gpu = CURRENT.load(Ordering::Acquire);

    // SAFETY: If it is not null, a `Place` owns it. That is dropped after the mappings, through
    // which the access goes.
    unsafe { gpu.as_ref() }.ok_or(ENODEV)
}

/// Reads as `readb()` to `readq()` do; there are no accesses of one and two bytes.
fn read(bar: &dyn Mmio, offset: c_uint, size: c_int) -> Result<c_ulong> {
    let offset = u32_as_usize(offset);

    match size {
        4 => Ok(u32_as_usize(bar.read32(offset)?)),
        8 => Ok(u64_as_usize(bar.read64(offset)?)),
        _ => Err(EINVAL),
    }
}

/// Writes as `writeb()` to `writeq()` do.
fn write(bar: &dyn Mmio, offset: c_uint, size: c_int, value: c_ulong) -> Result {
    let offset = u32_as_usize(offset);

    match size {
        4 => bar.write32(u32::try_from(value)?, offset),
        8 => bar.write64(usize_as_u64(value), offset),
        _ => Err(EINVAL),
    }
}

/// Makes what a region needs: its operations, and what maps it.
macro_rules! region {
    ($region:ident, $ops:ident, $bar:ident) => {
        static $ops: bindings::logic_iomem_ops = {
            /// Reads.
            ///
            /// # Safety
            ///
            /// The caller is an access to a mapping of a [`MappedGpu`].
            unsafe extern "C" fn read_callback(
                _private: *mut c_void,
                offset: c_uint,
                size: c_int,
            ) -> c_ulong {
                // SAFETY: By the safety requirements.
                unsafe { current() }
                    .and_then(|gpu| read(&gpu.$bar(), offset, size))
                    .unwrap_or(c_ulong::MAX)
            }

            /// Writes.
            ///
            /// # Safety
            ///
            /// The caller is an access to a mapping of a [`MappedGpu`].
            unsafe extern "C" fn write_callback(
                _private: *mut c_void,
                offset: c_uint,
                size: c_int,
                value: c_ulong,
            ) {
                // SAFETY: By the safety requirements.
                let gpu = unsafe { current() };
                if let Err(error) = gpu.and_then(|gpu| write(&gpu.$bar(), offset, size, value)) {
                    pr_err!("software GPU: {:?} from a write at {:#x}\n", error, offset);
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
            /// Says what the operations of a mapping are.
            ///
            /// # Safety
            ///
            /// Both pointers are valid for writes.
            unsafe extern "C" fn map_callback(
                _offset: c_ulong,
                _size: usize,
                ops: *mut *const bindings::logic_iomem_ops,
                private: *mut *mut c_void,
            ) -> c_long {
                // SAFETY: By the safety requirements.
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
