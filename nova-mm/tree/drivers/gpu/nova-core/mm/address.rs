// SPDX-License-Identifier: GPL-2.0

//! Addresses, page numbers and page sizes of the GPU.
//!
//! A [`VramAddress`] is an address in VRAM, a [`VirtualAddress`] an address in an address space of
//! the GPU. Both are in bytes. Page tables use pages of 4 KiB, the smallest size that the GPU
//! supports: a [`Pfn`] is the number of a page of VRAM, a [`Vfn`] the number of a page of an
//! address space.

use kernel::{
    fmt,
    prelude::*,
    sizes::*, //
};

use crate::num::usize_as_u64;

/// Size in bytes of the pages that [`Pfn`] and [`Vfn`] count.
pub(crate) const PAGE_SIZE: u64 = usize_as_u64(SZ_4K);

/// Defines the type of an address and the type of its page number.
macro_rules! define_address {
    (
        $(#[$address_doc:meta])* $address:ident;
        $(#[$page_doc:meta])* $page:ident;
    ) => {
        $(#[$address_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $address(u64);

        // The types have the same methods. Not all of them have a user.
        #[allow(dead_code)]
        impl $address {
            /// Creates an address from a number of bytes.
            #[inline]
            pub(crate) const fn new(address: u64) -> Self {
                Self(address)
            }

            /// Returns the address as a number of bytes.
            #[inline]
            pub(crate) const fn into_raw(self) -> u64 {
                self.0
            }

            /// Returns the address `bytes` above this one.
            ///
            /// # Errors
            ///
            /// [`EOVERFLOW`] if it does not fit into 64 bits.
            #[inline]
            pub(crate) fn checked_add(self, bytes: u64) -> Result<Self> {
                self.0.checked_add(bytes).map(Self).ok_or(EOVERFLOW)
            }
        }

        impl fmt::Display for $address {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        $(#[$page_doc])*
        ///
        /// # Invariants
        ///
        /// The address of the page, its number times [`PAGE_SIZE`], fits into 64 bits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $page(u64);

        // The types have the same methods. Not all of them have a user.
        #[allow(dead_code)]
        impl $page {
            const MAX: u64 = u64::MAX / PAGE_SIZE;

            /// Creates a page number.
            ///
            /// # Errors
            ///
            /// [`EOVERFLOW`] if the address of the page does not fit into 64 bits.
            #[inline]
            pub(crate) fn new(number: u64) -> Result<Self> {
                if number > Self::MAX {
                    return Err(EOVERFLOW);
                }

                // INVARIANT: The number times the size of a page is at most `u64::MAX`.
                Ok(Self(number))
            }

            /// Returns the number.
            #[inline]
            pub(crate) const fn into_raw(self) -> u64 {
                self.0
            }

            /// Returns the address of the first byte of the page.
            #[inline]
            pub(crate) const fn address(self) -> $address {
                // No overflow by the type invariant.
                $address(self.0 * PAGE_SIZE)
            }

            /// Returns the page `count` pages above this one.
            ///
            /// # Errors
            ///
            /// [`EOVERFLOW`] if its address does not fit into 64 bits.
            #[inline]
            pub(crate) fn checked_add(self, count: u64) -> Result<Self> {
                Self::new(self.0.checked_add(count).ok_or(EOVERFLOW)?)
            }
        }

        /// Returns the page that starts at an address, or [`EINVAL`] if the address is not aligned.
        impl TryFrom<$address> for $page {
            type Error = Error;

            #[inline]
            fn try_from(address: $address) -> Result<Self> {
                if address.0 % PAGE_SIZE != 0 {
                    return Err(EINVAL);
                }

                // INVARIANT: The number times the size of a page is `address`.
                Ok(Self(address.0 / PAGE_SIZE))
            }
        }
    };
}

define_address! {
    /// An address in VRAM, in bytes: a physical address of the GPU in the aperture "video memory".
    VramAddress;
    /// The number of a page of VRAM.
    Pfn;
}

define_address! {
    /// An address in an address space of the GPU, in bytes.
    VirtualAddress;
    /// The number of a page of an address space.
    Vfn;
}

/// A page size.
///
/// The page table format and the chip determine which sizes exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PageSize {
    /// 4 KiB.
    Size4K,
    /// 64 KiB.
    Size64K,
    /// 2 MiB.
    Size2M,
    /// 512 MiB.
    Size512M,
    /// 256 GiB.
    Size256G,
}

impl PageSize {
    /// Returns the binary logarithm of the size in bytes.
    #[inline]
    pub(crate) const fn shift(self) -> u32 {
        match self {
            Self::Size4K => 12,
            Self::Size64K => 16,
            Self::Size2M => 21,
            Self::Size512M => 29,
            Self::Size256G => 38,
        }
    }

    /// Returns the size in bytes.
    #[inline]
    pub(crate) const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    /// Returns the size in pages of [`PAGE_SIZE`].
    #[inline]
    pub(crate) const fn pages(self) -> u64 {
        self.bytes() / PAGE_SIZE
    }
}

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
#[kunit_tests(nova_core_mm_address)]
mod tests {
    use super::*;

    #[test]
    fn page_from_address() -> Result {
        assert_eq!(Pfn::try_from(VramAddress::new(0x3000))?.into_raw(), 3);
        assert_eq!(Pfn::try_from(VramAddress::new(0x3008)).err(), Some(EINVAL));
        assert_eq!(Vfn::try_from(VirtualAddress::new(0))?.into_raw(), 0);
        assert_eq!(Vfn::new(3)?.address(), VirtualAddress::new(0x3000));

        Ok(())
    }

    #[test]
    fn last_page_overflow() -> Result {
        let last = Pfn::new(u64::MAX >> 12)?;

        assert_eq!(last.address().into_raw(), 0xffff_ffff_ffff_f000);
        assert_eq!(Pfn::try_from(last.address())?, last);
        assert_eq!(last.checked_add(1).err(), Some(EOVERFLOW));
        assert_eq!(last.checked_add(u64::MAX).err(), Some(EOVERFLOW));
        assert_eq!(Pfn::new((u64::MAX >> 12) + 1).err(), Some(EOVERFLOW));
        assert_eq!(last.address().checked_add(0xfff)?.into_raw(), u64::MAX);
        assert_eq!(last.address().checked_add(0x1000).err(), Some(EOVERFLOW));

        Ok(())
    }

    #[test]
    fn page_sizes() {
        assert_eq!(PageSize::Size4K.bytes(), usize_as_u64(SZ_4K));
        assert_eq!(PageSize::Size64K.bytes(), usize_as_u64(SZ_64K));
        assert_eq!(PageSize::Size2M.bytes(), usize_as_u64(SZ_2M));
        assert_eq!(PageSize::Size512M.bytes(), usize_as_u64(SZ_512M));
        assert_eq!(PageSize::Size256G.bytes(), 256 * usize_as_u64(SZ_1G));
        assert_eq!(PageSize::Size2M.pages(), 512);
        assert!(PageSize::Size4K < PageSize::Size2M);
    }
}
