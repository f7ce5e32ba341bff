//! Expressions, by how tightly their operators bind.

use crate::schema::code::Code;
use crate::schema::cursor::{Parsed, Reported};
use crate::schema::lex::Kind;
use crate::schema::parse::{MAX_NESTING, Parser};
use crate::schema::syntax::Expression;

impl Parser<'_, '_, '_> {
    /// `expression`, or `expression with condition`: the extension of a permission that carries a condition.
    pub(super) fn conditional(&mut self, depth: usize) -> Parsed<Expression> {
        let expression = self.exclusion(depth)?;
        if !self.cursor.at_word("with") {
            return Ok(expression);
        }
        self.cursor.advance();
        let condition = self.path("the name of a condition")?;
        Ok(Expression::Conditional(Box::new(expression), condition))
    }

    fn exclusion(&mut self, depth: usize) -> Parsed<Expression> {
        self.operands(Kind::Minus, Expression::Exclusion, |parser| parser.intersection(depth))
    }

    fn intersection(&mut self, depth: usize) -> Parsed<Expression> {
        self.operands(Kind::Ampersand, Expression::Intersection, |parser| parser.union(depth))
    }

    fn union(&mut self, depth: usize) -> Parsed<Expression> {
        self.operands(Kind::Plus, Expression::Union, |parser| parser.operand(depth))
    }

    fn operands(
        &mut self,
        operator: Kind,
        build: fn(Vec<Expression>) -> Expression,
        mut operand: impl FnMut(&mut Self) -> Parsed<Expression>,
    ) -> Parsed<Expression> {
        let first = operand(self)?;
        if self.cursor.peek().kind != operator {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.cursor.eat(operator) {
            all.push(operand(self)?);
        }
        Ok(build(all))
    }

    fn operand(&mut self, depth: usize) -> Parsed<Expression> {
        if self.cursor.peek().kind == Kind::OpenParen {
            if depth == MAX_NESTING {
                let span = self.cursor.peek().span;
                let message = format!("parentheses are nested more than {MAX_NESTING} deep");
                self.cursor.faults.report(Code::Nesting, span, message);
                return Err(Reported);
            }
            self.cursor.advance();
            let inner = self.conditional(depth + 1)?;
            self.cursor.expect(Kind::CloseParen, "`)`")?;
            return Ok(inner);
        }
        if self.cursor.at_word("nil") {
            self.cursor.advance();
            return Ok(Expression::Nil);
        }
        if self.cursor.at_word("self") && self.features.contains(&"self") {
            self.cursor.advance();
            return Ok(Expression::Itself);
        }
        let relation = self.name("a relation, a permission, `nil` or `(`")?;
        if self.cursor.eat(Kind::Arrow) {
            let target = self.name("the relation or permission that the arrow leads to")?;
            return Ok(Expression::Arrow { relation, target, all: false });
        }
        if !self.cursor.eat(Kind::Dot) {
            return Ok(Expression::Reference(relation));
        }
        let all = self.cursor.at_word("all");
        if !all && !self.cursor.at_word("any") {
            self.cursor.unexpected("`any` or `all`");
            return Err(Reported);
        }
        self.cursor.advance();
        self.cursor.expect(Kind::OpenParen, "`(`")?;
        let target = self.name("the relation or permission that the arrow leads to")?;
        self.cursor.expect(Kind::CloseParen, "`)`")?;
        Ok(Expression::Arrow { relation, target, all })
    }
}
