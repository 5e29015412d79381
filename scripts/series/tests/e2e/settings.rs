// SPDX-License-Identifier: GPL-2.0

//! No setting and no variable of git changes a byte of the output.

use std::{collections::BTreeMap, fs, process::Command};

use crate::{
    mail::b4_folder,
    mini::{Mini, Ran},
};

const USER: &str = "[user]\n\tname = Dev Eloper\n\temail = dev@example.org\n";

/// Values of settings that are not booleans, or that have more than two. `HOME` is the test's.
const VALUES: &[(&str, &[&str])] = &[
    ("apply.ignorewhitespace", &["change", "no"]),
    ("apply.whitespace", &["error-all", "fix"]),
    ("attr.tree", &["HEAD"]),
    ("branch.autosetuprebase", &["always"]),
    ("branch.sort", &["-committerdate"]),
    ("color.ui", &["always", "never", "auto"]),
    ("color.diff", &["always", "never", "auto"]),
    ("color.branch", &["always", "never"]),
    ("color.status", &["always", "never"]),
    ("color.grep", &["always", "never"]),
    ("color.showbranch", &["always", "never"]),
    ("color.interactive", &["always", "never"]),
    ("column.ui", &["always", "never"]),
    ("commit.cleanup", &["scissors", "verbatim"]),
    ("core.abbrev", &["40", "7", "no"]),
    ("core.attributesfile", &["HOME/attributes"]),
    ("core.autocrlf", &["input", "true"]),
    ("core.bigfilethreshold", &["1", "1k"]),
    ("core.checkstat", &["minimal"]),
    ("core.commentchar", &["a", "auto"]),
    ("core.compression", &["0", "9"]),
    ("core.createobject", &["rename"]),
    ("core.eol", &["crlf", "native"]),
    ("core.excludesfile", &["HOME/excludes"]),
    ("core.hookspath", &["HOME/hooks"]),
    ("core.logallrefupdates", &["always", "false"]),
    ("core.notesref", &["refs/notes/x"]),
    ("core.safecrlf", &["true", "warn"]),
    ("core.sharedrepository", &["group", "all"]),
    ("core.whitespace", &["tab-in-indent,cr-at-eol"]),
    ("diff.algorithm", &["patience", "minimal", "myers"]),
    ("diff.colormoved", &["zebra", "plain"]),
    ("diff.colormovedws", &["ignore-all-space"]),
    ("diff.context", &["1", "0", "9"]),
    ("diff.dirstat", &["files,10"]),
    ("diff.dstprefix", &["dst/"]),
    ("diff.external", &["/bin/false"]),
    ("diff.ignoresubmodules", &["all"]),
    ("diff.interhunkcontext", &["9"]),
    ("diff.orderfile", &["HOME/order"]),
    ("diff.renamelimit", &["1"]),
    ("diff.renames", &["copies", "false"]),
    ("diff.srcprefix", &["src/"]),
    ("diff.statgraphwidth", &["3"]),
    ("diff.statnamewidth", &["4"]),
    ("diff.submodule", &["log", "diff"]),
    ("diff.wserrorhighlight", &["all"]),
    ("diff.wordregex", &["."]),
    ("fetch.negotiationalgorithm", &["skipping", "noop"]),
    ("fetch.output", &["compact"]),
    ("format.attach", &["true", "x"]),
    ("format.cc", &["c@example.org"]),
    ("format.coverfromdescription", &["subject"]),
    ("format.coverletter", &["true", "auto"]),
    ("format.filenamemaxlength", &["20"]),
    ("format.headers", &["X-Own: 1"]),
    ("format.notes", &["true"]),
    ("format.outputdirectory", &["HOME/mails"]),
    ("format.pretty", &["oneline", "fuller"]),
    ("format.signature", &["mine"]),
    ("format.subjectprefix", &["PATCH net-next"]),
    ("format.suffix", &[".txt"]),
    ("format.thread", &["deep", "shallow"]),
    ("format.to", &["t@example.org"]),
    ("format.useautobase", &["whenAble", "true"]),
    ("gpg.program", &["/bin/false"]),
    ("grep.patterntype", &["perl", "fixed"]),
    ("i18n.commitencoding", &["ISO-8859-1"]),
    ("i18n.logoutputencoding", &["ISO-8859-1"]),
    ("index.version", &["4", "2"]),
    ("init.defaultbranch", &["trunk"]),
    ("init.defaultobjectformat", &["sha256"]),
    ("init.defaultrefformat", &["files"]),
    ("init.templatedir", &["HOME/template"]),
    ("log.date", &["relative", "iso"]),
    ("log.decorate", &["full"]),
    ("log.diffmerges", &["on"]),
    ("mailmap.file", &["HOME/mailmap"]),
    ("merge.conflictstyle", &["diff3"]),
    ("pack.packsizelimit", &["1m"]),
    ("protocol.allow", &["never"]),
    ("protocol.version", &["0"]),
    ("safe.barerepository", &["explicit"]),
    ("status.showuntrackedfiles", &["no", "all"]),
    ("tar.umask", &["0077"]),
    ("transfer.hiderefs", &["refs"]),
    ("url.https://x.invalid/.insteadof", &["file://"]),
    ("versionsort.suffix", &["-rc"]),
];

