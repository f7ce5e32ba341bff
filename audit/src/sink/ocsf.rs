//! Events as classes of the Open Cybersecurity Schema Framework, version 1.3.0.
//!
//! `auth.*` is Authentication (3002); what is done to people, keys, roles and tenants is Entity Management (3004);
//! everything else is API Activity (6003). INVARIANT: each attribute stands where the schema has it, and what the
//! schema has no place for is in `unmapped`. `docs/sinks.md` has the table.

use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

use super::SinkEvent;

/// Of the schema.
const VERSION: &str = "1.3.0";
/// The nouns of actions that manage identities and access.
const MANAGED: &[&str] = &[
    "administrator",
    "api_key",
    "domain",
    "group",
    "invitation",
    "member",
    "membership",
    "permission",
    "policy",
    "role",
    "tenant",
    "user",
];
const CREATED: &[&str] = &[
    "added", "created", "copied", "defined", "granted", "imported", "invited", "issued", "linked", "opened",
    "uploaded",
];
const READ: &[&str] = &["downloaded", "exported", "listed", "read", "searched", "viewed"];
const UPDATED: &[&str] = &[
    "activated",
    "archived",
    "assigned",
    "changed",
    "closed",
    "edited",
    "held",
    "merged",
    "moved",
    "released",
    "renamed",
    "reordered",
    "replaced",
    "restored",
    "suspended",
    "updated",
    "verified",
];
const DELETED: &[&str] = &["cancelled", "deleted", "purged", "removed", "revoked", "shredded", "unlinked"];

