//! OpenFGA's JSON to a tree: the form of their API, with keys in either case.

use rustc_hash::FxHashMap;

use crate::name::check_any_name;
use crate::schema::code::Code;
use crate::schema::diagnostic::Diagnostics;
use crate::schema::openfga::json::{self, Json};
use crate::schema::openfga::parse::VERSIONS;
use crate::schema::openfga::{Header, Model};
use crate::schema::parse::MAX_NESTING;
use crate::schema::syntax::{
    Body, Condition, Definition, Expression, Item, Name, Origin, SubjectForm, SubjectType, TypeName,
};

/// Reads a model.
pub(crate) fn read(text: &str, faults: &mut Diagnostics<'_>) -> Model {
    let Some(json) = json::parse(0, text, faults) else { return Model::default() };
    let mut reader = Reader { faults };
    reader.model(json.get(&["authorization_model", "authorizationModel"]).unwrap_or(&json))
}

/// Rewrites in rewrites: as many as the DSL has parentheses for.
const MAX_DEPTH: usize = MAX_NESTING;

struct Reader<'f, 'a> {
    faults: &'f mut Diagnostics<'a>,
}

impl Reader<'_, '_> {
    fn model(&mut self, json: &Json) -> Model {
        let mut model = Model { header: self.header(json), ..Model::default() };
        let Some(types) = json.get(&["type_definitions", "typeDefinitions"]) else {
            self.missing::<()>(json, "type_definitions");
            return model;
        };
        for json in types.items() {
            model.file.definitions.extend(self.definition(json));
        }
        let conditions = json.get(&["conditions"]);
        for (key, json) in conditions.into_iter().flat_map(Json::entries) {
            model.file.conditions.extend(self.condition(key, json));
        }
        model
    }

    fn header(&mut self, json: &Json) -> Header {
        let Some(version) = json.get(&["schema_version", "schemaVersion"]) else {
            self.missing::<()>(json, "schema_version");
            return Header::Missing;
        };
        let text = version.text().unwrap_or("");
        if !VERSIONS.contains(&text) {
            let message = format!("schema `{}` cannot be read", text.escape_debug());
            let help = || Some("schema 1.1 and 1.2 can be read".to_owned());
            self.faults.report_with(Code::BadVersion, version.span, message, help);
        }
        Header::Model(Name { text: text.to_owned(), span: version.span })
    }

    fn definition(&mut self, json: &Json) -> Option<Definition> {
        let name = self.name_in(json, "type")?;
        let metadata = json.get(&["metadata"]);
        let origin = metadata.map(origin).unwrap_or_default();
        let about = metadata.and_then(|metadata| metadata.get(&["relations"]));
        let about = about.into_iter().flat_map(Json::entries);
        let about: FxHashMap<&str, &Json> =
            about.filter_map(|(key, value)| Some((key.text()?, value))).collect();
        let mut items = Vec::new();
        for (key, rewrite) in json.get(&["relations"]).into_iter().flat_map(Json::entries) {
            let about = key.text().and_then(|key| about.get(key)).copied();
            items.extend(self.item(key, rewrite, about));
        }
        Some(Definition { name, doc: String::new(), deprecated: None, items, extends: false, origin })
    }

    fn item(&mut self, key: &Json, rewrite: &Json, about: Option<&Json>) -> Option<Item> {
        let name = self.name(key)?;
        let mut direct = false;
        let expression = self.rewrite(rewrite, &mut direct, 0)?;
        let keys = ["directly_related_user_types", "directlyRelatedUserTypes"];
        let listed = about.and_then(|about| about.get(&keys)).map_or(&[][..], Json::items);
        let mut subjects = Vec::new();
        if direct {
            if listed.is_empty() {
                let message = format!("`{}` is stored directly, but no type of subject is named", name.text);
                let help =
                    || Some(format!("`metadata.relations.{}.{}`", name.text, keys.first().unwrap_or(&"")));
                self.faults.report_with(Code::NoSubjectTypes, name.span, message, help);
            }
            for json in listed {
                subjects.extend(self.subject(json));
            }
        }
        let origin = about.map(origin).unwrap_or_default();
        let body = Body::Define { subjects, expression };
        Some(Item { name, doc: String::new(), deprecated: None, body, origin })
    }

    fn subject(&mut self, json: &Json) -> Option<SubjectType> {
        let name = self.name_in(json, "type")?;
        let relation = json.get(&["relation"]).filter(|relation| relation.text() != Some(""));
        let form = match (relation, json.get(&["wildcard"])) {
            (Some(relation), None) => SubjectForm::Userset(self.name(relation)?),
            (None, Some(_)) => SubjectForm::Wildcard,
            (None, None) => SubjectForm::Plain,
            (Some(relation), Some(_)) => {
                let message = "a subject is a wildcard or a userset, and not both";
                self.faults.report(Code::Unexpected, relation.span, message);
                return None;
            }
        };
        let condition = json.get(&["condition"]).filter(|condition| condition.text() != Some(""));
        let condition = match condition {
            Some(condition) => Some(self.name(condition)?),
            None => None,
        };
        Some(SubjectType { name, form, condition, expiration: false, deprecated: None, span: json.span })
    }

