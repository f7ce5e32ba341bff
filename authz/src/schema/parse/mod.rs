//! Native tokens to a tree. Union binds tightest, then intersection, then exclusion, as in SpiceDB.
//!
//! After a fault the parser goes on with the next `relation`, `permission` or `definition`, so that
//! one run tells of every fault.

mod condition;
mod definition;
mod name;
mod rewrite;

use crate::schema::code::Code;
use crate::schema::cursor::{Cursor, Parsed, Reported, shown};
use crate::schema::diagnostic::Diagnostics;
use crate::schema::lex::{self, Kind, Token};
use crate::schema::rule::Deprecation;
use crate::schema::syntax::{File, Name};

/// Parentheses in parentheses; each level costs stack.
pub(crate) const MAX_NESTING: usize = 64;
/// `list<list<..>>`
pub(crate) const MAX_TYPE_NESTING: usize = 8;
/// Words with a meaning of their own wherever they stand.
pub(crate) const RESERVED: [&str; 6] = ["definition", "caveat", "relation", "permission", "nil", "with"];
/// Words that begin something at the top, or inside a definition.
const TOP: [&str; 5] = ["definition", "caveat", "partial", "import", "use"];
const INNER: [&str; 4] = ["relation", "permission", "definition", "caveat"];
/// What `use` can switch on.
pub(crate) const FEATURES: [&str; 6] =
    ["deprecation", "expiration", "import", "partial", "self", "typechecking"];

/// Reads one source.
pub(crate) fn parse(source: usize, text: &str, faults: &mut Diagnostics<'_>) -> File {
    let tokens = tokens(source, text, faults);
    Parser::new(&tokens, faults).file()
}

fn tokens<'t>(source: usize, text: &'t str, faults: &mut Diagnostics<'_>) -> Vec<Token<'t>> {
    let mut tokens = lex::tokens(source, text, faults);
    tokens.retain(|token| token.kind != Kind::Comment);
    tokens
}

/// The paths that a source imports, whether the rest of it can be read or not.
pub(crate) fn imports(text: &str) -> Vec<Name> {
    let mut ignored = Diagnostics::new(&[]);
    let tokens = lex::tokens(0, text, &mut ignored);
    let pairs = tokens.iter().zip(tokens.iter().skip(1));
    let found = pairs
        .filter(|(word, path)| word.kind == Kind::Word && word.text == "import" && path.kind == Kind::Text);
    found.map(|(_, path)| Name { text: unquoted(path.text), span: path.span }).collect()
}

fn unquoted(text: &str) -> String {
    text.get(1..text.len().saturating_sub(1)).unwrap_or("").to_owned()
}

struct Parser<'t, 'f, 'a> {
    cursor: Cursor<'t, 'f, 'a, Token<'t>>,
    features: Vec<&'t str>,
}

