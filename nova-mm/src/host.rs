// SPDX-License-Identifier: GPL-2.0

//! Tests that need the knobs of the stand-in, or more time than KUnit has; figures and a benchmark.

pub mod bench;
pub mod bench_va;
#[cfg(test)]
mod dropped;
#[cfg(test)]
mod faults;
pub mod figures;
#[cfg(test)]
mod random;
mod reference;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod va;
