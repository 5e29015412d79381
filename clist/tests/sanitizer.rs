// SPDX-License-Identifier: GPL-2.0

//! Faults that AddressSanitizer has to notice, in Rust code and in C code.
//!
//! `scripts/host/asan` runs these one by one and expects each to end in a report, so that a
//! sanitizer that is not at work does not pass for code without faults.

// The driver has more than these tests use.
#[allow(dead_code)]
mod driver;

use driver::{Item, List};
use kernel::bindings;
use pin_init::stack_pin_init;

#[test]
#[ignore = "faulty on purpose, see scripts/host/asan"]
fn rust_follows_a_freed_item() {
    stack_pin_init!(let list = List::new());
    let item = Item::new(1);
    // SAFETY: It is not: the item is freed while it is on the list.
    unsafe {
        bindings::list_add_tail(item.as_ref().link(), list.as_mut().as_raw());
        Item::free(item);
    }
    println!("{}", list.iter().count());
}

#[test]
#[ignore = "faulty on purpose, see scripts/host/asan"]
fn c_follows_a_freed_item() {
    stack_pin_init!(let list = List::new());
    let item = Item::new(1);
    let mut values = [0; 4];
    // SAFETY: It is not: the item is freed while it is on the list.
    unsafe {
        bindings::list_add_tail(item.as_ref().link(), list.as_mut().as_raw());
        Item::free(item);
        bindings::host_list_values(list.as_mut().as_raw(), values.as_mut_ptr(), values.len());
        // Without it, Rust code would follow the item too, when the list is dropped.
        bindings::INIT_LIST_HEAD(list.as_mut().as_raw());
    }
}
