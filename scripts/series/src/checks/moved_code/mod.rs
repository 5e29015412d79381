// SPDX-License-Identifier: GPL-2.0

//! Proves that a relocation step changes nothing else: each occurrence of a word is renamed, none
//! remains, and the object code is the same.

pub mod object;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    git::{Git, Oid},
    kernel::build::Build,
    patches::commits::{Assembled, AssembledSeries},
    source::relocation::{
        Files, Step,
        words::{Count, words},
    },
    sys::{
        cache::Cache,
        error::{Error, Result},
        plural,
        runner::{Cmd, failed, not_started},
        ui::Ui,
    },
};

/// The proof of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    pub base: String,
    pub series: String,
    /// The number of the patch.
    pub patch: usize,
    pub step: String,
    /// The new paths of moved files, by the old path.
    pub moved: BTreeMap<String, String>,
    /// The renamed words.
    pub words: Vec<Renamed>,
    /// The exceptions.
    pub kept: Vec<Kept>,
    /// The comparison of object code, if the step names a source.
    pub object: Option<Object>,
    /// The faults. Empty if the proof succeeded.
    pub faults: Vec<String>,
}

/// A renamed word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Renamed {
    pub old: String,
    pub new: String,
    /// Occurrences of the old name before the step.
    pub before: usize,
    /// Occurrences of the new name before the step.
    pub met: usize,
    /// Occurrences of the new name after the step.
    pub after: usize,
}

/// A text that the step does not rename.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    pub text: String,
    /// The reason.
    pub why: String,
    /// Occurrences in the tree.
    pub times: usize,
}

/// The comparison of object code before and after the step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Object {
    /// The path of the source.
    pub source: String,
    /// The number of compared functions.
    pub functions: usize,
    /// The number of compared bytes of code.
    pub code: u64,
    /// The new names of exported symbols.
    pub exports: Vec<String>,
}

/// The input of the proofs.
pub struct Subject<'a> {
    /// The kernel repository.
    pub git: &'a Git<'a>,
    pub cache: &'a Cache,
    /// The assembled series.
    pub assembled: &'a Assembled,
    /// A finished build of the assembled tree, which recorded the compiler calls.
    pub build: &'a Build<'a>,
}

/// Proves every step of the series.
///
/// # Errors
///
/// git or the compiler failed. Faults of a step are in its [`Proof`].
pub fn prove(
    subject: &Subject<'_>,
    one: &AssembledSeries,
    base: &str,
    ui: &Ui,
) -> Result<Vec<Proof>> {
    let mut proofs = Vec::new();
    for (index, patch) in one.plan.patches.iter().enumerate() {
        let Some(step) = patch.relocate() else {
            continue;
        };
        ui.say(format!(
            "{}: proving the step {:?} …",
            one.name(),
            step.name
        ));
        let before = match index {
            0 => &one.parent.tree,
            _ => &one.patches[index - 1].tree,
        };
        let after = &one.patches[index].tree;
        let mut proof = Proof {
            base: base.to_owned(),
            series: one.name().to_owned(),
            patch: index + 1,
            step: step.name.clone(),
            moved: step.moves.clone(),
            words: Vec::new(),
            kept: Vec::new(),
            object: None,
            faults: Vec::new(),
        };
        if !step.rules.is_empty() {
            let paths = candidates(subject, one, step)?;
            let (old, new) = (
                read(subject.git, before, &paths)?,
                read(subject.git, after, &paths)?,
            );
            count(step, &old, &new, &mut proof);
        }
        compare(subject, one, step, before, after, &mut proof)?;
        proofs.push(proof);
    }
    Ok(proofs)
}

/// Returns the files that may contain a word of the rules: files of the base, and all files that
/// the patches touch.
fn candidates(
    subject: &Subject<'_>,
    one: &AssembledSeries,
    step: &Step,
) -> Result<BTreeSet<String>> {
    let names = one.below.iter().map(String::as_str).chain([one.name()]);
    let mut paths: BTreeSet<String> = names
        .filter_map(|name| subject.assembled.find(name).ok())
        .flat_map(|s| &s.plan.patches)
        .flat_map(|p| p.paths())
        .map(str::to_owned)
        .collect();
    let pairs = step.rules.parts.iter().chain(&step.rules.words);
    // New names must not occur in the base, so search for them as well.
    let mut needles: Vec<&str> = pairs.flat_map(|(old, new)| [&old[..], &new[..]]).collect();
    needles.sort_unstable();
    needles.dedup();
    paths.extend(
        subject
            .git
            .files_with(&subject.assembled.base.tree, &needles, subject.cache)?,
    );
    Ok(paths)
}

