//! Conditions: name, typed parameters, and an expression that another parser reads.

use crate::schema::code::Code;
use crate::schema::cursor::Parsed;
use crate::schema::openfga::lex::Kind;
use crate::schema::openfga::parse::Parser;
use crate::schema::syntax::{Condition, Name, Origin, TypeName};

impl Parser<'_, '_, '_> {
    pub(super) fn condition(&mut self, doc: String) -> Parsed<Condition> {
        let name = self.name("the name of a condition")?;
        self.cursor.expect(Kind::OpenParen, "`(`")?;
        let mut parameters = Vec::new();
        if self.cursor.at_kind(Kind::CloseParen) {
            let message = format!("the condition `{}` has no parameters", name.text);
            self.cursor.faults.report(Code::NoParameters, name.span, message);
        } else {
            loop {
                let parameter = self.name("the name of a parameter")?;
                self.cursor.expect(Kind::Colon, "`:`")?;
                parameters.push((parameter, self.type_name()?));
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
        if self.cursor.eat(Kind::Less) {
            of.push(TypeName { name: self.name("the type of what it holds")?, of: Vec::new() });
            self.cursor.expect(Kind::Greater, "`>`")?;
        }
        Ok(TypeName { name, of })
    }
}
