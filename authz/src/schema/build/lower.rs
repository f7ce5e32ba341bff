//! Modules written in Rust to the tree that the native parser makes of text.
//!
//! INVARIANT: what passes here could have been written as text, so that no name, comment or message says more in
//! the printed schema than it says here.

use crate::name::{MAX_NAME, MAX_TYPE_NAME, check_name, check_type_name};
use crate::schema::build::allowed::{Allowed, Form};
use crate::schema::build::definition::{Body, Definition, Item};
use crate::schema::build::{Module, Rewrite};
use crate::schema::code::Code;
use crate::schema::diagnostic::{Diagnostics, Span};
use crate::schema::expression::uncommented;
use crate::schema::parse::{MAX_NESTING, MAX_TYPE_NESTING, RESERVED};
use crate::schema::rule::{ConditionInfo, Deprecation, ParameterType};
use crate::schema::syntax::{self, Expression, File, Name, Origin, SubjectForm, SubjectType, TypeName};

/// Reads one module; everything that it declares is a place of its own.
pub(super) fn module(source: usize, module: &Module, faults: &mut Diagnostics<'_>) -> File {
    let mut lowering = Lowering { source, faults };
    File {
        definitions: module.definitions.iter().map(|definition| lowering.definition(definition)).collect(),
        conditions: module.conditions.iter().map(|condition| lowering.condition(condition)).collect(),
        ..File::default()
    }
}

struct Lowering<'f, 'a> {
    source: usize,
    faults: &'f mut Diagnostics<'a>,
}

impl Lowering<'_, '_> {
    /// A place that faults can name.
    fn place(&mut self, item: &str) -> Span {
        self.faults.item(self.source, item.chars().take(2 * MAX_TYPE_NAME).collect())
    }

    fn definition(&mut self, definition: &Definition) -> syntax::Definition {
        let span = self.place(&definition.name);
        let name = self.type_name(&definition.name, span);
        if definition.announces_itself {
            let message = "`announcing` stands behind something that is no permission";
            self.faults.report(Code::Unexpected, span, message);
        }
        syntax::Definition {
            name,
            doc: definition.marks.doc.clone(),
            deprecated: self.mark(definition.marks.deprecated.as_ref(), span),
            items: definition.items.iter().map(|item| self.item(&definition.name, item)).collect(),
            extends: definition.extends,
            origin: Origin::default(),
        }
    }

    fn item(&mut self, type_name: &str, item: &Item) -> syntax::Item {
        let span = self.place(&format!("{type_name}#{}", item.name));
        let body = match &item.body {
            Body::Relation(allowed) => self.relation(&item.name, allowed, span),
            Body::Permission { announced, rewrite } => syntax::Body::Permission {
                announced: announced
                    .as_ref()
                    .map(|names| names.iter().map(|name| self.type_name(name, span)).collect()),
                expression: self.rewrite(rewrite, span),
            },
        };
        syntax::Item {
            name: self.name(&item.name, span),
            doc: item.marks.doc.clone(),
            deprecated: self.mark(item.marks.deprecated.as_ref(), span),
            body,
            origin: Origin::default(),
        }
    }

    fn relation(&mut self, name: &str, allowed: &[Allowed], span: Span) -> syntax::Body {
        if allowed.is_empty() {
            let help = || Some("name a type: `[\"user\"]`".to_owned());
            let message = format!("nothing can be stored in `{name}`");
            self.faults.report_with(Code::NoSubjectTypes, span, message, help);
        }
        syntax::Body::Relation(allowed.iter().map(|allowed| self.allowed(allowed, span)).collect())
    }

    fn allowed(&mut self, allowed: &Allowed, span: Span) -> SubjectType {
        SubjectType {
            name: self.type_name(&allowed.subject_type, span),
            form: match &allowed.form {
                Form::Object => SubjectForm::Plain,
                Form::Wildcard => SubjectForm::Wildcard,
                Form::Userset(relation) => SubjectForm::Userset(self.name(relation, span)),
            },
            condition: allowed.condition.as_ref().map(|name| self.type_name(name, span)),
            expiration: allowed.expiration,
            deprecated: self.mark(allowed.deprecated.as_ref(), span),
            span,
        }
    }

