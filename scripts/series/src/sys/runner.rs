// SPDX-License-Identifier: GPL-2.0

//! Starting other programs.
//!
//! All other modules start programs through a [`Runner`]. A test passes one that records the
//! commands, and so neither reaches the network nor sends mail.

use std::{
    ffi::{OsStr, OsString},
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use crate::sys::error::{Error, Result};

/// A program to run: its arguments, environment, folder and input.
#[derive(Debug, Clone)]
pub struct Cmd {
    /// The program, looked up in `PATH`.
    pub program: OsString,
    pub args: Vec<OsString>,
    /// Prefixes of variables that the program does not inherit. [`Self::env`] is applied later.
    pub without: Vec<&'static str>,
    /// Changes to the environment; `None` removes the variable.
    pub env: Vec<(OsString, Option<OsString>)>,
    /// The folder in which the program runs.
    pub dir: Option<PathBuf>,
    /// The content of standard input.
    pub stdin: Vec<u8>,
    /// The time after which the program is killed.
    pub timeout: Option<Duration>,
    /// Translates standard error into a more helpful message, where possible.
    pub explain: Option<fn(&Cmd, &str) -> Option<Error>>,
}

impl Cmd {
    /// Creates a command without arguments.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            without: Vec::new(),
            env: Vec::new(),
            dir: None,
            stdin: Vec::new(),
            timeout: None,
            explain: None,
        }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.args
            .extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((key.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), None));
        self
    }

    /// Removes inherited variables whose names start with `prefix`.
    pub fn without(mut self, prefix: &'static str) -> Self {
        self.without.push(prefix);
        self
    }

    /// Sets the function that explains a failure.
    pub fn explain(mut self, explain: fn(&Cmd, &str) -> Option<Error>) -> Self {
        self.explain = Some(explain);
        self
    }

    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Returns the command line, quoted for the shell.
    pub fn line(&self) -> String {
        std::iter::once(&self.program)
            .chain(&self.args)
            .map(|word| quote(&word.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The command for messages: without the settings that the tool gives to git, and the start of a
    /// long one.
    pub fn short(&self) -> String {
        let is_git = Path::new(&self.program).file_name() == Some(OsStr::new("git"));
        let mut args = self.args.iter();
        let mut line = quote(&self.program.to_string_lossy());
        while let Some(arg) = args.next() {
            if is_git && arg == "-c" {
                args.next();
                continue;
            }
            let word = quote(&arg.to_string_lossy());
            if line.len() + word.len() > SHORT {
                line.push_str(" …");
                break;
            }
            line.push(' ');
            line.push_str(&word);
        }
        line
    }
}

/// The number of characters of a command that messages show.
const SHORT: usize = 160;

/// Quotes a word for the shell if necessary.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:+@%,~^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The exit status and the output of a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// The exit code. `None` after a signal.
    pub code: Option<i32>,
    /// Whether the program was killed by its time limit.
    pub timed_out: bool,
    /// Standard output; empty if it was streamed.
    pub stdout: Vec<u8>,
    /// Standard error; empty if it was streamed.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Returns whether the exit code is 0.
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Returns standard output without the last newline.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// Returns standard error without the last newline.
    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim_end().to_owned()
    }
}

/// Starts programs. Several threads may use it at the same time.
pub trait Runner: Sync {
    /// Runs a program to its end and returns its output.
    ///
    /// # Errors
    ///
    /// The program could not be started. A failure of the program itself is in the [`Output`].
    fn run(&self, cmd: &Cmd) -> io::Result<Output>;

    /// Runs a program to its end and passes each line of both outputs to `on_line`, as it arrives if
    /// the runner can do that.
    ///
    /// # Errors
    ///
    /// As [`Runner::run`].
    fn stream(&self, cmd: &Cmd, on_line: &mut dyn FnMut(&str)) -> io::Result<Output> {
        let mut out = self.run(cmd)?;
        for bytes in [&mut out.stdout, &mut out.stderr] {
            let text = std::mem::take(bytes);
            let text = String::from_utf8_lossy(&text);
            text.lines().for_each(&mut *on_line);
        }
        Ok(out)
    }

