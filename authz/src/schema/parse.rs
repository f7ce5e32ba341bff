//! Tokens to a tree. Union binds tightest, then intersection, then exclusion, as in SpiceDB.
//!
//! After a fault the parser goes on with the next `relation`, `permission` or `definition`, so that
//! one run tells of every fault.

use crate::name::{MAX_NAME, check_name};
use crate::schema::diagnostic::{Diagnostics, Span};
use crate::schema::lex::{self, Kind, Token};
use crate::schema::syntax::{Body, Definition, Expression, Item, Name, SubjectForm, SubjectType};

/// Parentheses in parentheses; each level costs stack.
const MAX_NESTING: usize = 64;
/// Words with a meaning of their own, now or in the language that this one follows.
const RESERVED: [&str; 6] = ["definition", "relation", "permission", "nil", "self", "with"];

/// Reads the definitions of one source.
pub(crate) fn parse(source: usize, text: &str, faults: &mut Diagnostics<'_>) -> Vec<Definition> {
    let tokens = lex::tokens(source, text, faults);
    let mut parser = Parser { tokens: &tokens, at: 0, faults };
    let mut definitions = Vec::new();
    loop {
        let doc = parser.doc();
        if parser.eat(Kind::End) {
            return definitions;
        }
        match parser.definition(doc) {
            Ok(definition) => definitions.push(definition),
            Err(Reported) => parser.skip_until(&["definition"]),
        }
    }
}

/// The fault is in the diagnostics already.
struct Reported;

type Parsed<T> = Result<T, Reported>;

struct Parser<'t, 'f, 'a> {
    /// INVARIANT: ends with [`Kind::End`], which is never passed.
    tokens: &'t [Token<'t>],
    at: usize,
    faults: &'f mut Diagnostics<'a>,
}

impl<'t> Parser<'t, '_, '_> {
    fn definition(&mut self, doc: String) -> Parsed<Definition> {
        self.keyword("definition")?;
        let name = self.name("the name of a type")?;
        self.expect(Kind::OpenBrace, "`{`")?;
        let mut items = Vec::new();
        loop {
            let item_doc = self.doc();
            if self.eat(Kind::CloseBrace) {
                return Ok(Definition { name, doc, items });
            }
            if self.peek().kind == Kind::End || self.at_word("definition") {
                self.unexpected("`relation`, `permission` or `}`");
                // What was read of this definition still serves the others as a name.
                return Ok(Definition { name, doc, items });
            }
            match self.item(item_doc) {
                Ok(item) => items.push(item),
                Err(Reported) => self.skip_until(&["relation", "permission", "definition"]),
            }
        }
    }

    fn item(&mut self, doc: String) -> Parsed<Item> {
        let item = if self.at_word("relation") {
            self.advance();
            let name = self.name("the name of a relation")?;
            self.expect(Kind::Colon, "`:`")?;
            Item { name, doc, body: Body::Relation(self.subject_types()?) }
        } else if self.at_word("permission") {
            self.advance();
            let name = self.name("the name of a permission")?;
            self.expect(Kind::Equals, "`=`")?;
            Item { name, doc, body: Body::Permission(self.exclusion(0)?) }
        } else {
            self.unexpected("`relation`, `permission` or `}`");
            // Always forward: otherwise the same token would be met again.
            self.advance();
            return Err(Reported);
        };
        self.eat(Kind::Semicolon);
        let ended = matches!(self.peek().kind, Kind::CloseBrace | Kind::End | Kind::Doc);
        if ended || self.at_word("relation") || self.at_word("permission") || self.at_word("definition") {
            return Ok(item);
        }
        let expected = match item.body {
            Body::Relation(_) => "`|`, `relation`, `permission` or `}`",
            Body::Permission(_) => "`+`, `&`, `-`, `relation`, `permission` or `}`",
        };
        self.unexpected(expected);
        Err(Reported)
    }

