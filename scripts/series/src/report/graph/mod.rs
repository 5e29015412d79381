// SPDX-License-Identifier: GPL-2.0

//! The dependencies of the series, as text, for Mermaid and for Graphviz.
//!
//! The graph comes from the manifests and the records of postings, so it does not need an assembled
//! series.

mod dot;
mod mermaid;
mod text;

pub use self::{dot::dot, mermaid::mermaid, text::text};

use serde::Serialize;

use crate::{
    source::{
        component,
        manifest::{Base, Series, in_order},
        workspace::Workspace,
    },
    sys::error::Result,
    versions::postings,
};

/// The series and their base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// "Linux v6.19.11".
    pub base: String,
    /// The series, each after its dependencies.
    pub nodes: Vec<Node>,
}

/// One series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    /// The component, if it has several series or another name.
    pub component: Option<String>,
    /// Whether the series is never posted.
    pub local: bool,
    /// The version in work.
    pub version: u32,
    /// The number of patches.
    pub patches: usize,
    /// The declared dependencies.
    pub depends: Vec<String>,
    /// The last posting.
    pub posted: Option<Posted>,
}

/// A posting of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Posted {
    pub version: u32,
    /// The address in the archive.
    pub link: String,
}

impl Graph {
    /// Reads the manifests.
    ///
    /// # Errors
    ///
    /// A manifest or a record of a posting is malformed, or the dependencies have a cycle.
    pub fn read(ws: &Workspace, base: &Base) -> Result<Self> {
        let series: Vec<Series> = component::manifests(ws)?;
        let ordered = in_order(&series)?;
        let nodes = ordered.iter().map(|s| Node::read(ws, s, &ordered));
        Ok(Self {
            base: format!("Linux {}", base.release()),
            nodes: nodes.collect::<Result<_>>()?,
        })
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|n| n.name == name)
    }

    /// Returns the indices of the series below a node.
    fn below(&self, node: &Node) -> Vec<usize> {
        node.depends.iter().filter_map(|d| self.find(d)).collect()
    }
}

impl Node {
    fn read(ws: &Workspace, series: &Series, all: &[&Series]) -> Result<Self> {
        let posted = postings::read_all(ws, &series.name)?.pop();
        Ok(Self {
            name: series.name.to_string(),
            component: component_of(series, all),
            local: series.local.is_some(),
            version: series.version,
            patches: series.patches.len(),
            depends: series.depends.iter().map(|d| d.value.clone()).collect(),
            posted: posted.map(|p| Posted {
                version: p.version,
                link: p.link(),
            }),
        })
    }

    /// Returns the indices of the component's series, but only for the first of several series.
    fn cluster(&self, graph: &Graph) -> Vec<usize> {
        let own = |n: &Node| self.component.is_some() && n.component == self.component;
        let all = graph.nodes.iter().enumerate().filter(|(_, n)| own(n));
        let all: Vec<usize> = all.map(|(i, _)| i).collect();
        match all.first().map(|first| &graph.nodes[*first]) {
            Some(first) if first.name == self.name => all,
            _ => Vec::new(),
        }
    }

    /// Returns the number of patches as text: "4 patches".
    pub fn size(&self) -> String {
        match self.patches {
            0 => "no patches yet".to_owned(),
            1 => "1 patch".to_owned(),
            n => format!("{n} patches"),
        }
    }

    /// Returns whether the version in work is not yet posted.
    fn is_open(&self) -> bool {
        let posted = self.posted.as_ref();
        posted.is_none_or(|posted| posted.version < self.version)
    }

    /// Returns the state of the versions: "v1 posted, v2 in work".
    pub fn state(&self) -> String {
        match self.local {
            true => LOCAL.to_owned(),
            false => state(self.version, self.posted.as_ref()),
        }
    }
}

/// Returns the component of a series, if it has several series or another name.
pub(crate) fn component_of(series: &Series, all: &[&Series]) -> Option<String> {
    let count = all
        .iter()
        .filter(|s| s.component == series.component)
        .count();
    (count > 1 || series.component != series.name).then(|| series.component.to_string())
}

