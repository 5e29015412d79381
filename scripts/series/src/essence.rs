// SPDX-License-Identifier: GPL-2.0

//! What of a patch a review was about: the lines that it adds and removes.
