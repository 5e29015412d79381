// SPDX-License-Identifier: GPL-2.0

//! Operations on an allocator, run against a map of all its chunks as the oracle.
//!
//! The model test and the fuzz target share this file: the first draws operations at random, the
//! second has a fuzzer choose them.
//!
//! After each operation the C allocator is looked at from the inside, and what is found has to be
//! what the oracle says, chunk for chunk. Where the documentation is exact, so is the oracle: a
//! request fails if and only if there is no room for it.

pub mod backend;
pub mod binding;
pub mod c;
pub mod inside;
pub mod map;

use arbitrary::{Arbitrary, Unstructured};
use backend::Backend;
use inside::{Inside, Leaf};
use kernel::{bindings, error::code::*, host};
use map::{Map, State};
use std::ops::Range;

pub const RANGE: u32 = bindings::GPU_BUDDY_RANGE_ALLOCATION as u32;
pub const TOPDOWN: u32 = bindings::GPU_BUDDY_TOPDOWN_ALLOCATION as u32;
pub const CONTIGUOUS: u32 = bindings::GPU_BUDDY_CONTIGUOUS_ALLOCATION as u32;
pub const CLEAR: u32 = bindings::GPU_BUDDY_CLEAR_ALLOCATION as u32;
pub const CLEARED: u32 = bindings::GPU_BUDDY_CLEARED;
pub const TRIM_DISABLE: u32 = bindings::GPU_BUDDY_TRIM_DISABLE as u32;

/// Whether a power of two below the alignment is not rounded up: its block is aligned, but no larger
/// than that.
pub const SMALL_ALIGNED: bool = bindings::HOST_BUDDY_IS_AUGMENTED != 0;

/// The size of the smallest block that a request can get, apart from pieces of a block.
pub fn unit(size: u64, min: u64) -> u64 {
    match SMALL_ALIGNED && size.is_power_of_two() {
        true => size.min(min),
        false => min,
    }
}

/// How many blocks of `unit` that start at multiples of `min` there are between two bounds.
pub fn blocks_between(start: u64, end: u64, unit: u64, min: u64) -> u64 {
    let first = start.next_multiple_of(min);
    match end.checked_sub(first + unit) {
        Some(more) => more / min + 1,
        None => 0,
    }
}

/// How many allocations are held at most.
const MAX_HELD: usize = 96;

/// What allocator there is.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Config {
    /// Chooses the size of a chunk.
    chunk: u8,
    /// The number of chunks; mostly no power of two.
    chunks: u16,
    /// Makes one of eight allocators a huge one.
    huge: u8,
    /// Bytes beyond the last chunk.
    rest: u16,
    /// Where the range starts, which only the binding knows.
    base: u16,
    /// Starts every other allocator with clear stripes between dirty ones.
    stripes: u8,
}

impl Config {
    /// The size of a chunk, as a power of two.
    fn chunk_log(self) -> u32 {
        [12, 12, 12, 13, 16, 21][usize::from(self.chunk) % 6]
    }

    /// Where the range starts, in chunks: often at an even number of them.
    fn base(self) -> u64 {
        u64::from(self.base) << (self.base % 12) & !0xff
    }

    /// By how much sizes are shifted: 0, or enough to have far more than 2^32 chunks.
    fn shift(self) -> u32 {
        match self.huge % 8 {
            7 => 50 - self.chunk_log() - u32::from(self.huge / 64),
            _ => 0,
        }
    }

    /// The number of chunks.
    fn chunks(self) -> u64 {
        let chunks = u64::from(self.chunks % 320) + 1;
        match self.shift() {
            0 => chunks,
            // Some bits at the lower end, so that there are many roots.
            shift => (chunks % 48 + 1) << shift | (chunks & 0x15),
        }
    }
}

/// A number of chunks or a place, of which small ones are as likely as large ones.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Amount {
    bits: u8,
    value: u16,
    round: bool,
}

impl Amount {
    /// The amount, less than `limit` or 0.
    fn below(self, limit: u64, shift: u32) -> u64 {
        let bits = u32::from(self.bits) % 10;
        let value = u64::from(self.value) & ((1 << bits) - 1);
        let value = match shift {
            0 => value,
            _ if self.round => value << shift,
            // A number of bits anywhere.
            _ => value << (u32::from(self.value) % (shift + 6)),
        };
        value % limit.max(1)
    }
}

