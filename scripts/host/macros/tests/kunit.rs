// SPDX-License-Identifier: GPL-2.0

//! A KUnit suite becomes tests of the host. A lost suite would not fail any other test.

use std::{env, process::Command};

#[macros::kunit_tests(rust_example)]
mod tests {
    #[test]
    fn a_case() {}

    #[test]
    fn a_case_with_a_result() -> Result<(), &'static str> {
        Ok(())
    }
}

#[test]
fn suite_becomes_host_tests() {
    let output = Command::new(env::current_exe().unwrap())
        .arg("--list")
        .output()
        .unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    for case in ["tests::a_case: test", "tests::a_case_with_a_result: test"] {
        assert!(list.lines().any(|line| line == case), "{list}");
    }
}