fn read(git: &Git<'_>, tree: &Oid, paths: &BTreeSet<String>) -> Result<Files> {
    let paths: Vec<String> = paths.iter().cloned().collect();
    let entries = git.entries(tree, &paths)?;
    let blobs: Vec<&Oid> = entries.values().map(|e| &e.blob).collect();
    let contents = git.blobs(&blobs)?;
    Ok(entries.keys().cloned().zip(contents).collect())
}

/// Counts the occurrences of each word in the files.
fn tally(files: &Files) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for content in files.values() {
        for (_, word) in words(content) {
            if let Ok(word) = std::str::from_utf8(word) {
                *tally.entry(word.to_owned()).or_default() += 1;
            }
        }
    }
    tally
}

/// Counts words and exceptions before and after the step.
fn count(step: &Step, old: &Files, new: &Files, proof: &mut Proof) {
    let rules = &step.rules;
    let mut renamed = Count::default();
    for (path, content) in old {
        rules.apply(path, &String::from_utf8_lossy(content), &mut renamed);
    }
    let (before, after) = (tally(old), tally(new));
    for (word, n) in &renamed.renamed {
        let name = rules.new_name(word).unwrap_or_else(|| word.clone());
        let times = |tally: &BTreeMap<String, usize>| tally.get(&name).copied().unwrap_or(0);
        let met = times(&before);
        let meant = step.met.iter().any(|m| m.word == name);
        if met > 0 && !meant {
            proof.faults.push(format!(
                "{name} is not a new name: it occurs {met} times before the step"
            ));
        }
        if times(&after) != n + met {
            proof.faults.push(format!(
                "{word} occurs {n} times and {name} {met} times before the step, {name} {} times \
                after it",
                times(&after)
            ));
        }
        proof.words.push(Renamed {
            old: word.clone(),
            new: name.clone(),
            before: *n,
            met,
            after: times(&after),
        });
    }
    let mut kept = Count::default();
    for (path, content) in new {
        let mut count = Count::default();
        rules.apply(path, &String::from_utf8_lossy(content), &mut count);
        for (word, n) in &count.renamed {
            proof
                .faults
                .push(format!("{path} still contains {word} {n} times"));
        }
        kept.add(&count);
    }
    for keep in rules.keep.iter().map(|k| &k.value) {
        let times = kept.kept.get(&keep.text).copied().unwrap_or(0);
        if times == 0 {
            proof
                .faults
                .push(format!("the exception {:?} does not occur", keep.text));
        }
        proof.kept.push(Kept {
            text: keep.text.clone(),
            why: keep.why.clone(),
            times,
        });
    }
}

/// Compares the object code before and after the step.
fn compare(
    subject: &Subject<'_>,
    one: &AssembledSeries,
    step: &Step,
    before: &Oid,
    after: &Oid,
    proof: &mut Proof,
) -> Result<()> {
    let Some(source) = step.object.as_ref().map(|o| &o.value) else {
        return Ok(());
    };
    let moved = step.moves.iter().find(|(_, to)| *to == source);
    let was = moved.map_or(source, |(from, _)| from);
    let old = compile(subject, one, before, was, source)?;
    let new = compile(subject, one, after, source, source)?;
    let found = object::compare(&old, &new, &|text| step.rename_in_object(text))
        .map_err(|what| Error::new(format!("{source}: {what}")))?;
    proof.faults.extend(
        found
            .differences
            .iter()
            .map(|d| format!("the object code of {source} differs: {d}")),
    );
    proof.object = Some(Object {
        source: source.clone(),
        functions: found.functions,
        code: found.code,
        exports: found.exports,
    });
    Ok(())
}

