//! What would run where: one query over the ledger for all homes.

use std::{collections::BTreeMap, fmt, sync::Arc};

use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::{
    Part,
    home::{Home, PLATFORM, Scope, Step},
    ledger::HOMES,
};
use crate::{ControlError, control_plane::SHARED, databases::MAIN};

/// Every home, and the steps that it lacks.
#[derive(Debug, Default)]
pub struct FleetPlan {
    homes: Vec<PlannedHome>,
    /// Whether there is no ledger yet.
    pub(super) is_new: bool,
}

/// One home of a plan.
#[derive(Debug, Clone)]
pub struct PlannedHome {
    pub(super) home: Home,
    pub(super) steps: Vec<Arc<Step>>,
}

impl PlannedHome {
    /// Which home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// What it lacks, in the order in which it would be run, as `set/0001_name`.
    pub fn steps(&self) -> Vec<String> {
        self.steps.iter().map(|step| step.label()).collect()
    }
}

impl FleetPlan {
    pub(super) fn extend(&mut self, other: Self) {
        self.homes.extend(other.homes);
        self.is_new |= other.is_new;
    }

    /// All homes, database by database: the platform, the shared home, and the tenants' own, the oldest tenant first.
    pub fn homes(&self) -> impl Iterator<Item = &PlannedHome> {
        self.homes.iter()
    }

    /// Those that lack a step.
    pub fn pending(&self) -> impl Iterator<Item = &PlannedHome> {
        self.homes.iter().filter(|planned| !planned.steps.is_empty())
    }

    /// Whether nothing is to be done.
    pub fn is_up_to_date(&self) -> bool {
        self.pending().next().is_none()
    }

    /// How many steps would be run, over all homes.
    pub fn steps(&self) -> usize {
        self.homes.iter().map(|planned| planned.steps.len()).sum()
    }
}

/// Elsewhere than in `main`, the database, not the platform, a tenant's own, and the steps.
type Group<'a> = (bool, &'a str, bool, bool, Vec<String>);

/// A line for each home of the platform, and for each group of tenants that lack the same.
impl fmt::Display for FleetPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_up_to_date() {
            return write!(f, "nothing to do: {} homes are up to date", self.homes.len());
        }
        let mut groups: BTreeMap<Group<'_>, Vec<&Home>> = BTreeMap::new();
        for planned in self.pending() {
            let home = &planned.home;
            let place = home.database();
            let key = (place != MAIN, place, !home.is_platform(), home.tenant.is_some(), planned.steps());
            groups.entry(key).or_default().push(home);
        }
        for (nr, ((elsewhere, place, _, _, steps), homes)) in groups.iter().enumerate() {
            let start = if nr == 0 { "" } else { "\n" };
            match homes.as_slice() {
                [home] => write!(f, "{start}{home}: {}", steps.join(", "))?,
                homes if *elsewhere => {
                    write!(f, "{start}{} tenants in database `{place}`: {}", homes.len(), steps.join(", "))?;
                }
                homes => write!(f, "{start}{} tenants: {}", homes.len(), steps.join(", "))?,
            }
        }
        Ok(())
    }
}

type PlanRow = (String, Option<Uuid>, Option<String>, Option<Vec<i64>>, Option<i64>, bool);

