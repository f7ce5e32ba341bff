//! Fields about people: whoever may read the database does not, and a tenant's key can be destroyed.

use formwork_audit::{
    Audit, AuditError, Event, Filter,
    seal::{InclusionProof, Sealer},
};
use formwork_tenancy::keys::{KeyError, Keys, LocalKeyFile};

use super::trail::{Trail, key};

#[tokio::test]
async fn shredding_makes_personal_fields_unreadable_and_every_proof_still_holds() {
    let trail = Trail::new().await;
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::new(LocalKeyFile::open_or_create(folder.path().join("keys.json")).unwrap());
    let audit = Audit::new().keys(keys.clone());
    let event = Event::new("member.invited").personal("email", "anna@example.com").personal("name", "Anna");
    assert!(!format!("{event:?}").contains("anna@"), "{event:?}");
    let mut tx = trail.begin().await;
    let id =
        audit.record_many(&mut tx, &[Event::new("a.b"), event.clone()]).await.map(|()| event.id()).unwrap();
    tx.commit().await.unwrap();
    trail.seal(&Sealer::new(key(1))).await.unwrap();

    let mut tx = trail.begin().await;
    let page = audit.list(&mut tx, &Filter::default(), None, 10).await.unwrap();
    let stored = page.events.iter().find(|event| event.id == id).unwrap();
    let text = serde_json::to_string(stored).unwrap();
    assert!(!text.contains("anna@") && text.contains("sealed:"), "{text}");
    let opened = audit.open_personal(&mut tx, stored).await.unwrap();
    assert_eq!((&*opened["email"], &*opened["name"]), ("anna@example.com", "Anna"));
    let other = page.events.iter().find(|event| event.id != id).unwrap();
    assert!(audit.open_personal(&mut tx, other).await.unwrap().is_empty());
    let proof = InclusionProof::of(&mut tx, id).await.unwrap();
    assert!(!serde_json::to_string(&proof).unwrap().contains("anna@"));
    tx.commit().await.unwrap();

    let session = trail.db.session(&trail.tenant, formwork_tenancy::Actor::system("test"));
    keys.shred(trail.db.tenants(), &session).await.unwrap();

    let mut tx = trail.begin().await;
    let refused = audit.open_personal(&mut tx, stored).await;
    assert!(matches!(refused, Err(AuditError::Keys(KeyError::Shredded { .. }))), "{refused:?}");
    assert_eq!(InclusionProof::of(&mut tx, id).await.unwrap(), proof);
    assert!(proof.holds(key(1).public()));
    drop(tx);
    let verification = trail.verify().await;
    assert!(verification.is_intact() && verification.events() == 2, "{verification:?}");
}

#[tokio::test]
async fn personal_fields_without_keys_are_refused_and_not_stored_open() {
    let trail = Trail::new().await;
    let mut tx = trail.begin().await;
    let refused = Audit::new().record(&mut tx, Event::new("member.invited").personal("email", "a@b.c")).await;
    assert!(matches!(refused, Err(AuditError::NoKeys)), "{refused:?}");
}
