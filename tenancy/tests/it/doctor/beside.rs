//! What stands beside the tables: views, functions, types, triggers, homes.

use formwork_tenancy::{Isolation, doctor::DoctorConfig};

use super::{By, Patient};

#[tokio::test]
async fn a_view_reads_with_its_owners_eyes() {
    let mut patient = Patient::new().await;
    let seed = "create view shared.open_projects as select * from shared.projects where deleted_at is null";
    patient.repairs(By::Owner, seed, &[("view-not-invoker", "shared.open_projects")]).await;
    let seed = "create schema reports; create view reports.names as select name from shared.projects";
    patient.repairs(By::Owner, seed, &[("view-not-invoker", "reports.names")]).await;
    let seed = "alter view shared.open_projects set (security_invoker = off)";
    patient.repairs(By::Owner, seed, &[("view-not-invoker", "shared.open_projects")]).await;
}

#[tokio::test]
async fn a_definer_function_whose_names_the_caller_decides() {
    let mut patient = Patient::new().await;
    let object = "platform.tenant_by_slug(text)";
    for change in [
        "reset search_path",
        "set search_path = pg_temp, pg_catalog",
        "set search_path = \"$user\", pg_catalog, pg_temp",
    ] {
        let seed = format!("alter function {object} {change}");
        patient.repairs(By::Owner, &seed, &[("definer-search-path", object)]).await;
    }
    patient.is_fine(By::Owner, &format!("alter function {object} set search_path = pg_catalog")).await;
    patient.is_fine(By::Owner, &format!("alter function {object} set search_path = ''")).await;
}

#[tokio::test]
async fn a_definer_function_with_a_schema_on_its_path_that_the_service_may_write() {
    let mut patient = Patient::new().await;
    let scratch = "create schema scratch; grant create on schema scratch to formwork_app";
    patient.is_fine(By::Owner, scratch).await;
    let object = "platform.tenant_by_slug(text)";
    let seed = format!("alter function {object} set search_path = scratch, pg_temp");
    patient.repairs(By::Owner, &seed, &[("definer-search-path", object)]).await;
}

#[tokio::test]
async fn a_definer_function_that_nobody_has_read() {
    let mut patient = Patient::new().await;
    let function = |name: &str| {
        format!(
            "create function {name}() returns bigint language sql stable security definer
               set search_path = pg_catalog, pg_temp as 'select count(*) from shared.projects';
             revoke all on function {name}() from public"
        )
    };
    let seed = function("shared.everything");
    patient.repairs(By::Owner, &seed, &[("definer-unknown", "shared.everything()")]).await;
    let seed = "create schema reports;".to_owned() + &function("reports.everything");
    patient.repairs(By::Owner, &seed, &[("definer-unknown", "reports.everything()")]).await;
    // An overload is another function.
    let seed = "create function platform.tenant_by_slug(p_slug text, p_any boolean)
                  returns setof platform.tenant_record language sql stable security definer
                  set search_path = pg_catalog, pg_temp as 'select * from platform.tenant_by_slug(p_slug)';
                revoke all on function platform.tenant_by_slug(text, boolean) from public";
    patient.repairs(By::Owner, seed, &[("definer-unknown", "platform.tenant_by_slug(text, boolean)")]).await;

    patient.config = DoctorConfig::new().definer("counted()");
    patient.is_fine(By::Owner, &function("shared.counted")).await;
}

#[tokio::test]
async fn a_function_that_everybody_may_call() {
    let mut patient = Patient::new().await;
    let seed = "grant execute on function platform.tenant_by_id(uuid) to public";
    let report =
        patient.is_found(By::Owner, seed, &[("definer-public", "platform.tenant_by_id(uuid)")]).await;
    assert!(!report.is_healthy(), "it acts with its owner's rights");
    let undo = report.findings()[0].sql().unwrap().to_owned();
    patient.run(By::Owner, &undo).await;
    let seed = "create function shared.twice(n int) returns int language sql immutable return n * 2";
    patient.repairs(By::Owner, seed, &[("function-public", "shared.twice(integer)")]).await;
}

#[tokio::test]
async fn a_function_that_lists_the_tenants_or_removes_their_rows_in_the_wrong_hands() {
    let mut patient = Patient::new().await;
    let list = "platform.active_tenants(uuid, integer)";
    let prune = "platform.prune_stream(regclass, text, xid8, interval, uuid, integer)";
    for (function, login) in [(list, "formwork_app"), (prune, "formwork_app"), (prune, "formwork_relay")] {
        let seed = format!("grant execute on function {function} to {login}");
        patient.repairs(By::Owner, &seed, &[("function-reserved", function)]).await;
    }
    // The relay's own is fine.
    patient.is_fine(By::Owner, &format!("grant execute on function {list} to formwork_relay")).await;
    // A role between them is no way round it.
    let seed = format!(
        "create role test_lists nologin; grant test_lists to formwork_app; grant execute on function {list} to test_lists"
    );
    patient.repairs(By::Superuser, &seed, &[("function-reserved", list)]).await;
    patient.run(By::Superuser, "drop role test_lists").await;
}

