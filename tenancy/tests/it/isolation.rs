//! Two tenants, two modes: neither sees the other.

use formwork_migrations::{AUDIT, AUTHZ, ENTITY_LINKS, Migration, SERVICE, Set, TENANCY};
use formwork_tenancy::{
    Actor, CommitError, Isolation, OutboxEvent, Tenant, local_postgres::LocalRole, testing::TestDatabase,
};
use sqlx::{AssertSqlSafe, Connection, Executor, Row};

use crate::cancel::regimes;

/// A table of the test's own, as an application adds it.
pub(crate) const NOTES: Set = Set {
    name: "test/notes",
    platform: &[],
    database: &[],
    home: &[Migration {
        version: 1,
        name: "notes",
        sql: "create table notes (
                tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
                id uuid not null default gen_random_uuid(),
                body text not null,
                primary key (tenant_id, id));
              alter table notes enable row level security;
              alter table notes force row level security;
              create policy tenant_isolation_8c2860cb on notes as permissive for all to public
                using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
                with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
              grant select, insert, update, delete on notes to formwork_app;",
    }],
};

pub(crate) async fn database() -> TestDatabase {
    TestDatabase::new(&[TENANCY, NOTES]).await
}

pub(crate) async fn write_note(db: &TestDatabase, tenant: &Tenant, body: &str) {
    let mut tx = db.tenants().begin(&db.session(tenant, Actor::system("test"))).await.unwrap();
    sqlx::query("insert into notes (body) values ($1)").bind(body).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

pub(crate) async fn notes(db: &TestDatabase, tenant: &Tenant) -> Vec<String> {
    let mut tx = db.tenants().begin_read(&db.session(tenant, Actor::system("test"))).await.unwrap();
    sqlx::query_scalar("select body from notes order by body").fetch_all(&mut *tx).await.unwrap()
}

#[tokio::test]
async fn each_tenant_sees_its_own_rows_in_every_mode() {
    let db = database().await;
    let modes = [
        ("one", Isolation::Shared),
        ("two", Isolation::Shared),
        ("three", Isolation::Schema),
        ("four", Isolation::Schema),
    ];
    let mut tenants = Vec::new();
    for (slug, isolation) in modes {
        let tenant = db.tenant(slug, isolation).await;
        write_note(&db, &tenant, slug).await;
        tenants.push(tenant);
    }
    for tenant in &tenants {
        assert_eq!(notes(&db, tenant).await, [tenant.slug()]);
    }
    // One connection for all, so that a statement that was prepared for one home is met by the next.
    for (regime, builder) in regimes() {
        let handle = db.connect(builder.max_connections(1)).await;
        for tenant in tenants.iter().chain(tenants.iter().rev()) {
            let mut tx = handle.begin(&db.session(tenant, Actor::system("test"))).await.unwrap();
            let seen: Vec<String> =
                sqlx::query_scalar("select body from notes order by body").fetch_all(&mut *tx).await.unwrap();
            assert_eq!(seen, [tenant.slug()], "{regime}");
            let prepared: i64 = (&mut *tx)
                .fetch_one(sqlx::raw_sql("select count(*)::text from pg_prepared_statements"))
                .await
                .map(|row| row.get::<String, _>(0).parse().unwrap())
                .unwrap();
            assert_eq!(prepared > 0, regime == "named", "{prepared} statements stand on the server");
        }
    }
}

#[tokio::test]
async fn a_row_for_another_tenant_is_refused_by_the_policy() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let mut tx = db.tenants().begin(&db.session(&a, Actor::system("test"))).await.unwrap();
    let error = sqlx::query("insert into notes (tenant_id, body) values ($1, 'x')")
        .bind(b.id().as_uuid())
        .execute(&mut *tx)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("row-level security"), "{error}");
}

#[tokio::test]
async fn a_connection_of_the_login_without_a_tenant_gets_no_rows() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    write_note(&db, &a, "secret").await;
    let mut raw = sqlx::PgConnection::connect_with(&db.options(LocalRole::App).await).await.unwrap();
    let seen: i64 =
        sqlx::query_scalar("select count(*) from shared.notes").fetch_one(&mut raw).await.unwrap();
    assert_eq!(seen, 0);
    let outbox: i64 =
        sqlx::query_scalar("select count(*) from platform.outbox").fetch_one(&mut raw).await.unwrap();
    assert_eq!(outbox, 0);
    let listed = sqlx::query("select * from platform.tenants").fetch_all(&mut raw).await.unwrap_err();
    assert!(listed.to_string().contains("permission denied"), "{listed}");
}

