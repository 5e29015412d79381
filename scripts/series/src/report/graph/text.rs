// SPDX-License-Identifier: GPL-2.0

//! Draws the graph as text.

use super::{Graph, Node};

/// Draws a tree with the base at its root. A series is below the last of its dependencies and names
/// the others.
pub fn text(graph: &Graph) -> String {
    let mut lines = vec![Line::plain(graph.base.clone())];
    branches(graph, None, "", &mut lines);
    let width = lines.iter().map(Line::width).max().unwrap_or(0);
    let lines = lines.iter().map(|l| l.padded(width) + "\n");
    lines.collect()
}

/// A line: the indented name, and facts in a second column.
struct Line {
    name: String,
    about: Vec<String>,
}

impl Line {
    fn plain(name: String) -> Self {
        Self {
            name,
            about: Vec::new(),
        }
    }

    /// Returns the width that the line needs in the first column.
    fn width(&self) -> usize {
        match self.about.is_empty() {
            true => 0,
            false => self.name.chars().count(),
        }
    }

    fn padded(&self, width: usize) -> String {
        match self.about.is_empty() {
            true => self.name.clone(),
            false => format!("{:width$}  {}", self.name, self.about.join(", ")),
        }
    }
}

fn branches(graph: &Graph, on: Option<usize>, indent: &str, lines: &mut Vec<Line>) {
    let above = |n: &&Node| graph.below(n).into_iter().max() == on;
    let nodes: Vec<&Node> = graph.nodes.iter().filter(above).collect();
    for (i, node) in nodes.iter().enumerate() {
        let last = i + 1 == nodes.len();
        let (corner, rail) = if last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        let indent_below = format!("{indent}{rail}");
        let mut about = vec![node.size(), node.state()];
        about.extend(node.component.iter().map(|c| format!("of {c}")));
        let place = graph.find(&node.name);
        let parent = on.map(|on| graph.nodes[on].name.as_str());
        let others = node.depends.iter().filter(|d| Some(d.as_str()) != parent);
        let others: Vec<&str> = others.map(String::as_str).collect();
        if !others.is_empty() {
            about.push(format!("also on {}", others.join(" and ")));
        }
        lines.push(Line {
            name: format!("{indent}{corner}{}", node.name),
            about,
        });
        if let Some(posted) = &node.posted {
            let has_above = graph
                .nodes
                .iter()
                .any(|n| graph.below(n).into_iter().max() == place);
            let rail = if has_above { "│  " } else { "   " };
            lines.push(Line::plain(format!("{indent_below}{rail}{}", posted.link)));
        }
        branches(graph, place, &indent_below, lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::graph::tests::graph;

    #[test]
    fn text_of_graph() {
        insta::assert_snapshot!(text(&graph()));
    }
}
