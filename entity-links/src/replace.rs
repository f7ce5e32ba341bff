//! Saying what one entity is to be linked to, all at once.

use std::collections::BTreeSet;

use formwork_tenancy::TenantTx;
use uuid::Uuid;

use crate::{End, Link, LinkError, Links, Selection, StoredLink, links::bounded, lock};

/// What a replacement has changed.
#[derive(Debug, Clone)]
pub struct Replaced {
    /// The links that were made.
    pub linked: Vec<StoredLink>,
    /// The links that were taken away.
    pub unlinked: Vec<StoredLink>,
    /// How many stayed as they were.
    pub kept: usize,
}

impl Links {
    /// Links `source` by `relationship` to these targets, each once, and to no other that the actor may see: what is
    /// hidden from them stays. Links that are there already stay as they are, metadata too. Two replacements at
    /// once follow one another.
    ///
    /// # Errors
    ///
    /// [`LinkError`], of the first target that is refused; after one the transaction must be dropped.
    pub async fn replace(
        &self,
        tx: &mut TenantTx,
        source: &End,
        relationship: &str,
        targets: Vec<End>,
    ) -> Result<Replaced, LinkError> {
        bounded("targets are set", targets.len())?;
        lock::hold(tx, vec![format!("replace/{relationship}/{source}")]).await?;
        let standings = self.standings(tx, BTreeSet::from([source.clone()])).await?;
        for (end, standing) in &standings {
            standing.grant(end)?;
        }
        let wanted: BTreeSet<End> = targets.into_iter().collect();
        let now = self.all_linked(tx, source, &Selection::new().relationship(relationship)).await?;
        let (kept, gone): (Vec<_>, Vec<_>) = now.into_iter().partition(|(other, _)| wanted.contains(other));
        let gone: Vec<Uuid> = gone.into_iter().map(|(_, id)| id).collect();
        let there: BTreeSet<&End> = kept.iter().map(|(other, _)| other).collect();
        let unlinked = self.unlink_many(tx, &gone).await?.into_iter().collect::<Result<_, _>>()?;
        let new = wanted.iter().filter(|target| !there.contains(target));
        let new = new.map(|target| Link::new(source.clone(), relationship, target.clone())).collect();
        let linked = self.link_many(tx, new).await?.into_iter().collect::<Result<_, _>>()?;
        Ok(Replaced { linked, unlinked, kept: kept.len() })
    }

    /// Every other end that the actor may see, and the link's id.
    async fn all_linked(
        &self,
        tx: &mut TenantTx,
        end: &End,
        selection: &Selection,
    ) -> Result<Vec<(End, Uuid)>, LinkError> {
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let page = self.linked(tx, end, selection, after, usize::MAX).await?;
            all.extend(page.links.into_iter().map(|linked| (linked.other, linked.link.id)));
            bounded("links are replaced", all.len())?;
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }
}
