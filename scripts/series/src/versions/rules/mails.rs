// SPDX-License-Identifier: GPL-2.0

//! Checks the mails that b4 created from the series before they are sent.

use std::{collections::BTreeSet, path::PathBuf};

use super::trailers;
use crate::{
    mail::mailbox::{self, Mail},
    source::{finding::Finding, manifest::Series, message, words::Recipient},
    sys::plural::count,
};

/// The expected content of the mails of a series.
pub struct Wanted<'a> {
    pub series: &'a Series,
    pub title: &'a str,
    pub subjects: &'a [&'a str],
    /// The trailers of the cover letter that programs read.
    pub trailers: &'a [String],
    pub links: &'a [String],
    pub from: &'a str,
}

impl Wanted<'_> {
    fn all_subjects(&self) -> Vec<String> {
        let prefix = self.series.subject_prefix();
        if let [only] = self.subjects {
            return vec![format!("[{prefix}] {only}")];
        }
        let count = self.subjects.len();
        let width = count.to_string().len();
        let titles = [&self.title].into_iter().chain(self.subjects).enumerate();
        let subject =
            |(i, title): (usize, &&str)| format!("[{prefix} {i:0width$}/{count}] {title}");
        titles.map(subject).collect()
    }
}

pub fn faults(wanted: &Wanted<'_>, mails: &[(PathBuf, Mail)]) -> Vec<Finding> {
    let fault = |file: &PathBuf, what: String| {
        let help = "the mail that b4 created differs from the series; nothing was sent";
        let fault = Finding::new(&wanted.series.name, "trailers", what);
        fault.at(file, None).help(help)
    };
    let subjects = wanted.all_subjects();
    let Some((cover_file, cover)) = mails.first().filter(|_| mails.len() == subjects.len()) else {
        let file = mails.first().map(|(file, _)| file.clone());
        let (have, want) = (count(mails.len(), "mail", "mails"), subjects.len());
        let what = format!("b4 wrote {have} instead of {want}");
        return vec![fault(&file.unwrap_or_default(), what)];
    };
    let mut faults = Vec::new();
    for (subject, (file, mail)) in subjects.iter().zip(mails) {
        let (is, from) = (&mail.subject, &mail.from.email);
        // b4 decides where the words before "PATCH" go.
        if sorted(subject) != sorted(is) {
            let what = format!("the subject is {is:?} instead of {subject:?}");
            faults.push(fault(file, what));
        }
        if from != wanted.from {
            faults.push(fault(file, format!("it is from {from}")));
        }
    }
    let (name, text) = (&wanted.series.name, &cover.body);
    faults.extend(trailers::in_cover(name, cover_file, text, wanted.trailers));
    for link in wanted.links.iter().filter(|l| !cover.body.contains(*l)) {
        faults.push(fault(cover_file, format!("the link {link} is missing")));
    }
    let changes = format!("Changes in v{}:", wanted.series.version);
    if !cover.body.contains(&changes) {
        faults.push(fault(cover_file, "the changelog is missing".to_owned()));
    }
    faults.extend(of_recipients(wanted.series, wanted.from, mails));
    let patches = mails.iter().skip(1);
    for (file, _) in patches.filter(|(_, mail)| !trailers::of_mail(&mail.body).is_empty()) {
        let what = "it carries lines that belong into the cover letter";
        faults.push(fault(file, what.to_owned()));
    }
    faults
}

