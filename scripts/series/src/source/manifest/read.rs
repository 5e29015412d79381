// SPDX-License-Identifier: GPL-2.0

//! Reads the manifest of a series: its fields, for the base in use.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use toml::Spanned;

use super::{
    base::is_hex,
    lines::{At, parse},
    series::{Kunit, Patch, Provenance, Series},
};
use crate::{
    source::{
        words::{ChangeId, Prefix, Recipient, SeriesName},
        workspace::View,
    },
    sys::{Error, Result},
};

type Named<T = String> = BTreeMap<String, At<T>>;

/// The fields of a manifest before its words are checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSeries {
    version: At<u32>,
    component: Option<At<String>>,
    branch: Option<At<String>>,
    #[serde(default)]
    fork_point: Named,
    base: Option<At<String>>,
    local: Option<At<String>>,
    tree: Option<String>,
    #[serde(default = "default_prefix")]
    prefix: At<String>,
    change_id: At<String>,
    #[serde(default)]
    depends: Vec<At<String>>,
    #[serde(default)]
    without: Named<usize>,
    #[serde(default)]
    range_diff: bool,
    #[serde(default)]
    to: At<Vec<At<String>>>,
    #[serde(default)]
    cc: Vec<At<String>>,
    #[serde(default)]
    absent: Named,
    #[serde(default)]
    unused: Named,
    #[serde(default)]
    left_out: Named,
    many: Option<At<String>>,
    capitals: Option<At<String>>,
    provenance: Option<At<Provenance>>,
    #[serde(default)]
    kunit: Kunit,
    #[serde(default)]
    on: BTreeMap<Spanned<String>, RawOn>,
    #[serde(default)]
    patch: Vec<At<Patch>>,
}

/// The fields of a manifest for one base, which replace the common fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawOn {
    local: Option<At<String>>,
    tree: Option<String>,
    depends: Option<Vec<At<String>>>,
    without: Option<Named<usize>>,
    absent: Option<Named>,
    unused: Option<Named>,
    left_out: Option<Named>,
    provenance: Option<At<Provenance>>,
    kunit: Option<Kunit>,
}

fn default_prefix() -> At<String> {
    At::from(Spanned::new(0..0, "PATCH".to_owned()))
}

impl RawSeries {
    /// Applies the fields for these bases. Earlier names take precedence.
    fn on(mut self, names: &[String]) -> Self {
        for name in names.iter().rev() {
            let Some(on) = self.on.remove(name.as_str()) else {
                continue;
            };
            self.local = on.local.or(self.local);
            self.tree = on.tree.or(self.tree);
            self.depends = on.depends.unwrap_or(self.depends);
            self.without = on.without.unwrap_or(self.without);
            self.absent = on.absent.unwrap_or(self.absent);
            self.unused = on.unused.unwrap_or(self.unused);
            self.left_out = on.left_out.unwrap_or(self.left_out);
            self.provenance = on.provenance.or(self.provenance);
            self.kunit = on.kunit.unwrap_or(self.kunit);
        }
        // Some patches are made on certain bases only.
        self.patch.retain(|At { value: patch, .. }| {
            patch.only.is_empty() || patch.only.iter().any(|base| names.contains(&base.value))
        });
        self
    }
}

impl Series {
    pub fn parse_on(name: &str, file: &Path, text: &str, view: &View) -> Result<Self> {
        let name = SeriesName::parse(name).map_err(|e| e.at(file, None))?;
        let raw: RawSeries = parse(file, text)?;
        let errors = Vec::new();
        let mut reader = Reader { file, errors };
        reader.check_bases(&raw, &view.all);
        let series = reader.series(name, raw.on(&view.names));
        Error::all(reader.errors)?;
        series.ok_or_else(|| Error::new("cannot be read").at(file, None))
    }
}

struct Reader<'a> {
    file: &'a Path,
    errors: Vec<Error>,
}

