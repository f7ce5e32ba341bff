-- What nodes ask of the registry: many exact keys in one question, and which of the tenants that they hold have
-- changed. Nobody is told of a tenant whose key he did not have.

-- Whatever changes a tenant's entry makes it a newer version, whoever does it and however. Nothing is said in the
-- notification, since every login of the database hears it.
create function platform.tenant_changes() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  if new is distinct from old then
    new.version := greatest(new.version, old.version + 1);
    perform pg_notify('formwork_registry', '');
  end if;
  return new;
end;
$$;
create trigger tenant_changes before update on platform.tenants
  for each row execute function platform.tenant_changes();

-- A host that a tenant has no more must not find it: a change of its entry, for those who hold that.
create function platform.tenant_domain_changes() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  update platform.tenants set version = version + 1
   where id = old.tenant_id or (tg_op = 'UPDATE' and id = new.tenant_id);
  return null;
end;
$$;
create trigger tenant_domain_changes after update or delete on platform.tenant_domains
  for each row execute function platform.tenant_domain_changes();

-- One row for each key that is known, with the key. A stamp stands for the versions of the home's sets.
create function platform.tenants_by_keys(p_slugs text[], p_hosts text[], p_ids uuid[])
returns table (
  asked text, asked_key text, id uuid, slug text, name text, status text, isolation text, schema_name text,
  epoch bigint, region text, plan text, default_currency text, time_zone text, version bigint, database_name text,
  own_role boolean, home_versions jsonb, home_stamp bigint
)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  with found as (
    select 'slug' as asked, k.slug as asked_key, t.id
      from unnest(p_slugs) k (slug) join platform.tenants t on t.slug = k.slug
    union all
    select 'domain', k.host, d.tenant_id
      from unnest(p_hosts) k (host)
      join platform.tenant_domains d on d.host = k.host and d.verified_at is not null
    union all
    select 'id', k.id::text, t.id
      from unnest(p_ids) k (id) join platform.tenants t on t.id = k.id
  )
  select f.asked, f.asked_key, t.id, t.slug, t.name, t.status, t.isolation, t.schema_name, t.epoch, t.region, t.plan,
         t.default_currency, t.time_zone, t.version, t.database_name, h.own_role, h.home_versions,
         hashtextextended(h.home_versions::text, 0)
    from found f join platform.tenants t on t.id = f.id cross join lateral platform.tenant_home(t.id) h;
end;

-- Of these tenants, those whose entry is not any more what the asker holds: another version, other versions of the
-- home's sets, or gone.
create function platform.tenants_changed(p_ids uuid[], p_versions bigint[], p_stamps bigint[]) returns setof uuid
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  with held as (
    select a.id, a.version, a.stamp, t.id is not null and t.version = a.version as same, t.schema_name,
           t.database_name
      from unnest(p_ids, p_versions, p_stamps) a (id, version, stamp)
      left join platform.tenants t on t.id = a.id
  ),
  homes as materialized (
    select s.schema_name, s.database_name,
           hashtextextended((
             select coalesce(jsonb_object_agg(l.set_name, l.version), '{}')
               from (select set_name, max(version) as version from platform.migration_ledger
                      where s.database_name = 'main' and home = s.schema_name group by set_name) l)::text, 0) as stamp
      from (select distinct schema_name, database_name from held where same) s
  )
  select held.id
    from held left join homes h on h.schema_name = held.schema_name and h.database_name = held.database_name
   where not held.same or h.stamp is distinct from held.stamp;
end;

-- By which the nodes of one service know each other's entries in a cache that others may write to. Made here, so that
-- nobody has to hand it round.
create table platform.registry_key (
  is_only boolean primary key default true check (is_only),
  key bytea not null check (length(key) = 32)
);
insert into platform.registry_key (key)
values (sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

create function platform.registry_key() returns bytea
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select key from platform.registry_key;
end;

revoke all on function
  platform.tenant_changes(), platform.tenant_domain_changes(), platform.tenants_by_keys(text[], text[], uuid[]),
  platform.tenants_changed(uuid[], bigint[], bigint[]), platform.registry_key()
from public;
grant execute on function
  platform.tenants_by_keys(text[], text[], uuid[]), platform.tenants_changed(uuid[], bigint[], bigint[]),
  platform.registry_key()
to formwork_app;