    fn subject_types(&mut self) -> Parsed<Vec<SubjectType>> {
        let mut types = vec![self.subject_type()?];
        while self.eat(Kind::Pipe) {
            types.push(self.subject_type()?);
        }
        Ok(types)
    }

    fn subject_type(&mut self) -> Parsed<SubjectType> {
        let name = self.name("a type of subjects")?;
        let mut span = name.span;
        let form = if self.eat(Kind::Hash) {
            let relation = self.name("a relation or permission of that type")?;
            span.end = relation.span.end;
            SubjectForm::Userset(relation)
        } else if self.eat(Kind::Colon) {
            span.end = self.expect(Kind::Star, "`*`")?.end;
            SubjectForm::Wildcard
        } else {
            SubjectForm::Plain
        };
        Ok(SubjectType { name, form, span })
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
        if self.peek().kind != operator {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.eat(operator) {
            all.push(operand(self)?);
        }
        Ok(build(all))
    }

    fn operand(&mut self, depth: usize) -> Parsed<Expression> {
        if self.peek().kind == Kind::OpenParen {
            if depth == MAX_NESTING {
                let span = self.peek().span;
                self.faults.report(span, format!("parentheses are nested more than {MAX_NESTING} deep"));
                return Err(Reported);
            }
            self.advance();
            let inner = self.exclusion(depth + 1)?;
            self.expect(Kind::CloseParen, "`)`")?;
            return Ok(inner);
        }
        if self.at_word("nil") {
            self.advance();
            return Ok(Expression::Nil);
        }
        let name = self.name("a relation, a permission, `nil` or `(`")?;
        if self.eat(Kind::Arrow) {
            let target = self.name("the relation or permission that the arrow leads to")?;
            return Ok(Expression::Arrow(name, target));
        }
        Ok(Expression::Reference(name))
    }

    fn name(&mut self, expected: &str) -> Parsed<Name> {
        let token = self.peek();
        if token.kind != Kind::Word || RESERVED.contains(&token.text) {
            self.unexpected(expected);
            return Err(Reported);
        }
        if let Err((_, fault)) = check_name(token.text) {
            let help = || Some("names are lower case: `[a-z][a-z0-9_]*`, at most 64 bytes".to_owned());
            self.faults.report_with(token.span, format!("a name {fault}"), help);
            if token.text.len() > MAX_NAME {
                return Err(Reported);
            }
        }
        self.advance();
        Ok(Name { text: token.text.to_owned(), span: token.span })
    }

    /// The doc comments that stand here, one a line.
    fn doc(&mut self) -> String {
        let mut lines = Vec::new();
        while self.peek().kind == Kind::Doc {
            lines.push(lex::doc_text(self.peek().text));
            self.advance();
        }
        lines.join("\n")
    }

    fn keyword(&mut self, word: &str) -> Parsed<()> {
        if self.at_word(word) {
            self.advance();
            return Ok(());
        }
        self.unexpected(&format!("`{word}`"));
        // Always forward: otherwise the same token would be met again.
        self.advance();
        Err(Reported)
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
        let token = self.peek();
        let found = match token.kind {
            Kind::End => "the end".to_owned(),
            Kind::Doc => "a doc comment".to_owned(),
            _ => format!("`{}`", token.text.chars().take(MAX_NAME).collect::<String>()),
        };
        self.faults.report(token.span, format!("expected {expected}, found {found}"));
    }

    fn peek(&self) -> Token<'t> {
        let end = Token { kind: Kind::End, text: "", span: Span::default() };
        self.tokens.get(self.at).or(self.tokens.last()).copied().unwrap_or(end)
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
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    /// Passes over what cannot be read, up to one of the words, a closing brace or the end.
    fn skip_until(&mut self, words: &[&str]) {
        let inside = words.contains(&"relation");
        loop {
            let token = self.peek();
            let stop = match token.kind {
                Kind::End => true,
                Kind::CloseBrace => inside,
                Kind::Word => words.contains(&token.text),
                _ => false,
            };
            if stop {
                return;
            }
            self.advance();
        }
    }
}
