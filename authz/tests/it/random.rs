//! Random models, facts and contexts, from numbers, so that a failure shrinks with them.

use chrono::{DateTime, TimeDelta, Utc};
use formwork_authz::{Object, Relationship, Subject};
use serde_json::{Map, json};

use crate::naive::{Body, CONDITION_NAMES, Expr, Form, Item, Model, World};

/// Names, and the layer of exclusion on which each stands in every type.
const RELATIONS: [(&str, usize); 4] = [("parent", 0), ("r0", 0), ("r1", 0), ("r2", 1)];
const PERMISSIONS: [(&str, usize); 5] = [("p0", 0), ("p1", 0), ("p2", 1), ("p3", 1), ("p4", 2)];
pub(crate) const TYPES: [&str; 3] = ["t0", "t1", "t2"];
pub(crate) const IDS: [&str; 3] = ["a", "b", "c"];

/// Decisions taken one after the other.
pub(crate) struct Choices<'a>(pub(crate) std::slice::Iter<'a, u16>);

type Names = [(String, Vec<(&'static str, usize)>)];

/// What a model has at all: half of them are plain, as most schemas are.
#[derive(Clone, Copy)]
struct Style {
    wildcards: bool,
    conditions: bool,
}

impl Choices<'_> {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0.next().map_or(0, |&n| n as usize % limit)
    }

    pub(crate) fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    pub(crate) fn model(&mut self) -> Model {
        let style = Style { wildcards: self.below(2) == 0, conditions: self.below(2) == 0 };
        // Which names each type has is settled first: arrows and usersets refer to it.
        let names: Vec<(String, Vec<(&str, usize)>)> = TYPES
            .iter()
            .map(|name| {
                let all = RELATIONS.iter().chain(&PERMISSIONS).copied();
                let kept =
                    all.filter(|(name, _)| matches!(*name, "parent" | "r0") || self.below(5) > 0).collect();
                ((*name).to_owned(), kept)
            })
            .collect();
        let mut types = vec![("user".to_owned(), Vec::new())];
        for (name, items) in &names {
            let parents = self.parents();
            let items = items.iter().map(|&(item, layer)| {
                let body = if item == "parent" {
                    Body::Relation(parents.iter().flat_map(|parent| self.forms(parent, style)).collect())
                } else if RELATIONS.contains(&(item, layer)) {
                    Body::Relation(self.subject_types(&names, item, layer, style))
                } else {
                    let expr = self.expr(items, &names, &parents, layer, 3);
                    let conditional = style.conditions && self.below(8) == 0;
                    Body::Permission(expr, conditional.then(|| self.one_of(&CONDITION_NAMES)))
                };
                Item { name: item.to_owned(), layer, body }
            });
            types.push((name.clone(), items.collect()));
        }
        Model { types }
    }

    fn parents(&mut self) -> Vec<String> {
        let first = self.below(TYPES.len());
        let mut parents = vec![TYPES[first].to_owned()];
        if self.below(2) == 0 {
            parents.push(TYPES[(first + 1) % TYPES.len()].to_owned());
        }
        parents
    }

    /// The form of a subject, bare or with a condition and an expiry, or both ways.
    fn forms(&mut self, subject: &str, style: Style) -> Vec<Form> {
        let form = |condition, expiration| Form { subject: subject.to_owned(), condition, expiration };
        let bare = form(None, false);
        if !style.conditions {
            return vec![bare];
        }
        match self.below(6) {
            0 => vec![bare, form(Some(self.one_of(&CONDITION_NAMES)), false)],
            1 => vec![form(Some(self.one_of(&CONDITION_NAMES)), self.below(3) == 0)],
            2 => vec![bare, form(None, true)],
            _ => vec![bare],
        }
    }

    /// A wildcard may not be reached through a userset: then only `r1` has one, and nobody names it.
    fn subject_types(&mut self, names: &Names, item: &str, layer: usize, style: Style) -> Vec<Form> {
        let mut types = vec!["user".to_owned()];
        for _ in 0..self.below(4) {
            let (name, items) = &names[self.below(names.len())];
            let below = items.iter().filter(|item| item.1 <= layer).map(|item| item.0);
            let below: Vec<&str> =
                below.filter(|item| !style.wildcards || matches!(*item, "r0" | "r2")).collect();
            types.push(match self.below(5) {
                0 if style.wildcards && item == "r1" => "user:*".to_owned(),
                1 => name.clone(),
                _ => format!("{name}#{}", self.one_of(&below)),
            });
        }
        types.sort();
        types.dedup();
        types.iter().flat_map(|subject| self.forms(subject, style)).collect()
    }

    fn expr(
        &mut self,
        own: &[(&'static str, usize)],
        names: &Names,
        parents: &[String],
        layer: usize,
        depth: usize,
    ) -> Expr {
        let choice = if depth == 0 { self.below(3) } else { self.below(9) };
        let inner = |choices: &mut Self| choices.expr(own, names, parents, layer, depth - 1);
        match choice {
            0 | 1 => {
                let below: Vec<&str> = own.iter().filter(|item| item.1 <= layer).map(|item| item.0).collect();
                Expr::Name(self.one_of(&below).to_owned())
            }
            2 => {
                let of_parents =
                    names.iter().filter(|(name, _)| parents.contains(name)).flat_map(|(_, items)| items);
                let below: Vec<&str> = of_parents.filter(|item| item.1 <= layer).map(|item| item.0).collect();
                let (relation, target) = ("parent".to_owned(), self.one_of(&below).to_owned());
                if self.below(3) == 0 { Expr::All(relation, target) } else { Expr::Any(relation, target) }
            }
            3 | 4 => Expr::Union(vec![inner(self), inner(self)]),
            5 => Expr::Intersection(vec![inner(self), inner(self)]),
            6 if layer > 0 => {
                let base = inner(self);
                let taken = self.expr(own, names, parents, layer - 1, depth - 1);
                Expr::Exclusion(Box::new(base), Box::new(taken))
            }
            6 => Expr::Intersection(vec![inner(self), inner(self), inner(self)]),
            7 => Expr::Union(vec![inner(self), Expr::Itself]),
            _ if self.below(4) == 0 => Expr::Nil,
            _ => Expr::Union(vec![inner(self), inner(self), inner(self)]),
        }
    }

    /// Mostly what the schema has a place for, now and then what it has none for.
    pub(crate) fn fact(&mut self, model: &Model) -> Relationship {
        let (object_type, items) = &model.types[1 + self.below(TYPES.len())];
        let relations: Vec<&Item> =
            items.iter().filter(|item| matches!(item.body, Body::Relation(_))).collect();
        let item = self.one_of(&relations);
        let Body::Relation(forms) = &item.body else { unreachable!() };
        let mut form = self.one_of(forms);
        match self.below(30) {
            0 => form.subject = "user:*".to_owned(),
            1 => form.condition = None,
            2 => form.expiration = !form.expiration,
            _ => {}
        }
        let subject = match form.subject.split_once('#') {
            Some((name, relation)) => {
                Subject::userset(name.to_owned(), self.one_of(&IDS), relation.to_owned())
            }
            None if form.subject == "user:*" => Subject::wildcard("user"),
            None => Subject::new(form.subject, self.one_of(&IDS)),
        };
        let object = Object::new(object_type.clone(), self.one_of(&IDS));
        let mut fact = Relationship::new(object, item.name.clone(), subject);
        if let Some(name) = form.condition {
            let declared: &[&str] = if name == "few" { &["x"] } else { &["a", "b"] };
            let mut context = self.values();
            context.retain(|name, _| declared.contains(&name.as_str()));
            fact = fact.with_condition(name, context);
        }
        if form.expiration { fact.expiring_at(hour(self.below(3))) } else { fact }
    }

    fn values(&mut self) -> Map<String, serde_json::Value> {
        let mut values = Map::new();
        match self.below(3) {
            0 => {}
            choice => drop(values.insert("x".into(), json!(choice * 4 - 2))),
        }
        for name in ["a", "b"] {
            match self.below(3) {
                0 => {}
                choice => drop(values.insert(name.into(), json!(choice == 1))),
            }
        }
        values
    }

    pub(crate) fn world(&mut self) -> World {
        World { values: self.values(), now: hour(self.below(4)) }
    }
}

fn hour(number: usize) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::hours(number as i64)
}
