// SPDX-License-Identifier: GPL-2.0

//! Reads the manifest of a series: its fields, for the base in use.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use toml::Spanned;

use super::{
    lines::{At, Lines, parse},
    series::{Kunit, Parts, Patch, Provenance, Series, Withhold},
    validate::{blank, keep, no_base, no_commit, recipients},
};
use crate::{
    source::{
        words::{ChangeId, Prefix, SeriesName},
        workspace::View,
    },
    sys::error::{Error, Result},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSeries {
    version: Spanned<u32>,
    component: Option<Spanned<String>>,
    branch: Option<Spanned<String>>,
    #[serde(default)]
    fork_point: BTreeMap<String, Spanned<String>>,
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
    absent: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    unused: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    left_out: BTreeMap<String, Spanned<String>>,
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
    absent: Option<BTreeMap<String, Spanned<String>>>,
    unused: Option<BTreeMap<String, Spanned<String>>>,
    left_out: Option<BTreeMap<String, Spanned<String>>>,
    provenance: Option<Spanned<Provenance>>,
    kunit: Option<Kunit>,
}

impl RawSeries {
    /// Applies the fields for these bases. Earlier names take precedence.
    fn on(mut self, names: &[String]) -> Self {
        for name in names.iter().rev() {
            let Some(key) = self.on.keys().find(|k| k.get_ref() == name).cloned() else {
                continue;
            };
            let Some(on) = self.on.remove(&key) else {
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
        self
    }

    /// Returns the bases in the manifest.
    fn bases(&self) -> impl Iterator<Item = &Spanned<String>> {
        let patches = self.patch.iter().flat_map(|p| &p.get_ref().only);
        self.base.iter().chain(self.on.keys()).chain(patches)
    }
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

impl Series {
    /// Reads `series/<name>.toml`.
    ///
    /// # Errors
    ///
    /// The text is not TOML, or has an unknown, missing or invalid field.
    pub fn parse(name: &str, file: &Path, text: &str) -> Result<Self> {
        Self::parse_on(name, file, text, &View::default())
    }

    /// Reads a manifest for a base.
    ///
    /// # Errors
    ///
    /// As [`Self::parse`], or a base in the manifest does not exist.
    pub fn parse_on(name: &str, file: &Path, text: &str, view: &View) -> Result<Self> {
        let name = SeriesName::parse(name).map_err(|e| e.at(file, None))?;
        let raw: RawSeries = parse(file, text)?;
        let lines = Lines(text);
        let mut errors: Vec<Error> = raw
            .bases()
            .filter_map(|base| no_base(&lines.at(base.clone()), view, file))
            .collect();
        let raw = raw.on(&view.names);
        let version = lines.at(raw.version);
        let component = match raw.component.map(|c| lines.at(c)) {
            Some(At { value, line }) => {
                keep(&mut errors, SeriesName::component(&value), file, line)
            }
            None => Some(name.clone()),
        };
        let local = raw.local.map(|l| lines.at(l));
        if let Some(At { line, .. }) = local.as_ref().filter(|l| l.value.trim().is_empty()) {
            errors.push(
                Error::new("`local` is empty")
                    .at(file, *line)
                    .help("give the reason why the series is never posted"),
            );
        }
        if version.value == 0 {
            errors.push(Error::new("a series starts with version 1").at(file, version.line));
        }
        let prefix = lines.at(raw.prefix);
        let prefix = keep(&mut errors, Prefix::parse(&prefix.value), file, prefix.line);
        let change_id = lines.at(raw.change_id);
        let line_of_change_id = Some(change_id.line);
        let change_id = keep(
            &mut errors,
            ChangeId::parse(&change_id.value),
            file,
            change_id.line,
        );
        let (to, cc) = (lines.all(raw.to), lines.all(raw.cc));
        let line_of_to = to.first().map(|t| t.line);
        let (to, cc) = recipients(&to, &cc, file, &mut errors);
        let named = |all: BTreeMap<String, Spanned<String>>| {
            let all = all.into_iter().map(|(name, why)| (name, lines.at(why)));
            all.collect::<BTreeMap<_, _>>()
        };
        let (absent, unused) = (named(raw.absent), named(raw.unused));
        let left_out = named(raw.left_out);
        let many = raw.many.map(|why| lines.at(why));
        let here = raw.patch.into_iter().filter(|p| {
            let only = &p.get_ref().only;
            only.is_empty() || only.iter().any(|b| view.names.contains(b.get_ref()))
        });
        let branch = raw.branch.map(|b| lines.at(b));
        let fork_points = named(raw.fork_point);
        errors.extend(fork_points.values().filter_map(|p| no_commit(p, file)));
        let is_branch = branch.is_some();
        let patches = patches(here.collect(), is_branch, &lines, file, &mut errors);
        let of_patches = patches
            .iter()
            .flat_map(|p| p.large.iter().chain(&p.no_fixes));
        let reasons = absent.values().chain(unused.values()).chain(&many);
        let reasons = reasons.chain(left_out.values());
        errors.extend(reasons.chain(of_patches).filter_map(|why| blank(why, file)));
        let (Some(component), Some(prefix), Some(change_id), true) =
            (component, prefix, change_id, errors.is_empty())
        else {
            let unknown = || Error::new("cannot be read").at(file, None);
            return Err(Error::all(errors).unwrap_or_else(unknown));
        };
        let provenance = raw.provenance.map(|p| lines.at(p));
        Ok(Self {
            name,
            file: file.to_owned(),
            base: raw.base.map(|b| lines.at(b)),
            component,
            local,
            tree: raw.tree,
            branch,
            fork_points,
            version: version.value,
            line_of_version: Some(version.line),
            prefix,
            change_id,
            line_of_change_id,
            depends: lines.all(raw.depends),
            without: raw
                .without
                .into_iter()
                .map(|(name, n)| (name, lines.at(n)))
                .collect(),
            range_diff: raw.range_diff,
            to,
            line_of_to,
            cc,
            absent,
            unused,
            left_out,
            many,
            line_of_provenance: provenance.as_ref().map(|p| p.line),
            provenance: provenance.map(|p| p.value),
            kunit: raw.kunit,
            patches,
        })
    }
}

/// Reads the patches of a manifest.
fn patches(
    raw: Vec<Spanned<RawPatch>>,
    is_branch: bool,
    lines: &Lines<'_>,
    file: &Path,
    errors: &mut Vec<Error>,
) -> Vec<Patch> {
    raw.into_iter()
        .filter_map(|spanned| {
            let At { line, value } = lines.at(spanned);
            let message = match is_branch {
                true => of_commit(&value),
                false => value.message.clone().filter(|_| value.subject.is_none()),
            };
            let Some(message) = message else {
                errors.push(no_patch(is_branch).at(file, line));
                return None;
            };
            let withhold = value.withhold.into_iter();
            Some(Patch {
                line,
                message: lines.at(message),
                files: lines.all(value.files),
                relocate: value.relocate.map(|step| lines.at(step)),
                edits: lines.all(value.edits),
                withhold: withhold
                    .filter_map(|w| withheld(w, lines, file, errors))
                    .collect(),
                large: value.large.map(|why| lines.at(why)),
                no_fixes: value.no_fixes.map(|why| lines.at(why)),
                unverified: lines.all(value.unverified),
            })
        })
        .collect()
}

/// Returns the subject of a `[[patch]]` that makes exceptions for a commit of a branch, if it does
/// nothing else.
fn of_commit(raw: &RawPatch) -> Option<Spanned<String>> {
    let is_plain = raw.message.is_none()
        && raw.files.is_empty()
        && raw.relocate.is_none()
        && raw.edits.is_empty()
        && raw.withhold.is_empty();
    raw.subject.clone().filter(|_| is_plain)
}

/// The error for a `[[patch]]` of the wrong kind.
fn no_patch(is_branch: bool) -> Error {
    match is_branch {
        true => Error::new("the patches of this series are the commits of its branch").help(
            "a [[patch]] here has the `subject` of a commit and exceptions for it: `large`, \
             `no-fixes`, `unverified`",
        ),
        false => Error::new("a [[patch]] needs `message`")
            .help("name the file of its commit message; `subject` is for series with a `branch`"),
    }
}

/// Reads one `[[patch.withhold]]`, which has either `text` or `items`.
fn withheld(
    raw: RawWithhold,
    lines: &Lines<'_>,
    file: &Path,
    errors: &mut Vec<Error>,
) -> Option<Withhold> {
    let of = lines.at(raw.file);
    let parts = match (raw.text, raw.items) {
        (Some(text), None) => Parts::Text(text),
        (None, Some(items)) if !items.is_empty() => Parts::Items(lines.all(items)),
        _ => {
            errors.push(
                Error::new("a [[patch.withhold]] has either `text` or `items`")
                    .at(file, of.line)
                    .help("`text` has whole lines; `items` names Rust items, as \"fn new\""),
            );
            return None;
        }
    };
    Some(Withhold { file: of, parts })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) const GOOD: &str = r#"
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
