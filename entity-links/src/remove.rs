//! What goes when an entity goes: links are cleared, hold it back, or take their other ends along.
//!
//! INVARIANT: whatever goes has been removed from its own table before its links are looked at for the last time. A
//! link holds a share of both its ends' rows, so none is made to something that is on its way out.

use std::collections::BTreeSet;

use formwork_audit::Event;
use formwork_tenancy::{OutboxEvent, TenantTx};
use serde_json::json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{
    End, LinkError, LinkType, LinkTypes, Links, OnDelete, StoredLink,
    link::COLUMNS,
    links::{by_kind, columns},
    unlink::delete,
};

/// What a removal may take along.
#[derive(Debug, Clone)]
pub struct Cascade {
    permission: String,
    most: usize,
}

impl Cascade {
    /// At most 100 others, on each of which the actor must hold this permission.
    pub fn with_permission(permission: impl Into<String>) -> Self {
        Self { permission: permission.into(), most: 100 }
    }

    /// At most so many others.
    #[must_use]
    pub fn at_most(mut self, others: usize) -> Self {
        self.most = others;
        self
    }
}

/// What goes with an entity.
#[derive(Debug, Clone)]
pub struct Removal {
    /// The other entities, in no order.
    pub entities: BTreeSet<End>,
    /// The links of all of them.
    pub links: Vec<Uuid>,
}

/// The names of the types by their rules.
struct Rules {
    types: LinkTypes,
    source_cascades: Vec<String>,
    target_cascades: Vec<String>,
}

impl Rules {
    fn of(types: LinkTypes) -> Self {
        let names = |rule: fn(&LinkType) -> OnDelete| {
            let cascading = types.iter().filter(|known| rule(known) == OnDelete::Cascade);
            cascading.map(|known| known.name().to_owned()).collect()
        };
        let (source_cascades, target_cascades) = (names(LinkType::source_rule), names(LinkType::target_rule));
        Self { types, source_cascades, target_cascades }
    }

    /// Does the link hold one of those that go, on behalf of an end that stays?
    fn holds(&self, link: &StoredLink, gone: &BTreeSet<End>) -> bool {
        let Some(by) = self.types.get(&link.relationship) else { return false };
        let blocks =
            |rule, end, other| rule == OnDelete::Block && gone.contains(end) && !gone.contains(other);
        blocks(by.source_rule(), &link.source, &link.target)
            || blocks(by.target_rule(), &link.target, &link.source)
    }
}

impl Links {
    /// What [`remove`](Self::remove) would do, or why it would not: nothing is changed.
    ///
    /// # Errors
    ///
    /// As `remove`.
    pub async fn removal(
        &self,
        tx: &mut TenantTx,
        end: &End,
        cascade: &Cascade,
    ) -> Result<Removal, LinkError> {
        let rules = Rules::of(self.types_in(tx).await?);
        let gone = gone(tx, end, &rules, cascade).await?;
        self.may_go(tx, end, &gone, cascade).await?;
        let links = touching(tx, &gone).await?;
        self.nothing_holds(tx, end, &rules, &gone, &links).await?;
        Ok(removal(end, gone, &links))
    }

    /// Takes away all links of an entity that the caller removes, and removes through the resolver what goes with it,
    /// in the caller's transaction. Remove the entity's own row first: then no link to it can be made meanwhile.
    ///
    /// # What goes with a folder?
    ///
    /// ```no_run
    /// # use formwork_entity_links::{Cascade, Links};
    /// # async fn example(links: Links, tx: &mut formwork_tenancy::TenantTx, folder: uuid::Uuid)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// let cascade = Cascade::with_permission("delete").at_most(500);
    /// let planned = links.removal(tx, &("folder", folder).into(), &cascade).await?;
    /// println!("{} others would go, and {} links", planned.entities.len(), planned.links.len());
    /// sqlx::query("delete from folders where id = $1").bind(folder).execute(&mut **tx).await?;
    /// links.remove(tx, &("folder", folder).into(), &cascade).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LinkError::Blocked`], [`LinkError::TooMany`], [`LinkError::Denied`] or [`LinkError::CannotCascade`] when it
    /// may not go; [`LinkError::NotRemoved`] when the resolver left something. Then the transaction must be dropped.
    pub async fn remove(
        &self,
        tx: &mut TenantTx,
        end: &End,
        cascade: &Cascade,
    ) -> Result<Removal, LinkError> {
        self.removal(tx, end, cascade).await?;
        let rules = Rules::of(self.types_in(tx).await?);
        let mut removed = BTreeSet::from([end.clone()]);
        // While something is removed, a link to it may just have been stored: what that takes along goes too.
        loop {
            let more: BTreeSet<End> =
                gone(tx, end, &rules, cascade).await?.difference(&removed).cloned().collect();
            if more.is_empty() {
                break;
            }
            self.may_go(tx, end, &more, cascade).await?;
            self.remove_through_resolver(tx, &more).await?;
            removed.extend(more);
        }
        let links = touching(tx, &removed).await?;
        self.nothing_holds(tx, end, &rules, &removed, &links).await?;
        delete(tx, &links.iter().map(|link| link.id).collect::<Vec<_>>()).await?;
        let told: Vec<_> = links.iter().map(|link| (link, None)).collect();
        self.announce(tx, "entity.unlinked", &told).await?;
        let removal = removal(end, removed, &links);
        self.tell_removed(tx, end, &removal).await?;
        Ok(removal)
    }

