// SPDX-License-Identifier: GPL-2.0

//! What must not be freed as long as the GPU may use it.

use core::{
    mem::ManuallyDrop,
    ops::{
        Deref,
        DerefMut, //
    }, //
};

use kernel::prelude::*;

use crate::mm::vmm::State;

/// The state of an address space. When it is dropped while the GPU may still use what it owns, it
/// is given up rather than freed.
pub(super) struct Kept<F>(ManuallyDrop<KBox<State<F>>>);

impl<F> Kept<F> {
    /// Keeps a state.
    ///
    /// Context: may sleep; allocates.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if there is no memory.
    pub(super) fn new(state: State<F>) -> Result<Self> {
        Ok(Self(ManuallyDrop::new(KBox::new(state, GFP_KERNEL)?)))
    }
}

impl<F> Deref for Kept<F> {
    type Target = State<F>;

    fn deref(&self) -> &State<F> {
        &self.0
    }
}

impl<F> DerefMut for Kept<F> {
    fn deref_mut(&mut self) -> &mut State<F> {
        &mut self.0
    }
}

impl<F> Drop for Kept<F> {
    fn drop(&mut self) {
        // SAFETY: `self` is being dropped, so the box is not used again.
        let state = unsafe { ManuallyDrop::take(&mut self.0) };

        if state.is_in_use() {
            pr_warn!("GPU memory is lost: an address space was not torn down\n");
            give_up(state);
        }
    }
}

/// Gives an object up, with everything that it owns: it is never freed.
fn give_up<T>(object: KBox<T>) {
    let object = KBox::into_raw(object);

    // What it owns is found from it, and is no leak either.
    #[cfg(CONFIG_DEBUG_KMEMLEAK)]
    // SAFETY: `object` is the address of an allocation.
    unsafe {
        kmemleak_not_leak(object.cast())
    };

    let _ = object;
}

#[cfg(CONFIG_DEBUG_KMEMLEAK)]
extern "C" {
    /// Tells kmemleak that nobody has to point to an allocation. See `include/linux/kmemleak.h`.
    fn kmemleak_not_leak(object: *const kernel::ffi::c_void);
}
