//! The steps of a move, one after the other.

use super::{
    MoveError, MoveEvent, MoveFault, MoveReport, MoveStep, copy,
    hands::{Hand, Role},
    ledger::Move,
    undo, verify,
};
use crate::{ControlPlane, control_plane::beside_migrations};

type Progress<'a> = &'a (dyn Fn(MoveEvent<'_>) + Send + Sync);

impl ControlPlane {
    /// From wherever the move stands to its release; undone when it fails before its flip.
    pub(super) async fn go_on(
        &self,
        mut main: Hand,
        mut entry: Move,
        progress: Progress<'_>,
    ) -> Result<MoveReport, MoveError> {
        let source = match self.advance(&mut main, &mut entry, progress).await {
            Ok(report) => return Ok(report),
            Err(source) => source,
        };
        let step = entry.step;
        // Whether the flip was done, if that was on its way, is known when this connection is gone.
        drop(main);
        if step >= MoveStep::Flipped {
            return Err(MoveError::Interrupted { step, source });
        }
        match undo::abort(self, entry.tenant, &source.to_string()).await {
            Ok(()) => Err(MoveError::RolledBack { step, source }),
            Err(error) => {
                tracing::warn!(%error, tenant = %entry.tenant, "a failed move could not be undone");
                Err(MoveError::Interrupted { step, source })
            }
        }
    }

    async fn advance(
        &self,
        main: &mut Hand,
        entry: &mut Move,
        progress: Progress<'_>,
    ) -> Result<MoveReport, MoveFault> {
        let tenant = entry.tenant;
        let mut source = Hand::open(self, Role::Source, &entry.from_database, tenant).await?;
        let mut target = Hand::open(self, Role::Target, &entry.to_database, tenant).await?;
        loop {
            progress(MoveEvent::Reached { step: entry.step });
            let next = match entry.step {
                MoveStep::Begun => {
                    self.prepare(entry, &mut source, &mut target).await?;
                    MoveStep::Prepared
                }
                MoveStep::Prepared => {
                    freeze(entry, &mut source).await?;
                    MoveStep::Frozen
                }
                MoveStep::Frozen => {
                    copy::copy(entry, &mut source, &mut target, progress).await?;
                    MoveStep::Copied
                }
                MoveStep::Copied => {
                    let tables = verify::verify(entry, &mut source, &mut target, progress).await?;
                    entry.keep_tables(main, &tables).await?;
                    MoveStep::Verified
                }
                MoveStep::Verified => {
                    source.is_alive().await?;
                    target.is_alive().await?;
                    flip(entry, main).await?;
                    entry.step = MoveStep::Flipped;
                    continue;
                }
                MoveStep::Flipped => {
                    release(entry, &mut source, &mut target).await?;
                    MoveStep::Released
                }
                _ => return Ok(entry.report(main).await?),
            };
            entry.reach(main, next).await?;
        }
    }

    /// The new home: there, empty, and with the same tables as the old one.
    async fn prepare(&self, entry: &Move, source: &mut Hand, target: &mut Hand) -> Result<(), MoveFault> {
        target.run(&beside_migrations()).await?;
        let state: Option<String> =
            sqlx::query_scalar("select state from platform.homes where tenant_id = $1 and epoch = $2")
                .bind(entry.tenant.as_uuid())
                .bind(entry.to_epoch)
                .fetch_optional(&mut target.conn)
                .await?;
        match state.as_deref() {
            None => {
                let made = self.make_home(
                    &mut target.conn,
                    entry.tenant,
                    &entry.to_schema,
                    entry.to_epoch,
                    "coming",
                    None,
                );
                made.await.map_err(|error| error.in_database(&entry.to_database))?;
            }
            Some("coming") => {}
            Some(_) => return Err(MoveFault::Disturbed { home: entry.to() }),
        }
        target.commit().await?;
        if migrations(source, &entry.from_schema).await? != migrations(target, &entry.to_schema).await? {
            return Err(MoveFault::Behind { from: entry.from(), to: entry.to() });
        }
        Ok(())
    }
}

/// Each step that the home has been through: set, version, checksum.
pub(crate) async fn migrations(
    hand: &mut Hand,
    schema: &str,
) -> Result<Vec<(String, i32, Vec<u8>)>, sqlx::Error> {
    sqlx::query_as(
        "select set_name, version, checksum from platform.migration_ledger where home = $1
          order by set_name collate \"C\", version",
    )
    .bind(schema)
    .fetch_all(&mut hand.conn)
    .await
}

/// Whoever has written holds the lock, shared, from the question whether it may commit until it has. So when this has
/// the lock alone, every write is either committed or will ask later, and be refused.
async fn freeze(entry: &Move, source: &mut Hand) -> Result<(), MoveFault> {
    source
        .run(&format!(
            "begin; select pg_advisory_xact_lock(hashtextextended('formwork.home.{}', 0))",
            entry.tenant
        ))
        .await?;
    set_state(entry, source, Side::From, "frozen", &["live", "frozen"]).await?;
    source.commit().await?;
    Ok(())
}

/// The decision: from here on the tenant lives in the new home.
async fn flip(entry: &Move, main: &mut Hand) -> Result<(), MoveFault> {
    main.run("begin").await?;
    let flipped = sqlx::query(
        "update platform.tenants
            set database_name = $3, schema_name = $4, epoch = $5, region = $6, version = version + 1,
                isolation = case when $3 <> 'main' then 'database' when $4 <> 'shared' then 'schema' else 'shared' end
          where id = $1 and epoch = $2",
    )
    .bind(entry.tenant.as_uuid())
    .bind(entry.from_epoch)
    .bind(&entry.to_database)
    .bind(&entry.to_schema)
    .bind(entry.to_epoch)
    .bind(&entry.to_region)
    .execute(&mut main.conn)
    .await?;
    let entered = sqlx::query(
        "update platform.tenant_moves set step = 'flipped', flipped_at = now(), changed_at = now()
          where id = $1 and step = 'verified'",
    )
    .bind(entry.id)
    .execute(&mut main.conn)
    .await?;
    if (flipped.rows_affected(), entered.rows_affected()) != (1, 1) {
        return Err(MoveFault::Disturbed { home: entry.from() });
    }
    main.commit().await?;
    Ok(())
}

/// One tenant has one home that is live or frozen in a database, so the old one first.
async fn release(entry: &Move, source: &mut Hand, target: &mut Hand) -> Result<(), MoveFault> {
    set_state(entry, source, Side::From, "moved", &["frozen", "moved"]).await?;
    if !entry.is_within_one_database() {
        take_hints(entry, source, target).await?;
    }
    set_state(entry, target, Side::To, "live", &["coming", "live"]).await
}

/// Hints of work are rows of a database, and nobody writes more of them where the tenant has lived: left there, they
/// would be visited for ever. First to the new one, so that cut off in between a visit is made twice, never not at all.
async fn take_hints(entry: &Move, source: &mut Hand, target: &mut Hand) -> Result<(), MoveFault> {
    type Hint = (uuid::Uuid, String, chrono::DateTime<chrono::Utc>);
    let id = entry.tenant.as_uuid();
    let hints: Vec<Hint> =
        sqlx::query_as("select id, kind, due_at from platform.sweep_hints where tenant_id = $1")
            .bind(id)
            .fetch_all(&mut source.conn)
            .await?;
    if hints.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = hints.iter().map(|hint| hint.0).collect();
    let kinds: Vec<_> = hints.iter().map(|hint| hint.1.as_str()).collect();
    let due: Vec<_> = hints.iter().map(|hint| hint.2).collect();
    sqlx::query(
        "insert into platform.sweep_hints (tenant_id, id, kind, due_at)
         select $1, * from unnest($2::uuid[], $3::text[], $4::timestamptz[]) on conflict do nothing",
    )
    .bind(id)
    .bind(&ids)
    .bind(kinds)
    .bind(due)
    .execute(&mut target.conn)
    .await?;
    sqlx::query("delete from platform.sweep_hints where tenant_id = $1 and id = any ($2)")
        .bind(id)
        .bind(&ids)
        .execute(&mut source.conn)
        .await?;
    Ok(())
}

#[derive(Clone, Copy)]
pub(super) enum Side {
    From,
    To,
}

/// Sets the state of a home that is in one of these.
pub(super) async fn set_state(
    entry: &Move,
    hand: &mut Hand,
    side: Side,
    state: &str,
    expected: &[&str],
) -> Result<(), MoveFault> {
    let (epoch, home) = match side {
        Side::From => (entry.from_epoch, entry.from()),
        Side::To => (entry.to_epoch, entry.to()),
    };
    let done = sqlx::query(
        "update platform.homes set state = $3, changed_at = now()
          where tenant_id = $1 and epoch = $2 and state = any ($4)",
    )
    .bind(entry.tenant.as_uuid())
    .bind(epoch)
    .bind(state)
    .bind(expected)
    .execute(&mut hand.conn)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(MoveFault::Disturbed { home }) }
}
