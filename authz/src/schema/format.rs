//! Native text laid out in one way, with its comments.
//!
//! The layout is made from the tokens, from where comments stood (behind something or on a line of their own)
//! and from where empty lines were, so that text that is laid out comes out as it went in.

use crate::schema::diagnostic::{Diagnostics, SchemaError};
use crate::schema::lex::{self, Kind, Token};
use crate::schema::load::fits;
use crate::schema::{Source, parse};

/// How long a declaration may be before it is broken.
const MAX_WIDTH: usize = 100;

/// Lays out native text: four spaces, one blank, one declaration a line, empty lines and comments kept.
///
/// # How is a schema laid out?
///
/// ```
/// let text = "definition user{} // people\ndefinition team{relation member:user|team#member}";
/// assert_eq!(
///     formwork_authz::format_native(text)?,
///     "definition user {} // people\n\ndefinition team {\n    relation member: user | team#member\n}\n"
/// );
/// # Ok::<(), formwork_authz::SchemaError>(())
/// ```
///
/// # Errors
///
/// [`SchemaError`] when the text cannot be read. Names are not looked up.
pub fn format_native(text: &str) -> Result<String, SchemaError> {
    let sources = [Source { name: "schema", text }];
    let mut faults = Diagnostics::new(&sources);
    let mut tokens = Vec::new();
    if fits(0, text, &mut faults) {
        parse::parse(0, text, &mut faults);
        tokens = lex::tokens(0, text, &mut Diagnostics::new(&sources));
    }
    faults.finish()?;
    Ok(lay_out(text, tokens))
}

/// Lays out text that is known to be right, apart from its layout.
pub(crate) fn laid_out(text: &str) -> String {
    lay_out(text, lex::tokens(0, text, &mut Diagnostics::new(&[])))
}

fn lay_out(text: &str, tokens: Vec<Token<'_>>) -> String {
    let mut layout =
        Layout { text, out: String::new(), depth: 0, statement: Vec::new(), last: None, last_end: 0 };
    let mut goes_on = vec![false; tokens.len()];
    let mut next = false;
    for (token, goes_on) in tokens.iter().zip(&mut goes_on).rev() {
        *goes_on = next;
        if !matches!(token.kind, Kind::Comment | Kind::Doc) {
            next = !begins_anything(*token);
        }
    }
    for (token, goes_on) in tokens.into_iter().zip(goes_on) {
        layout.take(token, goes_on);
    }
    layout.out
}

/// The lines of an expression, four spaces in. Behind the first, what all lines have in common is taken off;
/// an expression with text over several lines stays as it is.
pub(crate) fn indented(expression: &str) -> String {
    let verbatim = expression.contains("\"\"\"") || expression.contains("'''");
    let blanks = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let rest = expression.lines().skip(1).filter(|line| !line.trim().is_empty());
    let common = rest.map(blanks).min().unwrap_or(0);
    let mut text = String::new();
    for (at, line) in expression.split('\n').enumerate() {
        if at == 0 {
            text.push_str("    ");
            text.push_str(if verbatim { line } else { line.trim() });
        } else if verbatim {
            text.push_str(line);
        } else if !line.trim().is_empty() {
            text.push_str("    ");
            text.push_str(line.get(common..).unwrap_or("").trim_end());
        }
        text.push('\n');
    }
    text
}

/// A part of a declaration that is being collected.
enum Piece<'a> {
    Token(Token<'a>),
    /// A comment, and whether it has its line to itself.
    Comment(Token<'a>, bool),
}

struct Layout<'a> {
    text: &'a str,
    out: String,
    /// Inside a definition: 1.
    depth: usize,
    /// The declaration so far, without its end.
    statement: Vec<Piece<'a>>,
    /// Its last token that is no comment.
    last: Option<Token<'a>>,
    /// Where the last token ended.
    last_end: usize,
}

