//! The steps of a change, one after the other.

use std::time::Duration;

use super::{
    Change, HookFailure, Lifecycle, LifecycleError, LifecycleEvent, LifecycleFault, LifecycleRefusal, Order,
    Transition, TransitionReport, TransitionStep, hold,
    hook::{self, Moment},
    ledger::{self, Entry},
};
use crate::{
    Status, TenantId,
    databases::MAIN,
    moves::hands::{Hand, Role},
};

pub(super) type Progress<'a> = &'a (dyn Fn(LifecycleEvent<'_>) + Send + Sync);

/// Where the tenant's home is, by the registry.
pub(super) struct Whereabouts {
    pub(super) database: String,
    pub(super) schema: String,
    pub(super) epoch: i64,
    pub(super) own_role: bool,
}

impl Lifecycle {
    /// From wherever the tenant stands to where `transition` leads; what was cut off is gone on with.
    pub(super) async fn change(
        &self,
        tenant: TenantId,
        transition: Transition,
        grace: Option<Duration>,
        order: &Order,
        progress: Progress<'_>,
    ) -> Result<TransitionReport, LifecycleError> {
        if order.reason().is_empty() {
            return Err(LifecycleRefusal::NoReason.into());
        }
        let mut main = self.hand(tenant).await?;
        let entry = match self.open_for(&mut main, tenant, transition).await? {
            Some(open) => open,
            None => {
                let status = status_of(&mut main, tenant).await?;
                if transition.is_done(status) {
                    return self.settled(main, tenant, status, progress).await;
                }
                let to = way(&mut main, tenant, transition, status).await?;
                let grace = grace.map(|grace| grace.as_secs_f64());
                Entry::begin(&mut main, tenant, transition, (status, to), order, grace).await?
            }
        };
        self.carry_out(main, entry, progress).await
    }

    /// Whatever is open, and whatever hooks are left.
    pub(super) async fn go_on(
        &self,
        tenant: TenantId,
        progress: Progress<'_>,
    ) -> Result<TransitionReport, LifecycleError> {
        let mut main = self.hand(tenant).await?;
        if let Some(entry) = ledger::open(&mut main, tenant).await? {
            return self.carry_out(main, entry, progress).await;
        }
        if ledger::unsettled(&mut main, tenant).await?.is_empty() {
            return Err(LifecycleRefusal::NotOpen.into());
        }
        let status = status_of(&mut main, tenant).await?;
        self.settled(main, tenant, status, progress).await
    }

    /// Nothing is to be done any more, hooks apart.
    async fn settled(
        &self,
        mut main: Hand,
        tenant: TenantId,
        status: Status,
        progress: Progress<'_>,
    ) -> Result<TransitionReport, LifecycleError> {
        let settled = self.settle(&mut main, tenant, progress).await;
        let waiting = settled.map_err(LifecycleFault::before_anything)?;
        Ok(TransitionReport { status, changed: false, removed: 0, waiting })
    }

    async fn hand(&self, tenant: TenantId) -> Result<Hand, LifecycleError> {
        let opened = Hand::open(&self.control, Role::Main, MAIN, tenant).await;
        opened.map_err(|fault| LifecycleFault::from(fault).before_anything())
    }

    /// The same change, cut off; one of which nothing was done yet is given up for another.
    async fn open_for(
        &self,
        main: &mut Hand,
        tenant: TenantId,
        transition: Transition,
    ) -> Result<Option<Entry>, LifecycleError> {
        let Some(mut open) = ledger::open(main, tenant).await? else { return Ok(None) };
        let refusal = LifecycleRefusal::Open { transition: open.transition, step: open.step };
        match open.step {
            _ if open.transition == transition => Ok(Some(open)),
            TransitionStep::Begun | TransitionStep::Allowed => {
                open.refuse(main, &refusal).await?;
                Ok(None)
            }
            _ => Err(refusal.into()),
        }
    }

    async fn carry_out(
        &self,
        mut main: Hand,
        mut entry: Entry,
        progress: Progress<'_>,
    ) -> Result<TransitionReport, LifecycleError> {
        let mut removed = 0;
        let source = match self.advance(&mut main, &mut entry, &mut removed, progress).await {
            Ok(waiting) => {
                return Ok(TransitionReport { status: entry.to, changed: true, removed, waiting });
            }
            Err(source) => source,
        };
        let (transition, step) = (entry.transition, entry.step);
        match source {
            LifecycleFault::Refused(refusal) if step < TransitionStep::Doomed => {
                entry.refuse(&mut main, &refusal).await?;
                Err(refusal.into())
            }
            source => Err(LifecycleError::Interrupted { transition, step, source }),
        }
    }

    async fn advance(
        &self,
        main: &mut Hand,
        entry: &mut Entry,
        removed: &mut u64,
        progress: Progress<'_>,
    ) -> Result<Vec<HookFailure>, LifecycleFault> {
        let place = whereabouts(main, entry.tenant).await?;
        let mut home = Hand::open(&self.control, Role::Source, &place.database, entry.tenant).await?;
        loop {
            progress(LifecycleEvent::Reached { step: entry.step });
            let next = match entry.step {
                TransitionStep::Begun => {
                    self.is_allowed(main, entry).await?;
                    TransitionStep::Allowed
                }
                TransitionStep::Allowed if entry.transition == Transition::Purge => {
                    self.keys_can_go(&place, &mut home).await?;
                    self.is_home_there(entry, &place, &mut home).await?;
                    self.doom(main, entry).await?;
                    continue;
                }
                TransitionStep::Doomed => {
                    self.shred(entry, &place, &mut home).await?;
                    TransitionStep::Shredded
                }
                TransitionStep::Shredded => {
                    self.freeze(entry, &place, &mut home).await?;
                    TransitionStep::Frozen
                }
                TransitionStep::Frozen => {
                    *removed += self.empty(entry, &place, &mut home, progress).await?;
                    TransitionStep::Emptied
                }
                TransitionStep::Emptied => {
                    *removed += self.clear(main, entry, &place, &mut home, progress).await?;
                    TransitionStep::Cleared
                }
                TransitionStep::Allowed | TransitionStep::Cleared => {
                    entry.decide(main).await?;
                    continue;
                }
                TransitionStep::Decided => {
                    record(main, entry, &place, &mut home).await?;
                    TransitionStep::Recorded
                }
                _ => return self.settle(main, entry.tenant, progress).await,
            };
            entry.reach(main, next).await?;
        }
    }

    async fn is_allowed(&self, main: &mut Hand, entry: &Entry) -> Result<(), LifecycleFault> {
        if matches!(entry.transition, Transition::Delete | Transition::Purge) {
            let holds = hold::standing(main, entry.tenant).await?;
            if !holds.is_empty() {
                return Err(LifecycleRefusal::Held { holds }.into());
            }
        }
        let change = Change::of(entry);
        for hook in &self.hooks {
            let called = hook::call(&**hook, Moment::Before, &change, self.hook_limit).await;
            called.map_err(LifecycleRefusal::Hook)?;
        }
        Ok(())
    }

    /// Calls the hooks of changes that are in force, the oldest change first: behind one that has not succeeded, those of
    /// later changes wait, so that none is ever called after a later one's.
    async fn settle(
        &self,
        main: &mut Hand,
        tenant: TenantId,
        progress: Progress<'_>,
    ) -> Result<Vec<HookFailure>, LifecycleFault> {
        for mut entry in ledger::unsettled(main, tenant).await? {
            let failed = self.call_after(main, &mut entry).await?;
            if !failed.is_empty() {
                let text = failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                entry.note(main, Some(&text)).await?;
                return Ok(failed);
            }
            entry.note(main, None).await?;
            entry.reach(main, TransitionStep::Finished).await?;
            progress(LifecycleEvent::Reached { step: TransitionStep::Finished });
        }
        Ok(Vec::new())
    }

    async fn call_after(
        &self,
        main: &mut Hand,
        entry: &mut Entry,
    ) -> Result<Vec<HookFailure>, LifecycleFault> {
        let (change, mut failed) = (Change::of(entry), Vec::new());
        for hook in &self.hooks {
            if entry.hooks_done.iter().any(|done| done == hook.name()) {
                continue;
            }
            match hook::call(&**hook, Moment::After, &change, self.hook_limit).await {
                Ok(()) => entry.hook_done(main, hook.name()).await?,
                Err(failure) => failed.push(failure),
            }
        }
        Ok(failed)
    }
}

async fn status_of(main: &mut Hand, tenant: TenantId) -> Result<Status, LifecycleError> {
    let found: Option<String> = sqlx::query_scalar("select status from platform.tenants where id = $1")
        .bind(tenant.as_uuid())
        .fetch_optional(&mut main.conn)
        .await?;
    let text = found.ok_or(LifecycleRefusal::UnknownTenant { tenant })?;
    text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)).into())
}

