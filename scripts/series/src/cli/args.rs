// SPDX-License-Identifier: GPL-2.0

//! The command line. One definition serves the parser and `--help`.

use std::path::PathBuf;

use clap::{
    ArgAction,
    Args,
    Parser,
    Subcommand,
    ValueHint, //
};

use crate::{
    checks::every_patch::shard::Shard,
    kernel::build::Arch, //
};

/// What the environment says.
pub(crate) const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "SERIES_CACHE",
        "the cache folder (default: $XDG_CACHE_HOME/patch-series)",
    ),
    (
        "SERIES_MIRROR",
        "folders searched for archives before the network, separated by `:`",
    ),
    (
        "SERIES_BASE",
        "the base, as with --base; host builds read its tree",
    ),
];

/// How the program ends.
pub(crate) const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "done"),
    ("1", "something is wrong and the message says what"),
    ("2", "wrong usage"),
    ("101", "a bug in this program"),
    ("130", "interrupted"),
];

/// The heading of the global options.
const EVERYWHERE: &str = "Options of every command";

/// Both below the options, as `--help` shows them.
fn after_help() -> String {
    let variables = ENVIRONMENT
        .iter()
        .map(|(name, text)| format!("  {name:13}  {text}\n"));
    let codes = EXIT_CODES
        .iter()
        .map(|(code, text)| format!("{code} {text}"));
    let codes = format!("Exit codes: {}.", codes.collect::<Vec<_>>().join(", "));
    let variables: String = variables.collect();
    format!("Environment:\n{variables}\n{codes}")
}

/// Assembles dependent kernel patch series, builds them into one tree, tests and checks them.
#[derive(Debug, Parser)]
#[command(
    name = "series",
    bin_name = "cargo series",
    version,
    max_term_width = 100,
    after_help = after_help()
)]
pub struct Cli {
    /// The checkout [default: the one around the current folder]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub workspace: Option<PathBuf>,

    /// Use only this base of series/bases; can be repeated [default: all bases that can be obtained]
    #[arg(long = "base", global = true, help_heading = EVERYWHERE, value_name = "NAME")]
    pub bases: Vec<String>,

    /// Take the base from this kernel git tree
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub kernel: Option<PathBuf>,

    /// With --kernel: use this revision of the tree as the base, whatever its version is
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "REV", requires = "kernel")]
    pub rev: Option<String>,

    /// Say only what went wrong
    #[arg(long, short, global = true, help_heading = EVERYWHERE)]
    pub quiet: bool,

    /// Show each command that is run; -vv also shows its output
    #[arg(long, short, global = true, help_heading = EVERYWHERE, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Install what is missing: packages (as root), rust-src, bindgen, b4
    Setup(Setup),
    /// Show each tool with its version and what it is needed for
    Doctor(Json),
    /// Write manifests for branches of a kernel clone, whose commits become patches
    Adopt(Adopt),
    /// Make the patches, in dependency order, without a checkout
    Assemble(Names),
    /// Build one kernel with all series
    Build(OnKernel),
    /// Run KUnit per component on the built kernel
    Test(Test),
    /// Check patches as a careful submitter does
    Check(Check),
    /// Show what changed since the last posting, as a range-diff
    Diff(Diff),
    /// Compare moved and renamed code with the original: words, object code, exports
    Prove(Prove),
    /// Write the mails of a series with b4, offline, and print the command that posts them
    #[command(alias = "send")]
    Prepare(Prepare),
    /// Record a posted version, and start the next one
    #[command(alias = "posted")]
    Record(Record),
    /// Take Reviewed-by, Acked-by and Tested-by from replies into the patches
    Trailers(Trailers),
    /// Try the series on another kernel: what applies, what it already has, what conflicts
    #[command(alias = "port")]
    Try(Try),
    /// Show where each series stands
    Status(Json),
    /// Show which series builds on which
    Graph(Graph),
    /// All of it: setup, assemble, build, test, status
    All(All),
    /// Print the completions of a shell
    Completions(Completions),
    /// Print the manual page, in the language of man
    Man,
}

