//! Relationships in Postgres: transactions, tenants, and what a graph in memory may know of them.

use formwork_authz::{
    Authz, CheckError, Decision, Filter, Object, Relationship, RequireError, Schema, Subject, WriteError, rel,
};
use formwork_tenancy::testing::TestDatabase;
use formwork_tenancy::{Actor, Isolation, Prune, StreamKey, StreamTable, Tenant, TenantTx, Tenants};
use std::time::Duration;
use uuid::Uuid;

const SCHEMA: &str = "
    definition user {}
    definition team {
        relation member: user | team#member
    }
    definition rfi {
        relation viewer: user | user:* | team#member
        relation assignee: user
        relation barred: user
        permission edit = assignee
        permission view = viewer + edit - barred
    }";

/// A database with a tenant, and a service's handle.
struct World {
    db: TestDatabase,
    tenant: Tenant,
    authz: Authz,
}

const HOMES: [Isolation; 2] = [Isolation::Shared, Isolation::Schema];

fn authz() -> Authz {
    Authz::new(Schema::parse(SCHEMA).unwrap())
}

impl World {
    async fn new(isolation: Isolation) -> Self {
        let db = TestDatabase::new(&[formwork_migrations::TENANCY, formwork_migrations::AUTHZ]).await;
        let tenant = db.tenant("acme", isolation).await;
        Self { db, tenant, authz: authz() }
    }

    async fn begin(&self) -> TenantTx {
        self.begin_as(self.db.tenants(), &self.tenant).await
    }

    async fn begin_as(&self, tenants: &Tenants, tenant: &Tenant) -> TenantTx {
        tenants.begin(&self.db.session(tenant, Actor::system("test"))).await.unwrap()
    }

