// SPDX-License-Identifier: GPL-2.0

//! `status`, `graph`, and the reports.

use super::App;
use crate::{
    cli::{args::GraphFormat, stdout::print},
    patches::output::{self, Report},
    report::{
        self,
        graph::{self, Graph},
        status::{self, SeriesStatus},
    },
    sys::{error::Result, files::write},
};

impl App<'_> {
    pub(super) fn graph(&self, format: GraphFormat) -> Result<()> {
        let graph = Graph::read(&self.ws, &self.base)?;
        print(&match format {
            GraphFormat::Text => graph::text(&graph),
            GraphFormat::Dot => graph::dot(&graph),
            GraphFormat::Mermaid => graph::mermaid(&graph),
        });
        Ok(())
    }

    /// Returns the state of all series. Uses the manifests if the series are not assembled.
    pub(super) fn status(&self) -> Result<Vec<SeriesStatus>> {
        let report = output::read_report(&self.ws)?;
        if report.is_some() && self.unchanged()?.is_none() {
            self.ui.say(
                "note: the series changed since the last assemble; run `cargo series assemble`",
            );
        }
        match &report {
            Some(report) => self.write_report(report),
            None => status::statuses(&self.ws, &self.cache, &self.base, None),
        }
    }

    /// Prints the state of the series, and writes it to `out/`.
    pub(super) fn show(&self, report: &Report) -> Result<()> {
        let statuses = self.write_report(report)?;
        print(&format!("{}\n", status::table(&statuses)));
        Ok(())
    }

    /// Returns the state of the series in the report.
    pub(super) fn standings_of(&self, report: &Report) -> Result<Vec<SeriesStatus>> {
        let mut statuses = status::statuses(&self.ws, &self.cache, &self.base, Some(report))?;
        statuses.retain(|s| report.series.iter().any(|r| r.name == s.name));
        Ok(statuses)
    }

    /// Writes `out/report.md` and `out/report.html`. Call it after each recorded result.
    pub(super) fn write_report(&self, report: &Report) -> Result<Vec<SeriesStatus>> {
        let statuses = status::statuses(&self.ws, &self.cache, &self.base, Some(report))?;
        let graph = Graph::read(&self.ws, &self.base)?;
        let page = report::page(&self.ws, &graph, report, &statuses);
        let out = self.ws.out()?;
        write(&out.join("report.md"), report::markdown(&page).as_bytes())?;
        write(&out.join("report.html"), report::html(&page).as_bytes())?;
        Ok(statuses)
    }
}