impl<'t, 'f, 'a> Parser<'t, 'f, 'a> {
    fn new(tokens: &'t [Token<'t>], faults: &'f mut Diagnostics<'a>) -> Self {
        Self { cursor: Cursor::new(tokens, faults), features: Vec::new() }
    }

    fn file(&mut self) -> File {
        let mut file = File::default();
        while !self.cursor.at_end() {
            if self.top(&mut file).is_err() {
                self.cursor.skip_until(|token| token.kind == Kind::Word && TOP.contains(&token.text));
            }
        }
        file
    }

    fn top(&mut self, file: &mut File) -> Parsed<()> {
        let mut doc = self.doc();
        let deprecated = self.decorators(&mut doc)?;
        match self.cursor.peek().text {
            "definition" if self.cursor.at_kind(Kind::Word) => {
                self.cursor.advance();
                file.definitions.push(self.definition(doc, deprecated)?);
            }
            "partial" if self.cursor.at_kind(Kind::Word) => {
                self.cursor.advance();
                file.partials.push(self.definition(doc, deprecated)?);
            }
            "caveat" if self.cursor.at_kind(Kind::Word) => {
                self.cursor.advance();
                file.conditions.push(self.condition(doc)?);
            }
            "import" if self.cursor.at_kind(Kind::Word) => {
                self.cursor.advance();
                let path = self.cursor.peek();
                self.cursor.expect(Kind::Text, "the path of a file, in quotes")?;
                file.imports.push(Name { text: unquoted(path.text), span: path.span });
            }
            "use" if self.cursor.at_kind(Kind::Word) => {
                self.cursor.advance();
                self.feature(file)?;
            }
            _ if self.cursor.at_kind(Kind::Semicolon) => self.cursor.advance(),
            _ if self.cursor.at_kind(Kind::End) => {}
            _ => {
                self.cursor.unexpected_word("`definition`, `caveat`, `partial`, `import` or `use`", &TOP);
                // Always forward: otherwise the same token would be met again.
                self.cursor.advance();
                return Err(Reported);
            }
        }
        Ok(())
    }

    fn feature(&mut self, file: &File) -> Parsed<()> {
        let token = self.cursor.peek();
        self.cursor.expect(Kind::Word, "a feature of the language")?;
        if !FEATURES.contains(&token.text) {
            let message = format!("unknown feature `{}`", shown(token.text));
            self.cursor.faults.report_with(Code::UnknownFeature, token.span, message, || {
                Some(format!("the features are {}", FEATURES.map(|name| format!("`{name}`")).join(", ")))
            });
        } else if !file.definitions.is_empty() || !file.conditions.is_empty() {
            let message = "`use` must stand before the first definition";
            self.cursor.faults.report(Code::UnknownFeature, token.span, message);
        }
        self.features.push(token.text);
        Ok(())
    }

    /// `@deprecated`, `@deprecated("why")`, `@deprecated(error, "why")`, `@deprecated(level: error, ..)`
    fn decorators(&mut self, doc: &mut String) -> Parsed<Option<Deprecation>> {
        let mut found = None;
        while self.cursor.eat(Kind::At) {
            let name = self.cursor.peek();
            self.cursor.expect(Kind::Word, "the name of a mark")?;
            if name.text != "deprecated" {
                let message = format!("unknown mark `@{}`", shown(name.text));
                let help = || Some("the only mark is `@deprecated(warn, \"why\")`".to_owned());
                self.cursor.faults.report_with(Code::BadDecorator, name.span, message, help);
            }
            let mut mark = Deprecation { refused: false, message: "".into() };
            if self.cursor.eat(Kind::OpenParen) {
                loop {
                    let named = self.cursor.peek_at(1).kind == Kind::Colon && self.cursor.at_kind(Kind::Word);
                    if named {
                        self.cursor.advance();
                        self.cursor.advance();
                    }
                    let value = self.cursor.peek();
                    match (value.kind, value.text) {
                        (Kind::Text, text) => mark.message = unquoted(text).into(),
                        (Kind::Word, "warn") => mark.refused = false,
                        (Kind::Word, "error") => mark.refused = true,
                        _ => {
                            self.cursor.unexpected("`warn`, `error` or a text in quotes");
                            return Err(Reported);
                        }
                    }
                    self.cursor.advance();
                    if !self.cursor.eat(Kind::Comma) {
                        break;
                    }
                }
                self.cursor.expect(Kind::CloseParen, "`,` or `)`")?;
            }
            self.cursor.eat(Kind::Semicolon);
            found = Some(mark);
            let more = self.doc();
            if doc.is_empty() {
                *doc = more;
            }
        }
        Ok(found)
    }

    /// The doc comments that stand here, one a line.
    fn doc(&mut self) -> String {
        let lines = self.cursor.aside().iter().map(|token| lex::doc_text(token.text));
        lines.collect::<Vec<_>>().join("\n").trim_matches('\n').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token is looked at a bounded number of times, however hostile the text.
    #[test]
    fn the_work_grows_with_the_text() {
        let frame =
            |middle: String| format!("definition user {{}} definition a {{ relation r: user {middle} }}");
        for count in [50, 500, 5_000] {
            let texts = [
                frame(format!("permission p = {}r", "(".repeat(count))),
                frame(format!("permission p = r{}", " + r & r - r".repeat(count))),
                frame(format!("permission p = r {} + r", "/** d */".repeat(count))),
                frame("/// d\n".repeat(count)),
                frame("permission p = ".repeat(count)),
                frame("relation x: user | ".repeat(count)),
                frame(format!("@deprecated(warn, {}", "warn, ".repeat(count))),
                "definition a { ".repeat(count),
                "caveat c(x list<".repeat(count),
                format!("caveat c(x {}", "list<".repeat(count)),
                "use self import \"x\" partial ...".repeat(count),
                "} { ) ( -> . @ ;".repeat(count),
            ];
            for text in texts {
                let mut faults = Diagnostics::new(&[]);
                let all = tokens(0, &text, &mut faults);
                let mut parser = Parser::new(&all, &mut faults);
                parser.file();
                let (tokens, looked) = (all.len(), parser.cursor.looked());
                assert!(looked <= 64 * (tokens + 10), "{looked} looks at {tokens} tokens: {text:.60}");
            }
        }
    }
}
