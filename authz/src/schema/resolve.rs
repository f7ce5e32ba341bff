//! Names to numbers: every name is looked up, every rule of the language verified.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::name::nearest;
use crate::schema::code::Code;
use crate::schema::diagnostic::{Diagnostics, SchemaError, Span};
use crate::schema::program::{self, MAX_STEPS, Program, Unfit};
use crate::schema::reach::{self, Never};
use crate::schema::rule::{AllowedSubject, ConditionInfo, Dialect, ParameterType, Rule, SlotKind};
use crate::schema::stratify::{self, MAX_LAYERS, Unstratified};
use crate::schema::syntax::{
    Body, Condition, Definition, Expression, File, Item, Name, SubjectForm, SubjectType, TypeName,
};
use crate::schema::{EdgeInfo, Schema, SlotInfo, SubjectKind, TypeInfo, expression};

/// Relations and permissions of one definition: programs grow with their square.
const MAX_ITEMS: usize = 500;
/// Operations in operations of one rule; each level costs stack.
pub(crate) const MAX_DEPTH: usize = 256;

/// What the sources had to say about the whole.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Language {
    pub(crate) dialect: Dialect,
    /// OpenFGA: schema 1.2 and not 1.1.
    pub(crate) modular: bool,
}

pub(crate) fn compile(
    language: Language,
    file: &File,
    faults: Diagnostics<'_>,
) -> Result<Schema, SchemaError> {
    let mut resolver = Resolver::declare(language, file, faults);
    // What is stored first: what stands left of an arrow must be known.
    for stored in [true, false] {
        for definition in &file.definitions {
            resolver.definition(definition, stored);
        }
    }
    resolver.finish()
}

/// The subjects of one relation that were met.
#[derive(Default)]
struct Seen {
    /// With their condition, and whether they expire.
    forms: FxHashSet<(SubjectKind, Option<u32>, bool)>,
    kinds: FxHashSet<SubjectKind>,
}

struct Resolver<'d, 'a> {
    language: Language,
    faults: Diagnostics<'a>,
    types: Vec<TypeInfo>,
    type_ids: FxHashMap<Box<str>, u32>,
    slots: Vec<SlotInfo>,
    /// Where each relation and permission is named.
    places: Vec<&'d Name>,
    edges: Vec<EdgeInfo>,
    conditions: Vec<ConditionInfo>,
    condition_ids: FxHashMap<Box<str>, u32>,
    /// Where each condition is declared.
    declared: Vec<&'d Condition>,
    used: Vec<bool>,
    /// Is the operand at hand one that is taken away?
    subtracted: bool,
}

impl<'d, 'a> Resolver<'d, 'a> {
    /// Takes down every name, so that order and source do not matter.
    fn declare(language: Language, file: &'d File, faults: Diagnostics<'a>) -> Self {
        let mut resolver = Self {
            language,
            faults,
            types: Vec::new(),
            type_ids: FxHashMap::default(),
            slots: Vec::new(),
            places: Vec::new(),
            edges: Vec::new(),
            conditions: Vec::new(),
            condition_ids: FxHashMap::default(),
            declared: Vec::new(),
            used: Vec::new(),
            subtracted: false,
        };
        let mut type_places: Vec<Span> = Vec::new();
        for definition in file.definitions.iter().filter(|definition| !definition.extends) {
            resolver.declare_type(definition, &mut type_places);
        }
        // What extends a type is numbered with it, as if it stood there: so it does when it is printed.
        let number = |definition: &Definition| {
            resolver.type_ids.get(definition.name.text.as_str()).copied().unwrap_or(u32::MAX)
        };
        let mut definitions: Vec<&'d Definition> = file.definitions.iter().collect();
        definitions.sort_by_key(|definition| number(definition));
        for definition in definitions {
            resolver.declare_items(definition);
        }
        for condition in &file.conditions {
            resolver.condition(condition);
        }
        resolver
    }

