// SPDX-License-Identifier: GPL-2.0

//! What is shown while the tool works: bars on a terminal, plain lines elsewhere.
//!
//! All of it goes to standard error; standard output carries only results.

use std::{
    io::{
        IsTerminal,
        Write, //
    },
    time::{
        Duration,
        Instant, //
    },
};

use indicatif::{
    ProgressBar,
    ProgressStyle, //
};

/// How often a line of progress appears where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(20);

/// Where talk goes.
#[derive(Debug, Clone, Copy)]
pub struct Ui {
    terminal: bool,
    quiet: bool,
}

/// Writes a line to standard error. Ignores failures: the line is lost, and the command
/// goes on.
fn tell(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

impl Ui {
    /// Looks at standard error to see whether a person watches.
    pub fn detect(quiet: bool) -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            quiet,
        }
    }

    /// Shows nothing.
    pub fn silent() -> Self {
        Self {
            terminal: false,
            quiet: true,
        }
    }

    /// Says one line.
    pub fn say(&self, text: impl AsRef<str>) {
        if !self.quiet {
            tell(format_args!("{}", text.as_ref()));
        }
    }

    /// Says a line that even a quiet run shows.
    pub fn warn(&self, text: impl AsRef<str>) {
        tell(format_args!("warning: {}", text.as_ref()));
    }

    /// Asks a yes-or-no question; returns `None` without a terminal.
    pub fn ask(&self, question: &str) -> Option<bool> {
        if !self.terminal || !std::io::stdin().is_terminal() {
            return None;
        }
        eprint!("{question} [y/N] ");
        let mut answer = String::new();
        // A failed read counts as no.
        let _ = std::io::stdin().read_line(&mut answer);
        let answer = answer.trim().to_lowercase();
        Some(answer == "y" || answer == "yes")
    }

    /// Starts something long; `total` may be unknown (0).
    pub fn progress(&self, what: &str, total: u64, unit: Unit) -> Progress {
        let bar = (self.terminal && !self.quiet).then(|| {
            let bar = if total == 0 {
                ProgressBar::new_spinner()
            } else {
                ProgressBar::new(total)
            };
            bar.set_style(unit.style(total != 0));
            bar.set_prefix(what.to_owned());
            bar
        });
        if bar.is_none() {
            self.say(format!("{what} …"));
        }
        Progress {
            ui: *self,
            what: what.to_owned(),
            total,
            at: 0,
            unit,
            bar,
            start: Instant::now(),
            said: Instant::now(),
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things: files, objects.
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
        // The templates are constants, tested below.
        ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_bar())
    }

    fn show(self, n: u64) -> String {
        match self {
            Unit::Bytes => format!("{} MiB", n >> 20),
            Unit::Things => n.to_string(),
        }
    }
}

/// Something long that is under way.
#[derive(Debug)]
pub struct Progress {
    ui: Ui,
    what: String,
    total: u64,
    at: u64,
    unit: Unit,
    bar: Option<ProgressBar>,
    start: Instant,
    said: Instant,
}

impl Progress {
    /// Advances to `at`, and shows `now` beside it.
    pub fn set(&mut self, at: u64, now: &str) {
        self.at = at;
        if let Some(bar) = &self.bar {
            // The total is that of the last run, so it may turn out too small.
            if self.total != 0 && at > self.total {
                bar.set_length(at);
            }
            bar.set_position(at);
            bar.set_message(now.to_owned());
        } else if self.said.elapsed() >= PLAIN_EVERY {
            self.said = Instant::now();
            let of = match self.total {
                0 => String::new(),
                total => format!(" of about {}", self.unit.show(total)),
            };
            self.ui
                .say(format!("{} … {}{of}", self.what, self.unit.show(at)));
        }
    }

    /// Advances by `n`.
    pub fn add(&mut self, n: u64) {
        self.set(self.at + n, "");
    }

    /// How far it is.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Ends it and says how long it took.
    pub fn done(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let took = self.start.elapsed();
        self.ui
            .say(format!("{} done in {}", self.what, duration(took)));
    }
}

/// A time as a person says it.
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
    fn durations_read_well() {
        assert_eq!(duration(Duration::from_millis(1540)), "1.5 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 05 s");
    }
}
