// SPDX-License-Identifier: GPL-2.0

//! The bases of a workspace, and those that the user selects.

use std::path::{Path, PathBuf};

use super::{Base, Error, Result, Workspace, list};
use crate::{
    cli::args::Cli,
    source::workspace::{BASES, ONLY_BASE},
};

/// Returns the folder in which the workspace is looked for.
pub(super) fn folder(cli: &Cli) -> Result<PathBuf> {
    let folder = match &cli.workspace {
        Some(dir) => std::path::absolute(dir),
        None => std::env::current_dir(),
    };
    folder.map_err(|e| Error::new(format!("cannot find the current folder: {e}")))
}

/// Reads the bases of a workspace, the default base first.
pub(super) fn read(ws: &Workspace) -> Result<Vec<Base>> {
    let parse = |file: PathBuf| {
        let mut base = Base::parse(&file, &ws.read(&file)?)?;
        // This file predates workspaces with several bases.
        base.default |= file == Path::new(ONLY_BASE);
        Ok(base)
    };
    let (mut bases, mut errors) = Error::split(base_files(ws).into_iter().map(parse));
    if let [base] = &mut bases[..] {
        base.default = true;
    }
    let defaults = bases.iter().filter(|b| b.default).count();
    if errors.is_empty() && defaults != 1 {
        let error = Error::new(format!("{defaults} of the bases have `default = true`"));
        errors.push(error.at(BASES, None).help(format!(
            "exactly one base is the default, which uses the files that are not variants; the \
             bases are: {}",
            listed(&bases)
        )));
    }
    errors.extend(bases.iter().filter_map(|base| unknown_like(base, &bases)));
    for (at, base) in bases.iter().enumerate() {
        let is_twice = bases[..at].iter().any(|b| b.name == base.name);
        let is_series = !base.default && ws.path(format!("series/{}.toml", base.name)).is_file();
        if is_twice || is_series {
            let other = if is_twice { "another base" } else { "a series" };
            let what = format!("the name of the base, {}, is that of {other}", base.name);
            let help = "rename one of the files; both names are folders of `out/`";
            errors.push(Error::new(what).at(&base.file, None).help(help));
        }
    }
    Error::all(errors)?;
    bases.sort_by_key(|b| !b.default);
    Ok(bases)
}

fn base_files(ws: &Workspace) -> Vec<PathBuf> {
    let mut files = list(&ws.path(BASES)).unwrap_or_default();
    files.retain(|file| file.extension().is_some_and(|e| e == "toml"));
    let only = Some(ws.path(ONLY_BASE)).filter(|file| file.is_file());
    let all = only.into_iter().chain(files);
    all.map(|file| ws.shown(&file).to_owned()).collect()
}

fn unknown_like(base: &Base, all: &[Base]) -> Option<Error> {
    let other = base.like.as_ref()?;
    let is_known = *other != base.name && all.iter().any(|b| b.name == *other);
    (!is_known).then(|| {
        Error::new(format!("`like`: unknown base {other:?}"))
            .at(&base.file, None)
            .help("name the base whose files it shares")
    })
}

fn listed(bases: &[Base]) -> String {
    let names: Vec<&str> = bases.iter().map(|b| b.name.as_str()).collect();
    names.join(", ")
}

/// Returns the bases whose variants of files a base uses, the base itself first.
pub(super) fn variants(base: &Base, all: &[Base]) -> Vec<String> {
    let mut names = vec![base.name.clone()];
    let mut next = base.like.as_ref();
    while let Some(name) = next.filter(|name| !names.contains(name)) {
        names.push(name.clone());
        let base = all.iter().find(|b| b.name == *name);
        next = base.and_then(|b| b.like.as_ref());
    }
    names
}

/// Returns the names in `--base` or `SERIES_BASE`, and applies `--rev` to the base.
pub(super) fn named(
    cli: &Cli,
    var: &dyn Fn(&str) -> Option<String>,
    bases: &mut [Base],
) -> Result<Vec<String>> {
    let mut named = cli.bases.clone();
    if named.is_empty() {
        named.extend(var("SERIES_BASE").filter(|b| !b.is_empty()));
    }
    let known = listed(bases);
    let is_known = |name: &&String| bases.iter().any(|b| b.name == **name);
    if let Some(unknown) = named.iter().find(|name| !is_known(name)) {
        let error = Error::new(format!("unknown base {unknown:?}"));
        return Err(error.help(format!("the bases are: {known}")));
    }
    if let Some(rev) = &cli.rev {
        let base = match (&named[..], &mut *bases) {
            ([], [only]) => Some(only),
            ([name], bases) => bases.iter_mut().find(|b| b.name == *name),
            _ => None,
        };
        let base = base.ok_or_else(|| {
            Error::new("--rev needs a single base")
                .help(format!("select one with --base; the bases are: {known}"))
        })?;
        base.rev = Some(rev.clone());
    }
    Ok(named)
}
