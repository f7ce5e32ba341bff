//! The API's document, made from the routes themselves (OpenAPI 3.1).

use std::sync::Arc;

use axum::http::StatusCode;
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::route::{Access, Route};

/// The document of these routes.
pub fn document(routes: &[Route]) -> Arc<str> {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let mut paths = Map::new();
    for route in routes {
        let item = paths.entry(route.path.clone()).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            item.insert(route.method.as_str().to_ascii_lowercase(), operation(route, &mut generator));
        }
    }
    let schemas = Value::Object(generator.take_definitions(true));
    let document = json!({
        "openapi": "3.1.0",
        "info": {"title": "Formwork construction-management API", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    });
    document.to_string().into()
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters(route, generator),
        "responses": responses(route, generator),
        "x-permission": permission(route.access),
    });
    if let Some(fields) = operation.as_object_mut() {
        if let Some(schema) = route.body {
            let content = json!({"application/json": {"schema": schema(generator)}});
            fields.insert("requestBody".to_owned(), json!({"required": true, "content": content}));
        }
        if route.access != Access::Public {
            fields.insert("security".to_owned(), json!([{"bearer": []}]));
        }
    }
    operation
}

fn permission(access: Access) -> Value {
    match access {
        Access::Public => json!("public"),
        Access::Permission { permission, object_type } => json!(format!("{object_type}#{permission}")),
        Access::Entities { permission } => json!(format!("*#{permission}")),
    }
}

fn parameters(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut list: Vec<Value> = in_path
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    let query = route.query.map(|schema| schema(generator).to_value()).unwrap_or_default();
    if let Some(properties) = query.get("properties").and_then(Value::as_object) {
        let required = query.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        for (name, schema) in properties {
            let needed = required.iter().any(|known| known == name);
            list.push(json!({"name": name, "in": "query", "required": needed, "schema": schema}));
        }
    }
    Value::Array(list)
}

fn responses(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let (status, schema) = route.returns;
    let mut success = json!({"description": status.canonical_reason().unwrap_or_default()});
    if let (Some(schema), Some(fields)) = (schema, success.as_object_mut()) {
        let content = json!({"application/json": {"schema": schema(generator)}});
        fields.insert("content".to_owned(), content);
    }
    let problem = json!({
        "description": "A problem document (RFC 9457)",
        "content": {"application/problem+json": {"schema": {"type": "object"}}},
    });
    let mut all = Map::new();
    all.insert(status.as_str().to_owned(), success);
    all.insert("default".to_owned(), problem.clone());
    if route.access != Access::Public {
        for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND] {
            all.insert(status.as_str().to_owned(), problem.clone());
        }
    }
    Value::Object(all)
}
