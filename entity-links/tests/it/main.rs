//! Integration tests, on a real Postgres.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use async_trait::async_trait;
use formwork_audit::{Audit, Filter};
use formwork_authz::{Authz, Object, Relationship, Schema};
use formwork_entity_links::{Direction, EntityResolver, Link, LinkError, LinkType, LinkTypes, Links, Page};
use formwork_migrations::{AUDIT, AUTHZ, ENTITY_LINKS, Migration, Set, TENANCY};
use formwork_tenancy::{
    Actor, Isolation, Session, StorageError, Tenant, TenantTx, local_postgres::LocalRole,
    testing::TestDatabase,
};
use sqlx::Connection;
use uuid::Uuid;

const THINGS: Set = Set {
    name: "test/things",
    platform: &[],
    database: &[],
    home: &[Migration {
        version: 1,
        name: "things",
        sql: "create table things (
                tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
                id uuid not null, kind text not null, primary key (tenant_id, id));
              alter table things enable row level security;
              alter table things force row level security;
              create policy tenant_isolation_8c2860cb on things as permissive for all to public
                using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
                with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
              grant select, insert, update, delete on things to formwork_app;",
    }],
};

const SCHEMA: &str = "
  definition user {}
  definition rfi { relation editor: user  relation viewer: user
                   permission view = viewer + editor  permission link = editor }
  definition drawing { relation editor: user  relation viewer: user
                       permission view = viewer + editor  permission link = editor }";

#[derive(Debug)]
struct Things;

#[async_trait]
impl EntityResolver for Things {
    async fn existing(&self, tx: &mut TenantTx, kind: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, StorageError> {
        Ok(sqlx::query_scalar("select id from things where kind = $1 and id = any($2) for share")
            .bind(kind)
            .bind(ids)
            .fetch_all(&mut **tx)
            .await?)
    }
}

struct World {
    db: TestDatabase,
    authz: Authz,
    links: Links,
}

impl World {
    async fn new() -> Self {
        let db = TestDatabase::new(&[TENANCY, AUTHZ, AUDIT, ENTITY_LINKS, THINGS]).await;
        let authz = Authz::new(Schema::parse(SCHEMA).unwrap());
        let types = LinkTypes::new()
            .with(LinkType::new("answers", "answered_by").between(&["rfi"], &["drawing"]))
            .with(LinkType::symmetric("relates"));
        let links = Links::new(authz.clone(), Audit::new(), types, Things);
        Self { db, authz, links }
    }

    /// A thing that `user` holds `relation` on.
    async fn thing(
        &self,
        tenant: &Tenant,
        kind: &'static str,
        user: Uuid,
        relation: &str,
    ) -> (&'static str, Uuid) {
        let id = Uuid::now_v7();
        let mut tx = self.db.tenants().begin(&Session::new(tenant, Actor::system("test"))).await.unwrap();
        sqlx::query("insert into things (id, kind) values ($1, $2)")
            .bind(id)
            .bind(kind)
            .execute(&mut *tx)
            .await
            .unwrap();
        let tuple = Relationship::new(Object::new(kind, id), relation.to_owned(), &Actor::user(user));
        self.authz.touch(&mut tx, &tuple).await.unwrap();
        tx.commit().await.unwrap();
        (kind, id)
    }

    async fn begin(&self, tenant: &Tenant, user: Uuid) -> TenantTx {
        self.db.tenants().begin(&Session::new(tenant, Actor::user(user))).await.unwrap()
    }

    async fn link(&self, tenant: &Tenant, user: Uuid, link: Link) -> Result<Uuid, LinkError> {
        let mut tx = self.begin(tenant, user).await;
        let stored = self.links.link(&mut tx, link).await?;
        tx.commit().await.unwrap();
        Ok(stored.id)
    }

    async fn linked(&self, tenant: &Tenant, user: Uuid, end: (&str, Uuid), kind: Option<&str>) -> Page {
        let mut tx = self.begin(tenant, user).await;
        self.links.linked(&mut tx, &end.into(), kind, None, 50).await.unwrap()
    }
}

#[tokio::test]
async fn a_link_is_read_from_both_ends_and_leaves_event_and_audit() {
    let world = World::new().await;
    for isolation in [Isolation::Shared, Isolation::Schema] {
        let tenant = world.db.tenant(isolation.as_str(), isolation).await;
        let user = Uuid::now_v7();
        let rfi = world.thing(&tenant, "rfi", user, "editor").await;
        let drawing = world.thing(&tenant, "drawing", user, "editor").await;
        let id = world.link(&tenant, user, Link::new(rfi, "answers", drawing)).await.unwrap();

        let from = world.linked(&tenant, user, rfi, None).await.links;
        let [forward] = from.as_slice() else { unreachable!("one link: {from:?}") };
        assert_eq!((forward.name.as_str(), forward.direction), ("answers", Direction::Forward));
        assert_eq!((forward.other.kind.as_str(), forward.other.id), drawing);
        let to = world.linked(&tenant, user, drawing, Some("rfi")).await.links;
        let [inverse] = to.as_slice() else { unreachable!("one link: {to:?}") };
        assert_eq!((inverse.name.as_str(), inverse.direction), ("answered_by", Direction::Inverse));
        assert!(world.linked(&tenant, user, drawing, Some("drawing")).await.links.is_empty());

        let mut tx = world.begin(&tenant, user).await;
        let trail = Audit::new().list(&mut tx, &Filter::default(), None, 10).await.unwrap().events;
        assert_eq!(trail.first().unwrap().action, "entity.linked");
        assert!(trail.first().unwrap().evidence.is_some());
        let events: Vec<String> =
            sqlx::query_scalar("select kind from platform.outbox").fetch_all(&mut *tx).await.unwrap();
        assert_eq!(events, ["entity.linked"]);

        let mut tx = world.begin(&tenant, user).await;
        world.links.unlink(&mut tx, id).await.unwrap();
        tx.commit().await.unwrap();
        assert!(world.linked(&tenant, user, rfi, None).await.links.is_empty());
    }
}

#[tokio::test]
async fn both_ends_must_exist_and_be_linkable() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let (user, stranger) = (Uuid::now_v7(), Uuid::now_v7());
    let rfi = world.thing(&tenant, "rfi", user, "editor").await;
    let seen = world.thing(&tenant, "drawing", user, "viewer").await;
    let hidden = world.thing(&tenant, "drawing", stranger, "editor").await;
    let error = world.link(&tenant, user, Link::new(rfi, "answers", seen)).await.unwrap_err();
    assert!(matches!(error, LinkError::Denied { .. }), "{error}");
    let unseen = world.link(&tenant, user, Link::new(rfi, "answers", hidden)).await.unwrap_err();
    let absent =
        world.link(&tenant, user, Link::new(rfi, "answers", ("drawing", Uuid::nil()))).await.unwrap_err();
    assert!(matches!(unseen, LinkError::NotFound { .. }) && matches!(absent, LinkError::NotFound { .. }));
}

