//! `formwork authz plan`, `adopt`, `sql` and `export`.

use crate::cli_move::Two;

#[tokio::test]
async fn the_schema_of_the_modules_is_planned_adopted_and_held() {
    let two = Two::new().await;
    two.run(&["tenant", "create", "acme", "--isolation", "shared"]).await.ok();
    two.run(&["tenant", "add-member", "acme", "ada@acme.example", "--role", "owner"]).await.ok();
    let stray = "insert into shared.permission_tuples (tenant_id, namespace, object_id, relation, subject_ns, subject_id)
                 select id, 'castle', '7', 'king', 'user', 'ada' from platform.tenants";
    two.superuser(stray).await;
    let planned = two.run(&["authz", "plan", "acme"]).await;
    assert!(planned.sentence().contains("no place for"), "{planned:?}");
    assert!(planned.out.contains("! 1 of `castle#king@user`, as `castle:7#king@user:ada`"), "{planned:?}");
    assert!(two.run(&["authz", "adopt", "acme"]).await.sentence().contains("no place for"));
    two.superuser("delete from shared.permission_tuples where namespace = 'castle'").await;
    let adopted = two.run(&["authz", "adopt", "acme"]).await.ok();
    assert!(adopted.out.contains(" is the first\n"), "{adopted:?}");
    let again = two.run(&["authz", "adopt", "acme"]).await.ok();
    assert!(again.out.contains(" is version 1\n"), "{again:?}");

    let exported = two.run(&["authz", "export", "acme"]).await.ok();
    assert!(exported.out.contains("@user:"), "{exported:?}");
    let functions = two.run(&["authz", "sql"]).await.ok();
    assert!(functions.out.contains("function authz_check("), "{functions:?}");
}
