//! `platform.tenant_transitions`: how far a change of status has come, and every one that ever was.

use std::fmt;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, postgres::PgRow};
use uuid::Uuid;

use super::{LifecycleFault, LifecycleRefusal, Order, Transition};
use crate::{Status, TenantId, moves::hands::Hand};

macro_rules! steps {
    ($($variant:ident $text:literal $doc:literal),+ $(,)?) => {
        /// How far a change has come.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum TransitionStep {
            $(#[doc = $doc] $variant),+
        }

        impl TransitionStep {
            /// As the ledger has it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

steps! {
    Begun "begun" "It is entered.",
    Allowed "allowed" "No hook has refused it.",
    Doomed "doomed" "Of a purge: no hold and no grace stands in the way, and there is no way back.",
    Shredded "shredded" "Of a purge: the tenant's keys are destroyed, so that no copy of its sealed fields opens.",
    Frozen "frozen" "Of a purge: nothing can be written in its home.",
    Emptied "emptied" "Of a purge: its home is gone.",
    Cleared "cleared" "Of a purge: what the streams and the platform had of it is gone.",
    Decided "decided" "The registry has the new status.",
    Recorded "recorded" "It stands in the tenant's own trail and in the outbox: it is in force and done, hooks apart.",
    Finished "finished" "Every hook was done.",
    Refused "refused" "It was refused, or given up before anything was done.",
}

impl fmt::Display for TransitionStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One line of the ledger.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: Uuid,
    pub(super) tenant: TenantId,
    pub(super) slug: String,
    pub(super) transition: Transition,
    pub(super) from: Status,
    pub(super) to: Status,
    pub(super) step: TransitionStep,
    pub(super) actor: String,
    pub(super) reason: String,
    pub(super) hooks_done: Vec<String>,
    pub(super) problem: Option<String>,
    pub(super) begun_at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for Entry {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        use sqlx::Row;
        let status = |column| -> Result<Status, sqlx::Error> {
            row.try_get::<&str, _>(column)?.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
        };
        let unknown = |text: &str| sqlx::Error::Decode(format!("`{text}` is not known here").into());
        let (step, transition): (&str, &str) = (row.try_get("step")?, row.try_get("transition")?);
        Ok(Self {
            id: row.try_get("id")?,
            tenant: row.try_get::<Uuid, _>("tenant_id")?.into(),
            slug: row.try_get("slug")?,
            transition: Transition::parse(transition).ok_or_else(|| unknown(transition))?,
            from: status("from_status")?,
            to: status("to_status")?,
            step: TransitionStep::parse(step).ok_or_else(|| unknown(step))?,
            actor: row.try_get("actor")?,
            reason: row.try_get("reason")?,
            hooks_done: row.try_get("hooks_done")?,
            problem: row.try_get("problem")?,
            begun_at: row.try_get("begun_at")?,
        })
    }
}

/// The ledger's lines, with the slug; completed by a condition.
macro_rules! entries {
    ($rest:literal) => {
        concat!(
            "select e.*, t.slug from platform.tenant_transitions e join platform.tenants t on t.id = e.tenant_id ",
            $rest
        )
    };
}

pub(super) async fn open(main: &mut Hand, tenant: TenantId) -> Result<Option<Entry>, sqlx::Error> {
    sqlx::query_as(entries!("where e.tenant_id = $1 and e.step not in ('recorded', 'finished', 'refused')"))
        .bind(tenant.as_uuid())
        .fetch_optional(&mut main.conn)
        .await
}

/// Those in force whose hooks are not all done, the oldest first.
pub(super) async fn unsettled(main: &mut Hand, tenant: TenantId) -> Result<Vec<Entry>, sqlx::Error> {
    sqlx::query_as(entries!("where e.tenant_id = $1 and e.step = 'recorded' order by e.begun_at, e.id"))
        .bind(tenant.as_uuid())
        .fetch_all(&mut main.conn)
        .await
}

pub(super) async fn all(pool: &sqlx::PgPool, tenant: TenantId) -> Result<Vec<Entry>, sqlx::Error> {
    sqlx::query_as(entries!("where e.tenant_id = $1 order by e.begun_at, e.id"))
        .bind(tenant.as_uuid())
        .fetch_all(pool)
        .await
}

/// What the tenant was before it was to be deleted.
pub(super) async fn before_deletion(main: &mut Hand, tenant: TenantId) -> Result<Status, sqlx::Error> {
    let found: Option<String> = sqlx::query_scalar(
        "select from_status from platform.tenant_transitions
          where tenant_id = $1 and transition = 'delete' and step in ('recorded', 'finished')
          order by begun_at desc, id desc limit 1",
    )
    .bind(tenant.as_uuid())
    .fetch_optional(&mut main.conn)
    .await?;
    // Marked by hand: whoever brings it back looks first.
    Ok(found.and_then(|text| text.parse().ok()).unwrap_or(Status::Suspended))
}

impl Entry {
    pub(super) async fn begin(
        main: &mut Hand,
        tenant: TenantId,
        transition: Transition,
        (from, to): (Status, Status),
        order: &Order,
        grace: Option<f64>,
    ) -> Result<Self, sqlx::Error> {
        sqlx::query_as(
            "with e as (
               insert into platform.tenant_transitions
                 (id, tenant_id, transition, from_status, to_status, actor, reason, grace)
               values ($1, $2, $3, $4, $5, $6, $7, make_interval(secs => $8)) returning *)
             select e.*, t.slug from e join platform.tenants t on t.id = e.tenant_id",
        )
        .bind(Uuid::now_v7())
        .bind(tenant.as_uuid())
        .bind(transition.as_str())
        .bind(from.as_str())
        .bind(to.as_str())
        .bind(order.actor())
        .bind(order.reason())
        .bind(grace)
        .fetch_one(&mut main.conn)
        .await
    }

    /// Enters that a step is done.
    pub(super) async fn reach(&mut self, main: &mut Hand, step: TransitionStep) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update platform.tenant_transitions set step = $2, changed_at = clock_timestamp() where id = $1",
        )
        .bind(self.id)
        .bind(step.as_str())
        .execute(&mut main.conn)
        .await?;
        self.step = step;
        Ok(())
    }

    /// Enters why nothing came of it.
    pub(super) async fn refuse(
        &mut self,
        main: &mut Hand,
        refusal: &LifecycleRefusal,
    ) -> Result<(), sqlx::Error> {
        self.note(main, Some(&refusal.to_string())).await?;
        self.reach(main, TransitionStep::Refused).await
    }

    pub(super) async fn note(&self, main: &mut Hand, problem: Option<&str>) -> Result<(), sqlx::Error> {
        sqlx::query("update platform.tenant_transitions set problem = $2 where id = $1")
            .bind(self.id)
            .bind(problem)
            .execute(&mut main.conn)
            .await?;
        Ok(())
    }

    pub(super) async fn hook_done(&mut self, main: &mut Hand, hook: &str) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update platform.tenant_transitions set hooks_done = array_append(hooks_done, $2) where id = $1",
        )
        .bind(self.id)
        .bind(hook)
        .execute(&mut main.conn)
        .await?;
        self.hooks_done.push(hook.to_owned());
        Ok(())
    }

    /// The new status in the registry, its line among the security events and its step, all at once.
    pub(super) async fn decide(&mut self, main: &mut Hand) -> Result<(), LifecycleFault> {
        main.run("begin").await?;
        let changed = sqlx::query(
            "update platform.tenants t
                set status = $3, version = t.version + 1,
                    name = case when $3 = 'deleted' then 'deleted' else t.name end,
                    own_role = t.own_role and $3 <> 'deleted',
                    delete_after = case when $3 = 'deleting'
                      then clock_timestamp() + coalesce((select grace from platform.tenant_transitions where id = $4),
                                                        '0'::interval) end
              where t.id = $1 and t.status = $2",
        )
        .bind(self.tenant.as_uuid())
        .bind(self.from.as_str())
        .bind(self.to.as_str())
        .bind(self.id)
        .execute(&mut main.conn)
        .await?;
        if changed.rows_affected() != 1 {
            main.run("rollback").await?;
            return Err(LifecycleFault::Disturbed);
        }
        sqlx::query(
            "insert into platform.security_events (kind, tenant_id, detail)
             values ($2, $1, jsonb_build_object('transition', $3::text, 'from', $4::text, 'to', $5::text,
                                                'actor', $6::text, 'reason', $7::text))",
        )
        .bind(self.tenant.as_uuid())
        .bind(self.transition.event())
        .bind(self.id.to_string())
        .bind(self.from.as_str())
        .bind(self.to.as_str())
        .bind(&self.actor)
        .bind(&self.reason)
        .execute(&mut main.conn)
        .await?;
        self.reach(main, TransitionStep::Decided).await?;
        main.commit().await?;
        Ok(())
    }
}
