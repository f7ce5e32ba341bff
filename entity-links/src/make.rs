//! Making links: both ends exist, the actor may link both, the type's rules hold, insert, event, audit.
//!
//! One link is a batch of one. INVARIANT: a batch takes each step for all of its links together, in a number of
//! statements that does not depend on how many there are, and a link that is refused leaves the others alone.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use formwork_authz::Grant;
use formwork_tenancy::TenantTx;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use crate::{
    End, Link, LinkError, LinkType, Links, StoredLink, cycle, limit, link::COLUMNS, links::bounded, lock,
};

/// A link that nothing has refused yet.
pub(crate) struct Candidate {
    pub(crate) link: Link,
    pub(crate) by: Arc<LinkType>,
    grant: Option<Grant>,
}

pub(crate) type Item = Result<Candidate, LinkError>;
type Key = (End, String, End);

/// Takes every candidate through a step, which may refuse it.
pub(crate) fn sift(items: &mut [Item], mut step: impl FnMut(&mut Candidate) -> Result<(), LinkError>) {
    for item in items {
        if let Ok(candidate) = item
            && let Err(error) = step(candidate)
        {
            *item = Err(error);
        }
    }
}

impl Links {
    /// Joins two entities.
    ///
    /// # How are two entities joined?
    ///
    /// ```no_run
    /// # use formwork_entity_links::{Link, Links};
    /// # async fn example(links: Links, tx: &mut formwork_tenancy::TenantTx, rfi: uuid::Uuid, drawing: uuid::Uuid)
    /// # -> Result<(), formwork_entity_links::LinkError> {
    /// let link = Link::new(("rfi", rfi), "answers", ("drawing", drawing));
    /// let stored = links.link(tx, link.metadata(serde_json::json!({"sheet": "S-201"}))).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LinkError`]; after one the transaction must be dropped.
    pub async fn link(&self, tx: &mut TenantTx, link: Link) -> Result<StoredLink, LinkError> {
        let mut made = self.link_many(tx, vec![link]).await?;
        made.pop().unwrap_or(Err(LinkError::NoSuchLink))
    }

