// SPDX-License-Identifier: GPL-2.0

//! The graph of dependencies, as text, for Graphviz, and as a picture.
