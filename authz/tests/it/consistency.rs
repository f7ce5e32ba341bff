//! How fresh answers are: followers, tokens, the past, and what goes on while the database is away.

use std::time::Duration;

use formwork_authz::{
    Authz, CheckError, Consistency, Filter, Object, Relationship, Schema, Subject, View, Write, rel,
};
use formwork_tenancy::testing::TestDatabase;
use formwork_tenancy::{
    Actor, CommitToken, Isolation, IsolationLevel, Prune, Relay, Session, StreamKey, StreamTable, Tenant,
    TenantTx, Tenants, TxOptions,
};

const SCHEMA: &str = "
    use expiration
    caveat in_team(team string, wanted string) { team == wanted }
    definition user {}
    definition team {
        relation member: user | team#member
    }
    definition document {
        relation viewer: user | user with in_team | user with expiration | team#member
        relation barred: user
        permission view = viewer - barred
    }";

const LONG: Duration = Duration::from_secs(3600);

/// A database with a tenant, a service that writes, and a node of its own that reads.
struct World {
    db: TestDatabase,
    tenant: Tenant,
    writer: Authz,
    node: Authz,
    tenants: Tenants,
}

fn authz() -> Authz {
    Authz::new(Schema::parse(SCHEMA).unwrap())
}

impl World {
    async fn new(isolation: Isolation) -> Self {
        let db = TestDatabase::new(&[formwork_migrations::TENANCY, formwork_migrations::AUTHZ]).await;
        let tenant = db.tenant("acme", isolation).await;
        let tenants = db.connect(Tenants::builder()).await;
        Self { db, tenant, writer: authz(), node: authz(), tenants }
    }

    fn session(&self) -> Session {
        self.db.session(&self.tenant, Actor::system("test"))
    }

    async fn begin(&self) -> TenantTx {
        self.db.tenants().begin(&self.session()).await.unwrap()
    }

    async fn write(&self, write: Write) -> CommitToken {
        let mut tx = self.begin().await;
        self.writer.write(&mut tx, &write).await.unwrap();
        tx.commit().await.unwrap()
    }

    async fn touch(&self, relationship: Relationship) -> CommitToken {
        self.write(Write::new().touch(relationship)).await
    }

    async fn delete(&self, relationship: Relationship) -> CommitToken {
        self.write(Write::new().delete(relationship)).await
    }

    /// As the reading node sees it.
    async fn view(&self, consistency: Consistency) -> View {
        self.try_view(consistency).await.unwrap()
    }

    async fn try_view(&self, consistency: Consistency) -> Result<View, CheckError> {
        self.node.with_consistency(consistency).view(&self.tenants, &self.session()).await
    }
}

fn allows(view: &View, user: &str) -> bool {
    let subject = Subject::new("user", user.to_owned());
    view.check(&subject, "view", &Object::new("document", 7)).unwrap().is_allowed()
}

#[tokio::test]
async fn a_followed_node_answers_from_memory_what_was_committed() {
    for isolation in [Isolation::Shared, Isolation::Schema] {
        let world = World::new(isolation).await;
        let relay = world.db.relay().await;
        let mut following = world.node.follow("main", &relay);
        following.step().await.unwrap();
        let recent = || world.view(Consistency::MinimizeLatency(LONG));
        let first = recent().await;
        assert!(!first.is_from_memory() && !allows(&first, "anna"));

        world.touch(rel!("document:7#viewer@team:eng#member")).await;
        world.touch(rel!("team:eng#member@user:anna")).await;
        let stale = recent().await;
        assert!(stale.is_from_memory() && !allows(&stale, "anna"), "nobody has told the node");
        following.step().await.unwrap();
        let told = recent().await;
        assert!(told.is_from_memory() && allows(&told, "anna"));
        world.delete(rel!("team:eng#member@user:anna")).await;
        following.step().await.unwrap();
        assert!(!allows(&recent().await, "anna"));

        // Nothing has come: the state is as new as the last look.
        let before = recent().await.age().unwrap();
        following.step().await.unwrap();
        assert!(recent().await.age().unwrap() < before + Duration::from_secs(60));
        let metrics = world.node.metrics();
        assert_eq!((metrics.graphs, metrics.loaded, metrics.followed), (1, 1, 3));
        assert_eq!(metrics.lag.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["main"]);
        assert!(metrics.bytes > 0 && metrics.from_memory >= 4);
    }
}

