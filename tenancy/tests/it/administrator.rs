//! Platform administrators act as sessions: for one tenant, for a reason, for a time, and never unseen.

use std::time::Duration;

use formwork_migrations::{AUDIT, TENANCY};
use formwork_tenancy::{
    Actor, AdministratorRefusal, ControlError, Isolation, NewAdministratorGrant, Refusal, Session,
    StorageError, Tenant, local_postgres::LocalRole, testing::TestDatabase,
};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::isolation::{NOTES, notes, write_note};

const HOUR: Duration = Duration::from_secs(3_600);

/// With a trail that the tenant can read.
async fn database() -> TestDatabase {
    TestDatabase::new(&[TENANCY, AUDIT, NOTES]).await
}

async fn administrator(db: &TestDatabase) -> Uuid {
    db.control().ensure_user("root@example.com", "Root", None).await.unwrap().id
}

async fn grant(db: &TestDatabase, tenant: &Tenant, duration: Duration) -> (Uuid, Uuid) {
    let user = administrator(db).await;
    let grant =
        NewAdministratorGrant::new(user, tenant.id(), "ticket 4711", &Actor::system("on-call"), duration);
    (db.control().grant_administrator(&grant).await.unwrap(), user)
}

async fn bodies(db: &TestDatabase, session: &Session) -> Result<Vec<String>, StorageError> {
    let mut tx = db.tenants().begin_read(session).await?;
    Ok(sqlx::query_scalar("select body from notes").fetch_all(&mut *tx).await?)
}

fn refused<T: std::fmt::Debug>(answer: Result<T, StorageError>) -> AdministratorRefusal {
    let error = answer.unwrap_err();
    assert!(!error.is_retryable() && !error.is_unavailable());
    match error.refusal() {
        Some(Refusal::Administrator(why)) => *why,
        other => panic!("{other:?}"),
    }
}

async fn root(db: &TestDatabase) -> PgConnection {
    PgConnection::connect_with(&db.options(LocalRole::Superuser).await).await.unwrap()
}

/// (kind, answer) of the tenant's lines, the oldest first.
async fn events(db: &TestDatabase, tenant: &Tenant) -> Vec<(String, Option<String>)> {
    sqlx::query_as(
        "select kind, detail ->> 'answer' from platform.security_events where tenant_id = $1 order by at",
    )
    .bind(tenant.id().as_uuid())
    .fetch_all(&mut root(db).await)
    .await
    .unwrap()
}

#[tokio::test]
async fn an_administrator_sees_the_tenant_of_the_grant_and_no_other() {
    let db = database().await;
    for (isolation, slug) in [(Isolation::Shared, "a"), (Isolation::Schema, "b")] {
        let tenant = db.tenant(slug, isolation).await;
        write_note(&db, &tenant, slug).await;
        let (grant, user) = grant(&db, &tenant, HOUR).await;
        let session = db.tenants().administrator_session(grant, user).await.unwrap();
        assert_eq!(session.tenant_id(), tenant.id());
        assert_eq!(*session.actor(), Actor::Administrator { user, grant });
        assert_eq!(session.actor().to_string(), format!("administrator:{user}"));
        let authority = session.authority().unwrap();
        assert_eq!((authority.grant(), authority.reason()), (grant, "ticket 4711"));
        assert_eq!(bodies(&db, &session).await.unwrap(), [slug]);
    }
}

#[tokio::test]
async fn a_grant_is_its_administrators_and_nobody_elses() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let (grant, user) = grant(&db, &a, HOUR).await;
    for (grant, user) in [(grant, Uuid::now_v7()), (Uuid::now_v7(), user)] {
        let answer = db.tenants().administrator_session(grant, user).await;
        assert_eq!(refused(answer), AdministratorRefusal::Unknown);
    }
    // Sessions made by hand, for the grant's tenant and for another.
    for tenant in [&a, &b] {
        let session = db.session(tenant, Actor::Administrator { user, grant });
        assert_eq!(refused(db.tenants().begin(&session).await), AdministratorRefusal::Unknown);
    }
}

#[tokio::test]
async fn nothing_is_begun_after_a_revocation() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (grant, user) = grant(&db, &tenant, HOUR).await;
    let session = db.tenants().administrator_session(grant, user).await.unwrap();
    drop(db.tenants().begin(&session).await.unwrap());
    let by = Actor::system("on-call");
    assert!(db.control().revoke_administrator(grant, &by).await.unwrap());
    assert!(!db.control().revoke_administrator(grant, &by).await.unwrap());
    assert_eq!(refused(db.tenants().begin(&session).await), AdministratorRefusal::Revoked);
    assert_eq!(refused(db.tenants().administrator_session(grant, user).await), AdministratorRefusal::Revoked);
}

