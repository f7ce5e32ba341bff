//! The oracle: permissions by their definition, over strings, with nothing clever.
//!
//! How far a subject holds a name (a relation or permission) on an object is no, maybe or yes: 0, 1, 2.
//! - It holds yes when it *is* that userset, `object#name`.
//! - A relation holds as far as a stored relationship counts that has the subject, or everyone of its
//!   type, or a userset that the subject holds: then as far as both.
//! - A permission holds as far as its expression says: union is the largest, intersection the least, and
//!   exclusion the least of the first and what the second lacks.
//! - A relationship counts yes, unless it has expired, or its condition says less.
//!
//! What holds is the least that has these properties. It is found by adding what must be added until
//! nothing changes, layer by layer, so that whatever is excluded has been settled before.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use formwork_authz::Relationship;
use serde_json::{Map, Value};

pub(crate) type Holds = u8;
pub(crate) const NO: Holds = 0;
pub(crate) const MAYBE: Holds = 1;
pub(crate) const YES: Holds = 2;

#[derive(Debug, Clone)]
pub(crate) enum Expr {
    Nil,
    Itself,
    Name(String),
    Any(String, String),
    All(String, String),
    Union(Vec<Expr>),
    Intersection(Vec<Expr>),
    Exclusion(Box<Expr>, Box<Expr>),
}

/// A form of subject as it is written, `user`, `user:*`, `team#member`, and what comes with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Form {
    pub(crate) subject: String,
    pub(crate) condition: Option<&'static str>,
    pub(crate) expiration: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Relation(Vec<Form>),
    Permission(Expr, Option<&'static str>),
}

#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) layer: usize,
    pub(crate) body: Body,
}

#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) types: Vec<(String, Vec<Item>)>,
}

/// What comes with a question.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) values: Map<String, Value>,
    pub(crate) now: DateTime<Utc>,
}

/// By text without condition and expiry: there is one of each.
pub(crate) type Facts = BTreeMap<String, Relationship>;

/// What one subject holds, by object and name, as far as it is not no.
pub(crate) type Held = BTreeMap<(String, String), Holds>;

/// The conditions that models use, as they are written.
pub(crate) const CONDITIONS: &str = "
caveat few(x int) { x < 5 }
caveat both(a bool, b bool) { a && b }
caveat either(a bool, b bool) { a || b }
";
pub(crate) const CONDITION_NAMES: [&str; 3] = ["few", "both", "either"];

/// How far a condition holds, without CEL.
fn condition(name: &str, stored: &Map<String, Value>, request: &Map<String, Value>) -> Holds {
    // What is stored wins.
    let value = |name: &str| stored.get(name).or_else(|| request.get(name));
    let truth = |name: &str| match value(name) {
        Some(value) => YES * Holds::from(value.as_bool().unwrap()),
        None => MAYBE,
    };
    match name {
        "few" => value("x").map_or(MAYBE, |x| YES * Holds::from(x.as_i64().unwrap() < 5)),
        "both" => truth("a").min(truth("b")),
        "either" => truth("a").max(truth("b")),
        _ => unreachable!(),
    }
}

impl World {
    /// How far a relationship counts.
    pub(crate) fn counts(&self, fact: &Relationship) -> Holds {
        if fact.expires_at().is_some_and(|time| time <= self.now) {
            return NO;
        }
        match fact.condition() {
            Some(name) => {
                let stored = fact.context().map_or_else(Map::new, |json| serde_json::from_str(json).unwrap());
                condition(name, &stored, &self.values)
            }
            None => YES,
        }
    }

    pub(crate) fn condition(&self, name: &str) -> Holds {
        condition(name, &Map::new(), &self.values)
    }
}

/// The stored facts, each with how far it counts, by object and relation.
struct Stored(BTreeMap<(String, String), Vec<(String, Holds)>>);

impl Stored {
    fn subjects(&self, object: &str, relation: &str) -> &[(String, Holds)] {
        self.0.get(&(object.to_owned(), relation.to_owned())).map_or(&[], Vec::as_slice)
    }
}

impl Model {
    pub(crate) fn item(&self, object_type: &str, name: &str) -> Option<&Item> {
        let (_, items) = self.types.iter().find(|(known, _)| known == object_type)?;
        items.iter().find(|item| item.name == name)
    }

    pub(crate) fn layers(&self) -> usize {
        self.types.iter().flat_map(|(_, items)| items).map(|item| item.layer).max().unwrap_or(0)
    }

    /// Everything that `subject` holds on the objects.
    pub(crate) fn held(&self, facts: &Facts, world: &World, subject: &str, objects: &[String]) -> Held {
        let mut stored = Stored(BTreeMap::new());
        for fact in facts.values().filter(|fact| self.has_place_for(fact)) {
            let key = (fact.object().to_string(), fact.relation().to_owned());
            stored.0.entry(key).or_default().push((fact.subject().to_string(), world.counts(fact)));
        }
        let mut held = Held::new();
        for layer in 0..=self.layers() {
            loop {
                let mut changed = false;
                for object in objects {
                    for item in self.items_of(object).filter(|item| item.layer == layer) {
                        let holds = self.holds(&stored, world, subject, object, item, &held);
                        let before = held.insert((object.clone(), item.name.clone()), holds);
                        changed |= before.unwrap_or(NO) != holds;
                    }
                }
                if !changed {
                    break;
                }
            }
        }
        held
    }

