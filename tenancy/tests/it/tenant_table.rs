//! Tables that an application writes with the generator, on a real Postgres.

use formwork_migrations::{AUDIT, AUTHZ, ENTITY_LINKS, Migration, SERVICE, Set, TENANCY, TenantTable};
use formwork_tenancy::{Actor, Isolation, TenantTx, doctor::DoctorConfig, testing::TestDatabase};
use uuid::Uuid;

/// What the example of [`TenantTable`] writes; its doctest holds that this is the text.
const NOTES: Set = Set {
    name: "test/notes",
    platform: &[],
    database: &[],
    home: &[Migration {
        version: 1,
        name: "notes",
        sql: include_str!("../../../migrations/tests/notes.sql"),
    }],
};

async fn database() -> TestDatabase {
    let mut sets = vec![TENANCY, AUTHZ, AUDIT, ENTITY_LINKS];
    sets.extend_from_slice(SERVICE);
    sets.push(NOTES);
    TestDatabase::new(&sets).await
}

async fn add_note(
    tx: &mut TenantTx,
    project: Option<Uuid>,
    author: &str,
    body: &str,
) -> Result<(), sqlx::Error> {
    let insert = "insert into notes (id, project_id, author, body, is_private) values ($1, $2, $3, $4, true)";
    let insert = sqlx::query(insert).bind(Uuid::now_v7()).bind(project).bind(author).bind(body);
    insert.execute(&mut **tx).await.map(drop)
}

async fn act_as(tx: &mut TenantTx, author: &str) {
    let set = sqlx::query("select set_config('app.author', $1, true)").bind(author);
    set.execute(&mut **tx).await.unwrap();
}

#[tokio::test]
async fn the_example_makes_a_healthy_table_in_every_home() {
    let db = database().await;
    db.tenant("shared", Isolation::Shared).await;
    db.tenant("own", Isolation::Schema).await;
    let report = db.control().doctor(&DoctorConfig::new()).await.unwrap();
    let found: Vec<_> = report.findings().iter().filter(|f| !f.object().starts_with("server")).collect();
    assert!(found.is_empty(), "{report}");
}

#[tokio::test]
async fn an_extra_rule_narrows_what_the_tenant_sees_and_writes() {
    let db = database().await;
    for isolation in [Isolation::Shared, Isolation::Schema] {
        let tenant = db.tenant(isolation.as_str(), isolation).await;
        let session = db.session(&tenant, Actor::system("test"));
        let mut tx = db.tenants().begin(&session).await.unwrap();
        for author in ["anna", "bob"] {
            act_as(&mut tx, author).await;
            add_note(&mut tx, None, author, "mine").await.unwrap();
        }
        let authors: Vec<String> =
            sqlx::query_scalar("select author from notes").fetch_all(&mut *tx).await.unwrap();
        assert_eq!(authors, ["bob"]);
        let error = add_note(&mut tx, None, "anna", "not mine").await.unwrap_err();
        assert!(error.to_string().contains("row-level security"), "{error}");
    }
}

#[tokio::test]
async fn a_reference_cannot_reach_another_tenants_row() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let project = Uuid::now_v7();
    let mut tx = db.tenants().begin(&db.session(&a, Actor::system("test"))).await.unwrap();
    sqlx::query(
        "insert into projects (id, name, currency, created_by, updated_by) values ($1, 'p', 'KWD', '', '')",
    )
    .bind(project)
    .execute(&mut *tx)
    .await
    .unwrap();
    act_as(&mut tx, "anna").await;
    add_note(&mut tx, Some(project), "anna", "here").await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = db.tenants().begin(&db.session(&b, Actor::system("test"))).await.unwrap();
    act_as(&mut tx, "anna").await;
    let error = add_note(&mut tx, Some(project), "anna", "here").await.unwrap_err();
    assert!(error.to_string().contains("foreign key"), "{error}");
}

/// What is made with columns and what is added to a table written by hand come to the same.
#[tokio::test]
async fn a_table_written_by_hand_is_completed() {
    let db = database().await;
    let mut owner = crate::fleet::owner(&db).await;
    let declared = || TenantTable::new("labels").key("id").references("note_id", "notes").unique(&["label"]);
    let by_hand = format!(
        "create table labels ({}, id uuid not null, note_id uuid, label text not null);\n{}",
        formwork_tenancy::TENANT_COLUMN,
        declared().sql().unwrap()
    );
    let created = declared()
        .column("id", "uuid not null")
        .column("note_id", "uuid")
        .column("label", "text not null")
        .sql()
        .unwrap();
    let mut described: Vec<Vec<String>> = Vec::new();
    for sql in [by_hand, created] {
        let sql = format!("begin; set local search_path = shared; {sql}");
        crate::fleet::execute(&mut owner, sql).await;
        let lines = sqlx::query_scalar(
            "select pg_get_constraintdef(oid) from pg_constraint
              where conrelid = to_regclass('shared.labels') and contype <> 'n'
             union all select indexdef from pg_indexes where tablename = 'labels'
             union all select concat_ws(' ', policyname, permissive, qual, with_check) from pg_policies
              where tablename = 'labels'
             union all select concat_ws(' ', privilege_type, grantee) from information_schema.role_table_grants
              where table_name = 'labels' order by 1",
        );
        described.push(lines.fetch_all(&mut owner).await.unwrap());
        crate::fleet::execute(&mut owner, "rollback".to_owned()).await;
    }
    assert!(described[0].len() > 8, "{described:#?}");
    assert_eq!(described[0], described[1]);
}
