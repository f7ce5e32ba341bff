//! What one statement can tell, and the functions that a schema becomes.

use formwork_authz::{Authz, Budget, Decision, Object, Schema, Subject, rel};
use formwork_tenancy::doctor::DoctorConfig;
use formwork_tenancy::local_postgres::LocalRole;
use formwork_tenancy::{Actor, Isolation, TenantTx};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::sql_fallback::Home;

const SCHEMA: &str = "
    use expiration
    definition user {}
    definition team { relation member: user | team#member }
    definition org { relation admin: user }
    definition folder {
        relation parent: folder
        relation org: org
        relation viewer: user | team#member | user with expiration
        permission view = viewer + parent->view + org->admin
    }
    definition rfi {
        relation folder: folder
        relation viewer: user | user:* | team#member
        relation signer: user
        relation barred: user | team#member
        permission read = viewer + folder->view - barred
        permission sign = read & signer
    }";

#[test]
fn what_stands_in_the_way_is_named() {
    let schema = Schema::parse(
        "caveat few(x int) { x < 5 }
         definition user {}
         definition folder {
             relation viewer: user
             relation barred: user
             permission view = viewer - barred
         }
         definition doc {
             relation folder: folder
             relation guest: user with few
             relation viewer: user
             permission top = viewer - guest
             permission plain = viewer - viewer & viewer
             permission under = viewer + folder->view
             permission all = folder.all(viewer)
             permission twice = plain + under
         }",
    )
    .unwrap();
    let told = |permission| {
        schema
            .sql_expressible("doc", permission)
            .map_err(|error| (error.operation().to_owned(), error.place().to_owned()))
    };
    let is = |operation: &str, place: &str| Err((operation.to_owned(), place.to_owned()));
    assert_eq!(told("plain"), Ok(()));
    assert_eq!(told("top"), is("a condition", "doc#guest"));
    assert_eq!(told("under"), is("an exclusion", "folder#view"));
    assert_eq!(told("all"), is("`.all()`", "doc#all"));
    assert_eq!(told("twice"), is("an exclusion", "folder#view"));
    let error = schema.sql_functions(&[("doc", "plain"), ("doc", "under")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`doc#under` cannot be told by one SQL statement: it leads to an exclusion in `folder#view`; \
         ask `Authz` from the program, or leave it out"
    );
    assert_eq!(
        schema.sql_functions(&[("doc", "vieww")]).unwrap_err().operation(),
        "a name that the schema does not have"
    );
}

async fn checked(
    tx: &mut TenantTx,
    subject: &str,
    permission: &str,
    object: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select authz_check($1, $2, $3)")
        .bind(subject)
        .bind(permission)
        .bind(object)
        .fetch_one(&mut **tx)
        .await
}

async fn texts(tx: &mut TenantTx, text: &'static str) -> Vec<String> {
    sqlx::query_scalar(text).fetch_all(&mut **tx).await.unwrap()
}

/// As a migration of the home would.
async fn with_functions(home: &Home, schema: &Schema) {
    let all = [("team", "member"), ("folder", "view"), ("rfi", "viewer"), ("rfi", "read"), ("rfi", "sign")];
    let text = schema.sql_functions(&all).unwrap();
    let options = home.db.options(LocalRole::Owner).await;
    let mut owner = PgConnection::connect_with(&options).await.unwrap();
    let place = home.tenant.schema_name();
    for _ in 0..2 {
        let text = format!("begin; set local search_path = {place}, pg_temp; {text} commit");
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut owner).await.unwrap();
    }
    owner.close().await.unwrap();
}

async fn fill(home: &Home, authz: &Authz) {
    let mut tx = home.begin().await;
    let soon = chrono::Utc::now() + chrono::TimeDelta::hours(1);
    let facts = [
        rel!("team:eng#member@team:steel#member"),
        rel!("team:steel#member@user:anna"),
        rel!("team:steel#member@team:eng#member"),
        rel!("folder:deep#parent@folder:top"),
        rel!("folder:top#parent@folder:deep"),
        rel!("folder:top#viewer@team:eng#member"),
        rel!("folder:top#viewer@user:carl").expiring_at(soon),
        rel!("folder:top#viewer@user:dora").expiring_at(soon - chrono::TimeDelta::hours(2)),
        rel!("folder:top#org@org:acme"),
        rel!("org:acme#admin@user:otto"),
        rel!("rfi:7#folder@folder:deep"),
        rel!("rfi:8#viewer@user:*"),
        rel!("rfi:8#barred@user:otto"),
        rel!("rfi:7#signer@user:anna"),
        rel!("rfi:7#signer@user:bob"),
    ];
    authz.touch_many(&mut tx, &facts).await.unwrap();
    // No program can write such an id, and no graph has it.
    sqlx::query(
        "insert into permission_tuples (namespace, object_id, relation, subject_ns, subject_id, subject_rel)
         values ('rfi', '9', 'viewer', 'team', 'a b', 'member'), ('team', 'a b', 'member', 'user', 'anna', null)",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn functions_answer_as_the_graph_does_under_row_security() {
    for isolation in [Isolation::Shared, Isolation::Schema] {
        let home = Home::new(isolation).await;
        let other = home.db.tenant("other", isolation).await;
        let authz = Authz::new(Schema::parse(SCHEMA).unwrap());
        let through_sql = authz.with_budget(0, Budget::none());
        with_functions(&home, authz.schema()).await;
        let doctor = home.db.control().doctor(&DoctorConfig::new()).await.unwrap();
        assert!(doctor.is_healthy() && !doctor.to_string().contains("authz_"), "{doctor}");
        fill(&home, &authz).await;
        let mut tx = home.begin().await;
        let subjects = [
            "user:anna",
            "user:bob",
            "user:carl",
            "user:dora",
            "user:otto",
            "user:*",
            "team:eng#member",
            "team:steel",
        ];
        let mut held = 0;
        for subject in subjects {
            let parsed: Subject = subject.parse().unwrap();
            for (object_type, permission) in
                [("team", "member"), ("folder", "view"), ("rfi", "read"), ("rfi", "sign")]
            {
                let mut listed = Vec::new();
                for id in ["7", "8", "9", "eng", "steel", "deep", "top"] {
                    let object = Object::new(object_type, id);
                    let expected = authz.check(&mut tx, &parsed, permission, &object).await.unwrap();
                    let text = format!("{object}#{permission}@{subject}");
                    assert_eq!(
                        through_sql.check(&mut tx, &parsed, permission, &object).await.unwrap(),
                        expected,
                        "{text}"
                    );
                    let answer = checked(&mut tx, subject, permission, &object.to_string()).await.unwrap();
                    assert_eq!(answer, expected == Decision::Allowed, "{text}");
                    listed.extend(answer.then(|| id.to_owned()));
                    held += usize::from(answer);
                }
                let found: Vec<String> =
                    sqlx::query_scalar("select * from authz_objects($1, $2, $3) order by 1")
                        .bind(subject)
                        .bind(permission)
                        .bind(object_type)
                        .fetch_all(&mut *tx)
                        .await
                        .unwrap();
                assert_eq!(found, listed, "{object_type}#{permission}@{subject}");
                let whole = authz.lookup_objects(&mut tx, &parsed, permission, object_type).await.unwrap();
                assert_eq!(
                    through_sql.lookup_objects(&mut tx, &parsed, permission, object_type).await.unwrap(),
                    whole
                );
            }
        }
        assert!(held > 20, "{held}");
        let access = texts(
            &mut tx,
            "select object_type || ':' || object_id || '#' || permission from authz_effective_access
              where subject = 'user:anna' order by 1",
        )
        .await;
        let expected =
            ["folder:deep#view", "folder:top#view", "rfi:7#read", "rfi:7#sign", "rfi:8#read", "rfi:8#viewer"];
        assert_eq!(access, [&expected[..], &["team:eng#member", "team:steel#member"]].concat());

        let session = home.db.session(&other, Actor::system("test"));
        let mut tx = home.db.tenants().begin(&session).await.unwrap();
        if isolation == Isolation::Shared {
            assert!(!checked(&mut tx, "user:anna", "read", "rfi:7").await.unwrap());
            assert_eq!(texts(&mut tx, "select subject from authz_effective_access").await, [""; 0]);
        } else {
            let absent = checked(&mut tx, "user:anna", "read", "rfi:7").await.unwrap_err();
            assert!(absent.to_string().contains("authz_check"), "{absent}");
        }
    }
}

#[tokio::test]
async fn a_function_never_answers_what_it_does_not_know() {
    let home = Home::new(Isolation::Shared).await;
    let schema = Schema::parse(SCHEMA).unwrap();
    with_functions(&home, &schema).await;
    let refused = [
        ("anna", "read", "rfi:7", "not a subject: anna"),
        ("user:a:b", "read", "rfi:7", "not a subject"),
        ("user:anna", "read", "rfi:*", "not an object"),
        ("user:anna", "reed", "rfi:7", "no such permission in these functions: rfi#reed"),
        ("user:anna", "barred", "rfi:7", "no such permission"),
    ];
    for (subject, permission, object, message) in refused {
        let mut tx = home.begin().await;
        let error = checked(&mut tx, subject, permission, object).await.unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
    let mut tx = home.begin().await;
    let error = sqlx::query("select * from authz_objects('user:anna', 'reed', 'rfi')")
        .execute(&mut *tx)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no such permission"), "{error}");
}

async fn sequential_scans(tx: &mut TenantTx) -> i64 {
    const SCANS: &str = "select coalesce(sum(seq_scan), 0)::bigint from pg_stat_xact_all_tables where relname = 'permission_tuples'";
    sqlx::query_scalar(SCANS).fetch_one(&mut **tx).await.unwrap()
}

#[tokio::test]
async fn questions_among_many_relationships_use_the_indexes() {
    let home = Home::new(Isolation::Shared).await;
    let authz = Authz::new(Schema::parse(SCHEMA).unwrap()).with_budget(0, Budget::none());
    let mut tx = home.begin().await;
    sqlx::query(
        "insert into permission_tuples (namespace, object_id, relation, subject_ns, subject_id, subject_rel)
         select 'rfi', 'r' || n, 'viewer', 'team', 't' || n % 1000, 'member' from generate_series(1, 40000) n
         union all
         select 'team', 't' || n % 1000, 'member', 'user', 'u' || n, null from generate_series(1, 40000) n",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    fill(&home, &authz).await;
    let options = home.db.options(LocalRole::Superuser).await;
    let mut root = PgConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("vacuum analyze").execute(&mut root).await.unwrap();
    root.close().await.unwrap();

    let mut tx = home.begin().await;
    let before = sequential_scans(&mut tx).await;
    // Often enough for a generic plan.
    for _ in 0..8 {
        for (user, object, expected) in [
            ("u1", "rfi:r1", true),
            ("u1", "rfi:r2", false),
            ("anna", "rfi:7", true),
            ("otto", "rfi:8", false),
        ] {
            let (user, object) = (Subject::new("user", user), object.parse::<Object>().unwrap());
            let answer = authz.check(&mut tx, &user, "read", &object).await.unwrap();
            assert_eq!(answer.is_allowed(), expected, "{user} {object}");
            let grant = authz.require(&mut tx, &user, "read", &object).await;
            assert_eq!(grant.is_ok(), expected, "{user} {object}");
        }
        let listed = authz.lookup_objects(&mut tx, &Subject::new("user", "u1"), "read", "rfi").await.unwrap();
        // Forty of its team, and the one for everyone.
        assert_eq!(listed.len(), 41);
    }
    assert_eq!(sequential_scans(&mut tx).await, before);
}