    fn declare_type(&mut self, definition: &'d Definition, type_places: &mut Vec<Span>) {
        let name = &definition.name;
        self.reserved(name);
        if let Some(&first) = self.type_ids.get(name.text.as_str()) {
            let first = type_places.get(first as usize).copied().unwrap_or_default();
            let message = format!("`{}` is defined twice", name.text);
            self.faults.report_again(Code::TypeTwice, name.span, message, first);
            return;
        }
        self.type_ids.insert(name.text.as_str().into(), self.types.len() as u32);
        type_places.push(name.span);
        self.types.push(TypeInfo {
            name: name.text.as_str().into(),
            doc: definition.doc.as_str().into(),
            deprecated: definition.deprecated.clone(),
            origin: definition.origin.clone(),
            slot_ids: FxHashMap::default(),
            slots: Vec::new(),
        });
    }

    fn declare_items(&mut self, definition: &'d Definition) {
        let name = &definition.name;
        let Some(&type_id) = self.type_ids.get(name.text.as_str()) else {
            let types = &self.types;
            let message = format!("cannot extend the unknown type `{}`", name.text);
            self.faults.report_with(Code::ExtendsUnknown, name.span, message, || {
                nearest(&name.text, types.iter().map(|info| &*info.name)).map(did_you_mean)
            });
            return;
        };
        for item in &definition.items {
            self.declare_item(type_id, item);
        }
        if self.types.get(type_id as usize).is_some_and(|info| info.slots.len() > MAX_ITEMS) {
            let message = format!("`{}` has more than {MAX_ITEMS} relations and permissions", name.text);
            self.faults.report(Code::TooManySlots, name.span, message);
        }
    }

    fn declare_item(&mut self, type_id: u32, item: &'d Item) {
        let name = &item.name;
        self.reserved(name);
        let slot = self.slots.len() as u32;
        let Some(info) = self.types.get_mut(type_id as usize) else { return };
        if let Some(&first) = info.slot_ids.get(name.text.as_str()) {
            let first = self.places.get(first as usize).map_or(name.span, |name| name.span);
            let message = format!("`{}` is declared twice", name.text);
            self.faults.report_again(Code::SlotTwice, name.span, message, first);
            return;
        }
        info.slot_ids.insert(name.text.as_str().into(), slot);
        info.slots.push(slot);
        self.places.push(name);
        let kind = match &item.body {
            Body::Relation(_) | Body::Define { expression: Expression::This, .. } => SlotKind::Relation,
            Body::Define { expression, .. } if has_this(expression) => SlotKind::Mixed,
            _ => SlotKind::Permission,
        };
        self.slots.push(SlotInfo {
            name: name.text.as_str().into(),
            doc: item.doc.as_str().into(),
            type_id,
            kind,
            deprecated: item.deprecated.clone(),
            origin: item.origin.clone(),
            announced: None,
            rule: Rule::Nil,
            allowed: Vec::new(),
            edges: Vec::new(),
        });
    }

    /// OpenFGA keeps two words for itself.
    fn reserved(&mut self, name: &Name) {
        if self.language.dialect == Dialect::OpenFga && matches!(name.text.as_str(), "self" | "this") {
            self.faults.report(Code::ReservedName, name.span, format!("`{}` cannot be a name", name.text));
        }
    }

    fn condition(&mut self, condition: &'d Condition) {
        let name = &condition.name;
        if let Some(&first) = self.condition_ids.get(name.text.as_str()) {
            let first = self.declared.get(first as usize).map_or(name.span, |first| first.name.span);
            let message = format!("`{}` is declared twice", name.text);
            self.faults.report_again(Code::ConditionTwice, name.span, message, first);
            return;
        }
        let mut parameters: Vec<(Box<str>, ParameterType)> = Vec::new();
        let mut known: FxHashSet<&str> = FxHashSet::default();
        for (parameter, type_name) in &condition.parameters {
            if !known.insert(&parameter.text) {
                let message = format!("`{}` has the parameter `{}` twice", name.text, parameter.text);
                self.faults.report(Code::ParameterTwice, parameter.span, message);
            }
            let kind = self.parameter_type(type_name).unwrap_or(ParameterType::Any);
            parameters.push((parameter.text.as_str().into(), kind));
        }
        let info = ConditionInfo {
            name: name.text.as_str().into(),
            doc: condition.doc.as_str().into(),
            origin: condition.origin.clone(),
            parameters,
            expression: condition.expression.text.as_str().into(),
            span: condition.expression.span,
        };
        let places: Vec<Span> = condition.parameters.iter().map(|(name, _)| name.span).collect();
        expression::verify(&info, &places, &mut self.faults);
        self.condition_ids.insert(name.text.as_str().into(), self.conditions.len() as u32);
        self.conditions.push(info);
        self.declared.push(condition);
        self.used.push(false);
    }

