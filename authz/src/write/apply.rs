//! Carrying out a request: its key, its preconditions, its changes, in this order.

use formwork_tenancy::TenantTx;
use sqlx::{AssertSqlSafe, Row as _};

use super::request::{Write, Written};
use super::send::{Statement, bind_rows};
use crate::authz::Authz;
use crate::error::{Existing, FailedPrecondition, WriteError};
use crate::filter::Filter;
use crate::lock;
use crate::read::bind;
use crate::relationship::Relationship;

const NOT_EXPIRED: &str = "(expires_at is null or expires_at > now())";

impl Authz {
    /// Makes all changes of a request, or none: what is refused leaves the transaction as it was, and it can go on.
    ///
    /// # Errors
    ///
    /// As [`Authz::touch`] and [`Authz::create`]; [`WriteError::Precondition`] when one does not hold,
    /// [`WriteError::KeyReused`] when the key stands for another request.
    pub async fn write(&self, tx: &mut TenantTx, write: &Write) -> Result<Written, WriteError> {
        write.verify(self.schema())?;
        if !write.may_turn_back() {
            return self.apply(tx, write).await;
        }
        let (authz, owned) = (self.clone(), write.clone());
        let done = tx.savepoint(move |tx| Box::pin(async move { authz.apply(tx, &owned).await })).await?;
        match done {
            // Undone, so that what is still there was there before.
            Err(WriteError::Exists(first)) => {
                let existing = existing(tx, &write.creates).await?;
                Err(WriteError::Exists(existing.map_or(first, Existing::new)))
            }
            done => done,
        }
    }

    /// Forgets the keys of requests that are older than so many seconds, and says how many there were: a request that
    /// comes again after that is carried out again.
    ///
    /// # Errors
    ///
    /// [`WriteError::Storage`] when the database failed.
    pub async fn forget_keys(&self, tx: &mut TenantTx, seconds: u32) -> Result<u64, WriteError> {
        let done = sqlx::query("delete from permission_writes where at < now() - $1 * interval '1 second'")
            .bind(f64::from(seconds))
            .execute(&mut **tx)
            .await?;
        Ok(done.rows_affected())
    }

    async fn apply(&self, tx: &mut TenantTx, write: &Write) -> Result<Written, WriteError> {
        if let Some(key) = &write.key
            && is_repeated(tx, key, write.digest()).await?
        {
            return Ok(Written { changed: 0, repeated: true });
        }
        hold(tx, write).await?;
        if let Some(metadata) = &write.metadata {
            set_metadata(tx, metadata.to_string()).await?;
        }
        let mut changed = 0;
        for filter in &write.filters {
            changed += self.delete_matching(tx, filter).await?;
        }
        for (statement, relationships) in
            [(Statement::Delete, &write.deletes), (Statement::Touch, &write.touches)]
        {
            if !relationships.is_empty() {
                changed += self.send(tx, statement, relationships).await?;
            }
        }
        if !write.creates.is_empty() {
            let created = self.send(tx, Statement::Create, &write.creates).await?;
            if created < write.creates.len() as u64 {
                let first = write.creates.first().ok_or(sqlx::Error::RowNotFound)?;
                return Err(WriteError::Exists(Existing::new(first)));
            }
            changed += created;
        }
        if write.metadata.is_some() {
            set_metadata(tx, String::new()).await?;
        }
        Ok(Written { changed, repeated: false })
    }
}

/// Takes the key, or waits for whoever has it in an open transaction.
async fn is_repeated(tx: &mut TenantTx, key: &str, digest: [u8; 32]) -> Result<bool, WriteError> {
    let taken =
        sqlx::query("insert into permission_writes (key, digest) values ($1, $2) on conflict do nothing")
            .bind(key)
            .bind(digest.as_slice())
            .execute(&mut **tx)
            .await?;
    if taken.rows_affected() == 1 {
        return Ok(false);
    }
    let known: Option<Vec<u8>> = sqlx::query_scalar("select digest from permission_writes where key = $1")
        .bind(key)
        .fetch_optional(&mut **tx)
        .await?;
    match known {
        Some(known) if known == digest => Ok(true),
        _ => Err(WriteError::KeyReused { key: key.to_owned() }),
    }
}

async fn hold(tx: &mut TenantTx, write: &Write) -> Result<(), WriteError> {
    for filter in &write.must_match {
        let (condition, values) = filter.condition(1);
        let text =
            format!("select 1 from permission_tuples where {condition} and {NOT_EXPIRED} limit 1 for share");
        let found = bind(sqlx::query(AssertSqlSafe(text)), values).fetch_optional(&mut **tx).await?;
        if found.is_none() {
            return Err(WriteError::Precondition(FailedPrecondition::new(filter, true)));
        }
    }
    if write.must_not_match.is_empty() {
        return Ok(());
    }
    lock::hold_storing(tx).await?;
    if !lock::sees_the_newest(tx).await? {
        return Err(WriteError::Isolation);
    }
    for filter in &write.must_not_match {
        if is_stored(tx, filter).await? {
            return Err(WriteError::Precondition(FailedPrecondition::new(filter, false)));
        }
    }
    Ok(())
}

async fn is_stored(tx: &mut TenantTx, filter: &Filter) -> Result<bool, WriteError> {
    let (condition, values) = filter.condition(1);
    let text = format!("select 1 from permission_tuples where {condition} and {NOT_EXPIRED} limit 1");
    Ok(bind(sqlx::query(AssertSqlSafe(text)), values).fetch_optional(&mut **tx).await?.is_some())
}

/// The first of these that is stored.
async fn existing<'w>(
    tx: &mut TenantTx,
    creates: &'w [Relationship],
) -> Result<Option<&'w Relationship>, WriteError> {
    const FIRST: &str = "
        select n.place
          from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                      $7::text[], $8::text[], $9::timestamptz[]) with ordinality
               as n (namespace, object_id, relation, subject_ns, subject_id, subject_rel,
                     condition, context, expires_at, place)
          join permission_tuples t using (namespace, object_id, relation, subject_ns, subject_id)
         where t.subject_rel is not distinct from n.subject_rel
           and (t.expires_at is null or t.expires_at > now())
         order by n.place limit 1";
    let rows: Vec<&Relationship> = creates.iter().collect();
    let found = bind_rows(sqlx::query(FIRST), &rows).fetch_optional(&mut **tx).await?;
    let place = found.map(|row| row.try_get::<i64, _>(0)).transpose()?;
    Ok(place.and_then(|place| creates.get(usize::try_from(place - 1).ok()?)))
}

/// The log's triggers read it.
async fn set_metadata(tx: &mut TenantTx, text: String) -> Result<(), WriteError> {
    sqlx::query("select set_config('app.permission_metadata', $1, true)")
        .bind(text)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
