//! Delivers the events of all tenants of a database to one sink.
//!
//! INVARIANT: a batch is confirmed when each of its events was taken by the sink, stands as a dead letter in its tenant's
//! home, was left out by the filter, or is not in the trail any more. So wherever this stops, nothing is lost.

use std::{
    collections::{HashMap, hash_map::Entry},
    convert::Infallible,
    sync::Arc,
};

use formwork_tenancy::{
    Actor, Backlog, CommitError, CursorError, FollowError, Follower, Refusal, Relay, Session, Status,
    StorageError, StreamKey, StreamTable, Tenant, TenantId, TenantTx, Tenants, TxOptions,
};
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    Clock, DeadLetters, Format, Message, Retry, SendError, Sink, SinkEvent, SinkFilter, SinkMetrics,
    SystemClock, dead_letter, event, metrics::Counters,
};

/// Which events are still to go out.
const OUTBOX: StreamTable = StreamTable::new("platform.audit_outbox", StreamKey::Uuid, &["tenant_id", "id"]);

/// Brings events to one sink. Cheap to clone.
///
/// It needs both logins: the relay's says whose events there are, the service's reads them, in a transaction of their
/// tenant. Of several processes with a sink of one name one delivers and the others wait.
///
/// ```no_run
/// # async fn example(tenants: formwork_tenancy::Tenants, relay: formwork_tenancy::Relay)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use formwork_audit::sink::{Deliverer, EventRule, FileSink, SinkFilter};
///
/// let deliverer = Deliverer::new(&tenants, &relay, "archive", FileSink::open("/var/log/acme/audit.ndjson")?)
///     .filter(SinkFilter::new(EventRule::all().except(["report.viewed"])));
/// let watched = deliverer.clone();
/// tokio::spawn(async move { deliverer.run().await });
/// println!("{:?}", watched.metrics());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Deliverer {
    tenants: Tenants,
    relay: Relay,
    name: Arc<str>,
    sink: Arc<dyn Sink>,
    filter: Arc<SinkFilter>,
    format: Format,
    retry: Retry,
    page: u32,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
}

/// Delivering ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliverError {
    /// The stream cannot be followed.
    #[error("the events that are to go out cannot be followed")]
    Follow(#[from] FollowError),
    /// The database failed, and not by being out of reach.
    #[error("the events that are to go out cannot be read")]
    Storage(#[from] StorageError),
    /// The sink took some and then could take no more.
    #[error("{sent} sent again, then the sink did not take any more")]
    Sink {
        /// Dead letters that were sent before.
        sent: u64,
        /// What it said.
        source: SendError,
    },
}

impl From<sqlx::Error> for DeliverError {
    fn from(source: sqlx::Error) -> Self {
        Self::Storage(source.into())
    }
}

/// What became of dead letters that were sent again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resent {
    /// Taken.
    pub sent: u64,
    /// Refused once more; they stay.
    pub refused: u64,
    /// Not in the trail any more, and so forgotten.
    pub gone: u64,
}

/// A row of the outbox.
#[derive(Debug, Clone, Copy, FromRow)]
struct Pointer {
    tenant_id: Uuid,
    id: Uuid,
}

/// What came of an event that could not be sent.
enum Fate {
    Again,
    Dead,
}

impl Deliverer {
    /// Everything, in our own form, for as long as it takes, 100 events at a time. A sink that is new by its name begins
    /// with what is written from its first look on.
    pub fn new(tenants: &Tenants, relay: &Relay, name: impl Into<Arc<str>>, sink: impl Sink) -> Self {
        Self::shared(tenants, relay, name, Arc::new(sink))
    }

    /// The same, of a sink that others deliver to as well: the deliverers of other databases.
    pub fn shared(tenants: &Tenants, relay: &Relay, name: impl Into<Arc<str>>, sink: Arc<dyn Sink>) -> Self {
        Self {
            tenants: tenants.clone(),
            relay: relay.clone(),
            name: name.into(),
            sink,
            filter: Arc::default(),
            format: Format::default(),
            retry: Retry::default(),
            page: 100,
            clock: Arc::new(SystemClock),
            counters: Arc::default(),
        }
    }

