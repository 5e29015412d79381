// SPDX-License-Identifier: GPL-2.0

//! Compares two object files that may differ in names only.
//!
//! The comparison covers everything that the linker and the processor see: the bytes of each
//! section, its relocations, and the symbols. Names in symbols and in data, such as the name of a
//! slab cache or an export, are translated first. Code is compared as it is.

use std::collections::BTreeMap;

use object::{
    File, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex,
    SectionKind, SymbolKind,
};
use serde::Serialize;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Object {
    pub source: String,
    pub functions: usize,
    /// The bytes of code.
    pub code: u64,
    /// The new names of the exported symbols.
    pub exports: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Section {
    flags: String,
    size: u64,
    data: Vec<u8>,
    relocations: Vec<Relocation>,
}

/// A relocation: offset, encoding, target and addend.
type Relocation = (u64, String, String, i64);

/// Translates the names in a text.
type Rename<'a> = &'a dyn Fn(&str) -> String;

/// A symbol: section, value, size and kind.
type Symbol = (String, u64, u64, String);

#[derive(Debug, Default)]
struct Parts {
    sections: BTreeMap<String, Vec<Section>>,
    symbols: BTreeMap<String, Vec<Symbol>>,
    object: Object,
}

/// Compares `old`, whose names `rename` translates, with `new`. Also returns the differences.
pub fn compare(
    source: &str,
    old: &[u8],
    new: &[u8],
    rename: Rename<'_>,
) -> Result<(Object, Vec<String>), String> {
    let old = parts(old, rename)?;
    let new = parts(new, &str::to_owned)?;
    let mut differences = Vec::new();
    differ("section", &old.sections, &new.sections, &mut differences);
    differ("symbol", &old.symbols, &new.symbols, &mut differences);
    if old.object.exports != new.object.exports {
        differences.push("the lists of exported symbols".to_owned());
    }
    if new.object.functions == 0 {
        differences.push("no function to compare".to_owned());
    }
    let source = source.to_owned();
    Ok((
        Object {
            source,
            ..new.object
        },
        differences,
    ))
}

fn differ<T: PartialEq>(
    what: &str,
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    differences: &mut Vec<String>,
) {
    for (name, one) in old {
        match new.get(name) {
            None => differences.push(format!("{what} {name} is gone")),
            Some(other) if other != one => differences.push(format!("{what} {name} differs")),
            Some(_) => (),
        }
    }
    for name in new.keys().filter(|n| !old.contains_key(*n)) {
        differences.push(format!("{what} {name} is new"));
    }
}

fn parts(bytes: &[u8], rename: Rename<'_>) -> Result<Parts, String> {
    let file = File::parse(bytes).map_err(|e| format!("not an object file: {e}"))?;
    let mut parts = Parts::default();
    let object = &mut parts.object;
    for section in file.sections() {
        // Skip the tables of names, and sections about the source and the compiler.
        let of_names = matches!(
            section.kind(),
            SectionKind::Metadata | SectionKind::Debug | SectionKind::DebugString
        );
        let name = section.name().unwrap_or("?");
        if of_names || [".comment", ".llvm_addrsig"].contains(&name) {
            continue;
        }
        let mut data = section.data().map_err(|e| format!("{name}: {e}"))?.to_vec();
        if section.kind() == SectionKind::Text {
            object.code += section.size();
        } else {
            data = renamed_bytes(&data, rename);
        }
        let relocations =
            relocations(&file, &section, rename).map_err(|e| format!("{name}: {e}"))?;
        if name.contains("export_symbol") {
            let targets = relocations.iter().map(|(_, _, target, _)| target.clone());
            object.exports.extend(targets);
        }
        let all = parts.sections.entry(rename(name)).or_default();
        all.push(Section {
            flags: format!("{:?}", section.flags()),
            size: section.size(),
            data,
            relocations,
        });
    }
    for symbol in file.symbols() {
        if matches!(symbol.kind(), SymbolKind::Section | SymbolKind::File) {
            continue;
        }
        let section = symbol.section_index();
        object.functions += usize::from(symbol.kind() == SymbolKind::Text && section.is_some());
        let section = section.map_or("-".to_owned(), |index| section_name(&file, index, rename));
        let what = format!("{:?} {:?}", symbol.kind(), symbol.scope());
        let name = rename(symbol.name().unwrap_or("?"));
        let all = parts.symbols.entry(name).or_default();
        all.push((section, symbol.address(), symbol.size(), what));
    }
    parts.symbols.values_mut().for_each(|all| all.sort());
    object.exports.sort();
    Ok(parts)
}

fn relocations(
    file: &File<'_>,
    section: &object::Section<'_, '_>,
    rename: Rename<'_>,
) -> Result<Vec<Relocation>, String> {
    let mut all = Vec::new();
    for (offset, relocation) in section.relocations() {
        let target = match relocation.target() {
            RelocationTarget::Symbol(index) => {
                let symbol = file.symbol_by_index(index).map_err(|e| e.to_string())?;
                match symbol.section_index() {
                    Some(index) if symbol.kind() == SymbolKind::Section => {
                        section_name(file, index, rename)
                    }
                    _ => rename(symbol.name().unwrap_or("?")),
                }
            }
            other => format!("{other:?}"),
        };
        let encoding = format!("{:?}", relocation.flags());
        all.push((offset, encoding, target, relocation.addend()));
    }
    Ok(all)
}

fn section_name(file: &File<'_>, index: SectionIndex, rename: Rename<'_>) -> String {
    let section = file.section_by_index(index).ok();
    rename(section.as_ref().and_then(|s| s.name().ok()).unwrap_or("?"))
}

fn renamed_bytes(data: &[u8], rename: Rename<'_>) -> Vec<u8> {
    // One character per byte keeps data that is not UTF-8.
    let text: String = data.iter().map(|b| char::from(*b)).collect();
    let back = |c: char| u8::try_from(u32::from(c)).unwrap_or(b'?');
    rename(&text).chars().map(back).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    use super::*;

    /// Compiles C with the compiler of the host.
    fn compile(source: &str) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("x.o");
        let mut child = Command::new("cc")
            .args(["-x", "c", "-O1", "-c", "-o"])
            .arg(&out)
            .arg("-")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(source.as_bytes())
            .unwrap();
        assert!(child.wait().unwrap().success());
        std::fs::read(out).unwrap()
    }

    const OLD: &str = "
const char *old_name = \"old_cache\";
static int old_state;
__attribute__((noinline)) static int old_add(int x) { return old_state += x; }
int old_get(int x) { return old_add(x) * 3; }
extern int (*const old_exported)(int);
__attribute__((section(\".export_symbol\"))) int (*const old_exported)(int) = old_get;
";

    fn rename(text: &str) -> String {
        text.replace("old_", "new_")
    }

    fn differences(new: &str) -> Vec<String> {
        compare("x.c", &compile(OLD), &compile(new), &rename)
            .unwrap()
            .1
    }

    #[test]
    fn compare_renamed_is_same() {
        let (old, new) = (compile(OLD), compile(&rename(OLD)));
        let (same, differences) = compare("x.c", &old, &new, &rename).unwrap();
        assert_eq!(differences, Vec::<String>::new());
        assert_eq!(same.functions, 2);
        assert!(same.code > 0);
        assert_eq!(same.exports, ["new_get"]);
    }

    #[test]
    fn compare_finds_differences() {
        let new = rename(OLD);
        for (what, other) in [
            ("code", new.replace("* 3", "* 5")),
            ("data", new.replace("_cache", "_cashe")),
            (
                "a callee",
                new.replace("new_add(x) * 3", "new_get2(x) * 3")
                    .replace("int new_get(", "int new_get2(int x);\nint new_get("),
            ),
            (
                "a symbol's scope",
                new.replace("static int new_state", "int new_state"),
            ),
            (
                "an export",
                new.replace("= new_get;", "= new_other;").replace(
                    "extern int",
                    "int new_other(int x) { return x; }\nextern int",
                ),
            ),
            ("a name that was not translated", OLD.to_owned()),
        ] {
            assert!(!differences(&other).is_empty(), "{what}");
        }
    }

    #[test]
    fn compare_other_file_fails() {
        assert!(compare("x.c", b"hello", &compile(OLD), &rename).is_err());
    }
}
