// SPDX-License-Identifier: GPL-2.0

//! Small `Arc` and `UniqueArc`, whose memory comes from where that of `KBox` comes from.
//!
//! The kernel's needs compiler features that a stable compiler does not have.

use crate::{
    alloc::{AllocError, Flags, KBox},
    init::InPlaceInit,
};
use core::{
    ops::{Deref, DerefMut},
    pin::Pin,
    ptr::NonNull,
    sync::atomic::{fence, AtomicUsize, Ordering},
};
use pin_init::{pin_data, Init, PinInit};

#[pin_data]
struct Inner<T> {
    count: AtomicUsize,
    #[pin]
    data: T,
}

/// A reference-counted object that never moves.
///
/// # Invariants
///
/// The pointer is that of a box with an object, which each `Arc` has a share in, as `count` says.
pub struct Arc<T>(NonNull<Inner<T>>);

// SAFETY: As for any shared object that the last owner drops.
unsafe impl<T: Send + Sync> Send for Arc<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for Arc<T> {}

impl<T> Arc<T> {
    /// Moves `value` into a new shared object.
    pub fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        let inner = Inner {
            count: AtomicUsize::new(1),
            data: value,
        };
        KBox::pin(inner, flags).map(Self::from_box)
    }

    /// Whether both are the same object.
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        this.0 == other.0
    }

    fn inner(&self) -> &Inner<T> {
        // SAFETY: By the type invariant.
        unsafe { self.0.as_ref() }
    }

    /// Takes the only share in a fresh object.
    fn from_box(inner: Pin<KBox<Inner<T>>>) -> Self {
        // SAFETY: The object does not move: it is the memory that changes hands.
        let inner = unsafe { Pin::into_inner_unchecked(inner) };
        // INVARIANT: Its count is 1.
        Self(NonNull::from(KBox::leak(inner)))
    }
}

impl<T> InPlaceInit<T> for Arc<T> {
    type PinnedSelf = Self;

    fn try_pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self, E>
    where
        E: From<AllocError>,
    {
        let inner = try_pin_init!(Inner {
            count: AtomicUsize::new(1),
            data <- init,
        }? E);
        KBox::try_pin_init(inner, flags).map(Self::from_box)
    }

    fn try_init<E>(init: impl Init<T, E>, flags: Flags) -> Result<Self, E>
    where
        E: From<AllocError>,
    {
        // An `Init` is a `PinInit` as well.
        <Self as InPlaceInit<T>>::try_pin_init(init, flags)
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        self.inner().count.fetch_add(1, Ordering::Relaxed);
        // INVARIANT: It was counted.
        Self(self.0)
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner().data
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        if self.inner().count.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            // SAFETY: This was the last share in what came from a box.
            drop(unsafe { KBox::from_raw(self.0.as_ptr()) });
        }
    }
}

/// The only share in an object, which can be changed as long as there is no other.
///
/// # Invariants
///
/// There is no other share.
pub struct UniqueArc<T>(Arc<T>);

impl<T> UniqueArc<T> {
    /// Moves `value` into a new object.
    pub fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        // INVARIANT: Nobody else has seen it.
        Arc::new(value, flags).map(Self)
    }
}

impl<T> From<UniqueArc<T>> for Arc<T> {
    fn from(unique: UniqueArc<T>) -> Self {
        unique.0
    }
}

impl<T> Deref for UniqueArc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for UniqueArc<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: By the type invariant, nobody else can get at the object. As in the kernel, it
        // can be moved out of: `Arc::pin_init()` makes no `UniqueArc`.
        unsafe { &mut (*self.0 .0.as_ptr()).data }
    }
}
