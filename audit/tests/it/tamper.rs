//! Whatever somebody does who may do everything in the database, is found and named.

use formwork_audit::seal::{FileAnchor, Finding, SealError, SealKey, Sealer, SignedCheckpoint, Verifier};
use uuid::Uuid;

use super::trail::{Trail, key};

#[tokio::test]
async fn tampering_with_any_field_of_an_event_is_found() {
    let (trail, events) = Trail::sealed().await;
    let event = events[1];
    for set in [
        "at = at + interval '1 microsecond'",
        "actor_type = 'user'",
        "actor_id = 'somebody else'",
        "action = 'project.removed'",
        "entity_type = null",
        "entity_id = ''",
        "targets = targets || targets",
        "outcome = 'denied'",
        "reason = ''",
        "before = 'null'",
        "after = jsonb_set(after, '{sum}', '12.50')",
        "evidence_id = id",
        "evidence = '{}'",
        "request_id = 'r'",
        "ip = '::1'",
        "user_agent = 'curl'",
        "impersonator = 'user:eve'",
        "on_behalf_of = 'user:eve'",
        "trace_id = 't'",
        "region = 'eu'",
        "personal = '{}'",
    ] {
        trail.tamper("create table was as select * from audit_events").await;
        trail.tamper(&format!("update audit_events set {set} where id = '{event}'")).await;
        Trail::finds(&trail.verify().await, &[Finding::EventChanged { position: 1, event }]);
        trail
            .tamper("delete from audit_events; insert into audit_events select * from was; drop table was")
            .await;
        assert!(trail.verify().await.is_intact(), "{set} is undone");
    }
}

#[tokio::test]
async fn tampering_that_removes_an_event_is_found() {
    let (trail, events) = Trail::sealed().await;
    let event = events[3];
    trail.tamper(&format!("delete from audit_events where id = '{event}'")).await;
    Trail::finds(&trail.verify().await, &[Finding::EventRemoved { position: 3, event }]);
    // With its leaf.
    trail.tamper("delete from audit_leaves where position = 3").await;
    let gap = Finding::LeafRemoved { position: 3 };
    let checkpoint = Finding::LeavesChanged { checkpoint: 2, from: 3, until: 5 };
    let found = trail.verify().await;
    assert!(found.findings().contains(&gap), "{:?}", found.findings());
    assert!(!found.findings().contains(&checkpoint), "told once: {:?}", found.findings());
    // With the leaves closed up.
    trail.tamper("update audit_leaves set position = 3 where position = 4").await;
    Trail::finds(&trail.verify().await, &[Finding::LeafRemoved { position: 4 }]);
}

#[tokio::test]
async fn tampering_that_inserts_an_event_is_found() {
    let (trail, events) = Trail::sealed().await;
    let event = Uuid::now_v7();
    let copy = "insert into audit_events (tenant_id, id, xid, actor_type, actor_id, action)
                select tenant_id, $NEW, xid, actor_type, actor_id, action from audit_events where id = '$OLD'";
    let copy = copy.replace("$NEW", &format!("'{event}'")).replace("$OLD", &events[0].to_string());
    trail.tamper(&copy).await;
    Trail::finds(&trail.verify().await, &[Finding::EventInserted { event }]);
    // With a leaf at the end, or in between.
    let leaf = "insert into audit_leaves select tenant_id, $AT, '$NEW', sha256('x') from audit_leaves where position = 0";
    let leaf = leaf.replace("$NEW", &event.to_string());
    trail.tamper(&leaf.replace("$AT", "5")).await;
    Trail::finds(&trail.verify().await, &[Finding::LeafUnsigned { position: 5 }]);
    trail
        .tamper(&format!(
            "delete from audit_leaves where position = 5;
             update audit_leaves set position = position + 100 where position >= 2;
             update audit_leaves set position = position - 99 where position >= 100;
             {}",
            leaf.replace("$AT", "2")
        ))
        .await;
    let found = trail.verify().await;
    let expected = [
        Finding::LeavesChanged { checkpoint: 1, from: 0, until: 3 },
        Finding::EventChanged { position: 2, event },
        Finding::LeafUnsigned { position: 5 },
    ];
    Trail::finds(&found, &expected);
}

