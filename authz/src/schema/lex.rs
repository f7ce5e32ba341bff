//! Text to tokens.

use crate::schema::diagnostic::{Diagnostics, Span};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    OpenBrace,
    CloseBrace,
    OpenParen,
    CloseParen,
    Colon,
    Equals,
    Pipe,
    Hash,
    Star,
    Plus,
    Ampersand,
    Minus,
    Arrow,
    Semicolon,
    /// `/// text` or `/** text */`: belongs to what follows.
    Doc,
    End,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) span: Span,
}

/// Cuts a source into tokens; what belongs to no token is reported and passed over. The last token
/// is always [`Kind::End`].
pub(crate) fn tokens<'a>(source: usize, text: &'a str, faults: &mut Diagnostics<'_>) -> Vec<Token<'a>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (kind, length) = next(rest);
        let span = Span { source, start: at, end: at + length };
        at += length;
        match kind {
            Found::Blank => {}
            Found::Unclosed => {
                let opening = Span { end: span.start + 2, ..span };
                faults.report(opening, "the comment is not closed, expected `*/`");
            }
            Found::Strange => {
                let shown = rest.get(..length).unwrap_or("").escape_debug();
                faults.report(span, format!("unexpected character `{shown}`"));
            }
            Found::Token(kind) => tokens.push(Token { kind, text: rest.get(..length).unwrap_or(""), span }),
        }
    }
    let end = Span { source, start: text.trim_end().len(), end: text.trim_end().len() };
    tokens.push(Token { kind: Kind::End, text: "", span: end });
    tokens
}

enum Found {
    Blank,
    Unclosed,
    Strange,
    Token(Kind),
}

/// What the text, which is not empty, begins with, and how long that is.
fn next(rest: &str) -> (Found, usize) {
    let first = rest.chars().next().unwrap_or(' ');
    if first.is_whitespace() {
        return (Found::Blank, rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len()));
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        return (Found::Token(Kind::Word), rest.find(|c| !word(c)).unwrap_or(rest.len()));
    }
    if rest.starts_with("//") {
        let doc = rest.starts_with("///") && !rest.starts_with("////");
        let found = if doc { Found::Token(Kind::Doc) } else { Found::Blank };
        return (found, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        let Some(length) = rest.get(2..).and_then(|body| body.find("*/")).map(|at| at + 4) else {
            return (Found::Unclosed, rest.len());
        };
        let doc = rest.starts_with("/**") && length > 4;
        return (if doc { Found::Token(Kind::Doc) } else { Found::Blank }, length);
    }
    if rest.starts_with("->") {
        return (Found::Token(Kind::Arrow), 2);
    }
    let kind = match first {
        '{' => Kind::OpenBrace,
        '}' => Kind::CloseBrace,
        '(' => Kind::OpenParen,
        ')' => Kind::CloseParen,
        ':' => Kind::Colon,
        '=' => Kind::Equals,
        '|' => Kind::Pipe,
        '#' => Kind::Hash,
        '*' => Kind::Star,
        '+' => Kind::Plus,
        '&' => Kind::Ampersand,
        '-' => Kind::Minus,
        ';' => Kind::Semicolon,
        _ => return (Found::Strange, first.len_utf8()),
    };
    (Found::Token(kind), 1)
}

/// The words of a doc comment without its marks.
pub(crate) fn doc_text(comment: &str) -> String {
    if let Some(line) = comment.strip_prefix("///") {
        return line.trim().to_owned();
    }
    let body = comment.trim_start_matches("/**").trim_end_matches("*/");
    let lines = body.lines().map(|line| line.trim().trim_start_matches('*').trim());
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}
