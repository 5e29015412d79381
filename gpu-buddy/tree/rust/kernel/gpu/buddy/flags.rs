// SPDX-License-Identifier: GPL-2.0

//! What can be asked of a [`GpuBuddy`](super::GpuBuddy).

use crate::bindings;
use core::ops::{
    BitOr,
    BitOrAssign,
    Range, //
};

/// Where in the managed range memory is to be taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GpuBuddyAllocMode {
    /// From anywhere: the smallest blocks that will do, and of these the ones at the top.
    Simple,
    /// From inside of this range of absolute addresses; from its bottom, if nothing else matters.
    Range(Range<u64>),
    /// From as high an address as there is of the preferred kind, cleared or dirty, even if that
    /// splits a larger block than necessary. What is taken of the other kind, because there is too
    /// little of the preferred one, may come from anywhere.
    TopDown,
}

/// One of the [`GpuBuddyAllocFlags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuBuddyAllocFlag {
    /// The memory has to be one range of addresses.
    ///
    /// It can be made up of several blocks.
    Contiguous,
    /// Cleared memory is preferred to dirty memory.
    ///
    /// What was got may still be dirty: each block tells.
    Clear,
    /// What a size was rounded up to is kept, instead of being cut back to the size.
    TrimDisable,
}

/// How a request is to be met: a set of [`GpuBuddyAllocFlag`], by default an empty one.
///
/// # Examples
///
/// ```
/// use kernel::gpu::buddy::{
///     GpuBuddyAllocFlag,
///     GpuBuddyAllocFlags, //
/// };
///
/// let flags = GpuBuddyAllocFlag::Contiguous | GpuBuddyAllocFlag::Clear;
/// assert!(flags.contains(GpuBuddyAllocFlag::Clear));
/// assert!(!flags.contains(GpuBuddyAllocFlag::TrimDisable));
/// assert_ne!(flags, GpuBuddyAllocFlag::Clear.into());
/// assert_ne!(flags, GpuBuddyAllocFlags::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuBuddyAllocFlags(usize);

impl GpuBuddyAllocFlags {
    /// Returns whether `flag` is one of them.
    #[inline]
    pub fn contains(self, flag: GpuBuddyAllocFlag) -> bool {
        self | flag == self
    }
}

impl From<GpuBuddyAllocFlag> for GpuBuddyAllocFlags {
    #[inline]
    fn from(flag: GpuBuddyAllocFlag) -> Self {
        Self(match flag {
            GpuBuddyAllocFlag::Contiguous => bindings::GPU_BUDDY_CONTIGUOUS_ALLOCATION,
            GpuBuddyAllocFlag::Clear => bindings::GPU_BUDDY_CLEAR_ALLOCATION,
            GpuBuddyAllocFlag::TrimDisable => bindings::GPU_BUDDY_TRIM_DISABLE,
        })
    }
}

impl<T: Into<GpuBuddyAllocFlags>> BitOr<T> for GpuBuddyAllocFlags {
    type Output = Self;

    #[inline]
    fn bitor(self, other: T) -> Self {
        Self(self.0 | other.into().0)
    }
}

impl<T: Into<GpuBuddyAllocFlags>> BitOr<T> for GpuBuddyAllocFlag {
    type Output = GpuBuddyAllocFlags;

    #[inline]
    fn bitor(self, other: T) -> GpuBuddyAllocFlags {
        GpuBuddyAllocFlags::from(self) | other
    }
}

impl<T: Into<GpuBuddyAllocFlags>> BitOrAssign<T> for GpuBuddyAllocFlags {
    #[inline]
    fn bitor_assign(&mut self, other: T) {
        *self = *self | other;
    }
}

impl GpuBuddyAllocFlags {
    /// Returns the flags as C knows them.
    #[inline]
    pub(super) fn as_raw(self) -> usize {
        self.0
    }
}
