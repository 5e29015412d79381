// SPDX-License-Identifier: GPL-2.0

//! Parses the diagnostics of compilers and checkers.
//!
//! make exits with 0 after warnings, so the tool reads the text. It has two formats: clang, gcc,
//! sparse, `kernel-doc` and bindgen write one line that starts with a place; rustc, clippy and
//! rustdoc write a block with the place on a separate line.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde::{Deserialize, Serialize};

use super::record::Said;
use crate::sys::pattern;

/// `warning: text`, `error[E0425]: text`.
static RUST: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(?<level>warning|error)(?:\[E\d+\])?: (?<text>.*)$"));
/// `  --> file:12:3`.
static ARROW: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\s*--> (.+?):(\d+):\d+$"));
/// Messages in one line, the first one of make itself.
static LINES: LazyLock<[Regex; 5]> = LazyLock::new(|| {
    let lines = [
        // `make[2]: *** No rule to make target …`.
        r"^make(?:\[\d+\])?: \*\*\* (?<text>No rule .*)$",
        // `file:12:3: warning: text`, also without the column, or after "clang diag:".
        r"(?x)^ (?:clang\ diag:\ )? (?<file>[^\s:][^:]*) : (?<line>\d+) : (?:\d+:)? \ ?
        (?<level>warning|error|fatal\ error) : \ ? (?<text>.*)$",
        // `Warning: file:12 text`, from `kernel-doc`.
        r"^(?<level>Warning|Error): (?<file>[^\s:]+):(?<line>\d+):? (?<text>.*)$",
        // `kernel.o: warning: text`, `ld.lld: error: text`.
        r"^(?<file>[\w./+-]+): (?<level>warning|error): (?<text>.*)$",
        // Options that select others without their dependencies.
        r"^(?<level>WARNING): (?<text>unmet direct dependencies .*)$",
    ];
    lines.map(pattern)
});

/// The severity according to the program that reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    Warning,
    /// The build fails, except for sparse, which reports errors for code that it cannot parse.
    Error,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Diagnostic {
    pub level: Level,
    pub said: Said,
}

/// Parses the standard error of a build. Paths below `source`, the folder of the sources, become
/// relative to it. The result is in order and has no duplicates.
pub fn parse(text: &str, source: &str) -> Vec<Diagnostic> {
    let text = text.replace(&format!("{}/", source.trim_end_matches('/')), "");
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let start = at;
        at += 1;
        let Some((mut diagnostic, block)) = head(&lines[start..]) else {
            continue;
        };
        let more = |line: &&&str| block && !line.is_empty() || !block && belongs(line);
        at += lines[at..].iter().take_while(more).count();
        diagnostic.said.text = lines[start..at].join("\n").trim_end().to_owned();
        if !is_summary(&diagnostic.said.message) {
            found.push(diagnostic);
        }
    }
    found.sort();
    found.dedup_by(|a, b| {
        // A header produces the same message in each file that includes it.
        (&a.level, &a.said.file, a.said.line, &a.said.message)
            == (&b.level, &b.said.file, b.said.line, &b.said.message)
    });
    found
}

/// Also returns whether the diagnostic extends to the next empty line.
fn head(lines: &[&str]) -> Option<(Diagnostic, bool)> {
    let (line, more) = lines.split_first()?;
    if let Some(found) = RUST.captures(line) {
        let mut new = diagnostic(&found);
        let mut block = more.iter().take_while(|l| !l.is_empty());
        if let Some(place) = block.clone().find_map(|l| ARROW.captures(l)) {
            new.said.file = path(&place[1]);
            new.said.line = place[2].parse().ok();
        }
        // Without a place, the line may be the complete message of another program.
        return Some((new, block.next().is_some_and(|l| l.starts_with(' '))));
    }
    // Other messages of make only repeat that a program failed.
    let (of_make, of_programs) = LINES.split_at(1);
    let is_make = line.starts_with("make");
    let mut forms = if is_make { of_make } else { of_programs }.iter();
    let found = forms.find_map(|form| form.captures(line))?;
    Some((diagnostic(&found), false))
}

