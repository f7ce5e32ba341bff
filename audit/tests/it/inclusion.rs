//! Proofs, checked by the library and by the program that shares no code with it.

use formwork_audit::seal::{ConsistencyProof, InclusionProof, SealError, Sealer};
use uuid::Uuid;

use super::{
    check::check,
    trail::{Trail, key},
};

#[tokio::test]
async fn inclusion_of_every_event_is_proved_offline_and_of_no_other() {
    let trail = Trail::new().await;
    let events = trail.record(11).await;
    trail.seal(&Sealer::new(key(1))).await.unwrap();
    let public = key(1).public();
    let trusted = [public.to_string()];
    for event in events {
        let mut tx = trail.begin().await;
        let proof = InclusionProof::of(&mut tx, event).await.unwrap();
        assert!(proof.holds(public) && !proof.holds(key(2).public()));
        let json = serde_json::to_string(&proof).unwrap();
        let said = check(&json, &trusted).unwrap();
        assert!(said.starts_with("the event is leaf "), "{said}");
        assert!(check(&json, &[key(2).public().to_string()]).unwrap_err().contains("not trusted"));
        for (from, to) in [
            ("project.renamed", "project.removed"),
            ("Brücke", "Brucke"),
            ("\"position\":", "\"position\":1"),
            ("size 11", "size 12"),
            ("\"path\":[", "\"path\":[\"00\","),
        ] {
            let forged = json.replacen(from, to, 1);
            assert_ne!(forged, json);
            assert!(check(&forged, &trusted).is_err(), "{from} to {to}");
            let read = serde_json::from_str::<InclusionProof>(&forged);
            assert!(!read.is_ok_and(|proof| proof.holds(public)), "{from} to {to}");
        }
    }
}

#[tokio::test]
async fn inclusion_is_proved_of_sealed_events_of_the_tenant_alone() {
    let (trail, events) = Trail::sealed().await;
    let unsealed = trail.record(1).await;
    let other = trail.db.tenant("b", formwork_tenancy::Isolation::Shared).await;
    let mut tx = trail.begin().await;
    for event in [unsealed[0], Uuid::nil()] {
        let refused = InclusionProof::of(&mut tx, event).await;
        assert!(matches!(refused, Err(SealError::NotSealed { event: named }) if named == event));
    }
    let session = trail.db.session(&other, formwork_tenancy::Actor::system("test"));
    let mut tx = trail.db.tenants().begin(&session).await.unwrap();
    assert!(matches!(InclusionProof::of(&mut tx, events[0]).await, Err(SealError::NotSealed { .. })));
}

#[tokio::test]
async fn inclusion_of_what_was_signed_before_in_what_was_signed_later_is_proved() {
    let trail = Trail::new().await;
    let sealer = Sealer::new(key(1));
    for count in [1, 2, 4, 5, 1, 7] {
        trail.record(count).await;
        trail.seal(&sealer).await.unwrap();
    }
    trail.seal(&Sealer::new(key(2)).retiring(key(1))).await.unwrap();
    let key_of = |number| if number == 7 { key(2).public() } else { key(1).public() };
    let trusted = [key(1).public().to_string(), key(2).public().to_string()];
    for second in 1..=7 {
        for first in 1..=second {
            let mut tx = trail.begin().await;
            let proof = ConsistencyProof::of(&mut tx, first, second).await.unwrap();
            assert!(proof.holds(key_of(first), key_of(second)), "{first} to {second}");
            let json = serde_json::to_string(&proof).unwrap();
            check(&json, &trusted).unwrap();
            let turned = serde_json::to_value(&proof).unwrap();
            let turned = serde_json::json!({
                "format": turned["format"], "path": turned["path"], "first": turned["second"], "second": turned["first"],
            });
            let grows = first != second && (first, second) != (6, 7);
            assert_eq!(check(&turned.to_string(), &trusted).is_err(), grows, "{second} back to {first}");
        }
    }
    let mut tx = trail.begin().await;
    assert!(matches!(ConsistencyProof::of(&mut tx, 0, 1).await, Err(SealError::NoCheckpoint { number: 0 })));
    assert!(matches!(ConsistencyProof::of(&mut tx, 1, 8).await, Err(SealError::NoCheckpoint { number: 8 })));
}
