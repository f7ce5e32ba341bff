,
-- $3: streams, $4: tables without a tenant, both as `schema.table`; in $4 also `table`, of any home.
space as (
  select s.*, s.platform or s.home as ours from (
    -- As text: a name and a text are not joined by hash.
    select oid, nspname::text as nspname, nspowner, nspacl, nspname = 'platform' as platform,
           nspname = 'shared' or nspname ~ '^t_[0-9a-f]{32}$' or nspname::text in (
             select schema_name from platform.homes where state <> 'removed') as home
      from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
  ) s
),
rel as (
  select c.oid, c.relname::text as relname, c.relkind, c.relispartition, c.relrowsecurity, c.relforcerowsecurity, c.relowner,
         c.relacl, c.reloptions, s.nspname, s.platform, s.home, s.ours,
         s.nspname || '.' || c.relname as plain, format('%I.%I', s.nspname, c.relname) as name,
         a.attnum as tenant, a.atttypid as tenant_type, a.attnotnull as tenant_not_null
    from pg_class c
    join space s on s.oid = c.relnamespace
    left join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
   where c.relkind in ('r', 'p', 'v', 'm', 'f')
     and not exists (select from pg_depend d
                      where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
),
allowed as (
  select oid from rel where plain = any ($4) or (home and relname = any ($4))
),
-- Partitions are reached through their parent, whose policy holds; that nobody is let in directly is a check.
tenant_table as (
  select * from rel
   where relkind in ('r', 'p') and not relispartition and tenant is not null
     and (not platform or plain = any ($3)) and oid not in (select oid from allowed)
),
-- Views and materialized views over a tenant's rows, wherever they stand.
reads_tenants as (
  select distinct r.ev_class as oid
    from pg_rewrite r
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
     and d.refclassid = 'pg_class'::regclass
    join tenant_table t on t.oid = d.refobjid
),
-- What the logins hold on tables, whole or by column, and from whom. An owner is another check's matter.
held as (
  select r.oid, h.role, h.name as holder, h.is_app, h.is_relay, a.privilege_type as privilege
    from rel r
    cross join lateral (
      select (aclexplode(r.relacl)).*
      union
      select (aclexplode(c.attacl)).* from pg_attribute c where c.attrelid = r.oid and c.attacl is not null
    ) a
    join holder h on h.role = a.grantee
   where a.grantee <> r.relowner
)
