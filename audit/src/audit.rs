//! Writing events.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use formwork_tenancy::TenantTx;
use serde_json::Value;
use uuid::Uuid;

use crate::{Actions, AuditError, Event};

// Both take the same values; $22 is of no use to the first. As macros, since only literals can be joined.
macro_rules! insert {
    () => {
        "
  insert into audit_events (id, action, entity_type, entity_id, targets, outcome, reason, before, after,
                            evidence_id, evidence, impersonator, on_behalf_of, trace_id, personal,
                            actor_type, actor_id, request_id, ip, user_agent, region)
  select e.*, $16, $17, $18, $19, $20, $21
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::text[], $7::text[],
                $8::jsonb[], $9::jsonb[], $10::uuid[], $11::jsonb[], $12::text[], $13::text[], $14::text[],
                $15::jsonb[]) as e
   where $22::text[] is not null"
    };
}

const INSERT: &str = insert!();

/// What further targets are searched by; the first stands in the event's own row.
macro_rules! insert_targets {
    () => {
        "
  insert into audit_targets (kind, id, event_id)
  select t.target ->> 'type', t.target ->> 'id', told.id
    from told cross join jsonb_array_elements(told.targets) with ordinality as t (target, n) where t.n > 1
  on conflict do nothing"
    };
}

// Of events with a key, only those whose key is new; who has given it and is still open is waited for.
macro_rules! once {
    () => {
        "
  with e as (
    select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::text[], $7::text[],
                         $8::jsonb[], $9::jsonb[], $10::uuid[], $11::jsonb[], $12::text[], $13::text[], $14::text[],
                         $15::jsonb[], $22::text[])
      as e (id, action, entity_type, entity_id, targets, outcome, reason, before, after, evidence_id, evidence,
            impersonator, on_behalf_of, trace_id, personal, key)),
  fresh as (
    insert into audit_idempotency (key, event_id) select e.key, e.id from e where e.key is not null
    on conflict do nothing returning event_id)"
    };
}

macro_rules! insert_once {
    () => {
        "
  insert into audit_events (id, action, entity_type, entity_id, targets, outcome, reason, before, after,
                            evidence_id, evidence, impersonator, on_behalf_of, trace_id, personal,
                            actor_type, actor_id, request_id, ip, user_agent, region)
  select e.id, e.action, e.entity_type, e.entity_id, e.targets, e.outcome, e.reason, e.before, e.after,
         e.evidence_id, e.evidence, e.impersonator, e.on_behalf_of, e.trace_id, e.personal,
         $16, $17, $18, $19, $20, $21
    from e where e.key is null or e.id in (select event_id from fresh)"
    };
}

/// The audit trail of the tenants. Cheap to clone; the tenant is the transaction's.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    actions: Option<Actions>,
    region: Option<Arc<str>>,
    dropped: Arc<AtomicU64>,
    #[cfg(feature = "keys")]
    pub(crate) keys: Option<formwork_tenancy::keys::Keys>,
}

impl Audit {
    /// The trail, with every action allowed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only these actions are recorded; any other is refused.
    #[must_use]
    pub fn actions(mut self, actions: Actions) -> Self {
        self.actions = Some(actions);
        self
    }

    /// The region that is told with every event: where this process runs.
    #[must_use]
    pub fn region(mut self, name: impl Into<Arc<str>>) -> Self {
        self.region = Some(name.into());
        self
    }