/// Where the change leads.
async fn way(
    main: &mut Hand,
    tenant: TenantId,
    transition: Transition,
    status: Status,
) -> Result<Status, LifecycleError> {
    let refused = LifecycleRefusal::NotAllowed { transition, status };
    if transition == Transition::Undelete && status == Status::Deleting {
        return Ok(ledger::before_deletion(main, tenant).await?);
    }
    Ok(transition.from(status).next().ok_or(refused)?)
}

async fn whereabouts(main: &mut Hand, tenant: TenantId) -> Result<Whereabouts, sqlx::Error> {
    let (database, schema, epoch, own_role) = sqlx::query_as(
        "select database_name, schema_name, epoch, own_role from platform.tenants where id = $1",
    )
    .bind(tenant.as_uuid())
    .fetch_one(&mut main.conn)
    .await?;
    Ok(Whereabouts { database, schema, epoch, own_role })
}

/// The tenant's own trail, if its home has one, and the outbox. Both rows bear the change's identity, so that they are
/// there once.
async fn record(
    main: &mut Hand,
    entry: &Entry,
    place: &Whereabouts,
    home: &mut Hand,
) -> Result<(), LifecycleFault> {
    // What a move has copied lacks these rows: it copies again.
    sqlx::query(
        "update platform.tenant_moves set step = 'frozen' where tenant_id = $1 and step in ('copied', 'verified')",
    )
    .bind(entry.tenant.as_uuid())
    .execute(&mut main.conn)
    .await?;
    let detail = serde_json::json!({
        "transition": entry.id, "from": entry.from, "to": entry.to, "actor": entry.actor,
        "reason": entry.reason, "slug": entry.slug,
    });
    home.begin_in(&place.schema, "").await?;
    let has_trail: bool = sqlx::query_scalar("select to_regprocedure($1) is not null")
        .bind(LINE)
        .fetch_one(&mut home.conn)
        .await?;
    if has_trail && entry.transition != Transition::Purge {
        let (kind, id) = entry.actor.split_once(':').unwrap_or(("system", &entry.actor));
        sqlx::query("select record_platform_line($1, $2, $3, $4, null, $5, $6, null, null, null)")
            .bind(entry.id)
            .bind(entry.transition.event())
            .bind(kind)
            .bind(id)
            .bind(&entry.reason)
            .bind(&detail)
            .execute(&mut home.conn)
            .await?;
    }
    sqlx::query("insert into platform.outbox (id, kind, payload) values ($1, $2, $3) on conflict do nothing")
        .bind(entry.id)
        .bind(entry.transition.event())
        .bind(&detail)
        .execute(&mut home.conn)
        .await?;
    home.commit().await?;
    Ok(())
}

/// The function by which a home's trail takes a line of the platform's; a crate above this one brings it.
const LINE: &str = "record_platform_line(uuid,text,text,text,text,text,jsonb,text,text,text)";
