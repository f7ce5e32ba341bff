-- What a session must know of its tenant's home: whether a role of its own walls it off, and which version of each
-- set it has. The versions are the ledger's, whose lines are written in the home's own migrations, so that the two
-- cannot disagree.
alter table platform.tenants add column own_role boolean not null default false;
alter table platform.tenants add constraint own_role_of_own_schema check (not own_role or isolation = 'schema');

create function platform.tenant_home(p_id uuid) returns table (own_role boolean, home_versions jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select t.own_role,
         (select coalesce(jsonb_object_agg(l.set_name, l.version), '{}')
            from (select set_name, max(version) as version from platform.migration_ledger
                   where t.database_name = 'main' and home = t.schema_name group by set_name) l)
    from platform.tenants t where t.id = p_id;
end;

revoke all on function platform.tenant_home(uuid) from public;
grant execute on function platform.tenant_home(uuid) to formwork_app;
