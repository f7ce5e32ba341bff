//! What one transaction sees: a state of the tenant's relationships, and its own writes over it.

use std::sync::Arc;
use std::time::Instant;

use formwork_tenancy::{Snapshot, TenantTx};
use futures::TryStreamExt;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::authz::{Authz, Inner};
use crate::cache::{Published, Slot};
use crate::consistency::Consistency;
use crate::error::CheckError;
use crate::graph::{Builder, Graph, Row};
use crate::memory;
use crate::past;
use crate::relationship::Relationship;

/// More changes than these are read faster as a whole graph.
const MAX_CHANGES: usize = 50_000;

/// Kept in the transaction from its first question on.
#[derive(Clone)]
struct Seen {
    graph: Arc<Graph>,
    /// Whose schema the graph follows.
    owner: Arc<Inner>,
    /// How fresh it is; `Full` when the database was asked.
    consistency: Consistency,
}

/// What the transaction wrote before its first question: it goes over what memory knows.
#[derive(Clone, Default)]
struct Own(Vec<(Relationship, bool)>);

/// The transaction has written what only the database knows.
#[derive(Clone)]
struct MustRead;

/// The graph that this transaction sees.
pub(crate) async fn of(authz: &Authz, tx: &mut TenantTx) -> Result<Arc<Graph>, CheckError> {
    let (inner, asked) = (authz.inner(), authz.consistency());
    if let Some(seen) = tx.extensions().get::<Seen>().filter(|seen| Arc::ptr_eq(&seen.owner, inner)) {
        let is_past = matches!(asked, Consistency::Exact(_));
        if seen.consistency == *asked || (seen.consistency == Consistency::Full && !is_past) {
            return Ok(Arc::clone(&seen.graph));
        }
    }
    let seen = see(authz, tx).await?;
    let graph = Arc::clone(&seen.graph);
    tx.extensions().insert(seen);
    Ok(graph)
}

/// Whether the transaction has a graph for this handle already.
pub(crate) fn has(authz: &Authz, tx: &mut TenantTx) -> bool {
    tx.extensions().get::<Seen>().is_some_and(|seen| Arc::ptr_eq(&seen.owner, authz.inner()))
}

async fn see(authz: &Authz, tx: &mut TenantTx) -> Result<Seen, CheckError> {
    let (inner, asked) = (authz.inner(), authz.consistency());
    let made = |graph, consistency| Seen { graph, owner: Arc::clone(inner), consistency };
    if let Consistency::Exact(token) = asked {
        return Ok(made(past::of(inner, tx, token).await?, asked.clone()));
    }
    let is_known = tx.extensions().get::<MustRead>().is_none() && tx.extensions().get::<Seen>().is_none();
    let slot = inner.cache.slot(tx.tenant());
    if is_known && let Some(known) = memory::known(inner, &slot, tx.tenant(), asked)? {
        inner.counters.from_memory();
        let own = tx.extensions().get::<Own>().cloned().unwrap_or_default();
        let own = own.0.iter().map(|(relationship, present)| (Row::from(relationship), *present)).collect();
        return Ok(made(apply(&known.graph, own), asked.clone()));
    }
    Ok(made(current(inner, tx).await?.graph, Consistency::Full))
}

/// Forgets what the transaction has seen; its next question asks the database.
pub(crate) fn forget(tx: &mut TenantTx) {
    tx.extensions().remove::<Seen>();
    tx.extensions().remove::<Own>();
    tx.extensions().insert(MustRead);
}

/// Puts a write that the database has taken over what the transaction sees.
pub(crate) fn wrote<'a>(
    authz: &Authz,
    tx: &mut TenantTx,
    relationships: impl IntoIterator<Item = &'a Relationship>,
    present: bool,
) {
    let is_read = *authz.consistency() == Consistency::Full || tx.extensions().get::<MustRead>().is_some();
    match tx.extensions().get_mut::<Seen>() {
        Some(Seen { consistency: Consistency::Exact(_), .. }) => forget(tx),
        Some(seen) if Arc::ptr_eq(&seen.owner, authz.inner()) => {
            let rows = relationships.into_iter().map(|relationship| (Row::from(relationship), present));
            seen.graph = Arc::new(seen.graph.apply_rows(rows));
        }
        // Another handle's view does not know of this write.
        Some(_) => forget(tx),
        // A first question that asks the database reads it there.
        None if is_read => forget(tx),
        None => {
            let own = tx.extensions().get_or_insert_default::<Own>();
            own.0.extend(relationships.into_iter().map(|relationship| (relationship.clone(), present)));
        }
    }
}

