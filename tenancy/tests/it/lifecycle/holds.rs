//! Whoever holds a tenant keeps it, however many others let it go.

use formwork_tenancy::{
    HomePlace, Status,
    lifecycle::{LifecycleRefusal, Transition, TransitionStep},
    local_postgres::LocalRole,
};
use uuid::Uuid;

use super::{HOUR, change, lifecycle, order, purge::cut_off, refusal, status};
use crate::{database_mode::connect, move_tenant::database};

#[tokio::test]
async fn a_tenant_on_hold_is_neither_deleted_nor_purged_until_all_are_released() {
    let db = database().await;
    let life = lifecycle(&db);
    let tenant = db.tenant_at("acme", HomePlace::shared()).await.id();
    let court = life.hold(tenant, "court of Kuwait", &order()).await.unwrap();
    let tax = life.hold(tenant, "tax office", &order()).await.unwrap();
    assert_eq!(
        (court.holder(), court.reason(), court.placed_by()),
        ("court of Kuwait", "ticket 4711", "system:on-call")
    );
    assert_eq!(life.holds(tenant).await.unwrap(), [court.clone(), tax.clone()]);
    let refused = refusal(change(&life, tenant, Transition::Delete).await);
    assert!(matches!(&refused, LifecycleRefusal::Held { holds } if holds.len() == 2), "{refused}");
    assert!(refused.to_string().contains("court of Kuwait (ticket 4711), tax office"), "{refused}");

    life.release(court.id(), &order()).await.unwrap();
    assert!(matches!(refusal(life.release(court.id(), &order()).await), LifecycleRefusal::UnknownHold));
    assert!(matches!(refusal(life.release(Uuid::now_v7(), &order()).await), LifecycleRefusal::UnknownHold));
    assert!(matches!(
        refusal(change(&life, tenant, Transition::Delete).await),
        LifecycleRefusal::Held { .. }
    ));
    life.release(tax.id(), &order()).await.unwrap();
    change(&life, tenant, Transition::Delete).await.unwrap();

    // One that comes while the tenant waits to be removed keeps it there, and lets it be brought back.
    let late = life.hold(tenant, "court of Kuwait", &order()).await.unwrap();
    assert!(life.due().await.unwrap().is_empty());
    assert!(matches!(refusal(change(&life, tenant, Transition::Purge).await), LifecycleRefusal::Held { .. }));
    change(&life, tenant, Transition::Undelete).await.unwrap();
    assert_eq!(status(&db, tenant).await, Status::Active);
    life.suspend(tenant, &order()).await.unwrap();
    life.release(late.id(), &order()).await.unwrap();
    let told: Vec<String> = sqlx::query_scalar(
        "select kind from platform.security_events where kind in ('tenant.held', 'tenant.released') order by at",
    )
    .fetch_all(&mut connect(&db, "main", LocalRole::Superuser).await)
    .await
    .unwrap();
    assert_eq!(told.len(), 6, "{told:?}");
}

/// Whatever a program does: the registry itself refuses it.
#[tokio::test]
async fn the_registry_refuses_to_delete_who_is_held_and_to_bring_back_who_is_deleted() {
    let db = database().await;
    let life = lifecycle(&db);
    let held = db.tenant_at("held", HomePlace::shared()).await.id();
    let gone = db.tenant_at("gone", HomePlace::shared()).await.id();
    life.hold(held, "court", &order()).await.unwrap();
    change(&life, gone, Transition::Delete).await.unwrap();
    change(&life, gone, Transition::Purge).await.unwrap();
    let mut root = connect(&db, "main", LocalRole::Superuser).await;
    // That somebody imports it lets nobody else bring it back.
    sqlx::query(
        "insert into platform.tenant_imports (id, tenant_id, from_tenant) values (gen_random_uuid(), $1, $1)",
    )
    .bind(gone.as_uuid())
    .execute(&mut root)
    .await
    .unwrap();
    for (tenant, to, says) in [
        (held, "deleting", "legal hold"),
        (held, "deleted", "legal hold"),
        (gone, "active", "is deleted"),
        (gone, "provisioning", "is deleted"),
    ] {
        let error = sqlx::query("update platform.tenants set status = $2 where id = $1")
            .bind(tenant.as_uuid())
            .bind(to)
            .execute(&mut root)
            .await
            .unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_hold_that_comes_too_late_is_told_so() {
    let db = database().await;
    let life = lifecycle(&db);
    let tenant = db.tenant_at("acme", HomePlace::shared()).await.id();
    life.delete(tenant, HOUR, &order()).await.unwrap();
    assert!(matches!(refusal(life.purge(tenant, &order(), |_| ()).await), LifecycleRefusal::TooEarly { .. }));
    change(&life, tenant, Transition::Undelete).await.unwrap();
    change(&life, tenant, Transition::Delete).await.unwrap();
    cut_off(&life, tenant, TransitionStep::Doomed).await;
    assert!(matches!(refusal(life.hold(tenant, "court", &order()).await), LifecycleRefusal::TooLate));
    let refused = refusal(change(&life, tenant, Transition::Undelete).await);
    assert!(matches!(refused, LifecycleRefusal::Open { transition: Transition::Purge, .. }), "{refused}");
    change(&life, tenant, Transition::Purge).await.unwrap();
    assert!(matches!(refusal(life.hold(tenant, "court", &order()).await), LifecycleRefusal::TooLate));
}
