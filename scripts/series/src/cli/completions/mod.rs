// SPDX-License-Identifier: GPL-2.0

//! Completions for shells, from the definitions that `--help` shows.
//!
//! For an installed program, they are those of clap. In this repository, clap generates completions
//! for a program `cargo-series`, but users type `cargo series`. A few lines for each shell pass the
//! words after `cargo series` on, and leave all other commands of cargo to the existing completion.

use clap::CommandFactory;
use clap_complete::aot::{self, Shell};

use crate::{
    cli::args::Cli,
    sys::called::{INSTALLED, is_installed},
};

pub fn script(shell: Shell) -> String {
    let (name, more) = match shell {
        _ if is_installed() => (INSTALLED, ""),
        // clap's script for bash does not work with a dash in the name.
        Shell::Bash => ("cargo_series", include_str!("cargo.bash")),
        Shell::Fish => ("cargo-series", include_str!("cargo.fish")),
        // The completion of cargo in zsh calls a function of this name.
        _ => ("cargo-series", ""),
    };
    let mut script = Vec::new();
    aot::generate(shell, &mut Cli::command(), name, &mut script);
    String::from_utf8(script).expect("the definitions are text") + more
}
