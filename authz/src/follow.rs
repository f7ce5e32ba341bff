//! Keeping the graphs in memory up to date: one follower a database reads the log of all tenants.
//!
//! INVARIANT: a state that counts as followed has every change that any look since has seen of its tenant. So a look
//! first says that the tenant has changed, then puts the changes into what it finds, and last says that it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use formwork_tenancy::{CursorError, Relay, Snapshot, Stretch, Tail, TenantId};
use rustc_hash::FxHashMap;
use serde_json::Value;
use uuid::Uuid;

use crate::authz::{Authz, Inner};
use crate::cache::{Published, Slot};
use crate::graph::Row;
use crate::log::{self, Op};
use crate::view;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a follower saw last.
#[derive(Debug)]
pub(crate) struct Look {
    /// Counted over all databases and followers of the handle, from 1.
    pub(crate) number: u64,
    /// The first look since which nothing was missed.
    pub(crate) since: u64,
    /// All that is visible in it has been seen.
    pub(crate) state: Snapshot,
    /// Which database of which cluster was read, whatever name it was given.
    pub(crate) origin: Arc<str>,
    /// The database was asked at this time or later.
    pub(crate) at: Instant,
}

/// The last look in each database.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    last: ArcSwap<BTreeMap<String, Arc<Look>>>,
    counted: AtomicU64,
    /// The databases that somebody follows: of two followers, each would think that the other's looks were its own.
    claimed: Mutex<BTreeSet<String>>,
}

impl Looks {
    pub(crate) fn of(&self, database: &str) -> Option<Arc<Look>> {
        self.last.load().get(database).cloned()
    }

    pub(crate) fn lag(&self) -> Vec<(String, Duration)> {
        self.last.load().iter().map(|(name, look)| (name.clone(), look.at.elapsed())).collect()
    }

