//! How the statements are run, by a table that is large enough for the planner to care.

use formwork_tenancy::{Isolation, Tenant, TenantTx, local_postgres::LocalRole};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::kit::World;

async fn filled(world: &World, tenant: &Tenant) {
    let mut owner = PgConnection::connect_with(&world.db.options(LocalRole::Superuser).await).await.unwrap();
    sqlx::query(
        "insert into shared.entity_links
           (tenant_id, id, source_type, source_id, target_type, target_id, relationship, created_by)
         select $1, gen_random_uuid(), 'rfi', gen_random_uuid(), 'drawing', gen_random_uuid(), 'answers', 'x'
           from generate_series(1, 20000)",
    )
    .bind(tenant.id().as_uuid())
    .execute(&mut owner)
    .await
    .unwrap();
    sqlx::raw_sql("vacuum analyze shared.entity_links").execute(&mut owner).await.unwrap();
}

async fn plan(tx: &mut TenantTx, sql: &str) -> String {
    let sql = format!("explain {sql}").replace("$end", &format!("'{}'", Uuid::from_u128(1)));
    let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut **tx).await.unwrap();
    plan.join("\n")
}

/// The same statements as in `linked.rs`, with the values written out.
#[tokio::test]
async fn both_directions_are_read_from_an_index_alone() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    filled(&world, &tenant).await;
    let mut tx = world.begin(&tenant, Uuid::nil()).await;
    for (side, other) in [("source", "target"), ("target", "source")] {
        let page = format!(
            "select id, relationship, {other}_type, {other}_id from entity_links
              where {side}_type = 'rfi' and {side}_id = $end and id > $end
                and {other}_type = 'drawing' and relationship = 'answers' order by id limit 51"
        );
        let counts = format!(
            "select relationship, {other}_type, count(*) from entity_links
              where {side}_type = 'rfi' and {side}_id = $end group by 1, 2"
        );
        for sql in [page, counts] {
            let plan = plan(&mut tx, &sql).await;
            assert!(plan.contains("Index Only Scan using entity_links"), "{sql}\n{plan}");
        }
        let page = format!(
            "select id, relationship, {other}_type, {other}_id from entity_links
              where {side}_type = 'rfi' and {side}_id = $end and id > $end order by id limit 51"
        );
        let plan = plan(&mut tx, &page).await;
        assert!(plan.contains(&format!("Index Only Scan using entity_links_by_{side}")), "{plan}");
        assert!(!plan.contains("Sort"), "a page ends when it is full: {plan}");
    }
    let both = "(select id from entity_links where source_type = 'rfi' and source_id = $end order by id limit 51)
                union all
                (select id from entity_links where target_type = 'rfi' and target_id = $end order by id limit 51)
                order by id limit 51";
    let plan = plan(&mut tx, both).await;
    assert_eq!(plan.matches("Index Only Scan").count(), 2, "{plan}");
    assert!(plan.contains("Merge Append"), "{plan}");
}