    /// Which events go.
    #[must_use]
    pub fn filter(mut self, filter: SinkFilter) -> Self {
        self.filter = Arc::new(filter);
        self
    }

    /// In what form.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// When an event is tried again, and when it is given up.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Events that are taken at once; after a crash at most so many come again.
    #[must_use]
    pub fn page(mut self, events: u32) -> Self {
        self.page = events.max(1);
        self
    }

    /// Waits in the time of this clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The sink's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What this deliverer and its clones have done.
    pub fn metrics(&self) -> SinkMetrics {
        self.counters.read()
    }

    /// What has not gone out yet, and for how long; none before the first look.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn backlog(&self) -> Result<Option<Backlog>, StorageError> {
        self.relay.backlog(OUTBOX, &self.consumer()).await
    }

    /// Forgets how far the sink is: nothing is kept for it any more.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn forget(&self) -> Result<(), StorageError> {
        self.relay.forget(OUTBOX, &self.consumer()).await
    }

    /// The stream, for [`Prune`](formwork_tenancy::Prune).
    pub fn outbox() -> StreamTable {
        OUTBOX
    }

    /// Delivers until it is given up, which may happen at any await: what was not confirmed comes again.
    ///
    /// # Errors
    ///
    /// When the database fails in another way than by being out of reach.
    pub async fn run(&self) -> Result<Infallible, DeliverError> {
        let mut follower = self.follower();
        loop {
            let batch = match follower.next().await {
                Ok(batch) => batch,
                Err(FollowError::Cursor(error)) => {
                    self.begin_again(&error).await?;
                    follower = self.follower();
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            self.deliver(batch.rows()).await?;
            match follower.confirm(&batch).await {
                Err(error @ FollowError::Overtaken { .. }) => tracing::warn!(sink = %self.name, %error),
                outcome => outcome?,
            }
        }
    }

    /// Delivers what there is now, and ends; answers how many events were looked at. Nothing when another process
    /// delivers.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), and when the database cannot be reached.
    pub async fn run_once(&self) -> Result<u64, DeliverError> {
        let mut follower = self.follower();
        let mut looked_at = 0;
        while let Some(batch) = follower.try_next().await? {
            self.deliver(batch.rows()).await?;
            follower.confirm(&batch).await?;
            looked_at += batch.rows().len() as u64;
        }
        Ok(looked_at)
    }

    fn follower(&self) -> Follower<Pointer> {
        self.relay.follow(OUTBOX, self.consumer()).page(self.page).from_now()
    }

    fn consumer(&self) -> String {
        format!("audit-sink:{}", self.name)
    }

    /// The stream was cut before it was read: on from the beginning of what is kept.
    async fn begin_again(&self, error: &CursorError) -> Result<(), DeliverError> {
        tracing::error!(sink = %self.name, %error, "events did not go out: send them from the trail");
        Counters::add(&self.counters.pruned, 1);
        Ok(self.relay.restart(OUTBOX, &self.consumer()).await?)
    }

    async fn deliver(&self, rows: &[Pointer]) -> Result<(), DeliverError> {
        let messages = self.messages(rows).await?;
        let mut rest = messages.as_slice();
        let mut attempts = 0;
        while let Some(first) = rest.first() {
            // After a failure one at a time, so that one event alone is given up.
            let now = if attempts == 0 { rest } else { std::slice::from_ref(first) };
            let error = match self.sink.send(now).await {
                Ok(()) => {
                    Counters::add(&self.counters.delivered, now.len());
                    rest = rest.get(now.len()..).unwrap_or_default();
                    attempts = 0;
                    continue;
                }
                Err(error) => error,
            };
            let sent = error.sent().min(now.len().saturating_sub(1));
            Counters::add(&self.counters.delivered, sent);
            rest = rest.get(sent..).unwrap_or_default();
            attempts = if sent > 0 { 1 } else { attempts + 1 };
            let Some(failed) = rest.first() else { break };
            if let Fate::Dead = self.after_failure(failed, &error, attempts).await? {
                rest = rest.get(1..).unwrap_or_default();
                attempts = 0;
            }
        }
        Ok(())
    }

    /// Waits, or gives the event up.
    async fn after_failure(
        &self,
        failed: &Message,
        error: &SendError,
        attempts: u32,
    ) -> Result<Fate, DeliverError> {
        let pause = self.retry.pause_after(attempts).filter(|_| !error.is_refused());
        let (event, reason) = (failed.event(), told(error));
        let Some(pause) = pause else {
            tracing::error!(sink = %self.name, %event, attempts, reason, "an event is given up: it is a dead letter");
            self.bury(failed, &reason, attempts).await?;
            return Ok(Fate::Dead);
        };
        let pause = error.pause().map_or(pause, |asked| asked.max(pause).min(self.retry.longest()));
        tracing::warn!(sink = %self.name, %event, attempts, reason, ?pause, "an event is tried again");
        Counters::add(&self.counters.retried, 1);
        self.clock.sleep(pause).await;
        Ok(Fate::Again)
    }

    /// The events, in the order of their rows.
    async fn messages(&self, rows: &[Pointer]) -> Result<Vec<Message>, DeliverError> {
        let mut by_tenant: HashMap<TenantId, HashMap<Uuid, SinkEvent>> = HashMap::new();
        let mut messages = Vec::with_capacity(rows.len());
        for row in rows {
            let tenant = TenantId::from(row.tenant_id);
            if !self.filter.has_tenant(tenant) {
                Counters::add(&self.counters.filtered, 1);
                continue;
            }
            let events = match by_tenant.entry(tenant) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let of_tenant = rows.iter().filter(|other| other.tenant_id == row.tenant_id);
                    let ids: Vec<Uuid> = of_tenant.map(|row| row.id).collect();
                    let read = self.read(tenant, &ids).await?;
                    entry.insert(read.into_iter().map(|event| (event.id(), event)).collect())
                }
            };
            match events.get(&row.id) {
                None => Counters::add(&self.counters.gone, 1),
                Some(event) if !self.filter.takes(event) => Counters::add(&self.counters.filtered, 1),
                Some(event) => messages.push(event.message(self.format).map_err(unwritable)?),
            }
        }
        Ok(messages)
    }

    /// Waits while the database cannot be reached, and while the tenant is being moved or migrated.
    async fn read(&self, tenant: TenantId, ids: &[Uuid]) -> Result<Vec<SinkEvent>, DeliverError> {
        let mut attempts = 0;
        loop {
            let read = async {
                let Some(mut tx) = self.begin(tenant, TxOptions::new().read_only().on_primary()).await?
                else {
                    return Ok(Vec::new());
                };
                Ok::<_, StorageError>(event::read(&mut tx, ids).await?)
            };
            match read.await {
                Ok(events) => return Ok(events),
                Err(error) => attempts = self.wait(tenant, error, attempts).await?,
            }
        }
    }

    async fn bury(&self, message: &Message, reason: &str, attempts: u32) -> Result<(), DeliverError> {
        let mut tries = 0;
        loop {
            let kept = async {
                let Some(mut tx) = self.begin(message.tenant(), TxOptions::new()).await? else {
                    return Ok(&self.counters.gone);
                };
                dead_letter::keep(&mut tx, &self.name, message.event(), reason, attempts).await?;
                commit(tx).await?;
                Ok::<_, StorageError>(&self.counters.dead)
            };
            match kept.await {
                Ok(counter) => {
                    Counters::add(counter, 1);
                    return Ok(());
                }
                Err(error) => tries = self.wait(message.tenant(), error, tries).await?,
            }
        }
    }

    /// None when there is no such tenant any more.
    async fn begin(&self, tenant: TenantId, options: TxOptions) -> Result<Option<TenantTx>, StorageError> {
        let found = self.tenants.by_id(tenant).await?;
        let Some(tenant) = found.filter(|tenant| tenant.status() != Status::Deleted) else { return Ok(None) };
        match self.tenants.begin_with(&session(&tenant), options.whatever_status().beyond_plan()).await {
            Ok(tx) => Ok(Some(tx)),
            Err(error) if matches!(error.refusal(), Some(Refusal::Gone)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits for what passes: a database that is away, a tenant that is moved, migrated or about to be gone.
    async fn wait(&self, tenant: TenantId, error: StorageError, attempts: u32) -> Result<u32, DeliverError> {
        let passes = error.is_unavailable() || error.is_retryable() || error.refusal().is_some();
        if !passes && !self.is_going(tenant).await {
            return Err(error.into());
        }
        let pause = Retry::until_taken().pause_after(attempts + 1).unwrap_or_default();
        tracing::warn!(sink = %self.name, %tenant, %error, ?pause, "waiting for the tenant's home");
        self.clock.sleep(pause).await;
        Ok(attempts.saturating_add(1))
    }

    /// Its home may go at any moment.
    async fn is_going(&self, tenant: TenantId) -> bool {
        let found = self.tenants.by_id(tenant).await;
        matches!(found, Ok(found) if found.as_ref().is_none_or(|found| found.status() == Status::Deleting))
    }

    /// Sends the tenant's dead letters of this sink again, the oldest event first, one at a time. Each goes when it was
    /// taken.
    ///
    /// # Errors
    ///
    /// [`DeliverError::Sink`] when the sink cannot take anything now; those that were sent are gone.
    pub async fn resend(&self, tenant: &Tenant) -> Result<Resent, DeliverError> {
        let mut resent = Resent::default();
        let mut after = Uuid::nil();
        loop {
            let options = TxOptions::new().whatever_status();
            let mut tx = self.tenants.begin_with(&session(tenant), options).await?;
            let Some(id) = dead_letter::take(&mut tx, &self.name, after).await? else { return Ok(resent) };
            after = id;
            let found = event::read(&mut tx, &[id]).await?.into_iter().next();
            let sent = match &found {
                None => Ok(()),
                Some(event) => self.sink.send(&[event.message(self.format).map_err(unwritable)?]).await,
            };
            match (&sent, found.is_some()) {
                (Ok(()), true) => resent.sent += 1,
                (Ok(()), false) => resent.gone += 1,
                (Err(error), _) if error.is_refused() => resent.refused += 1,
                (Err(_), _) => {}
            }
            match &sent {
                Ok(()) => drop(DeadLetters::forget(&mut tx, &self.name, id).await.map_err(storage)?),
                Err(error) => dead_letter::keep(&mut tx, &self.name, id, &told(error), 1).await?,
            }
            commit(tx).await?;
            if let Err(source) = sent
                && !source.is_refused()
            {
                return Err(DeliverError::Sink { sent: resent.sent, source });
            }
        }
    }
}

fn session(tenant: &Tenant) -> Session {
    Session::new(tenant, Actor::system("audit-sink"))
}

async fn commit(tx: TenantTx) -> Result<(), StorageError> {
    match tx.commit().await {
        Ok(_) | Err(CommitError::WithoutToken(_)) => Ok(()),
        Err(error) => Err(error.storage().clone()),
    }
}

fn storage(error: crate::AuditError) -> DeliverError {
    match error {
        crate::AuditError::Storage(error) => error.into(),
        other => unwritable(other),
    }
}

fn unwritable(error: impl std::error::Error + Send + Sync + 'static) -> DeliverError {
    sqlx::Error::Encode(Box::new(error)).into()
}

/// The error and its causes, in one line.
fn told(error: &SendError) -> String {
    let mut told = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
        next = cause.source();
    }
    told
}
