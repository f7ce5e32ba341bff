//! Moving in: a model and tuples of another system become a native schema and relationships.
//!
//! What cannot be said is counted and shown, and never left out in silence.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::files::fault::Fault;
use crate::files::rename::Renames;
use crate::graph::Row;
use crate::relationship::Relationship;
use crate::schema::{
    Allowed, AllowedSubject, ConditionInfo, Definition, Module, Rewrite, Rule, Schema, SlotKind, SubjectKind,
};

/// Examples of each thing that cannot be said.
const MAX_EXAMPLES: usize = 3;

/// Something of another system that has no place here, how often, and examples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsaid {
    /// What it is.
    pub reason: String,
    /// How often it is met.
    pub count: usize,
    /// The first few.
    pub examples: Vec<String>,
}

/// What came of an import.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The schema: native, or the model as it was where the native language cannot say it.
    pub schema: Arc<Schema>,
    /// Why the schema is not native; empty when it is.
    pub not_native: Vec<String>,
    /// What has a place in the schema.
    pub relationships: Vec<Relationship>,
    /// What has none.
    pub unsaid: Vec<Unsaid>,
    /// What is called otherwise: before, after.
    pub renamed: Vec<(String, String)>,
    renames: Renames,
}

impl Imported {
    /// A question of the other system as it is asked here: `object#permission@subject`.
    pub fn question(&self, question: &Relationship) -> Relationship {
        self.renames.apply(question, false)
    }
}

/// Takes over a model of OpenFGA and its tuples.
///
/// What a relation stores and computes at once becomes a relation and a permission of its name, names become native ones.
/// A model that the native language has no words for stays as it is; it runs all the same.
///
/// ```
/// use formwork_authz::{Schema, files::import_openfga};
///
/// let model = Schema::parse_openfga("
/// model
///   schema 1.1
/// type user
/// type document
///   relations
///     define owner: [user]
///     define can-view: [user] or owner
/// ")?;
/// let tuple = "document:7#can-view@user:anna".parse()?;
/// let imported = import_openfga(model, [Ok(tuple)]);
/// assert!(imported.schema.to_native()?.contains("permission can_view = direct_can_view + owner"));
/// assert_eq!(imported.relationships[0].to_string(), "document:7#direct_can_view@user:anna");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn import_openfga(
    model: impl Into<Arc<Schema>>,
    tuples: impl IntoIterator<Item = Result<Relationship, Fault>>,
) -> Imported {
    let model = model.into();
    let renames = Renames::of(&model);
    let (schema, renames, not_native) = match native(&model, &renames) {
        Ok(schema) => (Arc::new(schema), renames, Vec::new()),
        Err(reasons) => (model, Renames::default(), reasons),
    };
    taken(schema, renames, not_native, tuples)
}

/// Takes over a schema of SpiceDB, which is native as it is, and its relationships.
pub fn import_spicedb(
    schema: impl Into<Arc<Schema>>,
    relationships: impl IntoIterator<Item = Result<Relationship, Fault>>,
) -> Imported {
    taken(schema.into(), Renames::default(), Vec::new(), relationships)
}

fn taken(
    schema: Arc<Schema>,
    renames: Renames,
    not_native: Vec<String>,
    tuples: impl IntoIterator<Item = Result<Relationship, Fault>>,
) -> Imported {
    let mut relationships = Vec::new();
    let mut unsaid: BTreeMap<String, Unsaid> = BTreeMap::new();
    let mut leave_out = |reason: String, example: String| {
        let entry = unsaid.entry(reason.clone()).or_insert(Unsaid { reason, count: 0, examples: Vec::new() });
        entry.count += 1;
        if entry.examples.len() < MAX_EXAMPLES {
            entry.examples.push(example);
        }
    };
    for tuple in tuples {
        match tuple {
            Ok(tuple) => {
                let fact = renames.apply(&tuple, true);
                match misplaced(&schema, &fact) {
                    None => relationships.push(fact),
                    Some(reason) => leave_out(reason, tuple.to_string()),
                }
            }
            Err(fault) => {
                let place = if fault.line() == 0 { String::new() } else { format!(":{}", fault.line()) };
                leave_out(
                    "it cannot be read".to_owned(),
                    format!("{}{place}: {}", fault.source(), fault.message()),
                );
            }
        }
    }
    let unsaid = unsaid.into_values().collect();
    let renamed = renames.list();
    Imported { schema, not_native, relationships, unsaid, renamed, renames }
}

