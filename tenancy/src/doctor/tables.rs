//! A tenant's table: walled off, and its tenant column such that nothing lies outside the wall.

use super::check::{Check, Rule, of_catalogue};

pub(super) const CHECK: Check = Check {
    rules: &[
        Rule::error("rls-not-enabled", "enable row security: until then policies mean nothing"),
        Rule::error(
            "rls-not-forced",
            "force row security: the owner, its views and its functions see all rows",
        ),
        Rule::error(
            "table-without-tenant",
            "add tenant_id and the generated policy, or name it as a global table if its rows are everybody's",
        ),
        Rule::error(
            "tenant-column-type",
            "make it uuid, the type that the policy compares, with policy and index",
        ),
        Rule::error(
            "tenant-column-nullable",
            "set NOT NULL: a row of no tenant is seen and cleared up by nobody",
        ),
        Rule::warning(
            "tenant-column-default",
            "set the default from the context, so that an insert that names no tenant is the transaction's",
        ),
        Rule::warning(
            "sequence-shared",
            "use UUIDs, or numbers from a counter row of the tenant: gaps tell how much the others write",
        ),
    ],
    query: of_catalogue!(
        r"
select 'rls-not-enabled', name, 'row security is off', format('alter table %s enable row level security', name)
  from tenant_table where not relrowsecurity
union all
select 'rls-not-forced', name, 'row security does not hold its owner',
       format('alter table %s force row level security', name)
  from tenant_table where not relforcerowsecurity
union all
select 'table-without-tenant', name, 'has no column tenant_id', null
  from rel
 where home and relkind in ('r', 'p', 'f') and not relispartition and tenant is null
   and oid not in (select oid from allowed)
union all
select 'tenant-column-type', name, format('tenant_id is %s', format_type(tenant_type, null)), null
  from tenant_table where tenant_type <> 'uuid'::regtype
union all
select 'tenant-column-nullable', name, 'tenant_id may be null',
       format('alter table %s alter column tenant_id set not null', name)
  from tenant_table where not tenant_not_null
union all
select 'tenant-column-default', t.name,
       coalesce('the default of tenant_id is ' || d.text, 'tenant_id has no default'),
       format('alter table %s alter column tenant_id set default %s', t.name, $7)
  from tenant_table t
  left join lateral (select pg_get_expr(adbin, adrelid) as text from pg_attrdef
                      where adrelid = t.oid and adnum = t.tenant) d on true
 where t.home and t.tenant_type = 'uuid'::regtype and d.text is distinct from $7
union all
select 'sequence-shared', t.name, format('column %I counts through all tenants', a.attname), null
  from tenant_table t
  join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid and d.refobjsubid > 0
   and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i')
  join pg_class s on s.oid = d.objid and s.relkind = 'S'
  join pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid
 where t.nspname = 'shared'"
    ),
};
