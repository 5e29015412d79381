// SPDX-License-Identifier: GPL-2.0

//! Settings of the kernel repository that b4 reads.

use crate::{
    git::{
        Git,
        Identity,
        PINNED,
        parse_settings, //
    },
    source::manifest::Base,
    sys::error::Result, //
};

/// What b4 puts around the cover letter. The commit that the series start from is private to this
/// repository, and a private hash is of no use to whoever receives it: the trailer is there only
/// where the public commit is known, which then stands in for it.
pub(super) fn cover_template(base: &Base) -> String {
    let base_commit = match base.upstream_commit {
        Some(_) => "base-commit: ${base_commit}\n",
        None => "",
    };
    format!(
        "${{cover}}\n\n---\n${{shortlog}}\n\n${{diffstat}}\n---\n{base_commit}\
         change-id: ${{change_id}}\n${{prerequisites}}\nBest regards,\n-- \n${{signature}}\n"
    )
}

/// Sets the repository up for b4.
///
/// # Errors
///
/// The template cannot be written, or git fails.
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
    // When the user posts with b4 there, the mails must equal those of the rehearsal.
    for (key, value) in own.iter().chain(PINNED) {
        let values: Vec<_> = set.iter().filter(|(k, _)| k == key).collect();
        if !matches!(values[..], [(_, one)] if one == value) {
            git.must(["config", "--local", "--replace-all", key, value])?;
        }
    }
    Ok(())
}

/// The settings of the repository itself.
pub(super) fn local_settings(git: &Git<'_>) -> Result<Vec<(String, String)>> {
    let listed = git.must(["config", "--local", "-z", "--list"])?;
    Ok(parse_settings(&listed.stdout))
}