/// Converts a match of one of the patterns. Without a level, it is an error.
fn diagnostic(found: &Captures<'_>) -> Diagnostic {
    let part = |name: &str| found.name(name).map_or("", |part| part.as_str());
    let (level, file) = match part("level") {
        "WARNING" => (Level::Warning, "Kconfig"),
        "warning" | "Warning" => (Level::Warning, part("file")),
        _ => (Level::Error, part("file")),
    };
    Diagnostic {
        level,
        said: Said {
            file: path(file),
            line: part("line").parse().ok(),
            message: part("text").trim_end().to_owned(),
            text: String::new(),
        },
    }
}

/// Returns a path in the kernel from one that may be relative to a build folder.
fn path(shown: &str) -> String {
    shown.trim_start_matches("../").to_owned()
}

/// Whether a line continues a C compiler's message: source, markers, notes.
fn belongs(line: &str) -> bool {
    let indented = line.starts_with(' ') && !line.starts_with("  CC") && line.contains('|');
    indented || line.contains(": note: ")
}

/// Whether a message only counts other messages.
fn is_summary(message: &str) -> bool {
    message.ends_with("warning emitted")
        || message.ends_with("warnings emitted")
        || message.starts_with("aborting due to")
        || message.starts_with("could not compile")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "/cache/full/linux";

    fn shown(text: &str) -> String {
        parse(text, SOURCE)
            .iter()
            .map(|d| {
                let Said {
                    file,
                    line,
                    message,
                    text,
                } = &d.said;
                let lines = text.lines().count();
                format!("{:?} {file}:{line:?}: {message} ({lines} lines)\n", d.level)
            })
            .collect()
    }

    #[test]
    fn parse_c_line_by_line() {
        let text = "\
In file included from /cache/full/linux/rust/helpers/helpers.c:16:
/cache/full/linux/include/asm-generic/io.h:1209:55: warning: arithmetic on a null pointer [-Wnull]
 1209 |         return PCI_IOBASE + port;
      |                ~~~~~~~~~~ ^
../drivers/a.c:7:2: note: expanded from here
1 warning generated.
clang diag: /cache/full/linux/include/asm-generic/io.h:1209:55: warning: arithmetic on a null pointer [-Wnull]
/cache/full/linux/drivers/a.c:3:1: error: bad constant expression
../drivers/a.c:4:10: fatal error: 'x.h' file not found
Warning: ../drivers/a.c:12 function parameter 'x' not described in 'f'
Warning: drivers/a.c:13: short description
drivers/a.o: warning: objtool: f+0x12: unreachable
ld.lld: error: undefined symbol: f
drivers/Kconfig:7:warning: defaults for choice values not supported
WARNING: unmet direct dependencies detected for GPU_BUDDY
  Depends on [n]: DRM [=n]
make[3]: *** No rule to make target 'drivers/b.o', needed by 'drivers/'.  Stop.
make[3]: *** [drivers/Makefile:7: drivers/a.o] Error 1
make[1]: warning: jobserver unavailable
";
        insta::assert_snapshot!(shown(text));
    }

    #[test]
    fn parse_rust_block_by_block() {
        let text = "\
warning: this `if` can be collapsed
  --> /cache/full/linux/rust/kernel/lib.rs:91:17
   |
91 | /                 if nesting == 1 {
   |
   = note: `-W clippy::collapsible-match` implied

error[E0425]: cannot find value `x` in this scope
 --> ../drivers/gpu/nova-core/mm.rs:2:5
  |
2 |     x
  |     ^ not found

warning: unused
warning: 2 warnings emitted

error: aborting due to 1 previous error

warning: srctree/ link to include/x.h does not exist
";
        insta::assert_snapshot!(shown(text));
    }
}
