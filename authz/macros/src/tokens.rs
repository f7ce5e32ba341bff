//! Tokens that both macros write.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// A message and the place that it is about.
pub(crate) type Fault = (String, Span);

/// `::a::b::c`
pub(crate) fn path(segments: &[&str]) -> TokenStream {
    let mut tokens = TokenStream::new();
    for segment in segments {
        let colons = [Punct::new(':', Spacing::Joint), Punct::new(':', Spacing::Alone)];
        tokens.extend(colons.map(TokenTree::from));
        tokens.extend([TokenTree::from(Ident::new(segment, Span::call_site()))]);
    }
    tokens
}

pub(crate) fn text(text: &str, span: Span) -> TokenStream {
    let mut literal = Literal::string(text);
    literal.set_span(span);
    TokenTree::from(literal).into()
}

/// The token without the invisible group around it, which it has when it comes through another macro.
pub(crate) fn unwrapped(token: TokenTree) -> Option<TokenTree> {
    match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::None => group.stream().into_iter().next(),
        other => Some(other),
    }
}

pub(crate) fn compile_error((message, span): Fault) -> TokenStream {
    let mut tokens = path(&["core", "compile_error"]);
    let tail = [
        TokenTree::from(Punct::new('!', Spacing::Alone)),
        TokenTree::from(Group::new(Delimiter::Brace, text(&message, span))),
    ];
    tokens.extend(tail);
    tokens
        .into_iter()
        .map(|mut token| {
            token.set_span(span);
            token
        })
        .collect()
}