impl<'a> Layout<'a> {
    /// `goes_on`: what comes next belongs to the same declaration.
    fn take(&mut self, token: Token<'a>, goes_on: bool) {
        let between = self.text.get(self.last_end..token.span.start).unwrap_or("");
        let lines = between.matches('\n').count();
        let before = self.last_end;
        self.last_end = token.span.end;
        match token.kind {
            Kind::End => self.flush(),
            Kind::Semicolon => {}
            Kind::Comment | Kind::Doc => self.comment(token, lines > 0 || before == 0, lines > 1, goes_on),
            Kind::Cel => self.body(token),
            Kind::CloseBrace => {
                self.flush();
                self.depth = 0;
                // Nothing inside: the brace stays where it is.
                if self.out.ends_with('{') {
                    self.out.push_str("}\n");
                } else {
                    self.line("}", false);
                }
            }
            Kind::OpenBrace => {
                self.push(token);
                self.flush();
                self.depth = 1;
            }
            _ => {
                if self.begins(token) {
                    self.flush();
                    self.separate(token, lines > 1);
                }
                self.push(token);
            }
        }
    }

    fn push(&mut self, token: Token<'a>) {
        self.statement.push(Piece::Token(token));
        self.last = Some(token);
    }

    /// Whether a declaration begins with the token.
    fn begins(&self, token: Token<'_>) -> bool {
        let Some(last) = self.last else { return true };
        if token.kind == Kind::Ellipsis {
            return last.kind != Kind::Hash;
        }
        let item = matches!(last.kind, Kind::Pipe | Kind::Colon);
        if token.kind == Kind::At {
            return !item;
        }
        // Behind a mark, and behind what can end a declaration.
        let ends = matches!(
            last.kind,
            Kind::Word | Kind::CloseParen | Kind::Star | Kind::Text | Kind::CloseBrace | Kind::Ellipsis
        );
        let starts: &[&str] = if self.depth > 0 {
            &["relation", "permission"]
        } else {
            &["definition", "caveat", "partial", "import", "use"]
        };
        let named = self.depth == 0 && self.statement.len() == 1 && last.text != "@";
        let named = named && ["definition", "caveat", "partial", "import", "use"].contains(&last.text);
        token.kind == Kind::Word && starts.contains(&token.text) && ends && !named
    }

    /// An empty line before the token: where one was, and between definitions.
    fn separate(&mut self, token: Token<'_>, empty: bool) {
        let top = self.depth == 0 && !matches!(token.text, "use" | "import");
        let previous = self.out.lines().next_back().unwrap_or("").trim_start();
        let attached = previous.starts_with("//") || previous.starts_with('*') || previous.ends_with("*/");
        let attached = attached || previous.starts_with('@');
        if (empty || (top && !attached)) && !self.out.is_empty() {
            self.empty_line();
        }
    }

    /// At most one, and none behind an opening brace.
    fn empty_line(&mut self) {
        let open = self.depth > 0 && self.out.ends_with('{');
        if !open && !self.out.ends_with("\n\n") && !self.out.is_empty() {
            if !self.out.ends_with('\n') {
                self.out.push('\n');
            }
            self.out.push('\n');
        }
    }

    fn comment(&mut self, token: Token<'a>, own_line: bool, empty: bool, goes_on: bool) {
        if self.statement.is_empty() {
            if !own_line && !self.out.is_empty() {
                self.behind(token);
                return;
            }
            let top = self.depth == 0 && !self.out.is_empty() && {
                let previous = self.out.lines().next_back().unwrap_or("");
                previous == "}" || previous.ends_with("{}") || previous.starts_with("definition")
            };
            if empty || top {
                self.empty_line();
            }
            let text = self.comment_lines(token);
            self.line(&text, false);
            // A comment may end as an opening brace does, and then nothing may follow in its line.
            if !self.out.ends_with('\n') {
                self.out.push('\n');
            }
            return;
        }
        if !own_line || goes_on {
            // Behind the last token of a declaration, or in the middle of one.
            self.statement.push(Piece::Comment(token, own_line));
        } else {
            // On a line of its own behind a whole declaration it belongs to the next one.
            self.flush();
            self.comment(token, true, empty, false);
        }
    }

    fn behind(&mut self, token: Token<'_>) {
        while self.out.ends_with('\n') {
            self.out.pop();
        }
        self.out.push(' ');
        let text = self.comment_lines(token);
        self.out.push_str(text.trim_start());
        self.out.push('\n');
    }

