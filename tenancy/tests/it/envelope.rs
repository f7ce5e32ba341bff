//! A job keeps its tenant, its actor and what it must see.

use formwork_tenancy::{Actor, Envelope, EnvelopeError, Isolation, TenantId};
use uuid::Uuid;

use crate::isolation::{database, notes};

#[tokio::test]
async fn a_job_is_done_as_the_actor_for_the_tenant_that_asked() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Schema).await);
    let session = db
        .session(&a, Actor::user(Uuid::now_v7()))
        .request_id("r-7")
        .ip("192.0.2.7".parse().unwrap())
        .user_agent("browser");
    let token = db.tenants().begin(&session).await.unwrap().commit().await.unwrap();

    let written = serde_json::to_string(&session.envelope(Some(&token))).unwrap();
    let envelope: Envelope = serde_json::from_str(&written).unwrap();
    assert_eq!(envelope.token(), Some(&token));
    let again = db.tenants().session_of(&envelope).await.unwrap();
    assert_eq!(again.tenant_id(), a.id());
    assert_eq!(again.actor(), session.actor());
    assert_eq!(again.correlation(), Some("r-7"));
    assert_eq!((again.client_ip(), again.client_agent()), (session.client_ip(), session.client_agent()));

    let mut tx = db.tenants().begin(&again).await.unwrap();
    sqlx::query("insert into notes (body) values ('by the job')").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(notes(&db, &a).await, ["by the job"]);
    assert_eq!(notes(&db, &b).await, [""; 0]);
}

#[tokio::test]
async fn an_envelope_of_no_tenant_in_service_makes_no_session() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let mut envelope = serde_json::to_value(db.session(&a, Actor::system("job")).envelope(None)).unwrap();
    envelope["tenant"] = TenantId::generate().to_string().into();
    let unknown: Envelope = serde_json::from_value(envelope.clone()).unwrap();
    let refused = db.tenants().session_of(&unknown).await.unwrap_err();
    assert!(matches!(refused, EnvelopeError::Unknown { .. }), "{refused}");

    envelope["v"] = 2.into();
    let refused = serde_json::from_value::<Envelope>(envelope).unwrap_err().to_string();
    assert!(refused.contains("version 2"), "{refused}");
}
