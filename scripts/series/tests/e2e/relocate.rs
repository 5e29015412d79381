// SPDX-License-Identifier: GPL-2.0

//! A move of files with renamed symbols, created from the base and a preceding fix.

use crate::mini::Mini;

const MOVE: &str = r#"
[[step]]
name = "files"

[step.move]
"drm/a.c" = "gpu/a.c"
"drm/a.h" = "linux/a.h"

[[step.text]]
old = "<drm/a.h>"
new = "<linux/a.h>"
files = ["gpu/a.c", "drm/user.c"]

[[step]]
name = "symbols"
files = ["gpu/a.c", "linux/a.h", "drm/user.c"]

[step.part]
drm_a = "gpu_a"
"#;

const PATCHES: &str = r#"
[[patch]]
message = "1.msg"
edits = ["1.diff"]

[[patch]]
message = "2.msg"
relocate = "files"
edits = ["2.diff"]

[[patch]]
message = "3.msg"
relocate = "symbols"

[[patch]]
message = "4.msg"
edits = ["4.diff"]
"#;

const SOURCE: &str = "#include <drm/a.h>\n\nint drm_a_one(void)\n{\n\treturn 1;\n}\n\n\
                      int drm_a_two(void)\n{\n\treturn 2;\n}\n";

const FIX: &str =
    " #include <drm/a.h>\n \n int drm_a_one(void)\n {\n-\treturn 1;\n+\treturn 3;\n }\n";

/// Returns a change of the moved file with its new names.
fn later(prefix: &str) -> String {
    format!(
        " #include <linux/a.h>\n \n int {prefix}_one(void)\n {{\n-\treturn 3;\n+\treturn 4;\n }}\n"
    )
}

pub fn mini() -> Mini {
    let mini = Mini::with(&[
        ("drm/a.c", 0o644, SOURCE),
        (
            "drm/a.h",
            0o644,
            "int drm_a_one(void);\nint drm_a_two(void);\n",
        ),
        (
            "drm/user.c",
            0o755,
            "#include <drm/a.h>\nint x(void) { return drm_a_one(); }\n",
        ),
        ("drm/Makefile", 0o644, "obj-y += a.o user.o\n"),
    ]);
    mini.series("move", &[], PATCHES);
    mini.file("ws/move/relocation.toml", MOVE);
    // The move includes a preceding fix.
    mini.edit("move", "1.diff", "drm/a.c", FIX, (6, 6));
    mini.edit(
        "move",
        "2.diff",
        "drm/Makefile",
        "-obj-y += a.o user.o\n+obj-y += user.o\n",
        (1, 1),
    );
    // A later change uses the new names.
    mini.edit("move", "4.diff", "gpu/a.c", &later("gpu_a"), (6, 6));
    for n in 1..=4 {
        mini.message("move", &format!("{n}.msg"), &format!("gpu: a: step {n}"));
    }
    mini
}

#[test]
fn move_includes_preceding_fix() {
    let mini = mini();
    mini.good(&["assemble"]);
    let report = mini.series_report("move");
    assert_eq!(report["applies"], true);
    let kernel = mini.path("cache/kernel");
    let show = |n: usize, path: &str| {
        let commit = report["patches"][n]["commit"].as_str().unwrap();
        mini.git(&kernel, &["show", &format!("{commit}:{path}")])
    };
    assert_eq!(
        show(1, "gpu/a.c"),
        SOURCE
            .replace("drm/a.h", "linux/a.h")
            .replace("return 1", "return 3")
            .trim_end()
    );
    assert!(show(2, "gpu/a.c").contains("int gpu_a_one(void)\n{\n\treturn 3;"));
    assert!(show(3, "gpu/a.c").contains("int gpu_a_one(void)\n{\n\treturn 4;"));
    assert_eq!(
        show(3, "drm/user.c"),
        "#include <linux/a.h>\nint x(void) { return gpu_a_one(); }"
    );
    let tree = mini.git(
        &kernel,
        &["ls-tree", "-r", report["tip"]["tree"].as_str().unwrap()],
    );
    assert!(
        !tree.contains("drm/a.") && tree.contains("\tlinux/a.h"),
        "{tree}"
    );
    // A file keeps its mode.
    let user = tree.lines().find(|l| l.ends_with("drm/user.c")).unwrap();
    assert!(user.starts_with("100755"), "{user}");
    let patch = mini.read("out/move/v1/0002-gpu-a-step-2.patch");
    assert!(
        patch.contains("rename from drm/a.c\nrename to gpu/a.c\n"),
        "{patch}"
    );
}

#[test]
fn mailbox_gives_recorded_tree() {
    let mini = mini();
    mini.good(&["assemble"]);
    let pristine = mini.pristine("pristine");
    let mbox = mini.ws("out/move/v1.mbox");
    mini.git(&pristine, &["am", "--quiet", mbox.to_str().unwrap()]);
    let tree = mini.git(&pristine, &["rev-parse", "HEAD^{tree}"]);
    assert_eq!(mini.series_report("move")["tip"]["tree"], tree.as_str());
}

#[test]
fn changed_relocation_is_detected() {
    let mini = mini();
    mini.good(&["assemble"]);
    let before = mini.series_report("move")["tip"].clone();
    mini.file(
        "ws/move/relocation.toml",
        &MOVE.replace("\"gpu_a\"", "\"gpu_b\""),
    );
    mini.edit("move", "4.diff", "gpu/a.c", &later("gpu_b"), (6, 6));
    mini.good(&["assemble"]);
    assert_ne!(mini.series_report("move")["tip"], before);
}

#[test]
fn invalid_steps_name_file_and_line() {
    let say = |change: &dyn Fn(&Mini)| {
        let mini = mini();
        change(&mini);
        let ran = mini.run(&["assemble"]);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        ran.stderr
    };
    let data = |text: String| move |mini: &Mini| mini.file("ws/move/relocation.toml", &text);
    let said = say(&data(MOVE.replace("drm/a.h\"", "drm/b.h\"")));
    assert!(
        said.contains("move/relocation.toml:2: drm/b.h moves, but does not exist"),
        "{said}"
    );
    let said = say(&data(MOVE.replace("drm/a.c\"", "../a.c\"")));
    assert!(
        said.contains("move/relocation.toml:2: \"../a.c\" is outside the component"),
        "{said}"
    );
    let said = say(&data(MOVE.replace("gpu/a.c\"", "list.rs\"")));
    assert!(
        said.contains("moves or changes list.rs, which is a file of list"),
        "{said}"
    );
    let said = say(&data(MOVE.replace(
        "files = [\"gpu/a.c\", \"linux",
        "filez = [\"gpu/a.c\", \"linux",
    )));
    assert!(
        said.contains("move/relocation.toml:16: unknown field `filez`"),
        "{said}"
    );
    let said = say(&data(MOVE.replace("\"symbols\"", "\"names\"")));
    assert!(
        said.contains("series/move.toml:17: unknown step \"symbols\""),
        "{said}"
    );
    assert!(said.contains("no patch uses the step \"names\""), "{said}");
    let said = say(&|mini: &Mini| {
        let patches = PATCHES
            .replace("\"files\"", "\"x\"")
            .replace("\"symbols\"", "\"files\"");
        mini.series("move", &[], &patches.replace("\"x\"", "\"symbols\""));
    });
    assert!(
        said.contains("the step \"symbols\" is used twice or out of order"),
        "{said}"
    );
}
