//! How much an evaluation could cost at most, found before it begins.
//!
//! CEL has no unbounded loop: what repeats, repeats over a list or map that is there. So a bound
//! follows from the sizes of the parameters: a walk over the expression, and nothing has to be counted
//! while it runs. A size is the whole weight of a value: characters, items, and items of items.

use std::collections::HashSet;

use cel::Value;
use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::objects::Key;

/// A pattern is compiled each time that it is used.
const PATTERN: u64 = 500;

/// Weights of the variables.
pub(super) struct Sizes<'a>(Vec<(&'a str, Size)>);

/// The weight of a value, and of the heaviest thing in it.
#[derive(Clone, Copy, Default)]
struct Size {
    whole: u64,
    item: u64,
}

impl<'a> Sizes<'a> {
    pub(super) fn new(values: impl Iterator<Item = (&'a str, &'a Value)>) -> Self {
        Self(
            values
                .map(|(name, value)| (name, Size { whole: weight(value), item: heaviest(value) }))
                .collect(),
        )
    }
}

/// Values come from contexts, which are bounded in depth.
fn weight(value: &Value) -> u64 {
    match value {
        Value::String(text) => 1 + text.len() as u64,
        Value::Bytes(bytes) => 1 + bytes.len() as u64,
        Value::List(items) => 1 + items.iter().map(weight).sum::<u64>(),
        Value::Map(map) => {
            1 + map.map.iter().map(|(key, value)| key_weight(key) + weight(value)).sum::<u64>()
        }
        _ => 1,
    }
}

fn key_weight(key: &Key) -> u64 {
    match key {
        Key::String(text) => 1 + text.len() as u64,
        _ => 1,
    }
}

fn heaviest(value: &Value) -> u64 {
    match value {
        Value::List(items) => items.iter().map(weight).max().unwrap_or(1),
        Value::Map(map) => {
            map.map.iter().map(|(key, value)| key_weight(key).max(weight(value))).max().unwrap_or(1)
        }
        _ => weight(value),
    }
}

pub(super) fn estimate(expression: &IdedExpr, sizes: &Sizes<'_>) -> u64 {
    let mut names: Vec<(&str, Size)> = sizes.0.clone();
    bound(expression, &mut names).cost
}

#[derive(Clone, Copy, Default)]
struct Bound {
    cost: u64,
    size: Size,
}

impl Bound {
    fn of(whole: u64) -> Self {
        Self { cost: 1, size: Size { whole, item: whole } }
    }

    fn and(self, other: Self) -> Self {
        let whole = self.size.whole.saturating_add(other.size.whole);
        let item = self.size.item.max(other.size.item);
        Self { cost: self.cost.saturating_add(other.cost), size: Size { whole, item } }
    }
}

/// Recursion is bounded: CEL's parser bounds the depth of expressions.
fn bound<'e>(expression: &'e IdedExpr, names: &mut Vec<(&'e str, Size)>) -> Bound {
    let mut sum = |parts: &mut dyn Iterator<Item = &'e IdedExpr>| {
        parts.fold(Bound::of(1), |sum, part| sum.and(bound(part, names)))
    };
    match &expression.expr {
        Expr::Unspecified => Bound::default(),
        Expr::Literal(LiteralValue::String(text)) => Bound::of(1 + text.inner().len() as u64),
        Expr::Literal(LiteralValue::Bytes(bytes)) => Bound::of(1 + bytes.inner().len() as u64),
        Expr::Literal(_) => Bound::of(1),
        Expr::Ident(name) => {
            let known = names.iter().rev().find(|(known, _)| known == name);
            Bound { cost: 1, size: known.map_or(Size { whole: 1, item: 1 }, |(_, size)| *size) }
        }
        Expr::Select(select) => opened(sum(&mut std::iter::once(&*select.operand))),
        Expr::List(list) => {
            let parts = sum(&mut list.elements.iter());
            Bound { size: Size { item: parts.size.whole, ..parts.size }, ..parts }
        }
        Expr::Map(map) => opened(sum(&mut map.entries.iter().flat_map(|entry| parts_of(&entry.expr)))),
        Expr::Struct(made) => opened(sum(&mut made.entries.iter().flat_map(|entry| parts_of(&entry.expr)))),
        Expr::Call(call) => {
            let parts = sum(&mut call.args.iter().chain(call.target.as_deref()));
            // Whatever is called may look at all of what it is given.
            let own = parts.size.whole.saturating_add(if call.func_name == "matches" { PATTERN } else { 0 });
            opened(Bound { cost: parts.cost.saturating_add(own), size: parts.size })
        }
        Expr::Comprehension(comprehension) => repeated(comprehension, names),
    }
}

