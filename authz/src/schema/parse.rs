//! Native tokens to a tree. Union binds tightest, then intersection, then exclusion, as in SpiceDB.
//!
//! After a fault the parser goes on with the next `relation`, `permission` or `definition`, so that
//! one run tells of every fault.

use std::cell::Cell;

use crate::name::{MAX_NAME, MAX_TYPE_NAME, check_name, nearest};
use crate::schema::code::Code;
use crate::schema::diagnostic::{Diagnostics, Span};
use crate::schema::expression;
use crate::schema::lex::{self, Kind, Token};
use crate::schema::rule::Deprecation;
use crate::schema::syntax::{
    Body, Condition, Definition, Expression, File, Item, Name, Origin, SubjectForm, SubjectType, TypeName,
};

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
    counted(source, text, faults).0
}

/// Also tells how many tokens there were and how often one was looked at.
fn counted(source: usize, text: &str, faults: &mut Diagnostics<'_>) -> (File, usize, usize) {
    let mut tokens = lex::tokens(source, text, faults);
    tokens.retain(|token| token.kind != Kind::Comment);
    let mut parser = Parser { tokens: &tokens, at: 0, looked: Cell::new(0), faults, features: Vec::new() };
    let mut file = File::default();
    while parser.peek().kind != Kind::End {
        if parser.top(&mut file).is_err() {
            parser.skip_until(&TOP, false);
        }
    }
    let looked = parser.looked.get();
    (file, tokens.len(), looked)
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
    features: Vec<&'t str>,
}

impl<'t> Parser<'t, '_, '_> {
    fn top(&mut self, file: &mut File) -> Parsed<()> {
        let mut doc = self.doc();
        let deprecated = self.decorators(&mut doc)?;
        match self.peek().text {
            "definition" if self.at_kind(Kind::Word) => {
                self.advance();
                file.definitions.push(self.definition(doc, deprecated)?);
            }
            "partial" if self.at_kind(Kind::Word) => {
                self.advance();
                file.partials.push(self.definition(doc, deprecated)?);
            }
            "caveat" if self.at_kind(Kind::Word) => {
                self.advance();
                file.conditions.push(self.condition(doc)?);
            }
            "import" if self.at_kind(Kind::Word) => {
                self.advance();
                let path = self.peek();
                self.expect(Kind::Text, "the path of a file, in quotes")?;
                file.imports.push(Name { text: unquoted(path.text), span: path.span });
            }
            "use" if self.at_kind(Kind::Word) => {
                self.advance();
                self.feature(file)?;
            }
            _ if self.at_kind(Kind::Semicolon) => self.advance(),
            _ if self.at_kind(Kind::End) => {}
            _ => {
                self.unexpected_word("`definition`, `caveat`, `partial`, `import` or `use`", &TOP);
                // Always forward: otherwise the same token would be met again.
                self.advance();
                return Err(Reported);
            }
        }
        Ok(())
    }

    fn feature(&mut self, file: &File) -> Parsed<()> {
        let token = self.peek();
        self.expect(Kind::Word, "a feature of the language")?;
        if !FEATURES.contains(&token.text) {
            let message =
                format!("unknown feature `{}`", token.text.chars().take(MAX_NAME).collect::<String>());
            self.faults.report_with(Code::UnknownFeature, token.span, message, || {
                Some(format!("the features are {}", FEATURES.map(|name| format!("`{name}`")).join(", ")))
            });
        } else if !file.definitions.is_empty() || !file.conditions.is_empty() {
            let message = "`use` must stand before the first definition";
            self.faults.report(Code::UnknownFeature, token.span, message);
        }
        self.features.push(token.text);
        Ok(())
    }

