//! Writing events.

use formwork_tenancy::TenantTx;
use serde_json::Value;
use uuid::Uuid;

use crate::{AuditError, Event};

/// The audit trail of the tenants. Cheap to clone; the tenant is the transaction's.
#[derive(Debug, Clone, Default)]
pub struct Audit {}

impl Audit {
    /// The trail, with every action allowed.
    pub fn new() -> Self {
        Self {}
    }

    /// Appends one event in the transaction.
    ///
    /// # Errors
    ///
    /// [`AuditError::InvalidAction`], or the database's failure: then the transaction cannot commit.
    pub async fn record(&self, tx: &mut TenantTx, event: Event) -> Result<Uuid, AuditError> {
        let id = event.id;
        self.record_many(tx, std::slice::from_ref(&event)).await?;
        Ok(id)
    }

    /// Appends many events in one statement.
    ///
    /// # Errors
    ///
    /// As [`record`](Self::record).
    pub async fn record_many(&self, tx: &mut TenantTx, events: &[Event]) -> Result<(), AuditError> {
        if let Some(bad) = events.iter().find(|event| !event.has_valid_action()) {
            return Err(AuditError::InvalidAction { action: bad.action.clone() });
        }
        if events.is_empty() {
            return Ok(());
        }
        let session = tx.session().clone();
        let mut columns = Columns::of(events);
        if let Some(authority) = session.authority() {
            columns.act_by(&authority.to_string());
        }
        sqlx::query(INSERT)
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
            .bind(session.actor().kind())
            .bind(session.actor().id())
            .bind(session.correlation())
            .bind(session.client_ip().map(|ip| ip.to_string()))
            .bind(session.client_agent())
            .bind(session.impersonator().map(|administrator| administrator.to_string()))
            .execute(&mut **tx)
            .await?;
        Ok(())
    }
}

const INSERT: &str = "
  insert into audit_events (id, action, entity_type, entity_id, targets, outcome, reason, before, after,
                            evidence_id, evidence, actor_type, actor_id, request_id, ip, user_agent,
                            impersonator_id)
  select e.*, $12, $13, $14, $15, $16, $17
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::text[], $7::text[],
                $8::jsonb[], $9::jsonb[], $10::uuid[], $11::jsonb[]) as e";

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
