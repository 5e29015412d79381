// SPDX-License-Identifier: GPL-2.0

//! Tests that need control over the stand-in or take too long for KUnit, access counts, and the
//! code of the benchmarks.

pub mod bench;
pub mod bench_va;
#[cfg(test)]
mod dropped;
#[cfg(test)]
mod faults;
pub mod mmio_counts;
#[cfg(test)]
mod random;
mod reference;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod va;
