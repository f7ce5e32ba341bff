//! Denials, written after the request that was denied has ended.
//!
//! The request's own transaction is rolled back, and a second connection held beside it would starve the pool. So whoever
//! denies only notes it in memory; a writer sums repeats by actor, action and minute and writes one event for each.
//!
//! INVARIANT: to note a denial never waits, for no lock that is held over an await and for no place: what finds none is
//! counted as dropped.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use formwork_tenancy::{Session, TenantId, Tenants};
use serde_json::json;

use crate::{Action, Audit, Event, Outcome, Target};

/// Somebody was denied. The permission, how often, and from when to when stand in `after`.
pub const DENIED: Action = Action::new("access.denied");

/// Sums in memory, of all tenants and of one.
const MOST: usize = 10_000;
const MOST_OF_TENANT: usize = 1_000;
/// Targets that are told of one sum.
const MOST_TARGETS: usize = 10;
/// Tries to write a sum before it is dropped.
const TRIES: u32 = 3;
const MINUTE: Duration = Duration::from_secs(60);

/// Where denials are noted, and from where they are written. Cheap to clone.
///
/// ```no_run
/// # async fn example(audit: formwork_audit::Audit, tenants: formwork_tenancy::Tenants,
/// #   session: formwork_tenancy::Session) {
/// use formwork_audit::Denials;
///
/// let denials = Denials::new(audit);
/// let (writer, of_tenants) = (denials.clone(), tenants.clone());
/// tokio::spawn(async move { writer.run(&of_tenants).await });
///
/// denials.note(&session, "edit", ("project", uuid::Uuid::nil()));
/// // Before the program ends: what is noted and not written yet.
/// denials.flush(&tenants).await;
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Denials {
    audit: Audit,
    noted: Arc<Mutex<Noted>>,
    counts: Arc<Counts>,
    bounds: (usize, usize),
}

/// What became of denials in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DenialCounts {
    /// Noted, those that were summed up and those that were dropped among them.
    pub noted: u64,
    /// Events that were written.
    pub written: u64,
    /// Denials of which nothing is told: too many, or the database failed again and again.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Counts {
    noted: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Noted {
    sums: HashMap<Key, Sum>,
    of_tenant: HashMap<TenantId, usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    actor: String,
    permission: String,
    minute: i64,
}

#[derive(Debug)]
struct Sum {
    /// Of the first of them: its address, its request.
    session: Session,
    targets: Vec<Target>,
    count: u64,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
    tries: u32,
}

impl Denials {
    /// Written by this handle of the trail.
    pub fn new(audit: Audit) -> Self {
        Self { audit, noted: Arc::default(), counts: Arc::default(), bounds: (MOST, MOST_OF_TENANT) }
    }

    /// So many sums in memory, of all tenants and of one [default: 10,000 and 1,000].
    #[must_use]
    pub fn bounds(mut self, all: usize, of_tenant: usize) -> Self {
        self.bounds = (all, of_tenant);
        self
    }

    /// Notes that the session's actor was denied `permission` on `target`. Never waits.
    pub fn note(&self, session: &Session, permission: &str, target: impl Into<Target>) {
        self.note_at(session, permission, target.into(), Utc::now());
    }

    fn note_at(&self, session: &Session, permission: &str, target: Target, now: DateTime<Utc>) {
        self.counts.noted.fetch_add(1, Ordering::Relaxed);
        let key = Key {
            tenant: session.tenant_id(),
            actor: format!("{} {:?}", session.actor(), session.impersonator()),
            permission: permission.to_owned(),
            minute: now.timestamp().div_euclid(MINUTE.as_secs() as i64),
        };
        let sum = Sum {
            session: session.clone(),
            targets: vec![target],
            count: 1,
            first: now,
            last: now,
            tries: 0,
        };
        self.add(key, sum);
    }

    fn add(&self, key: Key, sum: Sum) {
        let mut noted = self.noted();
        let Noted { sums, of_tenant } = &mut *noted;
        let is_full = sums.len() >= self.bounds.0;
        match sums.entry(key) {
            Entry::Occupied(mut there) => there.get_mut().take_in(sum),
            Entry::Vacant(place) => {
                let own = of_tenant.entry(place.key().tenant).or_default();
                if is_full || *own >= self.bounds.1 {
                    self.counts.dropped.fetch_add(sum.count, Ordering::Relaxed);
                } else {
                    *own += 1;
                    place.insert(sum);
                }
            }
        }
    }

    /// Writes what is noted, each minute when it is over, until it is given up.
    pub async fn run(&self, tenants: &Tenants) {
        loop {
            tokio::time::sleep(MINUTE / 4).await;
            let minute = Utc::now().timestamp().div_euclid(MINUTE.as_secs() as i64);
            self.write(tenants, |key| key.minute < minute).await;
        }
    }

    /// Writes all that is noted.
    pub async fn flush(&self, tenants: &Tenants) {
        self.write(tenants, |_| true).await;
    }

    async fn write(&self, tenants: &Tenants, is_due: impl Fn(&Key) -> bool) {
        for (key, mut sum) in self.take(is_due) {
            match self.write_one(tenants, &key, &sum).await {
                Ok(()) => {
                    self.counts.written.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    sum.tries += 1;
                    let (count, tenant) = (sum.count, key.tenant);
                    tracing::warn!(%tenant, count, error, "denials could not be written");
                    match sum.tries < TRIES {
                        true => self.add(key, sum),
                        false => drop(self.counts.dropped.fetch_add(count, Ordering::Relaxed)),
                    }
                }
            }
        }
    }

    fn take(&self, is_due: impl Fn(&Key) -> bool) -> Vec<(Key, Sum)> {
        let mut noted = self.noted();
        let Noted { sums, of_tenant } = &mut *noted;
        let due: Vec<(Key, Sum)> = sums.extract_if(|key, _| is_due(key)).collect();
        for (key, _) in &due {
            if let Entry::Occupied(mut own) = of_tenant.entry(key.tenant) {
                *own.get_mut() -= 1;
                if *own.get() == 0 {
                    own.remove();
                }
            }
        }
        due
    }

    /// One connection at a time, as the one who was denied.
    async fn write_one(
        &self,
        tenants: &Tenants,
        key: &Key,
        sum: &Sum,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut tx = tenants.begin(&sum.session).await?;
        let after = json!({
            "permission": key.permission, "count": sum.count, "first": sum.first, "last": sum.last,
        });
        let event = Event::of(&DENIED).outcome(Outcome::Denied).reason(format!("no `{}`", key.permission));
        let event = sum.targets.iter().cloned().fold(event.after(after), Event::target);
        self.audit.tell_access(&mut tx, event).await?;
        tx.commit().await?;
        Ok(())
    }

    /// What became of them until now.
    pub fn counts(&self) -> DenialCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        DenialCounts {
            noted: read(&self.counts.noted),
            written: read(&self.counts.written),
            dropped: read(&self.counts.dropped),
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sum {
    fn take_in(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        for target in other.targets {
            if self.targets.len() < MOST_TARGETS && !self.targets.contains(&target) {
                self.targets.push(target);
            }
        }
    }
}
