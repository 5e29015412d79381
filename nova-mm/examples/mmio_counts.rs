// SPDX-License-Identifier: GPL-2.0

//! Prints the number of hardware accesses of operations on address spaces.

fn main() {
    nova_mm::host::mmio_counts::print();
}
