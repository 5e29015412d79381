// SPDX-License-Identifier: GPL-2.0

//! Draws the graph as text.

use super::{Graph, size, state};
use crate::report::status::SeriesStatus;

/// The indented name, and facts for a second column.
type Line = (String, String);

/// Draws a tree. A series is below the last of its dependencies, and names the others.
pub fn text(graph: &Graph<'_>) -> String {
    let mut lines = vec![(graph.base.clone(), String::new())];
    branches(graph, None, "", &mut lines);
    let with_facts = lines.iter().filter(|(_, facts)| !facts.is_empty());
    let width = with_facts.map(|(name, _)| name.chars().count());
    let width = width.max().unwrap_or(0);
    let line = |(name, facts): &Line| {
        if facts.is_empty() {
            return format!("{name}\n");
        }
        format!("{name:width$}  {facts}\n")
    };
    lines.iter().map(line).collect()
}

fn branches(graph: &Graph<'_>, on: Option<usize>, indent: &str, lines: &mut Vec<Line>) {
    let is_on = |node: &SeriesStatus, on| graph.below(node).max() == on;
    let nodes = graph.nodes.iter().enumerate();
    let mut nodes = nodes.filter(|(_, node)| is_on(node, on)).peekable();
    while let Some((place, node)) = nodes.next() {
        let (corner, rail) = match nodes.peek() {
            None => ("└─ ", "   "),
            Some(_) => ("├─ ", "│  "),
        };
        let mut facts = vec![size(node), state(node)];
        facts.extend(graph.component(node).map(|c| format!("of {c}")));
        let parent = on.map(|on| &graph.nodes[on].name);
        let others = node.needs.iter().filter(|d| Some(*d) != parent);
        let others: Vec<&str> = others.map(String::as_str).collect();
        if !others.is_empty() {
            facts.push(format!("also on {}", others.join(" and ")));
        }
        lines.push((format!("{indent}{corner}{}", node.name), facts.join(", ")));
        let indent = format!("{indent}{rail}");
        if let Some(posted) = &node.last {
            let has_above = graph.nodes.iter().any(|n| is_on(n, Some(place)));
            let rail = if has_above { "│  " } else { "   " };
            lines.push((format!("{indent}{rail}{}", posted.link), String::new()));
        }
        branches(graph, Some(place), &indent, lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::graph::tests::{graph, nodes};

    #[test]
    fn text_of_graph() {
        insta::assert_snapshot!(text(&graph(&nodes())));
    }
}
