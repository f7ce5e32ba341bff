//! OpenFGA's DSL to tokens.
//!
//! Lines count: a declaration ends where its line does, but for brackets and parentheses. `#` begins a comment
//! at the start of a line or behind a space, and otherwise a relation. The body of a condition is one token.

use crate::schema::code::Code;
use crate::schema::cursor::Lexeme;
use crate::schema::diagnostic::{Diagnostics, Span};
use crate::schema::expression;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Number,
    Colon,
    Comma,
    Hash,
    Star,
    OpenBracket,
    CloseBracket,
    OpenParen,
    CloseParen,
    OpenBrace,
    CloseBrace,
    Less,
    Greater,
    /// The text between the braces of a condition, trimmed.
    Cel,
    /// A comment; only one that has its line to itself can belong to a declaration.
    Comment,
    End,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) span: Span,
    pub(crate) line: usize,
    /// Nothing stands before it in its line.
    pub(crate) first: bool,
}

impl<'t> Lexeme<'t> for Token<'t> {
    type Kind = Kind;
    const WORD: Kind = Kind::Word;
    const END: Kind = Kind::End;
    const ASIDE: Kind = Kind::Comment;

    fn end() -> Self {
        Self { kind: Kind::End, text: "", span: Span::default(), line: 0, first: true }
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
    let mut lexer = Lexer { source, text, at: 0, line: 0, first: true, condition: false, tokens: Vec::new() };
    while let Some(rest) = text.get(lexer.at..).filter(|rest| !rest.is_empty()) {
        lexer.next(rest, faults);
    }
    let end = text.trim_end().len();
    let span = Span { source, start: end, end };
    lexer.tokens.push(Token { kind: Kind::End, text: "", span, line: lexer.line, first: true });
    lexer.tokens
}

struct Lexer<'a> {
    source: usize,
    text: &'a str,
    at: usize,
    line: usize,
    first: bool,
    /// The next brace opens the body of a condition.
    condition: bool,
    tokens: Vec<Token<'a>>,
}

impl<'a> Lexer<'a> {
    fn next(&mut self, rest: &'a str, faults: &mut Diagnostics<'_>) {
        let first = rest.chars().next().unwrap_or(' ');
        if first == '\n' {
            self.line += 1;
            self.first = true;
            self.at += 1;
            return;
        }
        if first.is_whitespace() {
            self.at += first.len_utf8();
            return;
        }
        if first == '#' && (self.first || self.after_space()) {
            let length = rest.find('\n').unwrap_or(rest.len());
            self.push(Kind::Comment, rest.get(..length).unwrap_or(""));
            return;
        }
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
        if first.is_ascii_alphanumeric() || first == '_' {
            let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
            let kind = if first.is_ascii_digit() { Kind::Number } else { Kind::Word };
            let text = rest.get(..length).unwrap_or("");
            if self.first && text == "condition" {
                self.condition = true;
            } else if self.first && matches!(text, "type" | "extend" | "define") {
                self.condition = false;
            }
            self.push(kind, text);
            return;
        }
        let kind = match first {
            ':' => Kind::Colon,
            ',' => Kind::Comma,
            '#' => Kind::Hash,
            '*' => Kind::Star,
            '[' => Kind::OpenBracket,
            ']' => Kind::CloseBracket,
            '(' => Kind::OpenParen,
            ')' => Kind::CloseParen,
            '{' => Kind::OpenBrace,
            '}' => Kind::CloseBrace,
            '<' => Kind::Less,
            '>' => Kind::Greater,
            _ => {
                let span = Span { source: self.source, start: self.at, end: self.at + first.len_utf8() };
                faults.report(
                    Code::Character,
                    span,
                    format!("unexpected character `{}`", first.escape_debug()),
                );
                self.at += first.len_utf8();
                self.first = false;
                return;
            }
        };
        self.push(kind, rest.get(..1).unwrap_or(""));
        if kind == Kind::OpenBrace && self.condition {
            self.condition = false;
            self.body(faults);
        }
    }

    fn after_space(&self) -> bool {
        self.text.get(..self.at).and_then(|before| before.chars().next_back()).is_none_or(char::is_whitespace)
    }

    fn push(&mut self, kind: Kind, text: &'a str) {
        let span = Span { source: self.source, start: self.at, end: self.at + text.len() };
        self.tokens.push(Token { kind, text, span, line: self.line, first: self.first });
        self.at += text.len();
        self.first = false;
    }

    /// Takes the body of a condition; the brace behind it comes next.
    fn body(&mut self, faults: &mut Diagnostics<'_>) {
        let Some(body) = expression::body(self.source, self.text, self.at, faults) else {
            self.at = self.text.len();
            return;
        };
        let (line, span) = (self.line, body.span);
        self.tokens.push(Token { kind: Kind::Cel, text: body.text, span, line, first: false });
        self.line += body.whole.matches('\n').count();
        self.at += body.whole.len();
    }
}
