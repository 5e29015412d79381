// SPDX-License-Identifier: GPL-2.0

//! Wrong uses of the macros do not compile, and the compiler says why.

/// The messages are those of one compiler.
#[rustversion::stable(1.95)]
#[test]
fn wrong_uses_do_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}

#[rustversion::not(stable(1.95))]
#[test]
#[ignore = "the expected messages are those of rustc 1.95"]
fn wrong_uses_do_not_compile() {
    println!("skipped: the expected messages are those of rustc 1.95, and this is another one");
}
