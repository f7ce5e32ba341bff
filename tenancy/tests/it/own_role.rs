//! A role of its own is a second wall around a tenant's schema. From Postgres 16 on: `PG_BIN_DIR` names one.

use formwork_migrations::{AUTHZ, Migration, Set, TENANCY, TenantTable};
use formwork_tenancy::{
    Actor, ControlError, ControlPlane, Isolation, NewTenant, OutboxEvent, Tenant, TenantTx,
    doctor::DoctorConfig, local_postgres::LocalRole, testing::TestDatabase,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

const NOTES: &str = include_str!("own_role_notes.sql");
const BASE: Migration = Migration { version: 1, name: "notes", sql: NOTES };
const OLD: Set = Set { name: "test/own", platform: &[], database: &[], home: &[BASE] };
const NEW: Set = Set {
    name: "test/own",
    platform: &[],
    database: &[],
    home: &[BASE, Migration { version: 2, name: "tags", sql: include_str!("own_role_tags.sql") }],
};
const SETS: [Set; 3] = [TENANCY, AUTHZ, OLD];

#[test]
fn the_tables_of_these_tests_are_the_generators() {
    for (name, sql) in [("notes", NOTES), ("tags", NEW.home[1].sql)] {
        let table = TenantTable::new(name)
            .column("id", "uuid not null default gen_random_uuid()")
            .column("body", "text not null")
            .key("id");
        assert_eq!(table.sql().unwrap(), sql);
    }
}

/// None, with a word, where the server is too old; that it is refused there is another test.
async fn database() -> Option<TestDatabase> {
    let db = TestDatabase::new(&SETS).await;
    if version(&db).await < 160_000 {
        eprintln!("skipped: a role of its own needs Postgres 16; PG_BIN_DIR names another server");
        return None;
    }
    // A role is the cluster's, and two tests cannot change it at once.
    static ALLOWED: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    ALLOWED
        .get_or_init(|| async {
            let options = db.options(LocalRole::Superuser).await;
            let mut root = PgConnection::connect_with(&options).await.unwrap();
            crate::fleet::execute(&mut root, "alter role formwork_owner createrole".to_owned()).await;
        })
        .await;
    Some(db)
}

async fn version(db: &TestDatabase) -> i32 {
    sqlx::query_scalar("select current_setting('server_version_num')::int")
        .fetch_one(&mut crate::fleet::owner(db).await)
        .await
        .unwrap()
}

async fn walled(db: &TestDatabase, slug: &str) -> Tenant {
    let new = NewTenant::new(slug, slug, Isolation::Schema).own_role();
    db.control().provision(&new).await.unwrap();
    db.tenants().by_slug(slug).await.unwrap().unwrap()
}

async fn begin(db: &TestDatabase, tenant: &Tenant) -> TenantTx {
    db.tenants().begin(&db.session(tenant, Actor::system("test"))).await.unwrap()
}

async fn write(db: &TestDatabase, tenant: &Tenant, table: &str) {
    let mut tx = begin(db, tenant).await;
    let insert = format!("insert into {table} (body) values ('secret of {}')", tenant.slug());
    sqlx::query(AssertSqlSafe(insert)).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_tenant_with_a_role_of_its_own_works_as_every_other() {
    let Some(db) = database().await else { return };
    let tenant = walled(&db, "own").await;
    write(&db, &tenant, "notes").await;
    let mut tx = begin(&db, &tenant).await;
    let role: String = sqlx::query_scalar("select current_user::text").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(role, format!("formwork_t_{}", tenant.id().as_uuid().simple()));
    // The streams of the platform, and a trigger of the home that writes to one.
    tx.publish(&[OutboxEvent::new("note.written", serde_json::json!({}))]).await.unwrap();
    sqlx::query(
        "insert into permission_tuples (namespace, object_id, relation, subject_ns, subject_id)
         values ('note', '1', 'viewer', 'user', 'anna')",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    // What comes next on the connection is the login again.
    let pool = db.tenants().pool_unguarded();
    let role: String = sqlx::query_scalar("select current_user::text").fetch_one(pool).await.unwrap();
    assert_eq!(role, "formwork_app");
    // By what nodes believe each other it could say to all of them what any tenant is.
    let keys: Vec<bool> = sqlx::query_scalar(
        "select has_function_privilege(role, 'platform.registry_key()', 'execute')
           from unnest($1::text[]) with ordinality r (role, nr) order by nr",
    )
    .bind(vec![
        "formwork_app".to_owned(),
        "formwork_tenant".to_owned(),
        format!("formwork_t_{}", tenant.id().as_uuid().simple()),
    ])
    .fetch_all(&mut crate::fleet::owner(&db).await)
    .await
    .unwrap();
    assert_eq!(keys, [true, false, false]);
}

#[tokio::test]
async fn another_tenants_transaction_is_refused_whatever_tenant_it_sets() {
    let Some(db) = database().await else { return };
    let victim = walled(&db, "victim").await;
    write(&db, &victim, "notes").await;
    let shared = db.tenant("shared", Isolation::Shared).await;
    write(&db, &shared, "notes").await;
    let beside = db.tenant("beside", Isolation::Schema).await;
    let other = walled(&db, "other").await;
    let attempts =
        [(&shared, &victim), (&beside, &victim), (&other, &victim), (&other, &shared), (&other, &beside)];
    for (attacker, target) in attempts {
        for statement in [
            "select body from {}.notes",
            "update {}.notes set body = ''",
            "insert into {}.notes (body) values ('planted')",
        ] {
            let mut tx = begin(&db, attacker).await;
            sqlx::query("select set_config('app.current_tenant', $1, true)")
                .bind(target.id().to_string())
                .execute(&mut *tx)
                .await
                .unwrap();
            let statement = statement.replace("{}", target.schema_name());
            let error = sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap_err();
            let text = error.to_string();
            assert!(text.contains("permission denied"), "{} in {}: {text}", attacker.slug(), target.slug());
        }
    }
    let mut tx = begin(&db, &victim).await;
    let bodies: Vec<String> = sqlx::query_scalar("select body from notes").fetch_all(&mut *tx).await.unwrap();
    assert_eq!(bodies, ["secret of victim"]);
}

/// The same prepared statement on the same connection, as one role and as another (CVE-2016-2193, CVE-2023-2455).
#[tokio::test]
async fn a_cached_plan_of_one_role_shows_nothing_to_another() {
    let Some(db) = database().await else { return };
    let tenants = db.connect(formwork_tenancy::Tenants::builder().max_connections(1)).await;
    let mut homes = vec![db.tenant("shared", Isolation::Shared).await];
    for slug in ["one", "two"] {
        homes.push(walled(&db, slug).await);
    }
    for tenant in &homes {
        write(&db, tenant, "notes").await;
    }
    for round in 0..8 {
        for tenant in &homes {
            let mut tx = tenants.begin(&db.session(tenant, Actor::system("test"))).await.unwrap();
            let seen: Vec<String> = sqlx::query_scalar("select body from notes where body like $1")
                .bind("secret%")
                .fetch_all(&mut *tx)
                .await
                .unwrap();
            assert_eq!(seen, [format!("secret of {}", tenant.slug())], "round {round}");
        }
    }
}

#[tokio::test]
async fn a_migration_grants_to_the_tenants_role_and_not_to_the_login() {
    let Some(db) = database().await else { return };
    let tenant = walled(&db, "own").await;
    let plain = db.tenant("plain", Isolation::Schema).await;
    let sets = [TENANCY, AUTHZ, NEW];
    let control = ControlPlane::connect_with(db.options(LocalRole::Owner).await, &sets).await.unwrap();
    control.migrate().await.unwrap();
    for tenant in [&tenant, &plain] {
        write(&db, tenant, "tags").await;
    }
    let held: i64 = sqlx::query_scalar(
        "select count(*) from pg_class c, aclexplode(relacl) a
          where c.relnamespace = $1::regnamespace and a.grantee = 'formwork_app'::regrole",
    )
    .bind(tenant.schema_name())
    .fetch_one(&mut crate::fleet::owner(&db).await)
    .await
    .unwrap();
    assert_eq!(held, 0);
    let drift = control.fleet().drift().await.unwrap();
    assert_eq!(drift.to_string(), "3 homes agree");
    let findings = doctor(&db).await;
    assert!(findings.is_empty(), "{findings:?}");
}

async fn doctor(db: &TestDatabase) -> Vec<(String, Option<String>)> {
    let report = db.control().doctor(&DoctorConfig::new()).await.unwrap();
    let findings = report.findings().iter().filter(|finding| !finding.object().starts_with("server"));
    findings.map(|f| (format!("{} {}", f.code(), f.object()), f.sql().map(str::to_owned))).collect()
}

#[tokio::test]
async fn the_doctor_finds_a_wall_that_was_opened() {
    let Some(db) = database().await else { return };
    let tenant = walled(&db, "own").await;
    let role = format!("formwork_t_{}", tenant.id().as_uuid().simple());
    let home = tenant.schema_name();
    let mut owner = crate::fleet::owner(&db).await;
    for (seed, object) in [
        (format!("grant select on {home}.notes to formwork_app"), format!("{home}.notes")),
        (format!("grant usage on schema {home} to formwork_app"), format!("schema {home}")),
        (format!("grant {role} to formwork_app with inherit true"), format!("role {role}")),
    ] {
        assert_eq!(doctor(&db).await, []);
        crate::fleet::execute(&mut owner, seed).await;
        let found = doctor(&db).await;
        let [(finding, Some(sql))] = found.as_slice() else { panic!("{found:?}") };
        let (code, object) = ("own-role-open", object);
        assert_eq!(*finding, format!("{code} {object}"));
        crate::fleet::execute(&mut owner, sql.clone()).await;
    }
    assert_eq!(doctor(&db).await, []);
}

#[tokio::test]
async fn an_older_server_and_a_shared_home_are_refused() {
    let db = TestDatabase::new(&SETS).await;
    let shared = NewTenant::new("s", "s", Isolation::Shared).own_role();
    assert!(matches!(db.control().provision(&shared).await, Err(ControlError::OwnRole { .. })));
    if version(&db).await < 160_000 {
        let error = db
            .control()
            .provision(&NewTenant::new("o", "o", Isolation::Schema).own_role())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("use version 16 or newer"), "{error}");
        assert!(db.tenants().by_slug("o").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn tenants_with_roles_are_made_side_by_side_and_an_owner_without_the_right_is_told() {
    let Some(db) = database().await else { return };
    let made = (0..8).map(|nr| {
        let options = db.options(LocalRole::Owner);
        async move {
            let control = ControlPlane::connect_with(options.await, &SETS).await.unwrap();
            let slug = format!("own-{nr}");
            control.provision(&NewTenant::new(&slug, &slug, Isolation::Schema).own_role()).await.unwrap();
        }
    });
    futures::future::join_all(made).await;
    for nr in 0..8 {
        let tenant = db.tenants().by_slug(&format!("own-{nr}")).await.unwrap().unwrap();
        write(&db, &tenant, "notes").await;
    }
    assert_eq!(doctor(&db).await, []);

    let mut root = PgConnection::connect_with(&db.options(LocalRole::Superuser).await).await.unwrap();
    let other = format!("own_role_{}_owner", db.name());
    let make = format!("create role {other} login password 'x' in role formwork_owner");
    crate::fleet::execute(&mut root, make).await;
    let options = db.options(LocalRole::Owner).await.username(&other).password("x");
    let control = ControlPlane::connect_with(options, &SETS).await.unwrap();
    let error = control.provision(&NewTenant::new("o", "o", Isolation::Schema).own_role()).await.unwrap_err();
    assert!(error.to_string().contains("alter role formwork_owner createrole"), "{error}");
}

/// Restored after a deletion and after an attempt that failed, it has its wall again.
#[tokio::test]
async fn an_imported_tenant_has_its_role_again() {
    let Some(db) = database().await else { return };
    let tenant = walled(&db, "restored").await;
    let (archive, _) = crate::archive::export(&db, tenant.id()).await;
    let mut root = PgConnection::connect_with(&db.options(LocalRole::Superuser).await).await.unwrap();
    let (schema, role) = (tenant.schema_name(), format!("formwork_t_{}", tenant.id().as_uuid().simple()));
    let delete = format!(
        "drop schema {schema} cascade; drop role {role};
         delete from platform.homes where schema_name = '{schema}';
         delete from platform.migration_ledger where home = '{schema}';
         update platform.tenants set status = 'deleted' where schema_name = '{schema}'"
    );
    sqlx::raw_sql(AssertSqlSafe(delete)).execute(&mut root).await.unwrap();
    let options = formwork_tenancy::archive::ImportOptions::new();
    let cut = &archive[..archive.len() - 1];
    db.control().import_tenant(cut, &options, |_| ()).await.unwrap_err();
    let exists = "select exists (select from pg_roles where rolname = $1)";
    let is_there = async |root: &mut PgConnection| -> bool {
        sqlx::query_scalar(exists).bind(&role).fetch_one(root).await.unwrap()
    };
    assert!(!is_there(&mut root).await, "an attempt that failed leaves no role");
    db.control().import_tenant(archive.as_slice(), &options, |_| ()).await.unwrap();
    assert!(is_there(&mut root).await);
    let restored = crate::move_tenant::now(&db, &tenant).await;
    assert!(restored.has_own_role());
    let doctor = db.control().doctor(&DoctorConfig::new()).await.unwrap();
    assert!(doctor.is_healthy(), "{doctor}");
}