    fn rewrite(&mut self, json: &Json, direct: &mut bool, depth: usize) -> Option<Expression> {
        if depth > MAX_DEPTH {
            let message = format!("rewrites are nested more than {MAX_DEPTH} deep");
            self.faults.report(Code::Nesting, json.span, message);
            return None;
        }
        if json.get(&["this"]).is_some() {
            *direct = true;
            return Some(Expression::This);
        }
        if let Some(computed) = json.get(&["computedUserset", "computed_userset"]) {
            return Some(Expression::Reference(self.name_in(computed, "relation")?));
        }
        if let Some(pair) = json.get(&["tupleToUserset", "tuple_to_userset"]) {
            let Some(tupleset) = pair.get(&["tupleset"]) else { return self.missing(pair, "tupleset") };
            let Some(computed) = pair.get(&["computedUserset", "computed_userset"]) else {
                return self.missing(pair, "computedUserset");
            };
            let relation = self.name_in(tupleset, "relation")?;
            let target = self.name_in(computed, "relation")?;
            return Some(Expression::Arrow { relation, target, all: false });
        }
        for (key, build) in
            [("union", Expression::Union as fn(_) -> _), ("intersection", Expression::Intersection)]
        {
            let Some(operands) = json.get(&[key]) else { continue };
            let Some(children) = operands.get(&["child"]).map(Json::items).filter(|list| !list.is_empty())
            else {
                return self.missing(operands, "child");
            };
            let mut all = Vec::new();
            for child in children {
                all.push(self.rewrite(child, direct, depth + 1)?);
            }
            return Some(if all.len() == 1 { all.pop()? } else { build(all) });
        }
        if let Some(difference) = json.get(&["difference"]) {
            let Some(base) = difference.get(&["base"]) else { return self.missing(difference, "base") };
            let Some(subtract) = difference.get(&["subtract"]) else {
                return self.missing(difference, "subtract");
            };
            let base = self.rewrite(base, direct, depth + 1)?;
            let subtract = self.rewrite(subtract, direct, depth + 1)?;
            return Some(Expression::Exclusion(vec![base, subtract]));
        }
        let message =
            "expected `this`, `computedUserset`, `tupleToUserset`, `union`, `intersection` or `difference`";
        self.faults.report(Code::Unexpected, json.span, message);
        None
    }

    fn condition(&mut self, key: &Json, json: &Json) -> Option<Condition> {
        let name = self.name(key)?;
        if let Some(inner) = json.get(&["name"])
            && inner.text() != Some(&name.text)
        {
            let message = format!("the condition `{}` is named otherwise inside", name.text);
            self.faults.report(Code::InvalidName, inner.span, message);
        }
        let Some(expression) = json.get(&["expression"]) else { return self.missing(json, "expression") };
        let mut parameters = Vec::new();
        for (key, kind) in json.get(&["parameters"]).into_iter().flat_map(Json::entries) {
            parameters.push((self.name(key)?, self.type_name(kind, 0)?));
        }
        if parameters.is_empty() {
            let message = format!("the condition `{}` has no parameters", name.text);
            self.faults.report(Code::NoParameters, name.span, message);
        }
        let text = expression.text().unwrap_or("").trim().to_owned();
        // Inside the quotes, if it was written without escapes and blanks around it.
        let mut span = expression.span;
        if span.end - span.start == text.len() + 2 {
            (span.start, span.end) = (span.start + 1, span.end - 1);
        }
        let origin = json.get(&["metadata"]).map(origin).unwrap_or_default();
        let expression = Name { text, span };
        Some(Condition { name, doc: String::new(), parameters, expression, origin })
    }

    fn type_name(&mut self, json: &Json, depth: usize) -> Option<TypeName> {
        let Some(kind) = json.get(&["type_name", "typeName"]) else { return self.missing(json, "type_name") };
        let written = kind.text().unwrap_or("");
        let text = written.strip_prefix("TYPE_NAME_").unwrap_or(written).to_ascii_lowercase();
        let mut of = Vec::new();
        if depth < 8 {
            for inner in json.get(&["generic_types", "genericTypes"]).map_or(&[][..], Json::items) {
                of.push(self.type_name(inner, depth + 1)?);
            }
        }
        Some(TypeName { name: Name { text, span: kind.span }, of })
    }

    fn name_in(&mut self, json: &Json, key: &str) -> Option<Name> {
        match json.get(&[key]) {
            Some(name) => self.name(name),
            None => self.missing(json, key),
        }
    }

    fn name(&mut self, json: &Json) -> Option<Name> {
        let Some(text) = json.text() else {
            self.faults.report(Code::Unexpected, json.span, "expected a name in quotes");
            return None;
        };
        if let Err((_, fault)) = check_any_name(text) {
            self.faults.report(Code::InvalidName, json.span, format!("a name {fault}"));
            return None;
        }
        Some(Name { text: text.to_owned(), span: json.span })
    }

    fn missing<T>(&mut self, json: &Json, key: &str) -> Option<T> {
        let span = crate::schema::diagnostic::Span { end: json.span.start + 1, ..json.span };
        self.faults.report(Code::Unexpected, span, format!("expected the key `{key}` here"));
        None
    }
}

/// `module` and `source_info.file`
fn origin(json: &Json) -> Origin {
    let text =
        |json: Option<&Json>| json.and_then(Json::text).filter(|text| !text.is_empty()).map(Into::into);
    let file = json.get(&["source_info", "sourceInfo"]).and_then(|info| info.get(&["file"]));
    Origin { module: text(json.get(&["module"])), file: text(file) }
}
