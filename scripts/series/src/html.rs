// SPDX-License-Identifier: GPL-2.0

//! `out/report.html`: all that is known of the series, in one file without a network.
