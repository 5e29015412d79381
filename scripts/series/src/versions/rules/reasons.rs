// SPDX-License-Identifier: GPL-2.0

//! Reasons for a new version of a series other than its patches, and the changelog items that name
//! them.

use std::{collections::BTreeSet, sync::LazyLock};

use regex::Regex;

use crate::{
    mail::mailbox::{self, Mail},
    source::{cover, manifest::Series, message, words::Recipient},
    sys::pattern,
    versions::{postings::Posting, range_diff::Comparison},
};

/// A reason for a new version besides its patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Base,
    Order,
    /// The words before the version in the subjects changed.
    Prefix,
    /// The author's part of the cover letter changed.
    Cover,
    /// The series goes to other people.
    Recipients,
}

impl Reason {
    /// Each reason, the start of its changelog item, and the thing that changed.
    pub const ALL: [(Self, &str, &str); 5] = [
        (Self::Base, "Rebased on", "the base"),
        (Self::Order, "Order:", "the order of the patches"),
        (Self::Prefix, "Prefix:", "the prefix"),
        (Self::Cover, "Cover:", "the cover letter"),
        (Self::Recipients, "Recipients:", "the recipients"),
    ];
}

/// Compares a series with its last posting. The base is left to the caller.
///
/// `text` is the present cover letter, `mails` are the posted ones, cover letter first. Records may
/// lack a cover letter or recipients; missing parts count as unchanged.
pub fn reasons(
    series: &Series,
    text: &cover::Text,
    posting: &Posting,
    mails: &[Mail],
    since: &Comparison,
) -> Vec<Reason> {
    let prefix = words(&series.prefix) != words(&posting.prefix);
    let found = [
        (Reason::Order, is_reordered(since)),
        (Reason::Prefix, prefix),
        (Reason::Cover, is_other_cover(series, text, posting, mails)),
        (Reason::Recipients, goes_to_others(series, mails)),
    ];
    let found = found.into_iter().filter(|(_, is)| *is);
    found.map(|(reason, _)| reason).collect()
}

fn is_reordered(since: &Comparison) -> bool {
    let kept = since.patches.iter().filter(|p| p.new.is_some());
    !kept.filter_map(|p| p.old).is_sorted()
}

/// Returns the words of a prefix as a set, because b4 orders them itself.
fn words(prefix: &str) -> BTreeSet<&str> {
    prefix.split(' ').filter(|w| *w != "RESEND").collect()
}

fn is_other_cover(series: &Series, now: &cover::Text, posting: &Posting, mails: &[Mail]) -> bool {
    let single = posting.patches.len() == 1;
    if !single && posting.title != now.title {
        return true;
    }
    let posted = mails.first().and_then(|m| cover::posted(&m.body, single));
    posted.is_some_and(|posted| posted != cover::plain(&cover::own(now, series)))
}

/// Whether the recipients changed. b4 adds the people named in trailers to Cc, so these are ignored.
fn goes_to_others(series: &Series, mails: &[Mail]) -> bool {
    let Some(first) = mails.first() else {
        return false;
    };
    let (to, cc) = (lower(first.addresses("To")), lower(first.addresses("Cc")));
    if to.is_empty() && cc.is_empty() {
        return false;
    }
    let now = |all: &[Recipient]| lower(all.iter().map(Recipient::address));
    let (now_to, now_cc) = (now(&series.to), now(&series.cc));
    let mut by_trailers = trailer_addresses(mails);
    by_trailers.insert(first.from.email.to_ascii_lowercase());
    let is_meant = |a: &&String| now_cc.contains(*a) || !by_trailers.contains(*a);
    to != now_to || !cc.iter().filter(is_meant).eq(&now_cc)
}

/// A changelog item that names a reason.
pub struct Statement {
    pub reason: Reason,
    /// The release that it names, if it names the base.
    pub release: Option<String>,
    /// Whether an explanation follows.
    pub explained: bool,
}

static STATEMENT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?xi) ^ -? \s* (?:
            (?P<base> rebased? \s+ (?: onto | on | to ) \s+ (?: linux \s+ )? v? (?P<release> \d+\.\d [\w.-]* ) )
          | (?P<word> order | prefix | cover (?: \s+ letter )? | recipients? ) \s* : (?P<why> .* ) )",
    )
});

/// Reads a changelog item, given in one line.
pub fn statement(item: &str) -> Option<Statement> {
    let found = STATEMENT.captures(item)?;
    if let Some(release) = found.name("release") {
        return Some(Statement {
            reason: Reason::Base,
            release: Some(release.as_str().trim_end_matches(['.', '-']).to_owned()),
            explained: true,
        });
    }
    let reason = match found["word"].to_ascii_lowercase().get(..1)? {
        "o" => Reason::Order,
        "p" => Reason::Prefix,
        "c" => Reason::Cover,
        _ => Reason::Recipients,
    };
    Some(Statement {
        reason,
        release: None,
        explained: found["why"].split_whitespace().count() >= 2,
    })
}

