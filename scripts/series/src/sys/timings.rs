// SPDX-License-Identifier: GPL-2.0

//! The time that the steps of a command take.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

/// The steps so far, in order.
#[derive(Debug, Default)]
pub struct Timings(Mutex<Vec<(String, Duration)>>);

impl Timings {
    pub fn time<T>(&self, what: &str, run: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = run();
        self.add(what, start.elapsed());
        result
    }

    pub fn add(&self, what: &str, took: Duration) {
        if let Ok(mut steps) = self.0.lock() {
            steps.push((what.to_owned(), took));
        }
    }

    /// Returns a line for each step and one for their sum, and forgets them.
    pub fn take(&self) -> Vec<String> {
        let steps = self.0.lock().map(|mut steps| std::mem::take(&mut *steps));
        let mut steps = steps.unwrap_or_default();
        let all = steps.iter().map(|(_, took)| *took).sum();
        steps.push(("together".to_owned(), all));
        let line =
            |(what, took): (String, Duration)| format!("{:7.1} s  {what}", took.as_secs_f64());
        steps.into_iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_listed_and_added_up() {
        let timings = Timings::default();
        assert_eq!(timings.time("assemble", || 7), 7);
        timings.take();
        timings.add("build", Duration::from_millis(12_340));
        timings.add("run", Duration::from_millis(1_000));
        assert_eq!(
            timings.take(),
            ["   12.3 s  build", "    1.0 s  run", "   13.3 s  together"]
        );
    }
}
