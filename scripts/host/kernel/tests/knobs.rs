// SPDX-License-Identifier: GPL-2.0

//! Tests of the knobs: if a knob had no effect, every test that relies on it would pass.

use kernel::{
    alloc::AllocError,
    bindings, host,
    io::{poll::read_poll_timeout, Io, IoRaw},
    prelude::*,
    rbtree::RBTree,
    sync::{new_mutex, Arc, LockClassKey, Mutex, UniqueArc},
    task::might_sleep,
    time::{
        delay::{fsleep, udelay},
        Delta, Instant, Monotonic,
    },
};
use std::{cell::Cell, thread};

#[test]
fn fail_allocation_fails_exactly_one() {
    host::fail_allocation(2);
    assert!(KBox::new(1u32, GFP_KERNEL).is_ok());
    assert_eq!(KBox::new(2u32, GFP_KERNEL).err(), Some(AllocError));
    assert!(KBox::new(3u32, GFP_KERNEL).is_ok());

    host::fail_allocation(1);
    host::fail_allocation(0);
    assert!(KBox::new(4u32, GFP_KERNEL).is_ok());
}

#[test]
fn live_objects_are_counted() {
    let before = host::live_objects();
    let first = KBox::new([0u8; 100], GFP_KERNEL).unwrap();
    let second = KBox::pin_init(pin_init::init_zeroed::<u64>(), GFP_KERNEL).unwrap();
    // A value without memory is not an object.
    let nothing = KBox::new((), GFP_KERNEL).unwrap();
    assert_eq!(host::live_objects(), before + 2);

    drop((first, nothing));
    assert_eq!(host::live_objects(), before + 1);
    drop(second);
    assert_eq!(host::live_objects(), before);
}

#[test]
fn live_bytes_round_like_kmalloc() -> Result {
    fn taken<T>(make: impl FnOnce() -> Result<T>) -> Result<isize> {
        let before = host::live_bytes();
        let made = make()?;
        let taken = host::live_bytes() - before;
        drop(made);
        assert_eq!(host::live_bytes(), before);
        Ok(taken)
    }

    fn boxed<const SIZE: usize>() -> Result<isize> {
        taken(|| Ok(KBox::<[u8; SIZE]>::new_uninit(GFP_KERNEL)?))
    }

    assert_eq!([boxed::<0>()?, boxed::<1>()?, boxed::<8>()?], [0, 8, 8]);
    assert_eq!([boxed::<9>()?, boxed::<64>()?], [16, 64]);
    assert_eq!(
        [boxed::<65>()?, boxed::<96>()?, boxed::<97>()?],
        [96, 96, 128]
    );
    assert_eq!(
        [boxed::<129>()?, boxed::<192>()?, boxed::<193>()?],
        [192, 192, 256]
    );
    // Larger requests than the largest cache get whole pages.
    assert_eq!([boxed::<8192>()?, boxed::<8193>()?], [8192, 16384]);

    // A growing vector frees its old memory.
    let grown = taken(|| {
        let mut vec = KVec::with_capacity(4, GFP_KERNEL)?;
        vec.push(1u64, GFP_KERNEL)?;
        vec.reserve(11, GFP_KERNEL)?;
        Ok(vec)
    });
    assert_eq!(grown?, 96);

    let before = host::live_bytes();
    host::fail_allocation(1);
    assert!(KBox::new(1u64, GFP_KERNEL).is_err());
    assert_eq!(host::live_bytes(), before);
    Ok(())
}

#[test]
fn live_bytes_include_c_objects() {
    let before = host::live_bytes();
    // SAFETY: Each object is freed once, and the cache is destroyed after its object.
    unsafe {
        let object = bindings::host_kmalloc(100).cast::<[u8; 100]>();
        assert_eq!(*object, [0x5a; 100]);
        assert_eq!(host::live_bytes(), before + 128);
        bindings::host_kfree(object.cast());
        assert_eq!(host::live_bytes(), before);
        bindings::host_kfree(std::ptr::null());

        let cache = bindings::host_cache_create(c"bytes".as_ptr().cast(), 40, 16);
        let object = bindings::host_cache_alloc(cache, false);
        // Slab caches round to the alignment only.
        assert_eq!(host::live_bytes(), before + 48);
        bindings::host_cache_free(cache, object);
        bindings::host_cache_destroy(cache);
        assert!(bindings::host_kmalloc(usize::MAX).is_null());
    }
    assert_eq!(host::live_bytes(), before);
}

