//! Making a link: both exist, the actor may link both, insert, event, audit.

use std::sync::Arc;

use formwork_audit::{Audit, Event};
use formwork_authz::{Authz, Grant, RequireError};
use formwork_tenancy::{OutboxEvent, TenantTx};
use serde_json::json;
use uuid::Uuid;

use crate::{End, EntityResolver, Link, LinkError, LinkTypes, StoredLink};

pub(crate) const COLUMNS: &str =
    "id, source_type, source_id, relationship, target_type, target_id, metadata, created_by, created_at";

/// Links of the tenants' entities. Cheap to clone; the tenant is the transaction's.
#[derive(Debug, Clone)]
pub struct Links {
    pub(crate) authz: Authz,
    pub(crate) audit: Audit,
    pub(crate) types: Arc<LinkTypes>,
    resolver: Arc<dyn EntityResolver>,
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

    /// The link types.
    pub fn types(&self) -> &LinkTypes {
        &self.types
    }

    /// Joins two entities.
    ///
    /// # Errors
    ///
    /// [`LinkError`]; after one the transaction must be dropped.
    pub async fn link(&self, tx: &mut TenantTx, link: Link) -> Result<StoredLink, LinkError> {
        let link = self.types.admit(link)?;
        // One end after the other: asked together, the end that an answer names would tell whether the other one,
        // which the actor may not see, exists.
        self.must_exist(tx, &link.source).await?;
        let from = self.may_link(tx, &link.source).await?;
        self.must_exist(tx, &link.target).await?;
        self.may_link(tx, &link.target).await?;
        let stored = insert(tx, &link).await?.ok_or_else(|| LinkError::Exists {
            from: link.source.clone(),
            name: link.relationship.clone(),
            to: link.target.clone(),
        })?;
        self.announce(tx, "entity.linked", &stored, &from).await?;
        Ok(stored)
    }

    pub(crate) async fn announce(
        &self,
        tx: &mut TenantTx,
        action: &str,
        link: &StoredLink,
        grant: &Grant,
    ) -> Result<(), LinkError> {
        let fields = json!({
            "id": link.id, "source": link.source, "relationship": link.relationship, "target": link.target,
        });
        tx.publish(&[OutboxEvent::new(action, fields.clone())]).await?;
        let event =
            Event::new(action).target(&link.source).target(&link.target).after(fields).evidence(grant);
        self.audit.record(tx, event).await?;
        Ok(())
    }

    async fn must_exist(&self, tx: &mut TenantTx, end: &End) -> Result<(), LinkError> {
        let found = self.resolver.existing(tx, &end.kind, &[end.id]).await?;
        if found.contains(&end.id) { Ok(()) } else { Err(LinkError::NotFound { end: end.clone() }) }
    }

    pub(crate) async fn may_link(&self, tx: &mut TenantTx, end: &End) -> Result<Grant, LinkError> {
        let actor = tx.session().actor().clone();
        match self.authz.require(tx, &actor, "link", &end.object()).await {
            Ok(grant) => Ok(grant),
            Err(RequireError::Undecided(error)) => Err(error.into()),
            Err(RequireError::Denied { .. }) if self.may_view(tx, end).await? => {
                Err(LinkError::Denied { end: end.clone() })
            }
            Err(RequireError::Denied { .. }) => Err(LinkError::NotFound { end: end.clone() }),
        }
    }

    pub(crate) async fn may_view(&self, tx: &mut TenantTx, end: &End) -> Result<bool, LinkError> {
        let actor = tx.session().actor().clone();
        Ok(self.authz.check(tx, &actor, "view", &end.object()).await?.is_allowed())
    }
}

async fn insert(tx: &mut TenantTx, link: &Link) -> Result<Option<StoredLink>, LinkError> {
    let actor = tx.session().actor().to_string();
    let sql = format!(
        "insert into entity_links
           (id, source_type, source_id, relationship, target_type, target_id, metadata, created_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing returning {COLUMNS}"
    );
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(Uuid::now_v7())
        .bind(&link.source.kind)
        .bind(link.source.id)
        .bind(&link.relationship)
        .bind(&link.target.kind)
        .bind(link.target.id)
        .bind(&link.metadata)
        .bind(actor)
        .fetch_optional(&mut **tx)
        .await?)
}
