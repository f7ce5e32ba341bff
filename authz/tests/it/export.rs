//! What is exported is what is stored, of one tenant and whole.

use formwork_authz::{Authz, Filter, Relationship, Schema, rel};
use formwork_tenancy::testing::TestDatabase;
use formwork_tenancy::{Actor, Isolation, Tenant, TenantTx};

const SCHEMA: &str = "
    use expiration
    caveat in_team(team string, wanted string) { team == wanted }
    definition user {}
    definition team { relation member: user }
    definition document {
        relation viewer: user | user:* | team#member | user with in_team | user with in_team and expiration
    }";

async fn begin(db: &TestDatabase, tenant: &Tenant) -> TenantTx {
    db.tenants().begin(&db.session(tenant, Actor::system("test"))).await.unwrap()
}

#[tokio::test]
async fn an_export_has_every_relationship_with_its_terms_and_can_be_imported() {
    let db = TestDatabase::new(&[formwork_migrations::TENANCY, formwork_migrations::AUTHZ]).await;
    let (one, other) =
        (db.tenant("one", Isolation::Shared).await, db.tenant("other", Isolation::Schema).await);
    let authz = Authz::new(Schema::parse(SCHEMA).unwrap());
    let in_team = |team: &str| serde_json::Map::from_iter([("team".to_owned(), serde_json::json!(team))]);
    let until = "2999-01-31T18:00:00.000001Z".parse().unwrap();
    let (backslash, letters) = (r"a\b\N", "größe");
    let mut stored: Vec<Relationship> =
        (0..2_500).map(|n| rel!("document:{n}#viewer@team:eng#member")).collect();
    stored.extend([
        rel!("document:7#viewer@user:*"),
        rel!("document:{backslash}#viewer@user:{letters}"),
        rel!("document:7#viewer@user:ann").with_condition("in_team", in_team("steel\t\"and\"\n wood\\")),
        rel!("document:8#viewer@user:ann").with_condition("in_team", in_team("steel")).expiring_at(until),
    ]);
    let mut tx = begin(&db, &one).await;
    authz.touch_many(&mut tx, &stored).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = begin(&db, &other).await;
    authz.touch(&mut tx, &rel!("document:secret#viewer@user:eve")).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = begin(&db, &one).await;
    let (mut target, mut import) = (begin(&db, &other).await, authz.import());
    let mut export = authz.export(&mut tx).await.unwrap();
    assert_eq!((export.exported(), export.expected()), (0, 2_504));
    let mut exported = Vec::new();
    while let Some(relationship) = export.next().await.unwrap() {
        import.push(&mut target, relationship.clone()).await.unwrap();
        exported.push(relationship);
    }
    assert_eq!(export.exported(), 2_504);
    drop(export);
    let read = authz.read(&mut tx, &Filter::everything()).await.unwrap();
    assert_eq!(exported, read, "in the order of a read, and nothing of another tenant");
    tx.commit().await.unwrap();
    assert_eq!(import.finish(&mut target).await.unwrap(), 2_504);
    let copied = authz.read(&mut target, &Filter::everything()).await.unwrap();
    assert_eq!(copied.len(), 2_505);
    assert!(exported.iter().all(|relationship| copied.contains(relationship)));
}

/// What was on its way is not taken for the answer of somebody else.
#[tokio::test]
async fn an_export_that_is_given_up_ends_its_connection() {
    let db = TestDatabase::new(&[formwork_migrations::TENANCY, formwork_migrations::AUTHZ]).await;
    let tenant = db.tenant("one", Isolation::Shared).await;
    let authz = Authz::new(Schema::parse(SCHEMA).unwrap());
    let stored: Vec<Relationship> = (0..20_000).map(|n| rel!("document:{n}#viewer@user:anna")).collect();
    let mut tx = begin(&db, &tenant).await;
    authz.touch_many(&mut tx, &stored).await.unwrap();
    tx.commit().await.unwrap();
    for _ in 0..10 {
        let mut tx = begin(&db, &tenant).await;
        let mut export = authz.export(&mut tx).await.unwrap();
        assert!(export.next().await.unwrap().is_some());
        drop(export);
        drop(tx);
        let mut next = begin(&db, &tenant).await;
        let count: i64 =
            sqlx::query_scalar("select count(*) from permission_tuples").fetch_one(&mut *next).await.unwrap();
        assert_eq!(count, 20_000);
        next.commit().await.unwrap();
    }
}