/// Where memory is wanted.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Where {
    /// Anywhere.
    Any,
    /// As high as possible.
    Top,
    /// In a range.
    Range { start: Amount, len: Amount },
    /// Exactly there.
    Exact { start: Amount },
}

/// How a block is given back.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Give {
    /// Cleared by its user.
    Cleared,
    /// Not cleared.
    Dirty,
    /// As it was allocated, which C calls can do with a single block.
    AsItIs,
}

/// Lets an allocation of memory fail, which one of four operations does.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Fail(u8);

impl Fail {
    fn nth(self) -> usize {
        match self.0 {
            0..=191 => 0,
            n => usize::from(n) % 16 + 1,
        }
    }
}

/// An allocation, into a list that has blocks already if `onto` says so.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Alloc {
    place: Where,
    size: Amount,
    min: u8,
    contiguous: bool,
    clear: bool,
    no_trim: u8,
    /// Makes every other request for large blocks one for all of them.
    most: u8,
    onto: u8,
    fail: Fail,
}

/// One operation. Numbers of allocations and blocks are taken modulo what there is.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Op {
    /// Allocates.
    Alloc(Alloc),
    /// A request that makes no sense, mostly.
    Malformed {
        start: u16,
        end: u16,
        size: u16,
        min: u16,
        flags: u8,
    },
    /// Gives an allocation back.
    Free { held: u8, cleared: bool },
    /// Gives one block of an allocation back.
    FreeOne { held: u8, block: u8, give: Give },
    /// Gives back what lies outside of a part.
    Trim {
        held: u8,
        start: Option<Amount>,
        size: Amount,
        fail: Fail,
    },
    /// Makes two allocations of one.
    SplitOff { held: u8, at: u8 },
    /// Makes one allocation of two.
    Append { to: u8, from: u8 },
    /// Declares what is free clear, or dirty.
    ResetClear { clear: bool, really: u8 },
}

/// What C is asked for, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub start: u64,
    pub end: u64,
    pub size: u64,
    pub min: u64,
    pub flags: u32,
}

/// An allocated block, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub offset: u64,
    pub size: u64,
    pub clear: bool,
}

/// What a request has to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// It would not fit if all memory were free; only the binding distinguishes this.
    NeverFits,
    /// It makes no sense.
    Invalid,
    /// There is no room.
    NoRoom,
    /// There is room.
    Room,
}

