//! What an entity is linked to, read from either end.
//!
//! INVARIANT: which links there are is read from one index a side; a row is fetched only for a link whose other end
//! the actor may see.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use formwork_tenancy::{Cursor, TenantTx};
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{End, LinkError, LinkType, Links, StoredLink, link::COLUMNS};

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

/// What becomes of a link whose other end the actor may not see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hidden {
    /// It is left out, and does not count.
    #[default]
    Omit,
    /// A [`Stub`] says that there is one, and how it is called.
    Stub,
}

/// Which links of an entity: all of them, unless something is said.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    kind: Option<String>,
    relationship: Option<String>,
    stored_as: Option<String>,
    direction: Option<Direction>,
    with_symmetric: bool,
    other: Option<End>,
    hidden: Hidden,
}

impl Selection {
    /// All of them; those with a hidden end are left out.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whose other end is of this kind.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Of this link type, as it is read from the entity: `blocks`, or `blocked_by`.
    #[must_use]
    pub fn relationship(mut self, name: impl Into<String>) -> Self {
        self.relationship = Some(name.into());
        self
    }

    /// Of this link type, by its forward name, from whichever end it is read.
    #[must_use]
    pub fn stored_as(mut self, name: impl Into<String>) -> Self {
        self.stored_as = Some(name.into());
        self
    }

    /// Only those that are read from this end.
    #[must_use]
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = Some(direction);
        self
    }

    /// Besides those of the [`direction`](Self::direction), all of symmetric types: which of their ends is stored as the
    /// source says nothing.
    #[must_use]
    pub fn with_symmetric(mut self) -> Self {
        self.with_symmetric = true;
        self
    }

    /// Only those to this one.
    #[must_use]
    pub fn other(mut self, end: impl Into<End>) -> Self {
        self.other = Some(end.into());
        self
    }

    /// What becomes of hidden ones.
    #[must_use]
    pub fn hidden(mut self, hidden: Hidden) -> Self {
        self.hidden = hidden;
        self
    }
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

/// A link whose other end the actor may not see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stub {
    /// The link's identity.
    pub id: Uuid,
    /// From which end it is read.
    pub direction: Direction,
    /// Its name as read from this end.
    pub name: String,
}

/// Links, in the order in which they were made, and where the next page begins.
#[derive(Debug, Clone)]
pub struct Page {
    /// The links.
    pub links: Vec<Linked>,
    /// Those with a hidden end, when they were asked for; they take a place of the page.
    pub stubs: Vec<Stub>,
    /// None when there is no more.
    pub next: Option<Cursor>,
}

/// How many links of one name lead to entities of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The links' name as read from this end.
    pub name: String,
    /// Kind of the other ends.
    pub kind: String,
    /// How many.
    pub links: i64,
}

/// What an index knows of a link.
struct Neighbour {
    id: Uuid,
    relationship: String,
    other: End,
    direction: Direction,
}

impl FromRow<'_, PgRow> for Neighbour {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let forward: bool = row.try_get("forward")?;
        Ok(Self {
            id: row.try_get("id")?,
            relationship: row.try_get("relationship")?,
            other: End { kind: row.try_get("kind")?, id: row.try_get("other")? },
            direction: if forward { Direction::Forward } else { Direction::Inverse },
        })
    }
}

