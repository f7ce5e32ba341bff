//! What single change would allow what is not allowed?
//!
//! Every place on which the failed search came to a stand is a place where one more relationship might have helped:
//! the subject itself, everyone, or something that the subject holds already. Each candidate is tried on a copy of the
//! graph, and only what then allows is told: so a remedy is never a guess.

use std::cmp::Reverse;
use std::fmt;

use chrono::{DateTime, TimeDelta};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::context::Context;
use crate::error::CheckError;
use crate::graph::Graph;
use crate::graph::guard::Value;
use crate::graph::search::Search;
use crate::graph::solve::{Solve, key, unkey};
use crate::object::Object;
use crate::relationship::{Change, Relationship};
use crate::schema::program::{Op, ProbeKind};
use crate::schema::{AllowedSubject, SubjectKind};
use crate::subject::Subject;

/// Changes that are told.
const MAX_TOLD: usize = 20;
/// Candidates that are tried; each costs a change and a check.
const MAX_TRIED: usize = 500;
/// Candidates that are kept at all.
const MAX_CANDIDATES: usize = 10_000;
/// Of the things that the subject holds already, how many are proposed for each place.
const MAX_HOLDERS: usize = 3;

/// Single changes, each of which alone would make the answer an "allowed"; each was tried.
///
/// What suffices is not what is right: the last ones open the most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedies {
    /// What names the subject itself comes first, the nearest to the object before the others, then what is to be
    /// deleted, then what the subject holds already, at last what gives it to everyone.
    pub changes: Vec<Change>,
    /// There may be more of them.
    pub more: bool,
}

impl fmt::Display for Remedies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            let unless = if self.more { " of those that were tried" } else { "" };
            return writeln!(f, "no single relationship{unless} would allow it");
        }
        writeln!(f, "each of these alone would allow it:")?;
        for change in &self.changes {
            match change {
                Change::Touch(relationship) => writeln!(f, "  touch  {relationship}")?,
                Change::Delete(relationship) => writeln!(f, "  delete {relationship}")?,
            }
        }
        if self.more { writeln!(f, "  there may be more") } else { Ok(()) }
    }
}

impl Graph {
    /// What single change would allow what is not allowed? Nothing, when it is allowed.
    ///
    /// A relation that takes the subject only with a condition is proposed with nothing stored for it, so it helps where
    /// the context has what it needs; one that takes it only until a time, with a day from now.
    ///
    /// # What does Bob lack?
    ///
    /// ```
    /// use formwork_authz::{Context, Graph, Object, Schema, Subject};
    ///
    /// let graph = Graph::load(
    ///     Schema::parse("
    ///         definition user {}
    ///         definition team { relation member: user }
    ///         definition document {
    ///             relation viewer: user | team#member
    ///             relation banned: user
    ///             permission view = viewer - banned
    ///         }
    ///     ")?,
    ///     [
    ///         "document:7#viewer@team:eng#member".parse()?,
    ///         "document:7#banned@user:eve".parse()?,
    ///         "team:eng#member@user:eve".parse()?,
    ///     ],
    /// );
    /// let (context, document) = (Context::new(), Object::new("document", 7));
    /// let bob = graph.remedies(&context, &Subject::new("user", "bob"), "view", &document)?;
    /// assert_eq!(bob.to_string(), "\
    /// each of these alone would allow it:
    ///   touch  document:7#viewer@user:bob
    ///   touch  team:eng#member@user:bob
    /// ");
    /// let eve = graph.remedies(&context, &Subject::new("user", "eve"), "view", &document)?;
    /// assert_eq!(eve.to_string(), "each of these alone would allow it:\n  delete document:7#banned@user:eve\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Graph::check`].
    pub fn remedies(
        &self,
        context: &Context,
        subject: &Subject,
        permission: &str,
        object: &Object,
    ) -> Result<Remedies, CheckError> {
        let question = self.question(subject, permission, object)?;
        if self.check_in(context, subject, permission, object)?.is_allowed() {
            return Ok(Remedies { changes: Vec::new(), more: false });
        }
        let mut search = Search::new(self, question.target, context);
        let solve = search.solve_with_reasons(question.object, question.group);
        let mut candidates = Candidates {
            search,
            subject,
            root: object,
            found: Vec::new(),
            seen: FxHashSet::default(),
            asked: FxHashSet::default(),
            holders: FxHashMap::default(),
            more: false,
        };
        candidates.make_hold(&solve);
        let Candidates { mut found, mut more, .. } = candidates;
        found.sort_by_key(|(rank, _)| *rank);
        more |= found.len() > MAX_TRIED;
        let mut changes = Vec::new();
        for (_, change) in found.into_iter().take(MAX_TRIED) {
            if changes.len() == MAX_TOLD {
                more = true;
                break;
            }
            let after = self.apply(std::slice::from_ref(&change));
            // Claim cannot be decided then is no remedy.
            if after
                .check_in(context, subject, permission, object)
                .is_ok_and(|decision| decision.is_allowed())
            {
                changes.push(change);
            }
        }
        Ok(Remedies { changes, more })
    }
}

