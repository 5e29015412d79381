// SPDX-License-Identifier: GPL-2.0

//! `graph`, and the reports.

use super::{
    App,
    print, //
};
use crate::{
    cli::GraphFormat,
    error::Result,
    graph::{
        self,
        Frame,
        Graph, //
    },
};

impl App<'_> {
    pub(super) fn graph(&self, format: GraphFormat) -> Result<()> {
        let graph = Graph::read(&self.ws, &self.base)?;
        print(&match format {
            GraphFormat::Text => graph::text(&graph),
            GraphFormat::Dot => graph::dot(&graph),
            GraphFormat::Svg => graph::svg(&graph, Frame::File),
        });
        Ok(())
    }
}
