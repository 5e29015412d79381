// SPDX-License-Identifier: GPL-2.0

//! The Rust type is larger than the C type.

use clist::clist_offset;
use kernel::{bindings, types::Opaque};

#[repr(C)]
struct CItem {
    value: u64,
    link: bindings::list_head,
}

/// Has more than the C type.
#[repr(C)]
struct Item {
    inner: Opaque<CItem>,
    extra: u64,
}

const OFFSET: usize = clist_offset!(Item, CItem, link);

fn main() {
    println!("{OFFSET}");
}
