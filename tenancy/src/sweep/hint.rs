//! A hint: `a sweep of this kind has work in this tenant`, written with the work.

use chrono::{DateTime, Utc};

use crate::{StorageError, TenantTx, stream::CHANNEL};

impl TenantTx {
    /// Asks for a visit of the sweep `kind`; it comes if, and only if, this commits. Many hints are one visit.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn hint(&mut self, kind: &str) -> Result<(), StorageError> {
        self.leave_hint(kind, None).await
    }

    /// The same, for a visit that is not to come before `due`.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn hint_at(&mut self, kind: &str, due: DateTime<Utc>) -> Result<(), StorageError> {
        self.leave_hint(kind, Some(due)).await
    }

    async fn leave_hint(&mut self, kind: &str, due: Option<DateTime<Utc>>) -> Result<(), StorageError> {
        // Only ever inserted: ON CONFLICT would wait for whoever has left the same hint and is still open.
        let insert = "insert into platform.sweep_hints (kind, due_at) values ($1, coalesce($2, now()))";
        let query = match self.notifies && due.is_none() {
            false => sqlx::query(insert).bind(kind).bind(due),
            true => sqlx::query(
                "with woken as materialized (select pg_notify($3, '')) \
                 insert into platform.sweep_hints (kind, due_at) select $1, coalesce($2, now()) from woken",
            )
            .bind(kind)
            .bind(due)
            .bind(CHANNEL),
        };
        query.execute(&mut **self).await?;
        Ok(())
    }
}
