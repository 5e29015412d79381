// SPDX-License-Identifier: GPL-2.0

//! The field is no `list_head`.

use clist::clist_offset;
use kernel::{bindings, types::Opaque};

#[repr(C)]
struct CItem {
    value: u64,
    link: bindings::list_head,
}

#[repr(transparent)]
struct Item(Opaque<CItem>);

const OFFSET: usize = clist_offset!(Item, CItem, value);

fn main() {
    println!("{OFFSET}");
}