/// Series by name.
#[derive(Debug, Args)]
pub struct Names {
    /// Only these series, or those of these components, and what they depend on
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}

/// `adopt`.
#[derive(Debug, Args)]
#[command(
    after_help = "Run it in an empty folder or in a workspace. It writes for each branch:\n  \
    series/NAME.toml       the branch, version, change-id, dependencies, recipients\n  \
    cover-letters/NAME.md  the cover letter: b4's, or a form to fill in\n  \
    NAME/CHANGELOG.md      the changes of each version\n\
    NAME is the last part of the branch's name. A new workspace also gets series/bases/BASE.toml.\n\
    The branches stay where they are: each command reads their commits again."
)]
pub struct Adopt {
    /// Branches of the tree that --kernel names; one may contain another
    #[arg(value_name = "BRANCH", required = true)]
    pub branches: Vec<String>,

    /// The revision that the branches forked from [default: their upstream branch, or the parent of
    /// b4's cover letter]
    #[arg(long, value_name = "REV")]
    pub onto: Option<String>,
}

/// `setup`.
#[derive(Debug, Args)]
pub struct Setup {
    /// As root, install packages of the distribution without asking
    #[arg(long, short)]
    pub yes: bool,
}

/// `all`.
#[derive(Debug, Args)]
pub struct All {
    /// The kernel to build
    #[arg(long, value_enum, default_value = "um")]
    pub arch: Arch,

    /// How to set up
    #[command(flatten)]
    pub setup: Setup,
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

    /// Run only these suites or cases, in one boot, on a kernel whose drivers are not optimized and on
    /// one base; the result is shown and not recorded
    #[arg(long, value_name = "SUITE[.CASE]", conflicts_with_all = ["hardened", "lockdep", "json"])]
    pub filter: Option<String>,

    /// Test again, as with --filter, after each change of a file of the series, until Ctrl-C
    #[arg(long, conflicts_with_all = ["hardened", "lockdep", "json"])]
    pub watch: bool,

    /// Show how long each step took
    #[arg(long)]
    pub timings: bool,

    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

/// `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Only these series; a component stands for all its series
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// Only the quick checks, the default: manifests, versions, overlay, applies alone, checkpatch,
    /// rustfmt, users of public items, Fixes tags, recipients, sizes, subjects. They take seconds, and some two seconds more for each new or changed patch
    #[arg(long, conflicts_with = "full")]
    pub quick: bool,

    /// Run the slow checks too, for an hour or more the first time, later only for changed patches:
    /// each patch built, with clippy, rustdoc, W=1 and sparse;
    /// KUnit at the end of each series; whether each dependency is needed
    #[arg(long)]
    pub full: bool,

    /// With --full: only these kernels [default: um and x86_64]
    #[arg(long, value_enum, requires = "full")]
    pub arch: Vec<Arch>,

    /// With --full: make the results of the I-th of N parts only, without a verdict
    #[arg(long, value_name = "I/N", requires = "full", conflicts_with = "json")]
    pub shard: Option<Shard>,

    /// With --full: write the results into a file in this folder, one for each base and shard
    #[arg(long, value_name = "DIR", requires = "full", value_hint = ValueHint::DirPath)]
    pub export: Option<PathBuf>,

    /// With --full: use the results that other machines exported, a file or a folder of them; can be
    /// repeated
    #[arg(long, value_name = "PATH", requires = "full", value_hint = ValueHint::AnyPath)]
    pub import: Vec<PathBuf>,

    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

/// `prove`.
#[derive(Debug, Args)]
pub struct Prove {
    /// Only these series; a component stands for all its series
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// The kernel whose compiler calls are repeated
    #[arg(long, value_enum, default_value = "um")]
    pub arch: Arch,

    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

/// `prepare`.
#[derive(Debug, Args)]
pub struct Prepare {
    /// The series
    pub name: String,

    /// Write the mails of the last posted version again, with RESEND in the subjects
    #[arg(long)]
    pub resend: bool,
}

/// `diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// The series
    pub name: String,

