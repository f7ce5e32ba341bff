//! OpenFGA's DSL to a tree.
//!
//! `or` and `and` are not mixed without parentheses, `but not` stands once, and what is stored directly comes
//! first: their grammar (openfga/language, `OpenFGAParser.g4`) has no other form.

use std::cell::Cell;

use crate::name::{MAX_TYPE_NAME, check_any_name, nearest};
use crate::schema::code::Code;
use crate::schema::diagnostic::{Diagnostics, Span};
use crate::schema::openfga::lex::{self, Kind, Token};
use crate::schema::openfga::{Header, Model};
use crate::schema::parse::MAX_NESTING;
use crate::schema::syntax::{
    Body, Condition, Definition, Expression, File, Item, Name, Origin, SubjectForm, SubjectType, TypeName,
};

/// The versions that can be read.
pub(crate) const VERSIONS: [&str; 2] = ["1.1", "1.2"];
/// Words that begin a declaration at the start of a line.
const STARTS: [&str; 4] = ["type", "extend", "condition", "define"];

/// Reads one source.
pub(crate) fn parse(source: usize, text: &str, faults: &mut Diagnostics<'_>) -> Model {
    counted(source, text, faults).0
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

/// Also tells how many tokens there were and how often one was looked at.
fn counted(source: usize, text: &str, faults: &mut Diagnostics<'_>) -> (Model, usize, usize) {
    let tokens = tokens(source, text, faults);
    let mut parser = Parser::new(&tokens, faults);
    let model = parser.model();
    let looked = parser.looked.get();
    (model, tokens.len(), looked)
}

/// The fault is in the diagnostics already.
struct Reported;

type Parsed<T> = Result<T, Reported>;

struct Parser<'t, 'f, 'a> {
    /// INVARIANT: ends with [`Kind::End`], which is never passed.
    tokens: &'t [Token<'t>],
    at: usize,
    /// How often a token was looked at.
    looked: Cell<usize>,
    faults: &'f mut Diagnostics<'a>,
    /// Where declarations begin, and how far in each stands.
    starts: Vec<(usize, usize)>,
}