#[test]
fn failing_initializer_leaks_nothing() {
    // SAFETY: The closure never succeeds.
    let refuse = unsafe { pin_init::pin_init_from_closure::<u64, Error>(|_| Err(EINVAL)) };
    let before = host::live_objects();
    assert_eq!(KBox::try_pin_init(refuse, GFP_KERNEL).err(), Some(EINVAL));
    assert_eq!(host::live_objects(), before);
}

#[test]
fn fresh_memory_is_poisoned() {
    let empty = KBox::<[u8; 64]>::new_uninit(GFP_KERNEL).unwrap();
    // SAFETY: The allocator has written the memory.
    assert_eq!(*unsafe { empty.assume_init() }, [0x5a; 64]);
}

#[test]
fn slab_objects_are_objects() {
    // SAFETY: The cache is valid until it is destroyed, and has no objects at that point.
    unsafe {
        let cache = bindings::host_cache_create(c"knobs".as_ptr().cast(), 64, 64);
        let before = host::live_objects();
        let object = bindings::host_cache_alloc(cache, false).cast::<[u8; 64]>();
        let zeroed = bindings::host_cache_alloc(cache, true).cast::<[u8; 64]>();
        assert_eq!((*object, *zeroed), ([0x5a; 64], [0; 64]));
        assert_eq!(host::live_objects(), before + 2);

        host::fail_allocation(1);
        assert_eq!(host::allocation_to_fail(), 1);
        assert!(bindings::host_cache_alloc(cache, true).is_null());
        assert_eq!(host::allocation_to_fail(), 0);

        bindings::host_cache_free(cache, object.cast());
        bindings::host_cache_free(cache, zeroed.cast());
        assert_eq!(host::live_objects(), before);
        bindings::host_cache_destroy(cache);
    }
}

#[test]
fn arc_is_dropped_with_last_reference() {
    let before = host::live_objects();
    let inner = KBox::new(7, GFP_KERNEL).unwrap();
    // SAFETY: The closure writes a value.
    let init = unsafe {
        pin_init::pin_init_from_closure::<_, Error>(|slot| {
            std::ptr::write(slot, inner);
            Ok(())
        })
    };
    let first = Arc::pin_init(init, GFP_KERNEL).unwrap();
    let second = first.clone();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(host::live_objects(), before + 2);
    drop(first);
    assert_eq!(**second, 7);
    drop(second);
    assert_eq!(host::live_objects(), before);

    host::fail_allocation(1);
    let result = Arc::pin_init(pin_init::init_zeroed::<u64>(), GFP_KERNEL);
    assert_eq!(result.err(), Some(ENOMEM));
}

/// A trait whose objects are used as `dyn Shape`.
trait Shape: Send + Sync {
    fn sides(&self) -> usize;
}

/// Owns memory, so that a missing drop is detected.
struct Polygon(KVec<u8>);

impl Shape for Polygon {
    fn sides(&self) -> usize {
        self.0.len()
    }
}

fn polygon(sides: usize) -> Result<Polygon> {
    Ok(Polygon(KVec::from_elem(0, sides, GFP_KERNEL)?))
}

#[test]
fn arc_coerces_to_a_trait_object() -> Result {
    let before = host::live_objects();
    let arc = Arc::new(polygon(3)?, GFP_KERNEL)?;
    let shape: Arc<dyn Shape> = arc.clone();
    assert!(Arc::ptr_eq(&shape, &(arc as Arc<dyn Shape>)));
    assert_eq!(shape.sides(), 3);

    let unique = UniqueArc::pin_init(pin_init::init_zeroed::<[u8; 4]>(), GFP_KERNEL)?;
    let slice: Arc<[u8]> = Arc::from(unique);
    assert_eq!(*slice, [0; 4]);

    // The last reference is a trait object, on another thread.
    thread::scope(|scope| {
        let dropped = scope.spawn(move || {
            let before = host::live_objects();
            drop(shape);
            before - host::live_objects()
        });
        // The object and its vector.
        assert_eq!(dropped.join().unwrap(), 2);
    });
    drop(slice);
    // The other thread's counter has the two frees.
    assert_eq!(host::live_objects(), before + 2);
    Ok(())
}

