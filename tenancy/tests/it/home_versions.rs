//! A tenant outside the versions that the service supports is refused by name, and the others go on.

use std::time::Duration;

use formwork_migrations::{Set, TENANCY};
use formwork_tenancy::{
    Actor, Isolation, MigrationRange, NewTenant, Refusal, ResolveError, Tenant, Tenants, UnsupportedHome,
    testing::{BASE_DOMAIN, TestDatabase},
};

use crate::fleet::{BASE, COLUMN, NEW, OLD, execute, owner, quick, schema_of, set, version};

const SETS: [Set; 2] = [TENANCY, NEW];

async fn resolve(tenants: &Tenants, slug: &str) -> Result<Tenant, ResolveError> {
    let request = http::Request::builder().header("host", format!("{slug}.{BASE_DOMAIN}")).body(()).unwrap();
    tenants.resolve(&request.into_parts().0).await
}

async fn refusal(tenants: &Tenants, slug: &str) -> UnsupportedHome {
    match resolve(tenants, slug).await.unwrap_err() {
        ResolveError::Unsupported(unsupported) => unsupported,
        other => panic!("{other}"),
    }
}

async fn is_served(db: &TestDatabase, tenants: &Tenants, slug: &str) {
    let tenant = resolve(tenants, slug).await.unwrap();
    let mut tx = tenants.begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
    sqlx::query("insert into tasks (title, priority) values ('x', 1)").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_tenant_left_behind_is_refused_and_the_others_work_and_it_works_after_its_migration() {
    let db = TestDatabase::new(&[TENANCY, OLD]).await;
    for slug in ["good", "bad"] {
        db.tenant(slug, Isolation::Schema).await;
    }
    db.tenant("together", Isolation::Shared).await;
    let mut conn = owner(&db).await;
    let poisoned = schema_of(&db, "bad").await;
    execute(&mut conn, format!("create table {poisoned}.labels (n int)")).await;
    let control = version(&db, NEW).await;
    let report = control.fleet().run(&quick(), |_| ()).await.unwrap();
    assert_eq!((report.migrated(), report.failures().len()), (2, 1), "{report}");

    let tenants = db.connect(Tenants::builder().supports(&SETS)).await;
    is_served(&db, &tenants, "good").await;
    is_served(&db, &tenants, "together").await;
    let refused = refusal(&tenants, "bad").await;
    assert_eq!((refused.tenant(), refused.set(), refused.version()), ("bad", "test/small", 1));
    assert_eq!(refused.supported(), 3..=i32::MAX);
    assert_eq!(
        refused.to_string(),
        "the home of tenant `bad` is at version 1, and this program needs at least 3 of `test/small`: run the migrations"
    );
    // Known by another way than its host, it is not begun for either.
    let bad = tenants.by_slug("bad").await.unwrap().unwrap();
    let error = tenants.begin(&db.session(&bad, Actor::system("test"))).await.unwrap_err();
    assert_eq!(error.refusal(), Some(&Refusal::Home(refused)));
    assert!(!error.is_retryable());

    execute(&mut conn, format!("drop table {poisoned}.labels")).await;
    control.migrate().await.unwrap();
    // The registry's answers are kept for one second.
    while resolve(&tenants, "bad").await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    is_served(&db, &tenants, "bad").await;
}

#[tokio::test]
async fn a_range_is_widened_for_a_rolling_deploy() {
    let db = TestDatabase::new(&[TENANCY, OLD]).await;
    db.tenant("own", Isolation::Schema).await;
    db.tenant("together", Isolation::Shared).await;
    let builder = || Tenants::builder().supports(&[TENANCY, set(&[BASE, COLUMN])]);
    let newest = db.connect(builder()).await;
    let rolling = db.connect(builder().supports_range(MigrationRange::new("test/small", 1..=2))).await;
    let careless = db.connect(Tenants::builder()).await;
    for slug in ["own", "together"] {
        assert_eq!(refusal(&newest, slug).await.version(), 1);
        resolve(&rolling, slug).await.unwrap();
    }
    // Forward by two, which is a version that neither program knows: what was added is in nobody's way, unless a range
    // says otherwise.
    version(&db, NEW).await.migrate().await.unwrap();
    let (newest, rolling) = (
        db.connect(builder()).await,
        db.connect(builder().supports_range(MigrationRange::new("test/small", 1..=2))).await,
    );
    for slug in ["own", "together"] {
        let refused = refusal(&rolling, slug).await;
        assert_eq!(refused.version(), 3);
        assert!(refused.to_string().ends_with("run a newer program"), "{refused}");
        resolve(&newest, slug).await.unwrap();
        resolve(&careless, slug).await.unwrap();
    }
}

#[tokio::test]
async fn a_new_tenant_has_the_versions_that_it_was_provisioned_with() {
    let db = TestDatabase::new(&[TENANCY, OLD]).await;
    let control = version(&db, NEW).await;
    control.migrate().await.unwrap();
    for isolation in [Isolation::Shared, Isolation::Schema] {
        let new = NewTenant::new(isolation.as_str(), isolation.as_str(), isolation);
        control.provision(&new).await.unwrap();
        let tenant = db.tenants().by_slug(isolation.as_str()).await.unwrap().unwrap();
        assert_eq!(tenant.home_versions().get("test/small"), Some(&3));
    }
}