    async fn touch(&self, relationships: &[Relationship]) {
        let mut tx = self.begin().await;
        self.authz.touch_many(&mut tx, relationships).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// In a transaction of its own.
    async fn views(&self, user: &str) -> bool {
        let mut tx = self.begin().await;
        views(&self.authz, &mut tx, user).await
    }
}

async fn views(authz: &Authz, tx: &mut TenantTx, user: &str) -> bool {
    let subject = Subject::new("user", user.to_owned());
    authz.check(tx, &subject, "view", &Object::new("rfi", 7)).await.unwrap() == Decision::Allowed
}

async fn changes(tx: &mut TenantTx) -> i64 {
    sqlx::query_scalar("select count(*) from platform.permission_changes").fetch_one(&mut **tx).await.unwrap()
}

#[tokio::test]
async fn a_transaction_sees_its_own_writes_and_a_rollback_leaves_nothing() {
    for isolation in HOMES {
        let world = World::new(isolation).await;
        for checked_before in [true, false] {
            let mut tx = world.begin().await;
            if checked_before {
                assert!(!views(&world.authz, &mut tx, "anna").await);
            }
            world.authz.touch(&mut tx, &rel!("rfi:7#viewer@team:eng#member")).await.unwrap();
            world.authz.touch(&mut tx, &rel!("team:eng#member@user:anna")).await.unwrap();
            assert!(views(&world.authz, &mut tx, "anna").await);
            world.authz.delete(&mut tx, &rel!("team:eng#member@user:anna")).await.unwrap();
            assert!(!views(&world.authz, &mut tx, "anna").await);
            world.authz.touch(&mut tx, &rel!("team:eng#member@user:anna")).await.unwrap();
            assert!(!world.views("anna").await, "another transaction sees what is not committed");
            tx.rollback().await.unwrap();
            assert!(!world.views("anna").await);
        }
    }
}

#[tokio::test]
async fn what_another_process_commits_is_seen_by_the_next_transaction() {
    for isolation in HOMES {
        let world = World::new(isolation).await;
        let elsewhere = authz();
        let tenants = world.db.connect(Tenants::builder()).await;
        assert!(!world.views("anna").await);
        let mut before = world.begin().await;
        assert!(!views(&world.authz, &mut before, "anna").await);

        let mut tx = world.begin_as(&tenants, &world.tenant).await;
        elsewhere.touch(&mut tx, &rel!("rfi:7#viewer@user:anna")).await.unwrap();
        tx.commit().await.unwrap();
        assert!(world.views("anna").await);
        // One transaction, one state, until it asks for another.
        assert!(!views(&world.authz, &mut before, "anna").await);
        world.authz.resync(&mut before).await.unwrap();
        assert!(views(&world.authz, &mut before, "anna").await);

        let mut tx = world.begin_as(&tenants, &world.tenant).await;
        elsewhere.delete(&mut tx, &rel!("rfi:7#viewer@user:anna")).await.unwrap();
        tx.commit().await.unwrap();
        assert!(!world.views("anna").await);
    }
}

#[tokio::test]
async fn a_lower_id_that_commits_later_is_not_missed() {
    for isolation in HOMES {
        let world = World::new(isolation).await;
        assert!(!world.views("anna").await);
        let mut early = world.begin().await;
        world.authz.touch(&mut early, &rel!("rfi:7#viewer@user:early")).await.unwrap();
        let mut late = world.begin().await;
        world.authz.touch(&mut late, &rel!("rfi:7#viewer@user:late")).await.unwrap();
        late.commit().await.unwrap();
        assert!(world.views("late").await);
        assert!(!world.views("early").await);
        early.commit().await.unwrap();
        assert!(world.views("early").await);
        assert!(world.views("late").await);
    }
}

#[tokio::test]
async fn a_state_that_a_writer_publishes_does_not_hide_what_it_commits_later() {
    for isolation in HOMES {
        let world = World::new(isolation).await;
        world.touch(&[rel!("rfi:7#viewer@user:first")]).await;
        assert!(world.views("first").await);
        // The writer has an id of its own before it asks, and others have come and gone since.
        let mut writer = world.begin().await;
        sqlx::query("select pg_current_xact_id()").execute(&mut *writer).await.unwrap();
        world.touch(&[rel!("rfi:7#viewer@user:second")]).await;
        assert!(views(&world.authz, &mut writer, "second").await);
        // Nobody asks before the commit: who did would publish a state that knows of the writer.
        world.authz.touch(&mut writer, &rel!("rfi:7#viewer@user:third")).await.unwrap();
        writer.commit().await.unwrap();
        assert!(world.views("third").await);
    }
}

#[tokio::test]
async fn a_graph_with_own_writes_is_never_shared() {
    for isolation in HOMES {
        let world = World::new(isolation).await;
        world.touch(&[rel!("rfi:7#viewer@user:committed")]).await;
        // Nothing is in memory yet, so the writer loads everything, its own row among it.
        let mut writer = world.begin().await;
        world.authz.touch(&mut writer, &rel!("rfi:7#viewer@user:anna")).await.unwrap();
        assert!(views(&world.authz, &mut writer, "anna").await);
        assert!(views(&world.authz, &mut writer, "committed").await);
        assert!(!world.views("anna").await);
        assert!(world.views("committed").await);
        // The same once a graph is there.
        let mut second = world.begin().await;
        world.authz.touch(&mut second, &rel!("rfi:7#viewer@user:bob")).await.unwrap();
        assert!(views(&world.authz, &mut second, "bob").await);
        assert!(!world.views("bob").await);
        writer.rollback().await.unwrap();
        second.rollback().await.unwrap();
        assert!(!world.views("anna").await && !world.views("bob").await);
    }
}

#[tokio::test]
async fn tenants_of_one_database_do_not_meet() {
    let world = World::new(Isolation::Shared).await;
    let others = [
        world.db.tenant("other", Isolation::Shared).await,
        world.db.tenant("apart", Isolation::Schema).await,
    ];
    world.touch(&[rel!("rfi:7#viewer@user:anna")]).await;
    for other in &others {
        let mut tx = world.begin_as(world.db.tenants(), other).await;
        assert!(!views(&world.authz, &mut tx, "anna").await);
        assert_eq!(changes(&mut tx).await, 0);
        // The same relationship is another one here.
        world.authz.create(&mut tx, &rel!("rfi:7#viewer@user:anna")).await.unwrap();
        world.authz.create(&mut tx, &rel!("rfi:7#viewer@user:bob")).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = world.begin_as(world.db.tenants(), other).await;
        assert!(views(&world.authz, &mut tx, "bob").await);
    }
    assert!(!world.views("bob").await);
    let mut tx = world.begin().await;
    world.authz.delete(&mut tx, &rel!("rfi:7#viewer@user:anna")).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!world.views("anna").await);
    for other in &others {
        let mut tx = world.begin_as(world.db.tenants(), other).await;
        assert!(views(&world.authz, &mut tx, "anna").await);
    }
}

