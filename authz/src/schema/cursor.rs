//! Tokens, one after the other: what the parsers of both languages share.
//!
//! A token is looked at a bounded number of times, which tests of the parsers count.

use std::cell::Cell;

use crate::name::{MAX_TYPE_NAME, nearest};
use crate::schema::code::Code;
use crate::schema::diagnostic::{Diagnostics, Span};

/// A token of either language.
pub(crate) trait Lexeme<'t>: Copy {
    type Kind: Copy + PartialEq;
    const WORD: Self::Kind;
    const END: Self::Kind;
    /// What only counts before a declaration, and is passed over everywhere else.
    const ASIDE: Self::Kind;

    /// One of kind [`Self::END`].
    fn end() -> Self;
    fn kind(&self) -> Self::Kind;
    fn text(&self) -> &'t str;
    fn span(&self) -> Span;
}

/// The fault is in the diagnostics already.
pub(crate) struct Reported;

pub(crate) type Parsed<T> = Result<T, Reported>;

pub(crate) struct Cursor<'t, 'f, 'a, T> {
    /// INVARIANT: ends with one of kind [`Lexeme::END`], which is never passed.
    tokens: &'t [T],
    at: usize,
    /// How often a token was looked at.
    looked: Cell<usize>,
    pub(crate) faults: &'f mut Diagnostics<'a>,
}

impl<'t, 'f, 'a, T: Lexeme<'t>> Cursor<'t, 'f, 'a, T> {
    pub(crate) fn new(tokens: &'t [T], faults: &'f mut Diagnostics<'a>) -> Self {
        Self { tokens, at: 0, looked: Cell::new(0), faults }
    }

    #[cfg(test)]
    pub(crate) fn looked(&self) -> usize {
        self.looked.get()
    }

    pub(crate) fn peek(&self) -> T {
        self.peek_at(0)
    }

    /// A token ahead.
    pub(crate) fn peek_at(&self, ahead: usize) -> T {
        let rest = self.tokens.get(self.at..).unwrap_or_default();
        let mut rest = rest.iter().filter(|token| {
            self.looked.set(self.looked.get() + 1);
            token.kind() != T::ASIDE
        });
        rest.nth(ahead).or(self.tokens.last()).copied().unwrap_or_else(T::end)
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at_kind(T::END)
    }

    pub(crate) fn at_kind(&self, kind: T::Kind) -> bool {
        self.peek().kind() == kind
    }

    pub(crate) fn at_word(&self, word: &str) -> bool {
        let token = self.peek();
        token.kind() == T::WORD && token.text() == word
    }

    pub(crate) fn advance(&mut self) {
        self.aside();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    /// What stands here and only counts before a declaration; the next token comes behind it.
    pub(crate) fn aside(&mut self) -> &'t [T] {
        let rest = self.tokens.get(self.at..).unwrap_or_default();
        let length = rest.iter().take_while(|token| token.kind() == T::ASIDE).count();
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    pub(crate) fn eat(&mut self, kind: T::Kind) -> bool {
        let found = self.at_kind(kind);
        if found {
            self.advance();
        }
        found
    }

    pub(crate) fn expect(&mut self, kind: T::Kind, expected: &str) -> Parsed<Span> {
        let span = self.peek().span();
        if self.eat(kind) {
            return Ok(span);
        }
        self.unexpected(expected);
        Err(Reported)
    }

    pub(crate) fn unexpected(&mut self, expected: &str) {
        self.unexpected_word(expected, &[]);
    }

    /// Of the words, one may have been meant.
    pub(crate) fn unexpected_word(&mut self, expected: &str, words: &[&str]) {
        let token = self.peek();
        let found =
            if token.kind() == T::END { "the end".to_owned() } else { format!("`{}`", shown(token.text())) };
        let message = format!("expected {expected}, found {found}");
        self.faults.report_with(Code::Unexpected, token.span(), message, || {
            nearest(token.text(), words.iter().copied()).map(|near| format!("did you mean `{near}`?"))
        });
    }

    /// Passes over what cannot be read, up to a token where something else begins, or the end.
    pub(crate) fn skip_until(&mut self, begins: impl Fn(T) -> bool) {
        while !self.at_end() && !begins(self.peek()) {
            self.advance();
        }
    }

    /// The place at hand, for [`Cursor::back_to`].
    pub(crate) fn mark(&self) -> usize {
        self.at
    }

    pub(crate) fn back_to(&mut self, mark: usize) {
        self.at = mark;
    }
}

/// As much of a word as a message shows.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(MAX_TYPE_NAME).collect()
}
