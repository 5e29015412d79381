// SPDX-License-Identifier: GPL-2.0

//! Proves that a relocation step changes nothing else: each occurrence of a word is renamed, none
//! remains, and the object code is the same.

mod object;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::Serialize;

use self::object::Object;
use crate::{
    git::{Git, Oid, PatchCommit},
    kernel::build::Build,
    patches::commits::{Assembled, AssembledSeries},
    source::relocation::{
        Files, Step,
        words::{Count, words},
    },
    sys::{Cmd, Error, Result, files, must, plural},
};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Proof {
    base: String,
    series: String,
    patch: usize,
    step: String,
    /// The new paths of moved files, by the old path.
    moved: BTreeMap<String, String>,
    words: Vec<Renamed>,
    kept: Vec<Kept>,
    /// The comparison of object code, if the step names a source.
    object: Option<Object>,
    /// Empty if the proof succeeded.
    faults: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Renamed {
    old: String,
    new: String,
    /// Occurrences of the old name before the step.
    before: usize,
    /// Occurrences of the new name before the step.
    met: usize,
    /// Occurrences of the new name after the step.
    after: usize,
}

/// A text that the step does not rename.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Kept {
    text: String,
    why: String,
    times: usize,
}

/// A series whose relocation steps are proved.
pub struct Subject<'a> {
    pub git: &'a Git<'a>,
    pub assembled: &'a Assembled,
    pub one: &'a AssembledSeries,
    /// A finished build of the assembled tree, which recorded the compiler calls.
    pub build: &'a Build<'a>,
}

impl Subject<'_> {
    /// Proves every step of the series. Faults of a step are in its [`Proof`].
    pub fn prove(&self, base: &str) -> Result<Vec<Proof>> {
        let mut proofs = Vec::new();
        for (number, (patch, before, after)) in (1..).zip(self.one.steps()) {
            let Some(step) = &patch.relocate else {
                continue;
            };
            let name = self.one.name();
            let ui = self.build.ui;
            ui.say(format!("{name}: proving the step {:?} …", step.name));
            let mut proof = Proof {
                base: base.to_owned(),
                series: name.to_owned(),
                patch: number,
                step: step.name.clone(),
                moved: step.moves.clone(),
                ..Proof::default()
            };
            if step.renames_words() {
                let paths = self.candidates(step)?;
                let old = self.git.files(&before.tree, &paths)?;
                let new = self.git.files(&after.tree, &paths)?;
                count(step, &old, &new, &mut proof);
            }
            if let Some(source) = &step.object {
                self.compare(step, &source.value, [before, after], &mut proof)?;
            }
            proofs.push(proof);
        }
        Ok(proofs)
    }

    /// Returns the files of the base that may contain a word of the rules, and all touched files.
    fn candidates(&self, step: &Step) -> Result<Vec<String>> {
        let names = self.one.below.iter().map(String::as_str);
        let series = names.filter_map(|name| self.assembled.find(name).ok());
        let patches = series.chain([self.one]).flat_map(|s| &s.plan.patches);
        let touched = patches.flat_map(|p| p.paths()).map(str::to_owned);
        let pairs = step.parts.iter().chain(&step.words);
        // New names must not occur in the base, so search for them as well.
        let needles: BTreeSet<&str> = pairs.flat_map(|(old, new)| [&old[..], &new[..]]).collect();
        let (base, cache) = (&self.assembled.base.tree, self.build.cache);
        let found = self.git.files_with(base, &Vec::from_iter(needles), cache)?;
        let paths: BTreeSet<String> = touched.chain(found).collect();
        Ok(paths.into_iter().collect())
    }

    /// Compares the object code of a source before and after a step.
    fn compare(
        &self,
        step: &Step,
        source: &str,
        [before, after]: [&PatchCommit; 2],
        proof: &mut Proof,
    ) -> Result<()> {
        let moved = step.moves.iter().find(|(_, to)| *to == source);
        let was = moved.map_or(source, |(from, _)| from);
        let old = self.compile(&before.tree, was, source)?;
        let new = self.compile(&after.tree, source, source)?;
        let rename = |text: &str| step.rename_in_object(text);
        let (object, differences) = object::compare(source, &old, &new, &rename)
            .map_err(|what| Error::new(format!("{source}: {what}")))?;
        let fault = |what: String| format!("the object code of {source} differs: {what}");
        proof.faults.extend(differences.into_iter().map(fault));
        proof.object = Some(object);
        Ok(())
    }

    /// Compiles a source of a tree with the recorded call for `like`.
    ///
    /// The file name is the same for both sides, because it may occur in the object code. Line
    /// numbers are compared as well, because a proved step must not move lines of code.
    fn compile(&self, tree: &Oid, source: &str, like: &str) -> Result<Vec<u8>> {
        let scratch = self.build.cache.scratch()?;
        let touched = self.one.plan.patches.iter().flat_map(|p| p.paths());
        let headers = touched.filter(|p| p.starts_with("include/"));
        let paths: BTreeSet<String> = headers.chain([source]).map(str::to_owned).collect();
        let files = self.git.files(tree, &Vec::from_iter(paths))?;
        let Some(content) = files.get(source) else {
            return Err(Error::new(format!("the patches have no {source}")));
        };
        for (path, content) in &files {
            files::write(&scratch.path().join(path), content)?;
        }
        let input = scratch.path().join("source.c");
        let output = scratch.path().join("object.o");
        let named = [b"#line 1 \"source.c\"\n", &content[..]].concat();
        files::write(&input, &named)?;
        let call = self.call(like)?;
        let cmd = Cmd::new("sh")
            .args(["-c", &format!("exec {call} \"$@\""), "sh", "-o"])
            .args([&output, &input])
            .env("INCLUDE_FIRST", scratch.path().join("include"))
            .dir(self.build.dir());
        must(self.git.runner(), &self.build.toolchain.apply(cmd))?;
        files::read(&output)
    }

    /// Returns the recorded compiler call for the object of `source`, without input and output.
    fn call(&self, source: &str) -> Result<String> {
        let object = Path::new(source).with_extension("o");
        let name = object.file_name().unwrap_or_default().display();
        let record = object.with_file_name(format!(".{name}.cmd"));
        let record = self.build.dir().join(record);
        let text = fs::read_to_string(&record).map_err(|e| {
            let help = "the kernel configuration has to include this source";
            Error::io("read", &record, &e).help(help)
        })?;
        call_of(&text)
            .ok_or_else(|| Error::new("is not the record of a compiler call").at(&record, None))
    }
}

