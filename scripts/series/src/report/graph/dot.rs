// SPDX-License-Identifier: GPL-2.0

//! Writes the graph for Graphviz.

use super::{Graph, size, state};
use crate::report::status::SeriesStatus;

/// Formats the graph in the language of dot. Arrows point to dependencies.
pub fn dot(graph: &Graph<'_>) -> String {
    let name = |i: usize| quoted(&[&graph.nodes[i].name]);
    let base = quoted(&[&graph.base]);
    let mut text = String::from("digraph series {\n    rankdir=BT;\n");
    text += "    node [shape=box, style=rounded, fontname=\"sans-serif\"];\n";
    text += &format!("    {base} [shape=plaintext];\n");
    for (i, node) in graph.nodes.iter().enumerate() {
        text += &format!("    {} [{}];\n", name(i), attributes(node));
    }
    for (component, members) in graph.groups() {
        let cluster = quoted(&[&format!("cluster_{component}")]);
        let label = quoted(&[component]);
        text += &format!("    subgraph {cluster} {{\n        label={label}; style=dotted;\n");
        text.extend(members.iter().map(|i| format!("        {};\n", name(*i))));
        text += "    }\n";
    }
    for (from, to) in graph.edges() {
        let to = to.map_or_else(|| base.clone(), name);
        text += &format!("    {} -> {to};\n", name(from));
    }
    text + "}\n"
}

fn attributes(node: &SeriesStatus) -> String {
    let label = quoted(&[&node.name, &size(node), &state(node)]);
    let mut attributes = format!("label={label}");
    let posted = node.last.as_ref();
    if posted.is_none_or(|posted| posted.version < node.version) {
        attributes += ", style=\"rounded,dashed\"";
    }
    if let Some(posted) = posted {
        attributes += &format!(", URL={}", quoted(&[&posted.link]));
    }
    attributes
}

/// Quotes lines as one string of dot, in which a backslash starts an escape.
fn quoted(lines: &[&str]) -> String {
    let escape = |line: &&str| line.replace('\\', "\\\\").replace('"', "\\\"");
    let escaped: Vec<String> = lines.iter().map(escape).collect();
    format!("\"{}\"", escaped.join("\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::graph::tests::{graph, nodes};

    #[test]
    fn dot_of_graph() {
        insta::assert_snapshot!(dot(&graph(&nodes())));
    }

    #[test]
    fn quoted_escapes_quotes() {
        assert_eq!(quoted(&["a\"b\\", "c"]), r#""a\"b\\\nc""#);
    }
}
