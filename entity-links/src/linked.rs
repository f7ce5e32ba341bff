//! What an entity is linked to, read from either end.

use formwork_authz::Object;
use formwork_tenancy::{Cursor, TenantTx};
use serde::Serialize;
use uuid::Uuid;

use crate::{End, LinkError, Links, StoredLink, links::COLUMNS};

/// The most links in one page.
const MAX_PAGE: usize = 200;

/// From which end a link is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From its source.
    Forward,
    /// From its target.
    Inverse,
}

/// A link, as read from the entity that was asked about.
#[derive(Debug, Clone, Serialize)]
pub struct Linked {
    /// The link.
    pub link: StoredLink,
    /// From which end it is read.
    pub direction: Direction,
    /// Its name as read from this end: `blocks`, or `blocked_by`.
    pub name: String,
    /// The other end.
    pub other: End,
}

/// Links, in the order in which they were made, and where the next page begins.
#[derive(Debug, Clone)]
pub struct Page {
    /// The links.
    pub links: Vec<Linked>,
    /// None when there is no more.
    pub next: Option<Cursor>,
}

impl Links {
    /// A page of what `end` is linked to, from both sides; only other ends of `kind` when one is given, and only
    /// those that the actor may `view`. `limit` is bounded to 1..=200. The caller has asked about `end` itself.
    ///
    /// # Errors
    ///
    /// When a permission cannot be decided or the database fails.
    pub async fn linked(
        &self,
        tx: &mut TenantTx,
        end: &End,
        kind: Option<&str>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, LinkError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut position = after.map(Cursor::row);
        let mut links = Vec::new();
        // Hidden ones do not count, so rows are read until the page and one more are full.
        loop {
            let rows = fetch(tx, end, kind, position, limit + 1).await?;
            position = rows.last().map(|row| row.id);
            let complete = rows.len() <= limit;
            let read = rows.into_iter().map(|link| self.read_from(end, link)).collect();
            links.extend(self.visible(tx, read).await?);
            if complete || links.len() > limit {
                break;
            }
        }
        let more = links.len() > limit;
        links.truncate(limit);
        let next = links.last().filter(|_| more).map(|last| Cursor::after(last.link.id));
        Ok(Page { links, next })
    }

    fn read_from(&self, end: &End, link: StoredLink) -> Linked {
        if link.source == *end {
            let (name, other) = (link.relationship.clone(), link.target.clone());
            return Linked { link, direction: Direction::Forward, name, other };
        }
        let inverse = self.types.get(&link.relationship).map(|found| found.inverse().to_owned());
        let name = inverse.unwrap_or_else(|| link.relationship.clone());
        let other = link.source.clone();
        Linked { link, direction: Direction::Inverse, name, other }
    }

    async fn visible(&self, tx: &mut TenantTx, links: Vec<Linked>) -> Result<Vec<Linked>, LinkError> {
        let actor = tx.session().actor().clone();
        let others: Vec<Object> = links.iter().map(|linked| linked.other.object()).collect();
        let decisions = self.authz.check_many(tx, &actor, "view", &others).await?;
        let pairs = links.into_iter().zip(decisions);
        Ok(pairs.filter(|(_, decision)| decision.is_allowed()).map(|(linked, _)| linked).collect())
    }
}

/// Each side has an index of its own, so the two are asked apart and merged.
async fn fetch(
    tx: &mut TenantTx,
    end: &End,
    kind: Option<&str>,
    after: Option<Uuid>,
    limit: usize,
) -> Result<Vec<StoredLink>, LinkError> {
    let sql = format!(
        "(select {COLUMNS} from entity_links
           where source_type = $1 and source_id = $2 and ($3::text is null or target_type = $3)
             and ($4::uuid is null or id > $4) order by id limit $5)
         union all
         (select {COLUMNS} from entity_links
           where target_type = $1 and target_id = $2 and ($3::text is null or source_type = $3)
             and ($4::uuid is null or id > $4) order by id limit $5)
         order by id limit $5"
    );
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(&end.kind)
        .bind(end.id)
        .bind(kind)
        .bind(after)
        .bind(limit as i64)
        .fetch_all(&mut **tx)
        .await?)
}
