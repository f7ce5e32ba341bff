-- The control plane, in the database `main` alone. The service login has no grant on these tables: it asks
-- through the functions below, each of which takes an exact key, so that no session can list tenants.

create table platform.tenants (
  id uuid primary key,
  slug text not null unique check (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  name text not null check (name <> ''),
  status text not null default 'provisioning'
    check (status in ('provisioning', 'active', 'suspended', 'archived', 'deleting', 'deleted')),
  isolation text not null check (isolation in ('shared', 'schema', 'database')),
  -- One that the program knows by this name; no credentials are here.
  database_name text not null default 'main' check (database_name ~ '^[a-z][a-z0-9_-]{0,62}$'),
  schema_name text not null check (schema_name ~ '^[a-z_][a-z0-9_]{0,62}$'),
  epoch bigint not null default 1,
  region text not null default 'local',
  plan text not null default 'standard',
  default_currency text not null default 'KWD' check (default_currency ~ '^[A-Z]{3}$'),
  time_zone text not null default 'UTC',
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  check (isolation = case when database_name <> 'main' then 'database'
                          when schema_name <> 'shared' then 'schema' else 'shared' end)
);
create unique index tenants_own_schema on platform.tenants (database_name, schema_name)
  where schema_name <> 'shared';

create table platform.tenant_domains (
  host text primary key check (host = lower(host)),
  tenant_id uuid not null references platform.tenants (id),
  verified_at timestamptz
);

create table platform.users (
  id uuid primary key,
  email text not null unique check (email = lower(email) and email like '_%@_%'),
  display_name text not null,
  password_hash text,
  status text not null default 'active' check (status in ('active', 'deactivated')),
  created_at timestamptz not null default now()
);

-- An index of who belongs where, for resolution and login. What a member may do is decided by the
-- tuples of the tenant's home.
create table platform.memberships (
  tenant_id uuid not null references platform.tenants (id),
  user_id uuid not null references platform.users (id),
  created_at timestamptz not null default now(),
  primary key (tenant_id, user_id)
);
create index memberships_of_user on platform.memberships (user_id, tenant_id);

-- How far each move of a tenant to another home has come: what a move that was cut off goes on from.
create table platform.tenant_moves (
  id uuid primary key,
  tenant_id uuid not null references platform.tenants (id),
  from_database text not null,
  from_schema text not null,
  from_epoch bigint not null,
  to_database text not null,
  to_schema text not null,
  to_epoch bigint not null,
  to_region text not null,
  step text not null default 'begun' check (step in (
    'begun', 'prepared', 'frozen', 'copied', 'verified', 'flipped', 'released', 'finished', 'aborting', 'aborted')),
  tables jsonb not null default '[]',
  reason text,
  begun_at timestamptz not null default now(),
  frozen_at timestamptz,
  flipped_at timestamptz,
  changed_at timestamptz not null default now()
);
create unique index tenant_moves_one_open on platform.tenant_moves (tenant_id)
  where step not in ('finished', 'aborted');

create table platform.security_events (
  id uuid primary key default gen_random_uuid(),
  at timestamptz not null default now(),
  kind text not null,
  tenant_id uuid,
  detail jsonb not null default '{}'
);

-- What a session must know of its tenant, and no more.
create type platform.tenant_record as (
  id uuid, slug text, name text, status text, isolation text, schema_name text, epoch bigint,
  region text, plan text, default_currency text, time_zone text, version bigint, database_name text
);

create function platform.tenant_by_slug(p_slug text) returns setof platform.tenant_record
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select t.id, t.slug, t.name, t.status, t.isolation, t.schema_name, t.epoch, t.region, t.plan,
         t.default_currency, t.time_zone, t.version, t.database_name
    from platform.tenants t where t.slug = p_slug;
end;

create function platform.tenant_by_id(p_id uuid) returns setof platform.tenant_record
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select t.id, t.slug, t.name, t.status, t.isolation, t.schema_name, t.epoch, t.region, t.plan,
         t.default_currency, t.time_zone, t.version, t.database_name
    from platform.tenants t where t.id = p_id;
end;

create function platform.tenant_by_domain(p_host text) returns setof platform.tenant_record
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select t.id, t.slug, t.name, t.status, t.isolation, t.schema_name, t.epoch, t.region, t.plan,
         t.default_currency, t.time_zone, t.version, t.database_name
    from platform.tenant_domains d join platform.tenants t on t.id = d.tenant_id
   where d.host = p_host and d.verified_at is not null;
end;

-- The member of one tenant by exact address; nobody else's row can be reached.
create function platform.member_by_email(p_tenant uuid, p_email text)
returns table (user_id uuid, display_name text, password_hash text)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select u.id, u.display_name, u.password_hash
    from platform.users u join platform.memberships m on m.user_id = u.id
   where m.tenant_id = p_tenant and u.email = lower(p_email) and u.status = 'active';
end;

create function platform.record_security_event(p_kind text, p_tenant uuid, p_detail jsonb) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  -- What administrators do is written by the functions that give them leave, and by nobody else.
  if p_kind like 'administrator.%' then
    raise exception 'events of administrators are not written by this function' using errcode = 'insufficient_privilege';
  end if;
  insert into platform.security_events (kind, tenant_id, detail) values (p_kind, p_tenant, p_detail);
end;
$$;

revoke all on function
  platform.tenant_by_slug(text), platform.tenant_by_id(uuid), platform.tenant_by_domain(text),
  platform.member_by_email(uuid, text), platform.record_security_event(text, uuid, jsonb)
from public;
grant execute on function
  platform.tenant_by_slug(text), platform.tenant_by_id(uuid), platform.tenant_by_domain(text),
  platform.member_by_email(uuid, text), platform.record_security_event(text, uuid, jsonb)
to formwork_app;