/// Settings for the network, for other programs, and for the format of a repository. Users do not
/// set the last kind globally.
const ELSEWHERE: &[&str] = &[
    "alias.",
    "bitmappseudomerge.",
    "browser.",
    "credential",
    "extensions.",
    "fsck.",
    "gitcvs.",
    "gitweb.",
    "guitool.",
    "gui.",
    "help.",
    "http.",
    "imap.",
    "include",
    "instaweb.",
    "man.",
    "receive.fsck",
    "fetch.fsck",
    "remote",
    "sendemail.",
    "trace2.",
    "web.",
    "user.email",
    "user.name",
    "core.bare",
    "core.worktree",
    "core.repositoryformatversion",
    "core.gitproxy",
    "core.askpass",
    "core.editor",
    "core.pager",
    "core.sshcommand",
    "core.restrictinheritedhandles",
    "safe.directory",
    "author.",
    "committer.",
];

/// Returns the settings of this git, each with values that it accepts.
fn settings(mini: &Mini) -> Vec<(String, Vec<String>)> {
    let home = mini.path("home");
    let known = mini.git(&home, &["help", "--config"]);
    let known = known.lines().map(str::to_ascii_lowercase);
    let named = VALUES.iter().map(|(key, _)| (*key).to_owned());
    let mut keys: Vec<String> = known.chain(named).collect();
    keys.retain(|k| k.contains('.') && !k.contains(['<', '*', ' ']) || k.starts_with("url."));
    keys.retain(|k| !ELSEWHERE.iter().any(|e| k.starts_with(e)));
    keys.sort();
    keys.dedup();
    let table: BTreeMap<&str, &[&str]> = VALUES.iter().copied().collect();
    let repository = mini.path("probe");
    // Values that git rejects or warns about are not tried.
    let taken = |key: &str, value: &str| {
        let setting = format!("{key}={value}");
        [&["status"][..], &["log", "-1", "--patch", "--stat"]]
            .iter()
            .all(|args| {
                let mut git = Command::new("git");
                mini.isolate(&mut git);
                git.env("GIT_CONFIG_GLOBAL", "/dev/null")
                    .current_dir(&repository);
                let out = git.args(["-c", &setting]).args(*args).output().unwrap();
                out.status.success() && out.stderr.is_empty()
            })
    };
    let all = keys.into_iter().map(|key| {
        let values: Vec<String> = match table.get(key.as_str()) {
            Some(values) => {
                let home = home.to_str().unwrap();
                values.iter().map(|v| v.replace("HOME", home)).collect()
            }
            // A color.
            None if key.starts_with("color.") && key.matches('.').count() == 2 => {
                vec!["red".to_owned()]
            }
            None => {
                let values = ["true", "false", "1", "0"]
                    .iter()
                    .filter(|v| taken(&key, v));
                values.take(2).map(|v| (*v).to_owned()).collect()
            }
        };
        (key, values)
    });
    all.filter(|(_, values)| !values.is_empty()).collect()
}

/// Creates the files that the settings name.
fn traps(mini: &Mini) {
    mini.file(
        "home/attributes",
        "*.rs binary\n*.rs eol=crlf\nMAINTAINERS -diff\n",
    );
    mini.file("home/excludes", "*\n");
    mini.file("home/order", "z*\nm*\nl*\nb*\n");
    mini.file(
        "home/mailmap",
        "Other Name <other@example.org> <dev@example.org>\n",
    );
    for hook in [
        "hooks/reference-transaction",
        "template/hooks/reference-transaction",
    ] {
        mini.file(&format!("home/{hook}"), "#!/bin/sh\nexit 1\n");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(mini.path(&format!("home/{hook}")), mode).unwrap();
    }
    mini.file("home/.config/git/attributes", "*.rs binary\n");
    mini.file("home/.config/git/ignore", "*\n");
}

/// The output for all series: the files of `assemble`, and the mails of b4.
type All = Vec<(String, String)>;

