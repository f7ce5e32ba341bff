//! A streaming standby of the test program's Postgres.

use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::{Connection, postgres::PgConnectOptions};

use super::{TestDatabase, cluster};
use crate::local_postgres::{LocalPostgres, LocalRole};

static REPLICAS: AtomicUsize = AtomicUsize::new(0);

/// A streaming standby of this process's cluster, which can be read, and promoted.
///
/// It ends with the process, or with [`stop`](Self::stop); dropped without it, the primary goes on keeping its log for
/// a standby that does not come.
#[derive(Debug)]
pub struct Replica {
    standby: LocalPostgres,
    slot: String,
}

impl Replica {
    /// Copies the cluster as it is now, and follows it; `None` where `pg_basebackup` is not installed.
    pub async fn start() -> Option<Self> {
        let primary = cluster().await;
        if !primary.can_replicate() {
            return None;
        }
        let slot = format!("replica_{}", REPLICAS.fetch_add(1, Ordering::Relaxed));
        let standby = primary.standby(&slot).await.expect("a standby starts");
        Some(Self { standby, slot })
    }

    /// How to connect to `db` on the standby.
    pub fn options(&self, role: LocalRole, db: &TestDatabase) -> PgConnectOptions {
        self.standby.connect_options(role, db.name())
    }

    /// Waits until the standby shows what the primary's log held at `position`, as
    /// [`CommitToken::wal`](crate::CommitToken::wal) says it.
    pub async fn has_replayed(&self, position: &str) {
        let options = self.standby.connect_options(LocalRole::Superuser, "postgres");
        let mut conn = sqlx::PgConnection::connect_with(&options).await.expect("the standby answers");
        loop {
            let replayed: bool = sqlx::query_scalar("select pg_last_wal_replay_lsn() >= $1::text::pg_lsn")
                .bind(position)
                .fetch_one(&mut conn)
                .await
                .expect("the standby says how far it is");
            if replayed {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Makes a primary of it, on a history of its own, and waits until it is one.
    pub async fn promote(&self) {
        let options = self.standby.connect_options(LocalRole::Superuser, "postgres");
        let mut conn = sqlx::PgConnection::connect_with(&options).await.expect("the standby answers");
        let promoted: bool = sqlx::query_scalar("select pg_promote(true, 60)")
            .fetch_one(&mut conn)
            .await
            .expect("the standby can be promoted");
        assert!(promoted, "the standby was promoted within a minute");
    }

    /// Stops it, and has the primary forget it.
    pub async fn stop(self) {
        self.standby.stop().await;
        let options = cluster().await.connect_options(LocalRole::Superuser, "postgres");
        let mut conn = sqlx::PgConnection::connect_with(&options).await.expect("the primary answers");
        // Its sender may not have noticed yet.
        let dropped = "select pg_drop_replication_slot(slot_name) from pg_replication_slots
                        where slot_name = $1 and not active";
        while sqlx::query(dropped)
            .bind(&self.slot)
            .execute(&mut conn)
            .await
            .expect("a slot is dropped")
            .rows_affected()
            == 0
        {
            tokio::task::yield_now().await;
        }
    }
}