#[tokio::test]
async fn a_change_by_sql_counts_like_any_other() {
    for isolation in HOMES {
        let world = World::new(isolation).await;
        let mut tx = world.begin().await;
        assert!(!views(&world.authz, &mut tx, "anna").await);
        sqlx::query(
            "insert into permission_tuples (namespace, object_id, relation, subject_ns, subject_id)
             values ('rfi', '7', 'viewer', 'user', 'anna'), ('rfi', '7', 'no_such', 'user', 'anna')",
        )
        .execute(&mut *tx)
        .await
        .unwrap();
        world.authz.resync(&mut tx).await.unwrap();
        assert!(views(&world.authz, &mut tx, "anna").await);
        assert!(!world.views("anna").await);
        tx.commit().await.unwrap();
        assert!(world.views("anna").await);

        // An update takes one away and adds another; what it leaves as it is makes no entry.
        let mut tx = world.begin().await;
        let before = changes(&mut tx).await;
        sqlx::query("update permission_tuples set subject_id = 'bob' where relation = 'viewer'")
            .execute(&mut *tx)
            .await
            .unwrap();
        assert_eq!(changes(&mut tx).await, before + 2);
        sqlx::query("update permission_tuples set created_at = now()").execute(&mut *tx).await.unwrap();
        assert_eq!(changes(&mut tx).await, before + 2);
        tx.commit().await.unwrap();
        assert!(world.views("bob").await && !world.views("anna").await);
    }
}

#[tokio::test]
async fn touching_again_changes_nothing_and_creating_again_is_an_error() {
    for isolation in HOMES {
        let world = World::new(isolation).await;
        let (plain, userset) = (rel!("rfi:7#viewer@user:anna"), rel!("rfi:7#viewer@team:eng#member"));
        world.touch(&[plain.clone(), userset.clone(), plain.clone()]).await;
        let mut tx = world.begin().await;
        let before = changes(&mut tx).await;
        assert_eq!(before, 2);
        world.authz.touch_many(&mut tx, &[plain.clone(), userset.clone()]).await.unwrap();
        world.authz.touch(&mut tx, &plain).await.unwrap();
        assert_eq!(changes(&mut tx).await, before);
        for known in [&plain, &userset] {
            let error = world.authz.create(&mut tx, known).await.unwrap_err();
            assert!(matches!(error, WriteError::Exists(_)));
            assert_eq!(error.to_string(), format!("`{known}` exists already"));
        }
        // The transaction can go on.
        world.authz.create(&mut tx, &rel!("rfi:7#viewer@user:bob")).await.unwrap();
        world.authz.delete_many(&mut tx, &[plain.clone(), userset, plain]).await.unwrap();
        assert_eq!(changes(&mut tx).await, before + 3);
        tx.commit().await.unwrap();
        assert!(world.views("bob").await && !world.views("anna").await);
    }
}

#[tokio::test]
async fn a_relationship_without_a_place_is_not_written() {
    let world = World::new(Isolation::Shared).await;
    let mut tx = world.begin().await;
    for (text, message) in [
        ("rif:7#viewer@user:a", "unknown type `rif`, did you mean `rfi`?"),
        ("rfi:7#viewr@user:a", "`rfi` has no relation or permission `viewr`, did you mean `viewer`?"),
        ("rfi:7#view@user:a", "`rfi#view` is a permission, which is computed: write one of its relations"),
        ("rfi:7#viewer@usr:a", "unknown type `usr`, did you mean `user`?"),
        ("rfi:7#assignee@team:eng#member", "`rfi#assignee` holds `user` only"),
        ("rfi:7#assignee@user:*", "`rfi#assignee` holds `user` only"),
        ("rfi:7#viewer@team:eng", "`rfi#viewer` holds `user`, `user:*`, `team#member` only"),
        (
            "rfi:7#viewer@team:eng#membr",
            "`team` has no relation or permission `membr`, did you mean `member`?",
        ),
    ] {
        let relationship: Relationship = text.parse().unwrap();
        let touched =
            world.authz.touch_many(&mut tx, &[rel!("rfi:7#viewer@user:x"), relationship.clone()]).await;
        assert_eq!(touched.unwrap_err().to_string(), format!("cannot store `{text}`: {message}"));
        assert!(world.authz.delete(&mut tx, &relationship).await.is_err());
    }
    let spaced = "an na";
    let error = world.authz.touch(&mut tx, &rel!("rfi:7#viewer@user:{spaced}")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`rfi:7#viewer@user:an na`: the subject id cannot contain ` `, at column 21"
    );
    assert_eq!(changes(&mut tx).await, 0);
}

