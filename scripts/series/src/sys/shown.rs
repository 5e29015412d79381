// SPDX-License-Identifier: GPL-2.0

//! Shows the programs that the tool runs, and their output.

use std::io::{self, Write};

use crate::sys::{
    Cmd, Output, Runner,
    runner::{Feed, OnLine},
};

/// A [`Runner`] that writes each command to standard error before another one runs it.
pub struct Shown<'a> {
    pub inner: &'a dyn Runner,
    /// Whether the output of the commands is shown as well.
    pub output: bool,
}

impl Runner for Shown<'_> {
    fn execute(
        &self,
        cmd: &Cmd,
        feed: Option<Feed<'_>>,
        on_line: Option<OnLine<'_>>,
    ) -> io::Result<Output> {
        tell(&format!("+ {}", cmd.short()));
        if !self.output {
            return self.inner.execute(cmd, feed, on_line);
        }
        let mut both = on_line.map(|on_line| {
            move |line: &str| {
                tell(&format!("  {line}"));
                on_line(line);
            }
        });
        let on_line = both.as_mut().map(|both| both as OnLine<'_>);
        let out = self.inner.execute(cmd, feed, on_line)?;
        for bytes in [&out.stdout, &out.stderr] {
            tell(&shown(bytes));
        }
        if !out.ok() {
            let code = out.code.map(|c| format!("code {c}"));
            let code = code.as_deref().unwrap_or("a signal");
            tell(&format!("  ended with {code}"));
        }
        Ok(out)
    }
}

/// Returns output as indented lines. Output that is not text is only counted.
fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => {
            let lines = text.lines().map(|line| format!("  {line}"));
            lines.collect::<Vec<_>>().join("\n")
        }
        _ => format!("  ({} bytes that are not text)", bytes.len()),
    }
}

/// Writes to standard error. A failure must not end the command.
fn tell(text: &str) {
    if !text.is_empty() {
        let _ = writeln!(io::stderr(), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_indented_or_counted() {
        assert_eq!(shown(b"a\nb\n"), "  a\n  b");
        assert_eq!(shown(b""), "");
        for bytes in [&b"a\0b"[..], b"\xff"] {
            assert!(shown(bytes).contains(&format!("({} bytes", bytes.len())));
        }
    }
}
