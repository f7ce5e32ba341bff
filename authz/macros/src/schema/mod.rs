//! `schema!`: from a schema's text to types of Rust.
//!
//! Only names are read here, and what imports and partials do to them. All other faults are found by the compiler of
//! schemas, which the generated `schema()` calls; the tests of formwork-authz compare the names with its own.

mod face;
mod lex;
mod model;
mod native;
mod openfga;
pub(crate) mod place;
mod read;

use proc_macro::{Span, TokenStream, TokenTree};

use crate::tokens::{Fault, unwrapped};

const EXPECTED: &str = "expected the text of a schema, or a file: schema!(file = \"access.zed\")";

pub(crate) fn expand(input: TokenStream) -> Result<TokenStream, Fault> {
    let (root, span) = root(input)?;
    let read = read::all(root).map_err(|message| (message, span))?;
    let model = model::Model::of(&read).map_err(|message| (message, span))?;
    let code = face::code(&read, &model).map_err(|message| (message, span))?;
    code.parse().map_err(|error| (format!("the schema has a name that Rust cannot have: {error}"), span))
}

/// Where the schema stands.
pub(crate) enum Root {
    Text(String),
    /// From the folder of `Cargo.toml`.
    File(String),
}

fn root(input: TokenStream) -> Result<(Root, Span), Fault> {
    let mut tokens = input.into_iter();
    let first = tokens.next().and_then(unwrapped);
    let is_file = matches!(&first, Some(TokenTree::Ident(word)) if word.to_string() == "file");
    let value = if is_file {
        let equals = tokens.next();
        if !matches!(&equals, Some(TokenTree::Punct(sign)) if sign.as_char() == '=') {
            return Err((EXPECTED.to_owned(), spot(equals.or(first))));
        }
        tokens.next().and_then(unwrapped)
    } else {
        first
    };
    let span = spot(value.clone());
    let text = match &value {
        Some(TokenTree::Literal(literal)) => unquoted(&literal.to_string()),
        _ => None,
    };
    let text = text.ok_or_else(|| (EXPECTED.to_owned(), span))?;
    if let Some(extra) =
        tokens.find(|token| !matches!(token, TokenTree::Punct(comma) if comma.as_char() == ','))
    {
        return Err((EXPECTED.to_owned(), extra.span()));
    }
    Ok((if is_file { Root::File(text) } else { Root::Text(text) }, span))
}

fn spot(token: Option<TokenTree>) -> Span {
    token.map_or_else(Span::call_site, |token| token.span())
}

/// The value of a string literal, raw or not.
fn unquoted(literal: &str) -> Option<String> {
    if let Some(raw) = literal.strip_prefix('r') {
        let raw = raw.trim_matches('#');
        return raw.strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
    }
    let (mut value, mut rest) = (String::new(), literal.strip_prefix('"')?.strip_suffix('"')?);
    while let Some((before, after)) = rest.split_once('\\') {
        value.push_str(before);
        let escaped = after.chars().next()?;
        rest = after.get(escaped.len_utf8()..)?;
        match escaped {
            'n' => value.push('\n'),
            't' => value.push('\t'),
            '\\' | '"' | '\'' => value.push(escaped),
            '\n' => rest = rest.trim_start(),
            // Nothing that a schema needs.
            _ => return None,
        }
    }
    value.push_str(rest);
    Some(value)
}