/// What a transaction sees when it asks the database, and of which state it is.
pub(crate) struct Current {
    pub(crate) graph: Arc<Graph>,
    pub(crate) snapshot: Snapshot,
}

/// All that is committed, and the transaction's own writes.
pub(crate) async fn current(inner: &Arc<Inner>, tx: &mut TenantTx) -> Result<Current, CheckError> {
    let slot = inner.cache.slot(tx.tenant());
    if let Some(published) = slot.published.load_full()
        && let Some(current) = catch_up(inner, &slot, tx, published).await?
    {
        return Ok(current);
    }
    let _loading = slot.loading.lock().await;
    // Somebody else may have loaded it while this one waited.
    if let Some(published) = slot.published.load_full()
        && let Some(current) = catch_up(inner, &slot, tx, published).await?
    {
        return Ok(current);
    }
    load(inner, &slot, tx).await
}

/// Reads what has been committed since the published snapshot, and what this transaction has written;
/// `None` when that is too much.
async fn catch_up(
    inner: &Arc<Inner>,
    slot: &Arc<Slot>,
    tx: &mut TenantTx,
    published: Arc<Published>,
) -> Result<Option<Current>, CheckError> {
    // A change whose transaction was not visible in the old snapshot and is visible to this statement
    // is new, whatever its id: a transaction may take a low id and commit late.
    //
    // Of the old snapshot's transactions those that ran, each by its own way into the index, and all that came later:
    // one that is left open makes nobody read again what has come since it began.
    const CHANGES: &str = "
        select pg_current_snapshot()::text as snapshot, pg_current_xact_id_if_assigned()::text as own_xid,
               null as op,
               coalesce(platform.stream_floor('platform.permission_changes') > $4::text::xid8, false) as own,
               null as namespace, null as object_id,
               case when pg_is_in_recovery() then 'standby' else 'primary' end as relation,
               null as subject_ns, null as subject_id, null as subject_rel,
               null as condition, null as context, null as expires_at
        union all
        (select null, null, op, xid is not distinct from pg_current_xact_id_if_assigned(),
                namespace, object_id, relation, subject_ns, subject_id, subject_rel,
                condition, context::text, (extract(epoch from expires_at) * 1000000)::bigint
           from (select c.* from unnest($2::text[]::xid8[]) ran (xid)
                  cross join lateral (select * from platform.permission_changes c
                                       where c.tenant_id = $1 and c.xid = ran.xid) c
                 union all
                 select * from platform.permission_changes where tenant_id = $1 and xid >= $3::text::xid8) due
          order by id
          limit $5)";
    let asked = Asked::now(inner, slot);
    let old = &published.snapshot;
    let running: Vec<String> = old.running().iter().map(u64::to_string).collect();
    let xmin = old.running().first().copied().unwrap_or(old.xmax());
    let tenant = tx.tenant_id().as_uuid();
    let rows = sqlx::query(CHANGES)
        .bind(tenant)
        .bind(running)
        .bind(old.xmax().to_string())
        .bind(xmin.to_string())
        .bind(MAX_CHANGES as i64 + 1)
        .fetch_all(&mut **tx)
        .await?;
    if rows.len() > MAX_CHANGES + 1 {
        return Ok(None);
    }
    let (mut head, mut own, mut others) = (None, Vec::new(), Vec::new());
    for row in &rows {
        match row.try_get::<Option<&str>, _>("op")? {
            // What has been pruned may be a revocation.
            None if row.try_get("own")? => return Ok(None),
            None => head = Some((snapshot(row)?, row.try_get::<&str, _>("relation")? == "primary")),
            Some(op) => {
                let changes = if row.try_get("own")? { &mut own } else { &mut others };
                changes.push((tuple(row)?, op == "touch"));
            }
        }
    }
    let (head, is_primary) = head.ok_or(sqlx::Error::RowNotFound)?;
    inner.counters.caught_up();
    let graph = apply(&published.graph, others);
    // A standby's snapshot leaves out what is running: it says nothing of what others may skip.
    if is_primary {
        let newer = asked.published(head.clone(), Arc::clone(&graph));
        inner.cache.publish(tx.tenant_id(), slot, Some(&published), newer);
    }
    // What this transaction has written is for this transaction. Nobody else can have changed the same
    // tuples after it, so its changes come last.
    Ok(Some(Current { graph: apply(&graph, own), snapshot: head }))
}