#[tokio::test]
async fn changes_that_overlap_come_in_their_tuples_order() {
    let world = World::new(Isolation::Shared).await;
    let relay = world.db.relay().await;
    let mut following = world.node.follow("main", &relay);
    following.step().await.unwrap();
    world.view(Consistency::Full).await;
    let fact = rel!("document:7#viewer@user:anna");
    // The transaction with the lower id changes the tuple last.
    let mut early = world.begin().await;
    sqlx::query("select pg_current_xact_id()").execute(&mut *early).await.unwrap();
    world.touch(fact.clone()).await;
    world.writer.delete(&mut early, &fact).await.unwrap();
    early.commit().await.unwrap();
    following.step().await.unwrap();
    let view = world.view(Consistency::MinimizeLatency(LONG)).await;
    assert!(view.is_from_memory() && !allows(&view, "anna"));
}

#[tokio::test]
async fn a_long_transaction_holds_back_its_own_changes_only() {
    let world = World::new(Isolation::Shared).await;
    let relay = world.db.relay().await;
    let mut following = world.node.follow("main", &relay);
    following.step().await.unwrap();
    world.view(Consistency::Full).await;
    let mut long = world.begin().await;
    world.writer.touch(&mut long, &rel!("document:7#viewer@user:late")).await.unwrap();
    world.touch(rel!("document:7#viewer@user:anna")).await;
    following.step().await.unwrap();
    let view = world.view(Consistency::MinimizeLatency(LONG)).await;
    assert!(allows(&view, "anna") && !allows(&view, "late"));
    long.commit().await.unwrap();
    following.step().await.unwrap();
    assert!(allows(&world.view(Consistency::MinimizeLatency(LONG)).await, "late"));
}

