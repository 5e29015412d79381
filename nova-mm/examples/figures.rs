// SPDX-License-Identifier: GPL-2.0

//! Prints what operations on address spaces cost.

fn main() {
    nova_mm::host::figures::print();
}
