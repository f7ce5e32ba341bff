//! Verifying a tenant's whole trail: every checkpoint, every leaf, every event.
//!
//! First the checkpoints by themselves, then the leaves against them and the events against the leaves, at last what
//! has no leaf. Memory is bounded by a page, the checkpoints, and [`MOST_FINDINGS`].

use std::collections::{HashMap, HashSet, VecDeque};

use formwork_tenancy::{CursorError, Position, SnapshotCursor, TenantTx};
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow, Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    EventRow, Finding, Frontier, Hash, PublicKey, SealError, SignedCheckpoint, Tombstone,
    row::{self, EVENTS},
    store::{self, KeptCheckpoint},
};

/// More than these are counted and not told.
const MOST_FINDINGS: usize = 1_000;
const PAGE: i64 = 5_000;

/// Verifies trails against keys that are trusted, and against what was anchored.
///
/// ```no_run
/// # async fn example(mut tx: formwork_tenancy::TenantTx) -> Result<(), Box<dyn std::error::Error>> {
/// use formwork_audit::seal::{FileAnchor, Verifier};
///
/// let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a".parse()?;
/// let anchored = FileAnchor::read("/mnt/worm/checkpoints", tx.tenant_id())?;
/// let verification = Verifier::new([key]).anchored(anchored).verify(&mut tx).await?;
/// for finding in verification.findings() {
///     eprintln!("{finding}");
/// }
/// assert!(verification.is_intact());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Verifier {
    trusted: Vec<PublicKey>,
    anchored: HashMap<u64, SignedCheckpoint>,
}

/// What was verified, and what was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verification {
    checkpoints: u64,
    events: u64,
    unsealed: u64,
    buried: Vec<Buried>,
    findings: Vec<Finding>,
    more: u64,
}

/// Events that are not there any more, and the tombstone that covers them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Buried {
    checkpoint: u64,
    size: u64,
    tombstone: Tombstone,
    gone: u64,
}

impl Buried {
    /// Number of the checkpoint that is the tombstone.
    pub fn checkpoint(&self) -> u64 {
        self.checkpoint
    }

    /// What it says.
    pub fn tombstone(&self) -> &Tombstone {
        &self.tombstone
    }

    /// How many events are gone under it. Fewer than it says when they are still being removed.
    pub fn gone(&self) -> u64 {
        self.gone
    }

    fn covers(&self, position: u64, event: Uuid) -> bool {
        position < self.size && event < self.tombstone.before
    }
}

impl Verification {
    /// Is everything that was sealed as it was sealed?
    pub fn is_intact(&self) -> bool {
        self.findings.is_empty()
    }

    /// Checkpoints that were looked at.
    pub fn checkpoints(&self) -> u64 {
        self.checkpoints
    }

    /// Leaves that were looked at, each with its event.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Events that came after the last sealing. Nothing protects them yet.
    pub fn unsealed(&self) -> u64 {
        self.unsealed
    }

    /// Tombstones, each with how many events are gone under it and under none before.
    pub fn buried(&self) -> &[Buried] {
        &self.buried
    }

    /// What is wrong, in the order in which it was found: checkpoints, leaves, events without a leaf.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Findings that are not told, beyond the first 1,000.
    pub fn more(&self) -> u64 {
        self.more
    }

    /// Is the event gone by a tombstone? It is counted there.
    fn bury(&mut self, position: u64, event: Uuid) -> bool {
        let covering = self.buried.iter_mut().find(|buried| buried.covers(position, event));
        covering.map(|buried| buried.gone += 1).is_some()
    }

    fn add(&mut self, finding: Finding) {
        match self.findings.len() < MOST_FINDINGS {
            true => self.findings.push(finding),
            false => self.more += 1,
        }
    }
}

/// What a checkpoint says of the tree.
struct Mark {
    number: u64,
    size: u64,
    root: Hash,
}

impl Verifier {
    /// Trusts these keys, one of which has signed the first checkpoint. Later ones are trusted by rotations.
    pub fn new(trusted: impl IntoIterator<Item = PublicKey>) -> Self {
        Self { trusted: trusted.into_iter().collect(), anchored: HashMap::new() }
    }

    /// Checkpoints of the tenant that were kept out of the database's reach. Without them a trail that was set back to
    /// an earlier state looks like one that has not gone on.
    #[must_use]
    pub fn anchored(mut self, checkpoints: impl IntoIterator<Item = SignedCheckpoint>) -> Self {
        self.anchored =
            checkpoints.into_iter().map(|signed| (signed.checkpoint().number(), signed)).collect();
        self
    }

    /// Verifies the trail of the transaction's tenant, which may be written and sealed meanwhile.
    ///
    /// # Errors
    ///
    /// When the database fails. What is wrong with the trail is a [`Finding`].
    pub async fn verify(&self, tx: &mut TenantTx) -> Result<Verification, SealError> {
        let mut found = Verification::default();
        let (marks, read_to) = self.checkpoints(tx, &mut found).await?;
        leaves(tx, marks, &mut found).await?;
        unsealed(tx, read_to, &mut found).await?;
        Ok(found)
    }