/// A class, and what its activities are called.
struct Class {
    uid: u64,
    name: &'static str,
    category: (u64, &'static str),
}

const AUTHENTICATION: Class =
    Class { uid: 3002, name: "Authentication", category: (3, "Identity & Access Management") };
const ENTITY_MANAGEMENT: Class =
    Class { uid: 3004, name: "Entity Management", category: (3, "Identity & Access Management") };
const API_ACTIVITY: Class = Class { uid: 6003, name: "API Activity", category: (6, "Application Activity") };

pub(crate) fn of(event: &SinkEvent) -> Value {
    let class = class_of(event);
    let (activity, activity_name) = activity_of(event, &class);
    let (severity, severity_name) = severity_of(event);
    let (status, status_name) = if event.outcome == "success" { (1, "Success") } else { (2, "Failure") };
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| out.insert(name.to_owned(), value);
    put("activity_id", activity.into());
    put("activity_name", activity_name.into());
    put("category_uid", class.category.0.into());
    put("category_name", class.category.1.into());
    put("class_uid", class.uid.into());
    put("class_name", class.name.into());
    put("type_uid", (class.uid * 100 + activity).into());
    put("severity_id", severity.into());
    put("severity", severity_name.into());
    put("status_id", status.into());
    put("status", status_name.into());
    put("status_code", event.outcome.as_str().into());
    put("time", event.at.timestamp_millis().into());
    put("message", format!("{} by {} {}", event.action, event.actor_type, event.actor_id).into());
    put("metadata", metadata(event));
    put("actor", actor(event));
    put("unmapped", unmapped(event, class.uid));
    put("src_endpoint", source(event));
    if let Some(reason) = &event.reason {
        put("status_detail", reason.as_str().into());
    }
    match class.uid {
        3002 => {
            put("user", user(event));
            put("service", service());
            put("is_remote", event.ip.is_some().into());
        }
        3004 => {
            put("entity", entity(event, event.before.as_ref()));
            if event.after.is_some() {
                put("entity_result", entity(event, event.after.as_ref()));
            }
            if let Some(reason) = &event.reason {
                put("comment", reason.as_str().into());
            }
        }
        _ => {
            put("api", api(event));
            put("resources", resources(event));
        }
    }
    Value::Object(out)
}

fn class_of(event: &SinkEvent) -> Class {
    let noun = event.action.split('.').next().unwrap_or_default();
    match noun {
        "auth" | "session" => AUTHENTICATION,
        _ if MANAGED.contains(&noun) => ENTITY_MANAGEMENT,
        _ => API_ACTIVITY,
    }
}

/// By the last word of the verb: `column_added` is an addition.
fn activity_of(event: &SinkEvent, class: &Class) -> (u64, String) {
    let verb = event.action.rsplit('.').next().unwrap_or_default();
    let word = verb.rsplit('_').next().unwrap_or_default();
    let (id, name) = match (class.uid, word) {
        (3002, "login" | "started" | "failed") => (1, "Logon"),
        (3002, "logout" | "ended") => (2, "Logoff"),
        (3002, _) => (99, verb),
        _ if CREATED.contains(&word) => (1, "Create"),
        _ if READ.contains(&word) => (2, "Read"),
        _ if UPDATED.contains(&word) => (3, "Update"),
        _ if DELETED.contains(&word) => (4, "Delete"),
        _ => (99, verb),
    };
    (id, name.to_owned())
}

fn severity_of(event: &SinkEvent) -> (u64, &'static str) {
    match event.outcome.as_str() {
        "success" => (1, "Informational"),
        "failure" => (2, "Low"),
        _ => (3, "Medium"),
    }
}

fn metadata(event: &SinkEvent) -> Value {
    let mut metadata = json!({
        "version": VERSION,
        "product": {"name": "Formwork", "vendor_name": "Formwork", "version": env!("CARGO_PKG_VERSION")},
        "uid": event.id,
        "event_code": event.action,
        "log_name": "audit",
        "tenant_uid": event.tenant_id,
        "original_time": event.at.to_rfc3339_opts(SecondsFormat::Micros, true),
    });
    add(&mut metadata, "correlation_uid", event.request_id.as_deref());
    metadata
}

fn actor(event: &SinkEvent) -> Value {
    match event.actor_type.as_str() {
        "system" => json!({"app_name": event.actor_id}),
        _ => json!({"user": user(event)}),
    }
}

fn user(event: &SinkEvent) -> Value {
    let type_id = match event.actor_type.as_str() {
        "user" => 1,
        "administrator" => 2,
        "system" => 3,
        _ => 99,
    };
    json!({"uid": event.actor_id, "type": event.actor_type, "type_id": type_id})
}

/// The service itself, where there was no client.
fn source(event: &SinkEvent) -> Value {
    match &event.ip {
        Some(ip) => json!({"ip": ip}),
        None => json!({"svc_name": "formwork"}),
    }
}

fn service() -> Value {
    json!({"name": "formwork", "version": env!("CARGO_PKG_VERSION")})
}

fn api(event: &SinkEvent) -> Value {
    let mut api = json!({"operation": event.action, "service": service()});
    if let (Some(id), Some(api)) = (&event.request_id, api.as_object_mut()) {
        api.insert("request".to_owned(), json!({"uid": id}));
    }
    api
}

/// The first target in the state of `data`; without one, the tenant.
fn entity(event: &SinkEvent, data: Option<&Value>) -> Value {
    let first = event.targets.get(0);
    let mut entity = match first {
        Some(target) => json!({"uid": target["id"], "type": target["type"]}),
        None => json!({"uid": event.tenant_id, "type": "tenant"}),
    };
    if let (Some(data), Some(entity)) = (data, entity.as_object_mut()) {
        entity.insert("data".to_owned(), data.clone());
    }
    entity
}

/// All targets; what changed stands with the first.
fn resources(event: &SinkEvent) -> Value {
    let targets = event.targets.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut resources: Vec<Value> =
        targets.iter().map(|target| json!({"uid": target["id"], "type": target["type"]})).collect();
    let mut changed = Map::new();
    for (name, state) in [("before", &event.before), ("after", &event.after)] {
        if let Some(state) = state {
            changed.insert(name.to_owned(), state.clone());
        }
    }
    if let (Some(first), false) = (resources.first_mut().and_then(Value::as_object_mut), changed.is_empty()) {
        first.insert("data".to_owned(), Value::Object(changed));
    }
    Value::Array(resources)
}

fn unmapped(event: &SinkEvent, class: u64) -> Value {
    let mut unmapped = json!({});
    for (name, value) in [
        ("impersonator", event.impersonator.as_deref()),
        ("on_behalf_of", event.on_behalf_of.as_deref()),
        ("trace_id", event.trace_id.as_deref()),
        ("user_agent", event.user_agent.as_deref()),
        ("region", event.region.as_deref()),
    ] {
        add(&mut unmapped, name, value);
    }
    if let Some(unmapped) = unmapped.as_object_mut() {
        let evidence_id = event.evidence_id.map(|id| json!(id));
        let evidence = [("evidence_id", evidence_id), ("evidence", event.evidence.clone())];
        // An entity is the first target; of API Activity all are resources.
        let others = Some(event.targets.clone()).filter(|targets| class != 6003 && targets.get(1).is_some());
        // Nowhere else when there is nothing that it changed.
        let has_place = class == 3004 || (class == 6003 && event.targets.get(0).is_some());
        let state = |state: &Option<Value>| state.clone().filter(|_| !has_place);
        let states = [("before", state(&event.before)), ("after", state(&event.after))];
        for (name, value) in evidence.into_iter().chain([("targets", others)]).chain(states) {
            unmapped.extend(value.map(|value| (name.to_owned(), value)));
        }
    }
    unmapped
}

fn add(object: &mut Value, name: &str, value: Option<&str>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(name.to_owned(), value.into());
    }
}
