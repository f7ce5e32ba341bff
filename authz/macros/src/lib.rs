//! Macros of formwork-authz, which re-exports them.

mod relationship;
mod schema;
mod shape;
mod tokens;

use proc_macro::TokenStream;

/// A relationship whose shape is verified by the compiler: `rel!("rfi:{rfi}#assignee@user:{bob}")`.
///
/// Types and relations are literal; an id is literal text, or has variables in braces, which are
/// formatted with `Display`. Whether such an id is valid is verified when the relationship is written. Behind it may
/// stand `[condition]`, `[condition:{context}]` and `[expiration:{until}]`, whose values are variables.
#[proc_macro]
pub fn rel(input: TokenStream) -> TokenStream {
    relationship::expand(input, |_| Ok(())).unwrap_or_else(tokens::compile_error)
}

/// The `rel!` that [`schema!`] makes: first the names of the schema, then what `rel!` takes.
#[doc(hidden)]
#[proc_macro]
pub fn rel_of_schema(input: TokenStream) -> TokenStream {
    let mut input = input.into_iter();
    let names = input.next().map(|names| names.to_string()).unwrap_or_default();
    let place = |shape: &shape::Shape<'_>| schema::place::verify(names.trim_matches('"'), shape);
    relationship::expand(input.collect(), place).unwrap_or_else(tokens::compile_error)
}

/// Types for the objects and permissions of a schema: `schema!(file = "access.zed")`, or `schema!("definition ..")`.
///
/// Put it into a module of its own. A file is looked for from the folder of `Cargo.toml`.
#[proc_macro]
pub fn schema(input: TokenStream) -> TokenStream {
    schema::expand(input).unwrap_or_else(tokens::compile_error)
}
