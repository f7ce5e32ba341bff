//! A run: the lock, and the order of the waves.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sqlx::{Connection, PgConnection};

use super::{
    Busy, Canary, FleetCounts, FleetEvent, FleetOptions, FleetPlan, FleetReport, Part, PlannedHome, Wave,
    attempt::Mode, ledger, plan, statements,
};
use crate::{ControlError, control_plane::ensure_roles};

/// One run, while it holds the lock.
pub(super) struct Run<'a, P> {
    pub(super) part: &'a Part,
    pub(super) options: &'a FleetOptions,
    pub(super) progress: &'a P,
    pub(super) mode: Mode,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) counts: FleetCounts,
    pub(super) report: FleetReport,
    /// Connections that no home is using.
    pub(super) idle: Vec<PgConnection>,
}

pub(super) async fn run<P: Fn(FleetEvent<'_>) + Send + Sync>(
    part: &Part,
    options: &FleetOptions,
    progress: &P,
    commits: bool,
) -> Result<FleetReport, ControlError> {
    let plan = part.plan().await?;
    check(&plan, options)?;
    if plan.is_up_to_date() && !plan.is_new {
        progress(FleetEvent::Planned { plan: &plan });
        return Ok(FleetReport { homes: plan.homes().count(), ..FleetReport::default() });
    }
    let mut held = part.connect().await?;
    if !ledger::lock(&mut held, false).await? {
        if options.busy == Busy::Refuse {
            return Err(ControlError::Busy);
        }
        progress(FleetEvent::Waiting);
        ledger::lock(&mut held, true).await?;
    }
    let report = locked(part, options, progress, commits, &mut held).await;
    // Whether or not the server hears of it, the lock ends with the session.
    let _ = held.close().await;
    report
}

/// Refuses what is known to go wrong before anything is done.
fn check(plan: &FleetPlan, options: &FleetOptions) -> Result<(), ControlError> {
    if let (Canary::Tenants(slugs), false) = (&options.canary, options.canaries_are_known) {
        check_canaries(plan, slugs)?;
    }
    let mut seen = HashSet::new();
    for step in plan.pending().flat_map(|planned| &planned.steps) {
        if !seen.insert((step.set, step.version, step.scope)) {
            continue;
        }
        if let Some(found) = statements::refused(step.sql) {
            let statements::Refused { line, statement, why } = found;
            return Err(ControlError::Refused { name: step.label(), line, statement, why });
        }
    }
    Ok(())
}

pub(super) fn check_canaries(plan: &FleetPlan, slugs: &[String]) -> Result<(), ControlError> {
    let known: HashSet<_> = plan.homes().filter_map(|planned| planned.home.slug()).collect();
    match slugs.iter().find(|slug| !known.contains(slug.as_str())) {
        Some(slug) => Err(ControlError::NoHome { tenant: slug.clone() }),
        None => Ok(()),
    }
}

async fn locked<P: Fn(FleetEvent<'_>) + Send + Sync>(
    part: &Part,
    options: &FleetOptions,
    progress: &P,
    commits: bool,
    held: &mut PgConnection,
) -> Result<FleetReport, ControlError> {
    ensure_roles(held).await?;
    plan::wait_for_homes(held).await?;
    let plan = plan::read(held, part, None).await?;
    check(&plan, options)?;
    if commits {
        ledger::prepare(held).await?;
    }
    let mode = if commits { Mode::Commit } else { Mode::roll_back(&plan) };
    let run = Run { part, options, progress, mode, state: Mutex::default() };
    run.state().report.homes = plan.homes().count();
    run.state().counts.total = plan.pending().count();
    progress(FleetEvent::Planned { plan: &plan });
    for (wave, homes) in waves(&plan, options) {
        run.wave(wave, homes, held).await?;
    }
    if commits {
        run.late(held).await?;
    }
    let State { counts, mut report, .. } = run.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.not_tried = counts.total - counts.done - counts.failed;
    Ok(report)
}

fn waves(plan: &FleetPlan, options: &FleetOptions) -> Vec<(Wave, Vec<PlannedHome>)> {
    let mut all = [Wave::Platform, Wave::Shared, Wave::Canary].map(|wave| (wave, Vec::new()));
    let [platform, shared, canary] = &mut all;
    let mut rest = Vec::new();
    for planned in plan.pending().cloned() {
        let is_canary = match &options.canary {
            Canary::First(count) => canary.1.len() < *count,
            Canary::Tenants(slugs) => slugs.iter().any(|slug| planned.home.slug() == Some(slug)),
        };
        if planned.home.is_platform() {
            platform.1.push(planned);
        } else if planned.home.is_shared() {
            shared.1.push(planned);
        } else if is_canary {
            canary.1.push(planned);
        } else {
            rest.push(planned);
        }
    }
    let fleet = rest.chunks(options.wave).enumerate();
    let mut waves = Vec::from(all);
    waves.extend(fleet.map(|(nr, homes)| (Wave::Fleet(nr + 1), homes.to_vec())));
    waves
}

impl<P: Fn(FleetEvent<'_>) + Send + Sync> Run<'_, P> {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Homes that an older program made since the plan lack steps, and nobody else would look for them.
    async fn late(&self, held: &mut PgConnection) -> Result<(), ControlError> {
        while self.state().report.stopped.is_none() {
            plan::wait_for_homes(held).await?;
            let plan = plan::read(held, self.part, None).await?;
            let rest: Vec<_> = {
                let mut state = self.state();
                state.report.homes = plan.homes().count();
                let failures = &state.report.failures;
                let is_new = |planned: &&PlannedHome| failures.iter().all(|other| other.home != planned.home);
                let rest: Vec<_> = plan.pending().filter(is_new).cloned().collect();
                state.counts.total += rest.len();
                rest
            };
            if rest.is_empty() {
                break;
            }
            self.wave(Wave::Late, rest, held).await?;
        }
        Ok(())
    }
}
