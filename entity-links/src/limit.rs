//! How many links an end may have.
//!
//! A limit of one is a partial unique index, which holds whoever writes the row. A greater one, and any of a
//! symmetric type, is counted under a lock of the end and the type.

use std::collections::{HashMap, HashSet};

use formwork_tenancy::TenantTx;

use crate::{
    End, LinkError, LinkType,
    make::{Candidate, Item, exists, sift, stored_keys},
};

/// Which links of an end are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    /// Those that it is the source of: its targets.
    Targets,
    /// Those that it is the target of: its sources.
    Sources,
    /// All of a symmetric type.
    Both,
}

impl Side {
    fn as_str(self) -> &'static str {
        match self {
            Self::Targets => "targets",
            Self::Sources => "sources",
            Self::Both => "both",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Limit {
    end: End,
    relationship: String,
    side: Side,
    /// The type's name as read from the end.
    name: String,
    most: u32,
}

/// Does the database itself hold that a source has one target?
pub(crate) fn one_target(by: &LinkType) -> bool {
    !by.is_symmetric() && by.target_limit() == Some(1)
}

/// Does the database itself hold that a target has one source?
pub(crate) fn one_source(by: &LinkType) -> bool {
    !by.is_symmetric() && by.source_limit() == Some(1)
}

fn limits(candidate: &Candidate) -> Vec<Limit> {
    let Candidate { link, by, .. } = candidate;
    let sides = match by.is_symmetric() {
        true => {
            [(Side::Both, &link.source, by.target_limit()), (Side::Both, &link.target, by.target_limit())]
        }
        false => [
            (Side::Targets, &link.source, by.target_limit()),
            (Side::Sources, &link.target, by.source_limit()),
        ],
    };
    let limit = |(side, end, most): (Side, &End, Option<u32>)| {
        let name = if side == Side::Sources { by.inverse() } else { by.name() };
        let (relationship, name) = (link.relationship.clone(), name.to_owned());
        Some(Limit { end: end.clone(), relationship, side, name, most: most? })
    };
    sides.into_iter().filter_map(limit).collect()
}

/// Those that no index holds.
fn counted(candidate: &Candidate) -> Vec<Limit> {
    let mut limits = limits(candidate);
    limits.retain(|limit| limit.side == Side::Both || limit.most > 1);
    limits
}

/// The names of the locks under which a link is counted.
pub(crate) fn guards(candidate: &Candidate) -> impl Iterator<Item = String> + use<> {
    let name = |limit: Limit| format!("limit/{}/{}/{}", limit.relationship, limit.side.as_str(), limit.end);
    counted(candidate).into_iter().map(name)
}

/// Refuses the links for which an end has no room, the earlier ones of the batch counted in. The locks are held.
pub(crate) async fn refuse_full(tx: &mut TenantTx, items: &mut [Item]) -> Result<(), LinkError> {
    let limited = || items.iter().flatten().filter(|candidate| !counted(candidate).is_empty());
    let limits: HashSet<Limit> = limited().flat_map(counted).collect();
    if limits.is_empty() {
        return Ok(());
    }
    let mut there = stored_keys(tx, limited().map(|candidate| &candidate.link)).await?;
    let mut counts = count(tx, limits.into_iter().collect()).await?;
    sift(items, |candidate| {
        let limits = counted(candidate);
        if limits.is_empty() {
            return Ok(());
        }
        if there.contains(&candidate.link.key()) {
            return Err(exists(&candidate.link));
        }
        let links = |limit: &Limit| counts.get(limit).copied().unwrap_or_default();
        if let Some(Limit { end, name, most, .. }) =
            limits.iter().find(|limit| links(limit) >= i64::from(limit.most))
        {
            return Err(LinkError::Full { end: end.clone(), name: name.clone(), most: *most });
        }
        there.insert(candidate.link.key());
        for limit in limits {
            *counts.entry(limit).or_default() += 1;
        }
        Ok(())
    });
    Ok(())
}

/// Of the links that an index has refused, those whose end has its one link, with that end and the type's name.
pub(crate) async fn full_of_one(
    tx: &mut TenantTx,
    refused: &[&Candidate],
    there: &HashSet<(End, String, End)>,
) -> Result<HashMap<(End, String, End), (End, String)>, LinkError> {
    let new = || refused.iter().filter(|candidate| !there.contains(&candidate.link.key()));
    let ones = |candidate: &Candidate| -> Vec<Limit> {
        limits(candidate).into_iter().filter(|limit| limit.most == 1 && limit.side != Side::Both).collect()
    };
    let counts = count(tx, new().flat_map(|candidate| ones(candidate)).collect()).await?;
    let full = |candidate: &&Candidate| {
        let of = ones(candidate).into_iter();
        let mut full = of.filter(|limit| counts.get(limit).is_some_and(|links| *links > 0));
        full.next().map(|limit| (candidate.link.key(), (limit.end, limit.name)))
    };
    Ok(new().filter_map(full).collect())
}

async fn count(tx: &mut TenantTx, limits: Vec<Limit>) -> Result<HashMap<Limit, i64>, LinkError> {
    if limits.is_empty() {
        return Ok(HashMap::new());
    }
    let (kinds, ids) = crate::links::columns(limits.iter().map(|limit| &limit.end));
    let counts: Vec<i64> = sqlx::query_scalar(
        "select case k.side when 'targets' then forward.links when 'sources' then inverse.links
                            else forward.links + inverse.links end
           from unnest($1::text[], $2::uuid[], $3::text[], $4::text[]) with ordinality
                  as k (kind, id, relationship, side, nth)
          cross join lateral (
            select count(*) as links from entity_links l
             where l.source_type = k.kind and l.source_id = k.id and l.relationship = k.relationship) as forward
          cross join lateral (
            select count(*) as links from entity_links l
             where l.target_type = k.kind and l.target_id = k.id and l.relationship = k.relationship) as inverse
          order by k.nth",
    )
    .bind(kinds)
    .bind(ids)
    .bind(limits.iter().map(|limit| limit.relationship.as_str()).collect::<Vec<_>>())
    .bind(limits.iter().map(|limit| limit.side.as_str()).collect::<Vec<_>>())
    .fetch_all(&mut **tx)
    .await?;
    Ok(limits.into_iter().zip(counts).collect())
}
