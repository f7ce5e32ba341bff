//! Policies that let more in than the generated one, or cost more.

use formwork_tenancy::{Isolation, TenantTable, doctor::DoctorConfig};

use super::{By, Patient, walled};

const OURS: &str = "tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid)";
const OBJECT: &str = "policy tenant_isolation_8c2860cb on shared.projects";

/// The policy of `projects` is replaced by one that differs in one thing.
async fn replaced(rest: &str, expected: (&str, &str)) {
    let mut patient = Patient::new().await;
    let seed = format!(
        "drop policy tenant_isolation_8c2860cb on shared.projects; create policy tenant_isolation_8c2860cb on shared.projects {rest}"
    );
    patient.repairs(By::Owner, &seed, &[expected]).await;
}

#[tokio::test]
async fn a_table_without_a_policy() {
    let mut patient = Patient::new().await;
    let seed = "drop policy tenant_isolation_8c2860cb on shared.projects";
    patient.repairs(By::Owner, seed, &[("policy-missing", "shared.projects")]).await;
}

#[tokio::test]
async fn two_permissive_policies_are_joined_by_or() {
    let mut patient = Patient::new().await;
    for seed in [
        "create policy support on shared.projects for select to formwork_app using (name like 'Demo%')"
            .to_owned(),
        "create policy support on shared.projects using (true)".to_owned(),
        // The same once more is not wrong today; the next change would change one of them.
        format!("create policy support on shared.projects using ({OURS}) with check ({OURS})"),
    ] {
        let expected = [("policy-extra", "policy support on shared.projects")];
        patient.repairs(By::Owner, &seed, &expected).await;
    }
}

#[tokio::test]
async fn a_policy_a_command_instead_of_one() {
    let mut patient = Patient::new().await;
    let seed = format!(
        "drop policy tenant_isolation_8c2860cb on shared.projects;
         create policy reads on shared.projects for select using ({OURS});
         create policy writes on shared.projects for insert with check ({OURS})"
    );
    let expected = [
        ("policy-extra", "policy reads on shared.projects"),
        ("policy-extra", "policy writes on shared.projects"),
        ("policy-missing", "shared.projects"),
    ];
    patient.repairs(By::Owner, &seed, &expected).await;
}

#[tokio::test]
async fn the_relays_policy_is_welcome_on_a_stream_and_nowhere_else() {
    let mut patient = Patient::new().await;
    let seed = "create policy relay_reads on shared.projects for select to formwork_relay using (true)";
    patient.repairs(By::Owner, seed, &[("policy-extra", "policy relay_reads on shared.projects")]).await;
    let seed = "alter policy relay_reads on platform.outbox to public";
    patient.repairs(By::Owner, seed, &[("policy-extra", "policy relay_reads on platform.outbox")]).await;
}

#[tokio::test]
async fn a_policy_for_one_command() {
    replaced(&format!("for select using ({OURS})"), ("policy-wrong-command", OBJECT)).await;
}

#[tokio::test]
async fn a_policy_for_another_role() {
    replaced(
        &format!("to formwork_relay using ({OURS}) with check ({OURS})"),
        ("policy-wrong-roles", OBJECT),
    )
    .await;
}

#[tokio::test]
async fn a_policy_for_the_service_alone_is_fine() {
    let mut patient = Patient::new().await;
    patient
        .is_fine(By::Owner, "alter policy tenant_isolation_8c2860cb on shared.projects to formwork_app")
        .await;
}

#[tokio::test]
async fn a_policy_that_is_open_without_a_tenant() {
    for open in [
        "tenant_id = coalesce(nullif(current_setting('app.current_tenant', true), '')::uuid, tenant_id)"
            .to_owned(),
        format!("{OURS} or current_setting('app.is_admin', true) = 'on'"),
    ] {
        replaced(&format!("using ({open}) with check ({OURS})"), ("policy-fail-open", OBJECT)).await;
        replaced(&format!("using ({OURS}) with check ({open})"), ("policy-fail-open", OBJECT)).await;
    }
}

#[tokio::test]
async fn a_policy_that_casts_the_column() {
    let cast = "tenant_id::text = current_setting('app.current_tenant', true)";
    replaced(&format!("using ({cast}) with check ({cast})"), ("policy-casts-tenant", OBJECT)).await;
}

#[tokio::test]
async fn a_policy_that_calls_a_volatile_function() {
    let mut patient = Patient::new().await;
    let function =
        "create function shared.tenant() returns uuid language plpgsql set search_path = pg_catalog, pg_temp
        as $$ begin return nullif(current_setting('app.current_tenant', true), '')::uuid; end $$;
        revoke all on function shared.tenant() from public;
        grant execute on function shared.tenant() to formwork_app";
    patient.is_fine(By::Owner, function).await;
    let seed = "alter policy tenant_isolation_8c2860cb on shared.projects
                  using (tenant_id = shared.tenant()) with check (tenant_id = shared.tenant())";
    patient.repairs(By::Owner, seed, &[("policy-volatile", OBJECT)]).await;
}

#[tokio::test]
async fn a_policy_without_a_check_of_its_own() {
    replaced(&format!("using ({OURS})"), ("policy-no-check", OBJECT)).await;
}

