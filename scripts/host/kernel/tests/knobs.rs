// SPDX-License-Identifier: GPL-2.0

//! The knobs of the stand-in do what they say: a knob that does nothing would make every test that
//! relies on it pass.

use kernel::{alloc::AllocError, host, prelude::*};

#[test]
fn the_chosen_allocation_fails_and_no_other() {
    host::fail_allocation(2);
    assert!(KBox::new(1u32, GFP_KERNEL).is_ok());
    assert_eq!(KBox::new(2u32, GFP_KERNEL).err(), Some(AllocError));
    assert!(KBox::new(3u32, GFP_KERNEL).is_ok());

    host::fail_allocation(1);
    host::fail_allocation(0);
    assert!(KBox::new(4u32, GFP_KERNEL).is_ok());
}

#[test]
fn live_objects_are_counted() {
    let before = host::live_objects();
    let first = KBox::new([0u8; 100], GFP_KERNEL).unwrap();
    let second = KBox::pin_init(pin_init::init_zeroed::<u64>(), GFP_KERNEL).unwrap();
    // Needs no memory, so it is no object.
    let nothing = KBox::new((), GFP_KERNEL).unwrap();
    assert_eq!(host::live_objects(), before + 2);

    drop((first, nothing));
    assert_eq!(host::live_objects(), before + 1);
    drop(second);
    assert_eq!(host::live_objects(), before);
}

#[test]
fn an_initialiser_that_fails_leaks_nothing() {
    // SAFETY: It never succeeds.
    let refuse = unsafe { pin_init::pin_init_from_closure::<u64, Error>(|_| Err(EINVAL)) };
    let before = host::live_objects();
    assert_eq!(KBox::try_pin_init(refuse, GFP_KERNEL).err(), Some(EINVAL));
    assert_eq!(host::live_objects(), before);
}

#[test]
fn fresh_memory_holds_rubbish() {
    let empty = KBox::<[u8; 64]>::new_uninit(GFP_KERNEL).unwrap();
    // SAFETY: The allocator has written it.
    assert_eq!(*unsafe { empty.assume_init() }, [0x5a; 64]);
}

#[test]
fn a_box_keeps_alignment() {
    #[repr(align(256))]
    struct Wide(u8);

    let wide = KBox::new(Wide(7), GFP_KERNEL).unwrap();
    assert_eq!(&raw const *wide as usize % 256, 0);
    assert_eq!(wide.0, 7);
}

#[test]
fn warnings_are_counted() {
    host::take_warnings();
    assert!(kernel::warn_on!(1 + 1 == 2));
    assert!(!kernel::warn_on!(1 + 1 == 3));
    assert_eq!(host::take_warnings(), 1);
    assert_eq!(host::take_warnings(), 0);
}

#[test]
fn errors_cross_the_seam() {
    let ptr = ENOMEM.to_ptr::<u8>();
    assert_eq!(kernel::error::from_err_ptr(ptr), Err(ENOMEM));
    assert_eq!(kernel::error::to_result(-22), Err(EINVAL));
}
