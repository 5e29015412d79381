// SPDX-License-Identifier: GPL-2.0

//! The command line. One definition serves the parser and `--help`.

use std::path::PathBuf;

use clap::{
    ArgAction, Args, Parser, Subcommand, ValueHint,
    builder::{PossibleValuesParser, TypedValueParser},
};
use clap_complete::Shell;

use crate::{checks::every_patch::shard::Shard, kernel::build::Arch};

/// A line for each environment variable: its name, spaces, and its meaning.
pub(crate) const ENVIRONMENT: &str =
    "  SERIES_CACHE   cache folder [default: $XDG_CACHE_HOME/patch-series]
  SERIES_MIRROR  folders to search for archives before downloading, separated by `:`
  SERIES_BASE    default of --base; host builds use the tree of this base
";

pub(crate) const EXIT_CODES: &str =
    "0 success, 1 error, 2 usage error, 101 bug in this program, 130 interrupted";

/// The heading of the global options.
const EVERYWHERE: &str = "Global options";

fn after_help() -> String {
    format!("Environment:\n{ENVIRONMENT}\nExit codes: {EXIT_CODES}.")
}

/// Assemble, build, test and check dependent kernel patch series.
#[derive(Debug, Parser)]
#[command(
    name = "series",
    bin_name = "cargo series",
    version,
    max_term_width = 100,
    after_help = after_help()
)]
pub struct Cli {
    /// Workspace folder [default: the current folder or the closest parent]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub workspace: Option<PathBuf>,

    /// Use only this base of series/bases; may be repeated [default: all available bases]
    #[arg(long = "base", global = true, help_heading = EVERYWHERE, value_name = "NAME")]
    pub bases: Vec<String>,

    /// Import the base from this kernel git tree
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub kernel: Option<PathBuf>,

    /// With --kernel: use this revision of the tree as the base, regardless of its version
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "REV", requires = "kernel")]
    pub rev: Option<String>,

    /// Print warnings and errors only
    #[arg(long, short, global = true, help_heading = EVERYWHERE)]
    pub quiet: bool,

    /// Print each command that is run; -vv also prints its output
    #[arg(long, short, global = true, help_heading = EVERYWHERE, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Install missing tools: packages (as root), rust-src, bindgen, b4
    Setup(Setup),
    /// List each tool with its version and purpose
    Doctor(Json),
    /// Create manifests for branches of a kernel clone, whose commits become patches
    Adopt(Adopt),
    /// Create the patches, in dependency order, without a checkout
    Assemble(Names),
    /// Build one kernel with all series
    Build(OnKernel),
    /// Run the KUnit tests of each series on a kernel with all series
    Test(Test),
    /// Check the patches before posting
    Check(Check),
    /// Show the range-diff since the last posting
    Diff(Diff),
    /// Compare moved and renamed code with the original: words, object code, exports
    Prove(Prove),
    /// Have b4 write the mails of a series, offline, and print the command that posts them
    #[command(alias = "send")]
    Prepare(Prepare),
    /// Record a posted version, and begin the next one
    #[command(alias = "posted")]
    Record(Record),
    /// Collect Reviewed-by, Acked-by and Tested-by trailers from replies
    Trailers(Trailers),
    /// Apply the series to another kernel, and report conflicts
    #[command(alias = "port")]
    Try(Try),
    /// Show the state of each series
    Status(Json),
    /// Show the dependencies between series
    Graph(Graph),
    /// Run setup, assemble, build, test and status
    All(All),
    /// Print shell completions
    Completions(Completions),
    /// Print the manual page in roff format
    Man,
}

#[derive(Debug, Args)]
pub struct Names {
    /// Only these series or components, and their dependencies
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Run it in an empty folder or in a workspace. It creates for each branch:\n  \
    series/NAME.toml       the branch, version, change-id, dependencies, recipients\n  \
    cover-letters/NAME.md  the cover letter: b4's, or a template\n  \
    NAME/CHANGELOG.md      the changes of each version\n\
    NAME is the last part of the branch's name. A new workspace also gets series/bases/BASE.toml.\n\
    The branches are not modified. Each command reads their commits again."
)]
pub struct Adopt {
    /// Branches of the kernel tree given with --kernel; one may contain another
    #[arg(value_name = "BRANCH", required = true)]
    pub branches: Vec<String>,

