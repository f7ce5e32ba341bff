//! The link types that a tenant has besides the application's.
//!
//! INVARIANT: a tenant's type never takes a name of the application's, and its rules do not change while it has
//! links.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use formwork_audit::Event;
use formwork_tenancy::TenantTx;
use serde_json::json;
use sqlx::types::Json;

use crate::{LinkError, LinkType, LinkTypes, Links, lock};

impl Links {
    /// The application's link types and the tenant's. A tenant's whose name a newer application has taken is left
    /// out: the application's holds.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn types_in(&self, tx: &mut TenantTx) -> Result<LinkTypes, LinkError> {
        let own: Vec<(Json<LinkType>,)> =
            sqlx::query_as("select definition from link_types order by name").fetch_all(&mut **tx).await?;
        let mut types = LinkTypes::clone(&self.types);
        for (Json(link_type),) in own {
            types = types.clone().with(link_type).unwrap_or(types);
        }
        Ok(types)
    }

    /// Gives the tenant a link type of its own, or other rules to one that has no links. Whether the actor may is
    /// the caller's to ask.
    ///
    /// # How does a tenant get a link type of its own?
    ///
    /// ```no_run
    /// # use formwork_entity_links::{LinkType, Links};
    /// # async fn example(links: Links, tx: &mut formwork_tenancy::TenantTx)
    /// # -> Result<(), formwork_entity_links::LinkError> {
    /// links.define(tx, LinkType::new("warranty_of", "under_warranty").max_targets(1)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LinkError::InvalidType`] when it contradicts itself or takes a name, [`LinkError::TypeInUse`] when it has
    /// links.
    pub async fn define(&self, tx: &mut TenantTx, link_type: LinkType) -> Result<(), LinkError> {
        lock::hold(tx, vec!["types".to_owned()]).await?;
        let before = self.own_type(tx, link_type.name()).await?;
        if before.as_ref() == Some(&link_type) {
            return Ok(());
        }
        let mut others = LinkTypes::clone(&self.types);
        for other in self.types_in(tx).await?.iter().filter(|other| self.types.get(other.name()).is_none()) {
            if other.name() != link_type.name() {
                others = others.with(other.clone())?;
            }
        }
        others.with(link_type.clone())?;
        must_be_unused(tx, link_type.name()).await?;
        sqlx::query(
            "insert into link_types (name, definition, created_by) values ($1, $2, $3)
             on conflict (tenant_id, name) do update set definition = excluded.definition",
        )
        .bind(link_type.name())
        .bind(Json(&link_type))
        .bind(tx.session().actor().to_string())
        .execute(&mut **tx)
        .await?;
        let event = Event::new("link_type.defined").after(json!(link_type));
        let event = if let Some(before) = before { event.before(json!(before)) } else { event };
        self.audit.record(tx, event).await?;
        Ok(())
    }

    /// Takes a link type away from the tenant.
    ///
    /// # Errors
    ///
    /// [`LinkError::UnknownType`] when the tenant has none of this name, [`LinkError::TypeInUse`] when it has links.
    pub async fn undefine(&self, tx: &mut TenantTx, name: &str) -> Result<(), LinkError> {
        lock::hold(tx, vec!["types".to_owned()]).await?;
        let Some(before) = self.own_type(tx, name).await? else {
            return Err(LinkError::UnknownType {
                name: name.to_owned(),
                known: self.types_in(tx).await?.known(),
            });
        };
        must_be_unused(tx, name).await?;
        sqlx::query("delete from link_types where name = $1").bind(name).execute(&mut **tx).await?;
        self.audit.record(tx, Event::new("link_type.removed").before(json!(before))).await?;
        Ok(())
    }

    /// Held until the transaction ends: whoever makes a link of it waits, or has stored it.
    async fn own_type(&self, tx: &mut TenantTx, name: &str) -> Result<Option<LinkType>, LinkError> {
        let found: Option<(Json<LinkType>,)> =
            sqlx::query_as("select definition from link_types where name = $1 for update")
                .bind(name)
                .fetch_optional(&mut **tx)
                .await?;
        Ok(found.map(|(Json(found),)| found))
    }

    /// The rules by which links are made now; the tenant's own stay as they are until the transaction ends.
    pub(crate) async fn rules(
        &self,
        tx: &mut TenantTx,
        names: &BTreeSet<&str>,
    ) -> Result<HashMap<String, Arc<LinkType>>, LinkError> {
        self.look_up(
            tx,
            names,
            "select definition from link_types where name = any($1) order by name for share",
        )
        .await
    }

    /// The types by which links are read.
    pub(crate) async fn readings(
        &self,
        tx: &mut TenantTx,
        names: &BTreeSet<&str>,
    ) -> Result<HashMap<String, Arc<LinkType>>, LinkError> {
        self.look_up(tx, names, "select definition from link_types where name = any($1)").await
    }

    async fn look_up(
        &self,
        tx: &mut TenantTx,
        names: &BTreeSet<&str>,
        own: &'static str,
    ) -> Result<HashMap<String, Arc<LinkType>>, LinkError> {
        let known = |name: &&str| Some(((*name).to_owned(), self.types.shared(name)?));
        let mut found: HashMap<_, _> = names.iter().filter_map(known).collect();
        let others: Vec<&str> = names.iter().copied().filter(|name| !found.contains_key(*name)).collect();
        if !others.is_empty() {
            let own: Vec<(Json<LinkType>,)> = sqlx::query_as(own).bind(others).fetch_all(&mut **tx).await?;
            found.extend(own.into_iter().map(|(Json(own),)| (own.name().to_owned(), Arc::new(own))));
        }
        Ok(found)
    }
}

async fn must_be_unused(tx: &mut TenantTx, name: &str) -> Result<(), LinkError> {
    let links: i64 = sqlx::query_scalar("select count(*) from entity_links where relationship = $1")
        .bind(name)
        .fetch_one(&mut **tx)
        .await?;
    if links == 0 { Ok(()) } else { Err(LinkError::TypeInUse { name: name.to_owned(), links }) }
}