impl Reader<'_> {
    fn error(&mut self, line: usize, what: impl Into<String>, help: &str) {
        let error = Error::new(what).at(self.file, line);
        self.errors.push(error.help(help));
    }

    /// Reads a word. Returns [`None`] after an error.
    fn word<T>(&mut self, text: &At<String>, read: fn(&str) -> Result<T>) -> Option<T> {
        let value = read(&text.value);
        let value = value.map_err(|e| self.errors.push(e.at(self.file, text.line)));
        value.ok()
    }

    fn check_bases(&mut self, raw: &RawSeries, all: &[String]) {
        let on = raw.on.keys().cloned().map(At::from);
        let patches = raw.patch.iter().flat_map(|p| &p.value.only);
        for At { value, line } in raw.base.iter().chain(patches).cloned().chain(on) {
            if !all.is_empty() && !all.contains(&value) {
                let help = format!("the bases are: {}", all.join(", "));
                self.error(line, format!("unknown base {value:?}"), &help);
            }
        }
    }

    fn series(&mut self, name: SeriesName, mut raw: RawSeries) -> Option<Series> {
        let component = match &raw.component {
            Some(text) => self.word(text, SeriesName::component),
            None => Some(name.clone()),
        };
        if let Some(local) = raw.local.as_ref().filter(|why| is_blank(why)) {
            let help = "give the reason why the series is never posted";
            self.error(local.line, "`local` is empty", help);
        }
        if raw.version.value == 0 {
            let error = Error::new("a series starts with version 1");
            self.errors.push(error.at(self.file, raw.version.line));
        }
        let prefix = self.word(&raw.prefix, Prefix::parse);
        let change_id = self.word(&raw.change_id, ChangeId::parse);
        let mut seen = BTreeMap::new();
        let to = self.recipients(&raw.to.value, &mut seen);
        let cc = self.recipients(&raw.cc, &mut seen);
        for At { value, line } in raw.fork_point.values() {
            if !is_hex(value, 40) {
                let what = format!("{value:?} is not the name of a commit");
                self.error(*line, what, "write all 40 digits of it");
            }
        }
        let is_branch = raw.branch.is_some();
        let patches = std::mem::take(&mut raw.patch).into_iter();
        let patches: Vec<Patch> = patches.filter_map(|p| self.patch(p, is_branch)).collect();
        self.check_reasons(&raw, &patches);
        Some(Series {
            name,
            file: self.file.to_owned(),
            base: raw.base,
            component: component?,
            local: raw.local,
            tree: raw.tree,
            branch: raw.branch,
            fork_points: raw.fork_point,
            line_of_version: Some(raw.version.line),
            version: raw.version.value,
            prefix: prefix?,
            line_of_change_id: Some(raw.change_id.line),
            change_id: change_id?,
            depends: raw.depends,
            without: raw.without,
            range_diff: raw.range_diff,
            line_of_to: Some(raw.to.line).filter(|line| *line > 0),
            to,
            cc,
            absent: raw.absent,
            unused: raw.unused,
            left_out: raw.left_out,
            many: raw.many,
            capitals: raw.capitals,
            provenance: raw.provenance,
            kunit: raw.kunit,
            patches,
        })
    }

    /// Reads recipients, and reports duplicates. `seen` has the lines of addresses.
    fn recipients(
        &mut self,
        all: &[At<String>],
        seen: &mut BTreeMap<String, usize>,
    ) -> Vec<Recipient> {
        let mut kept = Vec::new();
        for one in all {
            let Some(value) = self.word(one, Recipient::parse) else {
                continue;
            };
            let address = value.address();
            if let Some(first) = seen.insert(address.to_ascii_lowercase(), one.line) {
                let what = format!("{address} is a recipient twice, first in line {first}");
                self.error(one.line, what, "remove one of the two");
            }
            kept.push(value);
        }
        kept
    }

    /// Reports exceptions from rules without a reason.
    fn check_reasons(&mut self, raw: &RawSeries, patches: &[Patch]) {
        let of_series = raw.absent.values().chain(raw.unused.values());
        let of_series = of_series
            .chain(&raw.many)
            .chain(&raw.capitals)
            .chain(raw.left_out.values());
        let of_patches = patches.iter().flat_map(|p| {
            let of_rules = p.large.iter().chain(&p.no_fixes);
            of_rules.chain(p.checkpatch.values())
        });
        for why in of_series.chain(of_patches).filter(|why| is_blank(why)) {
            let help = "explain in one sentence why the rule does not apply";
            self.error(why.line, "the reason is empty", help);
        }
    }

    fn patch(&mut self, At { value, line }: At<Patch>, is_branch: bool) -> Option<Patch> {
        let mut patch = Patch { line, ..value };
        let is_plain = patch.changes_nothing();
        match (is_branch, patch.message.line > 0, patch.subject.take()) {
            (false, true, None) => (),
            (true, false, Some(subject)) if is_plain => patch.message = subject,
            (true, ..) => {
                let what = "the patches of this series are the commits of its branch";
                let help = "a [[patch]] here has the `subject` of a commit and exceptions for it: \
                            `large`, `no-fixes`, `checkpatch`, `unverified`";
                self.error(line, what, help);
                return None;
            }
            (false, ..) => {
                let help = "name the file of its commit message; `subject` is for series with a \
                            `branch`";
                self.error(line, "a [[patch]] needs `message`", help);
                return None;
            }
        }
        for hold in &patch.withhold {
            let parts = (&hold.text, hold.items.as_deref());
            if !matches!(parts, (Some(_), None) | (None, Some([_, ..]))) {
                let what = "a [[patch.withhold]] has either `text` or `items`";
                let help = "`text` has whole lines; `items` names Rust items, as \"fn new\"";
                self.error(hold.file.line, what, help);
            }
        }
        Some(patch)
    }
}