    async fn may_go(
        &self,
        tx: &mut TenantTx,
        end: &End,
        gone: &BTreeSet<End>,
        cascade: &Cascade,
    ) -> Result<(), LinkError> {
        let others: BTreeSet<End> = gone.iter().filter(|other| *other != end).cloned().collect();
        let mut allowed = BTreeSet::new();
        // A question is asked of one type of objects at a time, since not each has the permission.
        for (kind, ids) in by_kind(&others) {
            let ends = ids.into_iter().map(|id| End::new(kind, id)).collect();
            allowed.extend(self.allowed(tx, &cascade.permission, ends).await?);
        }
        match others.difference(&allowed).next() {
            None => Ok(()),
            Some(other) if self.may_view(tx, other).await? => {
                Err(LinkError::Denied { permission: cascade.permission.clone(), end: other.clone() })
            }
            Some(_) => Err(LinkError::CannotCascade { end: end.clone() }),
        }
    }

    async fn nothing_holds(
        &self,
        tx: &mut TenantTx,
        end: &End,
        rules: &Rules,
        gone: &BTreeSet<End>,
        links: &[StoredLink],
    ) -> Result<(), LinkError> {
        let holding: Vec<&StoredLink> = links.iter().filter(|link| rules.holds(link, gone)).collect();
        if holding.is_empty() {
            return Ok(());
        }
        let staying = holding.iter().flat_map(|link| [&link.source, &link.target]);
        let staying = staying.filter(|other| !gone.contains(*other)).cloned().collect();
        let by = self.allowed(tx, "view", staying).await?.into_iter().collect();
        Err(LinkError::Blocked { end: end.clone(), links: holding.len(), by })
    }

    async fn remove_through_resolver(
        &self,
        tx: &mut TenantTx,
        ends: &BTreeSet<End>,
    ) -> Result<(), LinkError> {
        for (kind, ids) in by_kind(ends) {
            let removed = self.resolver.remove(tx, kind, &ids).await?;
            if removed < ids.len() {
                return Err(LinkError::NotRemoved { kind: kind.to_owned(), left: ids.len() - removed });
            }
        }
        Ok(())
    }

    async fn tell_removed(&self, tx: &mut TenantTx, end: &End, removal: &Removal) -> Result<(), LinkError> {
        let with = |other: &End| json!({"removed": other, "with": end});
        let outbox: Vec<_> =
            removal.entities.iter().map(|other| OutboxEvent::new("entity.removed", with(other))).collect();
        tx.publish(&outbox).await?;
        let event = |other: &End| Event::new("entity.removed").target(other).target(end).after(with(other));
        let events: Vec<Event> = removal.entities.iter().map(event).collect();
        self.audit.record_many(tx, &events).await?;
        Ok(())
    }
}

fn removal(end: &End, mut gone: BTreeSet<End>, links: &[StoredLink]) -> Removal {
    gone.remove(end);
    Removal { entities: gone, links: links.iter().map(|link| link.id).collect() }
}

/// The entity, and all that goes with it.
async fn gone(
    tx: &mut TenantTx,
    end: &End,
    rules: &Rules,
    cascade: &Cascade,
) -> Result<BTreeSet<End>, LinkError> {
    // The entity itself, and one more that tells that there are more.
    let limit = i64::try_from(cascade.most).unwrap_or(i64::MAX).saturating_add(2);
    let rows: Vec<(String, Uuid)> = sqlx::query_as(GONE)
        .bind(&end.kind)
        .bind(end.id)
        .bind(&rules.source_cascades)
        .bind(&rules.target_cascades)
        .bind(limit)
        .fetch_all(&mut **tx)
        .await?;
    if rows.len() > cascade.most.saturating_add(1) {
        return Err(LinkError::TooMany { what: "others are removed", most: cascade.most });
    }
    Ok(rows.into_iter().map(|(kind, id)| End::new(kind, id)).collect())
}

// UNION drops what has been reached before, so a cycle ends.
const GONE: &str = "
  with recursive gone (kind, id) as (
    select $1::text, $2::uuid
    union
    select o.kind, o.id from gone g cross join lateral (
      select l.target_type::text, l.target_id from entity_links l
       where l.source_type = g.kind and l.source_id = g.id and l.relationship = any($3)
      union all
      select l.source_type::text, l.source_id from entity_links l
       where l.target_type = g.kind and l.target_id = g.id and l.relationship = any($4)) as o (kind, id))
  select kind, id from gone limit $5";

/// Every link of these entities.
async fn touching(tx: &mut TenantTx, ends: &BTreeSet<End>) -> Result<Vec<StoredLink>, LinkError> {
    let (kinds, ids) = columns(ends);
    let sql = format!(
        "select {COLUMNS} from entity_links where id in (
           select l.id from unnest($1::text[], $2::uuid[]) as g (kind, id)
             join entity_links l on l.source_type = g.kind and l.source_id = g.id
           union
           select l.id from unnest($1::text[], $2::uuid[]) as g (kind, id)
             join entity_links l on l.target_type = g.kind and l.target_id = g.id)
         order by id"
    );
    Ok(sqlx::query_as(AssertSqlSafe(sql)).bind(kinds).bind(ids).fetch_all(&mut **tx).await?)
}
