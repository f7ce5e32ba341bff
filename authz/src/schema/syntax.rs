//! The tree of a schema's text, as the parsers of both languages leave it: names are not looked up yet.

use crate::schema::diagnostic::Span;
use crate::schema::rule::Deprecation;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// What one or several sources declare.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) definitions: Vec<Definition>,
    pub(crate) partials: Vec<Definition>,
    pub(crate) conditions: Vec<Condition>,
    /// Paths, as they are written.
    pub(crate) imports: Vec<Name>,
}

impl File {
    pub(crate) fn append(&mut self, other: Self) {
        self.definitions.extend(other.definitions);
        self.partials.extend(other.partials);
        self.conditions.extend(other.conditions);
        self.imports.extend(other.imports);
    }
}

/// A type, or a partial.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) name: Name,
    pub(crate) doc: String,
    pub(crate) deprecated: Option<Deprecation>,
    pub(crate) items: Vec<Item>,
    /// `extend type`: the items belong to a type of that name that is defined elsewhere.
    pub(crate) extends: bool,
    pub(crate) origin: Origin,
}

/// The OpenFGA module and file that something came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) module: Option<Box<str>>,
    pub(crate) file: Option<Box<str>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) name: Name,
    pub(crate) doc: String,
    pub(crate) deprecated: Option<Deprecation>,
    pub(crate) body: Body,
    pub(crate) origin: Origin,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Relation(Vec<SubjectType>),
    Permission {
        /// The types of subject that were announced, `permission view: user = ..`.
        announced: Option<Vec<Name>>,
        expression: Expression,
    },
    /// OpenFGA: what may be stored directly, and the rule, in which [`Expression::This`] stands for it.
    Define {
        subjects: Vec<SubjectType>,
        expression: Expression,
    },
    /// `...name`: the items of a partial.
    Include,
}

#[derive(Debug, Clone)]
pub(crate) struct SubjectType {
    pub(crate) name: Name,
    pub(crate) form: SubjectForm,
    pub(crate) condition: Option<Name>,
    pub(crate) expiration: bool,
    pub(crate) deprecated: Option<Deprecation>,
    pub(crate) span: Span,
}

#[derive(Debug, Clone)]
pub(crate) enum SubjectForm {
    Plain,
    Wildcard,
    Userset(Name),
}

/// INVARIANT: no deeper than the parsers' bound on parentheses, so that walking it may recurse.
#[derive(Debug, Clone)]
pub(crate) enum Expression {
    Nil,
    This,
    Itself,
    Reference(Name),
    Arrow {
        relation: Name,
        target: Name,
        all: bool,
    },
    Union(Vec<Expression>),
    Intersection(Vec<Expression>),
    /// The first without the others.
    Exclusion(Vec<Expression>),
    Conditional(Box<Expression>, Name),
}

#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) name: Name,
    pub(crate) doc: String,
    pub(crate) parameters: Vec<(Name, TypeName)>,
    /// CEL, trimmed; the span is its place in the source, unless it was written with escapes.
    pub(crate) expression: Name,
    pub(crate) origin: Origin,
}

/// `list<string>`
#[derive(Debug, Clone)]
pub(crate) struct TypeName {
    pub(crate) name: Name,
    pub(crate) of: Vec<TypeName>,
}
