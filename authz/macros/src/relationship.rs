//! `rel!`: the code that makes the relationship.

use proc_macro::{Delimiter, Group, Ident, Punct, Spacing, Span, TokenStream, TokenTree};

use crate::shape::{self, Shape};
use crate::tokens::{Fault, path, text, unwrapped};

/// The relationship in the one string literal of the input, if nothing is wrong with it.
pub(crate) fn expand(
    input: TokenStream,
    verify: impl Fn(&Shape<'_>) -> Result<(), String>,
) -> Result<TokenStream, Fault> {
    let (text, span) = literal(input)?;
    let shape = shape::parse(&text).map_err(|message| (message, span))?;
    verify(&shape).map_err(|message| (message, span))?;
    Ok(relationship(&shape, span))
}

fn literal(input: TokenStream) -> Result<Fault, Fault> {
    const EXPECTED: &str = "expected one string literal, as in rel!(\"document:{id}#viewer@user:{user}\")";
    let mut tokens = input.into_iter();
    let first = tokens.next().and_then(unwrapped);
    if let Some(extra) =
        tokens.find(|token| !matches!(token, TokenTree::Punct(comma) if comma.as_char() == ','))
    {
        return Err((EXPECTED.to_owned(), extra.span()));
    }
    let Some(TokenTree::Literal(literal)) = first else {
        return Err((EXPECTED.to_owned(), first.map_or_else(Span::call_site, |token| token.span())));
    };
    let written = literal.to_string();
    let text = written.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match text {
        Some(text) if text.contains('\\') => {
            Err(("a relationship has no character that needs an escape".to_owned(), literal.span()))
        }
        Some(text) => Ok((text.to_owned(), literal.span())),
        None => Err((EXPECTED.to_owned(), literal.span())),
    }
}

/// `Relationship::new(Object::new(type, id), relation, Subject::..(..))`.
fn relationship(shape: &Shape<'_>, span: Span) -> TokenStream {
    let object = call("Object", "new", [text(shape.object.0, span), id(shape.object.1, span)]);
    let (subject_type, subject_id, relation) = shape.subject;
    let subject = match (relation, subject_id) {
        (Some(relation), _) => {
            call("Subject", "userset", [text(subject_type, span), id(subject_id, span), text(relation, span)])
        }
        (None, "*") => call("Subject", "wildcard", [text(subject_type, span)]),
        (None, _) => call("Subject", "new", [text(subject_type, span), id(subject_id, span)]),
    };
    let mut tokens = call("Relationship", "new", [object, text(shape.relation, span), subject]);
    if let Some((name, context)) = shape.terms.condition {
        let context = context.map_or_else(
            || unit(path(&["core", "default", "Default", "default"])),
            |name| variable(name, span),
        );
        tokens.extend(method("with_condition", [text(name, span), context]));
    }
    if let Some(time) = shape.terms.expiration {
        tokens.extend(method("expiring_at", [variable(time, span)]));
    }
    tokens
}

/// `.method(arguments)`.
fn method<const N: usize>(name: &str, arguments: [TokenStream; N]) -> TokenStream {
    let dot = TokenTree::from(Punct::new('.', Spacing::Alone));
    let name = TokenTree::from(Ident::new(name, Span::call_site()));
    [dot, name, within(arguments)].into_iter().collect()
}

/// `(argument, argument,)`
fn within<const N: usize>(arguments: [TokenStream; N]) -> TokenTree {
    let mut inside = TokenStream::new();
    for argument in arguments {
        inside.extend(argument);
        inside.extend([TokenTree::from(Punct::new(',', Spacing::Alone))]);
    }
    Group::new(Delimiter::Parenthesis, inside).into()
}

/// A call without arguments.
fn unit(mut function: TokenStream) -> TokenStream {
    function.extend([within([])]);
    function
}

fn variable(name: &str, span: Span) -> TokenStream {
    TokenTree::from(Ident::new(name, span)).into()
}

/// `::formwork_authz::Type::function(arguments)`.
fn call<const N: usize>(type_name: &str, function: &str, arguments: [TokenStream; N]) -> TokenStream {
    let mut tokens = path(&["formwork_authz", type_name, function]);
    tokens.extend([within(arguments)]);
    tokens
}

/// Text as it stands; with variables, `::core::format_args!("..")`, which finds them in scope because
/// the text keeps the place of the caller's literal.
fn id(id: &str, span: Span) -> TokenStream {
    if !id.contains('{') {
        return text(id, span);
    }
    let mut tokens = path(&["core", "format_args"]);
    tokens.extend([
        TokenTree::from(Punct::new('!', Spacing::Alone)),
        TokenTree::from(Group::new(Delimiter::Parenthesis, text(id, span))),
    ]);
    tokens
}
