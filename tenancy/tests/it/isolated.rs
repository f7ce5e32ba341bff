//! `assert_isolated!` finds each leak that is seeded, says where it is, and finds none where there is none.

use formwork_migrations::{Migration, Set, TENANCY, TenantTable};
use formwork_tenancy::{
    Isolation, TenantTx, assert_isolated,
    local_postgres::LocalRole,
    testing::{IsolationReport, IsolationTest, Leak, TestDatabase},
};
use sqlx::{AssertSqlSafe, Connection};
use uuid::Uuid;

use crate::isolation::{NOTES, database};

const SHARED: Isolation = Isolation::Shared;
const SCHEMA: Isolation = Isolation::Schema;

/// A database whose homes have what a careless migration makes.
async fn careless(name: &'static str, sql: String) -> TestDatabase {
    let home = vec![Migration { version: 1, name, sql: sql.leak() }].leak();
    TestDatabase::new(&[TENANCY, Set { name, platform: &[], database: &[], home }]).await
}

/// `create table` with a tenant and a key, and no wall.
fn table(name: &str, columns: &str) -> String {
    format!(
        "create table {name} (
           tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
           id uuid not null default gen_random_uuid(), {columns}, primary key (tenant_id, id));"
    )
}

fn walled(name: &str, columns: &str) -> String {
    table(name, columns) + &TenantTable::new(name).sql().unwrap()
}

async fn scalar<T>(tx: &mut TenantTx, sql: &'static str) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    sqlx::query_scalar(sql).fetch_one(&mut **tx).await.unwrap()
}

async fn a_note(b: &mut TenantTx) -> Uuid {
    scalar(b, "insert into notes (body) values ('secret') returning id").await
}

/// The kit's own attacks alone.
async fn idle<K>(_: &mut TenantTx, _: &K) {}

#[track_caller]
fn found(outcome: Result<IsolationReport, Leak>, homes: (Isolation, Isolation), table: &str, what: &str) {
    let leak = outcome.unwrap_err();
    let text = leak.to_string();
    assert_eq!(leak.homes(), homes, "{text}");
    assert!(leak.tables().iter().any(|name| name == table), "{text}");
    assert!(leak.what().contains(what), "{text}");
    assert!(text.starts_with("tenant A reached tenant B's rows\n  homes:  A in `"), "{text}");
}

#[tokio::test]
async fn a_walled_table_is_isolated_in_every_pairing_whatever_is_tried() {
    let db = TestDatabase::with_databases(&[TENANCY, NOTES], &["eu"]).await;
    let attack = async |a: &mut TenantTx, id: &Uuid| {
        let id = *id;
        let read: Option<String> = sqlx::query_scalar("select body from notes where id = $1")
            .bind(id)
            .fetch_optional(&mut **a)
            .await
            .unwrap();
        let count: i64 = scalar(a, "select count(*) from notes").await;
        let changed = a
            .savepoint(|tx| {
                Box::pin(async move {
                    sqlx::query("update notes set body = 'mine' where id = $1")
                        .bind(id)
                        .execute(&mut **tx)
                        .await
                })
            })
            .await
            .unwrap()
            .map(|done| done.rows_affected());
        let own =
            sqlx::query("insert into notes (id, body) values ($1, 'own')").bind(id).execute(&mut **a).await;
        let deleted = sqlx::query("delete from notes").execute(&mut **a).await.unwrap().rows_affected();
        (read, count, changed.unwrap(), own.unwrap().rows_affected(), deleted)
    };
    let report = assert_isolated!(db, a_note, attack);
    let homes = [SHARED, SCHEMA, Isolation::Database];
    let pairings: Vec<_> = homes.iter().flat_map(|a| homes.iter().map(move |b| (*a, *b))).collect();
    assert_eq!(report.pairings, pairings);
    // Of a schema of the victim's own nothing is to be named from another database.
    assert!(
        report.relations >= 6 * 5,
        "in most pairings the notes, and the tables of quotas and keys: {report:?}"
    );
}