/// Creates all output with these variables, without a cache.
fn make(mini: &Mini, variables: &[(&str, &str)]) -> All {
    for folder in ["cache", "ws/out"] {
        let _ = fs::remove_dir_all(mini.path(folder));
    }
    good(mini, &["assemble"], variables);
    let mut all = mini.received();
    for name in ["list", "buddy"] {
        good(mini, &["prepare", name], variables);
        all.extend(mails(mini, name));
    }
    all
}

fn good(mini: &Mini, args: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = mini.command(args);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", b4_folder().display()));
    for (key, value) in variables {
        command.env(key, value);
    }
    let ran = mini.ran(command.output().unwrap());
    assert_eq!(ran.code, Some(0), "{args:?} {variables:?}:\n{}", ran.stderr);
    ran
}

/// Returns the mails of a series, without ids and dates.
fn mails(mini: &Mini, name: &str) -> All {
    let dir = mini.ws(&format!("out/{name}/v1-mails"));
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .collect();
    files.sort();
    let passing = regex::Regex::new(
        r"(?im)^(date|message-id|in-reply-to|references|x-b4-tracking):.*\n([ \t].*\n)*",
    )
    .unwrap();
    let of = |path: &std::path::PathBuf| {
        let text = String::from_utf8(fs::read(path).unwrap()).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, passing.replace_all(&text, "").into_owned())
    };
    files.iter().map(of).collect()
}

fn assert_same(found: &All, plain: &All, what: &str) {
    let names = |all: &All| -> Vec<String> { all.iter().map(|(n, _)| n.clone()).collect() };
    assert_eq!(names(found), names(plain), "{what}");
    for ((name, found), (_, plain)) in found.iter().zip(plain) {
        assert_eq!(found, plain, "{name} with {what}");
    }
}

fn stage() -> Mini {
    let mini = Mini::new();
    mini.file("home/.gitconfig", USER);
    traps(&mini);
    mini
}

#[test]
fn user_settings_change_nothing() {
    let mini = Mini::new();
    mini.file("home/.gitconfig", USER);
    mini.pristine("probe");
    let plain = make(&mini, &[]);
    traps(&mini);
    let settings = settings(&mini);
    assert!(settings.len() > 250, "{}", settings.len());
    for nth in 0..3 {
        let set = settings
            .iter()
            .filter(|(_, values)| nth == 0 || values.len() > nth);
        let lines: String = set
            .map(|(key, values)| {
                let (section, name) = key.rsplit_once('.').unwrap();
                let value = &values[nth.min(values.len() - 1)];
                match section.split_once('.') {
                    Some((section, sub)) => {
                        format!("[{section} \"{sub}\"]\n\t{name} = \"{value}\"\n")
                    }
                    None => format!("[{section}]\n\t{name} = \"{value}\"\n"),
                }
            })
            .collect();
        mini.file("home/.gitconfig", &format!("{lines}{USER}"));
        assert_same(
            &make(&mini, &[]),
            &plain,
            &format!("value {nth} of each setting"),
        );
    }
}

#[test]
fn git_variables_change_nothing() {
    let mini = stage();
    let plain = make(&mini, &[]);
    let nowhere = mini.path("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    let groups: [&[(&str, &str)]; 3] = [
        &[
            ("GIT_DIFF_OPTS", "-u0"),
            ("GIT_EXTERNAL_DIFF", "/bin/false"),
            ("GIT_DEFAULT_HASH", "sha256"),
            ("GIT_DEFAULT_REF_FORMAT", "reftable"),
            ("GIT_LITERAL_PATHSPECS", "1"),
            ("GIT_ATTR_SOURCE", "HEAD"),
            ("GIT_INDEX_VERSION", "4"),
            ("GIT_TEST_SPLIT_INDEX", "1"),
            ("GIT_AUTHOR_NAME", "Some Body"),
            ("GIT_COMMITTER_DATE", "2001-01-01T00:00:00"),
            ("GIT_PRINT_SHA1_ELLIPSIS", "yes"),
            ("GIT_REPLACE_REF_BASE", "refs/heads/"),
            ("COLUMNS", "300"),
        ],
        &[
            ("GIT_DIR", nowhere),
            ("GIT_WORK_TREE", nowhere),
            ("GIT_INDEX_FILE", nowhere),
            ("GIT_OBJECT_DIRECTORY", nowhere),
            ("GIT_ALTERNATE_OBJECT_DIRECTORIES", nowhere),
            ("GIT_PREFIX", "list/"),
            ("GIT_CEILING_DIRECTORIES", "/"),
            ("GIT_NAMESPACE", "x"),
            ("GIT_ICASE_PATHSPECS", "1"),
            ("GIT_TEMPLATE_DIR", nowhere),
            ("GIT_CONFIG", nowhere),
        ],
        &[
            ("GIT_COMMON_DIR", nowhere),
            ("GIT_GRAFT_FILE", nowhere),
            ("GIT_SHALLOW_FILE", nowhere),
            ("GIT_QUARANTINE_PATH", nowhere),
            ("GIT_ALLOW_PROTOCOL", "none"),
            ("GIT_PROTOCOL", "version=0"),
            ("GIT_GLOB_PATHSPECS", "1"),
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "diff.context"),
            ("GIT_CONFIG_VALUE_0", "9"),
        ],
    ];
    for group in groups {
        assert_same(&make(&mini, group), &plain, &format!("{group:?}"));
    }
}

