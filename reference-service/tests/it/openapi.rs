//! The API's document, and the policy that a reviewer reads.

use std::collections::BTreeSet;

use formwork_service::{
    http::route::{Access, Route},
    router::routes,
};
use serde_json::{Value, json};

use crate::kit::{Ask, Service, snapshot};

async fn document() -> Value {
    let answer =
        Service::start().await.ask("anywhere.test", None, Ask::get("/api/v1/openapi.json")).await.is(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

/// The permission that a route declares, as `type#permission`.
fn permission(route: &Route) -> String {
    match route.access() {
        Access::Public => "public".to_owned(),
        Access::Permission { permission, object_type } => format!("{object_type}#{permission}"),
        Access::Entities { permission } => format!("*#{permission}"),
    }
}

/// One line a route: what may be changed only with a reviewer's eye on it.
#[test]
fn the_permission_of_every_route_is_reviewed() {
    let mut lines: Vec<String> = routes()
        .iter()
        .map(|route| {
            format!("{:<6} {:<46} -> {}\n", route.method().as_str(), route.path(), permission(route))
        })
        .collect();
    lines.sort_by_key(|line| line.split_whitespace().nth(1).map(str::to_owned));
    snapshot("openapi_routes.txt", &lines.concat());
}

#[tokio::test]
async fn every_route_is_in_the_document_and_no_other() {
    let document = document().await;
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            found.insert((
                method.to_uppercase(),
                path.clone(),
                operation["x-permission"].as_str().unwrap().to_owned(),
            ));
        }
    }
    let declared: BTreeSet<_> = routes()
        .iter()
        .map(|route| (route.method().to_string(), route.path().to_owned(), permission(route)))
        .collect();
    assert_eq!(found, declared);
}

#[tokio::test]
async fn the_document_has_the_shape_of_openapi_3_1() {
    let document = document().await;
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{at}");
            let secured = operation["x-permission"] != "public";
            assert_eq!(operation["security"] == json!([{"bearer": []}]), secured, "{at}");
            let parameters = operation["parameters"].as_array().unwrap();
            let names = |place: &str| -> BTreeSet<&str> {
                let found = parameters.iter().filter(|parameter| parameter["in"] == place);
                found.map(|parameter| parameter["name"].as_str().unwrap()).collect()
            };
            let braces = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            assert_eq!(names("path"), braces.collect(), "{at}");
            assert_eq!(names("path").len() + names("query").len(), parameters.len(), "{at}");
            for parameter in parameters {
                assert!(
                    parameter["schema"].is_object() && parameter["required"].is_boolean(),
                    "{at} {parameter}"
                );
                assert!(parameter["in"] != "path" || parameter["required"] == true, "{at} {parameter}");
            }
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{at}");
            for (status, response) in responses {
                assert!(status == "default" || status.parse::<u16>().is_ok(), "{at} {status}");
                assert!(response["description"].is_string(), "{at} {status}");
                let problem = response["content"]["application/problem+json"].is_object();
                assert_eq!(problem, !status.starts_with('2'), "{at} {status}");
            }
            let body = matches!(method.as_str(), "post" | "patch");
            assert_eq!(operation["requestBody"]["required"] == true, body, "{at}");
        }
    }
    let of_tasks = document["paths"]["/api/v1/tasks"]["get"]["parameters"].as_array().unwrap();
    let board = of_tasks.iter().find(|parameter| parameter["name"] == "board_id").unwrap();
    assert_eq!(board["required"], true, "a query parameter without which there is no answer");
}

#[tokio::test]
async fn every_reference_resolves_and_every_schema_is_used() {
    let document = document().await;
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    for pointer in &used {
        let target =
            pointer.strip_prefix('#').unwrap_or_else(|| panic!("`{pointer}` leads out of the document"));
        assert!(document.pointer(target).is_some(), "`{pointer}` leads nowhere");
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(used.contains(&format!("#/components/schemas/{name}")), "schema `{name}` is used nowhere");
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}
