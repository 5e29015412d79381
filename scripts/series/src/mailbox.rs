// SPDX-License-Identifier: GPL-2.0

//! Mails, read from a mailbox.
