//! Removing a tenant for good, from the point of no return on. Every step may be done again.

use sqlx::AssertSqlSafe;

use super::{
    Lifecycle, LifecycleEvent, LifecycleFault, LifecycleRefusal, TransitionStep, hold,
    ledger::Entry,
    steps::{Progress, Whereabouts},
};
use crate::{
    control_plane::{SHARED, read_by_all},
    moves::{
        MoveFault,
        hands::{Hand, Role},
        tables,
        undo::{Leaves, delete_rows, remove},
    },
    own_role,
    stream::StreamTable,
};

/// What the platform keeps of a tenant that is gone: who did what, and nothing that the tenant had.
const KEPT: [&str; 4] = ["tenant_transitions", "tenant_moves", "legal_holds", "administrator_grants"];

impl Lifecycle {
    /// The point of no return. Under a lock on the tenant's row, which whoever places a hold takes too.
    pub(super) async fn doom(&self, main: &mut Hand, entry: &mut Entry) -> Result<(), LifecycleFault> {
        main.run("begin").await?;
        let looked = self.may_go(main, entry).await;
        if let Err(error) = looked {
            main.run("rollback").await?;
            return Err(error);
        }
        entry.reach(main, TransitionStep::Doomed).await?;
        main.commit().await?;
        Ok(())
    }