    /// Runs a program while `feed` writes its input.
    ///
    /// # Errors
    ///
    /// As [`Runner::run`], and errors of `feed`. If the program closes the pipe early, only its
    /// exit code decides.
    fn feed(
        &self,
        cmd: &Cmd,
        feed: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Output> {
        let mut input = Vec::new();
        feed(&mut input)?;
        self.run(&cmd.clone().stdin(input))
    }
}

/// Runs a program that has to succeed.
///
/// # Errors
///
/// The program is missing or failed. The message has the command and its standard error.
pub fn must(runner: &dyn Runner, cmd: &Cmd) -> Result<Output> {
    let out = runner.run(cmd).map_err(|e| not_started(cmd, &e))?;
    if out.ok() {
        return Ok(out);
    }
    Err(failed(cmd, &out))
}

/// Returns the error for a program that could not be started.
pub fn not_started(cmd: &Cmd, error: &io::Error) -> Error {
    let program = cmd.program.to_string_lossy();
    if let Some(dir) = cmd.dir.as_ref().filter(|dir| !dir.is_dir()) {
        return Error::new(format!("the folder {} is missing", dir.display()));
    }
    if error.kind() == io::ErrorKind::NotFound {
        return Error::new(format!("{program} is not installed"))
            .help("`cargo series doctor` lists missing programs and how to install them");
    }
    Error::new(format!("cannot start {program}: {error}"))
}

/// Returns the error for a program that failed.
pub fn failed(cmd: &Cmd, out: &Output) -> Error {
    let how = match out.code {
        _ if out.timed_out => "took too long and was stopped".to_owned(),
        Some(code) => format!("failed with exit code {code}"),
        None => "was ended by a signal".to_owned(),
    };
    let text = match out.complaint() {
        text if text.is_empty() => out.text(),
        text => text,
    };
    if let Some(error) = cmd.explain.and_then(|explain| explain(cmd, &text)) {
        return error;
    }
    let lines: Vec<_> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(20)..].join("\n");
    Error::new(format!("`{}` {how}", cmd.short())).detail(tail)
}

/// Runs programs on this system.
#[derive(Debug, Default)]
pub struct System;

/// Process ids of running children, for [`end_children`].
static CHILDREN: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Whether [`end_children`] was called.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Returns whether children are being ended. Their exit codes are then meaningless.
pub fn is_ending() -> bool {
    ENDING.load(Ordering::SeqCst)
}

/// Ends all running children. Called when the user interrupts the program.
pub fn end_children() {
    ENDING.store(true, Ordering::SeqCst);
    let Ok(children) = CHILDREN.lock() else {
        return;
    };
    for id in children.iter() {
        if let Some(pid) = i32::try_from(*id)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            // It may have ended already.
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::TERM);
        }
    }
}

struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(mut children) = CHILDREN.lock() {
            children.retain(|id| *id != self.child.id());
        }
    }
}

impl System {
    fn spawn(&self, cmd: &Cmd, stdin: Stdio) -> io::Result<Running> {
        let mut command = Command::new(&cmd.program);
        command.args(&cmd.args);
        for (key, _) in std::env::vars_os() {
            let name = key.as_encoded_bytes();
            if cmd.without.iter().any(|p| name.starts_with(p.as_bytes())) {
                command.env_remove(key);
            }
        }
        for (key, value) in &cmd.env {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(dir) = &cmd.dir {
            command.current_dir(dir);
        }
        command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A process group, so that a time limit or an interrupt ends its children as well.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        end_with_parent(&mut command);
        let child = command.spawn()?;
        if let Ok(mut children) = CHILDREN.lock() {
            children.push(child.id());
        }
        Ok(Running { child })
    }
}

/// Makes the kernel end the child when we die. Otherwise an orphan of a `kill -9` would keep
/// writing into a build folder that the next run uses.
#[allow(unsafe_code, reason = "`pre_exec` has no safe form")]
fn end_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    let set = || {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
            .map_err(io::Error::from)
    };
    // SAFETY: The closure makes one system call and does not allocate, so it is async-signal-safe
    // between `fork` and `exec`.
    unsafe { command.pre_exec(set) };
}

/// How long to wait for the pipes of a killed program. A process that left its group, such as a
/// daemon, may keep them open indefinitely.
const GRACE: Duration = Duration::from_secs(1);

/// Kills a program at its time limit, also while its input is written or its output is read.
struct Limit {
    deadline: Option<Instant>,
    shared: Arc<(Mutex<Clock>, Condvar)>,
}

#[derive(Default)]
struct Clock {
    /// The child was reaped, so its process id may be reused.
    ended: bool,
    timed_out: bool,
}

