// SPDX-License-Identifier: GPL-2.0

//! Tables of text.

use comfy_table::{Row, Table, presets};

/// Formats a table in Markdown. ` | ` separates the columns of the header.
pub fn markdown<R: Into<Row>>(header: &str, rows: impl IntoIterator<Item = R>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .set_header(header.split(" | "))
        .add_rows(rows);
    table.to_string()
}