#[test]
fn box_coerces_to_a_trait_object() -> Result {
    let objects = host::live_objects();
    let bytes = host::live_bytes();
    let shapes: [KBox<dyn Shape>; 2] = [
        KBox::new(polygon(3)?, GFP_KERNEL)?,
        KBox::new(polygon(4)?, GFP_KERNEL)?,
    ];
    assert_eq!(shapes.iter().map(|shape| shape.sides()).sum::<usize>(), 7);
    drop(shapes);
    assert_eq!(host::live_objects(), objects);
    assert_eq!(host::live_bytes(), bytes);
    Ok(())
}

#[test]
fn arc_is_unique_with_its_last_reference() -> Result {
    let before = host::live_objects();
    let first = Arc::new(1, GFP_KERNEL)?;
    let second = first.clone();
    assert!(Arc::into_unique_or_drop(first).is_none());
    let mut unique = Arc::into_unique_or_drop(second).ok_or(EINVAL)?;
    *unique += 1;
    let shared = Arc::from(unique);
    assert_eq!((*shared, *shared.clone()), (2, 2));
    drop(shared);
    assert_eq!(host::live_objects(), before);
    Ok(())
}

#[test]
fn mutex_excludes_other_threads() {
    pin_init::stack_pin_init!(let key = LockClassKey::new_dynamic());
    let key: *const LockClassKey = &*key;
    // SAFETY: It outlives the lock.
    let key = Pin::static_ref(unsafe { &*key });
    pin_init::stack_pin_init!(let mutex = Mutex::new(0, c"knobs", key));
    let mutex = mutex.as_ref().get_ref();
    let mut guard = mutex.lock();
    thread::scope(|scope| {
        assert!(scope.spawn(|| mutex.try_lock().is_none()).join().unwrap());
        let other = scope.spawn(|| *mutex.lock());
        *guard = 5;
        drop(guard);
        assert_eq!(other.join().unwrap(), 5);
    });
    assert!(mutex.try_lock().is_some());
}

#[test]
fn box_keeps_alignment() {
    #[repr(align(256))]
    struct Wide(u8);

    let wide = KBox::new(Wide(7), GFP_KERNEL).unwrap();
    assert_eq!(&raw const *wide as usize % 256, 0);
    assert_eq!(wide.0, 7);
}

#[test]
fn warnings_are_counted() {
    host::take_warnings();
    assert!(kernel::warn_on!(1 + 1 == 2));
    assert!(!kernel::warn_on!(1 + 1 == 3));
    assert_eq!(host::take_warnings(), 1);
    assert_eq!(host::take_warnings(), 0);
}

#[test]
fn errors_cross_the_seam() {
    let ptr = ENOMEM.to_ptr::<u8>();
    assert_eq!(kernel::error::from_err_ptr(ptr), Err(ENOMEM));
    assert_eq!(kernel::error::to_result(-22), Err(EINVAL));
}

#[test]
fn fail_all_allocations_during_closure() {
    let asked = host::allocations();
    let result = host::fail_all_allocations(|| {
        let boxed = KBox::new(1u32, GFP_KERNEL).err();
        host::fail_all_allocations(|| ());
        (boxed, KVec::from_elem(1u32, 3, GFP_KERNEL).err())
    });
    assert_eq!(result, (Some(AllocError), Some(AllocError)));
    assert_eq!(host::allocations(), asked + 2);
    assert!(KBox::new(2u32, GFP_KERNEL).is_ok());
}

