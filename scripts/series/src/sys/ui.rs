// SPDX-License-Identifier: GPL-2.0

//! Progress and messages: bars on a terminal, plain lines elsewhere.
//!
//! Everything goes to standard error. Standard output carries only results.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::called::as_called;

/// The interval of progress lines without a terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy)]
pub struct Ui {
    bars: bool,
    quiet: bool,
}

/// Ignores failures, because losing a message must not end the command.
fn print(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{}", as_called(&line.to_string()));
}

impl Ui {
    /// Shows bars if standard error is a terminal and the run is not quiet.
    pub fn detect(quiet: bool) -> Self {
        let bars = !quiet && std::io::stderr().is_terminal();
        Self { bars, quiet }
    }

    /// Shows plain lines instead of bars, between which other output fits.
    pub fn plain(mut self) -> Self {
        self.bars = false;
        self
    }

    /// Prints a line, unless the run is quiet.
    pub fn say(&self, text: impl AsRef<str>) {
        if !self.quiet {
            print(format_args!("{}", text.as_ref()));
        }
    }

    /// Prints a warning, also in a quiet run.
    pub fn warn(&self, text: impl AsRef<str>) {
        print(format_args!("warning: {}", text.as_ref()));
    }

    /// Prints an error after which the command goes on.
    pub fn error(&self, text: impl AsRef<str>) {
        print(format_args!("error: {}", text.as_ref()));
    }

    /// Asks a yes-or-no question. Returns `None` without a terminal.
    pub fn ask(&self, question: &str) -> Option<bool> {
        if !std::io::stderr().is_terminal() || !std::io::stdin().is_terminal() {
            return None;
        }
        eprint!("{question} [y/N] ");
        let mut answer = String::new();
        // A failed read counts as no.
        let _ = std::io::stdin().read_line(&mut answer);
        Some(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
    }

    /// Starts the progress of a long task. A `total` of 0 means unknown.
    pub fn progress(&self, what: &str, total: u64, unit: Unit) -> Progress {
        let known = total != 0;
        let target = if self.bars {
            ProgressDrawTarget::stderr()
        } else {
            self.say(format!("{what} …"));
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(known.then_some(total), target);
        Progress {
            ui: *self,
            total,
            unit,
            bar: bar
                .with_style(unit.style(known))
                .with_prefix(what.to_owned()),
            said: Instant::now(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    /// Files or objects.
    Things,
}

impl Unit {
    fn style(self, known: bool) -> ProgressStyle {
        let text = match (self, known) {
            (Unit::Bytes, true) => "{prefix} [{bar:30}] {bytes}/{total_bytes} {eta}",
            (Unit::Bytes, false) => "{prefix} {spinner} {bytes}",
            (Unit::Things, true) => "{prefix} [{bar:30}] {pos}/{len} {msg:.dim} {eta}",
            (Unit::Things, false) => "{prefix} {spinner} {pos} {msg:.dim}",
        };
        // `templates_parse` tests the constants.
        ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_bar())
    }

    fn show(self, n: u64) -> String {
        match self {
            Unit::Bytes => format!("{} MiB", n >> 20),
            Unit::Things => n.to_string(),
        }
    }
}

#[derive(Debug)]
pub struct Progress {
    ui: Ui,
    total: u64,
    unit: Unit,
    /// Counts, also where it is not shown.
    bar: ProgressBar,
    said: Instant,
}

impl Progress {
    /// Advances to `at` and shows `now` after the count.
    pub fn set(&mut self, at: u64, now: &str) {
        // The total was counted in the previous run, so it may be too small.
        if self.total != 0 && at > self.total {
            self.bar.set_length(at);
        }
        self.bar.set_position(at);
        self.bar.set_message(now.to_owned());
        if self.bar.is_hidden() && self.said.elapsed() >= PLAIN_EVERY {
            self.said = Instant::now();
            let of = match self.total {
                0 => String::new(),
                total => format!(" of about {}", self.unit.show(total)),
            };
            let (what, at) = (self.bar.prefix(), self.unit.show(at));
            self.ui.say(format!("{what} … {at}{of}"));
        }
    }

    pub fn add(&mut self, n: u64) {
        self.set(self.at() + n, "");
    }

    pub fn at(&self) -> u64 {
        self.bar.position()
    }

    pub fn done(self) {
        self.bar.finish_and_clear();
        let took = duration(self.bar.elapsed());
        self.ui.say(format!("{} done in {took}", self.bar.prefix()));
    }
}

/// Formats a duration, as in "1.5 s" or "2 min 05 s".
pub fn duration(d: Duration) -> String {
    match d.as_secs() {
        0..60 => format!("{:.1} s", d.as_secs_f64()),
        s => format!("{} min {:02} s", s / 60, s % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_parse() {
        for text in [
            "{prefix} [{bar:30}] {bytes}/{total_bytes} {eta}",
            "{prefix} {spinner} {bytes}",
            "{prefix} [{bar:30}] {pos}/{len} {msg:.dim} {eta}",
            "{prefix} {spinner} {pos} {msg:.dim}",
        ] {
            ProgressStyle::with_template(text).unwrap();
        }
    }

    #[test]
    fn duration_seconds_and_minutes() {
        assert_eq!(duration(Duration::from_millis(1540)), "1.5 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 05 s");
    }
}
