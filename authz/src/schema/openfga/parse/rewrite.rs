//! Expressions, and what may be stored directly.

use crate::schema::code::Code;
use crate::schema::cursor::{Parsed, Reported};
use crate::schema::diagnostic::Span;
use crate::schema::openfga::lex::Kind;
use crate::schema::openfga::parse::Parser;
use crate::schema::parse::MAX_NESTING;
use crate::schema::syntax::{Expression, SubjectForm, SubjectType};

impl Parser<'_, '_, '_> {
    /// `direct`: what is stored directly may stand here, because nothing stands before it.
    pub(super) fn expression(
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
            let span = self.cursor.peek().span;
            if found != operator || (operator == "but not" && all.len() == 2) {
                let message = if found == operator {
                    "`but not` stands twice without parentheses".to_owned()
                } else {
                    format!("`{operator}` and `{found}` are mixed without parentheses")
                };
                let help = || Some("write parentheses around what belongs together".to_owned());
                self.cursor.faults.report_with(Code::MixedOperators, span, message, help);
                return Err(Reported);
            }
            self.cursor.advance();
            if operator == "but not" {
                self.cursor.advance();
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
        let token = self.cursor.peek();
        if token.first && depth == 0 || token.kind != Kind::Word {
            return None;
        }
        match token.text {
            "or" => Some("or"),
            "and" => Some("and"),
            "but" if self.cursor.peek_at(1).text == "not" => Some("but not"),
            _ => None,
        }
    }

    fn operand(&mut self, subjects: &mut Vec<SubjectType>, direct: bool, depth: usize) -> Parsed<Expression> {
        let token = self.cursor.peek();
        if token.kind == Kind::OpenParen {
            if depth == MAX_NESTING {
                let message = format!("parentheses are nested more than {MAX_NESTING} deep");
                self.cursor.faults.report(Code::Nesting, token.span, message);
                return Err(Reported);
            }
            self.cursor.advance();
            let inner = self.expression(subjects, direct, depth + 1)?;
            self.cursor.expect(Kind::CloseParen, "`)`, `or`, `and` or `but not`")?;
            return Ok(inner);
        }
        if token.kind == Kind::OpenBracket {
            let found = self.restrictions()?;
            if !direct {
                let span = Span { end: token.span.start + 1, ..token.span };
                let help = || Some("write it first: `define viewer: [user] or editor`".to_owned());
                let message = "what is stored directly must come first";
                self.cursor.faults.report_with(Code::DirectNotFirst, span, message, help);
            }
            subjects.extend(found);
            return Ok(Expression::This);
        }
        let name = self.name("`[`, `(` or the name of a relation")?;
        if self.cursor.at_word("from") && (depth > 0 || !self.cursor.peek().first) {
            self.cursor.advance();
            let relation = self.name("the name of a relation")?;
            return Ok(Expression::Arrow { relation, target: name, all: false });
        }
        Ok(Expression::Reference(name))
    }

    /// `[user, user:*, group#member, user with condition]`
    fn restrictions(&mut self) -> Parsed<Vec<SubjectType>> {
        let opening = self.cursor.expect(Kind::OpenBracket, "`[`")?;
        let mut found = Vec::new();
        if self.cursor.at_kind(Kind::CloseBracket) {
            let help = || Some("name a type: `[user]`".to_owned());
            self.cursor.faults.report_with(
                Code::NoSubjectTypes,
                opening,
                "nothing can be stored in `[]`",
                help,
            );
        } else {
            loop {
                found.push(self.restriction()?);
                if !self.cursor.eat(Kind::Comma) {
                    break;
                }
            }
        }
        self.cursor.expect(Kind::CloseBracket, "`,` or `]`")?;
        Ok(found)
    }

    fn restriction(&mut self) -> Parsed<SubjectType> {
        let name = self.name("a type")?;
        let mut span = name.span;
        let mut form = SubjectForm::Plain;
        if self.cursor.eat(Kind::Colon) {
            span.end = self.cursor.expect(Kind::Star, "`*`")?.end;
            form = SubjectForm::Wildcard;
        } else if self.cursor.eat(Kind::Hash) {
            let relation = self.name("a relation of that type")?;
            span.end = relation.span.end;
            form = SubjectForm::Userset(relation);
        }
        let mut condition = None;
        if self.cursor.at_word("with") {
            self.cursor.advance();
            let name = self.name("the name of a condition")?;
            span.end = name.span.end;
            condition = Some(name);
        }
        Ok(SubjectType { name, form, condition, expiration: false, deprecated: None, span })
    }
}
