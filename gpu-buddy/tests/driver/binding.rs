// SPDX-License-Identifier: GPL-2.0

//! The allocator as Rust code uses it.

use super::{Backend, Block, Request, CLEAR, CONTIGUOUS, RANGE, TOPDOWN, TRIM_DISABLE};
use gpu_buddy::{
    bindings::latest_gpu_buddy,
    gpu::buddy::{
        AllocatedBlocks, GpuBuddy, GpuBuddyAllocFlag, GpuBuddyAllocFlags, GpuBuddyAllocMode,
        GpuBuddyParams,
    },
};
use kernel::{bindings, prelude::*, ptr::Alignment};
use std::mem::ManuallyDrop;

/// An allocator.
pub struct Manager {
    buddy: ManuallyDrop<GpuBuddy>,
    mm: *mut bindings::gpu_buddy,
}

/// An allocation.
pub struct List(ManuallyDrop<Pin<KBox<AllocatedBlocks>>>);

impl List {
    fn new(blocks: Pin<KBox<AllocatedBlocks>>) -> Self {
        Self(ManuallyDrop::new(blocks))
    }

    fn blocks(&mut self) -> Pin<&mut AllocatedBlocks> {
        self.0.as_mut()
    }
}

// What a panic leaves behind may be broken, so nothing is dropped then: this is about what was
// found first.

impl Drop for List {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: Nobody uses it from here on.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: Nobody uses it from here on.
            unsafe { ManuallyDrop::drop(&mut self.buddy) };
        }
    }
}

fn alignment(bytes: u64) -> Alignment {
    Alignment::new_checked(bytes as usize).expect("a power of two")
}

/// The flags of C that are flags here too.
fn flags(flags: u32) -> GpuBuddyAllocFlags {
    let mut set = GpuBuddyAllocFlags::default();
    for (of_c, flag) in [
        (CONTIGUOUS, GpuBuddyAllocFlag::Contiguous),
        (CLEAR, GpuBuddyAllocFlag::Clear),
        (TRIM_DISABLE, GpuBuddyAllocFlag::TrimDisable),
    ] {
        if flags & of_c != 0 {
            set |= flag;
        }
    }
    set
}

impl Manager {
    fn base(&self) -> u64 {
        self.buddy.base_offset()
    }

    fn new_list(&self, request: &Request) -> Result<List> {
        let range = request.start..request.end;
        let exact = request.start.checked_add(request.size) == Some(request.end);
        if exact
            && request.flags == RANGE
            && request.min == self.buddy.chunk_size().as_usize() as u64
        {
            return KBox::pin_init(self.buddy.reserve(range), GFP_KERNEL).map(List::new);
        }
        let mode = if request.flags & RANGE != 0 {
            GpuBuddyAllocMode::Range(range)
        } else if request.flags & TOPDOWN != 0 {
            GpuBuddyAllocMode::TopDown
        } else {
            GpuBuddyAllocMode::Simple
        };
        let init = self.buddy.alloc_blocks(
            mode,
            request.size,
            alignment(request.min),
            flags(request.flags),
        );
        KBox::pin_init(init, GFP_KERNEL).map(List::new)
    }
}

impl Backend for Manager {
    type List = List;

    const BINDING: bool = true;

    fn new(base: u64, size: u64, chunk: u64) -> Result<Self> {
        let buddy = GpuBuddy::new(GpuBuddyParams {
            base_offset: base,
            size,
            chunk_size: alignment(chunk),
        })?;
        assert_eq!(buddy.base_offset(), base);
        assert_eq!(buddy.chunk_size(), alignment(chunk));
        assert_eq!(buddy.size(), size / chunk * chunk);
        Ok(Self {
            buddy: ManuallyDrop::new(buddy),
            mm: latest_gpu_buddy(),
        })
    }

    fn raw(&mut self) -> *mut bindings::gpu_buddy {
        self.mm
    }

    fn avail(&mut self) -> (u64, u64) {
        // SAFETY: The allocator is valid, and used by this thread alone.
        (self.buddy.avail(), unsafe { (*self.mm).clear_avail })
    }

    fn alloc(&mut self, request: &Request, onto: Option<&mut List>) -> Result<Option<List>> {
        let mut list = self.new_list(request)?;
        let Some(onto) = onto else {
            return Ok(Some(list));
        };
        onto.blocks().append(list.blocks())?;
        assert!(list.0.is_empty());
        Ok(None)
    }

    fn blocks(&mut self, list: &List) -> Vec<Block> {
        let blocks = &**list.0;
        let block = |block: gpu_buddy::gpu::buddy::AllocatedBlock<'_>| {
            assert_eq!(
                block.size(),
                (self.buddy.chunk_size().as_usize() as u64) << block.order()
            );
            Block {
                offset: block.offset() - self.base(),
                size: block.size(),
                clear: block.is_clear(),
            }
        };
        let found: Vec<_> = blocks.iter().map(block).collect();

        assert_eq!(blocks.is_empty(), found.is_empty());
        found
    }

    fn free(&mut self, mut list: List, cleared: bool) {
        if cleared {
            list.blocks().free_cleared();
            assert!(list.0.is_empty());
        }
    }

    fn append(&mut self, to: &mut List, mut from: List) {
        to.blocks().append(from.blocks()).expect("one allocator");
        assert!(from.0.is_empty());
    }
}
