//! A permission as sets that one statement can tell, and what is done with them.
//!
//! Reaching through relationships is a recursion, which can only add. What is intersected or excluded outside of every
//! recursion is a matter of whole sets, and exact; inside of one it is not told at all.
//!
//! INVARIANT: every leaf is free of operations and conditions.

use std::fmt;

use crate::schema::{Rule, Schema};
use crate::sql::tables::{Tables, obstacle};

/// Leaves of one formula: each is a recursion in the statement.
const MAX_LEAVES: usize = 24;
/// Permissions in each other, as operands.
const MAX_DEPTH: usize = 64;

/// Who holds a permission.
#[derive(Debug, Clone)]
pub(crate) enum Formula {
    /// Whoever reaches the first group.
    Reach(Tables),
    Any(Vec<Formula>),
    All(Vec<Formula>),
    Except(Box<Formula>, Box<Formula>),
}

/// A permission that one SQL statement cannot tell, and what stands in the way.
///
/// A statement follows relationships by recursion, which only adds: it tells unions, arrows, usersets, wildcards and
/// expiries, and on top of them intersections and exclusions. What it does not tell is an operation that is met along the
/// way (`parent->view` where `view` excludes somebody), `.all()`, and conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inexpressible {
    permission: String,
    operation: &'static str,
    place: String,
}

impl Inexpressible {
    pub(crate) fn unknown(object_type: &str, name: &str) -> Self {
        let permission = format!("{object_type}#{name}");
        Self { place: permission.clone(), permission, operation: "a name that the schema does not have" }
    }

    /// The permission that was to be told, `document#view`.
    pub fn permission(&self) -> &str {
        &self.permission
    }

    /// What stands in the way, as `an exclusion`.
    pub fn operation(&self) -> &str {
        self.operation
    }

    /// The relation or permission where it stands, `folder#view`.
    pub fn place(&self) -> &str {
        &self.place
    }
}

impl fmt::Display for Inexpressible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { permission, operation, place } = self;
        write!(
            f,
            "`{permission}` cannot be told by one SQL statement: it leads to {operation} in `{place}`; "
        )?;
        write!(f, "ask `Authz` from the program, or leave it out")
    }
}

impl std::error::Error for Inexpressible {}

impl Formula {
    /// Who holds a relation or permission.
    pub(crate) fn of(schema: &Schema, slot: u32) -> Result<Self, Inexpressible> {
        let mut making = Making { schema, open: Vec::new(), leaves: 0 };
        making.slot(slot).map_err(|(operation, place)| {
            let text = |slot| schema.slot_text(slot).trim_matches('`').to_owned();
            Inexpressible { permission: text(slot), operation, place: text(place) }
        })
    }
}

type Obstacle = (&'static str, u32);

struct Making<'s> {
    schema: &'s Schema,
    open: Vec<u32>,
    leaves: usize,
}

impl<'s> Making<'s> {
    fn leaf(&mut self, slot: u32, tables: Tables) -> Result<Formula, Obstacle> {
        self.leaves += 1;
        if self.leaves > MAX_LEAVES {
            return Err(("more operations than a statement should have", slot));
        }
        Ok(Formula::Reach(tables))
    }

    fn slot(&mut self, slot: u32) -> Result<Formula, Obstacle> {
        let schema = self.schema;
        let Some(info) = schema.slot(slot) else { return self.leaf(slot, Tables::default()) };
        if obstacle(schema, slot, &info.rule).is_none() {
            return self.leaf(slot, Tables::of_slots(schema, &[slot]));
        }
        if self.open.contains(&slot) || self.open.len() >= MAX_DEPTH {
            return Err(("an operation on itself", slot));
        }
        self.open.push(slot);
        let inner = self.rule(slot, &info.rule);
        self.open.pop();
        Ok(Formula::Any(vec![self.leaf(slot, Tables::of_userset(schema, slot))?, inner?]))
    }

    /// Recursion is bounded: rules are, and so is what is open.
    fn rule(&mut self, slot: u32, rule: &'s Rule) -> Result<Formula, Obstacle> {
        let Some(found) = obstacle(self.schema, slot, rule) else {
            return self.leaf(slot, Tables::of_rules(self.schema, slot, &[rule]));
        };
        match rule {
            Rule::Slot(named) => self.slot(*named),
            Rule::Union(operands) => {
                let (reaching, others): (Vec<&Rule>, Vec<&Rule>) =
                    operands.iter().partition(|operand| obstacle(self.schema, slot, operand).is_none());
                let mut any = Vec::new();
                if !reaching.is_empty() {
                    any.push(self.leaf(slot, Tables::of_rules(self.schema, slot, &reaching))?);
                }
                for other in others {
                    any.push(self.rule(slot, other)?);
                }
                Ok(Formula::Any(any))
            }
            Rule::Intersection(operands) => {
                let all: Result<Vec<Formula>, Obstacle> =
                    operands.iter().map(|operand| self.rule(slot, operand)).collect();
                Ok(Formula::All(all?))
            }
            Rule::Exclusion(from, subtrahend) => {
                let from = self.rule(slot, from)?;
                Ok(Formula::Except(Box::new(from), Box::new(self.rule(slot, subtrahend)?)))
            }
            Rule::Nil | Rule::This | Rule::Itself | Rule::Arrow { .. } | Rule::Conditional(..) => Err(found),
        }
    }
}
