// SPDX-License-Identifier: GPL-2.0

//! The program: parses the command line, runs the command, and prints errors.

use std::{io::Write, process::ExitCode};

use clap::Parser;
use series::{
    cli::{args::Cli, commands, stdout::print},
    sys::{
        Result, Runner,
        called::{as_called, is_installed},
        runner::{System, end_children},
        shown::Shown,
    },
};

/// The exit code after Ctrl-C, as shells report it.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let handler = ctrlc::set_handler(|| {
        end_children();
        eprintln!("\ninterrupted: no results are lost; run the command again to continue");
        std::process::exit(INTERRUPTED);
    });
    if let Err(error) = handler {
        eprintln!("warning: cannot handle Ctrl-C: {error}");
    }
    let shown = Shown {
        inner: &System,
        output: cli.verbose > 1,
    };
    let runner: &dyn Runner = if cli.verbose == 0 { &System } else { &shown };
    exit_code(commands::run(runner, &cli, &|name| {
        std::env::var(name).ok()
    }))
}

/// Prints the error or the help text of clap.
fn usage(error: &clap::Error) -> ExitCode {
    if !is_installed() {
        error.exit();
    }
    let text = error.render().to_string();
    if !error.use_stderr() {
        return exit_code(print(&text));
    }
    let _ = write!(std::io::stderr(), "{}", as_called(&text));
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
}

fn exit_code(result: Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    // A failure to write to standard error cannot be reported.
    let text = format!("error: {error}\n");
    let _ = std::io::stderr().write_all(as_called(&text).as_bytes());
    ExitCode::FAILURE
}
