//! Relationships that are stored and that a schema has no place for.

use std::collections::BTreeMap;
use std::fmt;

use formwork_tenancy::TenantTx;
use futures::TryStreamExt as _;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::AdoptError;
use crate::graph::Row;
use crate::read;
use crate::relationship::Relationship;
use crate::schema::Schema;

/// Of each form, so many are shown.
const EXAMPLES: i64 = 3;

/// Relationships of one form that a schema has no place for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphans {
    place: String,
    reason: Option<String>,
    count: u64,
    examples: Vec<Relationship>,
}

impl Orphans {
    /// Their form, `document#viewer@team#member`.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first of them, three at most.
    pub fn examples(&self) -> &[Relationship] {
        &self.examples
    }
}

impl fmt::Display for Orphans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, reason, count, examples } = self;
        write!(f, "{count} of `{place}`")?;
        if let Some(reason) = reason {
            write!(f, " ({reason})")?;
        }
        let shown: Vec<String> = examples.iter().map(|one| format!("`{one}`")).collect();
        write!(f, ", as {}", shown.join(", "))
    }
}

/// All of them: by their forms in Postgres, and by what is stored for conditions here.
pub(super) async fn of(tx: &mut TenantTx, schema: &Schema) -> Result<Vec<Orphans>, AdoptError> {
    const FORMS: &str = "
        select place, count(*)
          from (select platform.permission_place(namespace, relation, subject_ns, subject_id, subject_rel,
                                                 condition, expires_at) as place
                  from permission_tuples) stored
         group by place
        having place <> all ($1)
         order by place";
    let forms: Vec<(String, i64)> = sqlx::query_as(FORMS).bind(schema.places()).fetch_all(&mut **tx).await?;
    let mut orphans = Vec::new();
    for (place, count) in forms {
        let examples = examples(tx, &place).await?;
        orphans.push(Orphans { place, reason: None, count: count.unsigned_abs(), examples });
    }
    orphans.extend(misfits(tx, schema).await?);
    Ok(orphans)
}

async fn examples(tx: &mut TenantTx, place: &str) -> Result<Vec<Relationship>, AdoptError> {
    const EXAMPLE: &str = "
        select namespace, object_id, relation, subject_ns, subject_id, subject_rel, condition, context::text, expires_at
          from permission_tuples
         where namespace = $2
           and platform.permission_place(namespace, relation, subject_ns, subject_id, subject_rel, condition, expires_at) = $1
         order by namespace, object_id, relation, subject_ns, subject_id
         limit $3";
    let namespace = place.split('#').next().unwrap_or_default();
    let rows = sqlx::query(EXAMPLE).bind(place).bind(namespace).bind(EXAMPLES).fetch_all(&mut **tx).await?;
    Ok(rows.iter().map(read::relationship).collect::<Result<_, _>>()?)
}

/// What is stored with a condition and is not of its parameters' types.
async fn misfits(tx: &mut TenantTx, schema: &Schema) -> Result<Vec<Orphans>, AdoptError> {
    const WITH_CONTEXT: &str = "
        select namespace, object_id, relation, subject_ns, subject_id, subject_rel, condition, context::text, expires_at
          from permission_tuples
         where context is not null and condition = any ($1)
         order by namespace, object_id, relation, subject_ns, subject_id";
    let names: Vec<String> = schema.conditions().map(|condition| condition.name().to_owned()).collect();
    let mut found: BTreeMap<(String, String), Orphans> = BTreeMap::new();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows = sqlx::query(WITH_CONTEXT).bind(names).fetch(&mut **tx);
    while let Some(row) = rows.try_next().await? {
        if let Some((place, reason)) = misfit(schema, &row)? {
            let key = (place.clone(), reason.clone());
            let orphans = found.entry(key).or_insert(Orphans {
                place,
                reason: Some(reason),
                count: 0,
                examples: Vec::new(),
            });
            orphans.count += 1;
            if orphans.count <= EXAMPLES.unsigned_abs() {
                orphans.examples.push(read::relationship(&row)?);
            }
        }
    }
    Ok(found.into_values().collect())
}

fn misfit(schema: &Schema, row: &PgRow) -> Result<Option<(String, String)>, sqlx::Error> {
    let relationship = read::relationship(row)?;
    let stored = Row { context: row.try_get("context")?, ..Row::from(&relationship) };
    let Some(Err(fault)) = stored.guard(schema).map(|guard| guard.bound) else { return Ok(None) };
    let subject = match (relationship.subject().relation(), relationship.subject().is_wildcard()) {
        (Some(relation), _) => format!("{}#{relation}", relationship.subject().subject_type()),
        (None, true) => format!("{}:*", relationship.subject().subject_type()),
        (None, false) => relationship.subject().subject_type().to_owned(),
    };
    let object = relationship.object().object_type();
    let condition = relationship.condition().unwrap_or_default();
    let place = format!("{object}#{}@{subject} with {condition}", relationship.relation());
    Ok(Some((place, fault.to_string())))
}
