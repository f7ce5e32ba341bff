//! May this actor do it, seen from inside the transaction that does it?
//!
//! The check and the write that it allows are one transaction: what it has written itself counts at once, a rollback
//! takes it back, and `require_at_commit` makes sure that nobody revokes meanwhile.
//!
//! Runs on a Postgres of its own: `cargo run -p formwork-examples --bin check_in_transaction`.

use access::{Order, rel};
use formwork_authz::{Authz, RequireError};
use formwork_migrations::{AUTHZ, TENANCY};
use formwork_tenancy::{Actor, Isolation, Session, Tenants, testing::TestDatabase};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

mod access {
    formwork_authz::schema!(
        "definition user {}
         definition order {
             relation buyer: user
             relation approver: user
             permission view = buyer + approver
             permission approve = approver - buyer
         }"
    );
}

const ANNA: Uuid = Uuid::from_u128(0xa);
const BOB: Uuid = Uuid::from_u128(0xb);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let db = TestDatabase::new(&[TENANCY, AUTHZ]).await;
    let (tenants, authz) = (db.tenants(), Authz::new(access::schema()?));
    let acme = db.tenant("acme", Isolation::Shared).await;
    let [anna, bob] = [ANNA, BOB].map(|id| Session::new(&acme, Actor::user(id)));

    place(tenants, &authz, &anna, 7).await?;
    forget(tenants, &authz, &anna, 8).await?;
    for order in [7, 8] {
        println!("anna may view order {order}: {}", may_view(tenants, &authz, &anna, order).await?);
    }
    for (name, session) in [("anna", &anna), ("bob", &bob)] {
        println!("{name} approves order 7: {}", approve(tenants, &authz, session, 7).await?);
    }
    Ok(())
}

/// A row of your own would be written here too; before the commit nobody else sees either.
async fn place(tenants: &Tenants, authz: &Authz, session: &Session, order: u32) -> Result<(), Failure> {
    let mut tx = tenants.begin(session).await?;
    let actor = authz.for_subject(session.actor());
    let before = actor.check(&mut tx, Order::CAN.view, &Order::new(order)).await?;
    let (buyer, approver) = (session.actor().id(), BOB);
    authz.touch(&mut tx, &rel!("order:{order}#buyer@user:{buyer}")).await?;
    authz.touch(&mut tx, &rel!("order:{order}#approver@user:{approver}")).await?;
    let after = actor.check(&mut tx, Order::CAN.view, &Order::new(order)).await?;
    println!("in the transaction: before the write {before:?}, after it {after:?}");
    tx.commit().await?;
    Ok(())
}

/// The relationship goes with the transaction.
async fn forget(tenants: &Tenants, authz: &Authz, session: &Session, order: u32) -> Result<(), Failure> {
    let mut tx = tenants.begin(session).await?;
    let buyer = session.actor().id();
    authz.touch(&mut tx, &rel!("order:{order}#buyer@user:{buyer}")).await?;
    tx.rollback().await?;
    Ok(())
}

async fn may_view(tenants: &Tenants, authz: &Authz, session: &Session, order: u32) -> Result<bool, Failure> {
    let mut tx = tenants.begin_read(session).await?;
    let actor = authz.for_subject(session.actor());
    Ok(actor.check(&mut tx, Order::CAN.view, &Order::new(order)).await?.is_allowed())
}

/// Money is spent: whoever takes the permission away waits until this is committed, or has won.
async fn approve(tenants: &Tenants, authz: &Authz, session: &Session, order: u32) -> Result<String, Failure> {
    let mut tx = tenants.begin(session).await?;
    let actor = authz.for_subject(session.actor());
    match actor.require_at_commit(&mut tx, Order::CAN.approve, &Order::new(order)).await {
        Ok(grant) => {
            let [proof] = grant.relationships() else { return Err("a proof of one relationship".into()) };
            let answer = format!("yes, because of {}#{}", proof.object(), proof.relation());
            tx.commit().await?;
            Ok(answer)
        }
        Err(RequireError::Denied(_)) => Ok("no".to_owned()),
        Err(undecided) => Err(undecided.into()),
    }
}