#[tokio::test]
async fn a_type_that_each_home_has_for_itself() {
    let mut patient = Patient::new().await;
    let seed = "create type shared.mood as enum ('good', 'bad'); create type shared.point as (x int, y int)";
    let expected = [("type-in-home", "type shared.mood"), ("type-in-home", "type shared.point")];
    patient.leaves_to_people(By::Owner, seed, &expected, "drop type shared.mood, shared.point").await;
}

#[tokio::test]
async fn a_log_whose_trigger_is_off() {
    let mut patient = Patient::new().await;
    let seed = "alter table shared.permission_tuples disable trigger log_insert";
    let object = "trigger log_insert on shared.permission_tuples";
    patient.repairs(By::Owner, seed, &[("trigger-disabled", object)]).await;
    let always: bool =
        sqlx::query_scalar("select tgenabled = 'A' from pg_trigger where tgname = 'log_insert'")
            .fetch_one(&mut patient.owner)
            .await
            .unwrap();
    assert!(always);
}

#[tokio::test]
async fn a_trigger_of_the_applications_own_that_is_off() {
    let mut patient = Patient::new().await;
    let seed = "create function shared.touch() returns trigger language plpgsql as 'begin return new; end';
                create trigger touch before update on shared.projects for each row execute function shared.touch();
                alter table shared.projects disable trigger touch";
    patient.repairs(By::Owner, seed, &[("trigger-disabled", "trigger touch on shared.projects")]).await;
}

#[tokio::test]
async fn foreign_keys_that_are_not_checked() {
    let mut patient = Patient::new().await;
    patient.run(By::Superuser, "alter table shared.task_columns disable trigger all").await;
    let report = patient.report().await;
    let findings = report.findings();
    assert!(!findings.is_empty());
    for finding in findings {
        assert_eq!(finding.code(), "trigger-disabled", "{finding}");
        assert!(finding.object().contains("RI_ConstraintTrigger"), "{finding}");
        patient.run(By::Superuser, finding.sql().unwrap()).await;
    }
    assert_eq!(patient.found().await, []);
}

#[tokio::test]
async fn a_log_that_a_replication_role_passes_by() {
    let mut patient = Patient::new().await;
    let seed = "alter table shared.audit_events enable trigger append_only";
    patient
        .repairs(By::Owner, seed, &[("trigger-not-always", "trigger append_only on shared.audit_events")])
        .await;
    let seed = "alter table shared.permission_tuples enable replica trigger log_delete";
    let object = "trigger log_delete on shared.permission_tuples";
    patient.repairs(By::Owner, seed, &[("trigger-not-always", object)]).await;
}

#[tokio::test]
async fn a_log_whose_trigger_is_gone() {
    let mut patient = Patient::new().await;
    patient
        .leaves_to_people(
            By::Owner,
            "drop trigger append_only on shared.audit_events",
            &[("trigger-missing", "trigger append_only on shared.audit_events")],
            "create trigger append_only before update or delete or truncate on shared.audit_events
               for each statement execute function shared.refuse_audit_change();
             alter table shared.audit_events enable always trigger append_only",
        )
        .await;
}

#[tokio::test]
async fn a_tenant_whose_schema_is_gone() {
    let mut patient = Patient::new().await;
    let tenant = patient.db.tenant("lost", Isolation::Schema).await;
    let schema = format!("t_{}", tenant.id().as_uuid().simple());
    patient
        .leaves_to_people(
            By::Owner,
            &format!("drop schema {schema} cascade"),
            &[("tenant-without-home", "tenant lost")],
            "update platform.tenants set status = 'deleted' where slug = 'lost'",
        )
        .await;
}

#[tokio::test]
async fn a_schema_whose_tenant_is_gone() {
    let mut patient = Patient::new().await;
    let tenant = patient.db.tenant("gone", Isolation::Schema).await;
    let schema = format!("schema t_{}", tenant.id().as_uuid().simple());
    // Nothing leads back from it, so it is undone as nobody but a superuser could.
    let undo = "begin; set local session_replication_role = replica;
                update platform.tenants set status = 'active'; commit";
    for (seed, undo) in [
        ("update platform.tenants set status = 'deleted'", undo.to_owned()),
        ("delete from platform.tenants", format!("drop {schema} cascade")),
    ] {
        patient.leaves_to_people(By::Superuser, seed, &[("home-without-tenant", &schema)], &undo).await;
    }
}
