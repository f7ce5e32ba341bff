//! Names to numbers: every name is looked up, every rule of the language verified.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::name::nearest;
use crate::schema::diagnostic::{Diagnostics, SchemaError, Span};
use crate::schema::program::{self, MAX_STEPS, Op, Rule, Walk};
use crate::schema::stratify::{self, MAX_LAYERS, Unstratified};
use crate::schema::syntax::{Body, Definition, Expression, Item, Name, SubjectForm};
use crate::schema::{EdgeInfo, Schema, SlotInfo, Source, SubjectKind, TypeInfo, parse};

/// The longest text of one source, in bytes.
const MAX_TEXT: usize = 1 << 20;
/// Relations and permissions of one definition: programs grow with their square.
const MAX_ITEMS: usize = 500;

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
    /// By group: the named ones first, then operands.
    rules: Vec<Option<Rule>>,
    ops: Vec<Op>,
    /// The permission in which each unnamed operand stands, from the first unnamed one.
    owners: Vec<u32>,
    /// Steps of all arrows together.
    steps: usize,
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
            rules: Vec::new(),
            ops: Vec::new(),
            owners: Vec::new(),
            steps: 0,
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
        resolver.rules = resolver.slots.iter().map(|_| None).collect();
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
            edges: matches!(item.body, Body::Relation(_)).then(Vec::new),
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
                        let rule = self.rule(slot, type_id, expression);
                        if let Some(place) = self.rules.get_mut(slot as usize) {
                            *place = Some(rule);
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
        let Some(edges) = self.slots.get_mut(slot as usize).and_then(|info| info.edges.as_mut()) else {
            return;
        };
        let known = |edge: &u32| self.edges.get(*edge as usize).is_some_and(|info| info.subject == subject);
        if edges.iter().any(known) {
            self.faults.report(span, "this type of subjects is named twice in the relation");
            return;
        }
        edges.push(edge);
        self.edges.push(EdgeInfo { slot, subject });
    }

    /// Recursion is bounded: the parser bounds the depth of expressions.
    fn rule(&mut self, slot: u32, type_id: u32, expression: &Expression) -> Rule {
        match expression {
            Expression::Nil => Rule::Nil,
            Expression::Reference(name) => self.slot_named(type_id, name).map_or(Rule::Nil, Rule::Group),
            Expression::Arrow(relation, target) => Rule::Arrow(self.arrow(type_id, relation, target)),
            Expression::Union(operands) => {
                Rule::Union(operands.iter().map(|operand| self.rule(slot, type_id, operand)).collect())
            }
            Expression::Intersection(operands) => {
                let require = operands.iter().map(|operand| self.operand(slot, type_id, operand)).collect();
                self.op(Op { require, except: Box::default() })
            }
            Expression::Exclusion(operands) => {
                let mut groups = operands.iter().map(|operand| self.operand(slot, type_id, operand));
                let require = groups.next().into_iter().collect();
                let except = groups.collect();
                self.op(Op { require, except })
            }
        }
    }

    fn op(&mut self, op: Op) -> Rule {
        self.ops.push(op);
        Rule::Op(self.ops.len() as u32 - 1)
    }

    /// The group of an operand: its own when it is a name, otherwise a new one.
    fn operand(&mut self, slot: u32, type_id: u32, expression: &Expression) -> u32 {
        match self.rule(slot, type_id, expression) {
            Rule::Group(named) => named,
            rule => {
                self.rules.push(Some(rule));
                self.owners.push(slot);
                self.rules.len() as u32 - 1
            }
        }
    }

    fn arrow(&mut self, type_id: u32, relation: &Name, target: &Name) -> Vec<Walk> {
        let Some(left) = self.slot_named(type_id, relation) else { return Vec::new() };
        let Some(edges) = self.slots.get(left as usize).and_then(|info| info.edges.clone()) else {
            let message = format!(
                "the left side of an arrow must be a relation, and `{}` is a permission",
                relation.text
            );
            self.faults.report(relation.span, message);
            return Vec::new();
        };
        let mut walks = Vec::new();
        let mut subject_types = Vec::new();
        for edge in edges {
            let Some(subject) = self.edges.get(edge as usize).map(|info| info.subject) else { continue };
            let SubjectKind::Object(subject_type) = subject else {
                let form =
                    if matches!(subject, SubjectKind::Wildcard(_)) { "a wildcard" } else { "usersets" };
                let message = format!(
                    "the relation on the left side of an arrow must hold objects only, and `{}` may hold {form}",
                    relation.text
                );
                self.faults.report(relation.span, message);
                return Vec::new();
            };
            subject_types.push(subject_type);
            walks.extend(self.slot_of(subject_type, &target.text).map(|target| Walk { edge, target }));
        }
        if walks.is_empty() && !subject_types.is_empty() {
            self.unknown_target(relation, target, &subject_types);
        }
        if self.steps + walks.len() > MAX_STEPS {
            self.too_large(relation.span);
            return Vec::new();
        }
        self.steps += walks.len();
        walks
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
        let fine = self.faults.is_empty();
        let groups = if fine { program::compile(&self.slots, &self.edges, &self.rules) } else { None };
        if fine && groups.is_none() {
            self.too_large(Span::default());
        }
        self.faults.finish()?;
        let groups = groups.unwrap_or_default();
        let Self { types, type_ids, slots, edges, ops, .. } = self;
        Ok(Schema { types, type_ids, slots, edges, groups, ops })
    }

    fn stratify(&mut self) {
        let mut told = FxHashSet::default();
        for found in stratify::verify(&self.slots, &self.edges, &self.rules, &self.ops) {
            let (group, message, help) = match found {
                Unstratified::Cycle(groups) => {
                    let first = groups.first().copied().unwrap_or_default();
                    let mut way: Vec<String> =
                        groups.iter().filter_map(|&group| self.text_of(group)).collect();
                    if way.first() != way.last() || way.len() == 1 {
                        way.extend(way.first().cloned());
                    }
                    (first, "excludes itself through a cycle", way.join(" -> "))
                }
                Unstratified::TooDeep(group) => (
                    group,
                    "excludes too deep",
                    format!("at most {MAX_LAYERS} exclusions may build on each other"),
                ),
            };
            let slot = self.owner(group);
            if let (true, Some(name)) = (told.insert(slot), self.places.get(slot as usize)) {
                let message = format!("permission `{}` {message}", name.text);
                self.faults.report_with(name.span, message, || Some(help));
            }
        }
    }

    /// The permission that a group is, or stands in.
    fn owner(&self, group: u32) -> u32 {
        let unnamed = (group as usize).checked_sub(self.slots.len());
        unnamed.and_then(|at| self.owners.get(at)).copied().unwrap_or(group)
    }

    /// `document#view`, for a group with a name.
    fn text_of(&self, group: u32) -> Option<String> {
        let slot = self.slots.get(group as usize)?;
        let info = self.types.get(slot.type_id as usize)?;
        Some(format!("{}#{}", info.name, slot.name))
    }
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}
