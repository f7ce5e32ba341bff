//! What the planner makes of row security: the policy's condition is an index condition, evaluated once.
//!
//! Each question is asked as the service asks it, in a `TenantTx`, over 50,000 rows of 50 tenants, and the plan is
//! looked at, not the clock. PostgreSQL manual, "Rules and Privileges": a condition that is not leakproof is never
//! evaluated before the policy's.

use formwork_migrations::{Migration, Set, TENANCY};
use formwork_tenancy::{
    Actor, Isolation, Tenant, TenantTable, TenantTx, local_postgres::LocalRole, testing::TestDatabase,
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

const TENANTS: usize = 50;
const ROWS: i32 = 1_000;

/// The table of the tests, in both homes. Its steps are text that the generator has written.
async fn database() -> TestDatabase {
    static SQL: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let plans =
            TenantTable::new("plans").column("id", "uuid not null").column("name", "text not null").key("id");
        let sheets = TenantTable::new("sheets")
            .column("id", "uuid not null")
            .column("plan_id", "uuid not null")
            .column("number", "text not null")
            .column("title", "text not null")
            .column("created_at", "timestamptz not null")
            .key("id")
            .references("plan_id", "plans")
            .unique(&["number"])
            .index(&["created_at"]);
        plans.sql().unwrap() + &sheets.sql().unwrap()
    });
    static STEPS: std::sync::LazyLock<[Migration; 1]> =
        std::sync::LazyLock::new(|| [Migration { version: 1, name: "sheets", sql: &SQL }]);
    TestDatabase::new(&[TENANCY, Set { name: "test/plans", platform: &[], database: &[], home: &*STEPS }])
        .await
}

struct World {
    db: TestDatabase,
    shared: Tenant,
    own: Tenant,
}