/// Returns the addresses in trailers, in lower case.
pub fn trailer_addresses<'a>(mails: impl IntoIterator<Item = &'a Mail>) -> BTreeSet<String> {
    let bodies = mails.into_iter().map(|mail| &mail.body);
    let lines = bodies.flat_map(|body| body.lines());
    let trailers = lines.filter(|l| message::is_trailer(l));
    let people = trailers.filter_map(|l| Some(mailbox::person(l.split_once(": ")?.1)));
    lower(people.map(|person| person.email))
}

pub fn lower(addresses: impl IntoIterator<Item = impl AsRef<str>>) -> BTreeSet<String> {
    let addresses = addresses.into_iter();
    addresses.map(|a| a.as_ref().to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mail::mailbox,
        versions::{
            postings::tests::posting,
            range_diff::{Change, PatchChange},
        },
    };

    fn since(olds: &[Option<usize>]) -> Comparison {
        let patches = olds.iter().enumerate().map(|(i, old)| PatchChange {
            old: *old,
            new: Some(i + 1),
            change: Change::Same,
            subject: "a: b".into(),
        });
        Comparison {
            against: 1,
            patches: patches.collect(),
            text: String::new(),
        }
    }

    const MANIFEST: &str = "version = 2\nchange-id = \"20260102-x-1\"\n\
        to = [\"A <a@example.org>\"]\ncc = [\"B <b@example.org>\"]\n";

    const MAIL: &str = "From: P <p@example.org>\nTo: A <A@example.org>\n\
        Cc: b@example.org, R <r@example.org>\nSubject: [PATCH 0/2] rust: x: add it\n\n\
        Text. \n\n># 1\n\nDependencies: none, the series applies to the base alone.\n\n\
        Base: Linux v6.1.2\n---\nReviewed-by: R <r@example.org>\n";

    fn found(manifest: &str, cover: &str, mail: &str, olds: &[Option<usize>]) -> Vec<Reason> {
        let series = Series::parse("x", "series/x.toml".as_ref(), manifest).unwrap();
        let text = cover::parse("c.md".as_ref(), cover).unwrap();
        let mails = mailbox::read(mail.as_bytes()).unwrap();
        let before = posting(1, &["a: b", "a: c"]);
        reasons(&series, &text, &before, &mails, &since(olds))
    }

    const COVER: &str = "# rust: x: add it\n\nText.\n\n# 1\n";

    const SAME: [Option<usize>; 2] = [Some(1), Some(2)];

    #[test]
    fn reasons_unchanged_series() {
        assert_eq!(found(MANIFEST, COVER, MAIL, &SAME), []);
        // Parts that the mails lack are not compared.
        let bare = "From: P <p@example.org>\nSubject: [PATCH 0/2] x\n\nOther text.\n";
        assert_eq!(found(MANIFEST, COVER, bare, &SAME), []);
    }

    #[test]
    fn reasons_each_kind() {
        let manifest = |from: &str, to: &str| MANIFEST.replace(from, to);
        let rfc = manifest("version", "prefix = \"RFC PATCH\"\nversion");
        assert_eq!(found(&rfc, COVER, MAIL, &SAME), [Reason::Prefix]);
        for (from, to) in [
            ("a@example", "z@example"),
            ("\"B <b@example.org>\"", ""),
            ("cc = [", "cc = [\"c@d.org\", "),
        ] {
            let other = manifest(from, to);
            assert_eq!(
                found(&other, COVER, MAIL, &SAME),
                [Reason::Recipients],
                "{to}"
            );
        }
        for (from, to) in [
            ("add it", "add them"),
            ("Text.", "More text."),
            ("\n\n# 1", ""),
        ] {
            let other = COVER.replacen(from, to, 1);
            assert_eq!(
                found(MANIFEST, &other, MAIL, &SAME),
                [Reason::Cover],
                "{to}"
            );
        }
        let from = format!("{MANIFEST}[provenance]\ntext = \"Split off.\"\n");
        assert_eq!(found(&from, COVER, MAIL, &SAME), [Reason::Cover]);
        let swapped = [Some(2), Some(1)];
        assert_eq!(found(MANIFEST, COVER, MAIL, &swapped), [Reason::Order]);
        // A new patch in between does not change the order.
        assert_eq!(found(MANIFEST, COVER, MAIL, &[Some(1), None, Some(2)]), []);
    }

    #[test]
    fn statement_parses_items() {
        let base = |text: &str| statement(text).and_then(|s| s.release);
        assert_eq!(base("- Rebased on Linux v6.1.3.").as_deref(), Some("6.1.3"));
        assert_eq!(
            base("- rebase onto 7.0-rc1, as asked").as_deref(),
            Some("7.0-rc1")
        );
        assert_eq!(base("- Rebased on v2 of list."), None);
        let word = |text: &str| statement(text).map(|s| (s.reason, s.explained));
        assert_eq!(
            word("- Recipient: X was asked for."),
            Some((Reason::Recipients, true))
        );
        assert_eq!(
            word("- Cover letter: figures"),
            Some((Reason::Cover, false))
        );
        assert_eq!(word("- Covers: all that."), None);
        assert_eq!(word("- Say in order: one two."), None);
    }
}
