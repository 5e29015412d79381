// SPDX-License-Identifier: GPL-2.0

//! Formats the report as one HTML file without scripts and external resources.

use minijinja::{Environment, Value, context, value::Serde};

use super::Page;

/// The name of the template. The ending makes minijinja escape all values.
const NAME: &str = "report.html";

/// Returns the content of `out/report.html`.
pub fn html(page: &Page) -> String {
    let mut environment = Environment::new();
    let template = include_str!("page.html");
    environment
        .add_template(NAME, template)
        .expect("the template is a constant that tests parse");
    let style = include_str!("style.css");
    let page = Value::from(Serde(page));
    environment
        .get_template(NAME)
        .and_then(|template| template.render(context! { page, style }))
        .expect("tests render the template")
}
