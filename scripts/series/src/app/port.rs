// SPDX-License-Identifier: GPL-2.0

//! `port`.

use super::{
    App,
    print, //
};
use crate::{
    base::{
        Other,
        Place,
        obtain_other, //
    },
    emit,
    error::Result,
    manifest::chosen_series,
    port::{
        self,
        report::{
            BaseReport,
            Report, //
        },
        repository::{
            self,
            GitMerge, //
        },
        show, //
    },
    workspace::write,
};

impl App<'_> {
    pub(super) fn port(&self, base: &str, names: &[String], json: bool) -> Result<()> {
        // What is wrong here is said before anything is fetched.
        let place = Place::parse(base)?;
        let planned = self.planned(names)?;
        let own = self.base_commit()?;
        let other = obtain_other(self.runner, &self.cache, &place, &self.ui)?;
        let git = self.git();
        let wanted = port::wanted(&planned);
        let ours = repository::read(&git, &own.tree, &wanted)?;
        let theirs = repository::read(&git, &other.commit.tree, &wanted)?;
        let scratch = self.cache.scratch()?;
        let merge = GitMerge::new(&git, scratch.path().to_owned());
        let mut series = port::judge_all(&planned, &ours, &theirs, &merge)?;
        let manifests: Vec<_> = planned.iter().map(|p| p.series()).collect();
        let chosen = chosen_series(&manifests, names)?;
        // The others were needed to get that far.
        series.retain(|s| chosen.contains(&s.name));
        let report = Report {
            base: BaseReport {
                name: other.name.clone(),
                version: other.version.clone(),
                from: other.from.clone(),
                tree: other.commit.tree.to_string(),
            },
            made_for: self.base.version.clone(),
            series,
        };
        self.show_port(&report, &other, names, json)
    }

    /// Prints the report, and leaves it in `out/port/`.
    fn show_port(
        &self,
        report: &Report,
        other: &Other,
        names: &[String],
        json: bool,
    ) -> Result<()> {
        let text = show::text(report);
        let data = emit::json(report)?;
        let dir = self.ws.out()?.join("port");
        // A report of some series does not take the place of the whole one.
        let name = std::iter::once(&other.name)
            .chain(names)
            .cloned()
            .collect::<Vec<_>>()
            .join("+");
        for (ending, content) in [("md", text.as_bytes()), ("json", &data)] {
            let path = dir.join(format!("{name}.{ending}"));
            write(&path, content)?;
            self.ui.say(self.ws.shown(&path).display().to_string());
        }
        match json {
            true => print(&String::from_utf8_lossy(&data)),
            false => print(&text),
        }
        Ok(())
    }
}
