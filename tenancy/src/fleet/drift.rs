//! Homes that are not what the others are.
//!
//! The server describes every home by lines and answers with one hash a home; only for one home of each different
//! hash are the lines themselves fetched. So it is the same query for ten homes and for ten thousand, and one more for
//! each way in which they differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use sqlx::{AssertSqlSafe, PgConnection, Postgres, pool::PoolConnection};

use super::{FleetPlan, Home, PlannedHome};

const FACTS: &str = include_str!("drift.sql");

/// What the catalogues of all homes say, compared. Written out it is a diff.
#[derive(Debug)]
pub struct DriftReport {
    compared: usize,
    reference: Option<Home>,
    drifted: Vec<HomeDrift>,
}

/// A home that differs from most others.
#[derive(Debug, Clone)]
pub struct HomeDrift {
    home: Home,
    lacks_steps: bool,
    missing: Vec<String>,
    extra: Vec<String>,
}

impl DriftReport {
    /// How many homes were compared.
    pub fn compared(&self) -> usize {
        self.compared
    }

    /// A home of those that agree with each other and are most; what the others are compared with.
    pub fn reference(&self) -> Option<&Home> {
        self.reference.as_ref()
    }

    /// The homes that differ from it.
    pub fn drifted(&self) -> &[HomeDrift] {
        &self.drifted
    }
}

impl HomeDrift {
    /// Which home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Whether it lacks steps, which alone may explain the difference.
    pub fn lacks_steps(&self) -> bool {
        self.lacks_steps
    }

    /// What most homes have and this one has not, a line a fact.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// What this one has and most have not.
    pub fn extra(&self) -> &[String] {
        &self.extra
    }
}

impl fmt::Display for DriftReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(reference) = &self.reference else { return f.write_str("there is no home to compare") };
        match self.drifted.len() {
            0 => write!(f, "{} homes agree", self.compared),
            count => write!(f, "{count} of {} homes differ from {reference}", self.compared),
        }?;
        for drift in &self.drifted {
            let note = if drift.lacks_steps { ", which lacks steps" } else { "" };
            write!(f, "\n{}{note}", drift.home)?;
            drift.missing.iter().try_for_each(|line| write!(f, "\n  - {line}"))?;
            drift.extra.iter().try_for_each(|line| write!(f, "\n  + {line}"))?;
        }
        Ok(())
    }
}

/// One to each database, by its name.
pub(super) type Connections = BTreeMap<Arc<str>, PoolConnection<Postgres>>;

pub(super) async fn compare(conns: &mut Connections, plan: &FleetPlan) -> Result<DriftReport, sqlx::Error> {
    let homes: Vec<&PlannedHome> = plan.homes().filter(|planned| !planned.home.is_platform()).collect();
    let mut groups: BTreeMap<String, Vec<&PlannedHome>> = BTreeMap::new();
    for (database, conn) in &mut *conns {
        sqlx::query("set search_path = ''").execute(&mut **conn).await?;
        let here: Vec<_> =
            homes.iter().filter(|planned| planned.home.database == *database).copied().collect();
        for (fingerprint, found) in fingerprints(conn, &here).await? {
            groups.entry(fingerprint).or_default().extend(found);
        }
    }
    let place = |planned: &PlannedHome| homes.iter().position(|home| home.home == planned.home);
    let mut groups: Vec<Vec<&PlannedHome>> = groups.into_values().collect();
    groups.iter_mut().for_each(|group| group.sort_by_key(|planned| place(planned)));
    // Homes that lack steps are no measure for the others; of two equal camps the one with the oldest home counts.
    let weight = |group: &Vec<&PlannedHome>| group.iter().filter(|home| home.steps.is_empty()).count();
    groups.sort_by_key(|group| {
        let oldest = group.first().and_then(|first| place(first));
        (std::cmp::Reverse(weight(group)), oldest)
    });
    let mut said = Vec::with_capacity(groups.len());
    if groups.len() > 1 {
        for first in groups.iter().filter_map(|group| group.first()) {
            said.push(match conns.get_mut(&first.home.database) {
                Some(conn) => lines(conn, first.home.schema()).await?,
                None => BTreeSet::new(),
            });
        }
    }
    let reference = groups.first().and_then(|group| group.first()).map(|planned| planned.home.clone());
    let mut drifted = Vec::new();
    if let Some((expected, others)) = said.split_first() {
        for (group, found) in groups.iter().skip(1).zip(others) {
            drifted.extend(group.iter().map(|planned| HomeDrift {
                home: planned.home.clone(),
                lacks_steps: !planned.steps.is_empty(),
                missing: expected.difference(found).cloned().collect(),
                extra: found.difference(expected).cloned().collect(),
            }));
        }
    }
    Ok(DriftReport { compared: homes.len(), reference, drifted })
}

/// The homes of one database by what is said of them; a schema that is not there has nothing said of it.
async fn fingerprints<'a>(
    conn: &mut PgConnection,
    homes: &[&'a PlannedHome],
) -> Result<BTreeMap<String, Vec<&'a PlannedHome>>, sqlx::Error> {
    let text = format!(
        "{FACTS} select home, md5(string_agg(line, E'\\n' order by line collate \"C\")) from plain group by home"
    );
    let names: Vec<&str> = homes.iter().map(|planned| planned.home.schema()).collect();
    let found: Vec<(String, String)> =
        sqlx::query_as(AssertSqlSafe(text)).bind(names).persistent(false).fetch_all(conn).await?;
    let found: BTreeMap<String, String> = found.into_iter().collect();
    let mut groups: BTreeMap<String, Vec<&PlannedHome>> = BTreeMap::new();
    for &planned in homes {
        let fingerprint = found.get(&planned.home.schema).cloned().unwrap_or_default();
        groups.entry(fingerprint).or_default().push(planned);
    }
    Ok(groups)
}

async fn lines(conn: &mut PgConnection, home: &str) -> Result<BTreeSet<String>, sqlx::Error> {
    let text = format!("{FACTS} select line from plain");
    let found: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(text)).bind([home]).persistent(false).fetch_all(conn).await?;
    Ok(found.into_iter().collect())
}
