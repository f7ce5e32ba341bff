//! Whose turn it is: the state of a queue, without its lock and its waiters' wake-ups.
//!
//! Inside a tenant first come, first served. Between tenants: those that hold less than their share before those that
//! hold more, and among equals the one that was served longest ago. All steps take a time that grows with the logarithm
//! of what waits, and nobody is scanned.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasherDefault, Hasher},
};

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::{Busy, Permit, fairness::Limits};

/// A tenant, as a number.
pub(super) type Who = u128;
/// What a waiter is told by.
pub(super) type Told = oneshot::Sender<Permit>;

/// INVARIANT: nothing is free while a tenant waits that may have more.
#[derive(Debug)]
pub(super) struct Turns {
    limits: Limits,
    free: u32,
    /// INVARIANT: none without anything held and anybody waiting.
    lanes: HashMap<Who, Lane, BuildHasherDefault<FoldedHash>>,
    /// INVARIANT: exactly the lanes in which somebody waits and that may have more.
    round: BTreeSet<Place>,
    /// Numbers tickets and turns.
    count: u64,
}

#[derive(Debug, Default)]
struct Lane {
    held: u32,
    /// When it was served last, or began to wait.
    turn: u64,
    waiting: BTreeMap<u64, Told>,
}

/// In the order in which lanes are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    has_its_share: bool,
    turn: u64,
    who: Who,
}

/// What came of asking.
pub(super) enum Asked {
    Now,
    Wait { ticket: u64 },
}

impl Lane {
    fn place(&self, who: Who, limits: &Limits) -> Option<Place> {
        let waits = !self.waiting.is_empty() && self.held < limits.at_most;
        waits.then_some(Place { has_its_share: self.held >= limits.share, turn: self.turn, who })
    }
}

impl Turns {
    pub(super) fn new(limits: Limits) -> Self {
        let (lanes, round) = (HashMap::default(), BTreeSet::new());
        Self { limits, free: limits.capacity, lanes, round, count: 0 }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Lets `who` in, or has it wait, to be told by what `told` makes.
    pub(super) fn ask(&mut self, who: Who, told: impl FnOnce() -> Told) -> Result<Asked, Busy> {
        let limits = self.limits;
        let lane = self.lanes.entry(who).or_default();
        if self.free > 0 && lane.held < limits.at_most {
            lane.held += 1;
            self.free -= 1;
            return Ok(Asked::Now);
        }
        if lane.waiting.len() >= limits.queue {
            self.change(who, |_| ());
            return Err(Busy::full(limits.queue));
        }
        let ticket = self.next();
        self.change(who, |lane| {
            if lane.waiting.is_empty() {
                lane.turn = ticket;
            }
            lane.waiting.insert(ticket, told());
        });
        Ok(Asked::Wait { ticket })
    }

    /// Takes back one of `who`'s. Answers who is let in instead: each is to be told, outside of the lock.
    pub(super) fn give_back(&mut self, who: Who) -> SmallVec<[(Told, Who); 1]> {
        self.free += 1;
        self.change(who, |lane| lane.held -= 1);
        let mut served = SmallVec::new();
        while self.free > 0 {
            let Some(place) = self.round.first().copied() else { break };
            let turn = self.next();
            let told = self.change(place.who, |lane| {
                let (_, told) = lane.waiting.pop_first()?;
                lane.held += 1;
                lane.turn = turn;
                Some(told)
            });
            let Some(told) = told.flatten() else { break };
            self.free -= 1;
            served.push((told, place.who));
        }
        served
    }

    /// Forgets one that waits no more; `None` when it was let in meanwhile.
    pub(super) fn leave(&mut self, who: Who, ticket: u64) -> Option<Told> {
        self.change(who, |lane| lane.waiting.remove(&ticket)).flatten()
    }

    pub(super) fn held(&self, who: Who) -> u32 {
        self.lanes.get(&who).map_or(0, |lane| lane.held)
    }

    pub(super) fn waiting(&self, who: Who) -> usize {
        self.lanes.get(&who).map_or(0, |lane| lane.waiting.len())
    }

    /// Changes a lane and puts it where it then belongs.
    fn change<T>(&mut self, who: Who, change: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        let lane = self.lanes.get_mut(&who)?;
        let before = lane.place(who, &self.limits);
        let changed = change(lane);
        let after = lane.place(who, &self.limits);
        if lane.held == 0 && lane.waiting.is_empty() {
            self.lanes.remove(&who);
        }
        if before != after {
            before.map(|place| self.round.remove(&place));
            after.map(|place| self.round.insert(place));
        }
        Some(changed)
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Does everything hold that is said above?
    #[cfg(test)]
    pub(super) fn examine(&self) {
        let held: u32 = self.lanes.values().map(|lane| lane.held).sum();
        assert_eq!(held + self.free, self.limits.capacity, "what is held and what is free is all there is");
        assert!(self.free == 0 || self.round.is_empty(), "free, and somebody waits who may have it");
        for (who, lane) in &self.lanes {
            assert!(lane.held <= self.limits.at_most, "more than it may hold");
            assert!(lane.held > 0 || !lane.waiting.is_empty(), "a lane of nobody");
            let place = lane.place(*who, &self.limits);
            assert!(place.is_none_or(|place| self.round.contains(&place)), "it waits and has no place");
        }
        let places = self.lanes.iter().filter(|(who, lane)| lane.place(**who, &self.limits).is_some());
        assert_eq!(places.count(), self.round.len(), "a place of nobody");
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.lanes.is_empty() && self.round.is_empty() && self.free == self.limits.capacity
    }
}

/// Identities are made by us, 74 bits of each at random, so there is nobody to defend a table against: one
/// multiplication spreads them.
#[derive(Debug, Default)]
pub(super) struct FoldedHash(u64);

impl Hasher for FoldedHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u128(u128::from(*byte));
        }
    }

    fn write_u128(&mut self, number: u128) {
        let halves = (number >> 64) as u64 ^ number as u64 ^ self.0;
        let product = u128::from(halves) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}
