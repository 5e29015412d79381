// SPDX-License-Identifier: GPL-2.0

//! Page table tests with MMU v3.

use crate::mm::format::v3::MmuV3;

tables_suite!(suite, nova_core_mm_tables_v3, MmuV3);