    /// Revision that the branches are based on [default: a base of the workspace; without one,
    /// their upstream branch, or the parent of b4's cover letter]
    #[arg(long, value_name = "REV")]
    pub onto: Option<String>,
}

#[derive(Debug, Args)]
pub struct Setup {
    /// Install distribution packages without asking, if run as root
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct All {
    /// Kernel to build
    #[arg(long, value_enum, default_value = "um")]
    pub arch: Arch,

    #[command(flatten)]
    pub setup: Setup,
}

/// A kernel: an architecture, or a kernel with runtime checkers.
#[derive(Debug, Args)]
pub struct OnKernel {
    /// Kernel to build [default: um, with --lockdep x86_64]
    #[arg(long, value_enum)]
    pub arch: Option<Arch>,

    /// Use a kernel (um) that detects memory errors, leaks, and sleeping in atomic context
    #[arg(long, conflicts_with = "lockdep")]
    pub hardened: bool,

    /// Use a kernel (x86_64) that detects locking errors, and sleeping in atomic context
    #[arg(long)]
    pub lockdep: bool,
}

#[derive(Debug, Args)]
pub struct Test {
    /// Only these series or components
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    #[command(flatten)]
    pub on: OnKernel,

    /// Run only matching suites or cases, in one boot, on one base, and on a kernel with
    /// unoptimized drivers; the results are not recorded
    #[arg(long, value_name = "SUITE[.CASE]", conflicts_with_all = ["hardened", "lockdep", "json"])]
    pub filter: Option<String>,

    /// Test again, as with --filter, after each change to a file of the series, until Ctrl-C
    #[arg(long, conflicts_with_all = ["hardened", "lockdep", "json"])]
    pub watch: bool,

    /// Print the duration of each step
    #[arg(long)]
    pub timings: bool,

    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Only these series or components
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// Run only the quick checks (default): manifests, versions, overlay, applies alone,
    /// checkpatch, rustfmt, users of public items, Fixes tags, recipients, sizes, subjects. They
    /// take seconds, and about two seconds more for each new or changed patch
    #[arg(long, conflicts_with = "full")]
    pub quick: bool,

    /// Also run the slow checks: build each patch with clippy, rustdoc, W=1 and sparse; run KUnit
    /// at the end of each series; verify that each dependency is needed. The first run takes an
    /// hour or more, later runs check changed patches only
    #[arg(long)]
    pub full: bool,

    /// With --full: only these kernels [default: um and x86_64]
    #[arg(long, value_enum, requires = "full")]
    pub arch: Vec<Arch>,

    /// With --full: create only the results of part I of N, without a verdict
    #[arg(long, value_name = "I/N", requires = "full", conflicts_with = "json")]
    pub shard: Option<Shard>,

    /// With --full: write the results to this folder, in one file for each base and shard
    #[arg(long, value_name = "DIR", requires = "full", value_hint = ValueHint::DirPath)]
    pub export: Option<PathBuf>,

