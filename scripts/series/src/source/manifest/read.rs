// SPDX-License-Identifier: GPL-2.0

//! Reads the manifest of a series: its fields, for the base in use.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use toml::Spanned;

use super::{
    base::is_hex,
    lines::{At, Lines, parse},
    series::{Kunit, Parts, Patch, Provenance, Series, Withhold},
};
use crate::{
    source::{
        words::{ChangeId, Prefix, Recipient, SeriesName},
        workspace::View,
    },
    sys::{Error, Result},
};

type Named = BTreeMap<String, Spanned<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSeries {
    version: Spanned<u32>,
    component: Option<Spanned<String>>,
    branch: Option<Spanned<String>>,
    #[serde(default)]
    fork_point: Named,
    base: Option<Spanned<String>>,
    local: Option<Spanned<String>>,
    tree: Option<String>,
    #[serde(default = "default_prefix")]
    prefix: Spanned<String>,
    change_id: Spanned<String>,
    #[serde(default)]
    depends: Vec<Spanned<String>>,
    #[serde(default)]
    without: BTreeMap<String, Spanned<usize>>,
    #[serde(default)]
    range_diff: bool,
    #[serde(default)]
    to: Vec<Spanned<String>>,
    #[serde(default)]
    cc: Vec<Spanned<String>>,
    #[serde(default)]
    absent: Named,
    #[serde(default)]
    unused: Named,
    #[serde(default)]
    left_out: Named,
    many: Option<Spanned<String>>,
    provenance: Option<Spanned<Provenance>>,
    #[serde(default)]
    kunit: Kunit,
    #[serde(default)]
    on: BTreeMap<Spanned<String>, RawOn>,
    #[serde(default)]
    patch: Vec<Spanned<RawPatch>>,
}

/// The fields of a manifest for one base, which replace the common fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawOn {
    local: Option<Spanned<String>>,
    tree: Option<String>,
    depends: Option<Vec<Spanned<String>>>,
    without: Option<BTreeMap<String, Spanned<usize>>>,
    absent: Option<Named>,
    unused: Option<Named>,
    left_out: Option<Named>,
    provenance: Option<Spanned<Provenance>>,
    kunit: Option<Kunit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawPatch {
    message: Option<Spanned<String>>,
    subject: Option<Spanned<String>>,
    #[serde(default)]
    only: Vec<Spanned<String>>,
    #[serde(default)]
    files: Vec<Spanned<String>>,
    relocate: Option<Spanned<String>>,
    #[serde(default)]
    edits: Vec<Spanned<String>>,
    #[serde(default)]
    withhold: Vec<RawWithhold>,
    large: Option<Spanned<String>>,
    no_fixes: Option<Spanned<String>>,
    #[serde(default)]
    unverified: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawWithhold {
    file: Spanned<String>,
    text: Option<String>,
    items: Option<Vec<Spanned<String>>>,
}

fn default_prefix() -> Spanned<String> {
    Spanned::new(0..0, "PATCH".to_owned())
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
        self.patch.retain(|patch| {
            let only = &patch.get_ref().only;
            only.is_empty() || only.iter().any(|base| names.contains(base.get_ref()))
        });
        self
    }
}

impl Series {
    pub fn parse(name: &str, file: &Path, text: &str) -> Result<Self> {
        Self::parse_on(name, file, text, &View::default())
    }

    pub fn parse_on(name: &str, file: &Path, text: &str, view: &View) -> Result<Self> {
        let name = SeriesName::parse(name).map_err(|e| e.at(file, None))?;
        let raw: RawSeries = parse(file, text)?;
        let mut reader = Reader {
            file,
            lines: Lines(text),
            errors: Vec::new(),
        };
        reader.check_bases(&raw, &view.all);
        let series = reader.series(name, raw.on(&view.names));
        let unknown = || Error::new("cannot be read").at(file, None);
        Error::all(reader.errors).map_or_else(|| series.ok_or_else(unknown), Err)
    }
}

/// Reads the fields, and collects their errors.
struct Reader<'a> {
    file: &'a Path,
    lines: Lines<'a>,
    errors: Vec<Error>,
}

