// SPDX-License-Identifier: GPL-2.0

//! The program: parses the command line, runs the command, shows the error.

use std::{
    io::Write,
    process::ExitCode, //
};

use clap::Parser;
use series::{
    cli::{
        args::{
            Cli,
            Command, //
        },
        commands::{
            Session,
            adopt::adopt, //
        },
        completions,
        man,
        stdout::{
            print,
            printed, //
        }, //
    },
    sys::{
        error::Error,
        runner::{
            Runner,
            System,
            end_children, //
        },
        shown::Shown, //
    }, //
};

/// As a shell reports a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(text) = without_workspace(&cli.command) {
        print(&text);
        return ended(printed());
    }
    let handler = ctrlc::set_handler(|| {
        end_children();
        eprintln!(
            "\ninterrupted: nothing is lost; the same command goes on where this one stopped"
        );
        std::process::exit(INTERRUPTED);
    });
    if let Err(error) = handler {
        eprintln!("warning: an interrupt will not be handled well: {error}");
    }
    let var = |name: &str| std::env::var(name).ok();
    let shown = Shown::new(&System, cli.verbose > 1);
    let runner: &dyn Runner = match cli.verbose {
        0 => &System,
        _ => &shown,
    };
    let result = match &cli.command {
        Command::Adopt(args) => adopt(runner, &cli, args),
        command => Session::new(runner, &cli, &var).and_then(|mut s| s.run(command)),
    };
    let errors = [result, printed()].into_iter().filter_map(Result::err);
    ended(Error::all(errors.collect()).map_or(Ok(()), Err))
}

fn ended(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is the last place to report to.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the program says about itself.
fn without_workspace(command: &Command) -> Option<String> {
    match command {
        Command::Completions(which) => Some(completions::script(which.shell)),
        Command::Man => Some(man::page()),
        _ => None,
    }
}
