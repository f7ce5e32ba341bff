//! Events as OCSF has them, held against the published schema: `tests/ocsf/1.3.0.json` says what of it and where from.

use formwork_audit::{
    Audit, Event, Outcome,
    sink::{Deliverer, Format},
};
use formwork_tenancy::{Actor, Evidence, Isolation, Session};
use serde_json::{Value, json};
use uuid::Uuid;

use super::kit::{Kept, followed};
use crate::database;

fn schema() -> Value {
    serde_json::from_str(include_str!("../../ocsf/1.3.0.json")).unwrap()
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().map(|all| all.iter().map(|name| name.as_str().unwrap()).collect()).unwrap_or_default()
}

/// Whatever the schema does not allow.
fn faults(schema: &Value, rules: &Value, at: &str, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(object) = value.as_object() else { return vec![format!("{at} is no object")] };
    let known = names(&rules["attributes"]);
    faults.extend(
        object
            .keys()
            .filter(|name| !known.contains(&name.as_str()))
            .map(|name| format!("{at}.{name} is unknown")),
    );
    faults.extend(
        object.iter().filter(|(_, value)| value.is_null()).map(|(name, _)| format!("{at}.{name} is null")),
    );
    let required = names(&rules["required"]);
    faults.extend(
        required
            .iter()
            .filter(|name| !object.contains_key(**name))
            .map(|name| format!("{at}.{name} is missing")),
    );
    let one_of = names(&rules["at_least_one"]);
    if !one_of.is_empty() && !one_of.iter().any(|name| object.contains_key(*name)) {
        faults.push(format!("{at} has none of {one_of:?}"));
    }
    for (name, kind) in rules["objects"].as_object().into_iter().flatten() {
        let rules = &schema["objects"][kind.as_str().unwrap()];
        assert!(rules.is_object(), "{kind}");
        match object.get(name) {
            None => {}
            Some(Value::Array(all)) => {
                faults.extend(
                    all.iter().flat_map(|one| self::faults(schema, rules, &format!("{at}.{name}"), one)),
                );
            }
            Some(one) => faults.extend(self::faults(schema, rules, &format!("{at}.{name}"), one)),
        }
    }
    faults
}

fn assert_valid(event: &Value) {
    let schema = schema();
    let class = event["class_uid"].as_u64().unwrap();
    let rules = &schema["classes"][class.to_string()];
    assert_eq!(faults(&schema, rules, "event", event), [""; 0], "{event:#}");
    let activity = event["activity_id"].as_u64().unwrap();
    assert!(rules["activities"].as_array().unwrap().contains(&activity.into()), "{event:#}");
    assert_eq!(event["category_uid"], rules["category_uid"]);
    assert_eq!(event["type_uid"], class * 100 + activity);
    assert_eq!(event["metadata"]["version"], "1.3.0");
    assert!([1, 2].contains(&event["status_id"].as_u64().unwrap()));
    assert!(event["time"].as_u64().unwrap() > 1_600_000_000_000, "milliseconds");
}

fn events() -> Vec<Event> {
    let target = |kind: &'static str, id: u128| (kind, Uuid::from_u128(id));
    vec![
        Event::new("project.created").target(target("project", 1)).after(json!({"name": "A"})),
        Event::new("project.updated")
            .target(target("project", 1))
            .target(target("site", 2))
            .before(json!({"name": "A"}))
            .after(json!({"name": "B"})),
        Event::new("project.deleted")
            .target(target("project", 1))
            .before(json!({"name": "B"}))
            .outcome(Outcome::Denied)
            .reason("not yours"),
        Event::new("report.viewed"),
        Event::new("board.column_added").after(json!({"columns": 3})),
        Event::new("task.frobnicated")
            .evidence(Evidence::new(Uuid::from_u128(9), json!({"path": []})))
            .trace_id("abc"),
        Event::new("auth.login").target(target("user", 3)),
        Event::new("auth.login").outcome(Outcome::Failure).reason("wrong password"),
        Event::new("auth.logout"),
        Event::new("member.added")
            .target(target("user", 4))
            .target(target("role", 5))
            .after(json!({"role": "owner"})),
        Event::new("member.removed")
            .target(target("user", 4))
            .before(json!({"role": "owner"}))
            .reason("left"),
        Event::new("api_key.revoked").target(target("api_key", 6)),
        Event::new("tenant.suspended").reason("unpaid"),
    ]
}

