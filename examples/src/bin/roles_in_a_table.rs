//! How does an application with a table of roles move, without a day on which nobody may do anything?
//!
//! The roles become relationships by one statement, both ways are asked about everybody and everything, and only when they
//! agree is the old one given up. `docs/from-roles.md` tells it.
//!
//! Runs on a Postgres of its own: `cargo run -p formwork-examples --bin roles_in_a_table`.

use access::{Project, User};
use formwork_authz::{Authz, Permission};
use formwork_migrations::{AUTHZ, Migration, Set, TENANCY, TenantTable};
use formwork_tenancy::{Actor, Isolation, Session, TenantTx, testing::TestDatabase};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

mod access {
    formwork_authz::schema!(
        "definition user {}
         definition project {
             relation admin: user
             relation editor: user
             relation viewer: user
             permission administer = admin
             permission edit = editor + administer
             permission view = viewer + edit
         }"
    );
}

/// Triggers write the log of changes, so the next question knows of them.
const COPY: &str = "
insert into permission_tuples (namespace, object_id, relation, subject_ns, subject_id)
select 'project', project_id::text, role, 'user', user_id::text
  from user_roles
on conflict do nothing";

/// What the application asked before.
const OLD: &str = "
select exists (select from user_roles
                where user_id = $1 and project_id = $2 and role = any ($3))";

const PEOPLE: [(&str, u128); 4] = [("anna", 1), ("bob", 2), ("carol", 3), ("dora", 4)];
const PROJECTS: [(&str, u128); 2] = [("bridge", 11), ("tower", 12)];
const ROLES: [(u128, u128, &str); 4] =
    [(1, 11, "admin"), (2, 11, "viewer"), (3, 11, "editor"), (3, 12, "viewer")];

/// What the code asks, and which roles let it go on.
const ASKED: [(Permission<Project>, &[&str]); 3] = [
    (Project::CAN.administer, &["admin"]),
    (Project::CAN.edit, &["admin", "editor"]),
    (Project::CAN.view, &["admin", "editor", "viewer"]),
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let db = TestDatabase::new(&[TENANCY, AUTHZ, roles_table()?]).await;
    let authz = Authz::new(access::schema()?);
    let acme = db.tenant("acme", Isolation::Shared).await;
    let session = Session::new(&acme, Actor::user(Uuid::from_u128(1)));

    let mut tx = db.tenants().begin(&session).await?;
    for (user, project, role) in ROLES {
        let insert = "insert into user_roles (user_id, project_id, role) values ($1, $2, $3)";
        let (user, project) = (Uuid::from_u128(user), Uuid::from_u128(project));
        sqlx::query(insert).bind(user).bind(project).bind(role).execute(&mut *tx).await?;
    }
    println!("before the copy: {}", compare(&authz, &mut tx).await?);
    let copied = sqlx::query(COPY).execute(&mut *tx).await?.rows_affected();
    println!("copied: {copied} roles");
    // SQL of our own has changed what this transaction has already read.
    authz.resync(&mut tx).await?;
    println!("after it: {}", compare(&authz, &mut tx).await?);
    tx.commit().await?;
    Ok(())
}

/// Everybody, everything, every question, asked both ways.
async fn compare(authz: &Authz, tx: &mut TenantTx) -> Result<String, Failure> {
    let (mut asked, mut other) = (0, Vec::new());
    for (name, user) in PEOPLE {
        let (user, asker) = (Uuid::from_u128(user), authz.for_subject(&User::new(Uuid::from_u128(user))));
        for (title, project) in PROJECTS {
            let project = Uuid::from_u128(project);
            for (permission, roles) in ASKED {
                let query = sqlx::query_scalar(OLD).bind(user).bind(project).bind(roles);
                let old: bool = query.fetch_one(&mut **tx).await?;
                let new = asker.check(tx, permission, &Project::new(project)).await?.is_allowed();
                asked += 1;
                if old != new {
                    other.push(format!("{name} {} {title}", permission.name()));
                }
            }
        }
    }
    Ok(match other.first() {
        None => format!("{asked} answers agree"),
        Some(first) => format!("{} of {asked} answers differ, the first is {first}", other.len()),
    })
}

fn roles_table() -> Result<Set, Failure> {
    let sql = format!(
        "create table user_roles (
           tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
           user_id uuid not null, project_id uuid not null, role text not null,
           primary key (tenant_id, user_id, project_id, role));
         {}",
        TenantTable::new("user_roles").sql()?
    );
    let home = vec![Migration { version: 1, name: "roles", sql: sql.leak() }];
    Ok(Set { name: "example/roles", platform: &[], database: &[], home: home.leak() })
}
