//! Names, alone and with their namespaces.

use crate::name::{MAX_NAME, MAX_TYPE_NAME, check_name};
use crate::schema::code::Code;
use crate::schema::cursor::{Parsed, Reported};
use crate::schema::lex::Kind;
use crate::schema::parse::{Parser, RESERVED};
use crate::schema::syntax::Name;

impl Parser<'_, '_, '_> {
    /// A name with the namespaces before it: `tenant/document`.
    pub(super) fn path(&mut self, expected: &str) -> Parsed<Name> {
        let mut path = self.name(expected)?;
        while self.cursor.eat(Kind::Slash) {
            let part = self.name(expected)?;
            path.text.push('/');
            path.text.push_str(&part.text);
            path.span.end = part.span.end;
        }
        if path.text.len() > MAX_TYPE_NAME {
            let message = format!("a name with its namespaces is longer than {MAX_TYPE_NAME} bytes");
            self.cursor.faults.report(Code::InvalidName, path.span, message);
            return Err(Reported);
        }
        Ok(path)
    }

    pub(super) fn name(&mut self, expected: &str) -> Parsed<Name> {
        let token = self.cursor.peek();
        if token.kind != Kind::Word || RESERVED.contains(&token.text) {
            self.cursor.unexpected(expected);
            return Err(Reported);
        }
        if let Err((_, fault)) = check_name(token.text) {
            let help = || Some("names are lower case: `[a-z][a-z0-9_]*`, at most 64 bytes".to_owned());
            self.cursor.faults.report_with(Code::InvalidName, token.span, format!("a name {fault}"), help);
            if token.text.len() > MAX_NAME {
                return Err(Reported);
            }
        }
        self.cursor.advance();
        Ok(Name { text: token.text.to_owned(), span: token.span })
    }
}