impl Reader<'_> {
    fn error(&mut self, line: usize, what: impl Into<String>, help: &str) {
        let error = Error::new(what).at(self.file, line);
        self.errors.push(error.help(help));
    }

    /// Reads a word. Returns [`None`] after an error.
    fn word<T>(&mut self, text: Spanned<String>, read: fn(&str) -> Result<T>) -> Option<At<T>> {
        let At { value, line } = self.lines.at(text);
        let value = read(&value).map_err(|e| self.errors.push(e.at(self.file, line)));
        let value = value.ok()?;
        Some(At { value, line })
    }

    fn check_bases(&mut self, raw: &RawSeries, all: &[String]) {
        let patches = raw.patch.iter().flat_map(|p| &p.get_ref().only);
        for base in raw.base.iter().chain(raw.on.keys()).chain(patches) {
            let At { value, line } = self.lines.at(base.clone());
            if !all.is_empty() && !all.contains(&value) {
                let help = format!("the bases are: {}", all.join(", "));
                self.error(line, format!("unknown base {value:?}"), &help);
            }
        }
    }

    fn series(&mut self, name: SeriesName, mut raw: RawSeries) -> Option<Series> {
        let lines = self.lines;
        let component = match raw.component.take() {
            Some(text) => self.word(text, SeriesName::component).map(|c| c.value),
            None => Some(name.clone()),
        };
        self.check_local_and_version(&raw);
        let prefix = self.word(raw.prefix.clone(), Prefix::parse);
        let change_id = self.word(raw.change_id.clone(), ChangeId::parse);
        let line_of_to = raw.to.first().map(|to| lines.of(to.span().start));
        let mut seen = BTreeMap::new();
        let to = self.recipients(&raw.to, &mut seen);
        let cc = self.recipients(&raw.cc, &mut seen);
        let fork_points = lines.named(std::mem::take(&mut raw.fork_point));
        for At { value, line } in fork_points.values().filter(|p| !is_hex(&p.value, 40)) {
            let what = format!("{value:?} is not the name of a commit");
            self.error(*line, what, "write all 40 digits of it");
        }
        let mut patches = Vec::new();
        for patch in std::mem::take(&mut raw.patch) {
            patches.extend(self.patch(patch, raw.branch.is_some()));
        }
        self.check_reasons(&raw, &patches);
        let change_id = change_id?;
        let provenance = raw.provenance.map(|p| lines.at(p));
        Some(Series {
            name,
            file: self.file.to_owned(),
            base: raw.base.map(|b| lines.at(b)),
            component: component?,
            local: raw.local.map(|why| lines.at(why)),
            tree: raw.tree,
            branch: raw.branch.map(|b| lines.at(b)),
            fork_points,
            line_of_version: Some(lines.of(raw.version.span().start)),
            version: raw.version.into_inner(),
            prefix: prefix?.value,
            change_id: change_id.value,
            line_of_change_id: Some(change_id.line),
            depends: lines.all(raw.depends),
            without: lines.named(raw.without),
            range_diff: raw.range_diff,
            to,
            line_of_to,
            cc,
            absent: lines.named(raw.absent),
            unused: lines.named(raw.unused),
            left_out: lines.named(raw.left_out),
            many: raw.many.map(|why| lines.at(why)),
            line_of_provenance: provenance.as_ref().map(|p| p.line),
            provenance: provenance.map(|p| p.value),
            kunit: raw.kunit,
            patches,
        })
    }

    fn check_local_and_version(&mut self, raw: &RawSeries) {
        let local = raw.local.as_ref().filter(|l| l.get_ref().trim().is_empty());
        if let Some(At { line, .. }) = local.map(|l| self.lines.at(l.clone())) {
            let help = "give the reason why the series is never posted";
            self.error(line, "`local` is empty", help);
        }
        if *raw.version.get_ref() == 0 {
            let line = self.lines.of(raw.version.span().start);
            let error = Error::new("a series starts with version 1");
            self.errors.push(error.at(self.file, line));
        }
    }

    /// Reads recipients, and reports duplicates. `seen` has the lines of addresses.
    fn recipients(
        &mut self,
        all: &[Spanned<String>],
        seen: &mut BTreeMap<String, usize>,
    ) -> Vec<Recipient> {
        let mut kept = Vec::new();
        for one in all {
            let Some(At { value, line }) = self.word(one.clone(), Recipient::parse) else {
                continue;
            };
            let address = value.address();
            if let Some(first) = seen.insert(address.to_ascii_lowercase(), line) {
                let what = format!("{address} is a recipient twice, first in line {first}");
                self.error(line, what, "remove one of the two");
            }
            kept.push(value);
        }
        kept
    }

    /// Reports exceptions from rules without a reason.
    fn check_reasons(&mut self, raw: &RawSeries, patches: &[Patch]) {
        let reasons = raw.absent.values().chain(raw.unused.values());
        let reasons = reasons.chain(&raw.many).chain(raw.left_out.values());
        let reasons = reasons.map(|why| self.lines.at(why.clone()));
        let mut reasons: Vec<At<String>> = reasons.collect();
        for patch in patches {
            reasons.extend(patch.large.iter().chain(&patch.no_fixes).cloned());
        }
        for why in reasons.iter().filter(|why| why.value.trim().is_empty()) {
            let help = "explain in one sentence why the rule does not apply";
            self.error(why.line, "the reason is empty", help);
        }
    }

    fn patch(&mut self, raw: Spanned<RawPatch>, is_branch: bool) -> Option<Patch> {
        let lines = self.lines;
        let At { line, value: raw } = lines.at(raw);
        let is_plain = raw.files.is_empty()
            && raw.relocate.is_none()
            && raw.edits.is_empty()
            && raw.withhold.is_empty();
        let message = match (is_branch, raw.message, raw.subject) {
            (false, Some(message), None) => message,
            (true, None, Some(subject)) if is_plain => subject,
            (true, ..) => {
                let what = "the patches of this series are the commits of its branch";
                let help = "a [[patch]] here has the `subject` of a commit and exceptions for it: \
                            `large`, `no-fixes`, `unverified`";
                self.error(line, what, help);
                return None;
            }
            (false, ..) => {
                let help = "name the file of its commit message; `subject` is for series with a \
                            `branch`";
                self.error(line, "a [[patch]] needs `message`", help);
                return None;
            }
        };
        let withhold = raw.withhold.into_iter();
        Some(Patch {
            line,
            message: lines.at(message),
            files: lines.all(raw.files),
            relocate: raw.relocate.map(|step| lines.at(step)),
            edits: lines.all(raw.edits),
            withhold: withhold.filter_map(|raw| self.withheld(raw)).collect(),
            large: raw.large.map(|why| lines.at(why)),
            no_fixes: raw.no_fixes.map(|why| lines.at(why)),
            unverified: lines.all(raw.unverified),
        })
    }

    /// Reads one `[[patch.withhold]]`, which has either `text` or `items`.
    fn withheld(&mut self, raw: RawWithhold) -> Option<Withhold> {
        let file = self.lines.at(raw.file);
        let parts = match (raw.text, raw.items) {
            (Some(text), None) => Parts::Text(text),
            (None, Some(items)) if !items.is_empty() => Parts::Items(self.lines.all(items)),
            _ => {
                let what = "a [[patch.withhold]] has either `text` or `items`";
                let help = "`text` has whole lines; `items` names Rust items, as \"fn new\"";
                self.error(file.line, what, help);
                return None;
            }
        };
        Some(Withhold { file, parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(
            series.patches[1].withhold[0].parts,
            Parts::Text("mod b;\n".into())
        );
        assert_eq!(series.subject_prefix(), "PATCH v2");
    }

    #[test]
    fn parse_unknown_field() {
        insta::assert_snapshot!(message(&GOOD.replace("files =", "filez =")), @r#"
        series/clist.toml:8: unknown field `filez`, expected one of `message`, `subject`, `only`, `files`, `relocate`, `edits`, `withhold`, `large`, `no-fixes`, `unverified`
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
