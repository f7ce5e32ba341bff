//! `formwork doctor`, and a server that does not start when its login could get round row security.

use formwork_tenancy::Isolation;
use sqlx::Executor;

use super::cli::Named;

#[tokio::test]
async fn a_database_as_it_is_made_is_healthy() {
    let named = Named::new().await;
    named.tenant("acme", Isolation::Shared);
    named.tenant("bolt", Isolation::Schema);
    assert_eq!(named.run(&["doctor"]).ok().out, "healthy: 0 errors, 0 warnings\n");
    let report: serde_json::Value = serde_json::from_str(&named.run(&["doctor", "--json"]).ok().out).unwrap();
    assert_eq!(report, serde_json::json!({"healthy": true, "findings": []}));
}

#[tokio::test]
async fn a_wall_that_is_down_is_named_with_its_remedy() {
    let named = Named::new().await;
    named.superuser().await.execute("alter table shared.projects no force row level security").await.unwrap();
    let done = named.run(&["doctor"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    for part in ["rls-not-forced", "shared.projects", "alter table shared.projects force row level security"]
    {
        assert!(done.out.contains(part), "{part}: {done:?}");
    }
    assert_eq!(done.sentence(), "the database is not healthy: do what the report's remedies say");
}

#[tokio::test]
async fn a_login_that_could_shadow_a_tenants_tables_serves_nobody() {
    let named = Named::new().await;
    let mut superuser = named.superuser().await;
    let database: String =
        sqlx::query_scalar("select current_database()::text").fetch_one(&mut superuser).await.unwrap();
    let grant = format!("grant temporary on database \"{database}\" to formwork_app");
    superuser.execute(sqlx::AssertSqlSafe(grant)).await.unwrap();
    let done = named.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains("database-temp") && done.err.contains("--despite-the-doctor"), "{done:?}");
    assert!(done.out.is_empty(), "{done:?}");

    let mut serving = named.start(&["serve", "--listen", "127.0.0.1:0", "--despite-the-doctor"]);
    serving.address();
    serving.signal("TERM");
    assert!(serving.end().err.contains("although the doctor finds fault"));
}