fn is_blank(reason: &At<String>) -> bool {
    reason.value.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Series {
        pub fn parse(name: &str, file: &Path, text: &str) -> Result<Self> {
            Self::parse_on(name, file, text, &View::default())
        }
    }

    const GOOD: &str = r#"
version = 2
change-id = "20261122-clist-0123456789ab"
depends = ["other"]

[[patch]]
message = "0001-a.msg"
files = [
  "a.rs",
  "b.rs",
]

[[patch]]
message = "0002-b.msg"
edits = ["0002.diff"]

[[patch.withhold]]
file = "a.rs"
text = '''
mod b;
'''
"#;

    fn parse(text: &str) -> Result<Series> {
        Series::parse("clist", Path::new("series/clist.toml"), text)
    }

    fn message(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn parse_keeps_lines() {
        let series = parse(GOOD).unwrap();
        assert_eq!(series.depends[0].line, 4);
        assert_eq!(series.patches[0].line, 6);
        assert_eq!(series.patches[0].files[1].line, 10);
        let hold = &series.patches[1].withhold[0];
        assert_eq!(hold.text.as_deref(), Some("mod b;\n"));
        assert_eq!(series.subject_prefix(), "PATCH v2");
    }

    #[test]
    fn parse_unknown_field() {
        insta::assert_snapshot!(message(&GOOD.replace("files =", "filez =")), @r#"
        series/clist.toml:8: unknown field `filez`, expected one of `message`, `subject`, `only`, `files`, `relocate`, `edits`, `withhold`, `large`, `no-fixes`, `checkpatch`, `unverified`
          help: the fields are described in ARCHITECTURE.md, "Manifests"
        "#);
    }

    #[test]
    fn parse_malformed_toml() {
        let text = message("version = 1\nchange-id = \"x\n");
        assert!(text.starts_with("series/clist.toml:2: "), "{text}");
    }

    #[test]
    fn parse_missing_field() {
        let text = message("version = 1\n");
        assert!(text.contains("missing field `change-id`"), "{text}");
    }

    #[test]
    fn parse_bad_words() {
        let text = GOOD
            .replace("version = 2", "version = 0\nprefix = \"WIP\"")
            .replace("20261122-clist-0123456789ab", "../../heads/x y")
            .replace(
                "depends",
                "to = [\"A <a@b.org>\", \"c@d.org, e@f.org\"]\ncc = [\n \"A@b.org\",\n]\ndepends",
            );
        insta::assert_snapshot!(message(&text), @r#"
        series/clist.toml:2: a series starts with version 1
        error: series/clist.toml:3: "WIP" is not a prefix of patches
          help: "PATCH" has to be one of its words, once: "PATCH", "RFC PATCH", "PATCH net-next"
        error: series/clist.toml:4: "../../heads/x y" is not a change-id
          help: use the form of `b4 prep -n`: a date, the name and 12 random digits, as 20260102-name-0123456789ab; message ids and tags contain it
        error: series/clist.toml:5: "c@d.org, e@f.org" is not a recipient: an address NAME@DOMAIN is missing
          help: one `Name <address>` or `address` for each entry
        error: series/clist.toml:7: A@b.org is a recipient twice, first in line 5
          help: remove one of the two
        "#);
    }

    #[test]
    fn parse_bad_series_name() {
        let file = Path::new("series/a b~c.toml");
        let error = Series::parse("a b~c", file, GOOD).unwrap_err();
        insta::assert_snapshot!(error, @r#"
        series/a b~c.toml: "a b~c" cannot be the name of a series
          help: rename the file: lower-case letters and digits, in parts joined by `-` or `_`, at most 100 characters; it becomes a folder and the branch b4/NAME
        "#);
    }

    #[test]
    fn parse_bad_component_and_parts() {
        let text = GOOD.replace(
            "version = 2",
            "version = 2\ncomponent = \"a b\"\nlocal = \" \"",
        );
        let text = text.replace("text = '''\nmod b;\n'''", "items = []");
        let both = GOOD.replace("text = '''", "items = []\ntext = '''");
        assert_eq!(
            message(&both),
            "series/clist.toml:18: a [[patch.withhold]] has either `text` or `items`\n  \
             help: `text` has whole lines; `items` names Rust items, as \"fn new\""
        );
        insta::assert_snapshot!(message(&text), @r#"
        series/clist.toml:3: "a b" cannot be the name of a component
          help: name the folder that holds `tree/` and `edits/`: lower-case letters and digits, in parts joined by `-` or `_`
        error: series/clist.toml:4: `local` is empty
          help: give the reason why the series is never posted
        error: series/clist.toml:20: a [[patch.withhold]] has either `text` or `items`
          help: `text` has whole lines; `items` names Rust items, as "fn new"
        "#);
    }
}
