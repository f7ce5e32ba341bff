//! What one transaction sees: the published graph, brought up to date, and its own writes over it.

use std::sync::Arc;

use formwork_tenancy::{Snapshot, TenantTx};
use futures::TryStreamExt;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::authz::{Authz, Inner};
use crate::cache::{Published, Slot};
use crate::error::CheckError;
use crate::graph::{Builder, Graph, Row};
use crate::relationship::Relationship;

/// More changes than these are read faster as a whole graph.
const MAX_CHANGES: usize = 50_000;

/// Kept in the transaction from its first question on.
#[derive(Clone)]
struct View {
    graph: Arc<Graph>,
    /// Whose schema the graph follows.
    owner: Arc<Inner>,
}

/// The graph that this transaction sees.
pub(crate) async fn of(authz: &Authz, tx: &mut TenantTx) -> Result<Arc<Graph>, CheckError> {
    let inner = authz.inner();
    if let Some(view) = tx.extensions().get::<View>().filter(|view| Arc::ptr_eq(&view.owner, inner)) {
        return Ok(Arc::clone(&view.graph));
    }
    let graph = current(inner, tx).await?;
    tx.extensions().insert(View { graph: Arc::clone(&graph), owner: Arc::clone(inner) });
    Ok(graph)
}

/// Forgets what the transaction has seen; its next question asks the database.
pub(crate) fn forget(tx: &mut TenantTx) {
    tx.extensions().remove::<View>();
}

/// Puts a write that the database has taken over what the transaction sees. Before its first question
/// there is nothing to put it over: that question will read it.
pub(crate) fn wrote<'a>(
    authz: &Authz,
    tx: &mut TenantTx,
    relationships: impl IntoIterator<Item = &'a Relationship>,
    present: bool,
) {
    match tx.extensions().get_mut::<View>() {
        Some(view) if Arc::ptr_eq(&view.owner, authz.inner()) => {
            let rows = relationships.into_iter().map(|relationship| (Row::from(relationship), present));
            view.graph = Arc::new(view.graph.apply_rows(rows));
        }
        // Another handle's view does not know of this write.
        Some(_) => forget(tx),
        None => {}
    }
}

async fn current(inner: &Arc<Inner>, tx: &mut TenantTx) -> Result<Arc<Graph>, CheckError> {
    let slot = inner.cache.slot(tx.tenant());
    if let Some(published) = slot.published.load_full()
        && let Some(graph) = catch_up(inner, &slot, tx, published).await?
    {
        return Ok(graph);
    }
    let _loading = slot.loading.lock().await;
    // Somebody else may have loaded it while this one waited.
    if let Some(published) = slot.published.load_full()
        && let Some(graph) = catch_up(inner, &slot, tx, published).await?
    {
        return Ok(graph);
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
) -> Result<Option<Arc<Graph>>, CheckError> {
    // A change whose transaction was not visible in the old snapshot and is visible to this statement
    // is new, whatever its id: a transaction may take a low id and commit late. What a standby calls its snapshot
    // does not name those that still run, so there everything from the oldest of them on is read again.
    const CHANGES: &str = "
        select case when pg_is_in_recovery()
                    then format('%1$s:%1$s:', pg_snapshot_xmin(pg_current_snapshot()))
                    else pg_current_snapshot()::text end as snapshot,
               pg_current_xact_id_if_assigned()::text as own_xid,
               null as op,
               coalesce(platform.stream_floor('platform.permission_changes')
                        > pg_snapshot_xmin($2::text::pg_snapshot), false) as own,
               null as namespace, null as object_id, null as relation,
               null as subject_ns, null as subject_id, null as subject_rel,
               null as condition, null as context, null as expires_at
        union all
        (select null, null, op, xid is not distinct from pg_current_xact_id_if_assigned(),
                namespace, object_id, relation, subject_ns, subject_id, subject_rel,
                condition, context::text, (extract(epoch from expires_at) * 1000000)::bigint
           from platform.permission_changes
          where tenant_id = $1
            and xid >= pg_snapshot_xmin($2::text::pg_snapshot)
            and (not pg_visible_in_snapshot(xid, $2::text::pg_snapshot)
                 or xid is not distinct from pg_current_xact_id_if_assigned())
          order by id
          limit $3)";
    let tenant = tx.tenant_id().as_uuid();
    let rows = sqlx::query(CHANGES)
        .bind(tenant)
        .bind(published.snapshot.as_str())
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
            None => head = Some(snapshot(row)?),
            Some(op) => {
                let changes = if row.try_get("own")? { &mut own } else { &mut others };
                changes.push((tuple(row)?, op == "touch"));
            }
        }
    }
    let head = head.ok_or(sqlx::Error::RowNotFound)?;
    let graph = apply(&published.graph, others);
    if head != published.snapshot {
        let newer = Published { snapshot: head, graph: Arc::clone(&graph) };
        inner.cache.publish(tx.tenant(), slot, Some(&published), Arc::new(newer));
    }
    // What this transaction has written is for this transaction. Nobody else can have changed the same
    // tuples after it, so its changes come last.
    Ok(Some(apply(&graph, own)))
}

