//! `/api/v1/tenant`.

use formwork_service::modules::members::Role;
use formwork_tenancy::Isolation;
use serde_json::json;

use crate::kit::Service;

#[tokio::test]
async fn a_member_sees_the_tenant_of_the_host() {
    let service = Service::start().await;
    for (slug, isolation) in [("a", Isolation::Shared), ("b", Isolation::Schema)] {
        let site = service.tenant(slug, isolation).await;
        let member = site.member(&format!("{slug}-billing"), Role::Billing).await;
        let tenant = member.get("/api/v1/tenant").await.is(200).json();
        assert_eq!(
            tenant,
            json!({
                "id": site.tenant.id(), "slug": slug, "name": slug, "isolation": isolation.as_str(),
                "region": "local", "plan": "standard", "default_currency": "KWD", "time_zone": "UTC",
            })
        );
    }
}

#[tokio::test]
async fn whoever_has_no_role_does_not() {
    let service = Service::start().await;
    let site = service.tenant("a", Isolation::Shared).await;
    let nobody = site.outsider("nobody").await;
    nobody.get("/api/v1/tenant").await.problem(404, "not-found");
}

/// A token outlives the membership by a quarter of an hour, but opens nothing: what counts is the relationship.
#[tokio::test]
async fn a_removed_member_sees_nothing_at_once() {
    let service = Service::start().await;
    let site = service.tenant("a", Isolation::Schema).await;
    let ada = site.member("ada", Role::Owner).await;
    ada.get("/api/v1/tenant").await.is(200);
    site.execute("delete from members").await;
    site.execute("delete from permission_tuples where subject_ns = 'user'").await;
    ada.get("/api/v1/tenant").await.problem(404, "not-found");
    ada.get("/api/v1/audit").await.problem(404, "not-found");
    let none = ada.get("/api/v1/projects").await.is(200).json();
    assert_eq!(none["data"], json!([]));
}