/// Fifty tenants in the shared home, and one with as many rows in a schema of its own.
async fn world() -> World {
    let db = database().await;
    let own = db.tenant("own", Isolation::Schema).await;
    let mut tenants = vec![own.clone()];
    for nr in 0..TENANTS {
        tenants.push(db.tenant(&format!("t{nr}"), Isolation::Shared).await);
    }
    let mut root = PgConnection::connect_with(&db.options(LocalRole::Superuser).await).await.unwrap();
    for tenant in &tenants {
        let home = tenant.schema_name();
        // As many as in the shared home, so that an index is worth it there too.
        let rows = if tenant.isolation() == Isolation::Schema { ROWS * 20 } else { ROWS };
        let sql = format!(
            "insert into {home}.plans (tenant_id, id, name)
               select $1, md5($1 || 'plan' || n)::uuid, 'Plan ' || n from generate_series(1, $2 / 10) n"
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(tenant.id().as_uuid())
            .bind(rows)
            .execute(&mut root)
            .await
            .unwrap();
        let sql = format!(
            "insert into {home}.sheets (tenant_id, id, plan_id, number, title, created_at)
               select $1, md5($1 || 'sheet' || n)::uuid, md5($1 || 'plan' || (n % ($2 / 10) + 1))::uuid, 'A-' || n,
                      md5($1::text || n) || ' elevation ' || n, '2026-01-01'::timestamptz + n * interval '1 minute'
                 from generate_series(1, $2) n"
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(tenant.id().as_uuid())
            .bind(rows)
            .execute(&mut root)
            .await
            .unwrap();
    }
    for home in ["shared", own.schema_name()] {
        crate::fleet::execute(&mut root, format!("analyze {home}.plans; analyze {home}.sheets")).await;
    }
    World { db, shared: tenants.swap_remove(25), own }
}

/// The plans of one question: as text with literals in it, and prepared with a custom and with a generic plan.
async fn plans(
    tx: &mut TenantTx,
    name: &str,
    types: &str,
    values: &[&str],
    question: &str,
) -> Vec<(&'static str, Value)> {
    let mut found = Vec::new();
    let mut literal = question.to_owned();
    for (nr, value) in values.iter().enumerate() {
        literal = literal.replace(&format!("${}", nr + 1), value);
    }
    found.push(("literal", explain(tx, &literal).await));
    // By name in SQL, which needs the connection itself, as `PREPARE` is refused to everybody else.
    let conn = tx.raw_connection_unguarded();
    crate::fleet::execute(conn, format!("prepare {name} ({types}) as {question}")).await;
    let execute = format!("execute {name} ({})", values.join(", "));
    for _ in 0..6 {
        crate::fleet::execute(conn, execute.clone()).await;
    }
    found.push(("after six executions", explain_on(conn, &execute).await));
    for (mode, kind) in [("force_custom_plan", "custom"), ("force_generic_plan", "generic")] {
        crate::fleet::execute(conn, format!("set local plan_cache_mode = {mode}")).await;
        found.push((kind, explain_on(conn, &execute).await));
    }
    crate::fleet::execute(conn, format!("set local plan_cache_mode = auto; deallocate {name}")).await;
    found
}

async fn explain(tx: &mut TenantTx, question: &str) -> Value {
    explain_on(tx.raw_connection_unguarded(), question).await
}

async fn explain_on(conn: &mut PgConnection, question: &str) -> Value {
    let text = format!("explain (analyze, format json, timing off, buffers off) {question}");
    let plan: Value =
        sqlx::query_scalar(AssertSqlSafe(text)).persistent(false).fetch_one(conn).await.unwrap();
    plan[0]["Plan"].clone()
}

/// Every node of a plan.
fn nodes(plan: &Value) -> Vec<&Value> {
    let mut all = vec![plan];
    for child in plan["Plans"].as_array().into_iter().flatten() {
        all.extend(nodes(child));
    }
    all
}

/// Every scan of a table goes by an index, with the tenant among its conditions; the setting is read once.
fn goes_by_index_with_the_tenant(plan: &Value, indexes: &[&str]) {
    let mut used = Vec::new();
    let mut once = 0;
    for node in nodes(plan) {
        let kind = node["Node Type"].as_str().unwrap();
        assert!(!kind.starts_with("Seq Scan"), "{plan:#}");
        if let Some(index) = node["Index Name"].as_str() {
            let condition = node["Index Cond"].as_str().unwrap_or_default();
            assert!(condition.contains("tenant_id = "), "{index}: {condition}\n{plan:#}");
            used.push(index);
        }
        if node["Parent Relationship"] == "InitPlan" {
            assert_eq!(node["Actual Loops"], 1, "{plan:#}");
            once += 1;
        }
        assert_ne!(node["Parent Relationship"], "SubPlan", "{plan:#}");
    }
    used.sort_unstable();
    used.dedup();
    assert_eq!(used, indexes, "{plan:#}");
    assert!(once > 0, "{plan:#}");
}

async fn every_plan(
    question: &str,
    name: &str,
    types: &str,
    values: impl Fn(&Tenant) -> Vec<String>,
    indexes: &[&str],
) {
    let world = world().await;
    for tenant in [&world.shared, &world.own] {
        let session = world.db.session(tenant, Actor::system("test"));
        let mut tx = world.db.tenants().begin(&session).await.unwrap();
        let values = values(tenant);
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        for (regime, plan) in plans(&mut tx, name, types, &values, question).await {
            eprintln!("{} {regime}", tenant.isolation());
            goes_by_index_with_the_tenant(&plan, indexes);
            assert!(plan["Actual Rows"].as_f64().unwrap() > 0.0, "{plan:#}");
        }
    }
}

fn md5_uuid(tenant: &Tenant, what: &str) -> String {
    format!("md5('{}{what}')::uuid", tenant.id())
}

#[tokio::test]
async fn a_row_by_its_key_is_found_by_the_primary_key() {
    let values = |tenant: &Tenant| vec![md5_uuid(tenant, "sheet7")];
    every_plan("select * from sheets where id = $1", "by_key", "uuid", values, &["sheets_pkey"]).await;
}

#[tokio::test]
async fn a_page_by_keyset_goes_along_the_index_and_stops() {
    let question = "select id, title from sheets where created_at < $1 order by created_at desc limit 20";
    let values = |_: &Tenant| vec!["'2026-01-01 10:00Z'::timestamptz".to_owned()];
    every_plan(question, "page", "timestamptz", values, &["sheets_by_created_at"]).await;
}

#[tokio::test]
async fn a_unique_value_is_found_by_its_index() {
    let values = |_: &Tenant| vec!["'A-77'".to_owned()];
    every_plan("select id from sheets where number = $1", "by_number", "text", values, &["sheets_by_number"])
        .await;
}

#[tokio::test]
async fn a_join_along_a_foreign_key_uses_the_indexes_of_both_tables() {
    let question =
        "select s.title from plans p join sheets s on s.tenant_id = p.tenant_id and s.plan_id = p.id
                     where p.id = $1";
    let values = |tenant: &Tenant| vec![md5_uuid(tenant, "plan3")];
    every_plan(question, "joined", "uuid", values, &["plans_pkey", "sheets_by_plan_id"]).await;
}

/// A policy without the sub-select would be asked for each row of a scan; with it, once for all of them.
#[tokio::test]
async fn a_scan_of_the_whole_table_reads_the_setting_once() {
    let world = world().await;
    let session = world.db.session(&world.shared, Actor::system("test"));
    let mut tx = world.db.tenants().begin(&session).await.unwrap();
    let conn = tx.raw_connection_unguarded();
    crate::fleet::execute(
        conn,
        "set local enable_indexscan = off; set local enable_bitmapscan = off;
        set local enable_indexonlyscan = off; set local max_parallel_workers_per_gather = 0"
            .to_owned(),
    )
    .await;
    let plan = explain_on(conn, "select count(*) from sheets").await;
    let nodes = nodes(&plan);
    let scan = nodes.iter().find(|node| node["Node Type"] == "Seq Scan").unwrap();
    assert_eq!(scan["Rows Removed by Filter"], (TENANTS as i64 - 1) * i64::from(ROWS), "{plan:#}");
    let policy = nodes.iter().find(|node| node["Parent Relationship"] == "InitPlan").unwrap();
    assert_eq!(policy["Actual Loops"], 1, "{plan:#}");
}

/// `ILIKE` is not leakproof, so it may not be asked before the policy: no index serves it, neither one on the text
/// alone nor one that begins with the tenant, and every row of the tenant is looked at. A superuser, whom no policy
/// holds, shows that the second index would serve. What does serve under the policy is a table of words, since the
/// equality of text is leakproof.
#[tokio::test]
async fn a_search_that_is_not_leakproof_reads_the_tenants_rows_and_a_table_of_words_does_not() {
    let world = world().await;
    let mut root = PgConnection::connect_with(&world.db.options(LocalRole::Superuser).await).await.unwrap();
    let session = world.db.session(&world.shared, Actor::system("test"));
    let extensions = "create extension pg_trgm schema public; create extension btree_gin schema public";
    match sqlx::raw_sql(extensions).execute(&mut root).await {
        Ok(_) => no_trigram_index_serves(&world, &mut root).await,
        Err(error) => eprintln!("trigrams are skipped: this server has not both extensions: {error}"),
    }

    let words = TenantTable::new("shared.sheet_words")
        .column("sheet_id", "uuid not null")
        .column("word", "text not null")
        .key("sheet_id, word")
        .sql();
    assert!(words.is_err(), "a key is one column");
    let words = TenantTable::new("shared.sheet_words")
        .column("id", "uuid not null default gen_random_uuid()")
        .column("sheet_id", "uuid not null")
        .column("word", "text not null")
        .key("id")
        .references("sheet_id", "shared.sheets")
        .unique(&["word", "sheet_id"])
        .sql()
        .unwrap();
    let fill = "insert into shared.sheet_words (tenant_id, sheet_id, word)
                  select distinct tenant_id, id, word from shared.sheets, regexp_split_to_table(title, ' ') word;
                analyze shared.sheet_words";
    crate::fleet::execute(&mut root, format!("set role formwork_owner; {words}; reset role; {fill}")).await;
    let mut tx = world.db.tenants().begin(&session).await.unwrap();
    let question = "select s.id, s.title from sheet_words w
                      join sheets s on s.tenant_id = w.tenant_id and s.id = w.sheet_id where w.word = '77'";
    let plan = explain(&mut tx, question).await;
    goes_by_index_with_the_tenant(&plan, &["sheet_words_by_word_sheet_id", "sheets_pkey"]);
    assert_eq!(plan["Actual Rows"].as_f64(), Some(1.0), "{plan:#}");
}

async fn no_trigram_index_serves(world: &World, root: &mut PgConnection) {
    let question = format!(
        "select id from shared.sheets where tenant_id = '{}' and title ilike '%elevation 77%'",
        world.shared.id()
    );
    let session = world.db.session(&world.shared, Actor::system("test"));
    for columns in ["title public.gin_trgm_ops", "tenant_id, title public.gin_trgm_ops"] {
        let index = format!(
            "drop index if exists shared.sheets_trgm;
             create index sheets_trgm on shared.sheets using gin ({columns}); analyze shared.sheets"
        );
        crate::fleet::execute(root, index).await;
        let mut tx = world.db.tenants().begin(&session).await.unwrap();
        let plan = explain(&mut tx, &question).await;
        let filtered = nodes(&plan).into_iter().find(|node| node["Filter"].to_string().contains("~~*"));
        assert_eq!(filtered.unwrap()["Rows Removed by Filter"], i64::from(ROWS) - 11, "{plan:#}");
        for node in nodes(&plan) {
            assert!(!node["Index Cond"].to_string().contains("~~*"), "{plan:#}");
        }
        tx.rollback().await.unwrap();
        let free = explain_on(root, &question).await;
        let by_trigram = nodes(&free).into_iter().find(|node| node["Index Name"] == "sheets_trgm");
        assert!(by_trigram.unwrap()["Index Cond"].to_string().contains("~~*"), "{free:#}");
    }
}
