//! The handle, and what its operations share: who may do what to an end, and how a change is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use formwork_audit::{Audit, Event};
use formwork_authz::{Authz, Grant, Object, RequireError};
use formwork_tenancy::{OutboxEvent, TenantTx};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{End, EntityResolver, LinkError, LinkTypes, StoredLink};

/// Links of the tenants' entities. Cheap to clone; the tenant is the transaction's.
#[derive(Debug, Clone)]
pub struct Links {
    pub(crate) authz: Authz,
    pub(crate) audit: Audit,
    pub(crate) types: Arc<LinkTypes>,
    pub(crate) resolver: Arc<dyn EntityResolver>,
}

/// What the actor may do with an end.
pub(crate) enum Standing {
    /// Link it; the grant is the proof.
    Linkable(Grant),
    /// See it, no more.
    Visible,
    /// There is none, for this actor.
    Unknown,
}

impl Standing {
    /// The grant, or why there is none.
    pub(crate) fn grant(&self, end: &End) -> Result<&Grant, LinkError> {
        match self {
            Self::Linkable(grant) => Ok(grant),
            Self::Visible => Err(LinkError::Denied { permission: "link".to_owned(), end: end.clone() }),
            Self::Unknown => Err(LinkError::NotFound { end: end.clone() }),
        }
    }
}

impl Links {
    /// With the application's link types, and its way of finding entities.
    pub fn new(
        authz: Authz,
        audit: Audit,
        types: LinkTypes,
        resolver: impl EntityResolver + 'static,
    ) -> Self {
        Self { authz, audit, types: Arc::new(types), resolver: Arc::new(resolver) }
    }

    /// The application's link types; [`types_in`](Self::types_in) has the tenant's too.
    pub fn types(&self) -> &LinkTypes {
        &self.types
    }

    /// How the actor stands to each end, whether or not it exists.
    pub(crate) async fn standings(
        &self,
        tx: &mut TenantTx,
        ends: BTreeSet<End>,
    ) -> Result<BTreeMap<End, Standing>, LinkError> {
        let existing = self.existing(tx, &ends).await?;
        let mut standings = BTreeMap::new();
        for end in ends {
            let standing = match existing.contains(&end) {
                true => self.standing(tx, &end).await?,
                false => Standing::Unknown,
            };
            standings.insert(end, standing);
        }
        Ok(standings)
    }

    /// Those that exist, a question for each kind.
    async fn existing(&self, tx: &mut TenantTx, ends: &BTreeSet<End>) -> Result<BTreeSet<End>, LinkError> {
        let mut existing = BTreeSet::new();
        for (kind, ids) in by_kind(ends) {
            let found = self.resolver.existing(tx, kind, &ids).await?;
            existing.extend(found.into_iter().map(|id| End::new(kind, id)));
        }
        Ok(existing)
    }

    /// How the actor stands to an end, by permissions alone.
    pub(crate) async fn standing(&self, tx: &mut TenantTx, end: &End) -> Result<Standing, LinkError> {
        let actor = tx.session().actor().clone();
        match self.authz.require(tx, &actor, "link", &end.object()).await {
            Ok(grant) => Ok(Standing::Linkable(grant)),
            Err(RequireError::Undecided(error)) => Err(error.into()),
            Err(RequireError::Denied { .. }) if self.may_view(tx, end).await? => Ok(Standing::Visible),
            Err(RequireError::Denied { .. }) => Ok(Standing::Unknown),
        }
    }

    pub(crate) async fn may_view(&self, tx: &mut TenantTx, end: &End) -> Result<bool, LinkError> {
        let actor = tx.session().actor().clone();
        Ok(self.authz.check(tx, &actor, "view", &end.object()).await?.is_allowed())
    }

    /// Those of the ends on which the actor holds the permission.
    pub(crate) async fn allowed(
        &self,
        tx: &mut TenantTx,
        permission: &str,
        ends: BTreeSet<End>,
    ) -> Result<BTreeSet<End>, LinkError> {
        let actor = tx.session().actor().clone();
        let objects: Vec<Object> = ends.iter().map(End::object).collect();
        let decisions = self.authz.check_many(tx, &actor, permission, &objects).await?;
        let pairs = ends.into_iter().zip(decisions);
        Ok(pairs.filter(|(_, decision)| decision.is_allowed()).map(|(end, _)| end).collect())
    }

    /// Events of links, to the outbox and to the trail: a statement for each, however many there are.
    pub(crate) async fn announce(
        &self,
        tx: &mut TenantTx,
        action: &str,
        links: &[(&StoredLink, Option<&Grant>)],
    ) -> Result<(), LinkError> {
        let outbox: Vec<OutboxEvent> =
            links.iter().map(|(link, _)| OutboxEvent::new(action, fields(link))).collect();
        tx.publish(&outbox).await?;
        let events: Vec<Event> = links.iter().map(|(link, grant)| event(action, link, *grant)).collect();
        self.audit.record_many(tx, &events).await?;
        Ok(())
    }
}

fn fields(link: &StoredLink) -> Value {
    json!({
        "id": link.id, "source": link.source, "relationship": link.relationship, "target": link.target,
    })
}

fn event(action: &str, link: &StoredLink, grant: Option<&Grant>) -> Event {
    let event = Event::new(action).target(&link.source).target(&link.target);
    let event = match action {
        "entity.unlinked" => event.before(fields(link)),
        _ => event.after(fields(link)),
    };
    match grant {
        Some(grant) => event.evidence(grant),
        None => event,
    }
}

/// The ids of each kind.
pub(crate) fn by_kind<'a>(ends: impl IntoIterator<Item = &'a End>) -> BTreeMap<&'a str, Vec<Uuid>> {
    let mut kinds: BTreeMap<&str, Vec<Uuid>> = BTreeMap::new();
    for end in ends {
        kinds.entry(&end.kind).or_default().push(end.id);
    }
    kinds
}

/// Kinds and ids apart, as `unnest` takes them.
pub(crate) fn columns<'a>(ends: impl IntoIterator<Item = &'a End>) -> (Vec<&'a str>, Vec<Uuid>) {
    ends.into_iter().map(|end| (end.kind.as_str(), end.id)).unzip()
}

/// The most links or entities that one call may touch.
pub(crate) const MAX_BATCH: usize = 10_000;

pub(crate) fn bounded(what: &'static str, count: usize) -> Result<(), LinkError> {
    if count > MAX_BATCH { Err(LinkError::TooMany { what, most: MAX_BATCH }) } else { Ok(()) }
}