    /// Compare with this version [default: the last one posted]
    #[arg(long, value_name = "N")]
    pub against: Option<u32>,

    /// From now on, append the range-diff to the cover letter, below `---`
    #[arg(long, conflicts_with = "no_append")]
    pub append: bool,

    /// No longer append it
    #[arg(long)]
    pub no_append: bool,

    /// Print which patches changed, as JSON
    #[arg(long)]
    pub json: bool,
}

/// `record`.
#[derive(Debug, Args)]
pub struct Record {
    /// The series
    pub name: String,

    /// The mails as they were posted, if it was not b4 that posted them from here: a mailbox, a
    /// folder of mails, or - for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub mbox: Option<PathBuf>,

    /// The mails are those of the last version, resent unchanged
    #[arg(long, requires = "mbox")]
    pub resend: bool,

    /// Undo the last record: a resend, or else the posting, with its mails, its tag, and the version
    /// begun after it
    #[arg(long, conflicts_with = "mbox")]
    pub undo: bool,
}

/// `trailers`.
#[derive(Debug, Args)]
pub struct Trailers {
    /// The series
    pub name: String,

    /// Mails with the replies: a mailbox, a folder of mails, or - for standard input [default: what
    /// `b4 trailers` wrote into b4's branch]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub mbox: Option<PathBuf>,

    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

/// `try`.
#[derive(Debug, Args)]
pub struct Try {
    /// The other base: a kernel tree in git, a revision of one (DIR@REV), an archive (.tar.xz), or a
    /// source package of the distribution (apt:SUITE:linux=VERSION)
    #[arg(value_name = "BASE")]
    pub base: String,

    /// Only these series; a component stands for all its series
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

/// `graph`.
#[derive(Debug, Args)]
pub struct Graph {
    /// The form of the picture
    #[arg(long, value_enum, default_value = "text")]
    pub format: GraphFormat,
}

/// The form of a picture of the dependencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum GraphFormat {
    /// Lines of text.
    Text,
    /// For Graphviz.
    Dot,
    /// For Mermaid, which many viewers of Markdown draw.
    Mermaid,
}

/// `completions`.
#[derive(Debug, Args)]
#[command(after_help = "To install them:\n  \
    bash  cargo series completions bash >> ~/.bash_completion\n  \
    fish  cargo series completions fish > ~/.config/fish/conf.d/cargo-series.fish\n  \
    zsh   cargo series completions zsh > DIR/_cargo-series, where DIR is in $fpath")]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// The form of the output.
#[derive(Debug, Args)]
pub struct Json {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A shell whose completion can be had for `cargo series`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    /// bash.
    #[value(help = None::<&str>)]
    Bash,
    /// fish.
    #[value(help = None::<&str>)]
    Fish,
    /// zsh.
    #[value(help = None::<&str>)]
    Zsh,
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

    /// The commands that a line of the README's tables names, with what stands behind each.
    fn named(row: &str) -> Vec<(String, String)> {
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
    fn the_readme_names_all_commands_and_no_other() {
        let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
        let readme = std::fs::read_to_string(readme).unwrap();
        let rows = readme.lines().filter(|l| l.starts_with("| `"));
        let named: Vec<_> = rows.flat_map(named).collect();
        let command = Cli::command();
        let missing: Vec<_> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .filter(|name| !named.iter().any(|(n, _)| n == name))
            .collect();
        assert!(missing.is_empty(), "README.md has no row for {missing:?}");
        for (name, rest) in named {
            let sub = command.find_subcommand(&name);
            let sub = sub.unwrap_or_else(|| panic!("README.md names {name}, which is no command"));
            let flags = rest.split(|c: char| c.is_whitespace() || "[]|".contains(c));
            for flag in flags.filter_map(|word| word.strip_prefix("--")) {
                let known = sub.get_arguments().any(|a| a.get_long() == Some(flag));
                assert!(
                    known,
                    "README.md names `{name} --{flag}`, which there is not"
                );
            }
        }
    }
}
