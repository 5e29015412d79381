// SPDX-License-Identifier: GPL-2.0

//! Compares two object files that may differ in names only.
//!
//! The comparison covers everything that the linker and the processor see: the bytes of each
//! section, its relocations, and the symbols. Names in symbols and in data, such as the name of a
//! slab cache or an export, are translated first. Code is compared as it is.

use std::collections::BTreeMap;

use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionKind, SymbolKind,
};

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The number of compared functions.
    pub functions: usize,
    /// The number of compared bytes of code.
    pub code: u64,
    /// The new names of the exported symbols.
    pub exports: Vec<String>,
    /// The differences. Empty if the objects are the same except for names.
    pub differences: Vec<String>,
}

/// The relevant properties of a section.
#[derive(Debug, PartialEq, Eq)]
struct Section {
    flags: String,
    size: u64,
    data: Vec<u8>,
    /// Offset, encoding, target and addend.
    relocations: Vec<(u64, String, String, i64)>,
}

/// A symbol: section, value, size and kind.
type Symbol = (String, u64, u64, String);

#[derive(Debug, Default)]
struct Parts {
    sections: BTreeMap<String, Vec<Section>>,
    symbols: BTreeMap<String, Vec<Symbol>>,
    functions: usize,
    code: u64,
    exports: Vec<String>,
}

/// Compares `old`, whose names `rename` translates, with `new`.
///
/// # Errors
///
/// One of them is not an object file.
pub fn compare(
    old: &[u8],
    new: &[u8],
    rename: &dyn Fn(&str) -> String,
) -> Result<Comparison, String> {
    let old = parts(old, rename)?;
    let new = parts(new, &str::to_owned)?;
    let mut differences = Vec::new();
    differ("section", &old.sections, &new.sections, &mut differences);
    differ("symbol", &old.symbols, &new.symbols, &mut differences);
    if old.exports != new.exports {
        differences.push("the lists of exported symbols".to_owned());
    }
    if new.functions == 0 {
        differences.push("no function to compare".to_owned());
    }
    Ok(Comparison {
        functions: new.functions,
        code: new.code,
        exports: new.exports,
        differences,
    })
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

fn parts(bytes: &[u8], rename: &dyn Fn(&str) -> String) -> Result<Parts, String> {
    let file = object::File::parse(bytes).map_err(|e| format!("not an object file: {e}"))?;
    let name_of = |index| {
        let section = file.section_by_index(index).ok();
        let name = section.as_ref().and_then(|s| s.name().ok()).unwrap_or("?");
        rename(name)
    };
    let mut parts = Parts::default();
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
        let data = section.data().map_err(|e| format!("{name}: {e}"))?;
        let code = section.kind() == SectionKind::Text;
        let data = match code {
            true => data.to_vec(),
            false => renamed_bytes(data, rename),
        };
        parts.code += if code { section.size() } else { 0 };
        let mut relocations = Vec::new();
        for (offset, relocation) in section.relocations() {
            let target = match relocation.target() {
                RelocationTarget::Symbol(index) => match file.symbol_by_index(index) {
                    Ok(symbol) if symbol.kind() == SymbolKind::Section => {
                        symbol.section_index().map_or("?".to_owned(), &name_of)
                    }
                    Ok(symbol) => rename(symbol.name().unwrap_or("?")),
                    Err(e) => return Err(format!("{name}: {e}")),
                },
                other => format!("{other:?}"),
            };
            if name.contains("export_symbol") {
                parts.exports.push(target.clone());
            }
            let encoded = format!("{:?}", relocation.flags());
            relocations.push((offset, encoded, target, relocation.addend()));
        }
        let flags = format!("{:?}", section.flags());
        let (size, name) = (section.size(), rename(name));
        parts.sections.entry(name).or_default().push(Section {
            flags,
            size,
            data,
            relocations,
        });
    }
    for symbol in file.symbols() {
        if matches!(symbol.kind(), SymbolKind::Section | SymbolKind::File) {
            continue;
        }
        parts.functions +=
            usize::from(symbol.kind() == SymbolKind::Text && symbol.section_index().is_some());
        let section = symbol.section_index().map_or("-".to_owned(), &name_of);
        let what = format!("{:?} {:?}", symbol.kind(), symbol.scope());
        let name = rename(symbol.name().unwrap_or("?"));
        let all = parts.symbols.entry(name).or_default();
        all.push((section, symbol.address(), symbol.size(), what));
        all.sort();
    }
    parts.exports.sort();
    Ok(parts)
}

/// Translates the names in data.
fn renamed_bytes(data: &[u8], rename: &dyn Fn(&str) -> String) -> Vec<u8> {
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
        compare(&compile(OLD), &compile(new), &rename)
            .unwrap()
            .differences
    }

    #[test]
    fn compare_renamed_is_same() {
        let same = compare(&compile(OLD), &compile(&rename(OLD)), &rename).unwrap();
        assert_eq!(same.differences, Vec::<String>::new());
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
        assert!(compare(b"hello", &compile(OLD), &rename).is_err());
    }
}