/// Why the schema has no place for a relationship; `None` when it has one.
pub fn misplaced(schema: &Schema, fact: &Relationship) -> Option<String> {
    let row = Row::from(fact);
    if let Some(place) = row.place(schema) {
        if row.fits(schema, place) {
            return None;
        }
        let with = match (fact.condition(), fact.expires_at()) {
            (Some(name), None) => format!("with the condition `{name}`"),
            (Some(name), Some(_)) => format!("with the condition `{name}` and an expiry"),
            (None, Some(_)) => "with an expiry".to_owned(),
            (None, None) => "without a condition".to_owned(),
        };
        let (object, subject) = (fact.object().object_type(), fact.subject().subject_type());
        return Some(format!("`{object}#{}` does not take `{subject}` {with}", fact.relation()));
    }
    let object_type = fact.object().object_type();
    let known = |name: &str| schema.object_types().any(|known| known == name);
    if !known(object_type) {
        return Some(format!("the model has no type `{object_type}`"));
    }
    if !schema.relations(object_type).any(|name| name == fact.relation()) {
        return Some(format!("`{object_type}` stores nothing in `{}`", fact.relation()));
    }
    let subject = fact.subject();
    let form = match subject.relation() {
        Some(relation) => format!("{}#{relation}", subject.subject_type()),
        None if subject.is_wildcard() => subject.to_string(),
        None => subject.subject_type().to_owned(),
    };
    Some(format!("`{object_type}#{}` does not take `{form}`", fact.relation()))
}

/// The model in the native language, or why it cannot be said there.
fn native(model: &Schema, renames: &Renames) -> Result<Schema, Vec<String>> {
    let mut module = Module::new("model");
    for condition in &model.conditions {
        let mut said = ConditionInfo::new(renames.condition(&condition.name), &condition.expression)
            .documented(condition.doc.clone());
        for (name, kind) in &condition.parameters {
            said = said.parameter(name.clone(), kind.clone());
        }
        module = module.condition(said);
    }
    for info in &model.types {
        let mut definition = Definition::new(renames.object_type(&info.name)).documented(&*info.doc);
        for slot in info.slots.iter().filter_map(|&slot| model.slot(slot)) {
            let stored = renames.stored(&info.name, &slot.name);
            if slot.kind != SlotKind::Permission {
                let allowed = slot.allowed.iter().map(|allowed| self::allowed(model, renames, allowed));
                definition = definition.relation(stored, allowed);
            }
            if slot.kind != SlotKind::Relation {
                let rewrite = rewrite(model, renames, stored, &slot.rule);
                definition = definition.permission(renames.slot(&slot.name), rewrite);
            }
            definition = definition.documented(&*slot.doc);
        }
        module = module.definition(definition);
    }
    let schema = Schema::build(&[module]).map_err(|error| {
        error
            .diagnostics()
            .iter()
            .map(|found| format!("{} ({})", found.message(), found.code()))
            .collect::<Vec<_>>()
    })?;
    match schema.to_native() {
        Ok(_) => Ok(schema),
        Err(error) => Err(error.reasons().to_vec()),
    }
}

fn allowed(model: &Schema, renames: &Renames, allowed: &AllowedSubject) -> Allowed {
    let said = match allowed.subject {
        SubjectKind::Object(id) => Allowed::object(renames.object_type(model.type_name(id))),
        SubjectKind::Wildcard(id) => Allowed::wildcard(renames.object_type(model.type_name(id))),
        SubjectKind::Userset(slot) => {
            let (type_id, name) = model.slot(slot).map_or((0, ""), |info| (info.type_id, &info.name));
            Allowed::userset(renames.object_type(model.type_name(type_id)), renames.slot(name))
        }
    };
    match allowed.condition.and_then(|id| model.conditions.get(id as usize)) {
        Some(condition) => said.when(renames.condition(&condition.name)),
        None => said,
    }
}

/// Recursion is bounded: rules are.
fn rewrite(model: &Schema, renames: &Renames, stored: &str, rule: &Rule) -> Rewrite {
    let name = |id: u32| renames.slot(model.slot(id).map_or("", |slot| &slot.name));
    let each = |rule: &Rule| rewrite(model, renames, stored, rule);
    let joined = |rules: &[Rule], join: fn(Rewrite, Rewrite) -> Rewrite| {
        rules.iter().map(each).reduce(join).unwrap_or_else(Rewrite::nil)
    };
    match rule {
        Rule::Nil => Rewrite::nil(),
        Rule::Itself => Rewrite::itself(),
        Rule::This => Rewrite::from(stored),
        Rule::Slot(id) => Rewrite::from(name(*id)),
        Rule::Arrow { relation, all, targets } => {
            let target = targets.first().map_or("", |&(_, target)| name(target));
            match all {
                true => Rewrite::arrow_all(name(*relation), target),
                false => Rewrite::arrow(name(*relation), target),
            }
        }
        Rule::Union(rules) => joined(rules, Rewrite::or),
        Rule::Intersection(rules) => joined(rules, Rewrite::and),
        Rule::Exclusion(base, taken) => each(base).but_not(each(taken)),
        Rule::Conditional(inner, condition) => {
            let condition = model.conditions.get(*condition as usize).map_or("", |condition| &condition.name);
            each(inner).when(renames.condition(condition))
        }
    }
}
