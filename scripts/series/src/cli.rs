// SPDX-License-Identifier: GPL-2.0

//! The command line. One definition serves the parser and `--help`.

use std::path::PathBuf;

use clap::{
    Args,
    Parser,
    Subcommand, //
};

use crate::kernel::Arch;

/// Assembles dependent kernel patch series, builds them into one tree, tests and checks them.
#[derive(Debug, Parser)]
#[command(
    name = "series",
    bin_name = "cargo series",
    version,
    max_term_width = 100,
    after_help = "Environment:\n  \
        NOVA_SERIES_CACHE   the cache folder (default: $XDG_CACHE_HOME/nova-series)\n  \
        NOVA_SERIES_MIRROR  a folder searched for archives before the network\n\n\
        Exit codes: 0 done, 1 something is wrong and the message says what, 2 wrong usage,\n\
        101 a bug in this program, 130 interrupted."
)]
pub struct Cli {
    /// The checkout [default: the one around the current folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub workspace: Option<PathBuf>,

    /// Take the base from this kernel git tree
    #[arg(long, global = true, value_name = "DIR")]
    pub kernel: Option<PathBuf>,

    /// Say only what went wrong
    #[arg(long, short, global = true)]
    pub quiet: bool,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Install what is missing: packages (as root), rust-src, bindgen, b4
    Setup,
    /// Show each tool with its version and what it is needed for
    Doctor(Json),
    /// Make the patches, in dependency order, without a checkout
    Assemble(Names),
    /// Build one kernel with all series
    Build(OnKernel),
    /// Run KUnit per component on the built kernel
    Test(Test),
    /// Check patches as a careful submitter does
    Check(Check),
    /// Prove the moves and renames of a series: word counts, object code, exports
    Prove(Prove),
    /// Have b4 write a series' mails, offline, and show how to post them
    Send(Send),
    /// Show where each series stands
    Status(Json),
    /// All of it: setup, assemble, build, test, status
    All(OnArch),
}

/// Series by name.
#[derive(Debug, Args)]
pub struct Names {
    /// Only these series and what they depend on
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}

/// An architecture.
#[derive(Debug, Args)]
pub struct OnArch {
    /// The kernel to build
    #[arg(long, value_enum, default_value = "um")]
    pub arch: Arch,
}

/// A kernel: an architecture, or one of those with checkers.
#[derive(Debug, Args)]
pub struct OnKernel {
    /// The kernel to build [default: um, with --lockdep x86_64]
    #[arg(long, value_enum)]
    pub arch: Option<Arch>,

    /// A kernel (um) that looks for faults of memory, for leaks, and for sleep in atomic context
    #[arg(long, conflicts_with = "lockdep")]
    pub hardened: bool,

    /// A kernel (x86_64) that looks for faults of locking, and for sleep in atomic context
    #[arg(long)]
    pub lockdep: bool,
}

/// `test`.
#[derive(Debug, Args)]
pub struct Test {
    /// Only these components
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// Which kernel
    #[command(flatten)]
    pub on: OnKernel,

    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

/// `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Only these series
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// What takes seconds: manifests, overlay, applies alone, checkpatch, rustfmt [the default]
    #[arg(long)]
    pub quick: bool,

    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

/// `prove`.
#[derive(Debug, Args)]
pub struct Prove {
    /// Only these series
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// The kernel whose compiler calls are repeated
    #[arg(long, value_enum, default_value = "um")]
    pub arch: Arch,

    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

/// `send`.
#[derive(Debug, Args)]
pub struct Send {
    /// The series
    pub name: String,
}

/// The form of the output.
#[derive(Debug, Args)]
pub struct Json {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_reads_well() {
        let mut command = Cli::command().term_width(100);
        insta::assert_snapshot!("help", command.render_long_help());
        for sub in command.get_subcommands_mut() {
            let name = format!("help-{}", sub.get_name());
            insta::assert_snapshot!(name, sub.clone().term_width(100).render_long_help());
        }
    }
}
