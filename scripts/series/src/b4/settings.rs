// SPDX-License-Identifier: GPL-2.0

//! Writes the settings of the kernel repository that b4 reads.

use crate::{
    git::{Git, Identity, parse_settings, pinned},
    source::manifest::Base,
    sys::Result,
};

/// Returns b4's template for the cover letter. The base commit in this repository is private and
/// useless to recipients, so the template has `base-commit` only if the public commit is known,
/// which replaces it.
pub(super) fn cover_template(base: &Base) -> String {
    let public = base.upstream_commit.as_ref();
    let base_commit = public.map_or("", |_| "base-commit: ${base_commit}\n");
    format!(
        "${{cover}}\n\n---\n${{shortlog}}\n\n${{diffstat}}\n---\n{base_commit}\
         change-id: ${{change_id}}\n${{prerequisites}}\nBest regards,\n-- \n${{signature}}\n"
    )
}

pub fn configure(git: &Git<'_>, base: &Base, who: &Identity) -> Result<()> {
    let template = git.dir().join(".git/series-cover.template");
    crate::sys::files::write(&template, cover_template(base).as_bytes())?;
    let template = template.display().to_string();
    let set = local_settings(git)?;
    let own = [
        ("user.name", who.name.as_str()),
        ("user.email", &who.email),
        ("b4.prep-cover-template", &template),
    ];
    // The user posts with b4 in this repository, and the mails must equal the rehearsed mails.
    for (key, value) in own.into_iter().chain(pinned()) {
        let values: Vec<_> = set.iter().filter(|(k, _)| k == key).collect();
        if !matches!(values[..], [(_, one)] if one == value) {
            git.must(["config", "--local", "--replace-all", key, value])?;
        }
    }
    Ok(())
}

pub(super) fn local_settings(git: &Git<'_>) -> Result<Vec<(String, String)>> {
    let listed = git.must(["config", "--local", "-z", "--list"])?;
    Ok(parse_settings(&listed.stdout))
}