    /// Recursion is bounded: the parsers bound the depth of types.
    fn parameter_type(&mut self, name: &TypeName) -> Option<ParameterType> {
        let text = name.name.text.as_str();
        let contained = match (text, name.of.as_slice()) {
            ("list" | "map", [of]) => Some(Box::new(self.parameter_type(of)?)),
            ("list" | "map", _) => {
                let message = format!("`{text}` needs one type in angle brackets: `{text}<string>`");
                self.faults.report(Code::UnknownParameterType, name.name.span, message);
                return None;
            }
            (_, []) => None,
            _ => {
                let message = format!("`{text}` takes no types in angle brackets");
                self.faults.report(Code::UnknownParameterType, name.name.span, message);
                return None;
            }
        };
        let found = match (text, contained) {
            ("list", Some(of)) => ParameterType::List(of),
            ("map", Some(of)) => ParameterType::Map(of),
            _ => match ParameterType::SIMPLE.into_iter().find(|(name, _)| *name == text) {
                Some((_, found)) => found,
                None => {
                    let names = ParameterType::SIMPLE.map(|(name, _)| name);
                    let message = format!("unknown type of parameter `{text}`");
                    self.faults.report_with(Code::UnknownParameterType, name.name.span, message, || {
                        Some(match nearest(text, names.into_iter().chain(["list", "map"])) {
                            Some(near) => did_you_mean(near),
                            None => format!("the types are {}, list<..> and map<..>", names.join(", ")),
                        })
                    });
                    return None;
                }
            },
        };
        Some(found)
    }

    fn definition(&mut self, definition: &'d Definition, stored: bool) {
        let Some(&type_id) = self.type_ids.get(definition.name.text.as_str()) else { return };
        for item in &definition.items {
            let Some(slot) = self.slot_of(type_id, &item.name.text) else { continue };
            // A second declaration of the name has been reported and has no number of its own.
            if !self.places.get(slot as usize).is_some_and(|name| std::ptr::eq(*name, &item.name)) {
                continue;
            }
            if stored {
                self.stored(slot, &item.body);
            } else {
                self.computed(slot, type_id, item);
            }
        }
    }

    fn stored(&mut self, slot: u32, body: &Body) {
        if let Body::Relation(subjects) | Body::Define { subjects, .. } = body {
            let mut seen = Seen::default();
            for subject in subjects {
                self.subject_type(slot, subject, &mut seen);
            }
        }
    }

    fn computed(&mut self, slot: u32, type_id: u32, item: &Item) {
        let rule = match &item.body {
            Body::Relation(_) => Rule::This,
            Body::Permission { expression, .. } | Body::Define { expression, .. } => {
                self.rule(type_id, expression, &item.name, 0)
            }
            Body::Include => return,
        };
        let announced = match &item.body {
            Body::Permission { announced: Some(names), .. } => {
                Some(names.iter().filter_map(|name| self.type_named(name)).collect())
            }
            _ => None,
        };
        if let Some(info) = self.slots.get_mut(slot as usize) {
            info.rule = rule;
            info.announced = announced;
        }
    }

