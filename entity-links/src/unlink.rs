//! Taking links away: whoever may link one of its ends may.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use formwork_authz::Grant;
use formwork_tenancy::TenantTx;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{
    End, LinkError, Links, StoredLink,
    link::COLUMNS,
    links::{Standing, bounded},
};

impl Links {
    /// Takes the link away.
    ///
    /// # Errors
    ///
    /// [`LinkError::NoSuchLink`] when there is none, or the actor may not see both its ends;
    /// [`LinkError::Denied`] when they may link neither.
    pub async fn unlink(&self, tx: &mut TenantTx, id: Uuid) -> Result<StoredLink, LinkError> {
        let mut taken = self.unlink_many(tx, &[id]).await?;
        taken.pop().unwrap_or(Err(LinkError::NoSuchLink))
    }

    /// Takes many away, at most 10,000; the answers are in the order of the ids. What is refused is told in its
    /// place, the others are gone.
    ///
    /// # Errors
    ///
    /// [`LinkError`] when the batch as a whole failed: then the transaction must be dropped.
    pub async fn unlink_many(
        &self,
        tx: &mut TenantTx,
        ids: &[Uuid],
    ) -> Result<Vec<Result<StoredLink, LinkError>>, LinkError> {
        bounded("links are taken away", ids.len())?;
        let mut stored = held(tx, ids).await?;
        let standings = self.standings_of(tx, stored.values()).await?;
        // Of one id that is given twice the first takes the link.
        let taken: Vec<Result<(StoredLink, Grant), LinkError>> = ids
            .iter()
            .map(|id| {
                let link = stored.remove(id).ok_or(LinkError::NoSuchLink)?;
                let grant = may_unlink(&standings, &link)?.clone();
                Ok((link, grant))
            })
            .collect();
        let gone: Vec<Uuid> = taken.iter().flatten().map(|(link, _)| link.id).collect();
        delete(tx, &gone).await?;
        let told: Vec<_> = taken.iter().flatten().map(|(link, grant)| (link, Some(grant))).collect();
        self.announce(tx, "entity.unlinked", &told).await?;
        Ok(taken.into_iter().map(|item| item.map(|(link, _)| link)).collect())
    }

    /// An end of a stored link need not exist any more.
    async fn standings_of(
        &self,
        tx: &mut TenantTx,
        links: impl Iterator<Item = &StoredLink>,
    ) -> Result<BTreeMap<End, Standing>, LinkError> {
        let ends: BTreeSet<End> = links.flat_map(|link| [link.source.clone(), link.target.clone()]).collect();
        let mut standings = BTreeMap::new();
        for end in ends {
            let standing = self.standing(tx, &end).await?;
            standings.insert(end, standing);
        }
        Ok(standings)
    }
}

fn may_unlink<'a>(standings: &'a BTreeMap<End, Standing>, link: &StoredLink) -> Result<&'a Grant, LinkError> {
    let standing = |end| standings.get(end).unwrap_or(&Standing::Unknown);
    match (standing(&link.source), standing(&link.target)) {
        (Standing::Unknown, _) | (_, Standing::Unknown) => Err(LinkError::NoSuchLink),
        (Standing::Linkable(grant), _) => Ok(grant),
        (_, target) => target.grant(&link.target),
    }
}

/// The links, locked in the order of their ids.
async fn held(tx: &mut TenantTx, ids: &[Uuid]) -> Result<HashMap<Uuid, StoredLink>, LinkError> {
    let sql = format!("select {COLUMNS} from entity_links where id = any($1) order by id for update");
    let links: Vec<StoredLink> = sqlx::query_as(AssertSqlSafe(sql)).bind(ids).fetch_all(&mut **tx).await?;
    Ok(links.into_iter().map(|link| (link.id, link)).collect())
}

pub(crate) async fn delete(tx: &mut TenantTx, ids: &[Uuid]) -> Result<(), LinkError> {
    if !ids.is_empty() {
        sqlx::query("delete from entity_links where id = any($1)").bind(ids).execute(&mut **tx).await?;
    }
    Ok(())
}