#[tokio::test]
async fn a_grant_is_evidence_and_a_denial_says_what_was_asked() {
    let world = World::new(Isolation::Schema).await;
    let bob = Uuid::now_v7();
    world.touch(&[rel!("rfi:7#viewer@team:eng#member"), rel!("team:eng#member@user:{bob}")]).await;
    let actor = Actor::user(bob);
    let mut tx = world.begin().await;
    let rfi = Object::new("rfi", 7);
    let grant = world.authz.require(&mut tx, &actor, "view", &rfi).await.unwrap();
    assert_eq!(grant.subject(), &Subject::new("user", bob));
    assert_eq!((grant.permission(), grant.object()), ("view", &rfi));
    assert_eq!(
        grant.relationships(),
        [rel!("rfi:7#viewer@team:eng#member"), rel!("team:eng#member@user:{bob}")]
    );
    let evidence = grant.evidence();
    assert_eq!(evidence.id(), grant.id());
    assert_eq!(
        evidence.proof(),
        &serde_json::json!({
            "subject": format!("user:{bob}"),
            "permission": "view",
            "object": "rfi:7",
            "relationships": ["rfi:7#viewer@team:eng#member", format!("team:eng#member@user:{bob}")],
        })
    );
    let denied = world.authz.require(&mut tx, &actor, "edit", &rfi).await.unwrap_err();
    assert_eq!(denied.to_string(), format!("`user:{bob}` does not have `edit` on `rfi:7`"));
    assert!(matches!(denied, RequireError::Denied(_)));
    let undecided = world.authz.require(&mut tx, &actor, "edti", &rfi).await.unwrap_err();
    assert!(matches!(undecided, RequireError::Undecided(CheckError::UnknownPermission(_))));
    assert_eq!(undecided.to_string(), "`rfi` has no relation or permission `edti`, did you mean `edit`?");
}

#[tokio::test]
async fn lists_and_reads_are_complete() {
    let world = World::new(Isolation::Shared).await;
    let mut facts: Vec<Relationship> = (0..300).map(|i| rel!("rfi:{i}#viewer@team:eng#member")).collect();
    facts.extend([
        rel!("team:eng#member@user:anna"),
        rel!("rfi:9#barred@user:anna"),
        rel!("rfi:x#viewer@user:*"),
    ]);
    world.touch(&facts).await;
    let mut tx = world.begin().await;
    let anna = Subject::new("user", "anna");
    let listed = world.authz.lookup_objects(&mut tx, &anna, "view", "rfi").await.unwrap();
    assert_eq!(listed.len(), 300);
    assert!(!listed.contains(&Object::new("rfi", 9)) && listed.contains(&Object::new("rfi", "x")));
    let asked = [Object::new("rfi", 8), Object::new("rfi", 9), Object::new("rfi", "new")];
    let decisions = world.authz.check_many(&mut tx, &anna, "view", &asked).await.unwrap();
    assert_eq!(decisions, [Decision::Allowed, Decision::Denied, Decision::Denied]);
    let read = world.authz.read(&mut tx, &Filter::of_object(&Object::new("rfi", 9))).await.unwrap();
    assert_eq!(read, [rel!("rfi:9#barred@user:anna"), rel!("rfi:9#viewer@team:eng#member")]);
    let read = world
        .authz
        .read(&mut tx, &Filter::of_subject(&Subject::userset("team", "eng", "member")))
        .await
        .unwrap();
    assert_eq!(read.len(), 300);
    let read = world.authz.read(&mut tx, &Filter::of_subject(&anna).relation("barred")).await.unwrap();
    assert_eq!(read, [rel!("rfi:9#barred@user:anna")]);

    world.authz.delete_object(&mut tx, &Object::new("team", "eng")).await.unwrap();
    let listed = world.authz.lookup_objects(&mut tx, &anna, "view", "rfi").await.unwrap();
    assert_eq!(listed, [Object::new("rfi", "x")]);
    assert_eq!(
        sqlx::query_scalar::<_, i64>("select count(*) from permission_tuples")
            .fetch_one(&mut *tx)
            .await
            .unwrap(),
        2
    );
}

#[tokio::test]
async fn many_changes_are_caught_up_or_loaded_again() {
    let world = World::new(Isolation::Shared).await;
    assert!(!world.views("anna").await);
    let many: Vec<Relationship> = (0..25_000).map(|i| rel!("rfi:{i}#viewer@user:u{i}")).collect();
    world.touch(&many).await;
    assert!(world.views("u7").await);
    let mut tx = world.begin().await;
    world.authz.delete_many(&mut tx, &many).await.unwrap();
    tx.commit().await.unwrap();
    world.touch(&many).await;
    let mut tx = world.begin().await;
    world.authz.delete_many(&mut tx, &many).await.unwrap();
    world.authz.touch(&mut tx, &rel!("rfi:7#viewer@user:anna")).await.unwrap();
    assert!(views(&world.authz, &mut tx, "anna").await);
    assert!(!views(&world.authz, &mut tx, "u7").await);
    tx.commit().await.unwrap();
    assert!(world.views("anna").await && !world.views("u7").await);
}

