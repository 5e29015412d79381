// SPDX-License-Identifier: GPL-2.0

//! The dependencies of the series, as text, for Mermaid and for Graphviz.
//!
//! The graph needs no assembled series.

mod dot;
mod mermaid;
mod text;

pub use self::{dot::dot, mermaid::mermaid, text::text};

use crate::{report::status::SeriesStatus, source::manifest::Base, sys::plural::count};

pub struct Graph<'a> {
    /// "Linux v6.19.11".
    base: String,
    /// The series, each after its dependencies.
    nodes: &'a [SeriesStatus],
}

impl<'a> Graph<'a> {
    pub fn new(base: &Base, nodes: &'a [SeriesStatus]) -> Self {
        let base = match base.release() {
            release if release == base.name => format!("Linux {release}"),
            release => format!("Linux {release}, {}", base.name),
        };
        Self { base, nodes }
    }

    /// Returns the indices of the series below a node.
    fn below(&self, node: &SeriesStatus) -> impl Iterator<Item = usize> {
        let find = move |name: &String| self.nodes.iter().position(|n| n.name == *name);
        node.needs.iter().filter_map(find)
    }

    /// Returns the component of a series, if it has several series or another name.
    fn component(&self, node: &'a SeriesStatus) -> Option<&'a str> {
        let component = &node.component;
        let siblings = self.nodes.iter().filter(|n| n.component == *component);
        (siblings.count() > 1 || *component != node.name).then_some(component)
    }

    /// Returns each component with the indices of its series.
    fn groups(&self) -> Vec<(&'a str, Vec<usize>)> {
        let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
        for (i, node) in self.nodes.iter().enumerate() {
            let Some(component) = self.component(node) else {
                continue;
            };
            match groups.iter_mut().find(|(name, _)| *name == component) {
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
            if node.needs.is_empty() {
                edges.push((i, None));
            }
        }
        edges
    }
}

/// "4 patches".
fn size(node: &SeriesStatus) -> String {
    match node.patches {
        0 => "no patches yet".to_owned(),
        n => count(n, "patch", "patches"),
    }
}

fn state(node: &SeriesStatus) -> String {
    node.versions(node.last.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::status::{Posted, statuses},
        source::workspace::Workspace,
        sys::cache::Cache,
        versions::postings,
    };

    fn node(name: &str, needs: &[&str]) -> SeriesStatus {
        SeriesStatus {
            name: name.into(),
            component: name.into(),
            version: 1,
            patches: 2,
            needs: needs.iter().map(|d| (*d).to_owned()).collect(),
            ..SeriesStatus::default()
        }
    }

    pub(super) fn graph(nodes: &[SeriesStatus]) -> Graph<'_> {
        Graph {
            base: "Linux v6.1.2".into(),
            nodes,
        }
    }

    /// A chain of three series, a separate series, and a series above both.
    pub(super) fn nodes() -> Vec<SeriesStatus> {
        let mut nodes = vec![
            node("clist", &[]),
            node("gpu-buddy", &["clist"]),
            node("other", &[]),
            node("nova-mm", &["clist", "gpu-buddy"]),
            node("both", &["other", "nova-mm"]),
        ];
        nodes[0].version = 2;
        nodes[0].last = Some(Posted {
            version: 1,
            link: "https://example.org/a?b&c".into(),
        });
        nodes[1].last = Some(Posted {
            version: 1,
            link: "https://example.org/1".into(),
        });
        nodes[2].patches = 1;
        nodes[4].patches = 0;
        nodes
    }

    #[test]
    fn state_of_versions() {
        let states: Vec<String> = nodes()[..3].iter().map(state).collect();
        assert_eq!(
            states,
            ["v1 posted, v2 in work", "v1 posted", "v1 to be posted"]
        );
    }

    #[test]
    fn component_of_several_series() {
        let mut nodes = nodes();
        for i in [1, 2] {
            nodes[i].component = "gpu-buddy".into();
        }
        nodes[4].local = Some("a rehearsal".into());
        let graph = graph(&nodes);
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
        let cache = Cache::at(dir.path().join("cache")).unwrap();
        let read = || statuses(&ws, &cache, &base, None).unwrap().remove(0).posted;
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
