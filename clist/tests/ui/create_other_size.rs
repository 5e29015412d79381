// SPDX-License-Identifier: GPL-2.0

//! The Rust type is smaller than the C type.

use clist::clist_create;
use kernel::bindings;

#[repr(C)]
struct CItem {
    value: u64,
    link: bindings::list_head,
}

/// Lacks the link.
#[repr(C)]
struct Item {
    value: u64,
}

fn main() {
    let mut head = bindings::list_head::default();
    // SAFETY: Never runs.
    let _ = unsafe { clist_create!(&raw mut head, Item, CItem, link) };
}
