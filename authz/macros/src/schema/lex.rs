//! Native text to the tokens that names stand in.
//!
//! As in the compiler of schemas, the body of a `caveat` is a language of its own: it is passed over.

use super::read::Source;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    /// In quotes, with them.
    Text,
    Ellipsis,
    /// `/// text` or `/** text */`
    Doc,
    Sign,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) start: usize,
}

impl Token<'_> {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.kind != Kind::Text && self.text == text
    }

    pub(crate) fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// What cannot be read, and where.
pub(crate) struct Unreadable {
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl Unreadable {
    pub(crate) fn within(&self, source: &Source) -> String {
        format!("{}:{}: {}", source.name, line(&source.text, self.at), self.message)
    }
}

/// Counted from 1.
pub(crate) fn line(text: &str, at: usize) -> usize {
    text.get(..at).map_or(0, |before| before.matches('\n').count()) + 1
}

pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Unreadable> {
    let (mut tokens, mut at) = (Vec::new(), 0);
    let (mut depth, mut caveat) = (0_usize, false);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (kind, length) =
            next(rest).map_err(|what| Unreadable { at, message: format!("the {what} is not closed") })?;
        let word = rest.get(..length).unwrap_or("");
        if let Some(kind) = kind {
            tokens.push(Token { kind, text: word, start: at });
        }
        at += length;
        match word {
            "caveat" if depth == 0 && kind == Some(Kind::Word) => caveat = true,
            "definition" | "partial" if depth == 0 && kind == Some(Kind::Word) => caveat = false,
            "{" if caveat => {
                caveat = false;
                let body = text.get(at..).and_then(body_length);
                let message = || "the condition is not closed, expected `}`".to_owned();
                at += body.ok_or_else(|| Unreadable { at, message: message() })?;
                depth += 1;
            }
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(tokens)
}

/// What the text begins with, and how long that is.
fn next(rest: &str) -> Result<(Option<Kind>, usize), &'static str> {
    let first = rest.chars().next().unwrap_or(' ');
    if first.is_whitespace() {
        return Ok((None, rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len())));
    }
    if first.is_ascii_alphanumeric() || first == '_' {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        return Ok((Some(Kind::Word), rest.find(|c| !word(c)).unwrap_or(rest.len())));
    }
    if rest.starts_with("//") {
        let doc = rest.starts_with("///") && !rest.starts_with("////");
        return Ok((doc.then_some(Kind::Doc), rest.find('\n').unwrap_or(rest.len())));
    }
    if rest.starts_with("/*") {
        let length = rest.get(2..).and_then(|body| body.find("*/")).ok_or("comment")? + 4;
        return Ok(((rest.starts_with("/**") && length > 4).then_some(Kind::Doc), length));
    }
    if first == '"' || first == '\'' {
        let length = rest.get(1..).and_then(|body| body.find(first)).ok_or("text")? + 2;
        return Ok((Some(Kind::Text), length));
    }
    if rest.starts_with("...") {
        return Ok((Some(Kind::Ellipsis), 3));
    }
    Ok((Some(Kind::Sign), first.len_utf8()))
}

/// The length of an expression up to the brace that closes it, past strings, comments and braces of its own.
fn body_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        let rest = text.get(at..).unwrap_or("");
        at += match byte {
            b'}' if depth == 0 => return Some(at),
            b'}' => {
                depth -= 1;
                1
            }
            b'{' => {
                depth += 1;
                1
            }
            b'"' | b'\'' => {
                let before = at.checked_sub(1).and_then(|at| bytes.get(at));
                string_length(bytes, at, matches!(before, Some(b'r' | b'R')))
            }
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => {
                rest.get(2..).and_then(|body| body.find("*/")).map_or(2, |at| at + 4)
            }
            _ => 1,
        };
    }
    None
}

/// The length of the string that begins here. One that is not closed ends with its line.
fn string_length(bytes: &[u8], start: usize, raw: bool) -> usize {
    let Some(&quote) = bytes.get(start) else { return 0 };
    let is_three = |at: usize| bytes.get(at..at + 3).is_some_and(|three| three.iter().all(|&c| c == quote));
    let triple = is_three(start);
    let mut at = start + if triple { 3 } else { 1 };
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if !raw => at += 1,
            b'\n' if !triple => return at - start,
            _ if byte != quote => {}
            _ if !triple => return at + 1 - start,
            _ if is_three(at) => return at + 3 - start,
            _ => {}
        }
        at += 1;
    }
    bytes.len() - start
}