#[test]
fn repository_settings_are_dropped() {
    let mini = stage();
    let plain = make(&mini, &[]);
    let kernel = mini.path("cache/kernel");
    let own = mini.path("home/own");
    mini.file("home/own", "[diff]\n\tstatGraphWidth = 2\n");
    for (key, value) in [
        ("diff.orderFile", mini.path("home/order").to_str().unwrap()),
        ("diff.context", "9"),
        ("diff.external", "/bin/false"),
        ("apply.whitespace", "error-all"),
        ("core.splitIndex", "true"),
        ("core.fsmonitor", "/bin/false"),
        ("format.headers", "X-Own: 1"),
        ("include.path", own.to_str().unwrap()),
        ("sendemail.smtpServer", "smtp.example.org"),
    ] {
        mini.git(&kernel, &["config", "--local", key, value]);
    }
    fs::remove_dir_all(mini.ws("out")).unwrap();
    good(&mini, &["assemble"], &[]);
    let mut all = mini.received();
    for name in ["list", "buddy"] {
        good(&mini, &["prepare", name], &[]);
        all.extend(mails(&mini, name));
    }
    assert_same(&all, &plain, "settings of the repository");
    let left = mini.git(&kernel, &["config", "--local", "--list"]);
    for gone in ["include.path", "format.headers", "diff.external"] {
        assert!(!left.contains(gone), "{left}");
    }
    // The user's settings for sending apply.
    assert!(
        left.contains("sendemail.smtpserver=smtp.example.org"),
        "{left}"
    );
}

#[test]
fn kernel_tree_hooks_are_not_run() {
    let mini = Mini::new();
    let kernel = mini.pristine("theirs");
    let ran = mini.path("ran");
    mini.file("monitor", &format!("#!/bin/sh\ntouch {}\n", ran.display()));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(mini.path("monitor"), mode).unwrap();
    let monitor = mini.path("monitor");
    mini.git(
        &kernel,
        &["config", "core.fsmonitor", monitor.to_str().unwrap()],
    );
    good(
        &mini,
        &["assemble", "--kernel", kernel.to_str().unwrap()],
        &[],
    );
    assert!(!ran.exists());
}

#[test]
fn b4_settings_that_change_mails() {
    let mini = stage();
    mini.good(&["assemble"]);
    mini.file(
        "home/.gitconfig",
        &format!("{USER}[b4]\n\tsend-series-cc = Else <else@example.org>\n"),
    );
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = mini.command(&["prepare", "list"]);
    command.env("PATH", format!("{}:{path}", b4_folder().display()));
    let ran = mini.ran(command.output().unwrap());
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("b4.send-series-cc"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("To post the series"), "{}", ran.stderr);
}

#[test]
fn unreadable_configuration_is_an_error() {
    let mini = stage();
    mini.file("home/.gitconfig", "[user\n");
    let text = mini.error(&["assemble"]);
    assert!(
        text.starts_with("error: git cannot read your configuration\n"),
        "{text}"
    );
    assert!(text.contains("bad config line 1"), "{text}");
}

#[test]
fn verbose_shows_commands_and_output() {
    let mini = Mini::new();
    let lines = |args: &[&str]| {
        let ran = mini.good(args);
        let lines: Vec<_> = ran.stderr.lines().map(str::to_owned).collect();
        let commands = lines.iter().filter(|l| l.starts_with("+ git ")).count();
        let output = lines.iter().filter(|l| l.starts_with("  ")).count();
        assert!(!ran.stderr.contains("-c core."), "{}", ran.stderr);
        (commands > 5, output > 5)
    };
    assert_eq!(lines(&["assemble"]), (false, false));
    mini.overlay("list", "list/owned.rs", "//! Owned, and more.\n");
    assert_eq!(lines(&["assemble", "-v"]), (true, false));
    mini.overlay("list", "list/owned.rs", "//! Owned, and even more.\n");
    assert_eq!(lines(&["-vv", "assemble"]), (true, true));
}
