// SPDX-License-Identifier: GPL-2.0

//! The page as HTML: one file that needs nothing else, no script, no network.

use minijinja::{
    Environment,
    Value,
    context,
    value::Serde, //
};

use super::Page;

/// The name ends as it does so that everything is escaped that is put in.
const NAME: &str = "report.html";

/// `out/report.html`.
pub fn html(page: &Page) -> String {
    let mut environment = Environment::new();
    let template = include_str!("page.html");
    environment
        .add_template(NAME, template)
        .expect("the template is sound, as a test shows");
    let style = include_str!("style.css");
    let page = Value::from(Serde(page));
    environment
        .get_template(NAME)
        .and_then(|template| template.render(context! { page, style }))
        .expect("the template fits the page, as a test shows")
}
