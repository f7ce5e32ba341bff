//! What was shredded is gone, also from a copy that was taken before.

use formwork_tenancy::{
    Actor, Isolation, Session, Tenant,
    keys::{IndexedColumn, KeyError, LocalKeyFile, MAX_TIME_TO_LIVE},
    local_postgres::LocalRole,
    testing::cluster,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use super::{Setting, later, passport_of};

const EMAIL: IndexedColumn = IndexedColumn::new("people", "email");

/// As an administrator copies and brings back a whole home, past row security.
struct Backup {
    tables: Vec<(String, serde_json::Value)>,
}

impl Backup {
    async fn root(setting: &Setting) -> PgConnection {
        PgConnection::connect_with(&setting.db.options(LocalRole::Superuser).await).await.unwrap()
    }

    async fn take(setting: &Setting, home: &str) -> Self {
        let mut root = Self::root(setting).await;
        let mut tables = Vec::new();
        for table in ["tenant_keys", "people"] {
            let name = format!("{home}.{table}");
            let rows = format!("select coalesce(jsonb_agg(to_jsonb(t)), '[]') from {name} t");
            let rows = sqlx::query_scalar(AssertSqlSafe(rows)).fetch_one(&mut root).await.unwrap();
            tables.push((name, rows));
        }
        Self { tables }
    }

    async fn bring_back(&self, setting: &Setting) {
        let mut root = Self::root(setting).await;
        for (name, rows) in &self.tables {
            let text = format!(
                "with gone as (delete from {name}) select 1; \
                 insert into {name} select * from jsonb_populate_recordset(null::{name}, $1)"
            );
            let (delete, insert) = text.split_once(';').unwrap();
            sqlx::query(AssertSqlSafe(delete.to_owned())).execute(&mut root).await.unwrap();
            sqlx::query(AssertSqlSafe(insert.to_owned())).bind(rows).execute(&mut root).await.unwrap();
        }
    }
}

fn is_shredded<T: std::fmt::Debug>(answer: Result<T, KeyError>, session: &Session) {
    match answer {
        Err(KeyError::Shredded { tenant }) => assert_eq!(tenant, session.tenant_id()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_backup_from_before_cannot_be_read_and_the_neighbours_can() {
    let setting = Setting::new().await;
    for (slug, isolation) in [("a", Isolation::Shared), ("c", Isolation::Schema)] {
        let gone = setting.session(slug, isolation).await;
        let stays = setting.session(&format!("{slug}-neighbour"), Isolation::Shared).await;
        let id = setting.write(&setting.keys, &gone, "X1234567").await;
        let neighbours = setting.write(&setting.keys, &stays, "Y7654321").await;
        let mut backups = Vec::new();
        for session in [&gone, &stays] {
            let home = home_of(&setting, session.tenant()).await;
            backups.push(Backup::take(&setting, &home).await);
        }
        // The way back works as long as nothing has been shredded.
        for backup in &backups {
            backup.bring_back(&setting).await;
        }
        let (_, before) = setting.another_node();
        assert_eq!(setting.read(&before, &gone, id).await.unwrap(), "X1234567");

        setting.keys.shred(setting.db.tenants(), &gone).await.unwrap();
        is_shredded(setting.read(&setting.keys, &gone, id).await, &gone);
        assert!(setting.lines(&gone).await.iter().all(|(_, _, wrapped)| !wrapped));

        for backup in &backups {
            backup.bring_back(&setting).await;
        }
        // The wrapped keys are back, and nothing can unwrap them: neither a running node nor a new one.
        assert!(setting.lines(&gone).await.iter().any(|(_, _, wrapped)| *wrapped));
        let (_, fresh) = setting.another_node();
        for keys in [&setting.keys, &fresh] {
            is_shredded(setting.read(keys, &gone, id).await, &gone);
            let mut tx = setting.begin(&gone).await;
            is_shredded(keys.seal(&mut tx, "Z", passport_of(id)).await, &gone);
            drop(tx);
            assert_eq!(setting.read(keys, &stays, neighbours).await.unwrap(), "Y7654321");
        }
        // A new master key, or wrapping anew, is no way round.
        setting.line.to.rotate().unwrap();
        let mut tx = setting.begin(&gone).await;
        is_shredded(fresh.rewrap(&mut tx).await, &gone);
    }
}

async fn home_of(setting: &Setting, tenant: &Tenant) -> String {
    let session = setting.db.session(tenant, Actor::system("test"));
    let mut tx = setting.begin(&session).await;
    sqlx::query_scalar("select current_schema()::text").fetch_one(&mut *tx).await.unwrap()
}

#[tokio::test]
async fn after_it_nothing_can_be_read_written_or_found() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let keys = &setting.keys;
    let id = setting.write(keys, &session, "X1234567").await;
    let mut tx = setting.begin(&session).await;
    keys.blind_index(&mut tx, &EMAIL, "x").await.unwrap();
    keys.rotate(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    for _ in 0..2 {
        keys.shred(setting.db.tenants(), &session).await.unwrap();
    }
    is_shredded(setting.read(keys, &session, id).await, &session);
    let mut tx = setting.begin(&session).await;
    is_shredded(keys.seal(&mut tx, "Y", passport_of(id)).await, &session);
    is_shredded(keys.blind_index(&mut tx, &EMAIL, "x").await, &session);
    is_shredded(keys.blind_index_to_find(&mut tx, &EMAIL, "x").await, &session);
    is_shredded(keys.rotate(&mut tx).await, &session);
    let open: i64 = sqlx::query_scalar(
        "select count(*) from tenant_keys where wrapped is not null or shredded_at is null or destroyed_at is null",
    )
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    assert_eq!(open, 0);
}

#[tokio::test]
async fn a_tenant_without_keys_gets_none_after_it() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    setting.keys.shred(setting.db.tenants(), &session).await.unwrap();
    assert_eq!(setting.lines(&session).await, [("data".to_owned(), 0, false)]);
    let (_, other) = setting.another_node();
    let mut tx = setting.begin(&session).await;
    is_shredded(other.seal(&mut tx, "X", passport_of(Uuid::now_v7())).await, &session);
}

#[tokio::test]
async fn another_node_has_forgotten_it_within_the_time_to_live() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let (_, other) = setting.another_node();
    let id = setting.write(&setting.keys, &session, "X1234567").await;
    for keys in [&setting.keys, &other] {
        setting.read(keys, &session, id).await.unwrap();
        setting.write(keys, &session, "warm").await;
    }
    setting.keys.shred(setting.db.tenants(), &session).await.unwrap();
    is_shredded(setting.read(&setting.keys, &session, id).await, &session);
    // What the documentation says: for this long, the other node has the key in its memory.
    assert_eq!(setting.read(&other, &session, id).await.unwrap(), "X1234567");
    later(MAX_TIME_TO_LIVE).await;
    is_shredded(setting.read(&other, &session, id).await, &session);
    let mut tx = setting.begin(&session).await;
    is_shredded(other.seal(&mut tx, "Y", passport_of(id)).await, &session);
}

#[tokio::test]
async fn one_that_was_cut_off_is_ended_by_doing_it_again() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let id = setting.write(&setting.keys, &session, "X1234567").await;
    setting.line.cut(true);
    let error = setting.keys.shred(setting.db.tenants(), &session).await.unwrap_err();
    assert!(matches!(error, KeyError::Provider(_)) && error.is_retryable(), "{error}");
    // Already nobody reads, and the lines say that it is not done.
    is_shredded(setting.read(&setting.keys, &session, id).await, &session);
    let undone = async || -> i64 {
        let mut tx = setting.begin(&session).await;
        sqlx::query_scalar("select count(*) from tenant_keys where destroyed_at is null")
            .fetch_one(&mut *tx)
            .await
            .unwrap()
    };
    assert_eq!(undone().await, 2);
    setting.line.cut(false);
    setting.keys.shred(setting.db.tenants(), &session).await.unwrap();
    assert_eq!(undone().await, 0);
    // An old copy of the key file is what a shredding cannot reach: it is why copies of it are kept apart.
    assert!(LocalKeyFile::open(setting.path()).is_ok());
}

/// A first use that commits while the tenant is being shredded adds a line after all: the second pass takes it.
#[tokio::test]
async fn a_key_that_is_made_meanwhile_goes_too() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let (_, other) = setting.another_node();
    let mut tx = setting.begin(&session).await;
    let id = Uuid::now_v7();
    let sealed = other.seal(&mut tx, "X1234567", passport_of(id)).await.unwrap();
    super::insert(&mut tx, id, &sealed).await;
    setting.line.cut(true);
    setting.keys.shred(setting.db.tenants(), &session).await.unwrap_err();
    tx.commit().await.unwrap();
    assert_eq!(setting.lines(&session).await, [("data".to_owned(), 0, false), ("data".to_owned(), 1, true)]);
    is_shredded(setting.read(&other, &session, id).await, &session);
    setting.line.cut(false);
    setting.keys.shred(setting.db.tenants(), &session).await.unwrap();
    assert!(setting.lines(&session).await.iter().all(|(_, _, wrapped)| !wrapped));
}