fn tally(files: &Files) -> BTreeMap<&str, usize> {
    let mut tally = BTreeMap::new();
    for (_, word) in files.values().flat_map(|content| words(content)) {
        if let Ok(word) = std::str::from_utf8(word) {
            *tally.entry(word).or_default() += 1;
        }
    }
    tally
}

fn count(step: &Step, old: &Files, new: &Files, proof: &mut Proof) {
    let mut renamed = Count::default();
    for (path, content) in old {
        step.rename_words(path, &String::from_utf8_lossy(content), &mut renamed);
    }
    let (before, after) = (tally(old), tally(new));
    for (word, n) in renamed.renamed {
        let name = step.new_name(&word).unwrap_or_else(|| word.clone());
        let times = |tally: &BTreeMap<&str, usize>| tally.get(&*name).copied().unwrap_or(0);
        let (met, now) = (times(&before), times(&after));
        if met > 0 && !step.met.iter().any(|m| m.word == name) {
            proof.faults.push(format!(
                "{name} is not a new name: it occurs {met} times before the step"
            ));
        }
        if now != n + met {
            proof.faults.push(format!(
                "{word} occurs {n} times and {name} {met} times before the step, {name} {now} \
                 times after it"
            ));
        }
        proof.words.push(Renamed {
            old: word,
            new: name,
            before: n,
            met,
            after: now,
        });
    }
    let mut kept = Count::default();
    for (path, content) in new {
        step.rename_words(path, &String::from_utf8_lossy(content), &mut kept);
        let left = std::mem::take(&mut kept.renamed).into_iter();
        let fault = |(word, n)| format!("{path} still contains {word} {n} times");
        proof.faults.extend(left.map(fault));
    }
    for keep in step.keep.iter().map(|k| &k.value) {
        let times = kept.kept.get(&keep.text).copied().unwrap_or(0);
        if times == 0 {
            let fault = format!("the exception {:?} does not occur", keep.text);
            proof.faults.push(fault);
        }
        proof.kept.push(Kept {
            text: keep.text.clone(),
            why: keep.why.clone(),
            times,
        });
    }
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

pub fn failure(proofs: &[Proof]) -> Option<Error> {
    let faults = proofs
        .iter()
        .flat_map(|p| p.faults.iter().map(move |fault| (p, fault)));
    let error = |(p, fault): (&Proof, _)| format!("{} patch {}: {fault}", p.series, p.patch);
    Error::all(faults.map(error).map(Error::new)).err()
}

pub fn text(proofs: &[Proof]) -> String {
    let lines = proofs.iter().flat_map(lines);
    lines.map(|line| line + "\n").collect()
}

fn lines(proof: &Proof) -> Vec<String> {
    let (series, patch, words) = (&proof.series, proof.patch, &proof.words);
    let mut lines = vec![format!("{series} patch {patch}, step {:?}", proof.step)];
    for (from, to) in &proof.moved {
        lines.push(format!("  moved    {from} -> {to}"));
    }
    for word in words {
        let (before, after) = (word.before, word.after);
        let met = match word.met {
            0 => String::new(),
            n => format!(", which occurs {n} times before"),
        };
        let names = format!("{} -> {}", word.old, word.new);
        lines.push(format!("  {before:>4} -> {after:<4} {names}{met}"));
    }
    if !words.is_empty() {
        let before: usize = words.iter().map(|w| w.before).sum();
        let after: usize = words.iter().map(|w| w.after.saturating_sub(w.met)).sum();
        let count = plural::count(words.len(), "word", "words");
        lines.push(format!("  {before:>4} -> {after:<4} in total, {count}"));
    }
    for kept in &proof.kept {
        let (times, text) = (kept.times, &kept.text);
        lines.push(format!("  {times:>4} kept    {text:?}: {}", kept.why));
    }
    if let Some(object) = &proof.object {
        let (source, code) = (&object.source, object.code);
        let functions = plural::count(object.functions, "function", "functions");
        let exports = plural::count(object.exports.len(), "export", "exports");
        let result = if proof.faults.is_empty() {
            "the same except for names"
        } else {
            "see below"
        };
        lines.push(format!(
            "  object   {source}: {functions}, {code} bytes of code, {exports}: {result}"
        ));
    }
    lines
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
            ..Proof::default()
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
        let none = proof(old, &[("a", ""), ("b", "old_print")]);
        assert!(text(&[none]).contains("     1 -> 0    in total, 1 word\n"));
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
