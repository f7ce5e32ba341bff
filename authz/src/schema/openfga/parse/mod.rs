//! OpenFGA's DSL to a tree.
//!
//! `or` and `and` are not mixed without parentheses, `but not` stands once, and what is stored directly comes
//! first: their grammar (openfga/language, `OpenFGAParser.g4`) has no other form.

mod condition;
mod rewrite;

use crate::name::check_any_name;
use crate::schema::code::Code;
use crate::schema::cursor::{Cursor, Parsed, Reported, shown};
use crate::schema::diagnostic::Diagnostics;
use crate::schema::openfga::lex::{self, Kind, Token};
use crate::schema::openfga::{Header, Model};
use crate::schema::syntax::{Body, Definition, File, Item, Name, Origin};

/// The versions that can be read.
pub(crate) const VERSIONS: [&str; 2] = ["1.1", "1.2"];
/// Words that begin a declaration at the start of a line.
const STARTS: [&str; 4] = ["type", "extend", "condition", "define"];

/// Reads one source.
pub(crate) fn parse(source: usize, text: &str, faults: &mut Diagnostics<'_>) -> Model {
    let tokens = tokens(source, text, faults);
    Parser::new(&tokens, faults).model()
}

/// Where declarations begin, in bytes, and how far in each stands, in the order of the text.
pub(crate) fn starts(source: usize, text: &str, faults: &mut Diagnostics<'_>) -> Vec<(usize, usize)> {
    let tokens = tokens(source, text, faults);
    let mut parser = Parser::new(&tokens, faults);
    parser.model();
    parser.starts
}

/// The comments behind something else in their line belong to nothing.
fn tokens<'t>(source: usize, text: &'t str, faults: &mut Diagnostics<'_>) -> Vec<Token<'t>> {
    let mut tokens = lex::tokens(source, text, faults);
    tokens.retain(|token| token.kind != Kind::Comment || token.first);
    tokens
}

struct Parser<'t, 'f, 'a> {
    cursor: Cursor<'t, 'f, 'a, Token<'t>>,
    /// Where declarations begin, and how far in each stands.
    starts: Vec<(usize, usize)>,
}