    fn subject_type(&mut self, slot: u32, subject: &SubjectType, seen: &mut Seen) {
        let Some(type_id) = self.type_named(&subject.name) else { return };
        let kind = match &subject.form {
            SubjectForm::Plain => SubjectKind::Object(type_id),
            SubjectForm::Wildcard => SubjectKind::Wildcard(type_id),
            SubjectForm::Userset(relation) => match self.slot_named(type_id, relation) {
                Some(target) => SubjectKind::Userset(target),
                None => return,
            },
        };
        let condition = match &subject.condition {
            Some(name) => match self.condition_named(name) {
                Some(condition) => Some(condition),
                None => return,
            },
            None => None,
        };
        let edge = self.edges.len() as u32;
        let Some(info) = self.slots.get_mut(slot as usize) else { return };
        if !seen.forms.insert((kind, condition, subject.expiration)) {
            let message = "this type of subjects is named twice in the relation";
            self.faults.report(Code::SubjectTwice, subject.span, message);
            return;
        }
        if seen.kinds.insert(kind) {
            info.edges.push(edge);
            self.edges.push(EdgeInfo { slot, subject: kind });
        }
        info.allowed.push(AllowedSubject {
            subject: kind,
            condition,
            expiration: subject.expiration,
            deprecated: subject.deprecated.clone(),
        });
    }

    /// Recursion is bounded: the parsers bound the depth of expressions.
    fn rule(&mut self, type_id: u32, expression: &Expression, item: &Name, depth: usize) -> Rule {
        let mut rules = |operands: &[Expression], depth: usize| -> Vec<Rule> {
            operands.iter().map(|operand| self.rule(type_id, operand, item, depth)).collect()
        };
        match expression {
            Expression::Nil => Rule::Nil,
            Expression::This => Rule::This,
            Expression::Itself => Rule::Itself,
            Expression::Reference(name) => self.slot_named(type_id, name).map_or(Rule::Nil, Rule::Slot),
            Expression::Arrow { relation, target, all } => self.arrow(type_id, relation, target, *all),
            Expression::Union(operands) => Rule::Union(rules(operands, depth + 1)),
            Expression::Intersection(operands) => Rule::Intersection(rules(operands, depth + 1)),
            Expression::Exclusion(operands) => {
                // A chain nests to the left.
                let below = depth + operands.len();
                if below > MAX_DEPTH {
                    let message =
                        format!("`{}` has more than {MAX_DEPTH} operations in one another", item.text);
                    let help =
                        || Some("subtract a union: `a - (b + c)`, or use permissions between".to_owned());
                    self.faults.report_with(Code::RuleTooDeep, item.span, message, help);
                    return Rule::Nil;
                }
                let mut rules = Vec::with_capacity(operands.len());
                for (nr, operand) in operands.iter().enumerate() {
                    let outside = self.subtracted;
                    self.subtracted = outside || nr > 0;
                    rules.push(self.rule(type_id, operand, item, below));
                    self.subtracted = outside;
                }
                rules
                    .into_iter()
                    .reduce(|left, right| Rule::Exclusion(Box::new(left), Box::new(right)))
                    .unwrap_or(Rule::Nil)
            }
            Expression::Conditional(inner, condition) => {
                let inner = self.rule(type_id, inner, item, depth + 1);
                match self.condition_named(condition) {
                    Some(condition) => Rule::Conditional(Box::new(inner), condition),
                    None => inner,
                }
            }
        }
    }

    fn arrow(&mut self, type_id: u32, relation: &Name, target: &Name, all: bool) -> Rule {
        let Some(left) = self.slot_named(type_id, relation) else { return Rule::Nil };
        if !self.starts_arrow(left, relation) {
            return Rule::Nil;
        }
        let Some(info) = self.slots.get(left as usize) else { return Rule::Nil };
        let mut userset = None;
        let mut seen = FxHashSet::default();
        let subject_types = info.allowed.iter().map(|allowed| match allowed.subject {
            SubjectKind::Object(id) | SubjectKind::Wildcard(id) => id,
            SubjectKind::Userset(slot) => {
                userset = Some(slot);
                self.slots.get(slot as usize).map_or(0, |info| info.type_id)
            }
        });
        let subject_types: Vec<u32> = subject_types.filter(|&id| seen.insert(id)).collect();
        if let Some(text) = userset.and_then(|slot| self.text_of(slot)) {
            let message = format!("the arrow starts at the objects of `{text}` and not at whom it holds");
            self.faults.report(Code::ArrowUserset, relation.span, message);
        }
        let target_of = |&id: &u32| self.slot_of(id, &target.text).map(|target| (id, target));
        let targets: Vec<(u32, u32)> = subject_types.iter().filter_map(target_of).collect();
        if targets.is_empty() && !subject_types.is_empty() {
            self.unknown_target(relation, target, &subject_types);
            return Rule::Nil;
        }
        for &(_, slot) in &targets {
            self.deprecated_slot(slot, target);
        }
        Rule::Arrow { relation: left, all, targets }
    }

