// SPDX-License-Identifier: GPL-2.0

//! Builds the C code of the kernel tree, and its bindings.

use bindgen::callbacks::{DeriveInfo, ItemInfo, ItemKind, ParseCallbacks};
use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

#[path = "../../build/tree.rs"]
mod tree;
use tree::Tree;

/// The files of `rust/helpers` that are compiled and bound, without `.c`.
const HELPERS: &[&str] = &["err", "gpu", "list", "mutex", "rbtree", "sync"];

/// The C files of the kernel tree that are compiled unmodified.
const TREE_C: &[&str] = &["drivers/gpu/buddy.c", "lib/hweight.c", "lib/rbtree.c"];

/// The C files of the stand-in that use kernel headers.
const KERNEL_C: &[&str] = &[
    "c/bench_buddy.c",
    "c/bench_fragmentation.c",
    "c/bench_list.c",
    "c/test_buddy.c",
    "c/test_list.c",
];

/// The constants of the kernel's `bindings_helper.h` that are included, by parts of their names.
const CONSTANTS: &[&str] = &["HELPER_GPU_BUDDY_", "HELPER_GFP_", "HELPER___GFP_"];

/// The allocator before the series, for comparisons with the allocator after it.
const BASE_C: &str = "base/drivers/gpu/drm/drm_buddy.c";

/// The C files of the stand-in that use the host's headers: the fakes below the FFI seam.
const HOST_C: &[&str] = &["c/alloc.c", "c/mutex.c", "c/time.c", "c/warn.c"];

/// Headers below `asm/` that are their `asm-generic` namesakes, as the kernel's own build generates
/// them for architectures without their own. The host tests run one thread, so compiler barriers
/// are sufficient as barriers.
const ASM_GENERIC: &[&str] = &[
    "barrier",
    "bitsperlong",
    "div64",
    "errno",
    "linkage",
    "percpu_types",
    "posix_types",
    "rwonce",
    "types",
];

fn main() {
    for path in ["build", "c", "include", "../build/tree.rs"] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-env-changed=CC");

    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    let build = Build {
        tree: Tree::locate("../../../.."),
        c_tree: Tree::locate_c("../../../.."),
        debug_list: env::var_os("CARGO_FEATURE_DEBUG_LIST").is_some(),
        out,
    };
    build.generated_headers();
    build.ffi();
    build.c_code();
    build.bindings();
}

struct Build {
    /// The tree of the default base, whose Rust files the other crates use.
    tree: Tree,
    /// The tree whose C code is compiled and bound.
    c_tree: Tree,
    out: PathBuf,
    debug_list: bool,
}

impl Build {
    /// Writes `generated/autoconf.h` and the `asm` headers, which a kernel build generates as well.
    fn generated_headers(&self) {
        let mut autoconf = String::from("#define CONFIG_64BIT 1\n#define CONFIG_GPU_BUDDY 1\n");
        if self.augmented() {
            autoconf += "#define HOST_BUDDY_AUGMENTED 1\n";
        }
        if self.debug_list {
            autoconf += "#define CONFIG_LIST_HARDENED 1\n#define CONFIG_DEBUG_LIST 1\n";
        }
        let include = self.out.join("include");
        write_file(&include.join("generated/autoconf.h"), &autoconf);
        for name in ASM_GENERIC {
            write_file(
                &include.join(format!("asm/{name}.h")),
                &format!("#include <asm-generic/{name}.h>\n"),
            );
        }
        write_file(
            &include.join("generated/const_helpers.h"),
            &self.const_helpers(),
        );
    }

    /// Whether the allocator is the augmented one that `include/host/buddy.h` describes.
    fn augmented(&self) -> bool {
        let header = self.c_tree.file("include/linux/gpu_buddy.h");
        let text = fs::read_to_string(header).unwrap();
        text.contains("subtree_max_alignment")
    }

    /// Returns the constants of the kernel's `bindings_helper.h` for the compiled code: statements
    /// such as `const u64 RUST_CONST_HELPER_GPU_BUDDY_FOO = GPU_BUDDY_FOO;`.
    fn const_helpers(&self) -> String {
        let text = fs::read_to_string(self.tree.file("rust/bindings/bindings_helper.h")).unwrap();
        text.split_inclusive(";\n")
            .filter_map(|statement| statement.rfind("const ").map(|at| &statement[at..]))
            .filter(|statement| CONSTANTS.iter().any(|name| statement.contains(name)))
            .collect()
    }

    /// The C types as the kernel maps them.
    fn ffi(&self) {
        let ffi = self.tree.module("pub mod ffi", "rust/ffi.rs");
        write_file(&self.out.join("ffi.rs"), &ffi);
    }

    /// Returns the flags of every compilation with the kernel headers of a tree.
    fn kernel_flags(&self, tree: &Tree) -> Vec<String> {
        let mut flags: Vec<String> = [
            "-nostdinc",
            "-std=gnu11",
            "-ffreestanding",
            "-fshort-wchar",
            "-funsigned-char",
            "-fno-common",
            "-fno-strict-aliasing",
            "-fno-delete-null-pointer-checks",
            "-D__KERNEL__",
            // Defines EXPORT_SYMBOL() as empty.
            "-D__DISABLE_EXPORTS",
        ]
        .map(String::from)
        .into();
        for dir in [
            PathBuf::from("include").canonicalize().unwrap(),
            self.out.join("include"),
            tree.folder("include"),
            tree.folder("include/uapi"),
        ] {
            flags.push(format!("-I{}", dir.display()));
        }
        for header in ["linux/kconfig.h", "linux/compiler_types.h"] {
            flags.extend(["-include".into(), header.into()]);
        }
        flags
    }

