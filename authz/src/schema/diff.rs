//! What one schema says that another does not.

use std::collections::BTreeMap;
use std::fmt;

use crate::schema::{ConditionInfo, Schema, SlotInfo, SlotKind};

/// The difference between two schemas, item by item; comments and the order of items are none.
///
/// ```
/// use formwork_authz::Schema;
///
/// let old = Schema::parse("definition user {} definition rfi { relation viewer: user permission view = viewer }")?;
/// let new = Schema::parse("
///     definition user {}
///     definition rfi {
///         relation viewer: user
///         relation owner: user
///         permission view = viewer + owner
///     }
/// ")?;
/// let diff = old.diff(&new);
/// assert_eq!(
///     diff.to_string(),
///     "+ relation rfi#owner\n+ rfi#owner@user\n~ permission rfi#view: viewer, now viewer + owner\n"
/// );
/// # Ok::<(), formwork_authz::SchemaError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SchemaDiff {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<Changed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Changed {
    item: String,
    before: String,
    after: String,
}

impl SchemaDiff {
    /// Types, relations, permissions, conditions and forms of subject that only the newer schema has.
    pub fn added(&self) -> &[String] {
        &self.added
    }

    /// Those that only the older schema has.
    pub fn removed(&self) -> &[String] {
        &self.removed
    }

    /// Permissions and conditions that say something else, by name.
    pub fn changed(&self) -> impl Iterator<Item = &str> {
        self.changed.iter().map(|changed| &*changed.item)
    }

    /// Both say the same.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// From nothing, where there is no older one.
    pub(crate) fn between(older: Option<&Schema>, newer: &Schema) -> Self {
        let (before, after) = (older.map(Schema::items).unwrap_or_default(), newer.items());
        let only_in = |these: &BTreeMap<String, String>, those: &BTreeMap<String, String>| -> Vec<String> {
            these.keys().filter(|&item| !those.contains_key(item)).cloned().collect()
        };
        let changed = before.iter().filter_map(|(item, text)| {
            let now = after.get(item).filter(|&now| now != text)?;
            Some(Changed { item: item.clone(), before: text.clone(), after: now.clone() })
        });
        Self {
            added: only_in(&after, &before),
            removed: only_in(&before, &after),
            changed: changed.collect(),
        }
    }
}

impl fmt::Display for SchemaDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.removed.iter().try_for_each(|item| writeln!(f, "- {item}"))?;
        self.added.iter().try_for_each(|item| writeln!(f, "+ {item}"))?;
        self.changed
            .iter()
            .try_for_each(|Changed { item, before, after }| writeln!(f, "~ {item}: {before}, now {after}"))
    }
}

impl Schema {
    /// What `newer` says that this schema does not, and the other way round.
    pub fn diff(&self, newer: &Self) -> SchemaDiff {
        SchemaDiff::between(Some(self), newer)
    }

    /// By name what can be said of it: a permission's rule, a condition's text, nothing else.
    fn items(&self) -> BTreeMap<String, String> {
        let types = self.types.iter().map(|info| (format!("type {}", info.name), String::new()));
        let conditions = self.conditions.iter().map(condition);
        let slots = (0..).zip(&self.slots).map(|(slot, info)| self.slot_item(slot, info));
        let places = self.places().into_iter().map(|place| (place, String::new()));
        types.chain(conditions).chain(slots).chain(places).collect()
    }

    fn slot_item(&self, slot: u32, info: &SlotInfo) -> (String, String) {
        let name = self.slot_text(slot);
        match info.kind {
            SlotKind::Relation => (format!("relation {name}"), String::new()),
            SlotKind::Permission | SlotKind::Mixed => {
                (format!("permission {name}"), self.text(&info.rule, true))
            }
        }
    }
}

fn condition(info: &ConditionInfo) -> (String, String) {
    let parameters: Vec<String> =
        info.parameters.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    let words: Vec<&str> = info.expression.split_whitespace().collect();
    (format!("condition {}", info.name), format!("({}) {}", parameters.join(", "), words.join(" ")))
}
