//! What a relay's login may be: one that reads the streams, keeps its own notes, and nothing else.

use sqlx::PgPool;

use crate::ConnectError;

/// What the login holds besides: on tables of the platform and of the homes, and on whatever has a tenant's rows.
const QUESTIONS: &str = "
  with me as (select oid, rolname::text, rolsuper, rolbypassrls, rolcreaterole, rolreplication
                from pg_roles where rolname = current_user),
  rel as (
    select c.oid, n.nspname || '.' || c.relname as name, c.relowner,
           n.nspname = 'platform' as platform,
           c.relrowsecurity and c.relforcerowsecurity and a.attnum is not null as is_stream
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      left join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
     where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
       and (n.nspname in ('platform', 'shared') or n.nspname ~ '^t_[0-9a-f]{32}$' or a.attnum is not null)
  ),
  held as (
    select rel.name, p.privilege
      from rel cross join lateral unnest('{SELECT,INSERT,UPDATE,REFERENCES}'::text[]) p (privilege)
     where has_any_column_privilege(rel.oid, p.privilege)
       and not (rel.platform and rel.is_stream and p.privilege = 'SELECT')
       and not (rel.name in ('platform.stream_positions', 'platform.sweep_rounds') and p.privilege <> 'REFERENCES')
    union all
    select rel.name, p.privilege
      from rel cross join lateral unnest('{DELETE,TRUNCATE,TRIGGER}'::text[]) p (privilege)
     where has_table_privilege(rel.oid, p.privilege)
       and not (rel.name = 'platform.stream_positions' and p.privilege = 'DELETE')
  )
  select me.rolname,
         exists (select from rel where name = 'platform.stream_positions') as migrated,
         case
           when me.rolsuper then 'is a superuser'
           when me.rolbypassrls then 'has BYPASSRLS'
           when me.rolcreaterole then 'may make roles'
           when me.rolreplication then 'may copy the whole cluster'
           when exists (select from pg_roles r where (r.rolsuper or r.rolbypassrls) and pg_has_role(r.oid, 'member'))
             then 'is a member of a role that is a superuser or has BYPASSRLS'
           when exists (select from rel where pg_has_role(rel.relowner, 'member'))
             then 'owns tables of the tenants or of the platform, or is a member of their owner'
           when exists (select from held)
             then (select format('holds %s on %s', privilege, name) from held order by name, privilege limit 1)
           when not exists (select from rel where name = 'platform.stream_positions') then null
           when not (has_schema_privilege('platform', 'usage') and has_table_privilege('platform.outbox', 'select')
                     and has_table_privilege('platform.stream_positions', 'select, insert, update'))
             then 'may not read the outbox, or not keep its position'
           when not exists (select from pg_policy p
                             join rel on rel.oid = p.polrelid
                             where rel.name = 'platform.outbox' and p.polcmd = 'r' and me.oid = any (p.polroles))
             then 'has no policy of its own on the outbox, and would be told that it is empty'
         end as why
    from me";

pub(super) async fn refuse_all_but_a_relay(pool: &PgPool) -> Result<(), ConnectError> {
    let (login, migrated, why): (String, bool, Option<String>) =
        sqlx::query_as(QUESTIONS).persistent(false).fetch_one(pool).await?;
    match (why, migrated) {
        (Some(why), _) => Err(ConnectError::NotARelay { login, why }),
        (None, false) => Err(ConnectError::NotMigrated),
        (None, true) => Ok(()),
    }
}
