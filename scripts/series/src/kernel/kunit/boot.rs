// SPDX-License-Identifier: GPL-2.0

//! Starts a kernel with checkers. `kunit.py` stops a kernel right after its suites, which is too
//! early to read the results of the checkers.
//!
//! Also detects KVM that is offered but does not work, as on some nested machines. QEMU tries KVM
//! first, and uses it if it can open `/dev/kvm`. A guest that then makes no progress looks like a
//! hanging test. The tool therefore tries a boot. If it fails, a wrapper at the start of `PATH`
//! calls QEMU without KVM, also for `kunit.py`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    kernel::build::{Build, Target},
    sys::{Cmd, Error, Result, files::write},
};

/// The time limit of one boot. lockdep under QEMU without KVM is slow.
pub const TIMEOUT: Duration = Duration::from_secs(3600);

/// Kernel parameters of every boot. Slow tests on a busy machine must not count as stalls.
const ALWAYS: &[&str] = &[
    "kunit.enable=1",
    "printk.devkmsg=on",
    "panic=-1",
    "rcupdate.rcu_cpu_stall_suppress=1",
];

/// If the input of user-mode Linux is a pipe, output is lost after a process opens the console.
const WITHOUT_INPUT: &str = r#"exec "$0" "$@" </dev/null"#;

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
                    Some(front) => put_first(front, Cmd::new(front.join(program))),
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

/// The time limit for the kernel's first line. With KVM, it takes less than a second.
const FIRST_LINE: Duration = Duration::from_secs(10);

/// Drops `-accel kvm` and calls the program that follows in `PATH`.
const WRAPPER: &str = r#"#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Written by the series tool, since KVM does not work on this machine.
here=$(dirname "$0")
# Other programs may have put folders of their own before this one.
PATH=$(printf '%s' "$PATH" | tr ':' '\n' | grep -vxF "$here" | paste -sd: -)
for arg do
	shift
	case $last/$arg in
	-accel/kvm) ;;
	*/-accel) ;;
	-accel/*) set -- "$@" -accel "$arg" ;;
	*) set -- "$@" "$arg" ;;
	esac
	last=$arg
done
exec "$(basename "$0")" "$@"
"#;

/// Returns the folder for the start of `PATH`, if KVM does not work.
pub fn without_kvm(build: &Build<'_>) -> Result<Option<PathBuf>> {
    let Some(program) = build.target.arch().qemu() else {
        return Ok(None);
    };
    if !Path::new("/dev/kvm").exists() || kvm_works(build, program) {
        return Ok(None);
    }
    let dir = build.cache.path("tools/without-kvm");
    let path = dir.join(program);
    write(&path, WRAPPER.as_bytes())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .map_err(|e| Error::io("write", &path, &e))?;
    let note = "KVM does not boot a kernel; using QEMU without KVM";
    build.ui.say(note);
    Ok(Some(dir))
}

/// Puts a folder at the start of the `PATH` of a command.
pub fn put_first(front: &Path, cmd: Cmd) -> Cmd {
    let path = std::env::var("PATH").unwrap_or_default();
    cmd.env("PATH", format!("{}:{path}", front.display()))
}

fn kvm_works(build: &Build<'_>, program: &str) -> bool {
    let cmd = Cmd::new(program)
        .args(["-nodefaults", "-m", "1024", "-no-reboot", "-nographic"])
        .args(["-accel", "kvm", "-serial", "stdio", "-kernel"])
        .arg(build.image())
        .args(["-append", "kunit.enable=0 console=ttyS0 panic=-1"])
        .timeout(FIRST_LINE);
    let said = build.runner.run(&cmd).map(|out| out.text());
    said.is_ok_and(|text| text.contains("Linux version"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Runner, runner::System};

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

    #[test]
    fn wrapper_drops_only_kvm() {
        let dir = tempfile::tempdir().unwrap();
        let script = |below: &str, text: &str| {
            let path = dir.path().join(below);
            write(&path, text.as_bytes()).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let wrapper = script("front/qemu", WRAPPER);
        script("real/qemu", "#!/bin/sh\nprintf '[%s]' \"$@\"\n");
        let at = |below: &str| dir.path().join(below).display().to_string();
        let path = format!(
            "{}:{}:{}:/usr/bin:/bin",
            at("other"),
            at("front"),
            at("real")
        );
        let cmd = Cmd::new(wrapper).env("PATH", path).args([
            "-m", "1024", "-accel", "kvm", "-accel", "hvf", "-append", "a b", "-accel", "tcg",
        ]);
        assert_eq!(
            System.run(&cmd).unwrap().text(),
            "[-m][1024][-accel][hvf][-append][a b][-accel][tcg]"
        );
    }
}
