// SPDX-License-Identifier: GPL-2.0

//! The allocators. All three use the fake allocator of `bindings/c/alloc.c`.

use super::{flags::__GFP_ZERO, AllocError, Allocator, Flags, NumaNode};
use crate::bindings;
use core::{
    alloc::Layout,
    ptr::{self, NonNull},
};

pub use crate::page::VmallocPageIter;

/// Reallocates memory. The memory always moves, as the kernel's may.
///
/// # Safety
///
/// As for [`Allocator::realloc`].
unsafe fn realloc(
    ptr: Option<NonNull<u8>>,
    layout: Layout,
    old_layout: Layout,
    flags: Flags,
) -> Result<NonNull<[u8]>, AllocError> {
    let old = ptr.filter(|_| old_layout.size() != 0);
    let new = if layout.size() == 0 {
        super::dangling_from_layout(layout)
    } else {
        // SAFETY: The size is not 0, and the alignment comes from a layout.
        let new = unsafe { bindings::host_alloc(layout.size(), layout.align()) };
        NonNull::new(new.cast::<u8>()).ok_or(AllocError)?
    };
    let kept = old.map_or(0, |_| old_layout.size().min(layout.size()));
    if flags.contains(__GFP_ZERO) {
        // SAFETY: The memory has that size.
        unsafe { ptr::write_bytes(new.as_ptr().add(kept), 0, layout.size() - kept) };
    }
    if let Some(old) = old {
        // SAFETY: Both are valid for this number of bytes; the old memory was allocated here with
        // that size.
        unsafe {
            ptr::copy_nonoverlapping(old.as_ptr(), new.as_ptr(), kept);
            bindings::host_free(old.as_ptr().cast(), old_layout.size());
        }
    }
    Ok(NonNull::slice_from_raw_parts(new, layout.size()))
}

macro_rules! allocator {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name;

        // SAFETY: Memory is valid until it is freed, and is not used otherwise.
        unsafe impl Allocator for $name {
            const MIN_ALIGN: usize = align_of::<u64>();

            unsafe fn realloc(
                ptr: Option<NonNull<u8>>,
                layout: Layout,
                old_layout: Layout,
                flags: Flags,
                _nid: NumaNode,
            ) -> Result<NonNull<[u8]>, AllocError> {
                // SAFETY: By the safety requirements.
                unsafe { realloc(ptr, layout, old_layout, flags) }
            }
        }
    };
}

allocator! {
    /// `kmalloc()`.
    Kmalloc
}
allocator! {
    /// `vmalloc()`.
    Vmalloc
}
allocator! {
    /// `kvmalloc()`.
    KVmalloc
}
