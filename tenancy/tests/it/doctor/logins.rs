//! Logins that row security does not hold. Roles are the cluster's, so each test has its own.

use formwork_tenancy::{doctor::DoctorConfig, local_postgres::LocalRole};
use sqlx::{Connection, PgConnection};

use super::{By, Patient};

async fn patient_with(role: &str) -> Patient {
    let mut patient = Patient::with(DoctorConfig::new().app_role(role)).await;
    patient.run(By::Superuser, &format!("create role {role} login in role formwork_app")).await;
    patient
}

#[tokio::test]
async fn a_superuser_as_login() {
    let mut patient = patient_with("seed_superuser").await;
    let seed = "alter role seed_superuser superuser";
    patient.repairs(By::Superuser, seed, &[("login-superuser", "seed_superuser")]).await;
}

#[tokio::test]
async fn attributes_that_lead_past_row_security() {
    let mut patient = patient_with("seed_attributes").await;
    for (attribute, code) in [
        ("bypassrls", ("login-bypassrls", "seed_attributes")),
        ("createrole", ("login-createrole", "seed_attributes")),
        ("replication", ("login-replication", "seed_attributes")),
    ] {
        let seed = format!("alter role seed_attributes {attribute}");
        patient.repairs(By::Superuser, &seed, &[code]).await;
    }
}

#[tokio::test]
async fn membership_of_a_role_with_bypassrls_through_another() {
    let mut patient = patient_with("seed_indirect").await;
    let seed = "create role seed_backup bypassrls; create role seed_between in role seed_backup;
                grant seed_between to seed_indirect";
    patient.repairs(By::Superuser, seed, &[("login-member", "seed_indirect")]).await;
    // Through the first step, which is the one that was too much.
    let kept: bool = sqlx::query_scalar("select pg_has_role('seed_between', 'seed_backup', 'member')")
        .fetch_one(&mut patient.superuser)
        .await
        .unwrap();
    assert!(kept);
}

#[tokio::test]
async fn membership_of_the_owner() {
    let mut patient = patient_with("seed_of_owner").await;
    let seed = "grant formwork_owner to seed_of_owner";
    patient.repairs(By::Superuser, seed, &[("login-member", "seed_of_owner")]).await;
}

#[tokio::test]
async fn membership_of_a_role_that_reads_everything() {
    let mut patient = patient_with("seed_reads_all").await;
    for role in ["pg_read_all_data", "pg_read_server_files"] {
        let seed = format!("grant {role} to seed_reads_all");
        patient.repairs(By::Superuser, &seed, &[("login-member", "seed_reads_all")]).await;
    }
}

#[tokio::test]
async fn a_relay_that_is_a_superuser() {
    let mut patient = Patient::with(DoctorConfig::new().relay_role("seed_relay")).await;
    // The streams' policies are for the relay of the migrations: this one has its own, as the doctor must see.
    let own = "create role seed_relay login;
               alter policy relay_reads on platform.outbox to seed_relay;
               alter policy relay_reads on platform.permission_changes to seed_relay;
               alter policy relay_reads on platform.sweep_hints to seed_relay;
               alter policy relay_reads on platform.audit_outbox to seed_relay";
    patient.is_fine(By::Superuser, own).await;
    let seed = "alter role seed_relay superuser";
    patient.repairs(By::Superuser, seed, &[("login-superuser", "seed_relay")]).await;
}

#[tokio::test]
async fn a_login_that_owns_what_it_should_be_held_by() {
    let mut patient = patient_with("seed_owner").await;
    for (what, object) in [
        ("table shared.projects", "table shared.projects"),
        ("schema shared", "schema shared"),
        ("function platform.log_permission_insert()", "routine platform.log_permission_insert()"),
    ] {
        let seed = format!("alter {what} owner to seed_owner");
        patient.repairs(By::Superuser, &seed, &[("login-owner", object)]).await;
    }
}

#[tokio::test]
async fn a_login_that_does_not_exist() {
    let mut patient = Patient::with(DoctorConfig::new().app_role("seed_nobody")).await;
    let found = patient.found().await;
    assert!(found.contains(&("role-missing".to_owned(), "seed_nobody".to_owned())), "{found:?}");
    patient.run(By::Superuser, "create role seed_nobody").await;
    let seed = "drop role seed_nobody";
    patient.repairs(By::Superuser, seed, &[("role-missing", "seed_nobody")]).await;
}

#[tokio::test]
async fn a_tenant_that_is_set_for_everybody_who_connects() {
    let mut patient = patient_with("seed_preset").await;
    let name = patient.db.name().to_owned();
    let tenant = "app.current_tenant = '0195f0aa-0000-7000-8000-000000000001'";
    for place in [
        "role seed_preset".to_owned(),
        format!("role seed_preset in database {name}"),
        format!("database {name}"),
    ] {
        let seed = format!("alter {place} set {tenant}");
        patient.repairs(By::Superuser, &seed, &[("context-preset", &place)]).await;
    }
    let seed = "alter role seed_preset set session_replication_role = replica";
    patient.repairs(By::Superuser, seed, &[("context-preset", "role seed_preset")]).await;
}

#[tokio::test]
async fn a_temporary_table_could_shadow_a_tenants() {
    let mut patient = Patient::new().await;
    let name = patient.db.name().to_owned();
    let object = format!("database {name}");
    for holder in ["public", "formwork_app"] {
        let seed = format!("grant temporary on database {name} to {holder}");
        patient.repairs(By::Owner, &seed, &[("database-temp", &object)]).await;
    }
}

#[tokio::test]
async fn a_login_that_may_make_schemas() {
    let mut patient = Patient::new().await;
    let name = patient.db.name().to_owned();
    let seed = format!("grant create on database {name} to formwork_app");
    patient.repairs(By::Owner, &seed, &[("database-create", &format!("database {name}"))]).await;
}

#[tokio::test]
async fn the_service_itself_can_ask_about_its_login() {
    let mut patient = Patient::new().await;
    let name = patient.db.name().to_owned();
    patient.run(By::Owner, &format!("grant temporary on database {name} to public")).await;
    let report = patient.db.tenants().doctor_login(&patient.config).await.unwrap();
    assert_eq!(super::found(&report), [("database-temp", format!("database {name}").as_str())]);

    let mut app = PgConnection::connect_with(&patient.db.options(LocalRole::App).await).await.unwrap();
    sqlx::raw_sql("create temp table notes (body text)").execute(&mut app).await.unwrap();
}
