// SPDX-License-Identifier: GPL-2.0

//! Modes and flags of requests to a [`GpuBuddy`](super::GpuBuddy).

use crate::bindings;
use core::ops::{
    BitAnd,
    BitAndAssign,
    BitOr,
    BitOrAssign,
    BitXor,
    BitXorAssign,
    Not,
    Range, //
};

/// Where in the managed range a request allocates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GpuBuddyAllocMode {
    /// Anywhere, from the smallest sufficient blocks; among those, from the highest ones.
    Simple,
    /// Within this range, from the lowest suitable blocks of the preferred kind (cleared or dirty).
    ///
    /// The range is in bytes, half-open, and relative to the start of the managed range:
    /// [`GpuBuddyParams::base_offset`] is not included.
    ///
    /// [`GpuBuddyParams::base_offset`]: super::GpuBuddyParams::base_offset
    Range(Range<u64>),
    /// At the highest suitable address, even if that splits a larger block than necessary.
    ///
    /// A block of the preferred kind (cleared or dirty) is allocated wherever it is, even if a
    /// block of the other kind is higher. Blocks that have to be merged from both kinds may come
    /// from anywhere.
    TopDown,
}

/// One of the [`GpuBuddyAllocFlags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum GpuBuddyAllocFlag {
    /// Allocate a single range of addresses, which may consist of several blocks.
    Contiguous = bindings::GPU_BUDDY_CONTIGUOUS_ALLOCATION,
    /// Prefer cleared memory to dirty memory.
    ///
    /// The result may still be dirty; check `AllocatedBlock::is_clear()`.
    Clear = bindings::GPU_BUDDY_CLEAR_ALLOCATION,
    /// Do not trim the allocation to the requested size.
    TrimDisable = bindings::GPU_BUDDY_TRIM_DISABLE,
}

/// A set of [`GpuBuddyAllocFlag`], by default empty.
///
/// # Invariants
///
/// Only bits of [`GpuBuddyAllocFlag`] are set.
///
/// # Examples
///
/// ```
/// use kernel::gpu::buddy::{
///     GpuBuddyAllocFlag::{
///         Clear,
///         Contiguous,
///         TrimDisable, //
///     },
///     GpuBuddyAllocFlags, //
/// };
///
/// let mut flags = Contiguous | Clear;
/// assert!(flags.contains(Clear));
/// assert!(!flags.contains(TrimDisable));
/// assert!(flags.contains_any(Clear | TrimDisable));
/// assert!(!flags.contains_all(Clear | TrimDisable));
/// assert_ne!(flags, Clear.into());
///
/// flags |= TrimDisable;
/// assert_eq!(usize::from(flags), GpuBuddyAllocFlags::all_bits());
/// assert_eq!(flags & Clear, Clear.into());
/// assert_eq!(flags ^ Clear, Contiguous | TrimDisable);
/// assert_eq!(!(flags ^ Clear), Clear.into());
/// assert_eq!(!flags, GpuBuddyAllocFlags::empty());
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct GpuBuddyAllocFlags(usize);

impl GpuBuddyAllocFlags {
    /// Returns the empty set.
    #[inline]
    pub const fn empty() -> Self {
        // INVARIANT: No bit is set.
        Self(0)
    }

    /// Returns the bits of all flags, as C defines them.
    #[inline]
    pub const fn all_bits() -> usize {
        bindings::GPU_BUDDY_CONTIGUOUS_ALLOCATION
            | bindings::GPU_BUDDY_CLEAR_ALLOCATION
            | bindings::GPU_BUDDY_TRIM_DISABLE
    }

    /// Returns whether `flag` is set.
    #[inline]
    pub fn contains(self, flag: GpuBuddyAllocFlag) -> bool {
        self.contains_all(flag.into())
    }

    /// Returns whether at least one of `flags` is set.
    #[inline]
    pub fn contains_any(self, flags: Self) -> bool {
        self & flags != Self::empty()
    }

    /// Returns whether all of `flags` are set.
    #[inline]
    pub fn contains_all(self, flags: Self) -> bool {
        self & flags == flags
    }
}

impl From<GpuBuddyAllocFlag> for GpuBuddyAllocFlags {
    #[inline]
    fn from(flag: GpuBuddyAllocFlag) -> Self {
        // INVARIANT: This is the bit of a flag.
        Self(match flag {
            GpuBuddyAllocFlag::Contiguous => bindings::GPU_BUDDY_CONTIGUOUS_ALLOCATION,
            GpuBuddyAllocFlag::Clear => bindings::GPU_BUDDY_CLEAR_ALLOCATION,
            GpuBuddyAllocFlag::TrimDisable => bindings::GPU_BUDDY_TRIM_DISABLE,
        })
    }
}

impl From<GpuBuddyAllocFlags> for usize {
    /// Returns the bits of the flags, as C defines them.
    #[inline]
    fn from(flags: GpuBuddyAllocFlags) -> Self {
        flags.0
    }
}

/// Implements a binary operator, and its assigning form, for sets of flags and single flags.
macro_rules! impl_operator {
    ($operator:ident :: $method:ident, $assign:ident :: $assign_method:ident) => {
        impl<T: Into<GpuBuddyAllocFlags>> $operator<T> for GpuBuddyAllocFlags {
            type Output = Self;

            #[inline]
            fn $method(self, other: T) -> Self {
                // INVARIANT: A bit that neither operand has is not set in the result.
                Self(self.0.$method(other.into().0))
            }
        }

        impl<T: Into<GpuBuddyAllocFlags>> $operator<T> for GpuBuddyAllocFlag {
            type Output = GpuBuddyAllocFlags;

            #[inline]
            fn $method(self, other: T) -> GpuBuddyAllocFlags {
                GpuBuddyAllocFlags::from(self).$method(other)
            }
        }

        impl<T: Into<GpuBuddyAllocFlags>> $assign<T> for GpuBuddyAllocFlags {
            #[inline]
            fn $assign_method(&mut self, other: T) {
                *self = self.$method(other);
            }
        }
    };
}

impl_operator!(BitAnd::bitand, BitAndAssign::bitand_assign);
impl_operator!(BitOr::bitor, BitOrAssign::bitor_assign);
impl_operator!(BitXor::bitxor, BitXorAssign::bitxor_assign);

impl Not for GpuBuddyAllocFlags {
    type Output = Self;

    #[inline]
    fn not(self) -> Self {
        // INVARIANT: The mask has no other bits.
        Self(!self.0 & Self::all_bits())
    }
}

impl Not for GpuBuddyAllocFlag {
    type Output = GpuBuddyAllocFlags;

    #[inline]
    fn not(self) -> GpuBuddyAllocFlags {
        !GpuBuddyAllocFlags::from(self)
    }
}

#[cfg(CONFIG_KUNIT = "y")]
mod tests;