    /// The lines of a comment, each at the indentation of the place.
    fn comment_lines(&self, token: Token<'_>) -> String {
        let indent = "    ".repeat(self.depth);
        let lines = token.text.lines().enumerate().map(|(at, line)| {
            let line = line.trim();
            let star = at > 0 && line.starts_with('*');
            format!("{indent}{}{line}", if star { " " } else { "" }).trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn body(&mut self, token: Token<'_>) {
        self.flush();
        if !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        self.out.push_str(&indented(token.text));
    }

    fn line(&mut self, text: &str, indent: bool) {
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        if indent {
            self.out.push_str(&"    ".repeat(self.depth));
        }
        self.out.push_str(text);
        // An opening brace waits for what comes.
        if !text.ends_with('{') {
            self.out.push('\n');
        }
    }

    /// Writes the declaration that was collected.
    fn flush(&mut self) {
        let statement = std::mem::take(&mut self.statement);
        self.last = None;
        if statement.is_empty() {
            return;
        }
        // Comments at the end stand behind the line.
        let whole =
            statement.iter().rposition(|piece| matches!(piece, Piece::Token(_))).map_or(0, |at| at + 1);
        let (tokens, trailing) = statement.split_at(whole);
        let commented = tokens.iter().any(|piece| matches!(piece, Piece::Comment(..)));
        let mut text = joined(tokens, false);
        let long = self.depth * 4 + text.chars().count() > MAX_WIDTH;
        if commented || (long && self.depth > 0) {
            text = joined(tokens, true);
        }
        self.line(&text, true);
        for piece in trailing {
            if let Piece::Comment(token, _) = piece {
                self.behind(*token);
            }
        }
    }
}

/// Whether a declaration ends before the token, whatever stands before it.
fn begins_anything(token: Token<'_>) -> bool {
    const WORDS: [&str; 7] = ["relation", "permission", "definition", "caveat", "partial", "import", "use"];
    match token.kind {
        Kind::End | Kind::CloseBrace | Kind::At | Kind::Semicolon | Kind::Ellipsis => true,
        Kind::Word => WORDS.contains(&token.text),
        _ => false,
    }
}

/// The tokens with the blanks between them; `broken` begins a line before every operand outside of brackets.
fn joined(pieces: &[Piece<'_>], broken: bool) -> String {
    let mut text = String::new();
    let mut last: Option<Kind> = None;
    let (mut depth, mut angles) = (0_usize, 0_usize);
    let mut fresh = true;
    for piece in pieces {
        let token = match piece {
            Piece::Token(token) => token,
            Piece::Comment(token, own_line) => {
                if *own_line {
                    text.truncate(text.trim_end().len());
                    text.push_str("\n        ");
                } else if !fresh {
                    text.push(' ');
                }
                text.push_str(&token.text.lines().map(str::trim).collect::<Vec<_>>().join("\n        "));
                text.push_str("\n        ");
                fresh = true;
                continue;
            }
        };
        let operator = matches!(token.kind, Kind::Pipe | Kind::Plus | Kind::Ampersand | Kind::Minus);
        if broken && operator && depth == 0 && !fresh {
            text.push_str("\n        ");
            fresh = true;
        }
        if !fresh && spaced(last, token.kind, angles) {
            text.push(' ');
        }
        match token.kind {
            Kind::OpenParen => depth += 1,
            Kind::CloseParen => depth = depth.saturating_sub(1),
            Kind::Less => angles += 1,
            Kind::Greater => angles = angles.saturating_sub(1),
            _ => {}
        }
        text.push_str(token.text);
        last = Some(token.kind);
        fresh = false;
    }
    text
}

/// Whether a blank stands between two tokens.
fn spaced(last: Option<Kind>, next: Kind, angles: usize) -> bool {
    use Kind::{
        Ampersand, Arrow, At, CloseParen, Colon, Comma, Dot, Ellipsis, Equals, Greater, Hash, Less, Minus,
        OpenBrace, OpenParen, Pipe, Plus, Slash, Star,
    };
    let Some(last) = last else { return false };
    match (last, next) {
        (At | Hash | Dot | Arrow | Slash | OpenParen | Ellipsis | Less, _) => false,
        (_, Hash | Dot | Arrow | Slash | CloseParen | Comma | Colon | Star | Less | Greater) => false,
        (Pipe | Plus | Ampersand | Minus | Equals | Comma | Colon, _) => true,
        (_, Pipe | Plus | Ampersand | Minus | Equals | OpenBrace) => true,
        // A call, or the parameters of a condition.
        (_, OpenParen) => false,
        (Greater, _) if angles > 0 => false,
        _ => true,
    }
}
