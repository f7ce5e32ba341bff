//! Each event is sealed once, whatever happens to writers and to sealers.

use std::sync::{Arc, Mutex};

use formwork_audit::{
    Audit, Event,
    seal::{Anchor, AnchorError, FileAnchor, SealError, Sealer, SignedCheckpoint, Verifier},
};
use formwork_tenancy::{Actor, Isolation, TenantId, local_postgres::LocalRole};
use sqlx::Connection;

use super::trail::{Trail, key};

#[tokio::test]
async fn events_are_sealed_once_and_in_the_order_in_which_they_became_visible() {
    let trail = Trail::new().await;
    let sealer = Sealer::new(key(1));
    // An id that is lower than the others', in a transaction that ends later.
    let mut late = trail.begin().await;
    let first = Audit::new().record(&mut late, Event::new("project.created")).await.unwrap();
    let early = trail.record(3).await;
    let sealed = trail.seal(&sealer).await.unwrap();
    assert_eq!((sealed.events(), Trail::number(&sealed)), (3, Some(1)));
    late.commit().await.unwrap();
    let sealed = trail.seal(&sealer).await.unwrap();
    assert_eq!((sealed.events(), Trail::number(&sealed)), (1, Some(2)));
    assert_eq!(trail.leaves().await, [early, vec![first]].concat());

    let sealed = trail.seal(&sealer).await.unwrap();
    assert_eq!((sealed.events(), Trail::number(&sealed), sealed.is_caught_up()), (0, None, true));
    let verification = trail.verify().await;
    assert!(verification.is_intact(), "{verification:?}");
    assert_eq!((verification.events(), verification.checkpoints(), verification.unsealed()), (4, 2, 0));
}

#[tokio::test]
async fn a_sealer_that_dies_leaves_nothing_and_the_next_one_leaves_no_gap() {
    let trail = Trail::new().await;
    let events = trail.record(12).await;
    let sealer = Sealer::new(key(1)).limits(5, 10);
    let mut dies = trail.begin().await;
    sealer.seal(&mut dies).await.unwrap();
    drop(dies);
    // Two limits of 10 that end inside a stretch, then the rest of it.
    let sealed = trail.seal(&sealer).await.unwrap();
    assert_eq!((sealed.events(), sealed.is_caught_up()), (10, false));
    let more = trail.record(1).await;
    let mut dies = trail.begin().await;
    sealer.seal(&mut dies).await.unwrap();
    drop(dies);
    assert_eq!(trail.seal(&sealer).await.unwrap().events(), 2);
    assert_eq!(trail.seal(&sealer).await.unwrap().events(), 1);
    assert_eq!(trail.leaves().await, [events, more].concat());
    let verification = trail.verify().await;
    assert!(verification.is_intact(), "{verification:?}");
    assert_eq!(verification.events(), 13);
}

#[tokio::test]
async fn writers_and_sealers_at_the_same_time_seal_everything_once() {
    let trail = Trail::new().await;
    let sealer = Sealer::new(key(1)).limits(7, 20);
    let writers = futures::future::join_all((0..8).map(|_| async {
        for _ in 0..5 {
            trail.record(4).await;
        }
    }));
    let sealers = futures::future::join_all((0..2).map(|_| async {
        for _ in 0..10 {
            trail.seal(&sealer).await.unwrap();
        }
    }));
    futures::future::join(writers, sealers).await;
    while !trail.seal(&sealer).await.unwrap().is_caught_up() {}
    assert_eq!(trail.leaves().await.len(), 8 * 5 * 4);
    let verification = trail.verify().await;
    assert!(verification.is_intact(), "{verification:?}");
    assert_eq!((verification.events(), verification.unsealed()), (160, 0));
}

#[tokio::test]
async fn a_sweep_seals_every_tenant_and_comes_again_for_the_anchor() {
    let trail = Trail::new().await;
    let other = trail.db.tenant("b", Isolation::Schema).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoints");
    trail.record(2).await;
    super::record(&trail.db, &other, vec![Event::new("project.created")]).await;
    let sealer = Sealer::new(key(1)).anchor(FileAnchor::open(&path).unwrap());
    let relay = trail.db.relay().await;
    let mut sweep = trail.db.tenants().sweep(Sealer::KIND, &relay);
    let round = sweep.full_round(|tx| sealer.visit(tx)).await.unwrap().unwrap();
    assert!(round.failed().is_empty(), "{:?}", round.failed());
    assert_eq!(FileAnchor::read(&path, trail.tenant.id()).unwrap(), []);
    // Of what is committed only: by the hint that the first visit left.
    sweep.round(|tx| sealer.visit(tx)).await.unwrap();
    for tenant in [&trail.tenant, &other] {
        let anchored = FileAnchor::read(&path, tenant.id()).unwrap();
        assert_eq!(anchored.len(), 1);
        let session = trail.db.session(tenant, Actor::system("test"));
        let mut tx = trail.db.tenants().begin_read(&session).await.unwrap();
        let verifier = Verifier::new([key(1).public()]).anchored(anchored);
        let verification = verifier.verify(&mut tx).await.unwrap();
        assert!(verification.is_intact() && verification.events() > 0, "{verification:?}");
    }
    // A line that a crash has cut off is dropped, and kept again.
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 10]).unwrap();
    drop(FileAnchor::open(&path).unwrap());
    let lines = std::fs::read_to_string(&path).unwrap();
    assert_eq!(lines.lines().count(), 1);
    assert!(lines.ends_with('\n'));
}