    fn starts_arrow(&mut self, left: u32, relation: &Name) -> bool {
        let Some(info) = self.slots.get(left as usize) else { return false };
        let name = &relation.text;
        let wildcard = |allowed: &AllowedSubject| matches!(allowed.subject, SubjectKind::Wildcard(_));
        let fault = match self.language.dialect {
            Dialect::Native if info.kind == SlotKind::Permission => {
                format!("the left side of an arrow must be a relation, and `{name}` is a permission")
            }
            Dialect::Native if info.allowed.iter().any(wildcard) => {
                let message =
                    format!("the left side of an arrow holds objects, and `{name}` may hold a wildcard");
                self.faults.report(Code::ArrowWildcard, relation.span, message);
                return false;
            }
            Dialect::OpenFga if info.kind != SlotKind::Relation => {
                format!("the relation behind `from` must be stored only, and `{name}` is computed")
            }
            Dialect::OpenFga
                if info.allowed.iter().any(|allowed| !matches!(allowed.subject, SubjectKind::Object(_))) =>
            {
                format!("the relation behind `from` must hold objects only, and `{name}` holds more")
            }
            _ => return true,
        };
        self.faults.report(Code::ArrowStart, relation.span, fault);
        false
    }

    fn too_large(&mut self, span: Span) {
        let message = format!("the schema is too large: it takes more than {MAX_STEPS} steps");
        self.faults.report(Code::TooLarge, span, message);
    }

    fn unknown_target(&mut self, relation: &Name, target: &Name, subject_types: &[u32]) {
        let message =
            format!("no type of `{}` has a relation or permission `{}`", relation.text, target.text);
        let types = &self.types;
        // What nobody holds takes nothing away: behind a minus a misspelt name would let everybody in.
        let lets_pass = self.language.dialect == Dialect::Native && !self.subtracted;
        let code = if lets_pass { Code::ArrowNowhere } else { Code::UnknownTarget };
        self.faults.report_with(code, target.span, message, || {
            let infos = subject_types.iter().filter_map(|&id| types.get(id as usize));
            let names = infos.flat_map(|info| info.slot_ids.keys()).map(|name| &**name);
            nearest(&target.text, names).map(did_you_mean)
        });
    }

    fn type_named(&mut self, name: &Name) -> Option<u32> {
        let found = self.type_ids.get(name.text.as_str()).copied();
        let Some(id) = found else {
            let types = &self.types;
            self.faults.report_with(
                Code::UnknownType,
                name.span,
                format!("unknown type `{}`", name.text),
                || nearest(&name.text, types.iter().map(|info| &*info.name)).map(did_you_mean),
            );
            return None;
        };
        if let Some(mark) = self.types.get(id as usize).and_then(|info| info.deprecated.as_ref()) {
            let why = (!mark.message.is_empty()).then(|| mark.message.to_string());
            let message = format!("`{}` is deprecated", name.text);
            self.faults.report_with(Code::DeprecatedUse, name.span, message, || why);
        }
        found
    }

    fn slot_named(&mut self, type_id: u32, name: &Name) -> Option<u32> {
        let found = self.slot_of(type_id, &name.text);
        let Some(slot) = found else {
            let info = self.types.get(type_id as usize);
            let type_name = info.map_or("", |info| &info.name);
            let message = format!("`{type_name}` has no relation or permission `{}`", name.text);
            self.faults.report_with(Code::UnknownSlot, name.span, message, || {
                if name.text == "self" {
                    return Some("write `use self` at the top to name the object itself".to_owned());
                }
                let names = info.into_iter().flat_map(|info| info.slot_ids.keys()).map(|name| &**name);
                nearest(&name.text, names).map(did_you_mean)
            });
            return None;
        };
        self.deprecated_slot(slot, name);
        found
    }

