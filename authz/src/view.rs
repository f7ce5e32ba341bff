//! What one transaction sees: a state of the tenant's relationships, and its own writes over it.

use std::sync::Arc;
use std::time::Instant;

use formwork_tenancy::{CommitToken, Snapshot, TenantTx};
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
    /// The state that the database said, when it was asked.
    snapshot: Option<Snapshot>,
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
    let wanted = match asked {
        Consistency::AtLeast(token) => memory::state_of(token, tx.tenant())?,
        _ => None,
    };
    if let Some(seen) = tx.extensions().get::<Seen>().filter(|seen| Arc::ptr_eq(&seen.owner, inner))
        && seen.serves(asked, wanted.as_ref())
    {
        return Ok(Arc::clone(&seen.graph));
    }
    let seen = see(authz, tx, wanted.as_ref()).await?;
    let graph = Arc::clone(&seen.graph);
    tx.extensions().insert(seen);
    Ok(graph)
}

/// Whether the transaction has a graph for this handle already.
pub(crate) fn has(authz: &Authz, tx: &mut TenantTx) -> bool {
    tx.extensions().get::<Seen>().is_some_and(|seen| Arc::ptr_eq(&seen.owner, authz.inner()))
}

impl Seen {
    /// Is it as fresh as was asked?
    fn serves(&self, asked: &Consistency, wanted: Option<&Snapshot>) -> bool {
        if self.consistency == *asked {
            return true;
        }
        let has_it = |wanted| self.snapshot.as_ref().is_some_and(|snapshot| snapshot.includes(wanted));
        self.consistency == Consistency::Full
            && !matches!(asked, Consistency::Exact(_))
            && wanted.is_none_or(has_it)
    }
}

async fn see(authz: &Authz, tx: &mut TenantTx, wanted: Option<&Snapshot>) -> Result<Seen, CheckError> {
    let (inner, asked) = (authz.inner(), authz.consistency());
    let made = |graph, consistency, snapshot| Seen { graph, owner: Arc::clone(inner), consistency, snapshot };
    if let Consistency::Exact(token) = asked {
        return Ok(made(past::of(inner, tx, token).await?, asked.clone(), None));
    }
    let is_known = tx.extensions().get::<MustRead>().is_none() && tx.extensions().get::<Seen>().is_none();
    let slot = inner.cache.slot(tx.tenant());
    if is_known && let Some(known) = memory::known(inner, &slot, tx.tenant(), asked)? {
        inner.counters.remembered();
        let own = tx.extensions().get::<Own>().cloned().unwrap_or_default();
        let own = own.0.iter().map(|(relationship, present)| (Row::from(relationship), *present)).collect();
        return Ok(made(apply(&known.graph, own), asked.clone(), None));
    }
    let has_replayed = match asked {
        Consistency::AtLeast(token) if tx.served_by().is_replica() => has_replayed(tx, token).await?,
        _ => false,
    };
    let current = current(inner, tx).await?;
    // A standby that has replayed the commit has it, though its snapshot does not say so.
    let has_it = |wanted| current.snapshot.includes(wanted) || (has_replayed && current.is_of_now);
    if !wanted.is_none_or(has_it) {
        return Err(CheckError::OtherState);
    }
    Ok(made(current.graph, Consistency::Full, Some(current.snapshot)))
}

/// Before the statement that reads: what had been replayed then is visible to it.
async fn has_replayed(tx: &mut TenantTx, token: &CommitToken) -> Result<bool, CheckError> {
    let position = token.wal().to_owned();
    let asked = sqlx::query_scalar("select coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)");
    Ok(asked.bind(position).fetch_one(&mut **tx).await?)
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
    /// The statement saw the newest that its server has, at READ COMMITTED.
    pub(crate) is_of_now: bool,
    /// The server is the primary.
    pub(crate) is_primary: bool,
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
    // is new, whatever its id: a transaction may take a low id and commit late. What a standby calls its snapshot
    // does not name those that still run, so there everything from the oldest of them on is read again.
    //
    // Of the old snapshot's transactions those that ran, each by its own way into the index, and all that came later:
    // one that is left open makes nobody read again what has come since it began.
    //
    // In sub-selects the planner does not see the values: a generic plan then costs what any other does, and Postgres
    // plans this, the first statement of most transactions, no more than six times a connection.
    const CHANGES: &str = "
        select case when pg_is_in_recovery()
                    then format('%1$s:%1$s:', pg_snapshot_xmin(pg_current_snapshot()))
                    else pg_current_snapshot()::text end as snapshot,
               pg_current_xact_id_if_assigned()::text as own_xid,
               null as op,
               coalesce(platform.stream_floor('platform.permission_changes') > $4::text::xid8, false) as own,
               null as namespace, null as object_id,
               current_setting('transaction_isolation') as relation,
               case when not pg_is_in_recovery() then
                 substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) end as subject_ns,
               null as subject_id, null as subject_rel,
               null as condition, null as context, null as expires_at
        union all
        (select null, null, op, xid is not distinct from pg_current_xact_id_if_assigned(),
                namespace, object_id, relation, subject_ns, subject_id, subject_rel,
                condition, context::text, (extract(epoch from expires_at) * 1000000)::bigint
           from (select c.* from unnest((select $2::text[]::xid8[])) ran (xid)
                  cross join lateral (select * from platform.permission_changes c
                                       where c.tenant_id = $1 and c.xid = ran.xid and c.op <> 'schema') c
                 union all
                 (select * from platform.permission_changes
                   where tenant_id = $1 and xid >= (select $3::text::xid8) and op <> 'schema'
                   order by xid, id limit $5)) due
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
            None => head = Some(Head::read(row)?),
            Some(op) => {
                let changes = if row.try_get("own")? { &mut own } else { &mut others };
                changes.push((tuple(row)?, op == "touch"));
            }
        }
    }
    let head = head.ok_or(sqlx::Error::RowNotFound)?;
    // On another timeline transaction ids are given out again: what the graph has may never have been.
    if head.timeline.is_some() && published.timeline.is_some() && head.timeline != published.timeline {
        return Ok(None);
    }
    if head.is_newest() && !head.snapshot.includes(old) {
        return Ok(None);
    }
    inner.counters.caught_up();
    let graph = apply(&published.graph, others);
    // What a standby knows, or a transaction that sees an earlier state, may be older than what is published.
    if head.is_newest() {
        let newer = asked.published(&head, Arc::clone(&graph), Arc::clone(&published.origin));
        inner.cache.publish(tx.tenant_id(), slot, Some(&published), newer);
    }
    // What this transaction has written is for this transaction. Nobody else can have changed the same
    // tuples after it, so its changes come last.
    Ok(Some(head.seen(apply(&graph, own))))
}

