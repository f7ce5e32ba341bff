//! What the database itself guarantees, whatever the program does: read from the catalogue of a migrated database
//! with a tenant of each kind in it.

use std::collections::BTreeSet;

use formwork_tenancy::Isolation;
use sqlx::PgConnection;

use crate::kit::{Service, Site};

/// Platform tables of which the service's login sees its tenant's rows.
const STREAMS: [&str; 3] = ["outbox", "permission_changes", "sweep_hints"];
/// Platform tables on which it has no right at all.
const CLOSED: &[&str] = &[
    "administrator_grants",
    "api_keys",
    "database_regions",
    "homes",
    "legal_holds",
    "memberships",
    "migration_failures",
    "migration_ledger",
    "regions",
    "registry_key",
    "security_events",
    "stream_floors",
    "stream_positions",
    "sweep_rounds",
    "tenant_domains",
    "tenant_imports",
    "tenant_moves",
    "tenant_transitions",
    "tenants",
    "users",
];
/// Functions of the platform that it may call.
const FUNCTIONS: &[&str] = &[
    "administrator_grant",
    "api_key",
    "confirm_tenant",
    "hold_home",
    "home_versions",
    "is_copying_home",
    "is_member",
    "is_removing_home",
    "member_by_email",
    "record_security_event",
    "region_by_name",
    "registry_key",
    "share_permission_storing",
    "sole_membership",
    "stream_floor",
    "tenant_by_domain",
    "tenant_by_id",
    "tenant_by_slug",
    "tenant_home",
    "tenants_by_keys",
    "tenants_changed",
    "use_administrator_grant",
];
const TENANT: &str = "(tenant_id = ( SELECT (NULLIF(current_setting('app.current_tenant'::text, true), ''::text))::uuid AS \"nullif\"))";

async fn service() -> (Service, Site, Site) {
    let service = Service::start().await;
    let (a, b) = (service.tenant("a", Isolation::Shared).await, service.tenant("b", Isolation::Schema).await);
    (service, a, b)
}

/// A table that holds tenants' rows, and how it is guarded.
#[derive(sqlx::FromRow)]
struct Table {
    schema: String,
    name: String,
    enabled: bool,
    forced: bool,
    tenant_is_given: bool,
    key_begins_with_tenant: bool,
    is_partition: bool,
    rights: String,
}

#[derive(sqlx::FromRow, PartialEq, Debug)]
struct Policy {
    name: String,
    permissive: bool,
    command: String,
    roles: String,
    using: Option<String>,
    check: Option<String>,
}

/// Every table outside the catalogue, and what is wrong with those that hold tenants' rows.
async fn faults(owner: &mut PgConnection) -> Vec<String> {
    let tables: Vec<Table> = sqlx::query_as(
        "select n.nspname::text as schema, c.relname::text as name, c.relrowsecurity as enabled,
                c.relforcerowsecurity as forced,
                exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id'
                          and a.atttypid = 'uuid'::regtype and a.attnotnull) as tenant_is_given,
                not exists (select from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
                             where i.indrelid = c.oid and i.indisunique and a.attname <> 'tenant_id')
                  as key_begins_with_tenant,
                c.relispartition as is_partition,
                (select coalesce(string_agg(privilege, ',' order by privilege), '')
                   from unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) privilege
                  where has_table_privilege('formwork_app', c.oid, privilege)) as rights
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where c.relkind in ('r', 'p', 'f', 'm') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
          order by 1, 2",
    )
    .fetch_all(&mut *owner)
    .await
    .unwrap();
    let mut faults = Vec::new();
    for table in tables {
        let at = format!("{}.{}", table.schema, table.name);
        if table.schema == "platform" && CLOSED.contains(&&*table.name) {
            if !table.rights.is_empty() {
                faults.push(format!("{at}: the service's login holds {}", table.rights));
            }
            continue;
        }
        let stream = table.schema == "platform";
        if stream && !STREAMS.contains(&&*table.name) {
            faults.push(format!("{at}: stands on neither list of platform tables"));
        }
        for (holds, fault) in [
            (table.enabled, "row security is not enabled"),
            (table.forced, "row security is not forced"),
            (table.tenant_is_given, "has no tenant_id uuid not null"),
            (stream || table.key_begins_with_tenant, "a unique key does not begin with the tenant"),
        ] {
            if !holds {
                faults.push(format!("{at}: {fault}"));
            }
        }
        let expected = match (&*table.name, stream) {
            // Reached through the whole alone, and walled off like it.
            _ if table.is_partition => "",
            // A visit takes away the hints that it has followed.
            ("sweep_hints", true) => "DELETE,INSERT,SELECT",
            (_, true) | ("audit_events" | "audit_leaves" | "audit_checkpoints" | "audit_targets", _) => "INSERT,SELECT",
            _ => "DELETE,INSERT,SELECT,UPDATE",
        };
        if table.rights != expected {
            faults.push(format!("{at}: the service's login holds {}, not {expected}", table.rights));
        }
        faults.extend(policy_faults(owner, &table).await.into_iter().map(|fault| format!("{at}: {fault}")));
    }
    faults
}

