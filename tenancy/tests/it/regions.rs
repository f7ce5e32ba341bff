//! A tenant is served where its data are, and its data stay where they may lie.

use std::sync::Arc;

use formwork_migrations::TENANCY;
use formwork_tenancy::{
    Actor, ControlError, HomePlace, Isolation, NewTenant, Refusal, ResolveError, Tenant, TenantId, Tenants,
    TxOptions,
    archive::{ImportError, ImportOptions, ImportRefusal},
    local_postgres::LocalRole,
    moves::{MoveError, MoveRefusal},
    testing::TestDatabase,
};
use http::request::Parts;
use sqlx::{Connection, PgConnection};

use crate::isolation::{NOTES, notes, write_note};

fn request(host: &str) -> Parts {
    http::Request::builder().uri("/").header("host", host).body(()).unwrap().into_parts().0
}

async fn two_regions() -> TestDatabase {
    let db = TestDatabase::with_databases(&[TENANCY, NOTES], &["far"]).await;
    let control = db.control();
    control.put_region("eu", Some("https://eu.example.com")).await.unwrap();
    control.put_region("us", None).await.unwrap();
    control.place_database("main", "eu").await.unwrap();
    control.place_database("far", "us").await.unwrap();
    db
}

async fn newest(db: &TestDatabase, id: TenantId) -> Tenant {
    // A handle that remembers nothing.
    db.connect(Tenants::builder()).await.by_id(id).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_tenant_of_another_region_is_refused_with_the_place_to_go() {
    let db = two_regions().await;
    let here = db.tenant("here", Isolation::Shared).await;
    let far = db.tenant_at("far-away", HomePlace::database("far")).await;
    assert_eq!((here.region(), far.region()), ("eu", "us"));
    let eu = db.connect(Tenants::builder().region("eu")).await;
    assert_eq!(eu.region(), Some("eu"));
    eu.resolve(&request("here.formwork.test")).await.unwrap();
    let us = db.connect(Tenants::builder().region("us")).await;
    us.resolve(&request("far-away.formwork.test")).await.unwrap();

    let error = us.resolve(&request("here.formwork.test")).await.unwrap_err();
    let ResolveError::WrongRegion(wrong) = error else { panic!("{error}") };
    assert_eq!((wrong.region(), wrong.here()), ("eu", "us"));
    assert_eq!(wrong.place(), Some("https://eu.example.com"));
    assert_eq!(
        wrong.to_string(),
        "the tenant is served in region `eu` and not in `us`: go to https://eu.example.com"
    );
    let error = eu.resolve(&request("far-away.formwork.test")).await.unwrap_err();
    let ResolveError::WrongRegion(wrong) = error else { panic!("{error}") };
    assert_eq!(wrong.place(), None, "nobody said where it is");

    for options in [TxOptions::new(), TxOptions::new().read_only(), TxOptions::new().whatever_status()] {
        let session = db.session(&far, Actor::system("test"));
        let error = eu.begin_with(&session, options).await.unwrap_err();
        let Some(Refusal::WrongRegion(wrong)) = error.refusal() else { panic!("{error}") };
        assert_eq!((wrong.region(), wrong.here()), ("us", "eu"));
    }
}

#[tokio::test]
async fn a_process_that_was_told_no_region_serves_all() {
    let db = two_regions().await;
    db.tenant("here", Isolation::Shared).await;
    db.tenant_at("far-away", HomePlace::shared_in("far")).await;
    for host in ["here.formwork.test", "far-away.formwork.test"] {
        db.tenants().resolve(&request(host)).await.unwrap();
    }
}

#[tokio::test]
async fn a_process_of_one_region_need_not_know_the_databases_of_others() {
    let db = two_regions().await;
    let far = db.tenant_at("far-away", HomePlace::database("far")).await;
    let main = db.options(LocalRole::App).await;
    let alone = || Tenants::builder().base_domain("formwork.test");
    let eu = alone().region("eu").connect_with(main.clone()).await.unwrap();
    let error = eu.resolve(&request("far-away.formwork.test")).await.unwrap_err();
    assert!(matches!(error, ResolveError::WrongRegion(_)), "{error}");
    let told_nothing = alone().connect_with(main).await.unwrap();
    let error = told_nothing.begin(&db.session(&far, Actor::system("test"))).await.unwrap_err();
    assert_eq!(error.unknown_database().map(|unknown| unknown.name()), Some("far"));
}

#[tokio::test]
async fn a_tenant_is_not_provisioned_where_its_data_may_not_lie() {
    let db = two_regions().await;
    let control = db.control();
    let new = |place| NewTenant::placed("acme", "Acme", place).resides_in("eu");
    let error = control.provision(&new(HomePlace::database("far"))).await.unwrap_err();
    assert!(matches!(error, ControlError::Residency { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "data of `acme` may lie in eu only, not in region `us`: choose another database"
    );
    assert!(db.tenants().by_slug("acme").await.unwrap().is_none(), "nothing is left of it");
    control.provision(&new(HomePlace::shared())).await.unwrap();
    let both =
        NewTenant::placed("both", "Both", HomePlace::database("far")).resides_in("eu").resides_in("us");
    control.provision(&both).await.unwrap();
}

#[tokio::test]
async fn a_tenant_is_not_moved_to_where_its_data_may_not_lie() {
    let db = two_regions().await;
    let control = db.control();
    let tenant = db.tenant("acme", Isolation::Shared).await;
    write_note(&db, &tenant, "here").await;
    let id = tenant.id();
    let far = HomePlace::database("far");
    control.set_residency(id, &["eu"]).await.unwrap();
    let error = control.move_tenant(id, &far, |_| ()).await.unwrap_err();
    let MoveError::Refused(MoveRefusal::Residency { region, allowed }) = &error else { panic!("{error}") };
    assert_eq!((region.as_str(), allowed.as_slice()), ("us", ["eu".to_owned()].as_slice()));
    assert!(control.open_move(id).await.unwrap().is_none(), "nothing was begun");
    control.move_tenant(id, &HomePlace::schema(), |_| ()).await.unwrap();
    control.finish_move(id, std::time::Duration::ZERO).await.unwrap();

    control.set_residency(id, &["eu", "us"]).await.unwrap();
    control.move_tenant(id, &far, |_| ()).await.unwrap();
    let moved = newest(&db, id).await;
    assert_eq!((moved.region(), moved.database_name()), ("us", "far"));
    assert_eq!(notes(&db, &moved).await, ["here"]);
    let error = control.set_residency(id, &["eu"]).await.unwrap_err();
    assert!(matches!(&error, ControlError::Residency { region, .. } if region == "us"), "{error}");
    control.set_residency(id, &[]).await.unwrap();
    let nobody = control.set_residency(TenantId::generate(), &["eu"]).await.unwrap_err();
    assert!(matches!(nobody, ControlError::UnknownTenant { .. }), "{nobody}");
}

/// Said while the move was under way: the last step is refused by the registry itself, and the move undone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_residency_that_is_said_during_a_move_undoes_it() {
    let db = Arc::new(two_regions().await);
    let tenant = db.tenant("acme", Isolation::Shared).await;
    write_note(&db, &tenant, "here").await;
    let id = tenant.id();
    let mut owner = PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap();
    // Holds the registry's row, so that the flip waits for what is said here.
    let mut said = owner.begin().await.unwrap();
    sqlx::query("update platform.tenants set residency = '{eu}' where id = $1")
        .bind(id.as_uuid())
        .execute(&mut *said)
        .await
        .unwrap();
    let moving = tokio::spawn({
        let db = Arc::clone(&db);
        async move { db.control().move_tenant(id, &HomePlace::database("far"), |_| ()).await }
    });
    let mut watcher = PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap();
    loop {
        let step: Option<String> = sqlx::query_scalar("select step from platform.tenant_moves")
            .fetch_optional(&mut watcher)
            .await
            .unwrap();
        if step.as_deref() == Some("verified") {
            break;
        }
        tokio::task::yield_now().await;
    }
    said.commit().await.unwrap();
    let error = moving.await.unwrap().unwrap_err();
    assert!(matches!(error, MoveError::RolledBack { .. }), "{error}");
    assert!(error.to_string().contains("tenant_resides_where_it_may"), "{error}");
    let after = newest(&db, id).await;
    assert_eq!((after.region(), after.database_name()), ("eu", "main"));
    write_note(&db, &after, "still here").await;
}

#[tokio::test]
async fn a_database_is_placed_in_a_region_that_is_known_and_takes_its_tenants_along() {
    let db = TestDatabase::with_databases(&[TENANCY, NOTES], &["far"]).await;
    let control = db.control();
    let here = db.tenant("here", Isolation::Shared).await;
    let far = db.tenant_at("far-away", HomePlace::database("far")).await;
    assert_eq!(
        (here.region(), far.region()),
        ("local", "far"),
        "as the program says, where the registry does not"
    );
    let error = control.place_database("main", "eu").await.unwrap_err();
    assert!(matches!(&error, ControlError::UnknownRegion { region } if region == "eu"), "{error}");
    let error = control.place_database("nowhere", "eu").await.unwrap_err();
    assert!(matches!(error, ControlError::UnknownDatabase(_)), "{error}");
    for (name, url) in [("EU", None), ("", None), ("eu", Some("eu.example.com")), ("eu", Some("https://"))] {
        let error = control.put_region(name, url).await.unwrap_err();
        assert!(
            matches!(error, ControlError::UnknownRegion { .. } | ControlError::InvalidPlace { .. }),
            "{name} {url:?}: {error}"
        );
    }
    control.put_region("eu", Some("https://old.example.com")).await.unwrap();
    control.put_region("eu", Some("https://eu.example.com")).await.unwrap();
    assert_eq!(control.place_database("main", "eu").await.unwrap(), 1);
    let after = newest(&db, here.id()).await;
    assert_eq!((after.region(), after.version()), ("eu", here.version() + 1));
    assert_eq!(newest(&db, far.id()).await.region(), "far");

    control.put_region("us", None).await.unwrap();
    control.set_residency(here.id(), &["eu"]).await.unwrap();
    let error = control.place_database("main", "us").await.unwrap_err();
    assert!(matches!(&error, ControlError::Residency { tenant, .. } if tenant == "here"), "{error}");
    assert_eq!(newest(&db, here.id()).await.region(), "eu");

    let says_otherwise = control.clone().region("far", "mars").unwrap();
    control.place_database("far", "us").await.unwrap();
    let new = NewTenant::placed("next", "Next", HomePlace::database("far"));
    let error = says_otherwise.provision(&new).await.unwrap_err();
    assert!(matches!(error, ControlError::RegionConflict { .. }), "{error}");
}

#[tokio::test]
async fn the_service_login_asks_for_a_region_by_its_name_and_lists_none() {
    let db = two_regions().await;
    let mut app = PgConnection::connect_with(&db.options(LocalRole::App).await).await.unwrap();
    let found: Vec<(String, Option<String>)> =
        sqlx::query_as("select * from platform.region_by_name('eu')").fetch_all(&mut app).await.unwrap();
    assert_eq!(found, [("eu".to_owned(), Some("https://eu.example.com".to_owned()))]);
    for table in ["regions", "database_regions"] {
        let sql = format!("select * from platform.{table}");
        let error = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut app).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().unwrap(), "42501", "{table}: {error}");
    }
}

