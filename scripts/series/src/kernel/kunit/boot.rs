// SPDX-License-Identifier: GPL-2.0

//! Starts a kernel with checkers. `kunit.py` stops a kernel right after its suites, which is too
//! early to read the results of the checkers.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::qemu;
use crate::{kernel::build::Target, sys::Cmd};

/// The time limit of one boot. lockdep under QEMU without KVM is slow.
pub const TIMEOUT: Duration = Duration::from_secs(3600);

/// Kernel parameters of every boot. Slow tests on a busy machine must not count as stalls.
const ALWAYS: &[&str] = &[
    "kunit.enable=1",
    "printk.devkmsg=on",
    "panic=-1",
    "rcupdate.rcu_cpu_stall_suppress=1",
];

/// Starts user-mode Linux. If its input is a pipe, output is lost after a process opens the
/// console.
const WITHOUT_INPUT: &str = r#"exec "$0" "$@" </dev/null"#;

/// The inputs for starting a kernel.
pub struct Boot {
    pub initrd: PathBuf,
    /// The folder at the start of `PATH` with a QEMU that does not use KVM, if that is necessary.
    pub front: Option<PathBuf>,
}

impl Boot {
    /// Creates the command that boots the kernel and runs the tests that `filter` matches.
    pub fn command(&self, target: Target, image: &Path, filter: &str) -> Cmd {
        let filter = format!("kunit.filter_glob={filter}");
        // The kernel passes the arguments after `--` to the probe.
        let words = ALWAYS.iter().copied().chain([filter.as_str()]);
        let cmd = match target.arch().qemu() {
            None => Cmd::new("sh")
                .args(["-c", WITHOUT_INPUT])
                .arg(image)
                .args(["mem=1G", "console=tty"])
                .arg(format!("initrd={}", self.initrd.display()))
                .args(words)
                .args(["--", "kmemleak", "halt"]),
            Some(program) => {
                let line: Vec<_> = ["console=ttyS0"].into_iter().chain(words).collect();
                let line = format!("{} -- lockdep", line.join(" "));
                let qemu = match &self.front {
                    Some(front) => qemu::put_first(front, Cmd::new(front.join(program))),
                    None => Cmd::new(program),
                };
                qemu.args(["-nodefaults", "-m", "1024", "-no-reboot", "-nographic"])
                    .args(["-accel", "kvm", "-accel", "tcg", "-serial", "stdio"])
                    .args(["-bios", "qboot.rom", "-kernel"])
                    .arg(image)
                    .arg("-initrd")
                    .arg(&self.initrd)
                    .args(["-append", &line])
            }
        };
        cmd.timeout(TIMEOUT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_runs_probe_after_suites() {
        let boot = |front: Option<&str>| Boot {
            initrd: "b/series-probe.cpio".into(),
            front: front.map(PathBuf::from),
        };
        let lines = [
            boot(None).command(Target::Hardened, Path::new("b/linux"), "rust_clist"),
            boot(None).command(Target::Lockdep, Path::new("b/bzImage"), "gpu_*"),
            boot(Some("front")).command(Target::Lockdep, Path::new("b/bzImage"), "x"),
        ]
        .map(|cmd| cmd.line());
        // kunit_shutdown would stop the kernel before the probe runs.
        assert!(lines.iter().all(|l| !l.contains("kunit_shutdown")));
        insta::assert_snapshot!(lines.join("\n"));
    }
}