    async fn may_go(&self, main: &mut Hand, entry: &Entry) -> Result<(), LifecycleFault> {
        let tenant = entry.tenant.as_uuid();
        let (until, early): (Option<chrono::DateTime<chrono::Utc>>, bool) = sqlx::query_as(
            "select delete_after, coalesce(delete_after > clock_timestamp(), false)
               from platform.tenants where id = $1 and status = 'deleting' for update",
        )
        .bind(tenant)
        .fetch_optional(&mut main.conn)
        .await?
        .ok_or(LifecycleFault::Disturbed)?;
        let holds = hold::standing(main, entry.tenant).await?;
        if !holds.is_empty() {
            return Err(LifecycleRefusal::Held { holds }.into());
        }
        if let (Some(until), true) = (until, early) {
            return Err(LifecycleRefusal::TooEarly { until }.into());
        }
        let moving: bool = sqlx::query_scalar(
            "select exists (select from platform.tenant_moves
                             where tenant_id = $1 and step not in ('finished', 'aborted'))",
        )
        .bind(tenant)
        .fetch_one(&mut main.conn)
        .await?;
        if moving { Err(LifecycleRefusal::Moving.into()) } else { Ok(()) }
    }

    /// Nothing is committed in the home any more: whoever has written asks under this lock first.
    pub(super) async fn freeze(
        &self,
        entry: &Entry,
        place: &Whereabouts,
        home: &mut Hand,
    ) -> Result<(), LifecycleFault> {
        let tenant = entry.tenant;
        home.run(&format!(
            "begin; select pg_advisory_xact_lock(hashtextextended('formwork.home.{tenant}', 0))"
        ))
        .await?;
        // Done before, it is done again.
        let frozen = sqlx::query(
            "update platform.homes set state = 'moved', changed_at = now()
              where tenant_id = $1 and epoch = $2 and schema_name = $3 and state in ('live', 'frozen', 'moved')",
        )
        .bind(tenant.as_uuid())
        .bind(place.epoch)
        .bind(&place.schema)
        .execute(&mut home.conn)
        .await?;
        if frozen.rows_affected() != 1 {
            home.run("rollback").await?;
            return Err(LifecycleFault::Disturbed);
        }
        home.commit().await?;
        Ok(())
    }

    /// Is the home where the registry says, at its epoch? Asked before the point of no return, behind which nobody raises
    /// the one to the other again.
    pub(super) async fn is_home_there(
        &self,
        entry: &Entry,
        place: &Whereabouts,
        home: &mut Hand,
    ) -> Result<(), LifecycleFault> {
        let there: bool = sqlx::query_scalar(
            "select exists (select from platform.homes
                             where tenant_id = $1 and epoch = $2 and schema_name = $3 and state in ('live', 'frozen'))",
        )
        .bind(entry.tenant.as_uuid())
        .bind(place.epoch)
        .bind(&place.schema)
        .fetch_one(&mut home.conn)
        .await?;
        if there { Ok(()) } else { Err(LifecycleFault::Disturbed) }
    }

    /// Takes the home away: a schema whole, rows of a shared one in batches. Its line stays, so that its old rows in
    /// the streams are found.
    pub(super) async fn empty(
        &self,
        entry: &Entry,
        place: &Whereabouts,
        home: &mut Hand,
        progress: Progress<'_>,
    ) -> Result<u64, LifecycleFault> {
        let mut removed = 0;
        if place.schema == SHARED {
            removed = self.empty_shared(home, progress).await?;
        }
        remove(home, entry.tenant, &place.schema, place.epoch, Leaves::Tombstone).await?;
        is_gone(home, entry, place).await?;
        if place.own_role {
            home.run(&own_role::remove(entry.tenant)).await?;
        }
        Ok(removed)
    }

    async fn empty_shared(&self, home: &mut Hand, progress: Progress<'_>) -> Result<u64, LifecycleFault> {
        let (mut removed, mut knotted) = (0, false);
        for table in tables::of_home(home, SHARED).await?.iter().rev() {
            for leaf in leaves(home, SHARED, &table.name).await? {
                match self.in_batches(home, &leaf, "true", progress).await {
                    Ok(rows) => removed += rows,
                    Err(error) if is_foreign_key(&error) => {
                        home.run("rollback").await?;
                        knotted = true;
                    }
                    Err(source) => return Err(MoveFault::Copy { table: leaf, source }.into()),
                }
            }
        }
        if knotted {
            // Rows that refer to each other: what is left all at once, with keys that are looked at in the end.
            home.begin_in(SHARED, "").await?;
            delete_rows(home, SHARED).await?;
            home.commit().await?;
        }
        Ok(removed)
    }

    /// Deletes the tenant's rows of one table, a transaction a batch.
    async fn in_batches(
        &self,
        home: &mut Hand,
        table: &str,
        which: &str,
        progress: Progress<'_>,
    ) -> Result<u64, sqlx::Error> {
        let batch = self.batch;
        let delete = format!(
            "begin; set local app.removing_home = '{SHARED}'; set constraints all deferred;
             delete from {table} where ctid = any (array(
               select ctid from {table}
                where tenant_id = nullif(current_setting('app.current_tenant', true), '')::uuid and {which}
                limit {batch}));
             commit"
        );
        let mut rows = 0;
        loop {
            let gone = home.run(&delete).await?.rows_affected();
            rows += gone;
            if gone == 0 {
                return Ok(rows);
            }
            progress(LifecycleEvent::Removed { table, rows });
            if gone < u64::from(batch) {
                return Ok(rows);
            }
        }
    }

    /// What the streams of every database where it has lived, and the platform's own tables, have of the tenant.
    pub(super) async fn clear(
        &self,
        main: &mut Hand,
        entry: &Entry,
        place: &Whereabouts,
        home: &mut Hand,
        progress: Progress<'_>,
    ) -> Result<u64, LifecycleFault> {
        let mut removed = self.clear_streams(home, &place.database, progress).await?;
        for (name, _) in self.control.databases() {
            if **name == place.database {
                continue;
            }
            let mut there = Hand::open(&self.control, Role::Source, name, entry.tenant).await?;
            removed += self.clear_streams(&mut there, name, progress).await?;
        }
        clear_platform(main, entry).await?;
        Ok(removed)
    }

    async fn clear_streams(
        &self,
        home: &mut Hand,
        database: &str,
        progress: Progress<'_>,
    ) -> Result<u64, LifecycleFault> {
        let failed =
            |table: &str, source| LifecycleFault::from(MoveFault::Copy { table: table.to_owned(), source });
        let streams: Vec<String> = sqlx::query_scalar(
            "select format('%I.%I', n.nspname, c.relname)
               from pg_class c join pg_namespace n on n.oid = c.relnamespace
               join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
              where n.nspname = 'platform' and c.relkind = 'r' and c.relrowsecurity and c.relname <> 'outbox'
              order by 1",
        )
        .fetch_all(&mut home.conn)
        .await?;
        let mut removed = 0;
        for stream in &streams {
            removed += self
                .in_batches(home, stream, "true", progress)
                .await
                .map_err(|source| failed(stream, source))?;
        }
        // Events that somebody has still to read are kept until they are pruned, as everybody's are.
        let outbox = StreamTable::OUTBOX;
        let pool = self.control.pool_of(database).map_err(LifecycleRefusal::UnknownDatabase)?;
        let read = read_by_all(pool, outbox).await.map_err(|error| match error {
            crate::PruneError::Storage(error) => LifecycleFault::Storage(error),
            other => LifecycleFault::Table {
                table: outbox.name().to_owned(),
                source: sqlx::Error::Protocol(other.to_string()).into(),
            },
        })?;
        if let Some(read) = read {
            let which = format!("xid < '{read}'::xid8");
            let rows = self.in_batches(home, outbox.name(), &which, progress).await;
            removed += rows.map_err(|source| failed(outbox.name(), source))?;
        }
        Ok(removed)
    }
}