/// What an application meets: an error is an answer too, and repeats the keys that it was given.
#[tokio::test]
async fn a_refusal_that_repeats_the_key_is_no_leak() {
    let sql = walled("parents", "name text")
        + &walled(
            "children",
            "parent_id uuid, foreign key (tenant_id, parent_id) references parents (tenant_id, id)",
        );
    let db = careless("composite key", sql).await;
    let seed = async |b: &mut TenantTx| -> Vec<Uuid> {
        vec![scalar(b, "insert into parents (name) values ('p') returning id").await]
    };
    let attack = async |a: &mut TenantTx, ids: &Vec<Uuid>| {
        let child = sqlx::query(
            "insert into children (id, parent_id) values ('00000000-0000-7000-8000-000000000000', $1)",
        );
        child.bind(ids[0]).execute(&mut **a).await.map(drop)
    };
    assert_isolated!(db, seed, attack);
}

#[tokio::test]
#[should_panic(expected = "tables: shared.memos")]
async fn the_assertion_fails_with_the_table() {
    let db =
        careless("no wall", table("memos", "body text") + "grant select, insert on memos to formwork_app;")
            .await;
    let seed = async |b: &mut TenantTx| -> Uuid {
        scalar(b, "insert into memos (body) values ('x') returning id").await
    };
    assert_isolated!(db, seed, idle);
}

#[tokio::test]
async fn a_table_without_row_security_is_found_from_every_home() {
    let sql = table("memos", "body text") + "grant select, insert, update, delete on memos to formwork_app;";
    let db = careless("no row security", sql).await;
    let seed = async |b: &mut TenantTx| -> Uuid {
        scalar(b, "insert into memos (body) values ('x') returning id").await
    };
    for (a, b) in [(SHARED, SHARED), (SCHEMA, SHARED)] {
        let outcome = IsolationTest::new(&db).only(a, b).run(seed, idle).await;
        found(outcome, (a, b), "shared.memos", "A reads 1 of B's rows");
    }
    // By its full name, since B's home is a schema of its own.
    let leak = IsolationTest::new(&db).only(SHARED, SCHEMA).run(seed, idle).await.unwrap_err();
    assert!(leak.tables()[0].starts_with("t_") && leak.tables()[0].ends_with(".memos"), "{leak}");

    let attack = async |a: &mut TenantTx, _: &Uuid| -> i64 { scalar(a, "select count(*) from memos").await };
    let outcome = IsolationTest::new(&db).run(seed, attack).await;
    found(outcome, (SHARED, SHARED), "shared.memos", "the answer changed once B had rows");
    let attack = async |a: &mut TenantTx, id: &Uuid| {
        sqlx::query("delete from memos where id = $1")
            .bind(id)
            .execute(&mut **a)
            .await
            .unwrap()
            .rows_affected()
    };
    let outcome = IsolationTest::new(&db).run(seed, attack).await;
    found(
        outcome,
        (SHARED, SHARED),
        "shared.memos",
        "B's keys are answered otherwise than keys that exist nowhere",
    );
    // What A says nothing of shows in B's rows.
    let attack = async |a: &mut TenantTx, id: &Uuid| {
        sqlx::query("update memos set tenant_id = tenant_id, id = gen_random_uuid() where id = $1")
            .bind(id)
            .execute(&mut **a)
            .await
            .unwrap();
    };
    let sql = "alter table shared.memos enable row level security; alter table shared.memos force row level security;
        create policy own on shared.memos for select using (tenant_id = current_setting('app.current_tenant')::uuid);
        create policy every on shared.memos for update using (true);
        create policy put on shared.memos for insert with check (true);";
    let mut owner = sqlx::PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut owner).await.unwrap();
    let blind = async |a: &mut TenantTx, _: &Uuid| {
        // No column is read, so the policy for reading is not asked.
        sqlx::query("update memos set body = 'mine'").execute(&mut **a).await.map(drop).unwrap();
    };
    let outcome = IsolationTest::new(&db).only(SHARED, SHARED).run(seed, blind).await;
    found(
        outcome,
        (SHARED, SHARED),
        "shared.memos",
        "B's session now sees something else: 1 rows, and other bytes",
    );
    let outcome = IsolationTest::new(&db).only(SHARED, SHARED).run(seed, attack).await;
    assert!(outcome.is_ok(), "a condition on a column asks the policy for reading: {outcome:?}");
}

#[tokio::test]
async fn an_owners_view_over_a_table_that_is_not_forced() {
    let sql = walled("notes", "body text")
        + "alter table notes no force row level security;
           create view all_notes as select * from notes; grant select on all_notes to formwork_app;";
    let db = careless("owner's view", sql).await;
    let outcome = IsolationTest::new(&db).run(a_note, idle).await;
    found(outcome, (SHARED, SHARED), "shared.all_notes", "A reads 1 of B's rows");
    let leak = IsolationTest::new(&db).only(SCHEMA, SCHEMA).run(a_note, idle).await.unwrap_err();
    assert!(leak.tables()[0].ends_with(".all_notes"), "{leak}");
}