/// An anchor that fails once it has kept what it was given: nobody knows that it has.
#[derive(Debug, Default, Clone)]
struct Forgetful {
    kept: Arc<Mutex<Vec<SignedCheckpoint>>>,
}

#[async_trait::async_trait]
impl Anchor for Forgetful {
    async fn keep(&self, checkpoint: &SignedCheckpoint) -> Result<(), AnchorError> {
        let mut kept = self.kept.lock().unwrap();
        kept.push(checkpoint.clone());
        if kept.len() == 1 { Err("the answer was lost".into()) } else { Ok(()) }
    }

    async fn newest(&self, _: TenantId) -> Result<Option<SignedCheckpoint>, AnchorError> {
        Ok(self.kept.lock().unwrap().last().cloned())
    }
}

#[tokio::test]
async fn an_anchor_that_fails_holds_up_and_loses_nothing() {
    let trail = Trail::new().await;
    let anchor = Forgetful::default();
    let sealer = Sealer::new(key(1)).anchor(anchor.clone());
    for _ in 0..2 {
        trail.record(1).await;
        trail.seal(&Sealer::new(key(1))).await.unwrap();
    }
    assert!(matches!(trail.seal(&sealer).await, Err(SealError::Anchor(_))));
    trail.seal(&sealer).await.unwrap();
    let kept: Vec<u64> =
        anchor.kept.lock().unwrap().iter().map(|signed| signed.checkpoint().number()).collect();
    assert_eq!(kept, [1, 2]);
}

#[tokio::test]
async fn a_rotation_is_signed_by_both_keys_and_ends_the_old_one() {
    let (trail, _) = Trail::sealed().await;
    let refused = trail.seal(&Sealer::new(key(2))).await;
    assert!(matches!(refused, Err(SealError::UnknownKey { key: named }) if named == key(1).public()));

    let sealed = trail.seal(&Sealer::new(key(2)).retiring(key(1))).await.unwrap();
    let rotation = sealed.checkpoint().unwrap();
    assert_eq!(rotation.checkpoint().succeeds(), Some(key(1).public()));
    assert_eq!((rotation.checkpoint().size(), sealed.events()), (5, 0));
    trail.record(1).await;
    let next = trail.seal(&Sealer::new(key(2)).retiring(key(1))).await.unwrap();
    assert!(next.checkpoint().unwrap().cosignature().is_none());
    let verification = trail.verify().await;
    assert!(verification.is_intact(), "{verification:?}");
    assert_eq!(verification.events(), 6);
    let refused = trail.seal(&Sealer::new(key(1))).await;
    assert!(matches!(refused, Err(SealError::UnknownKey { .. })));
}

/// The rows of a tenant that moves get new transaction ids, and its seals go with it.
#[tokio::test]
async fn a_tenant_that_moves_goes_on_where_it_was() {
    let (trail, events) = Trail::sealed().await;
    let unsealed = trail.record(1).await;
    trail.tamper("update audit_events set xid = pg_current_xact_id()").await;
    let sealed = trail.seal(&Sealer::new(key(1))).await.unwrap();
    assert_eq!((sealed.events(), Trail::number(&sealed)), (1, Some(3)));
    assert_eq!(trail.leaves().await, [events, unsealed].concat());
    let verification = trail.verify().await;
    assert!(verification.is_intact(), "{verification:?}");
}

#[tokio::test]
async fn seals_are_append_only_for_every_login() {
    let (trail, _) = Trail::sealed().await;
    let mut root =
        sqlx::PgConnection::connect_with(&trail.db.options(LocalRole::Superuser).await).await.unwrap();
    sqlx::query("set search_path = shared").execute(&mut root).await.unwrap();
    for sql in [
        "update audit_leaves set position = position + 10",
        "delete from audit_leaves",
        "truncate audit_checkpoints",
        "update audit_checkpoints set number = number + 1",
        "delete from audit_checkpoints",
    ] {
        let mut tx = trail.begin().await;
        let refused = sqlx::query(sql).execute(&mut *tx).await.unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{sql}: {refused}");
        let refused = sqlx::query(sql).execute(&mut root).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{sql}: {refused}");
    }
}
