//! Leaves and checkpoints as they are kept.

use chrono::{DateTime, Utc};
use formwork_tenancy::TenantTx;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Frontier, Hash, SealError, SignedCheckpoint};

/// Checkpoints in one read.
const PAGE: i64 = 1_000;

/// A checkpoint's row.
#[derive(Debug, FromRow)]
pub(crate) struct KeptCheckpoint {
    pub(crate) number: i64,
    pub(crate) size: i64,
    body: String,
    signature: Vec<u8>,
    cosignature: Option<Vec<u8>>,
    pub(crate) frontier: Vec<u8>,
    pub(crate) read_to: String,
}

impl KeptCheckpoint {
    /// None when the row is none that a sealer writes.
    pub(crate) fn signed(&self) -> Option<SignedCheckpoint> {
        let signature = self.signature.as_slice().try_into().ok()?;
        let cosignature = match self.cosignature.as_deref() {
            None => None,
            Some(bytes) => Some(bytes.try_into().ok()?),
        };
        let signed = SignedCheckpoint::from_parts(&self.body, signature, cosignature)?;
        let says = signed.checkpoint();
        let is_of_row =
            i64::try_from(says.number()) == Ok(self.number) && i64::try_from(says.size()) == Ok(self.size);
        is_of_row.then_some(signed)
    }
}

pub(crate) async fn last_checkpoint(tx: &mut TenantTx) -> Result<Option<KeptCheckpoint>, SealError> {
    let last = sqlx::query_as(
        "select number, size, body, signature, cosignature, frontier, read_to
           from audit_checkpoints order by number desc limit 1",
    );
    Ok(last.fetch_optional(&mut **tx).await?)
}

/// Those behind `number`, a page of them, in their order.
pub(crate) async fn checkpoints_after(
    tx: &mut TenantTx,
    number: i64,
) -> Result<Vec<KeptCheckpoint>, SealError> {
    let page = sqlx::query_as(
        "select number, size, body, signature, cosignature, frontier, read_to
           from audit_checkpoints where number > $1 order by number limit $2",
    );
    Ok(page.bind(number).bind(PAGE).fetch_all(&mut **tx).await?)
}

pub(crate) async fn checkpoint(tx: &mut TenantTx, number: u64) -> Result<SignedCheckpoint, SealError> {
    let none = SealError::NoCheckpoint { number };
    let Some(before) = i64::try_from(number).ok().and_then(|number| number.checked_sub(1)) else {
        return Err(none);
    };
    let found = checkpoints_after(tx, before).await?.into_iter().next().and_then(|kept| kept.signed());
    found.filter(|signed| signed.checkpoint().number() == number).ok_or(none)
}

pub(crate) async fn keep_checkpoint(
    tx: &mut TenantTx,
    signed: &SignedCheckpoint,
    tree: &Frontier,
    read_to: &str,
) -> Result<(), SealError> {
    sqlx::query(
        "insert into audit_checkpoints (number, size, body, signature, cosignature, frontier, read_to)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(signed.checkpoint().number() as i64)
    .bind(signed.checkpoint().size() as i64)
    .bind(signed.checkpoint().to_string())
    .bind(signed.signature().as_slice())
    .bind(signed.cosignature().map(<[u8; 64]>::as_slice))
    .bind(tree.to_bytes())
    .bind(read_to)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Leaves for these events, from the position on.
pub(crate) async fn keep_leaves(
    tx: &mut TenantTx,
    from: u64,
    events: Vec<Uuid>,
    hashes: &[Hash],
) -> Result<(), SealError> {
    sqlx::query(
        "insert into audit_leaves (position, event_id, hash)
         select $1 + n - 1, event, hash from unnest($2::uuid[], $3::bytea[]) with ordinality as e (event, hash, n)",
    )
    .bind(from as i64)
    .bind(events)
    .bind(hashes.iter().map(<[u8; 32]>::as_slice).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Why a sealed event is not there: a tombstone, or somebody who had no leave.
pub(crate) async fn why_gone(tx: &mut TenantTx, event: Uuid, position: i64) -> Result<SealError, SealError> {
    let tombstone: Option<i64> = sqlx::query_scalar(
        r"select min(number) from audit_checkpoints
           where size > $1 and substring(body from '\nremoved-before ([0-9a-f-]{36})\n')::uuid > $2",
    )
    .bind(position)
    .bind(event)
    .fetch_one(&mut **tx)
    .await?;
    Ok(match tombstone {
        Some(number) => SealError::Removed { event, tombstone: number as u64 },
        None => SealError::Broken { what: "a sealed event is missing" },
    })
}

/// Events before this identity that have a leaf and are still there, and those that have none.
pub(crate) async fn events_before(tx: &mut TenantTx, before: Uuid) -> Result<(u64, u64), SealError> {
    let (sealed, unsealed): (i64, i64) = sqlx::query_as(
        "select count(l.position), count(*) - count(l.position)
           from audit_events e
           left join audit_leaves l on l.tenant_id = e.tenant_id and l.event_id = e.id
          where e.id < $1",
    )
    .bind(before)
    .fetch_one(&mut **tx)
    .await?;
    Ok((sealed as u64, unsealed as u64))
}

/// Makes partitions ahead. That they could not be made is the next visit's matter: until then events have a place.
pub(crate) async fn prepare_partitions(tx: &mut TenantTx) -> Result<(), SealError> {
    let made = tx.savepoint(|tx| {
        Box::pin(async move {
            sqlx::query_scalar::<_, i32>("select prepare_audit_partitions()").fetch_one(&mut **tx).await
        })
    });
    if let Err(error) = made.await? {
        tracing::warn!(%error, "the audit trail's partitions could not be made");
    }
    Ok(())
}

/// Those of the events that have a leaf already.
pub(crate) async fn sealed_among(tx: &mut TenantTx, events: &[Uuid]) -> Result<Vec<Uuid>, SealError> {
    let found = sqlx::query_scalar("select event_id from audit_leaves where event_id = any($1)").bind(events);
    Ok(found.fetch_all(&mut **tx).await?)
}

/// Hashes of the first leaves, in their order; `Broken` when one is missing.
pub(crate) async fn first_leaves(tx: &mut TenantTx, size: u64) -> Result<Vec<Hash>, SealError> {
    let rows: Vec<Vec<u8>> =
        sqlx::query_scalar("select hash from audit_leaves where position < $1 order by position")
            .bind(i64::try_from(size).unwrap_or(i64::MAX))
            .fetch_all(&mut **tx)
            .await?;
    let hashes: Vec<Hash> = rows.iter().filter_map(|hash| hash.as_slice().try_into().ok()).collect();
    match hashes.len() as u64 == size {
        true => Ok(hashes),
        false => Err(SealError::Broken { what: "leaves are missing" }),
    }
}

/// Waits until no other sealer is with the tenant; the database's time then.
pub(crate) async fn lock(tx: &mut TenantTx) -> Result<DateTime<Utc>, SealError> {
    let name = format!("formwork audit seal {}", tx.tenant_id());
    let locked = sqlx::query_scalar(
        "with locked as materialized (select pg_advisory_xact_lock(hashtextextended($1, 0)))
         select clock_timestamp() from locked",
    );
    Ok(locked.bind(name).fetch_one(&mut **tx).await?)
}