    /// What personal fields are sealed and opened with.
    #[cfg(feature = "keys")]
    #[must_use]
    pub fn keys(mut self, keys: formwork_tenancy::keys::Keys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Events of actions that [fail open](crate::Action::fail_open) which could not be written, by this handle and its
    /// clones.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Appends one event in the transaction; its identity, or that of the one before it with the same
    /// [idempotency key](Event::idempotency_key).
    ///
    /// # Errors
    ///
    /// [`AuditError::InvalidAction`], [`AuditError::UnknownAction`], or the database's failure: then the transaction
    /// cannot commit. An action that fails open has only the first two, and the transaction goes on.
    pub async fn record(&self, tx: &mut TenantTx, event: Event) -> Result<Uuid, AuditError> {
        self.record_many(tx, std::slice::from_ref(&event)).await?;
        let Some(key) = &event.idempotency_key else { return Ok(event.id) };
        let told: Option<Uuid> = sqlx::query_scalar("select event_id from audit_idempotency where key = $1")
            .bind(key)
            .fetch_optional(&mut **tx)
            .await?;
        Ok(told.unwrap_or(event.id))
    }

    /// Appends many events in one statement, and those that may fail in a second one.
    ///
    /// # Errors
    ///
    /// As [`record`](Self::record).
    pub async fn record_many(&self, tx: &mut TenantTx, events: &[Event]) -> Result<(), AuditError> {
        for event in events {
            if !event.has_valid_action() {
                return Err(AuditError::InvalidAction { action: event.action.clone() });
            }
            self.actions.map_or(Ok(()), |actions| actions.require(&event.action))?;
        }
        if !events.iter().any(|event| event.fails_open) {
            return self.insert(tx, events).await;
        }
        let (open, closed): (Vec<Event>, Vec<Event>) =
            events.iter().cloned().partition(|event| event.fails_open);
        self.insert(tx, &closed).await?;
        let (audit, count) = (self.clone(), open.len());
        let tried = tx.savepoint(|tx| Box::pin(async move { audit.insert(tx, &open).await })).await?;
        if let Err(error) = tried {
            self.dropped.fetch_add(count as u64, Ordering::Relaxed);
            let error: &dyn std::error::Error = &error;
            tracing::warn!(count, error, "audit events were dropped");
        }
        Ok(())
    }

    pub(crate) async fn insert(&self, tx: &mut TenantTx, events: &[Event]) -> Result<(), AuditError> {
        if events.is_empty() {
            return Ok(());
        }
        #[cfg(feature = "keys")]
        let personal = crate::personal::seal(self.keys.as_ref(), tx, events).await?;
        #[cfg(not(feature = "keys"))]
        let personal: Vec<Option<Value>> = vec![None; events.len()];
        let session = tx.session().clone();
        let administrator = session.impersonator().map(|id| format!("administrator:{id}"));
        let mut columns = Columns::of(events);
        if let Some(authority) = session.authority() {
            columns.act_by(&authority.to_string());
        }
        if let Some(administrator) = &administrator {
            columns.impersonators.fill(Some(administrator));
        }
        let has_keys = columns.idempotency_keys.iter().any(Option::is_some);
        let has_more_targets = events.iter().any(|event| event.targets.len() > 1);
        sqlx::query(match (has_keys, has_more_targets) {
            (false, false) => INSERT,
            (false, true) => {
                concat!("with told as (", insert!(), " returning id, targets) ", insert_targets!())
            }
            (true, false) => concat!(once!(), insert_once!()),
            (true, true) => {
                concat!(once!(), ", told as (", insert_once!(), " returning id, targets) ", insert_targets!())
            }
        })
        .bind(columns.ids)
        .bind(columns.actions)
        .bind(columns.entity_types)
        .bind(columns.entity_ids)
        .bind(columns.targets)
        .bind(columns.outcomes)
        .bind(columns.reasons)
        .bind(columns.before)
        .bind(columns.after)
        .bind(columns.evidence_ids)
        .bind(columns.evidence)
        .bind(columns.impersonators)
        .bind(columns.on_behalf_of)
        .bind(columns.trace_ids)
        .bind(personal)
        .bind(session.actor().kind())
        .bind(session.actor().id())
        .bind(session.correlation())
        .bind(session.client_ip().map(|ip| ip.to_string()))
        .bind(session.client_agent())
        .bind(self.region.as_deref())
        .bind(columns.idempotency_keys)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

/// Events, a column at a time, as `unnest` takes them.
struct Columns<'a> {
    ids: Vec<Uuid>,
    actions: Vec<&'a str>,
    entity_types: Vec<Option<&'a str>>,
    entity_ids: Vec<Option<&'a str>>,
    targets: Vec<Value>,
    outcomes: Vec<&'static str>,
    reasons: Vec<Option<String>>,
    before: Vec<Option<&'a Value>>,
    after: Vec<Option<&'a Value>>,
    evidence_ids: Vec<Option<Uuid>>,
    evidence: Vec<Option<&'a Value>>,
    impersonators: Vec<Option<&'a str>>,
    on_behalf_of: Vec<Option<&'a str>>,
    trace_ids: Vec<Option<&'a str>>,
    idempotency_keys: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn of(events: &'a [Event]) -> Self {
        Self {
            ids: events.iter().map(|e| e.id).collect(),
            actions: events.iter().map(|e| e.action.as_str()).collect(),
            entity_types: events.iter().map(|e| e.targets.first().map(|t| t.kind.as_str())).collect(),
            entity_ids: events.iter().map(|e| e.targets.first().map(|t| t.id.as_str())).collect(),
            targets: events.iter().map(targets_json).collect(),
            outcomes: events.iter().map(|e| e.outcome.as_str()).collect(),
            reasons: events.iter().map(|e| e.reason.clone()).collect(),
            before: events.iter().map(|e| e.before.as_ref()).collect(),
            after: events.iter().map(|e| e.after.as_ref()).collect(),
            evidence_ids: events.iter().map(|e| e.evidence.as_ref().map(|e| e.id())).collect(),
            evidence: events.iter().map(|e| e.evidence.as_ref().map(|e| e.proof())).collect(),
            impersonators: events.iter().map(|e| e.impersonator.as_deref()).collect(),
            on_behalf_of: events.iter().map(|e| e.on_behalf_of.as_deref()).collect(),
            trace_ids: events.iter().map(|e| e.trace_id.as_deref()).collect(),
            idempotency_keys: events.iter().map(|e| e.idempotency_key.as_deref()).collect(),
        }
    }

    /// What an administrator does is told with the leave that it was done by.
    fn act_by(&mut self, authority: &str) {
        for reason in &mut self.reasons {
            *reason = Some(match reason.take() {
                None => authority.to_owned(),
                Some(own) => format!("{own}; {authority}"),
            });
        }
    }
}

fn targets_json(event: &Event) -> Value {
    let target = |t: &crate::Target| serde_json::json!({"type": t.kind, "id": t.id});
    Value::Array(event.targets.iter().map(target).collect())
}
