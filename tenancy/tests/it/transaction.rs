//! What a transaction promises: all or nothing, a token, and nothing left on the connection.

use formwork_tenancy::{
    Actor, CommitError, CommitToken, Isolation, OutboxEvent, Tenants, TxOptions, local_postgres::LocalRole,
};
use sqlx::{AssertSqlSafe, Connection};

use crate::isolation::{database, notes, write_note};

#[tokio::test]
async fn commit_stores_and_tells_where_in_history() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Schema).await;
    let session = db.session(&a, Actor::system("test"));
    let mut tx = db.tenants().begin(&session).await.unwrap();
    sqlx::query("insert into notes (body) values ('kept')").execute(&mut *tx).await.unwrap();
    let written = tx.commit().await.unwrap();
    assert!(written.xid().is_some());
    assert_eq!(written.tenant(), a.id());
    assert_eq!(notes(&db, &a).await, ["kept"]);

    let read = db.tenants().begin(&session).await.unwrap().commit().await.unwrap();
    assert_eq!(read.xid(), None, "a transaction that only reads burns no id");
}

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    for explicit in [true, false] {
        let mut tx = db.tenants().begin(&db.session(&a, Actor::system("test"))).await.unwrap();
        sqlx::query("insert into notes (body) values ('gone')").execute(&mut *tx).await.unwrap();
        match explicit {
            true => tx.rollback().await.unwrap(),
            false => drop(tx),
        }
    }
    assert_eq!(notes(&db, &a).await, [""; 0]);
}

#[tokio::test]
async fn the_token_of_a_read_asks_for_nothing() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let mut tx = db.tenants().begin_read(&db.session(&a, Actor::system("test"))).await.unwrap();
    sqlx::query("select body from notes").execute(&mut *tx).await.unwrap();
    let token = tx.commit().await.unwrap();
    assert_eq!((token.tenant(), token.snapshot(), token.wal()), (a.id(), "3:3:", "0/0"));
    assert_eq!(token.to_string().parse::<CommitToken>().unwrap(), token);
}

/// A bare COMMIT after a failed statement answers ROLLBACK and no error.
#[tokio::test]
async fn commit_of_a_failed_transaction_is_an_error() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let mut tx = db.tenants().begin(&db.session(&a, Actor::system("test"))).await.unwrap();
    sqlx::query("insert into notes (body) values ('lost')").execute(&mut *tx).await.unwrap();
    sqlx::query("select 1 / 0").execute(&mut *tx).await.unwrap_err();
    assert!(matches!(tx.commit().await, Err(CommitError::RolledBack(_))));
    write_note(&db, &a, "next").await;
    assert_eq!(notes(&db, &a).await, ["next"]);
}

#[tokio::test]
async fn commit_tells_a_failed_deferred_constraint() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let mut owner = sqlx::PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap();
    sqlx::raw_sql(
        "create function shared.refuse() returns trigger language plpgsql as
           $$ begin raise exception 'refused at commit'; end $$;
         create constraint trigger late after insert on shared.notes deferrable initially deferred
           for each row execute function shared.refuse()",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    let mut tx = db.tenants().begin(&db.session(&a, Actor::system("test"))).await.unwrap();
    sqlx::query("insert into notes (body) values ('lost')").execute(&mut *tx).await.unwrap();
    assert!(matches!(tx.commit().await, Err(CommitError::RolledBack(_))));
    assert_eq!(notes(&db, &a).await, [""; 0]);
}

#[tokio::test]
async fn a_read_transaction_cannot_write() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let mut tx = db.tenants().begin_read(&db.session(&a, Actor::system("test"))).await.unwrap();
    let error = sqlx::query("insert into notes (body) values ('x')").execute(&mut *tx).await.unwrap_err();
    assert!(error.to_string().contains("read-only transaction"), "{error}");
}

#[tokio::test]
async fn a_connection_killed_between_two_uses_is_replaced_without_an_error() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    write_note(&db, &a, "before").await;
    let mut root = sqlx::PgConnection::connect_with(&db.options(LocalRole::Superuser).await).await.unwrap();
    let killed: i64 = sqlx::query_scalar(
        "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity
          where datname = $1 and usename = 'formwork_app'",
    )
    .bind(db.name())
    .fetch_one(&mut root)
    .await
    .unwrap();
    assert!(killed > 0);
    write_note(&db, &a, "after").await;
    assert_eq!(notes(&db, &a).await, ["after", "before"]);
}

