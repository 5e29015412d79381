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
    sys::{Result, plural::count},
    versions::postings::{self, Posting},
};

/// The series and their base.
pub struct Graph {
    /// "Linux v6.19.11".
    base: String,
    /// The series, each after its dependencies.
    nodes: Vec<Node>,
}

/// One series.
struct Node {
    name: String,
    /// The component, if it has several series or another name.
    component: Option<String>,
    /// Whether the series is never posted.
    local: bool,
    /// The version in work.
    version: u32,
    /// The number of patches.
    patches: usize,
    depends: Vec<String>,
    posted: Option<Posted>,
}

/// The last posting of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Posted {
    pub version: u32,
    /// The address in the archive.
    pub link: String,
}

impl From<Posting> for Posted {
    fn from(posting: Posting) -> Self {
        Self {
            version: posting.version,
            link: posting.link(),
        }
    }
}

impl Graph {
    /// Reads the manifests and the records of postings.
    pub fn read(ws: &Workspace, base: &Base) -> Result<Self> {
        let series: Vec<Series> = component::manifests(ws)?;
        let ordered = in_order(&series)?;
        let nodes = ordered.iter().map(|s| Node::read(ws, s, &ordered));
        Ok(Self {
            base: match base.release() {
                release if release == base.name => format!("Linux {release}"),
                release => format!("Linux {release}, {}", base.name),
            },
            nodes: nodes.collect::<Result<_>>()?,
        })
    }

    /// Returns the indices of the series below a node.
    fn below(&self, node: &Node) -> impl Iterator<Item = usize> {
        let find = move |name: &String| self.nodes.iter().position(|n| n.name == *name);
        node.depends.iter().filter_map(find)
    }

    /// Returns each component with the indices of its series.
    fn groups(&self) -> Vec<(&str, Vec<usize>)> {
        let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
        for (i, node) in self.nodes.iter().enumerate() {
            let Some(component) = &node.component else {
                continue;
            };
            match groups.iter_mut().find(|(name, _)| name == component) {
                Some((_, members)) => members.push(i),
                None => groups.push((component, vec![i])),
            }
        }
        groups
    }

    /// Returns the indices of each series and of the series below it, which is `None` for the base.
    fn edges(&self) -> Vec<(usize, Option<usize>)> {
        let mut edges = Vec::new();
        for (i, node) in self.nodes.iter().enumerate() {
            edges.extend(self.below(node).map(|below| (i, Some(below))));
            if node.depends.is_empty() {
                edges.push((i, None));
            }
        }
        edges
    }
}

impl Node {
    fn read(ws: &Workspace, series: &Series, all: &[&Series]) -> Result<Self> {
        let siblings = all.iter().filter(|s| s.component == series.component);
        let named = siblings.count() > 1 || series.component != series.name;
        let posted = postings::read_all(ws, &series.name)?.pop();
        Ok(Self {
            name: series.name.to_string(),
            component: named.then(|| series.component.to_string()),
            local: series.local.is_some(),
            version: series.version,
            patches: series.patches.len(),
            depends: series.depends.iter().map(|d| d.value.clone()).collect(),
            posted: posted.map(Posted::from),
        })
    }

    /// "4 patches".
    fn size(&self) -> String {
        match self.patches {
            0 => "no patches yet".to_owned(),
            n => count(n, "patch", "patches"),
        }
    }

    fn state(&self) -> String {
        if self.local {
            return LOCAL.to_owned();
        }
        state(self.version, self.posted.as_ref())
    }
}

/// The state of a series that is never posted.
pub(super) const LOCAL: &str = "local";

/// Returns the state of the versions: "v1 posted, v2 in work".
pub(super) fn state(version: u32, posted: Option<&Posted>) -> String {
    match posted {
        None => format!("v{version} to be posted"),
        Some(posted) if posted.version >= version => format!("v{} posted", posted.version),
        Some(posted) => format!("v{} posted, v{version} in work", posted.version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn node(name: &str, depends: &[&str]) -> Node {
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
    pub(super) fn graph() -> Graph {
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
        let base = Base::parse("series/base.toml".as_ref(), base).unwrap();
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