#[tokio::test]
async fn lines_are_seen_by_their_tenant_alone() {
    let setting = Setting::new().await;
    let a = setting.session("a", Isolation::Shared).await;
    let b = setting.session("b", Isolation::Shared).await;
    let c = setting.session("c", Isolation::Schema).await;
    for session in [&a, &c] {
        setting.write(&setting.keys, session, "X1234567").await;
    }
    assert_eq!(setting.lines(&a).await.len(), 1);
    assert_eq!(setting.lines(&b).await.len(), 0);
    assert_eq!(setting.lines(&c).await.len(), 1);
    let mut tx = setting.begin(&b).await;
    let error = sqlx::query(
        "insert into tenant_keys (tenant_id, purpose, version, shredded_at) values ($1, 'data', 0, now())",
    )
    .bind(a.tenant_id().as_uuid())
    .execute(&mut *tx)
    .await
    .unwrap_err();
    assert!(error.to_string().contains("row-level security"), "{error}");
    let mut tx = setting.begin(&b).await;
    let done =
        sqlx::query("update tenant_keys set wrapped = null, shredded_at = now()").execute(&mut *tx).await;
    assert_eq!(done.unwrap().rows_affected(), 0);
    drop(tx);

    // A connection of the login without a tenant, in both kinds of home.
    let options = cluster().await.connect_options(LocalRole::App, setting.db.name());
    let mut raw = PgConnection::connect_with(&options).await.unwrap();
    let own = home_of(&setting, c.tenant()).await;
    for home in ["shared".to_owned(), own.clone()] {
        let count = format!("select count(*) from {home}.tenant_keys");
        let seen: i64 = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut raw).await.unwrap();
        assert_eq!(seen, 0, "{home}");
    }
    // And another tenant's, in the home of the third.
    let mut tx = setting.begin(&b).await;
    let count = format!("select count(*) from {own}.tenant_keys");
    let seen: i64 = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut *tx).await.unwrap();
    assert_eq!(seen, 0);
}