impl<'t, 'f, 'a> Parser<'t, 'f, 'a> {
    fn new(tokens: &'t [Token<'t>], faults: &'f mut Diagnostics<'a>) -> Self {
        Self { cursor: Cursor::new(tokens, faults), starts: Vec::new() }
    }

    fn model(&mut self) -> Model {
        let header = self.header();
        let mut file = File::default();
        while !self.cursor.at_end() {
            if self.top(&mut file).is_err() {
                self.skip();
            }
        }
        Model { header, file }
    }

    /// Passes over the word that begins a declaration.
    fn begin(&mut self, indent: usize) {
        self.starts.push((self.cursor.peek().span.start, indent));
        self.cursor.advance();
    }

    fn header(&mut self) -> Header {
        if self.cursor.at_word("module") {
            self.begin(0);
            return self.name("the name of the module").map_or(Header::Missing, Header::Module);
        }
        if !self.cursor.at_word("model") {
            let help = || {
                Some(
                    "a model begins with `model` and `schema 1.1`, a module with `module` and its name"
                        .to_owned(),
                )
            };
            let span = self.cursor.peek().span;
            self.cursor.faults.report_with(Code::BadHeader, span, "expected `model` or `module`", help);
            return Header::Missing;
        }
        self.begin(0);
        if !self.cursor.at_word("schema") {
            self.cursor.unexpected("`schema` and its version");
            self.skip();
            return Header::Missing;
        }
        self.begin(2);
        let token = self.cursor.peek();
        if token.kind != Kind::Number {
            self.cursor.unexpected("a version, such as `1.1`");
            return Header::Missing;
        }
        self.cursor.advance();
        let version = Name { text: token.text.to_owned(), span: token.span };
        if !VERSIONS.contains(&token.text) {
            let message = format!("schema `{}` cannot be read", shown(token.text));
            let help = || Some("schema 1.1 and 1.2 can be read".to_owned());
            self.cursor.faults.report_with(Code::BadVersion, token.span, message, help);
        }
        Header::Model(version)
    }

    fn top(&mut self, file: &mut File) -> Parsed<()> {
        let doc = self.doc();
        let token = self.cursor.peek();
        if token.kind == Kind::End {
            return Ok(());
        }
        match token.text {
            "type" if token.kind == Kind::Word => {
                self.begin(0);
                let definition = self.definition(doc, false)?;
                file.definitions.push(definition);
            }
            "extend" if token.kind == Kind::Word => {
                self.begin(0);
                if !self.cursor.at_word("type") {
                    self.cursor.unexpected("`type`");
                    return Err(Reported);
                }
                self.cursor.advance();
                let definition = self.definition(doc, true)?;
                file.definitions.push(definition);
            }
            "condition" if token.kind == Kind::Word => {
                self.begin(0);
                file.conditions.push(self.condition(doc)?);
            }
            _ => {
                self.cursor.unexpected_word("`type`, `extend type` or `condition`", &STARTS);
                // Always forward: otherwise the same token would be met again.
                self.cursor.advance();
                return Err(Reported);
            }
        }
        Ok(())
    }

    fn definition(&mut self, doc: String, extends: bool) -> Parsed<Definition> {
        let name = self.name("the name of a type")?;
        let mut items = Vec::new();
        self.end_of_line("the end of the line");
        if self.cursor.at_word("relations") && self.cursor.peek().first {
            self.begin(2);
            self.end_of_line("the end of the line");
            loop {
                let before = self.cursor.mark();
                let item_doc = self.doc();
                if !(self.cursor.at_word("define") && self.cursor.peek().first) {
                    // The comment belongs to what comes next.
                    self.cursor.back_to(before);
                    break;
                }
                self.begin(4);
                match self.item(item_doc) {
                    Ok(item) => items.push(item),
                    Err(Reported) => self.skip(),
                }
            }
        }
        let origin = Origin::default();
        Ok(Definition { name, doc, deprecated: None, items, extends, origin })
    }

    fn item(&mut self, doc: String) -> Parsed<Item> {
        let name = self.name("the name of a relation")?;
        self.cursor.expect(Kind::Colon, "`:`")?;
        let mut subjects = Vec::new();
        let expression = self.expression(&mut subjects, true, 0)?;
        let body = Body::Define { subjects, expression };
        if !self.cursor.peek().first {
            self.cursor.unexpected("`or`, `and`, `but not`, `from` or the end of the line");
            return Err(Reported);
        }
        Ok(Item { name, doc, deprecated: None, body, origin: Origin::default() })
    }

    fn name(&mut self, expected: &str) -> Parsed<Name> {
        let token = self.cursor.peek();
        if token.kind != Kind::Word {
            self.cursor.unexpected(expected);
            return Err(Reported);
        }
        if let Err((_, fault)) = check_any_name(token.text) {
            self.cursor.faults.report(Code::InvalidName, token.span, format!("a name {fault}"));
            self.cursor.advance();
            return Err(Reported);
        }
        self.cursor.advance();
        Ok(Name { text: token.text.to_owned(), span: token.span })
    }

    /// The comments of the lines directly above, without their marks.
    fn doc(&mut self) -> String {
        let comments = self.cursor.aside();
        // From the last one on that has another line above it.
        let gap = |pair: &[Token<'_>]| {
            pair.first().map(|token| token.line + 1) != pair.last().map(|token| token.line)
        };
        let starts = comments.windows(2).rposition(gap).map_or(0, |at| at + 1);
        let run = comments.get(starts..).unwrap_or_default();
        if run.last().is_none_or(|last| last.line + 1 != self.cursor.peek().line) {
            return String::new();
        }
        let lines = run.iter().map(|token| token.text.trim_start_matches('#').trim());
        lines.collect::<Vec<_>>().join("\n").trim_matches('\n').to_owned()
    }

    fn end_of_line(&mut self, expected: &str) {
        if !self.cursor.peek().first {
            self.cursor.unexpected(expected);
            while !self.cursor.peek().first {
                self.cursor.advance();
            }
        }
    }

    /// Passes over what cannot be read, up to a line that begins a declaration, or the end.
    fn skip(&mut self) {
        self.cursor
            .skip_until(|token| token.first && token.kind == Kind::Word && STARTS.contains(&token.text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token is looked at a bounded number of times, however hostile the text.
    #[test]
    fn the_work_grows_with_the_text() {
        let frame = |rule: String| {
            format!(
                "model\n  schema 1.1\ntype user\ntype a\n  relations\n    define r: [user]\n    define p: {rule}\n"
            )
        };
        for count in [50, 500, 5_000] {
            let texts = [
                frame(format!("{}r", "(".repeat(count))),
                frame(format!("r{}", " or r".repeat(count))),
                frame(format!("r{}", " but not".repeat(count))),
                frame(format!("[{}", "user with c, ".repeat(count))),
                frame(format!("({}", "\n# c\n".repeat(count))),
                frame("r\n# c\n".repeat(count)),
                frame("\n    define ".repeat(count)),
                "type a\n  relations\n".repeat(count),
                "condition c(x: list<".repeat(count),
                "extend ".repeat(count),
                "# c\n".repeat(count),
                "] [ ) ( : # * <".repeat(count),
            ];
            for text in texts {
                let mut faults = Diagnostics::new(&[]);
                let all = tokens(0, &text, &mut faults);
                let mut parser = Parser::new(&all, &mut faults);
                parser.model();
                let (tokens, looked) = (all.len(), parser.cursor.looked());
                assert!(looked <= 64 * (tokens + 10), "{looked} looks at {tokens} tokens: {text:.60}");
            }
        }
    }
}
