//! Types without cycles.
//!
//! INVARIANT: whoever adds a link of such a type holds the type's lock until the transaction ends, and looks only
//! then whether the link would close a cycle: two links that would close one together cannot both be made.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use formwork_tenancy::TenantTx;

use crate::{
    End, Link, LinkError, LinkType,
    make::{Candidate, Item, sift},
};

/// The way in which a type's links are followed: towards whichever side a limit keeps narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Forward,
    Back,
}

impl Way {
    fn of(by: &LinkType) -> Self {
        if by.source_limit() == Some(1) { Self::Back } else { Self::Forward }
    }

    /// Where the search for a cycle through `link` begins, and what would close it.
    fn ends(self, source: &End, target: &End) -> (End, End) {
        match self {
            Self::Forward => (target.clone(), source.clone()),
            Self::Back => (source.clone(), target.clone()),
        }
    }
}

/// The name of the lock of a type without cycles.
pub(crate) fn guard(candidate: &Candidate) -> Option<String> {
    candidate.by.is_acyclic().then(|| name(&candidate.link.relationship))
}

pub(crate) fn name(relationship: &str) -> String {
    format!("acyclic/{relationship}")
}

/// Refuses the links that would close a cycle, with the earlier ones of the batch. The locks are held.
pub(crate) async fn refuse_cycles(tx: &mut TenantTx, items: &mut [Item]) -> Result<(), LinkError> {
    let mut starts: BTreeMap<String, (Way, BTreeSet<End>)> = BTreeMap::new();
    for candidate in items.iter().flatten().filter(|candidate| candidate.by.is_acyclic()) {
        let Link { source, relationship, target, .. } = &candidate.link;
        let way = Way::of(&candidate.by);
        let (_, begins) = starts.entry(relationship.clone()).or_insert_with(|| (way, BTreeSet::new()));
        begins.insert(way.ends(source, target).0);
    }
    let mut ways = HashMap::new();
    for (relationship, (way, begins)) in starts {
        let steps = steps(tx, &relationship, way, &begins).await?;
        ways.insert(relationship, (way, steps));
    }
    sift(items, |candidate| {
        let Link { source, relationship, target, .. } = &candidate.link;
        let Some((way, steps)) = ways.get_mut(relationship) else { return Ok(()) };
        let (begin, goal) = way.ends(source, target);
        if leads(steps, &begin, &goal) {
            let (from, to) = (source.clone(), target.clone());
            return Err(LinkError::Cycle { from, name: relationship.clone(), to });
        }
        steps.entry(goal).or_default().push(begin);
        Ok(())
    });
    Ok(())
}

/// Does a link of the type lie on a cycle through the entity? After links were repointed; the lock is held.
pub(crate) async fn closes(tx: &mut TenantTx, by: &LinkType, end: &End) -> Result<bool, LinkError> {
    let way = Way::of(by);
    let steps = steps(tx, by.name(), way, &BTreeSet::from([end.clone()])).await?;
    let next = steps.get(end).cloned().unwrap_or_default();
    Ok(next.iter().any(|next| leads(&steps, next, end)))
}

fn leads(steps: &HashMap<End, Vec<End>>, begin: &End, goal: &End) -> bool {
    let mut seen = HashSet::from([begin]);
    let mut open = vec![begin];
    while let Some(at) = open.pop() {
        if at == goal {
            return true;
        }
        let next = steps.get(at).into_iter().flatten();
        open.extend(next.filter(|next| seen.insert(*next)));
    }
    false
}

/// Every step that can be taken from these ends on.
async fn steps(
    tx: &mut TenantTx,
    relationship: &str,
    way: Way,
    begins: &BTreeSet<End>,
) -> Result<HashMap<End, Vec<End>>, LinkError> {
    let (kinds, ids) = crate::links::columns(begins);
    let sql = match way {
        Way::Forward => FORWARD,
        Way::Back => BACK,
    };
    let rows: Vec<(String, uuid::Uuid, String, uuid::Uuid)> =
        sqlx::query_as(sql).bind(relationship).bind(kinds).bind(ids).fetch_all(&mut **tx).await?;
    let mut steps: HashMap<End, Vec<End>> = HashMap::new();
    for (kind, id, next_kind, next_id) in rows {
        steps.entry(End::new(kind, id)).or_default().push(End::new(next_kind, next_id));
    }
    Ok(steps)
}

// UNION drops what has been reached before, so a cycle that is stored already ends the search too.
const FORWARD: &str = "
  with recursive reached (kind, id) as (
    select kind, id from unnest($2::text[], $3::uuid[]) as b (kind, id)
    union
    select l.target_type::text, l.target_id from reached r
      join entity_links l on l.source_type = r.kind and l.source_id = r.id and l.relationship = $1)
  select r.kind, r.id, l.target_type::text, l.target_id from reached r
    join entity_links l on l.source_type = r.kind and l.source_id = r.id and l.relationship = $1";

const BACK: &str = "
  with recursive reached (kind, id) as (
    select kind, id from unnest($2::text[], $3::uuid[]) as b (kind, id)
    union
    select l.source_type::text, l.source_id from reached r
      join entity_links l on l.target_type = r.kind and l.target_id = r.id and l.relationship = $1)
  select r.kind, r.id, l.source_type::text, l.source_id from reached r
    join entity_links l on l.target_type = r.kind and l.target_id = r.id and l.relationship = $1";