/// Compares To and Cc with the manifest. b4 also adds the people named in trailers.
fn of_recipients(series: &Series, from: &str, mails: &[(PathBuf, Mail)]) -> Vec<Finding> {
    let both = [("To", &series.to), ("Cc", &series.cc)];
    let manifest = series.file();
    let mut known = trailer_addresses(mails.iter().map(|(_, mail)| mail));
    let meant = both.iter().flat_map(|(_, list)| list.iter());
    known.extend(lower(meant.map(Recipient::address).chain([from])));
    let mut faults = Vec::new();
    let mut add = |file: &PathBuf, what: String| {
        let help = "b4's settings add and remove recipients: b4.send-series-to, \
                    b4.send-series-cc, b4.email-exclude; nothing was sent";
        let fault = Finding::new(&series.name, "trailers", what);
        faults.push(fault.at(file, None).help(help));
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
    faults
}

/// Returns the addresses in trailers, in lower case.
pub(super) fn trailer_addresses<'a>(mails: impl IntoIterator<Item = &'a Mail>) -> BTreeSet<String> {
    let bodies = mails.into_iter().map(|mail| &mail.body);
    let lines = bodies.flat_map(|body| body.lines());
    let trailers = lines.filter(|l| message::is_trailer(l));
    let people = trailers.filter_map(|l| Some(mailbox::person(l.split_once(": ")?.1)));
    lower(people.map(|person| person.email))
}

pub(super) fn lower(addresses: impl IntoIterator<Item = impl AsRef<str>>) -> BTreeSet<String> {
    let addresses = addresses.into_iter();
    addresses.map(|a| a.as_ref().to_ascii_lowercase()).collect()
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
    use crate::{mail::mailbox, source::finding::shown};

    fn says(change: impl Fn(String) -> String) -> String {
        let text = "version = 2\nprefix = \"RFC PATCH\"\nchange-id = \"20260102-x-1\"\n";
        let series = Series::parse("x", "series/x.toml".as_ref(), text).unwrap();
        let all = "From 0 Mon Sep 17 00:00:00 2001\n\
                   From: A <a@b>\nSubject: [PATCH RFC v2 0/2] x: add it\nMessage-ID: <0@x>\n\n\
                   Text.\n---\nChanges in v2:\n- Link to v1: https://l/1\n---\nchange-id: 20260102-x-1\n\n\
                   From 0 Mon Sep 17 00:00:00 2001\n\
                   From: A <a@b>\nSubject: [PATCH RFC v2 1/2] x: one\nMessage-ID: <1@x>\n\nText.\n\n\
                   From 0 Mon Sep 17 00:00:00 2001\n\
                   From: A <a@b>\nSubject: [PATCH RFC v2 2/2] x: two\nMessage-ID: <2@x>\n\nText.\n";
        let read = mailbox::read(change(all.to_owned()).as_bytes()).unwrap();
        let mails: Vec<_> = read
            .into_iter()
            .enumerate()
            .map(|(i, m)| (PathBuf::from(format!("{i}.eml")), m))
            .collect();
        let wanted = Wanted {
            series: &series,
            title: "x: add it",
            subjects: &["x: one", "x: two"],
            trailers: &["change-id: 20260102-x-1".to_owned()],
            links: &["https://l/1".to_owned()],
            from: "a@b",
        };
        shown(faults(&wanted, &mails))
    }

    #[test]
    fn faults_expected_mails_pass() {
        assert_eq!(says(|m| m), "");
    }

    #[test]
    fn faults_each_difference() {
        insta::assert_snapshot!(says(|m| m.replace("v2 1/2", "v1 1/2")), @r#"
        1.eml: the subject is "[PATCH RFC v1 1/2] x: one" instead of "[RFC PATCH v2 1/2] x: one"
          help: the mail that b4 created differs from the series; nothing was sent
        "#);
        assert!(says(|m| m.replace("https://l/1", "")).contains("0.eml: the link https://l/1"));
        assert!(says(|m| m.replace("Changes in", "")).contains("0.eml: the changelog is missing"));
        assert!(says(|m| m.replacen("a@b", "c@d", 1)).contains("0.eml: it is from c@d"));
        let twice = "change-id: 20260102-x-1\nchange-id: 20260102-x-1\n";
        assert!(says(|m| m.replace("change-id: 20260102-x-1\n", twice)).contains("occurs twice"));
        let at = m_with_trailer;
        assert!(says(at).contains("2.eml: it carries lines that belong into the cover letter"));
        let gone = |m: String| m.split("\n\nFrom 0").next().unwrap().to_owned();
        assert!(says(gone).contains("0.eml: b4 wrote 1 mail instead of 3"));
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
