//! Conditions: name, typed parameters, and an expression that another parser reads.

use crate::name::MAX_NAME;
use crate::schema::code::Code;
use crate::schema::cursor::{Parsed, Reported};
use crate::schema::diagnostic::Span;
use crate::schema::expression;
use crate::schema::lex::Kind;
use crate::schema::parse::{MAX_TYPE_NESTING, Parser};
use crate::schema::syntax::{Condition, Name, Origin, TypeName};

impl Parser<'_, '_, '_> {
    pub(super) fn condition(&mut self, doc: String) -> Parsed<Condition> {
        let name = self.path("the name of a condition")?;
        self.cursor.expect(Kind::OpenParen, "`(`")?;
        let mut parameters = Vec::new();
        if self.cursor.at_kind(Kind::CloseParen) {
            let message = format!("the condition `{}` has no parameters", name.text);
            let help = || {
                Some("what needs no parameter needs no condition: write `nil`, or leave it out".to_owned())
            };
            self.cursor.faults.report_with(Code::NoParameters, name.span, message, help);
        } else {
            loop {
                let parameter = self.word("the name of a parameter")?;
                parameters.push((parameter, self.type_name(0)?));
                if !self.cursor.eat(Kind::Comma) {
                    break;
                }
            }
        }
        self.cursor.expect(Kind::CloseParen, "`,` or `)`")?;
        self.cursor.expect(Kind::OpenBrace, "`{`")?;
        let body = self.cursor.peek();
        self.cursor.expect(Kind::Cel, "an expression")?;
        self.cursor.expect(Kind::CloseBrace, "`}`")?;
        let (text, at) = expression::uncommented(body.text);
        let start = body.span.start + at;
        let span = Span { start, end: start + text.len(), ..body.span };
        let expression = Name { text: text.to_owned(), span };
        Ok(Condition { name, doc, parameters, expression, origin: Origin::default() })
    }

    fn type_name(&mut self, depth: usize) -> Parsed<TypeName> {
        let name = self.word("the type of the parameter")?;
        let mut of = Vec::new();
        if self.cursor.at_kind(Kind::Less) {
            if depth == MAX_TYPE_NESTING {
                let message = format!("types are nested more than {MAX_TYPE_NESTING} deep");
                self.cursor.faults.report(Code::Nesting, name.span, message);
                return Err(Reported);
            }
            self.cursor.advance();
            of.push(self.type_name(depth + 1)?);
            while self.cursor.eat(Kind::Comma) {
                of.push(self.type_name(depth + 1)?);
            }
            self.cursor.expect(Kind::Greater, "`>`")?;
        }
        Ok(TypeName { name, of })
    }

    /// A word that is no name of the schema: parameters may be written as CEL writes them.
    fn word(&mut self, expected: &str) -> Parsed<Name> {
        let token = self.cursor.peek();
        let fits = token.text.len() <= MAX_NAME && !token.text.starts_with(|c: char| c.is_ascii_digit());
        if token.kind != Kind::Word || !fits {
            self.cursor.unexpected(expected);
            return Err(Reported);
        }
        self.cursor.advance();
        Ok(Name { text: token.text.to_owned(), span: token.span })
    }
}
