//! Events that a sink would not take. They stand in their tenant's home, under its row security, and move with it.

use chrono::{DateTime, Utc};
use formwork_tenancy::{Cursor, TenantTx};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use crate::AuditError;

/// The most letters in one page.
const MAX_PAGE: u64 = 200;

/// An event that a sink would not take, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Which sink.
    pub sink: String,
    /// Which event of the trail.
    pub event_id: Uuid,
    /// What the last attempt met.
    pub reason: String,
    /// How often it was tried.
    pub attempts: i32,
    /// When it was given up.
    pub at: DateTime<Utc>,
}

/// A page of them, the oldest event first.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    /// The letters.
    pub letters: Vec<DeadLetter>,
    /// None when there is no more.
    pub next: Option<Cursor>,
}

impl DeadLetters {
    /// The tenant's, of one sink; `limit` is bounded to 1..=200. To send them again:
    /// [`Deliverer::resend`](super::Deliverer::resend).
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(
        tx: &mut TenantTx,
        sink: &str,
        after: Option<Cursor>,
        limit: u64,
    ) -> Result<Self, AuditError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut letters: Vec<DeadLetter> = sqlx::query_as(
            "select sink, event_id, reason, attempts, at from audit_dead_letters
              where sink = $1 and event_id > $2 order by event_id limit $3",
        )
        .bind(sink)
        .bind(after.map_or(Uuid::nil(), Cursor::row))
        // One more than asked tells whether there is a next page.
        .bind(limit as i64 + 1)
        .fetch_all(&mut **tx)
        .await?;
        let more = letters.len() as u64 > limit;
        letters.truncate(limit as usize);
        let next = letters.last().filter(|_| more).map(|letter| Cursor::after(letter.event_id));
        Ok(Self { letters, next })
    }

    /// How many the tenant has, by sink.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn count(tx: &mut TenantTx) -> Result<Vec<(String, u64)>, AuditError> {
        let counted: Vec<(String, i64)> =
            sqlx::query_as("select sink, count(*) from audit_dead_letters group by sink order by sink")
                .fetch_all(&mut **tx)
                .await?;
        Ok(counted.into_iter().map(|(sink, count)| (sink, count.unsigned_abs())).collect())
    }

    /// Forgets one, unsent: the event stays in the trail. Was it there?
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn forget(tx: &mut TenantTx, sink: &str, event: Uuid) -> Result<bool, AuditError> {
        let gone = sqlx::query("delete from audit_dead_letters where sink = $1 and event_id = $2")
            .bind(sink)
            .bind(event)
            .execute(&mut **tx)
            .await?;
        Ok(gone.rows_affected() > 0)
    }
}

/// Writes one, or says anew why it could not be sent.
pub(super) async fn keep(
    tx: &mut TenantTx,
    sink: &str,
    event: Uuid,
    reason: &str,
    attempts: u32,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into audit_dead_letters as l (sink, event_id, reason, attempts) values ($1, $2, $3, $4)
         on conflict (tenant_id, sink, event_id) do update
            set reason = excluded.reason, attempts = l.attempts + excluded.attempts, at = excluded.at",
    )
    .bind(sink)
    .bind(event)
    .bind(reason)
    .bind(i32::try_from(attempts).unwrap_or(i32::MAX))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The first one behind `after` that nobody else is sending, locked until the transaction ends.
pub(super) async fn take(tx: &mut TenantTx, sink: &str, after: Uuid) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "select event_id from audit_dead_letters where sink = $1 and event_id > $2
          order by event_id limit 1 for update skip locked",
    )
    .bind(sink)
    .bind(after)
    .fetch_optional(&mut **tx)
    .await
}
