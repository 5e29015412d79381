// SPDX-License-Identifier: GPL-2.0

//! Builds the probe, a program that reads the results of a kernel's checkers after the suites.
//!
//! The probe is the only file of an initramfs. It is compiled with the kernel's nolibc, so that it
//! needs no library of the machine.

use std::path::PathBuf;

use crate::{
    kernel::build::Build,
    sys::{Cmd, Result, files, must},
};

/// The prefix of its lines in the log; `probe.c` has the same constant.
pub const TAG: &str = "series-probe: ";

const SOURCE: &str = include_str!("probe.c");

/// Creates the initramfs from the checked-out tree.
pub fn make(build: &Build<'_>) -> Result<PathBuf> {
    let program = build.dir().join("series-probe");
    let nolibc = build.cache.kernel().join("tools/include/nolibc/nolibc.h");
    let compile = Cmd::new("gcc")
        .args(["-static", "-nostdlib", "-O2", "-fno-stack-protector"])
        .arg("-include")
        .arg(nolibc)
        .arg("-o")
        .arg(&program)
        .args(["-x", "c", "-"])
        .stdin(SOURCE);
    must(build.runner, &compile)
        .map_err(|e| e.help("the probe needs gcc and the headers that come with a C library"))?;
    let bytes = files::read(&program)?;
    let archive = build.dir().join("series-probe.cpio");
    files::write(&archive, &initramfs(&bytes))?;
    Ok(archive)
}

/// Creates an archive that the kernel unpacks at boot, with one program: `/init`. A file has the
/// format "newc": thirteen numbers of eight hexadecimal digits, the name, and the content, each
/// padded to a multiple of four bytes.
fn initramfs(program: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, mode, content) in [("init", 0o100_755, program), ("TRAILER!!!", 0, &[])] {
        let (size, name_size) = (content.len(), name.len() + 1);
        // Inode, mode, user, group, links, date, size, four device numbers, length of the name with
        // its zero, checksum.
        let fields = [0, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        archive.extend(b"070701");
        for field in fields {
            archive.extend(format!("{field:08x}").bytes());
        }
        for part in [format!("{name}\0").as_bytes(), content] {
            archive.extend(part);
            archive.resize(archive.len().next_multiple_of(4), 0);
        }
    }
    archive
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Runner, runner::System};

    #[test]
    fn initramfs_is_readable_by_cpio() {
        let dir = tempfile::tempdir().unwrap();
        let unpack = Cmd::new("cpio")
            .args(["-i", "--quiet"])
            .dir(dir.path())
            .stdin(initramfs(b"#!/bin/sh\necho here\n"));
        let Ok(out) = System.run(&unpack) else {
            eprintln!("skipped: there is no cpio");
            return;
        };
        assert!(out.ok(), "{}", out.complaint());
        let ran = System.run(&Cmd::new(dir.path().join("init"))).unwrap();
        assert_eq!(ran.text(), "here");
    }

    #[test]
    fn tag_matches_probe_source() {
        assert!(SOURCE.contains(&format!("#define TAG \"{TAG}\"")));
    }
}
