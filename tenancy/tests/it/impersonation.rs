//! An administrator acts as a member of the tenant, or as an administrator, and the tenant reads it in its own trail.

use std::time::Duration;

use formwork_migrations::{AUDIT, Migration, Set, TENANCY};
use formwork_tenancy::{
    Actor, AdministratorRefusal, ControlError, Envelope, EnvelopeError, HomePlace, NewAdministratorGrant,
    Refusal, Session, StorageError, Tenant, local_postgres::LocalRole, moves::MoveStep,
    testing::TestDatabase,
};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::{
    database_mode::connect,
    isolation::{NOTES, notes},
    move_failures::cut_off,
};

const HOUR: Duration = Duration::from_secs(3_600);

async fn database() -> TestDatabase {
    TestDatabase::with_databases(&[TENANCY, AUDIT, NOTES], &["eu"]).await
}

async fn administrator(db: &TestDatabase) -> Uuid {
    db.control().ensure_user("root@example.com", "Root", None).await.unwrap().id
}

/// A session as `member`, or as an administrator.
async fn session(db: &TestDatabase, tenant: &Tenant, member: Option<Uuid>) -> (Session, Uuid, Uuid) {
    let root = administrator(db).await;
    let by = Actor::system("on-call");
    let mut grant = NewAdministratorGrant::new(root, tenant.id(), "ticket 4711", &by, HOUR);
    if let Some(member) = member {
        grant = grant.impersonating(member);
    }
    let grant = db.control().grant_administrator(&grant).await.unwrap();
    (db.tenants().administrator_session(grant, root).await.unwrap(), grant, root)
}

fn refused<T: std::fmt::Debug>(answer: Result<T, StorageError>) -> AdministratorRefusal {
    match answer.unwrap_err().refusal() {
        Some(Refusal::Administrator(why)) => *why,
        other => panic!("{other:?}"),
    }
}

/// Action, actor, target and reason of the lines in the tenant's own trail, past every wall.
async fn trail(db: &TestDatabase, tenant: &Tenant) -> Vec<String> {
    let sql = format!(
        "select concat_ws(' ', action, actor_type || ':' || actor_id, entity_type || ':' || entity_id, reason, request_id)
           from {}.audit_events where tenant_id = $1 order by at",
        tenant.schema_name()
    );
    sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(tenant.id().as_uuid())
        .fetch_all(&mut connect(db, tenant.database_name(), LocalRole::Superuser).await)
        .await
        .unwrap()
}

async fn root(db: &TestDatabase) -> PgConnection {
    connect(db, "main", LocalRole::Superuser).await
}

#[tokio::test]
async fn an_administrator_acts_as_the_member_of_the_grant_and_both_are_known() {
    let db = database().await;
    for (nr, place) in
        [HomePlace::shared(), HomePlace::schema(), HomePlace::database("eu")].iter().enumerate()
    {
        let tenant = db.tenant_at(&format!("t{nr}"), place.clone()).await;
        let ada = db.user(&tenant, "ada").await.id();
        let (session, grant, root) = session(&db, &tenant, Some(ada)).await;
        assert_eq!((session.actor(), session.impersonator()), (&Actor::User(ada), Some(root)));
        let authority = session.authority().unwrap();
        assert_eq!((authority.grant(), authority.impersonates()), (grant, Some(ada)));
        assert!(trail(&db, &tenant).await.is_empty(), "nothing was begun yet");

        let session = session.request_id("r-9");
        let mut tx = db.tenants().begin(&session).await.unwrap();
        sqlx::query("insert into notes (body) values ('by leave')").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(notes(&db, &tenant).await, ["by leave"]);
        let line = format!("administrator.impersonated administrator:{root} user:{ada} ticket 4711 r-9");
        assert_eq!(trail(&db, &tenant).await, [line]);
    }
}