    fn items_of(&self, object: &str) -> impl Iterator<Item = &Item> {
        let object_type = type_of(object);
        self.types.iter().filter(move |(name, _)| name == object_type).flat_map(|(_, items)| items)
    }

    fn holds(
        &self,
        stored: &Stored,
        world: &World,
        subject: &str,
        object: &str,
        item: &Item,
        held: &Held,
    ) -> Holds {
        if subject == format!("{object}#{}", item.name) {
            return YES;
        }
        match &item.body {
            Body::Relation(_) => {
                let subjects = stored.subjects(object, &item.name).iter();
                let each = subjects.map(|(named, counts)| {
                    let everyone = named == &format!("{}:*", type_of(subject)) && !subject.contains('#');
                    let userset = named.split_once('#').map_or(NO, |(object, name)| look(held, object, name));
                    (*counts).min(if named == subject || everyone { YES } else { userset })
                });
                each.max().unwrap_or(NO)
            }
            Body::Permission(expr, condition) => {
                let holds = satisfies(stored, subject, object, expr, held);
                condition.map_or(holds, |name| holds.min(world.condition(name)))
            }
        }
    }

    /// Whether the relation may hold the subject, with its condition and expiry.
    pub(crate) fn has_place_for(&self, fact: &Relationship) -> bool {
        let subject = fact.subject();
        let form = match subject.relation() {
            Some(relation) => format!("{}#{relation}", subject.subject_type()),
            None if subject.is_wildcard() => subject.to_string(),
            None => subject.subject_type().to_owned(),
        };
        match self.item(fact.object().object_type(), fact.relation()).map(|item| &item.body) {
            Some(Body::Relation(forms)) => forms.iter().any(|allowed| {
                allowed.subject == form
                    && allowed.condition == fact.condition()
                    && allowed.expiration == fact.expires_at().is_some()
            }),
            _ => false,
        }
    }
}

fn look(held: &Held, object: &str, name: &str) -> Holds {
    held.get(&(object.to_owned(), name.to_owned())).copied().unwrap_or(NO)
}

fn satisfies(stored: &Stored, subject: &str, object: &str, expr: &Expr, held: &Held) -> Holds {
    let each = |expr: &Expr| satisfies(stored, subject, object, expr, held);
    match expr {
        Expr::Nil => NO,
        Expr::Itself => YES * Holds::from(subject == object),
        Expr::Name(name) => look(held, object, name),
        Expr::Any(relation, target) => {
            let parents = stored.subjects(object, relation).iter();
            parents.map(|(parent, counts)| look(held, parent, target).min(*counts)).max().unwrap_or(NO)
        }
        Expr::All(relation, target) => {
            let parents = stored.subjects(object, relation);
            let exists = parents.iter().map(|(parent, counts)| look(held, parent, target).min(*counts));
            let exists = exists.max().unwrap_or(NO);
            // One that does not count is as if it were not there.
            let all = parents.iter().map(|(parent, counts)| look(held, parent, target).max(YES - counts));
            all.fold(exists, Holds::min)
        }
        Expr::Union(all) => all.iter().map(each).max().unwrap_or(NO),
        Expr::Intersection(all) => all.iter().map(each).min().unwrap_or(NO),
        Expr::Exclusion(base, taken) => each(base).min(YES - each(taken)),
    }
}

fn type_of(text: &str) -> &str {
    text.split(':').next().unwrap()
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "use self\nuse expiration\n{CONDITIONS}")?;
        for (name, items) in &self.types {
            writeln!(f, "definition {name} {{")?;
            for item in items {
                match &item.body {
                    Body::Relation(forms) => {
                        let forms: Vec<String> = forms.iter().map(ToString::to_string).collect();
                        writeln!(f, "    relation {}: {}", item.name, forms.join(" | "))?;
                    }
                    Body::Permission(expr, None) => writeln!(f, "    permission {} = {expr}", item.name)?,
                    Body::Permission(expr, Some(condition)) => {
                        writeln!(f, "    permission {} = {expr} with {condition}", item.name)?;
                    }
                }
            }
            writeln!(f, "}}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.subject)?;
        match (self.condition, self.expiration) {
            (Some(name), true) => write!(f, " with {name} and expiration"),
            (Some(name), false) => write!(f, " with {name}"),
            (None, true) => write!(f, " with expiration"),
            (None, false) => Ok(()),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut joined = |all: &[Expr], operator: &str| {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            write!(f, "({})", all.join(operator))
        };
        match self {
            Self::Nil => write!(f, "nil"),
            Self::Itself => write!(f, "self"),
            Self::Name(name) => write!(f, "{name}"),
            // Two ways of writing it.
            Self::Any(relation, target) if target.starts_with('p') => write!(f, "{relation}.any({target})"),
            Self::Any(relation, target) => write!(f, "{relation}->{target}"),
            Self::All(relation, target) => write!(f, "{relation}.all({target})"),
            Self::Union(all) => joined(all, " + "),
            Self::Intersection(all) => joined(all, " & "),
            Self::Exclusion(base, taken) => write!(f, "({base} - {taken})"),
        }
    }
}