    /// `@deprecated`, `@deprecated("why")`, `@deprecated(error, "why")`, `@deprecated(level: error, ..)`
    fn decorators(&mut self, doc: &mut String) -> Parsed<Option<Deprecation>> {
        let mut found = None;
        while self.eat(Kind::At) {
            let name = self.peek();
            self.expect(Kind::Word, "the name of a mark")?;
            if name.text != "deprecated" {
                let message =
                    format!("unknown mark `@{}`", name.text.chars().take(MAX_NAME).collect::<String>());
                let help = || Some("the only mark is `@deprecated(warn, \"why\")`".to_owned());
                self.faults.report_with(Code::BadDecorator, name.span, message, help);
            }
            let mut mark = Deprecation { refused: false, message: "".into() };
            if self.eat(Kind::OpenParen) {
                loop {
                    let named = self.peek_at(1).kind == Kind::Colon && self.at_kind(Kind::Word);
                    if named {
                        self.advance();
                        self.advance();
                    }
                    let value = self.peek();
                    match (value.kind, value.text) {
                        (Kind::Text, text) => mark.message = unquoted(text).into(),
                        (Kind::Word, "warn") => mark.refused = false,
                        (Kind::Word, "error") => mark.refused = true,
                        _ => {
                            self.unexpected("`warn`, `error` or a text in quotes");
                            return Err(Reported);
                        }
                    }
                    self.advance();
                    if !self.eat(Kind::Comma) {
                        break;
                    }
                }
                self.expect(Kind::CloseParen, "`,` or `)`")?;
            }
            self.eat(Kind::Semicolon);
            found = Some(mark);
            let more = self.doc();
            if doc.is_empty() {
                *doc = more;
            }
        }
        Ok(found)
    }

    fn definition(&mut self, doc: String, deprecated: Option<Deprecation>) -> Parsed<Definition> {
        let name = self.path("the name of a type")?;
        self.expect(Kind::OpenBrace, "`{`")?;
        let (mut items, origin) = (Vec::new(), Origin::default());
        loop {
            let item_doc = self.doc();
            if self.eat(Kind::CloseBrace) {
                return Ok(Definition { name, doc, deprecated, items, extends: false, origin });
            }
            if self.peek().kind == Kind::End || self.at_word("definition") || self.at_word("caveat") {
                self.unexpected("`relation`, `permission` or `}`");
                // What was read of this definition still serves the others as a name.
                return Ok(Definition { name, doc, deprecated, items, extends: false, origin });
            }
            match self.item(item_doc) {
                Ok(item) => items.push(item),
                Err(Reported) => self.skip_until(&INNER, true),
            }
        }
    }

    fn item(&mut self, mut doc: String) -> Parsed<Item> {
        let deprecated = self.decorators(&mut doc)?;
        let (name, body) = if self.at_word("relation") {
            self.advance();
            let name = self.name("the name of a relation")?;
            self.expect(Kind::Colon, "`:`")?;
            (name, Body::Relation(self.subject_types()?))
        } else if self.at_word("permission") {
            self.advance();
            let name = self.name("the name of a permission")?;
            let announced = if self.eat(Kind::Colon) { Some(self.announced()?) } else { None };
            self.expect(Kind::Equals, "`=`")?;
            (name, Body::Permission { announced, expression: self.conditional(0)? })
        } else if self.eat(Kind::Ellipsis) {
            (self.path("the name of a partial")?, Body::Include)
        } else {
            self.unexpected_word("`relation`, `permission` or `}`", &["relation", "permission"]);
            // Always forward: otherwise the same token would be met again.
            self.advance();
            return Err(Reported);
        };
        let item = Item { name, doc, deprecated, body, origin: Origin::default() };
        self.eat(Kind::Semicolon);
        let ended = matches!(self.peek().kind, Kind::CloseBrace | Kind::End | Kind::At | Kind::Ellipsis);
        if ended || INNER.iter().any(|word| self.at_word(word)) {
            return Ok(item);
        }
        let arrow = matches!(self.peek().kind, Kind::Arrow | Kind::Dot);
        if arrow && matches!(item.body, Body::Permission { .. }) {
            let help =
                || Some("give the first arrow a permission of its own, and start at that type".to_owned());
            let span = self.peek().span;
            self.faults.report_with(
                Code::ArrowChain,
                span,
                "an arrow cannot follow an arrow or an expression",
                help,
            );
            return Err(Reported);
        }
        self.unexpected(match item.body {
            Body::Relation(_) => "`|`, `relation`, `permission` or `}`",
            _ => "`+`, `&`, `-`, `relation`, `permission` or `}`",
        });
        Err(Reported)
    }

    fn announced(&mut self) -> Parsed<Vec<Name>> {
        let mut types = vec![self.path("a type of subjects")?];
        while self.eat(Kind::Pipe) {
            types.push(self.path("a type of subjects")?);
        }
        Ok(types)
    }

