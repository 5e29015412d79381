// SPDX-License-Identifier: GPL-2.0

//! The manual page: all commands on one page, from the definitions that `--help` shows.

use std::io;

use clap::{Command, CommandFactory};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use crate::{
    cli::args::{Cli, ENVIRONMENT, EXIT_CODES},
    sys::called::{INSTALLED, is_installed},
};

pub fn page() -> String {
    let name = if is_installed() {
        INSTALLED
    } else {
        "cargo-series"
    };
    let mut command = Cli::command()
        .display_name(name)
        .disable_help_subcommand(true);
    command.build();
    let man = Man::new(command.clone());
    // clap_mangen defines the apostrophe, which all text needs, only when it renders an empty page.
    let mut page = Roff::new().render();
    let version = command.get_version().unwrap_or_default();
    let title = name.to_uppercase();
    page += &format!(".TH {title} 1 \"\" \"series {version}\" \"Patch series\"\n");
    page += &section("NAME", |to| man.render_name_section(to));
    page += &format!(".SH SYNOPSIS\n{}", usage(&mut command));
    page += &section("DESCRIPTION", |to| man.render_description_section(to));
    page += &section("OPTIONS", |to| man.render_options_section(to));
    page += ".SH COMMANDS\n";
    for sub in command.get_subcommands() {
        page += &subcommand(sub);
    }
    page += &list("ENVIRONMENT", &terms(ENVIRONMENT, "\n"));
    page += &list("EXIT STATUS", &terms(EXIT_CODES, ", "));
    page
}

/// Returns the part of the page about a command, without the global options.
fn subcommand(command: &Command) -> String {
    let name = command.get_name();
    let usage = usage(&mut command.clone());
    let man = Man::new(command.clone().mut_args(|arg| {
        let everywhere = arg.is_global_set() || arg.get_id() == "help";
        arg.hide(everywhere)
    }));
    let about = body(|to| man.render_description_section(to));
    let options = body(|to| man.render_options_section(to));
    let more = command.get_after_help();
    let more = more.map(|text| verbatim(&text.to_string()));
    let more = more.unwrap_or_default();
    format!(".SS \"{name}\"\n{usage}.PP\n{about}{options}{more}")
}

fn section(heading: &str, render: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
    format!(".SH \"{heading}\"\n{}", body(render))
}

fn usage(command: &mut Command) -> String {
    let usage = command.render_usage().to_string();
    let mut roff = Roff::new();
    roff.text([bold(usage.trim_start_matches("Usage: "))]);
    roff.to_roff()
}

/// Renders a section with clap, and removes the heading of the page that clap adds.
fn body(render: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
    let mut bytes = Vec::new();
    render(&mut bytes).expect("memory can be written to");
    let text = String::from_utf8(bytes).expect("the definitions are text");
    let below = text.split_once("\n.SH ").map_or("", |(_, text)| text);
    let body = below.split_once('\n').map_or("", |(_, body)| body);
    body.to_owned()
}

/// Splits a text into terms and their meanings.
fn terms(text: &'static str, end: &'static str) -> Vec<(&'static str, &'static str)> {
    let terms = text.split(end).map(str::trim);
    let terms = terms.filter_map(|term| term.split_once(' '));
    terms
        .map(|(term, meaning)| (term, meaning.trim()))
        .collect()
}

fn list(heading: &str, terms: &[(&'static str, &'static str)]) -> String {
    let mut roff = Roff::new();
    for (term, meaning) in terms {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*meaning)]);
    }
    format!(".SH \"{heading}\"\n{}", roff.to_roff())
}

fn verbatim(text: &str) -> String {
    let mut roff = Roff::new();
    roff.control("PP", []);
    roff.control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.to_roff()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text of the page without roff requests.
    fn plain() -> String {
        let mut text = page();
        for (escape, plain) in [("\\-", "-"), ("\\*(Aq", "'"), ("\\fB", ""), ("\\fI", "")] {
            text = text.replace(escape, plain);
        }
        text.replace("\\fR", "")
    }

    /// Returns the part of the page about a command.
    fn part(page: &str, name: &str) -> String {
        let heading = format!("\n.SS \"{name}\"\n");
        let at = page
            .find(&heading)
            .unwrap_or_else(|| panic!("{name} is not on the page"));
        let part = &page[at + heading.len()..];
        let end = part.find("\n.S").unwrap_or(part.len());
        part[..end].to_owned()
    }

    /// Reports whether the page contains these words, with any white space between them.
    fn has(page: &str, words: &str) -> bool {
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        flat(page).contains(&flat(words))
    }

    #[test]
    fn page_has_content_of_help() {
        let page = plain();
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        let globals: Vec<_> = command.get_arguments().cloned().collect();
        let in_page = |text: &str, words: &str| assert!(has(text, words), "{words}:\n{text}");
        for arg in &globals {
            in_page(&page, &format!("--{}", arg.get_long().unwrap()));
            in_page(&page, &arg.get_help().unwrap().to_string());
        }
        for sub in command.get_subcommands_mut() {
            let part = part(&page, sub.get_name());
            in_page(
                &part,
                sub.render_usage().to_string().trim_start_matches("Usage:"),
            );
            in_page(&part, &sub.get_about().unwrap().to_string());
            for arg in sub.get_arguments() {
                if globals.iter().any(|g| g.get_id() == arg.get_id()) {
                    continue;
                }
                match (arg.get_long(), arg.get_value_names()) {
                    (Some(long), _) => in_page(&part, &format!("--{long}")),
                    (None, names) => in_page(&part, names.unwrap()[0].as_str()),
                }
                in_page(&part, &arg.get_help().unwrap().to_string());
            }
        }
        for (term, meaning) in [terms(ENVIRONMENT, "\n"), terms(EXIT_CODES, ", ")].concat() {
            in_page(&page, &format!(".TP {term} {meaning}"));
        }
    }

    #[test]
    fn page_has_standard_sections() {
        let page = page();
        let headings: Vec<_> = page.lines().filter(|l| l.starts_with(".SH")).collect();
        assert_eq!(headings.len(), 8, "{headings:?}");
        assert!(page.contains("\n.TH CARGO-SERIES 1 "), "{page}");
        assert!(page.contains("\ncargo\\-series \\- Assemble, "), "{page}");
    }
}
