// SPDX-License-Identifier: GPL-2.0

//! Writes the graph for Graphviz.

use super::{Graph, Node};

/// Formats the graph in the language of dot. Arrows point to dependencies.
pub fn dot(graph: &Graph) -> String {
    let mut text = String::from(
        "digraph series {\n    rankdir=BT;\n    node [shape=box, style=rounded, fontname=\"sans-serif\"];\n",
    );
    let base = quoted(&[&graph.base]);
    text += &format!("    {base} [shape=plaintext];\n");
    for node in &graph.nodes {
        text += &format!("    {} [{}];\n", quoted(&[&node.name]), attributes(node));
    }
    for node in &graph.nodes {
        let cluster = node.cluster(graph);
        if let Some(component) = node.component.as_ref().filter(|_| !cluster.is_empty()) {
            let name = quoted(&[&format!("cluster_{component}")]);
            let label = quoted(&[component]);
            text += &format!("    subgraph {name} {{\n        label={label}; style=dotted;\n");
            for i in cluster {
                text += &format!("        {};\n", quoted(&[&graph.nodes[i].name]));
            }
            text += "    }\n";
        }
    }
    for node in &graph.nodes {
        let name = quoted(&[&node.name]);
        for on in graph.below(node) {
            text += &format!("    {name} -> {};\n", quoted(&[&graph.nodes[on].name]));
        }
        if node.depends.is_empty() {
            text += &format!("    {name} -> {base};\n");
        }
    }
    text + "}\n"
}

fn attributes(node: &Node) -> String {
    let label = quoted(&[&node.name, &node.size(), &node.state()]);
    let mut attributes = format!("label={label}");
    if node.is_open() {
        attributes += ", style=\"rounded,dashed\"";
    }
    if let Some(posted) = &node.posted {
        attributes += &format!(", URL={}", quoted(&[&posted.link]));
    }
    attributes
}

/// Quotes lines as one string in the language of dot. Escapes backslashes, which start an escape
/// there.
fn quoted(lines: &[&str]) -> String {
    let escaped = lines
        .iter()
        .map(|l| l.replace('\\', "\\\\").replace('"', "\\\""));
    format!("\"{}\"", escaped.collect::<Vec<_>>().join("\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::graph::tests::graph;

    #[test]
    fn dot_of_graph() {
        insta::assert_snapshot!(dot(&graph()));
    }

    #[test]
    fn quoted_escapes_quotes() {
        assert_eq!(quoted(&["a\"b\\", "c"]), r#""a\"b\\\nc""#);
    }
}
