//! Stored schemas: what adopting one changes, what it refuses, and two programs during a rollout.

use std::time::Duration;

use formwork_authz::{
    AdoptError, Authz, Consistency, Filter, Object, Relationship, Schema, SchemaId, Source, Subject,
    WriteError, rel,
};
use formwork_tenancy::local_postgres::LocalRole;
use formwork_tenancy::testing::TestDatabase;
use formwork_tenancy::{Actor, HomePlace, Isolation, IsolationLevel, Tenant, TenantTx, Tenants, TxOptions};
use sqlx::{Connection as _, PgConnection};

const PEOPLE: &str = "definition user {} definition team { relation member: user | team#member }";
const DOCUMENTS: &str = "
    use expiration
    caveat in_team(team string, wanted string) { team == wanted }
    definition document {
        relation viewer: user | user:* | team#member | user with in_team | user with expiration
        relation guest: user
        permission view = viewer + guest
    }";
/// Without guests and without everyone.
const FEWER: &str = "
    use expiration
    caveat in_team(team string, wanted string) { team == wanted }
    definition document {
        relation viewer: user | team#member | user with in_team | user with expiration
        relation owner: user
        permission view = viewer + owner
    }";
const HOMES: [Isolation; 2] = [Isolation::Shared, Isolation::Schema];

struct World {
    db: TestDatabase,
    tenant: Tenant,
}

/// A program, with what it was compiled with.
fn program(documents: &str) -> Authz {
    let parts = [Source { name: "people", text: PEOPLE }, Source { name: "documents", text: documents }];
    Authz::new(Schema::compose(&parts).unwrap())
}

impl World {
    async fn new(isolation: Isolation) -> Self {
        let db = TestDatabase::new(&[formwork_migrations::TENANCY, formwork_migrations::AUTHZ]).await;
        let tenant = db.tenant("acme", isolation).await;
        Self { db, tenant }
    }

    async fn begin(&self) -> TenantTx {
        self.begin_for(&self.tenant).await
    }

    async fn begin_for(&self, tenant: &Tenant) -> TenantTx {
        self.db.tenants().begin(&self.db.session(tenant, Actor::system("test"))).await.unwrap()
    }

