// SPDX-License-Identifier: GPL-2.0

//! The ranges in use, in a balanced tree that tracks the gaps between them.

use core::{
    mem,
    ops::Range, //
};

use kernel::{
    alloc::Flags,
    prelude::*, //
};

use super::gap::{
    LargestFit,
    Layout, //
};
use crate::mm::address::Vfn;

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod check;

/// A set of ranges of pages that do not overlap, in the order of their addresses.
///
/// This is an AVL tree, whose height is at most about 1.44 times the binary logarithm of the number
/// of ranges. Each node records the largest gaps between the ranges of its subtree, so that each
/// method visits the nodes of one path only.
///
/// No method allocates or frees memory, and none recurses. Dropping the tree recurses once per
/// level.
///
/// # Invariants
///
/// - No range is empty, and none overlaps another.
/// - All ranges in the low subtree of a node are below the range of the node, all ranges in its
///   high subtree are above.
/// - The heights of the two subtrees of a node differ by at most one.
/// - `height`, `span` and `gaps` of a node are as [`Node::update`] computes them.
pub(super) struct RangeTree {
    root: Link,
}

/// A subtree, or [`None`] if it is empty.
type Link = Option<KBox<Node>>;

impl RangeTree {
    /// Creates an empty set.
    pub(super) const fn new() -> Self {
        // INVARIANT: The tree is empty.
        Self { root: None }
    }

    /// Returns the highest range of `layout` within `limits` that is not in use.
    ///
    /// All ranges in use must lie in `limits`.
    pub(super) fn highest_free(&self, limits: Range<Vfn>, layout: &Layout) -> Option<Range<Vfn>> {
        let mut space = limits;
        let mut subtree = &self.root;

        // The ranges of `subtree` lie in `space`. The range does not fit into any gap above it.
        while let Some(node) = subtree {
            let above = node.pages.end..space.end;
            if fits(&node.high, &above, layout) {
                space = above;
                subtree = &node.high;
            } else {
                space.end = node.pages.start;
                subtree = &node.low;
            }
        }

        layout.highest(&space)
    }

    /// Returns whether any of `pages` is in use.
    pub(super) fn overlaps(&self, pages: &Range<Vfn>) -> bool {
        let mut end_below = None;
        let mut subtree = &self.root;

        // Of the ranges that start below the end of `pages`, the highest one reaches furthest.
        while let Some(node) = subtree {
            if node.pages.start < pages.end {
                end_below = Some(node.pages.end);
                subtree = &node.high;
            } else {
                subtree = &node.low;
            }
        }

        end_below.is_some_and(|end| end > pages.start)
    }

    /// Inserts `pages`, which must not be empty or overlap a range in use, using `node`.
    pub(super) fn insert(&mut self, mut node: KBox<Node>, pages: Range<Vfn>) {
        let (path, _) = Path::descend(self.root.take(), pages.start);

        node.pages = pages;
        node.update();
        // INVARIANT: The path leads to where the range belongs, and `ascend` restores the balance.
        self.root = path.ascend(Some(node));
    }

    /// Removes the range that starts at `start`, and returns its node, which the caller frees.
    pub(super) fn remove(&mut self, start: Vfn) -> Option<KBox<Node>> {
        let (path, mut removed) = Path::descend(self.root.take(), start);

        let rest = removed.as_mut().and_then(|node| node.take_children());
        // INVARIANT: `rest` are the ranges of the subtree without `removed`, and `ascend` restores
        // the balance.
        self.root = path.ascend(rest);

        removed
    }
}

/// A range in use, or a node that is allocated for one.
pub(super) struct Node {
    pages: Range<Vfn>,
    low: Link,
    high: Link,
    /// Number of nodes on the longest path down from this one, itself included.
    height: u8,
    /// From the start of the lowest range of the subtree to the end of the highest one.
    span: Range<Vfn>,
    /// The largest ranges that fit into the gaps between the ranges of the subtree.
    gaps: LargestFit,
}

/// The two sides of a node.
#[derive(Clone, Copy)]
enum Side {
    Low,
    High,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Low => Self::High,
            Self::High => Self::Low,
        }
    }
}

impl Node {
    /// Allocates a node for [`RangeTree::insert`].
    pub(super) fn new(flags: Flags) -> Result<KBox<Self>> {
        let zero = Vfn::new(0)?;

        Ok(KBox::new(
            Self {
                pages: zero..zero,
                low: None,
                high: None,
                height: 1,
                span: zero..zero,
                gaps: LargestFit::NONE,
            },
            flags,
        )?)
    }

    /// Returns the side on which a range that starts at `start` belongs.
    fn side_of(&self, start: Vfn) -> Side {
        if start < self.pages.start {
            Side::Low
        } else {
            Side::High
        }
    }

