-- Regions, which of them each database is in, and where a tenant's data may lie.
create table platform.regions (
  name text primary key check (name ~ '^[a-z][a-z0-9-]{0,62}$'),
  -- Where a request for a tenant of this region is to go.
  base_url text check (base_url ~ '^https?://[^[:space:]/]+[^[:space:]]*$'),
  created_at timestamptz not null default now()
);

-- A database that is not named here is in the region that the program says.
create table platform.database_regions (
  database_name text primary key check (database_name ~ '^[a-z][a-z0-9_-]{0,62}$'),
  region text not null references platform.regions (name)
);

-- The regions that a tenant's data may lie in; null for any. The row that says where the tenant lives cannot say
-- otherwise, whoever writes it.
alter table platform.tenants add column residency text[] check (cardinality(residency) > 0 and array_position(residency, null) is null);
alter table platform.tenants add constraint tenant_resides_where_it_may
  check (residency is null or region = any (residency));

create function platform.region_by_name(p_name text) returns table (name text, base_url text)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select r.name, r.base_url from platform.regions r where r.name = p_name;
end;

revoke all on function platform.region_by_name(text) from public;
grant execute on function platform.region_by_name(text) to formwork_app;
