// SPDX-License-Identifier: GPL-2.0

//! Parses the diagnostics of compilers and checkers.
//!
//! make exits with 0 after warnings, so the tool reads the text. It has two formats: clang, gcc,
//! sparse, `kernel-doc` and bindgen write one line that starts with a place; rustc, clippy and
//! rustdoc write a block with the place on a separate line.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::record::Said;

/// `file:12:3: warning: text`, also without the column, or after "clang diag:".
static PLACED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(?:clang diag: )?([^\s:][^:]*):(\d+):(?:(\d+):)? ?(warning|error|fatal error): ?(.*)$",
    )
});
/// `Warning: file:12 text`, from `kernel-doc`.
static DOC: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(Warning|Error): ([^\s:]+):(\d+):? (.*)$"));
/// `warning: text`, `error[E0425]: text`.
static RUST: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(warning|error)(?:\[E\d+\])?: (.*)$"));
/// `  --> file:12:3`.
static ARROW: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\s*--> (.+?):(\d+):(\d+)$"));
/// `kernel.o: warning: text`, `ld.lld: error: text`.
static PROGRAM: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^([\w./+-]+): (warning|error): (.*)$"));
/// `make[2]: *** No rule to make target …`.
static NO_RULE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^make(?:\[\d+\])?: \*\*\* (No rule .*)$"));
/// Kconfig's warning about options that select others without their dependencies.
static KCONFIG: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^WARNING: (unmet direct dependencies .*)$"));

fn pattern(text: &str) -> Regex {
    // The patterns are constants, each used by a test below.
    Regex::new(text).expect("a pattern that does not compile")
}

/// The severity according to the program that reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    Warning,
    /// The build fails, except for sparse, which reports errors for code that it cannot parse.
    Error,
}

/// A diagnostic of a compiler or a checker.
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
        let Some((diagnostic, block)) = head(&lines, start) else {
            continue;
        };
        let mut diagnostic = diagnostic;
        let more = lines[at..].iter().take_while(|line| match block {
            true => !line.is_empty(),
            false => belongs(line),
        });
        at += more.count();
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

/// Parses the diagnostic that starts at this line; returns whether it extends to the next empty
/// line.
fn head(lines: &[&str], at: usize) -> Option<(Diagnostic, bool)> {
    let line = lines[at];
    if line.starts_with("make") {
        let message = NO_RULE.captures(line)?.get(1)?.as_str();
        return Some((make(Level::Error, "", None, message), false));
    }
    if let Some(c) = PLACED.captures(line) {
        let number = c[2].parse().ok();
        return Some((make(level(&c[4]), &c[1], number, &c[5]), false));
    }
    if let Some(c) = DOC.captures(line) {
        let number = c[3].parse().ok();
        return Some((make(level(&c[1]), &c[2], number, &c[4]), false));
    }
    if let Some(c) = RUST.captures(line) {
        let block = lines[at + 1..].iter().take_while(|l| !l.is_empty());
        let place = block.clone().find_map(|l| ARROW.captures(l));
        let (file, number) = match &place {
            Some(p) => (p[1].to_owned(), p[2].parse().ok()),
            None => (String::new(), None),
        };
        // Without a place, the line may be the complete message of another program.
        let is_block = block.clone().next().is_some_and(|l| l.starts_with(' '));
        return Some((make(level(&c[1]), &file, number, &c[2]), is_block));
    }
    if let Some(c) = PROGRAM.captures(line) {
        return Some((make(level(&c[2]), &c[1], None, &c[3]), false));
    }
    let c = KCONFIG.captures(line)?;
    Some((make(Level::Warning, "Kconfig", None, &c[1]), false))
}

fn level(word: &str) -> Level {
    match word.to_ascii_lowercase().as_str() {
        "warning" => Level::Warning,
        _ => Level::Error,
    }
}

fn make(level: Level, file: &str, line: Option<usize>, message: &str) -> Diagnostic {
    Diagnostic {
        level,
        said: Said {
            file: file.trim_start_matches("../").to_owned(),
            line,
            message: message.trim_end().to_owned(),
            text: String::new(),
        },
    }
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
