//! A permission as a condition in the caller's own query.
//!
//! INVARIANT: the condition lets exactly those rows through on whose object the subject holds the permission; what
//! cannot be told exactly is an error when the filter is made, not when it is used.

use std::fmt;
use std::sync::Arc;

use formwork_tenancy::TenantTx;
use sea_query::{Expr, Value};
use uuid::Uuid;

use crate::authz::Authz;
use crate::consistency::Consistency;
use crate::context::Context;
use crate::decision::Decision;
use crate::error::{CheckError, TooComplex, Undecided};
use crate::graph::Graph;
use crate::object::Object;
use crate::schema::Schema;
use crate::sql::ask::{self, Statement};
use crate::sql::text::{Asked, Text};
use crate::sql::{Way, fetch, way};
use crate::subject::{AsSubject, Subject};

/// Answers up to this size are lists of ids, whatever the schema.
const SMALL: usize = 1_000;
/// The longest list of ids where the schema leaves no other way.
const MAX_IDS: usize = 100_000;
/// Up to this size a list of ids is compared with each row; a generic plan does not hash it.
const FEW: usize = 64;

/// A condition on a column of the caller's own query: the subject holds the permission on the object of that id.
///
/// Made by [`Authz::filter`], for the transaction in which it was made. As a condition it can be joined, sorted, counted
/// and paged over.
#[derive(Clone)]
pub struct ObjectFilter {
    kind: Kind,
    ids: Ids,
}

#[derive(Clone)]
enum Kind {
    /// Their ids.
    List(Vec<String>),
    /// The statement, and the values of [`Asked::bound`].
    Query { schema: Arc<Schema>, statement: Arc<Statement>, values: [String; 4] },
}

/// The type of the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ids {
    Text,
    Uuid,
    Bigint,
}

impl Ids {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Uuid => "uuid",
            Self::Bigint => "bigint",
        }
    }

    /// Only the one way in which Postgres writes a value is the id of its row.
    fn has(self, id: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Uuid => id.parse::<Uuid>().is_ok_and(|uuid| uuid.to_string() == id),
            Self::Bigint => id.parse::<i64>().is_ok_and(|number| number.to_string() == id),
        }
    }

    /// The same in SQL: what has another shape becomes null, and the column stays as it is, for its index.
    fn cast(self, id: &str) -> String {
        match self {
            Self::Text => id.to_owned(),
            Self::Uuid => format!(
                "case when {id} ~ '^[0-9a-f]{{8}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{12}}$' then {id}::uuid end"
            ),
            Self::Bigint => format!(
                "case when {id} ~ '^(0|-[1-9][0-9]{{0,18}}|[1-9][0-9]{{0,18}})$' then
                 case when {id}::numeric between -9223372036854775808 and 9223372036854775807 then {id}::bigint end end"
            ),
        }
    }
}

impl ObjectFilter {
    /// For a column of type `uuid`; without this it is one of text.
    #[must_use]
    pub fn of_uuids(self) -> Self {
        Self { ids: Ids::Uuid, ..self }
    }

    /// For a column of type `bigint`.
    #[must_use]
    pub fn of_bigints(self) -> Self {
        Self { ids: Ids::Bigint, ..self }
    }

    /// Whether no row can come through.
    pub fn is_nothing(&self) -> bool {
        matches!(&self.kind, Kind::List(ids) if ids.is_empty())
    }

    /// Whether it is a list of ids, and not a query in the query.
    pub fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List(_))
    }

    /// The condition for a query of sea-query.
    pub fn on(&self, column: impl Into<Expr>) -> Expr {
        let text = self.text("$1", 2);
        let values = self.values().into_iter().map(|value| Expr::Value(Value::from(value)));
        Expr::cust_with_exprs(text, std::iter::once(column.into()).chain(values))
    }

    /// The condition as text, and the values to bind, all of them text, from `$first` on.
    ///
    /// The column becomes a part of the statement: never let it come from outside.
    pub fn sql(&self, column: &str, first: usize) -> (String, Vec<String>) {
        (self.text(column, first), self.values())
    }

    fn text(&self, column: &str, first: usize) -> String {
        let ids = self.ids.name();
        match &self.kind {
            Kind::List(_) if self.is_nothing() => "false".to_owned(),
            Kind::List(list) if list.len() <= FEW => format!("{column} = any (${first}::text::{ids}[])"),
            Kind::List(_) => format!("{column} in (select unnest(${first}::text::{ids}[]))"),
            Kind::Query { schema, statement, .. } => {
                let asked = Asked::bound(first, "null::text");
                let list = Text { schema, asked: &asked }.list(&statement.formula);
                format!("{column} in (select {} from {list} l (id))", self.ids.cast("l.id"))
            }
        }
    }

    fn values(&self) -> Vec<String> {
        match &self.kind {
            Kind::List(_) if self.is_nothing() => Vec::new(),
            Kind::List(ids) => vec![array(ids.iter().filter(|id| self.ids.has(id)))],
            Kind::Query { values, .. } => values.to_vec(),
        }
    }
}

/// An array as Postgres reads it from text.
fn array<'a>(ids: impl Iterator<Item = &'a String>) -> String {
    let mut text = String::from("{");
    for id in ids {
        if text.len() > 1 {
            text.push(',');
        }
        text.push('"');
        for c in id.chars() {
            if matches!(c, '"' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push('"');
    }
    text.push('}');
    text
}

impl fmt::Debug for ObjectFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ObjectFilter");
        match &self.kind {
            Kind::List(ids) => shown.field("ids", &ids.len()),
            Kind::Query { .. } => shown.field("query", &self.ids),
        };
        shown.finish_non_exhaustive()
    }
}