#[tokio::test]
async fn a_policy_that_does_not_check_what_is_written() {
    const OWN: &str = "tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid)";
    let sql = format!(
        "{} drop policy tenant_isolation_8c2860cb on notes;
         create policy tenant_isolation_8c2860cb on notes for all using ({OWN}) with check (true);",
        walled("notes", "body text")
    );
    let db = careless("no check", sql).await;
    let seed = async |b: &mut TenantTx| {
        a_note(b).await;
        b.tenant_id().as_uuid()
    };
    let plant = async |a: &mut TenantTx, tenant: &Uuid| {
        let row = sqlx::query("insert into notes (tenant_id, body) values ($1, 'planted')").bind(tenant);
        row.execute(&mut **a).await.map(drop)
    };
    let outcome = IsolationTest::new(&db).run(seed, plant).await;
    found(
        outcome,
        (SHARED, SHARED),
        "shared.notes",
        "B's session now sees something else: 1 rows before, 2 rows after",
    );
    // Planted in A's own home, where B does not look: it is stored as B's all the same.
    let leak = IsolationTest::new(&db).only(SHARED, SCHEMA).run(seed, plant).await.unwrap_err();
    assert!(leak.what().contains("stored as B's"), "{leak}");
    assert_eq!(leak.tables(), ["shared.notes"]);
}

#[tokio::test]
async fn a_definer_function() {
    let sql = walled("notes", "body text")
        + "alter table notes no force row level security;
           create function everything() returns bigint language sql stable security definer as 'select count(*) from notes';
           grant execute on function everything() to formwork_app;";
    let db = careless("definer", sql).await;
    let attack = async |a: &mut TenantTx, _: &Uuid| -> i64 { scalar(a, "select everything()").await };
    let outcome = IsolationTest::new(&db).run(a_note, attack).await;
    found(outcome, (SHARED, SHARED), "shared.notes", "without: 0; stored\n    with:    1; stored");
}

#[tokio::test]
async fn a_unique_constraint_across_tenants() {
    let db = careless("unique", walled("accounts", "email text not null unique")).await;
    let seed = async |b: &mut TenantTx| -> String {
        // The database keeps what earlier runs have written.
        scalar(b, "insert into accounts (email) values (gen_random_uuid() || '@b.example') returning email")
            .await
    };
    let id = "insert into accounts (id, email) values ('00000000-0000-7000-8000-000000000000', $1)";
    let attack =
        async |a: &mut TenantTx, email: &String| sqlx::query(id).bind(email).execute(&mut **a).await.is_ok();
    let outcome = IsolationTest::new(&db).only(SHARED, SHARED).run(seed, attack).await;
    found(
        outcome,
        (SHARED, SHARED),
        "shared.accounts",
        "B's keys are answered otherwise than keys that exist nowhere",
    );
    let apart = IsolationTest::new(&db).only(SCHEMA, SCHEMA).run(seed, attack).await;
    assert_eq!(apart.unwrap().pairings, [(SCHEMA, SCHEMA)], "in a home of its own nothing is across");

    let quiet = async |a: &mut TenantTx, email: &String| {
        let add = "insert into accounts (email) values ($1) on conflict do nothing";
        sqlx::query(add).bind(email).execute(&mut **a).await.unwrap().rows_affected()
    };
    let outcome = IsolationTest::new(&db).run(seed, quiet).await;
    found(outcome, (SHARED, SHARED), "shared.accounts", "without: 1; stored\n    with:    0; stored");
}

#[tokio::test]
async fn a_sequence_that_counts_through_all_tenants() {
    let sql = walled("invoices", "number bigserial")
        + "grant usage on sequence invoices_number_seq to formwork_app;";
    let db = careless("sequence", sql).await;
    let seed = async |b: &mut TenantTx| -> i64 {
        scalar(b, "insert into invoices default values returning number").await
    };
    let silent = async |a: &mut TenantTx, _: &i64| {
        sqlx::query("insert into invoices default values").execute(&mut **a).await.unwrap();
    };
    let outcome = IsolationTest::new(&db).run(seed, silent).await;
    let sequence = "sequence shared.invoices_number_seq";
    found(outcome, (SHARED, SHARED), sequence, "the numbers that it gives to A tell how much B writes");
    let accepted = IsolationTest::new(&db).accept_shared_sequence("shared.invoices_number_seq");
    accepted.run(seed, silent).await.unwrap();
    IsolationTest::new(&db).only(SCHEMA, SCHEMA).run(seed, silent).await.unwrap();
}

