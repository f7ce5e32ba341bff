//! Errors, made for the reader who must act.

use std::fmt;
use std::sync::Arc;

use formwork_tenancy::StorageError;
use sqlx::postgres::PgDatabaseError;

use crate::condition::ConditionError;
use crate::decision::Decision;
use crate::filter::Filter;
use crate::name::MAX_NAME;
use crate::object::Object;
use crate::parse::{Part, Problem};
use crate::relationship::Relationship;
use crate::schema::Schema;
use crate::subject::Subject;

/// A text or value that is not an object, subject or relationship, with the place of the fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    text: String,
    part: Part,
    at: usize,
    problem: Problem,
}

impl ParseError {
    pub(crate) fn new(text: String, part: Part, at: usize, problem: Problem) -> Self {
        Self { text, part, at, problem }
    }

    /// The text with the fault.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Column of the fault in characters, counted from 1.
    pub fn column(&self) -> usize {
        self.text.get(..self.at).map_or(0, |before| before.chars().count()) + 1
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, part, .. } = self;
        write!(f, "`{}`: ", text.escape_debug())?;
        match self.problem {
            Problem::Missing(separator) => write!(f, "expected `{separator}` after the {part}")?,
            Problem::Faulty(fault) => write!(f, "the {part} {fault}")?,
            Problem::Not(what) => write!(f, "the {part} is not {what}")?,
        }
        write!(f, ", at column {}", self.column())
    }
}

impl std::error::Error for ParseError {}

/// A type that is not in the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownType {
    name: String,
    near: Option<String>,
}

impl UnknownType {
    pub(crate) fn new(schema: &Schema, name: &str) -> Self {
        Self { name: shortened(name), near: schema.near_type(name).map(str::to_owned) }
    }

    /// The type that was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type that was probably meant.
    pub fn near(&self) -> Option<&str> {
        self.near.as_deref()
    }
}

impl fmt::Display for UnknownType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown type `{}`", self.name.escape_debug())?;
        near(f, self.near())
    }
}

/// A permission or relation that the type does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPermission {
    object_type: String,
    name: String,
    near: Option<String>,
}

impl UnknownPermission {
    pub(crate) fn new(schema: &Schema, type_id: u32, name: &str) -> Self {
        Self {
            object_type: schema.type_name(type_id).to_owned(),
            name: shortened(name),
            near: schema.near_slot(type_id, name).map(str::to_owned),
        }
    }

    /// The type that has no such permission.
    pub fn object_type(&self) -> &str {
        &self.object_type
    }

    /// The permission or relation that was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The one that was probably meant.
    pub fn near(&self) -> Option<&str> {
        self.near.as_deref()
    }
}

impl fmt::Display for UnknownPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.escape_debug();
        write!(f, "`{}` has no relation or permission `{name}`", self.object_type)?;
        near(f, self.near())
    }
}

fn near(f: &mut fmt::Formatter<'_>, near: Option<&str>) -> fmt::Result {
    match near {
        Some(near) => write!(f, ", did you mean `{near}`?"),
        None => Ok(()),
    }
}

/// Names from outside can be of any length.
fn shortened(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}

