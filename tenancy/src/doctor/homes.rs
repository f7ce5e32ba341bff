//! Homes: the registry and the schemas agree.

use super::check::{Check, Rule, of_catalogue};

pub(super) const CHECK: Check = Check {
    rules: &[
        Rule::error("tenant-without-home", "restore the schema from a backup, or archive the tenant"),
        Rule::error(
            "own-role-open",
            "give it to the tenant's role alone: whatever the login holds by itself, it holds for every tenant",
        ),
        Rule::warning(
            "home-without-tenant",
            "look whose it was; then drop the schema, or restore the registry's row",
        ),
    ],
    query: of_catalogue!(
        r"
select 'tenant-without-home', 'tenant ' || t.slug, format('there is no schema %I', t.schema_name), null
  from platform.tenants t
 where t.isolation in ('shared', 'schema') and t.status not in ('provisioning', 'deleting', 'deleted')
   and not exists (select from space s where s.nspname = t.schema_name)
union all
-- A tenant with a role of its own: the service's login reaches its home by no other way than becoming that role.
select 'own-role-open', coalesce(o.name, 'schema ' || quote_ident(t.schema_name)),
       format('%s holds %s in the home of a tenant with a role of its own', h.name, o.privilege),
       format('revoke %s on %s from %s', o.privilege, coalesce(o.name, 'schema ' || quote_ident(t.schema_name)), h.name)
  from platform.tenants t
  join space s on s.nspname = t.schema_name
  cross join lateral (
    select null as name, a.privilege_type as privilege, a.grantee from aclexplode(s.nspacl) a
    union all
    select r.name, h.privilege, h.role from held h join rel r using (oid) where r.nspname = s.nspname
  ) o
  join holder h on h.role = o.grantee and h.is_app
 where t.own_role and o.grantee <> s.nspowner
   and o.grantee <> coalesce(to_regrole('formwork_t_' || replace(t.id::text, '-', '')), 0::oid)
union all
select 'own-role-open', 'role ' || quote_ident(r.rolname),
       format('%I has its rights without becoming it', pg_get_userbyid(m.member)),
       format('grant %I to %I with inherit false', r.rolname, pg_get_userbyid(m.member))
  from pg_auth_members m join pg_roles r on r.oid = m.roleid
  join platform.tenants t on t.own_role and r.rolname = 'formwork_t_' || replace(t.id::text, '-', '')
 where m.member in (select role from reach where is_app)
   -- An option of the membership from version 16 on.
   and coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true)
union all
select 'home-without-tenant', 'schema ' || quote_ident(s.nspname),
       'no tenant lives here, as far as the registry knows', null
  from space s
 where s.home and s.nspname <> 'shared'
   and not exists (select from platform.tenants t where t.schema_name = s.nspname and t.status <> 'deleted')"
    ),
};
