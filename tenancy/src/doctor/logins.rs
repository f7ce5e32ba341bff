//! The logins: row security holds nobody who is a superuser, has BYPASSRLS or owns the table, nor whoever may
//! become one of these (PostgreSQL manual, "Row Security Policies").

use super::check::{Check, Rule, of_logins};

pub(super) const CHECK: Check = Check {
    rules: &[
        Rule::error("role-missing", "create the login, or name the one that the service uses"),
        Rule::error("login-superuser", "take the attribute away, as a superuser"),
        Rule::error("login-bypassrls", "take the attribute away, as a superuser"),
        Rule::error("login-createrole", "take the attribute away: before Postgres 16 it leads to any role"),
        Rule::error("login-replication", "take the attribute away: a replica has every tenant's rows"),
        Rule::error("login-member", "revoke the membership, and grant the few rights that were meant"),
        Rule::error("login-owner", "give the object to the role that runs the migrations"),
        Rule::error("context-preset", "reset it: a tenant is set by the transaction, and for it alone"),
        Rule::error(
            "database-temp",
            "revoke it: a temporary table stands before a tenant's in the search path",
        ),
        Rule::error("database-create", "revoke it: only the owner makes schemas"),
    ],
    query: of_logins!(
        r"
, owned as (
  select c.relowner as owner, format('%I.%I', n.nspname, c.relname) as name, n.nspowner as heir,
         case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table'
           else 'table' end as kind
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
     and (n.nspname in ('platform', 'shared') or n.nspname ~ '^t_[0-9a-f]{32}$'
          or exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id'))
  union all
  select p.proowner, format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
         n.nspowner, 'routine'
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
   where n.nspname in ('platform', 'shared') or n.nspname ~ '^t_[0-9a-f]{32}$'
  union all
  select n.nspowner, quote_ident(n.nspname), d.datdba, 'schema'
    from pg_namespace n join pg_database d on d.datname = current_database()
   where n.nspname in ('platform', 'shared') or n.nspname ~ '^t_[0-9a-f]{32}$'
  union all
  select datdba, quote_ident(datname), null, 'database' from pg_database where datname = current_database()
)
select 'role-missing', quote_ident(n), 'there is no such role',
       format('create role %I login nosuperuser nobypassrls nocreatedb nocreaterole noreplication', n)
  from unnest(array[$1, $2]) n where not exists (select from login where rolname = n)
union all
select a.code, quote_ident(r.rolname), a.problem, format('alter role %I %s', r.rolname, a.fix)
  from login join pg_roles r using (oid)
  cross join lateral (values
    ('login-superuser', r.rolsuper, 'is a superuser: no policy holds it', 'nosuperuser'),
    ('login-bypassrls', r.rolbypassrls, 'has BYPASSRLS: no policy holds it', 'nobypassrls'),
    ('login-createrole', r.rolcreaterole, 'may make roles, and members of roles', 'nocreaterole'),
    ('login-replication', r.rolreplication, 'may copy the whole cluster', 'noreplication')
  ) a (code, found, problem, fix)
 where a.found
union all
select distinct 'login-member', quote_ident(l.rolname), format('may become %I, which %s', r.rolname, w.why),
       format('revoke %I from %I', pg_get_userbyid(reach.via), l.rolname)
  from reach join login l on l.oid = reach.login join pg_roles r on r.oid = reach.role
  cross join lateral (select case
    when r.rolsuper then 'is a superuser'
    when r.rolbypassrls then 'has BYPASSRLS'
    when r.rolcreaterole then 'may make roles'
    when r.rolreplication then 'may copy the whole cluster'
    when r.rolname in ('pg_read_all_data', 'pg_write_all_data') then 'passes by every grant'
    when r.rolname in ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
      then 'reaches the files of the server'
    when r.oid in (select owner from owned) then 'owns tables, schemas or functions of the tenants'
  end) w (why)
 where reach.role <> reach.login and w.why is not null
union all
select 'login-owner', o.kind || ' ' || o.name, format('is owned by %I', l.rolname),
       case when h.heir is not null then format('alter %s %s owner to %I', o.kind, o.name, pg_get_userbyid(h.heir))
       end
  from owned o join login l on l.oid = o.owner
  left join lateral (
    select heir from (
      select 1, o.heir union all select 2, datdba from pg_database where datname = current_database()
    ) x (rank, heir)
     where heir not in (select oid from login) order by rank limit 1
  ) h on true
union all
select 'context-preset', w.place, format('%s is set for everybody who connects', s.setting),
       format('alter %s reset %s', w.place, split_part(s.setting, '=', 1))
  from pg_db_role_setting d
  cross join lateral unnest(d.setconfig) s (setting)
  cross join lateral (select case
    when d.setrole = 0 then format('database %I', current_database())
    when d.setdatabase = 0 then format('role %I', pg_get_userbyid(d.setrole))
    else format('role %I in database %I', pg_get_userbyid(d.setrole), current_database())
  end) w (place)
 where d.setdatabase in (0, (select oid from pg_database where datname = current_database()))
   and (d.setrole = 0 or d.setrole in (select oid from login))
   and split_part(s.setting, '=', 1) in ('app.current_tenant', 'app.current_org_id', 'session_replication_role')
union all
select 'context-preset', 'server', 'app.current_tenant is set where no tenant has been begun', null
 where coalesce(current_setting('app.current_tenant', true), '') <> ''
   -- Set for the database, it is seen here as well.
   and not exists (select from pg_db_role_setting where array_to_string(setconfig, ' ') like '%app.current_tenant=%')
union all
select case a.privilege_type when 'CREATE' then 'database-create' else 'database-temp' end,
       'database ' || quote_ident(d.datname),
       format('%s holds %s on it', h.name, a.privilege_type),
       format('revoke %s on database %I from %s', a.privilege_type, d.datname, h.name)
  from pg_database d
  cross join lateral aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
  join holder h on h.role = a.grantee and (h.is_app or a.privilege_type = 'CREATE')
 where d.datname = current_database() and a.grantee <> d.datdba and a.privilege_type in ('CREATE', 'TEMPORARY')"
    ),
};
