//! What became of an entity's links, from the audit trail.

use std::collections::BTreeSet;

use formwork_audit::{Filter, StoredEvent, Target};
use formwork_tenancy::{Cursor, TenantTx};

use crate::{End, LinkError, Links};

/// What this crate writes into the trail about two entities.
const ACTIONS: [&str; 4] = ["entity.linked", "entity.unlinked", "entity.links_merged", "entity.removed"];

/// Events, newest first, and where the next page begins.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    /// The events.
    pub events: Vec<StoredEvent>,
    /// None when there is no more.
    pub next: Option<Cursor>,
}

impl Links {
    /// A page of what became of the links of `end`, newest first; only events of which the actor may `view` every
    /// entity, so what concerns a removed one is not told. `limit` is bounded to 1..=200. The caller has asked about
    /// `end` itself.
    ///
    /// # Errors
    ///
    /// When a permission cannot be decided or the database fails.
    pub async fn history(
        &self,
        tx: &mut TenantTx,
        end: &End,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<HistoryPage, LinkError> {
        let limit = limit.clamp(1, 200);
        let filter = Filter { target: Some(Target::from(end)), ..Filter::default() };
        let (mut events, mut position) = (Vec::new(), after);
        loop {
            let page = self.audit.list(tx, &filter, position, 200).await?;
            events.extend(self.told(tx, page.events).await?);
            position = page.next;
            if position.is_none() || events.len() > limit {
                break;
            }
        }
        let more = events.len() > limit;
        events.truncate(limit);
        let next = events.last().filter(|_| more).map(|event| Cursor::after(event.id));
        Ok(HistoryPage { events, next })
    }

    async fn told(&self, tx: &mut TenantTx, events: Vec<StoredEvent>) -> Result<Vec<StoredEvent>, LinkError> {
        let ours = events.into_iter().filter(|event| ACTIONS.contains(&event.action.as_str()));
        // A target that is no entity of ours is nobody's to see.
        let read = |event: StoredEvent| {
            let ends: BTreeSet<End> = serde_json::from_value(event.targets.clone()).ok()?;
            Some((event, ends))
        };
        let ours: Vec<(StoredEvent, BTreeSet<End>)> = ours.filter_map(read).collect();
        let ends = ours.iter().flat_map(|(_, ends)| ends.iter().cloned()).collect();
        let seen = self.allowed(tx, "view", ends).await?;
        Ok(ours.into_iter().filter(|(_, ends)| ends.is_subset(&seen)).map(|(event, _)| event).collect())
    }
}
