//! How does access end by itself?
//!
//! A relationship has an end. From then on it counts for nothing, whether or not anybody has deleted it; the time is the
//! database's, or the clock that a test gives. The row stays until somebody clears up: here that is one statement.
//!
//! Runs on a Postgres of its own: `cargo run -p formwork-examples --bin temporary_access`.

use std::sync::{Arc, Mutex, PoisonError};

use access::{Site, User, rel};
use chrono::{DateTime, TimeDelta, Utc};
use formwork_authz::{Authz, Clock, Context, Filter};
use formwork_migrations::{AUTHZ, TENANCY};
use formwork_tenancy::{Actor, Isolation, Session, TenantTx, testing::TestDatabase};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

mod access {
    formwork_authz::schema!(
        "use expiration
         definition user {}
         definition site {
             relation manager: user
             relation visitor: user with expiration
             permission enter = visitor + manager
         }"
    );
}

/// A clock that is put forward by hand. Without one the machine's is asked.
#[derive(Debug)]
struct Hands(Mutex<DateTime<Utc>>);

impl Clock for Hands {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let db = TestDatabase::new(&[TENANCY, AUTHZ]).await;
    let morning: DateTime<Utc> = "2026-03-02T08:00:00Z".parse()?;
    let clock = Arc::new(Hands(Mutex::new(morning)));
    let authz = Authz::new(access::schema()?).with_clock(64 << 20, Arc::<Hands>::clone(&clock));
    let acme = db.tenant("acme", Isolation::Shared).await;
    let session = Session::new(&acme, Actor::user(Uuid::from_u128(1)));

    let mut tx = db.tenants().begin(&session).await?;
    let until = morning + TimeDelta::hours(4);
    authz.touch(&mut tx, &rel!("site:north#visitor@user:eve[expiration:{until}]")).await?;
    tell(&authz, &mut tx, "at eight").await?;

    // A longer visit: the same relationship with another end.
    let until = morning + TimeDelta::hours(8);
    authz.touch(&mut tx, &rel!("site:north#visitor@user:eve[expiration:{until}]")).await?;
    tx.commit().await?;

    for hours in [7, 8] {
        *clock.0.lock().unwrap_or_else(PoisonError::into_inner) = morning + TimeDelta::hours(hours);
        let mut tx = db.tenants().begin_read(&session).await?;
        tell(&authz, &mut tx, &format!("{hours} hours later")).await?;
    }

    // Would she have been let in at noon? Any time can be asked about.
    let mut tx = db.tenants().begin(&session).await?;
    let noon = Context::new().at(morning + TimeDelta::hours(4));
    let eve = authz.for_subject(&User::new("eve")).with_context(noon);
    println!("at noon she was: {:?}", eve.check(&mut tx, Site::CAN.enter, &Site::new("north")).await?);

    clear_up(&authz, &mut tx, clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

async fn tell(authz: &Authz, tx: &mut TenantTx, when: &str) -> Result<(), Failure> {
    let eve = authz.for_subject(&User::new("eve"));
    let decision = eve.check(tx, Site::CAN.enter, &Site::new("north")).await?;
    println!("{when}: {decision:?}");
    Ok(())
}

/// What has ended is a row like any other until it is deleted.
async fn clear_up(authz: &Authz, tx: &mut TenantTx, now: DateTime<Utc>) -> Result<(), Failure> {
    println!("stored: {}", authz.read(tx, &Filter::of_type("site")).await?.len());
    let ended = sqlx::query("delete from permission_tuples where expires_at <= $1").bind(now);
    println!("cleared up: {}", ended.execute(&mut **tx).await?.rows_affected());
    authz.resync(tx).await?;
    Ok(())
}