#[tokio::test]
async fn events_leave_with_the_data_or_not_at_all() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let b = db.tenant("b", Isolation::Schema).await;
    for (tenant, keep) in [(&a, true), (&b, false)] {
        let session = db.session(tenant, Actor::system("test")).request_id("r-1");
        let mut tx = db.tenants().begin(&session).await.unwrap();
        tx.publish(&[OutboxEvent::new("note.written", serde_json::json!({"n": 1}))]).await.unwrap();
        match keep {
            true => drop(tx.commit().await.unwrap()),
            false => tx.rollback().await.unwrap(),
        }
    }
    let mut relay = sqlx::PgConnection::connect_with(&db.options(LocalRole::Relay).await).await.unwrap();
    let seen: Vec<(uuid::Uuid, String, String)> =
        sqlx::query_as("select tenant_id, kind, request_id from platform.outbox")
            .fetch_all(&mut relay)
            .await
            .unwrap();
    assert_eq!(seen, [(a.id().as_uuid(), "note.written".to_owned(), "r-1".to_owned())]);
    for table in ["shared.notes", "platform.tenants"] {
        let peek = format!("select * from {table}");
        let error = sqlx::query(sqlx::AssertSqlSafe(peek)).fetch_all(&mut relay).await.unwrap_err();
        assert!(error.to_string().contains("permission denied"), "{error}");
    }
}

/// What was asked on the connection itself may still be on its way: the pool does not see it again.
#[tokio::test]
async fn a_connection_that_was_handed_out_raw_is_not_reused_unanswered() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let tenants = db.connect(formwork_tenancy::Tenants::builder().max_connections(1)).await;
    let session = db.session(&a, Actor::system("test"));
    let server = "select pg_backend_pid()";
    let mut tx = tenants.begin(&session).await.unwrap();
    let before: i32 = sqlx::query_scalar(server).fetch_one(tx.raw_connection_unguarded()).await.unwrap();
    drop(tx);
    let mut tx = tenants.begin(&session).await.unwrap();
    let after: i32 = sqlx::query_scalar(server).fetch_one(&mut *tx).await.unwrap();
    assert_ne!(before, after);
}

/// What a statement sets for longer than its transaction is not met by the next user of the connection.
#[tokio::test]
async fn a_setting_that_was_made_for_the_session_is_put_away() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    crate::isolation::write_note(&db, &a, "of a").await;
    let tenants = db.connect(Tenants::builder().max_connections(1)).await;
    let of_b = db.session(&b, Actor::system("test"));
    let set = format!("select set_config('app.current_tenant', '{}', false)", a.id());
    for read_only in [true, false] {
        let options = if read_only { TxOptions::new().read_only() } else { TxOptions::new() };
        let mut tx = tenants.begin_with(&of_b, options).await.unwrap();
        let commented = format!("/* why /* not */ */ -- so\n set app.current_tenant = '{}'", a.id());
        let refused = sqlx::query(AssertSqlSafe(commented)).execute(&mut *tx).await.unwrap_err();
        assert!(refused.to_string().contains("transaction control belongs to TenantTx"), "{refused}");
        drop(tx);
        let mut tx = tenants.begin_with(&of_b, options).await.unwrap();
        sqlx::query(AssertSqlSafe(set.clone())).execute(&mut *tx).await.unwrap();
        // A read has nothing to store and is undone; a write is refused.
        assert_eq!(tx.commit().await.is_ok(), read_only);
        let mut tx = tenants.begin(&of_b).await.unwrap();
        let seen: i64 = sqlx::query_scalar("select count(*) from notes").fetch_one(&mut *tx).await.unwrap();
        assert_eq!(seen, 0);
        tx.commit().await.unwrap();
    }
    let mut raw = tenants.pool_unguarded().acquire().await.unwrap();
    let seen: i64 =
        sqlx::query_scalar("select count(*) from shared.notes").fetch_one(&mut *raw).await.unwrap();
    assert_eq!(seen, 0, "on the pooled connection itself");
}