    fn child(&mut self, side: Side) -> &mut Link {
        match side {
            Side::Low => &mut self.low,
            Side::High => &mut self.high,
        }
    }

    fn height_of(&self, side: Side) -> u8 {
        let child = match side {
            Side::Low => &self.low,
            Side::High => &self.high,
        };

        child.as_ref().map_or(0, |child| child.height)
    }

    /// Removes both subtrees, and returns them as one.
    fn take_children(&mut self) -> Link {
        // The ranges on the high side start above this one, so that the path ends at the lowest.
        let (mut path, _) = Path::descend(self.high.take(), self.pages.start);
        let Some(mut lowest) = path.pop() else {
            return self.low.take();
        };

        let high = path.ascend(lowest.high.take());
        lowest.high = high;
        lowest.low = self.low.take();

        Some(balance(lowest))
    }

    /// Recomputes `height`, `span` and `gaps` after the range or a child has changed.
    fn update(&mut self) {
        self.height = 1 + self.height_of(Side::Low).max(self.height_of(Side::High));
        self.span = self.pages.clone();
        self.gaps = LargestFit::NONE;

        if let Some(low) = &self.low {
            let gap = low.span.end..self.pages.start;
            self.gaps = LargestFit::of(&gap).max(low.gaps);
            self.span.start = low.span.start;
        }
        if let Some(high) = &self.high {
            let gap = self.pages.end..high.span.start;
            self.gaps = LargestFit::of(&gap).max(high.gaps).max(self.gaps);
            self.span.end = high.span.end;
        }
    }
}

/// Returns whether a range of `layout` fits into a gap of `space`, in which `subtree` lies.
fn fits(subtree: &Link, space: &Range<Vfn>, layout: &Layout) -> bool {
    match subtree {
        None => layout.fits(space),
        Some(node) => {
            node.gaps.fits(layout)
                || layout.fits(&(node.span.end..space.end))
                || layout.fits(&(space.start..node.span.start))
        }
    }
}

/// Balances the subtree of a node whose children are balanced and differ in height by at most two.
fn balance(mut node: KBox<Node>) -> KBox<Node> {
    let (low, high) = (node.height_of(Side::Low), node.height_of(Side::High));
    let side = if low > high + 1 {
        Side::Low
    } else if high > low + 1 {
        Side::High
    } else {
        node.update();
        return node;
    };

    // The inner child of the child stays on its side of the tree, so it must not be the higher one.
    let child = node.child(side).take().map(|child| {
        if child.height_of(side) < child.height_of(side.other()) {
            rotate(child, side.other())
        } else {
            child
        }
    });
    *node.child(side) = child;

    rotate(node, side)
}

/// Swaps `node` with its child on `side`: the child becomes the parent.
fn rotate(mut node: KBox<Node>, side: Side) -> KBox<Node> {
    let Some(mut child) = node.child(side).take() else {
        return node;
    };
    *node.child(side) = child.child(side.other()).take();
    node.update();
    *child.child(side.other()) = Some(node);
    child.update();

    child
}

/// The nodes from the top of a tree down to a subtree that was cut off.
///
/// Each node holds its parent in place of the child that the path leads to. A tree can be changed
/// from the bottom up in this way, without recursion and without memory for a stack.
struct Path {
    /// The start of a range, which determines the side on which the path leaves each node.
    start: Vfn,
    /// The lowest node.
    bottom: Link,
}

impl Path {
    /// Cuts off the subtree whose top is the range that starts at `start`. If there is none, the
    /// subtree is empty, and in the place of such a range.
    fn descend(tree: Link, start: Vfn) -> (Self, Link) {
        let (mut bottom, mut subtree) = (None, tree);

        while let Some(mut node) = subtree {
            if node.pages.start == start {
                return (Self { start, bottom }, Some(node));
            }
            let side = node.side_of(start);
            subtree = mem::replace(node.child(side), bottom);
            bottom = Some(node);
        }

        (Self { start, bottom }, None)
    }

    /// Removes the lowest node, whose child on the path is then empty.
    fn pop(&mut self) -> Option<KBox<Node>> {
        let mut node = self.bottom.take()?;
        let side = node.side_of(self.start);
        self.bottom = node.child(side).take();

        Some(node)
    }

    /// Puts `subtree` at the end of the path, and returns the whole tree.
    ///
    /// The heights of `subtree` and of the subtree that was cut off may differ by one.
    fn ascend(mut self, mut subtree: Link) -> Link {
        while let Some(mut parent) = self.pop() {
            let side = parent.side_of(self.start);
            *parent.child(side) = subtree;
            subtree = Some(balance(parent));
        }

        subtree
    }
}
