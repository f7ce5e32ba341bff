//! Takes down every name before any is looked up, so that order and source do not matter.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::name::nearest;
use crate::schema::code::Code;
use crate::schema::diagnostic::{Diagnostics, Span};
use crate::schema::name_table::NameTable;
use crate::schema::resolve::names::did_you_mean;
use crate::schema::resolve::{Language, Resolver};
use crate::schema::rule::{ConditionInfo, Dialect, ParameterType, Rule, SlotKind};
use crate::schema::syntax::{Body, Condition, Definition, Expression, File, Item, Name, TypeName};
use crate::schema::{SlotInfo, TypeInfo, expression};

/// Relations and permissions of one definition: programs grow with their square.
const MAX_ITEMS: usize = 500;
impl<'d, 'a> Resolver<'d, 'a> {
    /// Every type, then what belongs to each, then the conditions.
    pub(super) fn declare(language: Language, file: &'d File, faults: Diagnostics<'a>) -> Self {
        let mut resolver = Self {
            language,
            faults,
            types: Vec::new(),
            type_ids: NameTable::default(),
            slots: Vec::new(),
            places: Vec::new(),
            edges: Vec::new(),
            conditions: Vec::new(),
            condition_ids: FxHashMap::default(),
            declared: Vec::new(),
            used: Vec::new(),
            subtracted: false,
            unstratified: false,
        };
        let mut type_places: Vec<Span> = Vec::new();
        for definition in file.definitions.iter().filter(|definition| !definition.extends) {
            resolver.declare_type(definition, &mut type_places);
        }
        // What extends a type is numbered with it, as if it stood there: so it does when it is printed.
        let number =
            |definition: &Definition| resolver.type_ids.get(&definition.name.text).unwrap_or(u32::MAX);
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
        if let Some(first) = self.type_ids.get(&name.text) {
            let first = type_places.get(first as usize).copied().unwrap_or_default();
            let message = format!("`{}` is defined twice", name.text);
            self.faults.report_again(Code::TypeTwice, name.span, message, first);
            return;
        }
        self.type_ids.insert(&name.text, self.types.len() as u32);
        type_places.push(name.span);
        self.types.push(TypeInfo {
            name: name.text.as_str().into(),
            doc: definition.doc.as_str().into(),
            deprecated: definition.deprecated.clone(),
            origin: definition.origin.clone(),
            slot_ids: NameTable::default(),
            slots: Vec::new(),
        });
    }

    fn declare_items(&mut self, definition: &'d Definition) {
        let name = &definition.name;
        let Some(type_id) = self.type_ids.get(&name.text) else {
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
        if let Some(first) = info.slot_ids.get(&name.text) {
            let first = self.places.get(first as usize).map_or(name.span, |name| name.span);
            let message = format!("`{}` is declared twice", name.text);
            self.faults.report_again(Code::SlotTwice, name.span, message, first);
            return;
        }
        info.slot_ids.insert(&name.text, slot);
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