/// Compiles a source of a tree with the recorded call for `like`.
///
/// The file name is the same for both sides, because it may occur in the object code. Line numbers
/// are compared as well, because a proved step must not move lines of code.
fn compile(
    subject: &Subject<'_>,
    one: &AssembledSeries,
    tree: &Oid,
    source: &str,
    like: &str,
) -> Result<Vec<u8>> {
    let scratch = subject.cache.scratch()?;
    let headers: BTreeSet<String> = one
        .plan
        .patches
        .iter()
        .flat_map(|p| p.paths())
        .filter(|p| p.starts_with("include/"))
        .map(str::to_owned)
        .chain([source.to_owned()])
        .collect();
    let files = read(subject.git, tree, &headers)?;
    let content = files
        .get(source)
        .ok_or_else(|| Error::new(format!("the patches have no {source}")))?;
    for (path, content) in &files {
        let path = scratch.path().join(path);
        crate::sys::files::write(&path, content)?;
    }
    let input = scratch.path().join("source.c");
    let output = scratch.path().join("object.o");
    let named = [b"#line 1 \"source.c\"\n", &content[..]].concat();
    crate::sys::files::write(&input, &named)?;
    let call = call(subject.build, like)?;
    let cmd = Cmd::new("sh")
        .arg("-c")
        .arg(format!("exec {call} \"$@\""))
        .arg("sh")
        .arg("-o")
        .arg(&output)
        .arg(&input)
        .env("INCLUDE_FIRST", scratch.path().join("include"))
        .dir(subject.build.dir());
    let cmd = subject.build.toolchain.apply(cmd);
    let runner = subject.git.runner();
    let out = runner.run(&cmd).map_err(|e| not_started(&cmd, &e))?;
    if !out.ok() {
        return Err(failed(&cmd, &out));
    }
    std::fs::read(&output).map_err(|e| Error::io("read", &output, &e))
}

/// Returns the recorded compiler call for the object of `source`, without input and output.
fn call(build: &Build<'_>, source: &str) -> Result<String> {
    let (dir, file) = source.rsplit_once('/').unwrap_or((".", source));
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let record = build.dir().join(dir).join(format!(".{stem}.o.cmd"));
    let text = std::fs::read_to_string(&record).map_err(|e| {
        Error::io("read", &record, &e).help("the kernel configuration has to include this source")
    })?;
    call_of(&text)
        .ok_or_else(|| Error::new("is not the record of a compiler call").at(&record, None))
}

/// Extracts the compiler call from a record of kbuild.
fn call_of(record: &str) -> Option<String> {
    let (_, call) = record.lines().next()?.split_once(" := ")?;
    // Later commands process the object file.
    let call = call.split(" ; ").next()?;
    let mut words: Vec<&str> = call.split(' ').filter(|w| !w.is_empty()).collect();
    // The call ends with "-o <object> <source>".
    let end = words.iter().rposition(|w| *w == "-o")?;
    words.truncate(end);
    words.retain(|w| !w.starts_with("-Wp,-M"));
    words.insert(1, "-I\"$INCLUDE_FIRST\"");
    Some(words.join(" "))
}

/// Joins the faults of all proofs to an error.
pub fn failure(proofs: &[Proof]) -> Option<Error> {
    let errors = proofs.iter().flat_map(|p| {
        p.faults
            .iter()
            .map(move |f| Error::new(format!("{} patch {}: {f}", p.series, p.patch)))
    });
    Error::all(errors.collect())
}

