//! A schema as the JSON of OpenFGA's API.

use crate::schema::convert::{ConversionError, Reasons, unsaid_in_openfga};
use crate::schema::openfga::json::{Json, Value};
use crate::schema::rule::ParameterType;
use crate::schema::syntax::Origin;
use crate::schema::{AllowedSubject, ConditionInfo, Rule, Schema, SlotInfo, SubjectKind};

impl Schema {
    /// The schema as the JSON of OpenFGA's API: what [`Schema::parse_openfga_json`] reads as the same schema.
    ///
    /// Comments are left out.
    ///
    /// # Errors
    ///
    /// [`ConversionError`] when OpenFGA cannot say a part of the schema.
    pub fn to_openfga_json(&self) -> Result<String, ConversionError> {
        let mut reasons = Reasons::new("OpenFGA's JSON");
        unsaid_in_openfga(self, &mut reasons);
        for condition in &self.conditions {
            for (name, kind) in &condition.parameters {
                if has_bytes(kind) {
                    reasons
                        .add(format!("the parameter `{name}` of `{}` has the type `{kind}`", condition.name));
                }
            }
        }
        reasons.finish(self.model().pretty(), self, Schema::parse_openfga_json)
    }

    fn model(&self) -> Json {
        let types = self.types.iter().map(|info| {
            let slots = || info.slots.iter().filter_map(|&slot| self.slot(slot));
            let relations = slots().map(|slot| (&*slot.name, self.userset(&slot.rule)));
            let about = slots().map(|slot| (&*slot.name, self.about(slot)));
            let mut metadata = Vec::new();
            if !info.slots.is_empty() {
                metadata.push(("relations", object(about)));
            }
            metadata.extend(origin(&info.origin));
            let metadata = if metadata.is_empty() { Json::from(Value::Null) } else { object(metadata) };
            object([("type", text(&info.name)), ("relations", object(relations)), ("metadata", metadata)])
        });
        let conditions = self.conditions.iter().map(|info| (&*info.name, condition(info)));
        let version = if self.modular { "1.2" } else { "1.1" };
        object([
            ("schema_version", text(version)),
            ("type_definitions", list(types)),
            ("conditions", object(conditions)),
        ])
    }

    /// Recursion is bounded: rules are.
    fn userset(&self, rule: &Rule) -> Json {
        let name = |id: u32| self.slot(id).map_or("", |slot| &slot.name);
        let relation = |name: &str| object([("relation", text(name))]);
        let one = |key: &str, value: Json| object([(key, value)]);
        let children = |rules: &[Rule]| one("child", list(rules.iter().map(|rule| self.userset(rule))));
        match rule {
            Rule::Slot(id) => one("computedUserset", relation(name(*id))),
            Rule::Arrow { relation: tupleset, targets, .. } => {
                let target = targets.first().map_or("", |&(_, target)| name(target));
                let parts = [("tupleset", relation(name(*tupleset))), ("computedUserset", relation(target))];
                one("tupleToUserset", object(parts))
            }
            Rule::Union(rules) => one("union", children(rules)),
            Rule::Intersection(rules) => one("intersection", children(rules)),
            Rule::Exclusion(rule, subtrahend) => {
                let parts = [("base", self.userset(rule)), ("subtract", self.userset(subtrahend))];
                one("difference", object(parts))
            }
            Rule::This | Rule::Nil | Rule::Itself | Rule::Conditional(..) => one("this", object([])),
        }
    }

    fn about(&self, slot: &SlotInfo) -> Json {
        let types = list(slot.allowed.iter().map(|allowed| self.reference(allowed)));
        object([("directly_related_user_types", types)].into_iter().chain(origin(&slot.origin)))
    }

    fn reference(&self, allowed: &AllowedSubject) -> Json {
        let mut parts = Vec::new();
        match allowed.subject {
            SubjectKind::Object(id) => parts.push(("type", text(self.type_name(id)))),
            SubjectKind::Wildcard(id) => {
                parts.extend([("type", text(self.type_name(id))), ("wildcard", object([]))]);
            }
            SubjectKind::Userset(slot) => {
                let info = self.slot(slot);
                parts.push(("type", text(info.map_or("", |info| self.type_name(info.type_id)))));
                parts.push(("relation", text(info.map_or("", |info| &info.name))));
            }
        }
        let condition = allowed.condition.and_then(|id| self.conditions.get(id as usize));
        parts.extend(condition.map(|condition| ("condition", text(&condition.name))));
        object(parts)
    }
}

fn condition(info: &ConditionInfo) -> Json {
    let parameters = info.parameters.iter().map(|(name, kind)| (&**name, parameter(kind)));
    let mut parts = vec![
        ("name", text(&info.name)),
        ("expression", text(&info.expression)),
        ("parameters", object(parameters)),
    ];
    if info.origin != Origin::default() {
        parts.push(("metadata", object(origin(&info.origin))));
    }
    object(parts)
}

fn parameter(kind: &ParameterType) -> Json {
    let (name, of) = kind.parts();
    let name = ("type_name", text(&format!("TYPE_NAME_{}", name.to_ascii_uppercase())));
    let of = of.map(|of| ("generic_types", list([parameter(of)])));
    object([name].into_iter().chain(of))
}

fn origin(origin: &Origin) -> impl Iterator<Item = (&'static str, Json)> {
    let module = origin.module.as_ref().map(|module| ("module", text(module)));
    let file = origin.file.as_ref().map(|file| ("source_info", object([("file", text(file))])));
    module.into_iter().chain(file)
}

fn text(text: &str) -> Json {
    Value::Text(text.to_owned()).into()
}

fn list(items: impl IntoIterator<Item = Json>) -> Json {
    Value::List(items.into_iter().collect()).into()
}

fn object<'a>(entries: impl IntoIterator<Item = (&'a str, Json)>) -> Json {
    Value::Object(entries.into_iter().map(|(key, value)| (text(key), value)).collect()).into()
}

fn has_bytes(kind: &ParameterType) -> bool {
    match kind.parts() {
        (_, Some(of)) => has_bytes(of),
        (name, None) => name == "bytes",
    }
}
