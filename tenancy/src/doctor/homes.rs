//! Homes: the registry, the list of each database and the schemas agree.

use super::check::{Check, Rule, of_catalogue};

pub(super) const CHECK: Check = Check {
    rules: &[
        Rule::error("tenant-without-home", "restore the home from a backup, or archive the tenant"),
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
-- $12 to $17: what the registry says of this database.
, tenant as (
  select * from unnest($12::uuid[], $13::text[], $14::text[], $15::bigint[], $16::bool[], $17::bool[])
    t (id, slug, schema_name, epoch, own_role, leaving)
)
select 'tenant-without-home', 'tenant ' || t.slug, format('there is no schema %I', t.schema_name), null
  from tenant t
 where not t.leaving and not exists (select from space s where s.nspname = t.schema_name)
union all
select 'tenant-without-home', 'tenant ' || t.slug,
       format('no home of epoch %s in schema %I stands in platform.homes, so nothing can be committed', t.epoch, t.schema_name),
       null
  from tenant t join space s on s.nspname = t.schema_name
 where not t.leaving
   and not exists (select from platform.homes h where h.tenant_id = t.id and h.epoch = t.epoch
                      and h.schema_name = t.schema_name)
union all
-- A tenant with a role of its own: the service's login reaches its home by no other way than becoming that role.
select 'own-role-open', coalesce(o.name, 'schema ' || quote_ident(t.schema_name)),
       format('%s holds %s in the home of a tenant with a role of its own', h.name, o.privilege),
       format('revoke %s on %s from %s', o.privilege, coalesce(o.name, 'schema ' || quote_ident(t.schema_name)), h.name)
  from tenant t
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
  join tenant t on t.own_role and r.rolname = 'formwork_t_' || replace(t.id::text, '-', '')
 where m.member in (select role from reach where is_app)
   -- An option of the membership from version 16 on.
   and coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true)
union all
select 'home-without-tenant', 'schema ' || quote_ident(s.nspname),
       'no tenant lives here, as far as the registry knows', null
  from space s
 where s.home and s.nspname <> 'shared'
   and not exists (select from tenant t where t.schema_name = s.nspname)
   -- One that a move is filling or has left is the move's to remove.
   and not exists (select from platform.homes h where h.schema_name = s.nspname and h.state not in ('live', 'removed'))"
    ),
};

/// A tenant in a database that this control plane was not told of; found by the program, not by a query.
pub(super) const DATABASE_UNKNOWN: Rule =
    Rule::error("database-unknown", "name the database to the control plane and to the service");