/// The line is there before anything is handed out: neither a read nor a rollback goes without it. One a session.
#[tokio::test]
async fn the_line_cannot_be_skipped_and_stands_once_a_session() {
    let db = database().await;
    for (nr, place) in [HomePlace::shared(), HomePlace::shared_in("eu")].iter().enumerate() {
        let tenant = db.tenant_at(&format!("t{nr}"), place.clone()).await;
        let (one, _, root) = session(&db, &tenant, None).await;
        let line = format!("administrator.entered administrator:{root} ticket 4711");
        drop(db.tenants().begin(&one).await.unwrap());
        assert_eq!(trail(&db, &tenant).await, [line.as_str()], "dropped");
        db.tenants().begin_read(&one.clone().request_id("r-2")).await.unwrap().rollback().await.unwrap();
        let (read, write) = tokio::join!(db.tenants().begin_read(&one), db.tenants().begin(&one));
        drop((read.unwrap(), write.unwrap()));
        assert_eq!(trail(&db, &tenant).await, [line.as_str()], "the same session, however often");
        let (two, _, _) = session(&db, &tenant, None).await;
        let (first, second) = tokio::join!(db.tenants().begin_read(&two), db.tenants().begin_read(&two));
        drop((first.unwrap(), second.unwrap()));
        assert_eq!(trail(&db, &tenant).await, [line.as_str(), line.as_str()], "another session, two at once");
    }
}

#[tokio::test]
async fn where_the_line_cannot_be_written_nothing_is_begun() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    let (waiting, _, _) = session(&db, &tenant, None).await;
    // Nothing can be committed in a home that is being left.
    cut_off(db.control().clone(), &tenant, &HomePlace::database("eu"), MoveStep::Frozen).await;
    assert!(db.tenants().begin_read(&waiting).await.unwrap_err().is_moving());
    db.control().abort_move(tenant.id()).await.unwrap();
    drop(db.tenants().begin_read(&waiting).await.unwrap());
    assert_eq!(trail(&db, &tenant).await.len(), 1);
    // And nothing is written where there is no trail.
    let bare = TestDatabase::new(&[TENANCY, NOTES]).await;
    let tenant = bare.tenant_at("acme", HomePlace::shared()).await;
    let (session, _, _) = session(&bare, &tenant, None).await;
    assert_eq!(refused(bare.tenants().begin_read(&session).await), AdministratorRefusal::NoTrail);
}

/// A home that was migrated without the trail is no way round it either: a function of the same name that fails.
#[tokio::test]
async fn a_trail_that_refuses_lets_nobody_in() {
    const STUBBORN: Set = Set {
        name: "test/stubborn",
        platform: &[],
        database: &[],
        home: &[Migration {
            version: 1,
            name: "stubborn",
            sql: "create function refuse_line() returns trigger language plpgsql as
                    $$ begin raise exception 'the trail is full'; end $$;
                  revoke all on function refuse_line() from public;
                  create trigger full_trail before insert on audit_events for each row execute function refuse_line()",
        }],
    };
    let db = TestDatabase::new(&[TENANCY, AUDIT, NOTES, STUBBORN]).await;
    let tenant = db.tenant_at("acme", HomePlace::schema()).await;
    let (session, _, _) = session(&db, &tenant, None).await;
    for _ in 0..2 {
        let error = db.tenants().begin(&session).await.unwrap_err();
        let said = std::error::Error::source(&error).unwrap().to_string();
        assert!(said.contains("the trail is full"), "{said}");
    }
}

