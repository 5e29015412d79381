// SPDX-License-Identifier: GPL-2.0

//! Checks the mails that b4 created from the series before they are sent.

use std::path::PathBuf;

use crate::{
    mail::mailbox::Mail,
    patches::{output::Cover, plan::PlannedSeries},
    source::{finding::Finding, manifest::Series, words::Recipient},
    sys::plural::count,
    versions::{
        postings::Posting,
        rules::{
            reasons::{lower, trailer_addresses},
            trailers,
        },
    },
};

/// Compares the mails, each with its file, with the series. `from` is the address of the sender.
pub fn findings(
    plan: &PlannedSeries,
    letter: &Cover,
    from: &str,
    mails: &[(PathBuf, Mail)],
) -> Vec<Finding> {
    let (series, name) = (plan.series(), plan.name());
    let finding = |file: &PathBuf, what: String| {
        let help = "the mail that b4 created differs from the series; nothing was sent";
        Finding::new(name, "trailers", what)
            .at(file, None)
            .help(help)
    };
    let subjects = subjects(plan, &letter.title);
    let Some((cover_file, cover)) = mails.first().filter(|_| mails.len() == subjects.len()) else {
        let file = mails.first().map_or(&series.file, |(file, _)| file);
        let (have, want) = (count(mails.len(), "mail", "mails"), subjects.len());
        let what = format!("b4 wrote {have} instead of {want}");
        return vec![finding(file, what)];
    };
    let mut findings = Vec::new();
    for (subject, (file, mail)) in subjects.iter().zip(mails) {
        let (is, sender) = (&mail.subject, &mail.from.email);
        // b4 decides where the words before "PATCH" go.
        if sorted(subject) != sorted(is) {
            let what = format!("the subject is {is:?} instead of {subject:?}");
            findings.push(finding(file, what));
        }
        if sender != from {
            findings.push(finding(file, format!("it is from {sender}")));
        }
    }
    let trailers = &letter.trailers;
    findings.extend(trailers::in_cover(name, cover_file, &cover.body, trailers));
    let links = plan.component.postings.iter().map(Posting::link);
    for link in links.filter(|link| !cover.body.contains(link)) {
        findings.push(finding(cover_file, format!("the link {link} is missing")));
    }
    let changes = format!("Changes in v{}:", series.version);
    if !cover.body.contains(&changes) {
        findings.push(finding(cover_file, "the changelog is missing".to_owned()));
    }
    findings.extend(of_recipients(series, from, mails));
    let patches = mails.iter().skip(1);
    for (file, _) in patches.filter(|(_, mail)| !trailers::of_mail(&mail.body).is_empty()) {
        let what = "it carries lines that belong into the cover letter";
        findings.push(finding(file, what.to_owned()));
    }
    findings
}

/// Returns the expected subjects of the mails.
fn subjects(plan: &PlannedSeries, title: &str) -> Vec<String> {
    let prefix = plan.series().subject_prefix();
    if let [only] = &plan.patches[..] {
        return vec![format!("[{prefix}] {}", only.subject)];
    }
    let count = plan.patches.len();
    let width = count.to_string().len();
    let patches = plan.patches.iter().map(|p| p.subject.as_str());
    let titles = [title].into_iter().chain(patches).enumerate();
    titles
        .map(|(i, title)| format!("[{prefix} {i:0width$}/{count}] {title}"))
        .collect()
}

/// Compares To and Cc with the manifest. b4 also adds the people named in trailers.
fn of_recipients(series: &Series, from: &str, mails: &[(PathBuf, Mail)]) -> Vec<Finding> {
    let both = [("To", &series.to), ("Cc", &series.cc)];
    let manifest = &series.file;
    let mut known = trailer_addresses(mails.iter().map(|(_, mail)| mail));
    let meant = both.iter().flat_map(|(_, list)| list.iter());
    known.extend(lower(meant.map(Recipient::address).chain([from])));
    let mut findings = Vec::new();
    let mut add = |file: &PathBuf, what: String| {
        let help = "b4's settings add and remove recipients: b4.send-series-to, \
                    b4.send-series-cc, b4.email-exclude; nothing was sent";
        let finding = Finding::new(&series.name, "trailers", what);
        findings.push(finding.at(file, None).help(help));
    };
    for (file, mail) in mails {
        let mut all = Vec::new();
        for (header, list) in both {
            let there = mail.addresses(header);
            for one in list {
                if !there.iter().any(|a| a.eq_ignore_ascii_case(one.address())) {
                    add(file, format!("it does not go to {one} as {header}"));
                }
            }
            all.extend(there);
        }
        all.retain(|address| !known.contains(&address.to_ascii_lowercase()));
        for other in all {
            let manifest = manifest.display();
            let what = format!("it goes to {other}, which {manifest} does not name");
            add(file, what);
        }
    }
    findings
}