/// A home that was not found is not one that was removed.
async fn is_gone(home: &mut Hand, entry: &Entry, place: &Whereabouts) -> Result<(), LifecycleFault> {
    let gone: bool = sqlx::query_scalar(
        "select exists (select from platform.homes
                         where tenant_id = $1 and epoch = $2 and schema_name = $3 and state = 'removed')
            and ($3 = $4 or to_regnamespace($3) is null)",
    )
    .bind(entry.tenant.as_uuid())
    .bind(place.epoch)
    .bind(&place.schema)
    .bind(SHARED)
    .fetch_one(&mut home.conn)
    .await?;
    if gone { Ok(()) } else { Err(LifecycleFault::Disturbed) }
}

/// Every table of the platform that refers to the tenant and is not a ledger: whatever tables there will be.
async fn clear_platform(main: &mut Hand, entry: &Entry) -> Result<(), LifecycleFault> {
    let tables: Vec<(String, String)> = sqlx::query_as(
        "select format('%I.%I', n.nspname, c.relname), quote_ident(a.attname)
           from pg_constraint k
           join pg_class c on c.oid = k.conrelid
           join pg_namespace n on n.oid = c.relnamespace
           join pg_attribute a on a.attrelid = k.conrelid and a.attnum = k.conkey[1]
          where k.contype = 'f' and k.confrelid = 'platform.tenants'::regclass and cardinality(k.conkey) = 1
            and k.conparentid = 0 and c.relname <> all ($1)
          order by 1",
    )
    .bind(KEPT)
    .fetch_all(&mut main.conn)
    .await?;
    main.run("begin").await?;
    for (table, column) in tables {
        sqlx::query(AssertSqlSafe(format!("delete from {table} where {column} = $1")))
            .bind(entry.tenant.as_uuid())
            .execute(&mut main.conn)
            .await?;
    }
    sqlx::query(
        "update platform.administrator_grants set revoked_at = clock_timestamp()
          where tenant_id = $1 and revoked_at is null",
    )
    .bind(entry.tenant.as_uuid())
    .execute(&mut main.conn)
    .await?;
    sqlx::query(
        "update platform.tenant_imports set outcome = 'undone', ended_at = now(), reason = 'the tenant was removed'
          where tenant_id = $1 and outcome = 'open'",
    )
    .bind(entry.tenant.as_uuid())
    .execute(&mut main.conn)
    .await?;
    main.commit().await?;
    Ok(())
}

/// The tables that hold the rows: of a partitioned one its partitions, in which alone a row has one address.
async fn leaves(home: &mut Hand, schema: &str, table: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select leaf::text from (
           select relid::regclass as leaf from pg_partition_tree($1::regclass) where isleaf
           union select c.oid::regclass from pg_class c where c.oid = $1::regclass and c.relkind = 'r') l
          order by 1",
    )
    .bind(format!("{schema}.{table}"))
    .fetch_all(&mut home.conn)
    .await
}

fn is_foreign_key(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "23503")
}
