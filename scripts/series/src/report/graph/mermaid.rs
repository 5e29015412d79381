// SPDX-License-Identifier: GPL-2.0

//! Writes the graph for Mermaid, which many viewers of Markdown draw.

use super::{Graph, size, state};

/// Formats the graph as a flow chart. Arrows point to dependencies.
pub fn mermaid(graph: &Graph<'_>) -> String {
    let mut text = format!("graph BT\n    base[{}]\n", quoted(&[&graph.base]));
    for (i, node) in graph.nodes.iter().enumerate() {
        let label = quoted(&[&node.name, &size(node), &state(node)]);
        text += &format!("    s{i}({label})\n");
    }
    for (component, members) in graph.groups() {
        let label = quoted(&[component]);
        let inside: String = members.iter().map(|m| format!("        s{m}\n")).collect();
        text += &format!("    subgraph c{}[{label}]\n{inside}    end\n", members[0]);
    }
    for (from, to) in graph.edges() {
        let to = to.map_or("base".to_owned(), |to| format!("s{to}"));
        text += &format!("    s{from} --> {to}\n");
    }
    text
}

/// Quotes lines as one label. Mermaid reads HTML entities in labels.
fn quoted(lines: &[&str]) -> String {
    let escape = |line: &&str| {
        line.replace('&', "&amp;")
            .replace('"', "&quot;")
            .replace('<', "&lt;")
    };
    let escaped: Vec<String> = lines.iter().map(escape).collect();
    format!("\"{}\"", escaped.join("<br>"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::graph::tests::{graph, nodes};

    #[test]
    fn mermaid_of_graph() {
        let mut nodes = nodes();
        for i in [1, 2] {
            nodes[i].component = "gpu \"buddy\"".into();
        }
        insta::assert_snapshot!(mermaid(&graph(&nodes)), @r#"
        graph BT
            base["Linux v6.1.2"]
            s0("clist<br>2 patches<br>v1 posted, v2 in work")
            s1("gpu-buddy<br>2 patches<br>v1 posted")
            s2("other<br>1 patch<br>v1 to be posted")
            s3("nova-mm<br>2 patches<br>v1 to be posted")
            s4("both<br>no patches yet<br>v1 to be posted")
            subgraph c1["gpu &quot;buddy&quot;"]
                s1
                s2
            end
            s0 --> base
            s1 --> s0
            s2 --> base
            s3 --> s0
            s3 --> s1
            s4 --> s2
            s4 --> s3
        "#);
    }
}