/// A question that could not be decided, which is neither of its answers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CheckError {
    /// A type is not in the schema.
    #[error("{0}")]
    UnknownType(UnknownType),
    /// A permission or relation is not one of its type's.
    #[error("{0}")]
    UnknownPermission(UnknownPermission),
    /// The subject or the object cannot be one.
    #[error(transparent)]
    Malformed(#[from] ParseError),
    /// A condition on which the answer depends could not be evaluated.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// The answer takes more than is allowed.
    #[error(transparent)]
    TooComplex(#[from] TooComplex),
    /// An id was resolved by another graph, or is of another type than the permission.
    #[error("the id was not resolved by this graph for this type")]
    ForeignId,
    /// The consistency token is of another tenant.
    #[error("the consistency token is of another tenant")]
    ForeignToken,
    /// The state of the token can no longer be had: the log has been pruned since, or the home was moved or restored.
    #[error("the log no longer reaches back to the token's state: ask for `at_least` instead")]
    TooOld,
    /// This transaction sees a state that cannot answer for the token: one of before it, at an isolation level that
    /// keeps its first state or on a replica that has not come so far; or, for `exact`, any but the newest.
    #[error(
        "this transaction's state cannot answer for the token: begin another one, on the primary and at READ COMMITTED"
    )]
    OtherState,
    /// A grant that is to hold at commit needs to see what others have just committed.
    #[error("`require_at_commit` works at the isolation level READ COMMITTED only: begin the transaction so")]
    Isolation,
    /// The tenant has more relationships than its budget of memory allows, and this question needs them in memory.
    #[error(
        "the tenant has more than {0} relationships, its budget in memory: ask `check`, `require`, `lookup_objects` or `filter`, which are answered through SQL then"
    )]
    OverBudget(u64),
    /// A list of which the members are to be known depends on values that were not given.
    #[error("{0}")]
    Undecided(Undecided),
    /// The relationships could not be read.
    #[error("the relationships could not be read")]
    Storage(#[from] StorageError),
}

/// A list that cannot be told without values for conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecided {
    objects: usize,
    missing: Arc<[Box<str>]>,
}

impl Undecided {
    pub(crate) fn new(objects: usize, missing: Arc<[Box<str>]>) -> Self {
        Self { objects, missing }
    }

    /// How many objects are neither in the list nor out of it.
    pub fn objects(&self) -> usize {
        self.objects
    }

    /// The parameters on which the first of them depends.
    pub fn missing(&self) -> &[Box<str>] {
        &self.missing
    }
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (objects, missing) = (self.objects, self.missing.join(", "));
        write!(
            f,
            "{objects} objects are neither in the list nor out of it without values for {missing}: give them in the context"
        )
    }
}

/// A question that takes more than is allowed: it leads to too many objects, or excludes too deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooComplex {
    what: &'static str,
    limit: usize,
}

impl TooComplex {
    pub(crate) fn new(what: &'static str, limit: usize) -> Self {
        Self { what, limit }
    }

    /// The limit that was reached.
    pub fn limit(&self) -> usize {
        self.limit
    }
}

impl fmt::Display for TooComplex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the question leads to more than {} {}", self.limit, self.what)
    }
}

impl std::error::Error for TooComplex {}

impl CheckError {
    pub(crate) fn unknown_type(schema: &Schema, name: &str) -> Self {
        Self::UnknownType(UnknownType::new(schema, name))
    }

    pub(crate) fn unknown_permission(schema: &Schema, type_id: u32, name: &str) -> Self {
        Self::UnknownPermission(UnknownPermission::new(schema, type_id, name))
    }
}

impl From<sqlx::Error> for CheckError {
    fn from(error: sqlx::Error) -> Self {
        Self::Storage(error.into())
    }
}

/// A subject was not allowed what it must be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    subject: Subject,
    permission: String,
    object: Object,
    missing: Arc<[Box<str>]>,
}

impl Denied {
    pub(crate) fn new(subject: Subject, permission: &str, object: Object, decision: Decision) -> Self {
        let missing = match decision {
            Decision::Conditional { missing } => missing,
            _ => [].into(),
        };
        Self { subject, permission: permission.to_owned(), object, missing }
    }

    /// Parameters of conditions that were not given and might have changed the answer.
    pub fn missing(&self) -> &[Box<str>] {
        &self.missing
    }

    /// Who asked.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// What they asked for.
    pub fn permission(&self) -> &str {
        &self.permission
    }