#[tokio::test]
async fn no_link_crosses_tenants() {
    let world = World::new().await;
    let user = Uuid::now_v7();
    for (mine, theirs) in [(Isolation::Shared, Isolation::Shared), (Isolation::Schema, Isolation::Shared)] {
        let a = world.db.tenant(&format!("a-{mine}-{theirs}"), mine).await;
        let b = world.db.tenant(&format!("b-{mine}-{theirs}"), theirs).await;
        let rfi = world.thing(&a, "rfi", user, "editor").await;
        let foreign = world.thing(&b, "drawing", user, "editor").await;
        let error = world.link(&a, user, Link::new(rfi, "answers", foreign)).await.unwrap_err();
        assert!(matches!(error, LinkError::NotFound { .. }), "{error}");

        let own = world.thing(&b, "rfi", user, "editor").await;
        let id = world.link(&b, user, Link::new(own, "answers", foreign)).await.unwrap();
        let mut tx = world.begin(&a, user).await;
        assert!(matches!(world.links.unlink(&mut tx, id).await, Err(LinkError::NoSuchLink)));
        assert!(world.linked(&a, user, foreign, None).await.links.is_empty());
    }
}

#[tokio::test]
async fn the_same_link_is_stored_once_even_in_a_race() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let user = Uuid::now_v7();
    let one = world.thing(&tenant, "rfi", user, "editor").await;
    let other = world.thing(&tenant, "drawing", user, "editor").await;
    let there = world.link(&tenant, user, Link::new(one, "relates", other));
    let back = world.link(&tenant, user, Link::new(other, "relates", one));
    let (there, back) = tokio::join!(there, back);
    let exists = |result: &Result<Uuid, LinkError>| matches!(result, Err(LinkError::Exists { .. }));
    assert!(there.is_ok() && exists(&back) || back.is_ok() && exists(&there), "{there:?} {back:?}");
    assert_eq!(world.linked(&tenant, user, one, None).await.links.len(), 1);
}

#[tokio::test]
async fn pages_leave_out_what_may_not_be_seen_and_lose_nothing() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Schema).await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    let rfi = world.thing(&tenant, "rfi", user, "editor").await;
    let mut tuple = world.begin(&tenant, user).await;
    let shared = Relationship::new(Object::new("rfi", rfi.1), "editor", &Actor::user(other));
    world.authz.touch(&mut tuple, &shared).await.unwrap();
    tuple.commit().await.unwrap();
    let mut visible = Vec::new();
    for n in 0..40 {
        let owner = if n % 4 == 0 { user } else { other };
        let drawing = world.thing(&tenant, "drawing", owner, "editor").await;
        world.link(&tenant, owner, Link::new(rfi, "answers", drawing)).await.unwrap();
        if owner == user {
            visible.push(drawing.1);
        }
    }
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let mut tx = world.begin(&tenant, user).await;
        let page = world.links.linked(&mut tx, &rfi.into(), None, cursor, 3).await.unwrap();
        assert!(page.links.len() <= 3);
        seen.extend(page.links.into_iter().map(|linked| linked.other.id));
        match page.next {
            Some(next) => cursor = Some(next.to_string().parse().unwrap()),
            None => break,
        }
    }
    assert_eq!(seen, visible);
}

#[tokio::test]
async fn both_directions_are_served_by_an_index() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let mut owner =
        sqlx::PgConnection::connect_with(&world.db.options(LocalRole::Superuser).await).await.unwrap();
    sqlx::query(
        "insert into shared.entity_links (tenant_id, id, source_type, source_id, target_type, target_id, relationship, created_by)
         select $1, gen_random_uuid(), 'rfi', gen_random_uuid(), 'drawing', gen_random_uuid(), 'answers', 'x'
           from generate_series(1, 20000)",
    )
    .bind(tenant.id().as_uuid())
    .execute(&mut owner)
    .await
    .unwrap();
    sqlx::raw_sql("analyze shared.entity_links").execute(&mut owner).await.unwrap();
    for end in ["source", "target"] {
        let mut tx = world.begin(&tenant, Uuid::nil()).await;
        let sql = format!(
            "explain select * from entity_links where {end}_type = 'rfi' and {end}_id = gen_random_uuid()"
        );
        let sql = sql.replace("gen_random_uuid()", "'00000000-0000-0000-0000-000000000001'");
        let plan: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&mut *tx).await.unwrap();
        assert!(plan.iter().any(|line| line.contains("Index")), "{end}: {plan:#?}");
    }
}
