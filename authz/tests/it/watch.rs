//! What comes out of a watch, and that a kill of either side loses nothing.

use std::time::Duration;

use formwork_authz::{Authz, Change, Filter, Object, Relationship, Schema, Watch, WatchError, Write, rel};
use formwork_tenancy::testing::TestDatabase;
use formwork_tenancy::{Actor, Isolation, Prune, StreamKey, StreamTable, Tenant, TenantTx};
use serde_json::json;

struct World {
    db: TestDatabase,
    tenant: Tenant,
    authz: Authz,
}

impl World {
    async fn new(isolation: Isolation) -> Self {
        let db = TestDatabase::new(&[formwork_migrations::TENANCY, formwork_migrations::AUTHZ]).await;
        let tenant = db.tenant("acme", isolation).await;
        let schema = "
            use expiration
            definition user {}
            definition document { relation viewer: user | user with expiration relation owner: user }";
        Self { db, tenant, authz: Authz::new(Schema::parse(schema).unwrap()) }
    }

    async fn begin(&self) -> TenantTx {
        self.db.tenants().begin(&self.db.session(&self.tenant, Actor::system("test"))).await.unwrap()
    }

    async fn write(&self, write: Write) {
        let mut tx = self.begin().await;
        self.authz.write(&mut tx, &write).await.unwrap();
        tx.commit().await.unwrap();
    }

    fn watch(&self) -> Watch {
        let session = self.db.session(&self.tenant, Actor::system("watcher"));
        self.authz.watch(self.db.tenants(), &session).pause(Duration::from_millis(1))
    }
}

fn texts(changes: &formwork_authz::Changes) -> Vec<String> {
    let text = |change: &Change| match change {
        Change::Touch(relationship) => format!("+ {relationship}"),
        Change::Delete(relationship) => format!("- {relationship}"),
    };
    changes.changes().iter().map(|watched| text(&watched.change)).collect()
}

#[tokio::test]
async fn changes_come_with_their_terms_and_metadata_and_by_filter() {
    for isolation in [Isolation::Shared, Isolation::Schema] {
        let world = World::new(isolation).await;
        let mut all = world.watch();
        let mut owners = world.watch().only(Filter::of_type("document").relation("owner"));
        assert!(all.look().await.unwrap().changes().is_empty());
        owners.look().await.unwrap();
        let until = "2999-01-31T18:00:00Z".parse().unwrap();
        world
            .write(
                Write::new()
                    .touch(rel!("document:7#viewer@user:anna").expiring_at(until))
                    .touch(rel!("document:7#owner@user:bob"))
                    .metadata(json!({"ticket": 12})),
            )
            .await;
        world.write(Write::new().delete(rel!("document:7#viewer@user:anna"))).await;
        let seen = all.next().await.unwrap();
        assert_eq!(
            texts(&seen),
            [
                "+ document:7#owner@user:bob",
                "+ document:7#viewer@user:anna[expiration:2999-01-31T18:00:00Z]",
                "- document:7#viewer@user:anna"
            ]
        );
        let metadata: Vec<_> = seen.changes().iter().map(|watched| watched.metadata.clone()).collect();
        assert_eq!(metadata, [Some(json!({"ticket": 12})), Some(json!({"ticket": 12})), None]);
        assert_eq!(texts(&owners.next().await.unwrap()), ["+ document:7#owner@user:bob"]);
        assert!(all.look().await.unwrap().changes().is_empty());
    }
}

#[tokio::test]
async fn a_tenant_watches_its_own_changes_only() {
    let world = World::new(Isolation::Shared).await;
    let other = world.db.tenant("other", Isolation::Shared).await;
    let mut watch = world.watch();
    watch.look().await.unwrap();
    let mut tx = world.db.tenants().begin(&world.db.session(&other, Actor::system("test"))).await.unwrap();
    world.authz.touch(&mut tx, &rel!("document:7#viewer@user:theirs")).await.unwrap();
    tx.commit().await.unwrap();
    world.write(Write::new().touch(rel!("document:7#viewer@user:ours"))).await;
    assert_eq!(texts(&watch.next().await.unwrap()), ["+ document:7#viewer@user:ours"]);
}

/// The watcher is killed at any point: it goes on behind the checkpoint that it kept with what it did.
#[tokio::test]
async fn kill_of_the_watcher_loses_nothing_and_repeats_nothing() {
    let world = World::new(Isolation::Shared).await;
    let mut first = world.watch();
    let mut kept = first.look().await.unwrap().checkpoint().to_string();
    let mut copied: Vec<String> = Vec::new();
    for round in 0..30 {
        // Writers that overlap: the first to begin is the last to commit.
        let mut slow = world.begin().await;
        world.authz.touch(&mut slow, &rel!("document:{round}#viewer@user:slow")).await.unwrap();
        world.write(Write::new().touch(rel!("document:{round}#viewer@user:quick"))).await;
        let mut watch = world.watch().from(kept.parse().unwrap());
        let seen = watch.look().await.unwrap();
        // Killed before anything is kept, every third time: what was handled is undone with it.
        if round % 3 != 0 {
            copied.extend(texts(&seen));
            kept = seen.checkpoint().to_string();
        }
        slow.commit().await.unwrap();
    }
    let mut watch = world.watch().from(kept.parse().unwrap());
    copied.extend(texts(&watch.look().await.unwrap()));
    let mut expected: Vec<String> = (0..30)
        .flat_map(|round| ["slow", "quick"].map(|user| format!("+ document:{round}#viewer@user:{user}")))
        .collect();
    expected.sort();
    copied.sort();
    assert_eq!(copied, expected);
}

#[tokio::test]
async fn a_checkpoint_whose_changes_were_pruned_is_an_error() {
    let world = World::new(Isolation::Shared).await;
    let mut watch = world.watch();
    watch.look().await.unwrap();
    world.write(Write::new().touch(rel!("document:7#viewer@user:anna"))).await;
    world.write(Write::new().touch(rel!("document:8#viewer@user:anna"))).await;
    let log = StreamTable::new("platform.permission_changes", StreamKey::Int, &[]);
    world.db.older_transactions_end().await;
    let prune = Prune::new(log, Duration::ZERO).unread_after(Duration::ZERO);
    world.db.control().prune_stream(&prune).await.unwrap();
    assert!(matches!(watch.look().await.unwrap_err(), WatchError::Lost(_)));
    // As the error says: a checkpoint, then everything, then what has come since.
    let mut again = world.watch();
    again.look().await.unwrap();
    let mut tx = world.begin().await;
    let all = world.authz.read(&mut tx, &Filter::of_object(&Object::new("document", 7))).await.unwrap();
    assert_eq!(all.iter().map(Relationship::to_string).collect::<Vec<_>>(), ["document:7#viewer@user:anna"]);
}
