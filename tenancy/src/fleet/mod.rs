//! Bringing the schema of a whole fleet up to date, and looking whether it is what it should be.
//!
//! One database after another, the control plane's first. In each the platform first, then the shared home, then the tenants' own: a canary, then waves. All that a home lacks is
//! one transaction, sent as one message, together with its lines in the ledger: a home has all of it or nothing,
//! so a run that was killed is resumed by running again, and a home that fails is as it was while the others go on.
//!
//! ```no_run
//! # async fn example(control: formwork_tenancy::ControlPlane) -> Result<(), formwork_tenancy::ControlError> {
//! use formwork_tenancy::fleet::{Canary, FleetEvent, FleetOptions};
//!
//! let fleet = control.fleet();
//! println!("{}", fleet.plan().await?);
//! let options = FleetOptions::new().canary(Canary::Tenants(vec!["acme".to_owned()])).stop_after(3);
//! fleet.dry_run(&options, |_| ()).await?.into_result()?;
//! let report = fleet
//!     .run(&options, |event| {
//!         if let FleetEvent::Done { counts, .. } = event {
//!             println!("{} of {}", counts.done, counts.total);
//!         }
//!     })
//!     .await?;
//! println!("{report}");
//! println!("{}", fleet.drift().await?);
//! # Ok(())
//! # }
//! ```
//!
//! A step that must see rows, such as a backfill, visits the tenants itself, since without a tenant there are no
//! rows and the owner is no exception:
//!
//! ```sql
//! do $$
//! declare tenant uuid;
//! begin
//!   set local row_security = on;
//!   for tenant in select tenant_id from platform.homes where schema_name = current_schema() loop
//!     perform set_config('app.current_tenant', tenant::text, true);
//!     update notes set title = left(body, 40) where title is null;
//!   end loop;
//! end $$;
//! ```

mod attempt;
mod drift;
mod home;
mod ledger;
pub(crate) mod message;
mod options;
mod plan;
mod queue;
mod report;
mod run;
mod statements;
mod wave;

use std::{collections::HashMap, sync::Arc};

use formwork_migrations::Set;
use sqlx::PgPool;
use uuid::Uuid;

use home::Step;
pub(crate) use home::{Scope, steps_of};
pub(crate) use ledger::{HOMES, RUN};

pub use drift::{DriftReport, HomeDrift};
pub use home::Home;
pub use options::{Busy, Canary, FleetOptions};
pub use plan::{FleetPlan, PlannedHome};
pub use report::{FleetCounts, FleetEvent, FleetReport, HomeFailure, Wave};

use crate::{ControlError, databases::MAIN};

/// All homes, as migrations see them.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// INVARIANT: the control plane's comes first.
    parts: Vec<Part>,
}

/// The homes of one database.
#[derive(Debug, Clone)]
struct Part {
    name: Arc<str>,
    pool: PgPool,
    /// The control plane's, which knows the slugs.
    control: PgPool,
    steps: Vec<Arc<Step>>,
}

impl Part {
    fn is_main(&self) -> bool {
        &*self.name == MAIN
    }

    /// The slugs of these tenants, for messages and for the choice of canaries.
    async fn slugs(&self, tenants: impl Iterator<Item = Uuid>) -> Result<HashMap<Uuid, String>, sqlx::Error> {
        let tenants: Vec<Uuid> = tenants.collect();
        if tenants.is_empty() {
            return Ok(HashMap::new());
        }
        let found: Vec<(Uuid, String)> =
            sqlx::query_as("select id, slug from platform.tenants where id = any ($1)")
                .bind(tenants)
                .fetch_all(&self.control)
                .await?;
        Ok(found.into_iter().collect())
    }

    #[expect(clippy::disallowed_methods, reason = "the owner's connections are tenancy's too")]
    async fn plan(&self) -> Result<FleetPlan, ControlError> {
        let mut conn = self.pool.acquire().await?;
        plan::read(&mut conn, self, None).await
    }
}

