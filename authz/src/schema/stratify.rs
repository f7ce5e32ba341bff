//! Proves that every question has an answer: no permission may take itself away.
//!
//! With `view = reader - hidden` and `hidden = view`, whoever reads would be hidden if and only if
//! they were not. Such a schema has no meaning, so it is refused. What remains falls into layers
//! (strata): whatever is excluded lies in a lower layer and is settled before it is subtracted.

use std::collections::VecDeque;

use crate::schema::rule::Rule;
use crate::schema::{SlotInfo, SubjectKind};

/// Exclusions of exclusions; each level of an answer costs stack.
pub(crate) const MAX_LAYERS: usize = 64;

/// Cycles that are shown.
const MAX_CYCLES: usize = 50;

#[derive(Debug, Clone, Copy)]
struct Link {
    to: u32,
    /// Exclusions on the way: of how many is it a subtrahend.
    excluded: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unstratified {
    /// The slots of the cycle, from the one that excludes back to itself.
    Cycle(Vec<u32>),
    /// A slot that stands on more layers than allowed.
    TooDeep(u32),
}

/// Finds exclusions that go through a cycle, or layers that are too many.
pub(crate) fn verify(slots: &[SlotInfo]) -> Vec<Unstratified> {
    let (links, own): (Vec<Vec<Link>>, Vec<usize>) = slots.iter().map(links_of).unzip();
    let component = components(&links);
    let component_of = |slot: u32| component.get(slot as usize).copied().unwrap_or(0);
    let mut found = Vec::new();
    for (from, outgoing) in links.iter().enumerate() {
        let from = from as u32;
        for link in outgoing {
            // Each cycle is searched for through all links, so not every one of very many is shown.
            if found.len() < MAX_CYCLES && link.excluded > 0 && component_of(link.to) == component_of(from) {
                found.push(Unstratified::Cycle(cycle(from, link.to, &links)));
            }
        }
    }
    if found.is_empty() {
        found.extend(deepest(&links, &own, &component).map(Unstratified::TooDeep));
    }
    found
}

/// What a slot leads to, and the layers of exclusion in its own rule.
fn links_of(slot: &SlotInfo) -> (Vec<Link>, usize) {
    let (mut links, mut deepest) = (Vec::new(), 0);
    let mut todo = vec![(&slot.rule, 0)];
    while let Some((rule, excluded)) = todo.pop() {
        deepest = deepest.max(excluded);
        match rule {
            Rule::Nil | Rule::Itself => {}
            Rule::This => links.extend(slot.allowed.iter().filter_map(|allowed| match allowed.subject {
                SubjectKind::Userset(to) => Some(Link { to, excluded }),
                _ => None,
            })),
            Rule::Slot(to) => links.push(Link { to: *to, excluded }),
            Rule::Arrow { targets, .. } => {
                links.extend(targets.iter().map(|&(_, to)| Link { to, excluded }));
            }
            Rule::Union(rules) | Rule::Intersection(rules) => {
                todo.extend(rules.iter().map(|rule| (rule, excluded)));
            }
            Rule::Exclusion(rule, subtrahend) => {
                todo.extend([(&**rule, excluded), (subtrahend, excluded + 1)])
            }
            Rule::Conditional(rule, _) => todo.push((rule, excluded)),
        }
    }
    (links, deepest)
}

/// Strongly connected components after Tarjan, without recursion: the number of each group's
/// component. Components are numbered so that links lead to the same or a lower number.
fn components(links: &[Vec<Link>]) -> Vec<u32> {
    const UNSEEN: u32 = u32::MAX;
    let count = links.len();
    let (mut order, mut low) = (vec![UNSEEN; count], vec![UNSEEN; count]);
    let mut component = vec![UNSEEN; count];
    let (mut next_order, mut next_component) = (0, 0);
    let (mut open, mut path): (Vec<u32>, Vec<(u32, usize)>) = (Vec::new(), Vec::new());
    let at = |list: &[u32], group: u32| list.get(group as usize).copied().unwrap_or(UNSEEN);
    let set = |list: &mut [u32], group: u32, value: u32| {
        if let Some(slot) = list.get_mut(group as usize) {
            *slot = value;
        }
    };
    for root in 0..count as u32 {
        if at(&order, root) != UNSEEN {
            continue;
        }
        path.push((root, 0));
        while let Some((group, step)) = path.pop() {
            if step == 0 {
                set(&mut order, group, next_order);
                set(&mut low, group, next_order);
                next_order += 1;
                open.push(group);
            }
            if let Some(link) = links.get(group as usize).and_then(|outgoing| outgoing.get(step)) {
                path.push((group, step + 1));
                if at(&order, link.to) == UNSEEN {
                    path.push((link.to, 0));
                } else if at(&component, link.to) == UNSEEN {
                    let least = at(&low, group).min(at(&order, link.to));
                    set(&mut low, group, least);
                }
                continue;
            }
            if at(&low, group) == at(&order, group) {
                while let Some(member) = open.pop() {
                    set(&mut component, member, next_component);
                    if member == group {
                        break;
                    }
                }
                next_component += 1;
            }
            if let Some(&(parent, _)) = path.last() {
                let least = at(&low, parent).min(at(&low, group));
                set(&mut low, parent, least);
            }
        }
    }
    component
}

/// The shortest way from what is excluded back to the group that excludes it.
fn cycle(from: u32, excluded: u32, links: &[Vec<Link>]) -> Vec<u32> {
    let mut came_from = vec![u32::MAX; links.len()];
    let mut todo = VecDeque::from([excluded]);
    while let Some(group) = todo.pop_front() {
        if group == from {
            break;
        }
        for link in links.get(group as usize).into_iter().flatten() {
            if let Some(before) = came_from.get_mut(link.to as usize)
                && *before == u32::MAX
                && link.to != excluded
            {
                *before = group;
                todo.push_back(link.to);
            }
        }
    }
    let mut way = vec![from];
    let mut at = from;
    while at != excluded {
        at = came_from.get(at as usize).copied().unwrap_or(excluded);
        if at == u32::MAX {
            break;
        }
        way.push(at);
    }
    way.push(from);
    // Collected backwards, from the end of the cycle.
    way.reverse();
    way
}

/// A group on more layers of exclusion than allowed.
fn deepest(links: &[Vec<Link>], own: &[usize], component: &[u32]) -> Option<u32> {
    let mut by_component: Vec<(u32, u32)> = component.iter().copied().zip(0..).collect();
    by_component.sort_unstable();
    let mut depth = vec![0; links.len()];
    for (number, slot) in by_component {
        let below = links.get(slot as usize).into_iter().flatten().map(|link| {
            let below = component.get(link.to as usize).copied().unwrap_or(number);
            depth.get(below as usize).copied().unwrap_or(0) + link.excluded
        });
        let layers = below.chain(own.get(slot as usize).copied()).max().unwrap_or(0);
        if let Some(deepest) = depth.get_mut(number as usize) {
            *deepest = layers.max(*deepest);
            if *deepest > MAX_LAYERS {
                return Some(slot);
            }
        }
    }
    None
}