impl Authz {
    /// A condition for the caller's own query: the subject holds the permission on the object of that type whose id
    /// stands in a column.
    ///
    /// A small answer becomes a list of ids. A large one becomes a query in the query, where one statement can tell the
    /// permission ([`Inexpressible`](crate::Inexpressible) says which it cannot), and otherwise a list of at most 100,000
    /// ids. The list is of what this transaction sees when it asks for the filter; the query sees what the statement sees.
    ///
    /// # How is a page listed, sorted and counted by Postgres?
    ///
    /// ```no_run
    /// use formwork_authz::Authz;
    /// use formwork_tenancy::{Session, TenantTx};
    /// use sea_query::{Expr, Order, PostgresQueryBuilder, Query};
    ///
    /// # async fn example(authz: Authz, session: Session, tx: &mut TenantTx) -> Result<(), Box<dyn std::error::Error>> {
    /// let seen = authz.filter(tx, session.actor(), "view", "rfi").await?.of_uuids();
    /// let page = Query::select()
    ///     .columns(["id", "title"])
    ///     .from("rfis")
    ///     .and_where(seen.on(Expr::col("id")))
    ///     .order_by("title", Order::Asc)
    ///     .limit(50)
    ///     .to_owned();
    ///
    /// // Without sea-query: the text, and what is bound.
    /// let (condition, values) = seen.sql("id", 1);
    /// let text = format!("select count(*) from rfis where {condition}");
    /// let count = values.into_iter().fold(
    ///     sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(text)),
    ///     |query, value| query.bind(value),
    /// );
    /// let count = count.fetch_one(&mut **tx).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`CheckError::Undecided`] when the answer depends on values that are not given: see [`Authz::filter_in`];
    /// [`CheckError::TooComplex`] when it is too large; otherwise as [`Authz::check`].
    pub async fn filter<S: AsSubject + ?Sized>(
        &self,
        tx: &mut TenantTx,
        subject: &S,
        permission: &str,
        object_type: &str,
    ) -> Result<ObjectFilter, CheckError> {
        self.filter_in(tx, &Context::new(), subject, permission, object_type).await
    }

    /// As [`Authz::filter`], with values for conditions, or as of a time.
    ///
    /// # Errors
    ///
    /// As [`Authz::filter`].
    pub async fn filter_in<S: AsSubject + ?Sized>(
        &self,
        tx: &mut TenantTx,
        context: &Context,
        subject: &S,
        permission: &str,
        object_type: &str,
    ) -> Result<ObjectFilter, CheckError> {
        let subject = &*subject.as_subject();
        let slot = ask::listed_slot(self, subject, permission, object_type)?;
        let schema = &self.inner().schema;
        let statement = self.inner().statements.of(schema, slot).ok();
        let graph = match (way(self, tx).await?, &statement) {
            (Way::Memory(graph), _) => graph,
            (Way::Sql, Some(statement)) => {
                let ids = ask::ids(self, tx, context, subject, statement, SMALL + 1).await?;
                let kind =
                    if ids.len() > SMALL { self.query(statement, context, subject) } else { Kind::List(ids) };
                return Ok(ObjectFilter { kind, ids: Ids::Text });
            }
            (Way::Sql, None) => Arc::new(fetch::for_subject(self, tx, context, subject, slot).await?),
        };
        let list = listed(&graph, context, subject, permission, object_type)?;
        // A statement tells of now.
        let is_past = matches!(self.consistency(), Consistency::Exact(_));
        let kind = match statement {
            Some(statement) if list.len() > SMALL && !is_past => self.query(&statement, context, subject),
            _ if list.len() > MAX_IDS => return Err(TooComplex::new("objects in a filter", MAX_IDS).into()),
            _ => Kind::List(list),
        };
        Ok(ObjectFilter { kind, ids: Ids::Text })
    }

    fn query(&self, statement: &Arc<Statement>, context: &Context, subject: &Subject) -> Kind {
        let (schema, statement) = (Arc::clone(&self.inner().schema), Arc::clone(statement));
        Kind::Query { schema, statement, values: ask::values(self, context, subject) }
    }
}

/// The ids of all objects on which the subject holds the permission, none of them undecided.
pub(crate) async fn decided(
    authz: &Authz,
    tx: &mut TenantTx,
    context: &Context,
    subject: &Subject,
    permission: &str,
    object_type: &str,
) -> Result<Vec<String>, CheckError> {
    let slot = ask::listed_slot(authz, subject, permission, object_type)?;
    let statement = authz.inner().statements.of(&authz.inner().schema, slot).ok();
    let graph = match (way(authz, tx).await?, statement) {
        (Way::Memory(graph), _) => graph,
        (Way::Sql, Some(statement)) => return ask::all_ids(authz, tx, context, subject, &statement).await,
        (Way::Sql, None) => Arc::new(fetch::for_subject(authz, tx, context, subject, slot).await?),
    };
    listed(&graph, context, subject, permission, object_type)
}

/// The ids of all objects, none of them undecided.
fn listed(
    graph: &Graph,
    context: &Context,
    subject: &Subject,
    permission: &str,
    object_type: &str,
) -> Result<Vec<String>, CheckError> {
    let page = graph.lookup_objects_in(context, subject, permission, object_type, None, usize::MAX)?;
    let Some(first) = page.conditional.first() else {
        return Ok(page.items.iter().map(|object: &Object| object.id().to_owned()).collect());
    };
    let missing = match graph.check_in(context, subject, permission, first)? {
        Decision::Conditional { missing } => missing,
        _ => [].into(),
    };
    Err(CheckError::Undecided(Undecided::new(page.conditional.len(), missing)))
}
