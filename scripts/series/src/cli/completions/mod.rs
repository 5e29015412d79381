// SPDX-License-Identifier: GPL-2.0

//! Completions for shells, from the definitions that `--help` shows.
//!
//! clap makes those of a program `cargo-series`, which is no program. What is typed is `cargo series`, so each shell gets
//! a few lines that hand over what stands behind `cargo series`, and leave the rest to whatever
//! completes cargo's commands.

use clap::CommandFactory;
use clap_complete::{
    Generator,
    aot, //
};

use crate::cli::args::{
    Cli,
    Shell, //
};

/// The script that a shell reads.
pub fn script(shell: Shell) -> String {
    match shell {
        // A name with a dash puts clap's script for bash at odds with itself.
        Shell::Bash => generated(aot::Bash, "cargo_series") + include_str!("cargo.bash"),
        Shell::Fish => generated(aot::Fish, "cargo-series") + include_str!("cargo.fish"),
        // zsh's own completion of cargo hands over to a function of this name.
        Shell::Zsh => generated(aot::Zsh, "cargo-series"),
    }
}

fn generated(shell: impl Generator, name: &str) -> String {
    let mut command = Cli::command();
    let mut script = Vec::new();
    aot::generate(shell, &mut command, name, &mut script);
    String::from_utf8(script).expect("the definitions are text")
}
