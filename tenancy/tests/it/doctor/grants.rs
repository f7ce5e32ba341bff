//! Grants that pass by row security.

use formwork_tenancy::doctor::DoctorConfig;

use super::{By, Patient, walled};

#[tokio::test]
async fn a_schema_in_which_the_service_may_create() {
    let mut patient = Patient::new().await;
    for (schema, holder) in [("shared", "formwork_app"), ("platform", "public"), ("shared", "formwork_relay")]
    {
        let seed = format!("grant create on schema {schema} to {holder}");
        patient.repairs(By::Owner, &seed, &[("schema-create", &format!("schema {schema}"))]).await;
    }
}

#[tokio::test]
async fn truncate_references_and_trigger_ask_no_policy() {
    let mut patient = Patient::new().await;
    for holder in ["formwork_app", "public", "formwork_relay"] {
        let seed = format!("grant truncate, references, trigger on shared.projects to {holder}");
        patient.repairs(By::Owner, &seed, &[("grant-beyond-rows", "shared.projects")]).await;
    }
    let seed = "grant references (id) on shared.projects to formwork_app";
    patient.repairs(By::Owner, seed, &[("grant-beyond-rows", "shared.projects")]).await;
}

#[tokio::test]
async fn a_login_that_could_list_the_tenants() {
    let mut patient = Patient::new().await;
    for seed in [
        "grant select on platform.tenants to formwork_app",
        "grant select on platform.tenants to public",
        "grant select (slug) on platform.tenants to formwork_app",
    ] {
        patient.repairs(By::Owner, seed, &[("platform-table-granted", "platform.tenants")]).await;
    }
}

#[tokio::test]
async fn a_table_of_the_platform_is_a_stream_only_when_it_is_named() {
    let mut patient = Patient::new().await;
    let table = walled("jobs", "kind text not null,") + "alter table shared.jobs set schema platform;";
    patient.is_found(By::Owner, &table, &[("platform-table-granted", "platform.jobs")]).await;
    patient.config = DoctorConfig::new().stream("platform.jobs");
    patient.is_fine(By::Owner, "select 1").await;
    // And then it is held to what streams are held to.
    let seed = "alter table platform.jobs no force row level security";
    patient.repairs(By::Owner, seed, &[("rls-not-forced", "platform.jobs")]).await;
}

#[tokio::test]
async fn a_relay_that_reads_more_than_streams() {
    let mut patient = Patient::new().await;
    for table in ["shared.projects", "platform.users"] {
        let seed = format!("grant select on {table} to formwork_relay");
        patient.repairs(By::Owner, &seed, &[("relay-granted", table)]).await;
    }
}

#[tokio::test]
async fn a_partition_passes_by_the_policy_of_its_parent() {
    let mut patient = Patient::new().await;
    let tables = "create table shared.readings (
            tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
            id uuid not null, primary key (tenant_id, id)) partition by range (id);"
        .to_owned()
        + &formwork_tenancy::TenantTable::new("shared.readings").sql().unwrap()
        + "create table shared.readings_all partition of shared.readings default;";
    patient.is_fine(By::Owner, &tables).await;
    let seed = "grant select on shared.readings_all to formwork_app";
    patient.repairs(By::Owner, seed, &[("partition-granted", "shared.readings_all")]).await;
}

#[tokio::test]
async fn a_materialized_view_has_no_row_security() {
    let mut patient = Patient::new().await;
    let view = "create materialized view shared.project_counts as
                  select tenant_id, count(*) from shared.projects group by 1";
    patient.is_fine(By::Owner, view).await;
    let seed = "grant select on shared.project_counts to formwork_app";
    patient.repairs(By::Owner, seed, &[("matview-granted", "shared.project_counts")]).await;
}

#[tokio::test]
async fn a_materialized_view_outside_the_homes_is_seen_by_what_it_reads() {
    let mut patient = Patient::new().await;
    let seed = "create schema reports; grant usage on schema reports to formwork_app;
                create materialized view reports.projects as select name from shared.projects;
                grant select on reports.projects to formwork_app";
    patient.repairs(By::Owner, seed, &[("matview-granted", "reports.projects")]).await;
}

#[tokio::test]
async fn a_foreign_table_has_no_row_security() {
    let mut patient = Patient::new().await;
    let table = "create foreign data wrapper nowhere; create server elsewhere foreign data wrapper nowhere;
                 create foreign table shared.remote (tenant_id uuid not null, body text) server elsewhere";
    patient.is_fine(By::Superuser, table).await;
    let seed = "grant select on shared.remote to formwork_app";
    patient.repairs(By::Superuser, seed, &[("foreign-table-granted", "shared.remote")]).await;
}
