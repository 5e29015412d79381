// SPDX-License-Identifier: GPL-2.0

//! A small [`Box`] over the fake allocator of `bindings/c/alloc.c`.
//!
//! The kernel's needs compiler features that a stable compiler does not have.

use super::{AllocError, Allocator, Flags, NumaNode};
use crate::init::InPlaceInit;
use core::{
    alloc::Layout,
    fmt,
    marker::PhantomData,
    mem::{ManuallyDrop, MaybeUninit},
    ops::{Deref, DerefMut},
    pin::Pin,
    ptr::NonNull,
};
use pin_init::{Init, PinInit};

/// A box of `kmalloc()`.
pub type KBox<T> = Box<T, super::allocator::Kmalloc>;
/// A box of `vmalloc()`.
pub type VBox<T> = Box<T, super::allocator::Vmalloc>;
/// A box of `kvmalloc()`.
pub type KVBox<T> = Box<T, super::allocator::KVmalloc>;

/// An owned object in memory that [`crate::host::fail_allocation`] can refuse and that
/// [`crate::host::live_objects`] counts.
///
/// # Invariants
///
/// The pointer is valid for a `T`, which is owned by the box, and, unless `T` is zero-sized, was
/// made by `A`.
#[repr(transparent)]
pub struct Box<T, A: Allocator>(NonNull<T>, PhantomData<A>);

// SAFETY: A box is its content.
unsafe impl<T: Send, A: Allocator> Send for Box<T, A> {}
// SAFETY: A shared box is its shared content.
unsafe impl<T: Sync, A: Allocator> Sync for Box<T, A> {}

impl<T, A: Allocator> Box<T, A> {
    /// Moves `value` into a new box.
    pub fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        Ok(Self::write(Self::new_uninit(flags)?, value))
    }

    /// Moves `value` into a new box that is pinned.
    pub fn pin(value: T, flags: Flags) -> Result<Pin<Self>, AllocError> {
        Ok(Self::new(value, flags)?.into())
    }

    /// A box without a value.
    pub fn new_uninit(flags: Flags) -> Result<Box<MaybeUninit<T>, A>, AllocError> {
        let ptr = A::alloc(Layout::new::<T>(), flags, NumaNode::NO_NODE)?;
        // INVARIANT: The memory is fresh and is large enough.
        Ok(Box(ptr.cast(), PhantomData))
    }

    /// Fills an empty box.
    pub fn write(mut empty: Box<MaybeUninit<T>, A>, value: T) -> Self {
        (*empty).write(value);
        // SAFETY: It was written just now.
        unsafe { empty.assume_init() }
    }

    /// Gives up the box; [`Box::from_raw`] takes it back.
    pub fn into_raw(b: Self) -> *mut T {
        ManuallyDrop::new(b).0.as_ptr()
    }

    /// Gives up the box for a reference; [`Box::from_raw`] takes it back.
    pub fn leak<'a>(b: Self) -> &'a mut T {
        // SAFETY: By the type invariant, and nobody frees it.
        unsafe { &mut *Self::into_raw(b) }
    }

    /// Takes the value out of the box.
    pub fn into_inner(b: Self) -> T {
        // SAFETY: By the type invariant; the box goes without dropping it.
        let value = unsafe { b.0.as_ptr().read() };
        drop(Self::forget_contents(b));
        value
    }

    /// Drops the value and keeps the memory.
    pub fn drop_contents(b: Self) -> Box<MaybeUninit<T>, A> {
        let b = Self::forget_contents(b);
        // SAFETY: By the type invariant there is a value, which nobody uses from here on.
        unsafe { core::ptr::drop_in_place(b.0.as_ptr().cast::<T>()) };
        b
    }

    fn forget_contents(b: Self) -> Box<MaybeUninit<T>, A> {
        Box(ManuallyDrop::new(b).0.cast(), PhantomData)
    }

    /// Takes back a box.
    ///
    /// # Safety
    ///
    /// `raw` comes from [`Box::into_raw`], and nobody else takes it back.
    pub unsafe fn from_raw(raw: *mut T) -> Self {
        // INVARIANT: By the safety requirements.
        // SAFETY: A box never is null.
        Self(unsafe { NonNull::new_unchecked(raw) }, PhantomData)
    }
}

impl<T, A: Allocator> Box<MaybeUninit<T>, A> {
    /// Declares the content initialized.
    ///
    /// # Safety
    ///
    /// It is.
    pub unsafe fn assume_init(self) -> Box<T, A> {
        Box(ManuallyDrop::new(self).0.cast(), PhantomData)
    }
}

impl<T, A: Allocator> Drop for Box<T, A> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a value, which nobody uses from here on.
        unsafe { core::ptr::drop_in_place(self.0.as_ptr()) };
        // SAFETY: By the type invariant the memory comes from `A`.
        unsafe { A::free(self.0.cast(), Layout::new::<T>()) };
    }
}

impl<T, A: Allocator> Deref for Box<T, A> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type invariant.
        unsafe { self.0.as_ref() }
    }
}

impl<T, A: Allocator> DerefMut for Box<T, A> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: By the type invariant.
        unsafe { self.0.as_mut() }
    }
}

impl<T, A: Allocator> From<Box<T, A>> for Pin<Box<T, A>> {
    fn from(b: Box<T, A>) -> Self {
        // SAFETY: The content of a box does not move when the box does.
        unsafe { Pin::new_unchecked(b) }
    }
}

impl<T, A: Allocator> InPlaceInit<T> for Box<T, A> {
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

impl<T: fmt::Debug, A: Allocator> fmt::Debug for Box<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