/// An application that opens a pool of its own, with the service's login, and reads whatever it may.
#[tokio::test]
async fn a_raw_pool_gets_no_rows_of_any_home() {
    let mut sets = vec![TENANCY, AUTHZ, AUDIT, ENTITY_LINKS];
    sets.extend_from_slice(SERVICE);
    sets.push(NOTES);
    let db = TestDatabase::new(&sets).await;
    for (slug, isolation) in [("a", Isolation::Shared), ("b", Isolation::Shared), ("s", Isolation::Schema)] {
        let tenant = db.tenant(slug, isolation).await;
        let mut tx = db.tenants().begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
        sqlx::query("insert into notes (body) values ('secret')").execute(&mut *tx).await.unwrap();
        tx.publish(&[OutboxEvent::new("note.written", serde_json::json!({}))]).await.unwrap();
        tx.commit().await.unwrap();
    }
    let pool = sqlx::PgPool::connect_with(db.options(LocalRole::App).await).await.unwrap();
    let root = sqlx::PgPool::connect_with(db.options(LocalRole::Superuser).await).await.unwrap();
    let readable: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
            and has_table_privilege(c.oid, 'select') order by 1",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let homes = readable.iter().filter(|name| name.ends_with(".notes")).count();
    assert_eq!(homes, 2, "{readable:?}");
    assert!(readable.iter().any(|name| name == "platform.outbox") && readable.len() > 10, "{readable:?}");
    let counts = readable.iter().map(|name| format!("select '{name}' as name, count(*) from {name}"));
    let counts = counts.collect::<Vec<_>>().join(" union all ") + " order by 1";
    let count = async |pool: &sqlx::PgPool| -> Vec<(String, i64)> {
        let all = sqlx::query_as(AssertSqlSafe(counts.clone())).fetch_all(pool).await.unwrap();
        all.into_iter().filter(|(_, rows)| *rows > 0).collect()
    };
    assert_eq!(count(&pool).await, []);
    let there = count(&root).await;
    assert_eq!(there.iter().map(|(_, rows)| rows).sum::<i64>(), 6, "{there:?}");
}

#[tokio::test]
async fn a_temporary_table_cannot_shadow_a_tenants() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let mut tx = db.tenants().begin(&db.session(&a, Actor::system("test"))).await.unwrap();
    let error = sqlx::query("create temp table notes (body text)").execute(&mut *tx).await.unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");
    let mut tx = db.tenants().begin(&db.session(&a, Actor::system("test"))).await.unwrap();
    let path: String = sqlx::query_scalar("show search_path").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(path, "shared, pg_temp");
}

#[tokio::test]
async fn the_owner_is_held_by_row_security_too() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    write_note(&db, &a, "secret").await;
    let mut owner = sqlx::PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap();
    let blind: i64 =
        sqlx::query_scalar("select count(*) from shared.notes").fetch_one(&mut owner).await.unwrap();
    assert_eq!(blind, 0);
    sqlx::query("set row_security = off").execute(&mut owner).await.unwrap();
    let error = sqlx::query("update shared.notes set body = ''").execute(&mut owner).await.unwrap_err();
    assert!(error.to_string().contains("row-level security"), "{error}");
}

#[tokio::test]
async fn the_tenant_cannot_be_switched_inside_a_transaction() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let mut tx = db.tenants().begin(&db.session(&a, Actor::system("test"))).await.unwrap();
    let error = sqlx::query("set local app.current_tenant = ''").execute(&mut *tx).await.unwrap_err();
    assert!(error.to_string().contains("transaction control belongs to TenantTx"), "{error}");

    // Round the guard, as only a function call can: the commit notices, and nothing is stored.
    let mut tx = db.tenants().begin(&db.session(&a, Actor::system("test"))).await.unwrap();
    sqlx::query("select set_config('app.current_tenant', $1, true)")
        .bind(b.id().to_string())
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query("insert into notes (body) values ('planted')").execute(&mut *tx).await.unwrap();
    assert!(matches!(tx.commit().await, Err(CommitError::RolledBack(_))));
    assert_eq!(notes(&db, &b).await, [""; 0]);
}

#[tokio::test]
async fn a_privileged_login_is_refused() {
    let db = database().await;
    for (role, why) in [(LocalRole::Superuser, "is a superuser"), (LocalRole::Owner, "owns tables")] {
        let error = formwork_tenancy::Tenants::builder()
            .connect_with(db.options(role).await)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(why) && error.contains("connect as a login like"), "{error}");
    }
}
