//! A domain of a tenant's own: claimed by anybody, proven by one.

use formwork_tenancy::{
    Actor, ControlPlane, DomainClaim, DomainError, Isolation, Resolver, Source, Tenant, Tenants,
    testing::TestDatabase,
};

use super::kit::{Head, ask, refused};
use crate::isolation::database;

const HOST: &str = "build.example";

fn us() -> Actor {
    Actor::system("test")
}

async fn claim(control: &ControlPlane, tenant: &Tenant, host: &str) -> DomainClaim {
    control.add_domain(tenant.id(), host).await.unwrap()
}

async fn verify(
    control: &ControlPlane,
    tenant: &Tenant,
    claim: &DomainClaim,
) -> Result<DomainClaim, DomainError> {
    control.verify_domain(tenant.id(), claim.host(), &[claim.record_value()], &us()).await
}

async fn two() -> (TestDatabase, ControlPlane, Tenant, Tenant) {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Schema).await);
    let control = db.control().clone().base_domain("formwork.test").unwrap();
    (db, control, a, b)
}

/// Another process, which remembers nothing.
async fn elsewhere(db: &TestDatabase) -> (Tenants, Resolver) {
    let tenants = db.connect(Tenants::builder()).await;
    let resolver = Resolver::builder(&tenants).host().build().unwrap();
    (tenants, resolver)
}

#[tokio::test]
async fn a_domain_answers_from_its_proof_until_its_removal() {
    let (db, control, a, _) = two().await;
    let made = claim(&control, &a, "Büro.BUILD.example.").await;
    assert_eq!(made.host(), "xn--bro-hoa.build.example");
    assert_eq!(made.record_name(), "_formwork-challenge.xn--bro-hoa.build.example");
    assert_eq!(claim(&control, &a, "büro.build.example").await, made, "the proof stays the same");
    let host = Head::host("xn--bro-hoa.build.example:443");
    let (tenants, resolver) = elsewhere(&db).await;
    assert_eq!(refused(&resolver, &host).await, (404, "unknown-tenant"));
    tenants.close().await;

    for wrong in [&[][..], &["".to_owned()], &[made.record_value().to_uppercase()], &[made.record_name()]] {
        let error = control.verify_domain(a.id(), made.host(), wrong, &us()).await.unwrap_err();
        assert!(error.to_string().contains(&made.record_value()), "the remedy is told: {error}");
    }
    let found = ["v=spf1 -all".to_owned(), format!(" {} ", made.record_value())];
    let proven = control.verify_domain(a.id(), "BÜRO.build.example", &found, &us()).await.unwrap();
    assert!(proven.verified_at().is_some());
    assert_eq!(control.domains(a.id()).await.unwrap(), std::slice::from_ref(&proven));
    assert_eq!(verify(&control, &a, &made).await.unwrap(), proven, "proven once is proven");
    let (tenants, resolver) = elsewhere(&db).await;
    let resolved = ask(&resolver, &host).await.unwrap();
    assert_eq!((resolved.tenant().id(), resolved.named_by()), (a.id(), &[Source::Domain][..]));
    assert!(resolved.tenant().version() > a.version(), "whoever remembers an older entry is told");
    assert_eq!(refused(&resolver, &Head::host("x.xn--bro-hoa.build.example")).await, (404, "unknown-tenant"));
    tenants.close().await;

    assert!(control.remove_domain(a.id(), "Büro.build.example", &us()).await.unwrap());
    assert!(!control.remove_domain(a.id(), "büro.build.example", &us()).await.unwrap());
    let (tenants, resolver) = elsewhere(&db).await;
    assert_eq!(refused(&resolver, &host).await, (404, "unknown-tenant"));
    tenants.close().await;
    let again = claim(&control, &a, "büro.build.example").await;
    assert_ne!(again.record_value(), made.record_value(), "an old record proves no new claim");
    assert!(matches!(verify(&control, &a, &made).await, Err(DomainError::NotProven { .. })));
}

#[tokio::test]
async fn a_claim_blocks_nobody_and_a_proof_everybody() {
    let (db, control, a, b) = two().await;
    let (of_a, of_b) = (claim(&control, &a, HOST).await, claim(&control, &b, HOST).await);
    assert_ne!(of_a.record_value(), of_b.record_value(), "each tenant proves its own");
    let others = verify(&control, &b, &of_a).await.unwrap_err();
    assert!(matches!(others, DomainError::NotProven { .. }), "{others}");
    // Who claimed later may be the owner.
    verify(&control, &b, &of_b).await.unwrap();
    let late = verify(&control, &a, &of_a).await.unwrap_err();
    assert!(
        matches!(late, DomainError::Taken { .. }) && !late.to_string().contains(&b.id().to_string()),
        "{late}"
    );
    assert!(claim(&control, &a, HOST).await.verified_at().is_none());
    assert!(!control.remove_domain(db.tenant("c", Isolation::Shared).await.id(), HOST, &us()).await.unwrap());
    let (tenants, resolver) = elsewhere(&db).await;
    assert_eq!(ask(&resolver, &Head::host(HOST)).await.unwrap().tenant().id(), b.id());
    tenants.close().await;
    control.remove_domain(b.id(), HOST, &us()).await.unwrap();
    verify(&control, &a, &of_a).await.unwrap();
    let (tenants, resolver) = elsewhere(&db).await;
    assert_eq!(ask(&resolver, &Head::host(HOST)).await.unwrap().tenant().id(), a.id());
    tenants.close().await;
}

/// Both have the record in DNS and verify at once: the database lets one.
#[tokio::test]
async fn of_two_proofs_at_once_one_wins() {
    let (_db, control, a, b) = two().await;
    for n in 0..10 {
        let host = format!("race-{n}.example");
        let (of_a, of_b) = (claim(&control, &a, &host).await, claim(&control, &b, &host).await);
        let (first, second) = tokio::join!(verify(&control, &a, &of_a), verify(&control, &b, &of_b));
        assert!(first.is_ok() != second.is_ok(), "{host}");
        let lost = first.and(second).unwrap_err();
        assert!(matches!(lost, DomainError::Taken { .. }), "{lost}");
    }
}

#[tokio::test]
async fn the_platforms_own_and_what_is_no_domain_cannot_be_claimed() {
    let (_db, control, a, _) = two().await;
    for refused in [
        "formwork.test",
        "FORMWORK.test.",
        "b.formwork.test",
        "x.y.formwork.test",
        "10.0.0.1",
        "[::1]",
        "localhost",
    ] {
        let error = control.add_domain(a.id(), refused).await.unwrap_err();
        assert!(matches!(error, DomainError::Refused { .. }), "{refused}: {error}");
    }
    let long = format!("{}example", "a.".repeat(120));
    let error = control.add_domain(a.id(), &long).await.unwrap_err();
    assert!(matches!(error, DomainError::Refused { .. }), "{error}");
    for invalid in
        ["", "a b.example", "*.example", "a_b.example", "https://a.example", "a.example:80", "xn--a.example"]
    {
        let error = control.add_domain(a.id(), invalid).await.unwrap_err();
        assert!(matches!(error, DomainError::Invalid { .. }), "{invalid}: {error}");
    }
    let unclaimed = control.verify_domain(a.id(), HOST, &["x"], &us()).await.unwrap_err();
    assert!(matches!(unclaimed, DomainError::NotClaimed { .. }), "{unclaimed}");
    control.add_domain(a.id(), "notformwork.test").await.unwrap();
}
