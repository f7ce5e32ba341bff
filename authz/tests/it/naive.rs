//! The oracle: permissions by their definition, over strings, with nothing clever.
//!
//! A subject holds a name (a relation or permission) on an object when
//! - it *is* that userset, `object#name`;
//! - for a relation: a stored relationship has the subject, or everyone of its type, or a userset
//!   that the subject holds;
//! - for a permission: its expression says so.
//!
//! What holds is the least set with these properties. It is found by adding what must be added until
//! nothing changes, layer by layer, so that whatever is excluded has been settled before.

use std::collections::BTreeSet;
use std::fmt;

use formwork_authz::Relationship;

#[derive(Debug, Clone)]
pub(crate) enum Expr {
    Nil,
    Name(String),
    Arrow(String, String),
    Union(Vec<Expr>),
    Intersection(Vec<Expr>),
    Exclusion(Box<Expr>, Box<Expr>),
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// Subject types as they are written: `user`, `user:*`, `team#member`.
    Relation(Vec<String>),
    Permission(Expr),
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

/// What one subject holds: pairs of object and name.
pub(crate) type Held = BTreeSet<(String, String)>;

impl Model {
    pub(crate) fn item(&self, object_type: &str, name: &str) -> Option<&Item> {
        let (_, items) = self.types.iter().find(|(known, _)| known == object_type)?;
        items.iter().find(|item| item.name == name)
    }

    /// Everything that `subject` holds on the objects.
    pub(crate) fn held(&self, facts: &BTreeSet<Relationship>, subject: &str, objects: &[String]) -> Held {
        let facts: Vec<&Relationship> = facts.iter().filter(|fact| self.has_place_for(fact)).collect();
        let layers = self.types.iter().flat_map(|(_, items)| items).map(|item| item.layer).max().unwrap_or(0);
        let mut held = Held::new();
        for layer in 0..=layers {
            loop {
                let before = held.len();
                for object in objects {
                    for item in self.items_of(object).filter(|item| item.layer == layer) {
                        if self.holds(&facts, subject, object, item, &held) {
                            held.insert((object.clone(), item.name.clone()));
                        }
                    }
                }
                if held.len() == before {
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

    fn holds(&self, facts: &[&Relationship], subject: &str, object: &str, item: &Item, held: &Held) -> bool {
        if subject == format!("{object}#{}", item.name) {
            return true;
        }
        match &item.body {
            Body::Relation(_) => subjects(facts, object, &item.name).any(|stored| {
                let everyone = format!("{}:*", type_of(subject));
                let userset =
                    stored.split_once('#').map(|(object, name)| (object.to_owned(), name.to_owned()));
                stored == subject
                    || (stored == everyone && !subject.contains('#'))
                    || userset.is_some_and(|userset| held.contains(&userset))
            }),
            Body::Permission(expr) => self.satisfies(facts, object, expr, held),
        }
    }

    fn satisfies(&self, facts: &[&Relationship], object: &str, expr: &Expr, held: &Held) -> bool {
        match expr {
            Expr::Nil => false,
            Expr::Name(name) => held.contains(&(object.to_owned(), name.clone())),
            Expr::Arrow(relation, target) => {
                subjects(facts, object, relation).any(|parent| held.contains(&(parent, target.clone())))
            }
            Expr::Union(all) => all.iter().any(|expr| self.satisfies(facts, object, expr, held)),
            Expr::Intersection(all) => all.iter().all(|expr| self.satisfies(facts, object, expr, held)),
            Expr::Exclusion(base, taken) => {
                self.satisfies(facts, object, base, held) && !self.satisfies(facts, object, taken, held)
            }
        }
    }

    /// Whether the relation may hold the subject.
    pub(crate) fn has_place_for(&self, fact: &Relationship) -> bool {
        let subject = fact.subject();
        let form = match subject.relation() {
            Some(relation) => format!("{}#{relation}", subject.subject_type()),
            None if subject.is_wildcard() => subject.to_string(),
            None => subject.subject_type().to_owned(),
        };
        match self.item(fact.object().object_type(), fact.relation()).map(|item| &item.body) {
            Some(Body::Relation(types)) => types.contains(&form),
            _ => false,
        }
    }
}

fn subjects(facts: &[&Relationship], object: &str, relation: &str) -> impl Iterator<Item = String> {
    let of =
        facts.iter().filter(move |fact| fact.object().to_string() == object && fact.relation() == relation);
    of.map(|fact| fact.subject().to_string())
}

fn type_of(text: &str) -> &str {
    text.split(':').next().unwrap()
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, items) in &self.types {
            writeln!(f, "definition {name} {{")?;
            for item in items {
                match &item.body {
                    Body::Relation(types) => {
                        writeln!(f, "    relation {}: {}", item.name, types.join(" | "))?
                    }
                    Body::Permission(expr) => writeln!(f, "    permission {} = {expr}", item.name)?,
                }
            }
            writeln!(f, "}}")?;
        }
        Ok(())
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
            Self::Name(name) => write!(f, "{name}"),
            Self::Arrow(relation, target) => write!(f, "{relation}->{target}"),
            Self::Union(all) => joined(all, " + "),
            Self::Intersection(all) => joined(all, " & "),
            Self::Exclusion(base, taken) => write!(f, "({base} - {taken})"),
        }
    }
}