/// Formats the proofs for a reader.
pub fn text(proofs: &[Proof]) -> String {
    let mut text = String::new();
    for proof in proofs {
        text.push_str(&format!(
            "{} patch {}, step {:?}\n",
            proof.series, proof.patch, proof.step
        ));
        for (from, to) in &proof.moved {
            text.push_str(&format!("  moved    {from} -> {to}\n"));
        }
        for word in &proof.words {
            text.push_str(&format!(
                "  {:>4} -> {:<4} {} -> {}{}\n",
                word.before,
                word.after,
                word.old,
                word.new,
                match word.met {
                    0 => String::new(),
                    n => format!(", which occurs {n} times before"),
                }
            ));
        }
        let sum = |of: fn(&Renamed) -> usize| proof.words.iter().map(of).sum::<usize>();
        if !proof.words.is_empty() {
            text.push_str(&format!(
                "  {:>4} -> {:<4} in total, {}\n",
                sum(|w| w.before),
                sum(|w| w.after - w.met),
                plural::count(proof.words.len(), "word", "words")
            ));
        }
        for kept in &proof.kept {
            text.push_str(&format!(
                "  {:>4} kept    {:?}: {}\n",
                kept.times, kept.text, kept.why
            ));
        }
        if let Some(object) = &proof.object {
            text.push_str(&format!(
                "  object   {}: {}, {} bytes of code, {}: {}\n",
                object.source,
                plural::count(object.functions, "function", "functions"),
                object.code,
                plural::count(object.exports.len(), "export", "exports"),
                match proof.faults.is_empty() {
                    true => "the same except for names",
                    false => "see below",
                }
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter()
            .map(|(p, t)| (p.to_string(), t.as_bytes().to_vec()))
            .collect()
    }

    fn proof(old: &[(&str, &str)], new: &[(&str, &str)]) -> Proof {
        let file = std::path::Path::new("relocation.toml");
        let steps = crate::source::relocation::read(
            file,
            "[[step]]\nname = \"s\"\nfiles = [\"a\"]\n[step.part]\nold = \"new\"\n\
             [[step.met]]\nword = \"new_file\"\nwhy = \"a file\"\n[[step.keep]]\ntext = \"old_print\"\nwhy = \"prints\"\n",
        );
        let mut proof = Proof {
            base: "v6.1.2".to_owned(),
            series: "x".into(),
            patch: 1,
            step: "s".into(),
            moved: BTreeMap::new(),
            words: Vec::new(),
            kept: Vec::new(),
            object: None,
            faults: Vec::new(),
        };
        count(&steps.unwrap()[0], &files(old), &files(new), &mut proof);
        proof
    }

    const OLD: &[(&str, &str)] = &[("a", "old_a old_b old_a"), ("b", "old_print old_a")];

    #[test]
    fn count_all_words_renamed() {
        let proof = proof(OLD, &[("a", "new_a new_b new_a"), ("b", "old_print new_a")]);
        assert_eq!(proof.faults, Vec::<String>::new());
        assert_eq!(
            text(&[proof]),
            "x patch 1, step \"s\"\n     3 -> 3    old_a -> new_a\n     1 -> 1    old_b -> new_b\n     \
             4 -> 4    in total, 2 words\n     1 kept    \"old_print\": prints\n"
        );
    }

    #[test]
    fn count_faults() {
        let faults = |new: &[(&str, &str)]| proof(OLD, new).faults.join("; ");
        let left = faults(&[("a", "new_a new_b old_a"), ("b", "old_print new_a")]);
        assert!(left.contains("a still contains old_a 1 times"), "{left}");
        assert!(
            left.contains(
                "old_a occurs 3 times and new_a 0 times before the step, new_a 2 times after it"
            ),
            "{left}"
        );
        let lost = faults(&[("a", "new_a new_a"), ("b", "old_print new_a")]);
        assert!(lost.contains("old_b occurs 1 times"), "{lost}");
        let exception = faults(&[("a", "new_a new_b new_a"), ("b", "new_print new_a")]);
        assert!(
            exception.contains("the exception \"old_print\" does not occur"),
            "{exception}"
        );
        let clash = proof(
            &[("a", "old_a new_a"), ("b", "old_print")],
            &[("a", "new_a new_a"), ("b", "old_print")],
        );
        assert!(
            clash.faults[0].contains("new_a is not a new name: it occurs 1 times"),
            "{:?}",
            clash.faults
        );
    }

    #[test]
    fn count_expected_existing_name() {
        let old = &[("a", "old_file new_file"), ("b", "old_print")];
        let good = proof(old, &[("a", "new_file new_file"), ("b", "old_print")]);
        assert_eq!(good.faults, Vec::<String>::new());
        let bad = proof(old, &[("a", "new_file"), ("b", "old_print")]);
        assert_eq!(bad.faults.len(), 1, "{:?}", bad.faults);
    }

    #[test]
    fn call_of_record() {
        let record = "savedcmd_a/b.o := clang-19 -Wp,-MMD,a/.b.o.d -nostdinc -DX='\"b\"'  -c -o a/b.o \
                      /k/a/b.c ; ./tools/objtool/objtool a/b.o\n\nsource_a/b.o := /k/a/b.c\n";
        assert_eq!(
            call_of(record).unwrap(),
            "clang-19 -I\"$INCLUDE_FIRST\" -nostdinc -DX='\"b\"' -c"
        );
        assert_eq!(call_of("nothing"), None);
    }
}