#[tokio::test]
async fn nobody_is_impersonated_but_an_active_member_and_whom_the_grant_names() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    let other = db.tenant_at("other", HomePlace::shared()).await;
    let (ada, bob) = (db.user(&tenant, "ada").await.id(), db.user(&other, "bob").await.id());
    let root_id = administrator(&db).await;
    let by = Actor::system("on-call");
    let stranger = NewAdministratorGrant::new(root_id, tenant.id(), "ticket", &by, HOUR).impersonating(bob);
    let answer = db.control().grant_administrator(&stranger).await;
    assert!(matches!(answer, Err(ControlError::InvalidGrant { .. })), "{answer:?}");

    // Each of them once it has been given: the membership and the person end it.
    let (session_, grant, _) = session(&db, &tenant, Some(ada)).await;
    for (take, give) in [
        (
            "update platform.users set status = 'deactivated' where id = $1",
            "update platform.users set status = 'active' where id = $1",
        ),
        ("delete from platform.memberships where user_id = $1", ""),
    ] {
        drop(db.tenants().begin_read(&session_).await.unwrap());
        sqlx::query(take).bind(ada).execute(&mut root(&db).await).await.unwrap();
        assert_eq!(refused(db.tenants().begin_read(&session_).await), AdministratorRefusal::NoMember);
        if !give.is_empty() {
            sqlx::query(give).bind(ada).execute(&mut root(&db).await).await.unwrap();
        }
    }
    // An administrator's own session by this grant, made by hand, has no leave at all.
    let by_hand = db.session(&tenant, Actor::Administrator { user: root_id, grant });
    assert_eq!(refused(db.tenants().begin(&by_hand).await), AdministratorRefusal::Unknown);
}

#[tokio::test]
async fn a_job_of_an_administrators_is_done_while_the_grant_is_in_force() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    let ada = db.user(&tenant, "ada").await.id();
    for member in [None, Some(ada)] {
        let (session, grant, _) = session(&db, &tenant, member).await;
        let session = session.request_id("r-7");
        let written = serde_json::to_string(&session.envelope(None)).unwrap();
        let envelope: Envelope = serde_json::from_str(&written).unwrap();
        let again = db.tenants().session_of(&envelope).await.unwrap();
        assert_eq!((again.actor(), again.impersonator()), (session.actor(), session.impersonator()));
        assert_eq!(again.authority().map(|leave| leave.grant()), Some(grant));
        let before = trail(&db, &tenant).await.len();
        drop(db.tenants().begin(&again).await.unwrap());
        let lines = trail(&db, &tenant).await;
        assert_eq!(lines.len(), before + 1, "the job has its own line");
        assert!(lines.last().unwrap().ends_with("r-7"), "{lines:?}");

        db.control().revoke_administrator(grant, &Actor::system("on-call")).await.unwrap();
        let refused = db.tenants().session_of(&envelope).await.unwrap_err();
        assert!(matches!(refused, EnvelopeError::Administrator(AdministratorRefusal::Revoked)), "{refused}");
    }
}

/// What travels proves nothing by itself: it is looked up, and must be the same.
#[tokio::test]
async fn a_forged_envelope_is_refused() {
    let db = database().await;
    let (tenant, other) =
        (db.tenant_at("acme", HomePlace::shared()).await, db.tenant_at("other", HomePlace::shared()).await);
    let (ada, bob) = (db.user(&tenant, "ada").await.id(), db.user(&tenant, "bob").await.id());
    let (session, grant, _) = session(&db, &tenant, Some(ada)).await;
    let honest = serde_json::to_value(session.envelope(None)).unwrap();
    let forged = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut envelope = honest.clone();
        change(&mut envelope);
        serde_json::from_value::<Envelope>(envelope).unwrap()
    };
    let wrong = [
        forged(&|e| e["actor"]["id"] = bob.to_string().into()),
        forged(&|e| e["tenant"] = other.id().to_string().into()),
        forged(&|e| e["impersonator"]["grant"] = Uuid::now_v7().to_string().into()),
        forged(&|e| e["impersonator"]["administrator"] = bob.to_string().into()),
        forged(&|e| e["actor"] = serde_json::json!({"type": "system", "id": "job"})),
        forged(&|e| {
            e["actor"] = serde_json::json!({"type": "administrator", "id": {"user": ada, "grant": grant}})
        }),
    ];
    for envelope in wrong {
        let refused = db.tenants().session_of(&envelope).await.unwrap_err();
        assert!(matches!(refused, EnvelopeError::Administrator(AdministratorRefusal::Unknown)), "{refused}");
    }
    assert!(db.tenants().session_of(&forged(&|_| ())).await.is_ok());
}
