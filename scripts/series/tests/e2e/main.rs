// SPDX-License-Identifier: GPL-2.0

//! End-to-end tests on a miniature kernel with the real program, git and b4, without a network.

mod again;
mod assemble;
mod bases;
mod branches;
mod component;
mod damage;
mod documented;
mod errors;
mod full;
mod graph;
mod kernels;
mod mail;
mod maintainer;
mod mini;
mod port;
mod posted;
mod quick;
mod records;
mod rehearsal;
mod relocate;
mod report;
mod robust;
mod rules;
mod settings;
mod shards;
mod stage;
mod trailers;
mod words;
mod work;
