//! Native text to tokens.
//!
//! The body of a `caveat` is CEL, a language of its own: it is one token, from brace to brace.

use crate::schema::code::Code;
use crate::schema::cursor::Lexeme;
use crate::schema::diagnostic::{Diagnostics, Span};
use crate::schema::expression;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Text,
    OpenBrace,
    CloseBrace,
    OpenParen,
    CloseParen,
    Less,
    Greater,
    Comma,
    Dot,
    Ellipsis,
    Slash,
    At,
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
    /// The text between the braces of a condition, trimmed.
    Cel,
    /// `/// text` or `/** text */`: belongs to what follows.
    Doc,
    /// Any other comment: only kept for the formatter.
    Comment,
    End,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) span: Span,
}

impl<'t> Lexeme<'t> for Token<'t> {
    type Kind = Kind;
    const WORD: Kind = Kind::Word;
    const END: Kind = Kind::End;
    const ASIDE: Kind = Kind::Doc;

    fn end() -> Self {
        Self { kind: Kind::End, text: "", span: Span::default() }
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn text(&self) -> &'t str {
        self.text
    }

    fn span(&self) -> Span {
        self.span
    }
}

/// Cuts a source into tokens; what belongs to no token is reported and passed over. The last token
/// is always [`Kind::End`].
pub(crate) fn tokens<'a>(source: usize, text: &'a str, faults: &mut Diagnostics<'_>) -> Vec<Token<'a>> {
    let mut lexer = Lexer { source, text, at: 0, tokens: Vec::new(), depth: 0, caveat: false };
    while let Some(rest) = text.get(lexer.at..).filter(|rest| !rest.is_empty()) {
        lexer.next(rest, faults);
    }
    let end = text.trim_end().len();
    let span = Span { source, start: end, end };
    lexer.tokens.push(Token { kind: Kind::End, text: "", span });
    lexer.tokens
}

struct Lexer<'a> {
    source: usize,
    text: &'a str,
    at: usize,
    tokens: Vec<Token<'a>>,
    /// Braces that are open.
    depth: usize,
    /// The next brace opens the body of a condition.
    caveat: bool,
}

impl<'a> Lexer<'a> {
    fn next(&mut self, rest: &'a str, faults: &mut Diagnostics<'_>) {
        let (found, length) = next(rest);
        let span = Span { source: self.source, start: self.at, end: self.at + length };
        let text = rest.get(..length).unwrap_or("");
        match found {
            Found::Blank => {}
            Found::Unclosed(what, closing) => {
                let first = text.chars().next().map_or(1, char::len_utf8);
                let opening = Span { end: span.start + first, ..span };
                faults.report(
                    Code::Unclosed,
                    opening,
                    format!("the {what} is not closed, expected `{closing}`"),
                );
            }
            Found::Strange => {
                let message = format!("unexpected character `{}`", text.escape_debug());
                faults.report(Code::Character, span, message);
            }
            Found::Token(kind) => {
                self.tokens.push(Token { kind, text, span });
                self.at += length;
                return self.after(kind, text, faults);
            }
        }
        self.at += length;
    }

    fn after(&mut self, kind: Kind, text: &str, faults: &mut Diagnostics<'_>) {
        match kind {
            Kind::Word if self.depth == 0 && text == "caveat" => self.caveat = true,
            Kind::Word if self.depth == 0 && matches!(text, "definition" | "partial") => self.caveat = false,
            Kind::OpenBrace if self.caveat => {
                self.caveat = false;
                self.body(faults);
            }
            Kind::OpenBrace => self.depth += 1,
            Kind::CloseBrace => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    /// Takes the body of a condition and the brace behind it.
    fn body(&mut self, faults: &mut Diagnostics<'_>) {
        let Some(body) = expression::body(self.source, self.text, self.at, faults) else {
            self.at = self.text.len();
            return;
        };
        self.tokens.push(Token { kind: Kind::Cel, text: body.text, span: body.span });
        self.at += body.whole.len();
        let span = Span { source: self.source, start: self.at, end: self.at + 1 };
        let text = self.text.get(self.at..self.at + 1).unwrap_or("");
        self.tokens.push(Token { kind: Kind::CloseBrace, text, span });
        self.at += 1;
    }
}

enum Found {
    Blank,
    Unclosed(&'static str, &'static str),
    Strange,
    Token(Kind),
}

/// What the text, which is not empty, begins with, and how long that is.
fn next(rest: &str) -> (Found, usize) {
    let first = rest.chars().next().unwrap_or(' ');
    if first.is_whitespace() {
        return (Found::Blank, rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len()));
    }
    if first.is_ascii_alphanumeric() || first == '_' {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        return (Found::Token(Kind::Word), rest.find(|c| !word(c)).unwrap_or(rest.len()));
    }
    if rest.starts_with("//") {
        let doc = rest.starts_with("///") && !rest.starts_with("////");
        let kind = if doc { Kind::Doc } else { Kind::Comment };
        return (Found::Token(kind), rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        let Some(length) = rest.get(2..).and_then(|body| body.find("*/")).map(|at| at + 4) else {
            return (Found::Unclosed("comment", "*/"), rest.len());
        };
        let doc = rest.starts_with("/**") && length > 4;
        return (Found::Token(if doc { Kind::Doc } else { Kind::Comment }), length);
    }
    if first == '"' || first == '\'' {
        let closing = rest.get(1..).and_then(|body| body.find([first, '\n']));
        return match closing {
            Some(at) if rest.as_bytes().get(at + 1) == Some(&(first as u8)) => {
                (Found::Token(Kind::Text), at + 2)
            }
            Some(at) => (Found::Unclosed("text", if first == '"' { "\"" } else { "'" }), at + 1),
            None => (Found::Unclosed("text", if first == '"' { "\"" } else { "'" }), rest.len()),
        };
    }
    if rest.starts_with("->") {
        return (Found::Token(Kind::Arrow), 2);
    }
    if rest.starts_with("...") {
        return (Found::Token(Kind::Ellipsis), 3);
    }
    let kind = match first {
        '{' => Kind::OpenBrace,
        '}' => Kind::CloseBrace,
        '(' => Kind::OpenParen,
        ')' => Kind::CloseParen,
        '<' => Kind::Less,
        '>' => Kind::Greater,
        ',' => Kind::Comma,
        '.' => Kind::Dot,
        '/' => Kind::Slash,
        '@' => Kind::At,
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
    let body = comment.strip_prefix("/**").unwrap_or(comment);
    let body = body.strip_suffix("*/").unwrap_or(body);
    let lines = body.lines().map(|line| {
        let line = line.trim();
        line.strip_prefix('*').unwrap_or(line).trim()
    });
    let lines: Vec<&str> = lines.collect();
    let first = lines.iter().position(|line| !line.is_empty()).unwrap_or(0);
    let last = lines.iter().rposition(|line| !line.is_empty()).map_or(first, |at| at + 1);
    lines.get(first..last).unwrap_or_default().join("\n")
}
