// SPDX-License-Identifier: GPL-2.0

//! The base: found on one of several routes, checked, and imported into the kernel repository once.

mod import;
mod other;
mod route;

pub use self::{
    other::{
        Other,
        Place,
        obtain_other, //
    },
    route::verify, //
};

use std::path::PathBuf;

use crate::{
    assemble::BaseCommit,
    cache::{
        Cache,
        Resource, //
    },
    error::{
        Error,
        Result, //
    },
    git::{
        Git,
        Oid, //
    },
    manifest::Base,
    runner::Runner,
    ui::Ui,
};

/// What the user said about where to look.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--kernel DIR`: a kernel tree in git.
    pub kernel: Option<PathBuf>,
    /// `NOVA_SERIES_MIRROR`: a folder of archives.
    pub mirror: Option<PathBuf>,
}

/// The ref of an imported base.
fn base_ref(base: &Base) -> String {
    ref_of(&base.version)
}

fn ref_of(version: &str) -> String {
    format!("refs/nova-series/base/{version}")
}

/// The base in the kernel repository, or `None` if it was not imported yet.
///
/// # Errors
///
/// The repository is damaged.
pub fn imported(git: &Git<'_>, base: &Base) -> Result<Option<BaseCommit>> {
    if !git.dir().join(".git").is_dir() {
        return Ok(None);
    }
    of_version(git, &base.version)
}

/// The base of this version, "6.19.11", or `None` if it was not imported.
///
/// # Errors
///
/// The repository is damaged.
pub fn of_version(git: &Git<'_>, version: &str) -> Result<Option<BaseCommit>> {
    describe(git, &ref_of(version))
}

/// What a revision is, or `None` if there is none.
fn describe(git: &Git<'_>, rev: &str) -> Result<Option<BaseCommit>> {
    let out = git
        .try_run(&git.cmd(["show", "-s", "--format=%H %T %ct", rev, "--"]))?
        .text();
    let mut words = out.split(' ');
    let mut oid = || words.next().and_then(Oid::parse);
    let (commit, tree) = (oid(), oid());
    let when = words.next().and_then(|w| w.parse().ok());
    Ok(match (commit, tree, when) {
        (Some(commit), Some(tree), Some(when)) => Some(BaseCommit { commit, tree, when }),
        _ => None,
    })
}

/// Finds and imports the base unless that was done before.
///
/// # Errors
///
/// No route answered (all are listed, each with its reason), or the import failed. The kernel
/// repository is then as it was: its ref is set last.
pub fn obtain(
    runner: &dyn Runner,
    cache: &Cache,
    base: &Base,
    sources: &Sources,
    ui: &Ui,
) -> Result<BaseCommit> {
    let dir = cache.kernel();
    let git = Git::new(runner, &dir);
    if let Some(found) = imported(&git, base)? {
        import::pin_attributes(&git)?;
        if sources.kernel.is_some() {
            ui.say("the base was imported before; --kernel is not looked at");
        }
        return Ok(found);
    }
    let lock = cache.lock(Resource::Base, ui)?;
    // Another run may have done it while this one waited.
    if let Some(found) = imported(&git, base)? {
        return Ok(found);
    }
    import::prepare(&git, cache)?;
    import::pin_attributes(&git)?;
    if lock.after_death() {
        git.remove_stale_locks(Resource::Base);
    }
    let commit = match &sources.kernel {
        Some(kernel) => import::from_git(&git, base, kernel, ui)?,
        None => {
            let archive = route::archive(runner, cache, base, sources, ui)?;
            import::from_archive(&git, cache, base, &archive, ui)?
        }
    };
    git.set_ref(&base_ref(base), &commit)?;
    describe(&git, commit.as_str())?
        .ok_or_else(|| Error::new(format!("git does not know {commit}, which it just made")))
}