#[tokio::test]
async fn raised_epochs_refuse_what_is_under_way_and_let_the_next_one_commit() {
    let db = two_regions().await;
    let tenants =
        [db.tenant("a", Isolation::Shared).await, db.tenant_at("b", HomePlace::database("far")).await];
    for tenant in tenants {
        let session = db.session(&tenant, Actor::system("test"));
        let mut tx = db.tenants().begin(&session).await.unwrap();
        sqlx::query("insert into notes (body) values ('lost')").execute(&mut *tx).await.unwrap();
        assert_eq!(db.control().raise_epochs(tenant.database_name()).await.unwrap(), 1);
        let error = tx.commit().await.unwrap_err();
        assert!(error.storage().is_moving(), "{error}");
        let after = newest(&db, tenant.id()).await;
        assert_eq!(after.epoch(), tenant.epoch() + 1);
        write_note(&db, &after, "kept").await;
        assert_eq!(notes(&db, &after).await, ["kept"]);
    }
    let error = db.control().raise_epochs("nowhere").await.unwrap_err();
    assert!(matches!(error, ControlError::UnknownDatabase(_)), "{error}");
}

#[tokio::test]
async fn what_begins_meanwhile_is_seen_before_epochs_are_raised() {
    let db = two_regions().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let options = db.options(LocalRole::Superuser).await;
    let mut begins = PgConnection::connect_with(&options).await.unwrap();
    let mut looks = PgConnection::connect_with(&options).await.unwrap();
    let mut import = begins.begin().await.unwrap();
    sqlx::query(
        "insert into platform.tenant_imports (id, tenant_id, from_tenant) values (gen_random_uuid(), $1, $1)",
    )
    .bind(tenant.id().as_uuid())
    .execute(&mut *import)
    .await
    .unwrap();
    let control = db.control().clone();
    let raising = tokio::spawn(async move { control.raise_epochs("main").await });
    let waits = "select exists (select from pg_locks where relation = 'platform.tenant_imports'::regclass and not granted)";
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut looks).await.unwrap() {
        assert!(!raising.is_finished(), "it does not wait for who has begun");
    }
    import.commit().await.unwrap();
    let error = raising.await.unwrap().unwrap_err();
    assert!(matches!(error, ControlError::Busy), "{error}");
    assert_eq!(newest(&db, tenant.id()).await.epoch(), tenant.epoch());
}

#[tokio::test]
async fn an_archive_says_where_its_data_may_lie_and_they_come_to_no_other_place() {
    let db = two_regions().await;
    let control = db.control();
    control
        .provision(&NewTenant::placed("acme", "Acme", HomePlace::shared()).resides_in("eu"))
        .await
        .unwrap();
    let acme = db.tenants().by_slug("acme").await.unwrap().unwrap();
    let (archive, _) = crate::archive::export(&db, acme.id()).await;
    let copy = async |place| {
        let options = ImportOptions::new().copy_named("copy").place(place);
        control.import_tenant(archive.as_slice(), &options, |_| ()).await
    };
    let error = copy(HomePlace::database("far")).await.unwrap_err();
    assert!(matches!(error, ImportError::Refused(ImportRefusal::Record { .. })), "{error}");
    assert!(error.to_string().contains("its data may lie in eu and nowhere else"), "{error}");
    copy(HomePlace::schema()).await.unwrap();
    let mut owner = PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap();
    let residency: Vec<Option<Vec<String>>> =
        sqlx::query_scalar("select residency from platform.tenants").fetch_all(&mut owner).await.unwrap();
    assert_eq!(residency, vec![Some(vec!["eu".to_owned()]); 2]);
}
