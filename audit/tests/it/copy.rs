//! A tenant that is copied: its events come along, and its log begins anew.

use formwork_audit::{
    Audit, Filter,
    seal::{Sealer, Verifier},
};
use formwork_tenancy::{
    Actor, HomePlace,
    archive::{ExportOptions, ImportOptions},
};

use super::trail::{Trail, key};

#[tokio::test]
async fn a_copy_takes_the_events_and_no_seals_of_another_tenant() {
    let (trail, events) = Trail::sealed().await;
    let control = trail.db.control();
    let mut file = Vec::new();
    control.export_tenant(trail.tenant.id(), ExportOptions::new(), &mut file, |_| ()).await.unwrap();
    for (slug, place) in [("copy-a", HomePlace::shared()), ("copy-b", HomePlace::schema())] {
        let options = ImportOptions::new().copy_named(slug).place(place);
        control.import_tenant(file.as_slice(), &options, |_| ()).await.unwrap();
        let copy = trail.db.tenants().by_slug(slug).await.unwrap().unwrap();
        let session = trail.db.session(&copy, Actor::system("test"));
        let verify = async || {
            let mut tx = trail.db.tenants().begin_read(&session).await.unwrap();
            Verifier::new([key(2).public()]).verify(&mut tx).await.unwrap()
        };
        let found = verify().await;
        assert!(found.is_intact(), "{found:?}");
        assert_eq!((found.checkpoints(), found.events(), found.unsealed()), (0, 0, events.len() as u64));
        // With a key of its own, from the first checkpoint on.
        let mut tx = trail.db.tenants().begin(&session).await.unwrap();
        let sealed = Sealer::new(key(2)).seal(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!((Trail::number(&sealed), sealed.events()), (Some(1), events.len() as u64));
        assert!(verify().await.is_intact());
        let mut tx = trail.db.tenants().begin_read(&session).await.unwrap();
        assert_eq!(Audit::new().count(&mut tx, &Filter::default()).await.unwrap(), events.len() as u64);
    }
}

#[tokio::test]
async fn a_tenant_that_is_restored_under_its_own_identity_keeps_its_seals() {
    let (trail, events) = Trail::sealed().await;
    let mut file = Vec::new();
    let control = trail.db.control();
    control.export_tenant(trail.tenant.id(), ExportOptions::new(), &mut file, |_| ()).await.unwrap();
    let other = super::database().await;
    other.control().import_tenant(file.as_slice(), &ImportOptions::new(), |_| ()).await.unwrap();
    let there = other.tenants().by_id(trail.tenant.id()).await.unwrap().unwrap();
    let mut tx = other.tenants().begin_read(&other.session(&there, Actor::system("test"))).await.unwrap();
    let found = Verifier::new([key(1).public()]).verify(&mut tx).await.unwrap();
    assert!(found.is_intact() && found.checkpoints() == 2, "{found:?}");
    assert_eq!(found.events(), events.len() as u64);
}