    /// Joins many, at most 10,000; the answers are in the order of the links. What is refused is told in its place,
    /// the others are stored.
    ///
    /// # How are many links made at once?
    ///
    /// ```no_run
    /// # use formwork_entity_links::{Link, Links};
    /// # async fn example(links: Links, tx: &mut formwork_tenancy::TenantTx, batch: Vec<Link>)
    /// # -> Result<(), formwork_entity_links::LinkError> {
    /// for (row, made) in links.link_many(tx, batch).await?.into_iter().enumerate() {
    ///     match made {
    ///         Ok(stored) => println!("row {row}: {}", stored.id),
    ///         Err(error) => println!("row {row}: {error}"),
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LinkError`] when the batch as a whole failed: then the transaction must be dropped.
    pub async fn link_many(
        &self,
        tx: &mut TenantTx,
        links: Vec<Link>,
    ) -> Result<Vec<Result<StoredLink, LinkError>>, LinkError> {
        bounded("links are made", links.len())?;
        let mut items = self.admit(tx, links).await?;
        self.permit(tx, &mut items).await?;
        lock::hold(tx, guards(&items)).await?;
        limit::refuse_full(tx, &mut items).await?;
        cycle::refuse_cycles(tx, &mut items).await?;
        let made = store(tx, items).await?;
        let told: Vec<_> = made.iter().flatten().map(|(link, grant)| (link, grant.as_ref())).collect();
        self.announce(tx, "entity.linked", &told).await?;
        Ok(made.into_iter().map(|item| item.map(|(link, _)| link)).collect())
    }

    /// Each with its type, as it is to be stored.
    async fn admit(&self, tx: &mut TenantTx, links: Vec<Link>) -> Result<Vec<Item>, LinkError> {
        let names: BTreeSet<&str> = links.iter().map(|link| link.relationship.as_str()).collect();
        let rules = self.rules(tx, &names).await?;
        let admit = |link: Link| {
            let by = rules.get(&link.relationship).map(Arc::clone).ok_or_else(|| LinkError::UnknownType {
                name: link.relationship.clone(),
                known: self.types.known(),
            })?;
            Ok(Candidate { link: link.admitted(&by)?, by, grant: None })
        };
        Ok(links.into_iter().map(admit).collect())
    }

    /// The source is answered for before the target: an answer about the one must not tell whether the other, which
    /// the actor may not see, exists.
    async fn permit(&self, tx: &mut TenantTx, items: &mut [Item]) -> Result<(), LinkError> {
        let ends =
            items.iter().flatten().flat_map(|item| [item.link.source.clone(), item.link.target.clone()]);
        let standings = self.standings(tx, ends.collect()).await?;
        let grant = |end: &End| match standings.get(end) {
            Some(standing) => standing.grant(end).cloned(),
            None => Err(LinkError::NotFound { end: end.clone() }),
        };
        sift(items, |candidate| {
            let from = grant(&candidate.link.source)?;
            grant(&candidate.link.target)?;
            candidate.grant = Some(from);
            Ok(())
        });
        Ok(())
    }
}

fn guards(items: &[Item]) -> Vec<String> {
    let of =
        |candidate: &Candidate| limit::guards(candidate).chain(cycle::guard(candidate)).collect::<Vec<_>>();
    items.iter().flatten().flat_map(of).collect()
}

/// Inserts what is left, in one statement.
async fn store(
    tx: &mut TenantTx,
    mut items: Vec<Item>,
) -> Result<Vec<Result<(StoredLink, Option<Grant>), LinkError>>, LinkError> {
    let mut inserted = insert(tx, items.iter().flatten().collect()).await?;
    let missing = items.iter().flatten().filter(|item| !inserted.contains_key(&item.link.key()));
    let missing: Vec<&Candidate> = missing.collect();
    let there = stored_keys(tx, missing.iter().map(|item| &item.link)).await?;
    let full = limit::full_of_one(tx, &missing, &there).await?;
    // Of two of one key in a batch the first is the one that was made.
    let mut answered = HashSet::new();
    sift(&mut items, |candidate| {
        let key = candidate.link.key();
        match full.get(&key) {
            Some((end, name)) => Err(LinkError::Full { end: end.clone(), name: name.clone(), most: 1 }),
            None if inserted.contains_key(&key) && answered.insert(key) => Ok(()),
            None => Err(exists(&candidate.link)),
        }
    });
    let stored = |candidate: Candidate| match inserted.remove(&candidate.link.key()) {
        Some(stored) => Ok((stored, candidate.grant)),
        None => Err(exists(&candidate.link)),
    };
    let mut stored = stored;
    Ok(items.into_iter().map(|item| item.and_then(&mut stored)).collect())
}

pub(crate) fn exists(link: &Link) -> LinkError {
    LinkError::Exists { from: link.source.clone(), name: link.relationship.clone(), to: link.target.clone() }
}

async fn insert(
    tx: &mut TenantTx,
    mut candidates: Vec<&Candidate>,
) -> Result<HashMap<Key, StoredLink>, LinkError> {
    if candidates.is_empty() {
        return Ok(HashMap::new());
    }
    // In one order everywhere, so that two batches wait for each other and not both ways.
    candidates.sort_by_cached_key(|candidate| candidate.link.key());
    let actor = tx.session().actor().to_string();
    let links = || candidates.iter().map(|candidate| &candidate.link);
    let (source_types, source_ids): (Vec<_>, Vec<_>) =
        links().map(|link| (link.source.kind.as_str(), link.source.id)).unzip();
    let (target_types, target_ids): (Vec<_>, Vec<_>) =
        links().map(|link| (link.target.kind.as_str(), link.target.id)).unzip();
    let sql = format!(
        "insert into entity_links (id, source_type, source_id, relationship, target_type, target_id, metadata,
                                   one_target, one_source, created_by)
         select n.*, $10
           from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::uuid[], $7::jsonb[],
                       $8::boolean[], $9::boolean[]) as n
         on conflict do nothing returning {COLUMNS}"
    );
    let rows: Vec<StoredLink> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(links().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
        .bind(source_types)
        .bind(source_ids)
        .bind(links().map(|link| link.relationship.as_str()).collect::<Vec<_>>())
        .bind(target_types)
        .bind(target_ids)
        .bind(links().map(|link| &link.metadata).collect::<Vec<_>>())
        .bind(candidates.iter().map(|candidate| limit::one_target(&candidate.by)).collect::<Vec<_>>())
        .bind(candidates.iter().map(|candidate| limit::one_source(&candidate.by)).collect::<Vec<_>>())
        .bind(actor)
        .fetch_all(&mut **tx)
        .await?;
    let keyed =
        rows.into_iter().map(|row| ((row.source.clone(), row.relationship.clone(), row.target.clone()), row));
    Ok(keyed.collect())
}

/// Those of the links that are stored.
pub(crate) async fn stored_keys<'a>(
    tx: &mut TenantTx,
    links: impl Iterator<Item = &'a Link> + Clone,
) -> Result<HashSet<Key>, LinkError> {
    if links.clone().next().is_none() {
        return Ok(HashSet::new());
    }
    let (source_types, source_ids) = crate::links::columns(links.clone().map(|link| &link.source));
    let (target_types, target_ids) = crate::links::columns(links.clone().map(|link| &link.target));
    let rows = sqlx::query(
        "select l.source_type, l.source_id, l.relationship, l.target_type, l.target_id
           from unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::uuid[])
                  as k (source_type, source_id, relationship, target_type, target_id)
           join entity_links l on l.source_type = k.source_type and l.source_id = k.source_id
            and l.relationship = k.relationship and l.target_type = k.target_type and l.target_id = k.target_id",
    )
    .bind(source_types)
    .bind(source_ids)
    .bind(links.map(|link| link.relationship.as_str()).collect::<Vec<_>>())
    .bind(target_types)
    .bind(target_ids)
    .fetch_all(&mut **tx)
    .await?;
    let key = |row: &sqlx::postgres::PgRow| -> Result<Key, sqlx::Error> {
        let source = End { kind: row.try_get(0)?, id: row.try_get(1)? };
        Ok((source, row.try_get(2)?, End { kind: row.try_get(3)?, id: row.try_get(4)? }))
    };
    Ok(rows.iter().map(key).collect::<Result<_, _>>()?)
}