impl<'t, 'f, 'a> Parser<'t, 'f, 'a> {
    fn new(tokens: &'t [Token<'t>], faults: &'f mut Diagnostics<'a>) -> Self {
        Self { tokens, at: 0, looked: Cell::new(0), faults, starts: Vec::new() }
    }

    fn model(&mut self) -> Model {
        let header = self.header();
        let mut file = File::default();
        while self.peek().kind != Kind::End {
            if self.top(&mut file).is_err() {
                self.skip(&STARTS);
            }
        }
        Model { header, file }
    }

    /// Passes over the word that begins a declaration.
    fn begin(&mut self, indent: usize) {
        self.starts.push((self.peek().span.start, indent));
        self.advance();
    }

    fn header(&mut self) -> Header {
        if self.at_word("module") {
            self.begin(0);
            return self.name("the name of the module").map_or(Header::Missing, Header::Module);
        }
        if !self.at_word("model") {
            let help = || {
                Some(
                    "a model begins with `model` and `schema 1.1`, a module with `module` and its name"
                        .to_owned(),
                )
            };
            let span = self.peek().span;
            self.faults.report_with(Code::BadHeader, span, "expected `model` or `module`", help);
            return Header::Missing;
        }
        self.begin(0);
        if !self.at_word("schema") {
            self.unexpected("`schema` and its version");
            self.skip(&STARTS);
            return Header::Missing;
        }
        self.begin(2);
        let token = self.peek();
        if token.kind != Kind::Number {
            self.unexpected("a version, such as `1.1`");
            return Header::Missing;
        }
        self.advance();
        let version = Name { text: token.text.to_owned(), span: token.span };
        if !VERSIONS.contains(&token.text) {
            let message = format!("schema `{}` cannot be read", shown(token.text));
            let help = || Some("schema 1.1 and 1.2 can be read".to_owned());
            self.faults.report_with(Code::BadVersion, token.span, message, help);
        }
        Header::Model(version)
    }

    fn top(&mut self, file: &mut File) -> Parsed<()> {
        let doc = self.doc();
        let token = self.peek();
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
                if !self.at_word("type") {
                    self.unexpected("`type`");
                    return Err(Reported);
                }
                self.advance();
                let definition = self.definition(doc, true)?;
                file.definitions.push(definition);
            }
            "condition" if token.kind == Kind::Word => {
                self.begin(0);
                file.conditions.push(self.condition(doc)?);
            }
            _ => {
                self.unexpected_word("`type`, `extend type` or `condition`", &STARTS);
                // Always forward: otherwise the same token would be met again.
                self.advance();
                return Err(Reported);
            }
        }
        Ok(())
    }

    fn definition(&mut self, doc: String, extends: bool) -> Parsed<Definition> {
        let name = self.name("the name of a type")?;
        let mut items = Vec::new();
        self.end_of_line("the end of the line");
        if self.at_word("relations") && self.peek().first {
            self.begin(2);
            self.end_of_line("the end of the line");
            loop {
                let before = self.at;
                let item_doc = self.doc();
                if !(self.at_word("define") && self.peek().first) {
                    // The comment belongs to what comes next.
                    self.at = before;
                    break;
                }
                self.begin(4);
                match self.item(item_doc) {
                    Ok(item) => items.push(item),
                    Err(Reported) => self.skip(&STARTS),
                }
            }
        }
        let origin = Origin::default();
        Ok(Definition { name, doc, deprecated: None, items, extends, origin })
    }

    fn item(&mut self, doc: String) -> Parsed<Item> {
        let name = self.name("the name of a relation")?;
        self.expect(Kind::Colon, "`:`")?;
        let mut subjects = Vec::new();
        let expression = self.expression(&mut subjects, true, 0)?;
        let body = Body::Define { subjects, expression };
        if !self.peek().first {
            self.unexpected("`or`, `and`, `but not`, `from` or the end of the line");
            return Err(Reported);
        }
        Ok(Item { name, doc, deprecated: None, body, origin: Origin::default() })
    }

    /// `direct`: what is stored directly may stand here, because nothing stands before it.
    fn expression(
        &mut self,
        subjects: &mut Vec<SubjectType>,
        direct: bool,
        depth: usize,
    ) -> Parsed<Expression> {
        let first = self.operand(subjects, direct, depth)?;
        let Some(operator) = self.operator(depth) else { return Ok(first) };
        let mut all = vec![first];
        let mut next = Some(operator);
        while let Some(found) = next {
            let span = self.peek().span;
            if found != operator || (operator == "but not" && all.len() == 2) {
                let message = if found == operator {
                    "`but not` stands twice without parentheses".to_owned()
                } else {
                    format!("`{operator}` and `{found}` are mixed without parentheses")
                };
                let help = || Some("write parentheses around what belongs together".to_owned());
                self.faults.report_with(Code::MixedOperators, span, message, help);
                return Err(Reported);
            }
            self.advance();
            if operator == "but not" {
                self.advance();
            }
            all.push(self.operand(subjects, false, depth)?);
            next = self.operator(depth);
        }
        Ok(match operator {
            "or" => Expression::Union(all),
            "and" => Expression::Intersection(all),
            _ => Expression::Exclusion(all),
        })
    }

    /// The operator that stands here, in the same line or inside parentheses.
    fn operator(&self, depth: usize) -> Option<&'static str> {
        let token = self.peek();
        if token.first && depth == 0 || token.kind != Kind::Word {
            return None;
        }
        match token.text {
            "or" => Some("or"),
            "and" => Some("and"),
            "but" if self.peek_at(1).text == "not" => Some("but not"),
            _ => None,
        }
    }

    fn operand(&mut self, subjects: &mut Vec<SubjectType>, direct: bool, depth: usize) -> Parsed<Expression> {
        let token = self.peek();
        if token.kind == Kind::OpenParen {
            if depth == MAX_NESTING {
                let message = format!("parentheses are nested more than {MAX_NESTING} deep");
                self.faults.report(Code::Nesting, token.span, message);
                return Err(Reported);
            }
            self.advance();
            let inner = self.expression(subjects, direct, depth + 1)?;
            self.expect(Kind::CloseParen, "`)`, `or`, `and` or `but not`")?;
            return Ok(inner);
        }
        if token.kind == Kind::OpenBracket {
            let found = self.restrictions()?;
            if !direct {
                let span = Span { end: token.span.start + 1, ..token.span };
                let help = || Some("write it first: `define viewer: [user] or editor`".to_owned());
                let message = "what is stored directly must come first";
                self.faults.report_with(Code::DirectNotFirst, span, message, help);
            }
            subjects.extend(found);
            return Ok(Expression::This);
        }
        let name = self.name("`[`, `(` or the name of a relation")?;
        if self.at_word("from") && (depth > 0 || !self.peek().first) {
            self.advance();
            let relation = self.name("the name of a relation")?;
            return Ok(Expression::Arrow { relation, target: name, all: false });
        }
        Ok(Expression::Reference(name))
    }

    /// `[user, user:*, group#member, user with condition]`
    fn restrictions(&mut self) -> Parsed<Vec<SubjectType>> {
        let opening = self.expect(Kind::OpenBracket, "`[`")?;
        let mut found = Vec::new();
        if self.at_kind(Kind::CloseBracket) {
            let help = || Some("name a type: `[user]`".to_owned());
            self.faults.report_with(Code::NoSubjectTypes, opening, "nothing can be stored in `[]`", help);
        } else {
            loop {
                found.push(self.restriction()?);
                if !self.eat(Kind::Comma) {
                    break;
                }
            }
        }
        self.expect(Kind::CloseBracket, "`,` or `]`")?;
        Ok(found)
    }

    fn restriction(&mut self) -> Parsed<SubjectType> {
        let name = self.name("a type")?;
        let mut span = name.span;
        let mut form = SubjectForm::Plain;
        if self.eat(Kind::Colon) {
            span.end = self.expect(Kind::Star, "`*`")?.end;
            form = SubjectForm::Wildcard;
        } else if self.eat(Kind::Hash) {
            let relation = self.name("a relation of that type")?;
            span.end = relation.span.end;
            form = SubjectForm::Userset(relation);
        }
        let mut condition = None;
        if self.at_word("with") {
            self.advance();
            let name = self.name("the name of a condition")?;
            span.end = name.span.end;
            condition = Some(name);
        }
        Ok(SubjectType { name, form, condition, expiration: false, deprecated: None, span })
    }

    fn condition(&mut self, doc: String) -> Parsed<Condition> {
        let name = self.name("the name of a condition")?;
        self.expect(Kind::OpenParen, "`(`")?;
        let mut parameters = Vec::new();
        if self.at_kind(Kind::CloseParen) {
            let message = format!("the condition `{}` has no parameters", name.text);
            self.faults.report(Code::NoParameters, name.span, message);
        } else {
            loop {
                let parameter = self.name("the name of a parameter")?;
                self.expect(Kind::Colon, "`:`")?;
                parameters.push((parameter, self.type_name()?));
                if !self.eat(Kind::Comma) {
                    break;
                }
            }
        }
        self.expect(Kind::CloseParen, "`,` or `)`")?;
        self.expect(Kind::OpenBrace, "`{`")?;
        let body = self.peek();
        self.expect(Kind::Cel, "an expression")?;
        self.expect(Kind::CloseBrace, "`}`")?;
        // Their comments may stand inside the body, where CEL has none of this form.
        let commented = body.text.lines().any(|line| line.trim_start().starts_with('#'));
        let text = if commented {
            let lines = body.text.lines().filter(|line| !line.trim_start().starts_with('#'));
            lines.collect::<Vec<_>>().join("\n").trim().to_owned()
        } else {
            body.text.to_owned()
        };
        let expression = Name { text, span: body.span };
        Ok(Condition { name, doc, parameters, expression, origin: Origin::default() })
    }

    fn type_name(&mut self) -> Parsed<TypeName> {
        let name = self.name("the type of the parameter")?;
        let mut of = Vec::new();
        if self.eat(Kind::Less) {
            of.push(TypeName { name: self.name("the type of what it holds")?, of: Vec::new() });
            self.expect(Kind::Greater, "`>`")?;
        }
        Ok(TypeName { name, of })
    }

    fn name(&mut self, expected: &str) -> Parsed<Name> {
        let token = self.peek();
        if token.kind != Kind::Word {
            self.unexpected(expected);
            return Err(Reported);
        }
        if let Err((_, fault)) = check_any_name(token.text) {
            self.faults.report(Code::InvalidName, token.span, format!("a name {fault}"));
            self.advance();
            return Err(Reported);
        }
        self.advance();
        Ok(Name { text: token.text.to_owned(), span: token.span })
    }

    /// The comments of the lines directly above, without their marks.
    fn doc(&mut self) -> String {
        let mut run: Vec<Token<'t>> = Vec::new();
        while let Some(&token) = self.tokens.get(self.at).filter(|token| token.kind == Kind::Comment) {
            if run.last().is_some_and(|last| last.line + 1 != token.line) {
                run.clear();
            }
            run.push(token);
            self.at += 1;
        }
        let next = self.tokens.get(self.at).map_or(0, |token| token.line);
        if run.last().is_none_or(|last| last.line + 1 != next) {
            return String::new();
        }
        let lines = run.iter().map(|token| token.text.trim_start_matches('#').trim());
        lines.collect::<Vec<_>>().join("\n").trim_matches('\n').to_owned()
    }

    fn end_of_line(&mut self, expected: &str) {
        if !self.peek().first {
            self.unexpected(expected);
            while !self.peek().first {
                self.advance();
            }
        }
    }

    fn expect(&mut self, kind: Kind, expected: &str) -> Parsed<Span> {
        let span = self.peek().span;
        if self.eat(kind) {
            return Ok(span);
        }
        self.unexpected(expected);
        Err(Reported)
    }

    fn unexpected(&mut self, expected: &str) {
        self.unexpected_word(expected, &[]);
    }

    /// Of the words, one may have been meant.
    fn unexpected_word(&mut self, expected: &str, words: &[&str]) {
        let token = self.peek();
        let found = match token.kind {
            Kind::End => "the end".to_owned(),
            _ => format!("`{}`", shown(token.text)),
        };
        let message = format!("expected {expected}, found {found}");
        self.faults.report_with(Code::Unexpected, token.span, message, || {
            nearest(token.text, words.iter().copied()).map(|near| format!("did you mean `{near}`?"))
        });
    }

    fn peek(&self) -> Token<'t> {
        self.peek_at(0)
    }

    /// A token ahead. Comments between are passed over: they only count before a declaration.
    fn peek_at(&self, ahead: usize) -> Token<'t> {
        let end = Token { kind: Kind::End, text: "", span: Span::default(), line: 0, first: true };
        let rest = self.tokens.get(self.at..).unwrap_or_default();
        let mut rest = rest.iter().filter(|token| {
            self.looked.set(self.looked.get() + 1);
            token.kind != Kind::Comment
        });
        rest.nth(ahead).or(self.tokens.last()).copied().unwrap_or(end)
    }

    fn at_kind(&self, kind: Kind) -> bool {
        self.peek().kind == kind
    }

    fn at_word(&self, word: &str) -> bool {
        let token = self.peek();
        token.kind == Kind::Word && token.text == word
    }

    fn eat(&mut self, kind: Kind) -> bool {
        let found = self.peek().kind == kind;
        if found {
            self.advance();
        }
        found
    }

    fn advance(&mut self) {
        while self.tokens.get(self.at).is_some_and(|token| token.kind == Kind::Comment) {
            self.at += 1;
        }
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    /// Passes over what cannot be read, up to a line that begins with one of the words, or the end.
    fn skip(&mut self, words: &[&str]) {
        loop {
            let token = self.peek();
            let stop = token.kind == Kind::End
                || (token.first && token.kind == Kind::Word && words.contains(&token.text));
            if stop {
                return;
            }
            self.advance();
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(MAX_TYPE_NAME).collect()
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
                let (_, tokens, looked) = counted(0, &text, &mut Diagnostics::new(&[]));
                assert!(looked <= 64 * (tokens + 10), "{looked} looks at {tokens} tokens: {text:.60}");
            }
        }
    }
}