impl Links {
    /// A page of what `end` is linked to, from both sides, and only what the actor may `view`. `limit` is bounded to
    /// 1..=200. The caller has asked about `end` itself.
    ///
    /// # What blocks this task?
    ///
    /// ```no_run
    /// # use formwork_entity_links::{Hidden, Links, Selection};
    /// # async fn example(links: Links, tx: &mut formwork_tenancy::TenantTx, task: uuid::Uuid)
    /// # -> Result<(), formwork_entity_links::LinkError> {
    /// let blockers = Selection::new().relationship("blocked_by").hidden(Hidden::Stub);
    /// let page = links.linked(tx, &("task", task).into(), &blockers, None, 50).await?;
    /// println!("{} tasks, and {} that you may not see", page.links.len(), page.stubs.len());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LinkError::UnknownType`] for a name that no type has; when a permission cannot be decided or the database
    /// fails.
    pub async fn linked(
        &self,
        tx: &mut TenantTx,
        end: &End,
        selection: &Selection,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, LinkError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let side = self.side(tx, selection).await?;
        let mut position = after.map(Cursor::row).unwrap_or_default();
        let mut found: Vec<(Neighbour, bool)> = Vec::new();
        // Hidden ones may not count, so more is read until the page and one more are full.
        loop {
            let rows = side.fetch(tx, end, position, limit + 1).await?;
            position = rows.last().map_or(position, |row| row.id);
            let complete = rows.len() <= limit;
            let others = rows.iter().map(|row| row.other.clone()).collect();
            let seen = self.allowed(tx, "view", others).await?;
            let rows =
                rows.into_iter().map(|row| (seen.contains(&row.other), row)).map(|(seen, row)| (row, seen));
            found.extend(rows.filter(|(_, seen)| *seen || selection.hidden == Hidden::Stub));
            if complete || found.len() > limit {
                break;
            }
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(last, _)| Cursor::after(last.id));
        let (links, stubs) = self.read(tx, found).await?;
        Ok(Page { links, stubs, next })
    }

    /// How many links an entity has, by their name and the kind of the other end, without loading one. Those with
    /// a hidden end count: show it to whoever may know.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn counts(&self, tx: &mut TenantTx, end: &End) -> Result<Vec<Count>, LinkError> {
        let rows: Vec<(String, String, bool, i64)> =
            sqlx::query_as(COUNTS).bind(&end.kind).bind(end.id).fetch_all(&mut **tx).await?;
        let types =
            self.readings(tx, &rows.iter().map(|(relationship, ..)| relationship.as_str()).collect()).await?;
        let mut counts: Vec<Count> = Vec::new();
        for (relationship, kind, forward, links) in rows {
            let direction = if forward { Direction::Forward } else { Direction::Inverse };
            let name = name(&types, &relationship, direction);
            // A symmetric type is one from both sides.
            match counts.iter_mut().find(|count| count.name == name && count.kind == kind) {
                Some(count) => count.links += links,
                None => counts.push(Count { name, kind, links }),
            }
        }
        counts.sort_by(|a, b| (&a.name, &a.kind).cmp(&(&b.name, &b.kind)));
        Ok(counts)
    }

    /// A selection, with its name turned into a type and a direction.
    async fn side(&self, tx: &mut TenantTx, selection: &Selection) -> Result<Side, LinkError> {
        let Selection { kind, relationship, stored_as, direction, with_symmetric, other, .. } =
            selection.clone();
        let kind = other.as_ref().map(|other| other.kind.clone()).or(kind);
        let other = other.map(|other| other.id);
        let by_stored_name = relationship.is_none();
        let name = relationship.or(stored_as);
        let is_own = name.as_ref().is_none_or(|name| self.types.get(name).is_some());
        let types = match is_own && !with_symmetric {
            true => Arc::clone(&self.types),
            false => Arc::new(self.types_in(tx).await?),
        };
        let symmetric: Vec<String> = types
            .iter()
            .filter(|known| with_symmetric && known.is_symmetric())
            .map(|known| known.name().to_owned())
            .collect();
        let Some(name) = name else {
            return Ok(Side { kind, other, relationship: None, direction, symmetric });
        };
        if by_stored_name {
            return match types.get(&name) {
                Some(_) => Ok(Side { kind, other, relationship: Some(name), direction, symmetric }),
                None => Err(LinkError::UnknownType { name, known: types.known() }),
            };
        }
        let found = types.iter().find(|known| known.name() == name || known.inverse() == name);
        let Some(found) = found else {
            return Err(LinkError::UnknownType { name, known: types.known() });
        };
        let named = match (found.is_symmetric(), found.name() == name) {
            (true, _) => direction,
            (false, true) => Some(Direction::Forward),
            (false, false) => Some(Direction::Inverse),
        };
        let relationship = Some(found.name().to_owned());
        Ok(Side { kind, other, relationship, direction: named, symmetric })
    }

    async fn read(
        &self,
        tx: &mut TenantTx,
        found: Vec<(Neighbour, bool)>,
    ) -> Result<(Vec<Linked>, Vec<Stub>), LinkError> {
        let names: BTreeSet<&str> = found.iter().map(|(row, _)| row.relationship.as_str()).collect();
        let types = self.readings(tx, &names).await?;
        let seen: Vec<Uuid> = found.iter().filter(|(_, seen)| *seen).map(|(row, _)| row.id).collect();
        let mut stored = load(tx, &seen).await?;
        let (mut links, mut stubs) = (Vec::new(), Vec::new());
        for (Neighbour { id, relationship, other, direction }, seen) in found {
            let name = name(&types, &relationship, direction);
            if !seen {
                stubs.push(Stub { id, direction, name });
            } else if let Some(link) = stored.remove(&id) {
                links.push(Linked { link, direction, name, other });
            }
        }
        Ok((links, stubs))
    }
}