#[tokio::test]
async fn nothing_is_begun_after_the_time_is_over() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (grant, user) = grant(&db, &tenant, HOUR).await;
    let session = db.tenants().administrator_session(grant, user).await.unwrap();
    drop(db.tenants().begin(&session).await.unwrap());
    // Two hours later, as far as this grant is concerned.
    sqlx::query(
        "update platform.administrator_grants
            set granted_at = granted_at - interval '2 hours', expires_at = expires_at - interval '2 hours'",
    )
    .execute(&mut root(&db).await)
    .await
    .unwrap();
    assert_eq!(refused(db.tenants().begin(&session).await), AdministratorRefusal::Expired);
    assert_eq!(refused(db.tenants().administrator_session(grant, user).await), AdministratorRefusal::Expired);
    assert!(!db.control().revoke_administrator(grant, &Actor::system("late")).await.unwrap());
}

#[tokio::test]
async fn each_use_and_each_refusal_leaves_a_line_whatever_becomes_of_the_work() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (grant, user) = grant(&db, &tenant, HOUR).await;
    let session = db.tenants().administrator_session(grant, user).await.unwrap().request_id("r-9");
    db.tenants().begin(&session).await.unwrap().rollback().await.unwrap();
    drop(db.tenants().begin_read(&session).await.unwrap());
    db.control().revoke_administrator(grant, &Actor::system("on-call")).await.unwrap();
    refused(db.tenants().begin(&session).await);
    let line =
        |kind: &str, answer: Option<&str>| (format!("administrator.{kind}"), answer.map(str::to_owned));
    assert_eq!(
        events(&db, &tenant).await,
        [
            line("granted", None),
            line("used", Some("active")),
            line("used", Some("active")),
            line("used", Some("active")),
            line("revoked", None),
            line("refused", Some("revoked")),
        ]
    );
    let requests: i64 = sqlx::query_scalar(
        "select count(*) from platform.security_events where detail ->> 'request_id' = 'r-9' and detail ->> 'grant' = $1",
    )
    .bind(grant.to_string())
    .fetch_one(&mut root(&db).await)
    .await
    .unwrap();
    assert_eq!(requests, 3);
    assert_eq!(notes(&db, &tenant).await, [""; 0]);
}

#[tokio::test]
async fn a_grant_needs_a_reason_and_a_time_and_the_login_cannot_write_one() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let user = administrator(&db).await;
    let by = Actor::system("on-call");
    for (reason, duration) in [("  ", HOUR), ("ticket", Duration::ZERO)] {
        let grant = NewAdministratorGrant::new(user, tenant.id(), reason, &by, duration);
        let answer = db.control().grant_administrator(&grant).await;
        assert!(matches!(answer, Err(ControlError::InvalidGrant { .. })), "{answer:?}");
    }
    let mut raw = PgConnection::connect_with(&db.options(LocalRole::App).await).await.unwrap();
    for statement in
        ["select * from platform.administrator_grants", "delete from platform.administrator_grants"]
    {
        let error = sqlx::query(statement).execute(&mut raw).await.unwrap_err();
        assert!(error.to_string().contains("permission denied"), "{error}");
    }
    let policies: i64 = sqlx::query_scalar(
        "select count(*) from pg_policies where concat(policyname, qual, with_check) ~ 'admin'",
    )
    .fetch_one(&mut root(&db).await)
    .await
    .unwrap();
    assert_eq!(policies, 0);
}

#[tokio::test]
async fn a_deactivated_administrator_has_no_grant_in_force() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let (grant, user) = grant(&db, &a, HOUR).await;
    let session = db.tenants().administrator_session(grant, user).await.unwrap();
    sqlx::query("update platform.users set status = 'deactivated'")
        .execute(&mut root(&db).await)
        .await
        .unwrap();
    assert_eq!(refused(bodies(&db, &session).await), AdministratorRefusal::Unknown);
    assert_eq!(refused(db.tenants().administrator_session(grant, user).await), AdministratorRefusal::Unknown);
}

/// The trail of administrators is not the service's to write.
#[tokio::test]
async fn the_service_cannot_write_an_administrators_line() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let forged =
        db.tenants().record_security_event("administrator.granted", Some(a.id()), serde_json::json!({}));
    assert!(!forged.await.unwrap_err().is_retryable());
    assert_eq!(events(&db, &a).await, []);
}