#[test]
fn vector_keeps_elements() -> Result {
    let before = host::live_objects();
    let mut vec = KVVec::new();
    for i in 0..100u64 {
        vec.push(i, GFP_KERNEL)?;
    }
    assert_eq!(vec.iter().sum::<u64>(), 4950);
    host::fail_allocation(1);
    assert_eq!(vec.reserve(1000, GFP_KERNEL), Err(AllocError));
    assert_eq!(vec[99], 99);
    let zeroed = KBox::<[u8; 64]>::new_uninit(GFP_KERNEL | __GFP_ZERO)?;
    // SAFETY: Zeroes are a valid value.
    assert_eq!(*unsafe { zeroed.assume_init() }, [0; 64]);
    drop(vec);
    assert_eq!(host::live_objects(), before);
    Ok(())
}

#[test]
fn direct_mmio_reaches_handler() -> Result {
    struct Device(Cell<(usize, usize, u64)>);

    impl host::Mmio for Device {
        fn read(&self, address: usize, width: usize) -> u64 {
            self.0.set((address, width, 0));
            u64::MAX
        }

        fn write(&self, address: usize, width: usize, value: u64) {
            self.0.set((address, width, value));
        }
    }

    let raw = IoRaw::<0x1000>::new(0xdead_0000, 0x1000)?;
    // SAFETY: The handler receives all accesses.
    let io = unsafe { Io::from_raw(&raw) };
    let device = Device(Cell::default());
    host::direct_mmio(&device, || -> Result {
        assert_eq!(io.read32(0x10), u32::MAX);
        assert_eq!(device.0.get(), (0xdead_0010, 4, 0));
        io.try_write64(7, 0x18)?;
        assert_eq!(device.0.get(), (0xdead_0018, 8, 7));
        assert_eq!(io.try_write64(7, 0xffc), Err(EINVAL));
        Ok(())
    })?;

    let memory = [1u64, 2];
    let raw = IoRaw::<16>::new(&raw const memory as usize, 16)?;
    // SAFETY: The address is memory.
    assert_eq!(unsafe { Io::from_raw(&raw) }.read64(8), 2);
    Ok(())
}

#[test]
fn delay_takes_no_time() {
    let start = Instant::<Monotonic>::now();
    let mut polls = 0;
    let poll = || {
        polls += 1;
        Ok(())
    };
    let micro = Delta::from_micros(1);
    let result = read_poll_timeout(poll, |()| false, micro, Delta::from_secs(2));
    assert_eq!(result, Err(ETIMEDOUT));
    assert!(start.elapsed() >= Delta::from_secs(2));
    assert!(polls > 1_000_000, "{polls}");
}

#[test]
fn sleep_advances_the_clock_and_is_counted() {
    let sleeps = host::sleeps();
    let start = Instant::<Monotonic>::now();
    might_sleep();
    assert_eq!(host::sleeps(), sleeps + 1);
    fsleep(Delta::from_millis(3));
    assert_eq!(host::sleeps(), sleeps + 2);
    assert!(start.elapsed() >= Delta::from_millis(3));

    // A busy wait advances the clock but does not sleep.
    let start = Instant::<Monotonic>::now();
    udelay(Delta::from_micros(5));
    assert!(start.elapsed() >= Delta::from_micros(5));
    assert_eq!(host::sleeps(), sleeps + 2);

    let micro = Delta::from_micros(1);
    let mut polls = 0;
    let poll = || {
        polls += 1;
        Ok(polls)
    };
    let result = read_poll_timeout(poll, |&polls| polls == 3, micro, Delta::from_secs(2));
    assert_eq!(result, Ok(3));
    // might_sleep() before the first poll, and two sleeps between polls.
    assert_eq!(host::sleeps(), sleeps + 5);
}

#[test]
fn tree_is_sorted() -> Result {
    let before = host::live_objects();
    let mut tree = RBTree::new();
    for key in [5, 1, 4, 2, 3] {
        tree.try_create_and_insert(key, 10 * key, GFP_KERNEL)?;
    }
    assert_eq!(tree.remove(&4), Some(40));
    assert!(tree.values().eq(&[10, 20, 30, 50]));
    drop(tree);
    assert_eq!(host::live_objects(), before);
    Ok(())
}

#[test]
fn mutex_with_static_class() -> Result {
    let shared = Arc::pin_init(new_mutex!(1), GFP_KERNEL)?;
    *shared.lock() += 1;
    assert_eq!(*shared.lock(), 2);
    Ok(())
}
