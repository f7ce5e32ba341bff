//! Types and partials: their relations, what these may hold, and their permissions.

use crate::schema::code::Code;
use crate::schema::cursor::{Parsed, Reported};
use crate::schema::lex::Kind;
use crate::schema::parse::{INNER, Parser};
use crate::schema::rule::Deprecation;
use crate::schema::syntax::{Body, Definition, Item, Name, Origin, SubjectForm, SubjectType};

impl Parser<'_, '_, '_> {
    pub(super) fn definition(&mut self, doc: String, deprecated: Option<Deprecation>) -> Parsed<Definition> {
        let name = self.path("the name of a type")?;
        self.cursor.expect(Kind::OpenBrace, "`{`")?;
        let (mut items, origin) = (Vec::new(), Origin::default());
        loop {
            let item_doc = self.doc();
            if self.cursor.eat(Kind::CloseBrace) {
                return Ok(Definition { name, doc, deprecated, items, extends: false, origin });
            }
            if self.cursor.at_end() || self.cursor.at_word("definition") || self.cursor.at_word("caveat") {
                self.cursor.unexpected("`relation`, `permission` or `}`");
                // What was read of this definition still serves the others as a name.
                return Ok(Definition { name, doc, deprecated, items, extends: false, origin });
            }
            match self.item(item_doc) {
                Ok(item) => items.push(item),
                Err(Reported) => self.cursor.skip_until(|token| match token.kind {
                    Kind::CloseBrace => true,
                    Kind::Word => INNER.contains(&token.text),
                    _ => false,
                }),
            }
        }
    }

    fn item(&mut self, mut doc: String) -> Parsed<Item> {
        let deprecated = self.decorators(&mut doc)?;
        let (name, body) = if self.cursor.at_word("relation") {
            self.cursor.advance();
            let name = self.name("the name of a relation")?;
            self.cursor.expect(Kind::Colon, "`:`")?;
            (name, Body::Relation(self.subject_types()?))
        } else if self.cursor.at_word("permission") {
            self.cursor.advance();
            let name = self.name("the name of a permission")?;
            let announced = if self.cursor.eat(Kind::Colon) { Some(self.announced()?) } else { None };
            self.cursor.expect(Kind::Equals, "`=`")?;
            (name, Body::Permission { announced, expression: self.conditional(0)? })
        } else if self.cursor.eat(Kind::Ellipsis) {
            (self.path("the name of a partial")?, Body::Include)
        } else {
            self.cursor.unexpected_word("`relation`, `permission` or `}`", &["relation", "permission"]);
            // Always forward: otherwise the same token would be met again.
            self.cursor.advance();
            return Err(Reported);
        };
        let item = Item { name, doc, deprecated, body, origin: Origin::default() };
        self.cursor.eat(Kind::Semicolon);
        let ended =
            matches!(self.cursor.peek().kind, Kind::CloseBrace | Kind::End | Kind::At | Kind::Ellipsis);
        if ended || INNER.iter().any(|word| self.cursor.at_word(word)) {
            return Ok(item);
        }
        let arrow = matches!(self.cursor.peek().kind, Kind::Arrow | Kind::Dot);
        if arrow && matches!(item.body, Body::Permission { .. }) {
            let help =
                || Some("give the first arrow a permission of its own, and start at that type".to_owned());
            let span = self.cursor.peek().span;
            self.cursor.faults.report_with(
                Code::ArrowChain,
                span,
                "an arrow cannot follow an arrow or an expression",
                help,
            );
            return Err(Reported);
        }
        self.cursor.unexpected(match item.body {
            Body::Relation(_) => "`|`, `relation`, `permission` or `}`",
            _ => "`+`, `&`, `-`, `relation`, `permission` or `}`",
        });
        Err(Reported)
    }

    fn announced(&mut self) -> Parsed<Vec<Name>> {
        let mut types = vec![self.path("a type of subjects")?];
        while self.cursor.eat(Kind::Pipe) {
            types.push(self.path("a type of subjects")?);
        }
        Ok(types)
    }

    fn subject_types(&mut self) -> Parsed<Vec<SubjectType>> {
        let mut types = vec![self.subject_type()?];
        while self.cursor.eat(Kind::Pipe) {
            types.push(self.subject_type()?);
        }
        Ok(types)
    }

    fn subject_type(&mut self) -> Parsed<SubjectType> {
        let deprecated = self.decorators(&mut String::new())?;
        let name = self.path("a type of subjects")?;
        let mut span = name.span;
        let form = if self.cursor.eat(Kind::Hash) {
            if self.cursor.at_kind(Kind::Ellipsis) {
                span.end = self.cursor.peek().span.end;
                self.cursor.advance();
                SubjectForm::Plain
            } else {
                let relation = self.name("a relation or permission of that type")?;
                span.end = relation.span.end;
                SubjectForm::Userset(relation)
            }
        } else if self.cursor.eat(Kind::Colon) {
            span.end = self.cursor.expect(Kind::Star, "`*`")?.end;
            SubjectForm::Wildcard
        } else {
            SubjectForm::Plain
        };
        let (mut condition, mut expiration) = (None, false);
        if self.cursor.at_word("with") {
            self.cursor.advance();
            if self.at_expiration() {
                expiration = true;
                span.end = self.cursor.peek().span.end;
                self.cursor.advance();
            } else {
                let name = self.path("the name of a condition, or `expiration`")?;
                span.end = name.span.end;
                condition = Some(name);
                if self.cursor.at_word("and") {
                    self.cursor.advance();
                    let token = self.cursor.peek();
                    if token.text != "expiration" {
                        self.cursor.unexpected("`expiration`");
                        return Err(Reported);
                    }
                    expiration = true;
                    span.end = token.span.end;
                    self.cursor.advance();
                }
            }
        }
        Ok(SubjectType { name, form, condition, expiration, deprecated, span })
    }

    /// Without the feature it is a name like any other.
    fn at_expiration(&self) -> bool {
        self.cursor.at_word("expiration") && self.features.contains(&"expiration")
    }
}