    fn subject_types(&mut self) -> Parsed<Vec<SubjectType>> {
        let mut types = vec![self.subject_type()?];
        while self.eat(Kind::Pipe) {
            types.push(self.subject_type()?);
        }
        Ok(types)
    }

    fn subject_type(&mut self) -> Parsed<SubjectType> {
        let deprecated = self.decorators(&mut String::new())?;
        let name = self.path("a type of subjects")?;
        let mut span = name.span;
        let form = if self.eat(Kind::Hash) {
            if self.at_kind(Kind::Ellipsis) {
                span.end = self.peek().span.end;
                self.advance();
                SubjectForm::Plain
            } else {
                let relation = self.name("a relation or permission of that type")?;
                span.end = relation.span.end;
                SubjectForm::Userset(relation)
            }
        } else if self.eat(Kind::Colon) {
            span.end = self.expect(Kind::Star, "`*`")?.end;
            SubjectForm::Wildcard
        } else {
            SubjectForm::Plain
        };
        let (mut condition, mut expiration) = (None, false);
        if self.at_word("with") {
            self.advance();
            if self.at_expiration() {
                expiration = true;
                span.end = self.peek().span.end;
                self.advance();
            } else {
                let name = self.path("the name of a condition, or `expiration`")?;
                span.end = name.span.end;
                condition = Some(name);
                if self.at_word("and") {
                    self.advance();
                    let token = self.peek();
                    if token.text != "expiration" {
                        self.unexpected("`expiration`");
                        return Err(Reported);
                    }
                    expiration = true;
                    span.end = token.span.end;
                    self.advance();
                }
            }
        }
        Ok(SubjectType { name, form, condition, expiration, deprecated, span })
    }

    /// Without the feature it is a name like any other.
    fn at_expiration(&self) -> bool {
        self.at_word("expiration") && self.features.contains(&"expiration")
    }

