// SPDX-License-Identifier: GPL-2.0

//! `prepare --resend` and `record --resend`: resend the last version unchanged.

use std::path::Path;

use super::{
    App, Component, Posting, Result, component, mails, print_line, record::last_posting, write,
};
use crate::{
    mail::mailbox::Mail,
    sys::runner,
    versions::postings::{self, resend},
};

impl App<'_> {
    /// Writes the mails of the last version again. Sends no mail.
    pub(super) fn resend(&self, name: &str) -> Result<()> {
        let (component, posting, posted) = self.last_posting(name)?;
        let version = posting.version;
        let to = self.ws.out()?.join(name).join(format!("v{version}-resend"));
        let _ = std::fs::remove_dir_all(&to);
        let (mut files, mut printed) = (Vec::new(), Ok(()));
        for (file, mail) in resend::mails(&component.series, &posted) {
            let file = to.join(file);
            write(&file, &mail)?;
            printed = printed.and(print_line(self.ws.shown(&file).display()));
            files.push(runner::quote(&file.display().to_string()));
        }
        self.say(format!(
            "\nNothing was sent. To post v{version} again:\n  \
             git send-email --thread --no-chain-reply-to {}\n\
             Then record the mails as received:\n  \
             cargo series record {name} --resend --mbox FILE",
            files.join(" ")
        ));
        printed
    }

    pub(super) fn record_resend(&self, name: &str, file: &Path) -> Result<()> {
        let (_, mut posting, posted) = self.last_posting(name)?;
        let all = mails::read(file)?;
        let again = resend::read(&self.git(), &posting, &posted, &all);
        let again = again.map_err(|e| e.at(file, None))?;
        let version = posting.version;
        let link = postings::link(&again.message_id);
        if !posting.resends.contains(&again) {
            posting.resends.push(again);
            posting.write_record(&self.ws, name)?;
        }
        self.say(format!("recorded: resend of v{version} of {name}: {link}"));
        Ok(())
    }

    fn last_posting(&self, name: &str) -> Result<(Component, Posting, Vec<Mail>)> {
        let all = component::read_all(&self.ws)?;
        let component = component::find(&all, name)?.clone();
        component.series.refuse_local()?;
        let help = format!("record a posting with `cargo series record {name}`");
        let posting = last_posting(&component, &help)?.clone();
        let posted = posting.all_mails(&self.ws, name)?;
        Ok((component, posting, posted))
    }
}