/// When and after which look of the follower the database was asked.
struct Asked {
    at: Instant,
    look: u64,
}

impl Asked {
    fn now(inner: &Inner, slot: &Slot) -> Self {
        Self { at: Instant::now(), look: memory::last_look(inner, slot) }
    }

    fn published(&self, snapshot: Snapshot, graph: Arc<Graph>) -> Arc<Published> {
        Arc::new(Published { snapshot, graph, asked_at: self.at, look: self.look })
    }
}

pub(crate) fn apply(graph: &Arc<Graph>, changes: Vec<(Row<'_>, bool)>) -> Arc<Graph> {
    if changes.is_empty() { Arc::clone(graph) } else { Arc::new(graph.apply_rows(changes)) }
}

/// Reads every tuple and the snapshot that they are of in one statement.
async fn load(inner: &Arc<Inner>, slot: &Arc<Slot>, tx: &mut TenantTx) -> Result<Current, CheckError> {
    const TUPLES: &str = "
        select pg_current_snapshot()::text as snapshot, pg_current_xact_id_if_assigned()::text as own_xid,
               exists (select from platform.permission_changes
                        where tenant_id = $1 and xid = pg_current_xact_id_if_assigned()) as own,
               null as namespace, null as object_id,
               case when pg_is_in_recovery() then 'standby' else 'primary' end as relation,
               null as subject_ns, null as subject_id, null as subject_rel,
               null as condition, null as context, null as expires_at
        union all
        select null, null, null, namespace, object_id, relation, subject_ns, subject_id, subject_rel,
               condition, context::text, (extract(epoch from expires_at) * 1000000)::bigint
          from (select * from permission_tuples limit $2) stored";
    let asked = Asked::now(inner, slot);
    let budget = inner.budget.limit();
    let before = slot.published.load_full();
    let tenant = tx.tenant().clone();
    let mut builder = Builder::new(&inner.schema);
    let (mut head, mut count) = (None, 0);
    let limit = budget.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1));
    let mut rows = sqlx::query(TUPLES).bind(tenant.id().as_uuid()).bind(limit).fetch(&mut **tx);
    while let Some(row) = rows.try_next().await? {
        match row.try_get::<Option<bool>, _>("own")? {
            Some(own) => {
                let is_primary = row.try_get::<&str, _>("relation")? == "primary";
                head = Some((snapshot(&row)?, own || !is_primary));
            }
            None => {
                builder.add(&inner.schema, tuple(&row)?);
                count += 1;
            }
        }
    }
    drop(rows);
    if let Some(limit) = budget.filter(|&limit| count > limit) {
        slot.put_over();
        return Err(CheckError::OverBudget(limit));
    }
    let (snapshot, is_for_one) = head.ok_or(sqlx::Error::RowNotFound)?;
    let graph = Graph::built(Arc::clone(&inner.schema), builder).with_clock(Arc::clone(&inner.clock));
    let graph = Arc::new(graph);
    if graph.ignored() > 0 {
        tracing::warn!(tenant = %tenant.id(), ignored = graph.ignored(), "tuples without a place in the schema");
    }
    inner.counters.loaded();
    // What is not committed is for this transaction alone, and so is what a standby says.
    if !is_for_one {
        let published = asked.published(snapshot.clone(), Arc::clone(&graph));
        inner.cache.publish(tenant.id(), slot, before.as_ref(), published);
    }
    Ok(Current { graph, snapshot })
}

pub(crate) fn snapshot(row: &PgRow) -> Result<Snapshot, sqlx::Error> {
    let text: &str = row.try_get("snapshot")?;
    let own: Option<&str> = row.try_get("own_xid")?;
    let own = own.map(str::parse).transpose().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Snapshot::corrected(text, own).map_err(|error| sqlx::Error::Decode(error.into()))
}

pub(crate) fn tuple(row: &PgRow) -> Result<Row<'_>, sqlx::Error> {
    Ok(Row {
        object_type: row.try_get("namespace")?,
        object_id: row.try_get("object_id")?,
        relation: row.try_get("relation")?,
        subject_type: row.try_get("subject_ns")?,
        subject_id: row.try_get("subject_id")?,
        subject_relation: row.try_get("subject_rel")?,
        condition: row.try_get("condition")?,
        context: row.try_get("context")?,
        expires_at: row.try_get("expires_at")?,
    })
}