    /// `expression`, or `expression with condition`: the extension of a permission that carries a condition.
    fn conditional(&mut self, depth: usize) -> Parsed<Expression> {
        let expression = self.exclusion(depth)?;
        if !self.at_word("with") {
            return Ok(expression);
        }
        self.advance();
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
                let message = format!("parentheses are nested more than {MAX_NESTING} deep");
                self.faults.report(Code::Nesting, span, message);
                return Err(Reported);
            }
            self.advance();
            let inner = self.conditional(depth + 1)?;
            self.expect(Kind::CloseParen, "`)`")?;
            return Ok(inner);
        }
        if self.at_word("nil") {
            self.advance();
            return Ok(Expression::Nil);
        }
        if self.at_word("self") && self.features.contains(&"self") {
            self.advance();
            return Ok(Expression::Itself);
        }
        let relation = self.name("a relation, a permission, `nil` or `(`")?;
        if self.eat(Kind::Arrow) {
            let target = self.name("the relation or permission that the arrow leads to")?;
            return Ok(Expression::Arrow { relation, target, all: false });
        }
        if !self.eat(Kind::Dot) {
            return Ok(Expression::Reference(relation));
        }
        let all = self.at_word("all");
        if !all && !self.at_word("any") {
            self.unexpected("`any` or `all`");
            return Err(Reported);
        }
        self.advance();
        self.expect(Kind::OpenParen, "`(`")?;
        let target = self.name("the relation or permission that the arrow leads to")?;
        self.expect(Kind::CloseParen, "`)`")?;
        Ok(Expression::Arrow { relation, target, all })
    }

    fn condition(&mut self, doc: String) -> Parsed<Condition> {
        let name = self.path("the name of a condition")?;
        self.expect(Kind::OpenParen, "`(`")?;
        let mut parameters = Vec::new();
        if self.at_kind(Kind::CloseParen) {
            let message = format!("the condition `{}` has no parameters", name.text);
            let help = || {
                Some("what needs no parameter needs no condition: write `nil`, or leave it out".to_owned())
            };
            self.faults.report_with(Code::NoParameters, name.span, message, help);
        } else {
            loop {
                let parameter = self.word("the name of a parameter")?;
                parameters.push((parameter, self.type_name(0)?));
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
        let (text, at) = expression::uncommented(body.text);
        let start = body.span.start + at;
        let span = Span { start, end: start + text.len(), ..body.span };
        let expression = Name { text: text.to_owned(), span };
        Ok(Condition { name, doc, parameters, expression, origin: Origin::default() })
    }

    fn type_name(&mut self, depth: usize) -> Parsed<TypeName> {
        let name = self.word("the type of the parameter")?;
        let mut of = Vec::new();
        if self.at_kind(Kind::Less) {
            if depth == MAX_TYPE_NESTING {
                let message = format!("types are nested more than {MAX_TYPE_NESTING} deep");
                self.faults.report(Code::Nesting, name.span, message);
                return Err(Reported);
            }
            self.advance();
            of.push(self.type_name(depth + 1)?);
            while self.eat(Kind::Comma) {
                of.push(self.type_name(depth + 1)?);
            }
            self.expect(Kind::Greater, "`>`")?;
        }
        Ok(TypeName { name, of })
    }

    /// A word that is no name of the schema: parameters may be written as CEL writes them.
    fn word(&mut self, expected: &str) -> Parsed<Name> {
        let token = self.peek();
        let fits = token.text.len() <= MAX_NAME && !token.text.starts_with(|c: char| c.is_ascii_digit());
        if token.kind != Kind::Word || !fits {
            self.unexpected(expected);
            return Err(Reported);
        }
        self.advance();
        Ok(Name { text: token.text.to_owned(), span: token.span })
    }

    /// A name with the namespaces before it: `tenant/document`.
    fn path(&mut self, expected: &str) -> Parsed<Name> {
        let mut path = self.name(expected)?;
        while self.eat(Kind::Slash) {
            let part = self.name(expected)?;
            path.text.push('/');
            path.text.push_str(&part.text);
            path.span.end = part.span.end;
        }
        if path.text.len() > MAX_TYPE_NAME {
            let message = format!("a name with its namespaces is longer than {MAX_TYPE_NAME} bytes");
            self.faults.report(Code::InvalidName, path.span, message);
            return Err(Reported);
        }
        Ok(path)
    }

    fn name(&mut self, expected: &str) -> Parsed<Name> {
        let token = self.peek();
        if token.kind != Kind::Word || RESERVED.contains(&token.text) {
            self.unexpected(expected);
            return Err(Reported);
        }
        if let Err((_, fault)) = check_name(token.text) {
            let help = || Some("names are lower case: `[a-z][a-z0-9_]*`, at most 64 bytes".to_owned());
            self.faults.report_with(Code::InvalidName, token.span, format!("a name {fault}"), help);
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
        while let Some(token) = self.tokens.get(self.at).filter(|token| token.kind == Kind::Doc) {
            lines.push(lex::doc_text(token.text));
            self.at += 1;
        }
        lines.join("\n").trim_matches('\n').to_owned()
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
            _ => format!("`{}`", token.text.chars().take(MAX_NAME).collect::<String>()),
        };
        let message = format!("expected {expected}, found {found}");
        self.faults.report_with(Code::Unexpected, token.span, message, || {
            nearest(token.text, words.iter().copied()).map(|near| format!("did you mean `{near}`?"))
        });
    }

    fn peek(&self) -> Token<'t> {
        self.peek_at(0)
    }

    /// A token ahead. Doc comments between are passed over: they only count before a declaration.
    fn peek_at(&self, ahead: usize) -> Token<'t> {
        let end = Token { kind: Kind::End, text: "", span: Span::default() };
        let rest = self.tokens.get(self.at..).unwrap_or_default();
        let mut rest = rest.iter().filter(|token| {
            self.looked.set(self.looked.get() + 1);
            token.kind != Kind::Doc
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
        while self.tokens.get(self.at).is_some_and(|token| token.kind == Kind::Doc) {
            self.at += 1;
        }
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    /// Passes over what cannot be read, up to one of the words, the end or, inside a definition, its brace.
    fn skip_until(&mut self, words: &[&str], inside: bool) {
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
                let (_, tokens, looked) = counted(0, &text, &mut Diagnostics::new(&[]));
                assert!(looked <= 64 * (tokens + 10), "{looked} looks at {tokens} tokens: {text:.60}");
            }
        }
    }
}
