//! What a schema means, with numbers for names: the one compiled form of both languages.
//!
//! The parsers and the resolver make it, the printers write it out again, and the program is made from
//! it. Nothing is simplified here, so that what was written can be printed as it was written.

use std::fmt;

use crate::schema::SubjectKind;
use crate::schema::diagnostic::Span;
use crate::schema::syntax::Origin;

/// The meaning of a relation or permission.
///
/// INVARIANT: no deeper than the parsers' bound, so that walking it may recurse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nobody.
    Nil,
    /// What is stored in this slot itself: every native relation, and the brackets of OpenFGA.
    This,
    /// `self`: the object itself as subject.
    Itself,
    /// Another relation or permission of the same object.
    Slot(u32),
    /// A relation or permission of the objects that a relation holds.
    Arrow {
        /// The slot with stored subjects, of the same object. Of a userset in it only the object counts.
        relation: u32,
        /// `.all()`: holds on every one of the objects, of which there is at least one.
        all: bool,
        /// Type of the object in the relation, and the slot that is asked there. A type that has no such
        /// slot is absent: under `.all()` an object of it is one on which it does not hold.
        targets: Vec<(u32, u32)>,
    },
    Union(Vec<Rule>),
    Intersection(Vec<Rule>),
    /// The first without the second.
    Exclusion(Box<Rule>, Box<Rule>),
    /// A permission that carries a condition, by number.
    Conditional(Box<Rule>, u32),
}

/// How a slot was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotKind {
    /// Stored only: its rule is [`Rule::This`].
    Relation,
    /// Computed only: its rule has no [`Rule::This`].
    Permission,
    /// OpenFGA: stored and computed, [`Rule::This`] stands somewhere in its rule.
    Mixed,
}

/// A form of subject that may be stored in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AllowedSubject {
    pub(crate) subject: SubjectKind,
    /// The stored relationship names this condition, or none.
    pub(crate) condition: Option<u32>,
    /// The stored relationship has an expiry.
    pub(crate) expiration: bool,
    pub(crate) deprecated: Option<Deprecation>,
}

/// A mark that something is to be used no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deprecation {
    /// `error` instead of `warn`: relationships that use it are refused.
    pub(crate) refused: bool,
    pub(crate) message: Box<str>,
}

/// A condition as it is declared: its parameters with their types, and an expression over them in CEL.
///
/// [`Schema::conditions`](crate::Schema::conditions) has those of a schema, and a [`Module`](crate::Module) takes
/// those that are written in Rust.
///
/// ```
/// use formwork_authz::{Condition, ParameterType};
///
/// let daytime = Condition::new("daytime", "hour >= 8 && hour < 18").parameter("hour", ParameterType::Int);
/// assert_eq!(daytime.name(), "daytime");
/// ```
#[doc(alias = "caveat")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionInfo {
    pub(crate) name: Box<str>,
    pub(crate) doc: Box<str>,
    pub(crate) origin: Origin,
    /// In the order of the text.
    pub(crate) parameters: Vec<(Box<str>, ParameterType)>,
    /// CEL, trimmed.
    pub(crate) expression: Box<str>,
    /// Of the expression in its source.
    pub(crate) span: Span,
}

/// The type of a condition's parameter, and what its values look like in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterType {
    /// Whatever JSON says.
    Any,
    /// `true`, or the text `"true"`.
    Bool,
    /// A text.
    String,
    /// A whole number of 64 bits, also as text.
    Int,
    /// A whole number of 64 bits that is not negative, also as text.
    Uint,
    /// A number, also as text.
    Double,
    /// Base64.
    Bytes,
    /// `"1h30m"`
    Duration,
    /// `"2026-01-31T12:00:00Z"`
    Timestamp,
    /// `"10.0.0.1"`, `"2001:db8::1"`
    IpAddress,
    /// A list of values of one type.
    List(Box<ParameterType>),
    /// An object whose values have one type; its keys are texts.
    Map(Box<ParameterType>),
}

impl ParameterType {
    /// The types without a type inside, by name.
    pub(crate) const SIMPLE: [(&str, Self); 10] = [
        ("any", Self::Any),
        ("bool", Self::Bool),
        ("string", Self::String),
        ("int", Self::Int),
        ("uint", Self::Uint),
        ("double", Self::Double),
        ("bytes", Self::Bytes),
        ("duration", Self::Duration),
        ("timestamp", Self::Timestamp),
        ("ipaddress", Self::IpAddress),
    ];

    /// The name without what stands in angle brackets, and the type that stands there.
    pub(crate) fn parts(&self) -> (&'static str, Option<&Self>) {
        match self {
            Self::List(of) => ("list", Some(of)),
            Self::Map(of) => ("map", Some(of)),
            simple => {
                (Self::SIMPLE.iter().find(|(_, kind)| kind == simple).map_or("any", |(name, _)| name), None)
            }
        }
    }
}

impl fmt::Display for ParameterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (name, None) => f.write_str(name),
            (name, Some(of)) => write!(f, "{name}<{of}>"),
        }
    }
}

/// The language that a schema was written in.
///
/// It decides what the languages read differently: in OpenFGA a cycle through an exclusion is a warning, and a
/// cycle that is met under the subtrahend denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Dialect {
    #[default]
    Native,
    OpenFga,
}
