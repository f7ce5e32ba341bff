//! Reading the trail: filters, newest first, by keyset.

use chrono::{DateTime, Utc};
use formwork_tenancy::{Cursor, TenantTx};
use sea_query::{
    Asterisk, Expr, ExprTrait, Func, Iden, Order, PostgresQueryBuilder, Query, SelectStatement, UnionType,
};
use sea_query_sqlx::SqlxBinder;
use serde::Serialize;
use serde_json::Value;
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

use crate::{Audit, AuditError, Outcome, Target};

/// The most events in one page.
const MAX_PAGE: u64 = 200;

/// Which events; every condition that is given must hold.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Filter {
    /// Of this action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// By this kind of actor, with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Target>,
    /// About this thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// That ended in this way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// At this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// Before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

/// An event as it is kept.
#[derive(Debug, Clone, Serialize, FromRow)]
#[non_exhaustive]
pub struct StoredEvent {
    /// Identity: a UUIDv7.
    pub id: Uuid,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Kind of actor: `user`, `system`.
    pub actor_type: String,
    /// Identity of the actor inside its kind.
    pub actor_id: String,
    /// What was done.
    pub action: String,
    /// What it was done to, as a list of `{type, id}`.
    pub targets: Value,
    /// `success`, `denied` or `failure`.
    pub outcome: String,
    /// Why, in words.
    pub reason: Option<String>,
    /// Fields as they were.
    pub before: Option<Value>,
    /// Fields as they became.
    pub after: Option<Value>,
    /// The proof of the permission.
    pub evidence: Option<Value>,
    /// Correlates with logs and other events.
    pub request_id: Option<String>,
    /// Address of the client.
    pub ip: Option<String>,
    /// Program of the client.
    pub user_agent: Option<String>,
    /// Who acted in truth, as `user:<id>`.
    pub impersonator: Option<String>,
    /// For whom it was done, as `user:<id>`.
    pub on_behalf_of: Option<String>,
    /// The trace in which it happened.
    pub trace_id: Option<String>,
    /// The region in which it was written.
    pub region: Option<String>,
    /// Personal fields, sealed.
    pub personal: Option<Value>,
}

/// Events, newest first, and where the next page begins.
#[derive(Debug, Clone)]
pub struct Page {
    /// The events.
    pub events: Vec<StoredEvent>,
    /// None when there is no more.
    pub next: Option<Cursor>,
}

#[derive(Iden)]
enum AuditEvents {
    Table,
    Id,
    At,
    ActorType,
    ActorId,
    Action,
    EntityType,
    EntityId,
    Targets,
    Outcome,
    Reason,
    Before,
    After,
    Evidence,
    RequestId,
    Ip,
    UserAgent,
    Impersonator,
    OnBehalfOf,
    TraceId,
    Region,
    Personal,
}

#[derive(Iden)]
enum AuditTargets {
    Table,
    Kind,
    Id,
    EventId,
}

impl Audit {
    /// A page of the tenant's trail, newest first; `limit` is bounded to 1..=200.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(
        &self,
        tx: &mut TenantTx,
        filter: &Filter,
        after: Option<Cursor>,
        limit: u64,
    ) -> Result<Page, AuditError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut query = select();
        restrict(&mut query, filter);
        if let Some(after) = after {
            query.and_where(Expr::col(AuditEvents::Id).lt(after.row()));
        }
        // One more than asked tells whether there is a next page.
        query.order_by(AuditEvents::Id, Order::Desc).limit(limit + 1);
        let (sql, values) = query.build_sqlx(PostgresQueryBuilder);
        let mut events: Vec<StoredEvent> =
            sqlx::query_as_with(AssertSqlSafe(sql), values).fetch_all(&mut **tx).await?;
        let more = events.len() as u64 > limit;
        events.truncate(limit as usize);
        let next = events.last().filter(|_| more).map(|event| Cursor::after(event.id));
        Ok(Page { events, next })
    }
}

impl Audit {
    /// One event; none when the tenant has none of this identity.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn event(&self, tx: &mut TenantTx, id: Uuid) -> Result<Option<StoredEvent>, AuditError> {
        let (sql, values) =
            select().and_where(Expr::col(AuditEvents::Id).eq(id)).build_sqlx(PostgresQueryBuilder);
        Ok(sqlx::query_as_with(AssertSqlSafe(sql), values).fetch_optional(&mut **tx).await?)
    }

    /// How many events there are of these.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn count(&self, tx: &mut TenantTx, filter: &Filter) -> Result<u64, AuditError> {
        let mut query = Query::select();
        query.expr(Func::count(Expr::col(Asterisk))).from(AuditEvents::Table);
        restrict(&mut query, filter);
        let (sql, values) = query.build_sqlx(PostgresQueryBuilder);
        let count: i64 = sqlx::query_scalar_with(AssertSqlSafe(sql), values).fetch_one(&mut **tx).await?;
        Ok(count as u64)
    }
}

fn select() -> SelectStatement {
    use AuditEvents as C;
    Query::select()
        .columns([
            C::Id,
            C::At,
            C::ActorType,
            C::ActorId,
            C::Action,
            C::Targets,
            C::Outcome,
            C::Reason,
            C::Before,
            C::After,
            C::Evidence,
            C::RequestId,
            C::Ip,
            C::UserAgent,
            C::Impersonator,
            C::OnBehalfOf,
            C::TraceId,
            C::Region,
            C::Personal,
        ])
        .from(AuditEvents::Table)
        .to_owned()
}

/// Events with this target: the first stands in the event's row, further ones in a table of their own. Each part has an
/// index; a condition on the document of all targets could have none, since row security looks first.
fn about(target: &Target) -> SelectStatement {
    let further = Query::select()
        .column(AuditTargets::EventId)
        .from(AuditTargets::Table)
        .and_where(Expr::col(AuditTargets::Kind).eq(&target.kind))
        .and_where(Expr::col(AuditTargets::Id).eq(&target.id))
        .to_owned();
    Query::select()
        .column(AuditEvents::Id)
        .from(AuditEvents::Table)
        .and_where(Expr::col(AuditEvents::EntityType).eq(&target.kind))
        .and_where(Expr::col(AuditEvents::EntityId).eq(&target.id))
        .union(UnionType::All, further)
        .to_owned()
}

fn restrict(query: &mut SelectStatement, filter: &Filter) {
    if let Some(action) = &filter.action {
        query.and_where(Expr::col(AuditEvents::Action).eq(action));
    }
    if let Some(actor) = &filter.actor {
        query
            .and_where(Expr::col(AuditEvents::ActorType).eq(&actor.kind))
            .and_where(Expr::col(AuditEvents::ActorId).eq(&actor.id));
    }
    if let Some(target) = &filter.target {
        query.and_where(Expr::col(AuditEvents::Id).in_subquery(about(target)));
    }
    if let Some(outcome) = filter.outcome {
        query.and_where(Expr::col(AuditEvents::Outcome).eq(outcome.as_str()));
    }
    if let Some(from) = filter.from {
        query.and_where(Expr::col(AuditEvents::At).gte(from));
    }
    if let Some(until) = filter.until {
        query.and_where(Expr::col(AuditEvents::At).lt(until));
    }
}
