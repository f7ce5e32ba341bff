//! Names to numbers: every name is looked up, every rule of the language verified.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::name::nearest;
use crate::schema::diagnostic::{Diagnostics, SchemaError, Span};
use crate::schema::program::{self, MAX_STEPS, Program, Unfit};
use crate::schema::rule::{AllowedSubject, Dialect, Rule, SlotKind};
use crate::schema::stratify::{self, MAX_LAYERS, Unstratified};
use crate::schema::syntax::{Body, Definition, Expression, Item, Name, SubjectForm};
use crate::schema::{EdgeInfo, Schema, SlotInfo, Source, SubjectKind, TypeInfo, parse};

/// The longest text of one source, in bytes.
const MAX_TEXT: usize = 1 << 20;
/// Relations and permissions of one definition: programs grow with their square.
const MAX_ITEMS: usize = 500;
/// Operations in operations of one rule; each level costs stack.
const MAX_DEPTH: usize = 256;

pub(crate) fn compile(sources: &[Source<'_>]) -> Result<Schema, SchemaError> {
    let mut faults = Diagnostics::new(sources);
    let mut definitions = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        if source.text.len() > MAX_TEXT {
            let span = Span { source: number, ..Span::default() };
            faults.report(span, format!("the text is longer than {MAX_TEXT} bytes"));
            continue;
        }
        definitions.extend(parse::parse(number, source.text, &mut faults));
    }
    let mut resolver = Resolver::declare(&definitions, faults);
    for definition in &definitions {
        resolver.definition(definition);
    }
    resolver.finish()
}

struct Resolver<'d, 'a> {
    faults: Diagnostics<'a>,
    types: Vec<TypeInfo>,
    type_ids: FxHashMap<Box<str>, u32>,
    slots: Vec<SlotInfo>,
    /// Where each relation and permission is named.
    places: Vec<&'d Name>,
    edges: Vec<EdgeInfo>,
}

impl<'d, 'a> Resolver<'d, 'a> {
    /// Takes down every name, so that order and source do not matter.
    fn declare(definitions: &'d [Definition], faults: Diagnostics<'a>) -> Self {
        let mut resolver = Self {
            faults,
            types: Vec::new(),
            type_ids: FxHashMap::default(),
            slots: Vec::new(),
            places: Vec::new(),
            edges: Vec::new(),
        };
        let mut type_places: Vec<Span> = Vec::new();
        for definition in definitions {
            let name = &definition.name;
            if let Some(&first) = resolver.type_ids.get(name.text.as_str()) {
                let place =
                    resolver.faults.place(type_places.get(first as usize).copied().unwrap_or_default());
                let message = format!("`{}` is defined twice, first at {place}", name.text);
                resolver.faults.report(name.span, message);
                continue;
            }
            let type_id = resolver.types.len() as u32;
            resolver.type_ids.insert(name.text.as_str().into(), type_id);
            type_places.push(name.span);
            let mut info = TypeInfo {
                name: name.text.as_str().into(),
                doc: definition.doc.as_str().into(),
                slot_ids: FxHashMap::default(),
                slots: Vec::new(),
            };
            for item in &definition.items {
                resolver.declare_item(type_id, &mut info, item);
            }
            if definition.items.len() > MAX_ITEMS {
                let message = format!("`{}` has more than {MAX_ITEMS} relations and permissions", name.text);
                resolver.faults.report(name.span, message);
            }
            resolver.types.push(info);
        }
        resolver
    }

    fn declare_item(&mut self, type_id: u32, info: &mut TypeInfo, item: &'d Item) {
        let name = &item.name;
        if let Some(&first) = info.slot_ids.get(name.text.as_str()) {
            let place = self.places.get(first as usize).map_or(name.span, |name| name.span);
            let message = format!("`{}` is declared twice, first at {}", name.text, self.faults.place(place));
            self.faults.report(name.span, message);
            return;
        }
        let slot = self.slots.len() as u32;
        info.slot_ids.insert(name.text.as_str().into(), slot);
        info.slots.push(slot);
        self.places.push(name);
        self.slots.push(SlotInfo {
            name: name.text.as_str().into(),
            doc: item.doc.as_str().into(),
            type_id,
            kind: match item.body {
                Body::Relation(_) => SlotKind::Relation,
                Body::Permission(_) => SlotKind::Permission,
            },
            deprecated: None,
            rule: Rule::This,
            allowed: Vec::new(),
            edges: Vec::new(),
        });
    }