#[tokio::test]
async fn a_graph_that_is_loaded_while_changes_come_misses_none() {
    let world = World::new(Isolation::Shared).await;
    let relay = world.db.relay().await;
    let mut following = world.node.follow("main", &relay);
    let reading = async {
        for _ in 0..60 {
            world.view(Consistency::MinimizeLatency(Duration::ZERO)).await;
            tokio::task::yield_now().await;
        }
    };
    let writing = async {
        for n in 0..60 {
            world.touch(rel!("document:7#viewer@user:u{n}")).await;
            if n % 3 == 0 {
                world.delete(rel!("document:7#viewer@user:u{n}")).await;
            }
        }
    };
    let looking = async {
        for _ in 0..60 {
            following.step().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(reading, writing, looking);
    following.step().await.unwrap();
    let view = world.view(Consistency::MinimizeLatency(LONG)).await;
    for n in 0..60 {
        assert_eq!(allows(&view, &format!("u{n}")), n % 3 != 0, "u{n}");
    }
}

/// Zanzibar, section 2.2: Anna is barred, and then a document comes that she must not see. Whoever asks about it with an
/// old state lets her in.
#[tokio::test]
async fn new_enemy() {
    let world = World::new(Isolation::Shared).await;
    let relay = world.db.relay().await;
    let mut following = world.node.follow("main", &relay);
    following.step().await.unwrap();
    world.touch(rel!("document:7#viewer@user:anna")).await;
    assert!(allows(&world.view(Consistency::Full).await, "anna"));

    // The ban, and after it the secret, which is kept with the token of its commit.
    world.touch(rel!("document:7#barred@user:anna")).await;
    let written = world.touch(rel!("document:7#viewer@user:boris")).await;

    let careless = world.view(Consistency::MinimizeLatency(LONG)).await;
    assert!(allows(&careless, "anna"), "without the safeguard the old state answers");
    let careful = world.view(Consistency::AtLeast(written.clone())).await;
    assert!(!allows(&careful, "anna") && allows(&careful, "boris"));
    assert!(!careful.is_from_memory());
    // Once the node has seen that commit, the token costs nothing.
    let again = world.view(Consistency::AtLeast(written)).await;
    assert!(again.is_from_memory() && !allows(&again, "anna"));
}

#[tokio::test]
async fn own_writes_are_seen_whatever_is_asked() {
    for isolation in [Isolation::Shared, Isolation::Schema] {
        let world = World::new(isolation).await;
        let token = world.touch(rel!("document:7#viewer@user:old")).await;
        let known = authz();
        known.view(&world.tenants, &world.session()).await.unwrap();
        for consistency in
            [Consistency::Full, Consistency::MinimizeLatency(LONG), Consistency::AtLeast(token.clone())]
        {
            let authz = known.with_consistency(consistency);
            for asks_first in [true, false] {
                let mut tx = world.begin().await;
                if asks_first {
                    assert!(!sees(&authz, &mut tx, "anna").await);
                }
                authz.touch(&mut tx, &rel!("document:7#viewer@user:anna")).await.unwrap();
                assert!(sees(&authz, &mut tx, "anna").await && sees(&authz, &mut tx, "old").await);
                let filter = Filter::of_object(&Object::new("document", 7)).subject_id("anna");
                authz.delete_matching(&mut tx, &filter).await.unwrap();
                assert!(!sees(&authz, &mut tx, "anna").await);
                // By SQL of its own: after a word.
                sqlx::query(
                    "insert into permission_tuples (namespace, object_id, relation, subject_ns, subject_id)
                     values ('document', '7', 'viewer', 'user', 'sql')",
                )
                .execute(&mut *tx)
                .await
                .unwrap();
                authz.resync(&mut tx).await.unwrap();
                assert!(sees(&authz, &mut tx, "sql").await);
                tx.rollback().await.unwrap();
                assert!(!sees(&authz, &mut world.begin().await, "anna").await);
            }
        }
    }
}

async fn sees(authz: &Authz, tx: &mut TenantTx, user: &str) -> bool {
    let subject = Subject::new("user", user.to_owned());
    authz.check(tx, &subject, "view", &Object::new("document", 7)).await.unwrap().is_allowed()
}

#[tokio::test]
async fn the_past_is_had_back_exactly_while_the_log_reaches_back() {
    let world = World::new(Isolation::Shared).await;
    let soon = "2999-01-01T00:00:00Z".parse().unwrap();
    let anna = rel!("document:7#viewer@user:anna");
    let in_team = |team: &str| {
        let given = serde_json::Map::from_iter([("team".to_owned(), serde_json::json!(team))]);
        anna.clone().with_condition("in_team", given)
    };
    let states = [
        Write::new().touch(anna.clone()).touch(rel!("document:7#viewer@user:bob")),
        Write::new().touch(in_team("steel")),
        Write::new().touch(in_team("wood")),
        Write::new().touch(anna.clone().expiring_at(soon)),
        Write::new().delete(anna.clone()),
        Write::new().delete_matching(Filter::of_type("document")),
        Write::new().touch(anna.clone()).touch(rel!("document:7#barred@user:anna")),
    ];
    let mut kept = Vec::new();
    for state in states {
        let token = world.write(state).await;
        let graph = world.view(Consistency::Full).await;
        kept.push((token, answers(&graph)));
    }
    for (token, expected) in &kept {
        let past = world.view(Consistency::Exact(token.clone())).await;
        assert_eq!(answers(&past), *expected);
        // A writer's own changes are none of it.
        let mut tx = world.begin().await;
        world.writer.touch(&mut tx, &rel!("document:7#viewer@user:new")).await.unwrap();
        let exact = world.writer.with_consistency(Consistency::Exact(token.clone()));
        assert!(!sees(&exact, &mut tx, "new").await);
    }

    let log = StreamTable::new("platform.permission_changes", StreamKey::Int, &[]);
    sqlx::query("select pg_current_xact_id()").execute(&mut *world.begin().await).await.unwrap();
    world.db.older_transactions_end().await;
    world
        .db
        .control()
        .prune_stream(&Prune::new(log, Duration::ZERO).unread_after(Duration::ZERO))
        .await
        .unwrap();
    let gone = world.try_view(Consistency::Exact(kept[0].0.clone())).await.unwrap_err();
    assert!(matches!(gone, CheckError::TooOld), "{gone}");
}

/// What the questions of a state are answered.
fn answers(graph: &View) -> Vec<String> {
    let mut all = vec![format!("{} relationships", graph.len())];
    for user in ["anna", "bob", "new"] {
        for wanted in [None, Some("steel"), Some("wood")] {
            let mut context = formwork_authz::Context::new();
            if let Some(wanted) = wanted {
                context = context.with("wanted", wanted);
            }
            let subject = Subject::new("user", user.to_owned());
            let decision = graph.check_in(&context, &subject, "view", &Object::new("document", 7)).unwrap();
            all.push(format!("{user} {wanted:?} {decision:?}"));
        }
    }
    all
}

#[tokio::test]
async fn a_token_of_another_tenant_is_refused() {
    let world = World::new(Isolation::Shared).await;
    let other = world.db.tenant("other", Isolation::Shared).await;
    let mut tx = world.db.tenants().begin(&world.db.session(&other, Actor::system("test"))).await.unwrap();
    world.writer.touch(&mut tx, &rel!("document:7#viewer@user:anna")).await.unwrap();
    let foreign = tx.commit().await.unwrap();
    world.view(Consistency::Full).await;
    for consistency in [Consistency::AtLeast(foreign.clone()), Consistency::Exact(foreign)] {
        let refused = world.try_view(consistency).await.unwrap_err();
        assert!(matches!(refused, CheckError::ForeignToken));
    }
}

#[tokio::test]
async fn a_follower_that_was_left_behind_by_pruning_begins_again() {
    let world = World::new(Isolation::Shared).await;
    let relay = world.db.relay().await;
    let mut following = world.node.follow("main", &relay);
    following.step().await.unwrap();
    world.touch(rel!("document:7#viewer@user:anna")).await;
    assert!(allows(&world.view(Consistency::Full).await, "anna"));
    world.delete(rel!("document:7#viewer@user:anna")).await;
    let log = StreamTable::new("platform.permission_changes", StreamKey::Int, &[]);
    world.touch(rel!("document:8#viewer@user:anna")).await;
    world.db.older_transactions_end().await;
    world
        .db
        .control()
        .prune_stream(&Prune::new(log, Duration::ZERO).unread_after(Duration::ZERO))
        .await
        .unwrap();
    let lost = following.step().await.unwrap_err();
    assert!(lost.to_string().contains("pruned"), "{lost}");
    // What is known of before is no longer followed, so the bound sends the question to the database.
    following.step().await.unwrap();
    let view = world.view(Consistency::MinimizeLatency(Duration::ZERO)).await;
    assert!(!view.is_from_memory() && !allows(&view, "anna"));
    following.step().await.unwrap();
    let view = world.view(Consistency::MinimizeLatency(LONG)).await;
    assert!(view.is_from_memory() && !allows(&view, "anna"));
}

#[tokio::test]
async fn a_dropped_follower_leaves_nothing_that_counts_as_followed() {
    let world = World::new(Isolation::Shared).await;
    let relay = world.db.relay().await;
    let mut following = world.node.follow("main", &relay);
    following.step().await.unwrap();
    world.view(Consistency::Full).await;
    drop(following);
    assert!(world.node.metrics().lag.is_empty());
    world.touch(rel!("document:7#viewer@user:anna")).await;
    // Another one begins behind the change, which it will never see.
    let mut following = world.node.follow("main", &relay);
    following.step().await.unwrap();
    let view = world.view(Consistency::MinimizeLatency(Duration::ZERO)).await;
    assert!(!view.is_from_memory() && allows(&view, "anna"));
}

#[tokio::test]
async fn a_load_of_an_earlier_state_is_not_taken_for_the_newest() {
    let world = World::new(Isolation::Shared).await;
    world.touch(rel!("document:7#viewer@user:anna")).await;
    let relay = world.db.relay().await;
    let mut following = world.node.follow("main", &relay);
    following.step().await.unwrap();
    // Its state is of before the revocation, and it is the first to ask.
    let options = TxOptions::new().isolation_level(IsolationLevel::RepeatableRead);
    let mut early = world.tenants.begin_with(&world.session(), options).await.unwrap();
    sqlx::query("select 1").execute(&mut *early).await.unwrap();
    let revoked = world.delete(rel!("document:7#viewer@user:anna")).await;
    following.step().await.unwrap();
    assert!(sees(&world.node, &mut early, "anna").await);
    let at_least = world.node.with_consistency(Consistency::AtLeast(revoked.clone()));
    let subject = Subject::new("user", "anna");
    let refused =
        at_least.check(&mut early, &subject, "view", &Object::new("document", 7)).await.unwrap_err();
    assert!(matches!(refused, CheckError::OtherState), "{refused}");
    early.commit().await.unwrap();
    for consistency in [Consistency::MinimizeLatency(LONG), Consistency::AtLeast(revoked), Consistency::Full]
    {
        assert!(!allows(&world.view(consistency).await, "anna"));
        world.touch(rel!("document:8#viewer@user:anna")).await;
        following.step().await.unwrap();
    }
}

#[tokio::test]
async fn a_token_is_asked_for_again_when_an_answer_was_older() {
    let world = World::new(Isolation::Shared).await;
    world.touch(rel!("document:7#viewer@user:anna")).await;
    let mut tx = world.begin().await;
    assert!(sees(&world.writer, &mut tx, "anna").await);
    let other = world.db.connect(Tenants::builder()).await;
    let mut revoking = other.begin(&world.session()).await.unwrap();
    authz().delete(&mut revoking, &rel!("document:7#viewer@user:anna")).await.unwrap();
    let revoked = revoking.commit().await.unwrap();
    assert!(sees(&world.writer, &mut tx, "anna").await, "one transaction, one state");
    let at_least = world.writer.with_consistency(Consistency::AtLeast(revoked));
    assert!(!sees(&at_least, &mut tx, "anna").await);
}

#[tokio::test]
async fn memory_answers_nobody_whose_transaction_would_not_begin() {
    let world = World::new(Isolation::Shared).await;
    world.touch(rel!("document:7#viewer@user:anna")).await;
    world.view(Consistency::Full).await;
    assert!(world.view(Consistency::MinimizeLatency(LONG)).await.is_from_memory());
    let stranger = world.db.session(
        &world.tenant,
        Actor::Administrator { user: uuid::Uuid::now_v7(), grant: uuid::Uuid::now_v7() },
    );
    let recent = world.node.with_consistency(Consistency::MinimizeLatency(LONG));
    let refused = recent.view(&world.tenants, &stranger).await.unwrap_err();
    assert!(matches!(&refused, CheckError::Storage(error) if error.refusal().is_some()), "{refused:?}");
}

#[tokio::test]
async fn of_two_followers_of_a_database_one_looks() {
    let world = World::new(Isolation::Shared).await;
    let relay = world.db.relay().await;
    let (mut first, mut second) = (world.node.follow("main", &relay), world.node.follow("main", &relay));
    first.step().await.unwrap();
    second.step().await.unwrap();
    world.view(Consistency::Full).await;
    world.touch(rel!("document:7#viewer@user:anna")).await;
    second.step().await.unwrap();
    assert!(!allows(&world.view(Consistency::MinimizeLatency(LONG)).await, "anna"), "it only waits");
    first.step().await.unwrap();
    assert!(allows(&world.view(Consistency::MinimizeLatency(LONG)).await, "anna"));
    drop(first);
    second.step().await.unwrap();
    assert_eq!(world.node.metrics().lag.len(), 1);
}

/// Its looks would say that nothing has changed, for ever.
#[tokio::test]
async fn a_relay_of_another_database_counts_for_nothing() {
    let (world, other) = (World::new(Isolation::Shared).await, World::new(Isolation::Shared).await);
    let relay = other.db.relay().await;
    let mut following = world.node.follow("main", &relay);
    following.step().await.unwrap();
    world.touch(rel!("document:7#viewer@user:anna")).await;
    assert!(allows(&world.view(Consistency::Full).await, "anna"));
    let revoked = world.delete(rel!("document:7#viewer@user:anna")).await;
    sqlx::query("select pg_current_xact_id()").execute(&mut *other.begin().await).await.unwrap();
    following.step().await.unwrap();
    for consistency in [Consistency::AtLeast(revoked), Consistency::MinimizeLatency(Duration::ZERO)] {
        let view = world.view(consistency).await;
        assert!(!view.is_from_memory() && !allows(&view, "anna"));
        world.touch(rel!("document:8#viewer@user:anna")).await;
        following.step().await.unwrap();
    }
}

/// The relay would look again in an hour.
#[tokio::test]
async fn a_commit_that_changes_permissions_wakes_the_nodes_that_listen() {
    let world = World::new(Isolation::Shared).await;
    let relay = world.db.relay_by(Relay::builder().listen().pause(LONG)).await;
    let mut following = world.node.follow("main", &relay);
    following.step().await.unwrap();
    world.view(Consistency::Full).await;
    let task = tokio::spawn(following.run());
    let notifying = world.db.connect(Tenants::builder().notify_followers()).await;
    let told = async |expected: bool| {
        while allows(&world.view(Consistency::MinimizeLatency(LONG)).await, "anna") != expected {
            tokio::task::yield_now().await;
        }
    };
    let minute = Duration::from_secs(60);
    for expected in [true, false, true] {
        let mut tx = notifying.begin(&world.session()).await.unwrap();
        if expected {
            world.writer.touch(&mut tx, &rel!("document:7#viewer@user:anna")).await.unwrap();
        } else {
            world.writer.delete_object(&mut tx, &Object::new("document", 7)).await.unwrap();
        }
        tx.commit().await.unwrap();
        tokio::time::timeout(minute, told(expected)).await.expect("the node is woken");
    }
    task.abort();
}
