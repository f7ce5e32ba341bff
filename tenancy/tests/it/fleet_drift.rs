//! Homes that were changed by hand are found, with what is different.

use crate::fleet::{NEW, execute, fleet, owner, schema_of, size, version};

#[tokio::test]
async fn drift_is_found_and_shown_line_by_line() {
    let long = size("fleet: homes compared for drift", 20);
    let count = long.count();
    let db = fleet(count).await;
    let control = version(&db, NEW).await;
    control.migrate().await.unwrap();
    let begun = std::time::Instant::now();
    let report = control.fleet().drift().await.unwrap();
    eprintln!("drift: {count} homes in {:?}", begun.elapsed());
    assert_eq!(report.to_string(), format!("{} homes agree", count + 1));

    let mut conn = owner(&db).await;
    let changes = [
        ("t3", "alter table {}.tasks add column extra text default 'x' not null"),
        ("t4", "drop index {}.tasks_of_project"),
        ("t5", "alter policy tenant_isolation_8c2860cb on {}.comments using (true)"),
        (
            "t6",
            "alter table {}.comments no force row level security; grant truncate on {}.comments to formwork_app",
        ),
        ("t7", "create function {}.f() returns int language sql return 1"),
        (
            "t8",
            "alter table {}.tasks alter priority drop not null, drop constraint tasks_tenant_id_project_id_fkey",
        ),
    ];
    for (slug, change) in changes {
        let schema = schema_of(&db, slug).await;
        execute(&mut conn, change.replace("{}", &schema)).await;
    }
    let report = control.fleet().drift().await.unwrap();
    assert_eq!(report.reference().unwrap().schema(), "shared");
    let found = |slug: &str| {
        let drift = report.drifted().iter().find(|drift| drift.home().slug() == Some(slug)).unwrap();
        assert!(!drift.lacks_steps());
        (drift.missing().join("\n"), drift.extra().join("\n"))
    };
    const TENANT: &str = "(tenant_id = ( SELECT (NULLIF(current_setting('app.current_tenant'::text, true), ''::text))::uuid AS \"nullif\"))";
    let expected = [
        ("t3", String::new(), "column tasks.extra text not null default 'x'::text".to_owned()),
        ("t4", "index tasks_of_project on tasks: CREATE INDEX tasks_of_project ON tasks USING btree (tenant_id, project_id)".to_owned(), String::new()),
        (
            "t5",
            format!("policy tenant_isolation_8c2860cb on comments permissive for * to public using {TENANT} with check {TENANT}"),
            format!("policy tenant_isolation_8c2860cb on comments permissive for * to public using true with check {TENANT}"),
        ),
    ];
    for (slug, missing, extra) in expected {
        assert_eq!(found(slug), (missing, extra));
    }
    assert!(found("t6").0.contains("table comments owner formwork_owner row security on forced on"));
    assert!(found("t6").1.contains("DELETE, INSERT, SELECT, TRUNCATE, UPDATE"));
    assert!(found("t7").1.contains("function f() owner formwork_owner: CREATE OR REPLACE FUNCTION f()"));
    assert!(found("t8").0.contains("FOREIGN KEY (tenant_id, project_id) REFERENCES projects(tenant_id, id)"));
    assert_eq!(report.drifted().len(), changes.len(), "{report}");
    assert!(
        report.to_string().contains("\n  + column tasks.extra text not null default 'x'::text"),
        "{report}"
    );
}

#[tokio::test]
async fn homes_that_lack_steps_are_no_measure_for_the_others() {
    let db = fleet(3).await;
    let control = version(&db, NEW).await;
    // One home of four is up to date: the shared one.
    let mut conn = owner(&db).await;
    let poisoned = schema_of(&db, "t0").await;
    execute(&mut conn, format!("create table {poisoned}.labels (n int)")).await;
    control.migrate().await.unwrap_err();
    let report = control.fleet().drift().await.unwrap();
    assert_eq!(report.reference().unwrap().schema(), "shared");
    assert_eq!(report.drifted().len(), 3);
    assert!(report.drifted().iter().all(|drift| drift.lacks_steps()), "{report}");
}
