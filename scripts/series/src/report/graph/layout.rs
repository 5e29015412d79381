// SPDX-License-Identifier: GPL-2.0

//! The positions of the boxes in the picture.
//!
//! The base is on top, and each series is one row below the lowest of its dependencies. An edge
//! over several rows has a position in each of them, so that it runs between boxes.

use super::Graph;

/// The size of a box, and the gaps between boxes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub width: f64,
    pub height: f64,
    /// The gap between boxes of a row.
    pub gap: f64,
    /// The gap between rows.
    pub row_gap: f64,
}

/// A point: the distances from the left and from the top.
pub(super) type Point = (f64, f64);

/// The positions of boxes and edges.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    /// The center of each box: the base, then the series.
    pub boxes: Vec<Point>,
    /// The edges, each from a series to a dependency.
    pub edges: Vec<Edge>,
    /// Width and height of the picture.
    pub size: Point,
}

/// An edge between two boxes, given by their indices.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Edge {
    /// The series.
    pub from: usize,
    /// The dependency.
    pub to: usize,
    /// The points between them.
    pub between: Vec<Point>,
}

/// An item in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Box(usize),
    /// An edge that passes the row.
    Passing(usize),
}

/// Computes the layout. Box 0 is the base, box `i + 1` the series `i`.
pub(super) fn layout(graph: &Graph, size: Size) -> Layout {
    let edges = edges(graph);
    let row_of = rows_of(graph.nodes.len() + 1, &edges);
    let mut rows: Vec<Vec<Item>> = vec![Vec::new(); row_of.iter().max().map_or(0, |r| r + 1)];
    for (i, row) in row_of.iter().enumerate() {
        rows[*row].push(Item::Box(i));
    }
    for (i, (from, to)) in edges.iter().enumerate() {
        for row in &mut rows[row_of[*to] + 1..row_of[*from]] {
            row.push(Item::Passing(i));
        }
    }
    untangle(&mut rows, &edges, &row_of);
    place(&rows, &edges, graph.nodes.len() + 1, size)
}

/// Returns the edges. A series without dependencies has an edge to the base.
fn edges(graph: &Graph) -> Vec<(usize, usize)> {
    let mut edges = Vec::new();
    for (i, node) in graph.nodes.iter().enumerate() {
        match graph.below(node) {
            below if below.is_empty() => edges.push((i + 1, 0)),
            below => edges.extend(below.iter().map(|b| (i + 1, b + 1))),
        }
    }
    edges
}

/// Returns the row of each box. Dependencies come first in the order of the boxes.
fn rows_of(boxes: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut rows = vec![0; boxes];
    for i in 0..boxes {
        let below = edges.iter().filter(|(from, _)| *from == i);
        rows[i] = below.map(|(_, to)| rows[*to] + 1).max().unwrap_or(0);
    }
    rows
}

/// Orders each row by the average position of connected items in the row above.
fn untangle(rows: &mut [Vec<Item>], edges: &[(usize, usize)], row_of: &[usize]) {
    for row in 1..rows.len() {
        let (above, below) = rows.split_at_mut(row);
        let above = &above[row - 1];
        let position = |edge: usize| {
            let (_, to) = edges[edge];
            let target = match row_of[to] + 1 == row {
                true => Item::Box(to),
                false => Item::Passing(edge),
            };
            above.iter().position(|item| *item == target).unwrap_or(0) as f64
        };
        let middle = |item: &Item| {
            let all: Vec<f64> = match item {
                Item::Passing(edge) => vec![position(*edge)],
                Item::Box(i) => (0..edges.len())
                    .filter(|e| edges[*e].0 == *i)
                    .map(position)
                    .collect(),
            };
            all.iter().sum::<f64>() / all.len().max(1) as f64
        };
        // A stable sort keeps items with the same position in the order of the series.
        below[0].sort_by(|a, b| middle(a).total_cmp(&middle(b)));
    }
}

fn place(rows: &[Vec<Item>], edges: &[(usize, usize)], boxes: usize, size: Size) -> Layout {
    let width_of = |item: &Item| match item {
        Item::Box(_) => size.width,
        Item::Passing(_) => size.gap,
    };
    let row_width = |row: &Vec<Item>| {
        let gaps = row.len().saturating_sub(1) as f64 * size.gap;
        row.iter().map(width_of).sum::<f64>() + gaps
    };
    let width = rows.iter().map(row_width).fold(size.width, f64::max);
    let mut placed = vec![(0.0, 0.0); boxes];
    let mut between = vec![Vec::new(); edges.len()];
    for (i, row) in rows.iter().enumerate() {
        let y = i as f64 * (size.height + size.row_gap) + size.height / 2.0;
        let mut x = (width - row_width(row)) / 2.0;
        for item in row {
            let middle = (x + width_of(item) / 2.0, y);
            match item {
                Item::Box(i) => placed[*i] = middle,
                Item::Passing(edge) => between[*edge].push(middle),
            }
            x += width_of(item) + size.gap;
        }
    }
    let edges = edges.iter().zip(between);
    let edges = edges.map(|((from, to), mut between)| {
        between.reverse();
        Edge {
            from: *from,
            to: *to,
            between,
        }
    });
    let height = rows.len() as f64 * (size.height + size.row_gap) - size.row_gap;
    Layout {
        boxes: placed,
        edges: edges.collect(),
        size: (width, height),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::graph::tests::graph;

    const SIZE: Size = Size {
        width: 100.0,
        height: 40.0,
        gap: 20.0,
        row_gap: 30.0,
    };

    #[test]
    fn layout_series_below_dependencies() {
        let layout = layout(&graph(), SIZE);
        for edge in &layout.edges {
            let (from, to) = (layout.boxes[edge.from], layout.boxes[edge.to]);
            assert!(from.1 >= to.1 + SIZE.height + SIZE.row_gap, "{edge:?}");
        }
    }

    #[test]
    fn layout_without_overlap() {
        let layout = layout(&graph(), SIZE);
        let passing = layout.edges.iter().flat_map(|e| &e.between);
        let passing = passing.map(|p| (*p, SIZE.gap));
        let all = layout.boxes.iter().map(|b| (*b, SIZE.width)).chain(passing);
        let all: Vec<_> = all.collect();
        for (i, ((x, y), width)) in all.iter().enumerate() {
            assert!(x - width / 2.0 >= 0.0 && x + width / 2.0 <= layout.size.0);
            assert!(y + SIZE.height / 2.0 <= layout.size.1);
            for ((x2, y2), width2) in &all[i + 1..] {
                let apart = (x - x2).abs() >= (width + width2) / 2.0;
                assert!(apart || (y - y2).abs() >= SIZE.height, "{i}");
            }
        }
    }

    #[test]
    fn layout_edge_over_several_rows() {
        let layout = layout(&graph(), SIZE);
        let passed: Vec<_> = layout
            .edges
            .iter()
            .map(|e| (e.from, e.to, e.between.len()))
            .collect();
        // nova-mm (4) is two rows below clist (1), both (5) three rows below other (3).
        assert_eq!(
            passed,
            [
                (1, 0, 0),
                (2, 1, 0),
                (3, 0, 0),
                (4, 1, 1),
                (4, 2, 0),
                (5, 3, 2),
                (5, 4, 0)
            ]
        );
    }
}
