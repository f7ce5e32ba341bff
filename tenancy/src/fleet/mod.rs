//! Bringing the schema of a whole fleet up to date, and looking whether it is what it should be.
//!
//! The platform first, then the shared home, then the tenants' own: a canary, then waves. All that a home lacks is
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
//!   for tenant in select id from platform.tenants where schema_name = current_schema() loop
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

use std::sync::Arc;

use formwork_migrations::Set;
use sqlx::PgPool;

use home::Step;
pub(crate) use home::steps_of;
pub(crate) use ledger::HOMES;

pub use drift::{DriftReport, HomeDrift};
pub use home::Home;
pub use options::{Busy, Canary, FleetOptions};
pub use plan::{FleetPlan, PlannedHome};
pub use report::{FleetCounts, FleetEvent, FleetReport, HomeFailure, Wave};

use crate::ControlError;

/// All homes of one database, as migrations see them.
#[derive(Debug, Clone)]
pub struct Fleet {
    pool: PgPool,
    steps: Vec<Arc<Step>>,
}

impl Fleet {
    pub(crate) fn new(pool: PgPool, sets: &[Set]) -> Self {
        Self { pool, steps: steps_of(sets) }
    }

    /// What would run where. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`ControlError::Changed`] when an applied step reads differently now.
    #[expect(clippy::disallowed_methods, reason = "the owner's connections are tenancy's too")]
    pub async fn plan(&self) -> Result<FleetPlan, ControlError> {
        let mut conn = self.pool.acquire().await?;
        plan::read(&mut conn, &self.steps, None).await
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
        run::run(self, options, &progress, true).await
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
        run::run(self, options, &progress, false).await
    }

    /// Compares what the catalogue says of every home, and tells the homes that differ from most others.
    ///
    /// # Errors
    ///
    /// When the database fails.
    #[expect(clippy::disallowed_methods, reason = "the owner's connections are tenancy's too")]
    pub async fn drift(&self) -> Result<DriftReport, ControlError> {
        let plan = self.plan().await?;
        let mut conn = self.pool.acquire().await?;
        // The server keeps what it has looked up of every table for as long as the connection lives.
        conn.close_on_drop();
        Ok(drift::compare(&mut conn, &plan).await?)
    }
}