#[tokio::test]
async fn tampering_with_the_order_is_found() {
    let (trail, events) = Trail::sealed().await;
    let swap = |column: &str| {
        format!(
            "create table was as select * from audit_leaves;
             delete from audit_leaves where position in (0, 2);
             insert into audit_leaves (tenant_id, position, event_id, hash)
             select tenant_id, {column} from was where position in (0, 2);
             drop table was"
        )
    };
    trail
        .tamper(&swap("position, (select b.event_id from was b where b.position = 2 - was.position), hash"))
        .await;
    let moved = |position, event, sealed_at| Finding::EventMoved { position, event, sealed_at };
    Trail::finds(&trail.verify().await, &[moved(0, events[2], 2), moved(2, events[0], 0)]);
    trail
        .tamper(&swap(
            "2 - position, event_id, (select b.hash from was b where b.position = 2 - was.position)",
        ))
        .await;
    assert!(trail.verify().await.is_intact(), "it is undone");
    trail.tamper(&swap("2 - position, event_id, hash")).await;
    Trail::finds(&trail.verify().await, &[Finding::LeavesChanged { checkpoint: 1, from: 0, until: 3 }]);
}

#[tokio::test]
async fn tampering_with_an_event_and_its_leaf_is_found_by_the_checkpoint() {
    let (trail, _) = Trail::sealed().await;
    trail.tamper("update audit_leaves set hash = sha256('x') where position = 4").await;
    let found = trail.verify().await;
    assert_eq!(found.findings().first(), Some(&Finding::LeavesChanged { checkpoint: 2, from: 3, until: 5 }));
}

#[tokio::test]
async fn tampering_with_checkpoints_is_found() {
    let (trail, _) = Trail::sealed().await;
    trail.record(1).await;
    trail.seal(&Sealer::new(key(1))).await.unwrap();
    let undo =
        "delete from audit_checkpoints; insert into audit_checkpoints select * from was; drop table was";
    let unlinked = Finding::CheckpointUnlinked { number: 3 };
    let swap = "update audit_checkpoints set number = 9 where number = 1;
                update audit_checkpoints set number = 1 where number = 2;
                update audit_checkpoints set number = 2 where number = 9";
    for (sql, expected) in [
        (
            "update audit_checkpoints set signature = sha512('x') where number = 2",
            vec![Finding::WrongSignature { number: 2 }],
        ),
        (
            "update audit_checkpoints set body = replace(body, 'size 5', 'size 4') where number = 2",
            vec![Finding::CheckpointUnreadable { number: 2 }],
        ),
        (
            "update audit_checkpoints set size = 4, body = replace(body, 'size 5', 'size 4') where number = 2",
            vec![
                Finding::WrongSignature { number: 2 },
                unlinked,
                Finding::LeavesChanged { checkpoint: 2, from: 3, until: 4 },
            ],
        ),
        ("delete from audit_checkpoints where number = 2", vec![Finding::CheckpointRemoved { number: 2 }]),
        ("delete from audit_checkpoints where number = 1", vec![Finding::CheckpointRemoved { number: 1 }]),
        (
            swap,
            vec![Finding::CheckpointUnreadable { number: 1 }, Finding::CheckpointUnreadable { number: 2 }],
        ),
        ("delete from audit_checkpoints where number = 3", vec![Finding::LeafUnsigned { position: 5 }]),
    ] {
        trail.tamper("create table was as select * from audit_checkpoints").await;
        trail.tamper(sql).await;
        let found = trail.verify().await;
        for finding in &expected {
            assert!(
                found.findings().contains(finding),
                "{sql}: {finding} is not among {:?}",
                found.findings()
            );
        }
        trail.tamper(undo).await;
        assert!(trail.verify().await.is_intact(), "{sql} is undone");
    }
}