    async fn checkpoints(
        &self,
        tx: &mut TenantTx,
        found: &mut Verification,
    ) -> Result<(VecDeque<Mark>, String), SealError> {
        let mut chain = Chain { verifier: self, previous: None, key: None };
        let (mut marks, mut read_to, mut last) = (VecDeque::new(), Position::beginning().to_string(), 0);
        loop {
            let page = store::checkpoints_after(tx, last).await?;
            if page.is_empty() {
                break;
            }
            for kept in page {
                for missing in last + 1..kept.number {
                    found.add(Finding::CheckpointRemoved { number: missing as u64 });
                }
                last = kept.number;
                found.checkpoints += 1;
                marks.extend(chain.add(tx, &kept, found));
                read_to = kept.read_to;
            }
        }
        let anchored = self.anchored.keys().copied().max().unwrap_or(0);
        if anchored > last as u64 {
            found.add(Finding::RolledBack { last: last as u64, anchored });
        }
        Ok((marks, read_to))
    }
}

/// The checkpoints, one after the other.
struct Chain<'a> {
    verifier: &'a Verifier,
    previous: Option<SignedCheckpoint>,
    key: Option<PublicKey>,
}

impl Chain<'_> {
    fn add(&mut self, tx: &TenantTx, kept: &KeptCheckpoint, found: &mut Verification) -> Option<Mark> {
        let number = kept.number as u64;
        let anchored = self.verifier.anchored.get(&number);
        let signed = kept.signed().filter(|signed| signed.checkpoint().tenant() == tx.tenant_id());
        let Some(signed) = signed else {
            found.add(Finding::CheckpointUnreadable { number });
            self.previous = None;
            return None;
        };
        let says = signed.checkpoint();
        if anchored.is_some_and(|anchored| *anchored != signed) {
            found.add(Finding::CheckpointSwapped { number });
        }
        if !self.follows(number, &signed) {
            found.add(Finding::CheckpointUnlinked { number });
        }
        let (may_sign, is_signed) = (self.may_sign(&signed), signed.is_signed());
        if !may_sign {
            found.add(Finding::WrongKey { number, key: says.key() });
        }
        if !is_signed {
            found.add(Finding::WrongSignature { number });
        }
        if let (Some(tombstone), true) = (says.tombstone(), may_sign && is_signed) {
            let size = says.size();
            found.buried.push(Buried { checkpoint: number, size, tombstone: *tombstone, gone: 0 });
        }
        let mark = Mark { number, size: says.size(), root: *says.root() };
        self.key = Some(says.key());
        self.previous = Some(signed);
        Some(mark)
    }

    fn follows(&self, number: u64, signed: &SignedCheckpoint) -> bool {
        let says = signed.checkpoint();
        match &self.previous {
            None => number > 1 || says.previous().is_none(),
            // After a gap there is nothing to hold it against.
            Some(before) if before.checkpoint().number() + 1 != number => true,
            Some(before) => {
                says.previous() == Some(&before.hash()) && says.size() >= before.checkpoint().size()
            }
        }
    }

    fn may_sign(&self, signed: &SignedCheckpoint) -> bool {
        let says = signed.checkpoint();
        match self.key {
            None => self.verifier.trusted.contains(&says.key()) && says.succeeds().is_none(),
            Some(current) => match says.succeeds() {
                None => says.key() == current,
                Some(retired) => retired == current,
            },
        }
    }
}

/// A leaf with its event, where that is still there.
pub(super) struct Leaf {
    pub(super) position: u64,
    event_id: Uuid,
    pub(super) hash: Vec<u8>,
    pub(super) event: Option<EventRow>,
}

impl<'r> FromRow<'r, PgRow> for Leaf {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        let event = row.try_get::<Option<Uuid>, _>("id")?.map(|_| EventRow::from_row(row)).transpose()?;
        Ok(Self {
            position: row.try_get::<i64, _>("position")? as u64,
            event_id: row.try_get("event_id")?,
            hash: row.try_get("hash")?,
            event,
        })
    }
}

fn select_leaves() -> String {
    format!(
        "select l.position, l.event_id, l.hash, {}
           from audit_leaves l
           left join audit_events e on e.tenant_id = l.tenant_id and e.id = l.event_id
          where l.position >= $1 and l.position < $2
          order by l.position limit $3",
        row::selected()
    )
}

/// A page of leaves in their order, from a position on.
pub(super) async fn leaves_from(tx: &mut TenantTx, from: i64, size: i64) -> Result<Vec<Leaf>, SealError> {
    let page = sqlx::query_as(AssertSqlSafe(select_leaves())).bind(from).bind(size).bind(PAGE);
    Ok(page.fetch_all(&mut **tx).await?)
}