/// Returns the words in the brackets in alphabetical order, and the rest.
fn sorted(subject: &str) -> (Vec<&str>, &str) {
    let inside = subject.strip_prefix('[').and_then(|s| s.split_once(']'));
    let (words, rest) = inside.unwrap_or(("", subject));
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.sort_unstable();
    (words, rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mail::mailbox,
        patches::plan::tests::{component, plan},
        source::finding::shown,
        versions::postings::tests::posting,
    };

    const MANIFEST: &str = "prefix = \"RFC PATCH\"\n\
                            [[patch]]\nmessage = \"1.msg\"\nfiles = [\"1.rs\"]\n\
                            [[patch]]\nmessage = \"2.msg\"\nfiles = [\"2.rs\"]\n";

    const LINK: &str = "https://patch.msgid.link/20260102-x-v1-0-abc@example.org";

    /// Returns v2 of a series whose v1 was posted.
    fn planned() -> PlannedSeries {
        let mut one = component("x", MANIFEST, &[("1.rs", ""), ("2.rs", "")], &[]);
        for (file, subject) in [("1.msg", "x: one"), ("2.msg", "x: two")] {
            one.messages
                .insert(file.into(), format!("{subject}\n\nText.\n"));
        }
        one.postings = vec![posting(1, &["x: one"])];
        let mut planned = plan(vec![one]).unwrap().remove(0);
        planned.component.series.version = 2;
        planned.component.series.to.clear();
        planned
    }

    fn says(change: impl Fn(String) -> String) -> String {
        let all = "From 0 Mon Sep 17 00:00:00 2001\n\
                   From: A <a@b>\nSubject: [PATCH RFC v2 0/2] x: add it\nMessage-ID: <0@x>\n\n\
                   Text.\n---\nChanges in v2:\n- Link to v1: LINK\n---\nchange-id: 20260102-x-1\n\n\
                   From 0 Mon Sep 17 00:00:00 2001\n\
                   From: A <a@b>\nSubject: [PATCH RFC v2 1/2] x: one\nMessage-ID: <1@x>\n\nText.\n\n\
                   From 0 Mon Sep 17 00:00:00 2001\n\
                   From: A <a@b>\nSubject: [PATCH RFC v2 2/2] x: two\nMessage-ID: <2@x>\n\nText.\n";
        let read = mailbox::read(change(all.replace("LINK", LINK)).as_bytes());
        let mails: Vec<_> = read
            .unwrap_or_default()
            .into_iter()
            .enumerate()
            .map(|(i, m)| (PathBuf::from(format!("{i}.eml")), m))
            .collect();
        let cover = Cover {
            title: "x: add it".into(),
            text: String::new(),
            below: String::new(),
            dependencies: Vec::new(),
            prerequisites: Vec::new(),
            trailers: vec!["change-id: 20260102-x-1".into()],
        };
        shown(findings(&planned(), &cover, "a@b", &mails))
    }

    #[test]
    fn findings_expected_mails_pass() {
        assert_eq!(says(|m| m), "");
    }

    #[test]
    fn findings_each_difference() {
        insta::assert_snapshot!(says(|m| m.replace("v2 1/2", "v1 1/2")), @r#"
        1.eml: the subject is "[PATCH RFC v1 1/2] x: one" instead of "[RFC PATCH v2 1/2] x: one"
          help: the mail that b4 created differs from the series; nothing was sent
        "#);
        assert!(says(|m| m.replace(LINK, "")).contains(&format!("0.eml: the link {LINK}")));
        assert!(says(|m| m.replace("Changes in", "")).contains("0.eml: the changelog is missing"));
        assert!(says(|m| m.replacen("a@b", "c@d", 1)).contains("0.eml: it is from c@d"));
        let twice = "change-id: 20260102-x-1\nchange-id: 20260102-x-1\n";
        assert!(says(|m| m.replace("change-id: 20260102-x-1\n", twice)).contains("occurs twice"));
        let at = m_with_trailer;
        assert!(says(at).contains("2.eml: it carries lines that belong into the cover letter"));
        let gone = |m: String| m.split("\n\nFrom 0").next().unwrap().to_owned();
        assert!(says(gone).contains("0.eml: b4 wrote 1 mail instead of 3"));
        let none = says(|_| String::new());
        assert!(none.starts_with("series/x.toml: b4 wrote 0 mails instead of 3"));
    }

    /// Checks a mail with these headers and this text against a series that names `a@b.org` and
    /// `c@d.org`.
    fn recipients(headers: &str, text: &str) -> String {
        let manifest = "version = 1\nchange-id = \"20260102-x-1\"\n\
                        to = [\"A <a@b.org>\"]\ncc = ['\"C, D\" <c@d.org>']\n";
        let series = Series::parse("x", "series/x.toml".as_ref(), manifest).unwrap();
        let mail = format!("From: P <p@q.org>\nSubject: [PATCH] x: y\n{headers}\n{text}\n");
        let mail = mailbox::read(mail.as_bytes()).unwrap().remove(0);
        shown(of_recipients(&series, "p@q.org", &[("0.eml".into(), mail)]))
    }

    #[test]
    fn recipients_of_manifest_pass() {
        let headers = "To: A <A@b.org>\nCc: \"C, D\" <c@d.org>,\n R <r@s.org>, p@q.org\n";
        let text = "Text.\n\nReviewed-by: R <r@s.org>\n";
        assert_eq!(recipients(headers, text), "");
    }

    #[test]
    fn recipients_differences_are_named() {
        insta::assert_snapshot!(recipients("To: P <p@q.org>\nCc: e@f.org\n", "Text.\n"), @r#"
        0.eml: it does not go to A <a@b.org> as To
          help: b4's settings add and remove recipients: b4.send-series-to, b4.send-series-cc, b4.email-exclude; nothing was sent
        error: 0.eml: it does not go to "C, D" <c@d.org> as Cc
          help: b4's settings add and remove recipients: b4.send-series-to, b4.send-series-cc, b4.email-exclude; nothing was sent
        error: 0.eml: it goes to e@f.org, which series/x.toml does not name
          help: b4's settings add and remove recipients: b4.send-series-to, b4.send-series-cc, b4.email-exclude; nothing was sent
        "#);
        let cc_alone = recipients("To: c@d.org, a@b.org\n", "Text.\n");
        assert!(
            cc_alone.contains("does not go to \"C, D\" <c@d.org> as Cc"),
            "{cc_alone}"
        );
    }

    fn m_with_trailer(m: String) -> String {
        format!("{m}\nbase-commit: 1\n")
    }
}