    fn next(&self) -> u64 {
        self.counted.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn set(&self, database: &str, look: Option<Look>) {
        let _one = self.claimed();
        let mut all = BTreeMap::clone(&self.last.load());
        match look {
            Some(look) => all.insert(database.to_owned(), Arc::new(look)),
            None => all.remove(database),
        };
        self.last.store(Arc::new(all));
    }

    /// False while another follower has it.
    fn claim(&self, database: &str) -> bool {
        self.claimed().insert(database.to_owned())
    }

    fn release(&self, database: &str) {
        self.claimed().remove(database);
    }

    fn claimed(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.claimed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Keeps the graphs of one database's tenants up to date, for as long as [`run`](Self::run) is polled.
///
/// A change that was committed is in the graphs after one look: at once where the relay listens and transactions notify
/// ([`RelayBuilder::listen`](formwork_tenancy::RelayBuilder::listen)), else after the relay's pause. While the database
/// cannot be reached, graphs grow old and [`Consistency`](crate::Consistency) says what that means for answers.
#[derive(Debug)]
pub struct Following {
    authz: Authz,
    database: String,
    tail: Tail,
    is_mine: bool,
    since: Option<u64>,
    origin: Arc<str>,
    has_warned: bool,
}

impl Authz {
    /// Follows the changes of all tenants whose homes are in a database, by the name that the registry has for it
    /// (`main` for the one with the control plane). The relay must be of that very database: one of another
    /// keeps nothing up to date, and says so in the log.
    ///
    /// ```no_run
    /// # async fn example(authz: formwork_authz::Authz) -> Result<(), Box<dyn std::error::Error>> {
    /// use formwork_tenancy::Relay;
    ///
    /// let relay = Relay::builder().listen().connect("postgres://formwork_relay@localhost/app").await?;
    /// tokio::spawn(authz.follow("main", &relay).run());
    /// # Ok(()) }
    /// ```
    pub fn follow(&self, database: impl Into<String>, relay: &Relay) -> Following {
        Following {
            authz: self.clone(),
            database: database.into(),
            tail: relay.tail(log::FOLLOWED),
            is_mine: false,
            since: None,
            origin: "".into(),
            has_warned: false,
        }
    }
}

impl Following {
    /// Follows until it is dropped. Loses nothing when the connection is lost: what was not read is read by the next
    /// look, and where that is impossible (the log was pruned, the database restored) graphs are loaded again.
    pub async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.step().await {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    self.tail.wait(Duration::MAX).await;
                }
                Err(error) => {
                    tracing::warn!(database = self.database, %error, "the permission log cannot be followed");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// One look: everything that was committed before it is in the graphs after it. Of several followers of one
    /// database on one handle, one looks and the others wait until it is dropped.
    ///
    /// # Errors
    ///
    /// [`CursorError`]; the next step goes on as far as that is possible.
    pub async fn step(&mut self) -> Result<(), CursorError> {
        self.is_mine = self.is_mine || self.authz.inner().looks.claim(&self.database);
        if !self.is_mine {
            return Ok(());
        }
        let at = Instant::now();
        let Some(since) = self.since else { return self.begin(at).await };
        match self.tail.look::<Change>().await {
            Ok(stretch) => {
                self.apply(since, at, stretch);
                Ok(())
            }
            Err(error) => {
                if !matches!(error, CursorError::Storage(_) | CursorError::Standby) {
                    self.give_up(matches!(error, CursorError::Restored { .. }));
                }
                Err(error)
            }
        }
    }

    async fn begin(&mut self, at: Instant) -> Result<(), CursorError> {
        let state = self.tail.begin().await?;
        let number = self.authz.inner().looks.next();
        self.since = Some(number);
        self.origin = self.tail.origin().unwrap_or_default().into();
        self.look(Look { number, since: number, state, origin: Arc::clone(&self.origin), at });
        Ok(())
    }

    /// What comes next cannot be told from here. In a restored database what the graphs know may never have been.
    fn give_up(&mut self, is_restored: bool) {
        self.since = None;
        let inner = self.authz.inner();
        inner.looks.set(&self.database, None);
        if is_restored {
            inner.cache.forget(&self.database);
        }
    }

    fn apply(&mut self, since: u64, at: Instant, stretch: Stretch<Change>) {
        let inner = &Arc::clone(self.authz.inner());
        let (number, state) = (inner.looks.next(), stretch.state().clone());
        let mut by_tenant: FxHashMap<TenantId, Vec<Change>> = FxHashMap::default();
        // Each handle has its own schema, whatever was adopted meanwhile.
        for change in stretch.into_rows().into_iter().filter(|change| change.op != Op::Schema) {
            by_tenant.entry(change.tenant).or_default().push(change);
        }
        for (tenant, mut changes) in by_tenant {
            let Some(slot) = inner.cache.known(tenant).filter(|slot| *slot.database == *self.database) else {
                continue;
            };
            // Of one tuple, ids are in the order of its changes; transactions need not be.
            changes.sort_by_key(|change| change.id);
            let before = slot.changed_in.fetch_max(number, Ordering::AcqRel);
            let Some(published) = slot.published.load_full() else { continue };
            if self.is_of_another_database(&published) {
                continue;
            }
            if published.look >= since && published.look >= before {
                put(inner, tenant, &slot, &published, &changes, &state, number);
            }
        }
        self.look(Look { number, since, state, origin: Arc::clone(&self.origin), at });
    }

    fn look(&self, look: Look) {
        self.authz.inner().looks.set(&self.database, Some(look));
    }

    /// Is the state of the database that is followed? If not, nothing that is followed counts for it.
    fn is_of_another_database(&mut self, published: &Published) -> bool {
        let is_other = published.origin != self.origin;
        if is_other && !self.has_warned {
            self.has_warned = true;
            tracing::warn!(
                database = self.database,
                "the relay reads another database than the service by this name"
            );
        }
        is_other
    }
}

/// Puts the changes that the state does not have into it.
fn put(
    inner: &Arc<Inner>,
    tenant: TenantId,
    slot: &Arc<Slot>,
    published: &Arc<Published>,
    changes: &[Change],
    state: &Snapshot,
    number: u64,
) {
    let news: Vec<(Row<'_>, bool)> = changes
        .iter()
        .filter(|change| !published.snapshot.sees(change.xid))
        .map(|change| (change.row(), change.op == Op::Touch))
        .collect();
    inner.counters.followed(news.len());
    let snapshot = if state.includes(&published.snapshot) { state } else { &published.snapshot };
    let newer = Published {
        snapshot: snapshot.clone(),
        graph: view::apply(&published.graph, news),
        timeline: published.timeline.clone(),
        origin: Arc::clone(&published.origin),
        asked_at: published.asked_at,
        look: number,
    };
    inner.cache.publish(tenant, slot, Some(published), Arc::new(newer));
}

impl Drop for Following {
    fn drop(&mut self) {
        if self.is_mine {
            self.authz.inner().looks.set(&self.database, None);
            self.authz.inner().looks.release(&self.database);
        }
    }
}

/// A row of the log.
#[derive(Debug, Clone)]
struct Change {
    tenant: TenantId,
    id: i64,
    xid: u64,
    op: Op,
    names: [String; 5],
    subject_relation: Option<String>,
    condition: Option<String>,
    context: Option<String>,
    expires_at: Option<i64>,
}

impl Change {
    fn row(&self) -> Row<'_> {
        let [object_type, object_id, relation, subject_type, subject_id] = &self.names;
        Row {
            object_type,
            object_id,
            relation,
            subject_type,
            subject_id,
            subject_relation: self.subject_relation.as_deref(),
            condition: self.condition.as_deref(),
            context: self.context.as_deref(),
            expires_at: self.expires_at,
        }
    }
}

impl<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> for Change {
    fn from_row(row: &'r sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
        use sqlx::Row as _;
        let unreadable = |error: std::num::ParseIntError| sqlx::Error::Decode(Box::new(error));
        let text = |column: &str| row.try_get::<String, _>(column);
        let expires_at: Option<DateTime<Utc>> = row.try_get("expires_at")?;
        Ok(Self {
            tenant: row.try_get::<Uuid, _>("tenant_id")?.into(),
            id: row.try_get::<&str, _>("stream_key")?.parse().map_err(unreadable)?,
            xid: row.try_get::<&str, _>("stream_xid")?.parse().map_err(unreadable)?,
            op: Op::of(row.try_get("op")?),
            names: [
                text("namespace")?,
                text("object_id")?,
                text("relation")?,
                text("subject_ns")?,
                text("subject_id")?,
            ],
            subject_relation: row.try_get("subject_rel")?,
            condition: row.try_get("condition")?,
            context: row.try_get::<Option<Value>, _>("context")?.map(|context| context.to_string()),
            expires_at: expires_at.map(|time| time.timestamp_micros()),
        })
    }
}
