// SPDX-License-Identifier: GPL-2.0

//! Starting other programs.
//!
//! All other modules start programs through a [`Runner`]. A test passes one that records the
//! commands, and so neither reaches the network nor sends mail.

use std::{
    ffi::{OsStr, OsString},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::sys::{Error, Result};

#[derive(Debug, Clone, Default)]
pub struct Cmd {
    /// The program, looked up in `PATH`.
    pub program: OsString,
    pub args: Vec<OsString>,
    /// Prefixes of variables that the program does not inherit. [`Self::env`] is applied later.
    pub without: Vec<&'static str>,
    /// Changes to the environment; `None` removes the variable.
    pub env: Vec<(OsString, Option<OsString>)>,
    pub dir: Option<PathBuf>,
    pub stdin: Vec<u8>,
    /// The time after which the program is killed.
    pub timeout: Option<Duration>,
    /// Translates standard error into a more helpful message, where possible.
    pub explain: Option<fn(&Cmd, &str) -> Option<Error>>,
}

impl Cmd {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            ..Self::default()
        }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let value = value.as_ref().to_owned();
        self.env.push((key.as_ref().to_owned(), Some(value)));
        self
    }

    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), None));
        self
    }

    pub fn without(mut self, prefix: &'static str) -> Self {
        self.without.push(prefix);
        self
    }

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
        let words = std::iter::once(&self.program).chain(&self.args);
        let words = words.map(|word| quote(&word.to_string_lossy()));
        words.collect::<Vec<_>>().join(" ")
    }

    /// The command for messages, without the settings for git. The end of a long one is missing.
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
                return line + " …";
            }
            line += &format!(" {word}");
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

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// The exit code. `None` after a signal.
    pub code: Option<i32>,
    /// Whether the program was killed by its time limit.
    pub timed_out: bool,
    /// Standard output and error; empty if they were streamed.
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Output {
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

/// Writes the input of a program.
pub type Feed<'a> = &'a mut dyn FnMut(&mut dyn Write) -> io::Result<()>;

/// Receives each line of both outputs of a program, as it arrives.
pub type OnLine<'a> = &'a mut dyn FnMut(&str);

/// Starts programs. Several threads may use it at the same time.
pub trait Runner: Sync {
    /// Runs a program to its end. A failure of the program is in the [`Output`], which is otherwise
    /// empty if `on_line` receives the lines.
    ///
    /// The input is what `feed` writes, or else [`Cmd::stdin`], or `/dev/null` if that is empty. If
    /// the program closes the pipe early, only its exit code decides.
    fn execute(
        &self,
        cmd: &Cmd,
        feed: Option<Feed<'_>>,
        on_line: Option<OnLine<'_>>,
    ) -> io::Result<Output>;

    /// Runs a program that may fail.
    fn run(&self, cmd: &Cmd) -> Result<Output> {
        self.execute(cmd, None, None)
            .map_err(|e| not_started(cmd, &e))
    }

    /// Runs a program that may fail, and passes its lines on.
    fn follow(&self, cmd: &Cmd, on_line: OnLine<'_>) -> Result<Output> {
        self.execute(cmd, None, Some(on_line))
            .map_err(|e| not_started(cmd, &e))
    }
}

/// Runs a program that has to succeed. The error has the command and its standard error.
pub fn must(runner: &dyn Runner, cmd: &Cmd) -> Result<Output> {
    let out = runner.run(cmd)?;
    if out.ok() {
        Ok(out)
    } else {
        Err(failed(cmd, &out))
    }
}

fn not_started(cmd: &Cmd, error: &io::Error) -> Error {
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

pub fn failed(cmd: &Cmd, out: &Output) -> Error {
    let how = match out.code {
        _ if out.timed_out => "took too long and was stopped".to_owned(),
        Some(code) => format!("failed with exit code {code}"),
        None => "was ended by a signal".to_owned(),
    };
    let complaint = Some(out.complaint()).filter(|text| !text.is_empty());
    let text = complaint.unwrap_or_else(|| out.text());
    if let Some(error) = cmd.explain.and_then(|explain| explain(cmd, &text)) {
        return error;
    }
    let lines: Vec<_> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(20)..].join("\n");
    Error::new(format!("`{}` {how}", cmd.short())).detail(tail)
}

#[derive(Debug, Default)]
pub struct System;

static CHILDREN: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

static ENDING: AtomicBool = AtomicBool::new(false);

/// Returns whether children are being ended. Their exit codes are then meaningless.
pub fn is_ending() -> bool {
    ENDING.load(Ordering::SeqCst)
}

/// Ends all running children. Called when the user interrupts the program.
pub fn end_children() {
    ENDING.store(true, Ordering::SeqCst);
    if let Ok(children) = CHILDREN.lock() {
        for child in children.iter() {
            // It may have ended already.
            let _ = kill_process_group(*child, Signal::TERM);
        }
    }
}

/// A child that is in [`CHILDREN`].
struct Running(Child);

impl Running {
    fn start(cmd: &Cmd, has_input: bool) -> io::Result<Self> {
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
        // Programs may look at the kind of their standard input.
        let stdin = if has_input {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        command.stdin(stdin);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // A process group, so that a time limit or an interrupt ends its children as well.
        command.process_group(0);
        end_with_parent(&mut command);
        let child = command.spawn()?;
        if let Ok(mut children) = CHILDREN.lock() {
            children.push(Pid::from_child(&child));
        }
        Ok(Self(child))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(mut children) = CHILDREN.lock() {
            children.retain(|child| *child != Pid::from_child(&self.0));
        }
    }
}

/// Makes the kernel end the child when we die. Otherwise an orphan of a `kill -9` would keep
/// writing into a build folder that the next run uses.
#[allow(unsafe_code, reason = "`pre_exec` has no safe form")]
fn end_with_parent(command: &mut Command) {
    let set = || {
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
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
    /// The end of this channel tells the thread that the program has ended.
    running: mpsc::Sender<()>,
    /// Returns whether it killed the program.
    watch: thread::JoinHandle<bool>,
}

impl Limit {
    fn start(child: &Child, limit: Duration) -> Self {
        let group = Pid::from_child(child);
        let (running, ended) = mpsc::channel();
        let watch = thread::spawn(move || {
            let timed_out = ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if timed_out {
                // Its children keep the pipes open too.
                let _ = kill_process_group(group, Signal::KILL);
            }
            timed_out
        });
        Self { running, watch }
    }

    /// Waits for the child. Returns its exit code, and whether it was killed by the limit.
    fn wait(self, child: &mut Child) -> io::Result<(Option<i32>, bool)> {
        // The child is a zombie until the thread has ended, so its process id is not reused.
        let until_zombie = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let id = Pid::from_child(child);
        rustix::io::retry_on_intr(|| waitid(WaitId::Pid(id), until_zombie))?;
        drop(self.running);
        let timed_out = self.watch.join().unwrap_or(false);
        let code = child.wait()?.code();
        Ok((code.filter(|_| !timed_out), timed_out))
    }
}

type Pipe = Box<dyn Read + Send>;

/// Reads the outputs of a child, as a whole or by line. The flag is set for standard error.
fn outputs(child: &mut Child, by_line: bool) -> mpsc::Receiver<(bool, Vec<u8>)> {
    let (send, parts) = mpsc::channel();
    let stdout = child.stdout.take().map(|p| Box::new(p) as Pipe);
    let stderr = child.stderr.take().map(|p| Box::new(p) as Pipe);
    let pipes = [stdout.map(|p| (false, p)), stderr.map(|p| (true, p))];
    for (is_error, pipe) in pipes.into_iter().flatten() {
        let (send, mut pipe) = (send.clone(), BufReader::new(pipe));
        let mut next = move || {
            let mut part = Vec::new();
            // Output that arrived before a read error is still useful.
            let _ = if by_line {
                pipe.read_until(b'\n', &mut part)
            } else {
                pipe.read_to_end(&mut part)
            };
            (!part.is_empty()).then_some((is_error, part))
        };
        thread::spawn(move || while next().is_some_and(|part| send.send(part).is_ok()) {});
    }
    parts
}

impl Runner for System {
    fn execute(
        &self,
        cmd: &Cmd,
        feed: Option<Feed<'_>>,
        mut on_line: Option<OnLine<'_>>,
    ) -> io::Result<Output> {
        let has_input = feed.is_some() || !cmd.stdin.is_empty();
        let mut running = Running::start(cmd, has_input)?;
        let child = &mut running.0;
        let timeout = cmd.timeout.unwrap_or(Duration::MAX);
        let (limit, start) = (Limit::start(child, timeout), Instant::now());
        let parts = outputs(child, on_line.is_some());
        let mut fed = Ok(());
        if let Some(pipe) = child.stdin.take() {
            let mut pipe = io::BufWriter::with_capacity(1 << 16, pipe);
            fed = match feed {
                Some(feed) => feed(&mut pipe),
                None => pipe.write_all(&cmd.stdin),
            };
            fed = fed.and_then(|()| pipe.flush());
        }
        let is_closed = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
        if fed.as_ref().is_err_and(is_closed) {
            fed = Ok(());
        } else if fed.is_err() {
            // The program must not finish with an incomplete input.
            child.kill()?;
        }
        let patience = timeout.saturating_add(GRACE);
        let mut output = Output::default();
        while let Ok((is_error, mut part)) =
            parts.recv_timeout(patience.saturating_sub(start.elapsed()))
        {
            match &mut on_line {
                Some(on_line) => {
                    on_line(String::from_utf8_lossy(&part).trim_end_matches(['\n', '\r']));
                }
                None if is_error => output.stderr.append(&mut part),
                None => output.stdout.append(&mut part),
            }
        }
        (output.code, output.timed_out) = limit.wait(child)?;
        fed.map(|()| output)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Records the command lines, and answers without running programs.
    pub struct Fake<F> {
        pub lines: Mutex<Vec<String>>,
        answer: F,
    }

    impl<F: Fn(&Cmd) -> io::Result<Output> + Sync> Fake<F> {
        pub fn new(answer: F) -> Self {
            let lines = Mutex::default();
            Self { lines, answer }
        }
    }

    impl<F: Fn(&Cmd) -> io::Result<Output> + Sync> Runner for Fake<F> {
        fn execute(
            &self,
            cmd: &Cmd,
            _: Option<Feed<'_>>,
            _: Option<OnLine<'_>>,
        ) -> io::Result<Output> {
            self.lines.lock().unwrap().push(cmd.line());
            (self.answer)(cmd)
        }
    }

    /// The answer of a program that prints `said` and succeeds.
    pub fn succeeds(said: &str) -> io::Result<Output> {
        Ok(Output {
            code: Some(0),
            stdout: said.into(),
            ..Output::default()
        })
    }

    /// The answer for a program that is not installed.
    pub fn not_found(_: &Cmd) -> io::Result<Output> {
        Err(io::ErrorKind::NotFound.into())
    }

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
    fn execute_without_input_reads_dev_null() {
        let cmd = Cmd::new("sh").args(["-c", "readlink /proc/self/fd/0"]);
        assert_eq!(System.run(&cmd).unwrap().text(), "/dev/null");
        let mut seen = Vec::new();
        let mut keep = |line: &str| seen.push(line.to_owned());
        System.execute(&cmd, None, Some(&mut keep)).unwrap();
        assert_eq!(seen, ["/dev/null"]);
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
    fn lines_past_the_limit_are_stopped() {
        for script in ["echo one; exec sleep 30", ESCAPES] {
            let cmd = Cmd::new("sh")
                .args(["-c", script])
                .timeout(Duration::from_millis(300));
            let (start, mut seen) = (Instant::now(), Vec::new());
            let out = System.execute(&cmd, None, Some(&mut |l| seen.push(l.to_owned())));
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
    fn execute_passes_lines() {
        let mut seen = Vec::new();
        let cmd = Cmd::new("sh").args(["-c", "echo a; echo b >&2; printf c"]);
        System
            .execute(&cmd, None, Some(&mut |l| seen.push(l.to_owned())))
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
    fn execute_writes_input_and_passes_lines() {
        let mut lines = Vec::new();
        let cmd = Cmd::new("sh").args(["-c", "cat; echo three >&2"]);
        let mut keep = |line: &str| lines.push(line.to_owned());
        let cmd = cmd.stdin("one\ntwo\n");
        let out = System.execute(&cmd, None, Some(&mut keep)).unwrap();
        assert_eq!((out.stdout.len(), out.stderr.len()), (0, 0));
        lines.sort();
        assert_eq!(lines, ["one", "three", "two"]);
        let mut feed = |to: &mut dyn Write| to.write_all(b"fed");
        let out = System.execute(&cmd, Some(&mut feed), None).unwrap();
        assert_eq!(out.stdout, b"fed");
        let mut broken = |_: &mut dyn Write| Err(io::Error::other("broken"));
        let error = System.execute(&cmd, Some(&mut broken), None).unwrap_err();
        assert_eq!(error.to_string(), "broken");
    }
}
