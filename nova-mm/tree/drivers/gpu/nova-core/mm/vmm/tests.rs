// SPDX-License-Identifier: GPL-2.0

//! Tests of address spaces on a software GPU.
//!
//! Tests that are independent of the format are written once, as functions that are generic over
//! it. A suite is made of a list of them for each format.

pub(crate) mod bench;
pub(crate) mod faults;
pub(crate) mod figures;
pub(crate) mod observe;
pub(crate) mod random;

/// Makes a suite of tests that are generic over the format, by their paths in a module.
macro_rules! suite {
    (
        $module:ident, $suite:ident, $format:ty, $parent:path,
        { $($file:ident :: $test:ident,)* }
    ) => {
        #[kernel::prelude::kunit_tests($suite)]
        mod $module {
            use super::*;
            use $parent as tests;

            $(
                #[test]
                fn $test() -> kernel::prelude::Result {
                    tests::$file::$test::<$format>()
                }
            )*
        }
    };
}
pub(crate) use suite;
