// SPDX-License-Identifier: GPL-2.0

//! The path ends inside of the `list_head`, at a pointer to one.

use clist::clist_create;
use kernel::{bindings, types::Opaque};

#[repr(C)]
struct CItem {
    value: u64,
    link: bindings::list_head,
}

#[repr(transparent)]
struct Item(Opaque<CItem>);

fn main() {
    let mut head = bindings::list_head::default();
    // SAFETY: Never runs.
    let _ = unsafe { clist_create!(&raw mut head, Item, CItem, link.next) };
}