    fn definition(&mut self, definition: &'d Definition) {
        let Some(&type_id) = self.type_ids.get(definition.name.text.as_str()) else { return };
        // Relations first: what stands left of an arrow must be known.
        for relations in [true, false] {
            for item in &definition.items {
                let Some(slot) = self.slot_of(type_id, &item.name.text) else { continue };
                // A second declaration of the name has been reported and has no number of its own.
                if !self.places.get(slot as usize).is_some_and(|name| std::ptr::eq(*name, &item.name)) {
                    continue;
                }
                match &item.body {
                    Body::Relation(types) if relations => {
                        for subject in types {
                            self.subject_type(slot, &subject.name, &subject.form, subject.span);
                        }
                    }
                    Body::Permission(expression) if !relations => {
                        let rule = self.rule(type_id, expression, 0);
                        if let Some(info) = self.slots.get_mut(slot as usize) {
                            info.rule = rule;
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn subject_type(&mut self, slot: u32, name: &Name, form: &SubjectForm, span: Span) {
        let Some(type_id) = self.type_named(name) else { return };
        let subject = match form {
            SubjectForm::Plain => SubjectKind::Object(type_id),
            SubjectForm::Wildcard => SubjectKind::Wildcard(type_id),
            SubjectForm::Userset(relation) => match self.slot_named(type_id, relation) {
                Some(target) => SubjectKind::Userset(target),
                None => return,
            },
        };
        let edge = self.edges.len() as u32;
        let Some(info) = self.slots.get_mut(slot as usize) else { return };
        if info.allowed.iter().any(|known| known.subject == subject) {
            self.faults.report(span, "this type of subjects is named twice in the relation");
            return;
        }
        info.edges.push(edge);
        info.allowed.push(AllowedSubject { subject, condition: None, expiration: false, deprecated: None });
        self.edges.push(EdgeInfo { slot, subject });
    }

    /// Recursion is bounded: the parser bounds the depth of expressions.
    fn rule(&mut self, type_id: u32, expression: &Expression, depth: usize) -> Rule {
        let mut rules = |operands: &[Expression], depth: usize| -> Vec<Rule> {
            operands.iter().map(|operand| self.rule(type_id, operand, depth + 1)).collect()
        };
        match expression {
            Expression::Nil => Rule::Nil,
            Expression::Reference(name) => self.slot_named(type_id, name).map_or(Rule::Nil, Rule::Slot),
            Expression::Arrow(relation, target) => self.arrow(type_id, relation, target),
            Expression::Union(operands) => Rule::Union(rules(operands, depth)),
            Expression::Intersection(operands) => Rule::Intersection(rules(operands, depth)),
            Expression::Exclusion(operands) => {
                let below = depth + operands.len();
                if below > MAX_DEPTH {
                    let message = format!("the expression is more than {MAX_DEPTH} operations deep");
                    self.faults.report(Span::default(), message);
                    return Rule::Nil;
                }
                let operands = rules(operands, below).into_iter();
                operands
                    .reduce(|left, right| Rule::Exclusion(Box::new(left), Box::new(right)))
                    .unwrap_or(Rule::Nil)
            }
        }
    }

    fn arrow(&mut self, type_id: u32, relation: &Name, target: &Name) -> Rule {
        let Some(left) = self.slot_named(type_id, relation) else { return Rule::Nil };
        let Some(info) = self.slots.get(left as usize) else { return Rule::Nil };
        if info.kind == SlotKind::Permission {
            let message = format!(
                "the left side of an arrow must be a relation, and `{}` is a permission",
                relation.text
            );
            self.faults.report(relation.span, message);
            return Rule::Nil;
        }
        let mut subject_types = Vec::new();
        for allowed in &info.allowed {
            let SubjectKind::Object(subject_type) = allowed.subject else {
                let wildcard = matches!(allowed.subject, SubjectKind::Wildcard(_));
                let form = if wildcard { "a wildcard" } else { "usersets" };
                let message = format!(
                    "the relation on the left side of an arrow must hold objects only, and `{}` may hold {form}",
                    relation.text
                );
                self.faults.report(relation.span, message);
                return Rule::Nil;
            };
            subject_types.push(subject_type);
        }
        let target_of = |&id: &u32| self.slot_of(id, &target.text).map(|target| (id, target));
        let targets: Vec<(u32, u32)> = subject_types.iter().filter_map(target_of).collect();
        if targets.is_empty() && !subject_types.is_empty() {
            self.unknown_target(relation, target, &subject_types);
        }
        Rule::Arrow { relation: left, all: false, targets }
    }

    fn too_large(&mut self, span: Span) {
        let message = format!("the schema is too large: it takes more than {MAX_STEPS} steps");
        self.faults.report(span, message);
    }

    fn unknown_target(&mut self, relation: &Name, target: &Name, subject_types: &[u32]) {
        let message =
            format!("no type of `{}` has a relation or permission `{}`", relation.text, target.text);
        let infos = subject_types.iter().filter_map(|&id| self.types.get(id as usize));
        let names = infos.flat_map(|info| info.slot_ids.keys()).map(|name| &**name);
        let near = nearest(&target.text, names).map(did_you_mean);
        self.faults.report_with(target.span, message, || near);
    }

    fn type_named(&mut self, name: &Name) -> Option<u32> {
        let found = self.type_ids.get(name.text.as_str()).copied();
        if found.is_none() {
            let types = &self.types;
            self.faults.report_with(name.span, format!("unknown type `{}`", name.text), || {
                nearest(&name.text, types.iter().map(|info| &*info.name)).map(did_you_mean)
            });
        }
        found
    }

    fn slot_named(&mut self, type_id: u32, name: &Name) -> Option<u32> {
        let found = self.slot_of(type_id, &name.text);
        if found.is_none() {
            let info = self.types.get(type_id as usize);
            let type_name = info.map_or("", |info| &info.name);
            let message = format!("`{type_name}` has no relation or permission `{}`", name.text);
            self.faults.report_with(name.span, message, || {
                let names = info.into_iter().flat_map(|info| info.slot_ids.keys()).map(|name| &**name);
                nearest(&name.text, names).map(did_you_mean)
            });
        }
        found
    }

    fn slot_of(&self, type_id: u32, name: &str) -> Option<u32> {
        self.types.get(type_id as usize)?.slot_ids.get(name).copied()
    }

    fn finish(mut self) -> Result<Schema, SchemaError> {
        if self.faults.is_empty() {
            self.stratify();
        }
        let (conditions, dialect) = (Vec::new(), Dialect::Native);
        let mut program = Program::default();
        if self.faults.is_empty() {
            match program::compile(self.types.len(), &self.slots, &self.edges) {
                Ok(compiled) => program = compiled,
                Err(Unfit::TooLarge) => self.too_large(Span::default()),
            }
        }
        if let Err((span, message)) = program.take_conditions(&conditions, dialect) {
            self.faults.report(span, message);
        }
        self.faults.finish()?;
        let Self { types, type_ids, slots, edges, .. } = self;
        Ok(Schema { types, type_ids, slots, edges, conditions, dialect, program })
    }

    fn stratify(&mut self) {
        let mut told = FxHashSet::default();
        for found in stratify::verify(&self.slots) {
            let (slot, message, help) = match found {
                Unstratified::Cycle(slots) => {
                    let first = slots.first().copied().unwrap_or_default();
                    let way: Vec<String> = slots.iter().filter_map(|&slot| self.text_of(slot)).collect();
                    (first, "excludes itself through a cycle", way.join(" -> "))
                }
                Unstratified::TooDeep(slot) => (
                    slot,
                    "excludes too deep",
                    format!("at most {MAX_LAYERS} exclusions may build on each other"),
                ),
            };
            if let (true, Some(name)) = (told.insert(slot), self.places.get(slot as usize)) {
                let message = format!("permission `{}` {message}", name.text);
                self.faults.report_with(name.span, message, || Some(help));
            }
        }
    }

    /// `document#view`.
    fn text_of(&self, slot: u32) -> Option<String> {
        let slot = self.slots.get(slot as usize)?;
        let info = self.types.get(slot.type_id as usize)?;
        Some(format!("{}#{}", info.name, slot.name))
    }
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}
