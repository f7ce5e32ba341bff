//! Three kinds of entities, and actors that may see or link some of them.

use async_trait::async_trait;
use formwork_audit::Audit;
use formwork_authz::{Authz, Object, Relationship, Schema};
use formwork_entity_links::{
    End, EntityResolver, Field, Link, LinkError, LinkType, LinkTypes, Links, MetadataSchema, OnDelete, Page,
    Selection, StoredLink,
};
use formwork_migrations::{AUDIT, AUTHZ, ENTITY_LINKS, Migration, Set, TENANCY};
use formwork_tenancy::{Actor, Session, StorageError, Tenant, TenantTx, testing::TestDatabase};
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
                   permission view = viewer + editor  permission link = editor  permission delete = editor }
  definition drawing { relation editor: user  relation viewer: user
                       permission view = viewer + editor  permission link = editor  permission delete = editor }
  definition folder { relation editor: user  relation viewer: user
                      permission view = viewer + editor  permission link = editor  permission delete = editor }";

#[derive(Debug)]
pub(crate) struct Things;

#[async_trait]
impl EntityResolver for Things {
    async fn existing(&self, tx: &mut TenantTx, kind: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, StorageError> {
        Ok(sqlx::query_scalar("select id from things where kind = $1 and id = any($2) order by id for share")
            .bind(kind)
            .bind(ids)
            .fetch_all(&mut **tx)
            .await?)
    }

    async fn remove(&self, tx: &mut TenantTx, kind: &str, ids: &[Uuid]) -> Result<usize, StorageError> {
        // Drawings belong to somebody else: they are not removed with anything.
        let removed =
            sqlx::query("delete from things where kind = $1 and kind <> 'drawing' and id = any($2)")
                .bind(kind)
                .bind(ids)
                .execute(&mut **tx)
                .await?;
        Ok(removed.rows_affected() as usize)
    }
}

pub(crate) fn types() -> LinkTypes {
    [
        LinkType::new("answers", "answered_by").between(&["rfi"], &["drawing"]),
        LinkType::symmetric("relates"),
        LinkType::symmetric("pairs").max_targets(1),
        LinkType::new("blocks", "blocked_by").acyclic(),
        LinkType::new("leads", "led_by").max_targets(1).max_sources(1),
        LinkType::new("cites", "cited_by").max_targets(3),
        LinkType::new("contains", "part_of").max_sources(1).acyclic().on_source_delete(OnDelete::Cascade),
        LinkType::new("approves", "approved_by").on_target_delete(OnDelete::Block),
        LinkType::new("mirrors", "mirrored_by").allow_self(),
        LinkType::new("follows", "followed_by")
            .metadata(MetadataSchema::new().required("lag", Field::Integer { min: Some(0), max: None })),
    ]
    .into_iter()
    .try_fold(LinkTypes::new(), LinkTypes::with)
    .unwrap()
}

pub(crate) struct World {
    pub(crate) db: TestDatabase,
    pub(crate) authz: Authz,
    pub(crate) links: Links,
}

pub(crate) type Thing = (&'static str, Uuid);

impl World {
    pub(crate) async fn new() -> Self {
        let db = TestDatabase::new(&[TENANCY, AUTHZ, AUDIT, ENTITY_LINKS, THINGS]).await;
        let authz = Authz::new(Schema::parse(SCHEMA).unwrap());
        let links = Links::new(authz.clone(), Audit::new(), types(), Things);
        Self { db, authz, links }
    }

    /// A thing that `user` holds `relation` on.
    pub(crate) async fn thing(
        &self,
        tenant: &Tenant,
        kind: &'static str,
        user: Uuid,
        relation: &str,
    ) -> Thing {
        self.things(tenant, kind, user, relation, 1).await[0]
    }

    pub(crate) async fn things(
        &self,
        tenant: &Tenant,
        kind: &'static str,
        user: Uuid,
        relation: &str,
        count: usize,
    ) -> Vec<Thing> {
        let ids: Vec<Uuid> = (0..count).map(|_| Uuid::now_v7()).collect();
        let mut tx = self.db.tenants().begin(&Session::new(tenant, Actor::system("test"))).await.unwrap();
        sqlx::query("insert into things (id, kind) select id, $2 from unnest($1::uuid[]) as t (id)")
            .bind(&ids)
            .bind(kind)
            .execute(&mut *tx)
            .await
            .unwrap();
        for id in &ids {
            let tuple = Relationship::new(Object::new(kind, id), relation.to_owned(), &Actor::user(user));
            self.authz.touch(&mut tx, &tuple).await.unwrap();
        }
        tx.commit().await.unwrap();
        ids.into_iter().map(|id| (kind, id)).collect()
    }

    /// Lets somebody else at it too.
    pub(crate) async fn share(&self, tenant: &Tenant, thing: Thing, user: Uuid, relation: &str) {
        let mut tx = self.begin(tenant, user).await;
        let tuple = Relationship::new(Object::new(thing.0, thing.1), relation.to_owned(), &Actor::user(user));
        self.authz.touch(&mut tx, &tuple).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn begin(&self, tenant: &Tenant, user: Uuid) -> TenantTx {
        self.db.tenants().begin(&Session::new(tenant, Actor::user(user))).await.unwrap()
    }

    pub(crate) async fn link(
        &self,
        tenant: &Tenant,
        user: Uuid,
        link: Link,
    ) -> Result<StoredLink, LinkError> {
        let mut tx = self.begin(tenant, user).await;
        let stored = self.links.link(&mut tx, link).await?;
        tx.commit().await.unwrap();
        Ok(stored)
    }

    pub(crate) async fn linked(&self, tenant: &Tenant, user: Uuid, end: Thing, selection: Selection) -> Page {
        let mut tx = self.begin(tenant, user).await;
        self.links.linked(&mut tx, &end.into(), &selection, None, 50).await.unwrap()
    }

    /// How many links of the type the tenant has.
    pub(crate) async fn count(&self, tenant: &Tenant, relationship: &str) -> i64 {
        let mut tx = self.begin(tenant, Uuid::nil()).await;
        sqlx::query_scalar("select count(*) from entity_links where relationship = $1")
            .bind(relationship)
            .fetch_one(&mut *tx)
            .await
            .unwrap()
    }

    /// Kinds of the outbox's events, and actions of the trail, in their order.
    pub(crate) async fn told(&self, tenant: &Tenant) -> (Vec<String>, Vec<String>) {
        let mut tx = self.begin(tenant, Uuid::nil()).await;
        let events = sqlx::query_scalar("select kind from platform.outbox order by id").fetch_all(&mut *tx);
        let events = events.await.unwrap();
        let actions = sqlx::query_scalar("select action from audit_events order by id").fetch_all(&mut *tx);
        (events, actions.await.unwrap())
    }
}

pub(crate) fn end(thing: Thing) -> End {
    thing.into()
}
