//! The doctor finds each mistake that it knows, under its own name and nothing beside it, and its SQL repairs it.

mod beside;
mod grants;
mod keys;
mod logins;
mod policies;
mod tables;

use formwork_migrations::{AUDIT, AUTHZ, ENTITY_LINKS, SERVICE, Set, TENANCY};
use formwork_tenancy::{
    Isolation, TenantTable,
    doctor::{DoctorConfig, Report, Severity, rules},
    local_postgres::LocalRole,
    testing::TestDatabase,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

fn all_sets() -> Vec<Set> {
    let mut sets = vec![TENANCY, AUTHZ, AUDIT, ENTITY_LINKS];
    sets.extend_from_slice(SERVICE);
    sets
}

/// A healthy database in which mistakes are made.
struct Patient {
    db: TestDatabase,
    config: DoctorConfig,
    owner: PgConnection,
    superuser: PgConnection,
}

#[derive(Clone, Copy)]
enum By {
    Owner,
    Superuser,
}

impl Patient {
    async fn new() -> Self {
        Self::with(DoctorConfig::new()).await
    }

    async fn with(config: DoctorConfig) -> Self {
        let db = TestDatabase::new(&all_sets()).await;
        let owner = PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap();
        let superuser = PgConnection::connect_with(&db.options(LocalRole::Superuser).await).await.unwrap();
        Self { db, config, owner, superuser }
    }

    async fn run(&mut self, by: By, sql: &str) {
        let conn = match by {
            By::Owner => &mut self.owner,
            By::Superuser => &mut self.superuser,
        };
        if let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await {
            panic!("{sql}: {error}");
        }
    }

    /// What is found, apart from the age of the server under test.
    async fn report(&self) -> Report {
        self.db.control().doctor(&self.config).await.unwrap()
    }

    async fn found(&self) -> Vec<(String, String)> {
        let report = self.report().await;
        found(&report).into_iter().map(|(code, object)| (code.to_owned(), object.to_owned())).collect()
    }

    async fn is_found(&mut self, by: By, seed: &str, expected: &[(&str, &str)]) -> Report {
        assert_eq!(self.found().await, [], "before: {seed}");
        self.run(by, seed).await;
        let report = self.report().await;
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        let mut seen = found(&report);
        seen.sort_unstable();
        assert_eq!(seen, expected, "{seed}\n{report}");
        report
    }

    /// The seed is found as expected, and what the report says to run repairs it.
    async fn repairs(&mut self, by: By, seed: &str, expected: &[(&str, &str)]) {
        let report = self.is_found(by, seed, expected).await;
        for finding in report.findings().iter().filter(|finding| !finding.object().starts_with("server")) {
            let sql = finding.sql().unwrap_or_else(|| panic!("no SQL: {finding}"));
            self.run(by, sql).await;
        }
        assert_eq!(self.found().await, [], "after the repair of: {seed}");
    }

    /// The seed is found as expected, and what to do about it is left to people.
    async fn leaves_to_people(&mut self, by: By, seed: &str, expected: &[(&str, &str)], undo: &str) {
        let report = self.is_found(by, seed, expected).await;
        for finding in report.findings() {
            assert_eq!(finding.sql(), None, "{finding}");
        }
        self.run(by, undo).await;
        assert_eq!(self.found().await, [], "after: {undo}");
    }

    async fn is_fine(&mut self, by: By, sql: &str) {
        self.run(by, sql).await;
        assert_eq!(self.found().await, [], "{sql}");
    }
}

fn found(report: &Report) -> Vec<(&str, &str)> {
    let findings = report.findings().iter().map(|finding| (finding.code(), finding.object()));
    findings.filter(|(_, object)| !object.starts_with("server ")).collect()
}

/// A table of the shared home as an application should make it, with more columns.
fn walled(name: &str, columns: &str) -> String {
    format!(
        "create table shared.{name} (
           tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
           id uuid not null, {columns} primary key (tenant_id, id));
         {}",
        TenantTable::new(&format!("shared.{name}")).sql().unwrap()
    )
}