    /// Compiles the C code.
    fn c_code(&self) {
        let mut kernel = self.kernel_compiler(&self.c_tree);
        kernel.files(KERNEL_C).files(self.helpers());
        kernel.files(TREE_C.iter().map(|path| self.c_tree.file(path)));
        if self.debug_list {
            kernel.file(self.c_tree.file("lib/list_debug.c"));
        }
        // The kernel uses this level as well, so that the benchmark is a fair comparison.
        kernel.opt_level(2).compile("kernel_c");

        let mut base = self.kernel_compiler(&self.tree);
        base.include(self.tree.folder("base/include"));
        base.files([
            self.tree.file(BASE_C),
            "c/bench_fragmentation_base.c".into(),
        ]);
        base.opt_level(2).compile("kernel_base");

        compiler().files(HOST_C).opt_level(2).compile("kernel_host");
    }

    fn kernel_compiler(&self, tree: &Tree) -> cc::Build {
        let mut build = compiler();
        for flag in self.kernel_flags(tree) {
            build.flag(flag);
        }
        build
    }

    fn helpers(&self) -> Vec<PathBuf> {
        HELPERS
            .iter()
            .map(|name| self.tree.file(&format!("rust/helpers/{name}.c")))
            .collect()
    }

    /// Runs bindgen as the kernel's `rust/Makefile` does: once for the headers and once for the
    /// helpers, whose functions lose their prefix.
    fn bindings(&self) {
        self.bindgen()
            .header("include/bindings_helper.h")
            .parse_callbacks(Box::new(DeriveMaybeZeroable))
            .parse_callbacks(Box::new(StripConstPrefix))
            .blocklist_type("__kernel_s?size_t|__kernel_ptrdiff_t")
            // bindgen does not support this calling convention; see `rust/bindgen_parameters`.
            .blocklist_function("__list_.*_report")
            .generate()
            .expect("bindgen on the headers of the kernel tree")
            .write_to_file(self.out.join("bindings_generated.rs"))
            .unwrap();

        let includes = self.helpers().iter().fold(String::new(), |mut text, path| {
            writeln!(text, "#include {path:?}").unwrap();
            text
        });
        self.bindgen()
            .header_contents("helpers.h", &includes)
            .parse_callbacks(Box::new(StripHelperPrefix))
            .blocklist_type(".*")
            .allowlist_var("")
            .allowlist_function("rust_helper_.*")
            .generate()
            .expect("bindgen on the helpers of the kernel tree")
            .write_to_file(self.out.join("bindings_helpers_generated.rs"))
            .unwrap();
    }

    fn bindgen(&self) -> bindgen::Builder {
        bindgen::builder()
            // A change of any header starts a new build.
            .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()))
            .clang_args(self.kernel_flags(&self.c_tree))
            .clang_args(["-w", "-fno-builtin", "-D__BINDGEN__"])
            .use_core()
            .ctypes_prefix("ffi")
            .layout_tests(false)
            .generate_comments(false)
            .derive_default(true)
            .no_debug(".*")
            .enable_function_attribute_detection()
    }
}

/// Returns the compiler of the C code: `$CC`, or clang, which has rustc's code generator, so that the
/// benchmark compares languages. `cc` passes rustc's sanitizer flags on to it.
fn compiler() -> cc::Build {
    let mut build = cc::Build::new();
    if env::var_os("CC").is_none() {
        if let Some(clang) = ["clang-19", "clang"].into_iter().find(|name| runs(name)) {
            build.compiler(clang);
        }
    }
    build.extra_warnings(false).warnings_into_errors(true);
    build
}

fn runs(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The kernel's types are `Zeroable` when all their fields are.
#[derive(Debug)]
struct DeriveMaybeZeroable;

/// Constants that are helped over have no prefix either, as the kernel's `rust/Makefile` has it.
#[derive(Debug)]
struct StripConstPrefix;

impl ParseCallbacks for StripConstPrefix {
    fn item_name(&self, item: ItemInfo<'_>) -> Option<String> {
        item.name
            .strip_prefix("RUST_CONST_HELPER_")
            .map(String::from)
    }
}

impl ParseCallbacks for DeriveMaybeZeroable {
    fn add_derives(&self, _: &DeriveInfo<'_>) -> Vec<String> {
        vec!["MaybeZeroable".into()]
    }
}

/// Rust calls `rust_helper_foo()` by the name `foo()`.
#[derive(Debug)]
struct StripHelperPrefix;

impl ParseCallbacks for StripHelperPrefix {
    fn item_name(&self, item: ItemInfo<'_>) -> Option<String> {
        match item.kind {
            ItemKind::Function => item.name.strip_prefix("rust_helper_").map(String::from),
            _ => None,
        }
    }
}

/// Writes a file unless it has that text already: headers keep their time stamp.
fn write_file(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