impl Limit {
    fn start(child: &Child, limit: Option<Duration>) -> Self {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let shared = Arc::new((Mutex::new(Clock::default()), Condvar::new()));
        let group = i32::try_from(child.id()).ok();
        let group = group.and_then(rustix::process::Pid::from_raw);
        if let (Some(deadline), Some(group)) = (deadline, group) {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (clock, changed) = &*shared;
                let Ok(clock) = clock.lock() else { return };
                let left = deadline.saturating_duration_since(Instant::now());
                let waited = changed.wait_timeout_while(clock, left, |c| !c.ended);
                if let Ok((mut clock, _)) = waited
                    && !clock.ended
                {
                    clock.timed_out = true;
                    // Its children keep the pipes open too.
                    let kill = rustix::process::Signal::KILL;
                    let _ = rustix::process::kill_process_group(group, kill);
                }
            });
        }
        Self { deadline, shared }
    }

    /// Returns the time until which output is awaited.
    fn patience(&self) -> Option<Instant> {
        self.deadline.map(|deadline| deadline + GRACE)
    }

    /// Waits for the child. Returns its exit code, and whether it was killed by the limit.
    fn wait(&self, child: &mut Child) -> io::Result<(Option<i32>, bool)> {
        if self.deadline.is_none() {
            return Ok((child.wait()?.code(), false));
        }
        let (clock, changed) = &*self.shared;
        loop {
            if let Ok(mut clock) = clock.lock()
                && let Some(status) = child.try_wait()?
            {
                clock.ended = true;
                changed.notify_all();
                return Ok(match clock.timed_out {
                    true => (None, true),
                    false => (status.code(), false),
                });
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn collect(mut from: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (send, read) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // Output that arrived before a read error is still useful.
        let _ = from.read_to_end(&mut bytes);
        let _ = send.send(bytes);
    });
    read
}

/// Returns the next value of a channel, or `None` if it is closed or `patience` has passed.
fn receive<T>(from: &mpsc::Receiver<T>, patience: Option<Instant>) -> Option<T> {
    match patience {
        None => from.recv().ok(),
        Some(until) => {
            let left = until.saturating_duration_since(Instant::now());
            from.recv_timeout(left).ok()
        }
    }
}

fn quiet_pipe(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

impl Runner for System {
    fn run(&self, cmd: &Cmd) -> io::Result<Output> {
        let input = cmd.stdin.clone();
        self.feed(cmd, &mut move |to| to.write_all(&input))
    }

    fn feed(
        &self,
        cmd: &Cmd,
        feed: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Output> {
        let mut running = self.spawn(cmd, Stdio::piped())?;
        let child = &mut running.child;
        let limit = Limit::start(child, cmd.timeout);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let stdout = stdout.map(collect);
        let stderr = stderr.map(collect);
        let fed = match child.stdin.take() {
            Some(pipe) => {
                let mut pipe = io::BufWriter::with_capacity(1 << 16, pipe);
                quiet_pipe(feed(&mut pipe).and_then(|()| pipe.flush()))
            }
            None => Ok(()),
        };
        if fed.is_err() {
            // The program must not finish with an incomplete input.
            child.kill()?;
        }
        let (code, timed_out) = limit.wait(child)?;
        let patience = limit.patience();
        let all = |from: Option<mpsc::Receiver<Vec<u8>>>| {
            let bytes = from.and_then(|from| receive(&from, patience));
            bytes.unwrap_or_default()
        };
        let (stdout, stderr) = (all(stdout), all(stderr));
        fed?;
        Ok(Output {
            code,
            timed_out,
            stdout,
            stderr,
        })
    }

    fn stream(&self, cmd: &Cmd, on_line: &mut dyn FnMut(&str)) -> io::Result<Output> {
        let mut running = self.spawn(cmd, Stdio::null())?;
        let child = &mut running.child;
        let limit = Limit::start(child, cmd.timeout);
        let (send, lines) = mpsc::channel();
        for pipe in [
            child
                .stdout
                .take()
                .map(|p| Box::new(p) as Box<dyn Read + Send>),
            child
                .stderr
                .take()
                .map(|p| Box::new(p) as Box<dyn Read + Send>),
        ]
        .into_iter()
        .flatten()
        {
            let send = send.clone();
            thread::spawn(move || {
                for line in BufReader::new(pipe).split(b'\n').map_while(|l| l.ok()) {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    if send.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        while let Some(line) = receive(&lines, limit.patience()) {
            on_line(line.trim_end_matches('\r'));
        }
        let (code, timed_out) = limit.wait(child)?;
        Ok(Output {
            code,
            timed_out,
            ..Output::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_passes_input_and_outputs() {
        let cmd = Cmd::new("sh")
            .args(["-c", "cat; echo no >&2; exit 3"])
            .stdin("yes");
        let out = System.run(&cmd).unwrap();
        assert_eq!(
            (out.code, out.text(), out.complaint()),
            (Some(3), "yes".into(), "no".into())
        );
    }

    #[test]
    fn run_ignores_broken_pipe() {
        let cmd = Cmd::new("true").stdin(vec![b'x'; 1 << 20]);
        assert!(System.run(&cmd).unwrap().ok());
    }

    #[test]
    fn must_missing_program() {
        let error = must(&System, &Cmd::new("no-such-program")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("no-such-program is not installed\n  help:"),
            "{error}"
        );
    }

    #[test]
    fn run_hanging_program_is_stopped() {
        let cmd = Cmd::new("sh")
            .args(["-c", "sleep 600 & wait"])
            .timeout(Duration::from_millis(50));
        let out = System.run(&cmd).unwrap();
        assert!(out.timed_out && !out.ok());
        assert!(
            failed(&cmd, &out)
                .to_string()
                .starts_with("`sh -c 'sleep 600 & wait'` took too long")
        );
    }

    /// A process outside the group keeps the pipes open.
    const ESCAPES: &str = "setsid sleep 30 & echo one; exec sleep 30";

    #[test]
    fn stream_past_its_limit_is_stopped() {
        for script in ["echo one; exec sleep 30", ESCAPES] {
            let cmd = Cmd::new("sh")
                .args(["-c", script])
                .timeout(Duration::from_millis(300));
            let (start, mut seen) = (Instant::now(), Vec::new());
            let out = System.stream(&cmd, &mut |l| seen.push(l.to_owned()));
            assert!(out.unwrap().timed_out, "{script}");
            assert_eq!(seen, ["one"]);
            assert!(start.elapsed() < Duration::from_secs(15), "{script}");
        }
    }

    #[test]
    fn run_past_its_limit_is_stopped() {
        // More input than fits into a pipe, without a reader.
        for (script, input) in [("exec sleep 30", 1 << 20), (ESCAPES, 0)] {
            let cmd = Cmd::new("sh")
                .args(["-c", script])
                .stdin(vec![b'x'; input])
                .timeout(Duration::from_millis(300));
            let start = Instant::now();
            assert!(System.run(&cmd).unwrap().timed_out, "{script}");
            assert!(start.elapsed() < Duration::from_secs(15), "{script}");
        }
    }

    #[test]
    fn without_drops_variables_by_prefix() {
        // Cargo sets many of these.
        let env = Cmd::new("env").without("CARGO_").env("CARGO_X", "1");
        let said = System.run(&env).unwrap().text();
        let kept: Vec<&str> = said.lines().filter(|l| l.starts_with("CARGO_")).collect();
        assert_eq!(kept, ["CARGO_X=1"]);
    }

    #[test]
    fn stream_passes_lines() {
        let mut seen = Vec::new();
        let cmd = Cmd::new("sh").args(["-c", "echo a; echo b >&2; printf c"]);
        System
            .stream(&cmd, &mut |l| seen.push(l.to_owned()))
            .unwrap();
        seen.sort();
        assert_eq!(seen, ["a", "b", "c"]);
    }

    #[test]
    fn failed_git_shows_short_command() {
        let git = Cmd::new("git").args(["-c", "core.abbrev=12", "diff", "-c"]);
        assert_eq!(git.short(), "git diff");
        let other = Cmd::new("sh").args(["-c", "exit 1"]);
        assert_eq!(other.short(), other.line());
        let long = Cmd::new("git").args(["add", "a/file.rs"]).args(["x"; 200]);
        let text = failed(&long, &Output::default()).to_string();
        assert!(text.starts_with("`git add a/file.rs x x"), "{text}");
        assert!(text.contains(" …`") && text.chars().count() < 220, "{text}");
    }

    #[test]
    fn line_quotes_words() {
        assert_eq!(
            Cmd::new("b4").args(["send", "it's", ""]).line(),
            r"b4 send 'it'\''s' ''"
        );
    }

    #[test]
    fn runner_streams_and_feeds_by_running() {
        struct Echo;
        impl Runner for Echo {
            fn run(&self, cmd: &Cmd) -> io::Result<Output> {
                Ok(Output {
                    code: Some(0),
                    stdout: cmd.stdin.clone(),
                    stderr: b"three\n".to_vec(),
                    ..Output::default()
                })
            }
        }
        let mut lines = Vec::new();
        let cmd = Cmd::new("x").stdin("one\ntwo\n");
        let mut keep = |line: &str| lines.push(line.to_owned());
        Echo.stream(&cmd, &mut keep).unwrap();
        assert_eq!(lines, ["one", "two", "three"]);
        let out = Echo.feed(&cmd, &mut |to| to.write_all(b"fed")).unwrap();
        assert_eq!(out.stdout, b"fed");
    }
}
