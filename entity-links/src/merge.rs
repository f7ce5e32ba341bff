//! One entity takes over the links of another.
//!
//! INVARIANT: the rules of each type hold afterwards as before: no link twice, no end with too many, no cycle. Two
//! links that become one are one, and the survivor's own stays.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use formwork_audit::Event;
use formwork_tenancy::{OutboxEvent, TenantTx};
use serde_json::json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{
    End, Link, LinkError, LinkType, Links, StoredLink, cycle,
    link::COLUMNS,
    links::{MAX_BATCH, bounded, columns},
    lock,
    make::stored_keys,
    unlink::delete,
};

/// What a merge has done with the links of the entity that goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged {
    /// Those that are the other's now.
    pub moved: Vec<Uuid>,
    /// Those that the other had already, or that would have joined it to itself: they are gone.
    pub dropped: Vec<Uuid>,
}

impl Links {
    /// Gives every link of `from` to `into`, at most 10,000; `from` is left without one, to be removed by the caller.
    /// The actor must hold `link` on both.
    ///
    /// # How are two contacts made one?
    ///
    /// ```no_run
    /// # use formwork_entity_links::Links;
    /// # async fn example(links: Links, tx: &mut formwork_tenancy::TenantTx, twin: uuid::Uuid, contact: uuid::Uuid)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// let merged = links.merge(tx, &("contact", twin).into(), &("contact", contact).into()).await?;
    /// println!("{} links moved, {} were there already", merged.moved.len(), merged.dropped.len());
    /// sqlx::query("delete from contacts where id = $1").bind(twin).execute(&mut **tx).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LinkError::Full`] when `into` would have more links of a type than it may, [`LinkError::Cycle`] when a type
    /// without cycles would get one: take links away first. Then the transaction must be dropped.
    pub async fn merge(&self, tx: &mut TenantTx, from: &End, into: &End) -> Result<Merged, LinkError> {
        if from.kind != into.kind {
            return Err(LinkError::DifferentKinds { from: from.clone(), into: into.clone() });
        }
        if from == into {
            return Err(LinkError::Itself { end: from.clone() });
        }
        let standings = self.standings(tx, BTreeSet::from([from.clone(), into.clone()])).await?;
        for (end, standing) in &standings {
            standing.grant(end)?;
        }
        let links = links_of(tx, from).await?;
        bounded("links are merged", links.len())?;
        let names: BTreeSet<&str> = links.iter().map(|link| link.relationship.as_str()).collect();
        let rules = self.rules(tx, &names).await?;
        self.hold_rules(tx, into, &rules).await?;
        let merged = repoint(tx, from, into, links, &rules).await?;
        no_cycle(tx, into, &rules).await?;
        self.tell_merged(tx, from, into, &merged).await?;
        Ok(merged)
    }

    /// The locks that whoever makes such a link of `into` takes.
    async fn hold_rules(
        &self,
        tx: &mut TenantTx,
        into: &End,
        rules: &HashMap<String, Arc<LinkType>>,
    ) -> Result<(), LinkError> {
        let locks = rules.values().flat_map(|by| {
            let name = by.name();
            let sides = ["targets", "sources", "both"].map(|side| format!("limit/{name}/{side}/{into}"));
            let limited = by.target_limit().is_some() || by.source_limit().is_some();
            let limits = sides.into_iter().filter(move |_| limited);
            limits.chain(by.is_acyclic().then(|| cycle::name(name)))
        });
        lock::hold(tx, locks.collect()).await
    }

    async fn tell_merged(
        &self,
        tx: &mut TenantTx,
        from: &End,
        into: &End,
        merged: &Merged,
    ) -> Result<(), LinkError> {
        let fields = json!({"from": from, "into": into, "moved": merged.moved, "dropped": merged.dropped});
        tx.publish(&[OutboxEvent::new("entity.links_merged", fields.clone())]).await?;
        let event = Event::new("entity.links_merged").target(into).target(from).after(fields);
        self.audit.record(tx, event).await?;
        Ok(())
    }
}

async fn links_of(tx: &mut TenantTx, end: &End) -> Result<Vec<StoredLink>, LinkError> {
    let sql = format!(
        "select {COLUMNS} from entity_links
          where source_type = $1 and source_id = $2 or target_type = $1 and target_id = $2
          order by id limit $3 for update"
    );
    Ok(sqlx::query_as(AssertSqlSafe(sql))
        .bind(&end.kind)
        .bind(end.id)
        .bind(MAX_BATCH as i64 + 1)
        .fetch_all(&mut **tx)
        .await?)
}