    fn deprecated_slot(&mut self, slot: u32, name: &Name) {
        if let Some(mark) = self.slots.get(slot as usize).and_then(|info| info.deprecated.as_ref()) {
            let why = (!mark.message.is_empty()).then(|| mark.message.to_string());
            let message = format!("`{}` is deprecated", name.text);
            self.faults.report_with(Code::DeprecatedUse, name.span, message, || why);
        }
    }

    fn condition_named(&mut self, name: &Name) -> Option<u32> {
        let Some(&id) = self.condition_ids.get(name.text.as_str()) else {
            let conditions = &self.conditions;
            let message = format!("unknown condition `{}`", name.text);
            self.faults.report_with(Code::UnknownCondition, name.span, message, || {
                if name.text == "expiration" {
                    return Some("write `use expiration` at the top to let relationships expire".to_owned());
                }
                nearest(&name.text, conditions.iter().map(|info| &*info.name)).map(did_you_mean)
            });
            return None;
        };
        if let Some(used) = self.used.get_mut(id as usize) {
            *used = true;
        }
        Some(id)
    }

    fn slot_of(&self, type_id: u32, name: &str) -> Option<u32> {
        self.types.get(type_id as usize)?.slot_ids.get(name).copied()
    }

    fn finish(mut self) -> Result<Schema, SchemaError> {
        if self.faults.is_empty() {
            self.wildcards();
            self.stratify();
            self.reach();
            self.unused();
        }
        let mut program = Program::default();
        if self.faults.is_empty() {
            match program::compile(self.types.len(), &self.slots, &self.edges) {
                Ok(compiled) => program = compiled,
                Err(Unfit::TooLarge) => self.too_large(Span::default()),
            }
        }
        if self.faults.is_empty()
            && let Err((span, message)) = program.take_conditions(&self.conditions, self.language.dialect)
        {
            self.faults.report(Code::ExpressionSyntax, span, message);
        }
        let warnings = self.faults.finish()?;
        let Self { language, types, type_ids, slots, edges, conditions, .. } = self;
        let Language { dialect, modular } = language;
        Ok(Schema { types, type_ids, slots, edges, conditions, dialect, modular, warnings, program })
    }

    /// A wildcard that is reached through a userset: SpiceDB refuses it.
    fn wildcards(&mut self) {
        if self.language.dialect == Dialect::OpenFga {
            return;
        }
        let wild = wild(&self.slots);
        for (slot, info) in self.slots.iter().enumerate() {
            let found = info.allowed.iter().find_map(|allowed| match allowed.subject {
                SubjectKind::Userset(to) if to as usize != slot && wild.get(to as usize) == Some(&true) => {
                    Some(to)
                }
                _ => None,
            });
            let text = found.and_then(|to| self.text_of(to));
            if let (Some(text), Some(name)) = (text, self.places.get(slot)) {
                let message = format!("`{}` holds `{text}`, which may hold a wildcard", name.text);
                let help =
                    || Some("SpiceDB refuses this; allow the wildcard in the relation itself".to_owned());
                self.faults.report_with(Code::WildcardUserset, name.span, message, help);
            }
        }
    }

    fn stratify(&mut self) {
        let code = match self.language.dialect {
            Dialect::Native => Code::ExcludesItself,
            Dialect::OpenFga => Code::CyclicExclusion,
        };
        let mut told = FxHashSet::default();
        for found in stratify::verify(&self.slots) {
            let (code, slot, message, help) = match found {
                Unstratified::Cycle(slots) => {
                    let first = slots.first().copied().unwrap_or_default();
                    let way: Vec<String> = slots.iter().filter_map(|&slot| self.text_of(slot)).collect();
                    (code, first, "excludes itself through a cycle", way.join(" -> "))
                }
                Unstratified::TooDeep(slot) => (
                    Code::ExcludesTooDeep,
                    slot,
                    "excludes too deep",
                    format!("at most {MAX_LAYERS} exclusions may build on each other"),
                ),
            };
            if let (true, Some(name)) = (told.insert(slot), self.places.get(slot as usize)) {
                let message = format!("permission `{}` {message}", name.text);
                self.faults.report_with(code, name.span, message, || Some(help));
            }
        }
    }