async fn policy_faults(owner: &mut PgConnection, table: &Table) -> Vec<String> {
    let found: Vec<Policy> = sqlx::query_as(
        "select policyname::text as name, permissive = 'PERMISSIVE' as permissive, cmd as command,
                array_to_string(roles, ',') as roles, qual as using, with_check as check
           from pg_policies where schemaname = $1 and tablename = $2 order by 1 desc",
    )
    .bind(&table.schema)
    .bind(&table.name)
    .fetch_all(&mut *owner)
    .await
    .unwrap();
    let policy = |name: &str, command: &str, roles: &str, using: &str, check: Option<&str>| Policy {
        name: name.to_owned(),
        permissive: true,
        command: command.to_owned(),
        roles: roles.to_owned(),
        using: Some(using.to_owned()),
        check: check.map(str::to_owned),
    };
    let mut expected = vec![policy("tenant_isolation_8c2860cb", "ALL", "public", TENANT, Some(TENANT))];
    if table.schema == "platform" {
        expected.push(policy("relay_reads", "SELECT", "formwork_relay", "true", None));
    }
    if found == expected { Vec::new() } else { vec![format!("has the policies {found:#?}")] }
}

#[tokio::test]
async fn every_table_is_guarded() {
    let (service, _, _) = service().await;
    let mut owner = service.owner().await;
    assert_eq!(faults(&mut owner).await, Vec::<String>::new());
    // Both homes were looked at, and have the same tables.
    let homes: Vec<(String, i64)> = sqlx::query_as(
        "select n.nspname::text, count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where c.relkind in ('r', 'p') and not c.relispartition
            and n.nspname <> 'platform' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
          group by 1 order by 1",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(homes.len(), 2, "{homes:?}");
    assert!(homes[0].1 >= 8 && homes[0].1 == homes[1].1, "{homes:?}");
}

/// The test above sees what it should.
#[tokio::test]
async fn a_table_without_guard_is_found() {
    let (service, _, _) = service().await;
    let mut owner = service.owner().await;
    for (change, fault) in [
        ("create table shared.stray (tenant_id uuid not null)", "shared.stray: row security is not enabled"),
        ("drop table shared.stray; create table platform.stray ()", "platform.stray: stands on neither list"),
        (
            "drop table platform.stray; alter table shared.projects no force row level security",
            "is not forced",
        ),
        (
            "alter table shared.projects force row level security;
             create policy more on shared.projects for select using (true)",
            "shared.projects: has the policies",
        ),
        (
            "drop policy more on shared.projects; grant select on platform.users to formwork_app",
            "platform.users: ",
        ),
    ] {
        sqlx::raw_sql(change).execute(&mut owner).await.unwrap();
        let found = faults(&mut owner).await;
        assert!(found.iter().any(|line| line.contains(fault)), "{change}: {found:#?}");
    }
}

#[tokio::test]
async fn the_service_login_has_no_more_than_it_needs() {
    let (service, _, b) = service().await;
    let mut owner = service.owner().await;
    let functions: Vec<String> = sqlx::query_scalar(
        "select p.proname::text from pg_proc p
          where p.pronamespace = 'platform'::regnamespace and has_function_privilege('formwork_app', p.oid, 'EXECUTE')
          order by 1",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(functions, FUNCTIONS);
    let created: Vec<String> = sqlx::query_scalar(
        "select nspname::text from pg_namespace
          where has_schema_privilege('formwork_app', oid, 'CREATE') or nspowner = 'formwork_app'::regrole",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(created, Vec::<String>::new(), "it makes nothing, anywhere");
    let definer: Vec<String> = sqlx::query_scalar(
        "select proname::text from pg_proc
          where prosecdef and pronamespace::regnamespace::text !~ '^pg_'
            and not coalesce(proconfig, '{}') @> '{\"search_path=pg_catalog, pg_temp\"}' order by 1",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(
        definer,
        Vec::<String>::new(),
        "a function with the owner's rights has a search_path of its own"
    );
    let sequences: BTreeSet<String> = sqlx::query_scalar::<_, String>(
        "select c.oid::regclass::text from pg_class c
          where case when c.relkind = 'S' then has_sequence_privilege('formwork_app', c.oid, 'UPDATE') end",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap()
    .into_iter()
    .collect();
    assert_eq!(sequences, BTreeSet::new(), "nobody sets a sequence back");
    assert_ne!(b.tenant.schema_name(), "shared");
}

/// Not only by what the catalogue says.
#[tokio::test]
async fn what_is_closed_is_refused() {
    let (service, a, b) = service().await;
    let mut login = service.login().await;
    let of_b = b.tenant.schema_name();
    let mut statements: Vec<String> =
        CLOSED.iter().map(|name| format!("select from platform.{name}")).collect();
    for home in ["shared", of_b] {
        statements.extend([
            format!("truncate {home}.tasks"),
            format!("update {home}.audit_events set action = 'a.b'"),
            format!("delete from {home}.audit_events"),
            format!("create table {home}.own (id int)"),
            format!("create trigger t before insert on {home}.tasks for each row execute function platform.refuse_permission_truncate()"),
            format!("alter table {home}.tasks disable row level security"),
        ]);
    }
    statements.push("set role formwork_owner".to_owned());
    for statement in statements {
        let refused =
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone())).execute(&mut login).await.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{statement}: {refused}");
    }
    // Without a tenant there is no row, with one there are no others, and nothing is written for another.
    a.member("ada", formwork_service::modules::members::Role::Owner).await;
    b.member("bob", formwork_service::modules::members::Role::Owner).await;
    let count = async |login: &mut PgConnection, home: &str| -> i64 {
        let sql = format!("select count(*) from {home}.members");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(login).await.unwrap()
    };
    for home in ["shared", of_b] {
        assert_eq!(count(&mut login, home).await, 0, "without a tenant");
    }
    let choose = format!("set app.current_tenant = '{}'", a.tenant.id());
    sqlx::raw_sql(sqlx::AssertSqlSafe(choose)).execute(&mut login).await.unwrap();
    assert_eq!((count(&mut login, "shared").await, count(&mut login, of_b).await), (1, 0));
    let smuggled = format!(
        "insert into {of_b}.members (tenant_id, user_id, email, display_name, role)
         values ('{}', gen_random_uuid(), 'x@example.com', 'x', 'owner')",
        b.tenant.id()
    );
    let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(smuggled)).execute(&mut login).await.unwrap_err();
    assert!(refused.to_string().contains("row-level security"), "{refused}");
}