#[tokio::test]
async fn every_event_is_valid_ocsf() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (relay, sink) = (db.relay().await, Kept::default());
    followed(&db, &relay, "ocsf", &sink).await;
    let user = Actor::user(Uuid::from_u128(1));
    let with_client = |actor| Session::new(&tenant, actor).request_id("r-1").ip([203, 0, 113, 7].into());
    for session in [with_client(user), Session::new(&tenant, Actor::system("nightly"))] {
        let mut tx = db.tenants().begin(&session).await.unwrap();
        Audit::new().region("eu").record_many(&mut tx, &events()).await.unwrap();
        tx.commit().await.unwrap();
    }
    let deliverer = Deliverer::new(db.tenants(), &relay, "ocsf", sink.clone()).format(Format::Ocsf);
    deliverer.run_once().await.unwrap();

    let messages = sink.messages();
    assert_eq!(messages.len(), 2 * events().len());
    let mut types = Vec::new();
    for message in &messages {
        let event: Value = serde_json::from_str(message.body()).unwrap();
        assert_valid(&event);
        assert_eq!(event["metadata"]["uid"], message.event().to_string());
        assert_eq!(event["metadata"]["tenant_uid"], tenant.id().to_string());
        types.push((
            event["metadata"]["event_code"].as_str().unwrap().to_owned(),
            event["type_uid"].as_u64().unwrap(),
        ));
    }
    let told = |n: usize| (types[n].0.as_str(), types[n].1);
    let expected = [
        ("project.created", 600_301),
        ("project.updated", 600_303),
        ("project.deleted", 600_304),
        ("report.viewed", 600_302),
        ("board.column_added", 600_301),
        ("task.frobnicated", 600_399),
        ("auth.login", 300_201),
        ("auth.login", 300_201),
        ("auth.logout", 300_202),
        ("member.added", 300_401),
        ("member.removed", 300_404),
        ("api_key.revoked", 300_404),
        ("tenant.suspended", 300_403),
    ];
    assert_eq!((0..expected.len()).map(told).collect::<Vec<_>>(), expected);
}

/// One of them in full.
#[tokio::test]
async fn nothing_of_an_event_is_left_out() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (relay, sink) = (db.relay().await, Kept::default());
    let deliverer = followed(&db, &relay, "ocsf", &sink).await.format(Format::Ocsf);
    let session = Session::new(&tenant, Actor::user(Uuid::from_u128(1)))
        .request_id("r-1")
        .user_agent("curl")
        .ip([203, 0, 113, 7].into());
    let mut tx = db.tenants().begin(&session).await.unwrap();
    let event = Event::new("project.deleted")
        .target(("project", Uuid::from_u128(2)))
        .before(json!({"name": "B"}))
        .outcome(Outcome::Denied)
        .reason("not yours")
        .on_behalf_of(&Actor::user(Uuid::from_u128(3)))
        .trace_id("abc");
    let id = event.id();
    Audit::new().region("eu").record(&mut tx, event).await.unwrap();
    tx.commit().await.unwrap();
    deliverer.run_once().await.unwrap();
    let mut told: Value = serde_json::from_str(sink.messages()[0].body()).unwrap();
    let at = told["metadata"]["original_time"].take();
    assert_eq!(
        told["time"],
        chrono::DateTime::parse_from_rfc3339(at.as_str().unwrap()).unwrap().timestamp_millis()
    );
    told["time"].take();
    let (user, project) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        told,
        json!({
            "activity_id": 4, "activity_name": "Delete", "category_uid": 6, "category_name": "Application Activity",
            "class_uid": 6003, "class_name": "API Activity", "type_uid": 600_304,
            "severity_id": 3, "severity": "Medium",
            "status_id": 2, "status": "Failure", "status_code": "denied", "status_detail": "not yours",
            "time": null, "message": format!("project.deleted by user {user}"),
            "metadata": {
                "version": "1.3.0", "uid": id, "event_code": "project.deleted", "log_name": "audit",
                "product": {"name": "Formwork", "vendor_name": "Formwork", "version": version},
                "tenant_uid": tenant.id().as_uuid(), "original_time": null, "correlation_uid": "r-1",
            },
            "actor": {"user": {"uid": user, "type": "user", "type_id": 1}},
            "src_endpoint": {"ip": "203.0.113.7"},
            "api": {"operation": "project.deleted", "service": {"name": "formwork", "version": version}, "request": {"uid": "r-1"}},
            "resources": [{"uid": project, "type": "project", "data": {"before": {"name": "B"}}}],
            "unmapped": {
                "on_behalf_of": format!("user:{}", Uuid::from_u128(3)), "trace_id": "abc", "user_agent": "curl",
                "region": "eu",
            },
        })
    );
}
