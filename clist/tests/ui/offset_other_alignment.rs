// SPDX-License-Identifier: GPL-2.0

//! The Rust type has another alignment than the C type.

use clist::clist_offset;
use kernel::bindings;

#[repr(C)]
struct CItem {
    value: u64,
    link: bindings::list_head,
}

/// As large as the C type, but with another alignment.
#[repr(C)]
struct Item {
    bytes: [u8; size_of::<CItem>()],
}

const OFFSET: usize = clist_offset!(Item, CItem, link);

fn main() {
    println!("{OFFSET}");
}
