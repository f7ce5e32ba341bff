//! OpenFGA's DSL laid out in one way, with its comments.
//!
//! The parser says where declarations begin and how far in; everything else is made of the tokens. Lines are only
//! broken behind comments, so that no token begins a line that did not.

use crate::schema::Source;
use crate::schema::diagnostic::{Diagnostics, SchemaError};
use crate::schema::format::indented;
use crate::schema::load::fits;
use crate::schema::openfga::lex::{self, Kind, Token};
use crate::schema::openfga::parse;

/// Lays out OpenFGA's DSL, a model or a module: one declaration a line, empty lines and comments kept.
///
/// # How is an OpenFGA model laid out?
///
/// ```
/// let text = "model\nschema 1.1\n# people\ntype user\ntype team\nrelations\ndefine member:[user,team#member] # all";
/// assert_eq!(
///     formwork_authz::format_openfga(text)?,
///     "model\n  schema 1.1\n\n# people\ntype user\n\n\
///      type team\n  relations\n    define member: [user, team#member] # all\n"
/// );
/// # Ok::<(), formwork_authz::SchemaError>(())
/// ```
///
/// # Errors
///
/// [`SchemaError`] when the text cannot be read. Names are not looked up.
pub fn format_openfga(text: &str) -> Result<String, SchemaError> {
    let sources = [Source { name: "model", text }];
    let mut faults = Diagnostics::new(&sources);
    let (mut starts, mut tokens) = (Vec::new(), Vec::new());
    if fits(0, text, &mut faults) {
        starts = parse::starts(0, text, &mut faults);
        tokens = lex::tokens(0, text, &mut Diagnostics::new(&sources));
    }
    faults.finish()?;
    Ok(lay_out(text, &tokens, &starts))
}

fn lay_out(text: &str, tokens: &[Token<'_>], starts: &[(usize, usize)]) -> String {
    let mut layout = Layout { out: String::new(), indent: 0, last: None, call: false, attached: false };
    let mut ahead = starts.iter().peekable();
    let mut before = 0;
    for (at, token) in tokens.iter().enumerate() {
        let empty = text.get(before..token.span.start).is_some_and(|gap| gap.matches('\n').count() > 1);
        before = token.span.end;
        let begins = ahead.next_if(|(start, _)| *start == token.span.start);
        let next = tokens.get(at..).unwrap_or_default().iter().find(|token| token.kind != Kind::Comment);
        match (token.kind, begins) {
            (Kind::End, _) => {}
            (_, Some(&(_, indent))) => {
                layout.begin(indent, empty);
                layout.call = token.text == "condition";
                layout.token(*token);
            }
            (Kind::Comment, None) => {
                // Behind the last declaration, one stands at the margin.
                let ends = next.filter(|next| next.kind == Kind::End).map(|_| 0);
                let indent =
                    ahead.peek().filter(|(start, _)| next.is_some_and(|next| next.span.start == *start));
                layout.comment(*token, ends.or(indent.map(|(_, indent)| *indent)), empty);
            }
            (Kind::Cel, None) => layout.body(token.text),
            (_, None) => layout.token(*token),
        }
    }
    if !layout.out.is_empty() && !layout.out.ends_with('\n') {
        layout.out.push('\n');
    }
    layout.out
}

struct Layout<'a> {
    out: String,
    /// Of the declaration at hand.
    indent: usize,
    /// The last token of the line, if one stands there.
    last: Option<Token<'a>>,
    /// Parentheses follow a name, and not an operator.
    call: bool,
    /// The line above is a comment, which belongs to what follows.
    attached: bool,
}

impl<'a> Layout<'a> {
    fn begin(&mut self, indent: usize, empty: bool) {
        self.line_ends();
        if (empty && indent != 2) || (indent == 0 && !self.attached) {
            self.empty_line();
        }
        (self.indent, self.attached) = (indent, false);
        self.out.push_str(&" ".repeat(indent));
    }

    fn line_ends(&mut self) {
        if self.last.take().is_some() {
            self.out.push('\n');
        }
    }

    /// At most one, and none at the start.
    fn empty_line(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    /// `indent`: how far in the declaration stands that comes next; nothing in the middle of one.
    fn comment(&mut self, token: Token<'a>, indent: Option<usize>, empty: bool) {
        let text = token.text.trim_end();
        if !token.first {
            self.out.push(' ');
            self.out.push_str(text);
            if indent.is_none() {
                self.continued();
            }
            return;
        }
        let Some(indent) = indent else {
            if self.last.is_some() {
                self.continued();
            }
            self.out.push_str(text);
            self.continued();
            return;
        };
        self.line_ends();
        if empty || (indent == 0 && !self.attached) {
            self.empty_line();
        }
        self.out.push_str(&" ".repeat(indent));
        self.out.push_str(text);
        self.out.push('\n');
        self.attached = true;
    }

    /// The declaration goes on in another line.
    fn continued(&mut self) {
        self.out.truncate(self.out.trim_end_matches(' ').len());
        self.out.push('\n');
        self.out.push_str(&" ".repeat(self.indent + 4));
        self.last = None;
    }

    fn body(&mut self, text: &str) {
        self.line_ends();
        self.out.push_str(&indented(text));
    }

    fn token(&mut self, token: Token<'a>) {
        if self.last.is_some_and(|last| spaced(last.kind, token.kind, self.call)) {
            self.out.push(' ');
        }
        self.out.push_str(token.text);
        self.last = Some(token);
    }
}

/// Whether a blank stands between two tokens.
fn spaced(last: Kind, next: Kind, call: bool) -> bool {
    use Kind::{CloseBracket, CloseParen, Colon, Comma, Greater, Hash, Less, OpenBracket, OpenParen, Star};
    match (last, next) {
        (Hash | OpenBracket | OpenParen | Less, _) => false,
        (_, Hash | Star | Colon | Comma | CloseBracket | CloseParen | Less | Greater) => false,
        (_, OpenParen) => !call,
        _ => true,
    }
}
