// SPDX-License-Identifier: GPL-2.0

//! The C allocator as C code uses it, without the binding.

use super::{backend::OnlyInC, Backend, Block, Give, Request, CLEARED};
use kernel::{
    bindings,
    error::{to_result, Result},
};
use std::{
    ops::Range,
    ptr::{null_mut, NonNull},
};

/// A list of allocated blocks.
pub struct List(NonNull<bindings::list_head>);

impl List {
    fn new() -> Self {
        let head = NonNull::from(Box::leak(Box::default()));
        // SAFETY: The head is valid.
        unsafe { bindings::INIT_LIST_HEAD(head.as_ptr()) };
        Self(head)
    }

    fn head(&self) -> *mut bindings::list_head {
        self.0.as_ptr()
    }

    /// Takes blocks off.
    fn take(&mut self, range: Range<usize>) -> Self {
        let (taken, rest) = (Self::new(), Self::new());
        // SAFETY: The lists are valid.
        unsafe {
            bindings::host_buddy_split_off(self.head(), range.end, rest.head());
            bindings::host_buddy_split_off(self.head(), range.start, taken.head());
            bindings::host_buddy_split_off(rest.head(), 0, self.head());
        }
        taken
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: The head is from a box. What is on the list is somebody else's affair.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// An allocator.
pub struct Manager(Box<bindings::gpu_buddy>);

impl Manager {
    fn call_alloc(&mut self, request: &Request, list: &List) -> Result {
        // SAFETY: The allocator and the list are valid.
        to_result(unsafe {
            bindings::gpu_buddy_alloc_blocks(
                self.raw(),
                request.start,
                request.end,
                request.size,
                request.min,
                list.head(),
                request.flags as usize,
            )
        })
    }

    fn free_list(&mut self, list: &List, cleared: bool) {
        let flags = if cleared { CLEARED } else { 0 };
        // SAFETY: The blocks of the list are from this allocator.
        unsafe { bindings::gpu_buddy_free_list(self.raw(), list.head(), flags) };
    }
}

impl Backend for Manager {
    type List = List;

    const BINDING: bool = false;

    fn new(_base: u64, size: u64, chunk: u64) -> Result<Self> {
        let mut mm = Box::<bindings::gpu_buddy>::default();
        // SAFETY: The memory is valid and stays where it is.
        to_result(unsafe { bindings::gpu_buddy_init(&mut *mm, size, chunk) })?;
        Ok(Self(mm))
    }

    fn raw(&mut self) -> *mut bindings::gpu_buddy {
        &mut *self.0
    }

    fn avail(&mut self) -> (u64, u64) {
        (self.0.avail, self.0.clear_avail)
    }

    fn alloc(&mut self, request: &Request, onto: Option<&mut List>) -> Result<Option<List>> {
        if let Some(list) = onto {
            return self.call_alloc(request, list).map(|()| None);
        }
        let list = List::new();
        let result = self.call_alloc(request, &list);
        let left = self.blocks(&list);
        assert!(
            result.is_ok() || left.is_empty(),
            "a failure leaves {left:x?}"
        );
        result.map(|()| Some(list))
    }

    fn blocks(&mut self, list: &List) -> Vec<Block> {
        let mut found = vec![Default::default(); 8];
        let count = loop {
            // SAFETY: The list is valid, or this is what the test finds out.
            let count = unsafe {
                bindings::host_buddy_blocks(list.head(), found.as_mut_ptr(), found.len())
            };
            match usize::try_from(count) {
                Ok(count) => break count,
                Err(_) => assert!(found.len() < 1 << 16, "no list of allocated blocks"),
            }
            found.resize(found.len() * 8, Default::default());
        };
        let block = |leaf: &bindings::host_buddy_leaf| Block {
            offset: leaf.offset,
            size: self.0.chunk_size << leaf.order,
            clear: leaf.clear,
        };
        found[..count].iter().map(block).collect()
    }

    fn free(&mut self, list: List, cleared: bool) {
        self.free_list(&list, cleared);
        assert!(self.blocks(&list).is_empty(), "the list is empty now");
    }

    fn append(&mut self, to: &mut List, from: List) {
        // SAFETY: The lists are valid.
        unsafe { bindings::host_buddy_split_off(from.head(), 0, to.head()) };
    }

    fn only_in_c(&mut self) -> Option<&mut dyn OnlyInC<List>> {
        Some(self)
    }
}

impl OnlyInC<List> for Manager {
    fn free_one(&mut self, list: &mut List, at: usize, give: Give) {
        if give == Give::AsItIs {
            // SAFETY: The blocks of the list are from this allocator, and there are more than `at`.
            unsafe {
                let block = bindings::host_buddy_nth(list.head(), at);
                bindings::host_list_del(&raw mut (*block).__bindgen_anon_1.link);
                bindings::gpu_buddy_free_block(self.raw(), block);
            }
        } else {
            let one = list.take(at..at + 1);
            self.free_list(&one, give == Give::Cleared);
        }
    }

    fn trim(&mut self, list: &mut List, start: Option<u64>, size: u64) -> Result {
        let mut start = start;
        let start = start.as_mut().map_or(null_mut(), |start| start as *mut _);
        // SAFETY: The blocks of the list are from this allocator.
        to_result(unsafe { bindings::gpu_buddy_block_trim(self.raw(), start, size, list.head()) })
    }

    fn split_off(&mut self, list: &mut List, at: usize) -> List {
        list.take(at..usize::MAX)
    }

    fn reset_clear(&mut self, clear: bool) {
        // SAFETY: The allocator is valid.
        unsafe { bindings::gpu_buddy_reset_clear(self.raw(), clear) };
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // It may be broken; this is about what was found first.
            return;
        }
        // SAFETY: The allocator is valid, and nobody uses it from here on.
        unsafe { bindings::gpu_buddy_fini(self.raw()) };
    }
}