/// Reads the plan of one database, of all homes or of one. One query where it has been migrated before.
pub(super) async fn read(
    conn: &mut PgConnection,
    part: &Part,
    only: Option<&str>,
) -> Result<FleetPlan, ControlError> {
    let steps = part.steps.as_slice();
    let is_main = part.is_main();
    let (rows, is_new) = match query(conn, part, only, true, true).await {
        Err(error) if is_undefined_table(&error) => {
            let (ledger, homes): (bool, bool) = sqlx::query_as(
                "select to_regclass('platform.migration_ledger') is not null,
                        to_regclass('platform.homes') is not null
                        and (not $1 or to_regclass('platform.tenants') is not null)",
            )
            .bind(is_main)
            .fetch_one(&mut *conn)
            .await?;
            (query(conn, part, only, ledger, homes).await?, !ledger)
        }
        rows => (rows?, false),
    };
    let mut slugs = part.slugs(rows.iter().filter(|row| row.2.is_none()).filter_map(|row| row.1)).await?;
    let mut homes = Vec::with_capacity(rows.len());
    for (schema, id, slug, missing, changed, own_role) in rows {
        let step = |nr: i64| usize::try_from(nr - 1).ok().and_then(|nr| steps.get(nr));
        if let Some(step) = changed.and_then(step) {
            return Err(ControlError::Changed { name: step.label(), home: schema });
        }
        let steps = missing.into_iter().flatten().filter_map(step).map(Arc::clone).collect();
        let tenant =
            id.map(|id| (id.into(), slug.or_else(|| slugs.remove(&id)).unwrap_or_else(|| id.to_string())));
        let home = Home { database: Arc::clone(&part.name), schema, tenant, own_role };
        homes.push(PlannedHome { home, steps });
    }
    Ok(FleetPlan { homes, is_new })
}

/// Waits until every home that is being made has been made or given up.
pub(super) async fn wait_for_homes(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let text = format!("select pg_advisory_xact_lock({HOMES})");
    sqlx::raw_sql(AssertSqlSafe(text)).execute(conn).await?;
    Ok(())
}

async fn query(
    conn: &mut PgConnection,
    part: &Part,
    only: Option<&str>,
    ledger: bool,
    homes: bool,
) -> Result<Vec<PlanRow>, sqlx::Error> {
    let ledger = match ledger {
        true => "platform.migration_ledger",
        false => "(select '' as home, '' as set_name, 0 as version, ''::bytea as checksum where false)",
    };
    // A home that a move is filling or has left is migrated as any other: its rows must stay comparable. The role is
    // read from the whole row, since the first migration of the platform does not know the column.
    let own = match (homes, part.is_main()) {
        (true, true) => {
            "union select 2, h.schema_name, h.tenant_id, t.slug,
                          coalesce((to_jsonb(t) ->> 'own_role')::boolean, false)
               from platform.homes h left join platform.tenants t on t.id = h.tenant_id
              where h.schema_name <> 'shared' and h.state <> 'removed' and t.status is distinct from 'deleted'"
        }
        (true, false) => {
            "union select 2, schema_name, tenant_id, null, false from platform.homes
              where schema_name <> 'shared' and state <> 'removed'"
        }
        (false, _) => "",
    };
    let steps = part.steps.as_slice();
    let text = format!(
        "with step as (
           select * from unnest($1::bool[], $2::text[], $3::int[], $4::bytea[], $6::text[]) with ordinality
             as step (of_platform, set_name, version, checksum, kept_as, nr)),
         home as (
           select 0 as rank, '{PLATFORM}' as name, null::uuid as tenant, null::text as slug, false as own_role
           union all select 1, '{SHARED}', null, null, false {own})
         select home.name, home.tenant, home.slug,
                array_agg(step.nr order by step.nr) filter (where step.nr is not null and done.home is null),
                min(step.nr) filter (where done.checksum <> step.checksum), home.own_role
           from home
           left join step on step.of_platform = (home.rank = 0)
           left join {ledger} done
             on done.home = coalesce(step.kept_as, home.name) and done.set_name = step.set_name and done.version = step.version
          where home.name = $5 or $5 is null
          group by home.rank, home.name, home.tenant, home.slug, home.own_role
          order by home.rank, home.tenant"
    );
    sqlx::query_as(AssertSqlSafe(text))
        .bind(steps.iter().map(|step| step.scope != Scope::Home).collect::<Vec<_>>())
        .bind(steps.iter().map(|step| step.set).collect::<Vec<_>>())
        .bind(steps.iter().map(|step| step.version).collect::<Vec<_>>())
        .bind(steps.iter().map(|step| step.checksum.as_slice()).collect::<Vec<_>>())
        .bind(only)
        .bind(steps.iter().map(|step| step.kept_as()).collect::<Vec<_>>())
        .fetch_all(conn)
        .await
}

fn is_undefined_table(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "42P01")
}
