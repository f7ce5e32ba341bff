//! Following links from entity to entity, in one recursive statement.
//!
//! INVARIANT: no way goes through an entity twice, and none through one that the actor may not see; what a bound has
//! cut off is said.

use std::collections::BTreeSet;
use std::time::Duration;

use formwork_tenancy::TenantTx;
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{Direction, End, LinkError, Links};

/// How far, along which links, and for how long.
#[derive(Debug, Clone)]
pub struct Walk {
    depth: u32,
    fan_out: u32,
    steps: u32,
    time: Duration,
    direction: Option<Direction>,
    relationships: Option<Vec<String>>,
}

impl Default for Walk {
    /// Two links far, 100 links of each entity, 1,000 steps, a second; both directions, every type.
    fn default() -> Self {
        Self {
            depth: 2,
            fan_out: 100,
            steps: 1_000,
            time: Duration::from_secs(1),
            direction: None,
            relationships: None,
        }
    }
}

impl Walk {
    /// As [`Walk::default`].
    pub fn new() -> Self {
        Self::default()
    }

    /// So many links far, 1 to 10.
    #[must_use]
    pub fn depth(mut self, links: u32) -> Self {
        self.depth = links.clamp(1, 10);
        self
    }

    /// So many links of each entity, in each direction, 1 to 1,000.
    #[must_use]
    pub fn fan_out(mut self, links: u32) -> Self {
        self.fan_out = links.clamp(1, 1_000);
        self
    }

    /// So many steps in all, 1 to 10,000.
    #[must_use]
    pub fn steps(mut self, most: u32) -> Self {
        self.steps = most.clamp(1, 10_000);
        self
    }

    /// So long; then what has been found is answered. Told in milliseconds.
    #[must_use]
    pub fn time(mut self, most: Duration) -> Self {
        self.time = most;
        self
    }

    /// Only from sources to targets, or only back.
    #[must_use]
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = Some(direction);
        self
    }

    /// Only along these types, by the name read from the source.
    #[must_use]
    pub fn along<'a>(mut self, relationships: impl IntoIterator<Item = &'a str>) -> Self {
        self.relationships = Some(relationships.into_iter().map(str::to_owned).collect());
        self
    }
}

/// One link further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// How many links from the start.
    pub depth: u32,
    /// The link.
    pub link: Uuid,
    /// Its type.
    pub relationship: String,
    /// From which end it was followed.
    pub direction: Direction,
    /// Where it led.
    pub end: End,
    /// The way from the start to the end, both included.
    pub path: Vec<End>,
}

/// The bound that has cut something off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// An entity has more links than are followed.
    FanOut,
    /// There are more steps.
    Steps,
    /// The time was up.
    Time,
}

/// What a walk has found, nearest first.
#[derive(Debug, Clone, Serialize)]
pub struct Walked {
    /// Every way, by its last step: an entity that can be reached in two ways stands there twice.
    pub steps: Vec<Step>,
    /// What was cut off, besides what lies deeper; empty when nothing was.
    pub cut: BTreeSet<Cut>,
}

impl Links {
    /// Follows links from `start`, as far as `walk` says, and only through what the actor may `view`. The caller has
    /// asked about `start` itself.
    ///
    /// # What hangs together with this task?
    ///
    /// ```no_run
    /// # use formwork_entity_links::{Links, Walk};
    /// # async fn example(links: Links, tx: &mut formwork_tenancy::TenantTx, task: uuid::Uuid)
    /// # -> Result<(), formwork_entity_links::LinkError> {
    /// let walked = links.walk(tx, &("task", task).into(), &Walk::new().depth(3).along(["blocks"])).await?;
    /// for step in &walked.steps {
    ///     println!("{} links away: {}", step.depth, step.end);
    /// }
    /// assert!(walked.cut.is_empty(), "there is more");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// When a permission cannot be decided or the database fails.
    pub async fn walk(&self, tx: &mut TenantTx, start: &End, walk: &Walk) -> Result<Walked, LinkError> {
        let (mut cut, mut steps, mut found) = (BTreeSet::new(), Vec::new(), 0);
        for row in fetch(tx, start, walk).await? {
            found += u32::from(!matches!(row, Found::Late));
            match row {
                Found::Late => drop(cut.insert(Cut::Time)),
                _ if found > walk.steps => drop(cut.insert(Cut::Steps)),
                Found::Step { nth, .. } if nth > i64::from(walk.fan_out) => drop(cut.insert(Cut::FanOut)),
                Found::Step { step, .. } => steps.push(step),
            }
        }
        let ends: BTreeSet<End> = steps.iter().map(|step| step.end.clone()).collect();
        let seen = self.allowed(tx, "view", ends).await?;
        steps.retain(|step| step.path.iter().skip(1).all(|end| seen.contains(end)));
        Ok(Walked { steps, cut })
    }
}

