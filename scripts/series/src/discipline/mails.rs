// SPDX-License-Identifier: GPL-2.0

//! The mails as they are about to be sent: what b4 made of the series is what was meant.

use std::path::PathBuf;

use super::{
    Fault,
    Rule,
    trailers, //
};
use crate::{
    mailbox::Mail,
    manifest::Series,
    plural::count, //
};

/// What the mails of a series should say.
pub struct Wanted<'a> {
    /// The manifest.
    pub series: &'a Series,
    /// The title of the cover letter.
    pub title: &'a str,
    /// The subjects of the patches.
    pub subjects: &'a [&'a str],
    /// What machines read in the cover letter.
    pub trailers: &'a [String],
    /// The links to all earlier versions.
    pub links: &'a [String],
    /// The address of whoever posts.
    pub from: &'a str,
}

impl Wanted<'_> {
    /// The subjects in order, as a person reads them.
    fn all_subjects(&self) -> Vec<String> {
        let prefix = self.series.subject_prefix();
        let count = self.subjects.len();
        if let [only] = self.subjects {
            return vec![format!("[{prefix}] {only}")];
        }
        let width = count.to_string().len();
        let titles = [self.title]
            .into_iter()
            .chain(self.subjects.iter().copied());
        titles
            .enumerate()
            .map(|(i, title)| format!("[{prefix} {i:0width$}/{count}] {title}"))
            .collect()
    }
}

/// What is wrong with the mails, each with its file.
pub fn faults(wanted: &Wanted<'_>, mails: &[(PathBuf, Mail)]) -> Vec<Fault> {
    let fault = |file: &PathBuf, what: String| Fault {
        rule: Rule::Trailers,
        file: file.clone(),
        line: None,
        patch: None,
        what,
        help: "b4 made another mail of it than was meant; nothing was sent".to_owned(),
    };
    let mut faults = Vec::new();
    let subjects = wanted.all_subjects();
    if mails.len() != subjects.len() {
        let file = mails
            .first()
            .map_or(PathBuf::new(), |(file, _)| file.clone());
        let (have, want) = (mails.len(), subjects.len());
        return vec![fault(
            &file,
            format!(
                "b4 wrote {} instead of {want}",
                count(have, "mail", "mails")
            ),
        )];
    }
    for (subject, (file, mail)) in subjects.iter().zip(mails) {
        // b4 puts the words before "PATCH" where it likes.
        if sorted(subject) != sorted(&mail.subject) {
            faults.push(fault(
                file,
                format!("the subject is {:?} instead of {subject:?}", mail.subject),
            ));
        }
        if mail.from.email != wanted.from {
            faults.push(fault(file, format!("it is from {}", mail.from.email)));
        }
    }
    if let Some((file, cover)) = mails.first() {
        faults.extend(trailers::in_cover(file, &cover.body, wanted.trailers));
        for link in wanted.links.iter().filter(|l| !cover.body.contains(*l)) {
            faults.push(fault(file, format!("the link {link} is missing")));
        }
        if !cover
            .body
            .contains(&format!("Changes in v{}:", wanted.series.version))
        {
            faults.push(fault(file, "the changelog is missing".to_owned()));
        }
    }
    for (file, mail) in mails.iter().skip(1) {
        if !trailers::of_mail(&mail.body).is_empty() {
            faults.push(fault(
                file,
                "it carries what belongs into the cover letter".to_owned(),
            ));
        }
    }
    faults
}

/// The words of the brackets in order of the alphabet, and the rest.
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
        discipline::shown,
        mailbox, //
    };

    fn says(change: impl Fn(String) -> String) -> String {
        let text = "version = 2\nprefix = \"RFC PATCH\"\nchange-id = \"x-1\"\n";
        let series = Series::parse("x", "series/x.toml".as_ref(), text).unwrap();
        let all = "From 0 Mon Sep 17 00:00:00 2001\n\
                   From: A <a@b>\nSubject: [PATCH RFC v2 0/2] x: add it\nMessage-ID: <0@x>\n\n\
                   Text.\n---\nChanges in v2:\n- Link to v1: https://l/1\n---\nchange-id: x-1\n\n\
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
            trailers: &["change-id: x-1".to_owned()],
            links: &["https://l/1".to_owned()],
            from: "a@b",
        };
        shown(faults(&wanted, &mails))
    }

    #[test]
    fn mails_that_are_as_meant_pass() {
        assert_eq!(says(|m| m), "");
    }

    #[test]
    fn each_difference_is_named() {
        insta::assert_snapshot!(says(|m| m.replace("v2 1/2", "v1 1/2")), @r#"
        1.eml: the subject is "[PATCH RFC v1 1/2] x: one" instead of "[RFC PATCH v2 1/2] x: one"
          help: b4 made another mail of it than was meant; nothing was sent
        "#);
        assert!(says(|m| m.replace("https://l/1", "")).contains("0.eml: the link https://l/1"));
        assert!(says(|m| m.replace("Changes in", "")).contains("0.eml: the changelog is missing"));
        assert!(says(|m| m.replacen("a@b", "c@d", 1)).contains("0.eml: it is from c@d"));
        let twice = "change-id: x-1\nchange-id: x-1\n";
        assert!(says(|m| m.replace("change-id: x-1\n", twice)).contains("stands there twice"));
        let at = m_with_trailer;
        assert!(says(at).contains("2.eml: it carries what belongs into the cover letter"));
        let gone = |m: String| m.split("\n\nFrom 0").next().unwrap().to_owned();
        assert!(says(gone).contains("0.eml: b4 wrote 1 mail instead of 3"));
    }

    fn m_with_trailer(m: String) -> String {
        format!("{m}\nbase-commit: 1\n")
    }
}
