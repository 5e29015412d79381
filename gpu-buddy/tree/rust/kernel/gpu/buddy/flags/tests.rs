// SPDX-License-Identifier: GPL-2.0

//! Tests of the flags of requests.

use super::*;

#[macros::kunit_tests(rust_gpu_buddy_flags)]
mod suite {
    use super::*;
    use GpuBuddyAllocFlag::{
        Clear,
        Contiguous,
        TrimDisable, //
    };

    #[test]
    fn flags_operators() {
        let all = [Contiguous, Clear, TrimDisable];
        let none = GpuBuddyAllocFlags::empty();
        assert_eq!(none, GpuBuddyAllocFlags::default());
        assert_eq!(usize::from(none), 0);
        assert_eq!(usize::from(!none), GpuBuddyAllocFlags::all_bits());
        for (n, a) in all.into_iter().enumerate() {
            let set = GpuBuddyAllocFlags::from(a);
            assert_eq!(usize::from(set).count_ones(), 1);
            assert_eq!(!a, !set);
            assert_eq!(!!a, set);
            assert!(!none.contains(a) && set.contains(a) && (!none).contains(a));
            assert!(!none.contains_any(set) && !set.contains_any(none));
            assert!(set.contains_all(none) && set.contains_all(set) && !none.contains_all(set));
            for (m, b) in all.into_iter().enumerate() {
                let both = a | b;
                assert_eq!(both, set | b);
                assert_eq!(both, set | GpuBuddyAllocFlags::from(b));
                assert_eq!(a & b, if n == m { set } else { none });
                assert_eq!(both & b, b.into());
                assert_eq!(a ^ b, if n == m { none } else { both });
                assert_eq!((both ^ a) | a, both);
                assert!(both.contains_any(a | b) && both.contains_all(b.into()));
                assert_eq!(set.contains_all(both), n == m);

                let mut flags = none;
                flags |= a;
                flags |= both;
                assert_eq!(flags, both);
                flags &= b;
                assert_eq!(flags, b.into());
                flags ^= both;
                assert_eq!(flags, both ^ b);
                flags ^= b;
                assert_eq!(flags, both);
                flags &= !both;
                assert_eq!(flags, none);
            }
        }
    }
}
