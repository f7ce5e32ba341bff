//! How are three kinds of entities linked, followed, merged and removed?
//!
//! Runs on a Postgres of its own: `cargo run -p formwork-examples --bin linked_entities`.

use async_trait::async_trait;
use formwork_audit::Audit;
use formwork_authz::{Authz, Schema, rel};
use formwork_entity_links::{
    Cascade, End, EntityResolver, Link, LinkType, LinkTypes, Links, OnDelete, Selection, Walk,
};
use formwork_migrations::{AUDIT, AUTHZ, ENTITY_LINKS, Migration, Set, TENANCY, TenantTable};
use formwork_tenancy::{Actor, Isolation, Session, StorageError, TenantTx, testing::TestDatabase};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

/// One table an entity, one relation a type: what matters here is between them.
const KINDS: [&str; 3] = ["folder", "drawing", "task"];

const SCHEMA: &str = "
  definition user {}
  definition folder { relation owner: user  permission view = owner  permission link = owner  permission delete = owner }
  definition drawing { relation owner: user  permission view = owner  permission link = owner  permission delete = owner }
  definition task { relation owner: user  permission view = owner  permission link = owner  permission delete = owner }";

/// Finds and removes the application's entities in their tables.
#[derive(Debug)]
struct Tables;

#[async_trait]
impl EntityResolver for Tables {
    async fn existing(&self, tx: &mut TenantTx, kind: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, StorageError> {
        let sql = match kind {
            "folder" => "select id from folders where id = any($1) order by id for share",
            "drawing" => "select id from drawings where id = any($1) order by id for share",
            "task" => "select id from tasks where id = any($1) order by id for share",
            _ => return Ok(Vec::new()),
        };
        Ok(sqlx::query_scalar(sql).bind(ids).fetch_all(&mut **tx).await?)
    }

    /// Only drawings go with a folder.
    async fn remove(&self, tx: &mut TenantTx, kind: &str, ids: &[Uuid]) -> Result<usize, StorageError> {
        if kind != "drawing" {
            return Ok(0);
        }
        let gone =
            sqlx::query("delete from drawings where id = any($1)").bind(ids).execute(&mut **tx).await?;
        Ok(gone.rows_affected() as usize)
    }
}

fn types() -> Result<LinkTypes, Failure> {
    Ok(LinkTypes::new()
        .with(LinkType::symmetric("relates"))?
        .with(LinkType::new("blocks", "blocked_by").between(&["task"], &["task"]).acyclic())?
        .with(
            LinkType::new("builds", "built_by")
                .between(&["task"], &["drawing"])
                .on_target_delete(OnDelete::Block),
        )?
        .with(
            LinkType::new("contains", "part_of")
                .between(&["folder"], &["drawing"])
                .max_sources(1)
                .on_source_delete(OnDelete::Cascade),
        )?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let db = TestDatabase::new(&[TENANCY, AUTHZ, AUDIT, ENTITY_LINKS, tables()?]).await;
    let authz = Authz::new(Schema::parse(SCHEMA)?);
    let links = Links::new(authz.clone(), Audit::new(), types()?, Tables);
    let acme = db.tenant("acme", Isolation::Shared).await;
    let session = Session::new(&acme, Actor::user(Uuid::now_v7()));

    let mut tx = db.tenants().begin(&session).await?;
    let folder = new(&mut tx, &authz, "folder").await?;
    let (plan, twin) = (new(&mut tx, &authz, "drawing").await?, new(&mut tx, &authz, "drawing").await?);
    let (pour, cure) = (new(&mut tx, &authz, "task").await?, new(&mut tx, &authz, "task").await?);
    let batch = vec![
        Link::new(folder.clone(), "contains", plan.clone()),
        Link::new(pour.clone(), "builds", twin.clone()),
        Link::new(pour.clone(), "blocks", cure.clone()),
        Link::new(cure.clone(), "blocks", pour.clone()),
        Link::new(cure.clone(), "relates", plan.clone()),
    ];
    for made in links.link_many(&mut tx, batch).await? {
        println!("{}", made.map_or_else(|error| short(&error.to_string()), |link| link.relationship));
    }
    tx.commit().await?;

    let mut tx = db.tenants().begin(&session).await?;
    let merged = links.merge(&mut tx, &twin, &plan).await?;
    sqlx::query("delete from drawings where id = $1").bind(twin.id).execute(&mut *tx).await?;
    println!("merged: {} link moved", merged.moved.len());
    let of_plan = links.linked(&mut tx, &plan, &Selection::new(), None, 50).await?;
    let names: Vec<String> = of_plan.links.iter().map(|l| format!("{} {}", l.name, l.other.kind)).collect();
    println!("the plan is {}", names.join(", "));
    let walked = links.walk(&mut tx, &folder, &Walk::new().depth(3)).await?;
    println!(
        "from the folder {} steps, the farthest {} links away",
        walked.steps.len(),
        walked.steps.iter().map(|s| s.depth).max().unwrap_or(0)
    );
    tx.commit().await?;

    let cascade = Cascade::with_permission("delete");
    let mut tx = db.tenants().begin(&session).await?;
    if let Err(error) = links.removal(&mut tx, &folder, &cascade).await {
        println!("{}", short(&error.to_string()));
    }
    links.replace(&mut tx, &pour, "builds", vec![]).await?;
    sqlx::query("delete from folders where id = $1").bind(folder.id).execute(&mut *tx).await?;
    let removed = links.remove(&mut tx, &folder, &cascade).await?;
    println!("removed with the folder: {} entity, {} links", removed.entities.len(), removed.links.len());
    tx.commit().await?;
    Ok(())
}

async fn new(tx: &mut TenantTx, authz: &Authz, kind: &'static str) -> Result<End, Failure> {
    let (id, owner) = (Uuid::now_v7(), tx.session().actor().id());
    let (sql, owned) = match kind {
        "folder" => ("insert into folders (id) values ($1)", rel!("folder:{id}#owner@user:{owner}")),
        "drawing" => ("insert into drawings (id) values ($1)", rel!("drawing:{id}#owner@user:{owner}")),
        _ => ("insert into tasks (id) values ($1)", rel!("task:{id}#owner@user:{owner}")),
    };
    sqlx::query(sql).bind(id).execute(&mut **tx).await?;
    authz.touch(tx, &owned).await?;
    Ok(End::new(kind, id))
}

/// Without the ids, which are others each time.
fn short(text: &str) -> String {
    text.split('`').map(|part| part.split(':').next().unwrap_or(part)).collect::<Vec<_>>().join("`")
}

/// The application's own tables, with the generated row security.
fn tables() -> Result<Set, Failure> {
    let sql: Result<Vec<String>, _> = KINDS
        .iter()
        .map(|kind| TenantTable::new(&format!("{kind}s")).column("id", "uuid not null").key("id").sql())
        .collect();
    let home = vec![Migration { version: 1, name: "entities", sql: sql?.concat().leak() }];
    Ok(Set { name: "example/entities", platform: &[], database: &[], home: home.leak() })
}