enum Found {
    /// A step; one whose number is greater than the fan-out only says that there are more.
    Step {
        step: Step,
        nth: i64,
    },
    Late,
}

impl FromRow<'_, PgRow> for Found {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let depth: i32 = row.try_get("depth")?;
        let Ok(depth) = u32::try_from(depth) else { return Ok(Self::Late) };
        let kinds: Vec<String> = row.try_get("kinds")?;
        let ids: Vec<Uuid> = row.try_get("ids")?;
        let forward: bool = row.try_get("forward")?;
        let step = Step {
            depth,
            link: row.try_get("link")?,
            relationship: row.try_get("relationship")?,
            direction: if forward { Direction::Forward } else { Direction::Inverse },
            end: End { kind: row.try_get("kind")?, id: row.try_get("id")? },
            path: kinds.into_iter().zip(ids).map(|(kind, id)| End { kind, id }).collect(),
        };
        Ok(Self::Step { step, nth: row.try_get("nth")? })
    }
}

async fn fetch(tx: &mut TenantTx, start: &End, walk: &Walk) -> Result<Vec<Found>, LinkError> {
    let sides = match walk.direction {
        Some(Direction::Forward) => FORWARD.to_owned(),
        Some(Direction::Inverse) => INVERSE.to_owned(),
        None => format!("{FORWARD} union all {INVERSE}"),
    };
    Ok(sqlx::query_as(AssertSqlSafe(statement(&sides)))
        .bind(&start.kind)
        .bind(start.id)
        .bind(i64::from(walk.fan_out))
        .bind(i64::from(walk.depth))
        .bind(i64::try_from(walk.time.as_millis()).unwrap_or(i64::MAX).min(86_400_000))
        // One more tells that there are more.
        .bind(i64::from(walk.steps) + 1)
        .bind(&walk.relationships)
        .fetch_all(&mut **tx)
        .await?)
}

/// The rows come as they are found, nearest first, so the last limit ends the search itself. Whether there is time is
/// asked of each entity before its links are read; a way that leads into itself is not followed, which the ids alone
/// settle but where two kinds share one.
fn statement(sides: &str) -> String {
    format!(
        "with recursive walk (depth, nth, forward, link, relationship, kind, id, kinds, ids) as (
           select 0, 0::bigint, null::boolean, null::uuid, null::text, $1::text, $2::uuid,
                  array[$1::text], array[$2::uuid]
           union all
           select w.depth + 1, n.nth, n.forward, n.link, n.relationship, n.kind, n.id, w.kinds || n.kind, w.ids || n.id
             from walk w cross join lateral ({sides}) as n (nth, forward, link, relationship, kind, id)
            where w.nth <= $3
              and case when w.depth < $4
                       then clock_timestamp() < statement_timestamp() + $5 * interval '1 millisecond' else false end
              and (n.id <> all (w.ids)
                   or not exists (select from unnest(w.kinds, w.ids) as p (kind, id)
                                   where p.kind = n.kind and p.id = n.id)))
         select * from (select * from walk where depth > 0) as found
         union all
         select -1, 0, null, null, null, null, null, null, null
          where clock_timestamp() >= statement_timestamp() + $5 * interval '1 millisecond'
         limit $6"
    )
}

const FORWARD: &str = "
  select row_number() over (), true, l.id, l.relationship::text, l.target_type::text, l.target_id
    from (select id, relationship, target_type, target_id from entity_links
           where source_type = w.kind and source_id = w.id and ($7::text[] is null or relationship = any($7))
           order by id limit $3 + 1) as l";

const INVERSE: &str = "
  select row_number() over (), false, l.id, l.relationship::text, l.source_type::text, l.source_id
    from (select id, relationship, source_type, source_id from entity_links
           where target_type = w.kind and target_id = w.id and ($7::text[] is null or relationship = any($7))
           order by id limit $3 + 1) as l";
