//! A tenant with a trail, a sealer, and somebody who gets round every rule of the database.

use formwork_audit::{
    Audit, Event,
    seal::{Finding, SealError, SealKey, Sealed, Sealer, SignedCheckpoint, Verification, Verifier},
};
use formwork_tenancy::{
    Actor, Isolation, Tenant, TenantTx, local_postgres::LocalRole, testing::TestDatabase,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

pub(crate) fn key(seed: u8) -> SealKey {
    SealKey::from_seed(&[seed; 32])
}

pub(crate) struct Trail {
    pub(crate) db: TestDatabase,
    pub(crate) tenant: Tenant,
}

impl Trail {
    pub(crate) async fn new() -> Self {
        let db = super::database().await;
        let tenant = db.tenant("a", Isolation::Shared).await;
        Self { db, tenant }
    }

    /// With three events under checkpoint 1 and two more under checkpoint 2.
    pub(crate) async fn sealed() -> (Self, Vec<Uuid>) {
        let trail = Self::new().await;
        let mut events = trail.record(3).await;
        trail.seal(&Sealer::new(key(1))).await.unwrap();
        events.extend(trail.record(2).await);
        trail.seal(&Sealer::new(key(1))).await.unwrap();
        (trail, events)
    }

    pub(crate) async fn begin(&self) -> TenantTx {
        self.db.tenants().begin(&self.db.session(&self.tenant, Actor::system("test"))).await.unwrap()
    }

    /// So many events, in one transaction.
    pub(crate) async fn record(&self, count: usize) -> Vec<Uuid> {
        let events: Vec<Event> = (0..count)
            .map(|n| {
                let after = serde_json::json!({"name": "Brücke", "n": n, "sum": 12.50});
                Event::new("project.renamed").target(("project", Uuid::from_u128(n as u128))).after(after)
            })
            .collect();
        let mut tx = self.begin().await;
        Audit::new().record_many(&mut tx, &events).await.unwrap();
        tx.commit().await.unwrap();
        events.iter().map(Event::id).collect()
    }

    /// Events with these identities, as an import brings them.
    pub(crate) async fn insert_old(&self, ids: &[Uuid]) {
        let mut tx = self.begin().await;
        sqlx::query(
            "insert into audit_events (id, actor_type, actor_id, action)
             select id, 'system', 'test', 'project.created' from unnest($1::uuid[]) as i (id)",
        )
        .bind(ids)
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn seal(&self, sealer: &Sealer) -> Result<Sealed, SealError> {
        let mut tx = self.begin().await;
        let sealed = sealer.seal(&mut tx).await?;
        tx.commit().await.unwrap();
        Ok(sealed)
    }

    pub(crate) async fn verify_by(&self, verifier: &Verifier) -> Verification {
        let session = self.db.session(&self.tenant, Actor::system("test"));
        let mut tx = self.db.tenants().begin_read(&session).await.unwrap();
        verifier.verify(&mut tx).await.unwrap()
    }

    pub(crate) async fn verify(&self) -> Verification {
        self.verify_by(&Verifier::new([key(1).public()])).await
    }

    #[track_caller]
    pub(crate) fn finds(verification: &Verification, expected: &[Finding]) {
        assert_eq!(verification.findings(), expected);
    }

    /// As superuser, with the triggers off.
    pub(crate) async fn tamper(&self, sql: &str) {
        let mut root: PgConnection =
            PgConnection::connect_with(&self.db.options(LocalRole::Superuser).await).await.unwrap();
        let each = |state: &str| {
            ["events", "leaves", "checkpoints"]
                .map(|table| format!("alter table audit_{table} {state} trigger append_only;"))
                .concat()
        };
        let sql = format!(
            "set search_path = shared; begin; {} {sql}; {} commit",
            each("disable"),
            each("enable always")
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut root).await.unwrap();
        root.close().await.unwrap();
    }

    /// The leaves' events, in their order.
    pub(crate) async fn leaves(&self) -> Vec<Uuid> {
        let mut tx = self.begin().await;
        sqlx::query_scalar("select event_id from audit_leaves order by position")
            .fetch_all(&mut *tx)
            .await
            .unwrap()
    }

    pub(crate) fn number(sealed: &Sealed) -> Option<u64> {
        sealed.checkpoint().map(|signed: &SignedCheckpoint| signed.checkpoint().number())
    }
}
