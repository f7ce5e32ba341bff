//! A role of its own for a tenant's schema: a second wall beside row security.
//!
//! The role `formwork_t_<id>` cannot log in and holds all rights in the tenant's schema; the service's login holds
//! none there, and is a member that inherits nothing: it must `set role`, which [`TenantTx`](crate::TenantTx) does in
//! the message that begins the transaction. So a statement of another tenant's transaction that names this schema is
//! refused, whatever it sets `app.current_tenant` to. It is a wall against mistakes and against SQL that was slipped
//! in, not against SQL that also sets the role: who may become each tenant cannot be kept from becoming one.
//!
//! `INHERIT FALSE` is an option of a membership from version 16 on; before, a login inherits from all its roles or
//! from none, so older servers are refused. What the service holds in `platform` is given to the group
//! [`GROUP`], of which every such role is a member.

use sqlx::PgConnection;

use crate::{ControlError, TenantId};

/// What all roles of tenants hold in `platform`: what the service's login holds there.
const GROUP: &str = "formwork_tenant";

/// Held until the transaction ends: two that grant rights on one object at once would fail.
const ALONE: &str = "select pg_advisory_xact_lock(hashtext('formwork.roles'))";

/// Of which no other role may have the form: `formwork_t_` and the tenant's UUID.
pub(crate) fn name(tenant: TenantId) -> String {
    format!("formwork_t_{}", tenant.as_uuid().simple())
}

/// Looks whether this server and this login can make such roles.
pub(crate) async fn check(conn: &mut PgConnection) -> Result<(), ControlError> {
    let (version, may): (i32, bool) = sqlx::query_as(
        "select current_setting('server_version_num')::int, rolcreaterole or rolsuper
           from pg_roles where rolname = current_user",
    )
    .fetch_one(conn)
    .await?;
    if version < 160_000 {
        return Err(ControlError::OwnRole {
            why: "before Postgres 16 a login inherits from all of its roles or from none: use version 16 or newer",
        });
    }
    if !may {
        return Err(ControlError::OwnRole {
            why: "the owner may not make roles: `alter role formwork_owner createrole`, as a superuser",
        });
    }
    Ok(())
}

/// Makes the tenant's role and lets it into `schema`, where nothing is yet.
pub(crate) fn create(tenant: TenantId, schema: &str) -> String {
    let role = name(tenant);
    format!(
        "{ALONE};
         do $$ begin
           if to_regrole('{GROUP}') is null then create role {GROUP} nologin; end if;
         exception when duplicate_object or unique_violation then null; end $$;
         create role {role} nologin;
         grant {GROUP} to {role};
         grant {role} to formwork_app with inherit false, set true;
         grant usage on schema {schema} to {role};
         {SHARE_PLATFORM}"
    )
}

/// Takes the tenant's role away, behind its schema.
pub(crate) fn remove(tenant: TenantId) -> String {
    let role = name(tenant);
    format!("{ALONE}; drop role if exists {role}")
}

/// Whatever the service's login holds in `schema` becomes the role's, and the login's no more. Run behind the steps
/// of each migration, which grant to the login as everywhere.
pub(crate) fn take_over(tenant: TenantId, schema: &str) -> String {
    let role = name(tenant);
    format!(
        "do $$ declare grant_ record; begin
           for grant_ in {held}
           loop
             execute format('grant %s on %s to {role}', grant_.privilege, grant_.object);
             execute format('revoke %s on %s from formwork_app', grant_.privilege, grant_.object);
           end loop;
         end $$",
        held = held_in(schema)
    )
}

/// What the group lacks of the service's rights in `platform`. Run behind the steps of the platform, and with each role.
/// Not the key by which nodes know each other: whoever has it can say to all of them what any tenant is.
pub(crate) const SHARE_PLATFORM: &str = "
  do $$ declare grant_ record; begin
    if to_regrole('formwork_tenant') is null then return; end if;
    perform pg_advisory_xact_lock(hashtext('formwork.roles'));
    if not has_schema_privilege('formwork_tenant', 'platform', 'usage') then
      grant usage on schema platform to formwork_tenant;
    end if;
    for grant_ in
      select format('%I.%I', n.nspname, c.relname) as object, a.privilege_type as privilege
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        cross join lateral pg_catalog.aclexplode(c.relacl) a
       where n.nspname = 'platform' and c.relkind in ('r', 'p', 'v') and a.grantee = 'formwork_app'::regrole
         and not has_table_privilege('formwork_tenant', c.oid, a.privilege_type)
      union all
      select 'function ' || p.oid::pg_catalog.regprocedure, a.privilege_type
        from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
        cross join lateral pg_catalog.aclexplode(p.proacl) a
       where n.nspname = 'platform' and a.grantee = 'formwork_app'::regrole and p.proname <> 'registry_key'
         and not has_function_privilege('formwork_tenant', p.oid, 'execute')
    loop
      execute format('grant %s on %s to formwork_tenant', grant_.privilege, grant_.object);
    end loop;
    if has_function_privilege('formwork_tenant', to_regprocedure('platform.registry_key()'), 'execute') then
      revoke execute on function platform.registry_key() from formwork_tenant;
    end if;
  end $$";

/// (object, privilege) of all that the service's login holds in a schema, whole or by column.
fn held_in(schema: &str) -> String {
    format!(
        "select 'schema {schema}' as object, a.privilege_type as privilege
           from pg_catalog.pg_namespace n cross join lateral pg_catalog.aclexplode(n.nspacl) a
          where n.nspname = '{schema}' and a.grantee = 'formwork_app'::regrole
         union all
         select format('%s %I.%I', case c.relkind when 'S' then 'sequence' else 'table' end, '{schema}', c.relname),
                a.privilege_type
           from pg_catalog.pg_class c cross join lateral pg_catalog.aclexplode(c.relacl) a
          where c.relnamespace = '{schema}'::regnamespace and a.grantee = 'formwork_app'::regrole
         union all
         select format('table %I.%I', '{schema}', c.relname), format('%s (%I)', a.privilege_type, t.attname)
           from pg_catalog.pg_class c join pg_catalog.pg_attribute t on t.attrelid = c.oid and t.attacl is not null
           cross join lateral pg_catalog.aclexplode(t.attacl) a
          where c.relnamespace = '{schema}'::regnamespace and a.grantee = 'formwork_app'::regrole
         union all
         select 'routine ' || p.oid::pg_catalog.regprocedure, a.privilege_type
           from pg_catalog.pg_proc p cross join lateral pg_catalog.aclexplode(p.proacl) a
          where p.pronamespace = '{schema}'::regnamespace and a.grantee = 'formwork_app'::regrole"
    )
}