#[tokio::test]
async fn a_policy_that_is_not_the_generators() {
    for text in [
        // Fails with an error where it should have no rows.
        "tenant_id = (select current_setting('app.current_tenant', true)::uuid)",
        // Another setting.
        "tenant_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid)",
        "true",
        // A word in a string is no operator.
        "tenant_id = (select nullif(current_setting('app OR COALESCE(x', true), '')::uuid)",
    ] {
        replaced(&format!("using ({text}) with check ({OURS})"), ("policy-differs", OBJECT)).await;
        replaced(&format!("using ({OURS}) with check ({text})"), ("policy-differs", OBJECT)).await;
    }
}

#[tokio::test]
async fn a_restrictive_policy_narrows_and_is_welcome() {
    let mut patient = Patient::new().await;
    let rule = "create policy visible on shared.projects as restrictive for select using (deleted_at is null or true)";
    patient.is_fine(By::Owner, rule).await;
}

#[tokio::test]
async fn a_restrictive_policy_that_no_index_serves() {
    let mut patient = Patient::new().await;
    for rule in ["tenant_id::text <> ''", "created_at < clock_timestamp()"] {
        let seed = format!("create policy slow on shared.projects as restrictive using ({rule})");
        patient
            .leaves_to_people(
                By::Owner,
                &seed,
                &[("restriction-slow", "policy slow on shared.projects")],
                "drop policy slow on shared.projects",
            )
            .await;
    }
}

#[tokio::test]
async fn a_policy_that_was_changed_by_hand_under_its_name() {
    let mut patient = Patient::new().await;
    let seed = "alter policy tenant_isolation_8c2860cb on shared.projects using (true)";
    let report = patient.is_found(By::Owner, seed, &[("policy-differs", OBJECT)]).await;
    let problem = report.findings()[0].problem();
    assert!(problem.starts_with("was changed by hand: it has the generator's name"), "{problem}");
    let undo = report.findings()[0].sql().unwrap().to_owned();
    patient.is_fine(By::Owner, &undo).await;
}

#[tokio::test]
async fn a_policy_under_an_old_hash() {
    let mut patient = Patient::new().await;
    let old = "policy tenant_isolation_00000000 on shared.projects";
    let rename =
        "alter policy tenant_isolation_8c2860cb on shared.projects rename to tenant_isolation_00000000";
    patient.repairs(By::Owner, rename, &[("policy-misnamed", old)]).await;
    // The text of another version of the generator, as it would be after a migration that was forgotten.
    let seed = format!("{rename}; alter {old} with check (tenant_id is not null)");
    let report = patient.is_found(By::Owner, &seed, &[("policy-differs", old)]).await;
    assert!(report.findings()[0].problem().starts_with("is of another version"), "{report}");
    let undo = report.findings()[0].sql().unwrap().to_owned();
    patient.is_fine(By::Owner, &undo).await;
}

fn letters() -> TenantTable {
    TenantTable::new("letters").restrict(
        "own_rows",
        "author = (select current_setting('app.author', true))
         or exists (select from members m where m.email = letters.author)",
        "author is not null",
    )
}

/// The table with its rules, in the shared home and in a tenant's own.
async fn with_letters() -> (Patient, String) {
    let mut patient = Patient::with(DoctorConfig::new().table(letters())).await;
    let tenant = patient.db.tenant("own", Isolation::Schema).await;
    for home in ["shared", tenant.schema_name()] {
        let table = walled("letters", "author text not null,").replace("shared.", &format!("{home}."));
        patient.run(By::Owner, &table).await;
        for policy in letters().restrictions() {
            let sql = format!("set search_path = {home}; {}; reset search_path", policy.sql("letters"));
            patient.run(By::Owner, &sql).await;
        }
    }
    (patient, tenant.schema_name().to_owned())
}

#[tokio::test]
async fn a_declared_rule_is_fine_and_is_missed_where_it_is_not() {
    let (mut patient, home) = with_letters().await;
    assert_eq!(patient.found().await, []);
    let name = letters().restrictions()[0].name();
    let object = format!("policy {name} on {home}.letters");
    let report =
        patient.is_found(By::Owner, &format!("drop {object}"), &[("restriction-missing", &object)]).await;
    // A rule that names another table is put back on the home's own search path.
    let sql = format!("set search_path = {home}; {}; reset search_path", report.findings()[0].sql().unwrap());
    patient.is_fine(By::Owner, &sql).await;
}

#[tokio::test]
async fn a_declared_rule_that_was_changed_by_hand_or_has_an_old_hash() {
    let (mut patient, home) = with_letters().await;
    let name = letters().restrictions()[0].name();
    let object = format!("policy {name} on {home}.letters");
    let seed = format!("alter {object} with check (true)");
    let again = format!("alter {object} with check (author is not null)");
    patient.is_found(By::Owner, &seed, &[("restriction-differs", &object)]).await;
    patient.is_fine(By::Owner, &again).await;
    // Beside the declared one it narrows no less, but says that a migration was forgotten.
    let old = format!("policy own_rows_00000000 on {home}.letters");
    let seed = format!("create {old} as restrictive using (author <> 'nobody')");
    patient.repairs(By::Owner, &seed, &[("restriction-differs", &old)]).await;
    // Under the rule's name, but joined by OR.
    let seed = format!("drop {object}; create {object} using (true)");
    let expected = [("policy-extra", object.as_str()), ("restriction-differs", object.as_str())];
    patient.is_found(By::Owner, &seed, &expected).await;
}
