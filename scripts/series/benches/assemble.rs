// SPDX-License-Identifier: GPL-2.0

//! Compares the duration of `assemble` with `git am` of the same patches on a checkout of the
//! kernel.
//!
//! Both run on the real base, on the same machine. The best of several runs counts, because other
//! load only adds time. The benchmark needs the base: run `scripts/assemble` first.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

const ROUNDS: usize = 5;

/// The limits for `assemble`, absolute and relative to `git am`.
const BOUND: Duration = Duration::from_secs(2);
const RATIO: f64 = 0.1;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().expect("the workspace is there");
    let var = |name: &str| std::env::var(name).ok();
    let cache = series::sys::cache::Cache::open(&var).expect("there is a cache folder");
    assemble(&root);
    let text = std::fs::read_to_string(root.join("out/series.json")).expect("it was assembled");
    let report: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let base = report["base"]["commit"]
        .as_str()
        .expect("it names the base")
        .to_owned();
    let boxes: Vec<PathBuf> = report["series"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|s| s["patches"].as_array().is_some_and(|p| !p.is_empty()))
        .map(|s| {
            root.join(format!(
                "out/{}/v{}.mbox",
                s["name"].as_str().unwrap_or(""),
                s["version"]
            ))
        })
        .collect();

    let tree = cache.path("bench");
    check_out(&cache.kernel(), &tree, &base);
    let am = best(|| {
        git(&tree, &["reset", "--quiet", "--hard", &base]);
        timed(|| {
            for mbox in &boxes {
                git(&tree, &["am", "--quiet", &mbox.display().to_string()]);
            }
        })
    });
    let landed = git(&tree, &["rev-parse", "HEAD^{tree}"]);
    assert_eq!(
        Some(landed.as_str()),
        report["all"]["tree"].as_str(),
        "both made the same tree"
    );
    // Without its record, the tool assembles everything again.
    let record = root.join("out/assembled.json");
    let anew = best(|| {
        let _ = std::fs::remove_file(&record);
        timed(|| assemble(&root))
    });
    let warm = best(|| timed(|| assemble(&root)));
    git(
        &cache.kernel(),
        &["worktree", "remove", "--force", &tree.display().to_string()],
    );

    let ratio = warm.as_secs_f64() / am.as_secs_f64();
    let ms = |d: Duration| format!("{} ms", d.as_millis());
    let again = anew.as_secs_f64() / am.as_secs_f64();
    println!("best of {ROUNDS}                        time     bound");
    println!(
        "series assemble, nothing new  {:>8}  {:>8}",
        ms(warm),
        ms(BOUND)
    );
    println!(
        "series assemble, all anew     {:>8}  {:>8}",
        ms(anew),
        ms(BOUND)
    );
    println!("git am                        {:>8}         -", ms(am));
    println!("nothing new / git am          {ratio:>8.3}  {RATIO:>8.3}");
    println!("all anew / git am             {again:>8.3}         -");
    match anew <= BOUND && ratio <= RATIO {
        true => ExitCode::SUCCESS,
        false => {
            eprintln!("error: assemble is slower than its bound");
            ExitCode::FAILURE
        }
    }
}

fn best(mut round: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| round()).min().unwrap_or_default()
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn assemble(root: &Path) {
    let status = Command::new(env!("CARGO_BIN_EXE_series"))
        .args(["assemble", "--quiet"])
        .current_dir(root)
        .stdout(Stdio::null())
        .status()
        .expect("the program starts");
    assert!(status.success(), "assemble failed");
}

fn check_out(kernel: &Path, tree: &Path, base: &str) {
    git(kernel, &["worktree", "prune"]);
    if tree.exists() {
        let tree = tree.display().to_string();
        git(kernel, &["worktree", "remove", "--force", &tree]);
    }
    eprintln!("checking the base out for git am …");
    let tree = tree.display().to_string();
    git(
        kernel,
        &["worktree", "add", "--quiet", "--detach", &tree, base],
    );
}

fn git(dir: &Path, args: &[&str]) -> String {
    let out = Command::new("git")
        .args(["-c", "commit.gpgSign=false"])
        .args(args)
        .envs([
            ("GIT_COMMITTER_NAME", "bench"),
            ("GIT_COMMITTER_EMAIL", "bench@localhost"),
        ])
        .current_dir(dir)
        .output()
        .expect("git starts");
    assert!(
        out.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
}
