// SPDX-License-Identifier: GPL-2.0

//! `readl()`, `writel()` and related functions, which call the handler of a test or access memory.

use crate::ffi::c_void;
use std::cell::Cell;

/// Handles accesses to addresses of devices.
pub trait Mmio {
    /// Reads `width` bytes.
    fn read(&self, address: usize, width: usize) -> u64;

    /// Writes `width` bytes.
    fn write(&self, address: usize, width: usize, value: u64);
}

thread_local! {
    static HANDLER: Cell<Option<*const dyn Mmio>> = const { Cell::new(None) };
}

/// Directs the accesses of this thread to `handler` while `f` runs.
pub fn direct_mmio<T>(handler: &dyn Mmio, f: impl FnOnce() -> T) -> T {
    struct Restore(Option<*const dyn Mmio>);

    impl Drop for Restore {
        fn drop(&mut self) {
            HANDLER.set(self.0);
        }
    }

    // SAFETY: Only the lifetime differs, and this function removes the pointer before it returns.
    let handler = unsafe {
        std::mem::transmute::<*const (dyn Mmio + '_), *const (dyn Mmio + 'static)>(handler)
    };
    let _restore = Restore(HANDLER.replace(Some(handler)));
    f()
}

fn handler() -> Option<&'static dyn Mmio> {
    // SAFETY: A handler is set only during its lifetime, and each access ends before that.
    HANDLER.get().map(|handler| unsafe { &*handler })
}

macro_rules! access {
    ($type:ty: $($read:ident)*, $($write:ident)*) => {
        $(
            #[no_mangle]
            unsafe extern "C" fn $read(address: *const c_void) -> $type {
                match handler() {
                    Some(to) => to.read(address as usize, size_of::<$type>()) as $type,
                    // SAFETY: By the requirements of the C function.
                    None => unsafe { address.cast::<$type>().read_volatile() },
                }
            }
        )*
        $(
            #[no_mangle]
            unsafe extern "C" fn $write(value: $type, address: *mut c_void) {
                match handler() {
                    Some(to) => to.write(address as usize, size_of::<$type>(), value.into()),
                    // SAFETY: By the requirements of the C function.
                    None => unsafe { address.cast::<$type>().write_volatile(value) },
                }
            }
        )*
    };
}

access!(u8: readb readb_relaxed, writeb writeb_relaxed);
access!(u16: readw readw_relaxed, writew writew_relaxed);
access!(u32: readl readl_relaxed, writel writel_relaxed);
access!(u64: readq readq_relaxed, writeq writeq_relaxed);
