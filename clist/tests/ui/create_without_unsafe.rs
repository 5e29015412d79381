// SPDX-License-Identifier: GPL-2.0

//! The caller has to write the `unsafe` block.

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
    let _ = clist_create!(&raw mut head, Item, CItem, link);
}
