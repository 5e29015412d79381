// SPDX-License-Identifier: GPL-2.0

//! How the series fare on another base.
