// SPDX-License-Identifier: GPL-2.0

//! The program: parses the command line, runs the command, and prints errors.

use std::{io::Write, process::ExitCode};

use clap::Parser;
use series::{
    cli::{
        args::{Cli, Command},
        commands::{Session, adopt::adopt},
        completions, man,
        stdout::{print, printed},
    },
    sys::{
        Error, Runner,
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
    // These need no workspace.
    let text = match &cli.command {
        Command::Completions(which) => Some(completions::script(which.shell)),
        Command::Man => Some(man::page()),
        _ => None,
    };
    if let Some(text) = text {
        print(&text);
        return exit_code(printed());
    }
    let handler = ctrlc::set_handler(|| {
        end_children();
        eprintln!("\ninterrupted: no results are lost; run the command again to continue");
        std::process::exit(INTERRUPTED);
    });
    if let Err(error) = handler {
        eprintln!("warning: cannot handle Ctrl-C: {error}");
    }
    let var = |name: &str| std::env::var(name).ok();
    let shown = Shown {
        inner: &System,
        output: cli.verbose > 1,
    };
    let runner: &dyn Runner = if cli.verbose == 0 { &System } else { &shown };
    let result = match &cli.command {
        Command::Adopt(args) => adopt(runner, &cli, args),
        command => Session::new(runner, &cli, &var).and_then(|mut s| s.run(command)),
    };
    let errors = [result, printed()].into_iter().filter_map(Result::err);
    exit_code(Error::all(errors.collect()).map_or(Ok(()), Err))
}

/// Prints the error or the help text of clap.
fn usage(error: &clap::Error) -> ExitCode {
    if !is_installed() {
        error.exit();
    }
    let text = error.render().to_string();
    if !error.use_stderr() {
        print(&text);
        return exit_code(printed());
    }
    let _ = write!(std::io::stderr(), "{}", as_called(&text));
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
}

fn exit_code(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A failure to write to standard error cannot be reported.
            let _ = writeln!(
                std::io::stderr(),
                "{}",
                as_called(&format!("error: {error}"))
            );
            ExitCode::FAILURE
        }
    }
}