#[tokio::test]
async fn a_foreign_key_that_reaches_across() {
    let sql = walled("parents", "name text, unique (id)")
        + &walled("children", "parent_id uuid references parents (id) on delete cascade");
    let db = careless("foreign key", sql).await;
    let seed = async |b: &mut TenantTx| -> Uuid {
        scalar(b, "insert into parents (name) values ('p') returning id").await
    };
    let attack = async |a: &mut TenantTx, parent: &Uuid| {
        sqlx::query("insert into children (parent_id) values ($1)")
            .bind(parent)
            .execute(&mut **a)
            .await
            .is_ok()
    };
    let outcome = IsolationTest::new(&db).run(seed, attack).await;
    found(
        outcome,
        (SHARED, SHARED),
        "shared.parents",
        "B's keys are answered otherwise than keys that exist nowhere",
    );
}

#[tokio::test]
async fn a_temporary_table_that_stays_on_the_connection() {
    let db = database().await;
    let mut root = sqlx::PgConnection::connect_with(&db.options(LocalRole::Superuser).await).await.unwrap();
    let grant = format!("grant temporary on database {} to formwork_app", db.name());
    sqlx::raw_sql(AssertSqlSafe(grant)).execute(&mut root).await.unwrap();
    let seed = async |b: &mut TenantTx| {
        let note = a_note(b).await;
        sqlx::query("create temp table basket as select body from notes").execute(&mut **b).await.unwrap();
        note
    };
    let attack = async |a: &mut TenantTx, _: &Uuid| {
        let all = sqlx::query_scalar("select body from basket").fetch_all(&mut **a).await;
        all.unwrap_or_else(|_| Vec::<String>::new())
    };
    let outcome = IsolationTest::new(&db).run(seed, attack).await;
    found(outcome, (SHARED, SHARED), "shared.notes", "with:    [\"secret\"]");
}

#[tokio::test]
async fn a_login_that_needs_no_tenant() {
    let sql = walled("notes", "body text")
        + "drop policy tenant_isolation_8c2860cb on notes;
           create policy tenant_isolation_8c2860cb on notes for all using (
             tenant_id = coalesce(nullif(current_setting('app.current_tenant', true), '')::uuid, tenant_id));";
    let db = careless("fail open", sql).await;
    let outcome = IsolationTest::new(&db).run(a_note, idle).await;
    found(outcome, (SHARED, SHARED), "shared.notes", "the service's login reads 1 rows without a tenant");
}

#[tokio::test]
#[should_panic(expected = "the seed wrote no row of B's")]
async fn a_seed_that_seeds_nothing_is_refused() {
    let db = database().await;
    assert_isolated!(db, async |_: &mut TenantTx| {}, idle);
}

#[tokio::test]
async fn an_answer_that_is_never_the_same_is_refused() {
    let db = database().await;
    let attack = async |a: &mut TenantTx, _: &Uuid| -> Uuid { scalar(a, "select gen_random_uuid()").await };
    let leak = IsolationTest::new(&db).run(a_note, attack).await.unwrap_err();
    assert!(leak.what().contains("the answer has a clock or a random value in it"), "{leak}");
}

#[tokio::test]
async fn actors_of_two_tenants_are_one_person_by_name() {
    let db = database().await;
    let (a, b) = (db.tenant("a", SHARED).await, db.tenant("b", SCHEMA).await);
    let (at_a, at_b) = (db.user(&a, "anna").await, db.user(&b, "anna").await);
    assert_eq!((at_a.id(), at_a.email()), (at_b.id(), "anna@formwork.test"));
    assert_eq!(at_b.session().actor(), &formwork_tenancy::Actor::user(at_a.id()));
    a_note_is_kept(&mut at_a.begin().await).await;
    let mut tx = at_b.begin_read().await;
    assert_eq!(scalar::<i64>(&mut tx, "select count(*) from notes").await, 0);
}

async fn a_note_is_kept(tx: &mut TenantTx) {
    a_note(tx).await;
    assert_eq!(scalar::<i64>(tx, "select count(*) from notes").await, 1);
}
