// SPDX-License-Identifier: GPL-2.0

//! `status`, `graph`, and the reports.

use super::{App, Report, Result, output, print, print_line, write};
use crate::{
    cli::args::GraphFormat,
    report::{
        self,
        graph::{self, Graph},
        status::{self, SeriesStatus},
    },
};

impl App<'_> {
    pub(super) fn graph(&self, format: GraphFormat) -> Result<()> {
        let statuses = self.statuses(None)?;
        let graph = Graph::new(&self.base, &statuses);
        print(&match format {
            GraphFormat::Text => graph::text(&graph),
            GraphFormat::Dot => graph::dot(&graph),
            GraphFormat::Mermaid => graph::mermaid(&graph),
        })
    }

    /// Returns the state of all series. Uses the manifests if the series are not assembled.
    pub(super) fn status(&self) -> Result<Vec<SeriesStatus>> {
        let Some(report) = output::read_report(&self.ws)? else {
            return self.statuses(None);
        };
        if self.unchanged()?.is_none() {
            self.say(
                "note: the series changed since the last assemble; run `cargo series assemble`",
            );
        }
        self.write_report(&report)
    }

    pub(super) fn statuses(&self, report: Option<&Report>) -> Result<Vec<SeriesStatus>> {
        status::statuses(&self.ws, &self.cache, &self.base, report)
    }

    /// Prints the state of the series, and writes it to `out/`.
    pub(super) fn show(&self, report: &Report) -> Result<()> {
        print_line(status::table(&self.write_report(report)?))
    }

    /// Writes `out/report.md` and `out/report.html`. Call it after each recorded result.
    pub(super) fn write_report(&self, report: &Report) -> Result<Vec<SeriesStatus>> {
        let statuses = self.statuses(Some(report))?;
        let page = report::page(&self.ws, &self.base, report, &statuses);
        let out = self.ws.out()?;
        write(&out.join("report.md"), report::markdown(&page).as_bytes())?;
        write(&out.join("report.html"), report::html(&page).as_bytes())?;
        Ok(statuses)
    }
}