/// What came out may be one item, and the next one an item of that.
fn opened(bound: Bound) -> Bound {
    Bound { size: Size { item: bound.size.whole, ..bound.size }, ..bound }
}

fn parts_of(entry: &EntryExpr) -> impl Iterator<Item = &IdedExpr> {
    let (key, value) = match entry {
        EntryExpr::StructField(field) => (None, &field.value),
        EntryExpr::MapEntry(entry) => (Some(&entry.key), &entry.value),
    };
    key.into_iter().chain([value])
}

fn repeated<'e>(comprehension: &'e ComprehensionExpr, names: &mut Vec<(&'e str, Size)>) -> Bound {
    let range = bound(&comprehension.iter_range, names);
    let init = bound(&comprehension.accu_init, names);
    let known = names.len();
    // No more is known of an item than its weight, which is that of what is in it as well.
    let item = Size { whole: range.size.item, item: range.size.item };
    names.push((&comprehension.iter_var, item));
    names.extend(comprehension.iter_var2.as_deref().map(|name| (name, item)));
    // What is collected is not looked at while collecting.
    names.push((&comprehension.accu_var, Size::default()));
    let step = bound(&comprehension.loop_step, names).and(bound(&comprehension.loop_cond, names));
    let collected = init.size.whole.saturating_add(range.size.whole.saturating_mul(step.size.whole));
    if let Some(accu) = names.last_mut() {
        accu.1 = Size { whole: collected, item: step.size.whole };
    }
    let result = bound(&comprehension.result, names);
    names.truncate(known);
    let steps = range.size.whole.saturating_mul(step.cost);
    let cost = [range.cost, init.cost, result.cost].into_iter().fold(steps, u64::saturating_add);
    Bound { cost, size: result.size }
}

/// The variables that an expression does not bind itself.
pub(super) fn free_names(expression: &IdedExpr) -> HashSet<&str> {
    let mut free = HashSet::new();
    collect(expression, &mut Vec::new(), &mut free);
    free
}

fn collect<'e>(expression: &'e IdedExpr, bound: &mut Vec<&'e str>, free: &mut HashSet<&'e str>) {
    match &expression.expr {
        Expr::Unspecified | Expr::Literal(_) => {}
        Expr::Ident(name) => {
            let known =
                name.starts_with('@') || bound.contains(&name.as_str()) || TYPES.contains(&name.as_str());
            if !known {
                free.insert(name);
            }
        }
        Expr::Select(select) => collect(&select.operand, bound, free),
        Expr::List(list) => list.elements.iter().for_each(|part| collect(part, bound, free)),
        Expr::Map(map) => {
            map.entries
                .iter()
                .flat_map(|entry| parts_of(&entry.expr))
                .for_each(|part| collect(part, bound, free));
        }
        Expr::Struct(made) => {
            made.entries
                .iter()
                .flat_map(|entry| parts_of(&entry.expr))
                .for_each(|part| collect(part, bound, free));
        }
        Expr::Call(call) => {
            call.args.iter().chain(call.target.as_deref()).for_each(|part| collect(part, bound, free));
        }
        Expr::Comprehension(comprehension) => {
            collect(&comprehension.iter_range, bound, free);
            collect(&comprehension.accu_init, bound, free);
            let known = bound.len();
            bound.push(&comprehension.iter_var);
            bound.extend(comprehension.iter_var2.as_deref());
            bound.push(&comprehension.accu_var);
            for part in [&comprehension.loop_cond, &comprehension.loop_step, &comprehension.result] {
                collect(part, bound, free);
            }
            bound.truncate(known);
        }
    }
}

/// Names of CEL's types, which may stand as values.
const TYPES: [&str; 14] = [
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "type",
    "null_type",
    "duration",
    "timestamp",
    "google",
    "dyn",
];