    fn rewrite(&mut self, rewrite: &Rewrite, span: Span) -> Expression {
        let Some(mut expression) = rewrite.expression() else {
            let message = format!("operations are nested more than {MAX_NESTING} deep");
            self.faults.report(Code::Nesting, span, message);
            return Expression::Nil;
        };
        self.located(&mut expression, span);
        expression
    }

    /// Recursion is bounded: rewrites are.
    fn located(&mut self, expression: &mut Expression, span: Span) {
        match expression {
            Expression::Nil | Expression::This | Expression::Itself => {}
            Expression::Reference(name) => *name = self.name(&name.text, span),
            Expression::Arrow { relation, target, .. } => {
                *relation = self.name(&relation.text, span);
                *target = self.name(&target.text, span);
            }
            Expression::Union(all) | Expression::Intersection(all) | Expression::Exclusion(all) => {
                all.iter_mut().for_each(|operand| self.located(operand, span));
            }
            Expression::Conditional(inner, condition) => {
                self.located(inner, span);
                *condition = self.type_name(&condition.text, span);
            }
        }
    }

    fn condition(&mut self, condition: &ConditionInfo) -> syntax::Condition {
        let span = self.place(&condition.name);
        if condition.parameters.is_empty() {
            let message = format!("the condition `{}` has no parameters", condition.name);
            self.faults.report(Code::NoParameters, span, message);
        }
        let parameters = condition.parameters.iter().map(|(name, kind)| {
            let span = self.place(&format!("{}({name})", condition.name));
            (self.parameter(name, span), self.parameter_type(kind, span, 0))
        });
        let parameters = parameters.collect();
        let (text, _) = uncommented(&condition.expression);
        syntax::Condition {
            name: self.type_name(&condition.name, span),
            doc: condition.doc.to_string(),
            parameters,
            expression: Name { text: text.to_owned(), span },
            origin: Origin::default(),
        }
    }

    fn parameter(&mut self, name: &str, span: Span) -> Name {
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        let word = |c: char| first(c) || c.is_ascii_digit();
        if !name.starts_with(first) || !name.chars().all(word) || name.len() > MAX_NAME {
            let help = || Some(format!("write `[A-Za-z_][A-Za-z0-9_]*`, at most {MAX_NAME} bytes"));
            self.faults.report_with(Code::InvalidName, span, "this is no name of a parameter", help);
        }
        Name { text: name.to_owned(), span }
    }

    /// Recursion is bounded here.
    fn parameter_type(&mut self, kind: &ParameterType, span: Span, depth: usize) -> TypeName {
        let (name, of) = kind.parts();
        let name = Name { text: name.to_owned(), span };
        let of = match of {
            Some(_) if depth == MAX_TYPE_NESTING => {
                let message = format!("types are nested more than {MAX_TYPE_NESTING} deep");
                self.faults.report(Code::Nesting, span, message);
                Vec::new()
            }
            of => of.map(|of| self.parameter_type(of, span, depth + 1)).into_iter().collect(),
        };
        TypeName { name, of }
    }

    /// A message stands in quotes, in one line.
    fn mark(&mut self, mark: Option<&Deprecation>, span: Span) -> Option<Deprecation> {
        let mark = mark?;
        let message = &mark.message;
        if message.contains('\n') || (message.contains('"') && message.contains('\'')) {
            let message = "the reason of a deprecation has one line and one kind of quotes";
            self.faults.report(Code::BadDecorator, span, message);
        }
        Some(mark.clone())
    }

    fn type_name(&mut self, name: &str, span: Span) -> Name {
        let fault = check_type_name(name).map_err(|(_, fault)| fault.to_string());
        self.verified(name, fault, span)
    }

    fn name(&mut self, name: &str, span: Span) -> Name {
        let fault = check_name(name).map_err(|(_, fault)| fault.to_string());
        self.verified(name, fault, span)
    }

    fn verified(&mut self, name: &str, fault: Result<(), String>, span: Span) -> Name {
        let help = || Some(format!("names are lower case: `[a-z][a-z0-9_]*`, at most {MAX_NAME} bytes"));
        match fault {
            Err(fault) => {
                self.faults.report_with(Code::InvalidName, span, format!("a name {fault}"), help);
            }
            Ok(()) => {
                if let Some(word) = name.split('/').find(|part| RESERVED.contains(part)) {
                    self.faults.report(Code::InvalidName, span, format!("`{word}` cannot be a name"));
                }
            }
        }
        Name { text: name.to_owned(), span }
    }
}