/// Declares the counters once.
macro_rules! tally {
    ($($name:ident),* $(,)?) => {
        /// How often something of consequence happened, so that a test can tell that it tested
        /// something.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Tally {
            $(pub $name: usize,)*
        }

        impl Tally {
            /// Adds another one.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// All counters, with their names.
            pub fn of_consequence(&self) -> impl Iterator<Item = (&'static str, usize)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

tally!(
    operations,
    allocated,
    blocks,
    in_range,
    exact,
    contiguous,
    contiguous_of_several,
    clear_blocks,
    no_room,
    no_memory,
    forced_merges,
    trimmed,
    given_back,
    resets,
    huge,
);

/// An allocation.
struct Held<L> {
    list: L,
    blocks: Vec<Block>,
}

/// An allocator, the oracle, and what is allocated.
pub struct Driver<B: Backend> {
    mm: B,
    inside: Inside,
    map: Map,
    held: Vec<Held<B::List>>,
    chunk: u64,
    base: u64,
    shift: u32,
    live_before: isize,
    /// What happened so far.
    pub tally: Tally,
}

impl<B: Backend> Driver<B> {
    /// A fresh allocator.
    pub fn new(config: Config) -> Self {
        let live_before = host::live_objects();
        let chunk = 1 << config.chunk_log();
        let (base, size) = (config.base() * chunk, config.chunks() * chunk);
        let rest = u64::from(config.rest) % chunk;
        let mut mm = B::new(base, size + rest, chunk).expect("an allocator");
        let inside = inside(&mut mm);
        let mut map = Map::default();
        map.push(config.chunks(), State::Dirty);
        let mut driver = Self {
            mm,
            inside,
            map,
            held: Vec::new(),
            chunk,
            base,
            shift: config.shift(),
            live_before,
            tally: Tally::default(),
        };
        driver.check(&[]);
        if config.stripes.is_multiple_of(2) && config.shift() == 0 {
            driver.clear_stripes(1 << (config.stripes / 2 % 4));
        }
        driver
    }

    /// Clears every other stripe of this many chunks.
    fn clear_stripes(&mut self, width: u64) {
        let mut start = width;
        while start + width <= self.chunks() {
            let request = Request {
                start: start * self.chunk,
                end: (start + width) * self.chunk,
                size: width * self.chunk,
                min: self.chunk,
                flags: RANGE,
            };
            self.alloc(&request, None, Fail(0));
            self.free(0, true);
            start += 2 * width;
        }
    }

    /// Runs one operation and checks everything.
    pub fn run(&mut self, op: &Op) {
        self.tally.operations += 1;
        self.tally.huge += usize::from(self.shift != 0);
        match *op {
            Op::Alloc(ref alloc) => self.alloc_op(alloc),
            Op::Malformed {
                start,
                end,
                size,
                min,
                flags,
            } => self.malformed([start, end, size, min], flags),
            Op::Free { held, cleared } => self.free(held, cleared),
            Op::Append { to, from } => self.append(to, from),
            Op::FreeOne { held, block, give } => self.free_one(held, block, give),
            Op::Trim {
                held,
                start,
                size,
                fail,
            } => self.trim(held, start, size, fail),
            Op::SplitOff { held, at } => self.split_off(held, at),
            Op::ResetClear { clear, really } if really % 8 == 0 => self.reset_clear(clear),
            Op::ResetClear { .. } => (),
        }
        if self.held.len() > MAX_HELD {
            self.free(0, false);
        }
    }

    fn alloc_op(&mut self, alloc: &Alloc) {
        let mut request = self.request(alloc.place, alloc.size, alloc.min);
        for (on, flag) in [
            (alloc.contiguous, CONTIGUOUS),
            (alloc.clear, CLEAR),
            (alloc.no_trim.is_multiple_of(8), TRIM_DISABLE),
        ] {
            request.flags |= if on { flag } else { 0 };
        }
        let large = request.flags & CONTIGUOUS == 0 && request.min > self.chunk;
        if large && alloc.most.is_multiple_of(2) {
            let (start, end) = (request.start / self.chunk, request.end / self.chunk);
            let min = request.min / self.chunk;
            let most = self.map.blocks(start..end, min, min) * request.min;
            request.size = most.max(request.size);
        }
        let onto = alloc.onto.is_multiple_of(8).then_some(alloc.onto / 8);
        self.alloc(&request, onto, alloc.fail);
    }

    fn chunks(&self) -> u64 {
        self.map.len()
    }

    fn request(&self, place: Where, size: Amount, min: u8) -> Request {
        let (all, shift, chunk) = (self.chunks(), self.shift, self.chunk);
        let size = size.below(all, shift) + 1;
        // Every order, small ones more often.
        let orders = all.ilog2() + 1;
        let min = match min % 4 {
            0 | 1 => 0,
            2 => u32::from(min / 4) % orders.min(4),
            _ => u32::from(min / 4) % orders,
        };
        let (start, end, flags) = match place {
            Where::Any => (0, all, 0),
            Where::Top => (0, all, TOPDOWN),
            Where::Range { start, len } => {
                let start = start.below(all, shift);
                let len = len.below(all - start, shift) + 1;
                (start, start + len, RANGE)
            }
            Where::Exact { start } => {
                let start = start.below(all - size + 1, shift);
                (start, start + size, RANGE)
            }
        };
        Request {
            start: start * chunk,
            end: end * chunk,
            size: size * chunk,
            min: chunk << min,
            flags,
        }
    }

    /// A request in halves of chunks.
    fn malformed(&mut self, numbers: [u16; 4], flags: u8) {
        let [start, end, size, min] = numbers.map(u64::from);
        let half = self.chunk / 2;
        let flags = u32::from(flags) & (CONTIGUOUS | CLEAR | TRIM_DISABLE | TOPDOWN | RANGE);
        let mut request = Request {
            start: start % 512 * half,
            end: end % 512 * half,
            size: size % 64 * half,
            min: min % 8 * half,
            flags,
        };
        if B::BINDING {
            // What the types do not let anybody say.
            request.min = request.min.max(1).next_power_of_two();
            if flags & RANGE == 0 {
                (request.start, request.end) = (0, self.chunks() * self.chunk);
            } else {
                request.flags &= !TOPDOWN;
            }
        }
        self.alloc(&request, None, Fail(0));
    }

    /// What a request has to come to.
    fn expected(&self, request: &Request) -> Expected {
        let Request {
            start,
            end,
            size,
            min,
            flags,
        } = *request;
        let (chunk, total) = (self.chunk, self.chunks() * self.chunk);
        let aligned = (start | end | size) % chunk == 0;
        if size < chunk || min < chunk || !min.is_power_of_two() || !aligned {
            return Expected::Invalid;
        }
        let (in_range, contiguous) = (flags & RANGE != 0, flags & CONTIGUOUS != 0);
        let rounded = if contiguous {
            size
        } else {
            size.next_multiple_of(unit(size, min))
        };
        if B::BINDING && (start >= end || end > total || !self.base.is_multiple_of(min)) {
            return Expected::Invalid;
        }
        if !B::BINDING && (end > total || start + size > total) {
            return Expected::Invalid;
        }
        let fits = || {
            let start = start.checked_next_multiple_of(min)?;
            Some(start.checked_add(rounded)? <= end)
        };
        if B::BINDING && fits() != Some(true) {
            return Expected::NeverFits;
        }
        let room = |yes: bool| {
            if yes {
                Expected::Room
            } else {
                Expected::NoRoom
            }
        };

        if start + size == end {
            let bounds = if contiguous { start } else { start | end };
            if bounds % min != 0 {
                return Expected::Invalid;
            }
            let used = self
                .map
                .count_in(start / chunk..end / chunk, State::Allocated);
            return room(used == 0);
        }
        if !contiguous && rounded > total {
            return Expected::Invalid;
        }
        let range = if in_range {
            // C takes no end for no limit.
            let end = if end == 0 { total } else { end };
            start / chunk..(end / chunk).max(start / chunk)
        } else {
            0..self.chunks()
        };
        let (size, min) = (size / chunk, min / chunk);
        if contiguous {
            room(self.map.has_stretch(range, size, min))
        } else {
            let unit = unit(size, min);
            room(self.map.blocks(range, unit, min) >= size.div_ceil(unit))
        }
    }

    fn alloc(&mut self, request: &Request, onto: Option<u8>, fail: Fail) {
        let expected = self.expected(request);
        let onto = onto.and_then(|held| self.nth(held));
        let mut held = onto.map(|n| &mut self.held[n]);
        let list = held.as_mut().map(|held| &mut held.list);
        let (result, failed) = failing(fail, || self.mm.alloc(request, list));
        let (fresh, error) = match result {
            Ok(fresh) => (fresh, None),
            Err(error) => (None, Some(error)),
        };

        let mut blocks = match (&fresh, &held) {
            (Some(list), _) => self.mm.blocks(list),
            (None, Some(held)) => self.mm.blocks(&held.list),
            (None, None) => Vec::new(),
        };
        if let Some(held) = held {
            let new = blocks.split_off(held.blocks.len().min(blocks.len()));
            assert_eq!(blocks, held.blocks, "what was on the list is there, first");
            blocks = new;
        }
        if let Some(error) = error {
            assert!(blocks.is_empty(), "{error:?} leaves {blocks:x?}");
            let right = match expected {
                _ if failed => error == ENOMEM,
                Expected::NeverFits => error == E2BIG,
                Expected::Invalid => error == EINVAL,
                Expected::NoRoom => error == ENOSPC,
                Expected::Room => false,
            };
            assert!(
                right,
                "{error:?} for {request:x?}, which is {expected:?} in {:x?}",
                self.map
            );
            self.tally.no_room += usize::from(error == ENOSPC);
            self.tally.no_memory += usize::from(error == ENOMEM);
        } else {
            assert!(!failed, "without memory, {request:x?} cannot be met");
            assert_eq!(expected, Expected::Room, "{request:x?} is met");
            self.check_blocks(request, &blocks);
            self.check_merged(request, &blocks);
        }

        self.take(&blocks);
        self.check(&[]);
        match (onto, fresh) {
            (Some(n), _) => self.held[n].blocks.extend(blocks),
            (None, Some(list)) => self.held.push(Held { list, blocks }),
            (None, None) => (),
        }
    }

    /// Checks what a request was met with.
    fn check_blocks(&mut self, request: &Request, blocks: &[Block]) {
        let Request {
            start,
            end,
            size,
            min,
            flags,
        } = *request;
        let exact = start + size == end;
        let (in_range, contiguous) = (flags & RANGE != 0, flags & CONTIGUOUS != 0);
        let end = if end == 0 { u64::MAX } else { end };
        let total: u64 = blocks.iter().map(|block| block.size).sum();
        if flags & TRIM_DISABLE == 0 || exact {
            assert_eq!(total, size, "bytes for {request:x?}");
        } else if contiguous {
            // What cannot be had in one block is not rounded up.
            let block = size.next_power_of_two();
            assert!(
                [size, block, block.max(min)].contains(&total),
                "{total:#x} bytes for {request:x?}"
            );
        } else {
            let rounded = size.next_multiple_of(unit(size, min));
            assert_eq!(total, rounded, "bytes for {request:x?}");
        }

        for block in blocks {
            let range = self.range(block);
            assert_eq!(block.offset % block.size, 0, "{block:x?} is not aligned");
            assert_eq!(
                self.map.count_in(range.clone(), State::Allocated),
                0,
                "{block:x?} is not free"
            );
            assert!(
                !block.clear || self.map.all(range, State::Clear),
                "{block:x?} is not clear"
            );
            assert!(
                !(in_range || exact) || start <= block.offset && block.offset + block.size <= end,
                "{block:x?} is not in the range"
            );
            assert!(
                !exact || contiguous || block.size >= min,
                "{block:x?} for {request:x?}"
            );
        }

        // A block that is smaller than asked for is a piece of a larger one, whose start is
        // aligned, and follows on the piece before it.
        let mut end_before = None;
        for block in blocks {
            let follows = end_before == Some(block.offset);
            assert!(
                follows || block.offset % min == 0,
                "{blocks:x?} for {request:x?}"
            );
            assert!(
                follows || end_before.is_none() || !contiguous && !exact,
                "{blocks:x?} are not contiguous, or not in order"
            );
            end_before = Some(block.offset + block.size);
        }

        if !in_range && !exact {
            self.check_choice(request, blocks);
        }
        self.tally.allocated += 1;
        self.tally.blocks += blocks.len();
        self.tally.exact += usize::from(exact);
        self.tally.in_range += usize::from(in_range && !exact);
        self.tally.contiguous += usize::from(contiguous);
        self.tally.contiguous_of_several += usize::from(contiguous && blocks.len() > 1);
        self.tally.clear_blocks += blocks.iter().filter(|block| block.clear).count();
    }

    /// Checks which free block was chosen, where a single one does: of the preferred kind if there
    /// is one, else of the other kind; from the top, the highest; else the smallest that will do,
    /// and of these the highest.
    fn check_choice(&self, request: &Request, blocks: &[Block]) {
        let [block] = blocks else { return };
        if block.size != request.size || block.size < unit(request.size, request.min) {
            return;
        }
        let (size, min) = (block.size / self.chunk, request.min / self.chunk);
        let top = request.flags & TOPDOWN != 0;
        let choose = |clear: bool| {
            let free = |leaf: &&Leaf| !leaf.allocated && leaf.clear == clear && leaf.size >= size;
            let aligned = |leaf: &&Leaf| leaf.start.is_multiple_of(min);
            let kind = self.inside.leaves.iter().filter(free).filter(aligned);
            kind.max_by_key(|leaf| (if top { 0 } else { u64::MAX - leaf.size }, leaf.start))
        };
        let clear = request.flags & CLEAR != 0;
        if let Some(leaf) = choose(clear).or_else(|| choose(!clear)) {
            let start = (leaf.start + leaf.size - size) / min * min;
            assert_eq!(
                (block.offset / self.chunk, block.clear),
                (start, leaf.clear),
                "the choice for {request:x?}"
            );
        }
    }

    /// Checks that clear memory was merged with dirty memory only for blocks that the request needs
    /// and that are not free without it. That nothing else was merged is what the map says.
    fn check_merged(&mut self, request: &Request, blocks: &[Block]) {
        let dirty = blocks.iter().filter(|block| !block.clear);
        let lost: u64 = dirty
            .map(|block| self.map.count_in(self.range(block), State::Clear))
            .sum();
        if lost == 0 {
            return;
        }
        let (size, min) = (request.size / self.chunk, request.min / self.chunk);
        let end = if request.end == 0 {
            u64::MAX
        } else {
            request.end
        };
        let exact = request.start + request.size == request.end;
        let range = if exact || request.flags & RANGE != 0 {
            request.start / self.chunk..end / self.chunk
        } else {
            0..u64::MAX
        };
        let free = self.inside.leaves.iter().filter(|leaf| !leaf.allocated);
        let unit = unit(size, min);
        let ready: u64 = free
            .map(|leaf| {
                let end = (leaf.start + leaf.size).min(range.end);
                blocks_between(leaf.start.max(range.start), end, unit, min)
            })
            .sum();
        let merged = size.div_ceil(unit).saturating_sub(ready) * unit;
        assert!(
            request.flags & CONTIGUOUS == 0 && lost <= merged,
            "{lost} clear chunks are dirty in {blocks:x?} for {request:x?}"
        );
        self.tally.forced_merges += 1;
    }

    fn range(&self, block: &Block) -> Range<u64> {
        block.offset / self.chunk..(block.offset + block.size) / self.chunk
    }

    /// Marks blocks as allocated.
    fn take(&mut self, blocks: &[Block]) {
        for block in blocks {
            self.map.set(self.range(block), State::Allocated);
        }
    }

    /// Marks blocks as free.
    fn give(&mut self, blocks: &[Block], clear: bool) {
        let state = if clear { State::Clear } else { State::Dirty };
        for block in blocks {
            self.map.set(self.range(block), state);
        }
    }

    fn nth(&self, held: u8) -> Option<usize> {
        usize::from(held).checked_rem(self.held.len())
    }

    fn free(&mut self, held: u8, cleared: bool) {
        let Some(n) = self.nth(held) else { return };
        let Held { list, blocks } = self.held.swap_remove(n);
        self.mm.free(list, cleared);
        self.give(&blocks, cleared);
        self.check(&[]);
    }

    fn free_one(&mut self, held: u8, block: u8, give: Give) {
        let Some(n) = self.nth(held) else { return };
        let held = &mut self.held[n];
        let Some(at) = usize::from(block).checked_rem(held.blocks.len()) else {
            return;
        };
        let Some(c) = self.mm.only_in_c() else {
            return;
        };
        let block = held.blocks.remove(at);
        c.free_one(&mut held.list, at, give);
        let cleared = give == Give::Cleared || give == Give::AsItIs && block.clear;
        self.give(&[block], cleared);
        self.tally.given_back += 1;
        self.check(&[n]);
    }

    fn trim(&mut self, held: u8, start: Option<Amount>, size: Amount, fail: Fail) {
        let Some(n) = self.nth(held) else { return };
        let (chunk, shift) = (self.chunk, self.shift);
        let held = &mut self.held[n];
        let before = held.blocks.clone();
        let first = before.first().copied();
        let (offset, whole) = first.map_or((0, 0), |block| (block.offset, block.size));
        // Mostly a part of the block, sometimes not.
        let size = size.below(whole / chunk + 2, shift) * chunk;
        let at = start.map(|start| offset + start.below(whole / chunk + 1, shift) * chunk);
        let from = at.unwrap_or(offset);
        let valid = before.len() == 1 && size != 0 && from + size <= offset + whole;
        // C has nothing to do then, wherever it is to start.
        let nothing = before.len() == 1 && size == whole;
        let (from, valid) = if nothing {
            (offset, true)
        } else {
            (from, valid)
        };

        let Some(c) = self.mm.only_in_c() else {
            return;
        };
        let (result, failed) = failing(fail, || c.trim(&mut held.list, at, size));
        let left = self.mm.blocks(&held.list);
        match result {
            Ok(()) => {
                assert!(valid && !failed, "a trim to {size:#x} at {at:x?}");
                let mut end = from;
                for block in &left {
                    assert_eq!(block.offset, end, "in ascending order, without gaps");
                    assert_eq!(block.offset % block.size, 0, "{block:x?} is not aligned");
                    assert_eq!(Some(block.clear), first.map(|first| first.clear));
                    end += block.size;
                }
                assert_eq!(end, from + size, "what is left");
                let clear = first.is_some_and(|first| first.clear);
                self.give(&before, clear);
                self.take(&left);
                self.tally.trimmed += usize::from(size != whole);
            }
            Err(error) => {
                assert_eq!(error, if failed { ENOMEM } else { EINVAL });
                assert!(failed || !valid, "{before:x?} to {size:#x} at {at:x?}");
                assert_eq!(left, before, "a failed trim changes nothing");
                self.tally.no_memory += usize::from(failed);
            }
        }
        self.held[n].blocks = left;
        self.check(&[n]);
    }

    fn split_off(&mut self, held: u8, at: u8) {
        let Some(n) = self.nth(held) else { return };
        let held = &mut self.held[n];
        let at = usize::from(at) % (held.blocks.len() + 2);
        let Some(c) = self.mm.only_in_c() else {
            return;
        };
        let list = c.split_off(&mut held.list, at);
        let blocks = held.blocks.split_off(at.min(held.blocks.len()));
        self.held.push(Held { list, blocks });
        self.check(&[n, self.held.len() - 1]);
    }

    fn append(&mut self, to: u8, from: u8) {
        let (Some(to), Some(from)) = (self.nth(to), self.nth(from)) else {
            return;
        };
        if to == from {
            return;
        }
        let Held { list, blocks } = self.held.swap_remove(from);
        // The last one went to where the other one was.
        let to = if to == self.held.len() { from } else { to };
        self.mm.append(&mut self.held[to].list, list);
        self.held[to].blocks.extend(blocks);
        self.check(&[to]);
    }

    /// Merges all memory, which is free, by allocating it and freeing it as dirty.
    fn merge_all(&mut self) {
        let request = Request {
            start: 0,
            end: self.chunks() * self.chunk,
            size: self.chunks() * self.chunk,
            min: self.chunk,
            flags: 0,
        };
        self.alloc(&request, None, Fail(0));
        self.free(0, false);
    }

    fn reset_clear(&mut self, clear: bool) {
        let Some(c) = self.mm.only_in_c() else {
            return;
        };
        c.reset_clear(clear);
        self.map
            .set_free(if clear { State::Clear } else { State::Dirty });
        self.tally.resets += 1;
        self.check(&[]);
    }

    /// Checks the allocator, and those allocations that were touched.
    fn check(&mut self, touched: &[usize]) {
        assert_eq!(map(self.inside.look()), self.map, "the chunks");
        self.check_counters();
        assert_eq!(host::take_warnings(), 0, "warnings");
        for n in touched {
            let Held { list, blocks } = &self.held[*n];
            assert_eq!(&self.mm.blocks(list), blocks, "an allocation");
        }
    }

    /// Checks what the allocator tells of itself.
    fn check_counters(&mut self) {
        let clear = self.map.count(State::Clear);
        let free = self.map.count(State::Dirty) + clear;
        let chunk = self.chunk;
        assert_eq!(self.mm.avail(), (free * chunk, clear * chunk), "counters");
    }

    /// Frees all and checks that the allocator is as it was, and that nothing leaks.
    pub fn finish(mut self) -> Tally {
        while !self.held.is_empty() {
            let cleared = self.held.len().is_multiple_of(2);
            self.free(0, cleared);
        }
        self.merge_all();
        let roots = self.chunks().count_ones() as usize;
        assert_eq!(self.inside.leaves.len(), roots, "a block for each root");
        let (tally, live_before) = (self.tally, self.live_before);
        drop(self);
        assert_eq!(host::take_warnings(), 0, "warnings");
        assert_eq!(host::live_objects(), live_before, "leaked objects");
        tally
    }
}

/// Prepares a look into an allocator.
pub fn inside<B: Backend>(mm: &mut B) -> Inside {
    // SAFETY: The tests use an allocator on one thread, and look at it only while it is there.
    unsafe { Inside::new(mm.raw()) }
}

/// What each chunk is, by the leaves.
pub fn map(leaves: &[Leaf]) -> Map {
    let mut map = Map::default();
    for leaf in leaves {
        assert_eq!(leaf.start, map.len(), "a gap");
        let state = match (leaf.allocated, leaf.clear) {
            (true, _) => State::Allocated,
            (false, true) => State::Clear,
            (false, false) => State::Dirty,
        };
        map.push(leaf.size, state);
    }
    map
}

/// Runs with a failing allocation, and tells whether it came to that.
fn failing<R>(fail: Fail, run: impl FnOnce() -> R) -> (R, bool) {
    host::fail_allocation(fail.nth());
    let result = run();
    let failed = fail.nth() != 0 && host::allocation_to_fail() == 0;
    host::fail_allocation(0);
    (result, failed)
}

/// Draws something from bytes.
pub fn draw<T: for<'a> Arbitrary<'a>>(bytes: &[u8]) -> T {
    T::arbitrary(&mut Unstructured::new(bytes)).expect("enough bytes")
}
