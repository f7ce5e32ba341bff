//! A state of before: what is stored now, and what has come since taken back.
//!
//! Of one tuple, the log's ids are in the order of its changes, so taking them back from the last to the first leaves
//! what was there. The log says of each change what it replaced.

use std::sync::Arc;

use formwork_tenancy::{CommitToken, TenantTx};
use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::authz::Inner;
use crate::error::CheckError;
use crate::graph::{Graph, Row};
use crate::memory::state_of;
use crate::view;

/// Changes that are taken back at most.
const MOST: usize = 1_000_000;

/// The graph of exactly the state that the token's commit left.
pub(crate) async fn of(
    inner: &Arc<Inner>,
    tx: &mut TenantTx,
    token: &CommitToken,
) -> Result<Arc<Graph>, CheckError> {
    // What came after the token's state, and is in the one that was read: also what this transaction wrote.
    const SINCE: &str = "
        select null as op, coalesce(platform.stream_floor('platform.permission_changes') > $4::text::xid8, false) as own,
               null as namespace, null as object_id, null as relation,
               null as subject_ns, null as subject_id, null as subject_rel,
               null as condition, null as context, null::bigint as expires_at, null as replaced
        union all
        (select op, false, namespace, object_id, relation, subject_ns, subject_id, subject_rel,
                condition, context::text, (extract(epoch from expires_at) * 1000000)::bigint, replaced
           from (select c.* from unnest($2::text[]::xid8[]) ran (xid)
                  cross join lateral (select * from platform.permission_changes c
                                       where c.tenant_id = $1 and c.xid = ran.xid) c
                 union all
                 select * from platform.permission_changes where tenant_id = $1 and xid >= $3::text::xid8) since
          where op <> 'schema'
            and (pg_visible_in_snapshot(xid, $5::text::pg_snapshot)
                 or xid is not distinct from pg_current_xact_id_if_assigned())
          order by id desc
          limit $6)";
    let wanted = state_of(token, tx.tenant())?.ok_or(CheckError::TooOld)?;
    let current = view::current(inner, tx).await?;
    // Elsewhere the graph may have more than the log that this transaction sees.
    if !(current.is_primary && current.is_of_now) {
        return Err(CheckError::OtherState);
    }
    if !current.snapshot.includes(&wanted) {
        return Err(CheckError::TooOld);
    }
    let running: Vec<String> = wanted.running().iter().map(u64::to_string).collect();
    let oldest = wanted.running().first().copied().unwrap_or(wanted.xmax());
    let rows = sqlx::query(SINCE)
        .bind(tx.tenant_id().as_uuid())
        .bind(running)
        .bind(wanted.xmax().to_string())
        .bind(oldest.to_string())
        .bind(current.snapshot.as_str())
        .bind(MOST as i64 + 1)
        .fetch_all(&mut **tx)
        .await?;
    if rows.len() > MOST + 1 {
        return Err(CheckError::TooOld);
    }
    let mut replaced = Vec::new();
    for row in &rows {
        match row.try_get::<Option<&str>, _>("op")? {
            None if row.try_get("own")? => return Err(CheckError::TooOld),
            None => {}
            Some(op) => replaced.push(Replaced::read(row, op)?),
        }
    }
    Ok(view::apply(&current.graph, replaced.iter().map(Replaced::taken_back).collect()))
}

/// A change, and what was there before it.
struct Replaced<'r> {
    row: Row<'r>,
    was_there: bool,
    context: Option<String>,
    condition: Option<String>,
    expires_at: Option<i64>,
}

impl<'r> Replaced<'r> {
    fn read(row: &'r PgRow, op: &str) -> Result<Self, sqlx::Error> {
        let replaced: Option<Value> = row.try_get("replaced")?;
        let row = view::tuple(row)?;
        let text = |name: &str| replaced.as_ref()?.get(name)?.as_str().map(str::to_owned);
        let (was_there, condition, context, expires_at) = match (&replaced, op) {
            (None, "touch") => (false, None, None, None),
            (Some(terms), "touch") => {
                let context = terms.get("context").filter(|context| !context.is_null()).map(Value::to_string);
                (true, text("condition"), context, terms.get("expires_at").and_then(Value::as_i64))
            }
            _ => (true, row.condition.map(str::to_owned), row.context.map(str::to_owned), row.expires_at),
        };
        Ok(Self { row, was_there, context, condition, expires_at })
    }

    fn taken_back(&self) -> (Row<'_>, bool) {
        let row = Row {
            condition: self.condition.as_deref(),
            context: self.context.as_deref(),
            expires_at: self.expires_at,
            ..self.row
        };
        (row, self.was_there)
    }
}
