//! Reading stored relationships: all of them, or page by page. Nothing is computed here.

use formwork_tenancy::{StorageError, TenantTx};
use serde_json::Value;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres, Row as _};

use crate::authz::Authz;
use crate::error::ReadError;
use crate::filter::Filter;
use crate::graph::Cursor;
use crate::object::Object;
use crate::relationship::Relationship;
use crate::subject::Subject;

const COLUMNS: &str = "namespace, object_id, relation, subject_ns, subject_id, subject_rel, condition, context::text, expires_at";
/// The unique index has this order but for the last part, in which few rows differ.
const ORDER: &str = "namespace, object_id, relation, subject_ns, subject_id, coalesce(subject_rel, '')";

/// A part of what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPage {
    /// In the order of their text's parts.
    pub relationships: Vec<Relationship>,
    /// Where the rest begins; `None` when there is none.
    pub next: Option<Cursor>,
}

impl Authz {
    /// The stored relationships that a filter lets through, in the order of their text's parts; all of
    /// them, and only what is stored: nothing is computed.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the database failed.
    pub async fn read(&self, tx: &mut TenantTx, filter: &Filter) -> Result<Vec<Relationship>, StorageError> {
        let (condition, values) = filter.condition(1);
        let text = format!("select {COLUMNS} from permission_tuples where {condition} order by {ORDER}");
        let rows = bind(sqlx::query(AssertSqlSafe(text)), values).fetch_all(&mut **tx).await?;
        Ok(rows.iter().map(relationship).collect::<Result<_, _>>()?)
    }

    /// As [`Authz::read`], at most `limit` of them (at least one), behind where the last page ended.
    ///
    /// Pages of one transaction are of one state only at an isolation level that keeps one; otherwise what is
    /// written meanwhile behind the cursor is seen, and what stood throughout is seen once.
    ///
    /// # Errors
    ///
    /// [`ReadError::Cursor`] when no page gave the cursor, [`ReadError::Storage`] when the database failed.
    pub async fn read_page(
        &self,
        tx: &mut TenantTx,
        filter: &Filter,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<ReadPage, ReadError> {
        let limit = limit.max(1) as usize;
        let last = after.map(key).transpose()?;
        let (mut condition, mut values) = filter.condition(1);
        if let Some(last) = &last {
            let n = values.len();
            // The first comparison is what the index can begin at, the second is exact.
            condition.push_str(&format!(
                " and (namespace, object_id, relation, subject_ns, subject_id) >= (${}, ${}, ${}, ${}, ${})
                  and ({ORDER}) > (${0}, ${1}, ${2}, ${3}, ${4}, ${})",
                n + 1,
                n + 2,
                n + 3,
                n + 4,
                n + 5,
                n + 6
            ));
            values.extend(last.iter().map(String::as_str));
        }
        let text = format!(
            "select {COLUMNS} from permission_tuples where {condition} order by {ORDER} limit {}",
            limit.saturating_add(1)
        );
        let rows = bind(sqlx::query(AssertSqlSafe(text)), values).fetch_all(&mut **tx).await?;
        let is_whole = rows.len() <= limit;
        let relationships: Vec<Relationship> =
            rows.iter().take(limit).map(relationship).collect::<Result<_, _>>()?;
        let next = relationships.last().filter(|_| !is_whole).map(behind);
        Ok(ReadPage { relationships, next })
    }
}

/// Gives a statement the values of a filter.
pub(crate) fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    values: Vec<&str>,
) -> Query<'q, Postgres, PgArguments> {
    values.into_iter().fold(query, |query, value| query.bind(value.to_owned()))
}

fn behind(last: &Relationship) -> Cursor {
    let (object, subject) = (last.object(), last.subject());
    let key = [
        object.object_type(),
        object.id(),
        last.relation(),
        subject.subject_type(),
        subject.id(),
        subject.relation().unwrap_or_default(),
    ];
    Cursor::after(serde_json::json!(key).to_string())
}

fn key(cursor: &Cursor) -> Result<[String; 6], ReadError> {
    serde_json::from_str(cursor.as_str()).map_err(|_| ReadError::Cursor)
}

pub(crate) fn relationship(row: &PgRow) -> Result<Relationship, sqlx::Error> {
    let context: Option<&str> = row.try_get("context")?;
    with_context(row, context.and_then(|json| serde_json::from_str(json).ok()))
}

pub(crate) fn with_context(row: &PgRow, context: Option<Value>) -> Result<Relationship, sqlx::Error> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let subject = match row.try_get::<Option<String>, _>("subject_rel")? {
        Some(relation) => Subject::userset(text("subject_ns")?, text("subject_id")?, relation),
        None => Subject::new(text("subject_ns")?, text("subject_id")?),
    };
    let plain =
        Relationship::new(Object::new(text("namespace")?, text("object_id")?), text("relation")?, subject);
    // What Postgres gives back is JSON in another order and spacing.
    let context = context.map(|map| map.to_string());
    Ok(plain.with_terms(row.try_get("condition")?, context, row.try_get("expires_at")?))
}
