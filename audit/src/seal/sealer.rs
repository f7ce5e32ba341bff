//! The sealer: takes events that have become visible into the tree, and signs what the tree is then.
//!
//! INVARIANT: leaves, the checkpoint over them and how far the events were read are written in one transaction. So
//! wherever a sealer stops, each event has one leaf or is still to come, and no writer of events ever waits for it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use formwork_tenancy::{CursorError, Position, SnapshotCursor, SweepError, TenantTx};
use futures::future::BoxFuture;
use uuid::Uuid;

use super::{
    Anchor, Checkpoint, EventRow, Frontier, Hash, SealError, SealKey, SealMetrics, SignedCheckpoint,
    Tombstone,
    row::EVENTS,
    store::{self, KeptCheckpoint},
};

/// Seals the trails of tenants, one at a time. Cheap to clone.
///
/// ```no_run
/// # async fn example(tenants: formwork_tenancy::Tenants, relay: formwork_tenancy::Relay, seed: [u8; 32])
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use formwork_audit::seal::{FileAnchor, SealKey, Sealer};
///
/// let sealer = Sealer::new(SealKey::from_seed(&seed)).anchor(FileAnchor::open("/mnt/worm/checkpoints")?);
/// let mut sweep = tenants.sweep(Sealer::KIND, &relay).every(Duration::from_secs(60));
/// sweep.run(|tx| sealer.visit(tx), |round| println!("{round}")).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Sealer {
    key: SealKey,
    retiring: Option<SealKey>,
    anchor: Option<Arc<dyn Anchor>>,
    page: u32,
    most: u64,
    metrics: Option<SealMetrics>,
}

/// What one sealing did.
#[derive(Debug, Clone)]
pub struct Sealed {
    events: u64,
    checkpoint: Option<SignedCheckpoint>,
    is_caught_up: bool,
    waited: Duration,
}

impl Sealed {
    /// Events that have a leaf now and had none before.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The checkpoint that was added; none when there was nothing new.
    pub fn checkpoint(&self) -> Option<&SignedCheckpoint> {
        self.checkpoint.as_ref()
    }

    /// How long the oldest of these events had waited, by the database's clock.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Is everything sealed that was committed when it began?
    pub fn is_caught_up(&self) -> bool {
        self.is_caught_up
    }
}

/// Says in a transaction that it has sealed: its checkpoint may yet be undone.
#[derive(Debug, Clone)]
struct HasSealed;

/// The tree and what it rests on, while it is built on.
pub(super) struct Tree {
    last: Option<SignedCheckpoint>,
    edge: Frontier,
    position: Position,
}

impl Sealer {
    /// Kind of the [sweep](formwork_tenancy::Sweep), and of its hints.
    pub const KIND: &str = "audit-seal";

    /// Signs with this key: 5,000 events in one read, 200,000 in one transaction.
    pub fn new(key: SealKey) -> Self {
        Self { key, retiring: None, anchor: None, page: 5_000, most: 200_000, metrics: None }
    }

    /// The key until now: trails whose last checkpoint it has signed get one that both sign, and go on with the new one.
    #[must_use]
    pub fn retiring(mut self, key: SealKey) -> Self {
        self.retiring = Some(key);
        self
    }

    /// Where checkpoints are kept out of the database's reach.
    ///
    /// Only what is committed goes there, so a checkpoint does at the next sealing of its tenant. Nothing is sealed on a
    /// trail that has lost what is there.
    #[must_use]
    pub fn anchor(mut self, anchor: impl Anchor) -> Self {
        self.anchor = Some(Arc::new(anchor));
        self
    }