#[tokio::test]
async fn a_fresh_database_is_healthy_in_every_mode() {
    let patient = Patient::new().await;
    for (slug, isolation) in
        [("one", Isolation::Shared), ("two", Isolation::Schema), ("three", Isolation::Schema)]
    {
        patient.db.tenant(slug, isolation).await;
    }
    let report = patient.report().await;
    assert_eq!(found(&report), [], "{report}");
    let login = patient.db.tenants().doctor_login(&patient.config).await.unwrap();
    assert_eq!(login.findings(), []);
    assert!(login.is_healthy());
    assert_eq!(login.to_string(), "healthy: 0 errors, 0 warnings");
}

#[tokio::test]
async fn an_applications_own_table_made_by_the_generator_is_healthy() {
    let mut patient = Patient::new().await;
    patient.is_fine(By::Owner, &walled("notes", "body text not null,")).await;
    assert_eq!(patient.found().await, []);
}

#[tokio::test]
async fn a_report_is_for_people_and_for_programs() {
    let mut patient = Patient::new().await;
    patient.run(By::Owner, "alter table shared.projects no force row level security").await;
    let report = patient.report().await;
    assert!(!report.is_healthy());
    let finding = report.findings().iter().find(|finding| finding.code() == "rls-not-forced").unwrap();
    assert_eq!((finding.severity(), finding.object()), (Severity::Error, "shared.projects"));
    let printed = report.to_string();
    for part in [
        "error   rls-not-forced",
        "shared.projects",
        "remedy: force",
        "sql:    alter table",
        "not healthy: 1 error, 0 warnings",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["healthy"], false);
    let first = &json["findings"][0];
    assert_eq!(first["code"], "rls-not-forced");
    assert_eq!(first["severity"], "error");
    assert_eq!(first["object"], "shared.projects");
    assert!(first["problem"].is_string() && first["remedy"].is_string());
    assert_eq!(first["sql"], "alter table shared.projects force row level security");
}

#[tokio::test]
async fn a_mistake_in_one_home_of_two_hundred_is_found() {
    let mut patient = Patient::new().await;
    let mut last = String::new();
    for number in 0..200 {
        let tenant = patient.db.tenant(&format!("tenant-{number}"), Isolation::Schema).await;
        last = format!("t_{}", tenant.id().as_uuid().simple());
    }
    assert_eq!(patient.found().await, []);
    let seed = format!("alter table {last}.permission_tuples no force row level security");
    let object = format!("{last}.permission_tuples");
    patient.repairs(By::Owner, &seed, &[("rls-not-forced", &object)]).await;
}

#[tokio::test]
async fn a_database_without_a_registry_is_named_as_such() {
    let db = TestDatabase::new(&[]).await;
    let mut owner = PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap();
    sqlx::raw_sql("drop schema platform cascade").execute(&mut owner).await.unwrap();
    let report = db.control().doctor(&DoctorConfig::new()).await.unwrap();
    assert_eq!(found(&report), [("not-migrated", "schema platform")]);
    assert!(!report.is_healthy());
}

/// The age of a server cannot be seeded: `server.rs` has the tests of those.
#[test]
fn every_rule_has_a_seeded_mistake() {
    let tests = [
        include_str!("doctor.rs"),
        include_str!("doctor/beside.rs"),
        include_str!("doctor/grants.rs"),
        include_str!("doctor/keys.rs"),
        include_str!("doctor/logins.rs"),
        include_str!("doctor/policies.rs"),
        include_str!("doctor/tables.rs"),
        include_str!("own_role.rs"),
        include_str!("database_mode.rs"),
    ]
    .concat();
    for rule in rules().filter(|rule| !rule.code().starts_with("server-")) {
        assert!(tests.contains(&format!("(\"{}\"", rule.code())), "no mistake is seeded for {}", rule.code());
    }
}
