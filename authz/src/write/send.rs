//! One statement for up to 10,000 relationships of a kind.

use formwork_tenancy::TenantTx;
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

use crate::authz::Authz;
use crate::error::WriteError;
use crate::graph::Row;
use crate::lock;
use crate::relationship::Relationship;
use crate::view;

/// Rows of one statement.
pub(super) const BATCH: usize = 10_000;

macro_rules! insert {
    ($conflict:literal) => {
        concat!(
            "insert into permission_tuples as t
               (namespace, object_id, relation, subject_ns, subject_id, subject_rel, condition, context, expires_at)
             select namespace, object_id, relation, subject_ns, subject_id, subject_rel, condition, context::jsonb, expires_at
               from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                           $7::text[], $8::text[], $9::timestamptz[])
                    as n (namespace, object_id, relation, subject_ns, subject_id, subject_rel, condition, context, expires_at)
             on conflict on constraint permission_tuples_unique do update
                 set condition = excluded.condition, context = excluded.context, expires_at = excluded.expires_at
               where ",
            $conflict
        )
    };
}

/// What is done with the relationships.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Statement {
    /// Stored afterwards, with these terms.
    Touch,
    /// Stored, where none was that has not expired.
    Create,
    /// Not stored afterwards.
    Delete,
}

impl Statement {
    fn text(self) -> &'static str {
        match self {
            Self::Touch => insert!(
                "(t.condition, t.context, t.expires_at)
                   is distinct from (excluded.condition, excluded.context, excluded.expires_at)"
            ),
            Self::Create => insert!("t.expires_at <= now()"),
            Self::Delete => {
                "delete from permission_tuples t
                  using unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                               $7::text[], $8::text[], $9::timestamptz[])
                        as d (namespace, object_id, relation, subject_ns, subject_id, subject_rel,
                              condition, context, expires_at)
                  where t.namespace = d.namespace and t.object_id = d.object_id and t.relation = d.relation
                    and t.subject_ns = d.subject_ns and t.subject_id = d.subject_id
                    and t.subject_rel is not distinct from d.subject_rel"
            }
        }
    }
}

impl Authz {
    /// Sends relationships that were verified, and puts them over what the transaction sees. Says how many rows changed.
    pub(super) async fn send(
        &self,
        tx: &mut TenantTx,
        statement: Statement,
        relationships: &[Relationship],
    ) -> Result<u64, WriteError> {
        // Deleted ones count as well: who is pardoned from a ban may not be any more.
        if relationships.iter().any(|relationship| self.may_deny(relationship)) {
            lock::hold_revocations(tx).await?;
        }
        // In one order for all writers, so that two who write the same tuples do not wait for each other.
        let mut sorted: Vec<&Relationship> = relationships.iter().collect();
        sorted.sort_by(|a, b| a.identity().cmp(&b.identity()));
        // The last of those that are one relationship: the sort keeps their order.
        sorted.reverse();
        sorted.dedup_by(|a, b| a.is_same(b));
        sorted.reverse();
        let mut changed = 0;
        for batch in sorted.chunks(BATCH) {
            let done = bind_rows(sqlx::query(statement.text()), batch).execute(&mut **tx).await?;
            changed += done.rows_affected();
        }
        if changed > 0 {
            tx.wake_followers();
        }
        // Of those that were to be created and are not, the terms are others.
        if statement != Statement::Create || changed == sorted.len() as u64 {
            view::wrote(self, tx, relationships, statement != Statement::Delete);
        }
        Ok(changed)
    }
}

/// Nine columns of equal length.
pub(crate) fn bind_rows<'q>(
    query: Query<'q, Postgres, PgArguments>,
    relationships: &[&Relationship],
) -> Query<'q, Postgres, PgArguments> {
    let rows: Vec<Row<'_>> = relationships.iter().map(|&relationship| relationship.into()).collect();
    let column = |of: fn(&Row<'_>) -> String| rows.iter().map(of).collect::<Vec<String>>();
    let optional = |of: for<'r> fn(&Row<'r>) -> Option<&'r str>| -> Vec<Option<String>> {
        rows.iter().map(|row| of(row).map(str::to_owned)).collect()
    };
    query
        .bind(column(|row| row.object_type.to_owned()))
        .bind(column(|row| row.object_id.to_owned()))
        .bind(column(|row| row.relation.to_owned()))
        .bind(column(|row| row.subject_type.to_owned()))
        .bind(column(|row| row.subject_id.to_owned()))
        .bind(optional(|row| row.subject_relation))
        .bind(optional(|row| row.condition))
        .bind(optional(|row| row.context))
        .bind(relationships.iter().map(|relationship| relationship.expires_at()).collect::<Vec<_>>())
}
