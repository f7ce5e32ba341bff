//! The tree of a schema's text, as the parser leaves it: names are not looked up yet.

use crate::schema::diagnostic::Span;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: Name,
    pub(crate) doc: String,
    pub(crate) items: Vec<Item>,
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) name: Name,
    pub(crate) doc: String,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    Relation(Vec<SubjectType>),
    Permission(Expression),
}

#[derive(Debug)]
pub(crate) struct SubjectType {
    pub(crate) name: Name,
    pub(crate) form: SubjectForm,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum SubjectForm {
    Plain,
    Wildcard,
    Userset(Name),
}

/// INVARIANT: no deeper than the parser's bound on parentheses, so that walking it may recurse.
#[derive(Debug)]
pub(crate) enum Expression {
    Nil,
    Reference(Name),
    Arrow(Name, Name),
    Union(Vec<Expression>),
    Intersection(Vec<Expression>),
    /// The first without the others.
    Exclusion(Vec<Expression>),
}
