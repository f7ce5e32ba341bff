//! A permission as a condition in the caller's own query.

use formwork_authz::{Authz, Budget, CheckError, Context, ObjectFilter, Schema, Subject, rel};
use formwork_migrations::{Migration, Set};
use formwork_tenancy::testing::TestDatabase;
use formwork_tenancy::{Actor, Isolation, Tenant, TenantTx};
use sea_query::{Expr, ExprTrait, Order, PostgresQueryBuilder, Query};
use sea_query_sqlx::SqlxBinder;
use serde_json::Map;
use sqlx::AssertSqlSafe;

const SCHEMA: &str = "
    use expiration
    caveat few(x int) { x < 5 }
    definition user {}
    definition team { relation member: user }
    definition rfi {
        relation viewer: user | user:* | team#member | user with expiration
        relation guest: user with few
        relation barred: user
        permission view = viewer - barred
        permission visit = view + guest
    }";

/// The row `n` has the id that ends in `n`.
const ROWS: &str = "
    create table rfis (
      tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
      id uuid not null,
      number bigint not null,
      name text not null,
      title text not null,
      primary key (tenant_id, id)
    );
    create index rfis_by_number on rfis (tenant_id, number);
    create index rfis_by_name on rfis (tenant_id, name);
    alter table rfis enable row level security;
    alter table rfis force row level security;
    create policy tenant_isolation_8c2860cb on rfis as permissive for all to public
      using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
      with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
    grant select, insert, update, delete on rfis to formwork_app;";

const TABLE: Set = Set {
    name: "test/rfis",
    platform: &[],
    database: &[],
    home: &[Migration { version: 1, name: "rfis", sql: ROWS }],
};

struct World {
    db: TestDatabase,
    tenant: Tenant,
    authz: Authz,
}

/// Ids of rows as relationships know them.
#[derive(Clone, Copy, PartialEq)]
enum Column {
    Id,
    Number,
    Name,
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Number => "number",
            Self::Name => "name",
        }
    }

    fn of(self, filter: ObjectFilter) -> ObjectFilter {
        match self {
            Self::Id => filter.of_uuids(),
            Self::Number => filter.of_bigints(),
            Self::Name => filter,
        }
    }
}

impl World {
    async fn new(isolation: Isolation, rows: i64) -> Self {
        let db = TestDatabase::new(&[formwork_migrations::TENANCY, formwork_migrations::AUTHZ, TABLE]).await;
        let tenant = db.tenant("acme", isolation).await;
        let world = Self { db, tenant, authz: Authz::new(Schema::parse(SCHEMA).unwrap()) };
        let mut tx = world.begin().await;
        sqlx::query(
            "insert into rfis (id, number, name, title)
             select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, n, 'row' || n, 'title ' || n % 7
               from generate_series(1, $1) n",
        )
        .bind(rows)
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
        world
    }

    async fn begin(&self) -> TenantTx {
        self.db.tenants().begin(&self.db.session(&self.tenant, Actor::system("test"))).await.unwrap()
    }

