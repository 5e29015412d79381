// SPDX-License-Identifier: GPL-2.0

//! Draws the graph as an SVG picture without external resources.

use super::{
    Graph, Node,
    layout::{
        Edge,
        Layout,
        Point,
        Size,
        layout, //
    },
};

/// Returns the size of the boxes, which fit the longest text in wide letters.
fn size(graph: &Graph) -> Size {
    let names = graph.nodes.iter().map(|n| &n.name).chain([&graph.base]);
    let names = names.map(|name| 9.0 * name.chars().count() as f64);
    let states = graph.nodes.iter().map(Node::state);
    let states = states.chain(graph.nodes.iter().map(about));
    let states = states.map(|state| 7.5 * state.chars().count() as f64);
    let text = names.chain(states).fold(0.0, f64::max);
    Size {
        width: (text + 32.0).max(200.0),
        height: 72.0,
        gap: 24.0,
        row_gap: 40.0,
    }
}

/// The margin around the picture.
const MARGIN: f64 = 12.0;

/// The style. The colors follow the reader's light or dark scheme, as in the report.
const STYLE: &str = "\
    .graph { color-scheme: light dark; --ink: #1c2128; --faint: #59636e; --paper: #ffffff; --box: #f6f8fa;\n\
    \x20 --line: #8c959f; --done: #1a7f37; --open: #9a6700; font: 13px system-ui, sans-serif; }\n\
    @media (prefers-color-scheme: dark) {\n\
    \x20 .graph { --ink: #e6edf3; --faint: #9198a1; --paper: #0d1117; --box: #161b22; --line: #6e7681;\n\
    \x20   --done: #3fb950; --open: #d29922; }\n\
    }\n\
    .graph .paper { fill: var(--paper); }\n\
    .graph rect.box { fill: var(--box); stroke: var(--line); }\n\
    .graph rect.done { stroke: var(--done); }\n\
    .graph rect.open { stroke: var(--open); stroke-dasharray: 5 3; }\n\
    .graph text { fill: var(--ink); text-anchor: middle; }\n\
    .graph .name { font-weight: 600; font-size: 15px; }\n\
    .graph .faint { fill: var(--faint); }\n\
    .graph a text { text-decoration: underline; }\n\
    .graph path { fill: none; stroke: var(--line); stroke-width: 1.5; }\n\
    .graph marker path { fill: var(--line); stroke: none; }\n";

/// The container of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// A separate file.
    File,
    /// An HTML page.
    Page,
}

/// Draws the picture. Arrows point to dependencies.
pub fn svg(graph: &Graph, frame: Frame) -> String {
    let size = size(graph);
    let layout = layout(graph, size);
    let (width, height) = (layout.size.0 + 2.0 * MARGIN, layout.size.1 + 2.0 * MARGIN);
    let head = match frame {
        Frame::File => "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
        Frame::Page => "",
    };
    let mut out = format!(
        "{head}<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"graph\" role=\"graphics-document\" \
         aria-labelledby=\"graph-title graph-desc\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\">\n"
    );
    out += "<title id=\"graph-title\">Dependencies of the series</title>\n";
    let about = escaped(&graph.sentences().join(" "));
    out += &format!("<desc id=\"graph-desc\">{about}</desc>\n<style>\n{STYLE}</style>\n");
    out += "<defs><marker id=\"graph-tip\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"7\" \
            markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L10 5L0 10z\"/></marker></defs>\n";
    if frame == Frame::File {
        out += "<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n";
    }
    out += &format!("<g transform=\"translate({MARGIN} {MARGIN})\">\n");
    for edge in &layout.edges {
        out += &path(&layout, size, edge);
    }
    out += &base(&graph.base, size, layout.boxes[0]);
    for (node, place) in graph.nodes.iter().zip(&layout.boxes[1..]) {
        out += &boxed(node, size, *place);
    }
    out + "</g>\n</svg>\n"
}

/// Draws an arrow from the top of a box to the bottom of the box above.
fn path(layout: &Layout, size: Size, edge: &Edge) -> String {
    let (from, to) = (layout.boxes[edge.from], layout.boxes[edge.to]);
    let half = size.height / 2.0;
    let bend = size.row_gap / 2.0;
    let mut at = (from.0, from.1 - half);
    let mut path = format!("M{} {}", at.0, at.1);
    let mut curve = |to: Point| {
        path += &format!(
            "C{} {} {} {} {} {}",
            at.0,
            at.1 - bend,
            to.0,
            to.1 + bend,
            to.0,
            to.1
        );
        at = to;
    };
    // Pass a row vertically.
    for (x, y) in &edge.between {
        curve((*x, y + half));
        curve((*x, y - half));
    }
    curve((to.0, to.1 + half));
    format!("<path d=\"{path}\" marker-end=\"url(#graph-tip)\"/>\n")
}

fn base(name: &str, size: Size, (x, y): Point) -> String {
    rectangle("box", size, (x, y)) + &text("name", (x, y + 5.0), name)
}

fn boxed(node: &Node, size: Size, (x, y): Point) -> String {
    let class = match node.is_open() {
        true => "box open",
        false => "box done",
    };
    let name = text("name", (x, y - 14.0), &node.name);
    let patches = text("faint", (x, y + 6.0), &about(node));
    let state = text("state", (x, y + 24.0), &node.state());
    let state = match &node.posted {
        Some(posted) => format!("<a href=\"{}\">{state}</a>\n", escaped(&posted.link)),
        None => state,
    };
    rectangle(class, size, (x, y)) + &name + &patches + &state
}

/// Returns the number of patches, after the component if it has several series.
fn about(node: &Node) -> String {
    let component = node.component.iter().map(|c| format!("{c}, "));
    component.chain([node.size()]).collect()
}

fn rectangle(class: &str, size: Size, (x, y): Point) -> String {
    let Size { width, height, .. } = size;
    format!(
        "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n",
        x - width / 2.0,
        y - height / 2.0
    )
}

fn text(class: &str, (x, y): Point, text: &str) -> String {
    let text = escaped(text);
    format!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>\n")
}

/// Escapes text for XML.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML cannot represent control characters.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::graph::tests::{
        graph,
        node, //
    };

    #[test]
    fn svg_of_graph() {
        insta::assert_snapshot!(svg(&graph(), Frame::File));
    }

    #[test]
    fn svg_escapes_names() {
        let mut graph = graph();
        graph.nodes = vec![node("<script>\"&'\u{1}", &[])];
        graph.nodes[0].posted = Some(crate::report::graph::Posted {
            version: 1,
            link: "\"><script>".into(),
        });
        let picture = svg(&graph, Frame::Page);
        assert!(!picture.contains("<script"), "{picture}");
        assert!(
            picture.contains("&lt;script&gt;&quot;&amp;' <"),
            "{picture}"
        );
        assert!(
            picture.contains("href=\"&quot;&gt;&lt;script&gt;\""),
            "{picture}"
        );
    }

    #[test]
    fn svg_of_base_alone() {
        let graph = Graph {
            base: "Linux v6.1.2".into(),
            nodes: Vec::new(),
        };
        assert!(svg(&graph, Frame::File).contains(">Linux v6.1.2</text>"));
    }
}
