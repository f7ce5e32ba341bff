//! Reading stored relationships.

use formwork_tenancy::{StorageError, TenantTx};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::authz::Authz;
use crate::object::Object;
use crate::relationship::Relationship;
use crate::subject::Subject;

/// Which stored relationships are wanted.
///
/// ```
/// use formwork_authz::{Filter, Object, Subject};
///
/// let who_views = Filter::of_object(&Object::new("document", 7)).relation("viewer");
/// let what_anna_has = Filter::of_subject(&Subject::new("user", "anna"));
/// ```
#[derive(Debug, Clone)]
pub struct Filter {
    end: End,
    relation: Option<String>,
}

#[derive(Debug, Clone)]
enum End {
    Object(Object),
    Subject(Subject),
}

impl Filter {
    /// The relationships on an object.
    pub fn of_object(object: &Object) -> Self {
        Self { end: End::Object(object.clone()), relation: None }
    }

    /// The relationships in which exactly this subject stands.
    pub fn of_subject(subject: &Subject) -> Self {
        Self { end: End::Subject(subject.clone()), relation: None }
    }

    /// Only those of one relation.
    #[must_use]
    pub fn relation(mut self, relation: impl Into<String>) -> Self {
        self.relation = Some(relation.into());
        self
    }
}

impl Authz {
    /// The stored relationships that a filter lets through, in the order of their text's parts; all of
    /// them, and only what is stored: nothing is computed.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the database failed.
    pub async fn read(&self, tx: &mut TenantTx, filter: &Filter) -> Result<Vec<Relationship>, StorageError> {
        const OF_OBJECT: &str = "
            select namespace, object_id, relation, subject_ns, subject_id, subject_rel,
                   condition, context::text, expires_at
              from permission_tuples
             where namespace = $1 and object_id = $2 and ($3::text is null or relation = $3)
             order by namespace, object_id, relation, subject_ns, subject_id, subject_rel nulls first";
        const OF_SUBJECT: &str = "
            select namespace, object_id, relation, subject_ns, subject_id, subject_rel,
                   condition, context::text, expires_at
              from permission_tuples
             where subject_ns = $1 and subject_id = $2 and ($3::text is null or relation = $3)
               and subject_rel is not distinct from $4
             order by namespace, object_id, relation, subject_ns, subject_id, subject_rel nulls first";
        let query = match &filter.end {
            End::Object(object) => {
                sqlx::query(OF_OBJECT).bind(object.object_type()).bind(object.id()).bind(&filter.relation)
            }
            End::Subject(subject) => sqlx::query(OF_SUBJECT)
                .bind(subject.subject_type())
                .bind(subject.id())
                .bind(&filter.relation)
                .bind(subject.relation()),
        };
        let rows = query.fetch_all(&mut **tx).await?;
        Ok(rows.iter().map(relationship).collect::<Result<_, _>>()?)
    }
}

fn relationship(row: &PgRow) -> Result<Relationship, sqlx::Error> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let subject = match row.try_get::<Option<String>, _>("subject_rel")? {
        Some(relation) => Subject::userset(text("subject_ns")?, text("subject_id")?, relation),
        None => Subject::new(text("subject_ns")?, text("subject_id")?),
    };
    let plain =
        Relationship::new(Object::new(text("namespace")?, text("object_id")?), text("relation")?, subject);
    // What Postgres gives back is JSON in another order and spacing.
    let context = match row.try_get::<Option<&str>, _>("context")? {
        Some(json) => serde_json::from_str(json).ok().map(|map: serde_json::Value| map.to_string()),
        None => None,
    };
    Ok(plain.with_terms(row.try_get("condition")?, context, row.try_get("expires_at")?))
}