    /// Gives a subject a relation on rows `first` to `last`.
    async fn relate(&self, column: Column, relation: &str, subject: &str, first: i64, last: i64) {
        let mut tx = self.begin().await;
        sqlx::query(AssertSqlSafe(format!(
            "insert into permission_tuples (namespace, object_id, relation, subject_ns, subject_id, subject_rel)
             select 'rfi', {}::text, $1, split_part($2, ':', 1), split_part(split_part($2, ':', 2), '#', 1),
                    nullif(split_part($2, '#', 2), '')
               from rfis where number between $3 and $4",
            column.name()
        )))
        .bind(relation)
        .bind(subject)
        .bind(first)
        .bind(last)
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    async fn settle(&self) {
        use formwork_tenancy::local_postgres::LocalRole;
        use sqlx::{Connection as _, PgConnection};
        let options = self.db.options(LocalRole::Superuser).await;
        let mut root = PgConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql("vacuum analyze").execute(&mut root).await.unwrap();
        root.close().await.unwrap();
    }
}

async fn count(tx: &mut TenantTx, filter: &ObjectFilter, column: Column) -> i64 {
    let (condition, values) = filter.sql(column.name(), 1);
    let text = format!("select count(*) from rfis where {condition}");
    let query = sqlx::query_scalar(AssertSqlSafe(text));
    values.into_iter().fold(query, |query, value| query.bind(value)).fetch_one(&mut **tx).await.unwrap()
}

/// How often the caller's table was read from end to end.
async fn scans(tx: &mut TenantTx) -> i64 {
    const SCANS: &str =
        "select coalesce(sum(seq_scan), 0)::bigint from pg_stat_xact_all_tables where relname = 'rfis'";
    sqlx::query_scalar(SCANS).fetch_one(&mut **tx).await.unwrap()
}

/// As a statement that has been run often: nothing is known of its values when it is planned.
async fn count_by_generic_plan(tx: &mut TenantTx, filter: &ObjectFilter, column: Column) -> i64 {
    sqlx::query("select set_config('plan_cache_mode', 'force_generic_plan', true)")
        .execute(&mut **tx)
        .await
        .unwrap();
    let found = count(tx, filter, column).await;
    sqlx::query("select set_config('plan_cache_mode', 'auto', true)").execute(&mut **tx).await.unwrap();
    found
}

async fn plan(tx: &mut TenantTx, filter: &ObjectFilter, column: Column) -> String {
    let (condition, values) = filter.sql(column.name(), 1);
    let text = format!("explain select title from rfis where {condition}");
    let query = sqlx::query_scalar(AssertSqlSafe(text));
    let lines: Vec<String> =
        values.into_iter().fold(query, |query, value| query.bind(value)).fetch_all(&mut **tx).await.unwrap();
    lines.join("\n")
}

#[tokio::test]
async fn a_list_is_filtered_sorted_counted_and_paged_by_postgres() {
    for isolation in [Isolation::Shared, Isolation::Schema] {
        let world = World::new(isolation, 300).await;
        world.relate(Column::Id, "viewer", "user:*", 1, 100).await;
        world.relate(Column::Id, "viewer", "team:eng#member", 101, 200).await;
        world.relate(Column::Id, "barred", "user:anna", 91, 110).await;
        let mut tx = world.begin().await;
        let now = chrono::Utc::now();
        let gone = rel!("rfi:00000000-0000-4000-8000-000000000300#viewer@user:anna");
        let facts = [
            rel!("team:eng#member@user:anna"),
            gone.expiring_at(now - chrono::TimeDelta::hours(1)),
            rel!("rfi:00000000-0000-4000-8000-000000000299#viewer@user:anna")
                .expiring_at(now + chrono::TimeDelta::hours(1)),
            rel!("rfi:not-a-uuid#viewer@user:anna"),
            rel!("rfi:00000000-0000-4000-8000-00000000029A#viewer@user:anna"),
        ];
        world.authz.touch_many(&mut tx, &facts).await.unwrap();
        tx.commit().await.unwrap();
        for authz in [world.authz.clone(), world.authz.with_budget(0, Budget::none())] {
            let mut tx = world.begin().await;
            let anna = Subject::new("user", "anna");
            let filter = authz.filter(&mut tx, &anna, "view", "rfi").await.unwrap().of_uuids();
            assert_eq!(count(&mut tx, &filter, Column::Id).await, 181);
            let bob = authz.filter(&mut tx, &Subject::new("user", "bob"), "view", "rfi").await.unwrap();
            assert_eq!(count(&mut tx, &bob.of_uuids(), Column::Id).await, 100);
            let none = authz.filter(&mut tx, &Subject::new("team", "none"), "view", "rfi").await.unwrap();
            assert!(none.is_nothing());
            assert_eq!(count(&mut tx, &none, Column::Id).await, 0);

            // Page by page, by title and number, joined with itself.
            let (mut seen, mut last): (Vec<(String, i64)>, _) = (Vec::new(), (String::new(), 0_i64));
            loop {
                let position = Expr::tuple([Expr::col(("r", "title")), Expr::col(("r", "number"))]);
                let (text, values) = Query::select()
                    .columns([("r", "title"), ("r", "number")])
                    .from_as("rfis", "r")
                    .inner_join("rfis_again", Expr::col(("r", "id")).eq(Expr::col(("rfis_again", "id"))))
                    .and_where(filter.on(Expr::col(("r", "id"))))
                    .and_where(position.gt(Expr::tuple([Expr::val(last.0.clone()), Expr::val(last.1)])))
                    .order_by(("r", "title"), Order::Asc)
                    .order_by(("r", "number"), Order::Asc)
                    .limit(50)
                    .to_owned()
                    .build_sqlx(PostgresQueryBuilder);
                let text = text.replace("\"rfis_again\" ON", "(select id from rfis) \"rfis_again\" ON");
                let page: Vec<(String, i64)> =
                    sqlx::query_as_with(AssertSqlSafe(text), values).fetch_all(&mut *tx).await.unwrap();
                let Some(end) = page.last() else { break };
                last = end.clone();
                seen.extend(page);
            }
            assert_eq!(seen.len(), 181);
            assert!(seen.is_sorted());
            assert!(
                seen.iter().all(|(_, n)| !(91..=110).contains(n) && (*n <= 200 || *n == 299)),
                "{seen:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_answer_that_depends_on_values_is_an_error_until_they_are_given() {
    let world = World::new(Isolation::Shared, 20).await;
    let mut tx = world.begin().await;
    world
        .authz
        .touch(&mut tx, &rel!("rfi:row1#guest@user:anna").with_condition("few", Map::new()))
        .await
        .unwrap();
    world.authz.touch(&mut tx, &rel!("rfi:row2#viewer@user:anna")).await.unwrap();
    tx.commit().await.unwrap();
    for authz in [world.authz.clone(), world.authz.with_budget(0, Budget::none())] {
        let mut tx = world.begin().await;
        let anna = Subject::new("user", "anna");
        let error = authz.filter(&mut tx, &anna, "visit", "rfi").await.unwrap_err();
        let CheckError::Undecided(undecided) = &error else { panic!("{error}") };
        assert_eq!((undecided.objects(), undecided.missing()), (1, &["x".into()][..]), "{error}");
        for (x, expected) in [(1, 2), (9, 1)] {
            let context = Context::new().with("x", x);
            let filter = authz.filter_in(&mut tx, &context, &anna, "visit", "rfi").await.unwrap();
            assert_eq!(count(&mut tx, &filter, Column::Name).await, expected);
        }
        // The one who has no such relationship needs no value.
        let bob = authz.filter(&mut tx, &Subject::new("user", "bob"), "visit", "rfi").await.unwrap();
        assert!(bob.is_nothing());
    }
}

#[tokio::test]
async fn small_and_large_answers_use_the_index_of_the_callers_column() {
    let world = World::new(Isolation::Shared, 100_001).await;
    for column in [Column::Id, Column::Number, Column::Name] {
        let sizes = [("few", 20), ("many", 800), ("most", 5_000)];
        for (team, size) in sizes {
            let subject = format!("team:{}-{team}#member", column.name());
            world.relate(column, "viewer", &subject, 1, size).await;
        }
        let subject = format!("user:barred-{}", column.name());
        world.relate(column, "barred", &subject, 1, 10).await;
        let mut tx = world.begin().await;
        for (team, _) in sizes {
            let text = format!("team:{}-{team}#member@{subject}", column.name());
            world.authz.touch(&mut tx, &text.parse().unwrap()).await.unwrap();
            let text = format!("team:{}-{team}#member@user:{team}-{}", column.name(), column.name());
            world.authz.touch(&mut tx, &text.parse().unwrap()).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
    world.relate(Column::Name, "viewer", "user:all", 1, 100_001).await;
    world.settle().await;
    for authz in [world.authz.clone(), world.authz.with_budget(0, Budget::none())] {
        let mut tx = world.begin().await;
        for column in [Column::Id, Column::Number, Column::Name] {
            for (team, expected, is_list) in [("few", 20, true), ("many", 800, true), ("most", 5_000, false)]
            {
                let user = Subject::new("user", format!("{team}-{}", column.name()));
                let filter = column.of(authz.filter(&mut tx, &user, "view", "rfi").await.unwrap());
                assert_eq!(filter.is_list(), is_list, "{team}");
                assert_eq!(count(&mut tx, &filter, column).await, expected);
                let plan = plan(&mut tx, &filter, column).await;
                assert!(!is_list || !plan.contains("Seq Scan on rfis"), "{plan}");
                assert!(!plan.contains("Seq Scan on permission_tuples"), "{plan}");
                // What is not found by the index is hashed, and never compared row by row.
                let is_hashed = plan.contains("Hash Semi Join") || plan.contains("Hash Join");
                assert!(is_hashed || !plan.contains("Seq Scan on rfis"), "{plan}");
                let before = scans(&mut tx).await;
                assert_eq!(count_by_generic_plan(&mut tx, &filter, column).await, expected);
                assert!(!is_list || scans(&mut tx).await == before, "{team} {}", column.name());
            }
            // Conditions are told by no statement, and a list would be too long.
            let all = Subject::new("user", "all");
            let whole = authz.filter(&mut tx, &all, "view", "rfi").await.unwrap();
            assert_eq!(count(&mut tx, &whole, Column::Name).await, 100_001);
            let error = authz.filter(&mut tx, &all, "visit", "rfi").await.unwrap_err();
            assert!(matches!(error, CheckError::TooComplex(_)), "{error}");
            let barred = Subject::new("user", format!("barred-{}", column.name()));
            let filter = column.of(authz.filter(&mut tx, &barred, "view", "rfi").await.unwrap());
            assert_eq!(count(&mut tx, &filter, column).await, 4_990);
        }
    }
}
