//! How is a document shared, who sees it then, and how is that taken back?
//!
//! The document's owner shares it with a person, with a team, with everybody; each is a relationship. When the document
//! goes, all that is said of it goes in the same transaction.
//!
//! Runs on a Postgres of its own: `cargo run -p formwork-examples --bin share_a_document`.

use access::{Document, User, rel};
use formwork_authz::{Authz, Context, Relationship, Subject, WriteError};
use formwork_migrations::{AUTHZ, TENANCY};
use formwork_tenancy::{Actor, Isolation, Session, TenantTx, testing::TestDatabase};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

mod access {
    formwork_authz::schema!(
        "definition user {}
         definition team { relation member: user }
         definition document {
             relation owner: user
             relation editor: user | team#member
             relation reader: user | user:* | team#member
             relation banned: user
             permission share = owner
             permission edit = editor + owner
             permission view = (reader + edit) - banned
         }"
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let db = TestDatabase::new(&[TENANCY, AUTHZ]).await;
    let authz = Authz::new(access::schema()?);
    let acme = db.tenant("acme", Isolation::Shared).await;
    // Names are easier to read than the ids of a real service.
    let session = Session::new(&acme, Actor::user(Uuid::from_u128(1)));
    let mut tx = db.tenants().begin(&session).await?;
    let plan = Document::new("plan");
    let facts = [
        rel!("document:plan#owner@user:anna"),
        rel!("team:site#member@user:bob"),
        rel!("team:site#member@user:eve"),
    ];
    authz.touch_many(&mut tx, &facts).await?;
    tell(&authz, &mut tx, &plan, "anna owns it").await?;

    let with_team = rel!("document:plan#editor@team:site#member");
    share(&authz, &mut tx, "bob", &with_team).await?;
    share(&authz, &mut tx, "anna", &with_team).await?;
    share(&authz, &mut tx, "anna", &with_team).await?;
    tell(&authz, &mut tx, &plan, "shared with the site team").await?;

    share(&authz, &mut tx, "anna", &rel!("document:plan#reader@user:*")).await?;
    share(&authz, &mut tx, "anna", &rel!("document:plan#banned@user:eve")).await?;
    tell(&authz, &mut tx, &plan, "public, but not for eve").await?;

    authz.delete(&mut tx, &with_team).await?;
    authz.delete(&mut tx, &rel!("document:plan#reader@user:*")).await?;
    tell(&authz, &mut tx, &plan, "taken back").await?;

    authz.delete_object(&mut tx, plan.as_ref()).await?;
    tell(&authz, &mut tx, &plan, "deleted").await?;
    tx.commit().await?;
    Ok(())
}

/// Who may share stores the relationship; that it is there already is told, and nothing else happens.
async fn share(authz: &Authz, tx: &mut TenantTx, by: &str, fact: &Relationship) -> Result<(), Failure> {
    let document = Document::new(fact.object().id());
    if !authz.for_subject(&User::new(by)).check(tx, Document::CAN.share, &document).await?.is_allowed() {
        println!("{by} may not share {document}");
        return Ok(());
    }
    match authz.create(tx, fact).await {
        Ok(()) => println!("{by} stores {fact}"),
        Err(WriteError::Exists(existing)) => println!("{by} has nothing to do: {existing}"),
        Err(failed) => return Err(failed.into()),
    }
    Ok(())
}

/// Everyone who sees it, as the dialog "shared with" would list them.
async fn tell(authz: &Authz, tx: &mut TenantTx, document: &Document, when: &str) -> Result<(), Failure> {
    let graph = authz.graph(tx).await?;
    let (context, view) = (Context::new(), Document::CAN.view.name());
    let page = graph.lookup_subjects(&context, document.as_ref(), view, ("user", None), None, 100)?;
    let seen = page.items.iter().map(|found| match found.except.as_slice() {
        [] => found.subject.id().to_owned(),
        except => {
            let except: Vec<&str> = except.iter().map(Subject::id).collect();
            format!("{} but {}", found.subject.id(), except.join(", "))
        }
    });
    let seen: Vec<String> = seen.collect();
    println!("{when}: {}", if seen.is_empty() { "nobody".to_owned() } else { seen.join("; ") });
    Ok(())
}