/// Somebody with the whole database and a key of their own.
#[tokio::test]
async fn tampering_that_seals_anew_with_a_wrong_key_is_found() {
    let (trail, _) = Trail::sealed().await;
    trail.tamper("delete from audit_checkpoints; delete from audit_leaves").await;
    let forger = key(9);
    trail.seal(&Sealer::new(forger.clone())).await.unwrap();
    let wrong = Finding::WrongKey { number: 1, key: forger.public() };
    Trail::finds(&trail.verify().await, &[wrong]);
    // A rotation that the key in force has not signed.
    let (trail, _) = Trail::sealed().await;
    trail.seal(&Sealer::new(key(9)).retiring(key(1))).await.unwrap();
    trail.tamper("update audit_checkpoints set cosignature = sha512('x') where number = 3").await;
    Trail::finds(&trail.verify().await, &[Finding::WrongSignature { number: 3 }]);
    trail.tamper("update audit_checkpoints set cosignature = null where number = 3").await;
    Trail::finds(&trail.verify().await, &[Finding::WrongSignature { number: 3 }]);
}

fn sealer(key: SealKey, path: &std::path::Path) -> Sealer {
    Sealer::new(key).anchor(FileAnchor::open(path).unwrap())
}

/// With the signing key as well: only what was anchored tells.
#[tokio::test]
async fn tampering_that_rolls_back_or_swaps_a_signed_checkpoint_is_found_by_the_anchor() {
    let (trail, _) = Trail::sealed().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoints");
    trail.seal(&sealer(key(1), &path)).await.unwrap();
    let anchored: Vec<SignedCheckpoint> = FileAnchor::read(&path, trail.tenant.id()).unwrap();
    assert_eq!(anchored.len(), 2);
    let verifier = Verifier::new([key(1).public()]).anchored(anchored);
    assert!(trail.verify_by(&verifier).await.is_intact());

    trail
        .tamper(
            "delete from audit_checkpoints where number = 2;
             delete from audit_events e using audit_leaves l where l.event_id = e.id and l.position >= 3;
             delete from audit_leaves where position >= 3",
        )
        .await;
    assert!(trail.verify().await.is_intact(), "without the anchor it is a trail that has not gone on");
    Trail::finds(&trail.verify_by(&verifier).await, &[Finding::RolledBack { last: 1, anchored: 2 }]);
    let refused = trail.seal(&sealer(key(1), &path)).await;
    assert!(matches!(refused, Err(SealError::Broken { .. })), "{refused:?}");

    trail.record(2).await;
    trail.seal(&Sealer::new(key(1))).await.unwrap();
    Trail::finds(&trail.verify_by(&verifier).await, &[Finding::CheckpointSwapped { number: 2 }]);
    let refused = trail.seal(&sealer(key(1), &path)).await;
    assert!(matches!(refused, Err(SealError::Broken { .. })), "{refused:?}");
}

#[tokio::test]
async fn nothing_is_sealed_on_a_tampered_tree() {
    let (trail, _) = Trail::sealed().await;
    trail.record(1).await;
    trail
        .tamper("update audit_checkpoints set frontier = decode(repeat('00', 64), 'hex') where number = 2")
        .await;
    let refused = trail.seal(&Sealer::new(key(1))).await;
    assert!(matches!(refused, Err(SealError::Broken { .. })), "{refused:?}");
    // A position that skips events: they are not sealed, and found.
    let (trail, _) = Trail::sealed().await;
    let skipped = trail.record(1).await;
    trail.seal(&Sealer::new(key(1))).await.unwrap();
    trail
        .tamper(
            "update audit_checkpoints a set read_to = b.read_to from audit_checkpoints b
              where a.number = 2 and b.number = 3;
             delete from audit_checkpoints where number = 3;
             delete from audit_leaves where position = 5",
        )
        .await;
    assert_eq!(trail.seal(&Sealer::new(key(1))).await.unwrap().events(), 0);
    Trail::finds(&trail.verify().await, &[Finding::EventInserted { event: skipped[0] }]);
}