/// The state of the database when it was asked.
struct Head {
    snapshot: Snapshot,
    is_read_committed: bool,
    /// None on a standby.
    timeline: Option<String>,
}

impl Head {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            snapshot: snapshot(row)?,
            is_read_committed: row.try_get::<&str, _>("relation")? == "read committed",
            timeline: row.try_get("subject_ns")?,
        })
    }

    /// Nothing that was committed before the question is missing in it.
    fn is_newest(&self) -> bool {
        self.is_read_committed && self.timeline.is_some()
    }

    fn seen(self, graph: Arc<Graph>) -> Current {
        let (is_of_now, is_primary) = (self.is_read_committed, self.timeline.is_some());
        Current { graph, snapshot: self.snapshot, is_of_now, is_primary }
    }
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

    /// What is not the newest is good to go on from, and for nothing else.
    fn published(&self, head: &Head, graph: Arc<Graph>, origin: Arc<str>) -> Arc<Published> {
        let is_newest = head.is_newest();
        Arc::new(Published {
            snapshot: head.snapshot.clone(),
            graph,
            timeline: head.timeline.clone(),
            origin,
            asked_at: is_newest.then_some(self.at),
            look: if is_newest { self.look } else { 0 },
        })
    }
}

pub(crate) fn apply(graph: &Arc<Graph>, changes: Vec<(Row<'_>, bool)>) -> Arc<Graph> {
    if changes.is_empty() { Arc::clone(graph) } else { Arc::new(graph.apply_rows(changes)) }
}

/// Reads every tuple and the snapshot that they are of in one statement.
async fn load(inner: &Arc<Inner>, slot: &Arc<Slot>, tx: &mut TenantTx) -> Result<Current, CheckError> {
    const TUPLES: &str = "
        select case when pg_is_in_recovery()
                    then format('%1$s:%1$s:', pg_snapshot_xmin(pg_current_snapshot()))
                    else pg_current_snapshot()::text end as snapshot,
               pg_current_xact_id_if_assigned()::text as own_xid,
               exists (select from platform.permission_changes
                        where tenant_id = $1 and xid = pg_current_xact_id_if_assigned()) as own,
               null as namespace, null as object_id,
               current_setting('transaction_isolation') as relation,
               case when not pg_is_in_recovery() then
                 substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) end as subject_ns,
               (select system_identifier || '.' || (select oid from pg_database where datname = current_database())
                  from pg_control_system()) as subject_id, null as subject_rel,
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
                head = Some((Head::read(&row)?, own, Arc::from(row.try_get::<&str, _>("subject_id")?)))
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
    let (head, has_own_writes, origin) = head.ok_or(sqlx::Error::RowNotFound)?;
    let graph = Graph::built(Arc::clone(&inner.schema), builder).with_clock(Arc::clone(&inner.clock));
    let graph = Arc::new(graph);
    if graph.ignored() > 0 {
        tracing::warn!(tenant = %tenant.id(), ignored = graph.ignored(), "tuples without a place in the schema");
    }
    inner.counters.loaded();
    // What is not committed is for this transaction alone.
    if !has_own_writes {
        let published = asked.published(&head, Arc::clone(&graph), origin);
        inner.cache.publish(tenant.id(), slot, before.as_ref(), published);
    }
    Ok(head.seen(graph))
}

fn snapshot(row: &PgRow) -> Result<Snapshot, sqlx::Error> {
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