    /// Where visits tell what they have done and found.
    #[must_use]
    pub fn metrics(mut self, metrics: SealMetrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Events in one read, and the most in one transaction.
    #[must_use]
    pub fn limits(mut self, page: u32, most: u64) -> Self {
        (self.page, self.most) = (page.max(1), most.max(1));
        self
    }

    /// As [`seal`](Self::seal), for a sweep: comes again by itself for what was left, and to anchor. Where homes are
    /// shared it makes the partitions of the months that come.
    pub fn visit<'a>(&self, tx: &'a mut TenantTx) -> BoxFuture<'a, Result<(), SweepError>> {
        let sealer = self.clone();
        Box::pin(async move {
            store::prepare_partitions(tx).await?;
            let sealed = sealer.seal(tx).await?;
            if let Some(metrics) = &sealer.metrics {
                metrics.visited(tx.tenant_id(), &sealed);
            }
            let to_anchor = sealer.anchor.is_some() && sealed.checkpoint.is_some();
            if to_anchor || !sealed.is_caught_up {
                tx.hint(Self::KIND).await?;
            }
            Ok(())
        })
    }

    /// Seals the events of the tenant that have become visible. Others of the same tenant wait.
    ///
    /// # Errors
    ///
    /// [`SealError`]: then the transaction must not be committed.
    pub async fn seal(&self, tx: &mut TenantTx) -> Result<Sealed, SealError> {
        let now = store::lock(tx).await?;
        let kept = store::last_checkpoint(tx).await?;
        let mut tree = self.stand_on(tx, kept)?;
        if tx.extensions().insert(HasSealed).is_none() {
            self.anchor_committed(tx, tree.last.as_ref()).await?;
        }
        let before = tree.edge.size();
        let Read { skipped, is_caught_up, oldest } = self.read_events(tx, &mut tree).await?;
        let events = tree.edge.size() - before;
        let is_rotation = tree.last.as_ref().is_some_and(|last| last.checkpoint().key() != self.key.public());
        let checkpoint = match events > 0 || skipped || is_rotation {
            true => Some(self.sign(tx, &tree, now, None).await?),
            false => None,
        };
        let waited = oldest.and_then(|at| (now - at).to_std().ok()).unwrap_or_default();
        Ok(Sealed { events, checkpoint, is_caught_up, waited })
    }

    /// Signs only on top of what it, or the key before it, has signed.
    pub(super) fn stand_on(&self, tx: &TenantTx, kept: Option<KeptCheckpoint>) -> Result<Tree, SealError> {
        let broken = |what| SealError::Broken { what };
        let Some(kept) = kept else {
            return Ok(Tree { last: None, edge: Frontier::new(), position: Position::beginning() });
        };
        let last = kept.signed().ok_or(broken("the last checkpoint cannot be read"))?;
        let says = last.checkpoint();
        let known = [Some(&self.key), self.retiring.as_ref()];
        if says.tenant() != tx.tenant_id() {
            return Err(broken("the last checkpoint is of another tenant"));
        }
        if !known.into_iter().flatten().any(|key| key.public() == says.key()) {
            return Err(SealError::UnknownKey { key: says.key() });
        }
        if !last.is_signed() {
            return Err(broken("the last checkpoint is not signed by its key"));
        }
        let edge =
            Frontier::from_bytes(says.size(), &kept.frontier).filter(|tree| tree.root() == *says.root());
        let edge = edge.ok_or(broken("the tree is not that of the last checkpoint"))?;
        let position = kept.read_to.parse().map_err(|_| broken("its place in the events cannot be read"))?;
        Ok(Tree { last: Some(last), edge, position })
    }

    /// Brings committed checkpoints to the anchor, and refuses a trail that has lost one that is there.
    async fn anchor_committed(
        &self,
        tx: &mut TenantTx,
        last: Option<&SignedCheckpoint>,
    ) -> Result<(), SealError> {
        let Some(anchor) = &self.anchor else { return Ok(()) };
        let anchored = anchor.newest(tx.tenant_id()).await.map_err(SealError::Anchor)?;
        let last = last.map_or(0, |last| last.checkpoint().number());
        let mut at = 0;
        if let Some(anchored) = anchored {
            at = anchored.checkpoint().number();
            if at > last {
                return Err(SealError::Broken { what: "checkpoints that were anchored are gone" });
            }
            if store::checkpoint(tx, at).await? != anchored {
                return Err(SealError::Broken { what: "a checkpoint is not the one that was anchored" });
            }
        }
        while at < last {
            for kept in store::checkpoints_after(tx, at as i64).await? {
                let signed = kept.signed().filter(|signed| signed.checkpoint().number() == at + 1);
                let signed = signed.ok_or(SealError::Broken { what: "a checkpoint is missing" })?;
                anchor.keep(&signed).await.map_err(SealError::Anchor)?;
                at += 1;
            }
        }
        Ok(())
    }

    /// Adds leaves.
    async fn read_events(&self, tx: &mut TenantTx, tree: &mut Tree) -> Result<Read, SealError> {
        let most = tree.edge.size().saturating_add(self.most);
        let mut cursor = SnapshotCursor::new(EVENTS, tree.position.clone());
        let mut read = Read::default();
        let mut scratch = Vec::new();
        loop {
            let page = match cursor.page::<EventRow, _>(&mut **tx, self.page).await {
                Ok(page) => page,
                // The tenant has moved, or the database was restored: what has a leaf keeps it.
                Err(CursorError::Restored { .. } | CursorError::Pruned { .. }) => {
                    cursor = SnapshotCursor::new(EVENTS, Position::beginning());
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let is_end = page.ends_stretch();
            tree.position = page.position().clone();
            add(tx, tree, page.into_rows(), &mut scratch, &mut read).await?;
            // What comes meanwhile is for the next time.
            if is_end || tree.edge.size() >= most {
                read.is_caught_up = is_end;
                return Ok(read);
            }
        }
    }

    pub(super) async fn sign(
        &self,
        tx: &mut TenantTx,
        tree: &Tree,
        now: DateTime<Utc>,
        tombstone: Option<Tombstone>,
    ) -> Result<SignedCheckpoint, SealError> {
        let state = (tree.edge.size(), tree.edge.root());
        let checkpoint = Checkpoint::after(tree.last.as_ref(), tx.tenant_id(), state, now, self.key.public());
        let checkpoint = checkpoint.burying(tombstone);
        let retiring = checkpoint.succeeds().and(self.retiring.as_ref());
        let signed = SignedCheckpoint::sign(checkpoint, &self.key, retiring);
        store::keep_checkpoint(tx, &signed, &tree.edge, &tree.position.to_string()).await?;
        Ok(signed)
    }
}

/// What reading the events came to.
#[derive(Debug, Default)]
struct Read {
    /// Did events come that have a leaf?
    skipped: bool,
    is_caught_up: bool,
    /// When the oldest of those was written that got one.
    oldest: Option<DateTime<Utc>>,
}

/// Adds what has no leaf yet.
async fn add(
    tx: &mut TenantTx,
    tree: &mut Tree,
    mut rows: Vec<EventRow>,
    scratch: &mut Vec<u8>,
    read: &mut Read,
) -> Result<(), SealError> {
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let sealed: HashSet<Uuid> = store::sealed_among(tx, &ids).await?.into_iter().collect();
    rows.retain(|row| !sealed.contains(&row.id));
    let from = tree.edge.size();
    let hashes: Vec<Hash> = rows.iter().map(|row| row.hash(scratch)).collect();
    hashes.iter().for_each(|hash| tree.edge.push(*hash));
    store::keep_leaves(tx, from, rows.iter().map(|row| row.id).collect(), &hashes).await?;
    read.skipped |= !sealed.is_empty();
    read.oldest = read.oldest.into_iter().chain(rows.iter().map(|row| row.at)).min();
    Ok(())
}
