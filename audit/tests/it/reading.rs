//! Who reads the trail, what one entity's history is, and the trail as a file.

use formwork_audit::{Audit, Event, Export, ExportFormat, Filter, Outcome, Target};
use formwork_tenancy::{Actor, Isolation, Session, Tenant, TenantTx, testing::TestDatabase};
use uuid::Uuid;

use super::{database, record};

async fn begin(db: &TestDatabase, tenant: &Tenant, actor: Actor) -> TenantTx {
    db.tenants().begin(&db.session(tenant, actor)).await.unwrap()
}

async fn read(db: &TestDatabase, tenant: &Tenant, actor: Actor, filter: &Filter) -> usize {
    let mut tx = begin(db, tenant, actor).await;
    let page = Audit::new().read(&mut tx, filter, None, 10).await.unwrap();
    tx.commit().await.unwrap();
    page.events.len()
}

#[tokio::test]
async fn access_to_the_trail_is_in_the_trail_once_a_day_for_each_question() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    record(&db, &tenant, vec![Event::new("rfi.opened")]).await;
    let (ada, eve) = (Actor::user(Uuid::from_u128(1)), Actor::user(Uuid::from_u128(2)));
    let denied = Filter { outcome: Some(Outcome::Denied), ..Filter::default() };
    assert_eq!(read(&db, &tenant, ada.clone(), &Filter::default()).await, 1);
    assert_eq!(read(&db, &tenant, ada.clone(), &Filter::default()).await, 2);
    assert_eq!(read(&db, &tenant, ada.clone(), &denied).await, 0);
    assert_eq!(read(&db, &tenant, eve.clone(), &Filter::default()).await, 3);
    // A transaction that is not committed has shown nothing to anybody.
    let mut tx = begin(&db, &tenant, Actor::user(Uuid::from_u128(3))).await;
    Audit::new().read(&mut tx, &Filter::default(), None, 10).await.unwrap();
    drop(tx);

    let mut tx = begin(&db, &tenant, ada).await;
    let reads = Filter { action: Some("audit.read".into()), ..Filter::default() };
    let page = Audit::new().list(&mut tx, &reads, None, 10).await.unwrap();
    let told: Vec<_> =
        page.events.iter().map(|event| (event.actor_id.clone(), event.after.clone().unwrap())).collect();
    let by = |id: u128| Uuid::from_u128(id).to_string();
    let (all, denied) = (serde_json::json!({}), serde_json::json!({"outcome": "denied"}));
    assert_eq!(told, [(by(2), all.clone()), (by(1), denied), (by(1), all)]);
}

#[tokio::test]
async fn the_history_of_an_entity_has_every_event_about_it_and_no_denial() {
    let db = database().await;
    let (tenant, other) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let (one, two) = (("rfi", Uuid::from_u128(1)), ("rfi", Uuid::from_u128(2)));
    let events = || {
        vec![
            Event::new("rfi.opened").target(one),
            Event::new("rfi.linked").target(two).target(one).target(one),
            Event::new("rfi.linked").target(one).target(two).idempotency_key("k"),
            Event::new("access.denied").target(one).outcome(Outcome::Denied),
            Event::new("rfi.closed").target(two),
        ]
    };
    record(&db, &tenant, events()).await;
    record(&db, &other, vec![Event::new("rfi.moved").target(two).target(one)]).await;
    let mut tx = begin(&db, &tenant, Actor::system("test")).await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = Audit::new().history(&mut tx, one, after, 1).await.unwrap();
        seen.extend(page.events.into_iter().map(|event| event.action));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["rfi.linked", "rfi.linked", "rfi.opened"]);
    let about = Filter { target: Some(Target::from(one)), ..Filter::default() };
    assert_eq!(Audit::new().count(&mut tx, &about).await.unwrap(), 4);
    let id = Audit::new().list(&mut tx, &about, None, 1).await.unwrap().events[0].id;
    assert_eq!(Audit::new().event(&mut tx, id).await.unwrap().unwrap().action, "access.denied");
    let mut tx = begin(&db, &other, Actor::system("test")).await;
    assert!(Audit::new().event(&mut tx, id).await.unwrap().is_none());
    assert_eq!(Audit::new().history(&mut tx, two, None, 9).await.unwrap().events.len(), 1);
}

async fn exported(db: &TestDatabase, session: &Session, format: ExportFormat) -> (String, Vec<u64>) {
    let audit = Audit::new();
    let mut tx = db.tenants().begin(session).await.unwrap();
    let mut export = Export::begin(&audit, &mut tx, format, Filter::default()).await.unwrap();
    tx.commit().await.unwrap();
    let (mut file, mut progress) = (String::new(), Vec::new());
    loop {
        let mut tx = db.tenants().begin_read(session).await.unwrap();
        let Some(piece) = export.next(&audit, &mut tx).await.unwrap() else { break };
        file.push_str(&piece);
        progress.push(export.written());
        // What comes meanwhile is not of the state that is exported.
        drop(tx);
        let mut tx = db.tenants().begin(session).await.unwrap();
        audit.record(&mut tx, Event::new("rfi.late")).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(export.written(), export.total());
    (file, progress)
}

#[tokio::test]
async fn an_export_has_all_that_was_there_and_itself_in_the_trail() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Schema).await;
    let evil = "=HYPERLINK(\"http://x\",\"y\")";
    let mut events: Vec<Event> = (0..450).map(|n| Event::new(format!("step.n{n}"))).collect();
    events.push(Event::new("rfi.opened").reason(evil));
    record(&db, &tenant, events).await;
    let session = db.session(&tenant, Actor::user(Uuid::from_u128(1)));
    let (csv, progress) = exported(&db, &session, ExportFormat::Csv).await;
    assert_eq!(progress, [200, 400, 451]);
    assert_eq!(csv.lines().count(), 452);
    assert!(csv.starts_with("\"id\",\"at\","), "{csv}");
    assert!(csv.contains(",\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\","), "{}", csv.lines().nth(1).unwrap());
    assert!(!csv.contains("rfi.late"));
    let (ndjson, _) = exported(&db, &session, ExportFormat::Ndjson).await;
    let lines: Vec<serde_json::Value> =
        ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Those of the first, its own event, and three that came meanwhile.
    assert_eq!(lines.len(), 455);
    let first = lines.iter().find(|event| event["action"] == "audit.exported").unwrap();
    assert_eq!(first["after"], serde_json::json!({"events": 451, "filter": {}, "format": "csv"}));
    assert_eq!(lines.iter().filter(|event| event["reason"] == evil).count(), 1);
}
