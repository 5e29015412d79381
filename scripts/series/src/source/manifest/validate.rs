// SPDX-License-Identifier: GPL-2.0

//! Rules for the values of a manifest, and for the manifests of several series.

use std::{collections::BTreeMap, path::Path};

use super::{lines::At, series::Series};
use crate::{
    source::{words::Recipient, workspace::View},
    sys::error::{Error, Result},
};

/// Returns the value, or adds the error with its place to `errors`.
pub(super) fn keep<T>(
    errors: &mut Vec<Error>,
    read: Result<T>,
    file: &Path,
    line: usize,
) -> Option<T> {
    read.map_err(|e| errors.push(e.at(file, line))).ok()
}

pub(super) fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Returns an error if the base does not exist.
pub(super) fn no_base(base: &At<String>, view: &View, file: &Path) -> Option<Error> {
    let known = view.all.is_empty() || view.all.contains(&base.value);
    (!known).then(|| {
        Error::new(format!("unknown base {:?}", base.value))
            .at(file, base.line)
            .help(format!("the bases are: {}", view.all.join(", ")))
    })
}

/// Returns an error if the text is not the name of a commit.
pub(super) fn no_commit(point: &At<String>, file: &Path) -> Option<Error> {
    (!is_hex(&point.value, 40)).then(|| {
        Error::new(format!("{:?} is not the name of a commit", point.value))
            .at(file, point.line)
            .help("write all 40 digits of it")
    })
}

/// Reports an exception from a rule without a reason.
pub(super) fn blank(why: &At<String>, file: &Path) -> Option<Error> {
    why.value.trim().is_empty().then(|| {
        Error::new("the reason is empty")
            .at(file, why.line)
            .help("explain in one sentence why the rule does not apply")
    })
}

/// Reads the recipients and reports duplicates.
pub(super) fn recipients(
    to: &[At<String>],
    cc: &[At<String>],
    file: &Path,
    errors: &mut Vec<Error>,
) -> (Vec<Recipient>, Vec<Recipient>) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut read = |all: &[At<String>]| -> Vec<Recipient> {
        let mut kept = Vec::new();
        for At { value, line } in all {
            let Some(one) = keep(errors, Recipient::parse(value), file, *line) else {
                continue;
            };
            let address = one.address().to_ascii_lowercase();
            if let Some(first) = seen.insert(address, *line) {
                let what = format!(
                    "{} is a recipient twice, first in line {first}",
                    one.address()
                );
                errors.push(
                    Error::new(what)
                        .at(file, *line)
                        .help("remove one of the two"),
                );
            }
            kept.push(one);
        }
        kept
    };
    (read(to), read(cc))
}

/// Checks that change ids are unique. b4 treats series with the same id as versions of one series.
pub fn unique_change_ids(series: &[&Series]) -> Result<()> {
    let mut seen: BTreeMap<&str, &Series> = BTreeMap::new();
    let mut errors = Vec::new();
    for one in series {
        if let Some(first) = seen.insert(&one.change_id, one) {
            errors.push(
                Error::new(format!("{} has the same change-id", first.name))
                    .at(one.file(), one.line_of_change_id)
                    .help(
                        "the change-id connects the versions of a series; give a new one to the \
                        series that was not posted",
                    ),
            );
        }
    }
    Error::all(errors).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{super::read::tests::GOOD, *};

    #[test]
    fn unique_change_ids_duplicate() {
        let one = |name: &str| {
            let file = PathBuf::from(format!("series/{name}.toml"));
            Series::parse(name, &file, GOOD).unwrap()
        };
        let both = [one("a"), one("b")];
        let both: Vec<&Series> = both.iter().collect();
        unique_change_ids(&both[..1]).unwrap();
        insta::assert_snapshot!(unique_change_ids(&both).unwrap_err(), @r"
        series/b.toml:3: a has the same change-id
          help: the change-id connects the versions of a series; give a new one to the series that was not posted
        ");
    }
}
