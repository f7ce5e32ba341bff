//! Constraints see all rows: keys that reach across tenants.

use super::{By, Patient, walled};

#[tokio::test]
async fn a_unique_value_tells_that_another_tenant_has_it() {
    let mut patient = Patient::new().await;
    let seed =
        "alter table shared.projects add constraint projects_number unique nulls not distinct (number)";
    let object = "constraint projects_number on shared.projects";
    patient.repairs(By::Owner, seed, &[("unique-without-tenant", object)]).await;

    let seed = "create unique index by_name on shared.projects (lower(name)) where deleted_at is null";
    patient.repairs(By::Owner, seed, &[("unique-without-tenant", "index shared.by_name")]).await;
}

#[tokio::test]
async fn a_primary_key_without_the_tenant() {
    let mut patient = Patient::new().await;
    let seed = "create table shared.keyed (id uuid primary key,
                  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid);
                create index on shared.keyed (tenant_id);"
        .to_owned()
        + &formwork_tenancy::TenantTable::new("shared.keyed").sql().unwrap();
    let object = "constraint keyed_pkey on shared.keyed";
    patient.repairs(By::Owner, &seed, &[("unique-without-tenant", object)]).await;
}

#[tokio::test]
async fn a_unique_index_that_ends_with_the_tenant_or_excludes_across_them() {
    let mut patient = Patient::new().await;
    patient
        .leaves_to_people(
            By::Owner,
            "create unique index backwards on shared.projects (id, tenant_id)",
            &[("unique-without-tenant", "index shared.backwards")],
            "drop index shared.backwards",
        )
        .await;
    patient
        .leaves_to_people(
            By::Owner,
            "alter table shared.projects add column during daterange,
               add constraint one_at_a_time exclude using gist (during with &&)",
            &[("unique-without-tenant", "constraint one_at_a_time on shared.projects")],
            "alter table shared.projects drop column during",
        )
        .await;
}

#[tokio::test]
async fn a_foreign_key_that_reaches_into_another_tenant() {
    let mut patient = Patient::new().await;
    let seed = walled("things", "name text,")
        + "create unique index things_id on shared.things (tenant_id, id, name);
           alter table shared.things add constraint things_once unique (tenant_id, name, id);"
        + &walled("parts", "thing uuid, unique (tenant_id, thing),")
        + &walled("tokens", "token uuid not null, unique (tenant_id, token),");
    patient.is_fine(By::Owner, &seed).await;
    // A key on the id alone is what such a foreign key rests on: both are found, and the foreign key goes first.
    let seed = "alter table shared.things add constraint things_id_key unique (id);
                alter table shared.parts add constraint parts_thing foreign key (thing) references shared.things (id)
                  on delete cascade";
    let (fk, key) = ("constraint parts_thing on shared.parts", "constraint things_id_key on shared.things");
    let report =
        patient.is_found(By::Owner, seed, &[("fk-without-tenant", fk), ("unique-without-tenant", key)]).await;
    let sql = report.findings()[0].sql().unwrap().to_owned();
    assert!(sql.contains(
        "FOREIGN KEY (tenant_id, thing) REFERENCES shared.things(tenant_id, id) ON DELETE CASCADE"
    ));
    assert_eq!(report.findings()[1].sql(), None, "the foreign key rests on it");
    patient.run(By::Owner, &sql).await;
    let report = patient.report().await;
    assert_eq!(super::found(&report), [("unique-without-tenant", key)]);
    patient.run(By::Owner, report.findings()[0].sql().unwrap()).await;
    assert_eq!(patient.found().await, []);
}

#[tokio::test]
async fn a_foreign_key_that_would_clear_the_tenant_is_left_to_people() {
    let mut patient = Patient::new().await;
    let tables = walled("things", "name text,") + &walled("parts", "thing uuid,");
    patient.is_fine(By::Owner, &tables).await;
    let seed = "alter table shared.things add constraint things_id_key unique (id);
                alter table shared.parts add constraint parts_thing foreign key (thing) references shared.things (id)
                  on delete set null";
    let expected = [
        ("fk-without-tenant", "constraint parts_thing on shared.parts"),
        ("unique-without-tenant", "constraint things_id_key on shared.things"),
    ];
    let undo = "alter table shared.things drop constraint things_id_key cascade";
    patient.leaves_to_people(By::Owner, seed, &expected, undo).await;
}

#[tokio::test]
async fn a_table_that_no_index_finds_a_tenant_in() {
    let mut patient = Patient::new().await;
    let seed = walled("heap", "body text,") + "alter table shared.heap drop constraint heap_pkey";
    patient.repairs(By::Owner, &seed, &[("index-without-tenant", "shared.heap")]).await;
}