    async fn touch(&self, authz: &Authz, all: &[Relationship]) {
        let mut tx = self.begin().await;
        authz.touch_many(&mut tx, all).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn adopt(&self, authz: &Authz) {
        let mut tx = self.begin().await;
        authz.adopt_schema(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn versions(&self, authz: &Authz) -> Vec<(i32, SchemaId)> {
        let versions = authz.schema_versions(&mut self.begin().await).await.unwrap();
        versions.iter().map(|version| (version.version(), version.id())).collect()
    }
}

async fn views(authz: &Authz, tx: &mut TenantTx, user: &str) -> bool {
    let subject = Subject::new("user", user.to_owned());
    authz.check(tx, &subject, "view", &Object::new("document", 7)).await.unwrap().is_allowed()
}

#[tokio::test]
async fn modules_are_stored_as_one_text_by_its_content_once() {
    for isolation in HOMES {
        let world = World::new(isolation).await;
        let (old, new) = (program(DOCUMENTS), program(FEWER));
        let (first, second) = (old.schema().id().unwrap(), new.schema().id().unwrap());
        let mut tx = world.begin().await;
        assert!(old.newest_schema(&mut tx).await.unwrap().is_none());
        let plan = old.plan_schema(&mut tx).await.unwrap();
        assert!(plan.newest().is_none() && !plan.is_adopted() && plan.id() == first);
        assert!(plan.diff().added().iter().any(|item| item == "permission document#view"));
        assert!(old.schema_versions(&mut tx).await.unwrap().is_empty(), "a dry run stores nothing");
        old.adopt_schema(&mut tx).await.unwrap();
        tx.commit().await.unwrap();

        // Another node with the same modules, cut otherwise.
        let same = Authz::new(Schema::parse(&old.schema().to_native().unwrap()).unwrap());
        let mut tx = world.begin().await;
        let plan = same.adopt_schema(&mut tx).await.unwrap();
        assert!(plan.is_adopted() && plan.diff().is_empty());
        let stored = same.newest_schema(&mut tx).await.unwrap().unwrap();
        assert_eq!(stored.schema(), &**old.schema());
        tx.commit().await.unwrap();
        assert_eq!(world.versions(&old).await, [(1, first)]);

        world.adopt(&new).await;
        world.adopt(&old).await;
        assert_eq!(world.versions(&old).await, [(3, first), (2, second), (1, first)]);
        let mut tx = world.begin().await;
        let texts: i64 =
            sqlx::query_scalar("select count(*) from permission_schemas").fetch_one(&mut *tx).await.unwrap();
        assert_eq!(texts, 2);
        let older = old.stored_schema(&mut tx, second).await.unwrap().unwrap();
        assert_eq!((older.version().version(), older.schema()), (2, &**new.schema()));
        drop(tx);

        let other = world.db.tenant("other", isolation).await;
        assert!(old.schema_versions(&mut world.begin_for(&other).await).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_schema_that_would_leave_relationships_behind_is_refused_with_them() {
    for isolation in HOMES {
        let world = World::new(isolation).await;
        let (old, new) = (program(DOCUMENTS), program(FEWER));
        world.adopt(&old).await;
        let mut stored: Vec<Relationship> = (0..5).map(|n| rel!("document:{n}#guest@user:anna")).collect();
        stored.push(rel!("document:7#viewer@user:*"));
        stored.push(rel!("document:7#viewer@user:bob"));
        world.touch(&old, &stored).await;

        let mut tx = world.begin().await;
        let dry = new.plan_schema(&mut tx).await.unwrap();
        let AdoptError::Orphans(refused) = new.adopt_schema(&mut tx).await.unwrap_err() else { panic!() };
        assert_eq!(*refused, dry);
        let found: Vec<_> =
            refused.orphans().iter().map(|orphans| (orphans.place(), orphans.count())).collect();
        assert_eq!(found, [("document#guest@user", 5), ("document#viewer@user:*", 1)]);
        assert_eq!(refused.orphans()[0].examples(), &stored[..3]);
        let shown = refused.to_string();
        assert!(
            shown.contains("- relation document#guest\n") && shown.contains("+ relation document#owner\n")
        );
        assert!(shown.contains("~ permission document#view: viewer + guest, now viewer + owner\n"));
        assert!(
            shown.ends_with("! 1 of `document#viewer@user:*`, as `document:7#viewer@user:*`\n"),
            "{shown}"
        );

        // The transaction goes on, and takes them away.
        old.delete_matching(&mut tx, &Filter::of_type("document").relation("guest")).await.unwrap();
        old.delete(&mut tx, &rel!("document:7#viewer@user:*")).await.unwrap();
        let plan = new.adopt_schema(&mut tx).await.unwrap();
        assert_eq!((plan.newest().unwrap().version(), plan.orphans().len()), (1, 0));
        tx.commit().await.unwrap();
        assert_eq!(world.versions(&new).await.len(), 2);
    }
}

#[tokio::test]
async fn what_is_stored_for_a_condition_of_other_parameters_is_left_behind_too() {
    let world = World::new(Isolation::Shared).await;
    let (old, new) = (program(DOCUMENTS), program(&DOCUMENTS.replace("team string", "team int")));
    let in_team = |team: &str| {
        let given = serde_json::Map::from_iter([("team".to_owned(), serde_json::json!(team))]);
        rel!("document:7#viewer@user:anna").with_condition("in_team", given)
    };
    world.touch(&old, &[in_team("steel"), rel!("document:8#viewer@user:bob")]).await;
    let mut tx = world.begin().await;
    let AdoptError::Orphans(refused) = new.adopt_schema(&mut tx).await.unwrap_err() else { panic!() };
    let [orphans] = refused.orphans() else { panic!("{refused}") };
    assert_eq!((orphans.place(), orphans.count()), ("document#viewer@user with in_team", 1));
    assert!(orphans.to_string().contains("team"), "{orphans}");
    // A number as text is a number.
    old.touch(&mut tx, &in_team("12")).await.unwrap();
    new.adopt_schema(&mut tx).await.unwrap();
}

/// An old program and a new one over the same relationships.
#[tokio::test]
async fn during_a_rollout_both_programs_answer_and_nothing_is_left_behind() {
    for isolation in HOMES {
        let world = World::new(isolation).await;
        let (old, new) = (program(DOCUMENTS), program(FEWER));
        world.adopt(&old).await;
        world.touch(&old, &[rel!("document:7#viewer@user:anna")]).await;
        world.adopt(&new).await;
        world.touch(&new, &[rel!("document:7#owner@user:olga")]).await;
        for (authz, sees_olga) in [(&old, false), (&new, true)] {
            let mut tx = world.begin().await;
            assert!(views(authz, &mut tx, "anna").await);
            assert_eq!(views(authz, &mut tx, "olga").await, sees_olga);
        }
        // The old one writes what both know, and nothing else.
        world
            .touch(&old, &[rel!("document:7#viewer@team:eng#member"), rel!("team:eng#member@user:bob")])
            .await;
        assert!(views(&new, &mut world.begin().await, "bob").await);
        let mut tx = world.begin().await;
        let refused = old.touch(&mut tx, &rel!("document:7#guest@user:eve")).await.unwrap_err();
        let WriteError::NotInForce { place } = refused else { panic!("{refused:?}") };
        assert_eq!(place, "document#guest@user");
        drop(tx);
        // Nor does SQL that asks no schema, by INSERT or UPDATE.
        for text in [
            "insert into permission_tuples (namespace, object_id, relation, subject_ns, subject_id)
             values ('document', '7', 'viewer', 'user', '*')",
            "update permission_tuples set relation = 'guest' where namespace = 'document'",
        ] {
            let mut tx = world.begin().await;
            let refused = sqlx::query(text).execute(&mut *tx).await.unwrap_err();
            assert!(refused.to_string().contains("no place for"), "{refused}");
        }
        // Another tenant has adopted nothing, and is held to nothing.
        let other = world.db.tenant("other", isolation).await;
        let mut tx = world.begin_for(&other).await;
        old.touch(&mut tx, &rel!("document:7#guest@user:eve")).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// Whoever comes first: no relationship is stored that the adopted schema has no place for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_and_adoptions_wait_for_each_other() {
    let world = World::new(Isolation::Shared).await;
    let (old, new) = (program(DOCUMENTS), program(FEWER));
    let mut writing = world.begin().await;
    old.touch(&mut writing, &rel!("document:7#guest@user:anna")).await.unwrap();
    let mut adopting = world.begin().await;
    let adoption = tokio::spawn(async move {
        let done = new.adopt_schema(&mut adopting).await;
        (new, adopting, done)
    });
    wait_for_a_lock(&world.db).await;
    writing.commit().await.unwrap();
    let (new, adopting, done) = adoption.await.unwrap();
    assert!(matches!(done, Err(AdoptError::Orphans(_))), "{done:?}");
    adopting.rollback().await.unwrap();

    let mut tx = world.begin().await;
    old.delete(&mut tx, &rel!("document:7#guest@user:anna")).await.unwrap();
    tx.commit().await.unwrap();
    let mut adopting = world.begin().await;
    new.adopt_schema(&mut adopting).await.unwrap();
    let mut writing = world.begin().await;
    let write =
        tokio::spawn(async move { old.touch(&mut writing, &rel!("document:7#guest@user:anna")).await });
    wait_for_a_lock(&world.db).await;
    adopting.commit().await.unwrap();
    assert!(matches!(write.await.unwrap(), Err(WriteError::NotInForce { .. })));
}

async fn wait_for_a_lock(db: &TestDatabase) {
    let options = db.options(LocalRole::Superuser).await;
    let mut root = PgConnection::connect_with(&options).await.unwrap();
    let waiting = "select exists (select from pg_locks where locktype = 'advisory' and not granted
                     and database = (select oid from pg_database where datname = current_database()))";
    while !sqlx::query_scalar::<_, bool>(waiting).fetch_one(&mut root).await.unwrap() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_watch_shows_the_adoption_and_nobody_takes_it_for_a_relationship() {
    let world = World::new(Isolation::Shared).await;
    let (old, new) = (program(DOCUMENTS), program(FEWER));
    let session = world.db.session(&world.tenant, Actor::system("watcher"));
    let mut watch = old.watch(world.db.tenants(), &session).pause(Duration::from_millis(1));
    watch.look().await.unwrap();
    let relay = world.db.relay().await;
    let mut following = old.follow("main", &relay);
    following.step().await.unwrap();
    let recent = old.with_consistency(Consistency::MinimizeLatency(Duration::from_secs(3600)));
    recent.view(world.db.tenants(), &session).await.unwrap();

    world.adopt(&old).await;
    let seen = watch.next().await.unwrap();
    assert!(seen.changes().is_empty());
    assert_eq!(seen.schemas().iter().map(|one| one.schema).collect::<Vec<_>>(), [old.schema().id().unwrap()]);
    world.touch(&old, &[rel!("document:7#viewer@user:anna")]).await;
    let mut tx = world.begin().await;
    new.adopt_schema(&mut tx).await.unwrap();
    let token = tx.commit().await.unwrap();
    world.touch(&old, &[rel!("document:8#viewer@user:anna")]).await;
    let seen = watch.next().await.unwrap();
    let [first, second] = seen.changes() else { panic!("{seen:?}") };
    let [adopted] = seen.schemas() else { panic!("{seen:?}") };
    assert_eq!(adopted.schema, new.schema().id().unwrap());
    assert!(first.id < adopted.id && adopted.id < second.id, "{seen:?}");

    following.step().await.unwrap();
    let metrics = old.metrics();
    assert_eq!((metrics.followed, metrics.loaded), (2, 1));
    let view = recent.view(world.db.tenants(), &session).await.unwrap();
    assert_eq!((view.len(), view.ignored(), view.is_from_memory()), (2, 0, true));
    let exact = old.with_consistency(Consistency::Exact(token));
    assert_eq!(exact.view(world.db.tenants(), &session).await.unwrap().len(), 1);
    // A graph that catches up by itself.
    assert_eq!(old.graph(&mut world.begin().await).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_stored_cannot_be_changed() {
    let world = World::new(Isolation::Shared).await;
    let authz = program(DOCUMENTS);
    world.adopt(&authz).await;
    for text in [
        "update permission_schemas set source = 'definition user {}'",
        "update permission_schema_versions set version = 9",
        "delete from permission_schema_versions",
        "delete from permission_schemas",
    ] {
        let mut tx = world.begin().await;
        let refused = sqlx::query(text).execute(&mut *tx).await.unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{refused}");
    }
    let mut tx = world.begin().await;
    let forged = "insert into permission_schemas (digest, language, source, places)
                  select digest, language, source || ' ', places from permission_schemas
                  on conflict do nothing";
    let refused = sqlx::query(forged).execute(&mut *tx).await.unwrap_err();
    assert!(refused.to_string().contains("check constraint"), "{refused}");
    let options = world.db.options(LocalRole::Superuser).await;
    let mut root = PgConnection::connect_with(&options).await.unwrap();
    let refused =
        sqlx::query("update shared.permission_schemas set stored_at = now()").execute(&mut root).await;
    assert!(refused.unwrap_err().to_string().contains("does not change"));
}

#[tokio::test]
async fn an_older_state_adopts_nothing() {
    let world = World::new(Isolation::Shared).await;
    let options = TxOptions::new().isolation_level(IsolationLevel::RepeatableRead);
    let session = world.db.session(&world.tenant, Actor::system("test"));
    let mut tx = world.db.tenants().begin_with(&session, options).await.unwrap();
    let refused = program(DOCUMENTS).adopt_schema(&mut tx).await.unwrap_err();
    assert!(matches!(refused, AdoptError::Isolation));
}

#[tokio::test]
async fn openfga_models_are_stored_in_their_own_language() {
    let world = World::new(Isolation::Shared).await;
    let model = "
model
  schema 1.1
type user
type group
  relations
    define member: [user, group#member]
type document
  relations
    define owner: [user]
    define viewer: [user, user:*, group#member] or owner
";
    let authz = Authz::new(Schema::parse_openfga(model).unwrap());
    world.adopt(&authz).await;
    let mut tx = world.begin().await;
    let stored = authz.newest_schema(&mut tx).await.unwrap().unwrap();
    assert_eq!(stored.schema(), &**authz.schema());
    let language: String =
        sqlx::query_scalar("select language from permission_schemas").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(language, "openfga");
    // Everyone and usersets have their places.
    let all = [
        rel!("document:7#viewer@user:*"),
        rel!("document:7#viewer@group:eng#member"),
        rel!("document:7#owner@user:a"),
    ];
    authz.touch_many(&mut tx, &all).await.unwrap();
    assert!(authz.adopt_schema(&mut tx).await.unwrap().is_adopted());
}

/// They belong to the tenant's relationships, wherever these go.
#[tokio::test]
async fn schemas_move_with_their_tenant() {
    let sets = [formwork_migrations::TENANCY, formwork_migrations::AUTHZ];
    let db = TestDatabase::with_databases(&sets, &["eu"]).await;
    let tenant = db.tenant("acme", Isolation::Shared).await;
    let world = World { db, tenant };
    let (old, new) = (program(DOCUMENTS), program(FEWER));
    world.adopt(&old).await;
    world.adopt(&new).await;
    world.touch(&old, &[rel!("document:7#viewer@user:anna")]).await;
    let versions = world.versions(&new).await;
    let place = HomePlace::database("eu");
    world.db.control().move_tenant(world.tenant.id(), &place, |_| ()).await.unwrap();
    let moved = world.db.connect(Tenants::builder()).await;
    let tenant = moved.by_slug("acme").await.unwrap().unwrap();
    let session = world.db.session(&tenant, Actor::system("test"));
    let mut tx = moved.begin(&session).await.unwrap();
    let there = new.schema_versions(&mut tx).await.unwrap();
    assert_eq!(there.iter().map(|one| (one.version(), one.id())).collect::<Vec<_>>(), versions, "{place}");
    assert!(new.plan_schema(&mut tx).await.unwrap().is_adopted());
    assert!(views(&new, &mut tx, "anna").await);
    let refused = old.touch(&mut tx, &rel!("document:7#guest@user:eve")).await.unwrap_err();
    assert!(matches!(refused, WriteError::NotInForce { .. }), "{place}: {refused}");
}
