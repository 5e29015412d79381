// SPDX-License-Identifier: GPL-2.0

//! The kernel's procedural macros, for host builds.
//!
//! `paste`, `pin_data`, `pinned_drop` and the `Zeroable` derives are the kernel tree's own code.
//! Only `kunit_tests` is reimplemented here, because on the host the test runner replaces KUnit.

#[macro_use]
extern crate quote;

use proc_macro::{Delimiter, TokenStream, TokenTree};

// The kernel's modules refer to each other by `crate::`, so they have to be at the root.
include!(concat!(env!("OUT_DIR"), "/pin_init_internal.rs"));

/// See `pin_init::pin_data`.
#[proc_macro_attribute]
pub fn pin_data(inner: TokenStream, item: TokenStream) -> TokenStream {
    pin_data::pin_data(inner.into(), item.into()).into()
}

/// See `pin_init::pinned_drop`.
#[proc_macro_attribute]
pub fn pinned_drop(args: TokenStream, input: TokenStream) -> TokenStream {
    pinned_drop::pinned_drop(args.into(), input.into()).into()
}

/// See `pin_init::Zeroable`.
#[proc_macro_derive(Zeroable)]
pub fn derive_zeroable(input: TokenStream) -> TokenStream {
    zeroable::derive(input.into()).into()
}

/// See `pin_init::MaybeZeroable`.
#[proc_macro_derive(MaybeZeroable)]
pub fn maybe_derive_zeroable(input: TokenStream) -> TokenStream {
    zeroable::maybe_derive(input.into()).into()
}

/// See the kernel's `macros::paste`.
#[proc_macro]
pub fn paste(input: TokenStream) -> TokenStream {
    let mut tokens = input.into_iter().collect();
    paste::expand(&mut tokens);
    tokens.into_iter().collect()
}

/// Turns a KUnit suite of the kernel into a test module of the host.
///
/// The test functions already carry `#[test]`, so `#[cfg(test)]` on the module is sufficient. The
/// macro refuses the same mistakes as the kernel's: no suite name, a name that is too long, no
/// module.
#[proc_macro_attribute]
pub fn kunit_tests(attr: TokenStream, item: TokenStream) -> TokenStream {
    let suite = attr.to_string();
    assert!(
        !suite.is_empty(),
        "`#[kunit_tests(name)]` needs the name of the suite"
    );
    assert!(
        suite.len() <= 255,
        "the suite name `{suite}` is longer than 255 bytes"
    );

    let tokens: Vec<TokenTree> = item.into_iter().collect();
    let is_module = tokens
        .iter()
        .any(|token| matches!(token, TokenTree::Ident(ident) if ident.to_string() == "mod"));
    let has_body = matches!(
        tokens.last(),
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace
    );
    assert!(
        is_module && has_body,
        "`#[kunit_tests({suite})]` goes on a module with a body"
    );

    let item: proc_macro2::TokenStream = tokens.into_iter().collect::<TokenStream>().into();
    quote!(#[cfg(test)] #item).into()
}