/// The state of a series that is never posted.
pub(crate) const LOCAL: &str = "local";

/// Returns the state of the versions: "v1 posted, v2 in work".
pub(crate) fn state(version: u32, posted: Option<&Posted>) -> String {
    match posted {
        None => format!("v{version} to be posted"),
        Some(posted) if posted.version >= version => format!("v{} posted", posted.version),
        Some(posted) => format!("v{} posted, v{version} in work", posted.version),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn node(name: &str, depends: &[&str]) -> Node {
        Node {
            name: name.into(),
            component: None,
            local: false,
            version: 1,
            patches: 2,
            depends: depends.iter().map(|d| (*d).to_owned()).collect(),
            posted: None,
        }
    }

    /// A chain of three series, a separate series, and a series above both.
    pub(crate) fn graph() -> Graph {
        let mut nodes = vec![
            node("clist", &[]),
            node("gpu-buddy", &["clist"]),
            node("other", &[]),
            node("nova-mm", &["clist", "gpu-buddy"]),
            node("both", &["other", "nova-mm"]),
        ];
        nodes[0].version = 2;
        nodes[0].posted = Some(Posted {
            version: 1,
            link: "https://example.org/a?b&c".into(),
        });
        nodes[1].posted = Some(Posted {
            version: 1,
            link: "https://example.org/1".into(),
        });
        nodes[2].patches = 1;
        nodes[4].patches = 0;
        Graph {
            base: "Linux v6.1.2".into(),
            nodes,
        }
    }

    #[test]
    fn state_of_versions() {
        let states: Vec<String> = graph().nodes[..3].iter().map(Node::state).collect();
        assert_eq!(
            states,
            ["v1 posted, v2 in work", "v1 posted", "v1 to be posted"]
        );
    }

    #[test]
    fn component_of_several_series() {
        let mut graph = graph();
        for i in [1, 2] {
            graph.nodes[i].component = Some("gpu-buddy".into());
        }
        graph.nodes[4].local = true;
        insta::assert_snapshot!(text(&graph), @r"
        Linux v6.1.2
        ├─ clist          2 patches, v1 posted, v2 in work
        │  │  https://example.org/a?b&c
        │  └─ gpu-buddy   2 patches, v1 posted, of gpu-buddy
        │     │  https://example.org/1
        │     └─ nova-mm  2 patches, v1 to be posted, also on clist
        │        └─ both  no patches yet, local, also on other
        └─ other          1 patch, v1 to be posted, of gpu-buddy
        ");
        let dot = dot(&graph);
        let at = dot.find("subgraph").unwrap();
        insta::assert_snapshot!(dot[at..dot.find("->").unwrap()], @r#"
        subgraph "cluster_gpu-buddy" {
                label="gpu-buddy"; style=dotted;
                "gpu-buddy";
                "other";
            }
            "clist"
        "#);
    }

    #[test]
    fn read_last_posting() {
        let dir = tempfile::tempdir().unwrap();
        let file = |below: &str, text: &str| {
            crate::sys::files::write(&dir.path().join(below), text.as_bytes()).unwrap();
        };
        let base = "version = \"6.1.2\"\ntrees = []\narchive = []\n[host]\npaths = []\n";
        file("series/base.toml", base);
        file("series/x.toml", "version = 3\nchange-id = \"20260102-x\"\n");
        let ws = Workspace::find(dir.path()).unwrap();
        let base = Base::parse("base.toml".as_ref(), base).unwrap();
        let read = || Graph::read(&ws, &base).unwrap().nodes.remove(0).posted;
        assert_eq!(read(), None);
        for version in [1, 2] {
            let posting = postings::tests::posting(version, &["a: b"]);
            posting.write(&ws, "x", b"", b"").unwrap();
        }
        assert_eq!(
            read(),
            Some(Posted {
                version: 2,
                link: "https://patch.msgid.link/20260102-x-v2-0-abc@example.org".into(),
            })
        );
    }
}