#[tokio::test]
async fn writers_and_readers_at_once_agree_in_the_end() {
    let world = World::new(Isolation::Shared).await;
    let (authz, tenants) = (&world.authz, world.db.tenants());
    let session = &world.db.session(&world.tenant, Actor::system("test"));
    let writer = |n: u32| async move {
        for round in 0..25_u32 {
            let mut tx = tenants.begin(session).await.unwrap();
            let user = n * 100 + round;
            authz.touch(&mut tx, &rel!("rfi:7#viewer@user:{user}")).await.unwrap();
            // What is seen in between changes nothing.
            let subject = Subject::new("user", user);
            let view = authz.check(&mut tx, &subject, "view", &Object::new("rfi", 7)).await.unwrap();
            assert_eq!(view, Decision::Allowed);
            if round % 3 == 0 { tx.rollback().await.unwrap() } else { drop(tx.commit().await.unwrap()) }
        }
    };
    futures::future::join_all((0..6).map(writer)).await;
    let mut tx = world.begin().await;
    for n in 0..6_u32 {
        for round in 0..25 {
            let user = (n * 100 + round).to_string();
            assert_eq!(views(&world.authz, &mut tx, &user).await, round % 3 != 0, "{user}");
        }
    }
    let fresh = authz_graph_len(&world).await;
    assert_eq!(fresh, 6 * 16);
}

/// How many tuples a handle sees that knows nothing yet.
async fn authz_graph_len(world: &World) -> usize {
    let mut tx = world.begin().await;
    world.authz.read(&mut tx, &Filter::of_object(&Object::new("rfi", 7))).await.unwrap().len()
}

#[tokio::test]
async fn the_log_and_the_tuples_are_guarded() {
    let world = World::new(Isolation::Shared).await;
    world.touch(&[rel!("rfi:7#viewer@user:anna")]).await;
    for text in [
        "truncate permission_tuples",
        "update platform.permission_changes set op = 'delete'",
        "delete from platform.permission_changes",
        "alter table permission_tuples disable trigger log_insert",
        "insert into permission_tuples (tenant_id, namespace, object_id, relation, subject_ns, subject_id)
         values (gen_random_uuid(), 'rfi', '7', 'viewer', 'user', 'eve')",
    ] {
        let mut tx = world.begin().await;
        assert!(sqlx::query(sqlx::AssertSqlSafe(text)).execute(&mut *tx).await.is_err(), "{text}");
    }
}

#[tokio::test]
async fn a_savepoint_that_fails_takes_its_permissions_back() {
    for isolation in HOMES {
        let world = World::new(isolation).await;
        for checked_before in [true, false] {
            let mut tx = world.begin().await;
            if checked_before {
                assert!(!views(&world.authz, &mut tx, "anna").await);
            }
            let authz = world.authz.clone();
            let failed: Result<(), &str> = tx
                .savepoint(|tx| {
                    Box::pin(async move {
                        authz.touch(tx, &rel!("rfi:7#viewer@user:anna")).await.unwrap();
                        assert!(views(&authz, tx, "anna").await);
                        Err("undo this")
                    })
                })
                .await
                .unwrap();
            assert_eq!(failed, Err("undo this"));
            assert!(!views(&world.authz, &mut tx, "anna").await);
            tx.commit().await.unwrap();
            assert!(!world.views("anna").await);
        }
    }
}

/// A graph in memory that stands where the log has been pruned is loaded anew.
#[tokio::test]
async fn a_revocation_is_seen_after_its_change_was_pruned() {
    const CHANGES: StreamTable =
        StreamTable::new("platform.permission_changes", StreamKey::Int, &["tenant_id", "id"]);
    let world = World::new(Isolation::Shared).await;
    world.touch(&[rel!("rfi:7#viewer@user:anna")]).await;
    assert!(world.views("anna").await);

    let elsewhere = authz();
    let mut tx = world.begin().await;
    elsewhere.delete(&mut tx, &rel!("rfi:7#viewer@user:anna")).await.unwrap();
    tx.commit().await.unwrap();
    world.db.older_transactions_end().await;
    let prune = Prune::new(CHANGES, Duration::ZERO).unread_after(Duration::ZERO);
    let pruned = world.db.control().prune_stream(&prune).await.unwrap();
    assert!(pruned.rows() >= 2, "{pruned:?}");
    assert!(!world.views("anna").await);
}