    fn reach(&mut self) {
        let reached = reach::reach(&self.slots, self.types.len());
        let never = reach::never(&self.slots, self.types.len(), &reached);
        for (slot, verdict) in never.into_iter().enumerate() {
            let (Some(verdict), Some(info), Some(name)) =
                (verdict, self.slots.get(slot), self.places.get(slot))
            else {
                continue;
            };
            let (code, message, help) = match verdict {
                _ if self.language.dialect == Dialect::OpenFga && verdict == Never::NoEntry => (
                    Code::NoEntryPoint,
                    "has no entry point",
                    "somewhere on its way a type must be allowed to be stored, such as `[user]`",
                ),
                Never::Disjoint => (
                    Code::Impossible,
                    "can never be held",
                    "no type of subject gets through every operand of its intersection",
                ),
                Never::NoEntry if info.kind == SlotKind::Relation => (
                    Code::NeverHeld,
                    "can never be held",
                    "whoever it holds leads back to it: allow a type of subject beside the usersets",
                ),
                Never::NoEntry => {
                    (Code::Unreachable, "can never be held", "everything it is made of is empty")
                }
            };
            let message = format!("`{}` {message}", name.text);
            self.faults.report_with(code, name.span, message, || Some(help.to_owned()));
        }
        for (slot, info) in self.slots.iter().enumerate() {
            let (Some(announced), Some(name), Some(reached)) =
                (&info.announced, self.places.get(slot), reached.get(slot))
            else {
                continue;
            };
            let more =
                (0..self.types.len() as u32).find(|id| reached.has_object(*id) && !announced.contains(id));
            if let Some(more) = more.and_then(|id| self.types.get(id as usize)) {
                let message = format!("`{}` can hold `{}`, which it does not announce", name.text, more.name);
                self.faults.report(Code::AnnotationMismatch, name.span, message);
            }
        }
    }

    fn unused(&mut self) {
        for (condition, used) in self.declared.iter().zip(&self.used) {
            if !used {
                let message = format!("the condition `{}` is not used", condition.name.text);
                self.faults.report(Code::UnusedCondition, condition.name.span, message);
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

/// The relations that may hold a wildcard, themselves or through usersets of relations.
fn wild(slots: &[SlotInfo]) -> Vec<bool> {
    let mut held_by: Vec<Vec<usize>> = vec![Vec::new(); slots.len()];
    let mut wild: Vec<bool> = vec![false; slots.len()];
    for (slot, info) in slots.iter().enumerate() {
        for allowed in &info.allowed {
            match allowed.subject {
                SubjectKind::Wildcard(_) => wild.get_mut(slot).into_iter().for_each(|wild| *wild = true),
                SubjectKind::Userset(to) => {
                    held_by.get_mut(to as usize).into_iter().for_each(|by| by.push(slot))
                }
                SubjectKind::Object(_) => {}
            }
        }
    }
    let mut todo: Vec<usize> = (0..slots.len()).filter(|&slot| wild.get(slot) == Some(&true)).collect();
    while let Some(slot) = todo.pop() {
        for &by in held_by.get(slot).into_iter().flatten() {
            if let Some(wild) = wild.get_mut(by)
                && !*wild
            {
                *wild = true;
                todo.push(by);
            }
        }
    }
    wild
}

fn has_this(expression: &Expression) -> bool {
    match expression {
        Expression::This => true,
        Expression::Union(operands)
        | Expression::Intersection(operands)
        | Expression::Exclusion(operands) => operands.iter().any(has_this),
        Expression::Conditional(inner, _) => has_this(inner),
        _ => false,
    }
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}