/// How far a change goes beyond the subject and the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Subject,
    Delete,
    Holder,
    Everyone,
}

struct Candidates<'s, 'g> {
    search: Search<'g>,
    subject: &'s Subject,
    /// Stands for an object that is not in the graph.
    root: &'s Object,
    found: Vec<(Rank, Change)>,
    seen: FxHashSet<(bool, String)>,
    /// What has been looked into: whether it is to hold, and which node.
    asked: FxHashSet<(bool, u64)>,
    /// By group: objects on which the subject holds it.
    holders: FxHashMap<u32, Vec<Object>>,
    more: bool,
}

impl<'g> Candidates<'_, 'g> {
    fn add(&mut self, rank: Rank, change: Change) {
        if self.found.len() == MAX_CANDIDATES {
            self.more = true;
            return;
        }
        let text = (matches!(change, Change::Touch(_)), change.relationship().to_string());
        if self.seen.insert(text) {
            self.found.push((rank, change));
        }
    }

    fn named(&self, type_id: u32, number: u32) -> Object {
        let graph = self.search.graph;
        match graph.state.name(type_id, number) {
            Some(id) => Object::new(graph.schema.type_name(type_id).to_owned(), id),
            None => self.root.clone(),
        }
    }

    /// What would make one of the nodes hold that do not.
    fn make_hold(&mut self, solve: &Solve) {
        let graph = self.search.graph;
        for node in solve.nodes.iter().filter(|node| node.value != Value::Yes) {
            let (group, object) = unkey(node.key);
            let Some(group) = graph.schema.group(group) else { continue };
            let target = self.search.target;
            for probe in group.probes.iter().chain(&group.guarded) {
                match probe.kind {
                    ProbeKind::Member if probe.type_id == target.plain => {
                        self.touch(Rank::Subject, probe.edge, object, self.subject.clone());
                    }
                    ProbeKind::Everyone if probe.type_id == target.everyone => {
                        let everyone = Subject::wildcard(graph.schema.type_name(probe.type_id).to_owned());
                        let rank = if self.subject.is_wildcard() { Rank::Subject } else { Rank::Everyone };
                        self.touch(rank, probe.edge, object, everyone);
                    }
                    _ => {}
                }
            }
            for walk in &group.walks {
                self.touch_holders(walk.edge, walk.target, object);
            }
        }
        for pending in solve.ops.iter().filter(|pending| solve.value(pending.node) != Value::Yes) {
            match graph.schema.op(pending.op) {
                Some(Op::Both { except, .. }) => {
                    except.iter().for_each(|&group| self.make_fail(group, pending.object));
                }
                Some(Op::All(walks)) => {
                    for walk in walks {
                        if let Some(target) = walk.target {
                            self.touch_holders(walk.edge, target, pending.object);
                        }
                        let list = graph.state.list(&graph.schema, walk.edge, pending.object, walk.guarded);
                        for next in list.iter().take(MAX_TRIED) {
                            let holds =
                                walk.target.map_or(Value::No, |target| self.search.solve(next, target));
                            if holds != Value::Yes
                                && let Some(fact) = graph.relationship(walk.edge, pending.object, next)
                            {
                                self.add(Rank::Delete, Change::Delete(fact));
                            }
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// What would make a node not hold that does: one of the relationships of its proof, or what the proof takes to be
    /// absent.
    fn make_fail(&mut self, group: u32, object: u32) {
        if !self.asked.insert((false, key(group, object))) || self.search.solve(object, group) == Value::No {
            return;
        }
        let graph = self.search.graph;
        let solve = self.search.reasons(object, group);
        for fact in self.search.prove(&solve, key(group, object)) {
            self.add(Rank::Delete, Change::Delete(fact));
        }
        for pending in solve.ops.iter().filter(|pending| solve.value(pending.node) != Value::No) {
            let Some(Op::Both { except, .. }) = graph.schema.op(pending.op) else { continue };
            for &group in except {
                if self.asked.insert((true, key(group, pending.object))) {
                    let inner = self.search.reasons(pending.object, group);
                    self.make_hold(&inner);
                }
            }
        }
    }

    /// Something that the subject holds already, in the list of an edge.
    fn touch_holders(&mut self, edge: u32, target: u32, object: u32) {
        let graph = self.search.graph;
        let Some(kind) = graph.schema.edge(edge).map(|info| info.subject) else { return };
        for holder in self.holders(target) {
            let (holder_type, id) = (holder.object_type().to_owned(), holder.id().to_owned());
            let is_subject = holder == *self.subject.object();
            let subject = match kind {
                SubjectKind::Object(_) => Subject::new(holder_type, id),
                SubjectKind::Userset(slot) => {
                    let Some(info) = graph.schema.slot(slot) else { continue };
                    Subject::userset(holder_type, id, info.name.to_string())
                }
                SubjectKind::Wildcard(_) => continue,
            };
            let rank = if is_subject { Rank::Subject } else { Rank::Holder };
            self.touch(rank, edge, object, subject);
        }
    }

    fn holders(&mut self, group: u32) -> Vec<Object> {
        if let Some(known) = self.holders.get(&group) {
            return known.clone();
        }
        let graph = self.search.graph;
        let mut holders = Vec::new();
        if let Some(info) = graph.schema.slot(group) {
            let type_name = graph.schema.type_name(info.type_id);
            let page = graph.lookup_objects_in(
                self.search.context,
                self.subject,
                &info.name,
                type_name,
                None,
                MAX_HOLDERS + 1,
            );
            holders = page.map(|page| page.items).unwrap_or_default();
            // The userset that is asked about is one of its own.
            if group == self.search.target.slot && !holders.contains(self.subject.object()) {
                holders.insert(0, self.subject.object().clone());
            }
            if holders.len() > MAX_HOLDERS {
                self.more = true;
                holders.truncate(MAX_HOLDERS);
            }
        }
        self.holders.insert(group, holders.clone());
        holders
    }

    /// The relationship in the forms in which it may be stored: bare where that is allowed.
    fn touch(&mut self, rank: Rank, edge: u32, object: u32, subject: Subject) {
        let graph = self.search.graph;
        let Some(info) = graph.schema.edge(edge) else { return };
        let Some(slot) = graph.schema.slot(info.slot) else { return };
        let is_refused =
            |mark: &Option<crate::schema::Deprecation>| mark.as_ref().is_some_and(|mark| mark.refused);
        let owner = graph.schema.type_info(slot.type_id);
        if is_refused(&slot.deprecated) || owner.is_some_and(|owner| is_refused(&owner.deprecated)) {
            return;
        }
        let fact = Relationship::new(self.named(slot.type_id, object), slot.name.to_string(), subject);
        let mut forms: Vec<&AllowedSubject> = slot
            .allowed
            .iter()
            .filter(|allowed| allowed.subject == info.subject && !is_refused(&allowed.deprecated))
            .collect();
        let is_bare = |allowed: &&AllowedSubject| allowed.condition.is_none() && !allowed.expiration;
        if forms.iter().any(is_bare) {
            forms.retain(is_bare);
        }
        forms.sort_by_key(|allowed| Reverse(allowed.condition.is_none()));
        for form in forms {
            let mut fact = fact.clone();
            if let Some(condition) = form.condition.and_then(|id| graph.schema.condition(id)) {
                fact = fact.with_condition(condition.name().to_owned(), serde_json::Map::new());
            }
            let tomorrow =
                DateTime::from_timestamp_micros(self.search.now()).map(|now| now + TimeDelta::days(1));
            if let Some(tomorrow) = tomorrow.filter(|_| form.expiration) {
                fact = fact.expiring_at(tomorrow);
            }
            self.add(rank, Change::Touch(fact));
        }
    }
}