impl Fleet {
    pub(crate) fn new<'a>(databases: impl Iterator<Item = (&'a Arc<str>, &'a PgPool)>, sets: &[Set]) -> Self {
        let all = steps_of(sets);
        let mut parts: Vec<Part> = Vec::new();
        for (name, pool) in databases {
            let control = parts.first().map_or(pool, |main| &main.pool).clone();
            let here = |step: &&Arc<Step>| step.scope != Scope::Platform || &**name == MAIN;
            let steps = all.iter().filter(here).map(Arc::clone).collect();
            parts.push(Part { name: Arc::clone(name), pool: pool.clone(), control, steps });
        }
        Self { parts }
    }

    /// What would run where. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`ControlError::Changed`] when an applied step reads differently now; [`ControlError::Database`] names a
    /// database, other than the control plane's, that failed.
    pub async fn plan(&self) -> Result<FleetPlan, ControlError> {
        let mut whole = FleetPlan::default();
        for part in &self.parts {
            whole.extend(part.plan().await.map_err(|error| error.in_database(&part.name))?);
        }
        Ok(whole)
    }

    /// Brings every home up to date. Where nothing is to be done, this is the one query of [`plan`](Self::plan).
    ///
    /// Needs a connection of its own to the database: behind a pooler that hands connections on between
    /// transactions, the lock that keeps two runs apart would be anybody's.
    ///
    /// # Errors
    ///
    /// [`ControlError`] when nothing could be begun; a home that fails is told by the report.
    pub async fn run<P>(&self, options: &FleetOptions, progress: P) -> Result<FleetReport, ControlError>
    where
        P: Fn(FleetEvent<'_>) + Send + Sync,
    {
        self.each(options, &progress, true).await
    }

    /// Does all that [`run`](Self::run) would and rolls each home back, so that what would fail is known. It takes
    /// the same locks for as long as a home takes, one home at a time where the platform lacks steps; it changes
    /// nothing but sequences.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn dry_run<P>(&self, options: &FleetOptions, progress: P) -> Result<FleetReport, ControlError>
    where
        P: Fn(FleetEvent<'_>) + Send + Sync,
    {
        self.each(options, &progress, false).await
    }

    /// One database after another. A run that was stopped does not go on to the next.
    async fn each<P>(
        &self,
        options: &FleetOptions,
        progress: &P,
        commits: bool,
    ) -> Result<FleetReport, ControlError>
    where
        P: Fn(FleetEvent<'_>) + Send + Sync,
    {
        let mut options = options.clone();
        // Where there is one database, its own run asks for nothing twice.
        if let (Canary::Tenants(slugs), true) = (&options.canary, self.parts.len() > 1) {
            run::check_canaries(&self.plan().await?, slugs)?;
            options.canaries_are_known = true;
        }
        let mut whole = FleetReport::default();
        for part in &self.parts {
            let report = match whole.stopped {
                None => run::run(part, &options, progress, commits).await,
                Some(_) => part.plan().await.map(|plan| FleetReport::not_tried_of(&plan)),
            };
            whole.extend(report.map_err(|error| error.in_database(&part.name))?);
        }
        Ok(whole)
    }

    /// Compares what the catalogue says of every home, and tells the homes that differ from most others, in whichever
    /// database.
    ///
    /// # Errors
    ///
    /// When a database fails.
    #[expect(clippy::disallowed_methods, reason = "the owner's connections are tenancy's too")]
    pub async fn drift(&self) -> Result<DriftReport, ControlError> {
        let plan = self.plan().await?;
        let mut conns = drift::Connections::new();
        for part in &self.parts {
            let mut conn = part.pool.acquire().await?;
            // The server keeps what it has looked up of every table for as long as the connection lives.
            conn.close_on_drop();
            conns.insert(Arc::clone(&part.name), conn);
        }
        Ok(drift::compare(&mut conns, &plan).await?)
    }
}
