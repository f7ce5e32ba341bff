//! Taking a home away: the new one of a move that failed, the old one of a move that is done.

use std::time::Duration;

use super::{
    MoveError, MoveFault, MoveRefusal, MoveStep,
    hands::{Hand, Role},
    ledger::Move,
    tables,
};
use crate::{ControlPlane, TenantId, control_plane::SHARED};

pub(super) async fn abort(control: &ControlPlane, tenant: TenantId, reason: &str) -> Result<(), MoveError> {
    let mut main = Hand::main(control, tenant).await?;
    let mut entry = Move::open(&mut main, tenant).await?.ok_or(MoveRefusal::NotOpen)?;
    if matches!(entry.step, MoveStep::Flipped | MoveStep::Released) {
        return Err(MoveRefusal::PastFlip.into());
    }
    let step = entry.step;
    let undone = undo(control, &mut main, &mut entry, reason).await;
    undone.map_err(|source| MoveError::Interrupted { step, source })
}

/// The tenant first: it is written again before anything is cleared up.
async fn undo(
    control: &ControlPlane,
    main: &mut Hand,
    entry: &mut Move,
    reason: &str,
) -> Result<(), MoveFault> {
    entry.keep_reason(main, reason).await?;
    entry.reach(main, MoveStep::Aborting).await?;
    let mut source = Hand::open(control, Role::Source, &entry.from_database, entry.tenant).await?;
    super::steps::set_state(entry, &mut source, super::steps::Side::From, "live", &["frozen", "live"])
        .await?;
    drop(source);
    let mut target = Hand::open(control, Role::Target, &entry.to_database, entry.tenant).await?;
    if !entry.is_within_one_database() {
        forget_copies(&mut target, entry.tenant).await?;
    }
    remove(&mut target, entry.tenant, &entry.to_schema, entry.to_epoch, Leaves::Nothing).await?;
    entry.reach(main, MoveStep::Aborted).await
}

pub(super) async fn finish(
    control: &ControlPlane,
    tenant: TenantId,
    grace: Duration,
) -> Result<(), MoveError> {
    let mut main = Hand::main(control, tenant).await?;
    let mut entry = Move::open(&mut main, tenant).await?.ok_or(MoveRefusal::NotOpen)?;
    if entry.step != MoveStep::Released {
        return Err(MoveRefusal::Open { step: entry.step }.into());
    }
    let passed: f64 = sqlx::query_scalar(
        "select extract(epoch from clock_timestamp() - flipped_at)::float8 from platform.tenant_moves where id = $1",
    )
    .bind(entry.id)
    .fetch_one(&mut main.conn)
    .await?;
    let left = grace.saturating_sub(Duration::try_from_secs_f64(passed).unwrap_or_default());
    if !left.is_zero() {
        return Err(MoveRefusal::TooEarly { left }.into());
    }
    let done = async {
        let mut source = Hand::open(control, Role::Source, &entry.from_database, tenant).await?;
        remove(&mut source, tenant, &entry.from_schema, entry.from_epoch, Leaves::Tombstone).await?;
        entry.reach(&mut main, MoveStep::Finished).await
    };
    done.await.map_err(|source| MoveError::Interrupted { step: MoveStep::Released, source })
}

/// The copies were announced in the target's log of permissions, where the tenant has had no home: nobody is to follow
/// what never held.
async fn forget_copies(hand: &mut Hand, tenant: TenantId) -> Result<(), MoveFault> {
    let id = tenant.as_uuid();
    let forget = format!(
        "do $$ begin
           if to_regclass('platform.permission_changes') is not null
              and not exists (select from platform.homes where tenant_id = '{id}' and state <> 'coming') then
             delete from platform.permission_changes where tenant_id = '{id}';
           end if;
         end $$"
    );
    hand.run(&forget).await?;
    Ok(())
}

/// What stays of a home in the list of its database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// Nobody has ever lived in it.
    Nothing,
    /// Its old rows in the streams are still to be found and pruned.
    Tombstone,
}

/// Takes a home away in one transaction, with its line in the list or leaving a tombstone; nothing happens when it is gone
/// already.
pub(crate) async fn remove(
    hand: &mut Hand,
    tenant: TenantId,
    schema: &str,
    epoch: i64,
    leaves: Leaves,
) -> Result<(), MoveFault> {
    hand.begin_in(schema, "").await?;
    let state: Option<String> = sqlx::query_scalar(
        "select state from platform.homes where tenant_id = $1 and epoch = $2 and schema_name = $3 for update",
    )
    .bind(tenant.as_uuid())
    .bind(epoch)
    .bind(schema)
    .fetch_optional(&mut hand.conn)
    .await?;
    match state.as_deref() {
        None | Some("removed") => {}
        Some("coming" | "moved") => {
            if schema == SHARED {
                delete_rows(hand, schema).await?;
            } else {
                // Only ever `t_` and the tenant's own identity.
                hand.run(&format!(
                    "drop schema {schema} cascade;
                     delete from platform.migration_ledger where home = '{schema}';
                     delete from platform.migration_failures where home = '{schema}'"
                ))
                .await?;
            }
            let gone = match leaves {
                Leaves::Nothing => "delete from platform.homes where tenant_id = $1 and epoch = $2",
                Leaves::Tombstone => {
                    "update platform.homes set state = 'removed', changed_at = now()
                      where tenant_id = $1 and epoch = $2"
                }
            };
            sqlx::query(gone).bind(tenant.as_uuid()).bind(epoch).execute(&mut hand.conn).await?;
        }
        Some(_) => return Err(MoveFault::Disturbed { home: schema.to_owned() }),
    }
    hand.commit().await?;
    Ok(())
}

/// Deletes the rows of the connection's tenant, children first. Row security holds this login too; triggers that
/// refuse or log deletions are told what this is, and look for themselves whether it is true.
pub(crate) async fn delete_rows(hand: &mut Hand, schema: &str) -> Result<(), MoveFault> {
    hand.run(&format!("set local app.removing_home = '{schema}'; set constraints all deferred")).await?;
    for table in tables::of_home(hand, schema).await?.iter().rev() {
        let delete = format!(
            "delete from {schema}.{} where tenant_id = nullif(current_setting('app.current_tenant', true), '')::uuid",
            table.name
        );
        let done = hand.run(&delete).await;
        done.map_err(|source| MoveFault::Copy { table: table.name.clone(), source })?;
    }
    hand.run("set local app.removing_home = ''").await?;
    Ok(())
}