fn apply(graph: &Arc<Graph>, changes: Vec<(Row<'_>, bool)>) -> Arc<Graph> {
    if changes.is_empty() { Arc::clone(graph) } else { Arc::new(graph.apply_rows(changes)) }
}

/// Reads every tuple and the snapshot that they are of in one statement.
async fn load(inner: &Arc<Inner>, slot: &Arc<Slot>, tx: &mut TenantTx) -> Result<Arc<Graph>, CheckError> {
    const TUPLES: &str = "
        select case when pg_is_in_recovery()
                    then format('%1$s:%1$s:', pg_snapshot_xmin(pg_current_snapshot()))
                    else pg_current_snapshot()::text end as snapshot,
               pg_current_xact_id_if_assigned()::text as own_xid,
               exists (select from platform.permission_changes
                        where tenant_id = $1 and xid = pg_current_xact_id_if_assigned()) as own,
               null as namespace, null as object_id, null as relation,
               null as subject_ns, null as subject_id, null as subject_rel,
               null as condition, null as context, null as expires_at
        union all
        select null, null, null, namespace, object_id, relation, subject_ns, subject_id, subject_rel,
               condition, context::text, (extract(epoch from expires_at) * 1000000)::bigint
          from permission_tuples";
    let before = slot.published.load_full();
    let tenant = tx.tenant().clone();
    let mut builder = Builder::new(&inner.schema);
    let mut head = None;
    let mut rows = sqlx::query(TUPLES).bind(tenant.id().as_uuid()).fetch(&mut **tx);
    while let Some(row) = rows.try_next().await? {
        match row.try_get::<Option<bool>, _>("own")? {
            Some(own) => head = Some((snapshot(&row)?, own)),
            None => builder.add(&inner.schema, tuple(&row)?),
        }
    }
    drop(rows);
    let (snapshot, has_own_writes) = head.ok_or(sqlx::Error::RowNotFound)?;
    let graph = Graph::built(Arc::clone(&inner.schema), builder).with_clock(Arc::clone(&inner.clock));
    let graph = Arc::new(graph);
    if graph.ignored() > 0 {
        tracing::warn!(tenant = %tenant.id(), ignored = graph.ignored(), "tuples without a place in the schema");
    }
    // What is not committed is for this transaction alone.
    if !has_own_writes {
        let published = Published { snapshot, graph: Arc::clone(&graph) };
        inner.cache.publish(&tenant, slot, before.as_ref(), Arc::new(published));
    }
    Ok(graph)
}

fn snapshot(row: &PgRow) -> Result<Snapshot, sqlx::Error> {
    let text: &str = row.try_get("snapshot")?;
    let own: Option<&str> = row.try_get("own_xid")?;
    let own = own.map(str::parse).transpose().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Snapshot::corrected(text, own).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn tuple(row: &PgRow) -> Result<Row<'_>, sqlx::Error> {
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
