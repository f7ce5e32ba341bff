//! Tables outside the wall, and columns that lead there.

use formwork_tenancy::{Isolation, doctor::DoctorConfig};

use super::{By, Patient, walled};

#[tokio::test]
async fn policies_without_row_security_mean_nothing() {
    let mut patient = Patient::new().await;
    for table in ["shared.projects", "platform.outbox"] {
        let seed = format!("alter table {table} disable row level security");
        patient.repairs(By::Owner, &seed, &[("rls-not-enabled", table)]).await;
    }
}

#[tokio::test]
async fn the_owner_is_exempt_unless_forced() {
    let mut patient = Patient::new().await;
    let seed = "alter table shared.projects no force row level security";
    patient.repairs(By::Owner, seed, &[("rls-not-forced", "shared.projects")]).await;
}

#[tokio::test]
async fn a_table_that_somebody_made_without_the_generator() {
    let mut patient = Patient::new().await;
    let seed = "create schema crm; create table crm.\"Contacts\" (tenant_id uuid not null, id uuid not null,
                  primary key (tenant_id, id)); grant select on crm.\"Contacts\" to formwork_app";
    let object = "crm.\"Contacts\"";
    let expected = [("rls-not-enabled", object), ("rls-not-forced", object), ("policy-missing", object)];
    patient.repairs(By::Owner, seed, &expected).await;
}

#[tokio::test]
async fn the_wall_of_a_tenants_own_schema_is_looked_at_too() {
    let mut patient = Patient::new().await;
    let tenant = patient.db.tenant("own", Isolation::Schema).await;
    let table = format!("t_{}.tasks", tenant.id().as_uuid().simple());
    let seed = format!("alter table {table} disable row level security");
    patient.repairs(By::Owner, &seed, &[("rls-not-enabled", &table)]).await;
}

#[tokio::test]
async fn a_table_of_everybody_has_to_be_named() {
    let mut patient = Patient::new().await;
    let seed = "create table shared.currencies (code text primary key);
                grant select on shared.currencies to formwork_app";
    patient
        .leaves_to_people(
            By::Owner,
            seed,
            &[("table-without-tenant", "shared.currencies")],
            "drop table shared.currencies",
        )
        .await;
    patient.config = DoctorConfig::new().global_table("currencies");
    patient.is_fine(By::Owner, seed).await;
}

#[tokio::test]
async fn a_tenant_column_of_another_type() {
    let mut patient = Patient::new().await;
    let seed =
        "create table shared.texts (tenant_id text not null, id uuid not null, primary key (tenant_id, id));
        alter table shared.texts enable row level security; alter table shared.texts force row level security;
        create policy tenant_isolation_8c2860cb on shared.texts
          using (tenant_id = (select current_setting('app.current_tenant', true)))
          with check (tenant_id = (select current_setting('app.current_tenant', true)))";
    patient
        .leaves_to_people(
            By::Owner,
            seed,
            &[("tenant-column-type", "shared.texts")],
            "drop table shared.texts",
        )
        .await;
}

#[tokio::test]
async fn a_row_of_no_tenant() {
    let mut patient = Patient::new().await;
    let seed = walled("loose", "body text,")
        + "alter table shared.loose drop constraint loose_pkey; alter table shared.loose alter tenant_id drop not null;
           create unique index on shared.loose (tenant_id, id)";
    patient.repairs(By::Owner, &seed, &[("tenant-column-nullable", "shared.loose")]).await;
}

#[tokio::test]
async fn an_insert_that_names_no_tenant() {
    let mut patient = Patient::new().await;
    for change in ["drop default", "set default '0195f0aa-0000-7000-8000-000000000001'"] {
        let seed = format!("alter table shared.projects alter tenant_id {change}");
        patient.repairs(By::Owner, &seed, &[("tenant-column-default", "shared.projects")]).await;
    }
}

#[tokio::test]
async fn a_sequence_tells_how_much_the_others_write() {
    let mut patient = Patient::new().await;
    let seed = walled("serial", "number bigserial,")
        + &walled("identity", "number int generated always as identity,");
    patient
        .leaves_to_people(
            By::Owner,
            &seed,
            &[("sequence-shared", "shared.serial"), ("sequence-shared", "shared.identity")],
            "drop table shared.serial, shared.identity",
        )
        .await;
}
