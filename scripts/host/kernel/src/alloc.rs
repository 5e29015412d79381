// SPDX-License-Identifier: GPL-2.0

//! Memory: a small [`KBox`] over the fake allocator of `bindings/c/alloc.c`.
//!
//! The kernel's `Box` needs compiler features that a stable compiler does not have.

use crate::{bindings, init::InPlaceInit};
use core::{
    alloc::Layout,
    mem::{ManuallyDrop, MaybeUninit},
    ops::{Deref, DerefMut},
    pin::Pin,
    ptr::NonNull,
};
use pin_init::{Init, PinInit};

include!(concat!(env!("OUT_DIR"), "/alloc.rs"));

/// No memory.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct AllocError;

/// Allocation flags, which mean nothing to the fake allocator.
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct Flags(());

/// The flags that code under test passes.
pub mod flags {
    use super::Flags;

    /// A normal allocation, which may sleep.
    pub const GFP_KERNEL: Flags = Flags(());
}

/// An owned object in memory that [`crate::host::fail_allocation`] can refuse and that
/// [`crate::host::live_objects`] counts.
///
/// # Invariants
///
/// The pointer is valid for a `T`, which is owned by the box, and, unless `T` is zero-sized, was
/// made by `host_alloc`.
#[repr(transparent)]
pub struct KBox<T>(NonNull<T>);

// SAFETY: A box is its content.
unsafe impl<T: Send> Send for KBox<T> {}
// SAFETY: A shared box is its shared content.
unsafe impl<T: Sync> Sync for KBox<T> {}

impl<T> KBox<T> {
    /// Moves `value` into a new box.
    pub fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        Ok(Self::write(Self::new_uninit(flags)?, value))
    }

    /// Moves `value` into a new box that is pinned.
    pub fn pin(value: T, flags: Flags) -> Result<Pin<Self>, AllocError> {
        Ok(Self::new(value, flags)?.into())
    }

    /// A box without a value.
    pub fn new_uninit(_flags: Flags) -> Result<KBox<MaybeUninit<T>>, AllocError> {
        let layout = Layout::new::<T>();
        if layout.size() == 0 {
            // INVARIANT: A dangling pointer is valid for a zero-sized type.
            return Ok(KBox(NonNull::dangling()));
        }
        // SAFETY: The size is not 0 and the alignment that of a type.
        let ptr = unsafe { bindings::host_alloc(layout.size(), layout.align()) };
        // INVARIANT: The memory is fresh and is large enough.
        NonNull::new(ptr.cast()).map(KBox).ok_or(AllocError)
    }

    /// Fills an empty box.
    pub fn write(mut empty: KBox<MaybeUninit<T>>, value: T) -> Self {
        (*empty).write(value);
        // SAFETY: It was written just now.
        unsafe { empty.assume_init() }
    }

    /// Gives up the box; [`KBox::from_raw`] takes it back.
    pub fn into_raw(b: Self) -> *mut T {
        ManuallyDrop::new(b).0.as_ptr()
    }

    /// Gives up the box for a reference; [`KBox::from_raw`] takes it back.
    pub fn leak<'a>(b: Self) -> &'a mut T {
        // SAFETY: By the type invariant, and nobody frees it.
        unsafe { &mut *Self::into_raw(b) }
    }

    /// Takes back a box.
    ///
    /// # Safety
    ///
    /// `raw` comes from [`KBox::into_raw`], and nobody else takes it back.
    pub unsafe fn from_raw(raw: *mut T) -> Self {
        // INVARIANT: By the safety requirements.
        // SAFETY: A box never is null.
        Self(unsafe { NonNull::new_unchecked(raw) })
    }
}

impl<T> KBox<MaybeUninit<T>> {
    /// Declares the content initialized.
    ///
    /// # Safety
    ///
    /// It is.
    pub unsafe fn assume_init(self) -> KBox<T> {
        KBox(ManuallyDrop::new(self).0.cast())
    }
}

impl<T> Drop for KBox<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a value, which nobody uses from here on.
        unsafe { core::ptr::drop_in_place(self.0.as_ptr()) };
        let size = size_of::<T>();
        if size != 0 {
            // SAFETY: By the type invariant the memory comes from `host_alloc`.
            unsafe { bindings::host_free(self.0.as_ptr().cast(), size) };
        }
    }
}

impl<T> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type invariant.
        unsafe { self.0.as_ref() }
    }
}

impl<T> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: By the type invariant.
        unsafe { self.0.as_mut() }
    }
}

impl<T> From<KBox<T>> for Pin<KBox<T>> {
    fn from(b: KBox<T>) -> Self {
        // SAFETY: The content of a box does not move when the box does.
        unsafe { Pin::new_unchecked(b) }
    }
}

impl<T> InPlaceInit<T> for KBox<T> {
    type PinnedSelf = Pin<Self>;

    fn try_pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Pin<Self>, E>
    where
        E: From<AllocError>,
    {
        let empty = Self::new_uninit(flags)?;
        // SAFETY: The memory is valid for a `T`, does not move, and on an error is freed as memory
        // without a value.
        unsafe { init.__pinned_init(empty.0.as_ptr().cast())? };
        // SAFETY: The initializer succeeded.
        Ok(unsafe { empty.assume_init() }.into())
    }

    fn try_init<E>(init: impl Init<T, E>, flags: Flags) -> Result<Self, E>
    where
        E: From<AllocError>,
    {
        let empty = Self::new_uninit(flags)?;
        // SAFETY: As above.
        unsafe { init.__init(empty.0.as_ptr().cast())? };
        // SAFETY: The initializer succeeded.
        Ok(unsafe { empty.assume_init() })
    }
}