fn name(types: &HashMap<String, Arc<LinkType>>, relationship: &str, direction: Direction) -> String {
    let inverse = types.get(relationship).filter(|_| direction == Direction::Inverse);
    inverse.map_or(relationship, |found| found.inverse()).to_owned()
}

async fn load(tx: &mut TenantTx, ids: &[Uuid]) -> Result<HashMap<Uuid, StoredLink>, LinkError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!("select {COLUMNS} from entity_links where id = any($1)");
    let rows: Vec<StoredLink> = sqlx::query_as(AssertSqlSafe(sql)).bind(ids).fetch_all(&mut **tx).await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

struct Side {
    kind: Option<String>,
    other: Option<Uuid>,
    relationship: Option<String>,
    direction: Option<Direction>,
    /// Types that are read from the other side as well.
    symmetric: Vec<String>,
}

impl Side {
    async fn fetch(
        &self,
        tx: &mut TenantTx,
        end: &End,
        after: Uuid,
        limit: usize,
    ) -> Result<Vec<Neighbour>, LinkError> {
        let also = !self.symmetric.is_empty();
        let sql = match self.direction {
            Some(Direction::Forward) if !also => FORWARD.to_owned(),
            Some(Direction::Inverse) if !also => INVERSE.to_owned(),
            // Each side has an index of its own, so the two are asked apart and merged.
            _ => format!("({FORWARD}) union all ({INVERSE}) order by id limit $6"),
        };
        let only = |side| (self.direction.is_some_and(|asked| asked != side)).then_some(&self.symmetric);
        Ok(sqlx::query_as(AssertSqlSafe(sql))
            .bind(&end.kind)
            .bind(end.id)
            .bind(&self.kind)
            .bind(&self.relationship)
            .bind(after)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(self.other)
            .bind(only(Direction::Forward))
            .bind(only(Direction::Inverse))
            .fetch_all(&mut **tx)
            .await?)
    }
}

// Each takes all values, also the one that only the other side looks at.
const FORWARD: &str = "
  select id, relationship, target_type as kind, target_id as other, true as forward from entity_links
   where source_type = $1 and source_id = $2 and id > $5
     and ($3::text is null or target_type = $3) and ($4::text is null or relationship = $4)
     and ($7::uuid is null or target_id = $7)
     and ($8::text[] is null or relationship = any($8)) and ($9::text[] is null or true)
   order by id limit $6";

// A link of an entity to itself is read forward, once.
const INVERSE: &str = "
  select id, relationship, source_type as kind, source_id as other, false as forward from entity_links
   where target_type = $1 and target_id = $2 and id > $5
     and ($3::text is null or source_type = $3) and ($4::text is null or relationship = $4)
     and ($7::uuid is null or source_id = $7)
     and ($9::text[] is null or relationship = any($9)) and ($8::text[] is null or true)
     and (source_type <> $1 or source_id <> $2)
   order by id limit $6";

const COUNTS: &str = "
  select relationship, target_type, true, count(*) from entity_links
   where source_type = $1 and source_id = $2 group by relationship, target_type
  union all
  select relationship, source_type, false, count(*) from entity_links
   where target_type = $1 and target_id = $2 and (source_type <> $1 or source_id <> $2)
   group by relationship, source_type";
