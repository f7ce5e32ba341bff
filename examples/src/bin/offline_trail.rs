//! How does somebody without the database verify a tenant's whole trail?
//!
//! The file is checked by `examples/check-audit-proof`, a second program that shares no code with the library.
//!
//! Runs on a Postgres of its own: `cargo run -p formwork-examples --bin offline_trail`.

#[path = "../../check-audit-proof/src/check.rs"]
#[expect(dead_code, reason = "the program checks single proofs too")]
mod check;
#[path = "../../check-audit-proof/src/whole.rs"]
mod whole;

use std::io::BufReader;

use formwork_audit::{
    Audit, Event,
    seal::{OfflineTrail, SealKey, Sealer},
};
use formwork_migrations::{AUDIT, TENANCY};
use formwork_tenancy::{
    Actor, Isolation, Session, TenantTx,
    lifecycle::{Lifecycle, Order},
    testing::TestDatabase,
};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let db = TestDatabase::new(&[TENANCY, AUDIT]).await;
    let acme = db.tenant("acme", Isolation::Shared).await;
    let session = Session::new(&acme, Actor::system("example"));
    let key = SealKey::from_seed(&[7; 32]);
    let sealer = Sealer::new(key.clone());

    // Three events, sealed; then all of them are too old to be kept, and one is new.
    let mut tx = db.tenants().begin(&session).await?;
    write(&mut tx, 3).await?;
    tx.commit().await?;
    let mut tx = db.tenants().begin(&session).await?;
    let later = std::time::SystemTime::now() + std::time::Duration::from_millis(1);
    let tombstone = sealer.bury(&mut tx, later.into()).await?.ok_or("there is something to bury")?;
    tx.commit().await?;
    let order = Order::new(&Actor::system("retention"), "kept for some milliseconds");
    let life = Lifecycle::new(db.control().clone());
    let removed = life.remove_events(acme.id(), tombstone.checkpoint().number(), &order).await?;
    println!("removed: {removed}");
    let mut tx = db.tenants().begin(&session).await?;
    write(&mut tx, 2).await?;
    tx.commit().await?;
    let mut tx = db.tenants().begin(&session).await?;
    sealer.seal(&mut tx).await?;
    tx.commit().await?;

    // The file, as `formwork audit trail` writes it, goes to whoever has to believe it.
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("acme.trail");
    let mut tx = db.tenants().begin_read(&session).await?;
    let (mut file, mut trail) = (String::new(), OfflineTrail::new());
    while let Some(piece) = trail.next(&mut tx).await? {
        file.push_str(&piece);
    }
    std::fs::write(&path, &file)?;

    let trusted = [key.public().to_string()];
    let tell = |outcome: Result<String, String>| match outcome {
        Ok(said) => println!("holds: {}", said.replace(&acme.id().to_string(), "acme")),
        Err(why) => println!("does not hold: {why}"),
    };
    tell(whole::check_trail(BufReader::new(std::fs::File::open(&path)?), &trusted));
    tell(whole::check_trail(file.replace("gate opened", "gate closed").as_bytes(), &trusted));
    let shorter = file.trim_end().rsplit_once('\n').map_or("", |(before, _)| before);
    tell(whole::check_trail(shorter.as_bytes(), &trusted));
    let stranger = [SealKey::from_seed(&[8; 32]).public().to_string()];
    let refused = whole::check_trail(file.as_bytes(), &stranger);
    tell(refused.map_err(|why| why.replace(&trusted[0], "the key")));
    Ok(())
}

async fn write(tx: &mut TenantTx, count: usize) -> Result<(), Failure> {
    for _ in 0..count {
        let event = Event::new("gate.opened").target(("gate", Uuid::nil())).reason("gate opened");
        Audit::new().record(tx, event).await?;
    }
    Ok(())
}