async fn repoint(
    tx: &mut TenantTx,
    from: &End,
    into: &End,
    links: Vec<StoredLink>,
    rules: &HashMap<String, Arc<LinkType>>,
) -> Result<Merged, LinkError> {
    let instead = |end: End| if end == *from { into.clone() } else { end };
    let moved = links.into_iter().map(|link| {
        let mut new = Link::new(instead(link.source), link.relationship, instead(link.target));
        let by = rules.get(&new.relationship);
        if let Some(by) = by {
            new.put_in_order(by);
        }
        let itself = new.source == new.target && !by.is_some_and(|by| by.allows_self());
        (link.id, new, itself)
    });
    let moved: Vec<(Uuid, Link, bool)> = moved.collect();
    let there = stored_keys(tx, moved.iter().map(|(_, new, _)| new)).await?;
    // Both ends of one link may become the same as those of another.
    let mut keys = HashSet::new();
    let (moved, dropped): (Vec<_>, Vec<_>) = moved
        .into_iter()
        .partition(|(_, new, itself)| !itself && !there.contains(&new.key()) && keys.insert(new.key()));
    let ids = |links: &[(Uuid, Link, bool)]| links.iter().map(|(id, ..)| *id).collect::<Vec<_>>();
    let merged = Merged { moved: ids(&moved), dropped: ids(&dropped) };
    delete(tx, &merged.dropped).await?;
    let links = || moved.iter().map(|(_, new, _)| new);
    for by in rules.values() {
        has_room(tx, into, by, links().filter(|new| new.relationship == by.name())).await?;
    }
    point(tx, &merged.moved, links()).await?;
    Ok(merged)
}

async fn point<'a>(
    tx: &mut TenantTx,
    ids: &[Uuid],
    links: impl Iterator<Item = &'a Link> + Clone,
) -> Result<(), sqlx::Error> {
    let (source_types, source_ids) = columns(links.clone().map(|link| &link.source));
    let (target_types, target_ids) = columns(links.map(|link| &link.target));
    sqlx::query(
        "update entity_links l
            set source_type = n.source_type, source_id = n.source_id,
                target_type = n.target_type, target_id = n.target_id
           from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::uuid[])
                  as n (id, source_type, source_id, target_type, target_id)
          where l.id = n.id",
    )
    .bind(ids)
    .bind(source_types)
    .bind(source_ids)
    .bind(target_types)
    .bind(target_ids)
    .execute(&mut **tx)
    .await
    .map(drop)
}

async fn no_cycle(
    tx: &mut TenantTx,
    into: &End,
    rules: &HashMap<String, Arc<LinkType>>,
) -> Result<(), LinkError> {
    for by in rules.values().filter(|by| by.is_acyclic()) {
        if cycle::closes(tx, by, into).await? {
            let (from, to) = (into.clone(), into.clone());
            return Err(LinkError::Cycle { from, name: by.name().to_owned(), to });
        }
    }
    Ok(())
}

/// Is there room for `more` links beside those that the entity has? The locks are held; a limit of one is the
/// index's besides.
async fn has_room<'a>(
    tx: &mut TenantTx,
    end: &End,
    by: &LinkType,
    more: impl Iterator<Item = &'a Link>,
) -> Result<(), LinkError> {
    if by.target_limit().is_none() && by.source_limit().is_none() {
        return Ok(());
    }
    let (mut targets, mut sources): (i64, i64) = sqlx::query_as(
        "select (select count(*) from entity_links
                  where source_type = $1 and source_id = $2 and relationship = $3),
                (select count(*) from entity_links
                  where target_type = $1 and target_id = $2 and relationship = $3)",
    )
    .bind(&end.kind)
    .bind(end.id)
    .bind(by.name())
    .fetch_one(&mut **tx)
    .await?;
    for link in more {
        targets += i64::from(link.source == *end);
        sources += i64::from(link.target == *end);
    }
    let sides = match by.is_symmetric() {
        true => [(by.name(), targets + sources, by.target_limit()), (by.name(), 0, None)],
        false => [(by.name(), targets, by.target_limit()), (by.inverse(), sources, by.source_limit())],
    };
    let full = |(name, links, most): (&str, i64, Option<u32>)| {
        let most = most.filter(|most| links > i64::from(*most))?;
        Some(LinkError::Full { end: end.clone(), name: name.to_owned(), most })
    };
    sides.into_iter().find_map(full).map_or(Ok(()), Err)
}