/// The leaves against the checkpoints, and the events against the leaves.
async fn leaves(tx: &mut TenantTx, marks: VecDeque<Mark>, found: &mut Verification) -> Result<(), SealError> {
    let size = marks.iter().map(|mark| mark.size).max().unwrap_or(0);
    let mut walk = Walk { marks, tree: Frontier::new(), next: 0, from: 0, is_whole: true, wrong: Vec::new() };
    walk.pass_marks(found);
    let mut scratch = Vec::new();
    while walk.next < size {
        let page = leaves_from(tx, walk.next as i64, size as i64).await?;
        let Some(last) = page.last().map(|leaf| leaf.position) else { break };
        for leaf in page {
            walk.pass(leaf, &mut scratch, found);
        }
        walk.next = last + 1;
    }
    for position in walk.next..size {
        found.add(Finding::LeafRemoved { position });
    }
    walk.tell_wrong(found);
    // Of one statement, and so of one moment.
    let unsigned: Option<i64> = sqlx::query_scalar(
        "select min(l.position) from audit_leaves l
          where l.position >= coalesce((select max(c.size) from audit_checkpoints c), 0)",
    )
    .fetch_one(&mut **tx)
    .await?;
    if let Some(position) = unsigned {
        found.add(Finding::LeafUnsigned { position: position as u64 });
    }
    Ok(())
}

struct Walk {
    marks: VecDeque<Mark>,
    tree: Frontier,
    /// The position that should come.
    next: u64,
    /// What the last checkpoint that was passed covers.
    from: u64,
    /// False after the first root that does not fit: those that follow cannot fit either.
    is_whole: bool,
    /// Leaves whose event has another hash: position, event, hash of the leaf, hash of the event.
    wrong: Vec<(u64, Uuid, Hash, Hash)>,
}

impl Walk {
    fn pass(&mut self, leaf: Leaf, scratch: &mut Vec<u8>, found: &mut Verification) {
        for position in self.next..leaf.position {
            found.add(Finding::LeafRemoved { position });
            self.is_whole = false;
        }
        self.next = leaf.position + 1;
        found.events += 1;
        let (position, event) = (leaf.position, leaf.event_id);
        let Ok(kept) = Hash::try_from(leaf.hash.as_slice()) else {
            found.add(Finding::EventChanged { position, event });
            return;
        };
        match leaf.event.map(|row| row.hash(scratch)) {
            None if found.bury(position, event) => {}
            None => found.add(Finding::EventRemoved { position, event }),
            Some(hash) if hash == kept => {}
            Some(_) if self.wrong.len() >= MOST_FINDINGS => {
                found.add(Finding::EventChanged { position, event })
            }
            Some(hash) => self.wrong.push((position, event, kept, hash)),
        }
        self.tree.push(kept);
        self.pass_marks(found);
    }

    fn pass_marks(&mut self, found: &mut Verification) {
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.size <= self.next) {
            if self.is_whole && (mark.size != self.tree.size() || mark.root != self.tree.root()) {
                let (checkpoint, from, until) = (mark.number, self.from, mark.size);
                found.add(Finding::LeavesChanged { checkpoint, from, until });
                self.is_whole = false;
            }
            self.from = mark.size;
        }
    }

    /// An event that has the hash of another leaf was sealed there.
    fn tell_wrong(&mut self, found: &mut Verification) {
        let sealed: HashMap<Hash, u64> =
            self.wrong.iter().map(|(position, _, kept, _)| (*kept, *position)).collect();
        for (position, event, _, hash) in self.wrong.drain(..) {
            found.add(match sealed.get(&hash) {
                Some(&sealed_at) => Finding::EventMoved { position, event, sealed_at },
                None => Finding::EventChanged { position, event },
            });
        }
    }
}

/// Events without a leaf: those that came later, and those that should have been read when the last were sealed.
async fn unsealed(tx: &mut TenantTx, read_to: String, found: &mut Verification) -> Result<(), SealError> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select e.id from audit_events e
          where not exists (select from audit_leaves l where l.tenant_id = e.tenant_id and l.event_id = e.id)",
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut ids: HashSet<Uuid> = ids.into_iter().collect();
    let all = ids.len();
    let Ok(position) = read_to.parse::<Position>() else {
        found.unsealed = all as u64;
        return Ok(());
    };
    let mut cursor = SnapshotCursor::new(EVENTS, position);
    while !ids.is_empty() {
        let page = match cursor.page::<EventRow, _>(&mut **tx, PAGE as u32).await {
            Ok(page) => page,
            // Of another database's transactions: which were read cannot be told here.
            Err(CursorError::Restored { .. } | CursorError::Pruned { .. }) => {
                found.unsealed = all as u64;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        page.rows().iter().for_each(|row| {
            ids.remove(&row.id);
        });
        if page.ends_stretch() {
            break;
        }
    }
    found.unsealed = (all - ids.len()) as u64;
    let mut inserted: Vec<Uuid> = ids.into_iter().collect();
    inserted.sort_unstable();
    inserted.into_iter().for_each(|event| found.add(Finding::EventInserted { event }));
    Ok(())
}