    /// On what.
    pub fn object(&self) -> &Object {
        &self.object
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` does not have `{}` on `{}`", self.subject, self.permission, self.object)?;
        match &*self.missing {
            [] => Ok(()),
            missing => write!(f, " without values for {}", missing.join(", ")),
        }
    }
}

/// Why [`Authz::require`](crate::Authz::require) gave no grant.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequireError {
    /// The answer is no.
    #[error("{0}")]
    Denied(Denied),
    /// There is no answer.
    #[error(transparent)]
    Undecided(#[from] CheckError),
}

/// A relationship that the schema has no place for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misplaced {
    relationship: Box<Relationship>,
    reason: String,
}

impl Misplaced {
    pub(crate) fn new(relationship: &Relationship, reason: String) -> Self {
        Self { relationship: Box::new(relationship.clone()), reason }
    }

    /// The relationship that cannot be stored.
    pub fn relationship(&self) -> &Relationship {
        &self.relationship
    }
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot store `{}`: {}", self.relationship, self.reason)
    }
}

/// A relationship that was to be created and is stored already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    relationship: Box<Relationship>,
}

impl Existing {
    pub(crate) fn new(relationship: &Relationship) -> Self {
        Self { relationship: Box::new(relationship.clone()) }
    }

    /// The relationship that is stored.
    pub fn relationship(&self) -> &Relationship {
        &self.relationship
    }
}

impl fmt::Display for Existing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` exists already", self.relationship)
    }
}

/// What a request rested on, and was not so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedPrecondition {
    filter: Box<Filter>,
    must_match: bool,
}

impl FailedPrecondition {
    pub(crate) fn new(filter: &Filter, must_match: bool) -> Self {
        Self { filter: Box::new(filter.clone()), must_match }
    }

    /// The filter that had to let something through, or nothing.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }
}

impl fmt::Display for FailedPrecondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.must_match { "no relationship is" } else { "a relationship is" };
        write!(f, "{what} stored that matches `{}`: nothing was written", self.filter)
    }
}

/// Why there is no page.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The cursor is none that a page gave.
    #[error("this is no cursor of a page of relationships: pass back the one that the last page gave")]
    Cursor,
    /// The database failed.
    #[error("the relationships could not be read")]
    Storage(#[from] StorageError),
}

impl From<sqlx::Error> for ReadError {
    fn from(error: sqlx::Error) -> Self {
        Self::Storage(error.into())
    }
}

/// Relationships that were not written.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A part of a relationship cannot be one.
    #[error(transparent)]
    Malformed(#[from] ParseError),
    /// The schema has no place for a relationship.
    #[error("{0}")]
    Misplaced(Misplaced),
    /// What is to be stored with a relationship does not fit its condition.
    #[error(transparent)]
    Context(#[from] ConditionError),
    /// The relationship that was to be created is stored already.
    #[error("{0}")]
    Exists(Existing),
    /// What the request rested on is not so.
    #[error("{0}")]
    Precondition(FailedPrecondition),
    /// A filter without any part would delete all that the tenant has.
    #[error("the filter means every relationship of the tenant: give it a part")]
    Everything,
    /// A key is empty or too long.
    #[error("an idempotency key has 1 to 256 bytes, this one has {bytes}")]
    Key {
        /// Its length.
        bytes: usize,
    },
    /// The key was given to another request before.
    #[error("the idempotency key `{}` was given to another request: give each request its own", key.escape_debug())]
    KeyReused {
        /// The key.
        key: String,
    },
    /// A precondition of what is not stored needs to see what others have just committed.
    #[error("`must_not_match` holds at the isolation level READ COMMITTED only: begin the transaction so")]
    Isolation,
    /// The schema has a place for a relationship, and the tenant's newest one has not: another program has adopted it
    /// ([`Authz::adopt_schema`](crate::Authz::adopt_schema)). The transaction cannot go on.
    #[error(
        "the tenant's newest schema has no place for `{place}`: deploy the program that adopted it, or adopt one that has"
    )]
    NotInForce {
        /// The form of the relationship, `document#viewer@team#member`.
        place: String,
    },
    /// The database failed.
    #[error("the relationships could not be written")]
    Storage(#[from] StorageError),
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        let refused =
            error.as_database_error().filter(|error| error.constraint() == Some("permission_schema_places"));
        match refused.and_then(|error| error.try_downcast_ref::<PgDatabaseError>()?.detail()) {
            Some(place) => Self::NotInForce { place: place.to_owned() },
            None => Self::Storage(error.into()),
        }
    }
}