    /// With --full: use results exported by other machines, from a file or a folder; may be
    /// repeated
    #[arg(long, value_name = "PATH", requires = "full", value_hint = ValueHint::AnyPath)]
    pub import: Vec<PathBuf>,

    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Prove {
    /// Only these series or components
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// Kernel whose compiler commands are repeated
    #[arg(long, value_enum, default_value = "um")]
    pub arch: Arch,

    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Prepare {
    /// Name of the series
    pub name: String,

    /// Write the mails of the last posted version again, with RESEND in the subjects
    #[arg(long)]
    pub resend: bool,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// Name of the series
    pub name: String,

    /// Compare with this version [default: the last posted version]
    #[arg(long, value_name = "N")]
    pub against: Option<u32>,

    /// Append the range-diff to the cover letter from now on, below `---`
    #[arg(long, conflicts_with = "no_append")]
    pub append: bool,

    /// No longer append the range-diff
    #[arg(long)]
    pub no_append: bool,

    /// Print the changed patches as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Record {
    /// Name of the series
    pub name: String,

    /// Mails as posted, if b4 did not post them from this workspace: a mailbox, a folder of mails,
    /// or - for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub mbox: Option<PathBuf>,

    /// Record an unchanged resend of the last version
    #[arg(long, requires = "mbox")]
    pub resend: bool,

    /// Undo the last record, either a resend or a posting with its mails, its tag and the next
    /// version
    #[arg(long, conflicts_with = "mbox")]
    pub undo: bool,
}

#[derive(Debug, Args)]
pub struct Trailers {
    /// Name of the series
    pub name: String,

    /// Replies: a mailbox, a folder of mails, or - for standard input [default: the trailers that
    /// `b4 trailers` added to b4's branch]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub mbox: Option<PathBuf>,

    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Try {
    /// Kernel to apply to: a git tree, a revision of one (DIR@REV) or of --kernel, an archive
    /// (.tar.xz), or a source package of the distribution (apt:SUITE:linux=VERSION)
    #[arg(value_name = "BASE")]
    pub base: String,

    /// Only these series or components
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Graph {
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    pub format: GraphFormat,
}

/// The output format of `graph`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum GraphFormat {
    /// Plain text.
    Text,
    /// Graphviz.
    Dot,
    /// Mermaid, which many Markdown viewers render.
    Mermaid,
}

/// The shells whose completions work behind `cargo series`.
fn shells() -> impl TypedValueParser<Value = Shell> {
    PossibleValuesParser::new(["bash", "fish", "zsh"]).try_map(|name| name.parse::<Shell>())
}

#[derive(Debug, Args)]
#[command(after_help = "To install them:\n  \
    bash  cargo series completions bash >> ~/.bash_completion\n  \
    fish  cargo series completions fish > ~/.config/fish/conf.d/cargo-series.fish\n  \
    zsh   cargo series completions zsh > DIR/_cargo-series, where DIR is in $fpath")]
pub struct Completions {
    /// Shell
    #[arg(value_parser = shells())]
    pub shell: Shell,
}

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
    fn command_passes_debug_assert() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_matches_snapshots() {
        let mut command = Cli::command().term_width(100);
        insta::assert_snapshot!("help", command.render_long_help());
        for sub in command.get_subcommands_mut() {
            let name = format!("help-{}", sub.get_name());
            insta::assert_snapshot!(name, sub.clone().term_width(100).render_long_help());
        }
    }

    /// Returns the commands in a row of the README's tables, with their arguments.
    fn commands_in(row: &str) -> Vec<(String, String)> {
        let cell = row.split('|').nth(1).unwrap_or_default();
        let spans: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        if !spans.iter().any(|s| s.starts_with("cargo series ")) {
            return Vec::new();
        }
        let spans = spans.iter().map(|s| s.trim_start_matches("cargo series "));
        spans
            .map(|s| s.split_once(' ').unwrap_or((s, "")))
            .map(|(name, rest)| (name.to_owned(), rest.to_owned()))
            .collect()
    }

    #[test]
    fn readme_lists_all_commands() {
        let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
        let readme = std::fs::read_to_string(readme).unwrap();
        let rows = readme.lines().filter(|l| l.starts_with("| `"));
        let named: Vec<_> = rows.flat_map(commands_in).collect();
        let command = Cli::command();
        let missing: Vec<_> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .filter(|name| !named.iter().any(|(n, _)| n == name))
            .collect();
        assert!(missing.is_empty(), "README.md has no row for {missing:?}");
        for (name, rest) in named {
            let sub = command.find_subcommand(&name);
            let sub = sub.unwrap_or_else(|| panic!("README.md lists the unknown command {name}"));
            let flags = rest.split(|c: char| c.is_whitespace() || "[]|".contains(c));
            for flag in flags.filter_map(|word| word.strip_prefix("--")) {
                let known = sub.get_arguments().any(|a| a.get_long() == Some(flag));
                assert!(
                    known,
                    "README.md lists the unknown option `{name} --{flag}`"
                );
            }
        }
    }
}
