// SPDX-License-Identifier: GPL-2.0

//! The base kernel: found through one of several routes, verified, and imported once.

mod import;
mod other;
mod route;

pub use self::other::{Other, Place, obtain_other};

use std::{iter, path::PathBuf};

use self::import::{Importer, check_version, drop_settings, lists, pin_attributes};
use crate::{
    git::{BaseCommit, Git, Oid, damage, refs},
    source::manifest::Base,
    sys::{Error, Result, Runner, cache::Cache, failed, ui::Ui},
};

/// The user's settings for routes.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--kernel DIR`: a kernel tree in git.
    pub kernel: Option<PathBuf>,
    /// `SERIES_MIRROR`: folders of archives.
    pub mirror: Vec<PathBuf>,
}

/// Returns the base in the kernel repository, or `None` if it was not imported yet. The import must
/// match one of the archives or trees that the manifest names now.
pub fn imported(git: &Git<'_>, base: &Base) -> Result<Option<BaseCommit>> {
    for archive in &base.archives {
        if let Some(found) = describe(git, &refs::archive(&archive.sha256))? {
            return Ok(Some(found));
        }
    }
    let Some(found) = describe(git, &refs::base(base.ref_name()))? else {
        return Ok(None);
    };
    // If the user chose a commit imported from a git tree, the manifest has no hash of it.
    let fits = base.rev.is_some() || lists(base, &found.tree) || !is_from_archive(git, &found)?;
    Ok(fits.then_some(found))
}

fn is_from_archive(git: &Git<'_>, base: &BaseCommit) -> Result<bool> {
    let points_at = format!("--points-at={}", base.commit);
    let found = git.must(["for-each-ref", &points_at, refs::ARCHIVES])?;
    Ok(!found.stdout.is_empty())
}

/// Returns the base of a posting, if necessary from the kernel repository of another base.
pub fn made_for(git: &Git<'_>, cache: &Cache, what: &str) -> Result<Option<BaseCommit>> {
    let own = git.dir().to_owned();
    for dir in iter::once(own).chain(cache.kernels()) {
        let there = Git::new(git.runner(), &dir);
        let Some(found) = describe(&there, &refs::base(what))? else {
            continue;
        };
        if dir != git.dir() {
            git.fetch(&dir, [(&found.commit, refs::import(what))])?;
            git.set_ref(&refs::base(what), &found.commit)?;
        }
        return Ok(Some(found));
    }
    Ok(None)
}

/// Returns the commit of a ref, or `None` if the ref or the repository does not exist.
fn describe(git: &Git<'_>, name: &str) -> Result<Option<BaseCommit>> {
    if !git.dir().join(".git").is_dir() {
        return Ok(None);
    }
    let format = "--format=%(objectname) %(tree) %(committerdate:unix)";
    let cmd = git.cmd(["for-each-ref", format, name]);
    let out = git.run(&cmd)?;
    if damage::is_damage(&out.complaint()) {
        return Err(failed(&cmd, &out));
    }
    let text = out.text();
    let mut words = text.split(' ');
    let mut oid = || words.next().and_then(Oid::parse);
    let (commit, tree) = (oid(), oid());
    let when = words.next().and_then(|w| w.parse().ok());
    match (commit, tree, when) {
        (Some(commit), Some(tree), Some(when)) => Ok(Some(BaseCommit { commit, tree, when })),
        _ if text.is_empty() => Ok(None),
        _ => Err(Error::new(format!("git does not describe {name}")).detail(text)),
    }
}

/// Sets the commit and the version of a base that is a revision, if it has been imported.
pub fn learn(git: &Git<'_>, base: &mut Base) -> Result<()> {
    if base.rev.is_some()
        && let Some(public) = describe(git, &refs::public(base.ref_name()))?
    {
        base.version = import::version(git, &public.commit)?;
        base.upstream_commit = Some(public.commit.to_string());
    }
    Ok(())
}

/// Returns whether a base is a revision, and the user's tree has another commit there than the one
/// that was imported.
fn is_other_revision(git: &Git<'_>, base: &Base, sources: &Sources) -> Result<bool> {
    let (Some(rev), Some(kernel)) = (&base.rev, &sources.kernel) else {
        return Ok(false);
    };
    let theirs = Git::of_user(git.runner(), kernel);
    let now = theirs.resolve(&format!("{rev}^{{commit}}")).ok().flatten();
    let imported = describe(git, &refs::public(base.ref_name()))?;
    Ok(now.is_none() || imported.map(|i| i.commit) != now)
}

/// Imports the base if necessary. A revision is imported again if the user names a kernel tree. If
/// no route works, the error lists each with its reason. A failed import leaves the kernel
/// repository as it was, because the ref is set last.
pub fn obtain(
    runner: &dyn Runner,
    cache: &Cache,
    base: &Base,
    sources: &Sources,
    ui: &Ui,
) -> Result<BaseCommit> {
    let dir = cache.kernel();
    let git = &Git::new(runner, &dir);
    let is_new = is_other_revision(git, base, sources)?;
    let find = || -> Result<_> { Ok(imported(git, base)?.filter(|_| !is_new)) };
    if let Some(found) = find()? {
        drop_settings(git)?;
        pin_attributes(git)?;
        if sources.kernel.is_some() && base.rev.is_none() {
            ui.say("base already imported; ignoring --kernel");
        }
        return Ok(found);
    }
    let import = Importer { git, cache, ui };
    let kept = refs::base(base.ref_name());
    import.once(&kept, find, || import_base(&import, base, sources))
}

/// Imports the base from the source that the user or the manifest names.
fn import_base(import: &Importer<'_>, base: &Base, sources: &Sources) -> Result<Oid> {
    let git = import.git;
    let commit = match (&sources.kernel, &base.rev) {
        (Some(kernel), Some(rev)) => {
            let (public, commit) = import.import_revision(base, kernel, rev)?;
            git.set_ref(&refs::public(base.ref_name()), &public)?;
            // Keeps the base for postings that were made for it.
            git.set_ref(&refs::base(public.as_str()), &commit)?;
            return Ok(commit);
        }
        (Some(kernel), None) => import.import_release(base, kernel)?,
        (None, Some(rev)) => {
            let what = format!(
                "the base {} is the revision {rev} of a git tree, which is not imported yet",
                base.name
            );
            return Err(Error::new(what)
                .at(&base.file, None)
                .help("name the tree with --kernel DIR"));
        }
        (None, None) => {
            let (path, archive) = import.archive(base, sources)?;
            let title = format!("Linux {}", base.version);
            let reference = refs::import(&base.version);
            let commit = import.unpack(&path, &title, &reference, &format!("{title}\n"))?;
            check_version(git, base, &commit).map_err(|e| e.at(&path, None))?;
            git.set_ref(&refs::archive(&archive.sha256), &commit)?;
            commit
        }
    };
    let tree = git.tree_of(&commit)?;
    if !lists(base, &tree) {
        let (file, version) = (base.file.display(), &base.version);
        import.ui.warn(format!(
            "the tree {tree} is not among those that {file} lists for {version}"
        ));
    }
    Ok(commit)
}
